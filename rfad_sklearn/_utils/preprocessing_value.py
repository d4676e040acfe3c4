"""Preprocessing as one numeric value: scaling or quantiles, norm of each row, whitening.

The value travels inside the coreset and its file. What fits it lives in ``preprocessing_fit``.
"""

import copy
import math
import warnings
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from scipy.sparse import issparse

from .quantile_map import interpolate_within, problem_of_knots

# The numeric parts, but for single numbers.
_ARRAYS = (
    "offset",
    "scale",
    "components",
    "gains",
    "quantile_columns",
    "quantiles",
    "normal_scores",
)
# Those of them that keep their type on a device: long integers keep their last digits.
_EXACT = ("offset", "scale", "quantile_columns", "quantiles", "normal_scores")
# Variance below which a row counts as constant: it is divided by (almost) this, not by zero.
_SMALLEST_VARIANCE = 1e-12


def cast(array, dtype):
    """A numpy array or torch tensor in the float type that numpy calls ``dtype``."""
    if isinstance(array, torch.Tensor):
        return array.to(getattr(torch, np.dtype(dtype).name))
    return array.astype(dtype, copy=False)


def low_rank_scaling(z, components, gains, tail):
    """Scale by ``gains`` along the orthonormal rows of ``components``, else by ``tail``."""
    if isinstance(z, torch.Tensor):
        # numpy promotes by itself.
        components, gains = components.to(z.dtype), gains.to(z.dtype)
    return tail * z + ((z @ components.T) * (gains - tail)) @ components


def row_standardized(z):
    """Each row minus its mean, divided by its standard deviation."""
    z = z - z.mean(axis=1, keepdims=True)
    return z / ((z * z).mean(axis=1, keepdims=True) + _SMALLEST_VARIANCE) ** 0.5


def float_types(dtype):
    """numpy types in which raw rows of ``dtype`` are scaled, and which the result has.

    Long integers, time stamps say, lose their last digits in float32: the offset is taken off
    before.
    """
    long = dtype.kind in "iuf" and dtype.itemsize >= 4 and not is_single(dtype)
    exact = np.float64 if long else np.float32
    return np.dtype(exact), np.dtype(np.float64 if is_double(dtype) else np.float32)


def is_double(dtype):
    """Whether a numpy type is float64, or longer, in any byte order."""
    return dtype.kind == "f" and dtype.itemsize >= 8


def is_single(dtype):
    """Whether a numpy type is float32 in any byte order."""
    return dtype.kind == "f" and dtype.itemsize == 4


