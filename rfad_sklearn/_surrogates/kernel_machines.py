"""Kernel machines and nearest neighbours fitted on items, in closed form."""

import torch
import torch.nn.functional as F

from .._ridge.linalg import solve_targets

# Ridge of the kernel machines, relative to the mean diagonal.
_REG = 1e-2
# Of items that are all alike: its inverse, squared in a gradient, must be a number.
_SMALLEST_VARIANCE = 1e-6
# Of a kernel's sum over the items: a row can be far from all of them.
_SMALLEST_SUM = 1e-12


def squared_distances(a, b):
    """Squared distances ``(n_a, n_b)``, never below zero."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)[None]
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_min(0)


class _Manhattan(torch.autograd.Function):
    """Mean absolute difference over the columns, with gradients to ``b`` only.

    The backward pass of ``torch.cdist(p=1)`` takes many times as long.
    """

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return torch.cdist(a, b, p=1) / a.shape[1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        to_b = torch.empty_like(b)
        for k in range(b.shape[1]):
            # +1 where the item is above the row, -1 where it is below.
            to_b[:, k] = (grad * torch.sign(b[None, :, k] - a[:, None, k])).sum(0)
        return None, to_b / b.shape[1]


def manhattan(a, b):
    """Mean absolute differences ``(n_a, n_b)``; gradients go to ``b`` only."""
    return _Manhattan.apply(a, b)


def ridge_scores(kernel_ss, kernel_bs, targets):
    """Scores of kernel ridge regression on the items."""
    dual = solve_targets(kernel_ss, targets, _REG, check=not torch.is_grad_enabled())
    return kernel_bs @ dual.to(kernel_bs.dtype)


def rbf_kernels(items, distances):
    """RBF kernel of the items, and of the rows with them, as wide as ``SVC(gamma="scale")``.

    Parameters
    ----------
    items : tensor of shape (n_items, d)
    distances : tensor of shape (n, n_items)
        Squared, of the rows to the items.
    """
    variance = items.var(unbiased=False).clamp_min(_SMALLEST_VARIANCE)
    gamma = 1 / (items.shape[1] * variance)
    return torch.exp(-gamma * squared_distances(items, items)), torch.exp(-gamma * distances)


def neighbour_scores(distances, one_hot):
    """Soft nearest neighbours: ``log sum exp(-distance)`` over the items of each class."""
    classes = one_hot.bool().T
    return torch.stack([(-distances[:, own]).logsumexp(1) for own in classes], 1)


def average_scores(kernel_bs, one_hot):
    """Average of the items' classes, weighted by the kernel (Nadaraya and Watson)."""
    return (kernel_bs @ one_hot) / kernel_bs.sum(1, keepdim=True).clamp_min(_SMALLEST_SUM)


def column_log_probabilities(rows, items, one_hot, bandwidth):
    """What each column says of the class by itself: the same average, column by column.

    Parameters
    ----------
    rows : tensor of shape (n, n_columns)
    items : tensor of shape (n_items, n_columns)
    one_hot : tensor of shape (n_items, n_classes)
    bandwidth : float

    Returns
    -------
    tensor of shape (n, n_classes, n_columns)
    """
    distance = (rows.T[:, :, None] - items.T[:, None]).abs()
    weights = F.softmax(-distance / bandwidth, dim=2) @ one_hot
    return weights.clamp_min(1e-4).log().permute(1, 2, 0)
