import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

from rfad_sklearn import MLP, NNGPKernelRidge, RFADDistiller

pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has no callbacks")
SMALL = {
    "architecture": MLP(width=16),
    "max_iter": 7,
    "eval_every": 3,
    "n_networks": 2,
    "random_state": 0,
}


class Recorder:
    """Records the events that it receives; returns True, to stop, after some evaluations."""

    def __init__(self, stop_after=None):
        self.events, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name} of {context.max_subtasks}")

    def on_fit_task_end(self, estimator, context):
        self.events.append(f"end {context.task_name}")
        return (
            self.stop_after is not None and self.events.count("end evaluation") >= self.stop_after
        )

    def teardown(self, estimator, context):
        self.events.append("teardown")


def test_callbacks_see_evaluations():
    recorder = Recorder()
    distiller = RFADDistiller(**SMALL).set_callbacks(recorder).fit(*load_iris(return_X_y=True))
    # At the start, after 3, 6 and 7 steps.
    evaluations = 4 * ["begin evaluation of 0", "end evaluation"]
    assert recorder.events == ["setup", "begin fit of 4", *evaluations, "end fit", "teardown"]
    assert len(distiller.loss_curve_) == 4
    assert not hasattr(distiller, "_callback_fit_ctx")


def test_callbacks_may_stop_a_run():
    distiller = (
        RFADDistiller(**SMALL)
        .set_callbacks(Recorder(stop_after=2))
        .fit(*load_iris(return_X_y=True))
    )
    assert distiller.stop_reason_ == "callback"
    assert distiller.n_iter_ == 3


def test_callbacks_are_torn_down_after_an_error():
    recorder = Recorder()

    def fail(state):
        raise RuntimeError("enough")

    distiller = RFADDistiller(**SMALL, callback=fail).set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="enough"):
        distiller.fit(*load_iris(return_X_y=True))
    assert recorder.events[-1] == "teardown"
    assert not hasattr(distiller, "_callback_fit_ctx")
    assert not hasattr(distiller, "coreset_")


def test_clones_keep_their_callbacks_inside_a_classifier():
    recorder = Recorder()
    X, y = load_iris(return_X_y=True)
    NNGPKernelRidge(distiller=clone(RFADDistiller(**SMALL).set_callbacks(recorder))).fit(X, y)
    assert recorder.events.count("end evaluation") == 4


def test_progress_bar(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    RFADDistiller(**SMALL).set_callbacks(ProgressBar()).fit(*load_iris(return_X_y=True))
    assert "RFADDistiller - fit" in capsys.readouterr().out
