"""Rows of two arrays as those of one, without copying either."""

import numpy as np


class RowStack:
    """The rows of one array, and behind them those of another, in the type of the first.

    A memory map is never read at once.

    Parameters
    ----------
    first, second : array of shape (n, d)
    """

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.dtype = first.dtype
        self.shape = (len(first) + len(second), *first.shape[1:])

    @property
    def nbytes(self):
        """Bytes of all rows."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, where):
        """Rows of a slice, or of numbers in an array."""
        if isinstance(where, slice):
            where = np.arange(*where.indices(len(self)))
        numbers = np.asarray(where)
        behind = numbers >= len(self.first)
        if not behind.any():
            return self.first[numbers]
        out = np.empty((len(numbers), *self.shape[1:]), dtype=self.dtype)
        out[~behind] = self.first[numbers[~behind]]
        out[behind] = self.second[numbers[behind] - len(self.first)]
        return out
