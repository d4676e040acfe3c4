"""The file format of coresets: plain arrays under the names of the attributes.

Version 2 is the first that a release has written; later releases read it.
"""

import contextlib
import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from .files import read_arrays, write_arrays
from .network_spec import spec_from_dict, spec_to_dict
from .preprocessing_value import Preprocessing

FORMAT_VERSION = 2

# Columns that are mapped by quantiles, where there are any.
_QUANTILES = ("quantile_columns", "quantiles", "normal_scores")
_PREPROCESSING = tuple(f.name for f in fields(Preprocessing) if f.name not in _QUANTILES)
_REQUIRED = (
    "X",
    "targets",
    "classes",
    "y",
    "image_shape",
    "logit_scale",
    "reg",
    "kernel",
    "architecture",
    "feature_names",
    "provenance",
    *(f"preprocessing_{name}" for name in _PREPROCESSING),
)
_OPTIONAL = ("corruption_mask", "solved_targets", "sample_weight")
_OPTIONAL_PREPROCESSING = tuple(f"preprocessing_{name}" for name in _QUANTILES)


def write_coreset(path, coreset):
    """Write a coreset whose preprocessing is a :class:`Preprocessing`; gives the path."""
    arrays = {
        "format_version": np.int64(FORMAT_VERSION),
        "X": coreset.X,
        "targets": coreset.targets,
        "classes": coreset.classes,
        "y": coreset.y,
        "image_shape": np.array(coreset.image_shape or (), dtype=np.int64),
        "logit_scale": np.float64(coreset.logit_scale),
        "reg": np.float64(coreset.reg),
        "kernel": np.str_(coreset.kernel),
        "architecture": np.str_(json.dumps(spec_to_dict(coreset.architecture))),
        "feature_names": np.array(coreset.feature_names or (), dtype=str),
        "provenance": np.str_(json.dumps(coreset.provenance, sort_keys=True)),
    }
    for name in _OPTIONAL:
        if getattr(coreset, name) is not None:
            arrays[name] = getattr(coreset, name)
    mapped = _QUANTILES if len(coreset.preprocessing.quantile_columns) else ()
    for name in (*_PREPROCESSING, *mapped):
        arrays[f"preprocessing_{name}"] = getattr(coreset.preprocessing, name)
    return write_arrays(path, arrays)


def read_coreset(path, make):
    """``make(**fields)`` of the fields in a file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged, incomplete, of another version or not a coreset, or when
        ``make`` raises.
    """
    path = Path(path)
    with _explained(path):
        version = read_arrays(path, ("format_version",), ())["format_version"]
    _check_version(path, version)
    with _explained(path):
        return make(**_fields(read_arrays(path, _REQUIRED, (*_OPTIONAL, *_OPTIONAL_PREPROCESSING))))


@contextlib.contextmanager
def _explained(path):
    """Errors that name the file; those of the system about missing files stay as they are."""
    try:
        yield
    except OSError as error:
        if path.is_file():
            raise ValueError(f"{path} is not a readable coreset file: {error}.") from error
        raise
    except Exception as error:  # whatever a damaged archive makes numpy, zipfile and json raise
        reason = str(error).rstrip(".")
        raise ValueError(
            f"{path} is not a readable coreset file: {reason}. Save the coreset again."
        ) from error


def _check_version(path, version):
    number = version.tolist() if version.shape == () and version.dtype.kind in "iu" else None
    if number == FORMAT_VERSION:
        return
    if number is None or number < 1:
        reason = f"this library reads {FORMAT_VERSION}; save the coreset again"
    elif number < FORMAT_VERSION:
        reason = "written before 0.1, which no release reads; distil again"
    else:
        reason = f"this library reads up to {FORMAT_VERSION}; update rfad_sklearn"
    raise ValueError(
        f"{path} is not a readable coreset file: it has format_version {version.tolist()!r}, "
        f"{reason}."
    )


def _fields(arrays):
    preprocessing = {
        name: arrays[f"preprocessing_{name}"]
        for name in (*_PREPROCESSING, *_QUANTILES)
        if f"preprocessing_{name}" in arrays
    }
    preprocessing["row_norm"] = bool(preprocessing["row_norm"])
    preprocessing["tail"] = float(preprocessing["tail"])
    return {
        "X": arrays["X"],
        "targets": arrays["targets"],
        "classes": arrays["classes"],
        "y": arrays["y"],
        "architecture": spec_from_dict(json.loads(str(arrays["architecture"]))),
        "preprocessing": Preprocessing(**preprocessing),
        "image_shape": tuple(arrays["image_shape"].tolist()) or None,
        "logit_scale": float(arrays["logit_scale"]),
        "reg": float(arrays["reg"]),
        "kernel": str(arrays["kernel"]),
        "feature_names": tuple(arrays["feature_names"].tolist()) or None,
        "provenance": json.loads(str(arrays["provenance"])),
        **{name: arrays.get(name) for name in _OPTIONAL},
    }
