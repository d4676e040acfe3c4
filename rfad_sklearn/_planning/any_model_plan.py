"""The part of a plan that items for any model have alone: surrogates, panel, item dropout."""

# Surrogates of images, and those that tables have as well.
_IMAGE_SURROGATES = ("network", "rbf", "neighbours", "random_forest", "extra_trees")
_TABLE_SURROGATES = ("logistic_regression", "laplacian_ridge", "laplacian_average", "columns")
# Share of the items that a step leaves out.
_ITEM_DROPOUT = 0.3


def resolve_any_model(draft, context):
    """Decide about surrogates, panel and dropout.

    Parameters
    ----------
    draft : Draft
    context : FitContext
    """
    images = len(context.shape) == 3
    names = _IMAGE_SURROGATES + (() if images else _TABLE_SURROGATES)
    why = "images: those that gained something" if images else "tables: trees see ranks as well"
    draft.decide("surrogates", names, why)
    several = int(context.per_class.max()) > 1
    draft.decide(
        "item_dropout",
        _ITEM_DROPOUT if several else 0.0,
        "nearest neighbours and forests must not hang on single items"
        if several
        else "one item per class: none can be left out",
    )
    draft.decide("n_networks", None)
    draft.decide("preprocessing", context.preprocessing_name, "surrogates see scaled rows")
