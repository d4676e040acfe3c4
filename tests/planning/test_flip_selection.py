"""Rows flipped left to right: which classes, what changes, and how a run goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rfad_sklearn import MLP, ConvNet, Coreset, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._networks.augment import flip_half
from rfad_sklearn._networks.random_features import cached_features
from rfad_sklearn._optimization.checkpoint import load_checkpoint, save_checkpoint
from rfad_sklearn._optimization.teacher import Teacher
from rfad_sklearn._planning import augmentation, pilot_sample
from rfad_sklearn._planning.flip_selection import label_preserving_classes, select_flipped_classes
from rfad_sklearn._utils.network_spec import ConvNetSpec
from rfad_sklearn.distillers._prepare import prepare
from tests.building import objective_of
from tests.conftest import FAST, FAST_ROWS
from tests.planning.test_depth_selection import some

# Without a pool, as the default has it where there is time; more than fifty digits.
FRESH = {**FAST, "architecture": ConvNet(depth=2, width=16), "pool_size": 1, "ipc": 6}


def flipped_classes(context):
    return select_flipped_classes(context)[0]


@pytest.fixture
def long_run(monkeypatch):
    """What makes a run of four steps a long one: a minute has time for six."""
    monkeypatch.setattr("rfad_sklearn._planning.timing.Timing._fresh_step", lambda *args: 10.0)
    monkeypatch.setattr("rfad_sklearn._planning.pool._AMPLE_STEPS", 4)
    monkeypatch.setattr("rfad_sklearn._planning.pool._ENOUGH_STEPS", 4)
    return {**FRESH, "max_time": 60, "teacher": None}


@pytest.fixture(scope="module")
def digits_but_nines(all_digits):
    """Without nines, of which by chance more or less than three in ten are lost when flipped."""
    X, _, y, _ = all_digits
    return X[y != 9], y[y != 9]


@pytest.fixture(scope="module")
def flipped_digits(digits_but_nines):
    """Every other one flipped left to right."""
    X, y = digits_but_nines
    chosen = np.random.default_rng(0).random(len(X)) < 0.5
    return np.where(chosen[:, None, None], X[:, :, ::-1], X), y


def test_half_of_the_images_are_flipped_that_may_be():
    x = torch.arange(1200.0).view(200, 1, 3, 2)
    may = torch.arange(200) % 2 == 0
    seen = flip_half(x, may, torch.Generator().manual_seed(0))
    as_they_are, flipped = (((seen == each).flatten(1).all(1)) for each in (x, x[:, :, [2, 1, 0]]))
    assert torch.equal(as_they_are, ~flipped)
    assert 30 < flipped[may].sum() < 70
    assert not flipped[~may].any()


def lost(y_encoded, n_lost):
    """Which flipped rows are wrong: the first of each class, by a dict of class to number."""
    wrong = np.zeros(len(y_encoded), dtype=bool)
    for code, n in n_lost.items():
        wrong[np.flatnonzero(y_encoded == code)[:n]] = True
    return wrong


def test_classes_that_lose_three_of_ten_are_left_out():
    y_encoded = np.arange(1000) % 10
    nothing = np.zeros(1000, dtype=bool)
    assert label_preserving_classes(nothing, nothing, y_encoded, 10).all()
    # Ten of a hundred are lost in all: one of the ten rows that are added to each class. So 33 of
    # 110 are 32 of a hundred and this one.
    for n, kept in ((32, True), (33, False)):
        flipped = lost(y_encoded, {3: n, 7: 100 - n})
        assert label_preserving_classes(nothing, flipped, y_encoded, 10).tolist() == [
            kept if code == 3 else code != 7 for code in range(10)
        ]


def test_what_is_won_makes_up_for_what_is_lost():
    y_encoded = np.arange(1000) % 10
    half = np.arange(1000) % 20 < 10
    assert label_preserving_classes(half, ~half, y_encoded, 10).all()
    # What the other classes win is no credit: of fifty and ten rows eighteen may be lost.
    for n, kept in ((18, True), (19, False)):
        assert label_preserving_classes(
            half, lost(y_encoded, {3: 50 + n}), y_encoded, 10
        ).tolist() == [kept or code != 3 for code in range(10)]


def test_classes_of_few_rows_follow_the_others():
    """Chance takes four rows here and there of a hundred classes of ten rows each.

    Another class has no row in the pilot sample.
    """
    y_encoded = np.arange(1000) % 100
    nothing = np.zeros(1000, dtype=bool)
    some_lose = label_preserving_classes(
        nothing, lost(y_encoded, dict.fromkeys(range(0, 100, 10), 4)), y_encoded, 101
    )
    assert some_lose.all()
    all_lose = label_preserving_classes(
        nothing, lost(y_encoded, dict.fromkeys(range(100), 5)), y_encoded, 101
    )
    assert not all_lose.any()
    # Two letters, either of which looks like the other when flipped.
    assert label_preserving_classes(nothing, lost(y_encoded, {5: 7, 6: 7}), y_encoded, 101)[
        4:8
    ].tolist() == [
        True,
        False,
        False,
        True,
    ]


def test_one_class_of_two():
    y_encoded = np.arange(1000) % 2
    nothing = np.zeros(1000, dtype=bool)
    assert label_preserving_classes(nothing, lost(y_encoded, {1: 400}), y_encoded, 2).tolist() == [
        True,
        False,
    ]


def test_rows_that_are_only_guessed_cannot_tell():
    y_encoded = (np.arange(1000) % 10 == 0).astype(int)
    for n_right, keep in ((900, False), (928, False), (929, True), (1000, True)):
        wrong = some(1000, 1000 - n_right).numpy()
        assert label_preserving_classes(wrong, wrong, y_encoded, 2).tolist() == [keep, keep]


@pytest.mark.slow
def test_rows_say_which_classes_may_be_flipped(digits_but_nines, flipped_digits):
    """Zeros and eights, but not ones with their serifs; all, where both sides are there."""
    for seed in range(3):
        assert flipped_classes(prepare(RFADDistiller(), *digits_but_nines, seed)) == (0, 8)
        assert flipped_classes(prepare(RFADDistiller(), *flipped_digits, seed)) == tuple(range(9))


def test_the_order_of_the_rows_says_nothing(digits_but_nines, flipped_digits):
    """Data sets come class by class."""
    for (X, y), kept in ((digits_but_nines, (0, 8)), (flipped_digits, tuple(range(9)))):
        order = np.argsort(y, kind="stable")
        assert flipped_classes(prepare(RFADDistiller(), X[order], y[order], 0)) == kept


def test_rows_without_a_class_to_keep(flipped_digits):
    X, y = flipped_digits
    assert not flipped_classes(
        prepare(RFADDistiller(), X, np.random.default_rng(0).permutation(y), 0)
    )


def test_the_pilot_sample_holds_training_rows_only_and_enough_of_them(flipped_digits, monkeypatch):
    context = prepare(RFADDistiller(), *flipped_digits, 0)
    rows = context.rows.astype(float)
    rows[context.validation] = np.nan
    # A single one of them would make a kernel NaN, which cannot be solved.
    assert len(flipped_classes(replace(context, rows=rows))) == 9
    # Images of more numbers than there may be, whatever the network makes of them.
    with monkeypatch.context() as patch:
        patch.setattr(pilot_sample, "_ENTRIES", 64 * 150)
        assert not flipped_classes(replace(context, spec=ConvNetSpec(depth=3)))
    monkeypatch.setattr(pilot_sample, "_LEAST_ROWS", 10**6)
    assert not flipped_classes(context)


@pytest.mark.parametrize(
    ("augment", "kept"),
    [(["flip"], range(9)), (False, ()), ("auto", (0, 8))],
)
def test_the_rows_of_a_step(digits_but_nines, augment, kept, long_run):
    distiller = RFADDistiller(**{**long_run, "augment": augment, "dtype": "float64"})
    context = prepare(distiller, *digits_but_nines, 0)
    objective = objective_of(distiller, context)
    group, data = objective.group, context.training_data
    x = data.read(group.rows)
    features = [
        cached_features(objective.spec, group.networks, images).flatten(1)
        for images in (x, x.flip(2))
    ]
    found = group.cache.centred + group.cache.mean
    as_they_are, flipped = ((found - each).abs().amax(1) < 1e-9 for each in features)
    assert bool((as_they_are | flipped).all())
    may = torch.isin(group.labels, torch.tensor(list(kept), dtype=torch.int64))
    assert bool(as_they_are[~may].all())
    # Symmetric images are both.
    assert not kept or min((~as_they_are[may]).sum(), (~flipped[may]).sum()) > may.sum() / 4
    assert torch.equal(group.labels, data.labels[group.rows])


def test_classes_are_chosen_only_in_long_runs_and_where_the_user_leaves_it_open(
    all_digits, long_run, monkeypatch
):
    X, _, y, _ = all_digits
    monkeypatch.setattr(
        augmentation, "select_flipped_classes", lambda context: pytest.fail("chose classes")
    )
    flat = X.reshape(len(X), -1)
    for rows, settings in (
        (X, {"pool_size": np.int64(2)}),
        (X, {"ipc": 1, "pool_size": "auto"}),
        (X, {"augment": False}),
        (X, {"augment": np.array(["flip"])}),
        (X, {"max_time": None}),
        (X, {"max_iter": 3}),
        (X, {"max_time": 39}),
        (X, {"max_iter": 0}),
        (flat, {"architecture": MLP(width=16)}),
    ):
        distiller = RFADDistiller(**{**long_run, **settings}).fit(rows, y)
        assert distiller.flipped_classes_.tolist() == (
            list(range(10)) if isinstance(settings.get("augment"), np.ndarray) else []
        )
        assert distiller.flipped_classes_.dtype == distiller.classes_.dtype
        assert (
            distiller.coreset_.provenance["flipped_classes"] == distiller.flipped_classes_.tolist()
        )


LABELS = {
    "strings": np.array(list("abcdefghij")),
    "objects": np.array(list("abcdefghij"), dtype=object),
    "floats": np.arange(10.0),
    "dates": np.datetime64("2020-01-01") + np.arange(10),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_the_chosen_classes_are_stored(digits_but_nines, long_run, tmp_path, labels):
    X, y = digits_but_nines
    distiller = RFADDistiller(**{**long_run, "pool_size": np.int64(1)}).fit(X, labels[y])
    assert distiller.flipped_classes_.tolist() == labels[[0, 8]].tolist()
    distiller.coreset_.save(tmp_path / "coreset.npz")
    coreset = Coreset.load(tmp_path / "coreset.npz")
    assert coreset.provenance["flipped_classes"] == coreset.classes[[0, 8]].tolist()


def test_a_run_from_a_checkpoint_flips_the_classes_that_it_began_with(
    digits_but_nines, long_run, tmp_path, monkeypatch, capsys
):
    settings = {
        **long_run,
        "pool_size": np.int64(1),
        "verbose": True,
        "checkpoint": tmp_path / "run.npz",
    }
    RFADDistiller(**{**settings, "max_iter": 4}).fit(*digits_but_nines)
    assert "flipped classes         0, 8" in capsys.readouterr().out
    monkeypatch.setattr(
        augmentation, "select_flipped_classes", lambda context: ((1, 2, 3), "other rows")
    )
    resumed = RFADDistiller(**settings).fit(*digits_but_nines)
    assert resumed.n_iter_ == FAST["max_iter"]
    assert resumed.flipped_classes_.tolist() == [0, 8]
    assert "flipped classes         0, 8" in capsys.readouterr().out
    # What no run can have written is refused before it goes on.
    state, fingerprint = load_checkpoint(tmp_path / "run.npz")
    for value in ([9], 3, "ab"):
        state["plan"]["flipped_classes"] = value
        save_checkpoint(tmp_path / "run.npz", state, fingerprint)
        with pytest.raises(ValueError, match=r"run.npz is not a readable checkpoint"):
            RFADDistiller(**{**settings, "max_iter": 8}).fit(*digits_but_nines)


def test_flat_rows_cannot_be_flipped(digits):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match=r"augment=True changes images, .* use augment=False"):
        RFADDistiller(**FAST_ROWS, augment=True).fit(X.reshape(len(X), -1), y)


@pytest.mark.slow
def test_flipped_rows_help_with_flipped_test_rows(all_digits):
    """The point of it: what is learned of one side is known of the other."""
    X, X_test, y, y_test = all_digits
    settings = {**FRESH, "ipc": 2, "max_iter": 60, "architecture": ConvNet(depth=2, width=32)}
    scores = []
    for augment in (["flip"], False):
        coreset = RFADDistiller(**settings, augment=augment).fit(X, y).coreset_
        clf = NNGPKernelRidge(
            kernel_method="random_features", architecture=ConvNet(width=64), random_state=1
        ).fit_coreset(coreset)
        scores.append(clf.score(X_test[:, :, ::-1], y_test))
    assert scores[0] > scores[1] + 0.2


@pytest.fixture
def teacher_of(all_digits):
    """A teacher of digits with some classes flipped, on held-out digits that are all flipped.

    A function of the flipped classes: predictions, class numbers and the accuracy.
    """
    X, _, y, _ = all_digits
    context = prepare(RFADDistiller(**{**FAST, "early_stopping": True}), X, y, 0)
    rows = context.rows.reshape(-1, 8, 8).copy()
    rows[context.validation] = rows[context.validation][:, :, ::-1]
    data = replace(context, rows=rows.reshape(len(rows), -1)).training_data

    def train(flipped):
        teacher = Teacher(
            data,
            10,
            generator=torch.Generator().manual_seed(0),
            dtype=torch.float32,
            flipped=flipped,
        )
        soft_labels = teacher.train(8)
        return (
            soft_labels.probabilities[data.validation].argmax(1),
            data.labels[data.validation],
            soft_labels.score,
        )

    return train


@pytest.mark.slow
def test_a_teacher_learns_from_flipped_rows_too(teacher_of):
    scores = [teacher_of(flipped)[2] for flipped in (range(10), ())]
    assert scores[0] > scores[1] + 0.2


@pytest.mark.slow
def test_a_teacher_learns_from_flipped_rows_of_their_classes_only(teacher_of):
    known = []
    for flipped in ((2, 3, 5), (4, 6, 7)):
        predicted, labels, _ = teacher_of(flipped)
        known.append(
            [(predicted[labels == code] == code).double().mean().item() for code in (2, 3, 5)]
        )
    assert min(known[0]) > max(known[1]) + 0.2
