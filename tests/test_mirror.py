"""Rows mirrored left to right: who is asked, what changes, and how a run goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rfad_sklearn import ConvNet, Coreset, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._augment import draw_augmentation
from rfad_sklearn._teacher import Teacher
from rfad_sklearn.distillers import _asking, rfad
from rfad_sklearn.distillers._mirror import keep_their_class, may_be_mirrored
from rfad_sklearn.distillers._problem import prepare
from rfad_sklearn.random_features import cached_features
from tests.conftest import FAST
from tests.test_depth import some

# Without a pool, as the default has it where there is time; fifty digits.
FRESH = {**FAST, "pool_size": 1, "refresh_every": 1, "depth": 2, "ipc": 5}


@pytest.fixture
def long_run(monkeypatch):
    """What makes a run of a minute a long one: 6,000 steps fit into it."""
    monkeypatch.setattr("rfad_sklearn.distillers._pool.seconds_of_fresh_step", lambda *args: 0.01)
    return {**FRESH, "max_time": 60, "teacher": None}


@pytest.fixture(scope="module")
def mirrored_digits(all_digits):
    """Digits, every other one in a mirror."""
    X, _, y, _ = all_digits
    chosen = np.random.default_rng(0).random(len(X)) < 0.5
    return np.where(chosen[:, None, None], X[:, :, ::-1], X), y


def test_half_of_the_images_are_mirrored():
    x = torch.arange(600.0).view(100, 1, 3, 2)
    seen = draw_augmentation(("flip",), 100, (1, 3, 2), torch.Generator().manual_seed(0))(x)
    as_they_are, mirrored = (((seen == each).flatten(1).all(1)) for each in (x, x[:, :, [2, 1, 0]]))
    assert torch.equal(as_they_are, ~mirrored)
    assert 30 < mirrored.sum() < 70


@pytest.mark.parametrize(
    ("wrong", "mirrored", "keep"),
    [(300, 300, True), (300, 400, True), (300, 401, False), (0, 0, True), (300, 100, True)],
)
def test_ten_more_of_a_hundred_may_be_mistaken(wrong, mirrored, keep):
    # One row of each of ten classes after the other: all lose alike.
    codes = np.arange(1000) % 10
    assert keep_their_class(some(1000, wrong).numpy(), some(1000, mirrored).numpy(), codes) is keep


def test_no_class_may_be_the_mirror_image_of_another():
    codes, wrong = np.arange(2000) % 40, np.zeros(2000, dtype=bool)
    for n_lost, keep in ((20, True), (21, False)):
        mirrored = wrong.copy()
        mirrored[np.flatnonzero(codes == 7)[:n_lost]] = True
        assert keep_their_class(wrong, mirrored, codes) is keep


def test_rows_that_are_only_guessed_cannot_tell():
    codes = (np.arange(1000) % 10 == 0).astype(int)
    for n_right, keep in ((900, False), (928, False), (929, True), (1000, True)):
        wrong = some(1000, 1000 - n_right).numpy()
        assert keep_their_class(wrong, wrong, codes) is keep


def test_rows_say_whether_they_may_be_mirrored(all_digits, mirrored_digits):
    for seed in range(3):
        assert not may_be_mirrored(prepare(RFADDistiller(), all_digits[0], all_digits[2], seed))
        assert may_be_mirrored(prepare(RFADDistiller(), *mirrored_digits, seed))


def test_the_order_of_the_rows_says_nothing(all_digits, mirrored_digits):
    """Data sets come class by class."""
    for (X, y), keep in (((all_digits[0], all_digits[2]), False), (mirrored_digits, True)):
        order = np.argsort(y, kind="stable")
        assert may_be_mirrored(prepare(RFADDistiller(), X[order], y[order], 0)) is keep


def test_rows_without_a_class_to_keep(mirrored_digits):
    X, y = mirrored_digits
    assert not may_be_mirrored(prepare(RFADDistiller(), X, np.random.default_rng(0).permutation(y), 0))


def test_only_training_rows_are_asked_and_enough_of_them(mirrored_digits, monkeypatch):
    problem = prepare(RFADDistiller(), *mirrored_digits, 0)
    rows = problem.rows.astype(float)
    rows[problem.validation] = np.nan
    # A single one of them would make a kernel NaN, which cannot be solved.
    assert may_be_mirrored(replace(problem, rows=rows))
    # Images of more numbers than there may be, whatever the network makes of them.
    with monkeypatch.context() as patch:
        patch.setattr(_asking, "_ENTRIES", 64 * 150)
        assert not may_be_mirrored(replace(problem, spec=ConvNet(depth=3)))
    monkeypatch.setattr(_asking, "_LEAST_ROWS", 10**6)
    assert not may_be_mirrored(problem)


@pytest.mark.parametrize("mirror", [True, False, "auto"])
def test_the_rows_of_a_step(mirrored_digits, mirror, long_run):
    distiller = RFADDistiller(**{**long_run, "mirror": mirror, "dtype": "float64"})
    problem = prepare(distiller, *mirrored_digits, 0)
    objective = distiller._make_objective(problem, torch.Generator().manual_seed(0))
    group, data = objective.group, problem.training_data()
    x = data.read(group.rows)
    features = [cached_features(objective.spec, group.networks, images).flatten(1) for images in (x, x.flip(2))]
    found = group.cache.centred + group.cache.mean
    as_they_are, mirrored = ((found - each).abs().amax(1) < 1e-9 for each in features)
    assert bool((as_they_are | mirrored).all())
    # Images that are their own mirror image are both.
    assert (int((~as_they_are).sum()) > len(x) / 4) is (mirror is not False)
    assert torch.equal(group.labels, data.labels[group.rows])


def test_the_rows_are_asked_only_in_long_runs_and_where_nothing_is_said(all_digits, long_run, monkeypatch):
    X, _, y, _ = all_digits
    monkeypatch.setattr(rfad, "may_be_mirrored", lambda problem: pytest.fail("rows were asked"))
    flat = X.reshape(len(X), -1)
    for rows, settings in (
        (X, {"pool_size": np.int64(2)}),
        (X, {"ipc": 1, "pool_size": "auto"}),
        (X, {"mirror": False}),
        (X, {"mirror": np.bool_(True)}),
        (X, {"max_time": None}),
        (X, {"max_time": 9.9}),
        (X, {"max_iter": 0}),
        (flat, {"depth": None}),
    ):
        distiller = RFADDistiller(**{**long_run, **settings}).fit(rows, y)
        assert distiller.mirrored_ is ("mirror" in settings and bool(settings["mirror"]))
        assert distiller.coreset_.provenance["mirrored"] is distiller.mirrored_


def test_what_the_rows_said_is_written_down(mirrored_digits, long_run, tmp_path):
    distiller = RFADDistiller(**{**long_run, "pool_size": np.int64(1)}, checkpoint=tmp_path / "run.npz").fit(*mirrored_digits)
    assert distiller.mirrored_ is True
    distiller.coreset_.save(tmp_path / "coreset.npz")
    assert Coreset.load(tmp_path / "coreset.npz").provenance["mirrored"] is True


def test_flat_rows_have_no_mirror_images(digits):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match=r"mirror=True takes images .* mirror='auto' or False"):
        RFADDistiller(**{**FAST, "mirror": True}).fit(X.reshape(len(X), -1), y)


def test_mirrored_rows_help_with_mirrored_ones(all_digits):
    """The point of it: what is learned of one side is known of the other."""
    X, X_test, y, y_test = all_digits
    settings = {**FRESH, "ipc": 2, "max_iter": 60, "width": 32}
    scores = []
    for mirror in (True, False):
        coreset = RFADDistiller(**{**settings, "mirror": mirror}).fit(X, y).coreset_
        clf = NNGPKernelRidge(method="random_features", width=64, random_state=1).fit_coreset(coreset)
        scores.append(clf.score(X_test[:, :, ::-1], y_test))
    assert scores[0] > scores[1] + 0.2


def test_a_teacher_learns_from_mirrored_rows_too(all_digits):
    X, _, y, _ = all_digits
    problem = prepare(RFADDistiller(**{**FAST, "early_stopping": True}), X, y, 0)
    rows = problem.rows.reshape(-1, 8, 8).copy()
    rows[problem.validation] = rows[problem.validation][:, :, ::-1]
    data, scores = replace(problem, rows=rows.reshape(len(rows), -1)).training_data(), []
    for mirror in (True, False):
        teacher = Teacher(data, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float32, mirror=mirror)
        scores.append(teacher.teach(8).score)
    assert scores[0] > scores[1] + 0.2


def test_a_run_goes_on_with_what_its_rows_said(mirrored_digits):
    made = []
    for mirror in (True, False):
        distiller = RFADDistiller(**{**FRESH, "mirror": mirror})
        made.append(distiller._make_objective(prepare(distiller, *mirrored_digits, 0), torch.Generator().manual_seed(0)))
    first, second = made
    first.after_step()
    assert not torch.equal(first.group.cache.centred, second.group.cache.centred)
    second.restore(first.state())
    for _ in range(2):
        assert torch.equal(second.group.cache.centred, first.group.cache.centred)
        first.after_step()
        second.after_step()
