"""Whether images keep their class when they are mirrored in :class:`RFADDistiller`: the rows say so, by their mirror images."""

from dataclasses import replace

import numpy as np
import torch

from .._ridge import solve_targets
from ..random_features import cached_features, draw_networks, kernel_product
from ._asking import N_NETWORKS, RIDGE, asked_rows
from ._pool import PoolDefaults

# More of the mirrored rows may be classified wrongly than of the rows themselves by this share of them, which leaves room for chance.
_LOSS = 0.03
# Stream of seeds beside those of the items, of the teacher and of the depth.
_STREAM = 3


def keep_their_class(wrong, wrong_mirrored):
    """Whether rows keep their class when mirrored, by which of them are classified wrongly as they are and mirrored (boolean tensors)."""
    return int(wrong_mirrored.sum()) - int(wrong.sum()) <= _LOSS * len(wrong)


def may_be_mirrored(problem):
    """Whether mirror images of rows look like other rows of their class.

    Each half of some training rows classifies the other half, as it is and mirrored left to right, by kernel ridge regression with the kernel
    of a few random networks. Photographs of things are told apart as well either way; letters, or shoes that all point to the left, are not.

    Parameters
    ----------
    problem : Problem
        Of images.

    Returns
    -------
    bool
    """
    spec = replace(problem.spec, width=PoolDefaults.fresh(problem.spec).width)
    rng = np.random.default_rng([problem.seed, _STREAM])
    asked = asked_rows(problem, spec.n_features(problem.shape), rng)
    if asked is None:
        return False
    x, codes, targets = asked
    seeds = rng.integers(2**31, size=N_NETWORKS).tolist()
    networks = draw_networks(spec, problem.shape, seeds, device=problem.device, dtype=problem.dtype)
    features, mirrored = (cached_features(spec, networks, images) for images in (x, x.flip(2)))
    halves = torch.arange(len(x), device=problem.device).tensor_split(2)
    wrong = torch.empty((2, len(x)), dtype=torch.bool)
    for known, unknown in (halves, halves[::-1]):
        kernel = kernel_product(spec, features[known], features[known])
        dual = solve_targets(kernel, targets[known], RIDGE)
        for row, seen in zip(wrong, (features, mirrored), strict=True):
            scores = kernel_product(spec, seen[unknown], features[known]).double() @ dual
            row[unknown.cpu()] = (scores.argmax(1) != codes[unknown]).cpu()
    return keep_their_class(*wrong)
