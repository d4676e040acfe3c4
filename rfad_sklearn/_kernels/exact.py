"""Exact NNGP and NTK of infinitely wide ReLU networks, in tiles, with gradients to both inputs.

References
----------
Lee et al. 2018 (NNGP); Jacot et al. 2018 (NTK); Novak et al. 2019 and Arora et al. 2019
(convolution and pooling); Cho and Saul 2009 (arc-cosine kernels).
"""

import math

import torch
from torch.autograd.function import once_differentiable

from .pixel_pairs import n_arc_cosines
from .recursion import Network

# Bytes of working memory, besides the results.
_MEMORY = 2**30
# Columns of a tile are a multiple of this: the float32 numbers of one vector register.
_VECTOR = 16
# Arc-cosines from which compiling them takes less time than it saves.
_WORTH_COMPILING = 1e10


def _starts(n, size):
    """Blocks of exactly ``size`` of n rows, as (begin, rows that the block before had already)."""
    for start in range(0, n, size):
        begin = min(start, n - size)
        yield begin, start - begin


def _tile(n, m, n_pairs):
    """Sides of a tile of about ``n_pairs`` pairs.

    They are chosen such that the last tiles repeat little, and that the second side is a multiple
    of whole vectors.
    """
    most = max(math.isqrt(n_pairs // 2), 1)
    a = math.ceil(n / math.ceil(n / most))
    widest = max(min(n_pairs // a, m), 1)
    widths = range(_VECTOR, widest + 1, _VECTOR) if widest >= _VECTOR else (widest,)
    return a, min(widths, key=lambda b: (math.ceil(m / b) * b, -b))


class _Tiles:
    """How the matrix of a kernel is cut: panels of prepared images, tiles of one shape in them."""

    def __init__(self, network, x, y, progress):
        self.network, self.x, self.symmetric, self.progress = network, x, y is None, progress
        self.y = x if y is None else y
        starts = [start for start, _ in self.panels(self.x)]
        self.done = 0
        self.total = sum(
            len(self.x[a : a + network.panel]) * len(part)
            for a in starts
            for _, part in self.panels(self.y, a)
        )

    def panels(self, rows, own_start=0):
        """Panels of the rows, as (start, rows).

        As partners of a panel that starts at ``own_start``, without those that symmetry gives.
        """
        first, size = own_start if self.symmetric else 0, self.network.panel
        return [(start, rows[start : start + size]) for start in range(first, len(rows), size)]

    def tiles(self, start, n, other_start, m):
        """Tiles of one pair of panels.

        Each is (slices of the whole matrix, slices of the tile that are new, the tile's range in
        the first panel, that in the second). Of a symmetric matrix, those below the diagonal are
        left out.
        """
        a, b = _tile(n, m, self.network.block_pairs)
        for row, seen_rows in _starts(n, a):
            for column, seen_columns in _starts(m, b):
                if not self.symmetric or other_start + column + b > start + row + seen_rows:
                    rows = slice(start + row + seen_rows, start + row + a)
                    columns = slice(other_start + column + seen_columns, other_start + column + b)
                    yield (
                        (rows, columns),
                        (slice(seen_rows, a), slice(seen_columns, b)),
                        (row, row + a),
                        (column, column + b),
                    )
        self.done += n * m
        if self.progress is not None:
            self.progress(self.done, self.total)

    def symmetrised(self, matrix):
        """The upper triangle on both sides."""
        return matrix.triu() + matrix.triu(1).T if self.symmetric and matrix is not None else matrix


class _ExactKernel(torch.autograd.Function):
    """NNGP, and NTK or None. The backward pass computes each tile again."""

    @staticmethod
    def forward(ctx, x, y, network, progress):
        ctx.network = network
        ctx.save_for_backward(x, y)
        tiles = _Tiles(network, x, y, progress)
        nngp = x.new_zeros((len(x), len(tiles.y)))
        ntk = torch.zeros_like(nngp) if network.with_tangents else None
        for start, rows in tiles.panels(tiles.x):
            first = network.prepare(rows)
            for other_start, others in tiles.panels(tiles.y, start):
                second = (
                    first if tiles.symmetric and other_start == start else network.prepare(others)
                )
                for where, fresh, a, b in tiles.tiles(start, len(rows), other_start, len(others)):
                    values, tangents = network.pairs(first.part(*a), second.part(*b))
                    nngp[where] = values[fresh]
                    if ntk is not None:
                        ntk[where] = tangents[fresh]
        return tiles.symmetrised(nngp), tiles.symmetrised(ntk)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        x, y = ctx.saved_tensors
        tiles = _Tiles(ctx.network, x, y, None)
        if tiles.symmetric:
            # Only the upper triangle was computed.
            gradients = [g if g is None else g.triu() + g.T.triu(1) for g in gradients]
        needs = (
            ctx.needs_input_grad[0],
            ctx.needs_input_grad[0] if tiles.symmetric else ctx.needs_input_grad[1],
        )
        totals = [
            torch.zeros_like(rows) if need else None
            for rows, need in zip((tiles.x, tiles.y), needs, strict=True)
        ]
        for start, rows in tiles.panels(tiles.x):
            first = _Side(ctx.network, rows, needs[0])
            for other_start, others in tiles.panels(tiles.y, start):
                second = _Side(ctx.network, others, needs[1])
                for where, fresh, a, b in tiles.tiles(start, len(rows), other_start, len(others)):
                    _tile_backward(
                        ctx.network, gradients, where, fresh, first.part(*a), second.part(*b)
                    )
                second.add_to(totals[1], other_start)
            first.add_to(totals[0], start)
        return (
            totals[0] if y is not None or totals[0] is None else totals[0] + totals[1],
            totals[1] if y is not None else None,
            None,
            None,
        )


class _Side:
    """Prepared images of one side, and the gradients that their tiles collect."""

    def __init__(self, network, rows, needs):
        with torch.enable_grad():
            self.rows = rows.detach().requires_grad_(needs)
            self.prepared = network.prepare(self.rows)
        self.leaves = self.prepared.leaves() if needs else self.prepared
        self.needs = needs

    def part(self, start, stop):
        with torch.enable_grad():
            return self.leaves.part(start, stop)

    def add_to(self, total, start):
        if self.needs:
            collected = [leaf.grad for leaf in self.leaves.tensors()]
            (gradient,) = torch.autograd.grad(self.prepared.tensors(), self.rows, collected)
            total[start : start + len(self.rows)] += gradient


def _tile_backward(network, gradients, where, fresh, first, second):
    with torch.enable_grad():
        outputs = network.pairs(first, second)
    pairs = []
    for output, gradient in zip(outputs, gradients, strict=True):
        if output is not None:
            own = torch.zeros_like(output)
            own[fresh] = gradient[where]
            pairs.append((output, own))
    torch.autograd.backward(*zip(*pairs, strict=True))


def exact_kernel(spec, x, y=None, *, kernel="nngp", memory=_MEMORY, compiled=None, progress=None):
    """NNGP or NTK of an infinitely wide network, differentiable with respect to both inputs.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    x : float32 or float64 tensor of shape (n, *shape)
        Preprocessed rows ``(n, d)`` for an MLP, channels-last images for a ConvNet.
    y : tensor of shape (m, *shape), optional
        None: the kernel of ``x`` with itself, of which one half is computed.
    kernel : {"nngp", "ntk", "both"}
        The NNGP alone is cheaper; the NTK comes with it.
    memory : int
        Bytes of working memory.
    compiled : bool, optional
        Compile the arc-cosines into one pass; None: where :func:`worth_compiling`. Where no
        compiler works, one ``RuntimeWarning`` per process says so, and the plain functions are
        used.
    progress : callable, optional
        Called as ``progress(done, total)``, in pairs of images.

    Returns
    -------
    tensor of shape (n, m), or (nngp, ntk) for "both"
    """
    if y is not None and len(y) < len(x):
        swapped = exact_kernel(
            spec, y, x, kernel=kernel, memory=memory, compiled=compiled, progress=progress
        )
        return (swapped[0].T, swapped[1].T) if kernel == "both" else swapped.T
    if compiled is None:
        compiled = worth_compiling(spec, tuple(x.shape[1:]), len(x) * len(x if y is None else y))
    network = Network(
        spec,
        tuple(x.shape[1:]),
        with_tangents=kernel != "nngp",
        compiled=compiled,
        device=x.device,
        itemsize=x.element_size(),
        memory=memory,
    )
    nngp, ntk = _ExactKernel.apply(x, y, network, progress)
    return {"nngp": nngp, "ntk": ntk, "both": (nngp, ntk)}[kernel]


def worth_compiling(spec, shape, n_pairs):
    """Whether so many pairs of inputs keep the machine busy for longer than the compiler."""
    return n_pairs * n_arc_cosines(spec, tuple(shape)) > _WORTH_COMPILING
