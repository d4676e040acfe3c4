"""What all distillers share: the loop, its budgets, and how it ends."""

import json
import math
import os
import time
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._optimization.checkpoint import (
    array_fingerprint,
    check_same_run,
    is_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from .._optimization.loop import DamagedStateError, distill
from .._optimization.state import DistillationState, LoopConfig
from .._utils.callbacks import CallbackSupportMixin, begin_fit, end_evaluation, end_fit
from .._utils.device import explained_memory
from .._utils.files import write_text
from .._utils.row_selection import STRATEGIES
from .._utils.validation import warn_caller
from .._version import __version__
from ._base import CoresetEstimator

# Step size of the logarithm of the scale; the items have ``learning_rate``.
_SCALE_RATE = 1e-2
# Items of noise say nothing at first, and their best scale is zero: from there it would take a
# thousand steps to one.
_LEAST_START = 1.0
# Learned targets move at this share of the items' step: they are of size 1 / n_classes to 1, the
# items of size 1.
_TARGET_RATE = 0.1
# Shares of max_time after which the steps end when labels are solved for, and after which no more
# rows are read for that.
_LOOP_SHARE, _SOLVE_DEADLINE = 0.85, 0.95
# Parameters that a run that goes on may change.
_BUDGETS = ("max_iter", "max_time", "n_iter_no_change")
# Preprocessed rows that tell two preprocessings apart.
_READ_TO_TELL = 16
# Entries of items in preprocessed units that a user's transformer may move by without a word.
_HARDLY_MOVED = 0.01
# Steps when neither max_iter nor max_time is given.
_DEFAULT_MAX_ITER = 1000


class BaseDistiller(CallbackSupportMixin, CoresetEstimator):
    """Base class of the distillers.

    A subclass provides ``_make_objective(context, generator)`` and ``_divergence_advice()``, and
    ``_learning_rates()`` where more than the items is learned.
    """

    # What to lower when memory does not suffice.
    _memory_levers = "batch_size"

    _parameter_constraints: dict = {
        **CoresetEstimator._parameter_constraints,
        "init": [StrOptions({*STRATEGIES, "noise"}), "array-like"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [None, Interval(Integral, 0, None, closed="left")],
        "max_time": [None, Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "eval_every": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "callback": [None, callable],
        "checkpoint": [None, str, os.PathLike],
        "verbose": ["verbose"],
    }

    def _draw_seed(self):
        if self.checkpoint is not None and not Path(self.checkpoint).parent.is_dir():
            raise ValueError(
                f"checkpoint={str(self.checkpoint)!r} is to lie in a folder that does not exist; make it, or give another path."
            )
        there = self.checkpoint is not None and Path(self.checkpoint).exists()
        if there and not is_checkpoint(self.checkpoint):
            raise ValueError(
                f"checkpoint={str(self.checkpoint)!r} is there already and is not a checkpoint; "
                "remove it, or give another path."
            )
        if there:
            # With random_state=None too, the run goes on with its own seed.
            return load_checkpoint(self.checkpoint)[1]["seed"]
        return super()._draw_seed()

    def _fit(self, X, y):
        max_iter = self._max_iter()
        # Begun before the state is noted that errors bring back: scikit-learn finds its callbacks
        # there to tear them down.
        begin_fit(
            self, X, y, None if max_iter is None else 1 + math.ceil(max_iter / self.eval_every)
        )
        super()._fit(X, y)
        end_fit(self, X, y)

    def _max_iter(self):
        return (
            _DEFAULT_MAX_ITER if self.max_iter is None and self.max_time is None else self.max_iter
        )

    def _fingerprint(self, context, variables):
        """What must be the same for a run to go on; budgets may change."""
        settings = {
            name: value for name, value in self._plain_settings().items() if name not in _BUDGETS
        }
        own = {"method": type(self).__name__, "version": __version__, "seed": context.seed}
        own |= {
            "device": context.device.type,
            "dtype": str(context.dtype),
            "network": str(context.spec),
        }
        # Whatever their form: as they were understood.
        own |= {
            "ipc": context.per_class.tolist(),
            "image_shape": context.image_shape and list(context.image_shape),
        }
        # Parameters that are arrays or transformers have no words: what they lead to tells them
        # apart.
        start = array_fingerprint(
            variables["X"].cpu().numpy(), context.read(context.train[:_READ_TO_TELL])
        )
        return {
            **settings,
            **own,
            "data": array_fingerprint(context.rows, context.y_encoded),
            "start": start,
        }

    def _checkpoints(self, context, variables):
        """A function that writes a checkpoint, and the state of the run to go on with; each may be None."""
        if self.checkpoint is None:
            return None, None
        state, fingerprint = None, self._fingerprint(context, variables)
        if Path(self.checkpoint).exists():
            state, theirs = load_checkpoint(self.checkpoint)
            check_same_run(self.checkpoint, fingerprint, theirs)
        return lambda state: save_checkpoint(self.checkpoint, state, fingerprint), state

    def _make(self, context, begin):
        variables = context.initial_variables(self.init)
        save, state = self._checkpoints(context, variables)
        if state is not None and isinstance(state.get("seconds"), float):
            # The clock of the run goes on; where the file has none, the loop refuses it.
            begin -= state["seconds"]
        generator = torch.Generator().manual_seed(int(context.rng.integers(2**62)))
        with explained_memory(
            f"distilling with batch_size={self.batch_size!r}", self._memory_levers
        ):
            objective = self._make_objective(context, generator)
            config, interrupted = self._loop_config(context, begin), False
            try:
                if state is None:
                    self._prepare(objective, context, begin)
            except KeyboardInterrupt:
                # Without a checkpoint: a run that went on from it would lack what was being
                # prepared.
                config, interrupted, save = replace(config, max_iter=0), True, None
            variables["log_scale"].fill_(np.log(max(objective.fit_scale(variables), _LEAST_START)))
            try:
                result = distill(
                    objective,
                    variables,
                    config,
                    self._reporter(context, begin),
                    save=save,
                    state=state,
                )
            except DamagedStateError as error:
                raise ValueError(
                    f"{self.checkpoint} is not a readable checkpoint: {error}. Remove it, or give checkpoint= another path."
                ) from error
        if interrupted:
            result.reason = "interrupted"
        learned_scale = result.variables["log_scale"].exp().item()
        self._moved = 0.0
        try:
            self._moved = context.round_trip(result.variables)
            if result.reason not in ("interrupted", "diverged"):
                self._finish(objective, result.variables, begin)
            result.variables["log_scale"].fill_(
                np.log(objective.fit_scale(result.variables, held_out=True))
            )
        except KeyboardInterrupt:
            result.reason = "interrupted"
        self.n_iter_ = result.n_iter
        self.history_ = result.history
        self.loss_curve_ = result.loss_curve
        self.validation_scores_ = result.validation_scores or None
        self.best_validation_score_ = result.best_validation_score
        self.stop_reason_ = result.reason
        facts = self._note(objective, context)
        self.coreset_ = self._make_coreset(
            context,
            result.variables,
            n_iter=result.n_iter,
            validation_score=result.best_validation_score,
            logit_scale_before_refit=learned_scale,
            **facts,
        )

    def export_history(self, path):
        """Write ``history_`` as JSON.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        pathlib.Path
        """
        check_is_fitted(self)
        return write_text(path, json.dumps(self.history_, indent=1))

    def _learning_rates(self):
        """Step size of each variable that is optimised."""
        return {"X": self.learning_rate}

    def _muon_parameters(self, context):
        """Names of the variables that take orthogonal steps in place of Adam's."""
        return ()

    def _loop_time(self):
        """Seconds of ``fit`` after which the steps end, or None."""
        return self.max_time

    def _prepare(self, objective, context, begin):
        """What is left to do with an objective before the first step of a run."""

    def _note(self, objective, context):
        """Set the fitted attributes that the objective knows; return those that belong into the coreset's provenance, by name."""
        return {}

    def _finish(self, objective, variables, begin):
        """What is left to do with the variables that the loop has chosen."""

    def _loop_config(self, context, begin):
        seconds = self._loop_time()
        return LoopConfig(
            learning_rates=self._learning_rates(),
            begin=begin,
            max_iter=self._max_iter(),
            deadline=None if seconds is None else begin + seconds,
            eval_every=self.eval_every,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            muon_parameters=self._muon_parameters(context),
        )

    def _reporter(self, context, begin):
        """What the loop calls at every evaluation: print a line, ask the user's callback."""

        def report(*, variables, **numbers):
            state = DistillationState(
                time=time.monotonic() - begin,
                _make_coreset=lambda: self._make_coreset(
                    context,
                    variables,
                    n_iter=numbers["step"],
                    validation_score=numbers["validation_score"],
                ),
                **numbers,
            )
            if self.verbose:
                print(state)
            # Both are asked, whatever the first one says.
            stops = [end_evaluation(self), self.callback is not None and bool(self.callback(state))]
            return any(stops)

        return report

    def _warn_of_ending(self):
        if self._moved > _HARDLY_MOVED:
            warn_caller(
                f"transform(inverse_transform(z)) of preprocessing={type(self.preprocessing).__name__}() is not z: entries of the items "
                f"moved by up to {self._moved:.2g}, in preprocessed units, when they were put in the units of X, and their accuracy may be "
                "another than that on the held-out rows. Put it in front of the distiller with sklearn.pipeline.Pipeline to avoid that."
            )
        if self.stop_reason_ == "interrupted":
            warn_caller(
                f"fit was interrupted after {self.n_iter_} steps; the best coreset so far is kept in coreset_."
            )
        elif self.stop_reason_ == "max_time" and not self.n_iter_:
            warn_caller(
                f"max_time={self.max_time!r} seconds were over before the first step; coreset_ holds the items at the start. Raise max_time."
            )
        elif self.stop_reason_ == "diverged":
            warn_caller(
                f"The loss stopped being finite after {self.n_iter_} steps; the best coreset before that is kept. {self._divergence_advice()}",
                ConvergenceWarning,
            )


class RidgeDistiller(BaseDistiller):
    """Base class of the distillers that minimise the loss of kernel ridge regression: its scale and targets may be learned too."""

    _parameter_constraints: dict = {
        **BaseDistiller._parameter_constraints,
        "loss": [StrOptions({"cross_entropy", "mse"})],
        "learn_labels": ["boolean", StrOptions({"solve"})],
    }

    @property
    def _solves_labels(self):
        return isinstance(self.learn_labels, str)

    def _divergence_advice(self):
        return f"Lower learning_rate={self.learning_rate!r} or raise reg={self.reg!r}."

    def _learning_rates(self):
        learning_rates = super()._learning_rates()
        if self.loss == "cross_entropy":
            learning_rates["log_scale"] = _SCALE_RATE
        if self.learn_labels and not self._solves_labels:
            learning_rates["targets"] = _TARGET_RATE * self.learning_rate
        return learning_rates

    def _loop_time(self):
        return (
            self.max_time
            if self.max_time is None or not self._solves_labels
            else _LOOP_SHARE * self.max_time
        )

    def _finish(self, objective, variables, begin):
        if self._solves_labels:
            deadline = None if self.max_time is None else begin + _SOLVE_DEADLINE * self.max_time
            variables["targets"] = objective.solve_labels(variables, deadline)
