"""The part of a plan that items for any model have alone: surrogates, panel, item dropout."""

import torch

# Surrogates of all data, those of items that are alone in their class, and those of tables.
_OF_ALL = ("network", "rbf", "neighbours", "random_forest", "extra_trees")
_LAPLACIAN = ("laplacian_ridge", "laplacian_average")
_OF_TABLES = (*_LAPLACIAN, "logistic_regression", "columns")
# Share of the items that a step leaves out.
_ITEM_DROPOUT = 0.3


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
    draft.decide(
        "item_dropout",
        _ITEM_DROPOUT if several else 0.0,
        "nearest neighbours and forests must not hang on single items"
        if several
        else "one item per class: none can be left out",
    )
    draft.decide("n_networks", None)
    dtype = torch.promote_types(context.dtype, torch.float32)
    draft.decide("dtype", str(dtype).removeprefix("torch."), "surrogates need that much")
    draft.decide("preprocessing", context.preprocessing_name, "surrogates see scaled rows")
