"""Held-out rows of one's own: they evaluate, are never trained on, and must be like X and y."""

import numpy as np
import pytest

from rfad_sklearn import (
    MLP,
    CoresetSelector,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)
from rfad_sklearn._utils.row_stack import RowStack
from tests.conftest import FAST, FAST_ROWS

SHORT = {"max_iter": 6, "eval_every": 3, "random_state": 0}
MAKERS = {
    "nngp": lambda **changes: RFADDistiller(**{**FAST_ROWS, **changes}),
    "any": lambda **changes: RFADDistiller(
        **{**SHORT, "downstream": "any", "architecture": MLP(width=16), **changes}
    ),
    "kip": lambda **changes: KIPDistiller(**{**SHORT, **changes}),
    "matching": lambda **changes: GradientMatchingDistiller(
        **{**SHORT, "architecture": MLP(width=16), "early_stopping": "auto", **changes}
    ),
}


@pytest.fixture
def parts(rng):
    """Rows of two classes and held-out rows: ``X, y, X_val, y_val``."""
    y = np.arange(90) % 2
    X = rng.normal(size=(90, 4)) + y[:, None]
    return X[:60], y[:60], X[60:], y[60:]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_they_judge_and_are_not_trained_on(make, parts):
    X, y, X_val, y_val = parts
    first = make().fit(X, y, X_val, y_val)
    # Two of the three kinds of rows that they could change: what is trained on, and its units.
    other = make().fit(X, y, X_val=X_val[:7] * 50, y_val=y_val[:7])
    assert first.loss_curve_ == other.loss_curve_
    np.testing.assert_array_equal(
        first.coreset_.preprocessing.scale, other.coreset_.preprocessing.scale
    )
    assert first.validation_scores_ != other.validation_scores_
    assert (first.plan_.n_train, first.plan_.n_held_out) == (60, 30)
    assert first.plan_.reasons["n_held_out"] == "given as X_val"
    # So few rows hold none of their own out.
    assert make().fit(X, y).validation_scores_ is None


def test_the_score_is_that_of_the_given_rows(parts):
    X, y, X_val, y_val = parts
    distiller = KIPDistiller(max_iter=0, random_state=0).fit(X, y, X_val, y_val)
    clf = NNGPKernelRidge(kernel="ntk").fit_coreset(distiller.coreset_)
    assert distiller.best_validation_score_ == pytest.approx(clf.score(X_val, y_val))


def test_their_classes_count_nowhere(parts):
    """Not in the items of a class that gives its rows, nor in the weights of items and classes."""
    X, y, X_val, _ = parts
    y = (np.arange(60) < 3).astype(int)
    y_val = np.ones(30, dtype=int)
    with pytest.warns(UserWarning, match="more items than these classes have rows"):
        fitted = MAKERS["any"](ipc=5, class_weight="balanced").fit(X, y, X_val, y_val)
    coreset = fitted.coreset_
    np.testing.assert_array_equal(coreset.X[5:], X[:3])
    shares = np.array([57 / 60, 3 / 60]) / [5 / 8, 3 / 8]
    np.testing.assert_allclose(coreset.sample_weight, shares[coreset.y])


def test_labels_are_those_of_y(parts):
    X, y, X_val, y_val = parts
    numbers = MAKERS["kip"]().fit(X, y, X_val, y_val)
    words = MAKERS["kip"]().fit(
        X, np.array(["no", "yes"])[y], X_val, np.array(["no", "yes"])[y_val]
    )
    floats = MAKERS["kip"]().fit(X, y, X_val, y_val.astype(float))
    assert numbers.validation_scores_ == words.validation_scores_ == floats.validation_scores_


