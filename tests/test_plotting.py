import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError

from rfad_sklearn import CoresetDisplay, CoresetSelector, HistoryDisplay, RFADDistiller
from rfad_sklearn._utils.network_spec import MLPSpec
from tests.conftest import FAST, FAST_ROWS


def test_what_has_nothing_to_draw_is_refused(fitted, coreset):
    with pytest.raises(
        TypeError, match="coreset must be a Coreset, got RFADDistiller; give its coreset_"
    ):
        CoresetDisplay.from_coreset(fitted)
    with pytest.raises(NotFittedError):
        HistoryDisplay.from_estimator(RFADDistiller())
    with pytest.raises(TypeError, match=r"distiller must be a fitted distiller, got Coreset\("):
        HistoryDisplay.from_estimator(coreset)
    selector = CoresetSelector().fit(coreset.images, coreset.y)
    with pytest.raises(TypeError, match="CoresetSelector keeps no history"):
        HistoryDisplay.from_estimator(selector)


def test_grid_of_images_one_row_per_class(coreset):
    display = CoresetDisplay.from_coreset(coreset)
    assert display.axes_.shape == (3, 2)
    assert [axes[0].get_ylabel() for axes in display.axes_] == ["0", "1", "2"]
    for k, ax in enumerate(display.axes_.ravel()):
        np.testing.assert_allclose(ax.images[0].get_array(), coreset.images[k])
        assert ax.get_title() == ""


def test_class_names_and_given_figure(coreset):
    figure = Figure()
    display = CoresetDisplay.from_coreset(
        coreset, figure=figure, class_names=["zero", "one", "two"]
    )
    assert display.figure_ is figure
    assert [axes[0].get_ylabel() for axes in display.axes_] == ["zero", "one", "two"]
    with pytest.raises(ValueError, match="class_names must hold 3 names, got 1"):
        CoresetDisplay.from_coreset(coreset, class_names=["zero"])


def test_learned_targets_are_visible(coreset):
    from dataclasses import replace

    targets = coreset.targets.copy()
    targets[0] = [0.6, 0.3, -0.9]
    display = CoresetDisplay.from_coreset(replace(coreset, targets=targets))
    assert display.axes_[0, 0].get_title() == "0 0.60 1 0.30"
    assert display.axes_[1, 0].get_title().startswith("1 0.67")


def test_unequal_numbers_leave_empty_places(digits):
    X, _, y, _ = digits
    coreset = RFADDistiller(ipc={0: 1, 1: 3, 2: 2}, **FAST).fit(X, y).coreset_
    visible = [
        [ax.get_visible() for ax in axes] for axes in CoresetDisplay.from_coreset(coreset).axes_
    ]
    assert visible == [[True, False, False], [True, True, True], [True, True, False]]


@pytest.mark.parametrize("channels", [2, 3])
def test_colour_images_are_drawable(rng, channels):
    X = rng.normal(size=(40, 8, 8, channels)) * 50
    coreset = RFADDistiller(ipc=1, **FAST).fit(X, np.repeat([0, 1], 20)).coreset_
    picture = CoresetDisplay.from_coreset(coreset).axes_[0, 0].images[0].get_array()
    assert picture.shape == ((8, 8, 3) if channels == 3 else (8, 8))
    if channels == 3:
        assert picture.min() >= 0
        assert picture.max() <= 1


def test_tables_are_heat_maps():
    pytest.importorskip("pandas")
    from sklearn.datasets import load_iris

    frame, y = load_iris(return_X_y=True, as_frame=True)
    coreset = (
        RFADDistiller(ipc=2, learn_labels=True, early_stopping=False, **FAST_ROWS)
        .fit(frame, y)
        .coreset_
    )
    assert isinstance(coreset.architecture, MLPSpec)
    display = CoresetDisplay.from_coreset(
        coreset, class_names=["setosa", "versicolor", "virginica"]
    )
    (ax,) = display.axes_
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown[:, :4], coreset.preprocessing.apply(coreset.X))
    np.testing.assert_allclose(shown[:, 4:], coreset.targets)
    assert [label.get_text() for label in ax.get_xticklabels()][:4] == frame.columns.tolist()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["setosa"] * 2 + [
        "versicolor"
    ] * 2 + ["virginica"] * 2


def test_without_matplotlib_it_says_what_to_install(coreset, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'rfad_sklearn\[plot\]'"):
        CoresetDisplay.from_coreset(coreset)


@pytest.mark.parametrize("x", ["seconds", "step"])
def test_history_shows_losses_and_accuracy(fitted, x):
    display = HistoryDisplay.from_estimator(fitted, x=x)
    loss, held_out, accuracy = display.axes_
    expected = [record[x] for record in fitted.history_]
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), expected)
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), fitted.loss_curve_)
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), fitted.validation_scores_)
    np.testing.assert_array_equal(
        held_out.lines[0].get_ydata(), [record["validation_loss"] for record in fitted.history_]
    )


def test_history_without_held_out_rows_and_from_a_file(digits, tmp_path):
    import json

    X, _, y, _ = digits
    distiller = RFADDistiller(**FAST, early_stopping=False).fit(X, y)
    history = json.loads(distiller.export_history(tmp_path / "h.json").read_text())
    display = HistoryDisplay(history).plot(x="step", figure=Figure())
    (ax,) = display.axes_
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 3, 6])
    with pytest.raises(ValueError, match="got 'time'"):
        display.plot(x="time")
