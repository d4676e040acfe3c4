"""Data, labels, split, network and preprocessing of one fit, and what follows from them."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from .._optimization.training_data import TrainingData
from .._planning.context import describe_preprocessing
from .._surrogates.item_space import item_space
from .._utils.device_rows import DeviceRows, fits_on_device
from .._utils.item_range import ItemRange
from .._utils.labels import centred_one_hot
from .._utils.preprocessing_value import TransformerPreprocessing
from .._utils.row_selection import CENTROIDS, centroid_groups, initial_rows, means_of
from .._utils.validation import as_rows

# Means of ranks: of items for any model, in tables.
RANK_CENTROIDS = "centroids of ranks"


@dataclass(frozen=True)
class Frozen:
    """Coordinates of the items that stay at their noise for good.

    ``mask`` and ``noise`` have shape ``(n_items, d)``; the noise has mean 0 and variance 1, in the
    units that scaling gives.
    """

    mask: np.ndarray
    noise: np.ndarray

    @classmethod
    def draw(cls, n_items, d, fraction, rng):
        """The same number of coordinates of each item, at random."""
        order = rng.random((n_items, d)).argsort(axis=1)
        return cls(order < round(fraction * d), rng.standard_normal((n_items, d)))


@dataclass(frozen=True)
class FitContext:
    """Data, labels, split, network and preprocessing of one ``fit``.

    ``y_encoded`` are the numbers of the classes of the rows, ``per_class`` the items of each class,
    ``exhausted`` the classes that give all their rows, ``cross_fitted`` those of them that items of
    other classes are to stand beside, ``train`` and
    ``validation`` row numbers; ``reasons`` says why, for what was chosen already. ``downstream`` is
    what the items are for, ``row_weights`` how much rows count, None where all count the same;
    where items are for any model, ``panel`` is what evaluates them and ``item_range`` says where
    they may lie. ``pixels`` says whether columns are pixels, of images or of rows with one range.
    """

    rows: np.ndarray
    layout: tuple
    classes: np.ndarray
    y_encoded: np.ndarray
    per_class: np.ndarray
    exhausted: np.ndarray
    cross_fitted: np.ndarray
    image_shape: tuple | None
    spec: object
    preprocessing: object
    train: np.ndarray
    validation: np.ndarray
    seed: int
    rng: np.random.Generator
    device: torch.device
    dtype: torch.dtype
    frozen: Frozen | None
    downstream: str
    panel: tuple
    pixels: bool
    item_range: ItemRange | None
    row_weights: np.ndarray | None
    reasons: dict

    @property
    def item_y_encoded(self):
        """Class number of each item."""
        return np.repeat(np.arange(len(self.classes), dtype=np.int64), self.per_class)

    @property
    def class_weights(self):
        """How much a row of each class counts, as a list; None where all count the same."""
        if self.row_weights is None:
            return None
        first = np.unique(self.y_encoded, return_index=True)[1]
        return self.row_weights[first].tolist()

    @property
    def item_weights(self):
        """Rows that each item stands for, over their mean."""
        rows_per_item = np.bincount(self.y_encoded) / self.per_class
        return rows_per_item[self.item_y_encoded] * self.n_items / len(self.y_encoded)

    @property
    def shape(self):
        """Shape of one network input."""
        return self.image_shape or (self.read([0]).shape[1],)

    def read(self, indices):
        """Preprocessed rows ``(n, d)``: float32, or float64 when the arithmetic is."""
        return self.as_read(self.preprocessing.apply(np.asarray(self.rows[np.asarray(indices)])))

    def as_read(self, array):
        """An array in the float type of the preprocessed rows."""
        return array.astype(np.float64 if self.dtype == torch.float64 else np.float32, copy=False)

    @property
    def n_items(self):
        """Number of items of the coreset."""
        return int(self.per_class.sum())

    @property
    def n_train(self):
        """Number of rows that are trained on."""
        return len(self.train)

    @property
    def n_held_out(self):
        """Number of rows that evaluate the coreset."""
        return len(self.validation)

    @property
    def preprocessing_name(self):
        """What a plan calls the preprocessing."""
        return describe_preprocessing(self.preprocessing)

    @functools.cached_property
    def fixed_items(self):
        """Items that are the rows of a class as they are, and these rows' numbers."""
        items = np.flatnonzero(self.exhausted[self.item_y_encoded])
        rows = [np.flatnonzero(self.y_encoded == c) for c in np.flatnonzero(self.exhausted)]
        return items, np.concatenate([np.empty(0, dtype=int), *rows])

    @functools.cached_property
    def space(self):
        """Coordinates in which items for any model are optimised; None for the others."""
        if self.downstream != "any":
            return None
        data, dtype = self.training_data, torch.promote_types(self.dtype, torch.float32)
        scaled_range = self.item_range.scaled(self.preprocessing, self.device, dtype)
        return item_space(scaled_range, data.read, data.train, self.pixels)

    @property
    def panel_names(self):
        """Names of the classifiers that evaluate the items, where rows are held out."""
        return tuple(member.name for member in self.panel) if self.n_held_out else ()

    @property
    def project(self):
        """Differentiable ``transform(inverse_transform(x))`` of network inputs, or None.

        Frozen coordinates are restored in between. None where it changes nothing.
        """
        if self.frozen is None and not self.preprocessing.row_norm:
            return None
        dtype = torch.float64 if self.dtype == torch.float64 else torch.float32
        on_device = self.preprocessing.to(self.device, dtype)
        restore = None
        if self.frozen is not None:
            mask = torch.from_numpy(self.frozen.mask).to(self.device)
            noise = torch.from_numpy(self.frozen.noise).to(self.device, dtype)

            def restore(z):
                return torch.where(mask, noise, z)

        return lambda x: on_device.project(x.flatten(1), restore=restore).reshape(x.shape)

    def constrain(self, variables):
        """Put items that a step has moved back, in place.

        Those for any model into the range of the columns, and those of a class that gives its rows
        as they are to these rows.
        """
        x = variables["X"]
        if self.space is not None:
            x.copy_(self.space.clip(x.flatten(1)).view_as(x))
        items, rows = self.fixed_items
        if len(items):
            x[torch.from_numpy(items)] = self.coordinates(self.read(rows)).view(-1, *self.shape)

    def coordinates(self, x):
        """Variables on the device of network inputs ``(n, d)``."""
        x = torch.tensor(self.as_read(x), device=self.device)
        return x if self.space is None else self.space.encode(x)

    def raw_items(self, x):
        """Items in the units of X, of variables ``(n_items, d)`` as an array."""
        if self.space is not None:
            x = self.space.decode(torch.from_numpy(x).to(self.device)).cpu().numpy()
        raw = self.preprocessing.invert(x)
        if self.space is not None:
            raw = self.item_range.clip(raw)
        if self.frozen is not None:
            noise = self.frozen.noise * self.preprocessing.scale + self.preprocessing.offset
            raw = np.where(self.frozen.mask, noise, raw)
        items, rows = self.fixed_items
        raw[items] = self.rows[rows]
        return raw

    def round_trip(self, variables):
        """Put the items where they come back from the units of X.

        A user's transformer need not take its own inverse back. What is given out is to be what is
        evaluated.

        Returns
        -------
        float
            How far an entry moved at most, in preprocessed units.
        """
        if not isinstance(self.preprocessing, TransformerPreprocessing):
            return 0.0
        x = variables["X"].flatten(1).cpu().numpy()
        back = self.as_read(self.preprocessing.round_trip(x))
        variables["X"] = torch.from_numpy(back).to(variables["X"]).view_as(variables["X"])
        return float(np.abs(back - x).max())

    @functools.cached_property
    def training_data(self):
        """What an objective needs to draw its batches."""
        y_encoded = torch.from_numpy(self.y_encoded.astype(np.int64))
        shape = tuple(self.shape)
        on_device = None
        if self.device.type == "cuda" and fits_on_device(self.rows, self.preprocessing):
            on_device = DeviceRows(self.rows, self.preprocessing, self.device)
        dtype = torch.promote_types(self.dtype, torch.float32)

        def read(indices):
            if on_device is None:
                rows = torch.from_numpy(self.read(indices)).to(self.device)
            else:
                rows = on_device.read(indices).to(dtype)
            return rows.reshape(-1, *shape)

        return TrainingData(
            read=read,
            labels=y_encoded.to(self.device),
            n_classes=len(self.classes),
            train=torch.from_numpy(self.train),
            validation=torch.from_numpy(self.validation),
            shape=shape,
            row_weights=None if self.row_weights is None else torch.from_numpy(self.row_weights),
        )

    def initial_variables(self, init):
        """Items, targets and scale at the start; with frozen coordinates items are noise."""
        if self.frozen is not None:
            x = self.preprocessing.after_scaling(self.frozen.noise)
        elif isinstance(init, str) and init == "noise":
            x = self.rng.standard_normal((self.n_items, *self.shape))
        else:
            x = self.preprocessing.apply(self.initial_items(init))
        variables = self.variables_at(x)
        self.constrain(variables)
        return variables

    def initial_items(self, init):
        """Items at the start in the units of X, by a strategy or as they are given."""
        if not isinstance(init, str):
            return self._check_init(init)
        where = self.y_encoded, self.train, self.per_class
        if init == CENTROIDS:
            return means_of(self.rows, centroid_groups(*where, self.read, self.rng))
        if init == RANK_CENTROIDS:
            groups = centroid_groups(*where, self._read_coordinates, self.rng)
            rows, positions = np.unique(np.concatenate(groups), return_inverse=True)
            ends = np.cumsum([len(group) for group in groups])[:-1]
            means = means_of(self._read_coordinates(rows), np.split(positions, ends))
            return self.raw_items(means.astype(np.float32))
        return self.rows[initial_rows(*where, init, self.read, self.rng)]

    def _read_coordinates(self, indices):
        """Rows in the coordinates in which items are optimised, as an array."""
        return self.coordinates(self.read(indices)).cpu().numpy()

    def variables_at(self, x):
        """Variables with these network inputs as items, centred one-hot targets, and scale 1."""
        targets = centred_one_hot(torch.from_numpy(self.item_y_encoded), len(self.classes))
        x = self.coordinates(x.reshape(self.n_items, -1))
        return {
            "X": x.reshape(-1, *self.shape),
            "targets": targets.to(self.device),
            "log_scale": torch.zeros((), dtype=torch.float32, device=self.device),
        }

    def _check_init(self, init):
        rows, seen = as_rows(init)
        rows = np.asarray(rows, dtype=float)
        if seen is not None and seen != self.image_shape:
            raise ValueError(
                f"init holds images of shape {seen}, but those of X are {self.image_shape}; "
                "reshape init."
            )
        wanted = (self.n_items, self.rows.shape[1])
        if rows.shape != wanted:
            raise ValueError(
                f"init must hold {wanted[0]} items (ipc of each class, class by class) of "
                f"{wanted[1]} features, got an array of shape {np.shape(init)}."
            )
        if not np.isfinite(rows).all():
            raise ValueError(
                "init holds NaN or infinity; it must be finite numbers in the units of X."
            )
        return rows
