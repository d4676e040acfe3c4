"""Rows: which to hold out, and which to start from."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances

from .labels import by_comparable_label, comparable_labels

# Held-out rows, at most: of 2048 the standard error of an accuracy of 85 % is 0.8 points, and more
# would cost more than they gain.
_MAX_HELD_OUT = 2048
# Numbers in a sample of rows, at most.
_SAMPLE_NUMBERS = 2**25
# Rows per class that are compared with each other; of larger classes as many random ones.
_MAX_COMPARED = 8192


def evenly(n, most):
    """Numbers of up to ``most`` of n rows, evenly spread; of all where these are no more."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))


def sampled_rows(n, n_columns, *, most=16384, fewest=2):
    """Numbers of rows to learn from, evenly spread: the fewer, the longer rows are.

    Parameters
    ----------
    n, n_columns : int
        Of all rows.
    most, fewest : int
        Rows at most, and where they are so long that fewer would be read.

    Returns
    -------
    int array
    """
    return evenly(n, max(min(most, _SAMPLE_NUMBERS // n_columns), fewest))


def items_per_class(ipc, classes):
    """Number of items that are wanted of each class, of an int or a dict of label to int.

    Returns
    -------
    int array of shape (n_classes,)

    Raises
    ------
    ValueError
        For unknown or missing classes, and numbers below 1.
    """
    if isinstance(ipc, bool | np.bool_):
        raise ValueError(f"ipc must be an int of at least 1, or a dict, got {ipc!r}.")
    labels = comparable_labels(classes)
    if isinstance(ipc, dict):
        given = by_comparable_label(ipc, classes)
        unknown = [key for key in given if key not in labels]
        missing = [label for label in labels if label not in given]
        if unknown or missing:
            raise ValueError(
                f"ipc must name every class once: unknown classes {unknown}, missing classes "
                f"{missing}; the classes of y are {labels}."
            )
        numbers = [given[label] for label in labels]
        for label, number in zip(labels, numbers, strict=True):
            if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
                raise ValueError(
                    f"ipc for class {label!r} must be an int of at least 1, got {number!r}."
                )
    else:
        numbers = [ipc] * len(classes)
    return np.array(numbers)


def share_items(n_items, counts):
    """Number of items of each class where only their sum is given: the same for all.

    A class with no more rows than its share gives them all, and the others share the rest. What is
    left over goes to the largest classes, one to each.

    Parameters
    ----------
    n_items : int
    counts : int array of shape (n_classes,)
        Rows of each class.

    Returns
    -------
    int array of shape (n_classes,)

    Raises
    ------
    ValueError
        For fewer items than classes, and for more than rows.
    """
    n_classes, n_rows = len(counts), int(counts.sum())
    if not n_classes <= n_items <= n_rows:
        raise ValueError(
            f"n_items={n_items!r} must be at least one for each of the {n_classes} classes, and at "
            f"most the {n_rows} rows of X."
        )
    order = np.argsort(counts, kind="stable")
    per_class, left = np.zeros(n_classes, dtype=int), n_items
    # From the smallest class on, each gets an even share of what is left, as far as it has rows.
    for n_done, c in enumerate(order):
        per_class[c] = min(counts[c], left // (n_classes - n_done))
        left -= per_class[c]
    return per_class


def split_holdout(y_encoded, fraction, per_class, rng, limit=_MAX_HELD_OUT):
    """Stratified split into training and held-out row numbers.

    Every class keeps at least as many training rows as it gets items. At most about ``limit`` rows
    are held out, and never many more than 2048. Of classes too small to give a row each some do, at
    random, so that together they give their share.
    """
    n_classes = len(per_class)
    counts = np.bincount(y_encoded, minlength=n_classes)
    shrink = min(1.0, min(limit, _MAX_HELD_OUT) / max(fraction * len(y_encoded), 1))
    shares = fraction * shrink * counts
    wanted = np.round(shares).astype(int)
    small = np.flatnonzero(wanted == 0)
    if len(small):
        n_giving = round(shares[small].sum())
        wanted[
            rng.choice(small, n_giving, replace=False, p=shares[small] / shares[small].sum())
        ] = 1
    held = np.minimum(wanted, counts - per_class)
    validation = np.concatenate(
        [
            rng.choice(np.flatnonzero(y_encoded == c), held[c], replace=False, shuffle=False)
            for c in range(n_classes)
        ]
    )
    validation.sort()
    return np.setdiff1d(np.arange(len(y_encoded)), validation, assume_unique=True), validation


def centroid_groups(y_encoded, train, per_class, read, rng):
    """Row numbers of each centroid of k-means, class by class.

    Parameters
    ----------
    y_encoded, train, per_class, read, rng
        As for :func:`initial_rows`.

    Returns
    -------
    list of int array
        The rows whose mean is the centroid. Where a class has fewer different rows than centroids,
        some are of one row, again.
    """
    groups = []
    for c, n_items in enumerate(per_class):
        if not n_items:
            continue
        members = _compared(train[y_encoded[train] == c], n_items, rng)
        if n_items == len(members):
            groups += list(members[:, None])
            continue
        nearest = _fitted_kmeans(read(members).reshape(len(members), -1), n_items, rng).labels_
        own = [members[nearest == k] for k in range(n_items)]
        groups += [rows if len(rows) else rng.choice(members, 1) for rows in own]
    return groups


def means_of(rows, groups):
    """Mean of each group of rows, in float64, ``(n_groups, d)``."""
    return np.stack([np.mean(rows[group], axis=0, dtype=float) for group in groups])


def _compared(members, n_items, rng):
    """The rows of a class, or of a large one as many random ones as are compared."""
    most = max(_MAX_COMPARED, n_items)
    return members if len(members) <= most else np.sort(rng.choice(members, most, replace=False))


def initial_rows(y_encoded, train, per_class, strategy, read, rng):
    """Row numbers to start from, class by class.

    ``strategy`` is one of :data:`STRATEGIES`, ``read(numbers)`` gives the rows that it compares.
    """
    chosen = []
    for c, n_items in enumerate(per_class):
        if not n_items:
            continue
        members = train[y_encoded[train] == c]
        if strategy == "random" or n_items == len(members):
            chosen.append(rng.choice(members, n_items, replace=False))
            continue
        members = _compared(members, n_items, rng)
        rows = read(members).reshape(len(members), -1)
        chosen.append(members[_CHOOSERS[strategy](rows, n_items, rng)])
    return np.concatenate(chosen)


def _fitted_kmeans(rows, n_items, rng):
    with warnings.catch_warnings():
        # Of fewer different rows than centres.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_items, n_init=1, random_state=int(rng.integers(2**31))).fit(rows)


def _nearest_to_centres(rows, n_items, rng):
    """Distinct rows nearest to the centres of k-means."""
    centres = _fitted_kmeans(rows, n_items, rng).cluster_centers_
    distances = euclidean_distances(rows, centres, squared=True)
    picked = []
    for k in np.argsort(distances.min(0)):
        # Distinct rows, also where two centres have the same nearest one.
        free = np.setdiff1d(np.arange(len(rows)), picked)
        picked.append(free[np.argmin(distances[free, k])])
    return np.array(picked)


def _herded(rows, n_items, rng):
    """Rows whose running mean stays nearest to the mean of all (Welling 2009)."""
    rows = rows - rows.mean(0)
    lengths = np.square(rows).sum(1, dtype=float)
    free = np.ones(len(rows), dtype=bool)
    total, picked = np.zeros(rows.shape[1], dtype=rows.dtype), []
    for _ in range(n_items):
        # |total + row|^2, without the part that all rows share.
        best = int(np.where(free, lengths + 2 * (rows @ total), np.inf).argmin())
        free[best] = False
        total += rows[best]
        picked.append(best)
    return np.array(picked)


def _farthest_first(rows, n_items, rng):
    """Greedy k-centres (Gonzalez 1985).

    The row nearest to the mean, then always the row farthest from those chosen.
    """
    distances = np.square(rows - rows.mean(0)).sum(1)
    picked = [int(distances.argmin())]
    nearest = np.full(len(rows), np.inf)
    for _ in range(n_items - 1):
        nearest = np.minimum(nearest, np.square(rows - rows[picked[-1]]).sum(1))
        # A chosen row has distance zero; where all others have it too, any of them will do.
        nearest[picked] = -1
        picked.append(int(nearest.argmax()))
    return np.array(picked)


_CHOOSERS = {"kmeans": _nearest_to_centres, "herding": _herded, "kcenter": _farthest_first}
# Means of rows in place of rows.
CENTROIDS = "centroids"
# Ways to choose real rows.
STRATEGIES = ("random", *_CHOOSERS)
