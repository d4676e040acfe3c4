"""Whether images keep their class when they are mirrored in :class:`RFADDistiller`: the rows say so, by their mirror images."""

from dataclasses import replace

import numpy as np

from .._ridge import solve_targets
from ..random_features import cached_features, draw_networks, kernel_product
from ._asking import N_NETWORKS, RIDGE, asked_rows
from ._pool import PoolDefaults

# Of all rows so many more may be classified wrongly in the mirror, and of what was right in one class; and chance, in standard deviations.
_LOSS, _CLASS_LOSS, _DEVIATIONS = 0.10, 0.40, 3.0
# Stream of seeds beside those of the items, of the teacher and of the depth.
_STREAM = 3


def keep_their_class(wrong, wrong_mirrored, codes):
    """Whether rows keep their class when mirrored.

    Parameters
    ----------
    wrong, wrong_mirrored : bool array of shape (n,)
        Which rows are classified wrongly as they are, and mirrored.
    codes : int array of shape (n,)
        Their class numbers.

    Returns
    -------
    bool
        False too where the rows cannot tell: those of the largest class would be as many as are right.
    """
    guessed = np.bincount(codes).max()
    if (~wrong).sum() <= guessed + _DEVIATIONS * np.sqrt(guessed * (1 - guessed / len(wrong))):
        return False
    right, lost, won = (np.bincount(codes, rows) for rows in (~wrong, wrong_mirrored & ~wrong, wrong & ~wrong_mirrored))
    # Two classes that are each other's mirror images are few rows among many.
    loses = (lost - won > _CLASS_LOSS * right) & (lost - won > _DEVIATIONS * np.sqrt(lost + won))
    return bool((lost - won).sum() <= _LOSS * len(wrong) and not loses.any())


def _halves(codes, rng):
    """Row numbers in two parts at random, with as many of each class, however the rows are ordered."""
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    return order[::2], order[1::2]


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
    classes = codes.cpu().numpy()
    halves, wrong = _halves(classes, rng), np.empty((2, len(x)), dtype=bool)
    for known, unknown in (halves, halves[::-1]):
        kernel = kernel_product(spec, features[known], features[known])
        dual = solve_targets(kernel, targets[known], RIDGE)
        for row, seen in zip(wrong, (features, mirrored), strict=True):
            scores = kernel_product(spec, seen[unknown], features[known]).double() @ dual
            row[unknown] = scores.argmax(1).cpu().numpy() != classes[unknown]
    return keep_their_class(*wrong, classes)
