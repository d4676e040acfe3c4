"""A pilot sample: training rows that classify each other before a run, by a few random networks."""

import math

import numpy as np
import torch

from .._utils.labels import centred_one_hot

# Fewest rows of a sample.
_LEAST_ROWS = 200
# Most rows of a sample.
_MOST_ROWS = 2048
# Entries that its rows, or their features in one network, may have.
_ENTRIES = 2**24
# Rows that are read and preprocessed at a time.
_CHUNK = 256
# Features of an image at most: those of two blocks and 64x64 pixels, of three and 90x90.
_MOST_FEATURES = 2**15
# Networks that classify it. Like the ridge, they depend on no parameter that a resumed run or a
# grid may change.
N_PILOT_NETWORKS = 2
# Ridge of its kernel ridge regression, relative to the mean diagonal.
PILOT_REG = 5e-3


def draw_pilot_sample(context, n_features, rng):
    """Some training rows as network inputs, their class numbers and targets, on the device.

    Parameters
    ----------
    context : FitContext
    n_features : int
        Features of one row in one of the networks.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of tensors, or None
        None where rows are too few or too large.
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
