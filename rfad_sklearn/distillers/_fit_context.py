"""Everything that ``fit`` works out from its arguments before the first step."""

from dataclasses import dataclass

import numpy as np
import torch

from .._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from .._optimization.ridge_objective import TrainingData
from .._planning.plan import N_EVAL_NETWORKS
from .._utils.device import resolve_device, resolve_dtype
from .._utils.device_rows import DeviceRows, fits_on_device
from .._utils.labels import centred_one_hot, check_labels
from .._utils.network_spec import ConvNetSpec
from .._utils.preprocessing_value import Preprocessing, TransformerPreprocessing
from .._utils.row_selection import initial_rows, items_per_class, split_holdout
from .._utils.validation import RowSubset, as_rows, check_rows, resolve_image_shape
from ..architectures import resolve_architecture
from ..preprocessing import fit_preprocessing

# Bytes of cached features of the held-out rows, and of one of their entries.
_HELD_OUT_BYTES, _ENTRY_BYTES = 2**28, 4
# With fewer held-out rows early_stopping="auto" holds none out: they choose by chance.
_LEAST_HELD_OUT = 100
# Training rows that the scale of items is fitted on where none are held out.
_SCALE_ROWS = 2048


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
    """Data, labels, split, network and preprocessing of one ``fit``."""

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
    def project(self):
        """Differentiable ``transform(inverse_transform(x))`` of network inputs, frozen coordinates restored; None where it changes
        nothing.
        """
        if self.frozen is None and not self.preprocessing.row_norm:
            return None
        dtype = torch.float64 if self.dtype == torch.float64 else torch.float32
        on_device = self.preprocessing.to(self.device, dtype)
        restore = None
        if self.frozen is not None:
            mask = torch.from_numpy(self.frozen.mask).to(self.device)
            noise = torch.from_numpy(self.frozen.noise).to(self.device, dtype)
            restore = lambda z: torch.where(mask, noise, z)  # noqa: E731
        return lambda x: on_device.project(x.flatten(1), restore=restore).reshape(x.shape)

    def raw_items(self, x):
        """Items in the units of X, of network inputs ``(n_items, d)``."""
        rows = self.preprocessing.invert(x)
        if self.frozen is None:
            return rows
        noise = self.frozen.noise * self.preprocessing.scale + self.preprocessing.offset
        return np.where(self.frozen.mask, noise, rows)

    def round_trip(self, variables):
        """Put the items where they come back from the units of X; gives how far that moves an entry.

        A user's transformer need not take its own inverse back. What is given out is to be what is
        judged.
        """
        if not isinstance(self.preprocessing, TransformerPreprocessing):
            return 0.0
        x = variables["X"].flatten(1).cpu().numpy()
        back = self.as_read(self.preprocessing.round_trip(x))
        variables["X"] = torch.from_numpy(back).to(variables["X"]).view_as(variables["X"])
        return float(np.abs(back - x).max())

    def training_data(self):
        """What an objective needs to draw its batches."""
        y_encoded = torch.from_numpy(self.y_encoded.astype(np.int64))
        shape = tuple(self.shape)
        if self.device.type == "cuda" and fits_on_device(self.rows, self.preprocessing):
            dtype = torch.promote_types(self.dtype, torch.float32)
            resident = DeviceRows(self.rows, self.preprocessing, self.device)
            read = lambda indices: resident.read(indices).to(dtype)  # noqa: E731
        else:
            read = lambda indices: torch.from_numpy(self.read(indices)).to(self.device)  # noqa: E731
        return TrainingData(
            read=lambda indices: read(indices).reshape(-1, *shape),
            labels=y_encoded.to(self.device),
            n_classes=len(self.classes),
            train=torch.from_numpy(self.train),
            validation=torch.from_numpy(self.validation),
            shape=shape,
        )

    def initial_variables(self, init):
        """Items, targets and scale at the start; with frozen coordinates all of an item is noise."""
        if self.frozen is not None:
            x = self.preprocessing.after_scaling(self.frozen.noise)
        elif isinstance(init, str):
            if init == "noise":
                x = self.rng.standard_normal((self.per_class.sum(), *self.shape))
            else:
                x = self.read(
                    initial_rows(
                        self.y_encoded, self.train, self.per_class, init, self.read, self.rng
                    )
                )
        else:
            x = self.preprocessing.apply(self._check_init(init))
        return self.variables_at(x)

    def variables_at(self, x):
        """Variables with these network inputs as items, the given labels as targets, and scale 1."""
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
                f"init holds images of shape {seen}, but those of X are {self.image_shape}; reshape init."
            )
        wanted = (int(self.per_class.sum()), self.rows.shape[1])
        if rows.shape != wanted:
            raise ValueError(
                f"init must hold {wanted[0]} items (ipc of each class, class by class) of {wanted[1]} features, got an array of shape "
                f"{np.shape(init)}."
            )
        if not np.isfinite(rows).all():
            raise ValueError(
                "init holds NaN or infinity; it must be finite numbers in the units of X."
            )
        return rows


