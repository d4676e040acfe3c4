"""The main job on real data, through the tools that scikit-learn users have."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from rfad_sklearn import MLP, Coreset, NNGPKernelRidge, RFADDistiller

TABLE = {"max_iter": 100, "architecture": MLP(width=128), "random_state": 0}


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=0)


@pytest.fixture(scope="module")
def wine_distiller(wine):
    return RFADDistiller(ipc=2, **TABLE).fit(wine[0], wine[2])


def test_pipeline_with_the_distiller_as_feature_map(wine):
    X, X_test, y, y_test = wine
    pipeline = make_pipeline(
        StandardScaler(), RFADDistiller(ipc=5, **TABLE), LogisticRegression()
    ).fit(X, y)
    assert pipeline.score(X_test, y_test) > 0.9
    assert pipeline[:-1].get_feature_names_out().tolist() == [
        f"rfaddistiller{k}" for k in range(15)
    ]


@pytest.mark.slow
def test_grid_search_over_the_distiller_in_two_processes(wine):
    X, X_test, y, y_test = wine
    grid = {"distiller__ipc": [1, 2], "reg": [1e-4, 5e-3]}
    distiller = RFADDistiller(max_iter=100, architecture=MLP(width=64), random_state=0)
    classifier = NNGPKernelRidge(distiller=distiller)
    search = GridSearchCV(classifier, grid, cv=2, n_jobs=2).fit(X, y)
    assert set(search.best_params_) == set(grid)
    assert search.score(X_test, y_test) > 0.8


@pytest.mark.slow
def test_cross_validation(wine):
    X, _, y, _ = wine
    scores = cross_val_score(NNGPKernelRidge(distiller=RFADDistiller(ipc=1, **TABLE)), X, y, cv=3)
    assert scores.mean() > 0.9


@pytest.mark.slow
def test_imbalanced_learn_pipeline(wine):
    imblearn = pytest.importorskip("imblearn.pipeline")
    X, X_test, y, y_test = wine
    forest = RandomForestClassifier(50, random_state=0)
    pipeline = imblearn.make_pipeline(RFADDistiller(ipc=10, **TABLE).as_sampler(), forest).fit(X, y)
    assert pipeline[-1].estimators_[0].tree_.n_node_samples[0] <= 30
    assert pipeline.score(X_test, y_test) > 0.8
    pipeline.set_params(coresetsampler__distiller__ipc=3).fit(X, y)
    assert pipeline[0].distiller_.coreset_.n_items == 9


def test_clone_keeps_parameters_and_forgets_the_fit(wine_distiller):
    copy = clone(wine_distiller)
    assert copy.get_params() == wine_distiller.get_params()
    assert not hasattr(copy, "coreset_")


@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_pickled_estimators_predict_the_same(wine, wine_distiller, way, tmp_path):
    X, X_test, y, _ = wine
    fitted = [
        wine_distiller,
        NNGPKernelRidge().fit(X, y),
        NNGPKernelRidge(random_state=0).fit_coreset(wine_distiller.coreset_),
    ]
    for estimator in fitted:
        if way == "pickle":
            copy = pickle.loads(pickle.dumps(estimator))
        else:
            joblib.dump(estimator, tmp_path / "estimator.joblib")
            copy = joblib.load(tmp_path / "estimator.joblib")
        method = "transform" if hasattr(estimator, "transform") else "predict_proba"
        np.testing.assert_array_equal(
            getattr(copy, method)(X_test), getattr(estimator, method)(X_test)
        )
    assert pickle.loads(pickle.dumps(wine_distiller)).coreset_ == wine_distiller.coreset_


def test_meta_estimators(wine):
    X, X_test, y, y_test = wine
    vote = VotingClassifier([("a", NNGPKernelRidge()), ("b", LogisticRegression())], voting="soft")
    assert make_pipeline(StandardScaler(), vote).fit(X, y).score(X_test, y_test) > 0.9
    assert CalibratedClassifierCV(NNGPKernelRidge(), cv=3).fit(X, y).score(X_test, y_test) > 0.9


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(max_iter=1000), SVC(), KNeighborsClassifier(1)],
    ids=lambda m: type(m).__name__,
)
def test_a_loaded_coreset_in_raw_units_trains_other_models(tmp_path, model):
    X, y = load_breast_cancer(return_X_y=True)
    labels = np.array(["malignant", "benign"])[y]
    X, X_test, y, y_test = train_test_split(X, labels, stratify=labels, random_state=0)
    RFADDistiller(ipc=5, **TABLE).fit(X, y).coreset_.save(tmp_path / "coreset.npz")
    coreset = Coreset.load(tmp_path / "coreset.npz")
    assert (
        make_pipeline(StandardScaler(), model).fit(coreset.X, coreset.y).score(X_test, y_test)
        > 0.85
    )


def test_an_unbalanced_table_with_string_labels():
    X, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    keep = np.concatenate(
        [np.flatnonzero(y == 1), rng.choice(np.flatnonzero(y == 0), 25, replace=False)]
    )
    labels = np.array(["ill", "well"], dtype=object)[y[keep]]
    distiller = RFADDistiller(ipc={"ill": 2, "well": 4}, **TABLE).fit(X[keep], labels)
    clf = NNGPKernelRidge().fit_coreset(distiller.coreset_)
    recalls = [(clf.predict(X[keep][labels == name]) == name).mean() for name in ("ill", "well")]
    assert min(recalls) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("downstream", ["nngp", "any"])
def test_a_class_with_fewer_rows_than_items_is_cross_validated(downstream, rng):
    """Nine or ten rows of a class are in each fold's training part, which is to give 20 items."""
    y = np.where(np.arange(200) < 12, "rare", np.where(np.arange(200) % 2, "odd", "even"))
    X = rng.normal(size=(200, 4)) + 2 * np.unique(y, return_inverse=True)[1][:, None]
    distiller = RFADDistiller(ipc=20, **{**TABLE, "max_iter": 10}, downstream=downstream)
    clf = NNGPKernelRidge(distiller=distiller, class_weight="balanced")
    with pytest.warns(UserWarning, match=r"ipc=20 asks for more items .* 'rare' \((9|10)\)"):
        found = cross_validate(clf, X, y, scoring=["balanced_accuracy", "neg_log_loss"], cv=5)
    assert np.isfinite(found["test_neg_log_loss"]).all()
    assert found["test_balanced_accuracy"].min() > 0.6
