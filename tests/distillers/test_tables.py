"""Tables as people have them: frames with categories, integers, flags and gaps."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from rfad_sklearn import (
    MLP,
    Coreset,
    CoresetDisplay,
    CoresetSelector,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)

SHORT = {"max_iter": 6, "eval_every": 3, "random_state": 0, "architecture": MLP(width=16)}
MAKERS = [
    RFADDistiller(2, downstream="nngp", **SHORT),
    RFADDistiller(2, downstream="nngp", preprocessing="zca", **SHORT),
    RFADDistiller(2, **SHORT),
    KIPDistiller(2, **SHORT),
    GradientMatchingDistiller(2, **SHORT),
    CoresetSelector(2, random_state=0),
    CoresetSelector(2, strategy="centroids", random_state=0),
]
NAMES = ["nngp", "zca", "any", "kip", "gradients", "selector", "centroids"]


@pytest.fixture
def table(rng):
    """300 rows whose class shows in the city and in the amount; class "no" is never in Rome."""
    n = 300
    y = pd.Series(np.where(np.arange(n) % 3 == 0, "yes", "no"), name="bought")
    yes = y == "yes"
    city = np.where(yes, rng.choice(["Rome", "Oslo"], n), rng.choice(["Oslo", "Bern", "Lima"], n))
    X = pd.DataFrame(
        {
            "amount": np.exp(rng.normal(size=n) + 1.5 * yes),
            "city": pd.Categorical(city, categories=["Oslo", "Rome", "Quito", "Bern", "Lima"]),
            "visits": rng.poisson(3, n),
            "member": rng.random(n) < 0.3,
            "size": pd.Categorical(
                rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"], ordered=True
            ),
            "score": rng.normal(size=n).astype(np.float32),
        }
    )
    X.loc[::17, "size"] = np.nan
    return X, y


@pytest.mark.parametrize("maker", MAKERS, ids=NAMES)
def test_items_could_be_rows(maker, table):
    X, y = table
    items, labels = maker.fit_resample(X, y)
    pd.testing.assert_series_equal(items.dtypes, X.dtypes)
    assert items.columns.equals(X.columns)
    # Of the five cities one was never seen, and another not with this label.
    assert set(items["city"]) <= {"Oslo", "Rome", "Bern", "Lima"}
    assert set(items["city"][labels == "no"]) <= {"Oslo", "Bern", "Lima"}
    assert set(items["city"][labels == "yes"]) <= {"Oslo", "Rome"}
    assert set(items["size"].dropna()) <= {"S", "M", "L"}


def test_items_for_any_model_are_within_the_range(table):
    X, y = table
    items, _ = RFADDistiller(3, **SHORT).fit_resample(X, y)
    for name in ("amount", "visits", "score"):
        assert items[name].between(X[name].min(), X[name].max()).all(), name


@pytest.mark.slow
def test_categories_are_learned_from():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=600)
    # Only together do the two columns say what the label is.
    a = rng.integers(2, size=600)
    X = pd.DataFrame({"a": a, "b": a ^ y, "noise": rng.normal(size=600)})
    X = X.replace({"a": {0: "x", 1: "y"}, "b": {0: "p", 1: "q"}})
    X = X.astype({"a": "category", "b": "category"})
    distiller = RFADDistiller(4, downstream="nngp", max_iter=200, random_state=0).fit(X, y)
    assert NNGPKernelRidge().fit_coreset(distiller.coreset_).score(X, y) > 0.95
    items, labels = RFADDistiller(4, max_iter=200, random_state=0).fit_resample(X, y)
    same = (items["a"] == "y") ^ (items["b"] == "q")
    assert (same == labels).all()


def test_masks_of_arrays_mean_the_same_as_types_of_frames(table):
    X, y = table
    X = X[["amount", "city", "visits"]]
    selector = CoresetSelector(2, random_state=0)
    framed, _ = selector.fit_resample(X, y)
    array = X.astype({"city": object}).to_numpy()
    # Its categories are in the order of the alphabet, those of the frame are not.
    selector.set_params(categorical_features=[False, True, False])
    items, _ = selector.fit_resample(array, y)
    assert items.dtype == object
    assert items[:, 1].tolist() == selector.coreset_.to_frame()["x1"].tolist()
    assert items.tolist() == framed.to_numpy(dtype=object).tolist()


def test_classifiers_take_the_same_columns(table):
    X, y = table
    coreset = RFADDistiller(3, downstream="nngp", **SHORT).fit(X, y).coreset_
    for model in (NNGPKernelRidge(), FiniteNetworkClassifier(max_iter=3, random_state=0)):
        assert model.fit(X, y).predict(X).shape == (300,)
        scores = model.fit_coreset(coreset).decision_function(X)
        # Columns are known by their place, and categories by their words.
        renamed = X.assign(city=X["city"].cat.reorder_categories(X["city"].cat.categories[::-1]))
        np.testing.assert_array_equal(model.decision_function(renamed), scores)
    ridge = NNGPKernelRidge(distiller=RFADDistiller(3, downstream="nngp", **SHORT)).fit(X, y)
    np.testing.assert_allclose(
        ridge.decision_function(X), NNGPKernelRidge().fit_coreset(coreset).decision_function(X)
    )


def test_unknown_categories_count_as_none(table):
    X, y = table
    model = NNGPKernelRidge().fit(X, y)
    others = X.head(4).assign(city=["Paris", "Nice", None, "Quito"])
    scores = model.decision_function(others.assign(amount=1.0, visits=2, member=True, score=0.0))
    # Sizes apart they are the same row.
    same = others["size"] == others["size"].iloc[1]
    np.testing.assert_array_equal(scores[same], scores[1])


def test_explanations_and_features_of_categories(table):
    X, y = table
    distiller = RFADDistiller(2, downstream="nngp", **SHORT).fit(X, y)
    model = NNGPKernelRidge().fit_coreset(distiller.coreset_)
    contributions = model.explain(X[:5])
    difference = contributions.sum(1) @ [-1, 1]
    np.testing.assert_allclose(difference, model.decision_function(X[:5]), atol=1e-8)
    assert model.nearest_rows(X, 2)[1].shape == (4, 2)
    features = make_pipeline(distiller, LogisticRegression()).fit(X, y)
    assert features.predict(X).shape == (300,)


def test_centred_categories_differ_by_one_deviation(table):
    X, y = table
    coreset = CoresetSelector(2, random_state=0).fit(X, y).coreset_
    codes = np.zeros((2, 6))
    codes[1, 1] = 1
    first, second = coreset.preprocessing.apply(coreset.columns.expand(codes))
    assert np.linalg.norm(first - second) == pytest.approx(1)


@pytest.mark.parametrize("missing", ["error", "impute"])
def test_gaps_among_numbers(missing, table):
    X, y = table
    X = X.assign(amount=X["amount"].where(np.arange(300) % 10 != 0))
    for estimator in (RFADDistiller(2, **SHORT), NNGPKernelRidge()):
        estimator.set_params(missing=missing)
        if missing == "error":
            with pytest.raises(ValueError, match=r"NaN in column 'amount'.\nUse missing='impute'"):
                estimator.fit(X, y)
        else:
            estimator.fit(X, y)
    if missing == "impute":
        filled = X.assign(amount=X["amount"].fillna(X["amount"].median()))
        np.testing.assert_array_equal(estimator.predict_proba(X), estimator.predict_proba(filled))
        items, _ = RFADDistiller(2, missing=missing, **SHORT).fit_resample(X, y)
        assert items["amount"].notna().all()


def test_gaps_in_arrays(rng):
    X, y = rng.normal(size=(60, 3)), np.repeat([0, 1], 30)
    X[::7, 1] = np.nan
    with pytest.raises(ValueError, match="missing='impute'"):
        RFADDistiller(**SHORT).fit(X, y)
    coreset = RFADDistiller(missing="impute", **SHORT).fit(X, y).coreset_
    assert np.isfinite(coreset.X).all()
    assert np.isfinite(NNGPKernelRidge().fit_coreset(coreset).decision_function(X)).all()
    with pytest.raises(ValueError, match="infinity"):
        RFADDistiller(missing="impute", **SHORT).fit(np.where(X > 1, np.inf, X), y)


def test_files_hold_categories_medians_and_types(tmp_path, table):
    X, y = table
    X = X.assign(amount=X["amount"].where(np.arange(300) % 10 != 0))
    coreset = RFADDistiller(2, missing="impute", **SHORT).fit(X, y).coreset_
    loaded = Coreset.load(coreset.save(tmp_path / "coreset.npz"))
    assert loaded == coreset
    frame = loaded.to_frame()
    assert frame.columns.equals(X.columns)
    numbers = ["amount", "visits", "member", "score"]
    pd.testing.assert_series_equal(frame[numbers].dtypes, X[numbers].dtypes)
    assert frame["size"].dtype == X["size"].dtype
    np.testing.assert_array_equal(
        NNGPKernelRidge().fit_coreset(loaded).decision_function(X),
        NNGPKernelRidge().fit_coreset(coreset).decision_function(X),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": '{"categorical": [9]}'}, "with_gaps"),
        ({"columns": "no json"}, "not a readable coreset file"),
        ({"categorical": [99]}, "columns that X does not have"),
        ({"categorical": [-1]}, "columns that X does not have"),
        ({"categorical": [1, 2, 4]}, r"lacks the arrays \['categories_2'\]"),
        ({"with_gaps": [99]}, "columns that X does not have"),
        ({"medians": [0.0]}, "medians"),
        ({"dtypes": ["int64"]}, "dtypes"),
        ({"categories_1": np.array(["a", "a", "b", "c"])}, "distinct"),
        ({"categories_1": np.array(["a"])}, "numbers of categories|columns"),
        ({"X": np.full((4, 6), 9.0)}, "numbers of categories from 0 to 3 in column 1"),
    ],
)
def test_hostile_columns_are_refused(tmp_path, table, changes, message):
    import json

    X, y = table
    path = CoresetSelector(2, random_state=0).fit(X, y).coreset_.save(tmp_path / "coreset.npz")
    with np.load(path) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    facts = json.loads(str(arrays["columns"]))
    for name, value in changes.items():
        if name in facts:
            facts[name] = value
            arrays["columns"] = np.str_(json.dumps(facts))
        else:
            arrays[name] = np.str_(value) if isinstance(value, str) else value
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        Coreset.load(path)


def test_pictures_show_words(table):
    X, y = table
    coreset = CoresetSelector(1, random_state=0).fit(X, y).coreset_
    words = coreset.to_frame()["city"].tolist()
    axes = CoresetDisplay.from_coreset(coreset).axes_[0]
    drawn = [text.get_text() for text in axes.texts]
    assert all(word in drawn for word in words)
    assert all(f"<td>{word}</td>" in coreset._repr_html_() for word in words)


def test_categories_in_a_grid_search_and_for_other_models(table):
    X, y = table
    search = GridSearchCV(
        NNGPKernelRidge(distiller=RFADDistiller(2, downstream="nngp", **SHORT)),
        {"distiller__ipc": [1, 2], "distiller__categorical_features": ["from_dtype", ["city"]]},
        cv=2,
        error_score="raise",
    )
    with pytest.raises(ValueError, match="text in 'size'"):
        search.fit(X.assign(size=np.where(X["size"].isna(), "?", X["size"].astype(object))), y)
    search.set_params(param_grid={"distiller__ipc": [1, 2]}).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    items, labels = RFADDistiller(5, **SHORT).fit_resample(X, y)
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
        (StandardScaler(), make_column_selector(dtype_exclude="category")),
    )
    assert make_pipeline(encoder, LogisticRegression()).fit(items, labels).score(X, y) > 0.6


def test_initial_items_are_given_in_words(table):
    X, y = table
    order = np.argsort(y, kind="stable")
    start = X.iloc[order.to_numpy()[[0, 1, -2, -1]]]
    distiller = RFADDistiller(2, init=start, downstream="nngp", **{**SHORT, "max_iter": 0})
    items, _ = distiller.fit_resample(X, y)
    pd.testing.assert_frame_equal(items, start.reset_index(drop=True), check_exact=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corruption": 0.5}, "corruption=0.5 freezes noise, but X has columns of categories"),
        ({"preprocessing": StandardScaler()}, "takes numbers, but X has columns of categories"),
    ],
)
def test_parameters_that_categories_contradict(changes, message, table):
    with pytest.raises(ValueError, match=message):
        RFADDistiller(downstream="nngp", **SHORT).set_params(**changes).fit(*table)


def test_frames_of_polars(table):
    pl = pytest.importorskip("polars")
    X, y = table
    frame = pl.DataFrame(
        {
            name: X[name].astype(object).where(X[name].notna(), None).tolist()
            for name in ("amount", "city", "visits", "member", "size")
        },
        schema={
            "amount": pl.Float32,
            "city": pl.Categorical,
            "visits": pl.Int16,
            "member": pl.Boolean,
            "size": pl.Enum(["S", "M", "L"]),
        },
    )
    labels = pl.Series("bought", y.tolist())
    items, item_labels = RFADDistiller(2, **SHORT).fit_resample(frame, labels)
    assert items.schema == frame.schema
    assert item_labels.to_list() == ["no", "no", "yes", "yes"]
    assert set(items["city"].to_list()) <= set(X["city"])
    model = NNGPKernelRidge().fit(frame, labels)
    assert (model.predict(frame) == y).mean() > 0.8
    with pytest.raises(ValueError, match=r"text in 'city'.*pl.Categorical"):
        model.fit(frame.cast({"city": pl.String}), labels)


@pytest.mark.parametrize("preprocessing", ["auto", "quantile"])
def test_skewed_amounts_beside_categories(preprocessing, table):
    X, y = table
    X = X.assign(amount=X["amount"] ** 3)
    distiller = RFADDistiller(2, downstream="nngp", preprocessing=preprocessing, **SHORT)
    coreset = distiller.fit(X, y).coreset_
    columns = coreset.columns
    mapped = coreset.preprocessing.quantile_columns
    assert columns.starts[0] in mapped
    assert not columns.one_hot[mapped].any()
    frame = coreset.to_frame()
    assert frame["amount"].between(X["amount"].min(), X["amount"].max()).all()
    assert set(frame["city"]) <= {"Oslo", "Rome", "Bern", "Lima"}


def test_held_out_rows_and_a_start_have_the_same_columns(table):
    X, y = table
    distiller = RFADDistiller(2, downstream="nngp", **SHORT)
    with_own = distiller.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert with_own.plan_.n_held_out == 100
    assert set(with_own.coreset_.to_frame()["city"]) <= set(X["city"])
    # A coreset of other codes: its words are what counts.
    turned = X.assign(city=X["city"].cat.reorder_categories(X["city"].cat.categories[::-1]))
    start = with_own.coreset_
    again = RFADDistiller(3, init=start, downstream="nngp", **{**SHORT, "max_iter": 0})
    items, _ = again.fit_resample(turned, y)
    first = items[[True, True, False] * 2]
    assert first["city"].tolist() == start.to_frame()["city"].tolist()
    numbers = RFADDistiller(2, init=start, **SHORT)
    with pytest.raises(ValueError, match="categories in the columns"):
        numbers.set_params(categorical_features=["size"]).fit(
            X.astype({"city": object}).assign(city=1), y
        )


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda X, coreset: coreset.X, "categories in column 1 that X has not"),
        (lambda X, coreset: X[:4].assign(city="Paris"), "categories in column 1 that X has not"),
        (lambda X, coreset: X[X.columns[::-1]][:4], "the same columns in the same order"),
    ],
)
def test_starts_in_other_words_are_refused(start, message, table):
    X, y = table
    coreset = CoresetSelector(2, random_state=0).fit(X, y).coreset_
    distiller = RFADDistiller(2, init=start(X, coreset), downstream="nngp", **SHORT)
    with pytest.raises(ValueError, match=message):
        distiller.fit(X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_keep_their_type(dtype, table):
    X, y = table
    array = np.column_stack([X["city"].cat.codes, X["visits"]]).astype(dtype)
    distiller = RFADDistiller(2, categorical_features=[0], missing="impute", **SHORT)
    items, _ = distiller.fit_resample(array, y)
    assert items.dtype == dtype
    assert set(items[:, 0]) <= set(array[:, 0])
    single = np.float32 if dtype == np.float32 else np.float64
    assert distiller.transform(array).dtype == single


def test_columns_of_gaps_are_one_category(table):
    X, y = table
    X = X.assign(nothing=pd.Categorical([None] * len(X)))
    items, _ = RFADDistiller(2, **SHORT).fit_resample(X, y)
    assert items["nothing"].isna().all()


def test_categories_that_are_left_out_are_refused(table):
    X, y = table
    for wanted in (None, ["city"]):
        with pytest.raises(ValueError, match=r"categorical_features does not name: .*'size'"):
            RFADDistiller(categorical_features=wanted, **SHORT).fit(X, y)


@pytest.mark.parametrize("changes", [{"categorical_features": [1]}, {"missing": "impute"}])
def test_a_classifier_leaves_columns_to_its_distiller(changes, table):
    X, y = table
    distiller = RFADDistiller(2, downstream="nngp", **SHORT)
    with pytest.raises(ValueError, match="contradicts the distiller's own; give it to the distil"):
        NNGPKernelRidge(distiller=distiller, **changes).fit(X, y)
    with pytest.raises(ValueError, match="contradicts the coreset's own"):
        NNGPKernelRidge(**changes).fit_coreset(distiller.fit(X, y).coreset_)


def test_a_sampler_keeps_rows_of_a_frame(table):
    X, y = table
    sampler = RFADDistiller(random_state=0, architecture=MLP(width=16)).as_sampler("auto")
    items, labels = sampler.fit_resample(X, y)
    pd.testing.assert_series_equal(items.dtypes, X.dtypes)
    assert (labels == "yes").sum() == (labels == "no").sum() == 100
    kept = items[labels == "yes"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, X[y == "yes"].reset_index(drop=True))
    assert set(items["city"][labels == "no"]) <= {"Oslo", "Bern", "Lima"}


@pytest.mark.parametrize(
    "column",
    [10**9, -(10**9), 2024, "years", "seconds", "numbers"],
)
def test_columns_far_from_zero(column, rng):
    n = 200
    y = np.repeat([0, 1], n // 2)
    made = {
        "years": rng.choice([2023, 2024], n),
        "seconds": 1_700_000_000 + rng.integers(0, 600, n),
        "numbers": 47_900_000_000 + rng.integers(0, 1000, n),
    }
    values = made.get(column, column)
    X = pd.DataFrame({"x": rng.normal(size=n) + y, "far": values})
    distiller = RFADDistiller(2, random_state=0, max_iter=20, architecture=MLP(width=16))
    items, _ = distiller.fit_resample(X, y)
    assert distiller.stop_reason_ == "max_iter"
    assert items["far"].between(X["far"].min(), X["far"].max()).all()
    # Steps move what says something.
    assert np.isfinite(distiller.loss_curve_).all()


def test_integers_far_from_zero_stay_on_their_grid(rng):
    y = np.repeat([0, 1], 100)
    X = np.column_stack([1_700_000_000 + rng.integers(0, 600, 200), rng.normal(size=200) + y])
    items, _ = RFADDistiller(8, **{**SHORT, "max_iter": 0}).fit_resample(X, y)
    assert len(np.unique(items[:, 0] % 128)) > 4


def test_text_of_digits_is_text(table):
    X, y = table
    X = X.assign(zip=["0150", "5003"] * 150)
    with pytest.raises(ValueError, match="text in 'zip'"):
        RFADDistiller(**SHORT).fit(X, y)


def test_columns_of_one_name_are_refused(table):
    X, y = table
    X = X[["amount", "visits", "amount"]]
    with pytest.raises(ValueError, match="several columns of one name"):
        RFADDistiller(**SHORT).fit(X, y)


def test_dates_are_refused_later_too(table):
    X, y = table
    X = X[["amount", "visits"]]
    model = NNGPKernelRidge().fit(X, y)
    with pytest.raises(TypeError, match="dates or times in the columns 'visits'"):
        model.predict(X.assign(visits=pd.Timestamp("2020-01-01")))
