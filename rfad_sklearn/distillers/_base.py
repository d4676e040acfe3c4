"""What all distillers share: everything around the objective."""

import json
import time
import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._device import explained_memory, resolve_device, resolve_dtype
from .._distillation import DistillationState, LoopConfig, distill
from .._inputs import check_rows, float_dtype, keep_state_on_error
from .._selection import plain_label
from .._specs import MLP, ConvNet
from .._version import __version__
from ..coreset import Coreset
from ._problem import N_EVAL_NETWORKS, prepare
from ._sampler import CoresetSampler, like_input

# Step size of the logarithm of the scale; the items have ``learning_rate``.
_SCALE_RATE = 1e-2
# Learned targets move at this share of the items' step: they are of size 1 / n_classes to 1, the items of size 1.
_TARGET_RATE = 0.1
# Shares of max_time after which the steps end when labels are solved for, and after which no more rows are read for that.
_LOOP_SHARE, _SOLVE_DEADLINE = 0.85, 0.95
# Steps when neither max_iter nor max_time is given.
_DEFAULT_MAX_ITER = 1000


class BaseDistiller(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of the distillers.

    A subclass provides ``_make_objective(problem, generator)``, ``_transform_model(inputs)``, and ``_kernel`` where it is
    not the NNGP.
    """

    _kernel = "nngp"
    # Held-out rows at most, and what to lower when memory does not suffice.
    _max_held_out = 2048
    _memory_levers = "batch_size"

    _parameter_constraints: dict = {
        "ipc": [Interval(Integral, 1, None, closed="left"), dict],
        "architecture": [StrOptions({"auto"}), ConvNet, MLP],
        "image_shape": [None, "array-like"],
        "depth": [None, Interval(Integral, 1, None, closed="left")],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "loss": [StrOptions({"platt", "mse"})],
        "learn_labels": ["boolean", StrOptions({"solve"})],
        "init": [StrOptions({"random", "kmeans", "noise"}), "array-like"],
        "preprocessing": [None, StrOptions({"auto", "standardize", "zca"}), HasMethods(["fit", "transform"])],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [None, Interval(Integral, 0, None, closed="left")],
        "max_time": [None, Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "eval_every": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "callback": [None, callable],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", "float32", "float64", "bfloat16"}), torch.dtype],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Distil the rows X with the labels y into ``coreset_``.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame
            Rows or channels-last images of any numeric type, in any units. A memory map is read in small parts.
        y : array of shape (n,)
            Labels: numbers or strings.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For parameters and data that cannot be used; the message says what to change.

        Warns
        -----
        UserWarning
            When interrupted from the keyboard: the best coreset so far is kept.
        ConvergenceWarning
            When the loss stopped being finite; the best coreset before that is kept.
        """
        self._fit(X, y)
        # Only now, when the coreset is stored: a warning may be turned into an error.
        self._warn_of_ending()
        return self

    @keep_state_on_error
    def _fit(self, X, y):
        begin = time.monotonic()
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        problem = prepare(self, X, y, int(seed))
        variables = problem.initial_variables(self.init)
        generator = torch.Generator().manual_seed(int(problem.rng.integers(2**62)))
        with explained_memory(f"distilling with batch_size={self.batch_size!r}", self._memory_levers):
            objective = self._make_objective(problem, generator)
            variables["log_scale"].fill_(np.log(objective.fit_scale(variables)))
            result = distill(objective, variables, self._loop_config(begin), self._reporter(problem, begin))
        learned_scale = result.variables["log_scale"].exp().item()
        try:
            if self._solves_labels and result.reason not in ("interrupted", "diverged"):
                deadline = None if self.max_time is None else begin + _SOLVE_DEADLINE * self.max_time
                result.variables["targets"] = objective.solve_labels(result.variables, deadline)
            result.variables["log_scale"].fill_(np.log(objective.fit_scale(result.variables, held_out=True)))
        except KeyboardInterrupt:
            result.reason = "interrupted"
        self._store(problem, result, learned_scale)

    @property
    def _solves_labels(self):
        return isinstance(self.learn_labels, str)

    def _loop_config(self, begin):
        rates = {"X": self.learning_rate}
        if self.loss == "platt":
            rates["log_scale"] = _SCALE_RATE
        if self.learn_labels and not self._solves_labels:
            rates["targets"] = _TARGET_RATE * self.learning_rate
        share = _LOOP_SHARE if self._solves_labels else 1.0
        max_iter = self.max_iter
        if max_iter is None and self.max_time is None:
            max_iter = _DEFAULT_MAX_ITER
        return LoopConfig(
            rates=rates,
            max_iter=max_iter,
            deadline=None if self.max_time is None else begin + share * self.max_time,
            eval_every=self.eval_every,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
        )

    def _reporter(self, problem, begin):
        """What the loop calls at every evaluation: print a line, ask the user's callback."""

        def report(*, variables, **numbers):
            state = DistillationState(
                time=time.monotonic() - begin,
                _make_coreset=lambda: self._make_coreset(problem, variables, numbers["step"], numbers["validation_score"]),
                **numbers,
            )
            if self.verbose:
                print(state)
            return self.callback is not None and bool(self.callback(state))

        return report

    def _warn_of_ending(self):
        if self.stop_reason_ == "interrupted":
            warnings.warn(
                f"fit was interrupted after {self.n_iter_} steps; the best coreset so far is kept in coreset_.",
                UserWarning,
                stacklevel=4,
            )
        elif self.stop_reason_ == "diverged":
            warnings.warn(
                f"The loss stopped being finite after {self.n_iter_} steps; the best coreset before that is kept. Lower "
                f"learning_rate={self.learning_rate!r} or raise reg={self.reg!r}.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _store(self, problem, result, learned_scale):
        self.classes_ = problem.classes
        self.image_shape_ = problem.image_shape
        self.n_iter_ = result.n_iter
        self.loss_curve_ = result.loss_curve
        self.validation_scores_ = result.validation_scores or None
        self.best_validation_score_ = result.best_validation_score
        self.stop_reason_ = result.reason
        self.coreset_ = self._make_coreset(problem, result.variables, result.n_iter, result.best_validation_score, learned_scale)
        self.labels_ = problem.classes[problem.item_codes]
        self._layout = problem.layout
        self._seeds = problem.rng.integers(2**31, size=N_EVAL_NETWORKS).tolist()

    def _make_coreset(self, problem, variables, n_iter, score, learned_scale=None):
        items = variables["X"].detach().cpu().numpy().reshape(len(problem.item_codes), -1)
        return Coreset(
            X=problem.preprocessing.invert(items).astype(float_dtype(problem.rows), copy=False),
            targets=variables["targets"].detach().cpu().double().numpy(),
            classes=problem.classes,
            y=problem.classes[problem.item_codes],
            architecture=problem.spec,
            preprocessing=problem.preprocessing,
            image_shape=problem.image_shape,
            platt_scale=variables["log_scale"].exp().item(),
            reg=self.reg,
            kernel=self._kernel,
            feature_names=getattr(self, "feature_names_in_", None),
            provenance={
                "method": type(self).__name__,
                "version": __version__,
                "settings": _plain(self.get_params(deep=False)),
                "seed": problem.seed,
                "n_iter": n_iter,
                "validation_score": score,
                "platt_scale_before_refit": learned_scale,
            },
        )

    def transform(self, X):
        """Features of the rows of X: their kernel with the coreset, whitened.

        ``K(X, S) (K(S, S) + ridge)^(-1/2)``, a Nystroem map with the coreset as landmarks.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame

        Returns
        -------
        array of shape (n, n_items)
            In the float type of X.
        """
        check_is_fitted(self)
        rows, _ = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        coreset, device = self.coreset_, resolve_device(self.device)
        shape, dtype = coreset.inputs.shape[1:], torch.promote_types(resolve_dtype(self.dtype, device), torch.float32)
        model = self._transform_model(_tensor(coreset.inputs, shape, dtype).to(device))
        read = lambda start, stop: _tensor(coreset.preprocessing.apply(rows[start:stop]), shape, dtype)  # noqa: E731
        return model.scores(read, len(rows), device=device, dtype=dtype).astype(float_dtype(rows), copy=False)

    def fit_resample(self, X, y):
        """Distil X and y and return the synthetic items and their labels: the verb of imbalanced-learn.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame
        y : array of shape (n,) or series

        Returns
        -------
        X_resampled : array of shape (n_items, ...), or data frame
            In the layout and the units of X.
        y_resampled : array of shape (n_items,) or series
        """
        self.fit(X, y)
        return like_input(self.coreset_.X.reshape(-1, *self._layout).copy(), self.labels_.copy(), X, y)

    def as_sampler(self):
        """This distiller as a step of an imbalanced-learn pipeline.

        Returns
        -------
        CoresetSampler
        """
        return CoresetSampler(self)

    @property
    def _n_features_out(self):
        return self.coreset_.n_items

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _tensor(rows, shape, dtype):
    return torch.tensor(rows, dtype=dtype).reshape(-1, *shape)


def _plain(settings):
    """Parameters as JSON values; what cannot be one is named by its type."""

    def plain(value):
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, ConvNet | MLP | torch.dtype | torch.device):
            return str(value)
        return type(value).__name__

    settings = {name: value for name, value in settings.items() if name not in ("callback", "verbose")}
    settings = {
        name: [[plain_label(key), int(n)] for key, n in value.items()] if isinstance(value, dict) else value
        for name, value in settings.items()
    }
    return json.loads(json.dumps(settings, default=plain))
