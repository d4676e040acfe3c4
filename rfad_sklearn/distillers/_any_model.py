"""Items for any model: what their parameters must be, their panel, and their objective."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.base import is_classifier

from .._optimization.any_model_objective import AnyModelConfig, AnyModelObjective
from .._optimization.exact_kernel_objective import ExactKernelObjective
from .._optimization.item_draws import ItemDraws
from .._optimization.panel import Panel, PanelMember, default_members
from .._optimization.ridge_objective import RidgeConfig
from .._utils.row_selection import evenly
from .._utils.validation import warn_caller
from ._evaluation import evaluation_objective

# Parameters that have no part in items for any model.
_UNUSED = ("preprocessing", "n_networks", "pool_size", "loss", "teacher", "augment", "solver")
# Share of the steps in which surrogates see other units than the usual ones.
_OTHER_VIEWS = 0.3
# Rows of a batch of kernel ridge regression by random features: targets are solved for on eight of
# them, which takes a quarter of a minute for images.
_RIDGE_BATCH = 512
# Rows that the spacing of the items is taken from, at most.
_SPACING_ROWS = 4096
# Step size in units of the spacing, for a learning rate of 1 and few items.
_STEP_PER_SPACING = 2.0


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


def panel_members(downstream, n_items, pixels):
    """Classifiers that evaluate the items: the user's own, or the default panel."""
    if isinstance(downstream, str):
        return default_members(n_items, pixels)
    return (PanelMember(type(downstream).__name__, downstream, scaled=False),)


def plan_with_spacing(plan, context, x):
    """The plan with the spacing of the items, and a step size to match.

    Many items lie close to each other: the same step would carry them further beyond their rows.
    Where they are no small share of the rows, the start is hard to better: they move less.

    Parameters
    ----------
    plan : Plan
    context : FitContext
    x : tensor of shape (n_items, ...)
        Coordinates of the items at the start.
    """
    spacing = all_spacing = _spacing(context, x.flatten(1))
    if context.cross_fitted.any():
        spacing = _spacing(context, x.flatten(1), item_draws(context, 1 - plan.item_dropout))
    others = 1 - min(len(x) / context.n_train, 1)
    rate = _STEP_PER_SPACING * others**2 * all_spacing * plan.learning_rates["X"]
    return replace(
        plan,
        spacing=spacing,
        learning_rates={**plan.learning_rates, "X": rate},
        reasons={
            **plan.reasons,
            "spacing": "bandwidths of the surrogates, and the step size, follow it",
            "learning_rates": "learning_rate, in units of twice the spacing; less where "
            "items are no small share of the rows",
        },
    )


def _spacing(context, items, draws=None):
    """Root mean square distance per column of rows to the nearest item of their class.

    With draws, to the nearest of those that a step takes.
    """
    train, item_y_encoded = context.train, context.item_y_encoded
    numbers = train[evenly(len(train), _SPACING_ROWS)]
    if draws is not None:
        drawn = draws.draw(context.seed)
        numbers = draws.without(torch.from_numpy(numbers), drawn).numpy()
        items, item_y_encoded = items[drawn], item_y_encoded[drawn]
    rows = context.coordinates(context.read(numbers))
    squares = torch.cdist(rows, items.to(rows.dtype)).square() / rows.shape[1]
    own = context.y_encoded[numbers][:, None] == item_y_encoded[None]
    nearest = squares.masked_fill(torch.from_numpy(~own).to(squares.device), torch.inf)
    spacing = float(nearest.min(1).values.mean().sqrt())
    # Every row is an item: then any step is as good as another.
    return spacing or 1.0


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
        spacing=plan.spacing,
    )
    return AnyModelObjective(
        data,
        config,
        space=context.space,
        item_y_encoded=context.item_y_encoded,
        panel=panel_of(context),
        raw_items=context.raw_items,
        ridge=_own_classifier(plan, context, reg, generator),
        generator=generator,
        device=context.device,
        draws=item_draws(context, 1 - plan.item_dropout),
    )


def item_draws(context, share):
    """Draws of items where many are rows as they are, else None."""
    if not context.cross_fitted.any():
        return None
    return ItemDraws(context.item_y_encoded, share, *context.fixed_items)


def _own_classifier(plan, context, reg, generator):
    """Kernel ridge regression as the coreset's own classifier does it."""
    data = context.training_data
    if context.cross_fitted.any():
        # Those of some classes are items.
        data = replace(data, validation=data.validation[:0])
    # Its own, so that items are the same whatever it draws.
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    generator = torch.Generator().manual_seed(seed)
    if plan.kernel_method == "random_features":
        return evaluation_objective(context, data, reg, generator, _RIDGE_BATCH)
    return ExactKernelObjective(
        context.spec,
        data,
        RidgeConfig(batch_size=plan.batch_size, reg=reg, loss="cross_entropy"),
        kernel="nngp",
        compiled=False,
        generator=generator,
        device=context.device,
        project=context.project,
    )


def panel_of(context):
    """The panel on the held-out rows; None without any."""
    if not context.n_held_out:
        return None
    numbers, splits = context.validation, None
    weights = None if context.row_weights is None else context.row_weights[numbers]
    draws = item_draws(context, 0.5)
    if draws is not None:
        splits = draws.halves(len(numbers), context.seed)
        numbers = np.concatenate([numbers, draws.rows])
        # Of some classes all rows evaluate, of others few: each is to count as it does among all.
        y_encoded = context.y_encoded[numbers]
        own = slice(context.n_rows)
        row_weights = None if context.row_weights is None else context.row_weights[own]
        totals = np.bincount(context.y_encoded[own], row_weights)
        weights = (totals / np.maximum(np.bincount(y_encoded, minlength=len(totals)), 1))[y_encoded]
    return Panel(
        context.panel,
        np.asarray(context.rows[numbers], dtype=np.float64),
        context.y_encoded[numbers],
        offset=context.item_range.mean,
        scale=context.item_range.deviation,
        weights=weights,
        scorer=context.scorer,
        splits=splits,
    )
