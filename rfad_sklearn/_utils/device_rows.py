"""Rows that live on the device in the type they came in, and are preprocessed there."""

import numpy as np
import torch

from .preprocessing_value import AfterScaling, Preprocessing, float_types

# Types of numpy that torch has too and can index.
_TYPES = {
    np.dtype(name): getattr(torch, name)
    for name in ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
}
# Rows of more bytes stay where they are.
_MAX_BYTES = 2**30
# Rows copied to the device at a time.
_CHUNK = 4096


class DevicePreprocessing(AfterScaling):
    """A :class:`Preprocessing` as tensors.

    Parameters
    ----------
    preprocessing : Preprocessing
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(self, preprocessing, device, dtype):
        on_device = lambda array: torch.tensor(array, dtype=dtype, device=device)  # noqa: E731
        self.components, self.gains = (
            on_device(preprocessing.components),
            on_device(preprocessing.gains),
        )
        self.row_norm, self.tail = preprocessing.row_norm, preprocessing.tail


def fits_on_device(rows, preprocessing):
    """Whether :class:`DeviceRows` takes these rows and this preprocessing."""
    return (
        isinstance(preprocessing, Preprocessing)
        and rows.dtype in _TYPES
        and rows.nbytes <= _MAX_BYTES
    )


class DeviceRows:
    """All rows on the device; ``read(indices)`` gives what ``preprocessing.apply(rows[indices])`` gives, without the host.

    Parameters
    ----------
    rows : array of shape (n, d)
        A memory map is read in small parts.
    preprocessing : Preprocessing
    device : torch.device
    """

    def __init__(self, rows, preprocessing, device):
        self.exact, self.dtype = (_TYPES[dtype] for dtype in float_types(rows.dtype))
        self.rows = torch.empty(rows.shape, dtype=_TYPES[rows.dtype], device=device)
        for start in range(0, len(rows), _CHUNK):
            self.rows[start : start + _CHUNK] = torch.from_numpy(
                np.array(rows[start : start + _CHUNK])
            )
        self.offset, self.scale = (
            torch.tensor(part, dtype=self.exact, device=device)
            for part in (preprocessing.offset, preprocessing.scale)
        )
        self.preprocessing = DevicePreprocessing(preprocessing, device, self.dtype)

    def read(self, indices):
        """Preprocessed rows ``(n, d)``: float64 for float64 rows, else float32."""
        x = self.rows[indices.to(self.rows.device)]
        return self.preprocessing.after_scaling(
            ((x.to(self.exact) - self.offset) / self.scale).to(self.dtype)
        )