class ReadOnlyArrays:
    """A value whose arrays cannot be written to, unpickled either."""

    def __setstate__(self, state):
        self.__dict__.update(state)
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Preprocessing(ReadOnlyArrays):
    """``z = W norm((x - offset) / scale)`` with ``W`` a truncated whitening.

    Every part but the first may be absent. Columns may be mapped by their quantiles to normal
    scores instead of scaled, which is bounded both ways: numbers beyond the range of the rows that
    it was fitted to are taken for its ends, and inverses lie within it. Made of numpy arrays it
    takes numpy arrays; :meth:`to` gives the same value made of tensors, which takes tensors.

    Parameters
    ----------
    offset, scale : array of shape (d,)
        In raw units.
    row_norm : bool, default=False
        Standardise every row (every image) by its own mean and deviation.
    components : array of shape (k, d), optional
        Orthonormal rows: the leading eigenvectors of the whitening.
    gains : array of shape (k,), optional
        Factors along the components.
    tail : float, default=1.0
        Factor along everything orthogonal to them.
    quantile_columns : int array of shape (m,), optional
        Numbers of the columns that are mapped by quantiles, increasing; only without row norm and
        whitening.
    quantiles, normal_scores : array of shape (m, n_knots), optional
        Knots of their piecewise-linear maps, increasing along each row; the last may be repeated.

    Raises
    ------
    ValueError
        When shapes do not fit, or numbers are not finite, or factors not positive, or knots do not
        increase.
    """

    offset: np.ndarray
    scale: np.ndarray
    row_norm: bool = False
    components: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    gains: np.ndarray = field(default_factory=lambda: np.empty(0))
    tail: float = 1.0
    quantile_columns: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    quantiles: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    normal_scores: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self):
        for name in _ARRAYS:
            array = np.array(getattr(self, name))
            if array.dtype.kind not in "biuf":
                raise ValueError(
                    f"Preprocessing: {name} must hold real numbers, got dtype {array.dtype}."
                )
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.offset.ndim != 1:
            raise ValueError(
                f"Preprocessing: offset must be a vector, got shape {self.offset.shape}."
            )
        d, k = self.offset.shape[-1], len(self.gains)
        if self.offset.shape != (d,) or self.scale.shape != (d,):
            raise ValueError("Preprocessing: offset and scale must be vectors of the same length.")
        if self.components.shape != ((k, d) if k else (0, 0)):
            raise ValueError(
                f"Preprocessing: components must be of shape {(k, d)}, got {self.components.shape}."
            )
        for name in ("offset", "scale", "components", "gains"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"Preprocessing: {name} holds NaN or infinity.")
        positive = (self.scale > 0).all() and (self.gains > 0).all() and self.tail > 0
        if not (positive and np.isfinite(self.tail)):
            raise ValueError("Preprocessing: scale, gains and tail must be positive and finite.")
        problem = problem_of_knots(self.quantile_columns, self.quantiles, self.normal_scores, d)
        if problem is None and len(self.quantile_columns) and (self.row_norm or k):
            problem = "quantiles exclude row_norm and whitening"
        if problem is not None:
            raise ValueError(f"Preprocessing: {problem}.")

    @classmethod
    def identity(cls, d):
        """The value that changes nothing."""
        return cls(np.zeros(d), np.ones(d))

    @property
    def n_features(self):
        """Number of columns it takes."""
        return len(self.offset)

    def to(self, device, dtype):
        """The same value as tensors.

        Parameters
        ----------
        device : torch.device
        dtype : torch.dtype
            Type of the whitening, which scaled rows must have. What raw rows meet keeps its own, so
            that long integers keep their last digits.

        Returns
        -------
        Preprocessing
        """
        value = copy.copy(self)
        for name in _ARRAYS:
            kept = None if name in _EXACT else dtype
            tensor = torch.tensor(getattr(self, name), dtype=kept, device=device)
            object.__setattr__(value, name, tensor)
        return value

    def apply(self, X):
        """Preprocessed rows ``(n, d)`` of raw rows or channels-last images.

        float64 stays float64, everything else becomes float32.
        """
        X = self._rows(X)
        exact, dtype = float_types(_numpy_dtype(X))
        z = cast((cast(X, exact) - cast(self.offset, exact)) / cast(self.scale, exact), dtype)
        if len(self.quantile_columns):
            raw = cast(X[:, self.quantile_columns], np.float64)
            scores = interpolate_within(raw, self.quantiles, self.normal_scores)
            z[:, self.quantile_columns] = cast(scores, dtype)
        return cast(self.after_scaling(z), dtype)

    def after_scaling(self, z):
        """The row norm and the whitening of scaled rows."""
        return self._whiten(row_standardized(z) if self.row_norm else z)

    def invert(self, Z):
        """Raw rows of preprocessed ones, in float64.

        With ``row_norm`` only ``apply(invert(Z)) == Z`` holds, for Z in the range of ``apply``.
        """
        return self.unscale(self._unwhiten(cast(self._rows(Z), np.float64)))

    def unscale(self, z):
        """Raw rows of scaled ones, in float64."""
        x = cast(z, np.float64) * self.scale + self.offset
        if len(self.quantile_columns):
            scores = cast(z[:, self.quantile_columns], np.float64)
            inside = interpolate_within(scores, self.normal_scores, self.quantiles)
            x[:, self.quantile_columns] = inside
        return x

    @property
    def score_range(self):
        """Smallest and largest number of each column of scaled rows; infinite where there is none.

        Returns
        -------
        low, high : float64 array of shape (d,)
        """
        low, high = np.full((2, self.n_features), [[-np.inf], [np.inf]])
        low[self.quantile_columns] = self.normal_scores[:, :1].ravel()
        high[self.quantile_columns] = self.normal_scores[:, -1:].ravel()
        return low, high

    def project(self, z, *, restore=None):
        """``apply(invert(z))``, differentiable for tensors.

        ``restore`` is a function that puts fixed entries back into scaled rows.
        """
        if restore is None and not self.row_norm:
            return z
        z = self._unwhiten(z)
        return self.after_scaling(z if restore is None else restore(z))

    def _whiten(self, z):
        if not len(self.gains):
            return z
        return low_rank_scaling(z, self.components, self.gains, self.tail)

    def _unwhiten(self, z):
        if not len(self.gains):
            return z
        return low_rank_scaling(z, self.components, 1 / self.gains, 1 / self.tail)

    def _rows(self, X):
        X = X if isinstance(X, torch.Tensor) else np.asarray(X)
        rows = X.reshape(len(X), math.prod(X.shape[1:])) if X.ndim > 2 else X
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ValueError(
                f"Preprocessing takes rows of {self.n_features} columns, or images of as many "
                f"numbers, got an array of shape {tuple(X.shape)}."
            )
        return rows

    def __eq__(self, other):
        if not isinstance(other, Preprocessing):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]


