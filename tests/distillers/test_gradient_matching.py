import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris

from rfad_sklearn import (
    MLP,
    ConvNet,
    Coreset,
    CoresetSelector,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    NNGPKernelRidge,
    RegularizedZCA,
)
from rfad_sklearn._optimization.gradient_matching_objective import gradient_distance
from rfad_sklearn._planning.resolution import paper_loops
from rfad_sklearn.datasets import load_digits_images

SMALL = {
    "architecture": ConvNet(width=32),
    "max_iter": 100,
    "batch_size": 32,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits_images()
    return X[:1200], y[:1200], X[1200:], y[1200:]


def test_distance_is_one_minus_the_cosine_of_each_output_unit():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 3, 4, 3, 3))
    bias = rng.normal(size=(2, 3))
    cosines = [
        (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(first, second, strict=True)
    ]

    def tensors(*arrays):
        return [torch.from_numpy(array) for array in arrays]

    distance = gradient_distance(tensors(first, bias[0]), tensors(second, bias[1]))
    assert distance.item() == pytest.approx(3 - sum(cosines), abs=1e-12)
    assert gradient_distance(tensors(first), tensors(7 * first)).item() == pytest.approx(
        0, abs=1e-12
    )
    second[1] = 0
    distance = gradient_distance(tensors(first), tensors(second))
    assert distance.item() == pytest.approx(2 - cosines[0] - cosines[2], abs=1e-12)


def test_items_that_are_the_rows_are_at_distance_zero():
    """With all rows of a class as items and as batch the gradients are equal, in any network."""
    X, y = load_iris(return_X_y=True)
    X, y = X[::5], y[::5]
    distiller = GradientMatchingDistiller(ipc=10, init=X, max_iter=0, random_state=0).fit(X, y)
    assert abs(distiller.loss_curve_[0]) < 0.1
    other = GradientMatchingDistiller(ipc=10, init=X[::-1].copy(), max_iter=0, random_state=0).fit(
        X, y
    )
    assert other.loss_curve_[0] > 50


@pytest.mark.parametrize("augment", [False, ("crop", "scale", "rotate")])
@pytest.mark.slow
def test_better_than_the_rows_it_started_from(digits, augment):
    X, y, X_test, y_test = digits
    small = {
        "architecture": ConvNet(depth=2, width=16),
        "max_iter": 60,
        "batch_size": 16,
        "random_state": 0,
    }
    distiller = GradientMatchingDistiller(augment=augment, **small)
    start = clone(distiller).set_params(max_iter=0).fit(X, y).coreset_
    coreset = distiller.fit(X, y).coreset_
    assert distiller.loss_curve_[-1] < distiller.loss_curve_[0]
    for clf in (
        NNGPKernelRidge(random_state=0),
        FiniteNetworkClassifier(architecture=ConvNet(width=16), max_iter=100, random_state=0),
    ):
        assert (
            clf.fit_coreset(coreset).score(X_test, y_test)
            > clf.fit_coreset(start).score(X_test, y_test) + 0.05
        )


def test_networks_are_trained_on_the_items_between_steps():
    X, y = load_breast_cancer(return_X_y=True)
    settings = {
        "architecture": MLP(width=16),
        "max_iter": 6,
        "eval_every": 1,
        "random_state": 0,
    }
    curves = [
        GradientMatchingDistiller(network_life=life, network_steps=steps, **settings)
        .fit(X, y)
        .loss_curve_
        for life, steps in ((1, 1), (6, 0), (6, 20))
    ]
    # Before the first step of the network all are the same.
    assert curves[0][:2] == curves[1][:2] == curves[2][:2]
    assert curves[1][2:] != curves[2][2:]
    assert curves[0][2:] != curves[1][2:]


def test_loops_of_the_paper():
    assert [paper_loops(ipc) for ipc in (1, 5, 10, 50, 200)] == [
        (1, 1),
        (1, 1),
        (10, 50),
        (50, 10),
        (50, 10),
    ]


@pytest.mark.slow
def test_coreset_goes_through_a_file_and_into_every_classifier(digits, tmp_path):
    X, y, X_test, y_test = digits
    coreset = (
        GradientMatchingDistiller(**{**SMALL, "max_iter": 30}, preprocessing=RegularizedZCA())
        .fit(X, y)
        .coreset_
    )
    coreset.save(tmp_path / "c.npz")
    loaded = Coreset.load(tmp_path / "c.npz")
    assert loaded == coreset
    for clf in (
        NNGPKernelRidge(random_state=0),
        FiniteNetworkClassifier(architecture=ConvNet(width=32), max_iter=200, random_state=0),
    ):
        assert clf.fit_coreset(loaded).score(X_test, y_test) > 0.4


def test_kernel_ridge_evaluates_the_items_where_early_stopping_is_set(digits):
    distiller = GradientMatchingDistiller(
        **{**SMALL, "max_iter": 4}, eval_every=2, early_stopping=True
    ).fit(*digits[:2])
    assert len(distiller.validation_scores_) == 3
    assert distiller.best_validation_score_ in distiller.validation_scores_
    assert (
        GradientMatchingDistiller(**{**SMALL, "max_iter": 2}).fit(*digits[:2]).validation_scores_
        is None
    )


@pytest.mark.slow
def test_same_seed_same_bits(digits):
    distiller = GradientMatchingDistiller(**{**SMALL, "max_iter": 5}, augment=True)
    first, second = (clone(distiller).fit(*digits[:2]).coreset_ for _ in range(2))
    np.testing.assert_array_equal(first.X, second.X)


@pytest.mark.parametrize("norm", [None, "instance"])
@pytest.mark.slow
def test_reduced_precision_changes_little(digits, norm):
    """Of the rows' gradients (first loss), and of the network's own steps (second loss).

    The items hardly move.
    """
    settings = {
        **SMALL,
        "architecture": ConvNet(depth=2, width=32),
        "max_iter": 2,
        "eval_every": 1,
        "network_life": 2,
        "network_steps": 20,
        "learning_rate": 1e-9,
        "norm": norm,
    }
    wide, narrow = (
        GradientMatchingDistiller(**settings, network_learning_rate=0.2, dtype=dtype)
        .fit(*digits[:2])
        .loss_curve_
        for dtype in ("float64", "bfloat16")
    )
    assert wide[2] != pytest.approx(wide[1], rel=0.3)
    np.testing.assert_allclose(narrow[:2], wide[:2], rtol=0.02)
    assert narrow[2] == pytest.approx(wide[2], rel=0.1)
    assert narrow != wide


def test_bad_parameters():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="flat rows"):
        GradientMatchingDistiller(augment=True).fit(X, y)
    with pytest.raises(ValueError, match="more than one pixel"):
        GradientMatchingDistiller(norm="instance").fit(X, y)


