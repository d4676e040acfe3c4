"""The loop, on an objective that knows nothing of kernels."""

import math
import time
from copy import deepcopy
from itertools import pairwise

import pytest
import torch

from rfad_sklearn._optimization.budget import Budget
from rfad_sklearn._optimization.loop import distill
from rfad_sklearn._optimization.objective import Objective
from rfad_sklearn._optimization.state import LoopConfig
from rfad_sklearn._ridge.linalg import SingularKernelError


class Parabola(Objective):
    """Distance to a goal; validation measures the same. Scripted trouble at given steps."""

    def __init__(self, goal=3.0, validates=True, trouble=None, seconds=0.0):
        self.goal, self.validates, self.seconds = goal, validates, seconds
        self.trouble = trouble or {}
        self.steps = self.calls = 0
        self.progress = []

    def loss(self, variables):
        if torch.is_grad_enabled():
            self.calls += 1
            trouble = self.trouble.get(self.calls)
            if isinstance(trouble, BaseException):
                raise trouble
            time.sleep(self.seconds)
            if trouble == "nan":
                return variables["x"].sum() * float("nan")
        return (variables["x"] - self.goal).square().sum()

    def draw(self):
        self.steps += 1

    def fit_scale(self, variables, *, held_out=False):
        return 1.0

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]

    def validate(self, variables, progress):
        self.progress.append(progress)
        if not self.validates:
            return None
        distance = (variables["x"] - self.goal).square().sum().item()
        return 1 / (1 + distance), distance


def ignore(**numbers):
    """Report nothing, and never stop."""


def run(objective, report=ignore, *, save=None, state=None, **changes):
    variables = {"x": torch.zeros(2), "fixed": torch.ones(1)}
    config = {
        "learning_rates": {"x": 0.3},
        "begin": time.monotonic(),
        "max_iter": 60,
        "deadline": None,
        "eval_every": 5,
        "n_iter_no_change": 5,
        "tol": 0.0,
    }
    config = LoopConfig(**{**config, **changes})
    return distill(objective, variables, config, report, save=save, state=state)


def test_it_minimises_and_counts_evaluations():
    objective = Parabola()
    result = run(objective, n_iter_no_change=100)
    assert result.reason == "max_iter"
    assert result.n_iter == objective.steps == 60
    assert len(result.loss_curve) == len(result.validation_scores) == 13
    assert result.loss_curve[0] == pytest.approx(18.0)
    assert result.best_validation_loss < 0.5
    assert result.best_validation_score == max(result.validation_scores)
    assert result.variables["fixed"].item() == 1.0


def test_validation_receives_how_far_along_the_run_is():
    objective = Parabola()
    run(objective, n_iter_no_change=100)
    assert objective.progress == pytest.approx([k / 12 for k in range(13)])
    # The end of a run that no longer improves counts as such.
    objective = Parabola(goal=0.0)
    result = run(objective, max_iter=1000)
    assert result.reason == "no_change"
    assert all(a <= b for a, b in pairwise(objective.progress))
    assert objective.progress[-1] == 1.0


def test_no_steps_gives_the_initial_state():
    result = run(Parabola(), max_iter=0)
    assert result.n_iter == 0
    assert torch.equal(result.variables["x"], torch.zeros(2))
    assert len(result.validation_scores) == 1


def test_the_last_steps_are_evaluated_when_they_do_not_fill_an_interval():
    assert len(run(Parabola(), max_iter=7).validation_scores) == 3


def test_best_state_is_kept_when_later_ones_are_worse():
    """The goal moves away after 20 steps, what validates does not."""

    class Moving(Parabola):
        def loss(self, variables):
            goal = 3.0 if self.steps < 20 else -5.0
            return (variables["x"] - goal).square().sum()

    result = run(Moving(), max_iter=200, n_iter_no_change=1000)
    value = (result.variables["x"] - 3).square().sum().item()
    assert value == pytest.approx(result.best_validation_loss)
    assert 1 / (1 + value) == max(result.validation_scores)
    assert result.validation_scores[-1] < 0.5 * result.best_validation_score


def test_it_stops_when_nothing_improves():
    result = run(Parabola(goal=0.0), max_iter=1000, n_iter_no_change=3)
    assert result.reason == "no_change"
    assert result.n_iter == 15 + 4


