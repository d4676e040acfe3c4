"""The teacher: what it learns, what the objective does with its word, and when a distiller asks it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from rfad_sklearn import RFADDistiller
from rfad_sklearn._objectives import centred_one_hot
from rfad_sklearn._teacher import MOST_EPOCHS, Teacher, Teaching
from rfad_sklearn.distillers import rfad
from rfad_sklearn.distillers._problem import prepare
from tests.conftest import FAST


def problem_of(data, **changes):
    X, _, y, _ = data
    distiller = RFADDistiller(**{**FAST, "early_stopping": True, **changes})
    return distiller, prepare(distiller, X, y, 0)


def teacher_of(problem, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Teacher(problem.training_data(), len(problem.classes), generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_learns_the_rows_and_says_how_well_it_knows_others(all_digits, dtype):
    _, problem = problem_of(all_digits, dtype=str(dtype).removeprefix("torch."))
    teaching = teacher_of(problem, dtype).teach(8)
    assert teaching.probabilities.shape == (len(problem.codes), 10)
    torch.testing.assert_close(teaching.probabilities.sum(1), torch.ones(len(problem.codes)))
    told, right = teaching.probabilities.numpy(), problem.codes[problem.validation]
    held_out = told[problem.validation]
    assert teaching.score == pytest.approx((held_out.argmax(1) == right).mean())
    assert teaching.loss == pytest.approx(-np.log(held_out[np.arange(len(right)), right]).mean(), rel=1e-3)
    assert teaching.score > 0.9
    assert teaching.loss < 0.4


def test_probabilities_are_at_their_best_temperature(all_digits):
    _, problem = problem_of(all_digits)
    teaching = teacher_of(problem).teach(3)
    logs, labels = teaching.probabilities[problem.validation].log(), torch.from_numpy(problem.codes)[problem.validation]
    for factor in (0.8, 1.25):
        assert torch.nn.functional.cross_entropy(factor * logs, labels).item() > teaching.loss


def test_the_same_seed_teaches_the_same_and_held_out_labels_are_not_learned(digits):
    _, problem = problem_of(digits)
    first = teacher_of(problem).teach(2).probabilities
    assert torch.equal(teacher_of(problem).teach(2).probabilities, first)
    assert not torch.equal(teacher_of(problem, seed=1).teach(2).probabilities, first)
    teacher = teacher_of(problem)
    labels = teacher.data.labels.clone()
    labels[problem.validation] = (labels[problem.validation] + 1) % 3
    teacher.data = replace(teacher.data, labels=labels)
    # Only their temperature depends on them.
    assert torch.equal(teacher.teach(2).probabilities.argsort(1), first.argsort(1))


def test_nothing_held_out_leaves_the_teacher_unjudged(digits):
    _, problem = problem_of(digits, early_stopping=False)
    teaching = teacher_of(problem).teach(1)
    assert teaching.score is None
    assert teaching.loss == -math.inf


def test_epochs_fit_into_the_time(digits):
    teacher = teacher_of(problem_of(digits)[1])
    assert teacher.n_epochs(1e-6) == 0
    assert teacher.n_epochs(1e-6, forced=True) == 1
    assert teacher.n_epochs(1e6) == MOST_EPOCHS


@pytest.mark.parametrize("shape", [(2, 2, 1), (4, 9, 3), (28, 28, 1), (33, 17, 3)])
def test_images_of_any_size_are_taught(shape, rng):
    X, y = rng.random((30, *shape)), np.arange(30) % 3
    distiller = RFADDistiller(teacher="network", max_iter=2, width=4, n_networks=2, random_state=0).fit(X, y)
    assert distiller.n_iter_ == 2


@pytest.mark.parametrize("loss", ["platt", "mse"])
def test_a_teacher_that_says_the_labels_changes_nothing(digits, loss):
    distiller, problem = problem_of(digits, loss=loss)
    objective = distiller._make_objective(problem, torch.Generator().manual_seed(0))
    variables = problem.initial_variables("random")
    without = objective.loss(variables)
    labels = centred_one_hot(torch.from_numpy(problem.codes), 3) + 1 / 3
    objective.teaching = Teaching(labels, 1.0, 0.0)
    torch.testing.assert_close(objective.loss(variables), without)
    # A teacher of other labels does.
    objective.teaching = Teaching(labels.roll(1, 1), 1.0, 0.0)
    assert not torch.isclose(objective.loss(variables), without, rtol=1e-2)


def test_a_teacher_no_better_than_the_coreset_is_left(digits):
    distiller, problem = problem_of(digits)
    objective = distiller._make_objective(problem, torch.Generator().manual_seed(0))
    variables = problem.initial_variables("random")
    _, loss = objective.validate(variables)
    uniform = torch.full((len(problem.codes), 3), 1 / 3)
    objective.teaching = Teaching(uniform, 0.9, 0.9 * loss)
    objective.validate(variables)
    assert objective.teaching.probabilities is uniform
    objective.teaching = Teaching(uniform, 0.9, 1.1 * loss)
    objective.validate(variables)
    assert objective.teaching == Teaching(None, 0.9, 1.1 * loss)
    assert torch.isfinite(objective.loss(variables))


def test_fit_says_what_the_teacher_knew(digits, capsys):
    X, _, y, _ = digits
    distiller = RFADDistiller(**FAST, teacher="network", early_stopping=True, verbose=1).fit(X, y)
    assert distiller.teacher_score_ > 0.8
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("teacher: 10 epochs")
    assert f"accuracy {distiller.teacher_score_:.4f}" in line
    assert RFADDistiller(**FAST, teacher="network", early_stopping=False).fit(X, y).teacher_score_ is None


def test_probabilities_lead_elsewhere_than_labels(digits):
    X, _, y, _ = digits
    taught, told = (RFADDistiller(**FAST, teacher=teacher).fit(X, y).coreset_.X for teacher in ("network", None))
    assert not np.allclose(taught, told)


def asked(distiller, X, y, monkeypatch, n_epochs=1):
    """Seconds that the teacher was given, None where it was not asked."""
    seen = []
    monkeypatch.setattr(rfad.Teacher, "n_epochs", lambda self, seconds, *, forced=False: seen.append(seconds) or n_epochs)
    distiller.fit(X, y)
    return seen[0] if seen else None


def test_auto_asks_a_teacher_where_networks_are_fresh_and_time_is_given(digits, monkeypatch):
    X, _, y, _ = digits
    fresh = {**FAST, "pool_size": 1, "refresh_every": 1, "max_time": 50.0}
    assert asked(RFADDistiller(**fresh), X, y, monkeypatch) == pytest.approx(10.0)
    assert asked(RFADDistiller(**fresh, teacher=None), X, y, monkeypatch) is None
    assert asked(RFADDistiller(**{**fresh, "pool_size": 3}), X, y, monkeypatch) is None
    assert asked(RFADDistiller(**{**fresh, "max_time": None}), X, y, monkeypatch) is None
    assert asked(RFADDistiller(**{**fresh, "width": None}), X.reshape(len(X), -1), y, monkeypatch) is None
    assert asked(RFADDistiller(**{**fresh, "pool_size": 3}, teacher="network"), X, y, monkeypatch) == pytest.approx(10.0)
    # Too little time for a teacher: the labels count.
    distiller = RFADDistiller(**fresh, early_stopping=True)
    assert asked(distiller, X, y, monkeypatch, n_epochs=0) == pytest.approx(10.0)
    assert distiller.teacher_score_ is None


def test_flat_rows_have_no_network_to_teach_them(digits):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match=r"teacher='network' takes images of at least 2x2 pixels.*shape \(64,\).*image_shape"):
        RFADDistiller(teacher="network").fit(X.reshape(len(X), -1), y)


class CutOff(Exception):
    pass


def test_a_run_that_goes_on_keeps_its_teacher(digits, tmp_path, monkeypatch):
    X, _, y, _ = digits
    distiller = RFADDistiller(**{**FAST, "max_iter": 12}, teacher="network", early_stopping=True)
    whole = clone(distiller).fit(X, y)

    def cut_off(state):
        if state.step == 6:
            raise CutOff

    with pytest.raises(CutOff):
        clone(distiller).set_params(checkpoint=tmp_path / "run.npz", callback=cut_off).fit(X, y)
    monkeypatch.setattr(rfad, "Teacher", None)
    resumed = clone(distiller).set_params(checkpoint=tmp_path / "run.npz", warm_start=True).fit(X, y)
    np.testing.assert_array_equal(resumed.coreset_.X, whole.coreset_.X)
    assert resumed.loss_curve_ == whole.loss_curve_
    assert resumed.teacher_score_ == whole.teacher_score_


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_teaches_as_the_cpu_does(all_digits):
    X, _, y, _ = all_digits
    settings = {**FAST, "teacher": "network", "early_stopping": True, "dtype": "float32"}
    scores = [RFADDistiller(**settings, device=device).fit(X, y).teacher_score_ for device in ("cpu", "cuda")]
    assert min(scores) > 0.9
