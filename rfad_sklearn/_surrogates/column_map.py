"""Columns by rank: a monotone, piecewise-linear map of each column to normal scores."""

import numpy as np
import torch
from scipy.special import ndtr, ndtri

# Knots of a column, at most, and the normal score of the outermost: between them they are even.
_MOST_KNOTS, _OUTERMOST = 64, 4.0
# Between two knots that only fill up a row of them, in ranks.
_PADDING = 1e-3


def _knots(column):
    """Increasing values of a column, and their normal scores: of the middle of their ties."""
    column = np.sort(column)
    values = np.unique(column)
    if len(values) > _MOST_KNOTS:
        shares = ndtr(np.linspace(-_OUTERMOST, _OUTERMOST, _MOST_KNOTS))
        inner = np.quantile(column, shares, method="nearest")
        values = np.unique(np.concatenate([column[:1], inner, column[-1:]]))
    below, upto = np.searchsorted(column, values, "left"), np.searchsorted(column, values, "right")
    return values, ndtri((below + upto) / (2 * len(column)))


class ColumnMap:
    """Takes values of columns to the normal scores of their ranks, and back, differentiably.

    Scores move where the column is dense and hardly where it is sparse: outliers lie near to the
    rest, and a step is a step in any column, however skewed.

    Parameters
    ----------
    values, ranks : tensor of shape (d, n_knots)
        Increasing along each row.
    n_knots : int tensor of shape (d,)
        Knots of each column; the others only fill up its row.
    """

    def __init__(self, values, ranks, n_knots):
        self.values, self.ranks = values, ranks
        last = (n_knots - 1)[:, None]
        #: Ranks of the smallest and the largest value of each column.
        self.low, self.high = ranks[:, 0], ranks.gather(1, last)[:, 0]

    @classmethod
    def of(cls, rows, low, high):
        """Map of the columns of some rows.

        Parameters
        ----------
        rows : tensor of shape (n, d)
        low, high : tensor of shape (d,)
            Smallest and largest value of all rows, which need not be among those given.
        """
        sample = torch.cat([rows, low[None], high[None]]).cpu().numpy()
        knots = [_knots(column) for column in sample.T]
        width = max(2, *(len(values) for values, _ in knots))
        table = np.empty((2, len(knots), width))
        for k, (values, ranks) in enumerate(knots):
            extra = np.arange(1, width - len(values) + 1)
            step = max(abs(values[-1]), 1.0) * _PADDING
            table[0, k] = np.concatenate([values, values[-1] + step * extra])
            table[1, k] = np.concatenate([ranks, ranks[-1] + _PADDING * extra])
        n_knots = torch.tensor([len(values) for values, _ in knots], device=rows.device)
        return cls(*torch.tensor(table, device=rows.device, dtype=rows.dtype), n_knots)

    def to_ranks(self, x, columns=slice(None)):
        """Ranks of values ``(n, n_columns)`` of some of the columns."""
        return _interpolate(x, self.values[columns], self.ranks[columns])

    def to_values(self, ranks):
        """Values of ranks ``(n, d)``."""
        return _interpolate(ranks, self.ranks, self.values)


def _interpolate(x, source, target):
    """Piecewise-linear interpolation, column by column."""
    x = x.T.contiguous()
    above = torch.searchsorted(source, x.detach()).clamp(1, source.shape[1] - 1)
    left, right = source.gather(1, above - 1), source.gather(1, above)
    low, high = target.gather(1, above - 1), target.gather(1, above)
    return (low + (x - left) / (right - left) * (high - low)).T
