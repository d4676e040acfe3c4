"""Going on from a coreset: its items are where the next run starts, with new rows or classes."""

import numpy as np
import pytest
from sklearn.base import clone

from rfad_sklearn import (
    MLP,
    Coreset,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)
from tests.conftest import FAST

SHORT = {"max_iter": 6, "eval_every": 3, "random_state": 0}
SMALL = {**SHORT, "architecture": MLP(width=16)}
MAKERS = {
    "nngp": lambda **changes: RFADDistiller(**{**SMALL, "n_networks": 2, **changes}),
    "any": lambda **changes: RFADDistiller(**{**SMALL, "downstream": "any", **changes}),
    "kip": lambda **changes: KIPDistiller(**{**SHORT, **changes}),
    "matching": lambda **changes: GradientMatchingDistiller(**{**SMALL, **changes}),
}
# Three of the first class, two of the second.
FIRST = {"ant": 3, "bee": 2}


@pytest.fixture
def rows(rng):
    """Rows of three classes."""
    y = np.array(["ant", "bee", "cat"])[np.arange(120) % 3]
    return rng.normal(size=(120, 3)) + (np.arange(120) % 3)[:, None], y


@pytest.fixture
def coreset(rows):
    X, y = rows
    two = y != "cat"
    return MAKERS["nngp"](ipc=FIRST).fit(X[two], y[two]).coreset_


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_items_come_first_and_others_start_by_default(make, rows, coreset):
    X, y = rows
    distiller = clone(make(ipc=4, init=coreset, max_iter=0)).fit(X, y)
    items, labels = distiller.coreset_.X, distiller.coreset_.y
    assert labels.tolist() == ["ant"] * 4 + ["bee"] * 4 + ["cat"] * 4
    low, high = (-np.inf, np.inf) if make is not MAKERS["any"] else (X.min(0), X.max(0))
    expected = np.clip(coreset.X, low, high)
    np.testing.assert_allclose(items[[0, 1, 2, 4, 5]], expected, atol=1e-5)
    others = items[[3, 6, 7, 8, 9, 10, 11]]
    assert (np.ptp(np.vstack([items[:4], others]), axis=0) > 0).all()
    if make is not MAKERS["any"]:
        # Rows of their class.
        for item, label in zip(others, labels[[3, 6, 7, 8, 9, 10, 11]], strict=True):
            assert np.abs(X[y == label] - item).max(1).min() < 1e-5
    assert distiller.plan_.init == "Coreset"
    assert distiller.plan_.reasons["init"].startswith("5 of 12 items are the coreset's, the oth")
    assert distiller.coreset_.provenance["settings"]["init"] == "Coreset"
    assert not np.array_equal(clone(make(ipc=4, init=coreset)).fit(X, y).coreset_.X, items)


def test_nothing_is_drawn_for_items_that_are_there(rows, coreset):
    X, y = rows
    two = y != "cat"
    distiller = MAKERS["nngp"](ipc=FIRST, init=coreset).fit(X[two], y[two])
    assert distiller.plan_.reasons["init"] == "5 of 5 items are the coreset's"
    given = MAKERS["nngp"](ipc=FIRST, init=coreset.X).fit(X[two], y[two])
    np.testing.assert_array_equal(distiller.coreset_.X, given.coreset_.X)


def test_labels_say_the_class_and_the_order_within_it_stays(rows, coreset):
    X, y = rows
    two = y != "cat"
    order = np.array([4, 0, 2, 3, 1])
    mixed = Coreset(
        X=coreset.X[order],
        targets=coreset.targets[order],
        classes=coreset.classes,
        y=coreset.y[order],
        architecture=coreset.architecture,
        preprocessing=coreset.preprocessing,
    )
    items = MAKERS["kip"](ipc=FIRST, init=mixed, max_iter=0).fit(X[two], y[two]).coreset_.X
    np.testing.assert_allclose(items, coreset.X[[0, 2, 1, 4, 3]], atol=1e-5)


@pytest.mark.parametrize("kind", ["nngp", "any"])
def test_few_new_rows_keep_the_items_and_a_small_new_class_gives_its_rows(kind, rows, coreset):
    X, y = rows
    few = np.concatenate([np.flatnonzero(y == "ant")[:2], np.flatnonzero(y == "bee")[:40]])
    few = np.concatenate([few, np.flatnonzero(y == "cat")[:2]])
    with pytest.warns(UserWarning, match=r"ipc=3 asks for more items .* rows: 'cat' \(2\)"):
        fitted = MAKERS[kind](ipc=3, init=coreset).fit(X[few], y[few]).coreset_
    assert fitted.y.tolist() == ["ant"] * 3 + ["bee"] * 3 + ["cat"] * 2
    np.testing.assert_array_equal(fitted.X[6:], X[few[-2:]])


