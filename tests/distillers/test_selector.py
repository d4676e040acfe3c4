import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import Normalizer

from rfad_sklearn import MLP, ConvNet, Coreset, CoresetSelector, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._utils.row_selection import STRATEGIES
from rfad_sklearn.kernels import nngp_kernel


@pytest.mark.parametrize("space", ["input", "features"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_coreset_holds_rows_as_they_are(strategy, space):
    X, y = load_wine(return_X_y=True)
    selector = CoresetSelector(
        ipc=3,
        strategy=strategy,
        space=space,
        architecture=MLP(width=16),
        n_networks=2,
        random_state=0,
    ).fit(X, y)
    assert len(set(selector.sample_indices_)) == 9
    np.testing.assert_array_equal(selector.coreset_.X, X[selector.sample_indices_])
    np.testing.assert_array_equal(selector.coreset_.y, y[selector.sample_indices_])
    assert selector.transform(X).shape == (len(X), 9)


def test_a_number_of_items_in_place_of_those_per_class(rng):
    y = np.repeat(["few", "many", "most"], [3, 40, 60])
    X = rng.normal(size=(103, 4))
    coreset = CoresetSelector(n_items=20, random_state=0).fit(X, y).coreset_
    assert coreset.y.tolist() == ["few"] * 3 + ["many"] * 8 + ["most"] * 9
    np.testing.assert_array_equal(np.unique(coreset.X[:3], axis=0), np.unique(X[:3], axis=0))


def test_weights_of_the_items_give_back_the_shares_of_the_classes(rng, tmp_path):
    y = np.repeat([0, 1], [900, 100])
    X = rng.normal(size=(1000, 2)) + y[:, None]
    path = CoresetSelector(ipc=30, random_state=0).fit(X, y).coreset_.save(tmp_path / "c.npz")
    coreset = Coreset.load(path)
    np.testing.assert_allclose(coreset.sample_weight, np.repeat([1.8, 0.2], 30))

    def loss(**fit_parameters):
        model = LogisticRegression().fit(coreset.X, coreset.y, **fit_parameters)
        return log_loss(y, model.predict_proba(X))

    assert loss(sample_weight=coreset.sample_weight) < 0.6 * loss()


def test_the_space_matters():
    X, y = load_digits(return_X_y=True)
    chosen = [
        CoresetSelector(
            ipc=3,
            strategy="kcenter",
            space=space,
            architecture=ConvNet(width=32),
            image_shape=(8, 8),
            random_state=0,
        ).fit(X, y)
        for space in ("input", "features")
    ]
    assert set(chosen[0].sample_indices_) != set(chosen[1].sample_indices_)


@pytest.mark.slow
def test_features_are_compared_by_the_kernel():
    """The row nearest to the mean in feature space has the largest 2 <k(x, .)> - k(x, x)."""
    X, y = (part[:180] for part in load_digits(n_class=3, return_X_y=True))
    selector = CoresetSelector(
        strategy="kcenter",
        space="features",
        architecture=ConvNet(width=64),
        image_shape=(8, 8),
        n_networks=32,
        random_state=0,
    ).fit(X, y)
    coreset = selector.coreset_
    for item, label in zip(selector.sample_indices_, coreset.y, strict=True):
        members = np.flatnonzero(y == label)
        inputs = coreset.preprocessing.apply(X[members]).reshape(-1, 8, 8, 1)
        kernel = nngp_kernel(inputs, architecture=coreset.architecture)
        nearness = 2 * kernel.mean(1) - np.diag(kernel)
        assert nearness[members == item] >= np.quantile(nearness, 0.97)


@pytest.mark.slow
def test_scale_is_fitted_on_the_other_rows():
    X, y = (part[:300] for part in load_digits(return_X_y=True))
    coreset = CoresetSelector(ipc=5, image_shape=(8, 8), random_state=0).fit(X, y).coreset_
    clf = NNGPKernelRidge(random_state=0).fit_coreset(coreset)
    p = clf.predict_proba(X)
    own = -np.log(p[np.arange(len(y)), y]).mean()
    refitted = NNGPKernelRidge(random_state=0).fit_coreset(coreset, X, y).predict_proba(X)
    assert own < 1.02 * -np.log(refitted[np.arange(len(y)), y]).mean()


def test_a_transformer_needs_no_inverse():
    X, y = load_iris(return_X_y=True)
    selector = CoresetSelector(ipc=3, preprocessing=Normalizer(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(selector.coreset_.X, X[selector.sample_indices_])
    assert NNGPKernelRidge().fit_coreset(selector.coreset_).score(X, y) > 0.8


def test_all_rows_may_be_chosen():
    X, y = load_iris(return_X_y=True)
    selector = CoresetSelector(ipc=50, random_state=0).fit(X, y)
    assert sorted(selector.sample_indices_) == list(range(150))
    assert NNGPKernelRidge().fit_coreset(selector.coreset_).score(X, y) > 0.95


def test_same_seed_same_rows():
    X, y = load_digits(return_X_y=True)
    selector = CoresetSelector(ipc=4, strategy="kmeans", random_state=3)
    np.testing.assert_array_equal(
        selector.fit(X, y).sample_indices_, clone(selector).fit(X, y).sample_indices_
    )


@pytest.mark.parametrize("strategy", ["kmeans", "herding", "kcenter"])
def test_distillers_start_from_the_same_rows(strategy):
    X, y = load_iris(return_X_y=True)
    start = (
        RFADDistiller(ipc=2, init=strategy, max_iter=0, early_stopping=False, random_state=0)
        .fit(X, y)
        .coreset_
    )
    chosen = CoresetSelector(ipc=2, strategy=strategy, random_state=0).fit(X, y).coreset_
    np.testing.assert_allclose(start.X, chosen.X, rtol=1e-6)
