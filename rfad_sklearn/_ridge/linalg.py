"""Kernel ridge regression in float64: solution, leave-one-out scores, temperature scaling."""

import math

import torch
import torch.nn.functional as F

# Added to ``reg`` wherever it is used: keeps the Cholesky factorisation from failing by rounding at
# reg = 0.
_JITTER = 1e-10


class SingularKernelError(ValueError):
    """The regularised kernel matrix is not positive definite, or not finite."""


def relative_shift(mean_diagonal, reg):
    """Ridge to add to the diagonal: ``reg`` is relative to the kernel's mean diagonal."""
    return (reg + _JITTER) * mean_diagonal


def regularised(kernel, reg):
    """``K + (reg + jitter) * tr(K) / n * I`` in float64, of one kernel matrix or of several."""
    shifted = kernel.to(torch.float64, copy=True)
    diagonal = shifted.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(relative_shift(diagonal.mean(-1, keepdim=True), reg))
    return shifted


def cholesky(matrix, reg, *, check=True):
    """Cholesky factor of one matrix or of several.

    With ``check=False`` a matrix without a factor gives NaN, and there is no wait for the device.

    Raises
    ------
    SingularKernelError
        Where ``check`` and a matrix has no factor. It names ``reg`` and the ways out.
    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    if not check:
        return factor.where((info == 0)[..., None, None], torch.nan)
    if bool(info.any()) or not bool(torch.isfinite(factor.diagonal(dim1=-2, dim2=-1)).all()):
        state = "not finite" if not bool(torch.isfinite(matrix).all()) else "not positive definite"
        raise SingularKernelError(
            f"The kernel matrix of {matrix.shape[-1]} points with reg={reg!r} is {state}; "
            "raise reg, remove duplicate rows or scale the columns of X."
        )
    return factor


class _Solution(torch.autograd.Function):
    """``A^-1 Y`` of a symmetric A with its Cholesky factor.

    The gradient is taken through the solution: through the factor it would cost many times as much.
    """

    @staticmethod
    def forward(ctx, matrix, factor, targets):
        solution = torch.cholesky_solve(targets.expand(*matrix.shape[:-2], *targets.shape), factor)
        ctx.save_for_backward(factor, solution)
        return solution

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        factor, solution = ctx.saved_tensors
        to_targets = torch.cholesky_solve(grad, factor)
        to_matrix = -to_targets @ solution.mT
        return to_matrix, None, to_targets.sum_to_size(to_targets.shape[-2:])


def solve_targets(kernel, targets, reg, *, check=True):
    """Dual coefficients ``(K + reg tr(K)/n I)^-1 Y`` in float64, differentiable.

    ``kernel`` is one matrix or several, of shape ``(..., n, n)``; ``check``: see :func:`cholesky`.
    """
    matrix = regularised(kernel, reg)
    return _Solution.apply(matrix, cholesky(matrix.detach(), reg, check=check), targets.double())


def solve_and_leave_one_out(kernel, targets, reg, weights=None):
    """Dual coefficients, and the scores of each row by the ridge fitted on all the other rows.

    The scores are in closed form (Rasmussen and Williams 2006, eq. 5.12). A row of weight w counts
    as w equal ones: its ridge is w times smaller, ``K + ridge W^-1``, and the mean diagonal that
    the ridge is relative to is the weighted one. With roots of the weights on both sides the matrix
    stays symmetric, and as well conditioned.

    Parameters
    ----------
    kernel : tensor of shape (n, n)
    targets : tensor of shape (n, n_classes)
    reg : float
    weights : float64 tensor of shape (n,), optional
    """
    targets = targets.double()
    if weights is None:
        factor, roots = cholesky(regularised(kernel, reg), reg), 1.0
    else:
        roots = weights.sqrt()[:, None]
        matrix = kernel.to(torch.float64, copy=True).mul_(roots).mul_(roots.T)
        mean_diagonal = matrix.diagonal().sum() / weights.sum()
        matrix.diagonal().add_(relative_shift(mean_diagonal, reg))
        factor = cholesky(matrix, reg)
    scaled = torch.cholesky_solve(roots * targets, factor)
    own = torch.cholesky_inverse(factor).diagonal()[:, None]
    return roots * scaled, targets - scaled / (roots * own)


def inverse_square_root(kernel, reg):
    """Symmetric ``(K + reg tr(K)/n I)^-1/2`` in float64."""
    values, vectors = torch.linalg.eigh(regularised(kernel, reg))
    values = values.clamp_min(values[-1] * 1e-12)
    return (vectors * values.rsqrt()) @ vectors.T


def landmark_features(kernel, reg):
    """Whitened features of rows by their kernel with landmarks: ``K(x, S) A - b``, in float64.

    Whitening alone leaves them as large as the kernel, times one over the number of landmarks, and
    far from zero; a linear model with a usual penalty then hardly learns. So they are centred, and
    divided by one number: on the landmarks their mean variance is one.

    Parameters
    ----------
    kernel : tensor of shape (n_items, n_items)
        Of the landmarks.
    reg : float
        Ridge in units of its mean diagonal.

    Returns
    -------
    A : tensor of shape (n_items, n_items)
    b : tensor of shape (n_items,)
    """
    root = inverse_square_root(kernel, reg)
    own = kernel.double() @ root
    centre = own.mean(0)
    spread = (own - centre).square().mean().sqrt()
    # Landmarks that are all the same have none, but for rounding.
    spread = torch.where(spread > 1e-9 * own.abs().max(), spread, 1.0)
    return root / spread, centre / spread


def fit_logit_scale(
    scores, labels, *, start=1.0, floor=1e-3, ceiling=1e6, n_steps=50, weights=None
):
    """Scale that minimises the cross entropy of ``softmax(scale * scores)``.

    Temperature scaling (Guo et al. 2017), by Newton steps in the logarithm of the scale. Labels are
    smoothed by ``1 / (n + 2)``, after Platt (1999): on a few rows without an error the minimiser
    would be infinite.

    Parameters
    ----------
    scores : tensor of shape (n, n_classes)
    labels : int tensor of shape (n,)
    start : float, default=1.0
        Where the Newton steps begin.
    floor, ceiling : float, default=1e-3 and 1e6
        Bounds of the result: the scale of bad scores stays positive, that of good ones finite.
    n_steps : int, default=50
        Newton steps at most.
    weights : tensor of shape (n,), optional
        How much each row counts.

    Returns
    -------
    float
    """
    # On the CPU: every Newton step is read there.
    scores, labels = scores.detach().double().cpu(), labels.cpu()
    weights = None if weights is None else weights.cpu()
    smoothing = 1 / (len(scores) + 2)
    picked = (1 - smoothing) * scores.gather(1, labels[:, None]).squeeze(
        1
    ) + smoothing * scores.mean(1)
    low, high = math.log(floor), math.log(ceiling)
    log_scale = min(max(math.log(start), low), high)
    for _ in range(n_steps):
        scale = math.exp(log_scale)
        probabilities = torch.softmax(scale * scores, dim=1)
        mean = (probabilities * scores).sum(1)
        variance = (probabilities * scores.square()).sum(1) - mean.square()
        slope = scale * weighted_mean(mean - picked, weights).item()
        # The second derivative in log(scale) can be negative far from the optimum; its Gauss-Newton
        # part cannot.
        curvature = scale**2 * weighted_mean(variance, weights).item() + max(slope, 0.0)
        step = -slope / max(curvature, 1e-12)
        before, log_scale = log_scale, min(max(log_scale + min(max(step, -1.0), 1.0), low), high)
        if abs(log_scale - before) < 1e-8:
            break
    return math.exp(log_scale)


def scaled_quality(scores, labels, *, start=1.0, weights=None):
    """Best scale of scores, their accuracy, and their cross entropy at that scale, as floats.

    The scale is that of :func:`fit_logit_scale`, begun at ``start``; rows count by ``weights``.
    """
    scale = fit_logit_scale(scores, labels, start=start, weights=weights)
    right = (scores.argmax(1) == labels).double()
    if weights is None:
        return scale, right.mean().item(), F.cross_entropy(scale * scores, labels).item()
    losses = F.cross_entropy(scale * scores, labels, reduction="none")
    return scale, *(weighted_mean(each.cpu(), weights.cpu()).item() for each in (right, losses))


def weighted_mean(values, weights):
    """Mean of the values of rows that count by weights; None: all the same."""
    return values.mean() if weights is None else (weights * values).sum() / weights.sum()
