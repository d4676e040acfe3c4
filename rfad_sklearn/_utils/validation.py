"""What every estimator does around its fit.

Rows of numbers, the shape of an image, the user's layout, state kept on errors, warnings.
"""

import functools
import math
import sys
import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, check_X_y, validate_data

from .columns import ExpandedRows
from .columns_fit import learn_columns, with_medians
from .frames import column_names, is_frame, is_polars, refuse_times
from .preprocessing_value import is_double, is_single

# Packages whose frames lie between a program and what warns it.
_WRAPPERS = ("rfad_sklearn", "sklearn", "joblib", "contextlib")
# What to do about gaps among numbers.
_GAPS = "Use missing='impute', which takes medians, or a SimpleImputer in a Pipeline."


def as_rows(X):
    """X as 2-d rows, and the image shape or None.

    Images become a view; whatever is not an array of images is given back as it is.
    """
    if not hasattr(X, "shape") and isinstance(X, list | tuple):
        X = np.asarray(X)
    shape = getattr(X, "shape", ())
    if len(shape) not in (3, 4):
        return X, None
    image_shape = (*shape[1:], 1) if len(shape) == 3 else tuple(shape[1:])
    if 0 in image_shape:
        raise ValueError(f"X holds images without pixels: its shape is {tuple(shape)}.")
    return np.asarray(X).reshape(shape[0], math.prod(shape[1:])), image_shape


def normalise_image_shape(image_shape):
    """``(H, W, channels)`` of a user's ``(H, W)`` or ``(H, W, channels)``."""
    try:
        sides = tuple(image_shape)
    except TypeError:
        sides = ()
    if len(sides) not in (2, 3) or not all(
        isinstance(side, int | np.integer) and not isinstance(side, bool) and side > 0
        for side in sides
    ):
        raise ValueError(
            f"image_shape={image_shape!r} is not a shape; give (H, W) or (H, W, channels) as "
            "positive ints, or None for tables."
        )
    return tuple(int(side) for side in sides) + ((1,) if len(sides) == 2 else ())


def resolve_image_shape(image_shape, seen, n_features):
    """Reconcile the parameter with the layout of X; None for tables."""
    if image_shape is None:
        return seen
    wanted = normalise_image_shape(image_shape)
    if seen is not None and seen != wanted:
        raise ValueError(
            f"image_shape={image_shape!r} does not match X, whose images are {seen}; drop "
            "image_shape or reshape X."
        )
    if int(np.prod(wanted)) != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} needs {int(np.prod(wanted))} columns (H x W x channels), "
            f"X has {n_features}; correct image_shape, or pass images as (n, H, W) or "
            "(n, H, W, channels)."
        )
    return wanted


