"""Rows that lie where their own class does (Wilson 1972, with forests in place of neighbours)."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier

# Balanced draws of rows, a forest of so many trees with leaves of so many rows for each, and rows
# per class of a draw at most.
_N_DRAWS, _N_TREES, _LEAF, _MOST_DRAWN = 5, 40, 3, 2048


def own_class_shares(rows, y_encoded, known, rng):
    """Share that forests give the class of each row, on the mean over those not fitted on it.

    Parameters
    ----------
    rows : array of shape (n, d)
    y_encoded : int array of shape (n,)
    known : bool array of shape (n,)
        Rows that forests may be fitted on, as many of each class; some of every class.
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (n,)
        Zero for a row that all forests are fitted on.
    """
    members = [np.flatnonzero(known & (y_encoded == c)) for c in np.unique(y_encoded)]
    size = min(_MOST_DRAWN, *map(len, members))
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for _ in range(_N_DRAWS):
        drawn = np.concatenate([rng.choice(own, size, replace=False) for own in members])
        seed = int(rng.integers(2**31))
        forest = RandomForestClassifier(_N_TREES, min_samples_leaf=_LEAF, random_state=seed)
        forest.fit(rows[drawn], y_encoded[drawn])
        others = np.setdiff1d(np.arange(len(rows)), drawn)
        position = np.searchsorted(forest.classes_, y_encoded[others])
        total[others] += forest.predict_proba(rows[others])[np.arange(len(others)), position]
        count[others] += 1
    return total / np.maximum(count, 1)


def edited_rows(shares, n_rows, least, rng):
    """Positions of random rows whose share is no smaller; of the highest where too few are."""
    best = np.argsort(-shares, kind="stable")
    return rng.choice(best[: max(n_rows, int((shares >= least).sum()))], n_rows, replace=False)
