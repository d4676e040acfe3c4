"""The loss without the bias of random networks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rfad_sklearn import RFADDistiller
from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._networks.random_features import cached_features, kernel_product, network_features
from rfad_sklearn._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from rfad_sklearn._optimization.ridge_objective import TrainingData, centred_one_hot
from rfad_sklearn._ridge.linalg import solve_targets
from rfad_sklearn.architectures import MLP, ConvNet


def objective_and_variables(spec, shape, *, loss="cross_entropy", dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((40, *shape), generator=generator, dtype=torch.float64)
    labels = torch.arange(40) % 3
    data = TrainingData(
        read=lambda indices: rows[indices],
        labels=labels,
        n_classes=3,
        train=torch.arange(40),
        validation=torch.empty(0, dtype=torch.long),
        shape=shape,
    )
    config = PoolConfig(
        batch_size=40,
        reg=5e-3,
        loss=loss,
        n_networks=4,
        pool_size=1,
        refresh_interval=1,
        n_eval_networks=1,
        debias=True,
    )
    objective = RandomFeatureObjective(
        spec, data, config, generator=generator, device=torch.device("cpu"), dtype=dtype
    )
    variables = {
        "X": torch.randn((6, *shape), generator=generator, dtype=torch.float64).requires_grad_(),
        "targets": centred_one_hot(torch.arange(6) % 3, 3).double().requires_grad_(),
        "log_scale": torch.tensor(0.7, dtype=torch.float64, requires_grad=True),
    }
    return objective, variables


def plain_loss(objective, variables, networks):
    """The loss with the kernel of some of the networks, written as a beginner would."""
    items = network_features(objective.spec, networks, variables["X"])
    rows = cached_features(objective.spec, networks, objective.data.read(objective.group.rows))
    dual = solve_targets(kernel_product(objective.spec, items, items), variables["targets"], 5e-3)
    scores = kernel_product(objective.spec, rows, items) @ dual
    if objective.config.loss == "mse":
        return 0.5 * (scores - objective.targets).square().sum(1).mean()
    return F.cross_entropy(variables["log_scale"].exp() * scores, objective.labels)


@pytest.mark.parametrize(
    ("spec", "shape"), [(ConvNet(depth=2, width=8), (8, 8, 1)), (MLP(depth=2, width=16), (5,))]
)
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_loss_and_gradient_are_the_jackknifes(spec, shape, loss):
    objective, variables = objective_and_variables(spec, shape, loss=loss)
    networks = objective.group.networks
    others = [plain_loss(objective, variables, networks[:k] + networks[k + 1 :]) for k in range(4)]
    expected = 4 * plain_loss(objective, variables, networks) - 3 * torch.stack(others).mean()
    found = objective.loss(variables)
    torch.testing.assert_close(found, expected)
    leaves = [
        leaf for name, leaf in variables.items() if loss == "cross_entropy" or name != "log_scale"
    ]
    for mine, theirs in zip(
        torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_bfloat16_networks_give_nearly_the_same():
    spec, shape = ConvNet(depth=2, width=16), (8, 8, 1)
    losses, gradients = [], []
    for dtype in (torch.float32, torch.bfloat16):
        objective, variables = objective_and_variables(spec, shape, dtype=dtype)
        losses.append(objective.loss(variables))
        gradients.append(torch.autograd.grad(losses[-1], variables["X"])[0].flatten())
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.05)
    assert F.cosine_similarity(*gradients, dim=0) > 0.98


def test_it_is_nearer_to_the_loss_with_the_exact_kernel():
    """Over many draws: less than a third of the plain loss's distance."""
    spec, shape = MLP(depth=2, width=32), (5,)
    objective, variables = objective_and_variables(spec, shape)
    plain, debiased = [], []
    with torch.no_grad():
        for _ in range(800):
            objective.after_step(variables)
            debiased.append(objective.loss(variables))
            objective.config = PoolConfig(**{**vars(objective.config), "debias": False})
            plain.append(objective.loss(variables))
            objective.config = PoolConfig(**{**vars(objective.config), "debias": True})
        items, rows = variables["X"], objective.data.read(objective.data.train)
        dual = solve_targets(exact_kernel(spec, items), variables["targets"], 5e-3)
        scores = exact_kernel(spec, rows, items) @ dual
        exact = F.cross_entropy(variables["log_scale"].exp() * scores, objective.data.labels)
    bias, remaining = (torch.stack(losses).mean() - exact for losses in (plain, debiased))
    noise = torch.stack(debiased).std() / 800**0.5
    assert bias > 8 * noise
    assert abs(remaining) < bias / 3


def test_at_most_half_of_a_loss_is_taken_for_bias():
    """A large scale makes much of what the networks disagree about: without a bound items would be moved to make more of it."""
    objective, variables = objective_and_variables(ConvNet(depth=2, width=2), (8, 8, 1))
    networks = objective.group.networks
    with torch.no_grad():
        variables["log_scale"].fill_(4)
    plain = plain_loss(objective, variables, networks)
    others = [plain_loss(objective, variables, networks[:k] + networks[k + 1 :]) for k in range(4)]
    assert 4 * plain - 3 * torch.stack(others).mean() < 0.45 * plain
    torch.testing.assert_close(objective.loss(variables), 0.5 * plain)


def test_one_network_has_nothing_to_compare_with():
    from rfad_sklearn.datasets import load_digits_images

    X, y = load_digits_images()
    with pytest.raises(
        ValueError,
        match="debias=True compares networks, but n_networks=1; use n_networks of at least 2, or debias=False",
    ):
        RFADDistiller(debias=True, n_networks=1, max_iter=1).fit(X, y)


def test_a_fit_with_it():
    from rfad_sklearn.datasets import load_digits_images

    X, y = load_digits_images()
    settings = {
        "ipc": 1,
        "max_iter": 30,
        "pool_size": 1,
        "refresh_every": 1,
        "width": 16,
        "n_networks": 4,
        "random_state": 0,
    }
    first, again = (RFADDistiller(**settings, debias=np.True_).fit(X, y) for _ in range(2))
    assert np.array_equal(first.coreset_.X, again.coreset_.X)
    assert not np.array_equal(first.coreset_.X, RFADDistiller(**settings).fit(X, y).coreset_.X)
    assert first.loss_curve_[-1] < first.loss_curve_[0]
