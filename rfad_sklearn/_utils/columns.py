"""What the columns of a table are: numbers, and categories, which become one-hot columns inside."""

from dataclasses import dataclass

import numpy as np

from .frames import (
    as_type,
    column_names,
    column_of,
    frame_like,
    is_frame,
    numbers_of,
    values_and_gaps,
)
from .preprocessing_value import ReadOnlyArrays

# Categories of a column, at most: each costs a column of all arithmetic.
MOST_CATEGORIES = 1000
# Code of a category that was not there in fit.
_UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Columns(ReadOnlyArrays):
    """What the columns of a table are.

    Inside, rows are *expanded*: each column of categories is as many columns of zeros and ones.
    Outside they are codes: numbers of categories, in one column.

    Parameters
    ----------
    categories : tuple of (array or None)
        Of each column: the categories that were seen, in their order; None for numbers.
    with_gaps : bool array of shape (d,)
        Where gaps were seen in a column of categories: they are its last one.
    medians : array of shape (d,) or None
        What stands for gaps in columns of numbers; None where gaps are refused.
    dtypes : tuple of str or None
        Names of the types in a data frame; None for arrays.

    Raises
    ------
    ValueError
        When the parts do not fit.
    """

    categories: tuple
    with_gaps: np.ndarray
    medians: np.ndarray | None = None
    dtypes: tuple | None = None

    def __post_init__(self):
        d = len(self.categories)
        with_gaps = np.array(self.with_gaps)
        if with_gaps.dtype != bool or with_gaps.shape != (d,):
            raise ValueError(f"Columns: with_gaps must be of type bool and shape {(d,)}.")
        for array in self.categories:
            _check_categories(array)
        if self.medians is not None:
            medians = np.array(self.medians, dtype=np.float64)
            if medians.shape != (d,) or not np.isfinite(medians).all():
                raise ValueError(f"Columns: medians must be finite and of shape {(d,)}.")
            medians.setflags(write=False)
            object.__setattr__(self, "medians", medians)
        if self.dtypes is not None and len(self.dtypes) != d:
            raise ValueError(f"Columns: dtypes must be {d} names, got {len(self.dtypes)}.")
        with_gaps.setflags(write=False)
        object.__setattr__(self, "with_gaps", with_gaps)

    @property
    def n_columns(self):
        """Number of columns of X."""
        return len(self.categories)

    @property
    def is_categorical(self):
        """Which columns are categories."""
        return np.array([array is not None for array in self.categories], dtype=bool)

    @property
    def encodes(self):
        """Whether rows are expanded on their way in."""
        return bool(self.is_categorical.any())

    @property
    def widths(self):
        """Expanded columns of each column."""
        pairs = zip(self.categories, self.with_gaps, strict=True)
        return np.array([1 if own is None else len(own) + gaps for own, gaps in pairs], dtype=int)

    @property
    def n_expanded(self):
        """Number of expanded columns."""
        return int(self.widths.sum())

    @property
    def starts(self):
        """Number of the first expanded column of each column."""
        return np.concatenate([[0], np.cumsum(self.widths)[:-1]]).astype(int)

    @property
    def one_hot(self):
        """Which expanded columns are of categories, a bool array of shape (n_expanded,)."""
        return np.repeat(self.is_categorical, self.widths)

    def encode(self, X):
        """Codes ``(n, d)`` of a frame or array: float64, unknown categories -1, NaN for gaps."""
        X = X if is_frame(X) else np.asarray(X)
        names = column_names(X)
        codes = np.empty((len(X), self.n_columns))
        for k, own in enumerate(self.categories):
            column = column_of(X, k)
            if own is not None:
                codes[:, k] = _codes_of(column, own, self.with_gaps[k])
                continue
            codes[:, k] = numbers_of(column, names[k])
        return codes

    def filled(self, codes):
        """Codes with the median in place of each NaN; the same array where there are none."""
        if codes.dtype.kind != "f" or not np.isnan(codes).any():
            return codes
        return np.where(np.isnan(codes), self.medians, codes).astype(codes.dtype, copy=False)

    def expand(self, codes):
        """Expanded rows ``(n, n_expanded)`` of codes, in float64."""
        rows = np.zeros((len(codes), self.n_expanded))
        for k, start in enumerate(self.starts):
            if self.categories[k] is None:
                rows[:, start] = codes[:, k]
                continue
            known = np.flatnonzero(codes[:, k] >= 0)
            rows[known, start + codes[known, k].astype(int)] = 1.0
        return rows

    def collapse(self, rows):
        """Codes of expanded rows: the category with the largest number."""
        codes = np.empty((len(rows), self.n_columns))
        for k, (start, width) in enumerate(zip(self.starts, self.widths, strict=True)):
            part = rows[:, start : start + width]
            codes[:, k] = part[:, 0] if self.categories[k] is None else part.argmax(1)
        return codes

    def problems_of(self, codes):
        """Words for what is wrong with codes of items."""
        for k, (own, width) in enumerate(zip(self.categories, self.widths, strict=True)):
            if own is not None and not np.isin(codes[:, k], np.arange(width)).all():
                yield f"X must hold numbers of categories from 0 to {width - 1} in column {k}"

    def decoded(self, codes):
        """Values of each column: numbers in float64, categories as objects, None for gaps."""
        columns = []
        for k, own in enumerate(self.categories):
            if own is None:
                columns.append(np.asarray(codes[:, k], dtype=np.float64))
                continue
            # One more for gaps.
            words = np.array([*own.tolist(), None], dtype=object)
            columns.append(words[codes[:, k].astype(int)])
        return columns

    def like(self, X, codes):
        """Items in the container and the types of X."""
        columns = self.decoded(codes)
        if is_frame(X):
            return frame_like(X, columns)
        dtype = np.asarray(X).dtype
        if dtype.kind in "biuf":
            gap = np.nan if dtype.kind == "f" else 0
            columns = [
                np.array([gap if value is None else value for value in column], dtype=float)
                for column in columns
            ]
            return as_type(np.stack(columns, axis=1), dtype)
        return np.stack(columns, axis=1)

    def __eq__(self, other):
        if not isinstance(other, Columns):
            return NotImplemented
        return (
            self.dtypes == other.dtypes
            and _equal(self.medians, other.medians)
            and np.array_equal(self.with_gaps, other.with_gaps)
            and len(self.categories) == len(other.categories)
            and all(map(_equal, self.categories, other.categories))
        )

    __hash__ = None  # type: ignore[assignment]


