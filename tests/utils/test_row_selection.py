import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfad_sklearn._utils import row_selection
from rfad_sklearn._utils.row_selection import (
    initial_rows,
    items_per_class,
    share_items,
    split_holdout,
)

PROPERTY = settings(max_examples=30, deadline=None)
# Rows and items of each class: of every class no more items than rows.
SIZES = st.lists(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
    min_size=2,
    max_size=12,
)


def test_holdout_is_stratified_disjoint_and_complete(rng):
    y_encoded = np.repeat([0, 1, 2], [100, 50, 10])
    train, validation = split_holdout(y_encoded, 0.1, np.array([5, 5, 5]), rng)
    assert np.bincount(y_encoded[validation]).tolist() == [10, 5, 1]
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(160))


@PROPERTY
@given(
    sizes=SIZES,
    fraction=st.floats(0.01, 0.99),
    limit=st.integers(1, 500),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_holdout_is_stratified_disjoint_and_leaves_the_items(sizes, fraction, limit, seed):
    counts, per_class = np.array(sizes).T
    rng = np.random.default_rng(seed)
    y_encoded = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    train, validation = split_holdout(y_encoded, fraction, per_class, rng, limit)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train, validation])), np.arange(len(y_encoded))
    )
    np.testing.assert_array_equal(train, np.sort(train))
    np.testing.assert_array_equal(validation, np.sort(validation))
    held = np.bincount(y_encoded[validation], minlength=len(counts))
    assert (counts - held >= per_class).all()
    # Each class gives its share, up to a row, unless its items need the rows.
    shares = min(fraction, limit / len(y_encoded)) * counts
    assert (held <= shares + 1).all()
    free = counts - per_class >= np.ceil(shares)
    assert (held[free] >= np.floor(shares[free])).all()
    assert len(validation) <= min(fraction * len(y_encoded), limit) + len(counts) / 2 + 1


@PROPERTY
@given(seed=st.integers(0, 2**32 - 1), fraction=st.floats(0.01, 0.99))
def test_the_same_seed_holds_out_the_same_rows(seed, fraction):
    y_encoded = np.repeat([0, 1, 2], [40, 20, 5])
    first, second = (
        split_holdout(y_encoded, fraction, np.ones(3, dtype=int), np.random.default_rng(seed))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[1], second[1])


def test_every_class_keeps_its_items(rng):
    y_encoded = np.repeat([0, 1], [100, 6])
    train, validation = split_holdout(y_encoded, 0.5, np.array([5, 5]), rng)
    assert np.bincount(y_encoded[train])[1] == 5
    assert np.bincount(y_encoded[validation])[1] == 1


def test_a_class_that_cannot_spare_a_row_gives_none(rng):
    y_encoded = np.repeat([0, 1], [100, 5])
    train, validation = split_holdout(y_encoded, 0.5, np.array([5, 5]), rng)
    assert np.bincount(y_encoded[train]).tolist() == [50, 5]
    assert (y_encoded[validation] == 0).all()


@pytest.mark.parametrize(
    ("n_classes", "size", "limit", "n_held"),
    [(100, 2, 2048, 20), (200, 3, 2048, 60), (1000, 10, 256, 256)],
)
def test_many_small_classes_give_no_more_than_their_share(rng, n_classes, size, limit, n_held):
    y_encoded = np.repeat(np.arange(n_classes), size)
    train, validation = split_holdout(y_encoded, 0.1, np.ones(n_classes, dtype=int), rng, limit)
    assert len(validation) == n_held
    assert len(np.unique(y_encoded[validation])) == n_held
    assert len(np.unique(y_encoded[train])) == n_classes


def test_holdout_is_bounded(rng, monkeypatch):
    monkeypatch.setattr(row_selection, "_MAX_HELD_OUT", 20)
    _, validation = split_holdout(np.repeat([0, 1], 500), 0.5, np.array([1, 1]), rng)
    assert len(validation) == 20


def test_holdout_of_large_images_is_smaller(rng):
    _, validation = split_holdout(np.repeat([0, 1], 500), 0.5, np.array([1, 1]), rng, limit=30)
    assert len(validation) == 30


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=8),
    share=st.floats(0, 1),
)
def test_a_number_of_items_is_shared_as_evenly_as_rows_allow(counts, share):
    counts = np.array(counts)
    n_items = len(counts) + int(share * (counts.sum() - len(counts)))
    per_class = share_items(n_items, counts)
    exhausted = per_class == counts
    assert per_class.sum() == n_items
    assert (per_class >= 1).all()
    assert (per_class <= counts).all()
    # Those that have rows left differ by one at most, and nobody has more.
    if not exhausted.all():
        assert per_class.max() - per_class[~exhausted].min() <= 1


@pytest.mark.parametrize("n_items", [2, 16])
def test_items_that_cannot_be_shared_are_refused(n_items):
    with pytest.raises(ValueError, match=rf"n_items={n_items} must be .*3 classes.*15 rows"):
        share_items(n_items, np.array([5, 5, 5]))


def test_numbers_per_class_from_a_dict_of_numpy_labels():
    classes = np.array([1, 5, 9])
    per_class = items_per_class({np.int64(9): 3, 1: 1, 5: np.int64(2)}, classes)
    assert per_class.tolist() == [1, 2, 3]


LABELS = st.one_of(
    st.sets(st.integers(-1000, 1000), min_size=2, max_size=8),
    st.sets(st.text(st.characters(codec="ascii"), max_size=5), min_size=2, max_size=8),
    st.just({False, True}),
)


