"""How many items each class gets, and where they come from: rows, or a coreset."""

from dataclasses import dataclass

import numpy as np

from .._utils.frames import column_names, is_frame
from .._utils.labels import find_classes, label_array, plain_label
from .._utils.row_selection import items_per_class, share_items
from .._utils.validation import warn_caller
from ..coreset import Coreset

# Rows of a class that gives them all as items, from which on half of them evaluate the other half.
_LEAST_CROSS_FITTED = 32
# Classes that a warning names, at most.
_FEW_CLASSES = 5


@dataclass(frozen=True)
class ItemCounts:
    """Items of each class, as int arrays of shape ``(n_classes,)``.

    Attributes
    ----------
    per_class : array
        All items.
    continued : array
        Those that start from the items of a coreset.
    exhausted : bool array
        Whether the class gives all its rows as they are.
    kept : array
        Rows that must not be held out.
    cross_fitted : bool array
        Whether a sampler keeps the rows of the class, and items of other classes are to stand
        beside them: its rows cannot evaluate models that are fitted on them, and are no rows to
        fit their neighbours to.
    """

    per_class: np.ndarray
    continued: np.ndarray
    exhausted: np.ndarray
    kept: np.ndarray
    cross_fitted: np.ndarray

    @classmethod
    def of(cls, estimator, classes, counts, image_shape, downstream):
        """Numbers that an estimator asks for.

        Parameters
        ----------
        estimator : CoresetEstimator
            That has seen X.
        classes : array of shape (n_classes,)
        counts : int array of shape (n_classes,)
            Rows of each class.
        image_shape : tuple (H, W, channels) or None
        downstream : {"nngp", "any"}

        Raises
        ------
        ValueError
            For numbers that contradict each other, y, or the coreset to start from, and for a
            coreset that is not of such rows.

        Warns
        -----
        UserWarning
            Where a class has fewer rows than items are wanted.
        """
        init, continued = getattr(estimator, "init", None), np.zeros_like(counts)
        if isinstance(init, Coreset):
            _check_columns(estimator, init, image_shape)
            continued = np.bincount(item_classes(init, classes), minlength=len(classes))
        elif is_frame(init):
            _check_names(estimator, init)
        available = np.maximum(counts, continued)
        wanted = _wanted(estimator, classes, counts, available)
        if (continued > wanted).any():
            raise ValueError(
                f"init has more items of some classes ({_named(classes, continued)}) than are "
                f"wanted ({_named(classes, wanted)}); raise ipc or n_items, so that it says how "
                "many items there are to be in the end."
            )
        per_class = np.minimum(wanted, available)
        # A class that is to give as many items as it has rows gives these, unless its items are to
        # start elsewhere.
        exhausted = (per_class == counts) & (continued == 0) & _starts_from_rows(estimator)
        kept = np.maximum(per_class - continued, 1)
        beside = estimator._keeps_rows and downstream == "any" and not exhausted.all()
        cross_fitted = exhausted & (counts >= _LEAST_CROSS_FITTED) & beside
        return cls(per_class, continued, exhausted, kept, cross_fitted)


def item_classes(coreset, classes):
    """Class numbers of a coreset's items.

    Raises
    ------
    ValueError
        For items of a class that is not among the classes.
    """
    # A coreset's labels need no pickle.
    numbers, unknown = find_classes(coreset.y, label_array(classes))
    if unknown:
        raise ValueError(
            f"init holds items of classes of which y has no rows: {unknown}; the classes of y are "
            f"{classes.tolist()}. Give rows of these classes too."
        )
    return numbers


def _check_columns(estimator, coreset, image_shape):
    """Refuse a coreset to start from whose columns are not those of X."""
    names, theirs = getattr(estimator, "feature_names_in_", None), coreset.feature_names
    if coreset.X.shape[1] != estimator.n_features_in_:
        wrong, own = f"{coreset.X.shape[1]} columns", f"{estimator.n_features_in_}"
    elif coreset.image_shape != image_shape:
        wrong, own = f"image_shape={coreset.image_shape}", f"image_shape={image_shape}"
    elif names is not None and theirs is not None and theirs != tuple(names):
        wrong, own = f"the columns {list(theirs)}", f"{list(names)}"
    elif not np.array_equal(_categorical(coreset.columns), _categorical(estimator._columns)):
        wrong = f"categories in the columns {_categorical(coreset.columns).tolist()}"
        own = f"them in {_categorical(estimator._columns).tolist()}"
    else:
        return
    raise ValueError(
        f"init is a coreset of {wrong}, but X has {own}; give rows like those it was made of."
    )


def _check_names(estimator, init):
    """Refuse a data frame to start from whose columns are named otherwise."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and column_names(init) != list(names):
        raise ValueError(
            f"init is a data frame of the columns {column_names(init)}, but those of X are "
            f"{list(names)}; give the same columns in the same order."
        )


def _categorical(columns):
    """Numbers of the columns of categories."""
    return np.flatnonzero([] if columns is None else columns.is_categorical)


def _starts_from_rows(estimator):
    """Whether items start from rows: not from noise, nor from an array of given items."""
    init = getattr(estimator, "init", "random")
    noise = getattr(estimator, "corruption", 0)
    return not noise and isinstance(init, str | Coreset) and init != "noise"


def _wanted(estimator, classes, counts, available):
    """Items that are wanted of each class; a warning where fewer are available."""
    ipc, n_items = estimator.ipc, estimator.n_items
    if n_items is not None:
        if ipc != 1:
            raise ValueError(
                f"ipc={ipc!r} and n_items={n_items!r} both say how many items there are; leave "
                "one of them at its default."
            )
        return share_items(n_items, available)
    wanted = items_per_class(ipc, classes)
    small = wanted > available
    if small.any():
        warn_caller(
            f"ipc={ipc!r} asks for more items than these classes have rows: "
            f"{_named(classes[small], counts[small])}. They get as many items as they have rows, "
            "the rows as they are where items start from rows; lower ipc, or give a dict with a "
            "number for every class, to avoid that."
        )
    return wanted


def _named(classes, numbers):
    """The first classes, each with its number."""
    named = ", ".join(
        f"{plain_label(label)!r} ({number})"
        for label, number in zip(classes[:_FEW_CLASSES], numbers, strict=False)
    )
    return named + (
        f" and {len(classes) - _FEW_CLASSES} more" if len(classes) > _FEW_CLASSES else ""
    )
