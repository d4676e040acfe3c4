"""Data, labels, split, network and preprocessing of one fit, and what follows from them."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from .._optimization.training_data import TrainingData
from .._planning.context import describe_preprocessing
from .._utils.device_rows import DeviceRows, fits_on_device
from .._utils.labels import centred_one_hot
from .._utils.preprocessing_value import TransformerPreprocessing
from .._utils.row_selection import initial_rows
from .._utils.validation import as_rows


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
    ``train`` and ``validation`` row numbers; ``reasons`` says why, for what was chosen already.
    """

    rows: np.ndarray
    layout: tuple
    classes: np.ndarray
    y_encoded: np.ndarray
    per_class: np.ndarray
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
    reasons: dict

    @property
    def item_y_encoded(self):
        """Class number of each item."""
        return np.repeat(np.arange(len(self.classes), dtype=np.int64), self.per_class)

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

    def raw_items(self, x):
        """Items in the units of X, of network inputs ``(n_items, d)``."""
        rows = self.preprocessing.invert(x)
        if self.frozen is None:
            return rows
        noise = self.frozen.noise * self.preprocessing.scale + self.preprocessing.offset
        return np.where(self.frozen.mask, noise, rows)

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
        )

    def initial_variables(self, init):
        """Items, targets and scale at the start; with frozen coordinates items are noise."""
        if self.frozen is not None:
            x = self.preprocessing.after_scaling(self.frozen.noise)
        elif isinstance(init, str):
            if init == "noise":
                x = self.rng.standard_normal((self.n_items, *self.shape))
            else:
                rows = initial_rows(
                    self.y_encoded, self.train, self.per_class, init, self.read, self.rng
                )
                x = self.read(rows)
        else:
            x = self.preprocessing.apply(self._check_init(init))
        return self.variables_at(x)

    def variables_at(self, x):
        """Variables with these network inputs as items, centred one-hot targets, and scale 1."""
        targets = centred_one_hot(torch.from_numpy(self.item_y_encoded), len(self.classes))
        x = torch.tensor(self.as_read(x), device=self.device).reshape(-1, *self.shape)
        return {
            "X": x,
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
