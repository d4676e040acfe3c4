"""Pictures of coresets. matplotlib is imported when a picture is drawn."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .coreset import Coreset

__all__ = ["CoresetDisplay", "ExplanationDisplay", "HistoryDisplay"]

# A learned target below this share of its row's largest entry is not worth a word in a title.
_VISIBLE_TARGET = 0.15


def _pyplot():
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Plotting needs matplotlib: pip install 'rfad_sklearn[plot]'.") from error
    return pyplot


def _drawable(images):
    """Images and grey limits; colours are brought to 0..1. The limits leave out the darkest and brightest half percent."""
    images = np.asarray(images, dtype=float)
    low, high = np.percentile(images, [0.5, 99.5])
    if images.ndim == 3:
        return images, (low, high)
    if images.shape[-1] != 3:
        return images.mean(-1), (low, high)
    return np.clip((images - low) / max(high - low, 1e-12), 0, 1), (None, None)


def _class_names(coreset, class_names):
    names = coreset.classes if class_names is None else class_names
    if len(names) != coreset.n_classes:
        raise ValueError(f"class_names must hold {coreset.n_classes} names, got {len(names)}.")
    return [str(name) for name in names]


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
    >>> from rfad_sklearn import CoresetDisplay, RFADDistiller
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> X, y = load_digits_images()
    >>> coreset = RFADDistiller(ipc=2, max_iter=5, width=16, random_state=0).fit(X, y).coreset_
    >>> CoresetDisplay.from_coreset(coreset).axes_.shape
    (10, 2)
    """

    def __init__(self, coreset):
        self.coreset = coreset

    @classmethod
    def from_coreset(cls, coreset, *, figure=None, class_names=None, cmap=None):
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
        """
        if not isinstance(coreset, Coreset):
            hint = "; give its coreset_" if hasattr(coreset, "coreset_") else ""
            raise TypeError(f"coreset must be a Coreset, got {type(coreset).__name__}{hint}.")
        return cls(coreset).plot(figure=figure, class_names=class_names, cmap=cmap)

    def plot(self, *, figure=None, class_names=None, cmap=None):
        """Draw the coreset; the parameters are those of :meth:`from_coreset`.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        names = _class_names(self.coreset, class_names)
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
            figure = _pyplot().figure(
                figsize=(0.7 * n_columns + 1.2, (1.0 if learned else 0.75) * len(names) + 0.2)
            )
        axes = figure.subplots(len(names), n_columns, squeeze=False)
        images, limits = _drawable(coreset.images)
        for row, (items, name) in enumerate(zip(members, names, strict=True)):
            for column, ax in enumerate(axes[row]):
                ax.set_xticks([])
                ax.set_yticks([])
                if column >= len(items):
                    ax.set_visible(False)
                    continue
                ax.imshow(
                    images[items[column]],
                    cmap=cmap,
                    vmin=limits[0],
                    vmax=limits[1],
                    interpolation="nearest",
                )
                if learned:
                    ax.set_title(self._target_words(items[column], names), fontsize=6, pad=2)
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
        shown = [k for k in order if targets[k] >= _VISIBLE_TARGET * abs(targets).max()] or [
            order[0]
        ]
        return " ".join(f"{names[k]} {targets[k]:.2f}" for k in shown)

    def _plot_table(self, figure, names, cmap):
        """Standardised items against columns, with learned targets as further columns."""
        coreset = self.coreset
        values = np.asarray(coreset.preprocessing.apply(coreset.X), dtype=float)
        columns = [str(k) for k in range(values.shape[1])]
        if coreset.feature_names is not None and values.shape[1] == len(coreset.feature_names):
            columns = list(coreset.feature_names)
        if self._has_learned_targets():
            values = np.concatenate([values, coreset.targets], axis=1)
            columns += [f"target {name}" for name in names]
        if figure is None:
            figure = _pyplot().figure(
                figsize=(min(0.35 * len(columns) + 3, 16), min(0.3 * coreset.n_items + 1.8, 16))
            )
        ax = figure.subplots()
        limit = max(abs(values).max(), 1e-12)
        image = ax.imshow(
            values, cmap=cmap, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        of_label = dict(zip(coreset.classes.tolist(), names, strict=True))
        ax.set_yticks(range(coreset.n_items), [of_label[label] for label in coreset.y.tolist()])
        ax.set_xticks(range(len(columns)), columns, rotation=90)
        figure.colorbar(image, ax=ax, label="preprocessed value")
        figure.tight_layout()
        self.figure_, self.axes_ = figure, np.array([ax])


class ExplanationDisplay:
    """Picture of what the items of a coreset say about one row: which speak for the predicted class, and which against it.

    For images: the row, then the items with the largest contributions, then those with the most
    negative ones. For tables: bars. Make one with :meth:`from_estimator`.

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
        Numbers of the items that are drawn, from most for to most against.
    figure_ : matplotlib Figure
    axes_ : array of matplotlib Axes
        Shape (1 + n_drawn,) for images, (1,) for tables.

    Examples
    --------
    >>> from rfad_sklearn import ExplanationDisplay, NNGPKernelRidge, RFADDistiller
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> X, y = load_digits_images()
    >>> clf = NNGPKernelRidge(distiller=RFADDistiller(ipc=1, max_iter=5, width=16, random_state=0)).fit(X, y)
    >>> ExplanationDisplay.from_estimator(clf, X[0], n_items=2).axes_.shape
    (5,)
    """

    def __init__(self, row, coreset, contributions, predicted):
        self.row, self.coreset, self.contributions, self.predicted = (
            row,
            coreset,
            contributions,
            predicted,
        )

    @classmethod
    def from_estimator(cls, estimator, x, *, n_items=3, figure=None, class_names=None, cmap="gray"):
        """Explain the prediction for one row, and draw it.

        Parameters
        ----------
        estimator : NNGPKernelRidge
            Fitted on a coreset.
        x : array of shape (d,), (H, W) or (H, W, channels), or a row of a data frame
        n_items : int, default=3
            Items for, and items against, at most.
        figure : matplotlib Figure, default=None
            Where to draw; None makes a new one.
        class_names : list of str, default=None
            Names in place of the labels, in the order of ``coreset.classes``.
        cmap : str or Colormap, default="gray"
            Colours of grey images.

        Returns
        -------
        ExplanationDisplay
        """
        # A row of a data frame stays one, with its names.
        parts = estimator.explain(
            x.to_frame().T if hasattr(x, "to_frame") else np.asarray(x)[None]
        )[0]
        predicted = int(parts.sum(0).argmax())
        display = cls(np.asarray(x).ravel(), estimator.coreset_, parts[:, predicted], predicted)
        return display.plot(n_items=n_items, figure=figure, class_names=class_names, cmap=cmap)

    def plot(self, *, n_items=3, figure=None, class_names=None, cmap="gray"):
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
        names = _class_names(self.coreset, class_names)
        order = np.argsort(-self.contributions, kind="stable")
        speaks_for = [k for k in order[:n_items] if self.contributions[k] > 0]
        speaks_against = [k for k in order[-n_items:] if self.contributions[k] < 0]
        self.items_ = np.array(speaks_for + speaks_against, dtype=int)
        of_label = dict(zip(self.coreset.classes.tolist(), names, strict=True))
        labels = [of_label[self.coreset.y[k].item()] for k in self.items_]
        title = f"predicted {names[self.predicted]}: {self.contributions.sum():+.2f}"
        if self.coreset.image_shape is None:
            self._plot_bars(figure, labels, title)
        else:
            self._plot_images(figure, labels, title, cmap)
        return self

    def _plot_images(self, figure, labels, title, cmap):
        if figure is None:
            figure = _pyplot().figure(figsize=(1.3 * (1 + len(labels)) + 0.6, 1.9))
        axes = np.atleast_1d(figure.subplots(1, 1 + len(labels)))
        shape = self.coreset.images.shape[1:]
        row, row_limits = _drawable(self.row.reshape(1, *shape))
        items, limits = _drawable(self.coreset.images)
        axes[0].imshow(
            row[0], cmap=cmap, vmin=row_limits[0], vmax=row_limits[1], interpolation="nearest"
        )
        axes[0].set_title(title, fontsize=8)
        for ax, item, label in zip(axes[1:], self.items_, labels, strict=True):
            ax.imshow(
                items[item], cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest"
            )
            ax.set_title(
                f"{label} {self.contributions[item]:+.2f}",
                fontsize=8,
                color=_colour_of(self.contributions[item]),
            )
        for ax in axes:
            ax.set_xticks([])
            ax.set_yticks([])
        figure.tight_layout(pad=0.4)
        self.figure_, self.axes_ = figure, axes

    def _plot_bars(self, figure, labels, title):
        if figure is None:
            figure = _pyplot().figure(figsize=(5, 0.3 * len(labels) + 1.2))
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


class HistoryDisplay:
    """Learning curve of a distillation: training loss, and cross entropy and accuracy on held-out rows.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    history : list of dict
        As the attribute ``history_`` of a distiller, or read from a file of ``export_history``.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : array of matplotlib Axes
        The training loss; where rows were held out, their cross entropy and the accuracy on them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import HistoryDisplay, RFADDistiller
    >>> distiller = RFADDistiller(max_iter=10, eval_every=2, early_stopping=True, random_state=0).fit(*load_iris(return_X_y=True))
    >>> HistoryDisplay.from_estimator(distiller).axes_.shape
    (3,)
    """

    def __init__(self, history):
        self.history = history

    @classmethod
    def from_estimator(cls, distiller, *, x="seconds", figure=None):
        """Draw the history of a fitted distiller.

        Parameters
        ----------
        distiller : distiller
        x : {"seconds", "step"}, default="seconds"
            What runs to the right.
        figure : matplotlib Figure, default=None
            Where to draw; None makes a new one.

        Returns
        -------
        HistoryDisplay
        """
        if not hasattr(distiller, "fit") or isinstance(distiller, type):
            raise TypeError(f"distiller must be a fitted distiller, got {distiller!r}.")
        check_is_fitted(distiller)
        if not hasattr(distiller, "history_"):
            raise TypeError(
                f"{type(distiller).__name__} keeps no history; give a distiller that takes steps."
            )
        return cls(distiller.history_).plot(x=x, figure=figure)

    def plot(self, *, x="seconds", figure=None):
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
        panels = {
            "loss": "training loss",
            "validation_loss": "cross entropy of held-out rows",
            "validation_score": "accuracy on held-out rows",
        }
        panels = {
            name: label
            for name, label in panels.items()
            if self.history and self.history[0][name] is not None
        }
        if figure is None:
            figure = _pyplot().figure(figsize=(3.8 * max(len(panels), 1), 3))
        axes = np.atleast_1d(figure.subplots(1, max(len(panels), 1)))
        for ax, (name, label) in zip(axes, panels.items(), strict=False):
            ax.plot(
                [record[x] for record in self.history], [record[name] for record in self.history]
            )
            ax.set_xlabel("steps" if x == "step" else x)
            ax.set_ylabel(label)
        figure.tight_layout()
        self.figure_, self.axes_ = figure, axes
        return self
