from pathlib import Path

import numpy as np
import pytest
import torch

from rfad_sklearn import MLP, ConvNet
from rfad_sklearn._exact_kernels import mlp_kernel, supports

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "tolerance"), [("nngp", 1e-10), ("ntk", 1e-7)])
def test_golden_values(depth, kernel, tolerance):
    golden = np.load(DATA / f"fc_depth{depth}_digits.npz")
    spec = MLP(depth=depth, sigma_w=float(golden["W_std"]), sigma_b=float(golden["b_std"]))
    first, second = torch.tensor(golden["X1"]), torch.tensor(golden["X2"])
    np.testing.assert_allclose(mlp_kernel(spec, first, kernel=kernel), golden[f"{kernel}_11"], rtol=tolerance)
    np.testing.assert_allclose(mlp_kernel(spec, first, second, kernel=kernel), golden[f"{kernel}_12"], rtol=tolerance)


def test_zero_rows_without_bias_stay_finite():
    kernel = mlp_kernel(MLP(depth=2, sigma_b=0.0), torch.zeros(2, 3, dtype=torch.float64), kernel="ntk")
    assert torch.equal(kernel, torch.zeros(2, 2, dtype=torch.float64))


def test_kernel_of_a_row_with_itself_does_not_depend_on_how_it_is_asked(rng):
    x = torch.tensor(rng.normal(size=(4, 3)))
    torch.testing.assert_close(mlp_kernel(MLP(), x), mlp_kernel(MLP(), x, x.clone()), rtol=1e-12, atol=0)


def test_which_networks_have_an_exact_kernel():
    assert supports(MLP())
    assert not supports(ConvNet())
