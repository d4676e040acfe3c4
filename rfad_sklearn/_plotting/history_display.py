"""Learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .figures import import_pyplot

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from sklearn.base import BaseEstimator

# Quantities of a history that are drawn, and the names of their axes.
_PANELS = {
    "loss": "training loss",
    "validation_loss": "cross entropy of held-out rows",
    "validation_score": "accuracy on held-out rows",
}


class HistoryDisplay:
    """Learning curve of a distillation.

    It shows the training loss, and cross entropy and accuracy on held-out rows. Make one with
    :meth:`from_estimator`.

    Parameters
    ----------
    history : list of dict
        As the attribute ``history_`` of a distiller, or read from a file of ``export_history``.
    scoring : str, default=None
        What the scores are, where ``scoring`` of the distiller said so; then minus the score is no
        panel of its own. None: accuracy.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : array of matplotlib Axes
        The training loss; where rows were held out, their cross entropy and the accuracy on them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import HistoryDisplay, RFADDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RFADDistiller(max_iter=10, eval_every=2, early_stopping=True, random_state=0)
    >>> distiller = distiller.fit(X, y)
    >>> HistoryDisplay.from_estimator(distiller).axes_.shape
    (3,)
    """

    def __init__(self, history: list[dict], scoring: str | None = None):
        self.history, self.scoring = history, scoring

    @classmethod
    def from_estimator(
        cls,
        distiller: BaseEstimator,
        *,
        x: Literal["seconds", "step"] = "seconds",
        figure: Figure | None = None,
    ) -> HistoryDisplay:
        """Draw the history of a fitted distiller.

        Parameters
        ----------
        distiller : distiller
        x : {"seconds", "step"}, default="seconds"
            Quantity of the horizontal axis.
        figure : matplotlib Figure, default=None
            Where to draw; None makes a new one.

        Returns
        -------
        HistoryDisplay

        Raises
        ------
        TypeError
            When it is no fitted distiller that takes steps.
        ImportError
            Without matplotlib.
        """
        if not hasattr(distiller, "fit") or isinstance(distiller, type):
            raise TypeError(f"distiller must be a fitted distiller, got {distiller!r}.")
        check_is_fitted(distiller)
        if not hasattr(distiller, "history_"):
            raise TypeError(
                f"{type(distiller).__name__} keeps no history; give a distiller that takes steps."
            )
        automatic = isinstance(distiller.scoring, str) and distiller.scoring == "auto"
        scoring = None if automatic else distiller.plan_.scoring
        return cls(distiller.history_, scoring).plot(x=x, figure=figure)

    def plot(
        self, *, x: Literal["seconds", "step"] = "seconds", figure: Figure | None = None
    ) -> HistoryDisplay:
        """Draw the history; the parameters are those of :meth:`from_estimator`.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        if x not in ("seconds", "step"):
            raise ValueError(f"x must be 'seconds' or 'step', got {x!r}.")
        first = self.history[0] if self.history else {}
        panels = {name: label for name, label in _PANELS.items() if first.get(name) is not None}
        if self.scoring is not None and "validation_score" in panels:
            panels.pop("validation_loss", None)
            panels["validation_score"] = f"{self.scoring} on held-out rows"
        if figure is None:
            figure = import_pyplot().figure(figsize=(3.8 * max(len(panels), 1), 3))
        axes = np.atleast_1d(figure.subplots(1, max(len(panels), 1)))
        for ax, (name, label) in zip(axes, panels.items(), strict=False):
            points = [(record[x], record[name]) for record in self.history]
            ax.plot(*zip(*points, strict=True))
            ax.set_xlabel("steps" if x == "step" else x)
            ax.set_ylabel(label)
        figure.tight_layout()
        self.figure_, self.axes_ = figure, axes
        return self
