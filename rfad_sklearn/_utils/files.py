"""Files that are written whole or not at all, and archives of plain arrays without pickles."""

import contextlib
import errno
import os
import uuid
from pathlib import Path

import numpy as np


def write_arrays(path, arrays, *, compressed=True):
    """Write a ``.npz`` file.

    Parameters
    ----------
    path : str or path-like
        Taken as it is; no suffix is added.
    arrays : dict of str to array
    compressed : bool, default=True

    Returns
    -------
    pathlib.Path
    """
    write = np.savez_compressed if compressed else np.savez
    with _replacing(path) as file:
        write(file, **arrays)
    return Path(path)


def write_text(path, text):
    """Write a text file in UTF-8; gives its path."""
    with _replacing(path) as file:
        file.write(text.encode())
    return Path(path)


@contextlib.contextmanager
def _replacing(path):
    """A temporary file in the same folder that becomes ``path`` once all is written."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no folder to write to", str(path.parent))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_arrays(path, required, optional=None):
    """The named arrays of a ``.npz`` file.

    Parameters
    ----------
    path : str or path-like
    required : sequence of str
    optional : sequence of str, default=None
        Names that may be missing; None for all arrays of the file.

    Returns
    -------
    dict of str to array

    Raises
    ------
    ValueError
        When it is not such a file, or lacks one of the ``required`` names.
    """
    # Opened here, so that a damaged archive does not leave the file open.
    with open(path, "rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("it is not an .npz archive")
        missing = [name for name in required if name not in loaded.files]
        if missing:
            raise ValueError(f"it lacks the arrays {missing}")
        return {
            name: loaded[name]
            for name in loaded.files
            if optional is None or name in (*required, *optional)
        }
