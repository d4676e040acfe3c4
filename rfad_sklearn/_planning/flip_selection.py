"""Which classes of images :class:`RFADDistiller` may mirror: those whose training rows are still recognised in the mirror."""

from dataclasses import replace

import numpy as np

from .._networks.random_features import cached_features, draw_networks, kernel_product
from .._ridge.linalg import solve_targets
from .pilot_sample import N_NETWORKS, RIDGE, asked_rows
from .plan import PoolDefaults

# Of what is right in a class so much may be lost in the mirror, less what is won there. So many rows that lose like all of them together are
# added to those of each class.
_LOSS, _PRIOR = 0.3, 10
# The rows can tell where more are right than by always guessing the largest class, by so many standard deviations.
_DEVIATIONS = 3.0
# Stream of seeds beside those of the items, of the teacher and of the depth.
_STREAM = 3


def keep_their_class(wrong, wrong_mirrored, codes, n_classes):
    """Which classes are still recognised when mirrored.

    Parameters
    ----------
    wrong, wrong_mirrored : bool array of shape (n,)
        Which rows are classified wrongly as they are, and mirrored.
    codes : int array of shape (n,)
        Their class numbers.
    n_classes : int

    Returns
    -------
    bool array of shape (n_classes,)
        All False where the rows cannot tell: those of the largest class would be as many as are right.
    """
    guessed = np.bincount(codes).max()
    if (~wrong).sum() <= guessed + _DEVIATIONS * np.sqrt(guessed * (1 - guessed / len(wrong))):
        return np.zeros(n_classes, dtype=bool)
    right, mirrored = (np.bincount(codes[rows], minlength=n_classes) for rows in (~wrong, ~wrong_mirrored))
    lost = right - mirrored
    return lost + _PRIOR * max(lost.sum(), 0) / right.sum() <= _LOSS * (right + _PRIOR)


def _halves(codes, rng):
    """Row numbers in two parts at random, with as many of each class, however the rows are ordered."""
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    return order[::2], order[1::2]


def classes_to_mirror(problem):
    """Classes whose mirror images look like other rows of their class.

    Each half of some training rows classifies the other half, as it is and mirrored left to right, by kernel ridge regression with the kernel
    of a few random networks. Photographs of things, and shirts, are told apart as well either way; letters, or shoes that all point to the
    left, are not.

    Parameters
    ----------
    problem : Problem
        Of images.

    Returns
    -------
    tuple of int
        Their numbers; none where rows are too few or too large to be asked.
    """
    spec = replace(problem.spec, width=PoolDefaults.fresh(problem.spec).width)
    rng = np.random.default_rng([problem.seed, _STREAM])
    asked = asked_rows(problem, spec.n_features(problem.shape), rng)
    if asked is None:
        return ()
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
    return tuple(np.flatnonzero(keep_their_class(*wrong, classes, len(problem.classes))).tolist())
