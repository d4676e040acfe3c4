"""The loop that moves the variables of an objective and keeps their best state.

It knows no kernel, no files and no printing.
"""

import math
import time
from dataclasses import asdict

import torch

from .._ridge.linalg import SingularKernelError
from .._utils.device import is_out_of_memory
from .budget import Budget, Cooldown
from .optimizers import Optimizers
from .state import LoopResult

# Weight of the newest state in the running average: the average reaches back over about one ninth
# of the steps done.
_AVERAGING = 8.0
# Once nothing improves, the step size falls to zero over this share of the steps done.
_COOLING = 0.25


class DamagedStateError(ValueError):
    """A state from which no run can go on."""


def _is_amount(value):
    return isinstance(value, float | int) and 0 <= value < math.inf


def _check_facts(state):
    """Raise ``TypeError`` or ``ValueError`` where the numbers of a state are not those of a run."""
    numbers = {**state["budget"], **{name: state[name] for name in ("evaluation_time", "seconds")}}
    wrong = [name for name, value in numbers.items() if not _is_amount(value)]
    wrong += [
        name
        for name in ("n_iter", "n_no_change")
        if not (isinstance(state[name], int) and state[name] >= 0)
    ]
    if not isinstance(state["best_validation_loss"], float):
        wrong.append("best_validation_loss")
    if not all(
        isinstance(record, dict) and {"step", "seconds", "loss"} <= set(record)
        for record in state["history"]
    ):
        wrong.append("history")
    if wrong:
        raise ValueError(f"no run has such values of {', '.join(wrong)}")


def _snapshot(variables):
    return {name: value.detach().clone() for name, value in variables.items()}


