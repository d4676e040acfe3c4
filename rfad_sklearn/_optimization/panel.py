"""Panel of scikit-learn classifiers that are fitted on items and scored on held-out rows."""

import warnings
from dataclasses import dataclass

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

# Trees of a forest: with fifty, items are the noisier to judge.
_N_TREES = 100
# Models that on images say little: ten items of a class have no variances per pixel, and a single
# tree on them differs by eight points from one evaluation to the next.
_NOT_OF_PIXELS = ("GaussianNB", "DecisionTree")
# Iterations of the models that descend.
_MAX_ITER = 200


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
    """

    def __init__(self, members, rows, y_encoded, offset, scale, weights=None, scorer=None):
        self.members, self.y_encoded, self.weights = members, y_encoded, weights
        self.scorer = scorer
        self.rows, self.offset, self.scale = rows, offset, scale
        self.scaled_rows = self._scaled(rows)

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
        scaled = self._scaled(items)
        labels = y_encoded if self.scorer is None else self.scorer.classes[y_encoded]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # Of models that have not converged: they are fitted as a user's are.
            warnings.simplefilter("ignore")
            out = {}
            for member in self.members:
                model = clone(member.model).fit(scaled if member.scaled else items, labels)
                out[member.name] = self._score(
                    model, self.scaled_rows if member.scaled else self.rows
                )
            return out

    def _score(self, model, rows):
        if self.scorer is not None:
            return self.scorer.of_model(model, rows)
        # Not its own score, which need be no accuracy, nor take weights.
        predicted = model.predict(rows)
        return float(accuracy_score(self.y_encoded, predicted, sample_weight=self.weights))


def mean_of(scores):
    """Mean of the members' scores."""
    return sum(scores.values()) / len(scores)
