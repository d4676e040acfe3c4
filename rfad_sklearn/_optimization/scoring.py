"""Scorers of scikit-learn on held-out rows: of classifiers, and of scores of kernel ridge."""

import inspect
import math
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from .._utils.from_scores import decisions, probabilities

# Modules of scikit-learn whose scores are of classes, by the ends of their names: those of
# regression and of clustering are not.
_OF_CLASSES = ("_classification", "_ranking", "_scorer")
# Ends of the names of scores of rows with several labels each.
_OF_SEVERAL_LABELS = "_samples"
# States whose scores differ by no more have the same: the later one is kept.
TIE = 1e-12


def scorer_names():
    """Names of scikit-learn's scorers that need no more than predictions or probabilities."""
    return [
        name
        for name in get_scorer_names()
        if get_scorer(name)._score_func.__module__.endswith(_OF_CLASSES)
        and not name.endswith(_OF_SEVERAL_LABELS)
    ]


def scoring_name(scoring):
    """A word for the parameter ``scoring``.

    Parameters
    ----------
    scoring : str or callable
    """
    if isinstance(scoring, str):
        return scoring
    return getattr(scoring, "__qualname__", None) or " ".join(str(scoring).split())


def resolve_scorer(scoring, classes):
    """Scorer of a name, ``scorer(estimator, X, y)``; None for "auto".

    Parameters
    ----------
    scoring : str or callable
    classes : array of shape (n_classes,)

    Raises
    ------
    ValueError
        For a name of no scorer of classes.
    """
    if not isinstance(scoring, str):
        return scoring
    if scoring == "auto":
        return None
    names = scorer_names()
    if scoring not in names:
        known = "scores no classes" if scoring in get_scorer_names() else "is no scorer's name"
        raise ValueError(
            f"scoring={scoring!r} {known}; use 'auto', one of {', '.join(map(repr, names))}, or a "
            "callable such as make_scorer of sklearn.metrics gives."
        )
    scorer = get_scorer(scoring)
    function = scorer._score_func
    by_class = response_methods(scorer) == ("predict_proba",) and scoring.startswith(("neg_", "d2"))
    if by_class and "labels" in inspect.signature(function).parameters:
        # Held-out rows need not be of all classes, and then cannot say which there are.
        return make_scorer(
            function,
            response_method="predict_proba",
            greater_is_better=scorer._sign > 0,
            labels=classes,
        )
    return scorer


def response_methods(scorer):
    """Names of the methods of a classifier of which a scorer needs one; none: unknown."""
    methods = getattr(scorer, "_response_method", ())
    return (methods,) if isinstance(methods, str) else tuple(methods)


def can_be_scored(model, scorer):
    """Whether a classifier has one of the methods that a scorer needs.

    Parameters
    ----------
    model : classifier
    scorer : callable or None
    """
    methods = response_methods(scorer)
    return not methods or any(hasattr(model, method) for method in methods)


def score_and_loss(score):
    """A score, and the loss by which states are compared: a score that is none loses to all."""
    return score, -score if math.isfinite(score) else math.inf


class _ScoredRows(ClassifierMixin, BaseEstimator):
    """A classifier of rows whose scores are known."""

    def __init__(self, classes, scores, logit_scale):
        self.classes, self.scores, self.logit_scale = classes, scores, logit_scale
        self.classes_ = classes

    def predict(self, X):
        return self.classes[self.scores.argmax(1)]

    def decision_function(self, X):
        return decisions(self.scores)

    def predict_proba(self, X):
        return probabilities(self.scores, self.logit_scale)


@dataclass(frozen=True)
class HeldOutScorer:
    """A scorer, and the rows that it is for.

    Attributes
    ----------
    name : str
    scorer : callable
        ``scorer(estimator, X, y)``, and with weights ``sample_weight=``.
    classes : array of shape (n_classes,)
    rows : array of shape (n, d)
        Held-out rows in the units of X.
    y : array of shape (n,)
        Their labels.
    weights : array of shape (n,) or None
        How much each row counts.
    """

    name: str
    scorer: object
    classes: np.ndarray
    rows: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    def of_model(self, model, rows):
        """Score of a classifier of the labels on the held-out rows, as it takes them.

        Raises
        ------
        ValueError
            Where the scorer cannot score such rows.
        """
        weighted = {} if self.weights is None else {"sample_weight": self.weights}
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                # Of classes that are never predicted, for example.
                warnings.simplefilter("ignore")
                return float(self.scorer(model, rows, self.y, **weighted))
        except (ValueError, TypeError, AttributeError) as error:
            why = " with the weights of class_weight, as sample_weight=" if weighted else ""
            raise ValueError(
                f"scoring={self.name!r} cannot score the held-out rows of the classes "
                f"{self.classes.tolist()}{why}: {str(error).rstrip('.')}. Use another scorer "
                "('balanced_accuracy', 'f1_macro' and 'neg_log_loss' go with any classes, "
                "'roc_auc_ovr' with several), make_scorer of sklearn.metrics with what is missing, "
                "or give rows of every class as X_val."
            ) from error

    def of_scores(self, scores, logit_scale):
        """Score of kernel ridge regression, of the scores ``(n, n_classes)`` of all rows."""
        return self.of_model(_ScoredRows(self.classes, scores, logit_scale), self.rows)
