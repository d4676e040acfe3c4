import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._networks import random_features
from rfad_sklearn._networks.random_features import (
    _by_cholesky,
    _by_qr,
    _windows,
    cached_features,
    cpu_networks,
    draw_network,
    draw_networks,
    feature_scales,
    kernel_product,
    linear_in_features,
    network_features,
)
from rfad_sklearn._networks.row_cache import RowCache
from rfad_sklearn._ridge.linalg import solve_targets
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec

SPECS = [
    (ConvNetSpec(depth=3, width=8), (8, 8, 1)),
    (ConvNetSpec(depth=2, width=8), (9, 7, 3)),
    (ConvNetSpec(depth=2, width=8), (9, 6, 12)),
    (ConvNetSpec(depth=2, width=8, pooling="none"), (5, 4, 2)),
    (ConvNetSpec(depth=2, width=8, readout="mean"), (9, 8, 1)),
    (ConvNetSpec(depth=3, width=(4, 6, 10)), (9, 8, 3)),
    (ConvNetSpec(depth=3, width=(3, 1, 5)), (8, 8, 3)),
    (ConvNetSpec(depth=2, width=(3, 5), pooling="none"), (4, 5, 3)),
    (MLPSpec(depth=2, width=16), (11,)),
    (MLPSpec(depth=2, width=(5, 9)), (11,)),
]


def naive_features(spec, network, x):
    """The network as a beginner would write it: each filter makes two channels."""
    if isinstance(spec, MLPSpec):
        for (weight, bias), width in zip(network, spec.widths, strict=True):
            x = x @ weight.T + bias
            x = torch.cat((torch.relu(x), -torch.relu(-x)), 1)[:, :width]
        return x
    x = x.permute(0, 3, 1, 2)
    for (weight, bias), width in zip(network, spec.widths, strict=True):
        x = F.conv2d(x, weight, bias, padding=1)
        x = torch.cat((torch.relu(x), -torch.relu(-x)), 1)[:, :width]
        if spec.pooling == "avg":
            x = F.avg_pool2d(x, 2)
    return x.mean((2, 3)) if spec.readout == "mean" else x.permute(0, 2, 3, 1).flatten(1)


def network_kernels(spec, features):
    """Kernel of the rows with themselves by each network alone: ``(n_networks, n, n)``."""
    return torch.stack([kernel_product(spec, one, one) for one in features.split(1, dim=1)])


