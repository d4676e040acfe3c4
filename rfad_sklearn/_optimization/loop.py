"""The loop. It knows no kernel, no files and no printing: it takes an objective, steps, and keeps the best state."""

import math
import time
from dataclasses import astuple, dataclass, field

import torch

from .._ridge.linalg import SingularKernelError
from .._utils.device import is_out_of_memory
from .optimizers import Optimizers

# Weight of the newest state in the running average: the average reaches back over about one ninth
# of the steps done.
_AVERAGING = 8.0
# Once nothing improves, the step size falls to zero over this share of the steps done.
_COOLING = 0.25


@dataclass(frozen=True)
class LoopConfig:
    """When to evaluate and when to stop.

    ``begin`` and ``deadline`` (or None) are moments of ``time.monotonic()``, ``max_iter`` is a
    number of steps or None; one of the two bounds must be given. ``learning_rates`` are the step
    sizes of the variables to optimise, ``muon_parameters`` the names of those that take orthogonal
    steps (Muon) in place of Adam's.
    """

    learning_rates: dict
    begin: float
    max_iter: int | None
    deadline: float | None
    eval_every: int
    n_iter_no_change: int
    tol: float
    muon_parameters: tuple = ()


@dataclass(frozen=True)
class DistillationState:
    """What a callback is told at every evaluation.

    Attributes
    ----------
    step : int
        Steps done.
    time : float
        Seconds since ``fit`` was called.
    loss : float
        Mean training loss of the steps since the last evaluation; on a teacher's probabilities as
        long as there is one.
    validation_score, best_validation_score : float or None
        Accuracy on held-out rows, now and in the best state so far; None without held-out rows.
    validation_loss : float or None
        Their cross entropy, by which the best state is chosen.
    steps_per_second : float
        Since the last evaluation, without the time of evaluations.
    evaluation_time : float
        Seconds that all evaluations took so far, this one included.
    coreset : Coreset
        The current coreset, in raw units; made when asked for.
    """

    step: int
    time: float
    loss: float
    validation_score: float | None
    best_validation_score: float | None
    validation_loss: float | None
    steps_per_second: float
    evaluation_time: float
    _make_coreset: object = field(repr=False, default=None)

    @property
    def coreset(self):
        """The current coreset, in raw units."""
        return self._make_coreset()

    def __str__(self):
        line = f"step {self.step:6d} | {self.time:8.1f} s | loss {self.loss:.4f}"
        if self.validation_score is not None:
            line += f" | validation accuracy {self.validation_score:.4f} (best {self.best_validation_score:.4f})"
        return f"{line} | {self.steps_per_second:.1f} steps/s | evaluating {self.evaluation_time:.1f} s"


@dataclass
class LoopResult:
    """The state that was kept, and how it came about; ``reason`` says why the loop ended."""

    variables: dict
    n_iter: int = 0
    history: list = field(default_factory=list)
    best_validation_score: float | None = None
    best_validation_loss: float = math.inf
    reason: str = "max_iter"

    @property
    def loss_curve(self):
        """Training loss at each evaluation."""
        return [record["loss"] for record in self.history]

    @property
    def validation_scores(self):
        """Accuracy on held-out rows at each evaluation."""
        return [
            record["validation_score"]
            for record in self.history
            if record["validation_score"] is not None
        ]


class DamagedStateError(ValueError):
    """A state from which no run can go on."""


