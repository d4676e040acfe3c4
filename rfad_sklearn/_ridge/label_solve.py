"""Best targets for fixed items: a convex problem, since the scores are linear in the targets (Nguyen et al. 2021)."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

# Strengths of the pull towards the given targets, relative to the mean curvature of the loss; the
# last one without held-out rows.
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def ridge_targets(maps, targets, start, strength):
    """Minimiser of ``|A Y - T|^2 / 2n + strength * mean curvature / 2 * |Y - Y_0|^2``."""
    n = len(maps)
    gram = maps.T @ maps / n
    shift = strength * gram.diagonal().mean()
    moments = maps.T @ (targets - maps @ start) / n
    return start + torch.linalg.solve(
        gram + shift * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), moments
    )


def cross_entropy_targets(maps, labels, start, scale, strength):
    """Minimiser of the mean cross entropy of ``softmax(scale A Y)`` plus the same pull, by L-BFGS."""
    n, shape = len(maps), tuple(start.shape)
    # The curvature of the cross entropy in each score is at most scale^2 / 4.
    shift = strength * (scale**2 / 4) * maps.square().sum(0).mean().item() / n
    hot = F.one_hot(labels, shape[1]).to(maps)

    def loss_and_gradient(flat):
        move = torch.from_numpy(flat).to(maps).view(shape)
        scores = scale * (maps @ (start + move))
        loss = F.cross_entropy(scores, labels).item() + 0.5 * shift * move.square().sum().item()
        gradient = scale / n * (maps.T @ (torch.softmax(scores, 1) - hot)) + shift * move
        return loss, gradient.flatten().cpu().numpy()

    result = minimize(
        loss_and_gradient,
        np.zeros(start.numel()),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 200},
    )
    return start + torch.from_numpy(result.x).to(maps).view(shape)


def best_targets(maps, labels, targets, start, *, loss, scale, judge):
    """Targets that minimise the loss, pulled towards the given ones as strongly as the held-out rows ask for.

    Parameters
    ----------
    maps : float64 tensor of shape (n, n_items)
        Scores of n training rows are ``maps @ targets``.
    labels : int tensor of shape (n,)
    targets : tensor of shape (n, n_classes)
        Centred one-hot labels, for the squared loss.
    start : tensor of shape (n_items, n_classes)
    loss : {"cross_entropy", "mse"}
    scale : float
        Factor of the scores in the cross entropy.
    judge : callable or None
        ``judge(targets)`` gives the loss on held-out rows. None: the strongest pull is taken.

    Returns
    -------
    tensor of shape (n_items, n_classes)
        In the type of ``start``; ``start`` itself where nothing is better.
    """

    def solve(strength):
        origin = start.to(maps)
        if loss == "mse":
            solved = ridge_targets(maps, targets.to(maps), origin, strength)
        else:
            solved = cross_entropy_targets(maps, labels, origin, scale, strength)
        return solved.to(start.dtype)

    if judge is None:
        return solve(_STRENGTHS[-1])
    candidates = [start, *(solve(strength) for strength in _STRENGTHS)]
    return min(candidates, key=judge)
