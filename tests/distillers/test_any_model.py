"""Items for any model: what they look like, what evaluates them, and which parameters they take."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, SVR

from rfad_sklearn import (
    MLP,
    ConvNet,
    Coreset,
    CoresetSelector,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)
from rfad_sklearn._optimization.ridge_objective import KernelRidgeObjective
from rfad_sklearn._planning import any_model_plan
from rfad_sklearn._planning.budget import loop_seconds

# Few steps, evaluated now and then.
SHORT = {"max_iter": 6, "eval_every": 3, "random_state": 0, "architecture": MLP(width=16)}


def make(**changes):
    return RFADDistiller(**{"ipc": 3, "downstream": "any", **SHORT, **changes})


@pytest.fixture
def table(rng):
    """Skewed, constant, two-valued and integer columns, and two classes."""
    n = 240
    y = np.arange(n) % 2
    X = np.column_stack(
        [
            rng.lognormal(mean=y, sigma=1.5),
            np.full(n, 3.5),
            rng.random(n) < 0.3 + 0.4 * y,
            rng.poisson(3 + 2 * y),
        ]
    )
    return X, y


@pytest.fixture(scope="module")
def byte_digits(all_digits):
    """Digits as bytes: ``X_train, X_test, y_train, y_test``."""
    X, X_test, y, y_test = all_digits
    return X.astype(np.uint8), X_test.astype(np.uint8), y, y_test


@pytest.fixture(scope="module")
def distilled_digits(byte_digits):
    """Items of digits, ten of each, and the distiller."""
    X, _, y, _ = byte_digits
    distiller = RFADDistiller(ipc=10, max_iter=150, random_state=0)
    return *distiller.fit_resample(X, y), distiller


def test_items_stay_in_range_and_on_the_grid(table):
    X, y = table
    items, labels = make().fit_resample(X, y)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (items >= X.min(0)).all()
    assert (items <= X.max(0)).all()
    assert (items[:, 1] == 3.5).all()
    np.testing.assert_array_equal(items[:, 2:], items[:, 2:].round())
    # They have moved from where they started.
    assert not np.array_equal(items, make(max_iter=0).fit_resample(X, y)[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_types_of_x_come_back(digits, dtype):
    X, _, y, _ = digits
    items, _ = make(architecture="auto").fit_resample(X.astype(dtype), y)
    assert items.dtype == dtype
    assert items.shape == (9, 8, 8)
    assert items.max() <= X.max()


def test_columns_of_a_frame_keep_their_types(table):
    pd = pytest.importorskip("pandas")
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcd")).astype(
        {"b": "float32", "c": "bool", "d": "int16"}
    )
    items, _ = make().fit_resample(frame, pd.Series(y))
    pd.testing.assert_series_equal(items.dtypes, frame.dtypes)
    assert set(items["c"]) <= {False, True}


def test_flattened_images_give_the_items_of_images(digits):
    X, y = digits[0].astype(np.uint8), digits[2]
    images = make(ipc=1, architecture="auto").fit(X, y)
    flat = make(ipc=1, architecture="auto").fit(X.reshape(len(X), -1), y)
    np.testing.assert_array_equal(flat.coreset_.X, images.coreset_.X)
    assert "share one range" in flat.plan_.reasons["surrogates"]


def test_fit_is_for_the_nngp_and_fit_resample_for_any_model(table):
    X, y = table
    distiller = make(downstream="auto")
    fitted = clone(distiller).fit(X, y)
    assert (fitted.plan_.downstream, fitted.plan_.kernel) == ("nngp", "nngp")
    assert fitted.plan_.init == "random"
    items, _ = distiller.fit_resample(X, y)
    assert distiller.plan_.downstream == "any"
    assert "fit_resample" in distiller.plan_.reasons["downstream"]
    assert distiller.coreset_.provenance["plan"]["downstream"] == "any"
    sampler = clone(distiller).as_sampler()
    np.testing.assert_array_equal(sampler.fit_resample(X, y)[0], items)
    np.testing.assert_array_equal(make(downstream="any").fit(X, y).coreset_.X, items)


def test_same_seed_same_items(table):
    X, y = table
    first, again, other = (
        make(random_state=seed).fit_resample(X, y)[0].tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.slow
def test_a_run_that_goes_on_has_the_same_bits(table, tmp_path):
    X, y = table
    settings = {"max_iter": 12, "eval_every": 3, "early_stopping": True}
    whole = make(**settings).fit(X, y)

    def cut_off(state):
        if state.step == 6:
            raise RuntimeError("cut off")

    path = tmp_path / "run.npz"
    with pytest.raises(RuntimeError, match="cut off"):
        make(**settings, checkpoint=path, callback=cut_off).fit(X, y)
    resumed = make(**settings, checkpoint=path).fit(X, y)
    np.testing.assert_array_equal(whole.coreset_.X, resumed.coreset_.X)
    assert whole.loss_curve_ == resumed.loss_curve_
    assert whole.plan_.to_dict() == resumed.plan_.to_dict()


def test_a_checkpoint_of_the_other_kind_is_refused(table, tmp_path):
    X, y = table
    path = tmp_path / "run.npz"
    distiller = make(downstream="auto", checkpoint=path).fit(X, y)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"run with downstream='nngp', not 'any'.*another path"):
        distiller.fit_resample(X, y)
    with pytest.raises(ValueError, match="another path"):
        make(downstream=SVC(C=2), checkpoint=path).fit(X, y)
    assert path.read_bytes() == before


def test_checkpoints_of_two_classifiers_differ(table, tmp_path):
    X, y = table
    make(downstream=SVC(C=2), checkpoint=tmp_path / "run.npz").fit(X, y)
    with pytest.raises(ValueError, match=r"downstream=.*SVC\(C=2\).*another path"):
        make(downstream=SVC(C=3), checkpoint=tmp_path / "run.npz").fit(X, y)


def test_a_classifier_alone_evaluates_the_held_out_rows(table):
    X, y = table
    distiller = make(downstream=KNeighborsClassifier(1), early_stopping=True).fit(X, y)
    assert distiller.plan_.panel == ("KNeighborsClassifier",)
    assert distiller.plan_.downstream == "KNeighborsClassifier"


@pytest.mark.slow
def test_the_panel_chooses_the_last_state_near_the_best(table):
    X, y = table
    distiller = make(early_stopping=True, max_iter=30, eval_every=5).fit(X, y)
    assert {"SVC", "RandomForest", "MLP", "1-NN"} < set(distiller.plan_.panel)
    # Where a later state is nearly as good, that one: few rows are noisy.
    scores, slack = distiller.validation_scores_, 0.15 / distiller.plan_.n_held_out**0.5
    kept = [score for score in scores if score >= max(scores) - slack - 1e-12][-1]
    assert distiller.best_validation_score_ == kept


@pytest.mark.slow
def test_a_run_ends_when_the_panel_no_longer_improves(table):
    X, y = table
    distiller = make(early_stopping=True, max_iter=400, eval_every=2, n_iter_no_change=3).fit(X, y)
    assert distiller.stop_reason_ == "no_change"
    assert distiller.n_iter_ < 400


def test_few_rows_are_passed_over_so_often_only(rng):
    y = np.arange(1000) % 2
    X = rng.normal(size=(1000, 2)) + y[:, None]

    def first_plan(n, **settings):
        # The callback stops at the first evaluation.
        distiller = RFADDistiller(downstream="any", callback=lambda state: True, **settings)
        return distiller.fit(X[:n], y[:n]).plan_

    plan = first_plan(1000, early_stopping=False, batch_size=500)
    assert (plan.max_iter, plan.reasons["max_iter"]) == (
        600,
        "no budget is given, and rows are few",
    )
    assert first_plan(100).max_iter == 200
    assert first_plan(1000, early_stopping=False, batch_size=100).max_iter == 1000
    assert first_plan(100, max_iter=7).max_iter == 7


@pytest.mark.parametrize("shape", [(1,), (3, 3), (2, 2, 3)], ids=["column", "grey", "colour"])
def test_small_shapes_of_constant_numbers(shape):
    """Where nothing can be learned, the constants come back."""
    X, y = np.full((12, *shape), 7, dtype=np.int32), np.arange(12) % 2
    architecture = MLP(width=16) if len(shape) == 1 else ConvNet(depth=1, width=8)
    items, _ = make(architecture=architecture, ipc=2).fit_resample(X, y)
    assert items.dtype == np.int32
    np.testing.assert_array_equal(items, np.full((4, *shape), 7))


def test_many_classes_with_one_item_each(rng):
    y = np.arange(200) % 40
    X = rng.normal(size=(40, 6))[y] + 0.1 * rng.normal(size=(200, 6))
    items, labels = make(ipc=1, max_iter=20).fit_resample(X, y)
    assert labels.tolist() == list(range(40))
    nearest = labels[euclidean_distances(X, items).argmin(1)]
    assert np.mean(nearest == y) > 0.95


def test_start_where_outliers_rule_the_columns(rng):
    """k-means on such columns makes clusters of outliers."""
    n = 1200
    y = np.arange(n) % 2
    X = rng.normal(size=(n, 4)) + y[:, None]
    X[rng.integers(n, size=60), rng.integers(4, size=60)] *= 1e4
    distiller = make(ipc=5, max_iter=0).fit(X, y)
    assert distiller.plan_.init == "centroids of ranks"
    assert "centroids 0." in distiller.plan_.reasons["init"]


def test_given_items_are_where_it_starts(table):
    X, y = table
    start = np.vstack([X[y == c][:3] for c in (0, 1)])
    items = make(init=start, max_iter=0).fit_resample(X, y)[0]
    np.testing.assert_allclose(items, start, rtol=1e-5)
    # Those out of range are put at its end.
    far = make(init=start + 1e6, max_iter=0).fit_resample(X, y)[0]
    np.testing.assert_allclose(far, np.broadcast_to(X.max(0), far.shape), rtol=1e-5)


@pytest.mark.parametrize(
    ("make_estimator", "message"),
    [
        (lambda: make(learn_labels=True), "fit_resample cannot give"),
        (lambda: make(learn_labels="solve", downstream="nngp"), "fit_resample cannot give"),
        (lambda: KIPDistiller(learn_labels=True), r"learn_labels=False, or fit and coreset_.targ"),
        (lambda: make(corruption=0.5), r"corruption=0.5 .* use corruption=0.0"),
        (lambda: make(downstream=SVR()), r"downstream=SVR\(\) is no classifier"),
        (lambda: make(downstream="all"), "The 'downstream' parameter of RFADDistiller must be"),
        (lambda: make(eval_every="never"), "The 'eval_every' parameter of RFADDistiller must be"),
        (lambda: make(n_iter_no_change=0), "The 'n_iter_no_change' parameter of RFADDist"),
        (lambda: make(init="medoids"), "The 'init' parameter of RFADDistiller must be"),
    ],
)
def test_refused(table, make_estimator, message):
    with pytest.raises(ValueError, match=message):
        make_estimator().fit_resample(*table)


def test_learned_labels_are_refused_in_fit_too(table):
    with pytest.raises(ValueError, match=r"learn_labels=True .* downstream='nngp'"):
        make(learn_labels=True).fit(*table)


def test_parameters_without_effect_are_warned_of_once(table):
    message = r"loss='mse', pool_size=4 has no effect on items for any model"
    with pytest.warns(UserWarning, match="has no effect") as caught:
        make(pool_size=4, loss="mse").fit(*table)
    (warning,) = caught
    assert str(warning.message).startswith("pool_size=4, loss='mse' has no effect"), message
    assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(pool_size=4, loss="mse", downstream="nngp", n_networks=2).fit(*table)


@pytest.mark.parametrize(
    "estimator",
    [
        make(),
        make(downstream="nngp", n_networks=2),
        KIPDistiller(max_iter=2, random_state=0),
        GradientMatchingDistiller(max_iter=2, random_state=0, architecture=MLP(width=16)),
        CoresetSelector(random_state=0),
    ],
    ids=["any", "nngp", "kip", "matching", "selector"],
)
def test_a_class_with_fewer_rows_gives_them_as_they_are(estimator, rng):
    y = np.repeat(["many", "few"], [40, 3])
    X = rng.normal(size=(43, 4))
    with pytest.warns(UserWarning, match=r"ipc=5 .* have rows: 'few' \(3\)") as caught:
        fitted = clone(estimator).set_params(ipc=5).fit(X, y)
    assert len(caught) == 1
    coreset = fitted.coreset_
    assert coreset.y.tolist() == ["few"] * 3 + ["many"] * 5
    given = {tuple(row) for row in coreset.X[:3].tolist()}
    assert given == {tuple(row) for row in X[40:].tolist()}


def test_where_every_class_gives_its_rows_there_is_nothing_to_do(table):
    X, y = table[0][:20], table[1][:20]
    with pytest.warns(UserWarning, match="ipc=12"):
        fitted = make(ipc=12, max_iter=None).fit(X, y)
    assert fitted.n_iter_ == 1
    assert fitted.plan_.reasons["max_iter"] == "every class gives its rows as they are"
    order = np.argsort(y, kind="stable")
    np.testing.assert_allclose(fitted.coreset_.X, X[order])


def test_a_coreset_for_any_model_has_targets_for_its_own_classifier(all_digits, tmp_path):
    X, X_test, y, y_test = all_digits
    fitted = make(ipc=1, max_iter=0, architecture="auto").fit(X, y)
    coreset = Coreset.load(fitted.coreset_.save(tmp_path / "coreset.npz"))
    assert coreset.provenance["settings"]["downstream"] == "any"
    assert fitted.plan_.solves_targets
    # Other models, finite networks too, have the labels.
    np.testing.assert_allclose(coreset.targets, np.eye(10) - 0.1)
    np.testing.assert_array_equal(coreset.ridge_targets, fitted.coreset_.solved_targets)
    without = replace(coreset, solved_targets=None)
    np.testing.assert_array_equal(without.ridge_targets, coreset.targets)
    assert without != coreset

    def score(coreset):
        return NNGPKernelRidge(random_state=0).fit_coreset(coreset).score(X_test, y_test)

    assert score(coreset) > score(without) + 0.02


def test_one_factor_of_the_scores_is_that_of_labels_and_of_solved_targets(all_digits):
    X, X_test, y, y_test = all_digits
    coreset = make(ipc=1, max_iter=0, architecture="auto").fit(X, y).coreset_
    for each in (coreset, replace(coreset, solved_targets=None)):
        refitted = NNGPKernelRidge(random_state=0).fit_coreset(each, X_test, y_test)
        assert np.log(coreset.logit_scale / refitted.logit_scale_) == pytest.approx(0, abs=0.3)


def test_interrupted_while_targets_are_solved_for(table, monkeypatch):
    X, y = table
    whole = make().fit(X, y).coreset_

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(KernelRidgeObjective, "solve_labels", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        fitted = make().fit(X, y)
    assert fitted.stop_reason_ == "interrupted"
    assert fitted.coreset_.solved_targets is None
    # The items, and the factor that belongs to their labels, are those of a whole run.
    np.testing.assert_array_equal(fitted.coreset_.X, whole.X)
    assert fitted.coreset_.logit_scale == whole.logit_scale


def test_time_is_kept_for_solving():
    assert loop_seconds({"max_time": 100.0}, solves_targets=True) == pytest.approx(85)
    assert loop_seconds({"max_time": 100.0}) == 100
    assert loop_seconds({"max_time": None}, solves_targets=True) is None


def test_what_is_explained_are_scores_with_solved_targets(table):
    X, y = table
    fitted = NNGPKernelRidge(distiller=make(ipc=2), random_state=0).fit(X, y)
    scores = fitted.explain(X[:5]).sum(1)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], fitted.decision_function(X[:5]))


def test_many_targets_are_not_solved_for(table, monkeypatch):
    monkeypatch.setattr(any_model_plan, "_MOST_TARGETS", 11)
    fitted = make().fit(*table)
    assert fitted.coreset_.solved_targets is None
    assert (fitted.plan_.solves_targets, fitted.plan_.kernel_method) == (False, "random_features")
    assert "11 of them" in fitted.plan_.reasons["solves_targets"]


def test_prints_what_it_does(table, capsys):
    make(verbose=1).fit(*table)
    out = capsys.readouterr().out
    assert "surrogates" in out
    assert "spacing" in out
    assert "step      6" in out


@pytest.mark.slow
@pytest.mark.parametrize("model", [KNeighborsClassifier(1), SVC()], ids=["1-NN", "SVC"])
@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler()], ids=["standard", "minmax"])
def test_scalers_fitted_on_real_rows_do_no_harm(byte_digits, distilled_digits, model, scaler):
    X, X_test, _, y_test = (rows.reshape(len(rows), -1) for rows in byte_digits)
    items, labels, _ = distilled_digits
    scaler = clone(scaler).fit(X)
    items, X_test = scaler.transform(items.reshape(100, -1)), scaler.transform(X_test)
    assert clone(model).fit(items, labels).score(X_test, y_test.ravel()) > 0.88


@pytest.mark.slow
def test_items_teach_other_models_more_than_centroids(byte_digits, distilled_digits):
    X, X_test, y, y_test = byte_digits
    items, labels, _ = distilled_digits
    centroids = CoresetSelector(ipc=10, strategy="centroids", random_state=0).fit(X, y).coreset_
    models = [
        make_pipeline(StandardScaler(), LogisticRegression()),
        SVC(),
        KNeighborsClassifier(1),
        KNeighborsClassifier(3),
        RandomForestClassifier(random_state=0),
    ]
    ours, theirs = (
        [
            clone(model).fit(rows.reshape(100, -1), answers).score(X_test.reshape(-1, 64), y_test)
            for model in models
        ]
        for rows, answers in ((items, labels), (centroids.X, centroids.y))
    )
    assert np.mean(ours) > np.mean(theirs) + 0.01
