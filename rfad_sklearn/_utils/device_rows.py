"""Rows that live on the device in the type they came in, and are preprocessed there."""

import numpy as np
import torch

from .preprocessing_value import Preprocessing, float_types

# Types of numpy that torch has too and can index.
_TYPES = {
    np.dtype(name): getattr(torch, name)
    for name in ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
}
# Rows of more bytes stay where they are.
_MAX_BYTES = 2**30
# Rows copied to the device at a time.
_CHUNK = 4096


def fits_on_device(rows, preprocessing):
    """Whether :class:`DeviceRows` takes these rows and this preprocessing."""
    return (
        isinstance(preprocessing, Preprocessing)
        and rows.dtype in _TYPES
        and rows.nbytes <= _MAX_BYTES
    )


class DeviceRows:
    """All rows on the device: they are read and preprocessed without the host.

    Parameters
    ----------
    rows : array of shape (n, d)
        A memory map is read in small parts.
    preprocessing : Preprocessing
        Made of numpy arrays.
    device : torch.device
    """

    def __init__(self, rows, preprocessing, device):
        self.rows = torch.empty(rows.shape, dtype=_TYPES[rows.dtype], device=device)
        for start in range(0, len(rows), _CHUNK):
            chunk = np.array(rows[start : start + _CHUNK])
            self.rows[start : start + _CHUNK] = torch.from_numpy(chunk)
        _, dtype = float_types(rows.dtype)
        self.preprocessing = preprocessing.to(device, _TYPES[dtype])

    def read(self, indices):
        """Preprocessed rows ``(n, d)``: float64 for float64 rows, else float32."""
        return self.preprocessing.apply(self.rows[indices.to(self.rows.device)])
