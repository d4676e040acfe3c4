"""Preprocessing as one numeric value: standardisation, optional per-row norm, optional low-rank whitening.

The value travels inside the coreset and its file. What fits it lives in ``preprocessing``.
"""

from dataclasses import dataclass, field, fields

import numpy as np

_SMALLEST_NORM = 1e-12


def low_rank_scaling(z, components, gains, tail):
    """Scale by ``gains`` along the orthonormal rows of ``components`` and by ``tail`` along everything else."""
    return tail * z + ((z @ components.T) * (gains - tail)) @ components


def row_standardized(z):
    """Each row minus its mean, divided by its standard deviation; works on numpy arrays and torch tensors alike."""
    z = z - z.mean(axis=1, keepdims=True)
    return z / ((z * z).mean(axis=1, keepdims=True) + _SMALLEST_NORM) ** 0.5


def float_types(dtype):
    """numpy types in which raw rows of ``dtype`` are scaled, and which the result has.

    Long integers, time stamps say, lose their last digits in float32: the offset is taken off before.
    """
    exact = np.float64 if dtype.kind in "iuf" and dtype.itemsize >= 4 and dtype != np.float32 else np.float32
    return np.dtype(exact), np.dtype(np.float64 if dtype == np.float64 else np.float32)


class AfterScaling:
    """``W norm(z)``: what is the same for numpy arrays and torch tensors, whichever ``components`` and ``gains`` are."""

    def after_scaling(self, z):
        """The row norm and the whitening of scaled rows."""
        return self._whiten(row_standardized(z) if self.row_norm else z)

    def project(self, z, *, restore=None):
        """``apply(invert(z))``, differentiable; ``restore`` is a function that puts fixed entries back into scaled rows."""
        if restore is None and not self.row_norm:
            return z
        z = self._unwhiten(z)
        return self.after_scaling(z if restore is None else restore(z))

    def _whiten(self, z):
        return low_rank_scaling(z, self.components, self.gains, self.tail) if len(self.gains) else z

    def _unwhiten(self, z):
        return low_rank_scaling(z, self.components, 1 / self.gains, 1 / self.tail) if len(self.gains) else z


@dataclass(frozen=True, eq=False)
class Preprocessing(AfterScaling):
    """``z = W norm((x - offset) / scale)`` with ``W`` a truncated whitening; every part but the first may be absent.

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
    """

    offset: np.ndarray
    scale: np.ndarray
    row_norm: bool = False
    components: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    gains: np.ndarray = field(default_factory=lambda: np.empty(0))
    tail: float = 1.0

    def __post_init__(self):
        for name in ("offset", "scale", "components", "gains"):
            array = np.array(getattr(self, name))
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.offset.ndim != 1:
            raise ValueError(f"Preprocessing: offset must be a vector, got shape {self.offset.shape}.")
        d, k = self.offset.shape[-1], len(self.gains)
        if self.offset.shape != (d,) or self.scale.shape != (d,):
            raise ValueError("Preprocessing: offset and scale must be vectors of the same length.")
        if self.components.shape != ((k, d) if k else (0, 0)):
            raise ValueError(f"Preprocessing: components must be of shape {(k, d)}, got {self.components.shape}.")
        for name in ("offset", "scale", "components", "gains"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"Preprocessing: {name} holds NaN or infinity.")
        if not ((self.scale > 0).all() and (self.gains > 0).all() and self.tail > 0 and np.isfinite(self.tail)):
            raise ValueError("Preprocessing: scale, gains and tail must be positive and finite.")

    @classmethod
    def identity(cls, d):
        """The value that changes nothing."""
        return cls(np.zeros(d), np.ones(d))

    @property
    def n_features(self):
        """Number of columns it takes."""
        return len(self.offset)

    def apply(self, X):
        """Preprocessed rows ``(n, d)`` of raw rows; float64 stays float64, everything else becomes float32."""
        exact, dtype = float_types(X.dtype)
        z = ((X.astype(exact) - self.offset.astype(exact)) / self.scale.astype(exact)).astype(dtype, copy=False)
        return self.after_scaling(z).astype(dtype, copy=False)

    def invert(self, Z):
        """Raw rows of preprocessed ones, in float64.

        With ``row_norm`` only ``apply(invert(Z)) == Z`` holds, for Z in the range of ``apply``.
        """
        return self._unwhiten(np.asarray(Z, dtype=np.float64)) * self.scale + self.offset

    def __eq__(self, other):
        if not isinstance(other, Preprocessing):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None


class TransformerPreprocessing:
    """A user's fitted scikit-learn transformer behind the same three verbs. It cannot be written to a coreset file."""

    row_norm = False

    def __init__(self, transformer, n_features):
        self.transformer, self.n_features = transformer, n_features

    def apply(self, X):
        """Rows transformed by the user's transformer, as a float array."""
        Z = np.asarray(self.transformer.transform(X))
        return Z.astype(np.float64 if Z.dtype == np.float64 else np.float32, copy=False)

    def invert(self, Z):
        """Raw rows by the transformer's ``inverse_transform``."""
        return np.asarray(self.transformer.inverse_transform(Z))