def _check_facts(state):
    """Raise ``TypeError`` or ``ValueError`` where the numbers of a state are not those of a run."""
    numbers = {**state["budget"], **{name: state[name] for name in ("evaluation_time", "seconds")}}
    wrong = [
        name
        for name, value in numbers.items()
        if not (isinstance(value, float | int) and 0 <= value < math.inf)
    ]
    wrong += [
        name
        for name in ("n_iter", "stale")
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
        raise ValueError(f"{', '.join(wrong)} cannot be")


def _snapshot(variables):
    return {name: value.detach().clone() for name, value in variables.items()}


class _Budget:
    """How far along the run is, between 0 and 1: the larger share of steps and of time spent."""

    def __init__(self, config):
        self.config, self.start = config, time.monotonic()
        self.evaluation_seconds = self.step_seconds = self.spent = 0.0

    def state_dict(self):
        """What the time spent so far was; with it the step size goes on to fall where it had come to."""
        costs = {"evaluation_seconds": self.evaluation_seconds, "step_seconds": self.step_seconds}
        return {"elapsed": time.monotonic() - self.start, **costs}

    def load_state_dict(self, state):
        """Go back to a state."""
        self.start = time.monotonic() - state["elapsed"]
        self.evaluation_seconds, self.step_seconds = (
            state["evaluation_seconds"],
            state["step_seconds"],
        )

    def progress(self, step):
        shares = [0.0]
        if self.config.max_iter is not None:
            shares.append(step / self.config.max_iter if self.config.max_iter else 1.0)
        if self.config.deadline is not None:
            # Leave time for one more step, the last evaluation and the final refit of the scale,
            # which costs as much.
            reserve = self.step_seconds + 2 * self.evaluation_seconds
            total = self.config.deadline - reserve - self.start
            shares.append((time.monotonic() - self.start) / total if total > 0 else 1.0)
        # A slow evaluation must not make the step size grow again.
        self.spent = max(self.spent, min(max(shares), 1.0))
        return self.spent


@dataclass(frozen=True)
class _Cooling:
    """The end of a run that no longer improves: from ``level`` at step ``begin``, the run is over after so many ``steps`` more."""

    begin: int
    level: float
    steps: int
    patience: int

    def progress(self, step):
        return self.level + (1 - self.level) * min((step - self.begin) / self.steps, 1.0)


class _Run:
    """One run of the loop: the variables, their optimisers, and the record."""

    def __init__(self, objective, variables, config, report):
        self.objective, self.variables, self.config, self.report = (
            objective,
            variables,
            config,
            report,
        )
        self.optimizers = Optimizers(variables, config.learning_rates, config.muon_parameters)
        self.budget = _Budget(config)
        self.average = _snapshot(variables)
        self.result = LoopResult(_snapshot(variables))
        self.recent = []
        self.evaluation_time = 0.0
        self.last_mark = (0, time.monotonic())
        self.stale = 0
        self.cooling = None

    def state_dict(self):
        """All that :meth:`restore` needs to go on from here; between an evaluation and the next step."""
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
            "stale": self.stale,
            "cooling": [] if self.cooling is None else list(astuple(self.cooling)),
            "evaluation_time": self.evaluation_time,
            "seconds": time.monotonic() - self.config.begin,
            "budget": self.budget.state_dict(),
        }

    def load_state_dict(self, state):
        """Go back to a state; the variables are changed in place."""
        _check_facts(state)
        result = self.result
        with torch.no_grad():
            for name in self.variables:
                for mine, kept in (
                    (self.variables, "variables"),
                    (self.average, "average"),
                    (result.variables, "best"),
                ):
                    mine[name].copy_(state[kept][name])
        self.optimizers.load_state_dict(state["optimizer"])
        self.objective.load_state_dict(state["objective"])
        result.n_iter, result.history = state["n_iter"], list(state["history"])
        result.best_validation_score, result.best_validation_loss = (
            state["best_validation_score"],
            state["best_validation_loss"],
        )
        self.stale, self.evaluation_time = state["stale"], state["evaluation_time"]
        self.budget.load_state_dict(state["budget"])
        cooling = _Cooling(*state["cooling"]) if state["cooling"] else None
        # More patience than the run had goes on where it lost it.
        self.cooling = (
            None if cooling is None or cooling.patience < self.config.n_iter_no_change else cooling
        )
        self.last_mark = (result.n_iter, time.monotonic())

    def step(self, progress):
        begin = time.monotonic()
        self.optimizers.zero_grad()
        loss = self.objective.loss(self.variables)
        loss.backward()
        self.optimizers.step(1 - progress)
        self.objective.after_step(self.variables)
        self.recent.append(loss.detach())
        self.result.n_iter += 1
        self._update_average()
        # The dearest step: some refresh the pool, most do not.
        self.budget.step_seconds = max(self.budget.step_seconds, time.monotonic() - begin)

    def _diverged(self):
        """Whether a loss since the last evaluation, or the variables now, are not finite; ``n_iter`` then counts the finite losses."""
        finite = torch.isfinite(torch.stack(self.recent))
        if not bool(finite.all()):
            self.result.n_iter = self.last_mark[0] + int(finite.int().argmin())
            return True
        return not all(
            bool(torch.isfinite(self.variables[name]).all()) for name in self.config.learning_rates
        )

    def _update_average(self):
        """Polynomial-decay averaging (Shamir and Zhang 2013): the noise of the pool averages out, old states fade."""
        weight = min((_AVERAGING + 1) / (self.result.n_iter + _AVERAGING), 1.0)
        with torch.no_grad():
            for name in self.config.learning_rates:
                self.average[name].lerp_(self.variables[name], weight)

    def _known_to_fail(self):
        """Whether the last loss is known not to be finite. A GPU would have to wait for it: there the next evaluation tells."""
        return self.recent[-1].device.type == "cpu" and not math.isfinite(self.recent[-1].item())

    def evaluate(self):
        """Validate, record, keep the state if it is the best; the reason to stop, or None."""
        result = self.result
        if not self.recent:
            with torch.no_grad():
                self.recent.append(self.objective.loss(self.variables))
        # Reads the losses, so that a GPU has done all steps when the clock of the evaluation
        # starts.
        if self._diverged():
            return "diverged"
        begin = time.monotonic()
        training_loss = torch.stack(self.recent).mean().item()
        validation = self.objective.validate(self.average, self._progress()[0])
        if validation is None and result.n_iter and not self._average_works():
            return "diverged"
        score = loss = None
        if validation is not None:
            score, loss = validation
            self.stale = (
                0 if loss < result.best_validation_loss - self.config.tol else self.stale + 1
            )
        if validation is None or loss < result.best_validation_loss:
            result.variables = _snapshot(self.average)
            if validation is not None:
                result.best_validation_score, result.best_validation_loss = score, loss
        self.recent = []
        now = time.monotonic()
        self.budget.evaluation_seconds = now - begin
        self.evaluation_time += now - begin
        steps, since = self.last_mark
        speed = (result.n_iter - steps) / max(begin - since, 1e-9)
        self.last_mark = (result.n_iter, now)
        record = {"step": result.n_iter, "seconds": now - self.config.begin, "loss": training_loss}
        result.history.append({**record, "validation_score": score, "validation_loss": loss})
        stop = self.report(
            step=result.n_iter,
            loss=training_loss,
            validation_score=score,
            best_validation_score=result.best_validation_score,
            validation_loss=loss,
            steps_per_second=speed,
            evaluation_time=self.evaluation_time,
            variables=_snapshot(self.average),
        )
        if self.cooling is None and self.stale >= self.config.n_iter_no_change:
            steps = max(1, math.ceil(_COOLING * result.n_iter))
            self.cooling = _Cooling(
                result.n_iter,
                self.budget.progress(result.n_iter),
                steps,
                self.config.n_iter_no_change,
            )
        return "callback" if stop else None

    def _average_works(self):
        """Whether the average has a finite loss. Nothing else tells, where no rows are held out: its steps' losses are of states before."""
        try:
            with torch.no_grad():
                return bool(torch.isfinite(self.objective.loss(self.average)))
        except SingularKernelError:
            return False

    def _progress(self):
        """How far along the run is, between 0 and 1, and what it is that ends it at 1."""
        step, limit = self.result.n_iter, self.config.max_iter
        spent = self.budget.progress(step)
        cooled = 0.0 if self.cooling is None else self.cooling.progress(step)
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
        if self.recent and reason != "diverged":
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
            if self.recent and self.result.n_iter:
                self.evaluate()
        except (KeyboardInterrupt, SingularKernelError):
            pass


