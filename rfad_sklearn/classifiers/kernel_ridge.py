"""Kernel ridge classifier with the kernel of an infinitely wide network."""

from __future__ import annotations

import pickle
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_memory

from .._ridge.linalg import fit_logit_scale
from .._ridge.models import exact_dtype, fit_exact, fit_features
from .._utils.device import own_torch_modes
from .._utils.docstrings import substitute
from .._utils.labels import centred_one_hot, check_labels, class_weights, refuse_soft_targets
from .._utils.validation import (
    check_rows,
    keep_state_on_error,
    resolve_image_shape,
)
from ..architectures import resolve_architecture
from ..coreset import Coreset
from ..preprocessing import fit_preprocessing
from ._base import CoresetClassifier
from ._compatibility import (
    check_compatible_with_distiller,
    refine_architecture,
    warn_of_stale_scale,
)
from ._explain import ExplainingMixin

__all__ = ["NNGPKernelRidge"]

# Ridge without a coreset.
_DEFAULT_REG = 5e-3
# Rows that a scale is fitted on.
_MAX_SCALE_ROWS = 4096


def _fit_distiller(distiller, X, y):
    return distiller.fit(X, y)


@substitute
class NNGPKernelRidge(ExplainingMixin, CoresetClassifier):
    """Kernel ridge classifier with the kernel of an infinitely wide network.

    The kernel is that of the random network (NNGP), or of its training by gradient descent (NTK).
    ``scores = K(x, S) (K(S, S) + reg tr(K)/|S| I)^-1 targets``; the predicted class has the largest
    score, and its probability is ``softmax(logit_scale * scores)``. Fitted on rows, or on a
    coreset, or through a distiller.

    Parameters
    ----------
    kernel : {"nngp", "ntk"}, default="nngp"
        "ntk" needs an exact kernel.
    kernel_method : {"auto", "exact", "random_features"}, default="auto"
        How the kernel is computed. "random_features" estimates it by finite networks. "auto" is
        decided in ``fit``: exact for "ntk", for an MLP and at most 5,000 rows (or items), and for a
        ConvNet and few items: up to 16 images of 28x28 pixels (75 with two blocks), or 450 of 8x8
        (1,200); else random features.
    reg : float, default=None
        Ridge, relative to the mean diagonal of the kernel matrix. None: the coreset's own, or 5e-3
        without one.
    distiller : distiller, default=None
        ``fit`` distils the rows with a clone of it, then solves the ridge on the coreset.
    class_weight : dict, "balanced" or None, default=None
        How much the rows of each class count, in the ridge and in the scale of the probabilities:
        one of weight 2 as two equal ones. "balanced": all classes count the same, ``n / (n_classes
        * rows of the class)`` per row. A dict of label to number; 1 for those that it does not
        name. With ``distiller=`` it is that of the distiller, where that has the parameter, unless
        it is set there; the items were then made for a ridge in which all count the same, and do.
        In :meth:`fit_coreset`, and with a distiller without it, the rows are the items.
    %(classifier_architecture)s
    %(classifier_image_shape)s
    %(classifier_categorical_features)s
    %(classifier_missing)s
    %(classifier_preprocessing)s
    n_networks : int, default=8
        Random networks, with random features.
    memory : None, str or joblib.Memory, default=None
        Caches the fitted distiller, so that a grid search over ``reg`` distils once.
    %(classifier_verbose)s
    random_state : int, RandomState instance or None, default=None
        Seed of the random networks, and of the distiller when that has none. The networks are drawn
        on the CPU, so that predictions are the same anywhere.
    %(device)s
    dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Arithmetic of the random networks and of the exact kernel of a ConvNet; "auto" and
        "bfloat16" are float32. The exact kernel of an MLP and the ridge are always in float64.

    Attributes
    ----------
    %(classes_)s
    %(plan_)s
        With ``distiller=`` it is that of the ridge; that of the distillation is
        ``distiller_.plan_``.
    kernel_method_ : str
        "exact" or "random_features".
    reg_ : float
        The ridge that was used.
    logit_scale_ : float
        ``softmax(logit_scale_ * scores)`` are the probabilities: the coreset's, or fitted on the
        real rows where those are given; without a coreset, on leave-one-out scores.
    distiller_ : distiller
        The fitted clone, with ``distiller=``.
    %(classifier_attributes)s

    See Also
    --------
    RFADDistiller : Makes coresets.
    FiniteNetworkClassifier : Trains a network on a coreset.
    ExplanationDisplay : Picture of what the items of a coreset contribute to a prediction.

    References
    ----------
    Lee et al. 2018, "Deep Neural Networks as Gaussian Processes"; Loo et al. 2022, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import NNGPKernelRidge, RFADDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(NNGPKernelRidge().fit(X, y).score(X, y) > 0.9)
    True
    >>> coreset = RFADDistiller(ipc=2, max_iter=50, random_state=0).fit(X, y).coreset_
    >>> NNGPKernelRidge().fit_coreset(coreset).predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints: dict = {
        **CoresetClassifier._parameter_constraints,
        "kernel": [StrOptions({"nngp", "ntk"})],
        "kernel_method": [StrOptions({"auto", "exact", "random_features"})],
        "reg": [None, Interval(Real, 0, None, closed="neither")],
        "distiller": [None, HasMethods(["fit", "as_sampler"])],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "memory": [None, str, HasMethods(["cache"])],
    }

    def __init__(
        self,
        *,
        kernel="nngp",
        kernel_method="auto",
        reg=None,
        distiller=None,
        class_weight=None,
        architecture="auto",
        image_shape=None,
        categorical_features="from_dtype",
        missing="error",
        preprocessing="auto",
        n_networks=8,
        memory=None,
        verbose=0,
        random_state=None,
        device="auto",
        dtype="auto",
    ):
        self.kernel = kernel
        self.kernel_method = kernel_method
        self.reg = reg
        self.distiller = distiller
        self.class_weight = class_weight
        self.architecture = architecture
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.missing = missing
        self.preprocessing = preprocessing
        self.n_networks = n_networks
        self.memory = memory
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.dtype = dtype

    @keep_state_on_error
    @_fit_context(prefer_skip_nested_validation=False)
    @own_torch_modes()
    def fit(self, X: ArrayLike, y: ArrayLike) -> NNGPKernelRidge:
        """Fit on rows, or distil them first when there is a ``distiller``.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame
        y : array of shape (n,)
            Labels.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For 2-d y: learned (soft) targets come in with :meth:`fit_coreset`.
        MemoryError
            When neither the primal nor the dual problem fits; the message names what to lower.
        """
        own = {"settings": self.distiller, "y": refuse_soft_targets(y)}
        rows, seen, labels = check_rows(self, X, reset=True, **own)
        classes, y_encoded = check_labels(labels)
        if self.distiller is None:
            return self._fit_rows(rows, seen, classes, y_encoded)
        check_compatible_with_distiller(self, seen, rows.shape[1], len(classes))
        self._say(f"distilling {len(rows)} rows with {type(self.distiller).__name__}")
        coreset = self._distil(X, y)
        # The distiller may have left the depth of its network to the rows.
        shape = coreset.image_shape or (rows.shape[1],)
        spec = refine_architecture(self.architecture, coreset.architecture, shape)
        # The coreset's own scale was fitted on held-out rows; these rows replace it only where it
        # is stale.
        stale = self.kernel != coreset.kernel or self.reg not in (None, coreset.reg)
        if not stale:
            rows = y_encoded = None
        # Items of a distiller that weighs classes were made for a ridge that does not.
        weighs = "class_weight" in self.distiller_.get_params(deep=False)
        return self._fit_coreset(coreset, spec, classes, rows, y_encoded, weighed=weighs)

    def _distil(self, X, y):
        """Fit a clone of the distiller, or take it from the cache."""
        distiller = clone(self.distiller)
        own = distiller.get_params(deep=False)
        if self.random_state is not None and own.get("random_state", 0) is None:
            distiller.set_params(random_state=self._draw_seed())
        if own.get("class_weight", 0) is None:
            distiller.set_params(class_weight=self.class_weight)
        cached = check_memory(self.memory).cache(_fit_distiller)
        try:
            result = cached.call_and_shelve(distiller, X, y)
        except pickle.PicklingError as error:
            if self.memory is None:
                raise
            raise ValueError(
                f"memory={self.memory!r} keeps distillers in files, but {distiller} cannot be "
                f"pickled ({error}); take functions (a callback, or those of a preprocessing) that "
                "are defined in a module, or memory=None."
            ) from error
        self.distiller_ = result.get()
        if getattr(self.distiller_, "stop_reason_", None) in ("interrupted", "diverged"):
            # Half a run must not be served as a whole one later.
            result.clear()
        return self.distiller_.coreset_

    @keep_state_on_error
    @_fit_context(prefer_skip_nested_validation=False)
    @own_torch_modes()
    def fit_coreset(
        self, coreset: Coreset, X: ArrayLike | None = None, y: ArrayLike | None = None
    ) -> NNGPKernelRidge:
        """Fit on a coreset, with its (perhaps learned) targets.

        Parameters
        ----------
        coreset : Coreset
        X, y : arrays, default=None
            Real rows and labels to refit the scale of the probabilities on. Wanted when ``kernel``
            or ``reg`` is not the coreset's own.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When an explicit architecture, image shape or preprocessing contradicts the coreset's.

        Warns
        -----
        UserWarning
            When the scale is stale, because ``kernel`` or ``reg`` differs, and no rows are given.
        """
        spec, rows, y_encoded = self._start_from_coreset(coreset, X, y)
        self.__dict__.pop("distiller_", None)
        return self._fit_coreset(coreset, spec, coreset.classes.copy(), rows, y_encoded)

    def _fit_rows(self, rows, seen, classes, y_encoded):
        image_shape = resolve_image_shape(self.image_shape, seen, rows.shape[1])
        shape = image_shape or (rows.shape[1],)
        spec = resolve_architecture(self.architecture, shape)
        self.__dict__.pop("distiller_", None)
        self.__dict__.pop("coreset_", None)
        how = {"invertible": False, "columns": self._columns}
        preprocessing = fit_preprocessing(self.preprocessing, rows, image_shape, **how)
        self._prepare(spec, image_shape, preprocessing, rows, y_encoded, classes)
        self.reg_ = _DEFAULT_REG if self.reg is None else float(self.reg)
        weights = self._row_weights(y_encoded)
        y_encoded = torch.from_numpy(y_encoded.astype(np.int64))
        targets = centred_one_hot(y_encoded, len(classes)).double()
        self._model, chosen, left_out = self._solve(rows, targets, self.kernel, weights)
        self.logit_scale_ = 1.0
        # A row that is alone in its class cannot be recognised when it is left out.
        known = torch.bincount(y_encoded)[y_encoded[chosen]] >= 2
        known_y_encoded = y_encoded[chosen][known]
        if len(known_y_encoded.unique()) >= 2:
            weights = None if weights is None else torch.from_numpy(weights[chosen])[known]
            self.logit_scale_ = fit_logit_scale(left_out[known], known_y_encoded, weights=weights)
        return self

    def _fit_coreset(self, coreset, spec, classes, rows, y_encoded, weighed=False):
        items = np.searchsorted(coreset.classes, coreset.y)
        own = coreset.image_shape, coreset.preprocessing, coreset.rows
        self._prepare(spec, *own, items, classes, of_coreset=True)
        self.reg_ = coreset.reg if self.reg is None else float(self.reg)
        self.coreset_ = coreset
        self._item_weights = weights = None if weighed else self._row_weights(items)
        targets = torch.tensor(coreset.ridge_targets, dtype=torch.float64)
        self._model, *_ = self._solve(coreset.rows, targets, self.kernel, weights)
        self.logit_scale_ = coreset.logit_scale
        if rows is not None:
            rng = np.random.default_rng(self._seeds)
            chosen = np.sort(rng.choice(len(rows), min(len(rows), _MAX_SCALE_ROWS), replace=False))
            scores = torch.from_numpy(self._scores(np.asarray(rows[chosen])))
            row_weights = self._row_weights(y_encoded)
            self.logit_scale_ = fit_logit_scale(
                scores,
                torch.from_numpy(y_encoded[chosen].astype(np.int64)),
                weights=None if row_weights is None else torch.from_numpy(row_weights[chosen]),
            )
        elif self.kernel != coreset.kernel or self.reg_ != coreset.reg or weights is not None:
            warn_of_stale_scale(self, coreset, weights is not None)
        return self

    def _row_weights(self, y_encoded):
        """How much each row counts, as an array; None where all count the same."""
        by_class = class_weights(self.class_weight, self.classes_, y_encoded)
        same = by_class is None or (by_class[y_encoded] == 1).all()
        return None if same else by_class[y_encoded]

    def _prepare(self, *data, of_coreset=False):
        """Make the plan, and draw the seeds of the random networks."""
        self._make_plan(*data, self._arithmetic[1], of_coreset=of_coreset)
        self.kernel_method_ = self.plan_.kernel_method
        seeds = np.random.default_rng(self._draw_seed()).integers(2**31, size=self.n_networks)
        self._seeds = seeds.tolist()

    def _inputs(self, rows):
        dtype = self._arithmetic[1]
        if self.kernel_method_ == "exact":
            dtype = exact_dtype(self.architecture_, dtype)
        return self._preprocessed(rows, dtype=dtype)

    def _solve(self, rows, targets, kernel, weights):
        """Solve the ridge; ``weights`` say how much each row counts, None: all the same.

        Returns
        -------
        model : ExactModel or FeatureModel
        chosen : array of int
            Numbers of some rows, to fit a scale on.
        left_out : float64 tensor of shape (len(chosen), n_classes)
            Their leave-one-out scores.
        """
        device, dtype = self._arithmetic
        n = len(rows)
        weights = None if weights is None else torch.from_numpy(weights).to(device)
        self._say(f"solving the ridge on {n} rows, kernel_method={self.kernel_method_!r}")
        if self.kernel_method_ == "exact":
            model, scores = fit_exact(
                self.architecture_,
                kernel,
                self._inputs(rows).to(device),
                targets.to(device),
                self.reg_,
                weights,
            )
            return model, np.arange(n), scores.cpu()
        shape = tuple(self._inputs(rows[:1]).shape[1:])
        return fit_features(
            self.architecture_,
            shape,
            self._seeds,
            lambda where: self._inputs(rows[where]),
            n,
            targets,
            self.reg_,
            np.random.default_rng(self._seeds),
            device=device,
            dtype=dtype,
            weights=weights,
        )

    def _scores(self, rows):
        return self._scores_by(self._model, rows)

    def _scores_by(self, model, rows):
        device, dtype = self._arithmetic
        return model.scores(
            lambda start, stop: self._inputs(rows[start:stop]),
            len(rows),
            device=device,
            dtype=dtype,
        )
