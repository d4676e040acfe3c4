"""What all distillers share: a run of the loop from its start to the fitted attributes."""

import json
import math
import os
import time
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._optimization.loop import DamagedStateError, distill
from .._optimization.objective import Objective
from .._optimization.state import DistillationState, LoopConfig
from .._optimization.stopwatch import Stopwatch
from .._planning.budget import default_max_iter, loop_seconds, resolve_eval_every
from .._planning.plan import Plan
from .._planning.resolution import plan_parameters, resolve_plan, resume_plan
from .._planning.timing import Timing
from .._utils.callbacks import CallbackSupportMixin, begin_fit, end_evaluation, end_fit
from .._utils.device import explained_memory
from .._utils.docstrings import substitute
from .._utils.files import write_text
from .._utils.row_selection import CENTROIDS, STRATEGIES
from .._utils.validation import warn_caller
from ..coreset import Coreset
from ._base import CoresetEstimator
from ._fit_context import FitContext
from ._initial_items import Continuation
from ._run_file import RunFile, run_fingerprint, seed_of

# The class of whatever is fitted.
_Distiller = TypeVar("_Distiller", bound="BaseDistiller")
# Items of noise predict nothing at first, and their best scale is zero: from there it would take a
# thousand steps to one.
_LEAST_START_SCALE = 1.0
# Entries of items, in preprocessed units, that a user's transformer may move by without a warning.
_HARDLY_MOVED = 0.01


@dataclass(frozen=True)
class Start:
    """Where the items start, and why there: a strategy, or given items.

    ``variables`` are those of the start where they have been made already.
    """

    init: object
    why: str | None = None
    variables: dict | None = None


def continuation(coreset, context, others):
    """The start from a coreset's items; those that it lacks start by a strategy."""
    n_items = int(context.continued.sum())
    why = f"{n_items} of {context.n_items} items are the coreset's"
    if n_items < context.n_items:
        why += f", the others start by {others!r}"
    return Start(Continuation(coreset, others), why)


@dataclass
class _Run:
    """One run: what it started with."""

    context: FitContext
    plan: Plan
    objective: Objective
    variables: dict
    config: LoopConfig
    file: RunFile | None
    begin: float
    interrupted: bool = False


