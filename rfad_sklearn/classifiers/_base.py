"""Base class of the classifiers: checked rows, and labels and probabilities from scores."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._planning.context import RowsContext
from .._planning.resolution import plan_parameters, resolve_plan
from .._utils.device import own_torch_modes, resolve_device, resolve_dtype
from .._utils.from_scores import decisions, probabilities
from .._utils.labels import label_array, refuse_soft_targets
from .._utils.validation import check_rows, float_dtype
from ..architectures import ARCHITECTURES
from ..coreset import Coreset
from ._compatibility import check_compatible


class CoresetClassifier(ClassifierMixin, BaseEstimator):
    """Base class of the classifiers.

    A subclass provides ``_scores(rows)``, float64 of shape ``(n, n_classes)``, and sets
    ``classes_``, ``image_shape_`` and ``logit_scale_``.
    """

    _parameter_constraints: dict = {
        "architecture": [StrOptions({"auto"}), *ARCHITECTURES],
        "image_shape": [None, "array-like"],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "missing": [StrOptions({"error", "impute"})],
        "preprocessing": [
            None,
            StrOptions({"auto", "standardize", "quantile", "zca"}),
            HasMethods(["fit", "transform"]),
        ],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", "float32", "float64", "bfloat16"}), torch.dtype],
    }

    def _start_from_coreset(self, coreset, X, y):
        """Check a coreset, and rows to go with it.

        Returns
        -------
        spec : ConvNetSpec or MLPSpec
        rows : array of shape (n, d), or None
        y_encoded : int array of shape (n,), or None
            Numbers of their classes.
        """
        if not isinstance(coreset, Coreset):
            raise TypeError(
                f"coreset must be a Coreset, got {type(coreset).__name__}; use fit(X, y) for rows, "
                "Coreset.load for a file."
            )
        if (X is None) != (y is None):
            raise ValueError("X and y must be given together, or neither.")
        self.n_features_in_, self._columns = coreset.X.shape[1], coreset.columns
        self.__dict__.pop("feature_names_in_", None)
        if coreset.feature_names is not None:
            self.feature_names_in_ = np.array(coreset.feature_names, dtype=object)
        rows = y_encoded = None
        if X is not None:
            rows, _, y = check_rows(
                self, X, reset=False, image_shape=coreset.image_shape, y=refuse_soft_targets(y)
            )
            y = label_array(y)
            # Text and numbers are never equal, though numpy may compare them as text.
            same_kind = (y.dtype.kind == "U") == (coreset.classes.dtype.kind == "U")
            unknown = np.setdiff1d(y, coreset.classes) if same_kind else np.unique(y)
            if len(unknown):
                raise ValueError(
                    f"y holds labels that the coreset does not know: {unknown.tolist()}; its "
                    f"classes are {coreset.classes}."
                )
            y_encoded = np.searchsorted(coreset.classes, y)
        spec = check_compatible(
            self,
            coreset.architecture,
            coreset.image_shape,
            coreset.preprocessing.n_features,
            coreset.preprocessing,
        )
        return spec, rows, y_encoded

    def _make_plan(
        self,
        spec,
        image_shape,
        preprocessing,
        rows,
        y_encoded,
        classes,
        dtype,
        *,
        of_coreset=False,
        n_held_out=None,
        seed=0,
    ):
        """Make the plan, and keep what prediction needs besides the model."""
        reasons = {}
        for name in ("architecture", "preprocessing") if of_coreset else ():
            if isinstance(getattr(self, name), str) and getattr(self, name) == "auto":
                reasons[name] = "the coreset's own"
        context = RowsContext(
            spec=spec,
            shape=image_shape or (rows.shape[1],),
            n_items=len(rows) if of_coreset else None,
            n_train=None if of_coreset else len(rows),
            n_held_out=n_held_out,
            preprocessing=preprocessing,
            device=resolve_device(self.device),
            dtype=dtype,
            classes=classes,
            rows=rows,
            y_encoded=y_encoded,
            seed=seed,
            reasons=reasons,
        )
        self.plan_ = resolve_plan(plan_parameters(self), context)
        if self.verbose:
            print(self.plan_)
        self.architecture_, self.image_shape_ = spec, image_shape
        self._preprocessing, self.classes_ = preprocessing, classes

    def _draw_seed(self):
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    @property
    def _arithmetic(self):
        """Device, and type of the arithmetic: float32 at least."""
        device = resolve_device(self.device)
        return device, torch.promote_types(resolve_dtype(self.dtype, device), torch.float32)

    def _preprocessed(self, rows, *, dtype, device=None):
        """Rows as network inputs, on the CPU unless a device is given."""
        rows = self._preprocessing.apply(np.asarray(rows))
        inputs = torch.tensor(rows, dtype=dtype, device=device)
        return inputs.reshape(-1, *self.image_shape_) if self.image_shape_ else inputs

    @own_torch_modes()
    def _checked_scores(self, X):
        check_is_fitted(self)
        rows, _ = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        return self._scores(rows), float_dtype(rows)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Scores of the rows of X.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame

        Returns
        -------
        array of shape (n, n_classes), or (n,) for two classes
            With two classes the difference of their scores: positive for ``classes_[1]``.
        """
        scores, dtype = self._checked_scores(X)
        return decisions(scores).astype(dtype, copy=False)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Class labels of the rows of X.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame

        Returns
        -------
        array of shape (n,)
        """
        scores, _ = self._checked_scores(X)
        return self.classes_[scores.argmax(1)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Class probabilities ``softmax(logit_scale_ * scores)``.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame

        Returns
        -------
        array of shape (n, n_classes)
        """
        scores, dtype = self._checked_scores(X)
        return probabilities(scores, self.logit_scale_).astype(dtype, copy=False)

    def _say(self, line):
        if self.verbose:
            print(f"{type(self).__name__}: {line}")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        filling = getattr(self, "distiller", None) or self
        tags.input_tags.allow_nan = getattr(filling, "missing", "error") == "impute"
        return tags
