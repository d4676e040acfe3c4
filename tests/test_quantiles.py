"""Skewed columns: monotone, bounded maps to normal scores, and when "auto" takes them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri
from scipy.stats import kstest, rankdata

from rfad_sklearn import (
    MLP,
    Coreset,
    CoresetSelector,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    QuantileNormalizer,
    RFADDistiller,
)
from rfad_sklearn._utils.device_rows import DeviceRows
from rfad_sklearn._utils.preprocessing_fit import standardizing_value
from rfad_sklearn._utils.preprocessing_value import Preprocessing
from rfad_sklearn._utils.row_selection import evenly
from rfad_sklearn.preprocessing import fit_preprocessing

SHORT = {"max_iter": 10, "eval_every": 5, "random_state": 0, "architecture": MLP(width=16)}


@pytest.fixture
def table(rng):
    """Lognormal, normal, constant, two-valued and count columns."""
    n = 400
    return np.column_stack(
        [
            rng.lognormal(sigma=2, size=n),
            rng.normal(5, 2, n),
            np.full(n, 3.5),
            rng.random(n) < 0.02,
            rng.poisson(4, n),
        ]
    )


@pytest.fixture
def skewed(rng):
    """Two classes by the logarithm of a lognormal column, and another column that is noise."""
    amount, noise = rng.lognormal(sigma=3, size=600), rng.normal(size=600)
    y = np.abs(np.log(amount)) < 2
    return np.column_stack([amount, noise]), y.astype(int)


def test_skewed_columns_become_normal(table):
    Z = QuantileNormalizer().fit_transform(table)
    assert kstest(Z[:, 0], "norm").pvalue > 0.5
    assert kstest(Z[:, 1], "norm").pvalue > 0.5
    assert_array_equal(Z[:, 2], 0)


def test_few_distinct_values_get_the_normal_score_of_their_mean_rank(table):
    Z = QuantileNormalizer().fit_transform(table)
    for column in (3, 4):
        expected = ndtri((rankdata(table[:, column]) - 0.5) / len(table))
        assert_allclose(Z[:, column], expected)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=120),
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=10),
    st.integers(2, 12),
)
def test_the_map_is_monotone_and_bounded_both_ways(seen, others, n_quantiles):
    X, others = np.array(seen)[:, None], np.sort(others)[:, None]
    value = QuantileNormalizer(n_quantiles).fit(X).value_
    if X.min() == X.max():
        assert len(value.quantile_columns) == 0
        return
    Z = value.apply(np.concatenate([X, others]))
    assert np.isfinite(Z).all()
    assert np.abs(Z).max() < 3.5
    # But for rounding between two knots.
    assert (np.diff(value.apply(others), axis=0) >= -1e-14).all()
    back = value.invert(others)
    assert (np.diff(back, axis=0) >= -1e-14 * np.abs(back).max()).all()
    assert back.min() >= X.min()
    assert back.max() <= X.max()


def test_the_inverse_takes_it_back(table):
    normalizer = QuantileNormalizer().fit(table)
    assert_allclose(normalizer.inverse_transform(normalizer.transform(table)), table, rtol=1e-9)


def test_numbers_beyond_the_range_are_taken_for_its_ends(table):
    value = QuantileNormalizer().fit(table).value_
    ends = np.stack([table.min(0), table.max(0)])
    beyond = np.stack([np.full(5, -1e300), np.full(5, np.inf)])
    beyond[:, 2] = 3.5
    assert_array_equal(value.apply(beyond), value.apply(ends))
    assert_array_equal(value.invert(value.apply(beyond)), ends)


def test_outliers_between_the_rows_that_are_looked_at_bound_the_map(monkeypatch, table):
    monkeypatch.setattr(
        "rfad_sklearn._utils.quantile_fit.sampled_rows", lambda n, n_columns: evenly(n, 50)
    )
    table[1, 1] = 1e6
    value = fit_preprocessing("auto", table, None)
    assert value.quantile_columns.tolist() == [0, 1]
    assert value.invert(np.full((1, 5), 9.0))[0, 1] == 1e6
    assert 2 < value.apply(table)[1, 1] < 3


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_rows_on_a_device_are_mapped_as_on_the_host(rng, dtype):
    rows = (50 * rng.exponential(size=(200, 3))).clip(0, 255).astype(dtype)
    value = QuantileNormalizer().fit(rows).value_
    read = DeviceRows(rows, value, "cpu").read(torch.arange(200))
    expected = value.apply(rows)
    assert read.numpy().dtype == expected.dtype
    assert_array_equal(read.numpy(), expected)
    back = value.to("cpu", torch.float32).invert(read)
    assert_array_equal(back.numpy(), value.invert(expected))


def test_long_integers_keep_their_order():
    rows = 2**50 + np.arange(100)[:, None] ** 4
    Z = QuantileNormalizer(n_quantiles=200).fit_transform(rows)
    assert (np.diff(Z, axis=0) > 0).all()


def test_images_are_refused(rng):
    X, y = rng.random((40, 4, 4)), np.arange(40) % 2
    with pytest.raises(ValueError, match=r"images of shape \(4, 4, 1\); use .*standardize"):
        QuantileNormalizer().fit(X)
    with pytest.raises(ValueError, match="Quantiles are for the columns of tables"):
        NNGPKernelRidge(preprocessing="quantile").fit(X, y)


# What "auto" does


def test_automatic_quantiles_are_of_skewed_columns_only(table):
    value = fit_preprocessing("auto", table, None)
    assert value.quantile_columns.tolist() == [0]
    Z, standardised = value.apply(table), standardizing_value(table, None).apply(table)
    assert_array_equal(Z[:, 1:], standardised[:, 1:])
    assert_array_equal(Z[:, 0], QuantileNormalizer().fit_transform(table)[:, 0])
    negated = fit_preprocessing("auto", -table, None)
    assert negated.quantile_columns.tolist() == [0]
    without = table[:, 1:]
    assert fit_preprocessing("auto", without, None) == standardizing_value(without, None)


def test_grades_and_flat_images_stay_standardised(rng):
    grades = np.minimum(rng.geometric(0.6, size=(500, 1)), 9)
    assert fit_preprocessing("auto", grades, None) == standardizing_value(grades, None)
    # Pixels at the border are skewed.
    pixels = np.zeros((300, 64))
    pixels[:, :] = rng.random((300, 64)) ** np.linspace(1, 40, 64)
    pixels[0], pixels[1] = 0, 1
    assert fit_preprocessing("auto", pixels, None) == standardizing_value(pixels, None)
    assert len(fit_preprocessing("auto", pixels[:, 32:], None).quantile_columns) == 32


@pytest.mark.parametrize(
    "estimator", [RFADDistiller(downstream="nngp", **SHORT), NNGPKernelRidge()]
)
def test_the_plan_says_what_auto_became(estimator, skewed):
    X, y = skewed
    plan = estimator.fit(X, y).plan_
    assert plan.preprocessing == "quantiles of 1 columns, else standardised"
    assert plan.reasons["preprocessing"] == "these columns of a table are skewed"
    plan = estimator.fit(X[:, 1:], y).plan_
    assert plan.preprocessing == "standardised"
    assert "without skewed" in plan.reasons["preprocessing"]


def test_outliers_no_longer_hide_the_rest(skewed):
    X, y = skewed
    half = slice(None, None, 2), slice(1, None, 2)
    scores = [
        NNGPKernelRidge(preprocessing=preprocessing)
        .fit(X[half[0]], y[half[0]])
        .score(X[half[1]], y[half[1]])
        for preprocessing in ("standardize", "auto", "quantile")
    ]
    assert min(scores[1:]) > scores[0] + 0.1, scores


# Items


@pytest.mark.parametrize(
    "estimator",
    [
        RFADDistiller(ipc=3, downstream="nngp", learning_rate=1.0, **SHORT),
        RFADDistiller(ipc=3, downstream="nngp", learning_rate=1.0, init="noise", **SHORT),
        RFADDistiller(ipc=3, downstream="nngp", corruption=0.5, **SHORT),
        KIPDistiller(
            ipc=3, kernel="nngp", max_iter=5, eval_every=5, learning_rate=1.0, random_state=0
        ),
        GradientMatchingDistiller(ipc=3, batch_size=16, **SHORT),
        CoresetSelector(ipc=3, strategy="centroids", random_state=0),
    ],
    ids=["rfad", "noise", "corruption", "kip", "gradient matching", "selector"],
)
def test_items_lie_in_the_range_and_are_what_was_evaluated(estimator, skewed, tmp_path):
    X, y = skewed
    estimator.set_params(preprocessing="quantile").fit(X, y)
    coreset = estimator.coreset_
    assert (X.min(0) <= coreset.X).all()
    assert (X.max(0) >= coreset.X).all()
    Z = coreset.preprocessing.apply(coreset.X)
    assert_allclose(coreset.preprocessing.invert(Z), coreset.X, rtol=1e-6, atol=1e-9)
    if coreset.corruption_mask is not None:
        assert len(np.unique(Z[coreset.corruption_mask])) > 1
    loaded = Coreset.load(coreset.save(tmp_path / "coreset.npz"))
    assert loaded == coreset
    predicted = [NNGPKernelRidge().fit_coreset(c).predict(X) for c in (loaded, coreset)]
    assert_array_equal(*predicted)


# The value and its file


def arrays(**changes):
    """Parts of a value of three columns, two of which are mapped."""
    return {
        "offset": np.zeros(3),
        "scale": np.ones(3),
        "quantile_columns": np.array([0, 2]),
        "quantiles": np.array([[0.0, 1.0, 5.0], [2.0, 3.0, 3.0]]),
        "normal_scores": np.array([[-1.0, 0.0, 1.0], [-0.5, 0.5, 0.5]]),
        **changes,
    }


def test_it_interpolates_between_knots():
    value = Preprocessing(**arrays())
    X = np.array([[0.5, 7.0, 2.0], [3.0, -7.0, 3.0], [9.0, 0.0, 2.5]])
    assert_allclose(value.apply(X), [[-0.5, 7, -0.5], [0.5, -7, 0.5], [1, 0, 0]])
    assert_allclose(value.invert(value.apply(X)), np.minimum(X, [5, np.inf, 3]))
    low, high = value.score_range
    assert low.tolist() == [-1, -np.inf, -0.5]
    assert high.tolist() == [1, np.inf, 0.5]


HOSTILE = [
    ({"quantile_columns": np.array([0.0, 2.0])}, "quantile_columns must be a vector of integers"),
    ({"quantile_columns": np.array([[0, 2]])}, "quantile_columns must be a vector of integers"),
    ({"quantile_columns": np.array([0, 3])}, "increasing numbers of the 3 columns"),
    ({"quantile_columns": np.array([-1, 2])}, "increasing numbers of the 3 columns"),
    ({"quantile_columns": np.array([2, 2])}, "increasing numbers of the 3 columns"),
    ({"quantile_columns": np.array([1])}, "a row of as many knots for each of the 1"),
    ({"quantile_columns": None}, "a row of as many knots for each of the 0"),
    ({"normal_scores": None}, r"for each of the 2 quantile_columns, got shape \(0, 0\)"),
    ({"normal_scores": np.zeros((2, 4))}, "normal_scores must have a row of as many knots"),
    ({"quantiles": np.zeros(6)}, "quantiles must have a row of as many knots"),
    ({"quantiles": np.zeros((2, 3), dtype=complex)}, "quantiles must hold real numbers"),
    ({"quantiles": np.array([[0.0, np.nan, 5.0], [2.0, 3.0, 3.0]])}, "holds NaN or infinity"),
    ({"quantiles": np.array([[-1.7e308, 0, 1.7e308], [2, 3, 3]])}, "numbers that are too large"),
    ({"quantiles": np.array([[5.0, 1.0, 0.0], [2.0, 3.0, 3.0]])}, "must not decrease"),
    ({"quantiles": np.array([[1.0, 1.0, 5.0], [2.0, 3.0, 3.0]])}, "increase at the same knots"),
    ({"normal_scores": np.zeros((2, 3))}, "increase at the same knots"),
    (
        {"quantiles": np.zeros((2, 1)), "normal_scores": np.zeros((2, 1))},
        "two knots of each column at least",
    ),
    ({"row_norm": True}, "quantiles exclude row_norm and whitening"),
]


@pytest.mark.parametrize(("changes", "message"), HOSTILE)
def test_hostile_values_are_refused_in_memory_and_in_a_file(changes, message, tmp_path):
    parts = {name: part for name, part in arrays(**changes).items() if part is not None}
    with pytest.raises(ValueError, match=message):
        Preprocessing(**parts)
    whole = Coreset(
        X=np.ones((2, 3)),
        targets=np.eye(2) - 0.5,
        classes=[0, 1],
        y=[0, 1],
        architecture=MLP(depth=1),
        preprocessing=Preprocessing(**arrays()),
    )
    path = whole.save(tmp_path / "coreset.npz")
    with np.load(path) as loaded:
        stored = {name: loaded[name] for name in loaded.files}
    stored.update({f"preprocessing_{name}": part for name, part in changes.items()})
    np.savez(path, **{name: part for name, part in stored.items() if part is not None})
    with pytest.raises(ValueError, match=message):
        Coreset.load(path)


def test_a_file_without_quantiles_has_no_arrays_for_them(coreset, tmp_path):
    with np.load(coreset.save(tmp_path / "coreset.npz")) as loaded:
        assert not [name for name in loaded.files if "quantile" in name or "scores" in name]
