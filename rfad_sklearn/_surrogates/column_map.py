"""Columns by rank: a monotone, piecewise-linear map of each column to normal scores."""

import numpy as np
import torch

from .._utils.quantile_map import interpolate, knots_of

# Between two knots that only fill up a row of them, in ranks.
_PADDING = 1e-3


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
        knots = [knots_of(column) for column in sample.T]
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
        return interpolate(x, self.values[columns], self.ranks[columns])

    def to_values(self, ranks):
        """Values of ranks ``(n, d)``."""
        return interpolate(ranks, self.ranks, self.values)