def test_rows_are_held_out_though_items_are_as_many(rng):
    """They start from a coreset: the class needs no rows for them."""
    y = np.repeat([0, 1], [1000, 400])
    X = rng.normal(size=(1400, 3)) + y[:, None]
    half = np.arange(1400) % 2 == 0
    coreset = MAKERS["kip"](ipc={0: 2, 1: 150}, max_iter=0).fit(X[half], y[half]).coreset_
    rare = np.r_[0:1000, 1000:1150]
    again = MAKERS["kip"](ipc={0: 2, 1: 150}, init=coreset, max_iter=0).fit(X[rare], y[rare])
    assert again.plan_.n_held_out > 100
    assert MAKERS["kip"](ipc={0: 2, 1: 150}, max_iter=0).fit(X[rare], y[rare]).plan_.n_held_out == 0


def test_going_on_is_better_than_before(rows):
    X, y = rows
    first = RFADDistiller(ipc=2, max_iter=20, random_state=0, early_stopping=False).fit(X, y)
    again = RFADDistiller(
        ipc=2, max_iter=60, random_state=0, early_stopping=False, init=first.coreset_
    ).fit(X, y)
    assert again.loss_curve_[-1] < first.loss_curve_[-1]
    assert again.loss_curve_[0] < first.loss_curve_[0]


def test_images_and_grids(digits, coreset):
    X, _, y, _ = digits
    first = RFADDistiller(**FAST).fit(X, y).coreset_
    clf = NNGPKernelRidge(distiller=RFADDistiller(**{**FAST, "ipc": 2, "init": first}))
    assert clf.fit(X, y).coreset_.n_items == 6
    with pytest.raises(
        ValueError, match=r"init is a coreset of image_shape=\(8, 8, 1\), but X has"
    ):
        MAKERS["nngp"](init=first).fit(X.reshape(len(X), -1), y)
    with pytest.raises(ValueError, match="init is a coreset of 3 columns, but X has 64; give rows"):
        RFADDistiller(**FAST, init=coreset).fit(X, y)


def test_names_of_columns_must_be_the_same(rows):
    pd = pytest.importorskip("pandas")
    X, y = rows
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named = MAKERS["nngp"]().fit(frame, y).coreset_
    # Columns without names may be any.
    MAKERS["nngp"](init=named).fit(X, y)
    MAKERS["nngp"](init=MAKERS["nngp"]().fit(X, y).coreset_).fit(frame, y)
    with pytest.raises(ValueError, match=r"of the columns \['a', 'b', 'c'\], but X has \['c', 'b"):
        MAKERS["nngp"](init=named).fit(frame[["c", "b", "a"]], y)


@pytest.mark.parametrize(
    ("settings", "keep", "message"),
    [
        ({"ipc": 1}, ["ant", "bee"], r"more items of some .*'ant' \(3\), 'bee' \(2\).* wanted"),
        ({"n_items": 4}, ["ant", "bee"], r"more items of some .*wanted \('ant' \(2\), 'bee'"),
        ({"ipc": 4}, ["ant", "cat"], r"classes of which y has no rows: \['bee'\]; .*Give rows of"),
        ({"ipc": 4, "corruption": 0.5}, ["ant", "bee"], "corruption=0.5 starts from noise, but"),
    ],
)
def test_refused(settings, keep, message, rows, coreset):
    X, y = rows
    kept = np.isin(y, keep)
    distiller = MAKERS["nngp"](**settings, init=coreset)
    with pytest.raises(ValueError, match=message):
        distiller.fit(X[kept], y[kept])
    assert not [name for name in vars(distiller) if name.endswith("_")]


def test_labels_of_another_kind_are_other_classes(rows, coreset):
    X, y = rows
    with pytest.raises(
        ValueError, match=r"no rows: \['ant', 'bee'\]; the classes of y are \[0, 1,"
    ):
        MAKERS["nngp"](ipc=4, init=coreset).fit(X, np.unique(y, return_inverse=True)[1])


def test_a_sampler_that_keeps_rows_takes_no_coreset(rows, coreset):
    with pytest.raises(ValueError, match="which items given as init of the distiller contradict"):
        MAKERS["any"](init=coreset).as_sampler("auto").fit_resample(*rows)
    items, _ = MAKERS["any"](init=coreset, ipc=4).as_sampler().fit_resample(*rows)
    assert items.shape == (12, 3)


def test_a_run_goes_on_from_the_same_coreset_only(rows, coreset, tmp_path):
    path = tmp_path / "run.npz"
    whole = MAKERS["nngp"](ipc=4, init=coreset).fit(*rows)
    MAKERS["nngp"](ipc=4, init=coreset, checkpoint=path, max_iter=3).fit(*rows)
    other = MAKERS["kip"](ipc=3).fit(*rows).coreset_
    with pytest.raises(ValueError, match="with another init or preprocessing"):
        MAKERS["nngp"](ipc=4, init=other, checkpoint=path).fit(*rows)
    again = MAKERS["nngp"](ipc=4, init=coreset, checkpoint=path).fit(*rows)
    assert again.n_iter_ == whole.n_iter_
