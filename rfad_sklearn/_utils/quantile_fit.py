"""Fits the quantiles of the numeric preprocessing value: of all columns, or of skewed ones."""

from dataclasses import replace

import numpy as np

from .item_range import ItemRange
from .preprocessing_fit import standardizing_value
from .quantile_map import MOST_KNOTS, knots_of
from .row_selection import sampled_rows

# Skewness from which a column is mapped, either way; an exponential distribution has 2.
_SKEWED = 2.0
# Columns of no more distinct values stay standardised: flags, grades, counts of few.
_FEW_VALUES = 10


def quantile_value(rows, n_quantiles=MOST_KNOTS, *, one_hot=None):
    """Every column but constant ones, and those of categories, to the normal scores of its ranks.

    Parameters
    ----------
    rows : array of shape (n, d), or anything with its length, shape and slices
    n_quantiles : int, default=64
        Knots of a column, at most, and its smallest and largest value.
    one_hot : bool array of shape (d,), optional
        Columns of zeros and ones that stand for categories: scaled, not mapped.

    Returns
    -------
    Preprocessing

    Raises
    ------
    ValueError
        When the numbers are too large to be squared or summed.
    """
    base, item_range = standardizing_value(rows, None, one_hot), ItemRange.of(rows)
    varying = item_range.high > item_range.low
    columns = np.flatnonzero(varying if one_hot is None else varying & ~one_hot)
    return _mapped(base, columns, _sample(rows, item_range), n_quantiles)


def table_value(rows, one_hot=None):
    """Skewed columns to the normal scores of their ranks, the others standardised.

    Columns of up to ten distinct values are standardised, and all columns where they are pixels.

    Parameters
    ----------
    rows, one_hot
        As for :func:`quantile_value`.

    Returns
    -------
    Preprocessing
    """
    base, item_range = standardizing_value(rows, None, one_hot), ItemRange.of(rows)
    if one_hot is None and item_range.is_of_pixels:
        return base
    sample = _sample(rows, item_range)
    # In these units no third power is too large.
    skewed = np.abs(_skewness(base.apply(sample))) > _SKEWED
    columns = [j for j in np.flatnonzero(skewed) if len(np.unique(sample[:, j])) > _FEW_VALUES]
    return _mapped(base, np.array(columns, dtype=np.int64), sample, MOST_KNOTS)


def _skewness(z):
    """Third central moment of each column over the third power of its deviation; 0 of constants."""
    centred = z - z.mean(0)
    variance = np.square(centred).mean(0)
    third = (centred**3).mean(0)
    return np.divide(third, variance**1.5, out=np.zeros_like(third), where=variance > 0)


def _sample(rows, item_range):
    """Some rows in float64; where these are not all, the ends of all columns as well."""
    chosen = sampled_rows(*rows.shape)
    some = np.asarray(rows[chosen], dtype=np.float64)
    # Outliers are never left out.
    ends = [item_range.low[None], item_range.high[None]] if len(chosen) < len(rows) else []
    return np.concatenate([some, *ends])


def _mapped(base, columns, sample, n_quantiles):
    """A standardising value with some columns mapped by the quantiles of a sample instead."""
    if not len(columns):
        return base
    knots = [knots_of(sample[:, j], n_quantiles) for j in columns]
    width = max(len(values) for values, _ in knots)
    # Rows of fewer knots are filled up by their last.
    quantiles, scores = (
        np.stack([np.pad(pair[k], (0, width - len(pair[k])), mode="edge") for pair in knots])
        for k in range(2)
    )
    offset, scale = base.offset.copy(), base.scale.copy()
    offset[columns], scale[columns] = 0.0, 1.0
    return replace(
        base,
        offset=offset,
        scale=scale,
        quantile_columns=columns,
        quantiles=quantiles,
        normal_scores=scores,
    )
