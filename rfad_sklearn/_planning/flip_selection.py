"""Which classes of images :class:`RFADDistiller` may mirror: those whose training rows are still recognised in the mirror."""

from dataclasses import replace

import numpy as np

from .._networks.random_features import cached_features, draw_networks, kernel_product
from .._ridge.linalg import solve_targets
from .pilot_sample import N_NETWORKS, RIDGE, draw_pilot_sample
from .plan import PoolDefaults

# Of what is right in a class so much may be lost in the mirror, less what is won there. So many
# rows that lose like all of them together are added to those of each class.
_LOSS, _PRIOR = 0.3, 10
# The rows can tell where more are right than by always guessing the largest class, by so many
# standard deviations.
_DEVIATIONS = 3.0
# Stream of seeds beside those of the items, of the teacher and of the depth.
_STREAM = 3


def label_preserving_classes(wrong, wrong_flipped, y_encoded, n_classes):
    """Which classes are still recognised when flipped.

    Parameters
    ----------
    wrong, wrong_flipped : bool array of shape (n,)
        Which rows are classified wrongly as they are, and flipped.
    y_encoded : int array of shape (n,)
        Their class numbers.
    n_classes : int

    Returns
    -------
    bool array of shape (n_classes,)
        All False where the rows cannot tell: those of the largest class would be as many as are
        right.
    """
    guessed = np.bincount(y_encoded).max()
    if (~wrong).sum() <= guessed + _DEVIATIONS * np.sqrt(guessed * (1 - guessed / len(wrong))):
        return np.zeros(n_classes, dtype=bool)
    right, flipped = (
        np.bincount(y_encoded[rows], minlength=n_classes) for rows in (~wrong, ~wrong_flipped)
    )
    lost = right - flipped
    return lost + _PRIOR * max(lost.sum(), 0) / right.sum() <= _LOSS * (right + _PRIOR)


def _halves(y_encoded, rng):
    """Row numbers in two parts at random, with as many of each class, however the rows are ordered."""
    order = rng.permutation(len(y_encoded))
    order = order[np.argsort(y_encoded[order], kind="stable")]
    return order[::2], order[1::2]


def classes_to_flip(context):
    """Classes whose mirror images look like other rows of their class.

    Each half of some training rows classifies the other half, as it is and flipped left to right,
    by kernel ridge regression with the kernel of a few random networks. Photographs of things, and
    shirts, are told apart as well either way; letters, or shoes that all point to the left, are
    not.

    Parameters
    ----------
    context : FitContext
        Of images.

    Returns
    -------
    tuple of int
        Their numbers; none where rows are too few or too large to be asked.
    """
    spec = replace(context.spec, width=PoolDefaults.fresh(context.spec).width)
    rng = np.random.default_rng([context.seed, _STREAM])
    asked = draw_pilot_sample(context, spec.n_features(context.shape), rng)
    if asked is None:
        return ()
    x, y_encoded, targets = asked
    seeds = rng.integers(2**31, size=N_NETWORKS).tolist()
    networks = draw_networks(spec, context.shape, seeds, device=context.device, dtype=context.dtype)
    features, flipped = (cached_features(spec, networks, images) for images in (x, x.flip(2)))
    classes = y_encoded.cpu().numpy()
    halves, wrong = _halves(classes, rng), np.empty((2, len(x)), dtype=bool)
    for known, unknown in (halves, halves[::-1]):
        kernel = kernel_product(spec, features[known], features[known])
        dual = solve_targets(kernel, targets[known], RIDGE)
        for row, seen in zip(wrong, (features, flipped), strict=True):
            scores = kernel_product(spec, seen[unknown], features[known]).double() @ dual
            row[unknown] = scores.argmax(1).cpu().numpy() != classes[unknown]
    return tuple(
        np.flatnonzero(label_preserving_classes(*wrong, classes, len(context.classes))).tolist()
    )
