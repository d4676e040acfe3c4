import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from rfad_sklearn import KIPDistiller, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._ridge.label_solve import best_targets, cross_entropy_targets, ridge_targets
from rfad_sklearn.distillers._fit_context import prepare
from tests.conftest import FAST


@pytest.fixture
def problem(rng):
    labels = torch.tensor(rng.integers(3, size=200))
    maps = torch.tensor(rng.normal(size=(200, 5))) + F.one_hot(labels, 5)
    return maps, labels, F.one_hot(labels, 3) - 1 / 3, torch.tensor(rng.normal(size=(5, 3)))


def test_ridge_targets_are_a_ridge_regression(problem):
    maps, _, targets, start = problem
    strength = 0.3
    alpha = strength * maps.square().sum(0).mean().item()
    ridge = Ridge(alpha=alpha, fit_intercept=False).fit(maps, targets - maps @ start)
    np.testing.assert_allclose(
        ridge_targets(maps, targets, start, strength) - start, ridge.coef_.T, atol=1e-8
    )


def test_platt_targets_have_no_gradient(problem):
    maps, labels, _, start = problem
    scale, strength = 2.0, 0.1
    solved = cross_entropy_targets(maps, labels, start, scale, strength).requires_grad_()
    shift = strength * scale**2 / 4 * maps.square().sum(0).mean() / len(maps)
    loss = (
        F.cross_entropy(scale * maps @ solved, labels)
        + 0.5 * shift * (solved - start).square().sum()
    )
    (gradient,) = torch.autograd.grad(loss, solved)
    assert gradient.abs().max() < 1e-4


def test_a_strong_pull_keeps_the_targets(problem):
    maps, labels, targets, start = problem
    torch.testing.assert_close(ridge_targets(maps, targets, start, 1e9), start)
    torch.testing.assert_close(
        cross_entropy_targets(maps, labels, start, 1.0, 1e9), start, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_held_out_rows_decide(problem, loss):
    maps, labels, targets, start = problem
    start = start.float()
    solve = lambda judge: best_targets(
        maps, labels, targets, start, loss=loss, scale=1.0, judge=judge
    )
    assert solve(lambda candidate: (candidate - start).abs().sum().item()) is start
    farthest = solve(lambda candidate: -(candidate - start).abs().sum().item())
    strongest = solve(None)
    assert farthest.dtype == strongest.dtype == torch.float32
    assert (farthest - start).abs().sum() > (strongest - start).abs().sum() > 0


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("make", [RFADDistiller, KIPDistiller])
def test_solved_labels_are_kept_where_they_help(digits, make, loss):
    X, X_test, y, y_test = digits
    settings = {**FAST, "loss": loss, "ipc": 2, "max_iter": 6}
    if make is KIPDistiller:
        settings = {
            name: value for name, value in settings.items() if name not in ("width", "n_networks")
        }
        X, X_test = (images.reshape(-1, 4, 2, 4, 2).mean((2, 4)) for images in (X, X_test))
    fixed, solved = (
        make(**settings, learn_labels=learn).fit(X, y).coreset_ for learn in (False, "solve")
    )
    # The items are the same, and the targets are not worse on held-out rows.
    np.testing.assert_allclose(solved.X, fixed.X, atol=1e-4)
    assert solved != fixed
    score = lambda coreset: (
        NNGPKernelRidge(kernel=coreset.kernel).fit_coreset(coreset).score(X_test, y_test)
    )
    assert score(solved) > score(fixed) - 0.02


def test_labels_that_are_solved_in_a_hurry_know_all_classes(digits, monkeypatch):
    monkeypatch.setattr("rfad_sklearn._optimization.ridge_objective._SOLVE_CHUNK", 32)
    X, _, y, _ = digits
    by_class = np.argsort(y, kind="stable")
    distiller = RFADDistiller(
        **{**FAST, "batch_size": len(X)}, learn_labels="solve", early_stopping=False
    )
    problem = prepare(distiller, X[by_class], y[by_class], 0)
    objective = distiller._make_objective(problem, torch.Generator().manual_seed(0))
    variables = problem.initial_variables("kmeans")
    with torch.no_grad():
        known = (objective.scores(variables).argmax(1) == objective.labels).double().mean()
        variables["targets"] = objective.solve_labels(variables, deadline=time.monotonic())
        assert (
            objective.scores(variables).argmax(1) == objective.labels
        ).double().mean() > known - 0.02


def test_without_held_out_rows_and_with_a_budget(digits):
    X, _, y, _ = digits
    coreset = RFADDistiller(**FAST, learn_labels="solve", early_stopping=False).fit(X, y).coreset_
    assert abs(coreset.targets - (np.eye(3) - 1 / 3)).max() > 1e-3
    limited = RFADDistiller(**FAST, learn_labels="solve", max_time=60.0).fit(X, y)
    assert np.isfinite(limited.coreset_.targets).all()
