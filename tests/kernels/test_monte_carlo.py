"""Random features against the exact kernel of a row and its negative.

For this pair the bias of finite widths is large.
"""

import math
from dataclasses import replace

import pytest
import torch

from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._networks.random_features import draw_networks, feature_scales, network_features
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec


def relative_errors(spec, shape, n_networks, *, n_pairs=1, control=False):
    """Relative error of each network's kernel, the mean over some pairs of a row and its negative.

    With ``control`` the error of each row's kernel with itself, whose mean is zero at every width,
    serves as a control variate: the mean stays, most of the noise goes.
    """
    x = torch.randn((n_pairs, *shape), generator=torch.Generator().manual_seed(0))
    x = torch.cat([x, -x])
    exact = exact_kernel(spec, x.double())
    errors, own_errors = [], []
    for seeds in torch.arange(n_networks).split(500):
        networks = draw_networks(spec, shape, seeds.tolist())
        features = network_features(spec, networks, x, batched=True).double()
        scale, constant = feature_scales(spec, features.shape[2])
        cross = (features[:n_pairs] * features[n_pairs:]).sum(2)
        own = features.square().sum(2)
        for products, expected, collected in (
            (cross, exact.diagonal(n_pairs), errors),
            (own, exact.diagonal(), own_errors),
        ):
            estimates = scale**2 * products + constant**2
            collected.append((estimates / expected[:, None] - 1).mean(0))
    errors, own_errors = torch.cat(errors), torch.cat(own_errors)
    if control:
        slope = torch.cov(torch.stack([errors, own_errors]))[0, 1] / own_errors.var()
        errors = errors - slope * own_errors
    return errors


def root_mean_square(errors, n_networks):
    """Of the means over groups of networks."""
    return errors.view(-1, n_networks).mean(1).square().mean().sqrt().item()


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (MLPSpec(width=16), (4,)),
        (ConvNetSpec(depth=2, width=8, sigma_b=0.0), (4, 4, 1)),
        (ConvNetSpec(width=8, pooling="none"), (3, 3, 1)),
    ],
    ids=str,
)
def test_error_falls_as_one_over_the_root_of_the_number_of_networks(spec, shape):
    errors = relative_errors(spec, shape, 4096)
    for n in (1, 4):
        assert root_mean_square(errors, n) / root_mean_square(errors, 4 * n) == pytest.approx(
            2, rel=0.25
        )


@pytest.mark.parametrize(
    ("spec", "shape", "width"),
    # Deep: shallow networks with orthogonal filters and CReLU have hardly any bias.
    [
        (MLPSpec(depth=8), (4,), 8),
        (ConvNetSpec(depth=8, pooling="none", sigma_b=0.0), (2, 2, 1), 4),
    ],
    ids=["MLP", "ConvNet"],
)
def test_bias_falls_as_one_over_the_width(spec, shape, width):
    narrow, wide = (
        relative_errors(replace(spec, width=w), shape, 2000, n_pairs=8, control=True)
        for w in (width, 4 * width)
    )
    bias = narrow.mean().item()
    for errors in (narrow, wide):
        assert errors.mean().abs() > 8 * errors.std() / math.sqrt(len(errors))
    # Many networks leave the bias.
    assert root_mean_square(narrow, 250) == pytest.approx(abs(bias), rel=0.2)
    assert bias / wide.mean().item() == pytest.approx(4, rel=0.3)
