import math

import pytest
import torch
import torch.nn.functional as F

from rfad_sklearn._networks.crelu import Rectified, _pooled_as_mean


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_relu_by_integers_is_torchs(dtype):
    special = torch.tensor([0.0, -0.0, 1e-40, -1e-40, math.inf, -math.inf, 3e38, -3e38])
    x = torch.cat([special, torch.randn(1000, generator=torch.Generator().manual_seed(0))]).to(
        dtype
    )
    grad = torch.cat(
        [torch.full((8,), -2.0), torch.randn(1000, generator=torch.Generator().manual_seed(1))]
    ).to(dtype)
    expected = torch.where(x > 0, grad, torch.zeros_like(grad))
    leaf = x.clone().requires_grad_()
    y = Rectified.apply(leaf * 1)
    assert torch.equal(y, torch.relu(x))
    (first,) = torch.autograd.grad(y, leaf, grad)
    assert torch.equal(first, expected)
    # Gradient matching differentiates a gradient.
    outer = grad.clone().requires_grad_()
    (first,) = torch.autograd.grad(Rectified.apply(leaf * 1), leaf, outer, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), outer)
    assert torch.equal(second, (x > 0).to(dtype))


@pytest.mark.parametrize("sides", [(6, 4), (7, 5)])
def test_pooling_as_a_mean(sides):
    """The path of a GPU, on the CPU."""
    x = torch.randn((5, *sides, 3), generator=torch.Generator().manual_seed(0)).permute(0, 3, 1, 2)
    torch.testing.assert_close(_pooled_as_mean(x), F.avg_pool2d(x, 2))
