"""The plan: what a user reads after ``fit``, and what is stored of it."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from rfad_sklearn import (
    MLP,
    ConvNet,
    Coreset,
    CoresetSelector,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)
from rfad_sklearn._optimization.checkpoint import load_checkpoint, save_checkpoint
from rfad_sklearn._planning.plan import Plan
from rfad_sklearn.distillers._prepare import prepare
from tests.building import FixedTiming, plan_of
from tests.conftest import FAST, FAST_ROWS

AUTO = ["pool_size", "solver", "n_held_out", "preprocessing", "architecture", "soft_labels"]


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


def test_every_automatic_choice_has_one_sentence(digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(max_iter=1, device="cpu", random_state=0).fit(X, y)
    plan = distiller.plan_
    assert set(AUTO) <= set(plan.reasons)
    for name, why in plan.reasons.items():
        assert hasattr(plan, name)
        assert len(why.split()) > 2
        assert "\n" not in why


def test_what_the_user_gave_has_no_reason(digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(
        max_iter=1,
        architecture=ConvNet(depth=2, width=8),
        pool_size=2,
        solver="adam",
        teacher=None,
        augment=False,
        preprocessing="standardize",
        early_stopping=False,
        dtype="float32",
        batch_size=64,
        n_networks=2,
    ).fit(X, y)
    given = {"architecture", "pool_size", "solver", "soft_labels", "augmentations"}
    given |= {"preprocessing", "n_held_out", "dtype", "max_iter", "evaluation_architecture"}
    assert not given & set(distiller.plan_.reasons)
    assert distiller.plan_.architecture == distiller.coreset_.architecture
    assert distiller.plan_.learning_rates == {"X": 0.03, "log_scale": 0.01}


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (RFADDistiller(**FAST_ROWS), {"kernel_method": "random_features", "solver": "adam"}),
        (KIPDistiller(max_iter=1), {"kernel": "ntk", "kernel_method": "exact", "compiled": False}),
        (
            GradientMatchingDistiller(ipc=10, max_iter=1, architecture=MLP(width=8)),
            {"network_life": 10, "network_steps": 50, "instance_norm": False},
        ),
        (CoresetSelector(), {"n_items": 3, "n_train": 178, "pool_size": None}),
        (NNGPKernelRidge(), {"kernel_method": "exact", "n_networks": None}),
        (
            NNGPKernelRidge(kernel_method="random_features", n_networks=2),
            {"kernel_method": "random_features", "n_networks": 2},
        ),
        (FiniteNetworkClassifier(max_iter=2), {"instance_norm": False, "augmentations": ()}),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
def test_every_estimator_has_a_plan(wine, estimator, expected):
    X, y = wine
    plan = estimator.fit(X, y).plan_
    assert {name: getattr(plan, name) for name in expected} == expected
    assert plan.method == type(estimator).__name__
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.n_networks = 3


def test_it_is_in_the_provenance_and_in_the_file(fitted, tmp_path):
    path = tmp_path / "coreset.npz"
    fitted.coreset_.save(path)
    stored = Coreset.load(path).provenance["plan"]
    assert stored == fitted.plan_.to_dict()
    assert Plan.from_dict(stored) == dataclasses.replace(
        fitted.plan_, seconds_per_step=None, expected_seconds=None
    )
    assert json.loads(json.dumps(stored)) == stored


def test_verbose_prints_it_first_and_measuring_changes_nothing(digits, capsys):
    X, _, y, _ = digits
    quiet = RFADDistiller(**FAST).fit(X, y)
    assert not capsys.readouterr().out
    shown = RFADDistiller(**FAST, verbose=1).fit(X, y)
    out = capsys.readouterr().out
    assert out.startswith("RFADDistiller: plan\n")
    assert out.index("expected seconds") < out.index("step      0")
    assert re.search(r"seconds per step +[\d.e-]+ s", out)
    assert max(map(len, out[: out.index("step      0")].splitlines())) <= 100
    # Equal coresets stay equal: what was measured is not in them.
    assert shown.coreset_ == quiet.coreset_
    assert quiet.plan_.seconds_per_step is None
    assert shown.plan_.seconds_per_step > 0
    assert shown.plan_.expected_seconds > shown.plan_.seconds_per_step


@pytest.mark.parametrize(
    "distiller",
    [
        GradientMatchingDistiller(
            max_iter=3, architecture=ConvNet(width=8), batch_size=16, random_state=0
        ),
        KIPDistiller(max_iter=2, architecture=ConvNet(depth=2), batch_size=16, random_state=0),
    ],
    ids=["gradient matching", "kip"],
)
def test_measuring_draws_nothing_from_the_run(digits, distiller, capsys):
    X, _, y, _ = digits
    X, y = X[:80], y[:80]
    quiet = distiller.fit(X, y).coreset_
    assert distiller.set_params(verbose=1).fit(X, y).coreset_ == quiet
    assert "seconds per step" in capsys.readouterr().out


def test_resolving_draws_nothing(all_digits):
    X, _, y, _ = all_digits
    distiller = RFADDistiller(ipc=10, max_time=1e6, teacher=None, device="cpu")
    context = prepare(distiller, X, y, 3)
    state, torch_state = context.rng.bit_generator.state, torch.get_rng_state()
    first, second = (plan_of(distiller, context, FixedTiming(0.01)) for _ in range(2))
    assert first == second
    assert first.pool_size == 1
    assert context.rng.bit_generator.state == state
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_choices_by_time_say_so(all_digits):
    X, _, y, _ = all_digits
    distiller = RFADDistiller(ipc=10, max_time=100, device="cpu", early_stopping=True)
    context = prepare(distiller, X, y, 0)
    plan = plan_of(distiller, context, FixedTiming(0.2, epochs=7))
    assert "as measured" in plan.reasons["pool_size"]
    assert (plan.soft_labels, plan.teacher_epochs) == (True, 7)
    assert "as measured" in plan.reasons["soft_labels"]
    assert plan_of(distiller, context, FixedTiming(0.2, epochs=0)).soft_labels is False
    # Without a time budget nothing is measured: no clock is needed.
    untimed = plan_of(distiller.set_params(max_time=None), context, timing="no clock")
    assert untimed.pool_size == 32
    assert untimed.max_iter == 1000


@pytest.mark.parametrize(
    ("augment", "augmentations", "flipped"),
    [
        (False, (), ()),
        (["flip"], ("flip",), (0, 1, 2)),
        (["crop", "flip"], ("crop", "flip"), ()),
        (True, ("color", "crop", "cutout", "flip", "rotate", "scale"), ()),
        ("auto", (), ()),
    ],
)
def test_augment_means_the_same_changes_everywhere(digits, augment, augmentations, flipped):
    X, _, y, _ = digits
    distiller = RFADDistiller(**FAST, augment=augment).fit(X, y)
    assert distiller.plan_.augmentations == augmentations
    assert distiller.plan_.flipped_classes == flipped
    network = FiniteNetworkClassifier(
        augment=augment, max_iter=2, architecture=ConvNet(width=8)
    ).fit(X, y)
    if augment != "auto":
        assert network.plan_.augmentations == augmentations
        assert network.plan_.flipped_classes == flipped


def test_augmented_rows_are_other_rows(digits):
    X, _, y, _ = digits
    items = [
        RFADDistiller(**FAST, augment=augment).fit(X, y).coreset_.X
        for augment in (False, ["crop"], ["crop"])
    ]
    assert not np.array_equal(items[0], items[1])
    np.testing.assert_array_equal(items[1], items[2])


def test_numbers_of_numpy_become_numbers(digits, tmp_path):
    """As a grid over numpy.arange gives them."""
    X, _, y, _ = digits
    settings = {
        "max_iter": np.int64(2),
        "batch_size": np.int32(64),
        "n_networks": np.int64(2),
        "learning_rate": np.float32(0.03),
        "pool_size": np.int64(2),
        "augment": np.array(["crop"]),
        "architecture": ConvNet(width=np.int64(8)),
    }
    distiller = RFADDistiller(**settings, random_state=0).fit(X, y)
    distiller.coreset_.save(tmp_path / "coreset.npz")
    loaded = Coreset.load(tmp_path / "coreset.npz")
    assert loaded.provenance["plan"] == distiller.plan_.to_dict()
    assert type(distiller.plan_.batch_size) is int


def test_writing_into_the_provenance_does_not_change_the_plan(fitted):
    stored = fitted.plan_.to_dict()
    stored["reasons"].clear()
    assert fitted.plan_.reasons


def test_the_expected_time_counts_the_teacher_and_the_steps_that_are_left(
    digits, tmp_path, monkeypatch
):
    X, _, y, _ = digits
    monkeypatch.setattr("rfad_sklearn._planning.timing.Timing.teacher_seconds", lambda *args: 1e6)
    settings = {**FAST, "verbose": 1}
    plain = RFADDistiller(**settings).fit(X, y).plan_.expected_seconds
    settings |= {"teacher": "network", "checkpoint": tmp_path / "run.npz"}
    taught = RFADDistiller(**settings).fit(X, y).plan_.expected_seconds
    assert plain < 1e6 < taught
    # A run that goes on has its soft labels, and no step left.
    assert RFADDistiller(**settings).fit(X, y).plan_.expected_seconds < 1e6


@pytest.mark.parametrize(
    "damage",
    [
        {"pool_size": 0},
        {"refresh_interval": 0},
        {"pool_size": True},
        {"augmentations": ["zz"]},
        {"flipped_classes": [7]},
        {"architecture": {"name": "MLP", "depth": 3, "width": 8, "sigma_w": 1.0, "sigma_b": 0.1}},
    ],
)
def test_a_checkpoint_with_a_damaged_plan_is_refused(digits, tmp_path, damage):
    X, _, y, _ = digits
    settings = {**FAST, "checkpoint": tmp_path / "run.npz"}
    RFADDistiller(**{**settings, "max_iter": 3}).fit(X, y)
    state, fingerprint = load_checkpoint(settings["checkpoint"])
    state["plan"] |= damage
    save_checkpoint(settings["checkpoint"], state, fingerprint)
    with pytest.raises(ValueError, match=r"run.npz is not a readable checkpoint: .*[^.]\. Remove"):
        RFADDistiller(**settings).fit(X, y)


def test_what_a_file_says_of_other_things_does_not_count(digits, tmp_path):
    X, _, y, _ = digits
    settings = {**FAST, "checkpoint": tmp_path / "run.npz"}
    first = RFADDistiller(**{**settings, "max_iter": 3}).fit(X, y).plan_
    state, fingerprint = load_checkpoint(settings["checkpoint"])
    state["plan"] |= {"batch_size": -1, "method": "KIPDistiller", "n_items": 77, "device": "cuda"}
    save_checkpoint(settings["checkpoint"], state, fingerprint)
    second = RFADDistiller(**settings).fit(X, y).plan_
    assert dataclasses.replace(second, max_iter=3) == first


def test_a_run_that_gets_a_time_budget_says_what_it_began_with(digits, tmp_path):
    X, _, y, _ = digits
    settings = {**FAST, "checkpoint": tmp_path / "run.npz"}
    RFADDistiller(**{**settings, "max_iter": 3}).fit(X, y)
    plan = RFADDistiller(**settings, max_time=100).fit(X, y).plan_
    assert plan.reasons["soft_labels"] == "as the run began"
    assert plan.max_time == 100


@pytest.mark.parametrize(
    "augment",
    [{"flip", "crop"}, ["turn"], [["flip"]], [], [1], "flip"],
    ids=["set", "unknown", "nested", "empty", "number", "word"],
)
def test_augmentations_that_there_are_not(digits, augment):
    X, _, y, _ = digits
    for estimator in (RFADDistiller(**FAST), FiniteNetworkClassifier(max_iter=2)):
        with pytest.raises(ValueError, match=r"augment.* must be"):
            estimator.set_params(augment=augment).fit(X, y)


@pytest.mark.parametrize(
    "damage",
    [
        {"pool_size": "three"},
        {"learning_rates": [1]},
        {"architecture": {"name": "Tree"}},
        {"no_field": 1},
        {"method": None},
    ],
)
def test_plans_that_no_run_wrote_are_refused(fitted, damage):
    with pytest.raises((TypeError, ValueError)):
        Plan.from_dict({**fitted.plan_.to_dict(), **damage})


def test_a_run_that_goes_on_keeps_its_plan_and_takes_new_budgets(digits, tmp_path):
    X, _, y, _ = digits
    settings = {**FAST, "checkpoint": tmp_path / "run.npz"}
    first = RFADDistiller(**{**settings, "max_iter": 3}).fit(X, y).plan_
    second = RFADDistiller(**settings).fit(X, y).plan_
    assert (first.max_iter, second.max_iter) == (3, FAST["max_iter"])
    assert dataclasses.replace(first, max_iter=second.max_iter) == second


def test_a_search_reaches_into_the_architecture(digits):
    from sklearn.model_selection import GridSearchCV

    X, _, y, _ = digits
    clf = NNGPKernelRidge(
        distiller=RFADDistiller(**{**FAST, "architecture": ConvNet(width=8)}), random_state=0
    )
    search = GridSearchCV(clf, {"distiller__architecture__depth": [1, 2]}, cv=2).fit(X, y)
    depth = search.best_params_["distiller__architecture__depth"]
    assert search.best_estimator_.architecture_.depth == depth
