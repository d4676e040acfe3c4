"""Data for examples and tests that needs no download."""

from sklearn.datasets import load_digits

__all__ = ["load_digits_images"]


def load_digits_images():
    """The 8x8 handwritten digits embedded in scikit-learn, as images.

    Returns
    -------
    X : array of shape (1797, 8, 8), float64
        Grey levels from 0 to 16.
    y : array of shape (1797,), int
        Digits 0 to 9.

    Examples
    --------
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> X, y = load_digits_images()
    >>> X.shape
    (1797, 8, 8)
    """
    digits = load_digits()
    return digits.images, digits.target
