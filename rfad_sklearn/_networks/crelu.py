"""ReLU and CReLU of convolutional networks, on a CPU by integer arithmetic on the bits.

CReLU (concatenated ReLU, Shang et al. 2016) of ``z`` is ``relu(z)`` beside ``relu(-z)``. Here the
second half is kept as ``min(z, 0) = -relu(-z)``, whose memory is that of ``z``: the sign of a
channel does not change the distribution of a random network's kernel.
"""

import torch
import torch.nn.functional as F

# Integers of the same number of bytes as a floating point number. A CPU is several times faster
# with them than with bfloat16, or than with a choice between two tensors. The bits of a negative
# number are a negative integer, those of a positive number a positive one, in the same order.
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
# Up to this number of channels the mean over places is faster as a product.
_FEW_CHANNELS = 32


def _bits(x):
    return x.view(_INTEGERS[x.element_size()])


def _by_bits(x):
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"


class Rectified(torch.autograd.Function):
    """ReLU in place, with gradients of any order."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        if _by_bits(x):
            _bits(x).clamp_min_(0)
        else:
            x.relu_()
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        rectified = ctx.saved_tensors[0]
        if torch.is_grad_enabled() or not _by_bits(rectified):
            # The function that autograd calls for a ReLU.
            return torch.ops.aten.threshold_backward(grad, rectified, 0)
        # Clamped to at most one, the bits of a positive number keep those of the gradient, and the
        # bits of zero clear them.
        return _bits(rectified).clamp_max(1).mul_(_bits(grad)).view(rectified.dtype)


def _crelu(x):
    """``max(x, 0)`` and, in the memory of x, ``min(x, 0)``."""
    if x.device.type == "cpu":
        return _bits(x).clamp_min(0).view(x.dtype), _bits(x).clamp_max_(0).view(x.dtype)
    return x.clamp_min(0), x.clamp_max_(0)


def _crelu_backward(positive, grads):
    """Gradient of :func:`_crelu`: the first of both where ``positive`` is above 0, else the second.

    ``positive`` is the first output of :func:`_crelu`, ``grads`` are the gradients of both.
    """
    first, second = grads
    if positive.device.type != "cpu":
        return torch.where(positive > 0, first, second)
    first, second = _bits(first), _bits(second)
    # Integers that overflow wrap around, and back as the second is added.
    return _bits(positive).clamp_max(1).mul_(first - second).add_(second).view(positive.dtype)


def _mean_over_places(x):
    n, places, width = x.shape
    if x.is_cuda:
        return x.mean(1)
    if _by_bits(x) and width <= _FEW_CHANNELS:
        # Several times faster than pooling where there are few channels. The sum is rounded once.
        return x.view(n, -1) @ (torch.eye(width, dtype=x.dtype) / places).repeat(places, 1)
    # torch's pooling is several times faster than its mean over so short an axis.
    return F.avg_pool2d(x[None].permute(0, 3, 1, 2), (1, places)).permute(0, 2, 3, 1).view(n, width)


def _pooled_as_mean(x):
    """2x2 average pooling of channels-last maps, three times as fast on a GPU as torch's."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    maps = x.permute(0, 2, 3, 1)[:, : 2 * height, : 2 * width]
    return maps.unflatten(2, (width, 2)).unflatten(1, (height, 2)).mean((2, 4)).permute(0, 3, 1, 2)


class PooledCReLU(torch.autograd.Function):
    """CReLU of ``(n, places, width)`` and its mean over places: ``(n, 2, width)``.

    It overwrites its input.
    """

    @staticmethod
    def forward(ctx, x):
        halves = _crelu(x)
        ctx.save_for_backward(halves[0])
        return torch.stack([_mean_over_places(half) for half in halves], dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (positive,) = ctx.saved_tensors
        n, places, width = positive.shape
        # Repeated, not broadcast: a loop over so few channels would be short.
        first, second = (torch.cat((half,) * places, dim=1) for half in (grad / places).unbind(1))
        return _crelu_backward(positive.view(n, -1), (first, second)).view(n, places, width)


class CReLUMaps(torch.autograd.Function):
    """CReLU of maps ``(n, n_networks * width, H, W)``, if ``pooled`` with 2x2 average pooling.

    The result has the channels of each network side by side, the first halves before the second
    ones: ``(n, n_networks * 2 * width, ...)``. It overwrites its input.
    """

    @staticmethod
    def forward(ctx, x, n_networks, pooled):
        halves = _crelu(x)
        ctx.save_for_backward(halves[0])
        ctx.n_networks, ctx.pooled = n_networks, pooled
        if pooled:
            halves = [
                _pooled_as_mean(half) if x.is_cuda else F.avg_pool2d(half, 2) for half in halves
            ]
        halves = [half.permute(0, 2, 3, 1).unflatten(3, (n_networks, -1)) for half in halves]
        return torch.stack(halves, dim=4).flatten(3).permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (positive,) = ctx.saved_tensors
        positive = positive.permute(0, 2, 3, 1).unflatten(3, (ctx.n_networks, -1))
        grad = grad.permute(0, 2, 3, 1).unflatten(3, (ctx.n_networks, 2, -1))
        if not ctx.pooled:
            to_maps = _crelu_backward(positive, grad.unbind(4)).flatten(3)
            return to_maps.permute(0, 3, 1, 2), None, None
        height, width = grad.shape[1:3]
        windows = positive[:, : 2 * height, : 2 * width].unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        to_maps = _crelu_backward(windows, (0.25 * grad)[:, :, None, :, None].unbind(6))
        to_maps = to_maps.flatten(5).flatten(3, 4).flatten(1, 2)
        if to_maps.shape[1:3] != positive.shape[1:3]:
            # Pooling leaves out an odd row or column.
            odd_row, odd_column = positive.shape[1] - 2 * height, positive.shape[2] - 2 * width
            to_maps = F.pad(to_maps, (0, 0, 0, odd_column, 0, odd_row))
        return to_maps.permute(0, 3, 1, 2), None, None
