"""Rows mirrored left to right: who is asked, what changes, and how a run goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from rfad_sklearn import NNGPKernelRidge, RFADDistiller
from rfad_sklearn._augment import half_mirrored
from rfad_sklearn._teacher import Teacher
from rfad_sklearn.distillers import _asking, rfad
from rfad_sklearn.distillers._mirror import keep_their_class, may_be_mirrored
from rfad_sklearn.distillers._problem import prepare
from rfad_sklearn.random_features import cached_features
from tests.conftest import FAST
from tests.test_depth import some

# Without a pool, as the default has it where there is time.
FRESH = {**FAST, "pool_size": 1, "refresh_every": 1, "depth": 2}


@pytest.fixture(scope="module")
def mirrored_digits(all_digits):
    """Digits, every other one in a mirror."""
    X, _, y, _ = all_digits
    chosen = np.random.default_rng(0).random(len(X)) < 0.5
    return np.where(chosen[:, None, None], X[:, :, ::-1], X), y


def test_half_of_the_images_are_mirrored():
    x = torch.arange(600.0).view(100, 1, 3, 2)
    seen = half_mirrored(x, torch.Generator().manual_seed(0))
    as_they_are, mirrored = (((seen == each).flatten(1).all(1)) for each in (x, x[:, :, [2, 1, 0]]))
    assert torch.equal(as_they_are, ~mirrored)
    assert 30 < mirrored.sum() < 70


@pytest.mark.parametrize(
    ("wrong", "mirrored", "keep"),
    [(300, 300, True), (300, 330, True), (300, 331, False), (0, 0, True), (300, 100, True)],
)
def test_three_more_of_a_hundred_may_be_mistaken(wrong, mirrored, keep):
    assert keep_their_class(some(1000, wrong), some(1000, mirrored)) is keep


def test_rows_say_whether_they_may_be_mirrored(all_digits, mirrored_digits):
    for seed in range(3):
        assert not may_be_mirrored(prepare(RFADDistiller(), all_digits[0], all_digits[2], seed))
        assert may_be_mirrored(prepare(RFADDistiller(), *mirrored_digits, seed))


def test_only_training_rows_are_asked_and_enough_of_them(mirrored_digits, monkeypatch):
    problem = prepare(RFADDistiller(), *mirrored_digits, 0)
    rows = problem.rows.astype(float)
    rows[problem.validation] = np.nan
    assert may_be_mirrored(replace(problem, rows=rows))
    monkeypatch.setattr(_asking, "_LEAST_ROWS", 10**6)
    assert not may_be_mirrored(problem)


@pytest.mark.parametrize("mirror", [True, False, "auto"])
def test_the_rows_of_a_step(mirrored_digits, mirror):
    distiller = RFADDistiller(**{**FRESH, "mirror": mirror, "dtype": "float64"})
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


def test_the_rows_are_asked_only_where_there_is_no_pool_and_nothing_said(digits, monkeypatch):
    X, _, y, _ = digits
    monkeypatch.setattr(rfad, "may_be_mirrored", lambda problem: pytest.fail("rows were asked"))
    flat = X.reshape(len(X), -1)
    for rows, settings in (
        (X, {**FRESH, "pool_size": 2}),
        (X, {**FRESH, "mirror": False}),
        (X, {**FRESH, "mirror": True}),
        (flat, {**FRESH, "depth": None}),
    ):
        distiller = RFADDistiller(**settings).fit(rows, y)
        assert distiller.mirrored_ is (settings.get("mirror") is True)
        assert distiller.coreset_.provenance["mirrored"] is distiller.mirrored_


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


def test_a_run_goes_on_with_what_its_rows_said(mirrored_digits, tmp_path, monkeypatch):
    X, y = mirrored_digits
    settings = {**FRESH, "max_iter": 6, "early_stopping": True}
    whole = RFADDistiller(**settings).fit(X, y)
    assert whole.mirrored_
    part = RFADDistiller(**{**settings, "max_iter": 3}, checkpoint=tmp_path / "run.npz").fit(X, y)
    monkeypatch.setattr(rfad, "may_be_mirrored", lambda problem: False)
    more = clone(part).set_params(max_iter=6, warm_start=True).fit(X, y)
    assert more.mirrored_
    assert more.n_iter_ == 6
    # Half of the budget ended with a step size of zero: not the same items, but the same networks, rows and mirrors judge them.
    assert more.history_[:2] == part.history_[:2]
