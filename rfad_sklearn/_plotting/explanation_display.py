"""Pictures of the contributions of items to one prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._utils.pictures import drawable
from ..coreset import Coreset
from .figures import check_class_names, import_pyplot, label_names, show_image, without_ticks

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from sklearn.base import BaseEstimator


class ExplanationDisplay:
    """Picture of the items that contribute most to the prediction for one row.

    For images: the row, then the items with the largest positive contributions to the score of the
    predicted class, then those with the largest negative ones. For tables: bars. Make one with
    :meth:`from_estimator`.

    Parameters
    ----------
    row : array of shape (n_features,)
        The row, in raw units.
    coreset : Coreset
    contributions : array of shape (n_items,)
        Contributions to the score of the predicted class.
    predicted : int
        Number of the predicted class.

    Attributes
    ----------
    items_ : array of shape (n_drawn,)
        Numbers of the items that are drawn, by falling contribution.
    figure_ : matplotlib Figure
    axes_ : array of matplotlib Axes
        Shape (1 + n_drawn,) for images, (1,) for tables.

    Examples
    --------
    >>> from rfad_sklearn import ConvNet, ExplanationDisplay, NNGPKernelRidge, RFADDistiller
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> X, y = load_digits_images()
    >>> small = ConvNet(width=16)
    >>> distiller = RFADDistiller(ipc=1, architecture=small, max_iter=5, random_state=0)
    >>> clf = NNGPKernelRidge(distiller=distiller).fit(X, y)
    >>> ExplanationDisplay.from_estimator(clf, X[0], n_items=2).axes_.shape
    (5,)
    """

    def __init__(
        self, row: np.ndarray, coreset: Coreset, contributions: np.ndarray, predicted: int
    ):
        self.row = row
        self.coreset = coreset
        self.contributions = contributions
        self.predicted = predicted

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        x: ArrayLike,
        *,
        n_items: int = 3,
        figure: Figure | None = None,
        class_names: Sequence[str] | None = None,
        cmap: str | Colormap = "gray",
    ) -> ExplanationDisplay:
        """Explain the prediction for one row, and draw it.

        Parameters
        ----------
        estimator : NNGPKernelRidge
            Fitted on a coreset.
        x : array of shape (d,), (H, W) or (H, W, channels), or a row of a data frame
        n_items : int, default=3
            Items with positive, and items with negative contributions, at most.
        figure : matplotlib Figure, default=None
            Where to draw; None makes a new one.
        class_names : list of str, default=None
            Names in place of the labels, in the order of ``coreset.classes``.
        cmap : str or Colormap, default="gray"
            Colours of grey images.

        Returns
        -------
        ExplanationDisplay

        Raises
        ------
        ValueError
            When ``n_items`` is below 1, or ``class_names`` are not one for each class.
        ImportError
            Without matplotlib.
        """
        # A row of a data frame stays one, with its names.
        parts = estimator.explain(
            x.to_frame().T if hasattr(x, "to_frame") else np.asarray(x)[None]
        )[0]
        predicted = int(parts.sum(0).argmax())
        display = cls(np.asarray(x).ravel(), estimator.coreset_, parts[:, predicted], predicted)
        return display.plot(n_items=n_items, figure=figure, class_names=class_names, cmap=cmap)

    def plot(
        self,
        *,
        n_items: int = 3,
        figure: Figure | None = None,
        class_names: Sequence[str] | None = None,
        cmap: str | Colormap = "gray",
    ) -> ExplanationDisplay:
        """Draw the explanation; the parameters are those of :meth:`from_estimator`.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        if n_items < 1:
            raise ValueError(f"n_items must be at least 1, got {n_items!r}.")
        names = check_class_names(self.coreset, class_names)
        order = np.argsort(-self.contributions, kind="stable")
        positive = [k for k in order[:n_items] if self.contributions[k] > 0]
        negative = [k for k in order[-n_items:] if self.contributions[k] < 0]
        self.items_ = np.array(positive + negative, dtype=int)
        labels = label_names(self.coreset, names)[self.items_]
        title = f"predicted {names[self.predicted]}: {self.contributions.sum():+.2f}"
        if self.coreset.image_shape is None:
            self._plot_bars(figure, labels, title)
        else:
            self._plot_images(figure, labels, title, cmap)
        return self

    def _plot_images(self, figure, labels, title, cmap):
        if figure is None:
            figure = import_pyplot().figure(figsize=(1.3 * (1 + len(labels)) + 0.6, 1.9))
        axes = np.atleast_1d(figure.subplots(1, 1 + len(labels)))
        shape = self.coreset.images.shape[1:]
        row, row_limits = drawable(self.row.reshape(1, *shape))
        items, limits = drawable(self.coreset.images)
        show_image(axes[0], row[0], cmap, row_limits)
        axes[0].set_title(title, fontsize=8)
        for ax, item, label in zip(axes[1:], self.items_, labels, strict=True):
            show_image(ax, items[item], cmap, limits)
            value = self.contributions[item]
            ax.set_title(f"{label} {value:+.2f}", fontsize=8, color=_colour_of(value))
        without_ticks(axes)
        figure.tight_layout(pad=0.4)
        self.figure_, self.axes_ = figure, axes

    def _plot_bars(self, figure, labels, title):
        if figure is None:
            figure = import_pyplot().figure(figsize=(5, 0.3 * len(labels) + 1.2))
        ax = figure.subplots()
        values = self.contributions[self.items_]
        ax.barh(range(len(labels)), values, color=[_colour_of(value) for value in values])
        ax.set_yticks(
            range(len(labels)),
            [f"{label} (item {item})" for label, item in zip(labels, self.items_, strict=True)],
        )
        ax.invert_yaxis()
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_xlabel("contribution")
        ax.set_title(title, fontsize=10)
        figure.tight_layout()
        self.figure_, self.axes_ = figure, np.array([ax])


def _colour_of(contribution):
    return "tab:blue" if contribution > 0 else "tab:red"
