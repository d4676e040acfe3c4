"""Runs that stop and go on: the same bits, and no other run's file."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.base import clone

from rfad_sklearn import (
    ConvNet,
    GradientMatchingDistiller,
    KIPDistiller,
    RegularizedZCA,
    RFADDistiller,
)
from rfad_sklearn._optimization.checkpoint import load_checkpoint, save_checkpoint

SMALL = {"max_iter": 12, "eval_every": 3, "batch_size": 64, "random_state": 0}
NARROW = {**SMALL, "architecture": ConvNet(width=16)}
# 15 items and 64 rows: every fourth step brings a new group.
POOL = RFADDistiller(**NARROW, ipc=5, n_networks=2, pool_size=2, learn_labels=True)
AUGMENTED = GradientMatchingDistiller(**NARROW, network_life=4, network_steps=2, augment=("crop",))
DISTILLERS = {
    "pool": POOL,
    "augmented pool": clone(POOL).set_params(augment=True),
    "solved labels": RFADDistiller(
        **NARROW,
        n_networks=2,
        learn_labels="solve",
        early_stopping=False,
        preprocessing="zca",
    ),
    "kip": KIPDistiller(**SMALL, learn_labels=True),
    "gradient matching": AUGMENTED,
}


class CutOff(Exception):
    pass


def cut_off_after(n_evaluations):
    def callback(state):
        callback.calls += 1
        if callback.calls == n_evaluations:
            raise CutOff

    callback.calls = 0
    return callback


@pytest.mark.parametrize("name", DISTILLERS)
@pytest.mark.parametrize("n_evaluations", [2, 4])
@pytest.mark.slow
def test_a_run_that_goes_on_ends_with_the_same_bits(digits, tmp_path, name, n_evaluations):
    X, _, y, _ = digits
    distiller = DISTILLERS[name]
    whole = clone(distiller).fit(X, y)
    path = tmp_path / "run.npz"
    with pytest.raises(CutOff):
        clone(distiller).set_params(checkpoint=path, callback=cut_off_after(n_evaluations)).fit(
            X, y
        )
    resumed = clone(distiller).set_params(checkpoint=path).fit(X, y)
    np.testing.assert_array_equal(resumed.coreset_.X, whole.coreset_.X)
    np.testing.assert_array_equal(resumed.coreset_.targets, whole.coreset_.targets)
    assert resumed.coreset_.logit_scale == whole.coreset_.logit_scale
    assert resumed.loss_curve_ == whole.loss_curve_
    assert resumed.validation_scores_ == whole.validation_scores_
    assert resumed.n_iter_ == whole.n_iter_ == 12
    np.testing.assert_array_equal(resumed.transform(X[:5]), whole.transform(X[:5]))


def test_a_finished_run_stays_as_it_is_and_may_get_more_steps(digits, tmp_path):
    X, _, y, _ = digits
    distiller = clone(POOL).set_params(checkpoint=tmp_path / "run.npz")
    first = clone(distiller).fit(X, y)
    again = clone(distiller).fit(X, y)
    np.testing.assert_array_equal(again.coreset_.X, first.coreset_.X)
    more = clone(distiller).set_params(max_iter=18).fit(X, y)
    assert more.n_iter_ == 18
    assert more.loss_curve_[:5] == first.loss_curve_


def test_a_run_that_no_longer_improves_goes_on_to_its_end_with_the_same_bits(digits, tmp_path):
    X, _, y, _ = digits
    path = tmp_path / "run.npz"
    distiller = clone(POOL).set_params(
        max_iter=100, eval_every=2, n_iter_no_change=4, tol=100.0, early_stopping=True
    )
    whole = clone(distiller).fit(X, y)
    assert whole.stop_reason_ == "no_change"
    assert whole.n_iter_ == 8 + 2
    with pytest.raises(CutOff):
        clone(distiller).set_params(checkpoint=path, callback=cut_off_after(5)).fit(X, y)
    distiller.set_params(checkpoint=path)
    for _ in range(2):
        resumed = clone(distiller).fit(X, y)
        np.testing.assert_array_equal(resumed.coreset_.X, whole.coreset_.X)
        assert (resumed.n_iter_, resumed.stop_reason_) == (10, "no_change")
    patient = clone(distiller).set_params(n_iter_no_change=6).fit(X, y)
    assert (patient.n_iter_, patient.stop_reason_) == (12 + 3, "no_change")


def test_a_run_without_a_seed_goes_on_with_its_own(digits, tmp_path):
    X, _, y, _ = digits
    distiller = clone(POOL).set_params(checkpoint=tmp_path / "run.npz", random_state=None)
    first = clone(distiller).fit(X, y)
    again = clone(distiller).fit(X, y)
    np.testing.assert_array_equal(again.coreset_.X, first.coreset_.X)


def test_another_run_is_refused(digits, tmp_path):
    X, _, y, _ = digits
    path = tmp_path / "run.npz"
    distiller = clone(POOL).set_params(checkpoint=path, max_iter=3).fit(X, y)
    way_out = "give checkpoint= another path, or remove the file"
    with pytest.raises(ValueError, match=rf"learning_rate=0\.03, not 0\.5.*{way_out}"):
        clone(distiller).set_params(learning_rate=0.5).fit(X, y)
    with pytest.raises(ValueError, match=f"other rows or labels.*{way_out}"):
        distiller.fit(X + 1, y)
    with pytest.raises(ValueError, match=f"other rows or labels.*{way_out}"):
        distiller.fit(X, y[::-1])
    with pytest.raises(ValueError, match="method='RFADDistiller', not 'KIPDistiller'"):
        KIPDistiller(checkpoint=path).fit(X, y)


def test_arrays_and_transformers_are_compared_by_their_numbers(digits, tmp_path):
    X, _, y, _ = digits
    items = X[[np.flatnonzero(y == label)[0] for label in range(3)]]
    settings = {
        **SMALL,
        "architecture": ConvNet(width=16),
        "n_networks": 2,
        "max_iter": 3,
        "checkpoint": tmp_path / "run.npz",
    }
    RFADDistiller(**settings, init=items, preprocessing=RegularizedZCA(reg=0.1)).fit(X, y)
    for changed in ({"init": items + 1}, {"preprocessing": RegularizedZCA(reg=0.5)}):
        with pytest.raises(ValueError, match=r"another init or preprocessing.*or remove the file"):
            RFADDistiller(
                **{**settings, "init": items, "preprocessing": RegularizedZCA(reg=0.1), **changed}
            ).fit(X, y)


def test_a_time_budget_goes_on_where_it_was(digits, tmp_path):
    """With all of the time gone before the cut, no step is left."""
    X, _, y, _ = digits
    path = tmp_path / "run.npz"
    settings = {
        **SMALL,
        "max_iter": None,
        "architecture": ConvNet(width=16),
        "n_networks": 2,
        "checkpoint": path,
        "max_time": 1000.0,
    }
    with pytest.raises(CutOff):
        RFADDistiller(**settings, callback=cut_off_after(3)).fit(X, y)
    state, fingerprint = load_checkpoint(path)
    state["seconds"] = state["budget"]["elapsed"] = 1000.0
    save_checkpoint(path, state, fingerprint)
    resumed = RFADDistiller(**settings).fit(X, y)
    assert resumed.stop_reason_ == "max_time"
    assert resumed.n_iter_ == state["n_iter"] == 3


def test_a_run_goes_on_with_the_networks_that_it_had_time_for(digits, tmp_path, monkeypatch):
    """Timing chooses between a pool and fresh networks once.

    However fast the machine is when the run goes on.
    """
    X, _, y, _ = digits
    path, scores = tmp_path / "run.npz", {}
    monkeypatch.setattr("rfad_sklearn._planning.pool._ENOUGH_STEPS", 8)
    settings = {
        "ipc": 20,
        "max_time": 100,
        "eval_every": 2,
        "random_state": 0,
        "batch_size": 64,
        "architecture": ConvNet(width=16),
    }

    def fit(name, seconds, **more):
        monkeypatch.setattr(
            "rfad_sklearn._planning.timing.Timing._fresh_step", lambda *args: seconds
        )
        distiller = RFADDistiller(**settings, **more).fit(X, y)
        scores[name] = distiller.validation_scores_
        return load_checkpoint(path)[0]["plan"]["pool_size"] if "checkpoint" in more else None

    slow, fast = 100.0, 0.01
    fit("whole", fast, max_iter=8)
    assert fit("begun", fast, checkpoint=path, callback=lambda state: state.step == 4) == 1
    assert fit("gone on", slow, checkpoint=path, max_iter=8) == 1
    assert scores["gone on"] == scores["whole"]


def test_numbers_of_numpy_are_numbers(digits, tmp_path, monkeypatch):
    """As a grid search gives them.

    A run may save them only late, when it cools down or is short of memory.
    """
    monkeypatch.setattr("rfad_sklearn._planning.memory.POOL_BYTES", 200_000)
    X, _, y, _ = digits
    numbers = {
        **SMALL,
        "max_iter": 30,
        "architecture": ConvNet(width=16),
        "n_networks": 2,
        "n_iter_no_change": 1,
        "tol": 1e9,
        "early_stopping": True,
    }
    distiller = RFADDistiller(checkpoint=tmp_path / "run.npz", **numbers)
    distiller.set_params(
        **{name: np.int64(value) for name, value in numbers.items() if type(value) is int}
    ).fit(X, y)
    assert distiller.stop_reason_ == "no_change"
    state, _ = load_checkpoint(distiller.checkpoint)
    assert state["cooldown"]
    assert 1 <= state["plan"]["pool_size"] < 32
    # The same numbers of Python are the same run.
    assert clone(distiller).set_params(**numbers).fit(X, y).coreset_ == distiller.coreset_


def test_history_is_plain_and_can_be_written(digits, tmp_path):
    X, _, y, _ = digits
    distiller = clone(POOL).fit(X, y)
    assert [record["step"] for record in distiller.history_] == [0, 3, 6, 9, 12]
    assert [record["loss"] for record in distiller.history_] == distiller.loss_curve_
    assert np.all(np.diff([record["seconds"] for record in distiller.history_]) > 0)
    assert (
        json.loads(distiller.export_history(tmp_path / "h.json").read_text()) == distiller.history_
    )


RUN = """
import sys