class _Run:
    """One run of the loop: the variables, their optimisers, and the record."""

    def __init__(self, objective, variables, config, report, constrain=None):
        self.objective, self.variables = objective, variables
        self.config, self.report, self.constrain = config, report, constrain
        self.optimizers = Optimizers(variables, config.learning_rates, config.muon_parameters)
        self.budget = Budget(config)
        self.average = _snapshot(variables)
        self.result = LoopResult(_snapshot(variables))
        # Losses of the steps since the last evaluation.
        self.recent_losses = []
        self.evaluation_time = 0.0
        # Step and moment of the last evaluation.
        self.last_mark = (0, time.monotonic())
        # Evaluations since the last improvement.
        self.n_no_change = 0
        self.cooldown = None

    def state_dict(self):
        """All that a run needs to go on from here, between an evaluation and the next step."""
        result = self.result
        return {
            "variables": dict(self.variables),
            "average": self.average,
            "best": result.variables,
            "optimizer": self.optimizers.state_dict(),
            "objective": self.objective.state_dict(),
            "n_iter": result.n_iter,
            "history": result.history,
            "best_validation_score": result.best_validation_score,
            "best_validation_loss": result.best_validation_loss,
            "n_no_change": self.n_no_change,
            "cooldown": {} if self.cooldown is None else asdict(self.cooldown),
            "evaluation_time": self.evaluation_time,
            "seconds": time.monotonic() - self.config.begin,
            "budget": self.budget.state_dict(),
        }

    def load_state_dict(self, state):
        """Go back to a state; the variables are changed in place."""
        _check_facts(state)
        result = self.result
        kept = {"variables": self.variables, "average": self.average, "best": result.variables}
        with torch.no_grad():
            for key, tensors in kept.items():
                for name, value in tensors.items():
                    value.copy_(state[key][name])
        self.optimizers.load_state_dict(state["optimizer"])
        self.objective.load_state_dict(state["objective"])
        result.n_iter, result.history = state["n_iter"], list(state["history"])
        result.best_validation_score = state["best_validation_score"]
        result.best_validation_loss = state["best_validation_loss"]
        self.n_no_change, self.evaluation_time = state["n_no_change"], state["evaluation_time"]
        self.budget.load_state_dict(state["budget"])
        cooldown = Cooldown(**state["cooldown"]) if state["cooldown"] else None
        # A run that is given more patience than it had takes full steps again.
        if cooldown is not None and cooldown.patience < self.config.n_iter_no_change:
            cooldown = None
        self.cooldown = cooldown
        self.last_mark = (result.n_iter, time.monotonic())

    def step(self, progress):
        """Move the variables once."""
        begin = time.monotonic()
        self.optimizers.zero_grad()
        loss = self.objective.loss(self.variables)
        loss.backward()
        self.optimizers.step(1 - progress)
        if self.constrain is not None:
            with torch.no_grad():
                self.constrain(self.variables)
        self.objective.after_step(self.variables)
        self.recent_losses.append(loss.detach())
        self.result.n_iter += 1
        self._update_average()
        # The most expensive step: some refresh the pool, most do not.
        self.budget.step_seconds = max(self.budget.step_seconds, time.monotonic() - begin)

    def _update_average(self):
        """Polynomial-decay averaging (Shamir and Zhang 2013).

        The noise of the pool averages out, old states fade.
        """
        weight = min((_AVERAGING + 1) / (self.result.n_iter + _AVERAGING), 1.0)
        with torch.no_grad():
            for name in self.config.learning_rates:
                self.average[name].lerp_(self.variables[name], weight)

    def _diverged(self):
        """Whether a loss since the last evaluation, or a variable now, is not finite.

        ``n_iter`` then counts the finite losses.
        """
        finite = torch.isfinite(torch.stack(self.recent_losses))
        if not bool(finite.all()):
            self.result.n_iter = self.last_mark[0] + int(finite.int().argmin())
            return True
        return not all(
            bool(torch.isfinite(self.variables[name]).all()) for name in self.config.learning_rates
        )

    def _known_to_fail(self):
        """Whether the last loss is known not to be finite.

        A step does not wait for a GPU to know: there the next evaluation finds out.
        """
        last = self.recent_losses[-1]
        return last.device.type == "cpu" and not math.isfinite(last.item())

    def _average_works(self):
        """Whether the average has a finite loss.

        Where no rows are held out nothing else shows it: the losses of the steps are of states
        before.
        """
        try:
            with torch.no_grad():
                return bool(torch.isfinite(self.objective.loss(self.average)))
        except SingularKernelError:
            return False

    def evaluate(self):
        """Validate, record, keep the state if it is the best; the reason to stop, or None."""
        result = self.result
        if not self.recent_losses:
            with torch.no_grad():
                self.recent_losses.append(self.objective.loss(self.variables))
        # Reads the losses, so that a GPU has done all steps when the clock of the evaluation
        # starts.
        if self._diverged():
            return "diverged"
        begin = time.monotonic()
        training_loss = torch.stack(self.recent_losses).mean().item()
        validation = self.objective.validate(self.average, self._progress()[0])
        if validation is None and result.n_iter and not self._average_works():
            return "diverged"
        self._keep_the_best(validation)
        self.recent_losses = []
        now = time.monotonic()
        self.budget.evaluation_seconds = now - begin
        self.evaluation_time += now - begin
        steps, since = self.last_mark
        self.last_mark = (result.n_iter, now)
        score, loss = validation or (None, None)
        result.history.append(
            {
                "step": result.n_iter,
                "seconds": now - self.config.begin,
                "loss": training_loss,
                "validation_score": score,
                "validation_loss": loss,
            }
        )
        stop = self.report(
            step=result.n_iter,
            loss=training_loss,
            validation_score=score,
            best_validation_score=result.best_validation_score,
            validation_loss=loss,
            steps_per_second=(result.n_iter - steps) / max(begin - since, 1e-9),
            evaluation_time=self.evaluation_time,
            variables=_snapshot(self.average),
        )
        if self.cooldown is None and self.n_no_change >= self.config.n_iter_no_change:
            self.cooldown = Cooldown(
                begin=result.n_iter,
                level=self.budget.progress(result.n_iter),
                steps=max(1, math.ceil(_COOLING * result.n_iter)),
                patience=self.config.n_iter_no_change,
            )
        return "callback" if stop else None

    def _keep_the_best(self, validation):
        """Keep the average where it is the best so far; without held-out rows always."""
        result = self.result
        if validation is None:
            result.variables = _snapshot(self.average)
            return
        score, loss = validation
        improved = loss < result.best_validation_loss - self.config.tol
        self.n_no_change = 0 if improved else self.n_no_change + 1
        slack = self.config.slack
        if loss < result.best_validation_loss or (
            slack and loss <= result.best_validation_loss + slack
        ):
            result.variables = _snapshot(self.average)
            result.best_validation_score = score
        result.best_validation_loss = min(loss, result.best_validation_loss)

    def _progress(self):
        """How far along the run is, between 0 and 1, and what it is that ends it at 1."""
        step, limit = self.result.n_iter, self.config.max_iter
        spent = self.budget.progress(step)
        cooled = 0.0 if self.cooldown is None else self.cooldown.progress(step)
        if spent < cooled:
            return cooled, "no_change"
        return spent, "max_time" if limit is None or step < limit else "max_iter"

    def until_the_end(self, save):
        """Step and evaluate until something ends the run; the reason."""
        config, result = self.config, self.result
        # A run that goes on has its first evaluation behind it.
        reason = None if result.history else self._evaluate_and_save(save)
        while reason is None:
            progress, end = self._progress()
            if progress >= 1:
                reason = end
            else:
                self.step(progress)
                if result.n_iter % config.eval_every == 0 or self._known_to_fail():
                    reason = self._evaluate_and_save(save)
        if self.recent_losses and reason != "diverged":
            reason = "diverged" if self._evaluate_and_save(save) == "diverged" else reason
        return reason

    def _evaluate_and_save(self, save):
        reason = self.evaluate()
        if save is not None and reason != "diverged":
            begin = time.monotonic()
            save(self.state_dict())
            # The time that is kept for the last evaluation is for the file as well.
            self.budget.evaluation_seconds += time.monotonic() - begin
        return reason

    def finish_interrupted(self):
        """Let the steps since the last evaluation count too, unless interrupted again."""
        self.result.reason = "interrupted"
        try:
            if self.recent_losses and self.result.n_iter:
                self.evaluate()
        except (KeyboardInterrupt, SingularKernelError):
            pass


