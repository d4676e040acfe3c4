"""Data, labels, split, network and preprocessing of one fit, and what follows from them."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from .._optimization.scoring import HeldOutScorer, resolve_scorer, scoring_name
from .._optimization.training_data import TrainingData
from .._planning.context import describe_preprocessing
from .._surrogates.item_space import item_space
from .._utils.category_groups import CategoryGroups
from .._utils.columns import Columns
from .._utils.device_rows import DeviceRows, fits_on_device
from .._utils.item_range import ItemRange
from .._utils.labels import centred_one_hot
from .._utils.preprocessing_value import Preprocessing, TransformerPreprocessing
from ._initial_items import initial_items

# Rows per pass over the data.
_CHUNK = 4096


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
    ``continued`` those of them that a coreset gives, ``exhausted`` the classes that give all their
    rows, ``cross_fitted`` those of them that items of other classes are to stand beside, ``train``
    and ``validation`` row numbers; ``n_rows`` are those of X, behind which rows stand that were
    given to be held out; ``reasons`` says why, for what was chosen already. ``downstream`` is what
    the items are for, ``row_weights`` how much rows count, None where all count the same; where
    items are for any model, ``panel`` is what evaluates them and ``item_range`` says where they may
    lie. ``pixels`` says whether columns are pixels, of images or of rows with one range.
    ``columns`` says which columns of X are categories, None for all other rows; ``rows`` are
    expanded then. ``scoring`` is the parameter of that name.
    """

    rows: np.ndarray
    layout: tuple
    classes: np.ndarray
    y_encoded: np.ndarray
    per_class: np.ndarray
    continued: np.ndarray
    exhausted: np.ndarray
    cross_fitted: np.ndarray
    image_shape: tuple | None
    spec: object
    preprocessing: object
    n_rows: int
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
    columns: Columns | None
    item_range: ItemRange | None
    row_weights: np.ndarray | None
    scoring: object
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
        rows_per_item = np.bincount(self.y_encoded[: self.n_rows]) / self.per_class
        return rows_per_item[self.item_y_encoded] * self.n_items / self.n_rows

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
        own = self.y_encoded[: self.n_rows]
        rows = [np.flatnonzero(own == c) for c in np.flatnonzero(self.exhausted)]
        return items, np.concatenate([np.empty(0, dtype=int), *rows])

    @functools.cached_property
    def space(self):
        """Coordinates in which items for any model are optimised; None for the others."""
        if self.downstream != "any":
            return None
        data, dtype = self.training_data, torch.promote_types(self.dtype, torch.float32)
        scaled_range = self.item_range.scaled(self.preprocessing, self.device, dtype)
        return item_space(scaled_range, data.read, data.train, self.pixels, self.groups)

    @functools.cached_property
    def groups(self):
        """What keeps one category per group in the items; None without categories."""
        if self.columns is None or not self.columns.encodes:
            return None
        shown = np.zeros((len(self.classes), self.rows.shape[1]), dtype=bool)
        for start in range(0, len(self.train), _CHUNK):
            at = self.train[start : start + _CHUNK]
            members = np.arange(len(self.classes))[:, None] == self.y_encoded[at]
            shown |= members.astype(float) @ (self.rows[at] != 0) > 0
        dtype = torch.promote_types(self.dtype, torch.float32)
        allowed = shown[self.item_y_encoded]
        return CategoryGroups(self.columns, allowed, self.preprocessing, self.device, dtype)

    @functools.cached_property
    def _score_range(self):
        """Bounds of the items, as tensors; None where no column is mapped by quantiles.

        Beyond them the map has no gradient, and its inverse would not be what was evaluated.
        """
        value = self.preprocessing
        if not isinstance(value, Preprocessing) or not len(value.quantile_columns):
            return None
        dtype = torch.float64 if self.dtype == torch.float64 else torch.float32
        return [torch.from_numpy(ends).to(self.device, dtype) for ends in value.score_range]

    @property
    def panel_names(self):
        """Names of the classifiers that evaluate the items, where rows are held out."""
        return tuple(member.name for member in self.panel) if self.n_held_out else ()

    @functools.cached_property
    def scorer(self):
        """What held-out rows are scored by; None without any, and for the defaults."""
        scorer = resolve_scorer(self.scoring, self.classes)
        if scorer is None or not self.n_held_out:
            return None
        where, weights = self.validation, self.row_weights
        return HeldOutScorer(
            name=scoring_name(self.scoring),
            scorer=scorer,
            classes=self.classes,
            rows=np.asarray(self.rows[where]),
            y=self.classes[self.y_encoded[where]],
            weights=None if weights is None else weights[where],
        )

    @property
    def project(self):
        """Differentiable ``transform(inverse_transform(x))`` of network inputs, or None.

        In between, frozen coordinates are restored, and each group of columns becomes a category.
        None where it changes nothing.
        """
        if self.frozen is None and self.groups is None and not self.preprocessing.row_norm:
            return None
        dtype = torch.float64 if self.dtype == torch.float64 else torch.float32
        on_device = self.preprocessing.to(self.device, dtype)
        restore = None if self.groups is None else self.groups.seen
        if self.frozen is not None:
            mask = torch.from_numpy(self.frozen.mask).to(self.device)
            noise = torch.from_numpy(self.frozen.noise).to(self.device, dtype)

            def restore(z):
                return torch.where(mask, noise, z)

        return lambda x: on_device.project(x.flatten(1), restore=restore).reshape(x.shape)

    def constrain(self, variables):
        """Put items that a step has moved back, in place.

        Those for any model into the range of the columns, others into that of columns mapped by
        quantiles, and those of a class that gives its rows as they are to these rows.
        """
        x = variables["X"]
        if self.space is not None:
            x.copy_(self.space.clip(x.flatten(1)).view_as(x))
        elif self.groups is not None:
            on_device = self.preprocessing.to(self.device, x.dtype)
            x.copy_(on_device.project(x, restore=self.groups.clip))
        if self._score_range is not None and self.space is None:
            x.copy_(torch.clamp(x.flatten(1), *self._score_range).view_as(x))
        items, rows = self.fixed_items
        if len(items):
            x[torch.from_numpy(items)] = self.coordinates(self.read(rows)).view(-1, *self.shape)

    def coordinates(self, x):
        """Variables on the device of network inputs ``(n, d)``."""
        x = torch.tensor(self.as_read(x), device=self.device)
        return x if self.space is None else self.space.encode(x)

    def raw_items(self, x):
        """Items in the units of X, of variables ``(n_items, d)`` as an array."""
        raw = self.one_category(self.in_units(x))
        if self.frozen is not None:
            raw = np.where(self.frozen.mask, self.preprocessing.unscale(self.frozen.noise), raw)
        items, rows = self.fixed_items
        raw[items] = self.rows[rows]
        return raw

    def one_category(self, raw):
        """Items ``(n_items, d)`` in the units of X, with one category in each group of columns."""
        if self.groups is None:
            return raw
        scaled = (raw - self.preprocessing.offset) / self.preprocessing.scale
        dtype = self.groups.offset.dtype
        hard = self.groups.harden(torch.tensor(scaled, dtype=dtype, device=self.device))
        hard = hard.cpu().numpy() * self.preprocessing.scale + self.preprocessing.offset
        return np.where(self.columns.one_hot, np.rint(hard), raw)

    def in_units(self, x):
        """Any points, in the units of X, of variables ``(n, d)`` as an array."""
        if self.space is None:
            return self.preprocessing.invert(x)
        x = self.space.in_range(torch.from_numpy(x).to(self.device)).cpu().numpy()
        return self.item_range.clip(self.preprocessing.invert(x))

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
        kept_there = self.device.type == "cuda" and self.columns is None
        if kept_there and fits_on_device(self.rows, self.preprocessing):
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
            scorer=self.scorer,
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
        """Items at the start in the units of X; see :func:`initial_items`."""
        return initial_items(self, init)

    def read_coordinates(self, indices):
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
