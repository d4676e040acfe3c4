"""The sampler: how many rows and items of each class, in the meanings of imbalanced-learn."""

import numpy as np
import pytest

from rfad_sklearn import MLP, CoresetSampler, CoresetSelector, RFADDistiller

SHORT = {"max_iter": 3, "eval_every": 3, "random_state": 0, "architecture": MLP(width=16)}


@pytest.fixture
def three(rng):
    """Three classes with 60, 20 and 8 rows."""
    y = np.repeat(["a", "b", "c"], [60, 20, 8])
    order = rng.permutation(88)
    X = rng.normal(size=(88, 3)) + 2 * (y == "b")[:, None] - 2 * (y == "c")[:, None]
    return X[order], y[order]


@pytest.fixture
def two(three):
    X, y = three
    return X[y != "b"], y[y != "b"]


def counts(labels):
    names, numbers = np.unique(labels, return_counts=True)
    return dict(zip(names.tolist(), numbers.tolist(), strict=True))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (None, {"a": 2, "b": 2, "c": 2}),
        ("auto", {"a": 8, "b": 8, "c": 8}),
        ("not minority", {"a": 8, "b": 8, "c": 8}),
        ("all", {"a": 8, "b": 8, "c": 8}),
        ("majority", {"a": 8, "b": 20, "c": 8}),
        ("not majority", {"a": 60, "b": 8, "c": 8}),
        ({"a": 30}, {"a": 30, "b": 20, "c": 8}),
        (lambda y: {"b": int((y == "c").sum()) + 1}, {"a": 60, "b": 9, "c": 8}),
    ],
)
def test_numbers_of_rows_and_items(three, strategy, expected):
    X, y = three
    sampler = RFADDistiller(ipc=2, **SHORT).as_sampler(strategy)
    items, labels = sampler.fit_resample(X, y)
    assert counts(labels) == expected
    # Rows of a class that keeps its number are its rows.
    rows = {tuple(row) for row in X.tolist()}
    for name, number in expected.items():
        if number == (y == name).sum():
            assert {tuple(row) for row in items[labels == name].tolist()} <= rows
        else:
            assert not {tuple(row) for row in items[labels == name].tolist()} <= rows
    if strategy is None:
        assert sampler.sampling_strategy_ is None


def test_strategies_are_those_of_imbalanced_learn(three, two):
    under_sampling = pytest.importorskip("imblearn.under_sampling")
    strategies = ["auto", "majority", "not minority", "not majority", "all", {"a": 11}]
    cases = [(three, each) for each in strategies] + [(two, 0.5), (two, 1.0), (two, 8 / 59)]
    for (X, y), strategy in cases:
        theirs = under_sampling.RandomUnderSampler(sampling_strategy=strategy).fit(X, y)
        ours = CoresetSampler(CoresetSelector(random_state=0), strategy).fit(X, y)
        assert ours.sampling_strategy_ == dict(theirs.sampling_strategy_)
        assert counts(ours.fit_resample(X, y)[1]) == counts(theirs.fit_resample(X, y)[1])


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("some", "The 'sampling_strategy' parameter of CoresetSampler must be"),
        ({"z": 3}, "names the class 'z', which y has not"),
        ({"a": 0}, "asks for 0 rows of the class 'a'; it must be an int from 1 to 60"),
        ({"a": 61}, "asks for 61 rows of the class 'a'"),
        ({"a": 2.5}, "asks for 2.5 rows"),
        (0.5, "0.5 is a ratio of two classes, but y has 3"),
        (lambda y: "few", "'few' is no word for it"),
        (lambda y: None, "is none of a word, a float, a dict"),
    ],
)
def test_refused(three, strategy, message):
    with pytest.raises(ValueError, match=message):
        CoresetSampler(CoresetSelector(), strategy).fit_resample(*three)


@pytest.mark.parametrize(
    ("ratio", "message"),
    [(0.0, "must lie above 0"), (1.5, "and not above 1"), (0.1, r"80 rows of .* 'a'.*has 60; r")],
)
def test_ratios_that_are_refused(two, ratio, message):
    with pytest.raises(ValueError, match=message):
        CoresetSampler(CoresetSelector(), ratio).fit_resample(*two)


def test_given_items_contradict_rows_that_stay(two):
    distiller = RFADDistiller(init=np.zeros((16, 3)), ipc=8, **SHORT)
    with pytest.raises(ValueError, match="use a word as init"):
        CoresetSampler(distiller, "auto").fit_resample(*two)


def test_few_rows_that_stay_are_evaluated_by_nothing(rng):
    y = np.repeat([0, 1], [1100, 20])
    X = rng.normal(size=(1120, 3)) + y[:, None]
    sampler = RFADDistiller(ipc=2, **SHORT).as_sampler("auto")
    sampler.fit_resample(X, y)
    plan = sampler.distiller_.plan_
    assert plan.n_held_out == 0
    assert "would not be evaluated" in plan.reasons["n_held_out"]
    assert RFADDistiller(ipc=2, **SHORT).fit(X, y).plan_.n_held_out > 100


