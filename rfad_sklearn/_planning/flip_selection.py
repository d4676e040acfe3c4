"""Which classes of images may be flipped left to right: those still recognised when flipped."""

from dataclasses import replace

import numpy as np

from .._networks.random_features import cached_features, draw_networks, kernel_product
from .._ridge.linalg import solve_targets
from .pilot_sample import N_PILOT_NETWORKS, PILOT_REG, draw_pilot_sample
from .pool import fresh_width

# Share of the rows of a class that are right that may be lost by flips, less what is won by them.
_MOST_LOST = 0.3
# Rows that are added to those of each class, and lose as all rows together do.
_PRIOR_ROWS = 10
# Standard deviations by which more rows must be right than by always guessing the largest class.
_DEVIATIONS = 3.0
# Stream of seeds beside those of the items, of the teacher and of the depth.
_STREAM = 3


def label_preserving_classes(wrong, wrong_flipped, y_encoded, n_classes):
    """Classes whose rows are still recognised when flipped.

    Parameters
    ----------
    wrong, wrong_flipped : bool array of shape (n,)
        Which rows are misclassified as they are, and flipped.
    y_encoded : int array of shape (n,)
        Their class numbers.
    n_classes : int

    Returns
    -------
    bool array of shape (n_classes,)
        All False where the rows cannot say: those of the largest class would be as many as are
        right.
    """
    guessed = np.bincount(y_encoded).max()
    if (~wrong).sum() <= guessed + _DEVIATIONS * np.sqrt(guessed * (1 - guessed / len(wrong))):
        return np.zeros(n_classes, dtype=bool)
    right, flipped = (
        np.bincount(y_encoded[rows], minlength=n_classes) for rows in (~wrong, ~wrong_flipped)
    )
    lost = right - flipped
    shared = _PRIOR_ROWS * max(lost.sum(), 0) / right.sum()
    return lost + shared <= _MOST_LOST * (right + _PRIOR_ROWS)


def _halves(y_encoded, rng):
    """Row numbers in two random parts with as many of each class, however the rows are ordered."""
    order = rng.permutation(len(y_encoded))
    order = order[np.argsort(y_encoded[order], kind="stable")]
    return order[::2], order[1::2]


def select_flipped_classes(context):
    """Classes for which a horizontal flip preserves the label.

    Each half of a pilot sample classifies the other half, as it is and flipped left to right, by
    kernel ridge regression with the kernel of a few random networks. Photographs of things, and
    shirts, are recognised as well either way; letters, or shoes that all point one way, are not.

    Parameters
    ----------
    context : FitContext
        Of images.

    Returns
    -------
    flipped : tuple of int
        Numbers of the classes.
    why : str
    """
    spec = replace(context.spec, width=fresh_width(context.spec))
    rng = np.random.default_rng([context.seed, _STREAM])
    sample = draw_pilot_sample(context, spec.n_features(context.shape), rng)
    if sample is None:
        return (), "rows are too few or too large to see which classes survive flips"
    x, y_encoded, targets = sample
    seeds = rng.integers(2**31, size=N_PILOT_NETWORKS).tolist()
    networks = draw_networks(spec, context.shape, seeds, device=context.device, dtype=context.dtype)
    features, flipped = (cached_features(spec, networks, images) for images in (x, x.flip(2)))
    classes = y_encoded.cpu().numpy()
    halves, wrong = _halves(classes, rng), np.empty((2, len(x)), dtype=bool)
    for known, unknown in (halves, halves[::-1]):
        kernel = kernel_product(spec, features[known], features[known])
        dual = solve_targets(kernel, targets[known], PILOT_REG)
        for row, seen in zip(wrong, (features, flipped), strict=True):
            scores = kernel_product(spec, seen[unknown], features[known]).double() @ dual
            row[unknown] = scores.argmax(1).cpu().numpy() != classes[unknown]
    n_classes = len(context.classes)
    kept = np.flatnonzero(label_preserving_classes(*wrong, classes, n_classes)).tolist()
    why = f"{len(kept)} of {n_classes} classes are still recognised when flipped left to right"
    return tuple(kept), f"{why}, by {len(x):,} training rows"
