"""Transformers that fit the numeric preprocessing value which a coreset carries.

All three take rows ``(n, d)``, grey images ``(n, H, W)`` or colour images ``(n, H, W, channels)``
and give back the same layout.
"""

from numbers import Integral, Real

import numpy as np
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted

from ._utils.preprocessing_value import Preprocessing, TransformerPreprocessing, row_standardized
from ._utils.validation import (
    as_rows,
    check_rows,
    float_dtype,
    in_layout,
    keep_state_on_error,
    resolve_image_shape,
)

__all__ = ["ChannelStandardizer", "InstanceNormalizer", "RegularizedZCA"]

# Rows per pass over the data: a memory map is never read at once.
_CHUNK = 4096
# Directions whose gain is within this share of the tail's are left to the tail.
_TAIL_TOLERANCE = 0.01
# "auto" for images: the same share, with the fewest and the most leading directions; of so many
# rows or fewer where rows are long; none of fewer rows than the last number.
_LEADING_TOLERANCE, _LEADING, _SAMPLE_ROWS, _SAMPLE_NUMBERS, _FEWEST = (
    0.25,
    (64, 256),
    8192,
    2**25,
    50,
)
# Rows that tell where the inverse of a user's transformer can be expected to work.
_BOUNDS_ROWS = 2048
# Columns up to which its shrinkage is at least 1. Larger images want less: 28x28 hardly,
# photographs clearly (docs/choices.md).
_SMALL_IMAGE = 256


def _chunks(rows):
    for start in range(0, len(rows), _CHUNK):
        yield np.asarray(rows[start : start + _CHUNK], dtype=np.float64)