def _numpy_dtype(X):
    return X.dtype if isinstance(X, np.ndarray) else np.dtype(str(X.dtype).removeprefix("torch."))


class TransformerPreprocessing:
    """A user's fitted scikit-learn transformer behind the same verbs.

    It cannot be written to a coreset file.
    """

    row_norm = False
    bounds = None

    def __init__(self, transformer, n_features):
        self.transformer, self.n_features = transformer, n_features

    @property
    def name(self):
        """As one would type it, without its parameters."""
        return f"{type(self.transformer).__name__}()"

    def learn_bounds(self, X):
        """Keep the range of these rows, transformed; in it :meth:`invert` should work."""
        Z = self.apply(X)
        self.bounds = Z.min(0), Z.max(0)

    def apply(self, X):
        """Rows transformed by the user's transformer, as a float array."""
        # A copy: with copy=False a transformer changes what it is given.
        Z = self.transformer.transform(np.array(X))
        if issparse(Z):
            raise ValueError(
                f"preprocessing={self.name} gives sparse rows; use its sparse_output=False."
            )
        Z = np.asarray(Z)
        return np.ascontiguousarray(Z, dtype=np.float64 if is_double(Z.dtype) else np.float32)

    def invert(self, Z):
        """Raw rows by the transformer's ``inverse_transform``.

        Where that is not finite, of the nearest row within the bounds.
        """
        return self._finite(lambda Z: np.array(self.transformer.inverse_transform(Z)), Z)

    def round_trip(self, Z):
        """``apply(invert(Z))``; where that is not finite, of the nearest row within the bounds."""
        return self._finite(lambda Z: self.apply(self.invert(Z)), Z)

    def _finite(self, function, Z):
        Z = np.array(Z, dtype=np.float64)
        with warnings.catch_warnings():
            # Some transformers warn of numbers that are clipped here, or refused below.
            warnings.simplefilter("ignore")
            out = function(Z.copy())
            lost = ~np.isfinite(out).all(axis=1)
            if lost.any() and self.bounds is not None:
                out[lost] = function(np.clip(Z[lost], *self.bounds))
        if not np.isfinite(out).all():
            raise ValueError(
                f"preprocessing={self.name} has no finite inverse for the items; put it in front "
                "of the distiller with sklearn.pipeline.Pipeline, and use preprocessing=None."
            )
        return out
