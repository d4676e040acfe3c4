import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from rfad_sklearn import KIPDistiller, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._ridge.label_solve import (
    _folds,
    best_targets,
    cross_entropy_targets,
    ridge_targets,
)
from rfad_sklearn._utils.labels import centred_one_hot
from rfad_sklearn.distillers._prepare import prepare
from tests.building import objective_of
from tests.conftest import FAST


@pytest.fixture
def problem(rng):
    labels = torch.tensor(rng.integers(3, size=200))
    design = torch.tensor(rng.normal(size=(200, 5))) + F.one_hot(labels, 5)
    return design, labels, F.one_hot(labels, 3) - 1 / 3, torch.tensor(rng.normal(size=(5, 3)))


def test_ridge_targets_are_a_ridge_regression(problem):
    design, _, targets, start = problem
    penalty = 0.3
    alpha = penalty * design.square().sum(0).mean().item()
    ridge = Ridge(alpha=alpha, fit_intercept=False).fit(design, targets - design @ start)
    np.testing.assert_allclose(
        ridge_targets(design, targets, start, penalty) - start, ridge.coef_.T, atol=1e-8
    )


def test_cross_entropy_targets_have_no_gradient(problem):
    design, labels, _, start = problem
    scale, penalty = 2.0, 0.1
    solved = cross_entropy_targets(design, labels, start, scale, penalty).requires_grad_()
    shift = penalty * scale**2 / 4 * design.square().sum(0).mean() / len(design)
    loss = (
        F.cross_entropy(scale * design @ solved, labels)
        + 0.5 * shift * (solved - start).square().sum()
    )
    (gradient,) = torch.autograd.grad(loss, solved)
    assert gradient.abs().max() < 1e-4


def test_a_large_penalty_keeps_the_targets(problem):
    design, labels, targets, start = problem
    torch.testing.assert_close(ridge_targets(design, targets, start, 1e9), start)
    torch.testing.assert_close(
        cross_entropy_targets(design, labels, start, 1.0, 1e9), start, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_held_out_rows_decide(problem, loss):
    design, labels, targets, start = problem
    start = start.float()

    def solve(held_out_loss):
        return best_targets(
            design, labels, targets, start, loss=loss, scale=1.0, held_out_loss=held_out_loss
        )

    assert solve(lambda candidate: (candidate - start).abs().sum().item()) is start
    farthest = solve(lambda candidate: -(candidate - start).abs().sum().item())
    nearest = solve(None)
    assert farthest.dtype == nearest.dtype == torch.float32
    assert (farthest - start).abs().sum() > (nearest - start).abs().sum() > 0


@pytest.mark.parametrize("classes_in_turn", [True, False])
def test_every_part_has_every_class(classes_in_turn):
    labels = torch.arange(50) % 5 if classes_in_turn else torch.arange(50) // 10
    counts = torch.stack([labels[_folds(labels) == k].bincount(minlength=5) for k in range(5)])
    assert (counts == 2).all()


def test_weights_are_repeated_rows(problem):
    design, labels, targets, start = problem
    times = torch.arange(len(labels)) % 3 + 1
    repeated = [each.repeat_interleave(times, 0) for each in (design, labels, targets)]
    weights = times.double()
    torch.testing.assert_close(
        ridge_targets(design, targets, start, 0.1, weights),
        ridge_targets(repeated[0], repeated[2], start, 0.1),
    )
    torch.testing.assert_close(
        cross_entropy_targets(design, labels, start, 2.0, 0.1, weights),
        cross_entropy_targets(*repeated[:2], start, 2.0, 0.1),
        atol=1e-3,
        rtol=0,
    )


def test_after_the_deadline_the_largest_penalty_is_taken(problem):
    design, labels, targets, start = problem
    settings = {"loss": "mse", "scale": 1.0}
    largest = best_targets(design, labels, targets, start, held_out_loss=None, **settings)
    late = best_targets(
        design,
        labels,
        targets,
        start,
        held_out_loss=lambda candidate: (candidate - start).abs().sum().item(),
        deadline=time.monotonic(),
        **settings,
    )
    torch.testing.assert_close(late, largest)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_rows_that_are_left_out_decide(loss):
    design = torch.randn(60, 8, generator=torch.manual_seed(0), dtype=torch.float64)
    truth = torch.randn(8, 3, generator=torch.manual_seed(1), dtype=torch.float64)
    labels = (design @ truth).argmax(1)
    targets = centred_one_hot(labels, 3).double()

    def solve(start, **options):
        settings = {"loss": loss, "scale": 1.0, "held_out_loss": None, **options}
        return best_targets(design, labels, targets, start, **settings)

    # Nothing is better than what made the labels, though others fit these few rows as well.
    assert solve(truth, cross_validate=True) is truth
    new_rows = torch.randn(500, 8, generator=torch.manual_seed(2), dtype=torch.float64)

    def accuracy(solved):
        return ((new_rows @ solved).argmax(1) == (new_rows @ truth).argmax(1)).double().mean()

    # Far from it, a small penalty lets go of the start.
    chosen, nearest = solve(-truth, cross_validate=True), solve(-truth)
    assert accuracy(chosen) > accuracy(nearest) + 0.05


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("make", [RFADDistiller, KIPDistiller])
def test_solved_labels_are_kept_where_they_help(digits, make, loss):
    X, X_test, y, y_test = digits
    settings = {**FAST, "loss": loss, "ipc": 2, "max_iter": 6}
    if make is KIPDistiller:
        del settings["n_networks"]
        X, X_test = (images.reshape(-1, 4, 2, 4, 2).mean((2, 4)) for images in (X, X_test))
    fixed, solved = (
        make(**settings, learn_labels=learn).fit(X, y).coreset_ for learn in (False, "solve")
    )
    # The items are the same, and the targets are not worse on held-out rows.
    np.testing.assert_allclose(solved.X, fixed.X, atol=1e-4)
    assert solved != fixed

    def score(coreset):
        clf = NNGPKernelRidge(kernel=coreset.kernel)
        return clf.fit_coreset(coreset).score(X_test, y_test)

    assert score(solved) > score(fixed) - 0.02


def test_a_deadline_leaves_rows_of_all_classes(digits, monkeypatch):
    monkeypatch.setattr("rfad_sklearn._optimization.ridge_objective._SOLVE_CHUNK", 32)
    X, _, y, _ = digits
    by_class = np.argsort(y, kind="stable")
    distiller = RFADDistiller(
        **{**FAST, "batch_size": len(X)}, learn_labels="solve", early_stopping=False
    )
    context = prepare(distiller, X[by_class], y[by_class], 0)
    objective = objective_of(distiller, context)
    variables = context.initial_variables("kmeans")

    def accuracy():
        scores = objective.scores(variables)
        return (scores.argmax(1) == objective.labels).double().mean()

    with torch.no_grad():
        before = accuracy()
        # The deadline has passed: one chunk of rows is read.
        variables["targets"] = objective.solve_labels(variables, deadline=time.monotonic())
        assert accuracy() > before - 0.02


def test_without_held_out_rows_and_with_a_budget(digits):
    X, _, y, _ = digits
    coreset = RFADDistiller(**FAST, learn_labels="solve", early_stopping=False).fit(X, y).coreset_
    assert abs(coreset.targets - (np.eye(3) - 1 / 3)).max() > 1e-3
    limited = RFADDistiller(**FAST, learn_labels="solve", max_time=60.0).fit(X, y)
    assert np.isfinite(limited.coreset_.targets).all()
