"""Checkpoints: the state of a run in a file of plain arrays, from which it goes on unchanged."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from .._utils.files import read_arrays, write_arrays

# Of the file format; a file of another version is refused.
_VERSION = 9
# Arrays that every checkpoint has.
_REQUIRED = ("checkpoint_version", "facts", "fingerprint")
# Rows that are hashed at a time.
_CHUNK = 4096


def array_fingerprint(*arrays):
    """Hash of the shapes, types and all entries of some arrays.

    A run that is to go on with other numbers is found by it.
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, str(array.dtype))).encode())
        for start in range(0, len(array), _CHUNK):
            digest.update(np.ascontiguousarray(array[start : start + _CHUNK]).tobytes())
    return digest.hexdigest()


def _flatten(state, prefix, arrays, facts):
    for name, value in state.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            _flatten(value, f"{key}/", arrays, facts)
        elif isinstance(value, torch.Tensor):
            # A copy: the run goes on changing its tensors.
            arrays[f"state/{key}"] = value.detach().cpu().numpy().copy()
        else:
            facts[key] = value


def save_checkpoint(path, state, fingerprint):
    """Write a run's state.

    Parameters
    ----------
    path : str or path-like
    state : dict
        Of tensors, of what JSON can hold, and of such dicts.
    fingerprint : dict
        Settings and data of the run, as JSON values.
    """
    arrays, facts = {}, {}
    _flatten(state, "", arrays, facts)
    arrays["checkpoint_version"] = np.int64(_VERSION)
    for name, part in (("facts", facts), ("fingerprint", fingerprint)):
        # A user's parameters may be numbers of numpy.
        arrays[name] = np.str_(json.dumps(part, default=np.generic.item))
    write_arrays(path, arrays, compressed=False)


def is_checkpoint(path):
    """Whether a file is a checkpoint, of whatever version."""
    try:
        return Path(path).is_file() and bool(read_arrays(path, ("checkpoint_version",), ()))
    except Exception:  # whatever another file makes numpy and zipfile raise
        return False


def load_checkpoint(path):
    """State and fingerprint of a file written by :func:`save_checkpoint`; pickles are never loaded.

    Raises
    ------
    ValueError
        When the file is damaged, of another version, or something else.
    """
    try:
        arrays = read_arrays(Path(path), _REQUIRED)
        if arrays["checkpoint_version"] != _VERSION:
            raise ValueError(
                f"it has checkpoint_version {arrays['checkpoint_version']}, "
                f"this library reads {_VERSION}"
            )
        state = {}
        entries = {
            name.removeprefix("state/"): torch.from_numpy(value)
            for name, value in arrays.items()
            if name.startswith("state/")
        }
        for name, value in {**entries, **json.loads(str(arrays["facts"]))}.items():
            *parents, last = name.split("/")
            inner = state
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = value
        fingerprint = json.loads(str(arrays["fingerprint"]))
        if not (isinstance(fingerprint, dict) and isinstance(fingerprint.get("seed"), int)):
            raise ValueError("its fingerprint has no seed")
        return state, fingerprint
    except Exception as error:  # whatever a damaged archive makes numpy, zipfile and json raise
        raise ValueError(
            f"{path} is not a readable checkpoint: {str(error).rstrip('.')}. Give checkpoint= "
            "another path, or remove the file."
        ) from error


def check_same_run(path, ours, theirs):
    """Refuse to go on from a checkpoint of another run.

    Parameters
    ----------
    path : str or path-like
        Of the checkpoint.
    ours, theirs : dict
        Fingerprints of the run that is to go on, and of the one that wrote the checkpoint.

    Raises
    ------
    ValueError
        When their settings or their data differ.
    """
    differing = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    if not differing:
        return
    named = [name for name in differing if name not in ("data", "start")]
    if "method" in differing:
        # Its parameters are others, too.
        named = ["method"]
    if "data" in differing or "rows" in differing:
        other = "on other rows or labels"
    elif named:
        values = (f"{name}={theirs.get(name)!r}, not {ours.get(name)!r}" for name in named)
        other = f"with {', '.join(values)}"
    else:
        other = "with another init or preprocessing"
    raise ValueError(
        f"The checkpoint {path} was written by a run {other}. To go on with that run, give what it "
        "was given; to begin another one, give checkpoint= another path, or remove the file."
    )
