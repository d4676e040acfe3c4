"""How an objective uses soft labels, and when a distiller has a teacher."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from rfad_sklearn import RFADDistiller
from rfad_sklearn._optimization.teacher import SoftLabels, Teacher
from rfad_sklearn._utils.labels import centred_one_hot
from tests.building import objective_of
from tests.conftest import FAST, FAST_ROWS
from tests.optimization.test_teacher import context_of


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_soft_labels_equal_to_the_labels_change_nothing(digits, loss):
    distiller, context = context_of(digits, loss=loss)
    labels = centred_one_hot(torch.from_numpy(context.y_encoded), 3) + 1 / 3

    def loss_of(probabilities):
        objective = objective_of(distiller, context)
        objective.soft_labels = (
            None if probabilities is None else SoftLabels(probabilities, 1.0, 0.0)
        )
        return objective.loss(start)

    start = context.initial_variables("random")
    torch.testing.assert_close(loss_of(labels), loss_of(None))
    # Other labels do.
    assert not torch.isclose(loss_of(labels.roll(1, 1)), loss_of(None), rtol=1e-2)


def test_hard_labels_come_back_once_the_teacher_is_no_better_than_the_coreset(digits):
    distiller, context = context_of(digits)
    objective = objective_of(distiller, context)
    variables = context.initial_variables("random")
    _, loss = objective.validate(variables, 0.0)
    uniform = torch.full((len(context.y_encoded), 3), 1 / 3)
    objective.soft_labels = SoftLabels(uniform, 0.9, 0.9 * loss)
    objective.validate(variables, 0.0)
    assert objective.soft_labels.probabilities is uniform
    objective.soft_labels = SoftLabels(uniform, 0.9, 1.1 * loss)
    objective.validate(variables, 0.0)
    assert objective.soft_labels == SoftLabels(None, 0.9, 1.1 * loss)
    assert torch.isfinite(objective.loss(variables))


@pytest.mark.parametrize(
    ("times", "progress", "switches_back"),
    [(1.3, 0.45, False), (1.3, 0.5, True), (1.3, 1.0, True), (1.5, 1.0, False)],
)
def test_late_in_a_run_hard_labels_come_back_sooner(digits, times, progress, switches_back):
    distiller, context = context_of(digits)
    objective = objective_of(distiller, context)
    variables = context.initial_variables("random")
    _, loss = objective.validate(variables, 0.0)
    objective.soft_labels = SoftLabels(
        torch.full((len(context.y_encoded), 3), 1 / 3), 0.9, loss / times
    )
    objective.validate(variables, progress)
    assert (objective.soft_labels.probabilities is None) == switches_back


@pytest.mark.slow
def test_fit_prints_and_stores_the_score_of_the_teacher(digits, capsys):
    X, _, y, _ = digits
    distiller = RFADDistiller(**FAST, teacher="network", early_stopping=True, verbose=1).fit(X, y)
    assert distiller.teacher_score_ > 0.8
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("teacher: ")
    ]
    assert f"accuracy {distiller.teacher_score_:.4f}" in line
    assert distiller.coreset_.provenance["teacher"] is True
    assert distiller.coreset_.provenance["teacher_score"] == distiller.teacher_score_
    without = RFADDistiller(**FAST, early_stopping=True).fit(X, y)
    assert without.coreset_.provenance["teacher"] is False
    assert (
        RFADDistiller(**FAST, teacher="network", early_stopping=False).fit(X, y).teacher_score_
        is None
    )


def seconds_of_teacher(distiller, X, y, monkeypatch, n_epochs=1):
    """Seconds that a teacher is given, None where none is made."""
    seen = []
    monkeypatch.setattr(Teacher, "n_epochs", lambda self, seconds: seen.append(seconds) or n_epochs)
    distiller.fit(X, y)
    return seen[0] if seen else None


@pytest.mark.slow
def test_auto_has_a_teacher_where_networks_are_fresh_and_time_and_held_out_rows_are_given(
    digits, monkeypatch
):
    X, _, y, _ = digits
    changes = {"pool_size": 1, "max_time": 50.0, "early_stopping": True}
    fresh = {**FAST, **changes}
    assert 8 < seconds_of_teacher(RFADDistiller(**fresh), X, y, monkeypatch) < 10
    for change in (
        {"teacher": None},
        {"pool_size": 3},
        {"max_time": None},
        {"max_iter": 0},
        {"early_stopping": False},
        {"teacher": "network"},
    ):
        distiller = RFADDistiller(**{**fresh, **change})
        assert seconds_of_teacher(distiller, X, y, monkeypatch) is None
    flat = RFADDistiller(**FAST_ROWS, **changes)
    assert seconds_of_teacher(flat, X.reshape(len(X), -1), y, monkeypatch) is None
    # Too little time for a teacher: the labels count.
    distiller = RFADDistiller(**fresh)
    assert seconds_of_teacher(distiller, X, y, monkeypatch, n_epochs=0) is not None
    assert distiller.teacher_score_ is None


def test_interrupting_the_teacher_keeps_the_items_at_the_start(digits, monkeypatch, tmp_path):
    X, _, y, _ = digits

    def interrupt(self, *args):
        raise KeyboardInterrupt

    start = RFADDistiller(**{**FAST, "max_iter": 0}).fit(X, y).coreset_
    monkeypatch.setattr(Teacher, "train", interrupt)
    path = tmp_path / "run.npz"
    distiller = RFADDistiller(**FAST, teacher="network", checkpoint=path)
    with pytest.warns(UserWarning, match="interrupted after 0 steps"):
        distiller.fit(X, y)
    assert distiller.stop_reason_ == "interrupted"
    np.testing.assert_array_equal(distiller.coreset_.X, start.X)
    # It would go on without a teacher.
    assert not path.exists()


class CutOff(Exception):
    pass


@pytest.mark.parametrize(
    "changes",
    [{"early_stopping": True}, {"early_stopping": False, "learn_labels": True}, {"bad": True}],
)
@pytest.mark.slow
def test_a_run_that_goes_on_keeps_its_soft_labels(digits, tmp_path, monkeypatch, changes):
    X, _, y, _ = digits
    changes = dict(changes)
    if changes.pop("bad", False):
        # With so bad a teacher hard labels come back at the first evaluation.
        monkeypatch.setattr("rfad_sklearn._optimization.teacher._LEARNING_RATE", 1e-9)
        changes["early_stopping"] = True
    distiller = RFADDistiller(**{**FAST, "max_iter": 12}, teacher="network", **changes)
    whole = clone(distiller).fit(X, y)

    def cut_off(state):
        if state.step == 6:
            raise CutOff

    with pytest.raises(CutOff):
        clone(distiller).set_params(checkpoint=tmp_path / "run.npz", callback=cut_off).fit(X, y)
    monkeypatch.setattr(Teacher, "train", None)
    resumed = clone(distiller).set_params(checkpoint=tmp_path / "run.npz").fit(X, y)
    np.testing.assert_array_equal(resumed.coreset_.X, whole.coreset_.X)
    np.testing.assert_array_equal(resumed.transform(X[:5]), whole.transform(X[:5]))
    assert resumed.loss_curve_ == whole.loss_curve_
    assert resumed.teacher_score_ == whole.teacher_score_