def warn_caller(message, category=UserWarning):
    """Warn at the line of the program that called this library, whatever wrappers lie between."""
    level, frame = 1, sys._getframe(0)
    while (
        frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _WRAPPERS
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _warn_of_channels_first(X):
    """Warn of images that look like torch's: 1 or 3 channels, then a square."""
    shape = tuple(getattr(X, "shape", ()))
    if len(shape) == 4 and shape[1] in (1, 3) and shape[2] == shape[3] > 4:
        warn_caller(
            f"X of shape {shape} is read as images of {shape[1]}x{shape[2]} pixels with {shape[3]} "
            "channels. If it is channels-first, pass X.transpose(0, 2, 3, 1)."
        )


def check_rows(estimator, X, *, reset, image_shape=None, settings=None, **labels):
    """Validate X, and y when given by keyword; gives ``(rows, image shape seen)`` and y.

    ``rows`` is a view where X is already numeric, and :class:`ExpandedRows` where it has categories
    or where gaps are filled. What its columns are is learned with ``reset``, by the parameters of
    ``settings``, of the estimator itself by default, and kept as ``_columns``. ``image_shape`` is
    the one learned in ``fit``: images of another shape are refused even when their sizes agree.
    """
    if is_polars(X) and hasattr(X, "collect"):
        raise TypeError("X is a LazyFrame, whose rows are not there yet; give X.collect().")
    rows, seen = as_rows(X)
    if not reset and seen is not None and seen != image_shape:
        expected = f"images of shape {image_shape}" if image_shape else "flat rows"
        way_out = "give a single image as X[None]" if image_shape == np.shape(X) else "reshape X"
        raise ValueError(
            f"X holds images of shape {seen}, but this {type(estimator).__name__} was fitted on "
            f"{expected} with {estimator.n_features_in_} features; {way_out}."
        )
    if (
        not reset
        and seen is None
        and image_shape
        and (*np.shape(X), 1) == image_shape
        and rows.shape[1] != estimator.n_features_in_
    ):
        raise ValueError(
            f"X of shape {np.shape(X)} looks like a single image of shape {image_shape}; give it "
            "as X[None]."
        )
    if reset:
        _warn_of_channels_first(X)
        estimator._columns = None
        own = vars(estimator if settings is None else settings)
        if seen is None and "categorical_features" in own:
            estimator._columns = learn_columns(rows, own["categorical_features"])
    elif is_frame(rows):
        refuse_times(rows)
    columns = getattr(estimator, "_columns", None)
    # Images have no gaps.
    fills = seen is None and (own.get("missing") == "impute" if reset else _fills(columns))
    read = _numeric if columns is None or not columns.encodes else _encoded
    codes, *y = read(estimator, rows, reset, "allow-nan" if fills else True, labels)
    if fills and reset:
        names = column_names(rows if is_frame(rows) else codes)
        columns = estimator._columns = with_medians(columns, codes, names)
    if fills:
        codes = columns.filled(codes)
    if columns is not None and columns.encodes:
        single = not is_frame(rows) and is_single(np.asarray(rows).dtype)
        codes = ExpandedRows(codes, columns, np.float32 if single else np.float64)
    return codes, seen, *y


def _fills(columns):
    return columns is not None and columns.medians is not None


def _numeric(estimator, rows, reset, finite, labels):
    """Rows of numbers, and y where it is given."""
    try:
        validated = validate_data(estimator, rows, reset=reset, ensure_all_finite=finite, **labels)
    except ValueError as error:
        if "X contains NaN" in str(error) and hasattr(estimator, "missing"):
            raise ValueError(f"{error}\n{_GAPS}") from error
        if not str(error).startswith("could not convert string"):
            raise
        takes = hasattr(estimator, "categorical_features")
        named = ", or name their columns: categorical_features=[...]" if takes else ""
        raise ValueError(
            f"X has a column that is not numeric: {error}. Encode categories first, for example "
            f"with a ColumnTransformer of OneHotEncoder(sparse_output=False){named}."
        ) from error
    return validated if labels else (validated,)


def _encoded(estimator, rows, reset, finite, labels):
    """Codes of rows with categories, and y where it is given."""
    # Names and number of the columns.
    validate_data(estimator, rows, reset=reset, skip_check_array=True, **labels)
    if issparse(rows) or len(np.shape(rows)) != 2:
        # Refused in the words that all estimators have.
        check_array(rows, estimator=estimator)
    codes = estimator._columns.encode(rows)
    if finite is True and np.isnan(codes).any():
        k = int(np.isnan(codes).any(0).argmax())
        raise ValueError(f"Input X contains NaN in column {column_names(rows)[k]!r}.\n{_GAPS}")
    settings = {"estimator": estimator, "ensure_all_finite": finite}
    if labels:
        return check_X_y(codes, labels["y"], **settings)
    return (check_array(codes, **settings),)


def float_dtype(X):
    """Float type of outputs: that of X; float64 for integers of 32 bits and more, else float32."""
    wide = is_double(X.dtype) or (X.dtype.kind in "iu" and X.dtype.itemsize >= 4)
    return np.dtype(np.float64 if wide else np.float32)


def in_layout(rows, X, seen):
    """Rows in the layout of X: images where :func:`as_rows` saw images."""
    return rows if seen is None else rows.reshape(np.shape(X))


def keep_state_on_error(fit):
    """A failed ``fit`` leaves the estimator as it was: nothing half-fitted, nothing lost."""

    @functools.wraps(fit)
    def wrapped(self, *args, **kwargs):
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return wrapped


class RowSubset:
    """Some rows of an array, sliced without copying the rest.

    A memory map is never read at once.
    """

    def __init__(self, rows, indices):
        self.rows, self.indices = rows, indices
        self.shape = (len(indices), rows.shape[1])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, where):
        return self.rows[self.indices[where]]
