"""Transformers that fit the numeric preprocessing value which a coreset carries.

All take rows ``(n, d)``; all but :class:`QuantileNormalizer` grey images ``(n, H, W)`` or colour
images ``(n, H, W, channels)`` as well. They give back the same layout.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from ._utils.preprocessing_fit import (
    leading_whitening_value,
    standardizing_value,
    whitening_value,
)
from ._utils.preprocessing_value import Preprocessing
from ._utils.quantile_fit import quantile_value, table_value
from ._utils.quantile_map import MOST_KNOTS
from ._utils.transformer_fit import fit_transformer
from ._utils.validation import (
    as_rows,
    check_rows,
    float_dtype,
    in_layout,
    keep_state_on_error,
    resolve_image_shape,
)

__all__ = ["ChannelStandardizer", "InstanceNormalizer", "QuantileNormalizer", "RegularizedZCA"]


def fit_preprocessing(preprocessing, rows, image_shape, *, invertible=True, columns=None):
    """The fitted value of a user's ``preprocessing`` parameter.

    Parameters
    ----------
    preprocessing : {"auto", "standardize", "quantile", "zca"}, transformer or None
    rows : array of shape (n, d), or anything with its length, shape and slices
    image_shape : tuple (H, W, channels) or None
    invertible : bool, default=True
        Refuse a transformer that cannot be taken back.
    columns : Columns, optional
        Of a table with categories.

    Returns
    -------
    Preprocessing or TransformerPreprocessing

    Raises
    ------
    ValueError
        When a transformer has no inverse, or changes the number of pixels of images; when
        quantiles of images are wanted; or for a transformer where there are categories.
    """
    one_hot = columns.one_hot if columns is not None and columns.encodes else None
    if preprocessing is None:
        return Preprocessing.identity(rows.shape[1])
    if preprocessing == "zca":
        reg = RegularizedZCA().reg
        return whitening_value(rows, image_shape, reg, n_components=None, one_hot=one_hot)
    if preprocessing == "auto" and image_shape is not None:
        return leading_whitening_value(rows, image_shape)
    if preprocessing == "auto":
        return table_value(rows, one_hot)
    if preprocessing == "quantile":
        QuantileNormalizer()._refuse_images(image_shape)
        return quantile_value(rows, one_hot=one_hot)
    if isinstance(preprocessing, str):
        return standardizing_value(rows, image_shape, one_hot)
    if one_hot is not None:
        raise ValueError(
            f"preprocessing={preprocessing!r} takes numbers, but X has columns of categories; use "
            "a word or None, or encode them first and use categorical_features=None."
        )
    transformer = clone(preprocessing)
    if isinstance(transformer, _NumericPreprocessor):
        # Not by its ``fit``, which would take all rows at once.
        transformer._validate_params()
        shape = resolve_image_shape(transformer.image_shape, image_shape, rows.shape[1])
        return transformer._fit_value(rows, shape)
    return fit_transformer(transformer, rows, image_shape, invertible)


class _LayoutMixin:
    """``transform`` and ``fit_transform`` that keep the layout of images.

    scikit-learn's own would put images into a data frame after ``set_output``.
    """

    # Of the class that it is mixed into.
    fit: Any
    value_: Preprocessing
    image_shape_: tuple | None

    def transform(self, X: ArrayLike) -> Any:
        """Preprocess X, in its own layout and float type.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels)

        Returns
        -------
        array of the same shape
            Of tables, the container that ``set_output`` names.
        """
        check_is_fitted(self)
        rows, seen = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        Z = in_layout(self.value_.apply(rows).astype(float_dtype(rows), copy=False), X, seen)
        return Z if seen is not None else _wrap_data_with_container("transform", Z, X, self)

    def fit_transform(self, X: ArrayLike, y: object = None) -> Any:
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
    """Shared by all: fit a value, apply it, take it back."""

    _parameter_constraints: dict = {"image_shape": [None, "array-like"]}

    @keep_state_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: object = None) -> _NumericPreprocessor:
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
    """Shared by those that have an inverse."""

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Take preprocessed rows back to raw units.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels)

        Returns
        -------
        array of the same shape

        Raises
        ------
        ValueError
            When X has another number of columns, or images of another shape, than in ``fit``.
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

    def __init__(self, image_shape: tuple[int, ...] | None = None):
        self.image_shape = image_shape

    def _fit_value(self, rows, image_shape):
        return standardizing_value(rows, image_shape)


class QuantileNormalizer(_InvertiblePreprocessor):
    """Each column of a table to the normal scores of its ranks, by a piecewise-linear map.

    Skewed columns, and those with outliers, become nearly normal; the order of the numbers stays.
    The map is bounded both ways: numbers beyond the range seen in ``fit`` are taken for its ends,
    and the inverse of any number lies within it. Constant columns become zero.

    Parameters
    ----------
    n_quantiles : int, default=64
        Knots of a column, at most, beside its smallest and largest value. They lie evenly in normal
        scores between -4 and 4; a column of fewer distinct values has these.

    Attributes
    ----------
    value_ : Preprocessing
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from rfad_sklearn import QuantileNormalizer
    >>> X = np.random.default_rng(0).lognormal(sigma=3, size=(1000, 1))
    >>> normalizer = QuantileNormalizer().fit(X)
    >>> float(X.max().round()), float(normalizer.transform(X).max().round(1))
    (9878.0, 3.3)
    >>> float(normalizer.inverse_transform([[100.0]]).item()) == float(X.max())
    True
    """

    _parameter_constraints: dict = {"n_quantiles": [Interval(Integral, 2, None, closed="left")]}
    # Images are refused.
    image_shape = None

    def __init__(self, n_quantiles: int = MOST_KNOTS):
        self.n_quantiles = n_quantiles

    def _fit_value(self, rows, image_shape):
        self._refuse_images(image_shape)
        return quantile_value(rows, self.n_quantiles)

    @staticmethod
    def _refuse_images(image_shape):
        if image_shape is not None:
            raise ValueError(
                f"Quantiles are for the columns of tables, got images of shape {image_shape}; use "
                "preprocessing='standardize' or ChannelStandardizer."
            )


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

    def __init__(
        self,
        reg: float = 0.1,
        n_components: int | None = None,
        image_shape: tuple[int, ...] | None = None,
    ):
        self.reg = reg
        self.n_components = n_components
        self.image_shape = image_shape

    def _fit_value(self, rows, image_shape):
        value = whitening_value(rows, image_shape, self.reg, self.n_components)
        self.n_components_ = len(value.gains)
        return value


class InstanceNormalizer(_NumericPreprocessor):
    """Standardisation per channel, then zero mean and unit variance within every image or row.

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
    >>> X = np.array([[0.0, 1.0, 2.0], [5.0, 5.0, 11.0], [3.0, 0.0, 1.0]])
    >>> Z = InstanceNormalizer().fit_transform(X)
    >>> bool(np.allclose(Z.mean(axis=1), 0)), bool(np.allclose(Z.std(axis=1), 1))
    (True, True)
    """

    _parameter_constraints: dict = {
        **_NumericPreprocessor._parameter_constraints,
        "zca_reg": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, zca_reg: float | None = None, image_shape: tuple[int, ...] | None = None):
        self.zca_reg = zca_reg
        self.image_shape = image_shape

    def _fit_value(self, rows, image_shape):
        if self.zca_reg is not None:
            return whitening_value(rows, image_shape, self.zca_reg, None, row_norm=True)
        base = standardizing_value(rows, image_shape)
        return Preprocessing(base.offset, base.scale, row_norm=True)