def distill(objective, variables, config, report, *, constrain=None, save=None, state=None):
    """Minimise ``objective.loss(variables)`` within a budget, and keep the best state.

    The step size decays linearly to zero over the budget. Without improvement for
    ``n_iter_no_change`` evaluations it falls to zero over a quarter of the steps done, which ends
    the run: held at a large step size, a coreset looks finished long before it is.

    Parameters
    ----------
    objective : Objective
    variables : dict of str to tensor
        Changed in place.
    config : LoopConfig
    report : callable
        Called at every evaluation with keyword arguments; returns True to stop.
    constrain : callable, optional
        Called after every step with the variables: puts those that have left their bounds back, in
        place. Averages of states within the bounds must lie within them.
    save : callable, optional
        Called after every evaluation with a state: a dict of tensors, of JSON values and of such
        dicts.
    state : dict, optional
        What ``save`` was given by an earlier run: go on from there, with the same numbers as if
        that run had not ended.

    Returns
    -------
    LoopResult
        Its ``variables`` are the running average of the states at the best evaluation; without
        held-out rows, at the last one. This holds on every exit path: budget, callback, no more
        improvement, divergence, and ``KeyboardInterrupt`` (``reason="interrupted"``).

    Raises
    ------
    DamagedStateError
        Where ``state`` is not one of such a run.
    """
    run = _Run(objective, variables, config, report, constrain)
    try:
        if state is not None:
            try:
                run.load_state_dict(state)
            except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise
                raise DamagedStateError(repr(error)) from error
        run.result.reason = run.until_the_end(save)
    except KeyboardInterrupt:
        run.finish_interrupted()
    except SingularKernelError:
        if run.result.n_iter == 0:
            raise
        run.result.reason = "diverged"
    return run.result
