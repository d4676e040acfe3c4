import matplotlib
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from rfad_sklearn import MLP, ConvNet, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def _close_figures():
    """matplotlib warns of many open figures, whoever opened them."""
    yield
    from matplotlib import pyplot

    pyplot.close("all")


# Small networks: every test that fits images shares these.
FAST = {
    "architecture": ConvNet(width=16),
    "n_networks": 2,
    "max_iter": 6,
    "eval_every": 3,
    "batch_size": 128,
    "random_state": 0,
}
# The same for flat rows.
FAST_ROWS = {**FAST, "architecture": MLP(width=16)}


@pytest.fixture(scope="session")
def digits():
    """Train and test images of three kinds of digits, as ``(n, 8, 8)``."""
    X, y = load_digits_images()
    keep = y < 3
    return train_test_split(X[keep], y[keep], stratify=y[keep], random_state=0)


@pytest.fixture(scope="session")
def all_digits():
    X, y = load_digits_images()
    return train_test_split(X, y, stratify=y, random_state=0)


@pytest.fixture(scope="session")
def fitted(digits):
    X, _, y, _ = digits
    return RFADDistiller(ipc=2, early_stopping=True, **FAST).fit(X, y)


@pytest.fixture(scope="session")
def coreset(fitted):
    return fitted.coreset_


@pytest.fixture
def rng():
    return np.random.default_rng(0)
