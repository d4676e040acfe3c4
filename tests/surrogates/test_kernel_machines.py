"""Kernel machines and nearest neighbours against scikit-learn's, and their gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier

from rfad_sklearn._surrogates import kernel_machines


@pytest.fixture
def data(rng):
    """Rows, items, and the class numbers of the items, of three classes."""
    rows, items = (torch.tensor(rng.normal(size=(n, 5))) for n in (40, 12))
    return rows, items, torch.arange(12) % 3


def test_squared_distances(data):
    rows, items, _ = data
    expected = torch.cdist(rows, items).square()
    torch.testing.assert_close(kernel_machines.squared_distances(rows, items), expected)


def test_rbf_kernels_are_those_of_svc(data):
    rows, items, _ = data
    distances = kernel_machines.squared_distances(rows, items)
    gamma = 1 / (5 * items.numpy().var())
    for given, left in zip(
        kernel_machines.rbf_kernels(items, distances), (items, rows), strict=True
    ):
        np.testing.assert_allclose(given, rbf_kernel(left.numpy(), items.numpy(), gamma))


def test_ridge_is_that_of_scikit_learn(data):
    rows, items, y = data
    targets = F.one_hot(y, 3).double() - 1 / 3
    kernels = [torch.exp(-kernel_machines.manhattan(left, items)) for left in (items, rows)]
    scores = kernel_machines.ridge_scores(*kernels, targets)
    expected = KernelRidge(alpha=1e-2, kernel="precomputed").fit(kernels[0], targets)
    np.testing.assert_allclose(scores, expected.predict(kernels[1]), atol=1e-6)


def test_soft_neighbours_become_the_nearest_one(data):
    rows, items, y = data
    distances = 1e4 * kernel_machines.squared_distances(rows, items)
    predicted = kernel_machines.neighbour_scores(distances, F.one_hot(y, 3)).argmax(1)
    nearest = KNeighborsClassifier(1).fit(items.numpy(), y.numpy())
    assert predicted.tolist() == nearest.predict(rows.numpy()).tolist()


def test_manhattan_distances_and_their_gradients(data):
    rows, items, _ = data
    weights = torch.arange(40 * 12, dtype=torch.float64).reshape(40, 12).sin()
    gradients = []
    for function in (
        kernel_machines.manhattan,
        lambda a, b: (a[:, None] - b[None]).abs().mean(2),
    ):
        own = items.clone().requires_grad_(True)
        value = function(rows, own)
        (value * weights).sum().backward()
        gradients.append((value.detach(), own.grad))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1])


def test_columns_by_themselves(data):
    """Each is the kernel average of its own column."""
    rows, items, y = data
    one_hot = F.one_hot(y, 3).double()
    given = kernel_machines.column_log_probabilities(rows, items, one_hot, 0.3)
    assert given.shape == (40, 3, 5)
    for k in range(5):
        weights = torch.exp(-(rows[:, k, None] - items[None, :, k]).abs() / 0.3)
        expected = (weights @ one_hot) / weights.sum(1, keepdim=True)
        torch.testing.assert_close(given[:, :, k], expected.clamp_min(1e-4).log())
