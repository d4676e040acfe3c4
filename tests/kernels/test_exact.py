import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rfad_sklearn._kernels import pixel_pairs, recursion
from rfad_sklearn._kernels.exact import exact_kernel, worth_compiling
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec

DATA = Path(__file__).parents[1] / "data"
TOLERANCES = {
    (torch.float64, 0): 1e-10,
    (torch.float64, 1): 1e-7,
    (torch.float32, 0): 1e-5,
    (torch.float32, 1): 1e-3,
}


def naive_kernels(spec, x, y):
    """Both kernels in float64 by the textbook recursion over all pairs of pixels."""

    def arc_cosine(K, v, w):
        norms = torch.outer(v.sqrt(), w.sqrt())
        c = (K / norms).clamp(-1, 1)
        angle = math.pi - torch.acos(c)
        return norms * ((1 - c * c).sqrt() + angle * c) / (2 * math.pi), angle / (2 * math.pi)

    weight, bias = spec.sigma_w**2, spec.sigma_b**2
    convolutional = isinstance(spec, ConvNetSpec)

    def convolve(K, H, W):
        if not convolutional:
            return K
        K = F.pad(K.view(H, W, H, W), (1, 1, 1, 1, 1, 1, 1, 1))
        parts = [K[i : i + H, j : j + W, i : i + H, j : j + W] for i in range(3) for j in range(3)]
        return (sum(parts) / 9).reshape(H * W, H * W)

    def pool(K, H, W):
        if not (convolutional and spec.pooling == "avg"):
            return K
        K = K.view(H, W, H, W)[: H // 2 * 2, : W // 2 * 2, : H // 2 * 2, : W // 2 * 2]
        K = K.reshape(H // 2, 2, W // 2, 2, H // 2, 2, W // 2, 2).mean((1, 3, 5, 7))
        return K.reshape(H // 2 * (W // 2), -1)

    def pair(a, b):
        H, W = a.shape[:2] if convolutional else (1, 1)
        channels = a.reshape(H * W, -1), b.reshape(H * W, -1)
        covariances = [
            s @ t.T / s.shape[1] for s, t in (channels, channels[:1] * 2, channels[1:] * 2)
        ]
        tangents = torch.zeros_like(covariances[0])
        for _ in range(spec.depth):
            K, A, B = (weight * convolve(part, H, W) + bias for part in covariances)
            tangents = K + weight * convolve(tangents, H, W)
            (K, slope), (A, _), (B, _) = (
                arc_cosine(*t)
                for t in ((K, A.diag(), B.diag()), (A, A.diag(), A.diag()), (B, B.diag(), B.diag()))
            )
            covariances = [pool(part, H, W) for part in (K, A, B)]
            tangents = pool(tangents * slope, H, W)
            H, W = (H // 2, W // 2) if convolutional and spec.pooling == "avg" else (H, W)
        read = (
            torch.mean
            if convolutional and spec.readout == "mean"
            else lambda part: part.diag().mean()
        )
        nngp = weight * read(covariances[0]) + bias
        return nngp, nngp + weight * read(tangents)

    values = torch.tensor([[pair(a, b) for b in y] for a in x], dtype=torch.float64)
    return values[..., 0], values[..., 1]


gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)


def images(rng, n, *shape, dtype=torch.float64):
    return torch.tensor(rng.normal(size=(n, *shape)), dtype=dtype)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.npz")), ids=lambda path: path.stem)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_golden_values(path, dtype):
    golden = np.load(path)
    network = MLPSpec if path.stem.startswith("fc") else ConvNetSpec
    spec = network(
        depth=int(golden["depth"]), sigma_w=float(golden["W_std"]), sigma_b=float(golden["b_std"])
    )
    first, second = (torch.tensor(golden[name], dtype=dtype) for name in ("X1", "X2"))
    for suffix, y in (("11", None), ("12", second)):
        for values, name, which in zip(
            exact_kernel(spec, first, y, kernel="both"), ("nngp", "ntk"), (0, 1), strict=True
        ):
            np.testing.assert_allclose(
                values, golden[f"{name}_{suffix}"], rtol=TOLERANCES[dtype, which]
            )
        np.testing.assert_allclose(
            exact_kernel(spec, first, y), golden[f"nngp_{suffix}"], rtol=TOLERANCES[dtype, 0]
        )


FAMILY = [
    (MLPSpec(depth=1, sigma_w=1.1, sigma_b=0.4), (5,)),
    (MLPSpec(depth=5, sigma_b=0.0), (3,)),
    (ConvNetSpec(depth=1), (2, 2, 1)),
    (ConvNetSpec(depth=2, sigma_w=1.7, sigma_b=0.3), (7, 5, 2)),
    (ConvNetSpec(depth=3), (9, 15, 3)),
    (ConvNetSpec(depth=2, readout="mean"), (6, 5, 1)),
    (ConvNetSpec(depth=1, pooling="none"), (1, 1, 1)),
    (ConvNetSpec(depth=3, pooling="none", sigma_b=0.0), (4, 3, 2)),
    (ConvNetSpec(depth=2, pooling="none", readout="mean", sigma_w=0.8), (3, 4, 1)),
]


@pytest.mark.parametrize(("spec", "shape"), FAMILY, ids=str)
@pytest.mark.parametrize("dense", [True, False])
def test_the_whole_family_against_the_textbook(spec, shape, dense, rng, monkeypatch):
    if not dense:
        monkeypatch.setattr(pixel_pairs, "_DENSE_ENTRIES", 0)
    x, y = images(rng, 3, *shape), images(rng, 4, *shape)
    nngp, ntk = naive_kernels(spec, x, y)
    for values, expected in zip(exact_kernel(spec, x, y, kernel="both"), (nngp, ntk), strict=True):
        torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(exact_kernel(spec, x, y), nngp, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        exact_kernel(spec, y, x, kernel="ntk"), ntk.T, rtol=1e-12, atol=1e-14
    )
    own = naive_kernels(spec, x, x)
    for values, expected, tolerance in zip(
        exact_kernel(spec, x, kernel="both"), own, (1e-12, 1e-7), strict=True
    ):
        torch.testing.assert_close(values, expected, rtol=tolerance, atol=1e-14)


@pytest.mark.parametrize(("spec", "shape"), FAMILY, ids=str)
def test_float32_is_accurate(spec, shape, rng):
    x, y = images(rng, 3, *shape), images(rng, 4, *shape)
    for values, expected, tolerance in zip(
        exact_kernel(spec, x.float(), y.float(), kernel="both"),
        exact_kernel(spec, x, y, kernel="both"),
        (1e-5, 1e-3),
        strict=True,
    ):
        torch.testing.assert_close(values.double(), expected, rtol=tolerance, atol=1e-6)


def test_coincidences_are_exact_in_float32(rng):
    # Blank borders shared by all images, and rows with themselves: there the tangents' square root
    # would magnify rounding.
    x = torch.zeros((3, 12, 12, 1), dtype=torch.float64)
    x[:, 4:8, 4:8] = images(rng, 3, 4, 4, 1)
    spec = ConvNetSpec(depth=2)
    torch.testing.assert_close(
        exact_kernel(spec, x.float(), kernel="ntk").double(),
        exact_kernel(spec, x, kernel="ntk"),
        rtol=2e-6,
        atol=0,
    )


def test_zero_rows_without_bias_stay_finite():
    for spec, shape in (
        (MLPSpec(depth=2, sigma_b=0.0), (3,)),
        (ConvNetSpec(depth=2, sigma_b=0.0), (4, 4, 1)),
    ):
        zeros = torch.zeros((2, *shape), dtype=torch.float64, requires_grad=True)
        kernel = exact_kernel(spec, zeros, kernel="ntk")
        assert torch.equal(kernel, torch.zeros(2, 2, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(kernel.sum(), zeros)
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize(
    ("spec", "shape"), [case for case in FAMILY if case[0].depth < 4 and case[1][0] < 9], ids=str
)
def test_gradients(kernel, spec, shape, rng):
    x, y = images(rng, 2, *shape).requires_grad_(), images(rng, 3, *shape).requires_grad_()
    assert gradcheck(lambda *both: exact_kernel(spec, *both, kernel=kernel), (x, y))
    assert gradcheck(lambda x: exact_kernel(spec, x, kernel=kernel), (x,))
    assert gradcheck(lambda y: exact_kernel(spec, y, x.detach(), kernel=kernel), (y,))


def test_gradients_of_gathered_sums(rng, monkeypatch):
    monkeypatch.setattr(pixel_pairs, "_DENSE_ENTRIES", 0)
    x, y = images(rng, 2, 5, 4, 1).requires_grad_(), images(rng, 3, 5, 4, 1)
    assert gradcheck(lambda x: exact_kernel(ConvNetSpec(depth=2), x, y, kernel="ntk"), (x,))


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_are_finite_at_coincidences(kernel, dtype, rng):
    x = torch.zeros((3, 8, 8, 1), dtype=dtype)
    x[:, 2:6, 2:6] = images(rng, 3, 4, 4, 1, dtype=dtype)
    x[2] = x[1]
    x.requires_grad_()
    (alone,) = torch.autograd.grad(exact_kernel(ConvNetSpec(depth=3), x, kernel=kernel).sum(), x)
    together = exact_kernel(ConvNetSpec(depth=3), x, x, kernel=kernel)
    (both,) = torch.autograd.grad(together.sum(), x)
    assert both.isfinite().all()
    assert both.abs().max() > 0
    torch.testing.assert_close(
        alone, both, rtol=1e-3 if dtype == torch.float32 else 1e-8, atol=1e-6
    )


def test_gradient_is_a_descent_direction_where_images_share_a_border(rng):
    # Along the interior the kernels are smooth: the analytic derivative must be the difference
    # quotient.
    x = torch.zeros((2, 8, 8, 1), dtype=torch.float64)
    x[:, 2:6, 2:6] = images(rng, 2, 4, 4, 1)
    direction = torch.zeros_like(x)
    direction[0, 2:6, 2:6] = images(rng, 1, 4, 4, 1)[0]

    def value(step):
        return exact_kernel(ConvNetSpec(depth=2), x[:1] + step * direction[:1], x[1:], kernel="ntk")

    start = x[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        exact_kernel(ConvNetSpec(depth=2), start, x[1:], kernel="ntk"), start
    )
    quotient = (value(1e-6) - value(-1e-6)) / 2e-6
    torch.testing.assert_close(
        (gradient * direction[:1]).sum(), quotient.squeeze(), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.slow
def test_symmetric_and_positive_on_real_images(kernel, all_digits):
    X = torch.tensor(all_digits[0][:60, :, :, None] / 16)
    values = exact_kernel(ConvNetSpec(), X, kernel=kernel)
    assert torch.equal(values, values.T)
    assert torch.linalg.eigvalsh(values)[0] > 0
    torch.testing.assert_close(
        values, exact_kernel(ConvNetSpec(), X, X, kernel=kernel), rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.slow
def test_blocks_do_not_change_the_result(kernel, rng, monkeypatch):
    x, y = images(rng, 11, 6, 6, 1), images(rng, 13, 6, 6, 1)
    spec = ConvNetSpec(depth=2)

    def everything():
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        weights = torch.arange(11.0, dtype=torch.float64)[:, None] + torch.arange(13.0)
        cross, own = exact_kernel(spec, a, b, kernel=kernel), exact_kernel(spec, b, kernel=kernel)
        loss = (cross * weights).sum() + (own * weights[0]).sum()
        return cross.detach(), own.detach(), *torch.autograd.grad(loss, (a, b))

    whole = everything()
    monkeypatch.setattr(recursion, "_PANEL", 5)
    monkeypatch.setattr(recursion, "_PREPARED_BYTES", 2**13)
    monkeypatch.setattr(recursion, "_BLOCK_BYTES", 2**14)
    monkeypatch.setattr(recursion, "_CHUNK_BYTES", 2**13)
    for expected, values in zip(whole, everything(), strict=True):
        torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-12)


def test_only_inputs_that_require_it_get_a_gradient(rng):
    x, y = images(rng, 2, 4, 4, 1).requires_grad_(), images(rng, 3, 4, 4, 1)
    exact_kernel(ConvNetSpec(depth=1), x, y).sum().backward()
    assert x.grad is not None
    assert y.grad is None
    assert not exact_kernel(ConvNetSpec(depth=1), x.detach(), y).requires_grad


def test_progress_counts_pairs(rng, monkeypatch):
    monkeypatch.setattr(recursion, "_PANEL", 2)
    calls = []
    exact_kernel(
        ConvNetSpec(depth=1),
        images(rng, 3, 4, 4, 1),
        images(rng, 4, 4, 4, 1),
        progress=lambda *numbers: calls.append(numbers),
    )
    assert [total for _, total in calls] == [12] * 4
    assert [done for done, _ in calls] == [4, 8, 10, 12]


def test_compiling_must_pay():
    assert not worth_compiling(ConvNetSpec(), (8, 8, 1), 1000)
    assert worth_compiling(ConvNetSpec(), (28, 28, 1), 500_000)
    assert not worth_compiling(MLPSpec(), (64,), 10**6)


def test_distant_pairs_of_pixels_are_left_out():
    def share(spec):
        stage = pixel_pairs.cross_pairs(spec, (28, 28, 1)).stages[0]
        return len(stage.first) * stage.places**2 / 28**4

    assert share(ConvNetSpec()) == pytest.approx(344**2 / 28**4)
    assert share(ConvNetSpec(pooling="none")) == pytest.approx(28**2 / 28**4)
    assert share(ConvNetSpec(depth=2, readout="mean")) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_kernel_of_the_cpu(rng):
    x, y = images(rng, 5, 12, 12, 3), images(rng, 4, 12, 12, 3)
    for compiled in (False, True):
        cpu, cuda = (
            exact_kernel(ConvNetSpec(), x.to(d), y.to(d), kernel="ntk", compiled=compiled).cpu()
            for d in ("cpu", "cuda")
        )
        torch.testing.assert_close(cuda, cpu, rtol=1e-10, atol=0)
