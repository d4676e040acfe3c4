"""What held-out rows are scored by: the score is scikit-learn's own, and states go by it."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import f1_score, get_scorer, make_scorer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import LabelEncoder
from sklearn.svm import SVC

from rfad_sklearn import (
    MLP,
    GradientMatchingDistiller,
    HistoryDisplay,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)
from rfad_sklearn._optimization.scoring import scorer_names

SHORT = {"max_iter": 8, "eval_every": 2, "random_state": 0}
SMALL = {**SHORT, "architecture": MLP(width=16)}
MAKERS = {
    "nngp": lambda **changes: RFADDistiller(**{**SMALL, "n_networks": 2, **changes}),
    "any": lambda **changes: RFADDistiller(
        **{**SMALL, "downstream": KNeighborsClassifier(1), "init": "centroids", **changes}
    ),
    "kip": lambda **changes: KIPDistiller(**{**SHORT, **changes}),
    "matching": lambda **changes: GradientMatchingDistiller(
        **{**SMALL, "early_stopping": True, **changes}
    ),
}
SECOND = make_scorer(f1_score, pos_label="no")


@pytest.fixture
def table(rng):
    """Rows of a rare class and a frequent one, to train on and held out."""
    y = np.where(np.arange(300) % 5 == 0, "yes", "no")
    X = rng.normal(size=(300, 3)) + (y == "yes")[:, None]
    return X[:150], y[:150], X[150:], y[150:]


@pytest.fixture
def three_classes(rng):
    y = np.arange(240) % 3
    X = rng.normal(size=(240, 3)) + y[:, None]
    return X[:120], y[:120], X[120:], y[120:]


@pytest.mark.parametrize("weight", [None, {"yes": 3}], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "scoring",
    ["accuracy", "balanced_accuracy", "roc_auc", "neg_log_loss", "f1_macro", SECOND],
    ids=str,
)
def test_kernel_ridge_is_scored_as_its_classifier_is(scoring, weight, table):
    X, y, X_val, y_val = table
    distiller = MAKERS["kip"](scoring=scoring, class_weight=weight, max_iter=0)
    distiller.fit(X, y, X_val, y_val)
    clf = NNGPKernelRidge(kernel="ntk").fit_coreset(distiller.coreset_)
    weights = {} if weight is None else {"sample_weight": np.where(y_val == "yes", 3, 1)}
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    expected = scorer(clf, X_val, y_val, **weights)
    assert distiller.best_validation_score_ == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "neg_log_loss", "top_k_accuracy"])
def test_several_classes_are_scored_as_scikit_learn_does(scoring, three_classes):
    X, y, X_val, y_val = three_classes
    distiller = MAKERS["kip"](scoring=scoring, max_iter=0).fit(X, y, X_val, y_val)
    clf = NNGPKernelRidge(kernel="ntk").fit_coreset(distiller.coreset_)
    expected = get_scorer(scoring)(clf, X_val, y_val)
    assert distiller.best_validation_score_ == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [None, {"yes": 3}], ids=["plain", "weighted"])
@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "f1_macro", SECOND], ids=str)
def test_a_classifier_of_ones_own_is_scored(scoring, weight, table):
    X, y, X_val, y_val = table
    model = KNeighborsClassifier(3)
    distiller = MAKERS["any"](downstream=model, scoring=scoring, class_weight=weight, ipc=4)
    distiller.fit(X, y, X_val, y_val)
    model.fit(distiller.coreset_.X, distiller.coreset_.y)
    weights = {} if weight is None else {"sample_weight": np.where(y_val == "yes", 3, 1)}
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    expected = scorer(model, X_val, y_val, **weights)
    assert distiller.best_validation_score_ == pytest.approx(expected)
    assert distiller.best_validation_score_ == pytest.approx(max(distiller.validation_scores_))


@pytest.mark.slow
def test_the_panel_is_scored_without_those_that_lack_what_it_needs(table):
    X, y, X_val, y_val = table
    settings = {"downstream": "any", "max_iter": 0, "ipc": 4}
    all_of_them = MAKERS["any"](**settings, scoring="roc_auc").fit(X, y, X_val, y_val).plan_
    assert "SVC" in all_of_them.panel
    assert "panel" not in all_of_them.reasons
    losses = MAKERS["any"](**settings, scoring="neg_log_loss").fit(X, y, X_val, y_val).plan_
    assert set(losses.panel) == set(all_of_them.panel) - {"SVC"}
    assert losses.reasons["panel"] == "without SVC: scoring='neg_log_loss' needs predict_proba"
    with pytest.raises(ValueError, match=r"needs predict_proba, which downstream=SVC does not"):
        MAKERS["any"](downstream=SVC(), scoring="neg_log_loss").fit(X, y, X_val, y_val)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_state_that_is_kept_goes_by_it(make, table):
    """By scores that fall it is the first one, by scores that rise the last, of the same run."""
    fitted = []
    for sign in (-1, 1):
        calls = []

        def scorer(estimator, X, y, sign=sign, calls=calls):
            assert X.shape == (150, 3)
            assert set(estimator.predict(X)) <= set(y) == {"no", "yes"}
            calls.append(0)
            return sign * len(calls)

        fitted.append(make(scoring=scorer).fit(*table))
    first, last = fitted
    assert first.validation_scores_ == [-1, -2, -3, -4, -5]
    assert (first.best_validation_score_, last.best_validation_score_) == (-1, 5)
    assert [record["validation_loss"] for record in last.history_] == [-1, -2, -3, -4, -5]
    auto = make().fit(*table)
    assert first.loss_curve_ == last.loss_curve_ == auto.loss_curve_
    start = make(max_iter=0, scoring="accuracy").fit(*table)
    np.testing.assert_array_equal(first.coreset_.X, start.coreset_.X)
    assert not np.array_equal(first.coreset_.X, last.coreset_.X)


def test_a_run_ends_when_the_score_no_longer_improves(table):
    settings = {"max_iter": 40, "eval_every": 2, "n_iter_no_change": 2}
    distiller = MAKERS["kip"](**settings, scoring=lambda estimator, X, y: 0.5).fit(*table)
    assert distiller.stop_reason_ == "no_change"
    assert distiller.n_iter_ < 20
    assert MAKERS["kip"](**settings).fit(*table).n_iter_ > distiller.n_iter_
    # Of equal states the last one: its step size was the smallest.
    start = MAKERS["kip"](max_iter=0).fit(*table)
    assert not np.array_equal(distiller.coreset_.X, start.coreset_.X)


def test_a_score_that_is_no_number_loses(table):
    scores = iter([0.1, 0.7, np.nan, 0.2, np.nan])
    distiller = MAKERS["kip"](scoring=lambda estimator, X, y: next(scores)).fit(*table)
    assert distiller.best_validation_score_ == 0.7


def test_held_out_rows_need_not_be_of_all_classes(three_classes):
    X, y, X_val, y_val = three_classes
    two = y_val < 2
    distiller = MAKERS["kip"](scoring="neg_log_loss", max_iter=0)
    distiller.fit(X, y, X_val[two], y_val[two])
    probabilities = NNGPKernelRidge(kernel="ntk").fit_coreset(distiller.coreset_)
    probabilities = probabilities.predict_proba(X_val[two])
    expected = np.log(probabilities[np.arange(two.sum()), y_val[two]]).mean()
    assert distiller.best_validation_score_ == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r"scoring='roc_auc_ovr' cannot .* every class as X_val"):
        MAKERS["kip"](scoring="roc_auc_ovr").fit(X, y, X_val[two], y_val[two])


def test_names_are_those_of_scores_of_classes():
    names = set(scorer_names())
    assert {"accuracy", "roc_auc", "neg_log_loss", "f1_macro", "top_k_accuracy"} < names
    assert not names & {"r2", "neg_mean_squared_error", "rand_score", "v_measure_score"}
    assert not [name for name in names if name.endswith("_samples")]


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        ("r2", r"scoring='r2' scores no classes; use 'auto', one of 'accuracy', .* or a callable"),
        ("rand_score", "scoring='rand_score' scores no classes; use 'auto', one of"),
        ("f1_samples", "scoring='f1_samples' scores no classes; use 'auto', one of"),
        ("loss", "scoring='loss' is no scorer's name; use 'auto', one of 'accuracy'"),
        (None, "'scoring' parameter of RFADDistiller must be"),
        ("f1", r"scoring='f1' cannot score .* \['no', 'yes'\]: pos_label=1.*make_scorer"),
    ],
)
def test_refused(scoring, message, table):
    distiller = MAKERS["nngp"](scoring=scoring)
    with pytest.raises(ValueError, match=message):
        distiller.fit(*table)
    assert not [name for name in vars(distiller) if name.endswith("_")]


def test_the_binary_auc_is_refused_for_three_classes(three_classes):
    with pytest.raises(ValueError, match=r"scoring='roc_auc' cannot score .*multi_class must be"):
        MAKERS["any"](scoring="roc_auc").fit(*three_classes)


def test_a_scorer_without_weights_is_refused_with_them(table):
    with pytest.raises(ValueError, match=r"with the weights of class_weight, as sample_weight="):
        MAKERS["nngp"](scoring=lambda estimator, X, y: 0, class_weight="balanced").fit(*table)


def test_the_plan_says_it(table):
    X, y, X_val, y_val = table
    auto = MAKERS["nngp"](max_iter=0).fit(X, y, X_val, y_val).plan_
    assert (auto.scoring, auto.reasons["scoring"][:20]) == ("cross entropy", "of the held-out rows")
    panel = MAKERS["any"](max_iter=0).fit(X, y, X_val, y_val).plan_
    assert (panel.scoring, panel.reasons["scoring"]) == ("accuracy", "the mean of the panel")
    given = MAKERS["nngp"](max_iter=0, scoring="roc_auc").fit(X, y, X_val, y_val).plan_
    assert given.scoring == "roc_auc"
    assert "scoring" not in given.reasons
    alone = MAKERS["nngp"](max_iter=0, scoring="roc_auc").fit(X, y)
    assert (alone.plan_.scoring, alone.plan_.reasons["scoring"]) == (None, "no rows are held out")
    assert alone.validation_scores_ is None


def test_lines_provenance_and_pictures_name_it(table, capsys):
    distiller = MAKERS["nngp"](scoring="roc_auc", verbose=1).fit(*table)
    assert "validation roc_auc 0." in capsys.readouterr().out
    assert distiller.coreset_.provenance["settings"]["scoring"] == "roc_auc"
    axes = HistoryDisplay.from_estimator(distiller).axes_
    assert [ax.get_ylabel() for ax in axes] == ["training loss", "roc_auc on held-out rows"]
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), distiller.validation_scores_)
    by_function = MAKERS["nngp"](scoring=SECOND, max_iter=0).fit(*table).coreset_
    assert "pos_label=no" in by_function.provenance["settings"]["scoring"].replace("'", "")


def test_a_run_goes_on_by_the_same_score_only(table, tmp_path):
    path = tmp_path / "run.npz"
    first = MAKERS["kip"](scoring="roc_auc", checkpoint=path, max_iter=4).fit(*table)
    with pytest.raises(ValueError, match="scoring='roc_auc', not 'f1_macro'"):
        MAKERS["kip"](scoring="f1_macro", checkpoint=path).fit(*table)
    longer = MAKERS["kip"](scoring="roc_auc", checkpoint=path).fit(*table)
    assert longer.validation_scores_[:3] == first.validation_scores_
    assert longer.best_validation_score_ == pytest.approx(max(longer.validation_scores_))


def test_warnings_of_scores_stay_inside(table):
    """Of a class that is never predicted, for example; probabilities of text labels too."""
    X, y, X_val, y_val = table
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MAKERS["any"](scoring="precision_macro", max_iter=0).fit(np.ones_like(X), y, X_val, y_val)
        codes = LabelEncoder().fit(y)
        MAKERS["any"](scoring="precision", max_iter=0).fit(
            X, codes.transform(y), X_val, codes.transform(y_val)
        )