def distill(objective, variables, config, report, *, save=None, state=None):
    """Minimise ``objective.loss(variables)`` with a step size that decays linearly to zero over the budget.

    Without improvement for ``n_iter_no_change`` evaluations it falls to zero over a quarter of the
    steps done, which ends the run: held at a large step size, a coreset looks finished long before
    it is.

    Parameters
    ----------
    objective : object
        ``loss(variables)`` gives a scalar tensor; ``after_step(variables)`` is told after each
        step; ``validate(variables, progress)`` gives (accuracy, loss) on held-out rows, or None, in
        a run that is so far along (0 to 1).
    variables : dict of str to tensor
        Changed in place.
    config : LoopConfig
    report : callable
        Called at every evaluation with keyword arguments; returns True to stop.
    save : callable, optional
        Called after every evaluation with a state: a dict of tensors, of JSON values and of such
        dicts. Then the objective has ``state()`` and ``restore(state)`` too.
    state : dict, optional
        What ``save`` was given by an earlier run: go on from there, with the same numbers as if
        that run had not ended.

    Raises
    ------
    DamagedStateError
        Where ``state`` is not one of such a run.

    Returns
    -------
    LoopResult
        Its ``variables`` are the running average of the states at the best evaluation; without
        held-out rows, at the last one. This holds on every exit path: budget, callback, no more
        improvement, divergence, and ``KeyboardInterrupt`` (``reason="interrupted"``).
    """
    run = _Run(objective, variables, config, report)
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