@pytest.fixture(scope="module")
def rare():
    """A table with a class of one in ten, of 60 rows."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [600, 60])
    X = rng.normal(size=(660, 4)) * [1, 2, 1, 5] + 1.5 * y[:, None]
    X[:, 3] = np.round(X[:, 3])
    return X, y


@pytest.fixture(scope="module")
def rebalanced(rare):
    sampler = RFADDistiller(random_state=0, architecture=MLP(width=16)).as_sampler("auto")
    return sampler, *sampler.fit_resample(*rare)


def test_items_beside_many_rows(rare, rebalanced):
    (X, y), (sampler, items, labels) = rare, rebalanced
    assert counts(labels) == {0: 60, 1: 60}
    # The rare class as it is, the other within the range of its columns and on their grid.
    assert np.array_equal(items[labels == 1], X[y == 1])
    common = items[labels == 0]
    assert (common >= X.min(0)).all()
    assert (common <= X.max(0)).all()
    assert np.array_equal(common[:, 3], np.round(common[:, 3]))
    plan = sampler.distiller_.plan_
    assert plan.n_held_out > 0
    assert plan.panel
    assert plan.max_iter == sampler.distiller_.n_iter_ == 0
    assert plan.init in ("support points", "edited rows", "strictly edited rows")
    assert "by the panel" in plan.reasons["init"]


def test_items_beside_many_rows_again(rare, rebalanced):
    sampler = RFADDistiller(random_state=0, architecture=MLP(width=16)).as_sampler("auto")
    assert np.array_equal(sampler.fit_resample(*rare)[0], rebalanced[1])


def test_steps_beside_many_rows(rare):
    sampler = RFADDistiller(ipc=2, **SHORT).as_sampler("auto")
    items, labels = sampler.fit_resample(*rare)
    assert sampler.distiller_.n_iter_ == 3
    assert sampler.distiller_.plan_.item_dropout == 0.5
    assert np.array_equal(items[labels == 1], rare[0][rare[1] == 1])


def test_classes_count_as_they_will(three):
    X, y = three
    sampler = RFADDistiller(**SHORT).as_sampler({"a": 30})
    sampler.fit_resample(X, y)
    assert sampler.distiller_.class_weight == {"a": 0.5, "b": 1.0, "c": 1.0}
    own = {"a": 1.0, "b": 2.0, "c": 3.0}
    sampler = RFADDistiller(class_weight=own, **SHORT).as_sampler("auto").fit(X, y)
    assert sampler.distiller_.class_weight == own


def test_one_hot_labels_come_back(three):
    X, y = three
    one_hot = (y[:, None] == np.unique(y)).astype(np.int8)
    _, labels = CoresetSampler(CoresetSelector(random_state=0), "auto").fit_resample(X, one_hot)
    assert labels.dtype == np.int8
    assert labels.sum(0).tolist() == [8, 8, 8]
    with pytest.raises(ValueError, match="several labels or none"):
        CoresetSampler(CoresetSelector()).fit_resample(X, np.maximum(one_hot, [1, 0, 0]))


def test_lists_and_frames(three):
    pd = pytest.importorskip("pandas")
    X, y = three
    sampler = CoresetSampler(CoresetSelector(random_state=0), "auto")
    items, labels = sampler.fit_resample(X.tolist(), y.tolist())
    frame, series = sampler.fit_resample(pd.DataFrame(X, columns=list("uvw")), pd.Series(y))
    assert counts(labels) == counts(series) == {"a": 8, "b": 8, "c": 8}
    assert frame.columns.tolist() == list("uvw")
    np.testing.assert_array_equal(frame.to_numpy(), items)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        # Those of sparse rows, of gaps and text, and of its own base class do not apply.
        "check_classifier_on_multilabel_or_multioutput_targets",
        "check_samplers_2d_target",
        "check_samplers_fit",
        "check_samplers_fit_resample",
        "check_samplers_list",
        "check_samplers_multiclass_ova",
        "check_samplers_one_label",
        "check_samplers_pandas",
        "check_samplers_preserve_dtype",
        "check_samplers_sampling_strategy_fit_resample",
        "check_target_type",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_checks_of_imbalanced_learn(name):
    checks = pytest.importorskip("imblearn.utils.estimator_checks")
    distiller = RFADDistiller(2, random_state=0, max_iter=2, architecture=MLP(width=8))
    getattr(checks, name)("CoresetSampler", distiller.as_sampler("auto"))


@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_frames_of_polars_as_labels(three):
    pl = pytest.importorskip("polars")
    X, y = three
    labels = pl.DataFrame({"kind": y.tolist()})
    sampler = RFADDistiller(2, max_iter=2, random_state=0, architecture=MLP(width=8)).as_sampler()
    items, item_labels = sampler.fit_resample(pl.DataFrame(X), labels)
    assert item_labels.schema == labels.schema
    assert len(items) == len(item_labels)
    with pytest.raises(TypeError, match=r"give X.collect\(\)"):
        sampler.fit_resample(pl.DataFrame(X).lazy(), labels)