def test_images_and_frames(digits):
    X, X_val, y, y_val = digits
    images = RFADDistiller(**FAST).fit(X, y, X_val, y_val)
    flat = RFADDistiller(**FAST, image_shape=(8, 8))
    flat.fit(X.reshape(len(X), -1), y, X_val.reshape(len(X_val), -1), y_val)
    np.testing.assert_array_equal(images.coreset_.X, flat.coreset_.X)
    assert images.validation_scores_ == flat.validation_scores_
    with pytest.raises(
        ValueError, match=r"X_val and y_val must be like X and y: X holds images of"
    ):
        RFADDistiller(**FAST).fit(X, y, X_val.reshape(-1, 4, 16), y_val)
    pd = pytest.importorskip("pandas")
    columns = [f"pixel {k}" for k in range(64)]
    frame, frame_val = (pd.DataFrame(rows.reshape(-1, 64), columns=columns) for rows in (X, X_val))
    MAKERS["nngp"]().fit(frame, y, frame_val, y_val)
    with pytest.raises(
        ValueError, match=r"X_val and y_val must be like X and y: The feature names"
    ):
        MAKERS["nngp"]().fit(frame, y, frame_val[columns[::-1]], y_val)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda X, y: (X, None), {}, "X_val is given without y_val; give both, or neither"),
        (lambda X, y: (None, y), {}, "y_val is given without X_val; give both, or neither"),
        (
            lambda X, y: (X, y),
            {"early_stopping": False},
            "early_stopping=False evaluates no rows; use early_stopping=True or 'auto'",
        ),
        (lambda X, y: (X[:, 1:], y), {}, "must be like X and y: X has 3 features, but RFAD"),
        (lambda X, y: (X, y[1:]), {}, "must be like X and y: Found input variables with incons"),
        (lambda X, y: (X[:0], y[:0]), {}, "must be like X and y: Found array with 0 sample"),
        (lambda X, y: (X * np.nan, y), {}, "must be like X and y: Input X contains NaN"),
        (lambda X, y: (X, y + 1), {}, r"y_val holds labels that y does not: \[2\]; .* \[0, 1\]"),
        (lambda X, y: (X, y.astype(str)), {}, r"y_val holds labels that y does not: \['0', '1'\]"),
        (lambda X, y: (X, y + 0.5), {}, "Unknown label type: continuous"),
    ],
)
def test_refused(parts, change, settings, message):
    X, y, X_val, y_val = parts
    distiller = MAKERS["nngp"](**settings)
    with pytest.raises(ValueError, match=message):
        distiller.fit(X, y, *change(X_val, y_val))
    assert not [name for name in vars(distiller) if name.endswith("_")]


def test_values_that_the_type_of_x_cannot_hold_are_refused(parts):
    X, y, X_val, y_val = parts
    counts, more = np.abs(100 * X).astype(np.uint8), np.abs(100 * X_val).astype(np.uint8)
    same = MAKERS["kip"]().fit(counts, y, more, y_val)
    wide = MAKERS["kip"]().fit(counts, y, more.astype(np.float64), y_val)
    assert same.validation_scores_ == wide.validation_scores_
    with pytest.raises(ValueError, match="values that uint8, the type of X, cannot hold"):
        MAKERS["kip"]().fit(counts, y, more + 0.5, y_val)


def test_of_very_many_some_are_drawn(rng):
    y = np.arange(3000) % 2
    X = rng.normal(size=(3000, 2)) + y[:, None]
    plan = MAKERS["kip"](max_iter=0).fit(X[:50], y[:50], X, y).plan_
    assert plan.n_held_out == 512
    assert plan.reasons["n_held_out"].startswith("drawn from the 3,000 given as X_val")


@pytest.mark.parametrize("kind", ["nngp", "any"])
def test_a_run_that_goes_on_needs_the_same_rows(kind, parts, tmp_path):
    X, y, X_val, y_val = parts
    path = tmp_path / "run.npz"
    whole = MAKERS[kind](max_iter=12).fit(X, y, X_val, y_val)
    MAKERS[kind](checkpoint=path).fit(X, y, X_val, y_val)
    for others in ((X_val + 1, y_val), (X_val, 1 - y_val), (None, None)):
        with pytest.raises(ValueError, match="run on other rows or labels"):
            MAKERS[kind](checkpoint=path, max_iter=12).fit(X, y, *others)
    both = np.vstack([X, X_val]), np.concatenate([y, y_val])
    with pytest.raises(ValueError, match="run on other rows or labels"):
        MAKERS[kind](checkpoint=path, max_iter=12).fit(*both)
    resumed = MAKERS[kind](checkpoint=path, max_iter=12).fit(X, y, X_val, y_val)
    assert resumed.n_iter_ == whole.n_iter_
    # The step size falls over the budget, which was a shorter one at first.
    assert resumed.validation_scores_[0] == whole.validation_scores_[0]


def test_selectors_hold_no_rows_out(parts):
    with pytest.raises(TypeError, match="X_val"):
        CoresetSelector().fit(*parts[:2], X_val=parts[2], y_val=parts[3])


def test_a_stack_reads_as_one_array(rng, tmp_path):
    first = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=(5, 3))
    first[:] = rng.normal(size=(5, 3))
    second = rng.normal(size=(4, 3))
    stack = RowStack(first, second)
    whole = np.vstack([first, second.astype(np.float32)])
    assert (stack.shape, len(stack), stack.dtype, stack.nbytes) == ((9, 3), 9, np.float32, 108)
    for where in (slice(None), slice(3, 7), slice(6, 20), [8, 0, 5, 4], [1, 0], [7], []):
        numbers = where if isinstance(where, slice) else np.array(where, dtype=int)
        np.testing.assert_array_equal(stack[numbers], whole[numbers])
        assert stack[numbers].dtype == np.float32