class BaseDistiller(CallbackSupportMixin, CoresetEstimator):
    """Base class of the distillers.

    A subclass provides ``_make_objective(plan, context, generator)`` and ``_divergence_advice()``.
    """

    # What to lower when memory does not suffice.
    _memory_levers = "batch_size"

    _parameter_constraints: dict = {
        **CoresetEstimator._parameter_constraints,
        "init": [StrOptions({*STRATEGIES, CENTROIDS, "noise"}), Coreset, "array-like"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [None, Interval(Integral, 0, None, closed="left")],
        "max_time": [None, Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "scoring": [str, callable],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "eval_every": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "callback": [None, callable],
        "checkpoint": [None, str, os.PathLike],
        "verbose": ["verbose"],
    }

    def _draw_seed(self):
        # With random_state=None too, a run that goes on keeps its own seed.
        seed = seed_of(self.checkpoint)
        return super()._draw_seed() if seed is None else seed

    @_fit_context(prefer_skip_nested_validation=False)
    @substitute
    def fit(
        self: _Distiller,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> _Distiller:
        """Make ``coreset_`` of the rows X with the labels y.

        Parameters
        ----------
        %(fit_parameters)s
        X_val : array of shape (n_val, ...), or data frame, default=None
            Held-out rows of your own, like X. They evaluate, as ``early_stopping`` says, and are
            never trained on; then no rows of X are held out. Of more rows than are held out at
            most, as many are drawn, by class. With ``early_stopping=False`` they are refused.
        y_val : array of shape (n_val,), default=None
            Their labels, of the classes of y.

        Returns
        -------
        self

        %(fit_raises)s
        """
        self._fit(X, y, validation=(X_val, y_val))
        # Only now, when the coreset is stored: a warning may be turned into an error.
        self._warn_of_ending()
        return self

    def _fit(self, X, y, resampling=False, validation=(None, None)):
        parameters = self.get_params(deep=False)
        downstream = self._resolved_downstream(resampling)
        # What y is has not been checked yet.
        n_rows = len(y) if hasattr(y, "__len__") else 1
        # Whether columns are pixels shows later: a bound will do.
        max_iter = default_max_iter(parameters, downstream, n_rows, pixels=True)
        eval_every = resolve_eval_every(parameters, downstream)
        n_evaluations = None if max_iter is None else 1 + math.ceil(max_iter / eval_every)
        # Begun before the state is noted that errors bring back: scikit-learn finds its callbacks
        # there to tear them down.
        begin_fit(self, X, y, n_evaluations)
        super()._fit(X, y, resampling, validation)
        end_fit(self, X, y)

    def _make(self, context, begin):
        with explained_memory(
            f"distilling with batch_size={self.batch_size!r}", self._memory_levers
        ):
            run = self._start(context, begin)
            result = self._optimize(run)
        self._store(run, result)

    def _start(self, context, begin):
        """Everything that a run needs before its first step."""
        start = self._choose_start(context)
        variables = start.variables or context.initial_variables(start.init)
        parameters = plan_parameters(self)
        file = None
        if self.checkpoint is not None:
            method, settings = type(self).__name__, self._plain_settings()
            fingerprint = run_fingerprint(method, settings, context, variables)
            file = RunFile(self.checkpoint, fingerprint)
        state, timing = None if file is None else file.state, Timing(context, begin)
        if state is not None and isinstance(state.get("seconds"), float):
            # The clock of the run goes on; where the file has none, the loop refuses it.
            begin -= state["seconds"]
        generator = torch.Generator().manual_seed(int(context.rng.integers(2**62)))
        if state is None:
            plan = resolve_plan(parameters, context, timing)
        else:
            try:
                plan = resume_plan(file.plan, parameters, context)
            except (TypeError, ValueError) as error:
                raise file.damaged(error) from error
        plan = self._with_start(plan, start, context, variables)
        objective = self._make_objective(plan, context, generator)
        variables.update(objective.initial_variables())
        if self.verbose:
            n_done = 0 if state is None else state.get("n_iter")
            # Where a damaged file has no number of steps, the loop refuses it.
            n_done = n_done if isinstance(n_done, int) else 0
            plan = self._with_expected_time(plan, objective, variables, timing, n_done)
            print(plan)
        deadline = None
        if self.max_time is not None:
            deadline = begin + loop_seconds(parameters, bool(plan.solves_targets))
        config = LoopConfig(
            learning_rates=plan.learning_rates,
            begin=begin,
            max_iter=plan.max_iter,
            deadline=deadline,
            eval_every=plan.eval_every,
            n_iter_no_change=plan.n_iter_no_change,
            tol=self.tol,
            muon_parameters=("X",) if plan.solver == "muon" else (),
            slack=objective.slack,
        )
        run = _Run(context, plan, objective, variables, config, file, begin)
        try:
            if state is None:
                self._prepare(run)
        except KeyboardInterrupt:
            # Without a checkpoint: a run that went on from it would lack what was being prepared.
            run.config, run.interrupted = replace(config, max_iter=0), True
        scale = max(objective.fit_scale(variables), _LEAST_START_SCALE)
        variables["log_scale"].fill_(np.log(scale))
        return run

    def _optimize(self, run):
        """Take the steps."""
        file = None if run.interrupted else run.file
        try:
            result = distill(
                run.objective,
                run.variables,
                run.config,
                self._reporter(run),
                constrain=run.context.constrain,
                save=None if file is None else lambda state: file.save(state, run.plan),
                state=None if run.file is None else run.file.state,
            )
        except DamagedStateError as error:
            raise run.file.damaged(error) from error
        if run.interrupted:
            result.reason = "interrupted"
        return result

    def _store(self, run, result):
        """Finish the items, and set the fitted attributes."""
        context, objective, variables = run.context, run.objective, result.variables
        learned_scale = variables["log_scale"].exp().item()
        self._moved = 0.0
        try:
            self._moved = context.round_trip(variables)
            if result.reason not in ("interrupted", "diverged"):
                try:
                    self._finish(run, variables)
                except KeyboardInterrupt:
                    result.reason = "interrupted"
            variables["log_scale"].fill_(np.log(objective.fit_scale(variables, held_out=True)))
        except KeyboardInterrupt:
            result.reason = "interrupted"
        self.plan_ = run.plan
        self.n_iter_ = result.n_iter
        self.history_ = result.history
        self.loss_curve_ = result.loss_curve
        self.validation_scores_ = result.validation_scores or None
        self.best_validation_score_ = result.best_validation_score
        self.stop_reason_ = result.reason
        self.coreset_ = self._make_coreset(
            context,
            variables,
            plan=run.plan.to_dict(),
            n_iter=result.n_iter,
            validation_score=result.best_validation_score,
            logit_scale_before_refit=learned_scale,
            **self._note(run),
        )

    def _choose_start(self, context):
        """Where the items start."""
        if isinstance(self.init, Coreset):
            return continuation(self.init, context, "random")
        return Start(self.init)

    def _with_start(self, plan, start, context, variables):
        """The plan with what follows from where the items start."""
        if isinstance(start.init, Continuation):
            reasons = {**plan.reasons, "init": start.why}
            plan = replace(plan, init=type(start.init.coreset).__name__, reasons=reasons)
        return plan

    def _with_expected_time(self, plan, objective, variables, timing, n_done):
        """The plan with measured seconds: of a step, and of this call of ``fit``."""
        watch = Stopwatch(timing.context.device)
        objective.probe(variables)
        watch.stop()
        step = watch.seconds + objective.refresh_seconds
        watch = Stopwatch(timing.context.device)
        objective.probe_evaluation(variables)
        watch.stop()
        evaluation = watch.seconds
        if plan.max_iter is None:
            expected = float(plan.max_time)
        else:
            n_steps = max(plan.max_iter - n_done, 0)
            expected = timing.elapsed() + n_steps * (step + evaluation / plan.eval_every)
            if plan.soft_labels and not n_done:
                expected += timing.teacher_seconds(plan.teacher_epochs)
            expected = min(expected, plan.max_time or expected)
        return replace(plan, seconds_per_step=step, expected_seconds=expected)

    def export_history(self, path: str | os.PathLike) -> Path:
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

    def _prepare(self, run):
        """What is left to do with the objective before the first step of a run."""

    def _note(self, run):
        """Set what the objective knows; give those entries of the coreset's provenance, by name."""
        return {}

    def _finish(self, run, variables):
        """What is left to do with the variables that the loop has chosen."""

    def _reporter(self, run):
        """What the loop calls at every evaluation: print a line, call the user's callback."""

        def report(*, variables, **numbers):
            def make_coreset():
                return self._make_coreset(
                    run.context,
                    variables,
                    plan=run.plan.to_dict(),
                    n_iter=numbers["step"],
                    validation_score=numbers["validation_score"],
                )

            elapsed = time.monotonic() - run.begin
            scorer = run.context.scorer
            state = DistillationState(
                time=elapsed,
                score_name="accuracy" if scorer is None else scorer.name,
                _make_coreset=make_coreset,
                **numbers,
            )
            if self.verbose:
                print(state)
            # Both are called, whatever the first one says.
            stops = [end_evaluation(self), self.callback is not None and bool(self.callback(state))]
            return any(stops)

        return report

    def _warn_of_ending(self):
        if self._moved > _HARDLY_MOVED:
            warn_caller(
                "transform(inverse_transform(z)) of "
                f"preprocessing={type(self.preprocessing).__name__}() is not z: entries of the "
                f"items moved by up to {self._moved:.2g}, in preprocessed units, when they were "
                "put in the units of X, and their accuracy may be another than that on the "
                "held-out rows. Put it in front of the distiller with sklearn.pipeline.Pipeline "
                "to avoid that."
            )
        if self.validation_scores_ and np.isnan(self.validation_scores_).all():
            warn_caller(
                f"scoring={self.scoring!r} gave no number for the held-out rows, so nothing chose "
                "the state that was kept; use another scorer, or give rows of every class as X_val."
            )
        if self.stop_reason_ == "interrupted":
            warn_caller(
                f"fit was interrupted after {self.n_iter_} steps; the best coreset so far is kept "
                "in coreset_."
            )
        elif self.stop_reason_ == "max_time" and not self.n_iter_:
            warn_caller(
                f"max_time={self.max_time!r} seconds were over before the first step; coreset_ "
                "holds the items at the start. Raise max_time."
            )
        elif self.stop_reason_ == "diverged":
            warn_caller(
                f"The loss stopped being finite after {self.n_iter_} steps; the best coreset "
                f"before that is kept. {self._divergence_advice()}",
                ConvergenceWarning,
            )