def test_the_step_size_falls_to_zero_before_a_run_ends_for_want_of_improvement():
    """Steps of full size only jump about the goal of noisy losses.

    A run that ended there would leave half of what it can do.
    """
    generator = torch.Generator().manual_seed(0)
    seen = []

    class Noisy(Parabola):
        def loss(self, variables):
            seen.append(variables["x"].detach().clone())
            return (variables["x"] - self.goal - torch.randn(2, generator=generator)).square().sum()

    result = run(Noisy(), max_iter=10**6, n_iter_no_change=20)
    assert result.reason == "no_change"
    moves = torch.stack(seen).diff(dim=0).norm(dim=1)
    calm = len(moves) // 20
    assert moves[-calm:].mean() < 0.2 * moves[len(moves) // 2 : -5 * calm].mean()
    assert result.variables["x"].sub(3).norm() < 0.05


def test_small_improvements_do_not_count():
    assert run(Parabola(), max_iter=1000, n_iter_no_change=2, tol=100.0).reason == "no_change"


def test_callback_stops():
    seen = []

    def report(step, **numbers):
        seen.append(step)
        return step >= 10

    result = run(Parabola(), report)
    assert result.reason == "callback"
    assert seen == [0, 5, 10]


@pytest.mark.parametrize("validates", [True, False])
def test_interruption_keeps_the_best_state_so_far(validates):
    result = run(Parabola(validates=validates, trouble={14: KeyboardInterrupt()}))
    assert result.reason == "interrupted"
    assert result.n_iter == 13
    assert (result.variables["x"] > 0.5).all()
    if validates:
        assert result.best_validation_score == max(result.validation_scores)


def test_interruption_before_the_first_step():
    def report(**numbers):
        raise KeyboardInterrupt

    result = run(Parabola(), report)
    assert result.reason == "interrupted"
    assert torch.equal(result.variables["x"], torch.zeros(2))


def test_divergence_keeps_the_state_before_it():
    result = run(Parabola(trouble={14: "nan"}))
    assert result.reason == "diverged"
    assert result.n_iter == 13
    assert torch.isfinite(result.variables["x"]).all()


def test_an_unsolvable_step_is_a_divergence_but_not_at_the_start():
    assert run(Parabola(trouble={9: SingularKernelError("no")})).reason == "diverged"
    with pytest.raises(SingularKernelError):
        run(Parabola(trouble={1: SingularKernelError("no")}))


def test_steps_since_the_last_evaluation_count_when_interrupted():
    result = run(Parabola(trouble={4: KeyboardInterrupt()}), eval_every=50)
    assert result.n_iter == 3
    assert len(result.validation_scores) == 2
    assert (result.variables["x"] > 0).all()


def test_without_validation_the_last_average_is_kept():
    result = run(Parabola(validates=False), max_iter=200)
    assert result.best_validation_score is None
    assert result.validation_scores == []
    assert (result.variables["x"] - 3).abs().max() < 0.2


def test_time_bounds_the_run():
    begin = time.monotonic()
    result = run(
        Parabola(seconds=0.01), max_iter=None, deadline=begin + 0.5, n_iter_no_change=10**6
    )
    assert result.reason == "max_time"
    assert time.monotonic() - begin < 5
    assert 1 < result.n_iter < 50


def test_a_deadline_in_the_past_makes_no_step():
    assert run(Parabola(), max_iter=None, deadline=time.monotonic() - 1).n_iter == 0


def test_step_size_decays_to_zero():
    """With a constant gradient Adam moves by the step size itself."""
    moves = []

    class Slope(Parabola):
        def loss(self, variables):
            if torch.is_grad_enabled():
                moves.append(variables["x"][0].item())
            return variables["x"].sum()

    run(Slope(validates=False), max_iter=50, eval_every=1000)
    sizes = [a - b for a, b in pairwise(moves)]
    assert sizes[0] == pytest.approx(0.3, rel=0.05)
    assert sizes[-1] < 0.05 * sizes[0]
    assert all(math.isclose(a - b, 0.3 / 50, rel_tol=0.05) for a, b in pairwise(sizes))


def test_the_share_of_time_spent_goes_on_after_a_break():
    now = time.monotonic()
    settings = {
        "learning_rates": {},
        "max_iter": None,
        "eval_every": 5,
        "n_iter_no_change": 5,
        "tol": 0.0,
    }
    first = Budget(LoopConfig(begin=now, deadline=now + 1000, **settings))
    first.start, first.evaluation_seconds, first.step_seconds = now - 900, 3.0, 4.0
    state = first.state_dict()
    # The clock of the run went on: 900 of its 1000 seconds are over.
    second = Budget(LoopConfig(begin=now - 900, deadline=now + 100, **settings))
    second.load_state_dict(state)
    assert second.progress(0) == pytest.approx(900 / (1000 - 10), rel=1e-3)
    assert Budget(LoopConfig(begin=now, deadline=now + 100, **settings)).progress(0) < 0.01


def copied(state):
    """A state as a file would keep it: its tensors shared with no run."""
    if isinstance(state, dict):
        return {name: copied(value) for name, value in state.items()}
    return state.detach().clone() if torch.is_tensor(state) else deepcopy(state)


def test_a_run_goes_on_from_every_state_that_it_saves():
    states = []

    def save(state):
        states.append(copied(state))

    whole = run(Parabola(), n_iter_no_change=2, tol=1.0, max_iter=1000, save=save)
    assert whole.reason == "no_change"
    assert any(state["cooldown"] for state in states)
    for state in states[:: len(states) // 4]:
        objective = Parabola()
        result = run(objective, n_iter_no_change=2, tol=1.0, max_iter=1000, state=copied(state))
        assert objective.steps == result.n_iter == whole.n_iter
        assert torch.equal(result.variables["x"], whole.variables["x"])
        assert result.loss_curve == whole.loss_curve
