"""What a plan needs to know of data that are fitted without distilling."""

from dataclasses import dataclass, field

import numpy as np
import torch

from .._utils.network_spec import ConvNetSpec, MLPSpec
from .._utils.preprocessing_value import Preprocessing


def describe_preprocessing(preprocessing):
    """Preprocessing in a few words: what the numeric value does, or the user's transformer."""
    if not isinstance(preprocessing, Preprocessing):
        return preprocessing.name
    words, n_mapped = [], len(preprocessing.quantile_columns)
    if n_mapped:
        words.append(f"quantiles of {n_mapped} columns")
    if (preprocessing.offset != 0).any() or (preprocessing.scale != 1).any():
        words.append("else standardised" if n_mapped else "standardised")
    if preprocessing.row_norm:
        words.append("each row by itself")
    if len(preprocessing.gains):
        words.append(f"whitened along {len(preprocessing.gains)} directions")
    return ", ".join(words) or "none"


@dataclass(frozen=True)
class RowsContext:
    """Rows that a classifier is fitted on.

    Attributes
    ----------
    spec : ConvNetSpec or MLPSpec
    shape : tuple of int
        Of one network input.
    n_items : int or None
        Items of the coreset that it is fitted on.
    n_train : int or None
        Rows that it is fitted on, where there is no coreset.
    n_held_out : int or None
        Rows that choose among its settings.
    preprocessing : Preprocessing or TransformerPreprocessing
    device : torch.device
    dtype : torch.dtype
    classes : array of shape (n_classes,)
    rows : array of shape (n, d)
        In the units of X.
    y_encoded : int array of shape (n,)
    seed : int
        Of the pilot sample.
    reasons : dict of str to str
        Of choices that were made before.
    """

    spec: ConvNetSpec | MLPSpec
    shape: tuple
    n_items: int | None
    n_train: int | None
    n_held_out: int | None
    preprocessing: object
    device: torch.device
    dtype: torch.dtype
    classes: np.ndarray
    rows: np.ndarray
    y_encoded: np.ndarray
    seed: int
    reasons: dict = field(default_factory=dict)

    @property
    def preprocessing_name(self):
        """What a plan calls the preprocessing."""
        return describe_preprocessing(self.preprocessing)

    @property
    def train(self):
        """Numbers of the rows."""
        return np.arange(len(self.rows))

    def read(self, indices):
        """Preprocessed rows ``(n, d)`` in float32, or float64 when the arithmetic is."""
        wide = np.float64 if self.dtype == torch.float64 else np.float32
        return self.preprocessing.apply(np.asarray(self.rows[indices])).astype(wide, copy=False)
