"""The coreset as the output of an imbalanced-learn sampler."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

__all__ = ["CoresetSampler"]


def _as_type(items, dtype):
    """Items in the type of a column of X where it holds them; else as they are."""
    if not (isinstance(dtype, np.dtype) and dtype.kind in "biuf"):
        return items
    with np.errstate(invalid="ignore"):
        cast = items.astype(dtype)
    return cast if dtype.kind == "f" or np.array_equal(cast, items) else items


def like_input(items, labels, X, y):
    """Items and labels in the containers and the types of X and y."""
    if hasattr(X, "iloc"):
        columns = [_as_type(items[:, k], dtype) for k, dtype in enumerate(X.dtypes)]
        items = type(X)(dict(enumerate(columns))).set_axis(X.columns, axis=1)
    else:
        items = _as_type(items, np.asarray(X).dtype)
    if hasattr(y, "iloc") and hasattr(y, "columns"):
        labels = type(y)(labels[:, None], columns=y.columns).astype(y.dtypes)
    elif hasattr(y, "iloc"):
        labels = type(y)(labels, name=getattr(y, "name", None), dtype=y.dtype)
    return items, labels


class CoresetSampler(BaseEstimator):
    """Adapter that puts a distiller into an ``imblearn.pipeline.Pipeline``.

    That pipeline refuses a step with both ``transform`` and ``fit_resample``; this one has only the
    latter. Made by ``distiller.as_sampler()``.

    Parameters
    ----------
    distiller : distiller
        Cloned before it is fitted; its parameters are reached as ``distiller__ipc`` and so on.

    Attributes
    ----------
    distiller_ : distiller
        The fitted clone; ``distiller_.coreset_`` is the coreset.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features,)
        Column names, when X is a data frame with string names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import RFADDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> Xs, ys = RFADDistiller(ipc=2, max_iter=5, random_state=0).as_sampler().fit_resample(X, y)
    >>> Xs.shape, ys.tolist()
    ((6, 4), [0, 0, 1, 1, 2, 2])
    """

    _parameter_constraints: dict = {"distiller": [HasMethods(["fit", "fit_resample"])]}

    def __init__(self, distiller):
        self.distiller = distiller

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
        y : array of shape (n,)

        Returns
        -------
        X_resampled : array or data frame
        y_resampled : array or series
        """
        self._validate_params()
        distiller = clone(self.distiller)
        resampled = distiller.fit_resample(X, y)
        self.distiller_ = distiller
        return resampled

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
        return tags
