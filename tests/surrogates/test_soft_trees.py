"""Soft trees against the trees of scikit-learn that they stand for."""

import numpy as np
import pytest
import torch

from rfad_sklearn._surrogates import soft_trees
from rfad_sklearn._surrogates.soft_trees import SoftForest

KINDS = ("random_forest", "extra_trees")


@pytest.fixture
def items(rng):
    return rng.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3


def forest_of(kind, items, n_trees=3):
    return SoftForest(kind, *items, 3, n_trees, np.random.default_rng(0), torch.device("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_narrow_splits_give_the_probabilities_of_the_forest(kind, items, rng):
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    trees_rng = np.random.default_rng(0)
    trees = [soft_trees._fitted_tree(kind, *items, trees_rng)[0] for _ in range(3)]
    expected = np.mean([tree.predict_proba(rows) for tree in trees], axis=0)
    given = forest_of(kind, items).log_probabilities(
        torch.from_numpy(items[0]), torch.from_numpy(rows.T.copy()), 1e-6
    )
    np.testing.assert_allclose(given.exp(), expected, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_items(kind, items, rng):
    forest = forest_of(kind, items)
    rows = torch.tensor(rng.normal(size=(50, 4)).T.copy())
    X = torch.tensor(items[0], dtype=torch.float64, requires_grad=True)

    def probability_of_the_first_class(X):
        return forest.log_probabilities(X, rows, 0.3)[:, 0].sum()

    assert torch.autograd.gradcheck(probability_of_the_first_class, X, atol=1e-5)
    probability_of_the_first_class(X).backward()
    # Those next to a threshold, and in its column only.
    assert 0 < int((X.grad != 0).sum()) <= 2 * len(forest.feature)


def test_equal_items_make_a_forest_without_splits():
    forest = forest_of("random_forest", (np.zeros((6, 2), dtype=np.float32), np.arange(6) % 3))
    given = forest.log_probabilities(torch.zeros(6, 2), torch.zeros(2, 5), 1.0)
    torch.testing.assert_close(given.exp().sum(1), torch.ones(5))
