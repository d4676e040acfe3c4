"""Items for any model: what their parameters must be, their panel, and their objective."""

import numpy as np
from sklearn.base import is_classifier

from .._optimization.any_model_objective import AnyModelConfig, AnyModelObjective
from .._optimization.panel import Panel, PanelMember, default_members
from .._utils.validation import warn_caller
from ._evaluation import evaluation_objective

# Parameters that have no part in items for any model.
_UNUSED = ("preprocessing", "n_networks", "pool_size", "loss", "teacher", "augment", "solver")
# Share of the steps in which surrogates see other units than the scaled ones.
_OTHER_VIEWS = 0.3


def resolve_downstream(downstream, resampling):
    """What the items are for: "nngp" or "any".

    Parameters
    ----------
    downstream : {"auto", "nngp", "any"} or classifier
    resampling : bool
        Whether items are all that is wanted.
    """
    if not isinstance(downstream, str):
        return "any"
    if downstream == "auto":
        return "any" if resampling else "nngp"
    return downstream


def check_any_model(estimator):
    """Refuse or warn of parameters of an :class:`RFADDistiller` that do not go with such items.

    Raises
    ------
    ValueError
        For labels to learn, for frozen coordinates, and for a model that is no classifier.
    """
    downstream = estimator.downstream
    if not isinstance(downstream, str) and not is_classifier(downstream):
        raise ValueError(
            f"downstream={downstream!r} is no classifier; give one, or 'any' or 'nngp'."
        )
    if estimator.learn_labels:
        raise ValueError(
            f"learn_labels={estimator.learn_labels!r} makes targets that only kernel ridge "
            f"regression takes, but with downstream={downstream!r} items are for models that take "
            "labels; use learn_labels=False or downstream='nngp'."
        )
    if estimator.corruption:
        raise ValueError(
            f"corruption={estimator.corruption!r} freezes noise, which has no place in items for "
            "any model; use corruption=0.0 or downstream='nngp'."
        )
    defaults = type(estimator)().get_params(deep=False)
    given = estimator.get_params(deep=False)
    unused = [name for name in _UNUSED if not _same(given[name], defaults[name])]
    if unused:
        named = ", ".join(f"{name}={given[name]!r}" for name in unused)
        warn_caller(
            f"{named} has no effect on items for any model; leave it at its default, or use "
            "downstream='nngp'."
        )


def _same(given, default):
    return given is default or (type(given) is type(default) and given == default)


def panel_members(downstream, n_items):
    """Classifiers that evaluate the items: the user's own, or the default panel."""
    if isinstance(downstream, str):
        return default_members(n_items)
    return (PanelMember(type(downstream).__name__, downstream, scaled=False),)


def any_model_objective(plan, context, reg, generator):
    """The objective of items for any model.

    Parameters
    ----------
    plan : Plan
    context : FitContext
    reg : float
        Ridge of the coreset's own classifier.
    generator : torch.Generator

    Returns
    -------
    AnyModelObjective
    """
    data = context.training_data
    config = AnyModelConfig(
        batch_size=plan.batch_size,
        surrogates=plan.surrogates,
        item_dropout=plan.item_dropout,
        other_views=_OTHER_VIEWS,
    )
    return AnyModelObjective(
        data,
        config,
        space=context.space,
        item_y_encoded=context.item_y_encoded,
        panel=_panel(context),
        raw_items=context.raw_items,
        ridge=evaluation_objective(context, data, reg, generator),
        generator=generator,
        device=context.device,
    )


def _panel(context):
    """The panel on the held-out rows; None without any."""
    if not context.n_held_out:
        return None
    space, preprocessing = context.space, context.preprocessing
    return Panel(
        context.panel,
        np.asarray(context.rows[context.validation], dtype=np.float64),
        context.y_encoded[context.validation],
        offset=preprocessing.invert(space.means.cpu().numpy()[None])[0],
        scale=space.deviations.cpu().numpy() * preprocessing.scale,
    )
