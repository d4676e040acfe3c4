"""Columns to normal scores of their ranks: monotone, piecewise-linear maps, and back."""

import numpy as np
import torch
from scipy.special import ndtr, ndtri

#: Knots of a column, at most.
MOST_KNOTS = 64
# Normal score of the outermost knots: between them they are even.
_OUTERMOST = 4.0


def knots_of(column, most=MOST_KNOTS):
    """Increasing values of a column, and their normal scores: of the middle of their ties.

    Parameters
    ----------
    column : array of shape (n,)
    most : int
        Knots at most, and the smallest and the largest value.

    Returns
    -------
    values, scores : array of shape (n_knots,)
    """
    column = np.sort(column)
    values = np.unique(column)
    if len(values) > most:
        shares = ndtr(np.linspace(-_OUTERMOST, _OUTERMOST, most))
        inner = np.quantile(column, shares, method="nearest")
        values = np.unique(np.concatenate([column[:1], inner, column[-1:]]))
    below, upto = np.searchsorted(column, values, "left"), np.searchsorted(column, values, "right")
    return values, ndtri((below + upto) / (2 * len(column)))


def interpolate(x, source, target):
    """Piecewise-linear interpolation, column by column; it goes on beyond the outermost knots.

    Parameters
    ----------
    x : tensor of shape (n, m)
    source, target : tensor of shape (m, n_knots)
        Increasing along each row.

    Returns
    -------
    tensor of shape (n, m)
    """
    x = x.T.contiguous()
    above = torch.searchsorted(source, x.detach()).clamp(1, source.shape[1] - 1)
    left, right = source.gather(1, above - 1), source.gather(1, above)
    low, high = target.gather(1, above - 1), target.gather(1, above)
    return (low + (x - left) / (right - left) * (high - low)).T


def interpolate_within(x, source, target):
    """The same, but what lies beyond the outermost knots is taken for these.

    The last knot of a row may be repeated. numpy arrays give a numpy array; all in float64.
    """
    inside, source, target = (
        array.double()
        if isinstance(array, torch.Tensor)
        else torch.tensor(array.astype(np.float64))
        for array in (x, source, target)
    )
    inside = torch.clamp(inside, source[:, 0], source[:, -1])
    y = torch.clamp(interpolate(inside, source, target), target[:, 0], target[:, -1])
    return y.numpy() if isinstance(x, np.ndarray) else y


def problem_of_knots(columns, quantiles, scores, n_features):
    """What is wrong with the map of some columns, in words; None where nothing is.

    Parameters
    ----------
    columns : int array of shape (m,)
    quantiles, scores : array of shape (m, n_knots)
    n_features : int
        Number of all columns.
    """
    m = len(columns) if columns.ndim == 1 else -1
    if m < 0 or (m and columns.dtype.kind not in "iu"):
        return f"quantile_columns must be a vector of integers, got {columns!r}"
    for name, array in (("quantiles", quantiles), ("normal_scores", scores)):
        if array.ndim != 2 or len(array) != m or array.shape != quantiles.shape:
            return (
                f"{name} must have a row of as many knots for each of the {m} quantile_columns, "
                f"got shape {array.shape}"
            )
    return _problem_of_values(columns, quantiles, scores, n_features) if m else None


def _problem_of_values(columns, quantiles, scores, n_features):
    """The same, of arrays whose shapes fit."""
    if columns.min() < 0 or columns.max() >= n_features or (columns[1:] <= columns[:-1]).any():
        return f"quantile_columns must be increasing numbers of the {n_features} columns"
    if quantiles.shape[1] < 2:
        return "quantiles must have two knots of each column at least"
    rises = []
    for name, array in (("quantiles", quantiles), ("normal_scores", scores)):
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(np.abs(array.astype(np.float64)).sum()):
                return f"{name} holds NaN or infinity, or numbers that are too large"
        if (array[:, 1:] < array[:, :-1]).any():
            return f"{name} must not decrease along its rows"
        rises.append(array[:, 1:] > array[:, :-1])
    if not rises[0][:, 0].all() or (rises[0] != rises[1]).any():
        return "quantiles and normal_scores must increase at the same knots, and at the first"
    return None
