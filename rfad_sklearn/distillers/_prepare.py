"""From the arguments of ``fit`` to its context: everything is checked against everything else."""

from dataclasses import replace
from numbers import Real

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from .._planning.depth_selection import in_question, select_depth
from .._planning.memory import held_out_limit
from .._utils.device import resolve_device, resolve_dtype
from .._utils.item_range import ItemRange
from .._utils.labels import by_comparable_label, check_labels, comparable_labels, plain_label
from .._utils.network_spec import ConvNetSpec
from .._utils.preprocessing_value import Preprocessing
from .._utils.row_selection import items_per_class, share_items, split_holdout
from .._utils.validation import RowSubset, check_rows, resolve_image_shape, warn_caller
from ..architectures import is_open, resolve_architecture
from ..preprocessing import fit_preprocessing
from ._fit_context import FitContext, Frozen

# With fewer held-out rows early_stopping="auto" holds none out: they choose by chance.
_LEAST_HELD_OUT = 100
# Share of the rows, by weight, whose classes have none to hold out.
_MOST_UNJUDGED = 0.05
# Rows of a class that gives them all as items, from which on half of them judge the other half.
_LEAST_CROSS_FITTED = 32
# Classes that a warning names, at most.
_FEW_CLASSES = 5


def depth_is_open(estimator, shape):
    """Whether the rows decide how many blocks the network of a distiller has.

    Parameters
    ----------
    estimator : CoresetEstimator
    shape : tuple of int
        Of one input.
    """
    architecture = estimator.architecture
    if not (estimator._selects_depth and is_open(architecture, "depth")):
        return False
    return in_question(resolve_architecture(architecture, shape))


def prepare(estimator, X, y, seed, downstream="nngp"):
    """Validate the arguments of ``fit`` against each other and against X and y.

    Parameters
    ----------
    estimator : CoresetEstimator
    X, y : as in ``fit``
    seed : int
    downstream : {"nngp", "any"}, default="nngp"
        What the items are for.

    Returns
    -------
    FitContext
    """
    parameters, reasons = estimator.get_params(deep=False), {}
    device = resolve_device(estimator.device)
    rows, seen, y = check_rows(estimator, X, reset=True, y=y)
    classes, y_encoded = check_labels(y)
    counts = np.bincount(y_encoded)
    per_class = np.minimum(_count_items(estimator, classes, counts), counts)
    exhausted, cross_fitted = _as_they_are(parameters, downstream, per_class, counts)
    image_shape = resolve_image_shape(estimator.image_shape, seen, rows.shape[1])
    shape = image_shape or (rows.shape[1],)
    spec = resolve_architecture(estimator.architecture, shape)
    rng = np.random.default_rng(seed)
    limit = held_out_limit(spec, shape, estimator._max_held_out)
    row_weights = _row_weights(parameters.get("class_weight"), classes, y_encoded)
    judged = _enough_are_judged(y_encoded, row_weights, (per_class == counts) & ~cross_fitted)
    where = y_encoded, per_class, cross_fitted
    train, validation = _split(parameters, *where, rng, limit, judged, reasons)
    training_rows = RowSubset(rows, train)
    item_range = ItemRange.of(training_rows) if downstream == "any" else None
    pixels = image_shape is not None or (item_range is not None and item_range.is_of_pixels)
    preprocessing = (
        _fit_preprocessing(estimator, parameters, training_rows, image_shape, reasons)
        if item_range is None
        else _standardize(training_rows, image_shape, pixels)
    )
    frozen = None
    if parameters.get("corruption"):
        _check_corruption(estimator, preprocessing, rows.shape[1])
        frozen = Frozen.draw(per_class.sum(), rows.shape[1], estimator.corruption, rng)
    reduced = estimator._reduces_precision and isinstance(spec, ConvNetSpec)
    context = FitContext(
        rows=rows,
        layout=np.shape(X)[1:] if seen is not None else (rows.shape[1],),
        classes=classes,
        y_encoded=y_encoded,
        per_class=per_class,
        exhausted=exhausted,
        cross_fitted=cross_fitted,
        image_shape=image_shape,
        spec=spec,
        preprocessing=preprocessing,
        train=train,
        validation=validation,
        seed=seed,
        rng=rng,
        device=device,
        dtype=resolve_dtype(estimator.dtype, device, reduced=reduced),
        frozen=frozen,
        downstream=downstream,
        panel=estimator._panel(int(per_class.sum()), pixels) if downstream == "any" else (),
        pixels=pixels,
        item_range=item_range,
        row_weights=row_weights,
        reasons=reasons,
    )
    return _with_depth(estimator, context)


def _as_they_are(parameters, downstream, per_class, counts):
    """Classes that give their rows as items, and those of them that others' items stand beside.

    The latter, as a dict of numbers asks for, cannot evaluate models that are fitted on them, and
    no rows to fit their neighbours to.
    """
    # Unless items are to start elsewhere.
    exhausted = (per_class == counts) & _starts_from_rows(parameters)
    wanted = isinstance(parameters["ipc"], dict) and downstream == "any" and not exhausted.all()
    return exhausted, exhausted & (counts >= _LEAST_CROSS_FITTED) & wanted


def _starts_from_rows(parameters):
    """Whether items start from rows: not from noise, nor from given items."""
    init = parameters.get("init", "random")
    return isinstance(init, str) and init != "noise" and not parameters.get("corruption")


