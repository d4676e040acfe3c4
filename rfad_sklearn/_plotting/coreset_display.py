"""Pictures of the items of a coreset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._utils.columns import shown_values
from .._utils.pictures import drawable
from ..coreset import Coreset
from .figures import check_class_names, import_pyplot, label_names, show_image, without_ticks

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Words are no formulas, and stay within the axes.
_PLAIN = {"parse_math": False, "clip_on": True}
# Letters of a category in a cell, at most.
_MAX_LETTERS = 12
# Share of its row's largest entry from which a learned target is named in a title.
_VISIBLE_TARGET = 0.15


class CoresetDisplay:
    """Picture of a coreset: a grid of images with one row per class, or a heat map of a table.

    Make one with :meth:`from_coreset`.

    Parameters
    ----------
    coreset : Coreset

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : array of matplotlib Axes
        Shape (n_classes, largest number of items) for images, (1,) for tables.

    Examples
    --------
    >>> from rfad_sklearn import ConvNet, CoresetDisplay, RFADDistiller
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> X, y = load_digits_images()
    >>> small = ConvNet(width=16)
    >>> distiller = RFADDistiller(ipc=2, architecture=small, max_iter=5, random_state=0)
    >>> coreset = distiller.fit(X, y).coreset_
    >>> CoresetDisplay.from_coreset(coreset).axes_.shape
    (10, 2)
    """

    def __init__(self, coreset: Coreset):
        self.coreset = coreset

    @classmethod
    def from_coreset(
        cls,
        coreset: Coreset,
        *,
        figure: Figure | None = None,
        class_names: Sequence[str] | None = None,
        cmap: str | Colormap | None = None,
    ) -> CoresetDisplay:
        """Draw a coreset.

        Parameters
        ----------
        coreset : Coreset
        figure : matplotlib Figure, default=None
            Where to draw; None makes a new one.
        class_names : list of str, default=None
            Names in place of the labels, in the order of ``coreset.classes``.
        cmap : str or Colormap, default=None
            Colours of grey images ("gray") and of tables ("coolwarm").

        Returns
        -------
        CoresetDisplay

        Raises
        ------
        TypeError
            When ``coreset`` is something else.
        ValueError
            When ``class_names`` are not one for each class.
        ImportError
            Without matplotlib.
        """
        if not isinstance(coreset, Coreset):
            hint = "; give its coreset_" if hasattr(coreset, "coreset_") else ""
            raise TypeError(f"coreset must be a Coreset, got {type(coreset).__name__}{hint}.")
        return cls(coreset).plot(figure=figure, class_names=class_names, cmap=cmap)

    def plot(
        self,
        *,
        figure: Figure | None = None,
        class_names: Sequence[str] | None = None,
        cmap: str | Colormap | None = None,
    ) -> CoresetDisplay:
        """Draw the coreset; the parameters are those of :meth:`from_coreset`.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        names = check_class_names(self.coreset, class_names)
        if self.coreset.image_shape is None:
            self._plot_table(figure, names, cmap or "coolwarm")
        else:
            self._plot_images(figure, names, cmap or "gray")
        return self

    def _plot_images(self, figure, names, cmap):
        coreset = self.coreset
        members = [np.flatnonzero(coreset.y == label) for label in coreset.classes]
        n_columns = max(map(len, members))
        learned = self._has_learned_targets()
        if figure is None:
            figure = import_pyplot().figure(
                figsize=(0.7 * n_columns + 1.2, (1.0 if learned else 0.75) * len(names) + 0.2)
            )
        axes = figure.subplots(len(names), n_columns, squeeze=False)
        images, limits = drawable(coreset.images)
        for row, (items, name) in enumerate(zip(members, names, strict=True)):
            without_ticks(axes[row])
            for ax in axes[row, len(items) :]:
                ax.set_visible(False)
            for ax, item in zip(axes[row], items, strict=False):
                show_image(ax, images[item], cmap, limits)
                if learned:
                    ax.set_title(self._target_words(item, names), fontsize=6, pad=2)
            axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        figure.tight_layout(pad=0.4)
        self.figure_, self.axes_ = figure, axes

    def _has_learned_targets(self):
        coreset = self.coreset
        fixed = (coreset.y[:, None] == coreset.classes[None]) - 1 / coreset.n_classes
        return not np.allclose(coreset.targets, fixed, atol=1e-5)

    def _target_words(self, item, names):
        targets = self.coreset.targets[item]
        order = np.argsort(-targets)[:2]
        shown = [k for k in order if targets[k] >= _VISIBLE_TARGET * abs(targets).max()]
        return " ".join(f"{names[k]} {targets[k]:.2f}" for k in shown or order[:1])

    def _plot_table(self, figure, names, cmap):
        """Standardised items against columns, with learned targets as further columns."""
        coreset = self.coreset
        values = np.asarray(coreset.preprocessing.apply(coreset.rows), dtype=float)
        categorical = np.zeros(0, dtype=int)
        if coreset.columns is not None and values.shape[1] == coreset.columns.n_expanded:
            # One cell for each column of categories, without a colour, for its word.
            values = values[:, coreset.columns.starts]
            categorical = np.flatnonzero(coreset.columns.is_categorical)
            values[:, categorical] = np.nan
        columns = [str(k) for k in range(values.shape[1])]
        if coreset.feature_names is not None and values.shape[1] == len(coreset.feature_names):
            columns = list(coreset.feature_names)
        if self._has_learned_targets():
            values = np.concatenate([values, coreset.targets], axis=1)
            columns += [f"target {name}" for name in names]
        if figure is None:
            width = 0.35 * len(columns) + 0.75 * len(categorical) + 3
            figure = import_pyplot().figure(
                figsize=(min(width, 16), min(0.3 * coreset.n_items + 1.8, 16))
            )
        ax = figure.subplots()
        limit = max(np.nanmax(abs(values), initial=0.0), 1e-12)
        image = ax.imshow(
            values, cmap=cmap, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        words = shown_values(coreset.X, coreset.columns)
        for item, k in np.ndindex(coreset.n_items, len(categorical)):
            word = words[item][categorical[k]]
            short = word if len(word) <= _MAX_LETTERS else word[: _MAX_LETTERS - 1] + "\u2026"
            ax.text(categorical[k], item, short, ha="center", va="center", fontsize=6, **_PLAIN)
        ax.set_yticks(range(coreset.n_items), label_names(coreset, names))
        ax.set_xticks(range(len(columns)), columns, rotation=90)
        figure.colorbar(image, ax=ax, label="preprocessed value")
        figure.tight_layout()
        self.figure_, self.axes_ = figure, np.array([ax])