def standardizing_value(rows, image_shape):
    """Mean and deviation per channel (images) or per column (tables), as a :class:`Preprocessing` value."""
    d = rows.shape[1]
    n_groups = image_shape[2] if image_shape else d
    total = np.zeros(n_groups)
    for chunk in _chunks(rows):
        total += chunk.reshape(-1, n_groups).sum(0)
    count = len(rows) * (d // n_groups)
    mean = total / count
    squares = np.zeros(n_groups)
    for chunk in _chunks(rows):
        squares += np.square(chunk.reshape(-1, n_groups) - mean).sum(0)
    deviation = np.sqrt(squares / count)
    # A constant column carries nothing; rounding must not be blown up to unit variance.
    deviation[deviation <= 1e-10 * np.maximum(np.abs(mean), 1e-300)] = 1.0
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise ValueError(
            "X holds numbers whose squares, or whose sum, are too large for float64; divide it by a constant."
        )
    repeats = d // n_groups
    return Preprocessing(np.tile(mean, repeats), np.tile(deviation, repeats))


def whitening_value(rows, image_shape, reg, n_components, *, row_norm=False):
    """Standardisation followed by regularised ZCA, as a :class:`Preprocessing` value."""
    base = standardizing_value(rows, image_shape)
    d = rows.shape[1]
    moment = np.zeros((d, d))
    for chunk in _chunks(rows):
        z = base.apply(chunk)
        z = row_standardized(z) if row_norm else z
        moment += z.T @ z
    moment /= len(rows)
    values, vectors = eigh(moment)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # Constant data has nothing to whiten.
    shift = reg * values.mean() if values[0] > 0 else 1.0
    if shift == 0 and values[-1] <= 1e-12 * values[0]:
        raise ValueError(
            f"reg={reg!r} cannot whiten data of deficient rank; use reg > 0, the default is 0.1."
        )
    if n_components is None:
        n_components = _count_components(values, values.sum(), d, shift, _TAIL_TOLERANCE)
    elif n_components > d:
        raise ValueError(
            f"n_components={n_components} is more than the {d} columns of X; lower it or use None."
        )
    gains = 1 / np.sqrt(values[:n_components] + shift)
    tail = _tail(values[:n_components], values.sum(), d, shift)
    components = np.ascontiguousarray(vectors[:, :n_components].T.astype(np.float32))
    return Preprocessing(base.offset, base.scale, row_norm, components, gains, tail)


def leading_whitening_value(rows, image_shape):
    """Standardisation, then a gentle whitening along the leading directions only, as a :class:`Preprocessing` value.

    The second moment is shrunk by ``min(1, sqrt(256 / d)) + d / n`` times its mean eigenvalue,
    ``n`` rows being looked at: the smaller the images and the fewer the rows, the less is whitened,
    and nothing of fewer than 50 rows. Any number of columns is affordable, and the value stays
    small in a file.
    """
    base = standardizing_value(rows, image_shape)
    d = rows.shape[1]
    if d < 2 or len(rows) < _FEWEST:
        return base
    n = min(len(rows), _SAMPLE_ROWS, max(_SAMPLE_NUMBERS // d, _FEWEST))
    chosen = np.linspace(0, len(rows) - 1, n).astype(int)
    z = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, _CHUNK):
        z[start : start + _CHUNK] = base.apply(np.asarray(rows[chosen[start : start + _CHUNK]]))
    mean = float(np.square(z, dtype=np.float64).mean())
    if mean == 0:
        return base
    # With a fixed seed the value depends on the rows alone.
    _, singular, components = randomized_svd(z, min(_LEADING[1], n, d), random_state=0)
    values = np.square(singular, dtype=np.float64) / n
    shift = (min(1.0, np.sqrt(_SMALL_IMAGE / d)) + d / n) * mean
    k = max(
        _count_components(values, d * mean, d, shift, _LEADING_TOLERANCE),
        min(_LEADING[0], len(values)),
    )
    components = np.ascontiguousarray(components[:k])
    return Preprocessing(
        base.offset,
        base.scale,
        False,
        components,
        1 / np.sqrt(values[:k] + shift),
        _tail(values[:k], d * mean, d, shift),
    )


def _tail(leading, total, d, shift):
    """The one factor of all directions but the leading ones, of the sum of all eigenvalues; 1 where there are no others."""
    n_rest = d - len(leading)
    return float(1 / np.sqrt(max(total - leading.sum(), 0.0) / n_rest + shift)) if n_rest else 1.0


def _count_components(values, total, d, shift, tolerance):
    """Fewest leading directions for which one constant is good enough for all the others."""
    gains = 1 / np.sqrt(values + shift)
    for k in range(1, len(values)):
        tail = _tail(values[:k], total, d, shift)
        if abs(gains[k] / tail - 1) <= tolerance and abs(gains[-1] / tail - 1) <= tolerance:
            return k
    return len(values)


def fit_preprocessing(preprocessing, rows, image_shape, *, invertible=True):
    """Fit what a user's ``preprocessing`` parameter asks for.

    Parameters
    ----------
    preprocessing : {"auto", "standardize", "zca"}, transformer or None
    rows : array of shape (n, d), or anything with its length, shape and slices
    image_shape : tuple (H, W, channels) or None
    invertible : bool, default=True
        Refuse a transformer that cannot be taken back.

    Returns
    -------
    Preprocessing or TransformerPreprocessing
    """
    if preprocessing is None:
        return Preprocessing.identity(rows.shape[1])
    if preprocessing == "zca":
        return whitening_value(rows, image_shape, reg=RegularizedZCA().reg, n_components=None)
    if preprocessing == "auto" and image_shape is not None:
        return leading_whitening_value(rows, image_shape)
    if isinstance(preprocessing, str):
        return standardizing_value(rows, image_shape)
    transformer = clone(preprocessing)
    if isinstance(transformer, _NumericPreprocessor):
        # Not by its ``fit``, which would take all rows at once.
        transformer._validate_params()
        shape = resolve_image_shape(transformer.image_shape, image_shape, rows.shape[1])
        return transformer._fit_value(rows, shape)
    if invertible and not hasattr(transformer, "inverse_transform"):
        raise ValueError(
            f"preprocessing={type(transformer).__name__}() has no inverse_transform, so the coreset could not be given in the units of "
            "X; put it in front of the distiller with sklearn.pipeline.Pipeline and use preprocessing=None."
        )
    # A user's transformer may want the whole array, in float.
    fitted = TransformerPreprocessing(
        transformer.fit(np.array(rows[:], dtype=float)), rows.shape[1]
    )
    width = fitted.apply(np.asarray(rows[:1], dtype=float)).shape[1]
    if invertible:
        fitted.learn_bounds(
            np.asarray(
                rows[np.linspace(0, len(rows) - 1, min(len(rows), _BOUNDS_ROWS)).astype(int)],
                dtype=float,
            )
        )
    if image_shape is not None and width != rows.shape[1]:
        raise ValueError(
            f"preprocessing={type(transformer).__name__} makes {width} columns of images of shape {image_shape}; use one that keeps the "
            "number of columns, or flat rows and an MLP."
        )
    return fitted


class _LayoutMixin:
    """``transform`` and ``fit_transform``; not scikit-learn's, which would put images into a data frame where one is asked for."""

    def transform(self, X):
        """Preprocess X, in its own layout and float type.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels)

        Returns
        -------
        array of the same shape
            Of tables, what ``set_output`` asks for.
        """
        check_is_fitted(self)
        rows, seen = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        Z = in_layout(self.value_.apply(rows).astype(float_dtype(rows), copy=False), X, seen)
        return Z if seen is not None else _wrap_data_with_container("transform", Z, X, self)

    def fit_transform(self, X, y=None):
        """Fit the value to X, and preprocess it.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels)
        y : ignored

        Returns
        -------
        array of the same shape
        """
        return self.fit(X, y).transform(X)


class _NumericPreprocessor(_LayoutMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Shared by the three: fit a value, apply it, take it back."""

    _parameter_constraints: dict = {"image_shape": [None, "array-like"]}

    @keep_state_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit the value.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels)
        y : ignored

        Returns
        -------
        self
        """
        rows, seen = check_rows(self, X, reset=True)
        self.image_shape_ = resolve_image_shape(self.image_shape, seen, rows.shape[1])
        self.value_ = self._fit_value(rows, self.image_shape_)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class _InvertiblePreprocessor(_NumericPreprocessor):
    def inverse_transform(self, X):
        """Take preprocessed rows back to raw units.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels)

        Returns
        -------
        array of the same shape
        """
        check_is_fitted(self)
        rows, seen = as_rows(X)
        rows = np.asarray(rows)
        if (
            rows.ndim != 2
            or rows.shape[1] != self.n_features_in_
            or seen not in (None, self.image_shape_)
        ):
            expected = f"{self.n_features_in_} columns" + (
                f", or images of shape {self.image_shape_}" if self.image_shape_ else ""
            )
            raise ValueError(f"X must have {expected}, got shape {np.shape(X)}.")
        return in_layout(self.value_.invert(rows).astype(float_dtype(rows), copy=False), X, seen)


class ChannelStandardizer(_InvertiblePreprocessor):
    """Zero mean and unit variance per channel of images, per column of tables.

    Parameters
    ----------
    image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows. None: 3-d and 4-d X are images, 2-d X is
        a table.

    Attributes
    ----------
    value_ : Preprocessing
        The fitted value: offset and scale.
    image_shape_ : tuple (H, W, channels) or None
    n_features_in_ : int
        H x W x channels, or the number of columns.

    Examples
    --------
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> from rfad_sklearn.preprocessing import ChannelStandardizer
    >>> X, y = load_digits_images()
    >>> Z = ChannelStandardizer().fit_transform(X)
    >>> Z.shape, bool(abs(Z.mean()) < 1e-6)
    ((1797, 8, 8), True)
    """

    def __init__(self, image_shape=None):
        self.image_shape = image_shape

    def _fit_value(self, rows, image_shape):
        return standardizing_value(rows, image_shape)


class RegularizedZCA(_InvertiblePreprocessor):
    """Standardisation and regularised ZCA whitening, truncated to the directions that matter.

    After standardisation per channel the second moment ``M`` is shrunk, ``M + reg * tr(M) / d *
    I``, and its inverse square root applied (Shankar et al. 2020, *Neural Kernels Without
    Tangents*; Nguyen et al. 2021). All but the leading ``n_components`` directions share one
    factor; this truncated map is the transform, its inverse and what a coreset's file holds.

    Parameters
    ----------
    reg : float, default=0.1
        Shrinkage, relative to the mean eigenvalue.
    n_components : int, default=None
        Leading directions with a factor of their own. None: the fewest for which the common factor
        of all the others is right within 1 %.
    image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows.

    Attributes
    ----------
    value_ : Preprocessing
    image_shape_ : tuple (H, W, channels) or None
    n_components_ : int
    n_features_in_ : int

    Examples
    --------
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> from rfad_sklearn.preprocessing import RegularizedZCA
    >>> X, y = load_digits_images()
    >>> zca = RegularizedZCA().fit(X)
    >>> bool(abs(zca.inverse_transform(zca.transform(X)) - X).max() < 1e-3)
    True
    """

    _parameter_constraints: dict = {
        **_NumericPreprocessor._parameter_constraints,
        "reg": [Interval(Real, 0, None, closed="left")],
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, reg=0.1, n_components=None, image_shape=None):
        self.reg = reg
        self.n_components = n_components
        self.image_shape = image_shape

    def _fit_value(self, rows, image_shape):
        value = whitening_value(rows, image_shape, self.reg, self.n_components)
        self.n_components_ = len(value.gains)
        return value


class InstanceNormalizer(_NumericPreprocessor):
    """Standardisation per channel, then zero mean and unit variance within every single image or row.

    Each row loses its own brightness and contrast, so there is no inverse. With ``zca_reg`` a
    regularised ZCA follows, as is usual for SVHN.

    Parameters
    ----------
    zca_reg : float, default=None
        Shrinkage of the ZCA that follows; None for no ZCA.
    image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows.

    Attributes
    ----------
    value_ : Preprocessing
    image_shape_ : tuple (H, W, channels) or None
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from rfad_sklearn.preprocessing import InstanceNormalizer
    >>> Z = InstanceNormalizer().fit_transform(np.array([[0.0, 1.0, 2.0], [5.0, 5.0, 11.0], [3.0, 0.0, 1.0]]))
    >>> bool(np.allclose(Z.mean(axis=1), 0)), bool(np.allclose(Z.std(axis=1), 1))
    (True, True)
    """

    _parameter_constraints: dict = {
        **_NumericPreprocessor._parameter_constraints,
        "zca_reg": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, zca_reg=None, image_shape=None):
        self.zca_reg = zca_reg
        self.image_shape = image_shape

    def _fit_value(self, rows, image_shape):
        if self.zca_reg is not None:
            return whitening_value(rows, image_shape, self.zca_reg, None, row_norm=True)
        base = standardizing_value(rows, image_shape)
        return Preprocessing(base.offset, base.scale, row_norm=True)
