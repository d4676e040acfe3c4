import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.kernel_ridge import KernelRidge

from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._networks.random_features import cached_features, cpu_networks, kernel_product
from rfad_sklearn._ridge import models
from rfad_sklearn._ridge.linalg import (
    SingularKernelError,
    fit_logit_scale,
    inverse_square_root,
    landmark_features,
    regularised,
    scaled_quality,
    solve_and_leave_one_out,
    solve_targets,
)
from rfad_sklearn._ridge.models import ExactModel, fit_features
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec


@pytest.fixture
def problem(rng):
    x = rng.normal(size=(12, 4))
    return torch.tensor(x @ x.T + 0.1), torch.tensor(rng.normal(size=(12, 3)))


def test_relative_ridge_is_sklearns_ridge_times_the_mean_diagonal(problem):
    kernel, targets = problem
    dual = solve_targets(kernel, targets, 0.05)
    alpha = 0.05 * np.trace(kernel.numpy()) / 12
    expected = (
        KernelRidge(alpha=alpha, kernel="precomputed")
        .fit(kernel.numpy(), targets.numpy())
        .dual_coef_
    )
    np.testing.assert_allclose(dual, expected, rtol=1e-6)


def test_predictions_do_not_depend_on_the_scale_of_the_kernel(problem):
    kernel, targets = problem
    first, second = (
        scale * kernel @ solve_targets(scale * kernel, targets, 0.05) for scale in (1, 1000)
    )
    torch.testing.assert_close(first, second)


def test_leave_one_out_equals_leaving_one_out(problem):
    kernel, targets = problem
    closed = solve_and_leave_one_out(kernel, targets, 0.05)[1]
    shift = regularised(kernel, 0.05) - kernel
    for k in range(12):
        rest = [j for j in range(12) if j != k]
        dual = torch.linalg.solve((kernel + shift)[rest][:, rest], targets[rest])
        torch.testing.assert_close(closed[k], kernel[k, rest] @ dual)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_landmarks_that_are_all_the_same(n):
    coefficients, offset = landmark_features(torch.full((n, n), 3.0), 5e-3)
    assert coefficients.abs().max() < 100
    assert offset.abs().max() < 100


def test_inverse_square_root(problem):
    kernel, _ = problem
    root = inverse_square_root(kernel, 0.05)
    torch.testing.assert_close(
        root @ regularised(kernel, 0.05) @ root, torch.eye(12, dtype=torch.float64)
    )


def test_solve_is_differentiable(problem):
    kernel, targets = problem
    assert torch.autograd.gradcheck(
        lambda k, t: solve_targets(k + k.T, t, 0.1),
        (kernel.requires_grad_(), targets.requires_grad_()),
    )


