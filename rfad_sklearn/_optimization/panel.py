"""Panel of scikit-learn classifiers that are fitted on items and scored on held-out rows."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from .scoring import can_be_scored, response_methods, scoring_name

# Trees of a forest: with fifty, items are the noisier to evaluate.
_N_TREES = 100
# Models that on images say little: ten items of a class have no variances per pixel, and a single
# tree on them differs by eight points from one evaluation to the next.
_NOT_OF_PIXELS = ("GaussianNB", "DecisionTree")
# Iterations of the models that descend.
_MAX_ITER = 200

# Standard error of a difference in the mean of the panel, of one row.
_NOISE = 0.15


@dataclass(frozen=True)
class PanelMember:
    """One classifier of a panel.

    Attributes
    ----------
    name : str
    model : classifier
        Cloned before it is fitted.
    scaled : bool
        Whether it stands behind a ``StandardScaler`` fitted on training rows.
    """

    name: str
    model: object
    scaled: bool


def default_members(n_items, pixels):
    """The panel of ``downstream="any"``.

    Parameters
    ----------
    n_items : int
        With no more than 3 there are no 3 nearest neighbours to count.
    pixels : bool
        Whether the columns are pixels.
    """
    left_out = (("3-NN",) if n_items <= 3 else ()) + (_NOT_OF_PIXELS if pixels else ())
    members = [
        PanelMember("LogisticRegression", LogisticRegression(max_iter=_MAX_ITER), True),
        PanelMember("SVC", SVC(), False),
        PanelMember("1-NN", KNeighborsClassifier(1), False),
        PanelMember("3-NN", KNeighborsClassifier(3), True),
        PanelMember("GaussianNB", GaussianNB(), False),
        PanelMember("DecisionTree", DecisionTreeClassifier(random_state=0), False),
        PanelMember("RandomForest", RandomForestClassifier(_N_TREES, random_state=0), False),
        PanelMember("ExtraTrees", ExtraTreesClassifier(_N_TREES, random_state=0), False),
        PanelMember("MLP", MLPClassifier(max_iter=_MAX_ITER, random_state=0), True),
    ]
    return [member for member in members if member.name not in left_out]


def members_to_score(members, scoring, scorer):
    """Members that a scorer can score, and a sentence on those that are left out, or None.

    Parameters
    ----------
    members : sequence of PanelMember
    scoring : str or callable
        As the user gave it.
    scorer : callable or None

    Raises
    ------
    ValueError
        Where no member is left.
    """
    kept = [member for member in members if can_be_scored(member.model, scorer)]
    lacking = ", ".join(member.name for member in members if member not in kept)
    if not lacking:
        return members, None
    needs = f"scoring={scoring_name(scoring)!r} needs {' or '.join(response_methods(scorer))}"
    if not kept:
        raise ValueError(
            f"{needs}, which downstream={lacking} does not have; use a score of predictions, such "
            "as 'balanced_accuracy', or a classifier with that method."
        )
    return kept, f"without {lacking}: {needs}"


class Panel:
    """Classifiers that are fitted on items and scored on held-out rows.

    Parameters
    ----------
    members : list of PanelMember
    rows : array of shape (n, d)
        Held-out rows in the units of X.
    y_encoded : int array of shape (n,)
    offset, scale : array of shape (d,)
        Mean and deviation of the training rows.
    weights : array of shape (n,), optional
        How much each row counts.
    scorer : HeldOutScorer, optional
        By default rows are scored by accuracy.
    splits : list of tuple (items, rows) of int arrays, optional
        Numbers of the items that models are fitted on, and of the rows that these predict; each row
        is in one of them. None: all items, all rows.
    """

    def __init__(
        self, members, rows, y_encoded, offset, scale, *, weights=None, scorer=None, splits=None
    ):
        self.members, self.y_encoded, self.weights = members, y_encoded, weights
        self.splits = [(slice(None), slice(None))] if splits is None else splits
        self.scorer = scorer
        self.rows, self.offset, self.scale = rows, offset, scale
        self.scaled_rows = self._scaled(rows)

    @property
    def noise(self):
        """About the standard error of a difference between two sets of items in the mean."""
        n_rows, weights = len(self.rows), self.weights
        if weights is not None:
            # Rows of equal weight that would say as much (Kish 1965).
            n_rows = float(weights.sum() ** 2 / np.square(weights).sum())
        return _NOISE / n_rows**0.5

    def _scaled(self, rows):
        return (rows - self.offset) / self.scale

    def scores(self, items, y_encoded):
        """Score of each member on the held-out rows, by its name.

        Parameters
        ----------
        items : array of shape (n_items, d)
            In the units of X.
        y_encoded : int array of shape (n_items,)
        """
        items = (items, self._scaled(items))
        labels = y_encoded if self.scorer is None else self.scorer.classes[y_encoded]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # Of models that have not converged: they are fitted as a user's are.
            warnings.simplefilter("ignore")
            out = {}
            for member in self.members:
                fitted = [
                    clone(member.model).fit(items[member.scaled][own], labels[own])
                    for own, _ in self.splits
                ]
                out[member.name] = self._score(
                    fitted, self.scaled_rows if member.scaled else self.rows
                )
            return out

    def _score(self, fitted, rows):
        """Score of a model for each split, as one number."""
        if self.scorer is not None:
            return self._score_of_scorer(fitted, rows)
        predicted = np.empty_like(self.y_encoded)
        for model, (_, evaluated) in zip(fitted, self.splits, strict=True):
            # Not its own score, which need be no accuracy, nor take weights.
            predicted[evaluated] = model.predict(rows[evaluated])
        return float(accuracy_score(self.y_encoded, predicted, sample_weight=self.weights))

    def _score_of_scorer(self, fitted, rows):
        """Mean of the splits' scores, by their rows."""
        scores, sizes = [], []
        for model, (_, evaluated) in zip(fitted, self.splits, strict=True):
            own = self.y_encoded[evaluated]
            scorer = replace(
                self.scorer,
                rows=rows[evaluated],
                y=self.scorer.classes[own],
                weights=None if self.weights is None else self.weights[evaluated],
            )
            scores.append(scorer.of_model(model, scorer.rows))
            sizes.append(len(own))
        return float(np.average(scores, weights=sizes))


def mean_of(scores):
    """Mean of the members' scores."""
    return sum(scores.values()) / len(scores)
