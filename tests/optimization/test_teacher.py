"""The teacher: what it learns, what the objective does with its word, and when a distiller asks it."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from rfad_sklearn import RFADDistiller
from rfad_sklearn._optimization.ridge_objective import centred_one_hot
from rfad_sklearn._optimization.teacher import MOST_EPOCHS, SoftLabels, Teacher
from rfad_sklearn.distillers import rfad
from rfad_sklearn.distillers._fit_context import prepare
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
    teaching = teacher_of(problem, dtype).train(8)
    assert teaching.probabilities.shape == (len(problem.y_encoded), 10)
    torch.testing.assert_close(teaching.probabilities.sum(1), torch.ones(len(problem.y_encoded)))
    told, right = teaching.probabilities.numpy(), problem.y_encoded[problem.validation]
    held_out = told[problem.validation]
    assert teaching.score == pytest.approx((held_out.argmax(1) == right).mean())
    assert teaching.loss == pytest.approx(
        -np.log(held_out[np.arange(len(right)), right]).mean(), rel=1e-3
    )
    assert teaching.score > 0.9
    assert teaching.loss < 0.4


def test_probabilities_are_at_their_best_temperature(all_digits):
    _, problem = problem_of(all_digits)
    teaching = teacher_of(problem).train(3)
    logs, labels = (
        teaching.probabilities[problem.validation].log(),
        torch.from_numpy(problem.y_encoded)[problem.validation],
    )
    for factor in (0.8, 1.25):
        assert torch.nn.functional.cross_entropy(factor * logs, labels).item() > teaching.loss


def test_the_same_seed_teaches_the_same_and_held_out_labels_are_not_learned(digits):
    _, problem = problem_of(digits)
    first = teacher_of(problem).train(2).probabilities
    assert torch.equal(teacher_of(problem).train(2).probabilities, first)
    assert not torch.equal(teacher_of(problem, seed=1).train(2).probabilities, first)
    teacher = teacher_of(problem)
    labels = teacher.data.labels.clone()
    labels[problem.validation] = (labels[problem.validation] + 1) % 3
    teacher.data = replace(teacher.data, labels=labels)
    # Only their temperature depends on them.
    assert torch.equal(teacher.train(2).probabilities.argsort(1), first.argsort(1))


def test_nothing_held_out_leaves_the_teacher_unjudged(digits):
    _, problem = problem_of(digits, early_stopping=False)
    teaching = teacher_of(problem).train(1)
    assert teaching.score is None
    assert teaching.loss == -math.inf
    # One that had no time to learn would be believed to the end.
    assert teacher_of(problem).train(10, time.monotonic()) is None


def test_few_rows_are_learned_for_more_epochs(digits, monkeypatch):
    X, _, y, _ = digits
    asked = []
    monkeypatch.setattr(
        rfad.Teacher,
        "teach",
        lambda self, n_epochs, deadline: asked.append(n_epochs * self.per_epoch),
    )
    for some in (slice(None, 40), slice(None)):
        RFADDistiller(**FAST, teacher="network", early_stopping=False).fit(X[some], y[some])
    assert min(asked) >= 200
    teacher = teacher_of(problem_of(digits)[1])
    teacher.per_epoch = 50
    assert teacher.all_epochs == MOST_EPOCHS


def test_no_steps_need_no_teacher(digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(
        **{**FAST, "max_iter": 0}, teacher="network", early_stopping=True
    ).fit(X, y)
    assert distiller.teacher_score_ is None


def test_epochs_fit_into_the_time(all_digits, monkeypatch):
    teacher = teacher_of(problem_of(all_digits)[1])
    teacher.per_epoch = 50
    monkeypatch.setattr(Teacher, "_step", lambda self, network, rows, rate: time.sleep(0.01))
    assert teacher.n_epochs(1e-6) == 0
    assert teacher.n_epochs(0.01 * 50 * 4) == 0
    assert 5 <= teacher.n_epochs(0.01 * 50 * 7.5) <= 7
    assert teacher.n_epochs(1e6) == MOST_EPOCHS
    teacher.per_epoch = 10
    assert teacher.n_epochs(1e6) == 0


def test_training_ends_at_its_deadline_with_a_step_size_of_zero(digits, monkeypatch):
    teacher, learning_rates = teacher_of(problem_of(digits)[1]), []
    step = Teacher._step

    def noted(self, network, rows, rate):
        learning_rates.append(rate)
        time.sleep(0.02)
        step(self, network, rows, rate)

    monkeypatch.setattr(Teacher, "_step", noted)
    begin = time.monotonic()
    teaching = teacher.train(10**6, begin + 1.0)
    assert time.monotonic() - begin < 3
    assert teaching.score > 0.5
    assert max(learning_rates) > 0.07
    assert learning_rates[-1] < 0.02
    learning_rates.clear()
    teacher.train(1)
    assert min(learning_rates) > 0


def test_a_teacher_that_diverged_says_nothing(digits, monkeypatch):
    monkeypatch.setattr("rfad_sklearn._optimization.teacher._RATE", float("inf"))
    distiller = RFADDistiller(**FAST, teacher="network", early_stopping=True).fit(*digits[::2])
    assert distiller.teacher_score_ is None
    assert distiller.stop_reason_ == "max_iter"


def test_large_images_are_learned_in_smaller_batches(rng):
    """The step size suits them too: two patterns of 64x64 pixels in noise."""
    y = np.arange(200) % 2
    X = (
        rng.normal(size=(200, 64, 64, 1))
        + np.where(y[:, None, None, None], 0.3, -0.3) * np.sign(np.arange(64) - 32)[:, None]
    )
    distiller = RFADDistiller(
        teacher="network",
        max_iter=1,
        width=4,
        n_networks=2,
        early_stopping=True,
        validation_fraction=0.3,
        random_state=0,
    ).fit(X, y)
    assert distiller.teacher_score_ > 0.9
    problem = prepare(distiller, X, y, 0)
    assert teacher_of(problem).batch_size == 32


@pytest.mark.parametrize("shape", [(2, 2, 1), (4, 9, 3), (28, 28, 1), (33, 17, 3)])
def test_images_of_any_size_are_taught(shape, rng):
    X, y = rng.random((30, *shape)), np.arange(30) % 3
    distiller = RFADDistiller(
        teacher="network", max_iter=2, width=4, n_networks=2, random_state=0
    ).fit(X, y)
    assert distiller.n_iter_ == 2


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_a_teacher_that_says_the_labels_changes_nothing(digits, loss):
    distiller, problem = problem_of(digits, loss=loss)
    labels = centred_one_hot(torch.from_numpy(problem.y_encoded), 3) + 1 / 3

    def loss_of(probabilities):
        objective = distiller._make_objective(problem, torch.Generator().manual_seed(0))
        objective.soft_labels = (
            None if probabilities is None else SoftLabels(probabilities, 1.0, 0.0)
        )
        return objective.loss(start)

    start = problem.initial_variables("random")
    torch.testing.assert_close(loss_of(labels), loss_of(None))
    # A teacher of other labels does.
    assert not torch.isclose(loss_of(labels.roll(1, 1)), loss_of(None), rtol=1e-2)


def test_a_teacher_no_better_than_the_coreset_is_left(digits):
    distiller, problem = problem_of(digits)
    objective = distiller._make_objective(problem, torch.Generator().manual_seed(0))
    variables = problem.initial_variables("random")
    _, loss = objective.validate(variables, 0.0)
    uniform = torch.full((len(problem.y_encoded), 3), 1 / 3)
    objective.soft_labels = SoftLabels(uniform, 0.9, 0.9 * loss)
    objective.validate(variables, 0.0)
    assert objective.soft_labels.probabilities is uniform
    objective.soft_labels = SoftLabels(uniform, 0.9, 1.1 * loss)
    objective.validate(variables, 0.0)
    assert objective.soft_labels == SoftLabels(None, 0.9, 1.1 * loss)
    assert torch.isfinite(objective.loss(variables))


@pytest.mark.parametrize(
    ("times", "progress", "is_left"),
    [(1.3, 0.45, False), (1.3, 0.5, True), (1.3, 1.0, True), (1.5, 1.0, False)],
)
def test_late_in_a_run_a_teacher_is_left_that_is_hardly_better(digits, times, progress, is_left):
    distiller, problem = problem_of(digits)
    objective = distiller._make_objective(problem, torch.Generator().manual_seed(0))
    variables = problem.initial_variables("random")
    _, loss = objective.validate(variables, 0.0)
    objective.soft_labels = SoftLabels(
        torch.full((len(problem.y_encoded), 3), 1 / 3), 0.9, loss / times
    )
    objective.validate(variables, progress)
    assert (objective.soft_labels.probabilities is None) == is_left


def test_fit_says_what_the_teacher_knew(digits, capsys):
    X, _, y, _ = digits
    distiller = RFADDistiller(**FAST, teacher="network", early_stopping=True, verbose=1).fit(X, y)
    assert distiller.teacher_score_ > 0.8
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("teacher: ")
    assert f"accuracy {distiller.teacher_score_:.4f}" in line
    assert distiller.coreset_.provenance["teacher"] is True
    assert distiller.coreset_.provenance["teacher_score"] == distiller.teacher_score_
    without = RFADDistiller(**FAST, early_stopping=True).fit(X, y)
    assert without.coreset_.provenance["teacher"] is False
    assert (
        RFADDistiller(**FAST, teacher="network", early_stopping=False).fit(X, y).teacher_score_
        is None
    )


def test_probabilities_lead_elsewhere_than_labels(digits):
    X, _, y, _ = digits
    taught, told = (
        RFADDistiller(**FAST, teacher=teacher).fit(X, y).coreset_.X for teacher in ("network", None)
    )
    assert not np.allclose(taught, told)


def asked(distiller, X, y, monkeypatch, n_epochs=1):
    """Seconds that a teacher was promised, None where none was asked."""
    seen = []
    monkeypatch.setattr(
        rfad.Teacher, "n_epochs", lambda self, seconds: seen.append(seconds) or n_epochs
    )
    distiller.fit(X, y)
    return seen[0] if seen else None


def test_auto_asks_a_teacher_where_networks_are_fresh_time_is_given_and_rows_judge(
    digits, monkeypatch
):
    X, _, y, _ = digits
    fresh = {**FAST, "pool_size": 1, "refresh_every": 1, "max_time": 50.0, "early_stopping": True}
    assert 8 < asked(RFADDistiller(**fresh), X, y, monkeypatch) < 10
    for changes in (
        {"teacher": None},
        {"pool_size": 3},
        {"max_time": None},
        {"max_iter": 0},
        {"early_stopping": False},
        {"teacher": "network"},
    ):
        assert asked(RFADDistiller(**{**fresh, **changes}), X, y, monkeypatch) is None
    assert (
        asked(RFADDistiller(**{**fresh, "width": None}), X.reshape(len(X), -1), y, monkeypatch)
        is None
    )
    # Too little time for a teacher: the labels count.
    distiller = RFADDistiller(**fresh)
    assert asked(distiller, X, y, monkeypatch, n_epochs=0) is not None
    assert distiller.teacher_score_ is None


def test_a_teacher_stays_within_its_share_of_the_time(all_digits):
    X, _, y, _ = all_digits
    begin = time.monotonic()
    distiller = RFADDistiller(
        **{**FAST, "max_iter": None}, max_time=5.0, teacher="network", early_stopping=True
    ).fit(X, y)
    assert time.monotonic() - begin < 10
    assert distiller.teacher_score_ > 0.5
    assert distiller.history_[0]["seconds"] < 4


def test_interrupting_the_teacher_keeps_the_items_at_the_start(digits, monkeypatch, tmp_path):
    X, _, y, _ = digits

    def interrupt(self, *args):
        raise KeyboardInterrupt

    start = RFADDistiller(**{**FAST, "max_iter": 0}).fit(X, y).coreset_
    monkeypatch.setattr(rfad.Teacher, "teach", interrupt)
    path = tmp_path / "run.npz"
    distiller = RFADDistiller(**FAST, teacher="network", checkpoint=path, warm_start=True)
    with pytest.warns(UserWarning, match="interrupted after 0 steps"):
        distiller.fit(X, y)
    assert distiller.stop_reason_ == "interrupted"
    np.testing.assert_array_equal(distiller.coreset_.X, start.X)
    # It would go on without a teacher.
    assert not path.exists()


def test_flat_rows_have_no_network_to_teach_them(digits):
    X, _, y, _ = digits
    with pytest.raises(
        ValueError,
        match=r"teacher='network' takes images of at least 2x2 pixels.*shape \(64,\).*image_shape",
    ):
        RFADDistiller(teacher="network").fit(X.reshape(len(X), -1), y)


class CutOff(Exception):
    pass


@pytest.mark.parametrize(
    "changes",
    [{"early_stopping": True}, {"early_stopping": False, "learn_labels": True}, {"left": True}],
)
def test_a_run_that_goes_on_keeps_its_teacher(digits, tmp_path, monkeypatch, changes):
    X, _, y, _ = digits
    if changes.pop("left", False):
        # So bad a teacher is left at the first evaluation.
        monkeypatch.setattr("rfad_sklearn._optimization.teacher._RATE", 1e-9)
        changes["early_stopping"] = True
    distiller = RFADDistiller(**{**FAST, "max_iter": 12}, teacher="network", **changes)
    whole = clone(distiller).fit(X, y)

    def cut_off(state):
        if state.step == 6:
            raise CutOff

    with pytest.raises(CutOff):
        clone(distiller).set_params(checkpoint=tmp_path / "run.npz", callback=cut_off).fit(X, y)
    monkeypatch.setattr(rfad, "Teacher", None)
    resumed = (
        clone(distiller).set_params(checkpoint=tmp_path / "run.npz", warm_start=True).fit(X, y)
    )
    np.testing.assert_array_equal(resumed.coreset_.X, whole.coreset_.X)
    np.testing.assert_array_equal(resumed.transform(X[:5]), whole.transform(X[:5]))
    assert resumed.loss_curve_ == whole.loss_curve_
    assert resumed.teacher_score_ == whole.teacher_score_


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_teaches_as_the_cpu_does(all_digits):
    X, _, y, _ = all_digits
    settings = {
        **FAST,
        "teacher": "network",
        "mirror": True,
        "early_stopping": True,
        "dtype": "float32",
    }
    scores = [
        RFADDistiller(**settings, device=device).fit(X, y).teacher_score_
        for device in ("cpu", "cuda")
    ]
    assert min(scores) > 0.9
