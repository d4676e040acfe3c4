"""Held-out rows that are given to ``fit``: checked, and put behind the rows of X."""

import numpy as np

from .._utils.labels import encode_known_labels
from .._utils.row_selection import split_holdout
from .._utils.row_stack import RowStack
from .._utils.validation import check_rows

# Rows that are compared with their values in another type at a time.
_CHUNK = 4096


def check_validation_rows(estimator, X_val, y_val, rows, classes, image_shape):
    """Rows of X with given held-out rows behind them, and the numbers of the latter's classes.

    Parameters
    ----------
    estimator : CoresetEstimator
        That has seen X.
    X_val, y_val : as in ``fit``
    rows : array of shape (n, d)
        Of X.
    classes : array of shape (n_classes,)
        Of y.
    image_shape : tuple (H, W, channels) or None

    Returns
    -------
    RowStack
    y_encoded : int array of shape (n_val,)

    Raises
    ------
    ValueError, TypeError
        Where one of the two is missing, early stopping is off, or they are not like X and y.
    """
    if X_val is None or y_val is None:
        given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
        raise ValueError(f"{given} is given without {missing}; give both, or neither.")
    if not estimator.early_stopping:
        raise ValueError(
            f"X_val and y_val are given, but early_stopping={estimator.early_stopping!r} evaluates "
            "no rows; use early_stopping=True or 'auto', or leave them out."
        )
    try:
        held_out, _, labels = check_rows(
            estimator, X_val, reset=False, image_shape=image_shape, y=y_val
        )
    except (ValueError, TypeError) as error:
        raise type(error)(f"X_val and y_val must be like X and y: {error}") from error
    return RowStack(rows, _in_type(held_out, rows.dtype)), encode_known_labels(labels, classes)


def _in_type(held_out, dtype):
    """Held-out rows, where the type of X holds their values."""
    if dtype.kind == "f" or held_out.dtype == dtype:
        return held_out
    for start in range(0, len(held_out), _CHUNK):
        chunk = np.asarray(held_out[start : start + _CHUNK])
        if not np.array_equal(chunk.astype(dtype), chunk):
            raise ValueError(
                f"X_val, of type {held_out.dtype}, has values that {dtype}, the type of X, cannot "
                "hold; give both in one type that can, such as float64."
            )
    return held_out


def chosen_to_evaluate(y_encoded, limit, rng):
    """Numbers of the given rows that evaluate: all, or of more than ``limit`` about as many.

    Parameters
    ----------
    y_encoded : int array of shape (n_val,)
    limit : int
    rng : numpy.random.Generator

    Returns
    -------
    array of int
    """
    n = len(y_encoded)
    if n <= limit:
        return np.arange(n)
    present = np.unique(y_encoded, return_inverse=True)[1]
    none = np.zeros(present.max() + 1, dtype=int)
    return split_holdout(present, limit / n, none, rng, limit)[1]
