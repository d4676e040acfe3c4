"""One tile of an exact kernel: the arc-cosine recursion for a few images with a few others.

It goes over all needed pairs of pixels, in chunks that fit the cache for the first layer. Rows of
an ``MLP`` are images of one pixel; everything else is shared.
"""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from .._utils.network_spec import MLPSpec
from .arc_cosine import Arithmetic
from .pixel_pairs import cross_pairs, own_pairs

# Bytes of one tensor of the first layer before pooling, on a CPU: it should stay in a core's cache.
_CHUNK_BYTES = 2**20
# Bytes of one tensor of a later layer before pooling, on a CPU: it should stay in the shared cache.
_BLOCK_BYTES = 2**24
# One such tensor gets the memory budget divided by this: about ten of them live at a time.
_SHARE = 16
# Least pairs of windows in a chunk: larger blocks of images, which leave fewer, are not faster.
_CHUNK_ENTRIES = 32
# Most images of either side that are kept prepared.
_PANEL = 512
# Bytes of one tensor while variances are computed.
_PREPARED_BYTES = 2**22


@dataclass(frozen=True)
class Rows:
    """Quantities of single images that all their pairs share, window by window.

    Attributes
    ----------
    patches : tensor of shape (windows, places, n, k)
        Inputs of the first layer, scaled such that scalar products are the first covariances.
    norms : list of tensors of shape (windows, places, n)
        Standard deviations before the ReLU of each block.
    """

    patches: torch.Tensor
    norms: list

    def tensors(self):
        """All of them."""
        return [self.patches, *self.norms]

    def part(self, start, stop):
        """Some of the images."""
        return Rows(
            self.patches[:, :, start:stop], [norms[:, :, start:stop] for norms in self.norms]
        )

    def leaves(self):
        """Detached copies that collect gradients."""
        first, *others = (tensor.detach().requires_grad_() for tensor in self.tensors())
        return Rows(first, others)


class _ReluPool(torch.autograd.Function):
    """ReLU and pooling of given covariances, laid out by :meth:`Stage.spread`."""

    _WINDOWS = (1, 2, 4, 5)

    @staticmethod
    def forward(ctx, arithmetic, covariance, tangents, first, second):
        ctx.arithmetic = arithmetic
        ctx.save_for_backward(covariance, tangents, first, second)
        inputs = (
            tensor if tensor is None else tensor.detach()
            for tensor in (covariance, tangents, first, second)
        )
        return arithmetic.relu_pool(*inputs, _ReluPool._WINDOWS)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, tangent_gradient):
        inputs = (tensor if tensor is None else tensor.detach() for tensor in ctx.saved_tensors)
        needs = ctx.needs_input_grad[3:]
        return None, *ctx.arithmetic.relu_pool_vjp(
            *inputs, _ReluPool._WINDOWS, gradient, tangent_gradient, *needs
        )


