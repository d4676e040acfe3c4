"""Classes of very different size: how much their rows count."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV

from rfad_sklearn import MLP, KIPDistiller, NNGPKernelRidge, RFADDistiller

SHORT = {"max_iter": 6, "eval_every": 3, "random_state": 0, "architecture": MLP(width=16)}


@pytest.fixture
def lopsided(rng):
    """Two classes that overlap, one of them with thirty rows in six hundred."""
    y = np.repeat(["common", "rare"], [570, 30])
    X = rng.normal(size=(600, 3)) + 1.5 * (y == "rare")[:, None]
    return X, y


@pytest.mark.parametrize(
    "distiller",
    [
        RFADDistiller(downstream="nngp", max_iter=100, architecture=MLP(width=64)),
        pytest.param(RFADDistiller(downstream="any", max_iter=60), marks=pytest.mark.slow),
        pytest.param(KIPDistiller(kernel="nngp", max_iter=100), marks=pytest.mark.slow),
    ],
    ids=["nngp", "any", "kip"],
)
def test_a_rare_class_is_recognised_where_it_counts_as_much(distiller, lopsided):
    X, y = lopsided
    recognised = []
    for class_weight in (None, "balanced"):
        distiller.set_params(class_weight=class_weight, early_stopping=False, random_state=0)
        model = NNGPKernelRidge(random_state=0).fit_coreset(distiller.fit(X, y).coreset_)
        predicted = model.predict(X)
        recognised.append((predicted[y == "rare"] == "rare").mean())
    assert balanced_accuracy_score(y, predicted) > 0.75, recognised
    assert recognised[1] > recognised[0] + 0.1


def test_balanced_is_a_dict_of_weights(lopsided):
    X, y = lopsided
    weights = {"rare": 600 / (2 * 30), "common": 600 / (2 * 570)}
    balanced, given, none = (
        RFADDistiller(class_weight=value, **SHORT).fit(X, y).coreset_.X.tolist()
        for value in ("balanced", weights, None)
    )
    assert balanced == given != none


def test_held_out_rows_count_by_their_class(lopsided):
    X, y = lopsided

    def score(**changes):
        settings = {**SHORT, "max_iter": 0, "early_stopping": True, **changes}
        return RFADDistiller(**settings).fit(X, y).best_validation_score_

    always_common = DummyClassifier(strategy="constant", constant=0)
    assert score(downstream=always_common) == pytest.approx(0.95, abs=0.01)
    assert score(downstream=always_common, class_weight="balanced") == pytest.approx(0.5)
    # 57 held-out rows of the common class, 3 of the other.
    some = {"common": 1.0, "rare": 57 / 9}
    assert score(downstream=always_common, class_weight=some) == pytest.approx(0.75)


def test_a_classifier_whose_score_is_no_accuracy_evaluates(lopsided):
    X, y = lopsided
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2, scoring="neg_log_loss")
    for class_weight in (None, "balanced"):
        settings = {**SHORT, "early_stopping": True, "class_weight": class_weight}
        distiller = RFADDistiller(ipc=3, downstream=search, **settings).fit(X, y)
        assert 0.5 < distiller.best_validation_score_ <= 1


@pytest.mark.parametrize("downstream", ["nngp", "any"])
def test_a_run_that_goes_on_has_the_same_bits(lopsided, tmp_path, downstream):
    X, y = lopsided
    path = tmp_path / "run.npz"

    def make(class_weight, **changes):
        settings = {**SHORT, "downstream": downstream, "class_weight": class_weight, **changes}
        return RFADDistiller(**settings)

    def cut_off(state):
        if state.step == 3:
            raise RuntimeError("cut off")

    weights = {"rare": 9, "common": 1}
    with pytest.raises(RuntimeError, match="cut off"):
        make(weights, checkpoint=path, callback=cut_off).fit(X, y)
    with pytest.raises(ValueError, match=r"class_weight.*another path"):
        make({"rare": 8}, checkpoint=path).fit(X, y)
    # The same weights in other words.
    resumed = make({"rare": 9.0}, checkpoint=path).fit(X, y)
    whole = make(weights).fit(X, y)
    np.testing.assert_array_equal(whole.coreset_.X, resumed.coreset_.X)
    assert whole.loss_curve_ == resumed.loss_curve_


def test_the_coreset_says_what_counted(lopsided):
    X, y = lopsided
    coreset = RFADDistiller(class_weight={"rare": 2.5}, **SHORT).fit(X, y).coreset_
    assert coreset.provenance["settings"]["class_weight"] == [["rare", 2.5]]
