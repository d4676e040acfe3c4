"""From the arguments of ``fit`` to its context: everything is checked against everything else."""

from dataclasses import replace

import numpy as np

from .._optimization.panel import members_to_score
from .._optimization.scoring import resolve_scorer
from .._planning.depth_selection import in_question, select_depth
from .._planning.memory import held_out_limit
from .._utils.columns import ExpandedRows
from .._utils.device import resolve_device, resolve_dtype
from .._utils.item_range import ItemRange
from .._utils.labels import check_labels, class_weights
from .._utils.network_spec import ConvNetSpec
from .._utils.preprocessing_value import Preprocessing
from .._utils.row_selection import split_holdout
from .._utils.validation import RowSubset, check_rows, resolve_image_shape
from ..architectures import is_open, resolve_architecture
from ..preprocessing import fit_preprocessing
from ._fit_context import FitContext, Frozen
from ._item_counts import ItemCounts
from ._validation_rows import check_validation_rows, chosen_to_evaluate

# With fewer held-out rows early_stopping="auto" holds none out: they choose by chance.
_LEAST_HELD_OUT = 100
# Share of the rows, by weight, whose classes have none to hold out.
_MOST_UNEVALUATED = 0.05


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


def prepare(estimator, X, y, seed, downstream="nngp", validation=(None, None)):
    """Validate the arguments of ``fit`` against each other and against X and y.

    Parameters
    ----------
    estimator : CoresetEstimator
    X, y : as in ``fit``
    seed : int
    downstream : {"nngp", "any"}, default="nngp"
        What the items are for.
    validation : tuple (X_val, y_val), default=(None, None)
        As in ``fit``.

    Returns
    -------
    FitContext
    """
    parameters, reasons = estimator.get_params(deep=False), {}
    device = resolve_device(estimator.device)
    rows, seen, y = check_rows(estimator, X, reset=True, y=y)
    columns = estimator._columns if isinstance(rows, ExpandedRows) else None
    classes, y_encoded = check_labels(y)
    counts = np.bincount(y_encoded)
    image_shape = resolve_image_shape(estimator.image_shape, seen, rows.shape[1])
    items = ItemCounts.of(estimator, classes, counts, image_shape, downstream)
    n_items = int(items.per_class.sum())
    shape = image_shape or (rows.shape[1],)
    spec = resolve_architecture(estimator.architecture, shape)
    rng = np.random.default_rng(seed)
    limit = held_out_limit(spec, shape, estimator._max_held_out)
    weights = class_weights(parameters.get("class_weight"), classes, y_encoded)
    if all(each is None for each in validation):
        evaluated = _enough_are_evaluated(
            counts, weights, (items.kept == counts) & ~items.cross_fitted
        )
        train, held_out = _split(parameters, y_encoded, items, rng, limit, evaluated, reasons)
    else:
        rows, y_val = check_validation_rows(estimator, *validation, rows, classes, image_shape)
        train, held_out = _given_split(len(y), y_val, limit, rng, reasons)
        y_encoded = np.concatenate([y_encoded, y_val])
    training_rows = RowSubset(rows, train)
    item_range = _item_range(training_rows, columns) if downstream == "any" else None
    pixels = image_shape is not None or _is_of_pixels(item_range, columns)
    fit = _standardize if downstream == "any" else _fit_preprocessing
    preprocessing = fit(estimator, training_rows, image_shape, pixels, reasons)
    reduced = estimator._reduces_precision and isinstance(spec, ConvNetSpec)
    context = FitContext(
        rows=rows,
        layout=np.shape(X)[1:] if seen is not None else (estimator.n_features_in_,),
        columns=columns,
        classes=classes,
        y_encoded=y_encoded,
        per_class=items.per_class,
        continued=items.continued,
        exhausted=items.exhausted,
        cross_fitted=items.cross_fitted,
        image_shape=image_shape,
        spec=spec,
        preprocessing=preprocessing,
        n_rows=len(y),
        train=train,
        validation=held_out,
        seed=seed,
        rng=rng,
        device=device,
        dtype=resolve_dtype(estimator.dtype, device, reduced=reduced),
        frozen=_draw_frozen(estimator, preprocessing, n_items, rng),
        downstream=downstream,
        panel=_panel(estimator, classes, downstream, n_items, pixels, reasons),
        pixels=pixels,
        item_range=item_range,
        row_weights=None if weights is None else weights[y_encoded],
        scoring=parameters.get("scoring", "auto"),
        reasons=reasons,
    )
    return _with_depth(estimator, context)


