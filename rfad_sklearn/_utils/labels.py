"""Class labels: checked, counted, written as Python values or plain arrays, and as targets."""

from numbers import Real

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


def encode_known_labels(y, classes):
    """Numbers of the classes of held-out rows.

    Raises
    ------
    ValueError
        For labels that are not among the classes.
    """
    check_classification_targets(y)
    numbers, unknown = find_classes(y, classes)
    if unknown:
        raise ValueError(
            f"y_val holds labels that y does not: {unknown}; the classes of y are "
            f"{comparable_labels(classes)}."
        )
    return numbers


def find_classes(labels, classes):
    """Numbers of the classes of labels, -1 for other labels, and a list of these others."""
    known = {label: number for number, label in enumerate(comparable_labels(classes))}
    found, inverse = np.unique(labels, return_inverse=True)
    found = [comparable_label(label, classes.dtype) for label in found]
    numbers = np.array([known.get(label, -1) for label in found], dtype=int)
    return numbers[inverse], [label for label in found if label not in known]


def class_weights(class_weight, classes, y_encoded):
    """How much a row of each class counts, in float64; None where all count the same.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
    classes : array of shape (n_classes,)
    y_encoded : int array of shape (n,)

    Raises
    ------
    ValueError
        For unknown classes, and for weights that are not positive.
    """
    if class_weight is None:
        return None
    if not isinstance(class_weight, dict):
        counts = np.bincount(y_encoded, minlength=len(classes))
        # Held-out rows need not be of all classes.
        return len(y_encoded) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    labels, given = comparable_labels(classes), by_comparable_label(class_weight, classes)
    unknown = [key for key in given if key not in labels]
    if unknown:
        raise ValueError(
            f"class_weight names unknown classes {unknown}; the classes of y are {labels}."
        )
    values = [given.get(label, 1.0) for label in labels]
    if not all(isinstance(value, Real) and 0 < value < np.inf for value in values):
        raise ValueError(
            f"class_weight={class_weight!r} must hold positive, finite numbers; to leave out a "
            "class, leave out its rows."
        )
    return np.array(values, dtype=np.float64)


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
