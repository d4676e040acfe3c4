"""Class labels: checked, counted, written as Python values or plain arrays, and as targets."""

import numpy as np
import torch.nn.functional as F
from sklearn.utils.multiclass import check_classification_targets


def check_labels(y):
    """Classes and y_encoded of labels.

    Raises
    ------
    ValueError
        When y is continuous, or holds a single class.
    """
    check_classification_targets(y)
    classes, y_encoded = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class only, {classes[0]!r}; classification needs rows of at least 2 "
            "classes."
        )
    return classes, y_encoded


def refuse_soft_targets(y):
    """y, unless it holds more than one number per row.

    Raises
    ------
    ValueError
        When it does.
    """
    shape = np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"y must hold one label per row, got an array of shape {shape}; soft (learned) targets "
            "come in with fit_coreset(coreset)."
        )
    return y


def plain_label(label):
    """A Python value of a numpy one."""
    return label.item() if isinstance(label, np.generic) else label


def comparable_label(label, dtype):
    """A label as a Python value that equals that of the same class of type ``dtype``.

    A date is given as text in the unit of the classes: of nanoseconds numpy has only numbers.
    """
    if dtype.kind != "M":
        return plain_label(label)
    try:
        return str(np.datetime64(label).astype(dtype))
    except (TypeError, ValueError):
        return label


def comparable_labels(classes):
    """The classes as :func:`comparable_label` gives them, in a list."""
    return [comparable_label(label, classes.dtype) for label in classes]


def by_comparable_label(values, classes):
    """A user's dict of label to value with labels that equal those of the classes."""
    return {comparable_label(key, classes.dtype): value for key, value in values.items()}


def label_array(labels):
    """Labels as an array that needs no pickle: strings and other objects become unicode."""
    labels = np.asarray(labels)
    if labels.dtype.kind in "biuf":
        return labels
    return labels.astype(str)


def centred_one_hot(y_encoded, n_classes):
    """``onehot - 1 / n_classes`` as float32, of a tensor of class numbers."""
    return F.one_hot(y_encoded, n_classes).float() - 1 / n_classes