class _FirstBlock(torch.autograd.Function):
    """First layer, ReLU and pooling, chunk by chunk.

    The covariances of all pairs of pixels are never stored together. Chunks have the layout
    (e, i, a, j, b): pair of windows, place in the first, first image, place in the second, second
    image.
    """

    _WINDOWS = (1, 3)

    @staticmethod
    def forward(ctx, arithmetic, stage, chunk, with_tangents, patches, others, norms, other_norms):
        ctx.arithmetic, ctx.stage, ctx.chunk, ctx.with_tangents = (
            arithmetic,
            stage,
            chunk,
            with_tangents,
        )
        ctx.save_for_backward(patches, others, norms, other_norms)
        inputs = [tensor.detach() for tensor in (patches, others, norms, other_norms)]
        outputs = [
            arithmetic.relu_pool(*arguments, _FirstBlock._WINDOWS)
            for *_, arguments in _FirstBlock.chunks(ctx, *inputs)
        ]
        values, tangents = zip(*outputs, strict=True)
        return torch.cat(values), torch.cat(tangents) if with_tangents else None

    @staticmethod
    def chunks(ctx, patches, others, norms, other_norms):
        """Pairs of windows ``rows, columns``, their patches, and the arguments of ``relu_pool``."""
        _, places, a, k = patches.shape
        b = others.shape[2]
        patches, others = patches.reshape(-1, places * a, k), others.reshape(-1, places * b, k)
        first, second = ctx.stage.first.to(patches.device), ctx.stage.second.to(patches.device)
        for start in range(0, len(first), ctx.chunk):
            rows, columns = first[start : start + ctx.chunk], second[start : start + ctx.chunk]
            left, right = patches.index_select(0, rows), others.index_select(0, columns)
            covariance = torch.bmm(left, right.transpose(1, 2)).view(-1, places, a, places, b)
            tangents = covariance if ctx.with_tangents else None
            own, other = (
                norms.index_select(0, rows)[..., None, None],
                other_norms.index_select(0, columns)[:, None, None],
            )
            yield rows, columns, left, right, (covariance, tangents, own, other)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, tangent_gradient):
        saved = [tensor.detach() for tensor in ctx.saved_tensors]
        needs = ctx.needs_input_grad[4:]
        totals = [
            torch.zeros_like(tensor) if need else None
            for tensor, need in zip(saved, needs, strict=True)
        ]
        start = 0
        for rows, columns, left, right, arguments in _FirstBlock.chunks(ctx, *saved):
            part = slice(start, start + len(rows))
            start += len(rows)
            g, h = gradient[part], tangent_gradient[part] if ctx.with_tangents else None
            to_values, to_tangents, to_norms, to_others = ctx.arithmetic.relu_pool_vjp(
                *arguments, _FirstBlock._WINDOWS, g, h, needs[2], needs[3]
            )
            matrix = (to_values if to_tangents is None else to_values + to_tangents).view(
                *left.shape[:2], right.shape[1]
            )
            if needs[0]:
                totals[0].index_add_(
                    0, rows, torch.bmm(matrix, right).view(len(rows), *saved[0].shape[1:])
                )
            if needs[1]:
                totals[1].index_add_(
                    0,
                    columns,
                    torch.bmm(matrix.transpose(1, 2), left).view(len(rows), *saved[1].shape[1:]),
                )
            if needs[2]:
                totals[2].index_add_(0, rows, to_norms[..., 0, 0])
            if needs[3]:
                totals[3].index_add_(0, columns, to_others[:, 0, 0])
        return None, None, None, None, *totals


