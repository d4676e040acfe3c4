"""What must hold of the parts of a coreset, whoever made it."""

import numpy as np

from .columns import Columns
from .network_spec import ConvNetSpec, MLPSpec


def problems_of(coreset):
    """Words for each thing that is wrong with a coreset."""
    yield from _problems_of_arrays(coreset)
    yield from _problems_of_numbers(coreset)
    yield from _problems_of_inputs(coreset)


def n_inputs(coreset):
    """Columns of the items, zeros and ones for categories; -1 where X is no table of items."""
    if coreset.X.ndim != 2:
        return -1
    columns, d = coreset.columns, coreset.X.shape[1]
    known = isinstance(columns, Columns) and columns.n_columns == d
    return columns.n_expanded if known else d


def _problems_of_arrays(coreset):
    """Words for what is wrong with the items, their targets and their labels."""
    if coreset.X.ndim != 2 or not len(coreset.X):
        yield (
            "X must be of shape (n_items, n_features) with at least one item, got "
            f"{coreset.X.shape}"
        )
    n_classes = len(coreset.classes) if coreset.classes.ndim == 1 else -1
    if n_classes < 2 or not np.array_equal(np.unique(coreset.classes), coreset.classes):
        yield (
            "classes must hold two or more distinct labels, sorted, in one dimension, got "
            f"{coreset.classes!r}"
        )
    n = len(coreset.X) if coreset.X.ndim else 0
    arrays = {"X": coreset.X, "targets": coreset.targets}
    if coreset.solved_targets is not None:
        arrays["solved_targets"] = coreset.solved_targets
    for name, array in arrays.items():
        if name != "X" and array.shape != (n, n_classes):
            yield f"{name} must be of shape {(n, n_classes)}, got {array.shape}"
    if coreset.y.shape != (n,):
        yield f"y must be of shape {(n,)}, got {coreset.y.shape}"
    elif not np.isin(coreset.y, coreset.classes).all():
        yield "y holds labels that are not in classes"
    for name, array in arrays.items():
        if array.dtype.kind not in ("biuf" if name == "X" else "f"):
            yield f"{name} must hold real numbers, got dtype {array.dtype}"
        elif not np.isfinite(array).all():
            yield f"{name} holds NaN or infinity"
    weight = coreset.sample_weight
    if weight.shape != (n,) or weight.dtype.kind != "f":
        yield f"sample_weight must be floats of shape {(n,)}, got {weight.dtype} {weight.shape}"
    elif not (np.isfinite(weight).all() and (weight > 0).all()):
        yield "sample_weight must be positive and finite"
    mask = coreset.corruption_mask
    if mask is not None and (mask.dtype != bool or mask.shape != coreset.X.shape):
        yield (
            f"corruption_mask must be of type bool and shape {coreset.X.shape}, got {mask.dtype} "
            f"and {mask.shape}"
        )


def _problems_of_numbers(coreset):
    """Words for what is wrong with the single numbers and the provenance."""
    if not (np.isfinite(coreset.logit_scale) and coreset.logit_scale > 0):
        yield f"logit_scale must be positive and finite, got {coreset.logit_scale!r}"
    if not (np.isfinite(coreset.reg) and coreset.reg >= 0):
        yield f"reg must be finite and at least 0, got {coreset.reg!r}"
    if coreset.kernel not in ("nngp", "ntk"):
        yield f"kernel must be 'nngp' or 'ntk', got {coreset.kernel!r}"
    if not isinstance(coreset.provenance, dict):
        yield f"provenance must be a dict, got {coreset.provenance!r}"


def _problems_of_inputs(coreset):
    """Words for what does not fit the columns of the items."""
    d = n_inputs(coreset)
    shape, spec = coreset.image_shape, coreset.architecture
    if shape is not None and (len(shape) != 3 or np.prod(shape) != d):
        yield f"image_shape must be (H, W, channels) with product {d}, got {shape}"
    elif isinstance(spec, ConvNetSpec) and shape is None:
        yield "image_shape is needed by a ConvNet"
    elif not isinstance(spec, ConvNetSpec | MLPSpec):
        yield f"architecture must be a ConvNet or an MLP, got {spec!r}"
    elif not spec.fits(shape or (d,)):
        yield f"architecture={spec} cannot take inputs of shape {shape or (d,)}"
    if coreset.X.ndim == 2 and not hasattr(coreset.preprocessing, "n_features"):
        yield f"preprocessing must be a Preprocessing or None, got {coreset.preprocessing!r}"
    elif coreset.X.ndim == 2 and coreset.preprocessing.n_features != d:
        yield f"preprocessing takes {coreset.preprocessing.n_features} columns, X has {d}"
    n_columns = coreset.X.shape[1] if coreset.X.ndim == 2 else -1
    if coreset.feature_names is not None and len(coreset.feature_names) != n_columns:
        yield f"feature_names must hold {n_columns} names, got {len(coreset.feature_names)}"
    if coreset.columns is None:
        return
    if not isinstance(coreset.columns, Columns) or coreset.columns.n_columns != n_columns:
        yield f"columns must be the Columns of {n_columns} columns, got {coreset.columns!r}"
    else:
        yield from coreset.columns.problems_of(coreset.X)
