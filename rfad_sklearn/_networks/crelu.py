"""ReLUs of convolutional networks, of one sign and of both, on a CPU by the bits of the numbers."""

import torch
import torch.nn.functional as F

# A CPU is several times faster at whole numbers than at bfloat16, or than at choosing between two
# tensors. The bits of floating point numbers have their order among the positive, and the same
# sign: below zero is below zero in both.
_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}
# Up to so many channels the mean over places is faster as a product.
_FEW_CHANNELS = 32


def _bits(x):
    return x.view(_WHOLE[x.element_size()])


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
            # What autograd calls for a ReLU.
            return torch.ops.aten.threshold_backward(grad, rectified, 0)
        # The bits of a positive number are a positive whole number: at most one, they keep or clear
        # the bits of the gradient.
        return _bits(rectified).clamp_max(1).mul_(_bits(grad)).view(rectified.dtype)


def _split(x):
    """The positive part of x and, in the memory of x, the negative one."""
    if x.device.type == "cpu":
        return _bits(x).clamp_min(0).view(x.dtype), _bits(x).clamp_max_(0).view(x.dtype)
    return x.clamp_min(0), x.clamp_max_(0)


def _chosen(positive, grads):
    """The first of two gradients where something is positive, else the second."""
    first, second = grads
    if positive.device.type != "cpu":
        return torch.where(positive > 0, first, second)
    first, second = _bits(first), _bits(second)
    # Whole numbers that overflow come back.
    return _bits(positive).clamp_max(1).mul_(first - second).add_(second).view(positive.dtype)


def _mean_over_places(x):
    n, places, width = x.shape
    if x.is_cuda:
        return x.mean(1)
    if _by_bits(x) and width <= _FEW_CHANNELS:
        # Several times faster than pooling where there are few channels; the sum is rounded once.
        return x.view(n, -1) @ (torch.eye(width, dtype=x.dtype) / places).repeat(places, 1)
    # torch's pooling is several times faster than its mean over so short an axis.
    return F.avg_pool2d(x[None].permute(0, 3, 1, 2), (1, places)).permute(0, 2, 3, 1).view(n, width)


def _pooled_as_mean(x):
    """2x2 average pooling of channels-last maps, three times as fast on a GPU as torch's."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    maps = x.permute(0, 2, 3, 1)[:, : 2 * height, : 2 * width]
    return maps.unflatten(2, (width, 2)).unflatten(1, (height, 2)).mean((2, 4)).permute(0, 3, 1, 2)


class PooledCReLU(torch.autograd.Function):
    """Means over places of the positive and of the negative parts of ``(n, places, width)``: ``(n, 2, width)``. It takes x's memory."""

    @staticmethod
    def forward(ctx, x):
        parts = _split(x)
        ctx.save_for_backward(parts[0])
        return torch.stack([_mean_over_places(part) for part in parts], dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (positive,) = ctx.saved_tensors
        n, places, width = positive.shape
        # Repeated, not broadcast: a loop over so few channels would be short.
        first, second = (torch.cat((part,) * places, dim=1) for part in (grad / places).unbind(1))
        return _chosen(positive.view(n, -1), (first, second)).view(n, places, width)


class CReLUMaps(torch.autograd.Function):
    """Positive and negative parts of ``(n, n_networks * width, H, W)``, side by side for each network, pooled over 2x2. It takes x's memory."""

    @staticmethod
    def forward(ctx, x, n_networks, pooled):
        parts = _split(x)
        ctx.save_for_backward(parts[0])
        ctx.n_networks, ctx.pooled = n_networks, pooled
        if pooled:
            parts = [
                _pooled_as_mean(part) if x.is_cuda else F.avg_pool2d(part, 2) for part in parts
            ]
        parts = [part.permute(0, 2, 3, 1).unflatten(3, (n_networks, -1)) for part in parts]
        return torch.stack(parts, dim=4).flatten(3).permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (positive,) = ctx.saved_tensors
        positive = positive.permute(0, 2, 3, 1).unflatten(3, (ctx.n_networks, -1))
        grad = grad.permute(0, 2, 3, 1).unflatten(3, (ctx.n_networks, 2, -1))
        if not ctx.pooled:
            return _chosen(positive, grad.unbind(4)).flatten(3).permute(0, 3, 1, 2), None, None
        height, width = grad.shape[1:3]
        windows = positive[:, : 2 * height, : 2 * width].unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        chosen = _chosen(windows, (0.25 * grad)[:, :, None, :, None].unbind(6))
        chosen = chosen.flatten(5).flatten(3, 4).flatten(1, 2)
        if chosen.shape[1:3] != positive.shape[1:3]:
            # Pooling leaves out an odd row or column.
            chosen = F.pad(
                chosen, (0, 0, 0, positive.shape[2] - 2 * width, 0, positive.shape[1] - 2 * height)
            )
        return chosen.permute(0, 3, 1, 2), None, None
