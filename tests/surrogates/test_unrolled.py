"""Unrolled descent against descent on explicit weights, and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from rfad_sklearn._surrogates.unrolled import logistic_scores, network_scores


@pytest.fixture
def data(rng):
    items, rows = (torch.tensor(rng.normal(size=(n, 5))) for n in (9, 20))
    return items, F.one_hot(torch.arange(9) % 3, 3).double(), rows


def descend(items, one_hot, rows, *, n_hidden, n_steps, rate, generator):
    """The same descent with all weights written out, by automatic differentiation."""
    d, n_classes = items.shape[1], one_hot.shape[1]

    def uniform(*shape, fans):
        bound = math.sqrt(6 / sum(fans))
        return (2 * torch.rand(shape, generator=generator).double() - 1) * bound

    weights = [
        uniform(d, n_hidden, fans=(d, n_hidden)),
        uniform(n_hidden, fans=(d, n_hidden)),
        uniform(n_hidden, n_classes, fans=(n_hidden, n_classes)),
        uniform(n_classes, fans=(n_hidden, n_classes)),
    ]
    weights = [weight.requires_grad_(True) for weight in weights]

    def outputs(weights, x):
        return F.relu(x @ weights[0] + weights[1]) @ weights[2] + weights[3]

    velocities = [torch.zeros_like(weight) for weight in weights]
    for _ in range(n_steps):
        loss = F.cross_entropy(outputs(weights, items), one_hot)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        velocities = [0.8 * v + g for v, g in zip(velocities, gradients, strict=True)]
        weights = [w - rate * v for w, v in zip(weights, velocities, strict=True)]
    return outputs(weights, rows)


def test_network_is_that_of_explicit_descent(data):
    items, one_hot, rows = data
    results = []
    for function in (network_scores, descend):
        own = items.clone().requires_grad_(True)
        generator = torch.Generator().manual_seed(0)
        scores = function(own, one_hot, rows, n_hidden=7, n_steps=6, rate=0.3, generator=generator)
        scores.square().sum().backward()
        results.append((scores.detach(), own.grad))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("inverse_penalty", [0.5, 10.0])
def test_logistic_regression_is_that_of_scikit_learn(data, inverse_penalty):
    """Whose penalty leaves the intercept out: here it is one more column."""
    items, one_hot, rows = data
    scores = logistic_scores(
        items @ items.T, rows @ items.T, one_hot, inverse_penalty=inverse_penalty, n_steps=2000
    )

    def widened(x):
        return np.column_stack([x, np.ones(len(x))])

    model = LogisticRegression(C=inverse_penalty, fit_intercept=False, tol=1e-10, max_iter=10000)
    model.fit(widened(items), one_hot.argmax(1))
    expected = model.predict_log_proba(widened(rows))
    np.testing.assert_allclose(scores.log_softmax(1), expected, atol=1e-4)
