"""Training rows that are asked, before a run, what serves them: they classify each other by a few random networks."""

import math

import numpy as np
import torch

from .._utils.labels import centred_one_hot

# Rows that are asked, at least and at most, and fewer where they, or their features in one network,
# would be more entries than this.
_LEAST_ROWS, _MOST_ROWS, _ENTRIES = 200, 2048, 2**24
# Rows that are read and preprocessed at a time.
_CHUNK = 256
# Images with more features are not asked about: those of two blocks and 64x64 pixels, of three and
# 90x90.
_MOST_FEATURES = 2**15
# Networks that they are asked by, and the ridge: neither depends on parameters that a run which
# goes on, or a grid, may change.
N_NETWORKS, RIDGE = 2, 5e-3


def draw_pilot_sample(context, n_features, rng):
    """Some training rows as network inputs, their class numbers, and their targets, on the device.

    Parameters
    ----------
    context : FitContext
    n_features : int
        Of one row in one of the networks.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of tensors, or None where rows are too few or too large to be asked
    """
    most = min(
        _MOST_ROWS, _ENTRIES // max(n_features, math.prod(context.shape)), len(context.train)
    )
    if most < _LEAST_ROWS or n_features > _MOST_FEATURES:
        return None
    rows = np.sort(rng.choice(context.train, most, replace=False))
    parts = [context.read(part) for part in np.array_split(rows, -(-most // _CHUNK))]
    x = torch.from_numpy(np.concatenate(parts)).to(context.device).reshape(-1, *context.shape)
    y_encoded = torch.from_numpy(context.y_encoded[rows].astype(np.int64)).to(context.device)
    return x, y_encoded, centred_one_hot(y_encoded, len(context.classes))