def test_selector_and_distillers_share_their_uses(digits):
    X, y, X_test, _ = digits
    for estimator in (
        GradientMatchingDistiller(**{**SMALL, "max_iter": 1}),
        CoresetSelector(architecture=ConvNet(width=32), random_state=0),
    ):
        items, labels = estimator.fit_resample(X, y)
        assert items.shape == (10, 8, 8)
        assert labels.tolist() == list(range(10))
        assert estimator.transform(X_test).shape == (len(X_test), 10)
        clf = NNGPKernelRidge(distiller=estimator, random_state=0).fit(X, y)
        assert clf.coreset_.n_items == 10


@pytest.mark.slow
def test_automatic_augmentation_flips_only_classes_that_keep_their_label(all_digits):
    X, _, y, _ = all_digits
    settings = {"architecture": ConvNet(width=4), "batch_size": 8, "random_state": 0}
    plans, items = [], []
    for augment in ("auto", False, ["flip"]):
        distiller = GradientMatchingDistiller(**settings, augment=augment, max_iter=3)
        plans.append(distiller.fit(X, y).plan_)
        items.append(distiller.coreset_.X)
    assert [plan.augmentations for plan in plans] == [("flip",), (), ("flip",)]
    # Zeros and eights keep their label, nines nearly; ones, fours and sevens do not.
    assert {0, 8} <= set(plans[0].flipped_classes)
    assert not {1, 2, 3, 4, 5, 6, 7} & set(plans[0].flipped_classes)
    assert plans[0].reasons["augmentations"]
    assert not np.array_equal(items[0], items[1])
    assert not np.array_equal(items[0], items[2])
