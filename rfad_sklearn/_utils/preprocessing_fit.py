"""Fits the numeric preprocessing value: standardisation, regularised ZCA, gentle whitening."""

import numpy as np
from scipy.linalg import eigh
from sklearn.utils.extmath import randomized_svd

from .preprocessing_value import Preprocessing, row_standardized
from .row_selection import sampled_rows

# Rows per pass over the data: a memory map is never read at once.
_CHUNK = 4096
# Share of the tail's gain within which a direction of the ZCA is left to the tail.
_TAIL_TOLERANCE = 0.01
# The same share for the gentle whitening of images, which needs no exactness.
_LEADING_TOLERANCE = 0.25
# Leading directions of the gentle whitening, at least.
_FEWEST_LEADING = 64
# Leading directions of the gentle whitening, at most: every coreset file holds them.
_MOST_LEADING = 256
# Rows that the gentle whitening looks at, at most.
_SAMPLE_ROWS = 8192
# Rows below which nothing is whitened: their second moment is mostly chance.
_FEWEST_ROWS = 50
# Of the columns of a category: another category is at a distance of sqrt(2) / scale.
_CATEGORY_SCALE = 2**0.5
# Columns up to which the shrinkage of the gentle whitening is at least 1. Larger images want less:
# 28x28 hardly, photographs clearly.
_SMALL_IMAGE = 256


def _chunks(rows):
    for start in range(0, len(rows), _CHUNK):
        yield np.asarray(rows[start : start + _CHUNK], dtype=np.float64)


def standardizing_value(rows, image_shape, one_hot=None):
    """Standardisation per channel (images) or per column (tables).

    Columns of categories are centred and have one common scale: two categories are as far apart as
    a number and its mean plus one standard deviation, however rare they are.

    Parameters
    ----------
    rows : array of shape (n, d), or anything with its length, shape and slices
    image_shape : tuple (H, W, channels) or None
    one_hot : bool array of shape (d,), optional
        Columns of zeros and ones that stand for categories.

    Returns
    -------
    Preprocessing

    Raises
    ------
    ValueError
        When the numbers are too large to be squared or summed.
    """
    d = rows.shape[1]
    n_groups = image_shape[2] if image_shape else d
    total = np.zeros(n_groups)
    for chunk in _chunks(rows):
        total += chunk.reshape(-1, n_groups).sum(0)
    count = len(rows) * (d // n_groups)
    mean = total / count
    squares = np.zeros(n_groups)
    for chunk in _chunks(rows):
        squares += np.square(chunk.reshape(-1, n_groups) - mean).sum(0)
    deviation = np.sqrt(squares / count)
    # A constant column carries nothing; rounding must not be blown up to unit variance.
    deviation[deviation <= 1e-10 * np.maximum(np.abs(mean), 1e-300)] = 1.0
    if one_hot is not None:
        deviation[one_hot] = _CATEGORY_SCALE
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise ValueError(
            "X holds numbers whose squares, or whose sum, are too large for float64; divide it by "
            "a constant."
        )
    repeats = d // n_groups
    return Preprocessing(np.tile(mean, repeats), np.tile(deviation, repeats))


def whitening_value(rows, image_shape, reg, n_components, *, row_norm=False, one_hot=None):
    """Standardisation followed by regularised ZCA.

    Parameters
    ----------
    rows, image_shape, one_hot
        As for :func:`standardizing_value`.
    reg : float
        Shrinkage, relative to the mean eigenvalue.
    n_components : int or None
        Leading directions with a factor of their own; None for the fewest that do.
    row_norm : bool, default=False
        Standardise each row between the two.

    Returns
    -------
    Preprocessing
    """
    base = standardizing_value(rows, image_shape, one_hot)
    d = rows.shape[1]
    moment = np.zeros((d, d))
    for chunk in _chunks(rows):
        z = base.apply(chunk)
        z = row_standardized(z) if row_norm else z
        moment += z.T @ z
    moment /= len(rows)
    values, vectors = eigh(moment)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # Constant data has nothing to whiten.
    shift = reg * values.mean() if values[0] > 0 else 1.0
    if shift == 0 and values[-1] <= 1e-12 * values[0]:
        raise ValueError(
            f"reg={reg!r} cannot whiten data of deficient rank; use reg > 0, the default is 0.1."
        )
    if n_components is None:
        n_components = _count_components(values, values.sum(), d, shift, _TAIL_TOLERANCE)
    elif n_components > d:
        raise ValueError(
            f"n_components={n_components} is more than the {d} columns of X; lower it or use None."
        )
    gains = 1 / np.sqrt(values[:n_components] + shift)
    tail = _tail(values[:n_components], values.sum(), d, shift)
    components = np.ascontiguousarray(vectors[:, :n_components].T.astype(np.float32))
    return Preprocessing(base.offset, base.scale, row_norm, components, gains, tail)


def leading_whitening_value(rows, image_shape):
    """Standardisation, then a gentle whitening along the leading directions only.

    The second moment is shrunk by ``min(1, sqrt(256 / d)) + d / n`` times its mean eigenvalue,
    ``n`` rows being looked at: the smaller the images and the fewer the rows, the less is whitened,
    and nothing of fewer than 50 rows. Any number of columns is affordable, and the value stays
    small in a file.

    Parameters
    ----------
    rows, image_shape
        As for :func:`standardizing_value`.

    Returns
    -------
    Preprocessing
    """
    base = standardizing_value(rows, image_shape)
    d = rows.shape[1]
    if d < 2 or len(rows) < _FEWEST_ROWS:
        return base
    chosen = sampled_rows(len(rows), d, most=_SAMPLE_ROWS, fewest=_FEWEST_ROWS)
    n = len(chosen)
    z = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, _CHUNK):
        z[start : start + _CHUNK] = base.apply(np.asarray(rows[chosen[start : start + _CHUNK]]))
    mean = float(np.square(z, dtype=np.float64).mean())
    if mean == 0:
        return base
    # With a fixed seed the value depends on the rows alone.
    _, singular, components = randomized_svd(z, min(_MOST_LEADING, n, d), random_state=0)
    values = np.square(singular, dtype=np.float64) / n
    shift = (min(1.0, np.sqrt(_SMALL_IMAGE / d)) + d / n) * mean
    k = max(
        _count_components(values, d * mean, d, shift, _LEADING_TOLERANCE),
        min(_FEWEST_LEADING, len(values)),
    )
    components = np.ascontiguousarray(components[:k])
    return Preprocessing(
        base.offset,
        base.scale,
        False,
        components,
        1 / np.sqrt(values[:k] + shift),
        _tail(values[:k], d * mean, d, shift),
    )


def _tail(leading, total, d, shift):
    """The one factor of all directions but the leading ones; 1 where there are no others.

    ``leading`` are the leading eigenvalues, ``total`` is the sum of all ``d``.
    """
    n_rest = d - len(leading)
    return float(1 / np.sqrt(max(total - leading.sum(), 0.0) / n_rest + shift)) if n_rest else 1.0


def _count_components(values, total, d, shift, tolerance):
    """Fewest leading directions for which one constant is good enough for all the others."""
    gains = 1 / np.sqrt(values + shift)
    for k in range(1, len(values)):
        tail = _tail(values[:k], total, d, shift)
        if abs(gains[k] / tail - 1) <= tolerance and abs(gains[-1] / tail - 1) <= tolerance:
            return k
    return len(values)