import torch

from rfad_sklearn import ConvNet, RFADDistiller
from rfad_sklearn.datasets import load_digits_images

torch.set_num_threads(1)
X, y = load_digits_images()
for checkpoint, coreset in zip(sys.argv[1::2], sys.argv[2::2]):
    RFADDistiller(
        architecture=ConvNet(depth=1, width=8),
        n_networks=1,
        max_iter=300,
        eval_every=10,
        batch_size=64,
        random_state=0,
        checkpoint=checkpoint,
    ).fit(X[:300], y[:300]).coreset_.save(coreset)
"""


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """The whole test with 50 kills is benchmarks/kill_and_resume.py."""
    run = [sys.executable, "-c", RUN]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    path = tmp_path / "run.npz"
    reached = []
    for delay in (0.0, 0.05):
        before = path.stat().st_mtime_ns if path.exists() else None
        process = subprocess.Popen([*run, path, tmp_path / "killed.npz"], env=environment)
        begin = time.monotonic()
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert time.monotonic() - begin < 60
            time.sleep(0.001)
        time.sleep(delay)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached.append(load_checkpoint(path)[0]["n_iter"])
    assert 0 <= reached[0] < reached[1] < 300
    # One process for both: most of its time is the import.
    goes_on = [path, tmp_path / "resumed.npz"]
    begins = [tmp_path / "other.npz", tmp_path / "whole.npz"]
    subprocess.run([*run, *goes_on, *begins], check=True, env=environment)
    with np.load(tmp_path / "resumed.npz") as resumed, np.load(tmp_path / "whole.npz") as whole:
        for name in ("X", "targets", "logit_scale"):
            np.testing.assert_array_equal(resumed[name], whole[name])


def test_the_same_parameters_in_another_form_are_the_same_run(digits, tmp_path):
    X, _, y, _ = digits
    rows = X.reshape(len(X), -1)
    settings = {"checkpoint": tmp_path / "run.npz"}
    first = (
        clone(POOL).set_params(**settings, ipc={0: 1, 1: 2, 2: 1}, image_shape=(8, 8)).fit(rows, y)
    )
    again = (
        clone(POOL)
        .set_params(**settings, ipc={2: 1, 1: 2, 0: 1}, image_shape=np.array([8, 8, 1]))
        .fit(rows, y)
    )
    np.testing.assert_array_equal(again.coreset_.X, first.coreset_.X)


def test_augmentations_as_arrays_are_compared(digits, tmp_path):
    X, _, y, _ = digits
    distiller = clone(AUGMENTED).set_params(checkpoint=tmp_path / "run.npz", max_iter=3)
    clone(distiller).set_params(augment=np.array(["flip"])).fit(X, y)
    with pytest.raises(
        ValueError, match=r"written by a run with augment=\['flip'\], not \['crop'\]"
    ):
        clone(distiller).set_params(augment=np.array(["crop"])).fit(X, y)