class Network:
    """The recursion for one network and one shape of inputs."""

    def __init__(self, spec, shape, *, with_tangents, compiled, device, itemsize, memory):
        self.spec, self.with_tangents, self.arithmetic = spec, with_tangents, Arithmetic(compiled)
        self.weight, self.bias = spec.sigma_w**2, spec.sigma_b**2
        self.cross, self.own = cross_pairs(spec, tuple(shape)), own_pairs(spec, tuple(shape))
        share = memory // _SHARE
        chunk, block = (
            (share, share)
            if device.type == "cuda"
            else (min(_CHUNK_BYTES, share), min(_BLOCK_BYTES, share))
        )
        self.chunk_entries = max(chunk // itemsize, 1)
        first, *later = self.cross.stages
        widest = max([len(first.first), *(len(stage.first) * stage.places**2 for stage in later)])
        fewest = min(len(first.first), _CHUNK_ENTRIES) * first.places**2
        row_bytes = (
            itemsize * first.grid[0] * first.grid[1] * first.places * (self._fan_in(shape) + 2)
        )
        #: Images of either side that are prepared and kept at a time. In the backward pass their
        #: gradients are as large.
        self.panel = max(min(_PANEL, share // row_bytes), 1)
        products = math.prod(map(len, self.own.pixels)) * (
            shape[0] if isinstance(spec, MLPSpec) else shape[2]
        )
        wide = max(
            products,
            *(stage.shape[0] * stage.shape[1] * stage.places**2 for stage in self.own.stages),
        )
        #: Images whose variances are computed together.
        self.prepared = max(min(_PREPARED_BYTES, share) // (itemsize * wide), 1)
        #: Pairs of images in a block.
        self.block_pairs = max(min(block // (itemsize * widest), self.chunk_entries // fewest), 1)

    def _fan_in(self, shape):
        return shape[0] if isinstance(self.spec, MLPSpec) else 9 * shape[2]

    def prepare(self, x):
        """:class:`Rows` of preprocessed inputs ``(n, *shape)``."""
        prepare = self._prepare
        if x.requires_grad:
            prepare = functools.partial(
                checkpoint, self._prepare, use_reentrant=False, preserve_rng_state=False
            )
        parts = [prepare(part) for part in x.split(self.prepared)]
        patches, *norms = (torch.cat(tensors, dim=2) for tensors in zip(*parts, strict=True))
        return Rows(patches, norms)

    def _prepare(self, x):
        x = x.movedim(0, -1)
        patches = self._patches(x)
        # Products of pixels, averaged over the channels, for the pairs that the variances need.
        rows, columns = (pairs.to(x.device) for pairs in self.own.pixels)
        pixels = x if x.dim() == 4 else x[None, None]
        left, right = (
            pixels.index_select(0, rows[:, side]).index_select(1, columns[:, side])
            for side in (0, 1)
        )
        values = (left * right).mean(2)[..., None]
        norms = []
        for stage, cross in zip(self.own.stages, self.cross.stages, strict=True):
            covariance = stage.spread(values, self.weight, self.bias)
            variances = stage.own(covariance)
            own = torch.where(variances > 0, variances, 1).sqrt() * (variances > 0)
            if stage is self.own.stages[-1]:
                norms.append(cross.windows(own[:, 0].unflatten(0, stage.grid)))
                return [patches, *norms]
            norms.append(own)
            second = stage.of_second(own).transpose(-1, -2)
            values, _ = _ReluPool.apply(
                self.arithmetic, covariance, None, stage.of_first(own), second
            )

    def _patches(self, x):
        """Windows of patches with the bias as one more coordinate."""
        if isinstance(self.spec, MLPSpec):
            maps = x.T[None, None]
        else:
            padded = F.pad(x, (0, 0, 0, 0, 1, 1, 1, 1))
            height, width = x.shape[:2]
            maps = torch.cat(
                [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], dim=2
            ).movedim(2, 3)
        maps = self.spec.sigma_w / math.sqrt(maps.shape[-1]) * maps
        return self.cross.stages[0].windows(F.pad(maps, (0, 1), value=self.spec.sigma_b))

    def pairs(self, first, second):
        """NNGP ``(a, b)``, and NTK or None, of a block of images with another."""
        a, b = first.patches.shape[2], second.patches.shape[2]
        stage = self.cross.stages[0]
        chunk = max(self.chunk_entries // (stage.places**2 * a * b), 1)
        values, tangents = _FirstBlock.apply(
            self.arithmetic,
            stage,
            chunk,
            self.with_tangents,
            first.patches,
            second.patches,
            first.norms[0],
            second.norms[0],
        )
        values, tangents = (
            part if part is None else part.unflatten(0, stage.shape) for part in (values, tangents)
        )
        for stage, norms, others in zip(
            self.cross.stages[1:], first.norms[1:], second.norms[1:], strict=True
        ):
            covariance = stage.spread(values, self.weight, self.bias)
            if self.with_tangents:
                tangents = covariance + stage.spread(tangents, self.weight)
            values, tangents = _ReluPool.apply(
                self.arithmetic,
                covariance,
                tangents,
                stage.of_first(norms),
                stage.of_second(others),
            )
        nngp = self.weight * values.mean((0, 1)) + self.bias
        return nngp, nngp + self.weight * tangents.mean((0, 1)) if self.with_tangents else None
