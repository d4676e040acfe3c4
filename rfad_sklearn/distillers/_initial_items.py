"""Where items start: at rows of each class, at means of them, at given items."""

from dataclasses import dataclass

import numpy as np

from .._utils.row_selection import CENTROIDS, centroid_groups, initial_rows, means_of
from .._utils.validation import as_rows
from ..coreset import Coreset
from ._item_counts import item_classes

# Means of ranks: of items for any model, in tables.
RANK_CENTROIDS = "centroids of ranks"


@dataclass(frozen=True)
class Continuation:
    """A start from the items of a coreset; ``others`` is how those start that it lacks."""

    coreset: Coreset
    others: str


def initial_items(context, init):
    """Items at the start in the units of X.

    Parameters
    ----------
    context : FitContext
    init : str, Continuation or array of shape (n_items, ...)
        A strategy, or given items.

    Returns
    -------
    array of shape (n_items, d)

    Raises
    ------
    ValueError
        For given items that are not like those that are wanted.
    """
    if isinstance(init, Continuation):
        return _continued_items(context, init)
    if not isinstance(init, str):
        return _checked(context, init)
    return _items_by(context, init, context.per_class)


def _continued_items(context, init):
    """Those of a coreset, and behind them in each class those that it lacks."""
    others = context.per_class - context.continued
    items = [_rows_of(context, init.coreset)]
    if others.any():
        items.append(_items_by(context, init.others, others))
    own = item_classes(init.coreset, context.classes)
    numbers = np.concatenate([own, np.repeat(np.arange(len(others)), others)])
    return np.concatenate(items)[np.argsort(numbers, kind="stable")]


def _rows_of(context, coreset):
    """Items of a coreset as rows like those of X."""
    if context.columns is None:
        return coreset.X
    words = np.stack(coreset.columns.decoded(coreset.X), axis=1)
    return _expanded(context, words)


def _expanded(context, items):
    """Given items in words as rows like those of X."""
    columns = context.columns
    codes = columns.encode(items)
    codes = codes if columns.medians is None else columns.filled(codes)
    unknown = np.flatnonzero((codes < 0).any(0) & columns.is_categorical)
    if len(unknown):
        k = int(unknown[0])
        raise ValueError(
            f"init has categories in column {k} that X has not: X has "
            f"{columns.categories[k].tolist()}. Give items in the words of X: init=coreset, or "
            "init=coreset.to_frame()."
        )
    return columns.expand(codes)


def _items_by(context, init, per_class):
    """Items by a strategy, as many of each class."""
    where = context.y_encoded, context.train, per_class
    if init == CENTROIDS:
        return means_of(context.rows, centroid_groups(*where, context.read, context.rng))
    if init == RANK_CENTROIDS:
        read = context.read_coordinates
        groups = centroid_groups(*where, read, context.rng)
        rows, positions = np.unique(np.concatenate(groups), return_inverse=True)
        ends = np.cumsum([len(group) for group in groups])[:-1]
        means = means_of(read(rows), np.split(positions, ends))
        return context.in_units(means.astype(np.float32))
    return context.rows[initial_rows(*where, init, context.read, context.rng)]


def _checked(context, init):
    """Given items, as rows of finite numbers."""
    rows, seen = as_rows(init)
    columns = context.columns
    if columns is None:
        rows = np.asarray(rows, dtype=float)
    elif np.ndim(rows) == 2 and np.shape(rows)[1] == columns.n_columns:
        rows = _expanded(context, rows)
    if seen is not None and seen != context.image_shape:
        raise ValueError(
            f"init holds images of shape {seen}, but those of X are {context.image_shape}; reshape "
            "init."
        )
    wanted = (context.n_items, context.rows.shape[1])
    if np.shape(rows) != wanted:
        n_features = wanted[1] if columns is None else columns.n_columns
        raise ValueError(
            f"init must hold {wanted[0]} items (ipc of each class, class by class) of {n_features} "
            f"features, got an array of shape {np.shape(init)}."
        )
    if not np.isfinite(rows).all():
        raise ValueError("init holds NaN or infinity; it must be finite numbers in the units of X.")
    return rows
