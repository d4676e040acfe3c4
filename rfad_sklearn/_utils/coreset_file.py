"""The file format of coresets: plain arrays under the names of the attributes.

Version 2 is the first that a release has written; later releases read it.
"""

import contextlib
import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from .columns import Columns
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
# What the columns are, in JSON, and an array for the categories of each column that has some.
_COLUMNS, _CATEGORIES = "columns", "categories_{}"
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
    if coreset.columns is not None:
        arrays.update(_arrays_of(coreset.columns))
    return write_arrays(path, arrays)


def _arrays_of(columns):
    """A coreset's columns as plain arrays."""
    facts = {
        "categorical": np.flatnonzero(columns.is_categorical).tolist(),
        "with_gaps": np.flatnonzero(columns.with_gaps).tolist(),
        "medians": None if columns.medians is None else columns.medians.tolist(),
        "dtypes": columns.dtypes,
    }
    return {_COLUMNS: np.str_(json.dumps(facts))} | {
        _CATEGORIES.format(k): columns.categories[k] for k in facts["categorical"]
    }


def _read_columns(path, n_columns):
    """The :class:`Columns` of a file; None where it has none."""
    arrays = read_arrays(path, (), (_COLUMNS,))
    if not arrays:
        return None
    facts = json.loads(str(arrays[_COLUMNS]))
    categorical = facts["categorical"]
    if not all(type(k) is int and 0 <= k < n_columns for k in categorical + facts["with_gaps"]):
        raise ValueError("columns names columns that X does not have")
    names = [_CATEGORIES.format(k) for k in categorical]
    arrays = read_arrays(path, names, ())
    categories = [None] * n_columns
    for k, name in zip(categorical, names, strict=True):
        categories[k] = arrays[name]
    with_gaps = np.zeros(n_columns, dtype=bool)
    with_gaps[facts["with_gaps"]] = True
    dtypes = facts["dtypes"]
    return Columns(
        tuple(categories),
        with_gaps,
        facts["medians"],
        None if dtypes is None else tuple(map(str, dtypes)),
    )


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
        arrays = read_arrays(path, _REQUIRED, (*_OPTIONAL, *_OPTIONAL_PREPROCESSING))
        n_columns = arrays["X"].shape[-1] if arrays["X"].ndim else 0
        return make(**_fields(arrays), columns=_read_columns(path, n_columns))


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
