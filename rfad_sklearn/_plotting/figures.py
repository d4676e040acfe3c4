"""What the displays share: matplotlib when it is needed, names of classes, single images."""

import numpy as np


def import_pyplot():
    """matplotlib's pyplot, or an error that says how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Plotting needs matplotlib: pip install 'rfad_sklearn[plot]'.") from error
    return pyplot


def check_class_names(coreset, names):
    """Names of the classes as text; None for the labels.

    Raises
    ------
    ValueError
        When there is not one for each class.
    """
    names = coreset.classes if names is None else names
    if len(names) != coreset.n_classes:
        raise ValueError(f"class_names must hold {coreset.n_classes} names, got {len(names)}.")
    return [str(name) for name in names]


def label_names(coreset, names):
    """Name of the class of each item."""
    of_label = dict(zip(coreset.classes.tolist(), names, strict=True))
    return np.array([of_label[label] for label in coreset.y.tolist()], dtype=object)


def show_image(ax, image, cmap, limits):
    """Draw pixels as they are; ``limits`` are the darkest and the brightest grey level."""
    ax.imshow(image, cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")


def without_ticks(axes):
    """Take the ticks off axes of images."""
    for ax in axes:
        ax.set_xticks([])
        ax.set_yticks([])
