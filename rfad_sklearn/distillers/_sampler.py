"""The coreset as the output of an imbalanced-learn sampler."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from .._utils.frames import as_type, is_frame, is_polars
from .._utils.labels import comparable_labels
from .._utils.sampling_strategy import WORDS, resolve_sampling_strategy

__all__ = ["CoresetSampler"]


def like_input(items, labels, X, y, columns=None):
    """Items and labels in the containers and the types of X and y.

    ``columns`` says what the columns of X are; None for arrays of numbers.
    """
    items = as_type(items, np.asarray(X).dtype) if columns is None else columns.like(X, items)
    if hasattr(y, "iloc") and hasattr(y, "columns"):
        labels = type(y)(labels[:, None], columns=y.columns).astype(y.dtypes)
    elif hasattr(y, "iloc"):
        labels = type(y)(labels, name=getattr(y, "name", None), dtype=y.dtype)
    elif is_frame(y):
        labels = type(y)({y.columns[0]: labels.tolist()}, schema=y.schema)
    elif is_polars(y):
        labels = type(y)(y.name, labels.tolist(), dtype=y.dtype)
    if isinstance(X, list):
        items = items.tolist()
    if isinstance(y, list):
        labels = labels.tolist()
    return items, labels


def _of_one_hot(y):
    """Numbers of the columns of one-hot rows."""
    y = np.asarray(y)
    if (y.sum(1) != 1).any():
        raise ValueError(
            "Multilabel and multioutput targets are not supported: y has rows with several labels "
            "or none; give one label per row, or one-hot rows with a single one in each."
        )
    return y.argmax(1)


class CoresetSampler(BaseEstimator):
    """Adapter that puts a distiller into an ``imblearn.pipeline.Pipeline``.

    That pipeline refuses a step with both ``transform`` and ``fit_resample``; this one has only the
    latter. Made by ``distiller.as_sampler()``.

    Parameters
    ----------
    distiller : distiller
        Cloned before it is fitted; its parameters are reached as ``distiller__ipc`` and so on.
    sampling_strategy : str, float, dict, callable or None, default=None
        None: the distiller's own ``ipc`` or ``n_items``. Else which classes are distilled, and to
        how many items, as in imbalanced-learn's under-samplers, whatever these say; of all other
        classes the rows stay as they are, and items are optimised beside them. "auto" or "not
        minority": all but the rarest class, "majority": the largest, "not majority", "all": each to
        as many items as the rarest class has rows. float: of two classes, the rows of the smaller
        over the items of the larger. dict: label to number of items. callable: takes y and gives
        such a dict. Labels of one-hot rows are the numbers of their columns, as they are there.

    Attributes
    ----------
    distiller_ : distiller
        The fitted clone; ``distiller_.coreset_`` is the coreset.
    sampling_strategy_ : dict of label to int, or None
        Items of each class that was distilled; None without ``sampling_strategy``.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features,)
        Column names, when X is a data frame with string names.

    Notes
    -----
    With a ``sampling_strategy`` each class counts as its share of the result, unless the distiller
    has a ``class_weight`` of its own (a callable as ``scoring`` then needs a ``sample_weight``):
    "auto" evaluates by balanced accuracy.

    Beside classes with 32 or more rows that stay as they are, :class:`RFADDistiller` takes no steps
    unless it has a ``max_iter``: they would fit the items to just these rows. Items are then points
    with the distribution of the rows of their class (support points, [1]_), or random rows without
    those that forests take for another class, where the panel prefers these clearly
    (``distiller_.plan_``). The rows that stay take part in that: models are fitted on each half of
    the result, and evaluated by the other half of these rows and by held-out rows.

    References
    ----------
    .. [1] S. Mak and V. R. Joseph, "Support Points", Annals of Statistics 46, 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import RFADDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> Xs, ys = RFADDistiller(ipc=2, max_iter=5, random_state=0).as_sampler().fit_resample(X, y)
    >>> Xs.shape, ys.tolist()
    ((6, 4), [0, 0, 1, 1, 2, 2])
    """

    _parameter_constraints: dict = {
        "distiller": [HasMethods(["fit", "fit_resample"])],
        "sampling_strategy": [StrOptions(set(WORDS)), Real, dict, callable, None],
    }

    def __init__(self, distiller, sampling_strategy=None):
        self.distiller = distiller
        self.sampling_strategy = sampling_strategy

    def fit(self, X: Any, y: Any) -> "CoresetSampler":
        """Distil X and y.

        Parameters
        ----------
        X : array or data frame
        y : array of shape (n,)

        Returns
        -------
        self
        """
        self.fit_resample(X, y)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Distil X and y and return the items and their labels.

        Parameters
        ----------
        X : array or data frame
        y : array of shape (n,), or of shape (n, n_classes) with a single one in each row

        Returns
        -------
        X_resampled : array or data frame
        y_resampled : array or series
            One-hot where y is.

        Raises
        ------
        ValueError
            For a ``sampling_strategy`` that y does not allow.
        """
        self._validate_params()
        distiller, strategy = clone(self.distiller), None
        one_hot = type_of_target(y) == "multilabel-indicator"
        labels = _of_one_hot(y) if one_hot else y
        if self.sampling_strategy is not None:
            if not isinstance(getattr(distiller, "init", ""), str):
                raise ValueError(
                    f"sampling_strategy={self.sampling_strategy!r} keeps the rows of some classes, "
                    "which items given as init of the distiller contradict; use a word as init."
                )
            classes, counts = np.unique(np.asarray(labels), return_counts=True)
            strategy = resolve_sampling_strategy(self.sampling_strategy, classes, counts, labels)
            rows = dict(zip(comparable_labels(classes), counts.tolist(), strict=True))
            items = {**rows, **strategy}
            distiller.set_params(ipc=items, n_items=None)
            distiller._keeps_rows = True
            if "class_weight" in distiller.get_params(deep=False) and not distiller.class_weight:
                # Models that are fitted on the result expect its shares of the classes.
                weights = {label: n / rows[label] for label, n in items.items()}
                distiller.set_params(class_weight=weights)
        items, item_labels = distiller.fit_resample(X, labels)
        if one_hot:
            given = np.asarray(y)
            item_labels = np.eye(given.shape[1], dtype=given.dtype)[item_labels]
            if hasattr(y, "iloc"):
                item_labels = type(y)(item_labels, columns=y.columns)
        self.distiller_, self.sampling_strategy_ = distiller, strategy
        return items, item_labels

    @property
    def n_features_in_(self) -> int:
        """Number of features seen in ``fit``."""
        check_is_fitted(self)
        return self.distiller_.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Column names seen in ``fit``."""
        check_is_fitted(self)
        return self.distiller_.feature_names_in_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = getattr(self.distiller, "missing", "error") == "impute"
        return tags
