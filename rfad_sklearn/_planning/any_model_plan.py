"""The part of a plan that items for any model have alone: surrogates, panel, item dropout."""

import torch

from .._utils.network_spec import MLPSpec

# Surrogates of all data, those of items that are alone in their class, and those of tables.
_OF_ALL = ("network", "rbf", "neighbours", "random_forest", "extra_trees")
_LAPLACIAN = ("laplacian_ridge", "laplacian_average")
_OF_TABLES = (*_LAPLACIAN, "logistic_regression", "columns")
# Targets, of all items and classes, that are solved for: some ten seconds' work.
_MOST_TARGETS = 10_000
# Share of the items that a step leaves out.
_ITEM_DROPOUT = 0.3
# Where some items are rows as they are: share of the items, and number, that a step takes at most.
_SHARE_OF_ROWS, _ITEMS_PER_STEP = 0.5, 256


def resolve_any_model(draft, context):
    """Decide about surrogates, panel and dropout.

    Parameters
    ----------
    draft : Draft
    context : FitContext
    """
    several = int(context.per_class.max()) > 1
    if not context.pixels:
        more, why = _OF_TABLES, "those that gained something on tables"
    elif several:
        more, why = (), "those that gained something on images"
    else:
        more, why = _LAPLACIAN, "images, one item per class: forests need smooth ones too"
    if context.pixels and context.image_shape is None:
        why = f"columns share one range, as pixels do; {why}"
    draft.decide("surrogates", _OF_ALL + more, why)
    if context.cross_fitted.any():
        dropout = 1 - min(_SHARE_OF_ROWS, _ITEMS_PER_STEP / context.n_items)
        why = "rows that are items as they are must not predict themselves, and a step take long"
    elif several:
        dropout, why = _ITEM_DROPOUT, "nearest neighbours and forests must not hang on single items"
    else:
        dropout, why = 0.0, "one item per class: none can be left out"
    draft.decide("item_dropout", dropout, why)
    _resolve_own_classifier(draft, context)
    draft.decide("n_networks", None)
    dtype = torch.promote_types(context.dtype, torch.float32)
    draft.decide("dtype", str(dtype).removeprefix("torch."), "surrogates need that much")
    draft.decide("preprocessing", context.preprocessing_name, "surrogates see scaled rows")


def _resolve_own_classifier(draft, context):
    """Decide what there is beside the items for the coreset's own classifier."""
    solves = context.n_items * len(context.classes) <= _MOST_TARGETS
    few = "NNGPKernelRidge takes them in place of labels"
    many = f"more than {_MOST_TARGETS:,} of them take too long"
    if context.cross_fitted.any():
        solves, many = False, "items beside rows as they are, which are for other models"
    draft.decide("solves_targets", solves, few if solves else many)
    exact = solves and isinstance(context.spec, MLPSpec)
    why = "an MLP and few items" if exact else "networks evaluate the coreset's own classifier"
    draft.decide("kernel_method", "exact" if exact else "random_features", why)
