"""Which classes a sampler shrinks, and to how many rows: the meanings of imbalanced-learn."""

from numbers import Integral, Real

import numpy as np

from .labels import by_comparable_label, comparable_labels

# Words for the classes that are shrunk to the size of the rarest.
WORDS = ("auto", "all", "majority", "not majority", "not minority")


def resolve_sampling_strategy(sampling_strategy, classes, counts, y):
    """Number of rows to leave of each class that is to be shrunk.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable
        As ``sampling_strategy`` of imbalanced-learn's under-samplers.
    classes : array of shape (n_classes,)
        Sorted.
    counts : int array of shape (n_classes,)
        Rows of each class.
    y : array of shape (n,)
        Labels, for a callable.

    Returns
    -------
    dict of label to int

    Raises
    ------
    ValueError
        For other words and numbers, for unknown classes, and for more rows than a class has.
    """
    if callable(sampling_strategy):
        sampling_strategy = sampling_strategy(y)
    if isinstance(sampling_strategy, str):
        return _by_word(sampling_strategy, classes, counts)
    if isinstance(sampling_strategy, dict):
        return _by_dict(sampling_strategy, classes, counts)
    if isinstance(sampling_strategy, Real) and not isinstance(sampling_strategy, bool):
        return _by_ratio(float(sampling_strategy), classes, counts)
    raise ValueError(
        f"sampling_strategy={sampling_strategy!r} is none of a word, a float, a dict of label to "
        "number of rows, or a callable that gives such a dict; use one of them, or None for the "
        "distiller's own ipc."
    )


def _by_word(word, classes, counts):
    if word not in WORDS:
        raise ValueError(f"sampling_strategy={word!r} is no word for it; use one of {WORDS}.")
    targeted = np.ones(len(classes), dtype=bool)
    if word == "majority":
        targeted[:] = np.arange(len(classes)) == counts.argmax()
    elif word == "not majority":
        targeted[counts.argmax()] = False
    elif word != "all":
        targeted[counts.argmin()] = False
    return dict.fromkeys(comparable_labels(classes[targeted]), int(counts.min()))


def _by_ratio(ratio, classes, counts):
    if len(classes) != 2:
        raise ValueError(
            f"sampling_strategy={ratio!r} is a ratio of two classes, but y has {len(classes)}; use "
            "a dict of label to number of rows."
        )
    if not 0 < ratio <= 1:
        raise ValueError(f"sampling_strategy={ratio!r} must lie above 0 and not above 1.")
    few, many = counts.argsort(kind="stable")
    label, wanted = comparable_labels(classes)[many], int(counts[few] / ratio)
    if wanted > counts[many]:
        raise ValueError(
            f"sampling_strategy={ratio!r} asks for {wanted} rows of the class {label!r}, which has "
            f"{counts[many]}; raise it."
        )
    return {label: wanted}


def _by_dict(wanted, classes, counts):
    available = dict(zip(comparable_labels(classes), counts, strict=True))
    out = {}
    for key, number in by_comparable_label(wanted, classes).items():
        if key not in available:
            raise ValueError(
                f"sampling_strategy names the class {key!r}, which y has not; its classes are "
                f"{list(available)}."
            )
        whole = isinstance(number, Integral) and not isinstance(number, bool)
        if not whole or not 1 <= number <= available[key]:
            raise ValueError(
                f"sampling_strategy asks for {number!r} rows of the class {key!r}; it must be an "
                f"int from 1 to {available[key]}, its number of rows."
            )
        out[key] = int(number)
    return out
