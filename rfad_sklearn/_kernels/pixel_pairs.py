"""Which pairs of pixels an exact convolutional kernel needs, layer by layer and axis by axis.

The kernel of a flattened network reads the covariance of each last pixel with itself only. Going
back, a pooling window needs the pairs within it, a convolution for the same pair moved by one
pixel: pairs further apart than a band never matter. With depth 3 on 28x28 images, 19 % of all pairs
of pixels are left in the first layer. Rows and columns are independent: the pairs of the image are
the product of the pairs of its two axes.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .._utils.network_spec import MLPSpec

# Up to this number of entries a sum along diagonals is a product with a matrix, above it gathered.
_DENSE_ENTRIES = 2**16


@dataclass(frozen=True, eq=False)
class AxisMap:
    """Convolution along one axis, from pairs after a block to pairs before the next ReLU.

    ``sources`` has shape (reach, n_out): positions in the list of pairs, -1 outside the image.
    """

    sources: torch.Tensor
    n_in: int

    def __call__(self, values, dim, weight=1.0, bias=0.0):
        """``weight`` times the mean along dimension ``dim`` (0 or 1) of values, plus ``bias``."""
        reach, n_out = self.sources.shape
        if n_out * self.n_in <= _DENSE_ENTRIES:
            matrix = self._matrix(weight, values.dtype, values.device)
            matrix = matrix.expand(*values.shape[:dim], *matrix.shape)
            product = torch.addmm if dim == 0 else torch.baddbmm
            return product(values.new_tensor(bias), matrix, values.flatten(dim + 1)).unflatten(
                -1, values.shape[dim + 1 :]
            )
        padding = (0, 0) * (values.dim() - 1 - dim) + (0, 1)
        padded, sources = F.pad(values, padding), self.sources.to(values.device) % (self.n_in + 1)
        total = sum(padded.index_select(dim, source) for source in sources)
        return (weight / reach) * total + bias

    @functools.lru_cache(maxsize=64)  # noqa: B019 (the tables of pairs are cached themselves)
    def _matrix(self, weight, dtype, device):
        reach, n_out = self.sources.shape
        matrix = torch.zeros((n_out, self.n_in + 1), dtype=dtype)
        matrix.scatter_(1, (self.sources % (self.n_in + 1)).T, weight / reach)
        return matrix[:, : self.n_in].contiguous().to(device)


@dataclass(frozen=True, eq=False)
class Stage:
    """One block: the pairs of windows needed after it, and the maps to the pairs of their pixels.

    Attributes
    ----------
    rows, columns : AxisMap
        From the pairs after the last block (or of input pixels) to those in the windows: (pairs of
        windows, places, places).
    window : int
        Pixels along a window: 2 with pooling, else 1.
    first, second : int tensors of shape (e,)
        Number of the window of the first and of the second image, for each pair of windows.
    grid : tuple of int
        Windows along rows and columns.
    shape : tuple of int
        Pairs of windows along rows and columns; ``e`` is their product.
    own_pairs : tuple of int tensors
        Where a window stands with itself in the lists of both axes, in the order of the windows.
    """

    rows: AxisMap
    columns: AxisMap
    window: int
    first: torch.Tensor
    second: torch.Tensor
    grid: tuple
    shape: tuple
    own_pairs: tuple

    @property
    def places(self):
        """Pixels in a window."""
        return self.window**2

    def spread(self, values, weight, bias=0.0):
        """Convolve values ``(pairs of rows, pairs of columns, a, b)``.

        The result has the shape (pairs of rows, i, j, pairs of columns, i, j, a, b), where ``i``
        and ``j`` run over the rows, or columns, of the window of the first and of the second image.
        """
        w, (n_rows, n_columns) = self.window, self.shape
        values = self.columns(self.rows(values, 0, weight), 1, bias=bias)
        return values.view(n_rows, w, w, n_columns, w, w, *values.shape[2:])

    def of_first(self, norms):
        """Numbers ``(windows, places, a)`` of the first images, broadcast as :meth:`spread`."""
        return self._by_pair(norms, self.first)[:, :, None, :, :, None, :, None]

    def of_second(self, norms):
        """Numbers ``(windows, places, b)`` of the second images, in the same way."""
        return self._by_pair(norms, self.second)[:, None, :, :, None, :, None, :]

    def _by_pair(self, norms, index):
        """``(pairs of rows, place, pairs of columns, place, n)``."""
        norms = norms.index_select(0, index.to(norms.device))
        return norms.view(*self.shape, self.window, self.window, -1).transpose(1, 2)

    def own(self, spread):
        """Values ``(windows, places, a)`` of pixels with themselves.

        ``spread`` is an output of :meth:`spread` with ``b = 1``.
        """
        rows, columns = (index.to(spread.device) for index in self.own_pairs)
        values = (
            spread.index_select(0, rows)
            .index_select(3, columns)
            .diagonal(dim1=1, dim2=2)
            .diagonal(dim1=2, dim2=3)
        )
        return (
            values[:, :, :, 0].movedim(2, -1).reshape(self.grid[0] * self.grid[1], self.places, -1)
        )

    def windows(self, maps):
        """Pixels of maps ``(H, W, ...)`` window by window: ``(windows, places, ...)``.

        The odd row or column that pooling drops is left out.
        """
        w, (n_rows, n_columns) = self.window, self.grid
        maps = maps[: n_rows * w, : n_columns * w]
        maps = maps.reshape(n_rows, w, n_columns, w, *maps.shape[2:])
        return maps.transpose(1, 2).reshape(n_rows * n_columns, w * w, *maps.shape[4:])


def _axis(sides, window, reach, wanted):
    """Lists of pairs and maps along one axis, first block first.

    ``wanted`` are the pairs of windows after the last block. Returns for each block (pairs of
    windows, AxisMap), and the pairs of input pixels.
    """
    stages = []
    steps = range(-(reach // 2), reach // 2 + 1)
    places = [(i, j) for i in range(window) for j in range(window)]
    for side in reversed(sides):
        pixels = [(window * p + i, window * q + j) for p, q in wanted for i, j in places]
        moved = [[(p + u, q + u) for p, q in pixels] for u in steps]
        inside = {pair for line in moved for pair in line if min(pair) >= 0 and max(pair) < side}
        # Diagonal by diagonal, so that neighbours are near in memory.
        needed = sorted(inside, key=lambda pair: (pair[1] - pair[0], pair[0]))
        place = {pair: k for k, pair in enumerate(needed)}
        sources = torch.tensor([[place.get(pair, -1) for pair in line] for line in moved])
        stages.append((wanted, AxisMap(sources, len(needed))))
        wanted = needed
    return stages[::-1], wanted


@dataclass(frozen=True)
class PixelPairs:
    """All blocks of a network, and the pairs of input pixels (rows, columns) they start from."""

    stages: tuple
    pixels: tuple


def _product(sides, window, reach, wanted):
    """Pairs of both axes together; ``sides`` are those of the maps that the blocks convolve."""
    axes = [_axis([side[axis] for side in sides], window, reach, wanted[axis]) for axis in (0, 1)]
    stages = []
    for side, (rows, row_map), (columns, column_map) in zip(
        sides, axes[0][0], axes[1][0], strict=True
    ):
        grid = (side[0] // window, side[1] // window)
        index = grid[1] * np.array(rows).T[:, :, None] + np.array(columns).T[:, None]
        first, second = torch.from_numpy(index.reshape(2, -1))
        own = tuple(
            torch.tensor([k for k, (p, q) in enumerate(pairs) if p == q])
            for pairs in (rows, columns)
        )
        stages.append(
            Stage(row_map, column_map, window, first, second, grid, (len(rows), len(columns)), own)
        )
    return PixelPairs(tuple(stages), tuple(torch.tensor(axis[1]) for axis in axes))


def _geometry(spec, shape):
    """Sides of the map that each block convolves, window and reach.

    A row of an MLP is an image of one pixel.
    """
    if isinstance(spec, MLPSpec):
        return [(1, 1)] * spec.depth, 1, 1
    window = 2 if spec.pooling == "avg" else 1
    sides = [tuple(shape[:2])]
    for _ in range(spec.depth - 1):
        sides.append((sides[-1][0] // window, sides[-1][1] // window))
    return sides, window, 3


@functools.lru_cache(maxsize=16)
def cross_pairs(spec, shape):
    """:class:`PixelPairs` that the kernel of two images of ``shape`` needs."""
    sides, window, reach = _geometry(spec, shape)
    return _product(sides, window, reach, _read_out(spec, sides[-1], window))


def _read_out(spec, sides, window):
    """Pairs of windows along both axes that the last layer reads."""
    own = isinstance(spec, MLPSpec) or spec.readout == "flatten"
    last = [range(side // window) for side in sides]
    return [[(p, q) for p in axis for q in axis if p == q or not own] for axis in last]


@functools.lru_cache(maxsize=64)
def n_arc_cosines(spec, shape):
    """Arc-cosines per pair of inputs, the kernel's cost. No table is built."""
    sides, window, reach = _geometry(spec, shape)
    wanted = _read_out(spec, sides[-1], window)
    axes = [
        _axis([side[axis] for side in sides], window, reach, wanted[axis])[0] for axis in (0, 1)
    ]
    return sum(
        len(rows) * len(columns) * window**4 for (rows, _), (columns, _) in zip(*axes, strict=True)
    )


@functools.lru_cache(maxsize=16)
def own_pairs(spec, shape):
    """:class:`PixelPairs` that the variances before each ReLU need.

    In the last block only pixels with themselves.
    """
    sides, window, reach = _geometry(spec, shape)
    # The last block is not pooled: each of its pixels is a window.
    wanted = [[(p, p) for p in range(side)] for side in sides[-1]]
    last = _product(sides[-1:], 1, reach, wanted)
    before = _product(
        sides[:-1], window, reach, [list(map(tuple, pairs.tolist())) for pairs in last.pixels]
    )
    return PixelPairs(before.stages + last.stages, before.pixels if len(sides) > 1 else last.pixels)