def _panel(estimator, classes, downstream, n_items, pixels, reasons):
    """The panel of items for any model, as far as held-out rows can be scored by it."""
    scoring = getattr(estimator, "scoring", "auto")
    scorer = resolve_scorer(scoring, classes)
    if downstream != "any":
        return ()
    members = estimator._panel(n_items, pixels)
    kept, why = members_to_score(members, scoring, scorer)
    if why is not None:
        reasons["panel"] = why
    return kept


def _with_depth(estimator, context):
    """The context with the depth that its rows ask for, where it is open."""
    if not depth_is_open(estimator, tuple(context.shape)):
        return context
    depth, why = select_depth(context)
    spec = replace(context.spec, depth=depth)
    return replace(context, spec=spec, reasons={**context.reasons, "architecture": why})


def _given_split(n, y_val, limit, rng, reasons):
    """Numbers of the n rows of X, and of those that evaluate among the given rows behind them."""
    held_out = n + chosen_to_evaluate(y_val, limit, rng)
    reasons["n_held_out"] = "given as X_val"
    if len(held_out) < len(y_val):
        reasons["n_held_out"] = (
            f"drawn from the {len(y_val):,} given as X_val: more would cost more than they say"
        )
    return np.arange(n), held_out


def _enough_are_evaluated(counts, weights, without):
    """Whether held-out rows can evaluate: but for a few rows, the classes have some to hold out.

    Parameters
    ----------
    counts : int array of shape (n_classes,)
        Rows of each class.
    weights : array of shape (n_classes,) or None
        How much a row of each class counts.
    without : bool array of shape (n_classes,)
        Classes all of whose rows become items.
    """
    sizes = counts if weights is None else counts * weights
    return (~without).sum() >= 2 and sizes[without].sum() <= _MOST_UNEVALUATED * sizes.sum()


def _split(parameters, y_encoded, items, rng, limit, evaluated, reasons):
    """Row numbers to train on and to hold out; rows of cross-fitted classes evaluate as well."""
    wish = parameters.get("early_stopping", False)
    everything = np.arange(len(y_encoded)), np.empty(0, dtype=int)
    if not wish:
        return everything
    if wish == "auto" and not evaluated:
        reasons["n_held_out"] = "classes that give all their rows as items would not be evaluated"
        return everything
    fraction = parameters["validation_fraction"]
    parts = split_holdout(y_encoded, fraction, items.kept, rng, limit)
    if wish != "auto":
        return parts
    n_more = items.cross_fitted[y_encoded].sum()
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


def _item_range(rows, columns):
    """Where items for any model may lie; categories are no numbers on a grid."""
    item_range = ItemRange.of(rows)
    if columns is None:
        return item_range
    return replace(item_range, integers=item_range.integers & ~columns.one_hot)


def _is_of_pixels(item_range, columns):
    return item_range is not None and columns is None and item_range.is_of_pixels


def _standardize(estimator, rows, image_shape, pixels, reasons):
    """Preprocessing of items for any model: by channel, or column; one scale for all pixels."""
    if pixels and image_shape is None:
        image_shape = (1, rows.shape[1], 1)
    return fit_preprocessing("standardize", rows, image_shape, columns=estimator._columns)


def _fit_preprocessing(estimator, rows, image_shape, pixels, reasons):
    wanted = estimator.preprocessing
    if isinstance(wanted, str) and wanted == "auto" and getattr(estimator, "corruption", 0):
        wanted = "standardize"
        reasons["preprocessing"] = "whitening would raise the noise of corruption"
    return fit_preprocessing(
        wanted, rows, image_shape, invertible=estimator._inverts, columns=estimator._columns
    )


def _draw_frozen(estimator, preprocessing, n_items, rng):
    """Coordinates of the items that stay noise; None without ``corruption``."""
    corruption, d = getattr(estimator, "corruption", 0.0), preprocessing.n_features
    if not corruption:
        return None
    if estimator._columns is not None and estimator._columns.encodes:
        raise ValueError(
            f"corruption={corruption!r} freezes noise, but X has columns of categories, which no "
            "noise can be; use corruption=0.0."
        )
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
    frozen = Frozen.draw(n_items, d, corruption, rng)
    # As it comes back from the units of X.
    return replace(frozen, noise=np.clip(frozen.noise, *preprocessing.score_range))