def inputs(shape, n=5, seed=0):
    return torch.randn(
        (n, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_fast_path_equals_the_naive_network(spec, shape):
    network = draw_network(spec, shape, 0, dtype=torch.float64)
    x = inputs(shape)
    fast = network_features(spec, [network], x)[:, 0]
    assert fast.shape == (5, spec.n_features(shape))
    torch.testing.assert_close(fast, naive_features(spec, network, x))


@pytest.mark.parametrize(("spec", "shape"), SPECS)
@pytest.mark.parametrize("recompute", [False, True])
def test_gradient_of_the_fast_path(spec, shape, recompute):
    network = draw_network(spec, shape, 0, dtype=torch.float64)
    x = inputs(shape).requires_grad_()
    upstream = torch.randn(
        5, spec.n_features(shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    (fast,) = torch.autograd.grad(
        (network_features(spec, [network], x, recompute=recompute)[:, 0] * upstream).sum(), x
    )
    (naive,) = torch.autograd.grad((naive_features(spec, network, x) * upstream).sum(), x)
    torch.testing.assert_close(fast, naive)


def test_gradcheck_through_the_kernel():
    spec, shape = ConvNetSpec(depth=1, width=4), (4, 4, 1)
    network = draw_network(spec, shape, 0, dtype=torch.float64)

    def kernel(x):
        features = network_features(spec, [network], x)
        return kernel_product(spec, features, features)

    assert torch.autograd.gradcheck(kernel, inputs(shape, 3).requires_grad_())


def test_weights_are_uniform_on_a_sphere_and_orthogonal():
    spec = ConvNetSpec(depth=2, width=200, sigma_w=1.5, sigma_b=0.3)
    (first, first_bias), (second, second_bias) = draw_network(spec, (8, 8, 3), 0)
    for weight, bias, fan_in in ((first, first_bias, 27), (second, second_bias, 1800)):
        vectors = torch.cat([weight.flatten(1) * math.sqrt(fan_in) / 1.5, bias[:, None] / 0.3], 1)
        products = vectors @ vectors.T / (fan_in + 1)
        block = min(fan_in + 1, len(vectors))
        torch.testing.assert_close(products[:block, :block], torch.eye(block))
        torch.testing.assert_close(products.diag(), torch.ones(len(vectors)))
        # All coordinates alike, the bias too.
        assert bias.std().item() == pytest.approx(0.3, rel=0.2)
        assert weight.mean().abs() < 4 * weight.std() / math.sqrt(weight.numel())
    assert second.std().item() == pytest.approx(1.5 / math.sqrt(1800), rel=0.02)


def test_filters_are_orthogonal_in_blocks(monkeypatch):
    monkeypatch.setattr(random_features, "_BLOCK", 4)
    ((weight, bias),) = draw_network(MLPSpec(depth=1, width=20, sigma_w=1, sigma_b=1), (6,), 0)
    vectors = torch.cat([weight * math.sqrt(6), bias[:, None]], 1) / math.sqrt(7)
    products = vectors @ vectors.T
    for block in (slice(0, 4), slice(4, 8), slice(8, 10)):
        torch.testing.assert_close(products[block, block], torch.eye(len(products[block])))
    assert products[:4, 4:8].abs().max() > 0.1


@pytest.mark.parametrize("shape", [(3, 4, 9), (2, 5, 5), (1, 1, 3)])
def test_orthonormal_rows_of_many_matrices_at_once(shape):
    """The path of a GPU, on the CPU."""
    vectors = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_by_cholesky(vectors), _by_qr(vectors))
    vectors[0, -1] = vectors[0, 0]
    dependent = _by_cholesky(vectors)
    torch.testing.assert_close(dependent.norm(dim=-1), torch.ones(shape[:-1]))
    torch.testing.assert_close(dependent[1:], _by_qr(vectors[1:]))


@pytest.mark.parametrize("width", [1, 2, 7, 40])
def test_one_layer_has_the_exact_kernel_as_its_mean(width):
    """One layer is unbiased at every width, also with an odd number of channels and a bias."""
    spec, x = MLPSpec(depth=1, width=width, sigma_b=0.8), inputs((5,), 4)
    exact = exact_kernel(spec, x)
    features = cached_features(spec, cpu_networks(spec, (5,), range(4000), "cpu", torch.float64), x)
    products = network_kernels(spec, features)
    error = (products.mean(0) - exact) / (products.std(0) / math.sqrt(4000))
    assert error.abs().max() < 4


def test_orthogonal_filters_with_crelu_are_less_noisy_than_independent_ones():
    spec, x = MLPSpec(depth=2, width=64), inputs((20,), 8)
    exact, generator = exact_kernel(spec, x), torch.Generator().manual_seed(0)
    independent = []
    for _ in range(200):
        y = x
        for _ in range(spec.depth):
            weight = (
                torch.randn((64, y.shape[1]), generator=generator, dtype=torch.float64)
                * spec.sigma_w
                / math.sqrt(y.shape[1])
            )
            y = torch.relu(
                y @ weight.T
                + spec.sigma_b * torch.randn(64, generator=generator, dtype=torch.float64)
            )
        independent.append(kernel_product(spec, y[:, None], y[:, None]))
    drawn = cached_features(spec, cpu_networks(spec, (20,), range(200), "cpu", torch.float64), x)
    errors = [
        (kernels - exact).square().mean().item()
        for kernels in (torch.stack(independent), network_kernels(spec, drawn))
    ]
    assert errors[1] < 0.9 * errors[0]


def test_same_seed_same_network_whatever_the_dtype():
    spec, shape = MLPSpec(width=8), (3,)
    single, double = draw_network(spec, shape, 5), draw_network(spec, shape, 5, dtype=torch.float64)
    assert torch.equal(single[0][0].double(), double[0][0])
    assert not torch.equal(single[0][0], draw_network(spec, shape, 6)[0][0])


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    draw_network(MLPSpec(width=8), (3,), 5)
    assert torch.equal(before, torch.get_rng_state())


def kernel_errors(spec, x, exact, n_networks, width, n_repeats):
    spec = replace(spec, width=width)
    estimates = []
    for repeat in range(n_repeats):
        seeds = range(repeat * n_networks, (repeat + 1) * n_networks)
        features = cached_features(
            spec, cpu_networks(spec, tuple(x.shape[1:]), seeds, "cpu", torch.float64), x
        )
        estimates.append(kernel_product(spec, features, features))
    estimates = torch.stack(estimates)
    return (estimates - exact).square().mean().sqrt().item(), (
        estimates.mean(0) - exact
    ).square().mean().sqrt().item()


def test_monte_carlo_error_falls_with_the_root_of_the_number_of_networks():
    spec, x = MLPSpec(depth=2), inputs((6,), 8)
    exact = exact_kernel(spec, x)
    errors = [kernel_errors(spec, x, exact, n, 128, 12)[0] for n in (1, 4, 16)]
    slope = np.polyfit(np.log([1, 4, 16]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.12)


def test_random_features_converge_to_the_exact_kernel_with_width():
    spec, x = MLPSpec(depth=2), inputs((6,), 8)
    exact = exact_kernel(spec, x)
    errors = [kernel_errors(spec, x, exact, 4, width, 12)[0] for width in (16, 64, 256)]
    slope = np.polyfit(np.log([16, 64, 256]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.15)
    assert errors[-1] < 0.15 * exact.abs().mean()


def test_bfloat16_error_is_below_the_monte_carlo_error():
    spec, shape = ConvNetSpec(depth=3, width=64), (16, 16, 1)
    x = inputs(shape, 8).float()

    def kernel(seeds, dtype):
        networks = [draw_network(spec, shape, seed, dtype=dtype) for seed in seeds]
        features = cached_features(spec, networks, x)
        return kernel_product(spec, features, features)

    reference = kernel(range(8), torch.float32)
    rounding = (kernel(range(8), torch.bfloat16) - reference).square().mean().sqrt()
    monte_carlo = (kernel(range(8, 16), torch.float32) - reference).square().mean().sqrt()
    assert rounding < 0.2 * monte_carlo


@pytest.mark.parametrize(
    "spec_and_shape",
    [(ConvNetSpec(depth=2, width=16), (8, 8, 1)), (MLPSpec(depth=2, width=16), (11,))],
)
def test_kernel_of_cached_rows(spec_and_shape):
    spec, shape = spec_and_shape
    networks = cpu_networks(spec, shape, [0, 1], "cpu", torch.float64)
    rows, items = (
        inputs(shape, 9),
        cached_features(spec, networks, inputs(shape, 4, seed=1)).requires_grad_(),
    )
    cached, direct = (
        RowCache(spec, networks, rows).kernel(items),
        kernel_product(spec, cached_features(spec, networks, rows), items),
    )
    torch.testing.assert_close(cached, direct)
    upstream = torch.randn(
        direct.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    torch.testing.assert_close(
        *(torch.autograd.grad((kernel * upstream).sum(), items)[0] for kernel in (cached, direct))
    )


def test_bfloat16_products_cost_far_less_than_the_monte_carlo_error_of_scores():
    """Kernel ridge amplifies rounding, so scores and their gradient are compared, not kernels."""
    spec, shape = ConvNetSpec(depth=3, width=(16, 32, 128)), (16, 16, 1)
    generator = torch.Generator().manual_seed(0)
    # As in images, the mean is larger than the differences.
    rows, x = 2 + inputs(shape, 64).float(), 2 + inputs(shape, 20, seed=1).float()
    targets, upstream = (
        torch.randn((20, 3), generator=generator),
        torch.randn((64, 3), generator=generator),
    )

    def scores_and_gradient(seeds, narrow):
        networks = [draw_network(spec, shape, seed, dtype=torch.bfloat16) for seed in seeds]
        items = network_features(spec, networks, x).float().requires_grad_()
        if narrow:
            kernel = RowCache(spec, networks, rows, dtype=torch.bfloat16).kernel(items)
        else:
            kernel = kernel_product(spec, cached_features(spec, networks, rows), items)
        scores = kernel @ solve_targets(kernel_product(spec, items, items), targets, 5e-3).float()
        return scores.detach(), torch.autograd.grad((scores * upstream).sum(), items)[0]

    reference, narrow, others = (
        scores_and_gradient(*which)
        for which in ((range(4), False), (range(4), True), (range(4, 8), False))
    )
    assert (narrow[0] - reference[0]).norm() < 0.2 * (others[0] - reference[0]).norm()
    assert (narrow[1] - reference[1]).norm() < 0.05 * reference[1].norm()
    assert not torch.equal(narrow[0], reference[0])


def test_images_in_pieces_give_what_they_give_at_once(monkeypatch):
    spec, shape = ConvNetSpec(depth=2, width=8), (9, 7, 3)
    networks = [draw_network(spec, shape, seed, dtype=torch.float64) for seed in range(2)]
    x = inputs(shape, n=11).requires_grad_()

    def both():
        features = network_features(spec, networks, x)
        return (
            features.detach(),
            torch.autograd.grad(features.square().sum(), x)[0],
            cached_features(spec, networks, x.detach()),
        )

    whole = both()
    # Three images in a pass.
    monkeypatch.setattr(random_features, "_ENTRIES", 3 * 9 * 7 * 8)
    for pieces, at_once in zip(both(), whole, strict=True):
        torch.testing.assert_close(pieces, at_once)


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_scores_of_a_row_do_not_depend_on_the_rows_beside_it(spec, shape):
    networks = cpu_networks(spec, shape, [0, 1], "cpu", torch.float32)
    x, others = inputs(shape, 9).float(), 1e3 * inputs(shape, 9, seed=3).float()
    weights = torch.randn(
        2 * spec.n_features(shape) + 1,
        3,
        generator=torch.Generator().manual_seed(2),
        dtype=torch.float64,
    )

    def scores(rows):
        return linear_in_features(
            spec, networks, lambda start, stop: rows[start:stop], len(rows), weights, block=4
        )

    whole = scores(x)
    mixed = torch.where((torch.arange(9) % 3 == 0).view(-1, *[1] * len(shape)), x, others)
    assert torch.equal(scores(mixed)[::3], whole[::3])
    assert torch.equal(scores(x[:6]), whole[:6])
    assert torch.equal(scores(x[:1]), whole[:1])
    # At another place in the block the libraries may round otherwise.
    order = torch.tensor([5, 2, 8, 0])
    torch.testing.assert_close(scores(x[order]), whole[order], rtol=0, atol=1e-5)


def test_feature_scales_give_the_kernel():
    spec, shape = ConvNetSpec(depth=1, width=4), (4, 4, 1)
    features = cached_features(
        spec, cpu_networks(spec, shape, [0, 1], "cpu", torch.float64), inputs(shape, 3)
    )
    scale, constant = feature_scales(spec, 2 * spec.n_features(shape))
    flat = torch.cat(
        [scale * features.flatten(1), torch.full((3, 1), constant, dtype=torch.float64)], 1
    )
    torch.testing.assert_close(flat @ flat.T, kernel_product(spec, features, features))


def test_windows_drop_the_odd_row_and_column():
    assert _windows(inputs((7, 5, 2), 3)).shape == (3, 3, 2, 32)


@pytest.mark.parametrize(("spec", "shape"), SPECS)
@pytest.mark.parametrize("recompute", [False, True])
def test_all_networks_in_one_call_give_what_each_gives_alone(spec, shape, recompute):
    """The path of a GPU, on the CPU."""
    networks = [draw_network(spec, shape, seed, dtype=torch.float64) for seed in range(3)]
    x = inputs(shape).requires_grad_()
    upstream = torch.randn(
        5,
        3,
        spec.n_features(shape),
        generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
    )
    values, gradients = [], []
    for batched in (False, True):
        values.append(network_features(spec, networks, x, recompute=recompute, batched=batched))
        gradients.append(torch.autograd.grad((values[-1] * upstream).sum(), x)[0])
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(
        cached_features(spec, networks, x.detach(), batched=True), values[0].detach()
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_cuda_gives_the_features_and_gradients_of_the_cpu(spec, shape):
    values = []
    for device in ("cpu", "cuda"):
        x = inputs(shape).to(device).requires_grad_()
        networks = cpu_networks(spec, shape, [0, 1], device, torch.float64)
        features = network_features(spec, networks, x)
        (gradient,) = torch.autograd.grad(features.square().sum(), x)
        values.append(
            [
                part.cpu()
                for part in (
                    features.detach(),
                    gradient,
                    cached_features(spec, networks, x.detach()),
                )
            ]
        )
    for here, there in zip(*values, strict=True):
        torch.testing.assert_close(there, here)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_draws_orthogonal_networks():
    spec = MLPSpec(depth=1, width=20, sigma_w=1, sigma_b=1)
    networks = draw_networks(spec, (12,), [3, 4], device="cuda")
    for ((weight, bias),), seed in zip(networks, (3, 4), strict=True):
        vectors = torch.cat([weight * math.sqrt(12), bias[:, None]], 1)
        torch.testing.assert_close(
            vectors @ vectors.T, 13 * torch.eye(10, device="cuda"), rtol=0, atol=1e-3
        )
        torch.testing.assert_close(
            weight, draw_networks(spec, (12,), [seed], device="cuda")[0][0][0]
        )
