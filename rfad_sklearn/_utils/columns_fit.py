"""Finds out what the columns of a table are: which are categories, and what they hold."""

from dataclasses import replace

import numpy as np

from .columns import MOST_CATEGORIES, Columns
from .frames import (
    column_names,
    column_of,
    dtype_names,
    is_category,
    is_frame,
    refuse_text,
    refuse_times,
    values_and_gaps,
)


def learn_columns(X, categorical_features):
    """What the columns of X are; None where there is nothing to say of them.

    Parameters
    ----------
    X : data frame, or array of shape (n, d)
    categorical_features : "from_dtype", mask, numbers, names or None

    Returns
    -------
    Columns or None

    Raises
    ------
    ValueError, TypeError
        For ``categorical_features`` that X does not have, and for columns that cannot be taken.
    """
    frame = is_frame(X)
    X = X if frame else np.asarray(X)
    if len(X.shape) != 2:
        return None
    categorical = _categorical_mask(X, categorical_features, frame)
    names = column_names(X)
    if frame:
        if len(set(names)) < len(names):
            raise ValueError(
                f"X has several columns of one name: {names}. Give each its own: X.columns = [...]."
            )
        refuse_times(X)
        refuse_text(X, categorical)
    elif not categorical.any():
        return None
    categories, with_gaps = [], []
    for k, name in enumerate(names):
        own, gaps = _seen_categories(column_of(X, k), name) if categorical[k] else (None, False)
        categories.append(own)
        with_gaps.append(gaps)
    with_gaps = np.array(with_gaps, dtype=bool)
    return Columns(tuple(categories), with_gaps, dtypes=dtype_names(X) if frame else None)


def with_medians(columns, codes, names):
    """The same columns with what stands for gaps among numbers.

    Parameters
    ----------
    columns : Columns or None
    codes : array of shape (n, d)
        NaN for gaps.
    names : list
        Of the columns.

    Raises
    ------
    ValueError
        For a column without a number.
    """
    d = codes.shape[1]
    if columns is None:
        columns = Columns((None,) * d, np.zeros(d, dtype=bool))
    medians = np.zeros(d)
    for k in np.flatnonzero(~columns.is_categorical):
        numbers = codes[:, k][~np.isnan(codes[:, k])]
        if not len(numbers):
            raise ValueError(
                f"X has no number in column {names[k]!r}, so missing='impute' has no median for "
                "its gaps; leave the column out."
            )
        medians[k] = np.median(numbers)
    return replace(columns, medians=medians)


def _seen_categories(column, name):
    """Categories that a column shows, in their order, and whether it has gaps."""
    values, gaps = values_and_gaps(column)
    seen = set(values[~gaps].tolist())
    if any(isinstance(value, float) and np.isinf(value) for value in seen):
        raise ValueError(
            f"X has infinity among the categories of column {name!r}; they must be texts, or "
            "finite numbers."
        )
    if len(seen) > MOST_CATEGORIES:
        raise ValueError(
            f"X has {len(seen)} categories in column {name!r}, and each costs a column inside; at "
            f"most {MOST_CATEGORIES} are taken. Group the rare ones under one name, or leave the "
            "column out."
        )
    own = getattr(getattr(column, "cat", None), "categories", None)
    if hasattr(own, "dtype"):
        ordered = [value for value in np.asarray(own, dtype=object).tolist() if value in seen]
    else:
        try:
            ordered = sorted(seen)
        except TypeError:
            ordered = list(seen)
    array = np.array(ordered) if ordered else np.empty(0, dtype=np.float64)
    texts = [isinstance(value, str) for value in ordered]
    if ordered and (array.dtype.kind not in "biufU" or any(texts) != all(texts)):
        kinds = sorted({type(value).__name__ for value in ordered})
        raise TypeError(
            f"X has categories of type {', '.join(kinds)} in column {name!r}; they must be texts, "
            f"or numbers: X[{name!r}] = X[{name!r}].astype(str).astype('category')."
        )
    return array, bool(gaps.any())


def _categorical_mask(X, wanted, frame):
    d = X.shape[1]
    mask = np.zeros(d, dtype=bool)
    if wanted is None:
        return mask
    if isinstance(wanted, str) and wanted == "from_dtype":
        return np.array([is_category(name) for name in dtype_names(X)]) if frame else mask
    given = np.asarray(wanted)
    if given.ndim == 1 and given.dtype == bool and given.shape == (d,):
        return given.copy()
    if given.ndim == 1 and given.dtype.kind in "iu":
        if (given < 0).any() or (given >= d).any():
            raise ValueError(
                f"categorical_features={wanted!r} must be numbers of columns from 0 to {d - 1}."
            )
        mask[given] = True
        return mask
    names = column_names(X)
    if given.ndim == 1 and frame and all(isinstance(name, str) for name in given.tolist()):
        unknown = [name for name in given.tolist() if name not in names]
        if unknown:
            raise ValueError(
                f"categorical_features names columns that X does not have: {unknown}; its columns "
                f"are {names}."
            )
        return np.isin(np.array(names, dtype=object), given)
    if given.shape == (0,):
        return mask
    raise ValueError(
        f"categorical_features={wanted!r} must be 'from_dtype', a mask of {d} bools, numbers of "
        "columns, names of columns of a data frame, or None."
    )
