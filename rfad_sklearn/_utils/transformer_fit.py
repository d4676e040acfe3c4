"""Fits a user's own transformer as preprocessing."""

import numpy as np

from .preprocessing_value import TransformerPreprocessing
from .row_selection import evenly

# Rows that tell where the inverse of a user's transformer can be expected to work.
_BOUNDS_ROWS = 2048


def fit_transformer(transformer, rows, image_shape, invertible):
    """A user's own transformer, fitted; refused where a coreset could not be made with it.

    Parameters
    ----------
    transformer : transformer
    rows : array of shape (n, d), or anything with its length, shape and slices
    image_shape : tuple (H, W, channels) or None
    invertible : bool

    Returns
    -------
    TransformerPreprocessing

    Raises
    ------
    ValueError
        When it has no inverse and one is wanted, or changes the number of pixels of images.
    """
    name = type(transformer).__name__
    if invertible and not hasattr(transformer, "inverse_transform"):
        raise ValueError(
            f"preprocessing={name}() has no inverse_transform, so the coreset could not be given "
            "in the units of X; put it in front of the distiller with sklearn.pipeline.Pipeline "
            "and use preprocessing=None."
        )
    # A user's transformer may want the whole array, in float.
    fitted = TransformerPreprocessing(
        transformer.fit(np.array(rows[:], dtype=float)), rows.shape[1]
    )
    width = fitted.apply(np.asarray(rows[:1], dtype=float)).shape[1]
    if invertible:
        some = evenly(len(rows), _BOUNDS_ROWS)
        fitted.learn_bounds(np.asarray(rows[some], dtype=float))
    if image_shape is not None and width != rows.shape[1]:
        raise ValueError(
            f"preprocessing={name} makes {width} columns of images of shape {image_shape}; use one "
            "that keeps the number of columns, or flat rows and an MLP."
        )
    return fitted