def evaluation_objective(context, data, reg, generator):
    """Kernel ridge regression by a few networks that stay: it judges items that are not optimised by it, and fits their scale."""
    config = PoolConfig(
        batch_size=_SCALE_ROWS,
        reg=reg,
        loss="cross_entropy",
        n_networks=N_EVAL_NETWORKS,
        pool_size=1,
        refresh_interval=1,
        n_evaluation_networks=N_EVAL_NETWORKS,
    )
    dtype = torch.promote_types(context.dtype, torch.float32)
    return RandomFeatureObjective(
        context.spec,
        data,
        config,
        generator=generator,
        device=context.device,
        dtype=dtype,
        project=context.project,
    )


def held_out_limit(estimator, spec, shape):
    """Most rows whose features in the judging networks are worth their memory."""
    bytes_of_one = _ENTRY_BYTES * N_EVAL_NETWORKS * spec.n_features(tuple(shape))
    return min(max(_HELD_OUT_BYTES // bytes_of_one, 256), estimator._max_held_out)


def _split(estimator, y_encoded, per_class, rng, limit):
    """Row numbers to train on and to hold out."""
    wish, everything = (
        getattr(estimator, "early_stopping", False),
        (np.arange(len(y_encoded)), np.empty(0, dtype=int)),
    )
    if not wish:
        return everything
    parts = split_holdout(y_encoded, estimator.validation_fraction, per_class, rng, limit)
    return everything if wish == "auto" and len(parts[1]) < _LEAST_HELD_OUT else parts


def prepare(estimator, X, y, seed):
    """Validate the arguments of ``fit`` against each other and against X and y."""
    device = resolve_device(estimator.device)
    rows, seen, y = check_rows(estimator, X, reset=True, y=y)
    classes, y_encoded = check_labels(y)
    per_class = items_per_class(estimator.ipc, classes, np.bincount(y_encoded))
    image_shape = resolve_image_shape(estimator.image_shape, seen, rows.shape[1])
    shape = image_shape or (rows.shape[1],)
    spec = resolve_architecture(estimator.architecture, shape)
    rng = np.random.default_rng(seed)
    train, validation = _split(
        estimator, y_encoded, per_class, rng, held_out_limit(estimator, spec, shape)
    )
    frozen, corruption = None, getattr(estimator, "corruption", 0)
    wanted = estimator.preprocessing
    if corruption and isinstance(wanted, str) and wanted == "auto":
        # Whitening would raise the frozen noise above what can still be learned.
        wanted = "standardize"
    preprocessing = fit_preprocessing(
        wanted, RowSubset(rows, train), image_shape, invertible=estimator._inverts
    )
    if corruption:
        if not isinstance(preprocessing, Preprocessing):
            raise ValueError(
                f"corruption={corruption!r} needs a built-in preprocessing, got {estimator.preprocessing!r}; put the transformer in front "
                "of the distiller with sklearn.pipeline.Pipeline."
            )
        if not 0 < round(corruption * rows.shape[1]) < rows.shape[1]:
            raise ValueError(
                f"corruption={corruption!r} freezes {round(corruption * rows.shape[1])} of the {rows.shape[1]} coordinates of an item; some of "
                "them, but not all, must be frozen."
            )
        frozen = Frozen.draw(per_class.sum(), rows.shape[1], corruption, rng)
    return FitContext(
        rows=rows,
        layout=np.shape(X)[1:] if seen is not None else (rows.shape[1],),
        classes=classes,
        y_encoded=y_encoded,
        per_class=per_class,
        image_shape=image_shape,
        spec=spec,
        preprocessing=preprocessing,
        train=train,
        validation=validation,
        seed=seed,
        rng=rng,
        device=device,
        dtype=resolve_dtype(estimator.dtype, device, reduced=isinstance(spec, ConvNetSpec)),
        frozen=frozen,
    )
