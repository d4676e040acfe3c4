"""Draws of items of which some are rows as they are."""

import numpy as np
import pytest
import torch
from sklearn.metrics import get_scorer
from sklearn.neighbors import KNeighborsClassifier

from rfad_sklearn._optimization.item_draws import ItemDraws
from rfad_sklearn._optimization.panel import Panel, PanelMember
from rfad_sklearn._optimization.scoring import HeldOutScorer
from rfad_sklearn._optimization.training_data import RowStream, TrainingData

# Classes of 6 items, of 4 and of 1; those of the last two are the rows 10 to 13, and 20.
Y_ENCODED = np.repeat([0, 1, 2], [6, 4, 1])
ROWS = np.array([10, 11, 12, 13, 20])


@pytest.fixture
def draws():
    return ItemDraws(Y_ENCODED, 0.5, np.arange(6, 11), ROWS)


def test_each_class_gives_its_share(draws):
    for seed in range(5):
        drawn = draws.draw(seed)
        assert np.bincount(Y_ENCODED[drawn]).tolist() == [3, 2, 1]
        assert len(np.unique(drawn)) == len(drawn)
        np.testing.assert_array_equal(drawn, draws.draw(seed))
    assert len({tuple(draws.draw(seed)) for seed in range(20)}) > 5


def test_rows_that_are_drawn_as_items_are_left_out(draws):
    drawn = np.array([0, 2, 5, 7, 8, 10])
    left = draws.without(torch.tensor([3, 11, 10, 12, 20, 13, 11]), drawn)
    # A class with one row keeps it on both sides.
    assert left.tolist() == [3, 10, 20, 13]


def test_halves_judge_each_other(draws):
    halves = draws.halves(5, seed=0)
    evaluated = np.concatenate([positions for _, positions in halves])
    # Five other rows and the four that are items, each once.
    assert sorted(evaluated) == list(range(9))
    for items, positions in halves:
        assert np.bincount(Y_ENCODED[items]).tolist() == [3, 2, 1]
        as_items = draws.items[positions[positions >= 5] - 5]
        assert not np.isin(as_items, items).any()


def test_classes_are_as_frequent_as_before_when_rows_are_left_out(draws):
    labels = torch.tensor(np.where(np.isin(np.arange(30), ROWS[:4]), 1, 0))
    train = torch.arange(30)
    data = TrainingData(None, labels, 2, train, train[:0], (1,), torch.ones(30).double())
    stream = RowStream(train, torch.Generator().manual_seed(0), draws.row_weights(data))
    counts = np.zeros(2)
    for seed in range(200):
        left = draws.without(stream.take(100), draws.draw(seed))
        counts += np.bincount(labels[left], minlength=2)
    # Four rows of thirty.
    assert counts[1] / counts.sum() == pytest.approx(4 / 30, abs=0.01)


def test_rows_do_not_evaluate_themselves(rng):
    rows, y_encoded = rng.normal(size=(200, 3)), np.repeat([0, 1], 100)
    draws = ItemDraws(y_encoded, 0.5, np.arange(200), np.arange(200))
    nearest = [PanelMember("1-NN", KNeighborsClassifier(1), scaled=False)]
    setting = nearest, rows, y_encoded, np.zeros(3), np.ones(3)
    assert Panel(*setting).scores(rows, y_encoded) == {"1-NN": 1.0}
    # Labels without any meaning.
    accuracies = Panel(*setting, splits=draws.halves(0, seed=0)).scores(rows, y_encoded)
    assert accuracies["1-NN"] == pytest.approx(0.5, abs=0.12)


def test_a_scorer_scores_each_half(rng):
    rows, y_encoded = rng.normal(size=(200, 3)), np.repeat([0, 1], 100)
    rows[:, 0] += 2 * y_encoded
    draws = ItemDraws(y_encoded, 0.5, np.arange(200), np.arange(200))
    members = [PanelMember("1-NN", KNeighborsClassifier(1), scaled=False)]
    setting = members, rows, y_encoded, np.zeros(3), np.ones(3)
    classes = np.array(["no", "yes"])
    scorer = HeldOutScorer("accuracy", get_scorer("accuracy"), classes, rows, classes, None)
    splits = draws.halves(0, seed=0)
    scored = Panel(*setting, splits=splits, scorer=scorer).scores(rows, y_encoded)
    # Of halves of one size the mean of the accuracies is the accuracy.
    assert scored == pytest.approx(Panel(*setting, splits=splits).scores(rows, y_encoded))
