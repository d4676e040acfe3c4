"""Best targets for fixed items: a convex problem, as the scores are linear in the targets.

After Nguyen et al. (2021), "Dataset Meta-Learning from Kernel Ridge-Regression" (label solve).
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

from .linalg import scaled_quality

# Candidates for the factor of the L2 penalty on the distance to the given targets, relative to the
# mean curvature of the loss.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
# Parts of the rows of which one at a time is left out where these rows choose the penalty.
_N_FOLDS = 5


def ridge_targets(design, targets, start, penalty, weights=None):
    """Minimiser of ``|A Y - T|^2 / 2n + penalty * mean curvature / 2 * |Y - Y_0|^2``.

    ``design`` is A, ``targets`` T and ``start`` Y_0; rows count by ``weights``.
    """
    n = len(design)
    weighted = design if weights is None else (weights / weights.mean())[:, None] * design
    gram = weighted.T @ design / n
    shift = penalty * gram.diagonal().mean()
    moments = weighted.T @ (targets - design @ start) / n
    return start + torch.linalg.solve(
        gram + shift * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), moments
    )


def cross_entropy_targets(design, labels, start, scale, penalty, weights=None):
    """Minimiser of the mean cross entropy of ``softmax(scale A Y)`` plus an L2 penalty, by L-BFGS.

    The penalty, and the weights, are those of :func:`ridge_targets`.
    """
    n, shape = len(design), tuple(start.shape)
    shares = design.new_full((n,), 1 / n) if weights is None else weights / weights.sum()
    # The curvature of the cross entropy in each score is at most scale^2 / 4.
    shift = penalty * (scale**2 / 4) * (shares @ design.square()).mean().item()
    one_hot = F.one_hot(labels, shape[1]).to(design)

    def loss_and_gradient(flat):
        move = torch.from_numpy(flat).to(design).view(shape)
        scores = scale * (design @ (start + move))
        losses = F.cross_entropy(scores, labels, reduction="none")
        loss = (shares @ losses).item() + 0.5 * shift * move.square().sum().item()
        error = shares[:, None] * (torch.softmax(scores, 1) - one_hot)
        gradient = scale * (design.T @ error) + shift * move
        return loss, gradient.flatten().cpu().numpy()

    result = minimize(
        loss_and_gradient,
        np.zeros(start.numel()),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 200},
    )
    return start + torch.from_numpy(result.x).to(design).view(shape)


def best_targets(
    design,
    labels,
    targets,
    start,
    *,
    loss,
    scale,
    held_out_loss,
    cross_validate=False,
    weights=None,
    deadline=None,
):
    """Targets that minimise the loss with an L2 penalty that other rows choose.

    Parameters
    ----------
    design : float64 tensor of shape (n, n_items)
        Design matrix: the scores of n training rows are ``design @ targets``.
    labels : int tensor of shape (n,)
    targets : tensor of shape (n, n_classes)
        Centred one-hot labels, for the squared loss.
    start : tensor of shape (n_items, n_classes)
        Targets that the penalty draws the solution to.
    loss : {"cross_entropy", "mse"}
    scale : float
        Factor of the scores in the cross entropy.
    held_out_loss : callable or None
        ``held_out_loss(targets)`` is the loss on held-out rows.
    cross_validate : bool, default=False
        Without held-out rows, parts of the rows choose. False: the largest penalty is taken, as for
        items that were fitted to these very rows.
    weights : tensor of shape (n,), optional
        How much each row counts.
    deadline : float, optional
        Moment of ``time.monotonic()`` after which no other penalty is tried; then the largest is
        taken of those that were.

    Returns
    -------
    tensor of shape (n_items, n_classes)
        In the type of ``start``; ``start`` itself where nothing is better.
    """

    def solve(penalty, rows=slice(None)):
        if penalty is None:
            return start
        problem, own = design[rows], None if weights is None else weights[rows]
        origin = start.to(design)
        if loss == "mse":
            solved = ridge_targets(problem, targets[rows].to(design), origin, penalty, own)
        else:
            solved = cross_entropy_targets(problem, labels[rows], origin, scale, penalty, own)
        return solved.to(start.dtype)

    # The largest penalty first: it is taken where there is no time for others.
    tried = (
        penalty
        for penalty in (*_PENALTIES[::-1], None)
        if penalty == _PENALTIES[-1] or deadline is None or time.monotonic() < deadline
    )
    if held_out_loss is not None:
        return min(map(solve, tried), key=held_out_loss)
    if not cross_validate:
        return solve(_PENALTIES[-1])

    fold = _folds(labels)

    def left_out_loss(penalty):
        total = 0.0
        for k in range(_N_FOLDS):
            left = fold == k
            own = None if weights is None else weights[left]
            scores = design[left] @ solve(penalty, ~left).to(design)
            size = int(left.sum()) if own is None else own.sum().item()
            total += size * scaled_quality(scores, labels[left], weights=own)[2]
        return total

    return solve(min(tried, key=left_out_loss))


def _folds(labels):
    """Number of the part that each row belongs to: in each are rows of every class."""
    fold = torch.empty_like(labels)
    fold[labels.argsort(stable=True)] = torch.arange(len(labels), device=labels.device) % _N_FOLDS
    return fold