def _equal(mine, theirs):
    if mine is None or theirs is None:
        return mine is theirs
    return mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


def _check_categories(array):
    if array is None:
        return
    good = (
        isinstance(array, np.ndarray)
        and array.ndim == 1
        and array.dtype.kind in "biufU"
        and len(array) <= MOST_CATEGORIES
        and len(np.unique(array)) == len(array)
        and (array.dtype.kind != "f" or np.isfinite(array).all())
    )
    if not good:
        raise ValueError(
            "Columns: categories must be distinct numbers, or distinct texts, in one dimension, "
            f"and at most {MOST_CATEGORIES} of them."
        )


def _codes_of(column, categories, with_gaps):
    """Numbers of the categories of a column's values; gaps are the last one, or unknown."""
    number = {value: k for k, value in enumerate(categories.tolist())}
    gap = len(categories) if with_gaps else _UNKNOWN
    if getattr(getattr(column, "dtype", None), "name", None) == "category":
        # Few words stand for many rows.
        own = np.array([*(number.get(word, _UNKNOWN) for word in column.cat.categories), gap])
        return own[column.cat.codes.to_numpy()]
    values, gaps = values_and_gaps(column)
    return np.array(
        [gap if no else number.get(value, _UNKNOWN) for value, no in zip(values, gaps, strict=True)]
    )


def shown_values(codes, columns):
    """Items as lists of texts: numbers with four digits, categories as they are called.

    Parameters
    ----------
    codes : array of shape (n_items, d)
    columns : Columns or None
    """
    decoded = codes.astype(float).T if columns is None else columns.decoded(codes)
    texts = [[_shown(value) for value in column.tolist()] for column in decoded]
    return [list(item) for item in zip(*texts, strict=True)]


def _shown(value):
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class ExpandedRows:
    """Rows of codes that are expanded where they are read.

    Parameters
    ----------
    codes : array of shape (n, d)
    columns : Columns
    dtype : dtype, default=float64
        Float type of the expanded rows.
    """

    def __init__(self, codes, columns, dtype=np.float64):
        self.codes, self.columns, self.dtype = codes, columns, np.dtype(dtype)
        self.shape = (len(codes), columns.n_expanded)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, where):
        return self.columns.expand(self.codes[where]).astype(self.dtype, copy=False)

    def __array__(self, dtype=None, copy=None):
        return self.columns.expand(self.codes).astype(dtype or self.dtype, copy=False)
