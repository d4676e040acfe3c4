"""Coordinates in which items for any model are optimised: a step is as large in every column."""

import abc

import torch

from .._utils.row_selection import sampled_rows
from .column_map import ColumnMap

# Distance of a column's mean from zero, in units of the columns' size, that models see at most.
_MOST_SHIFT = 30.0


class ItemSpace(abc.ABC):
    """Coordinates of items, between ``low`` and ``high``, and what models see of them.

    Models see scaled rows: standardised per column of a table, per channel of images.

    Parameters
    ----------
    scaled_range : ScaledRange
        Where items may lie.
    groups : CategoryGroups, optional
        Columns that stand for categories.
    """

    #: Bounds of the coordinates, tensors of shape (d,).
    low: torch.Tensor
    high: torch.Tensor
    #: Decades of the length of rows that a network sees; None where it sees them as they are.
    network_lengths: tuple | None

    def __init__(self, scaled_range, groups=None):
        self.scaled_range, self.groups = scaled_range, groups

    @abc.abstractmethod
    def encode(self, x):
        """Coordinates of scaled rows."""

    @abc.abstractmethod
    def _decode(self, u):
        """Scaled rows of coordinates."""

    @abc.abstractmethod
    def ranks(self, x, columns=slice(None)):
        """Scaled rows, of some columns, as trees and single columns see them.

        Differences in sparse parts of a column are to count as little as those models make of them.
        """

    @abc.abstractmethod
    def views(self):
        """Units in which models see the rows: first the usual ones, then others.

        Returns
        -------
        list of tuple (factor, shift) of tensors of shape (d,)
            A view of scaled rows x is ``x * factor + shift``.
        """

    def decode(self, u):
        """Scaled rows of the coordinates of all items: in range, on the grid, of one category."""
        z = self.in_range(u)
        return z if self.groups is None else self.groups.seen(z)

    def in_range(self, u):
        """Scaled rows of any coordinates, within the range and on the grid of the columns."""
        return self.scaled_range.on_grid(self.scaled_range.clip(self._decode(u)))

    def clip(self, u):
        """Coordinates within their bounds."""
        return torch.minimum(torch.maximum(u, self.low), self.high)


class PixelSpace(ItemSpace):
    """Images: coordinates in units of each pixel's deviation.

    Pixels that hardly vary, at the border say, hardly move, and cost a model that scales them to
    unit variance nothing.

    Parameters
    ----------
    scaled_range
        As for :class:`ItemSpace`.
    """

    # Whole numbers up to 16 are longer than standardised pixels: networks then learn otherwise.
    network_lengths = (1.3, 1.7)

    def __init__(self, scaled_range):
        super().__init__(scaled_range)
        self.low, self.high = self.encode(scaled_range.low), self.encode(scaled_range.high)

    def encode(self, x):
        """Coordinates of scaled rows."""
        return x / self.scaled_range.deviation

    def _decode(self, u):
        return u * self.scaled_range.deviation

    def ranks(self, x, columns=slice(None)):
        """Pixels are compared as they are."""
        return x[:, columns]

    def views(self):
        """Each pixel around its mean; with unit variance as well; around the mean of all pixels."""
        mean, varying = self.scaled_range.mean, self.scaled_range.high > self.scaled_range.low
        one, factor = torch.ones_like(mean), varying / self.scaled_range.deviation
        return [
            (one, -mean),
            (factor, -mean * factor),
            (one, torch.zeros_like(one)),
        ]


class RankSpace(ItemSpace):
    """Tables: coordinates are ranks, see :class:`ColumnMap`.

    Parameters
    ----------
    scaled_range, groups
        As for :class:`ItemSpace`.
    rows : tensor of shape (n, d)
        Some scaled training rows.
    """

    network_lengths = None

    def __init__(self, scaled_range, rows, groups=None):
        super().__init__(scaled_range, groups)
        self.column_map = ColumnMap.of(rows, scaled_range.low, scaled_range.high)
        self.low, self.high = self.column_map.low, self.column_map.high

    def encode(self, x):
        """Coordinates of scaled rows."""
        return self.column_map.to_ranks(x)

    def _decode(self, u):
        return self.column_map.to_values(u)

    def ranks(self, x, columns=slice(None)):
        """Ranks of scaled rows."""
        return self.column_map.to_ranks(x[:, columns], columns)

    def views(self):
        """Scaled columns; the units of X up to one factor, without the columns' means and with."""
        dtype = self.scaled_range.low.dtype
        scale, offset = self.scaled_range.scale.to(dtype), self.scaled_range.offset.to(dtype)
        size = scale.square().mean().sqrt()
        factor, zero = scale / size, torch.zeros_like(scale)
        # Years, or a constant: beside such a mean nothing else of a row would be seen.
        shift = (offset / size).clamp(-_MOST_SHIFT, _MOST_SHIFT)
        return [(torch.ones_like(scale), zero), (factor, zero), (factor, shift)]


def item_space(scaled_range, read, train, pixels, groups=None):
    """Space of some training rows.

    Parameters
    ----------
    scaled_range : ScaledRange
    read : callable
        ``read(indices)`` gives scaled rows on the device.
    train : int tensor
        Numbers of the training rows.
    pixels : bool
    groups : CategoryGroups, optional

    Returns
    -------
    ItemSpace
    """
    if pixels:
        return PixelSpace(scaled_range)
    at = sampled_rows(len(train), len(scaled_range.low))
    return RankSpace(scaled_range, read(train[torch.from_numpy(at)]).flatten(1), groups)
