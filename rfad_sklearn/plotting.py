"""Pictures of coresets. matplotlib is imported when a picture is drawn."""

import numpy as np

__all__ = ["CoresetDisplay"]

# A learned target below this share of its row's largest entry is not worth a word in a title.
_VISIBLE_TARGET = 0.15


def _pyplot():
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Plotting needs matplotlib: pip install 'rfad_sklearn[plot]'.") from error
    return pyplot


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
        names = self._names(class_names)
        if self.coreset.image_shape is None:
            self._plot_table(figure, names, cmap or "coolwarm")
        else:
            self._plot_images(figure, names, cmap or "gray")
        return self

    def _names(self, class_names):
        names = self.coreset.classes if class_names is None else class_names
        if len(names) != self.coreset.n_classes:
            raise ValueError(f"class_names must hold {self.coreset.n_classes} names, got {len(names)}.")
        return [str(name) for name in names]

    def _plot_images(self, figure, names, cmap):
        coreset = self.coreset
        members = [np.flatnonzero(coreset.y == label) for label in coreset.classes]
        n_columns = max(map(len, members))
        learned = self._has_learned_targets()
        if figure is None:
            figure = _pyplot().figure(figsize=(0.7 * n_columns + 1.2, (1.0 if learned else 0.75) * len(names) + 0.2))
        axes = figure.subplots(len(names), n_columns, squeeze=False)
        images, limits = self._drawable_images()
        for row, (items, name) in enumerate(zip(members, names, strict=True)):
            for column, ax in enumerate(axes[row]):
                ax.set_xticks([])
                ax.set_yticks([])
                if column >= len(items):
                    ax.set_visible(False)
                    continue
                ax.imshow(images[items[column]], cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
                if learned:
                    ax.set_title(self._target_words(items[column], names), fontsize=6, pad=2)
            axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        figure.tight_layout(pad=0.4)
        self.figure_, self.axes_ = figure, axes

    def _drawable_images(self):
        """Images and grey limits; colours are brought to 0..1. The limits leave out the darkest and brightest half percent."""
        images = np.asarray(self.coreset.images, dtype=float)
        low, high = np.percentile(images, [0.5, 99.5])
        if images.ndim == 3:
            return images, (low, high)
        if images.shape[-1] != 3:
            return images.mean(-1), (low, high)
        return np.clip((images - low) / max(high - low, 1e-12), 0, 1), (None, None)

    def _has_learned_targets(self):
        coreset = self.coreset
        fixed = (coreset.y[:, None] == coreset.classes[None]) - 1 / coreset.n_classes
        return not np.allclose(coreset.targets, fixed, atol=1e-5)

    def _target_words(self, item, names):
        targets = self.coreset.targets[item]
        order = np.argsort(-targets)[:2]
        shown = [k for k in order if targets[k] >= _VISIBLE_TARGET * abs(targets).max()] or [order[0]]
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
            figure = _pyplot().figure(figsize=(min(0.35 * len(columns) + 3, 16), min(0.3 * coreset.n_items + 1.8, 16)))
        ax = figure.subplots()
        limit = max(abs(values).max(), 1e-12)
        image = ax.imshow(values, cmap=cmap, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        of_label = dict(zip(coreset.classes.tolist(), names, strict=True))
        ax.set_yticks(range(coreset.n_items), [of_label[label] for label in coreset.y.tolist()])
        ax.set_xticks(range(len(columns)), columns, rotation=90)
        figure.colorbar(image, ax=ax, label="preprocessed value")
        figure.tight_layout()
        self.figure_, self.axes_ = figure, np.array([ax])