def test_several_kernels_at_once(problem):
    kernel, targets = problem
    kernels = torch.stack([kernel, kernel @ kernel, kernel + torch.eye(12)]).requires_grad_()
    targets = targets.clone().requires_grad_()
    together = solve_targets(kernels, targets, 0.05)
    apart = torch.stack([solve_targets(each, targets, 0.05) for each in kernels])
    torch.testing.assert_close(together, apart)
    upstream = torch.randn(
        together.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    both = [
        torch.autograd.grad((dual * upstream).sum(), (kernels, targets))
        for dual in (together, apart)
    ]
    for mine, theirs in zip(*both, strict=True):
        torch.testing.assert_close(mine, theirs)
    with pytest.raises(SingularKernelError, match="12 points"):
        solve_targets(torch.stack([kernel, -kernel]), targets, 0.05)
    with pytest.raises(SingularKernelError, match="not finite"):
        solve_targets(torch.stack([kernel, kernel * torch.nan]), targets, 0.05)
    # One that cannot be solved does not touch the others.
    broken = torch.stack([kernel, -kernel])
    dual = solve_targets(broken, targets, 0.05, check=False)
    assert torch.isfinite(dual[0]).all()
    assert torch.isnan(dual[1]).all()


@pytest.mark.parametrize(
    ("entry", "word"), [(float("nan"), "not finite"), (-50.0, "not positive definite")]
)
def test_a_kernel_that_cannot_be_solved(problem, entry, word):
    kernel, targets = problem
    kernel[3, 3] = entry
    with pytest.raises(
        SingularKernelError,
        match=rf"12 points with reg=0.05 is {word}; raise reg, remove duplicate rows",
    ):
        solve_targets(kernel, targets, 0.05)


def test_logit_scale_is_the_minimiser(rng):
    labels = torch.tensor(rng.integers(0, 3, 200))
    scores = torch.tensor(rng.normal(size=(200, 3)) * 0.2)
    scores[torch.arange(200), labels] += 0.2

    def loss(log_scale):
        return torch.nn.functional.cross_entropy(
            np.exp(log_scale) * scores, labels, label_smoothing=1 / 202
        ).item()

    best = minimize_scalar(loss, bounds=(-5, 8), method="bounded", options={"xatol": 1e-8}).x
    for start in (1e-2, 1.0, 1e4):
        assert np.log(fit_logit_scale(scores, labels, start=start)) == pytest.approx(best, abs=1e-4)


def test_few_rows_without_an_error_do_not_make_certain():
    labels = torch.arange(10) % 2
    scale = fit_logit_scale(torch.eye(2, dtype=torch.float64)[labels], labels)
    confidence = 1 / (1 + np.exp(-scale))
    assert confidence == pytest.approx(1 - 1 / 24, abs=1e-4)


def test_logit_scale_keeps_its_bounds():
    labels = torch.tensor([0, 1, 0])
    perfect = torch.eye(2, dtype=torch.float64)[labels]
    assert fit_logit_scale(perfect, labels, ceiling=2.0) == pytest.approx(2.0)
    assert fit_logit_scale(-perfect, labels, floor=1e-3) == pytest.approx(1e-3)
    assert np.isfinite(fit_logit_scale(torch.zeros(3, 2), labels))


@pytest.mark.parametrize("n", [20, 90])
def test_primal_and_dual_give_the_scores_of_the_kernel(rng, n):
    """40 features: 20 rows are solved in the dual, 90 in the primal."""
    spec, shape = MLPSpec(depth=1, width=20), (5,)
    x = torch.tensor(rng.normal(size=(n, 5)))
    targets = torch.tensor(rng.normal(size=(n, 2)))
    arguments = (spec, shape, [1, 2], lambda rows: x[rows], n, targets, 0.01, rng)
    model, rows, left_out = fit_features(
        *arguments, device=torch.device("cpu"), dtype=torch.float64
    )

    features = cached_features(spec, cpu_networks(spec, shape, [1, 2], "cpu", torch.float64), x)
    kernel = kernel_product(spec, features, features)
    scores = model.scores(lambda a, b: x[a:b], n, device=torch.device("cpu"), dtype=torch.float64)
    np.testing.assert_allclose(
        scores, kernel @ solve_targets(kernel, targets, 0.01), rtol=1e-6, atol=1e-8
    )
    expected = solve_and_leave_one_out(kernel, targets, 0.01)[1][torch.from_numpy(rows)]
    np.testing.assert_allclose(left_out, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("spec", "shape"), [(MLPSpec(depth=2), (5,)), (ConvNetSpec(depth=1), (4, 4, 1))], ids=str
)
def test_exact_scores_of_a_row_do_not_depend_on_the_rows_beside_it(rng, spec, shape, monkeypatch):
    monkeypatch.setattr(models, "_BLOCK", 4)
    x, others, items = (torch.tensor(rng.normal(size=(9, *shape))).float() for _ in range(3))
    dual = torch.tensor(rng.normal(size=(9, 3)))
    model = ExactModel.build(spec, "nngp", items, dual)

    def scores(rows):
        return model.scores(
            lambda start, stop: rows[start:stop],
            len(rows),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )

    whole = scores(x)
    expected = exact_kernel(spec, x, items).double() @ dual
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-4)
    mixed = torch.where((torch.arange(9) % 3 == 0).view(-1, *[1] * len(shape)), x, others)
    np.testing.assert_array_equal(scores(mixed)[::3], whole[::3])
    np.testing.assert_array_equal(scores(x[:6]), whole[:6])
    assert scores(x[:0]).shape == (0, 3)


def test_too_little_memory_says_what_to_lower(rng, monkeypatch):
    def fail(*args):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(models, "_fit_dual", fail)
    x = torch.zeros(3, 5)
    with pytest.raises(
        MemoryError,
        match="Not enough memory for a kernel ridge on 3 rows and 8 random features; "
        "lower n_networks, the",
    ):
        fit_features(
            MLPSpec(width=8),
            (5,),
            [1],
            lambda r: x[r],
            3,
            x,
            0.1,
            rng,
            device=torch.device("cpu"),
            dtype=torch.float32,
        )


def test_weights_are_repeated_rows():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (40,), generator=generator)
    times = torch.randint(1, 4, (40,), generator=generator)
    repeated = scores.repeat_interleave(times, 0), labels.repeat_interleave(times)
    weighted = scaled_quality(scores, labels, weights=times.double())
    # Smoothing of the labels goes by the number of rows.
    np.testing.assert_allclose(weighted, scaled_quality(*repeated), rtol=0.02)
    assert weighted[1] == pytest.approx(scaled_quality(*repeated)[1])
    assert weighted[1] != pytest.approx(scaled_quality(scores, labels)[1])