@PROPERTY
@given(labels=LABELS, data=st.data())
def test_numbers_per_class_of_any_labels(labels, data):
    classes = np.array(sorted(labels))
    wanted = [data.draw(st.integers(1, 40)) for _ in classes]
    given_in_any_order = data.draw(st.permutations(list(zip(classes, wanted, strict=True))))
    plain = {label.item(): number for label, number in given_in_any_order}
    for ipc in (dict(given_in_any_order), plain):
        assert items_per_class(ipc, classes).tolist() == wanted
    assert items_per_class(7, classes).tolist() == [7] * len(classes)


@PROPERTY
@given(labels=LABELS, data=st.data())
def test_any_other_numbers_per_class_are_refused(labels, data):
    classes = np.array(sorted(labels))
    ipc = dict.fromkeys(classes.tolist(), 2)
    label = data.draw(st.sampled_from(sorted(labels)))
    wrong = data.draw(st.sampled_from([0, -1, 1.5, True, "2", None, "missing", "unknown"]))
    if wrong == "missing":
        del ipc[label]
    elif wrong == "unknown":
        ipc["no such class"] = 2
    else:
        ipc[label] = wrong
    with pytest.raises(ValueError, match=r"^ipc"):
        items_per_class(ipc, classes)


@pytest.mark.parametrize("unit", ["D", "ns"])
@pytest.mark.parametrize(
    "key", [np.datetime64, datetime.date.fromisoformat, datetime.datetime.fromisoformat]
)
def test_numbers_per_class_from_a_dict_of_dates(unit, key):
    """Data frames keep dates in nanoseconds, which have no Python value."""
    days = ["2020-01-01", "2020-02-01"]
    classes = np.array(days, dtype=f"datetime64[{unit}]")
    per_class = items_per_class({key(days[1]): 2, key(days[0]): 1}, classes)
    assert per_class.tolist() == [1, 2]
    with pytest.raises(
        ValueError, match=r"unknown classes \['never'\], missing classes \['2020-02-01"
    ):
        items_per_class({key(days[0]): 1, "never": 1}, classes)


@pytest.mark.parametrize("strategy", row_selection.STRATEGIES)
def test_initial_rows_are_distinct_and_of_their_class(rng, strategy):
    y_encoded = np.repeat([0, 1], [30, 20])
    X = rng.normal(size=(50, 2))
    X[:10] = 0  # many equal rows: their centres coincide
    rows = initial_rows(y_encoded, np.arange(50), np.array([6, 3]), strategy, lambda i: X[i], rng)
    assert y_encoded[rows].tolist() == [0] * 6 + [1] * 3
    assert len(set(rows)) == 9


def test_kmeans_rows_are_near_the_centres_of_clusters(rng):
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    X = np.concatenate([centre + rng.normal(size=(40, 2)) for centre in centres])
    rows = initial_rows(
        np.zeros(120, dtype=int), np.arange(120), np.array([3]), "kmeans", lambda i: X[i], rng
    )
    distances = np.linalg.norm(X[rows][:, None] - centres, axis=2)
    assert sorted(distances.argmin(1)) == [0, 1, 2]
    assert distances.min(1).max() < 0.7


def test_kmeans_of_fewer_different_rows_than_items_is_not_worth_a_warning(rng):
    X = np.repeat(np.arange(3.0), 20)[:, None]
    rows = initial_rows(
        np.zeros(60, dtype=int), np.arange(60), np.array([6]), "kmeans", lambda i: X[i], rng
    )
    assert len(np.unique(rows)) == 6
    assert len(np.unique(X[rows])) == 3


def test_kmeans_looks_at_a_bounded_number_of_rows(rng, monkeypatch):
    monkeypatch.setattr(row_selection, "_MAX_COMPARED", 10)
    lengths = []

    def read(rows):
        lengths.append(len(rows))
        return np.asarray(rows, dtype=float)[:, None]

    initial_rows(np.zeros(100, dtype=int), np.arange(100), np.array([3]), "kmeans", read, rng)
    assert lengths == [10]


def test_herded_rows_keep_the_mean(rng):
    X = rng.normal(size=(200, 5)) ** 3
    herded = initial_rows(
        np.zeros(200, dtype=int), np.arange(200), np.array([20]), "herding", lambda i: X[i], rng
    )
    errors = [
        np.linalg.norm(X[rng.choice(200, 20, replace=False)].mean(0) - X.mean(0)) for _ in range(50)
    ]
    assert np.linalg.norm(X[herded].mean(0) - X.mean(0)) < min(errors)


def test_herding_is_greedy(rng):
    X = rng.normal(size=(30, 2))
    herded = initial_rows(
        np.zeros(30, dtype=int), np.arange(30), np.array([4]), "herding", lambda i: X[i], rng
    )
    for k in range(4):
        others = np.setdiff1d(np.arange(30), herded[:k])
        means = (X[herded[:k]].sum(0) + X[others]) / (k + 1)
        assert herded[k] == others[np.linalg.norm(means - X.mean(0), axis=1).argmin()]


def test_k_centres_cover_better_than_random_rows(rng):
    X = rng.normal(size=(200, 2))

    def radius(rows):
        return np.linalg.norm(X[:, None] - X[rows], axis=2).min(1).max()

    chosen = initial_rows(
        np.zeros(200, dtype=int), np.arange(200), np.array([12]), "kcenter", lambda i: X[i], rng
    )
    assert radius(chosen) < min(radius(rng.choice(200, 12, replace=False)) for _ in range(50))
