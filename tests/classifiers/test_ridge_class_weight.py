"""Weights of classes in kernel ridge regression: a row of weight 2 is two equal rows."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from rfad_sklearn import (
    MLP,
    CoresetSelector,
    GradientMatchingDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)
from tests.conftest import FAST_ROWS

# What is fitted on rows must not change with their number.
RAW = {"preprocessing": None, "random_state": 0}
METHODS = {
    "exact": {"kernel_method": "exact"},
    "ntk": {"kernel": "ntk"},
    # 300 rows and 512 features, then 32.
    "dual": {"kernel_method": "random_features", "n_networks": 2},
    "primal": {
        "kernel_method": "random_features",
        "n_networks": 2,
        "architecture": MLP(width=16),
    },
}


@pytest.fixture
def rare(rng):
    """Rows of a class of one in twenty, near to those of the other."""
    y = (np.arange(300) % 20 == 0).astype(int)
    return rng.normal(size=(300, 3)) + 1.2 * y[:, None], y


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_row_of_weight_three_is_three_rows(rare, method):
    X, y = rare
    weighted = NNGPKernelRidge(**RAW, **method, class_weight={1: 3}).fit(X, y)
    times = np.where(y == 1, 3, 1)
    repeated = NNGPKernelRidge(**RAW, **method).fit(np.repeat(X, times, 0), np.repeat(y, times))
    scores, expected = weighted.decision_function(X), repeated.decision_function(X)
    # Features of a network are of single precision.
    tight = 1e-9 if "kernel_method" not in method or method["kernel_method"] == "exact" else 1e-4
    np.testing.assert_allclose(scores, expected, atol=tight)
    plain = NNGPKernelRidge(**RAW, **method).fit(X, y).decision_function(X)
    assert np.abs(plain - expected).max() > 0.05


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_scale_is_fitted_on_weighted_scores_of_rows_left_out(rare, method):
    X, y = rare
    X, y = X[:60], y[:60]
    settings = {**RAW, **method, "class_weight": {1: 5}}
    clf = NNGPKernelRidge(**settings).fit(X, y)
    left_out = np.empty(60)
    for k in range(60):
        rest = np.delete(np.arange(60), k)
        left_out[k] = NNGPKernelRidge(**settings).fit(X[rest], y[rest]).decision_function(X[[k]])[0]
    weight = np.where(y == 1, 5.0, 1.0)

    def loss(scale):
        # Labels are smoothed by 1 / (n + 2), half of which the other class gets.
        right = np.where(y == 1, 1.0, -1.0) * scale * left_out
        losses = np.logaddexp(0, -right) + right / 62 / 2
        return (weight * losses).sum() / weight.sum()

    scale = clf.logit_scale_
    assert loss(scale) < min(loss(0.8 * scale), loss(1.25 * scale))
    unweighted = NNGPKernelRidge(**{**settings, "class_weight": None}).fit(X, y)
    assert unweighted.logit_scale_ != pytest.approx(scale, rel=0.01)


def test_balanced_finds_the_rare_class(rare, rng):
    X, y = rare
    plain, balanced = (
        NNGPKernelRidge(class_weight=weight).fit(X, y) for weight in (None, "balanced")
    )
    given = NNGPKernelRidge(class_weight={0: 300 / (2 * 285), 1: 300 / (2 * 15)}).fit(X, y)
    np.testing.assert_array_equal(balanced.predict_proba(X), given.predict_proba(X))
    y_new = np.arange(1000) % 2
    X_new = rng.normal(size=(1000, 3)) + 1.2 * y_new[:, None]
    assert balanced.score(X_new, y_new) > plain.score(X_new, y_new) + 0.03


def test_weights_of_one_change_no_bit(rare):
    X, y = rare
    half = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[: (y == 1).sum()]]
    plain = NNGPKernelRidge().fit(X[half], y[half])
    for weight in ("balanced", {0: 1, 1: 1.0}, {}):
        clf = NNGPKernelRidge(class_weight=weight).fit(X[half], y[half])
        np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))


@pytest.fixture
def uneven(rare):
    """A coreset with more items of one class than of the other."""
    return RFADDistiller(**{**FAST_ROWS, "ipc": {0: 6, 1: 2}}).fit(*rare).coreset_


def test_on_a_coreset_it_is_the_items_that_are_weighted(rare, uneven):
    X, _ = rare
    times = np.where(uneven.y == 1, 3, 1)
    repeated = replace(
        uneven,
        X=np.repeat(uneven.X, times, 0),
        targets=np.repeat(uneven.targets, times, 0),
        y=np.repeat(uneven.y, times),
        sample_weight=None,
    )
    with pytest.warns(UserWarning, match=r"and class_weight=\{1: 3\}: predict_proba is not cali"):
        weighted = NNGPKernelRidge(class_weight={1: 3}).fit_coreset(uneven)
    scores = weighted.decision_function(X)
    expected = NNGPKernelRidge().fit_coreset(repeated).decision_function(X)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    # What explains the scores knows the weights.
    np.testing.assert_allclose(np.diff(weighted.explain(X).sum(1))[:, 0], scores, atol=1e-6)
    with pytest.raises(ValueError, match=r"class_weight names unknown classes \[7\]"):
        NNGPKernelRidge(class_weight={7: 2}).fit_coreset(uneven)


def test_balanced_counts_the_items_of_a_coreset(rare, uneven):
    X, y = rare
    balanced = NNGPKernelRidge(class_weight="balanced").fit_coreset(uneven, X, y)
    given = NNGPKernelRidge(class_weight={0: 8 / 12, 1: 2}).fit_coreset(uneven, X, y)
    np.testing.assert_array_equal(balanced.decision_function(X), given.decision_function(X))


def test_real_rows_are_weighted_where_the_scale_is_refitted(rare, uneven):
    X, y = rare
    scales = [
        NNGPKernelRidge(class_weight=weight, reg=0.1).fit_coreset(uneven, X, y).logit_scale_
        for weight in (None, {0: 2, 1: 2}, "balanced")
    ]
    assert len(set(scales)) == 3
    # Of one class only.
    NNGPKernelRidge(class_weight="balanced").fit_coreset(uneven, X[y == 0], y[y == 0])


def test_a_distiller_gets_it_unless_it_has_its_own(rare):
    X, y = rare
    clf = NNGPKernelRidge(
        distiller=RFADDistiller(**{**FAST_ROWS, "ipc": {0: 6, 1: 2}}), class_weight="balanced"
    ).fit(X, y)
    assert clf.distiller_.class_weight == "balanced"
    # Its items were made for a ridge in which all count the same.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = NNGPKernelRidge().fit_coreset(clf.coreset_)
    np.testing.assert_array_equal(clf.predict_proba(X), alone.predict_proba(X))
    own = RFADDistiller(**FAST_ROWS, class_weight={1: 2})
    kept = NNGPKernelRidge(distiller=own, class_weight="balanced").fit(X, y)
    assert kept.distiller_.class_weight == {1: 2}
    plain = NNGPKernelRidge(distiller=own).fit(X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), kept.predict_proba(X))


@pytest.mark.parametrize(
    "distiller",
    [
        CoresetSelector(ipc={0: 6, 1: 2}, strategy="random", random_state=0),
        GradientMatchingDistiller(
            ipc={0: 6, 1: 2}, max_iter=2, architecture=MLP(width=16), random_state=0
        ),
    ],
    ids=["selector", "matching"],
)
def test_items_are_weighted_where_the_distiller_knows_no_weights(rare, distiller):
    X, y = rare
    clf = NNGPKernelRidge(distiller=distiller, class_weight={1: 3}, reg=0.1).fit(X, y)
    alone = NNGPKernelRidge(class_weight={1: 3}, reg=0.1).fit_coreset(clf.coreset_, X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), alone.predict_proba(X))
    plain = NNGPKernelRidge(distiller=distiller, reg=0.1).fit(X, y)
    assert not np.array_equal(clf.decision_function(X), plain.decision_function(X))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("heavy", "'class_weight' parameter of NNGPKernelRidge must be"),
        ({0: 1, 9: 2}, r"class_weight names unknown classes \[9\]; .* \[0, 1\]"),
        ({0: 0}, "class_weight={0: 0} must hold positive, finite numbers; to leave out a class"),
        ({0: np.inf}, "must hold positive, finite numbers"),
    ],
)
def test_refused(weight, message, rare):
    clf = NNGPKernelRidge(class_weight=weight)
    with pytest.raises(ValueError, match=message):
        clf.fit(*rare)
    assert not [name for name in vars(clf) if name.endswith("_")]