def _count_items(estimator, classes, counts):
    """Items that are wanted of each class; a warning where a class has fewer rows."""
    ipc, n_items = estimator.ipc, estimator.n_items
    if n_items is not None:
        if ipc != 1:
            raise ValueError(
                f"ipc={ipc!r} and n_items={n_items!r} both say how many items there are; leave "
                "one of them at its default."
            )
        return share_items(n_items, counts)
    wanted = items_per_class(ipc, classes)
    small = wanted > counts
    if small.any():
        _warn_of_exhausted(ipc, classes[small], counts[small])
    return wanted


def _warn_of_exhausted(ipc, classes, counts):
    """Say which classes give all their rows, in one warning."""
    named = ", ".join(
        f"{plain_label(label)!r} ({count})"
        for label, count in zip(classes[:_FEW_CLASSES], counts, strict=False)
    )
    more = f" and {len(classes) - _FEW_CLASSES} more" if len(classes) > _FEW_CLASSES else ""
    warn_caller(
        f"ipc={ipc!r} asks for more items than these classes have rows: {named}{more}. They get as "
        "many items as they have rows, the rows as they are where items start from rows; lower "
        "ipc, or give a dict with a number for every class, to avoid that."
    )


def _with_depth(estimator, context):
    """The context with the depth that its rows ask for, where it is open."""
    if not depth_is_open(estimator, tuple(context.shape)):
        return context
    depth, why = select_depth(context)
    spec = replace(context.spec, depth=depth)
    return replace(context, spec=spec, reasons={**context.reasons, "architecture": why})


def _enough_are_judged(y_encoded, row_weights, without):
    """Whether held-out rows can judge: but for a few rows, the classes have some to hold out.

    Parameters
    ----------
    y_encoded : int array of shape (n,)
    row_weights : array of shape (n,) or None
    without : bool array of shape (n_classes,)
        Classes all of whose rows become items.
    """
    sizes = np.bincount(y_encoded, row_weights)
    return (~without).sum() >= 2 and sizes[without].sum() <= _MOST_UNJUDGED * sizes.sum()


def _split(parameters, y_encoded, per_class, cross_fitted, rng, limit, judged, reasons):
    """Row numbers to train on and to hold out; rows of cross-fitted classes judge as well."""
    wish = parameters.get("early_stopping", False)
    everything = np.arange(len(y_encoded)), np.empty(0, dtype=int)
    if not wish:
        return everything
    if wish == "auto" and not judged:
        reasons["n_held_out"] = "classes that give all their rows as items would not be judged"
        return everything
    fraction = parameters["validation_fraction"]
    parts = split_holdout(y_encoded, fraction, per_class, rng, limit)
    if wish != "auto":
        return parts
    n_more = cross_fitted[y_encoded].sum()
    if len(parts[1]) + n_more < _LEAST_HELD_OUT:
        reasons["n_held_out"] = (
            f"fewer than {_LEAST_HELD_OUT} would be held out, which choose by chance"
        )
        return everything
    reasons["n_held_out"] = "they choose the state that is kept"
    if n_more:
        reasons["n_held_out"] += (
            ", with the rows that are items as they are, each half by the other"
        )
    return parts


def _row_weights(class_weight, classes, y_encoded):
    """How much each row counts, in float64; None where all count the same."""
    if class_weight is None:
        return None
    if isinstance(class_weight, dict):
        labels, given = comparable_labels(classes), by_comparable_label(class_weight, classes)
        unknown = [key for key in given if key not in labels]
        if unknown:
            raise ValueError(
                f"class_weight names unknown classes {unknown}; the classes of y are {labels}."
            )
        values = [given.get(label, 1.0) for label in labels]
        if not all(isinstance(value, Real) and 0 < value < np.inf for value in values):
            raise ValueError(
                f"class_weight={class_weight!r} must hold positive, finite numbers; to leave out a "
                "class, leave out its rows."
            )
        weights = np.array(values, dtype=np.float64)
    else:
        weights = compute_class_weight("balanced", classes=classes, y=classes[y_encoded])
    return weights[y_encoded]


def _standardize(rows, image_shape, pixels):
    """Preprocessing of items for any model: by channel, or column; one scale for all pixels."""
    if pixels and image_shape is None:
        image_shape = (1, rows.shape[1], 1)
    return fit_preprocessing("standardize", rows, image_shape)


def _fit_preprocessing(estimator, parameters, rows, image_shape, reasons):
    wanted = estimator.preprocessing
    if isinstance(wanted, str) and wanted == "auto" and parameters.get("corruption"):
        wanted = "standardize"
        reasons["preprocessing"] = "whitening would raise the noise of corruption"
    return fit_preprocessing(wanted, rows, image_shape, invertible=estimator._inverts)


def _check_corruption(estimator, preprocessing, d):
    corruption = estimator.corruption
    if not isinstance(preprocessing, Preprocessing):
        raise ValueError(
            f"corruption={corruption!r} needs a built-in preprocessing, got "
            f"{estimator.preprocessing!r}; put the transformer in front of the distiller with "
            "sklearn.pipeline.Pipeline."
        )
    if not 0 < round(corruption * d) < d:
        raise ValueError(
            f"corruption={corruption!r} freezes {round(corruption * d)} of the {d} coordinates of "
            "an item; some of them, but not all, must be frozen."
        )
