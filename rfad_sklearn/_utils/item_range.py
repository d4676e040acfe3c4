"""Where items may lie: within each column's range, and on its grid where it holds integers.

Means and deviations are those of all rows: a pixel that varies in a few rows only is constant in
most samples.
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from .preprocessing_value import ReadOnlyArrays

# Rows per pass over the data: a memory map is never read at once.
_CHUNK = 4096
# Columns of pixels at least, and their share with one range.
_FEWEST_PIXELS, _SHARE_OF_PIXELS = 64, 0.5


@dataclass(frozen=True, eq=False)
class ItemRange(ReadOnlyArrays):
    """Range and grid of the columns of some rows, in their units.

    Attributes
    ----------
    low, high : array of shape (d,)
        Smallest and largest number of each column, in float64.
    integers : bool array of shape (d,)
        Columns that hold integers only: bytes, counts, flags.
    mean, deviation : array of shape (d,)
        What ``StandardScaler`` takes off, and divides by.
    """

    low: np.ndarray
    high: np.ndarray
    integers: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def is_of_pixels(self):
        """Whether most of many columns have the same range, and none leaves it.

        So it is with flattened images; columns of a table have units of their own.
        """
        varying = self.high > self.low
        ends = np.column_stack([self.low, self.high])[varying]
        if len(self.low) < _FEWEST_PIXELS or not len(ends):
            return False
        ranges, counts = np.unique(ends, axis=0, return_counts=True)
        low, high = ranges[counts.argmax()]
        inside = (low <= ends[:, 0]).all() and (ends[:, 1] <= high).all()
        return bool(inside and counts.max() >= _SHARE_OF_PIXELS * len(ends))

    @classmethod
    def of(cls, rows):
        """Range and grid of rows ``(n, d)``, or of anything with its length, shape and slices."""
        d = rows.shape[1]
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        integers = np.ones(d, dtype=bool)
        scaler = StandardScaler()
        for start in range(0, len(rows), _CHUNK):
            chunk = np.asarray(rows[start : start + _CHUNK])
            low = np.minimum(low, chunk.min(0))
            high = np.maximum(high, chunk.max(0))
            if chunk.dtype.kind == "f":
                integers &= (chunk == np.rint(chunk)).all(0)
            scaler.partial_fit(chunk.astype(np.float64))
        return cls(low, high, integers, scaler.mean_, scaler.scale_)

    def clip(self, rows):
        """Rows in float64 with every number within the range, and on the grid."""
        rows = np.asarray(rows, dtype=np.float64)
        return np.clip(np.where(self.integers, np.rint(rows), rows), self.low, self.high)

    def scaled(self, preprocessing, device, dtype):
        """The same in the units of scaled rows, made of tensors.

        Parameters
        ----------
        preprocessing : Preprocessing
        device : torch.device
        dtype : torch.dtype

        Returns
        -------
        ScaledRange
        """

        def tensor(array, kept=dtype):
            return torch.tensor(array, dtype=kept, device=device)

        offset, scale = preprocessing.offset, preprocessing.scale
        return ScaledRange(
            low=tensor((self.low - offset) / scale),
            high=tensor((self.high - offset) / scale),
            integers=tensor(self.integers, torch.bool),
            mean=tensor((self.mean - offset) / scale),
            deviation=tensor(self.deviation / scale),
            offset=tensor(offset, torch.float64),
            scale=tensor(scale, torch.float64),
        )


@dataclass(frozen=True, eq=False)
class ScaledRange:
    """An :class:`ItemRange` in the units of scaled rows, ``(x - offset) / scale``.

    Attributes
    ----------
    low, high, mean, deviation, offset, scale : tensor of shape (d,)
    integers : bool tensor of shape (d,)
    """

    low: torch.Tensor
    high: torch.Tensor
    integers: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    offset: torch.Tensor
    scale: torch.Tensor

    def clip(self, z):
        """Every number within the range."""
        return torch.minimum(torch.maximum(z, self.low), self.high)

    def on_grid(self, z):
        """Columns of integers rounded to them; the gradient passes straight through."""
        # Long integers, time stamps say, are none in single precision.
        exact = z.detach().to(self.offset.dtype)
        rounded = (torch.round(exact * self.scale + self.offset) - self.offset) / self.scale
        return z + torch.where(self.integers, rounded - exact, 0).to(z.dtype)
