"""Items for any model: what their parameters must be, their panel, and their objective."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.base import is_classifier

from .._optimization.any_model_objective import AnyModelConfig, AnyModelObjective
from .._optimization.exact_kernel_objective import ExactKernelObjective
from .._optimization.panel import Panel, PanelMember, default_members, mean_of
from .._optimization.ridge_objective import RidgeConfig
from .._utils.row_selection import CENTROIDS
from .._utils.validation import warn_caller
from ._evaluation import evaluation_objective
from ._initial_items import RANK_CENTROIDS

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


def best_start(context):
    """Where items for any model start: the strategy that the panel likes best, and why.

    Parameters
    ----------
    context : FitContext

    Returns
    -------
    init, why : str
    """
    panel = _panel(context)
    if context.pixels or panel is None:
        return CENTROIDS, "the centres of each class"
    scores = {}
    for init in (CENTROIDS, RANK_CENTROIDS):
        variables = context.initial_variables(init)
        items = context.raw_items(variables["X"].flatten(1).cpu().numpy())
        scores[init] = mean_of(panel.scores(items, context.item_y_encoded))
    shown = ", ".join(f"{init} {score:.3f}" for init, score in scores.items())
    return max(scores, key=scores.get), f"the better by the panel: {shown}"


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
    spacing = _spacing(context, x.flatten(1))
    others = 1 - min(len(x) / context.n_train, 1)
    rate = _STEP_PER_SPACING * others**2 * spacing * plan.learning_rates["X"]
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


def _spacing(context, items):
    """Root mean square distance per column of rows to the nearest item of their class."""
    train = context.train
    at = np.unique(np.linspace(0, len(train) - 1, _SPACING_ROWS).astype(int))
    rows = context.coordinates(context.read(train[at]))
    squares = torch.cdist(rows, items.to(rows.dtype)).square() / rows.shape[1]
    own = context.y_encoded[train[at]][:, None] == context.item_y_encoded[None]
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
        panel=_panel(context),
        raw_items=context.raw_items,
        ridge=_own_classifier(plan, context, reg, generator),
        generator=generator,
        device=context.device,
    )


def _own_classifier(plan, context, reg, generator):
    """Kernel ridge regression as the coreset's own classifier does it."""
    data = context.training_data
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


def _panel(context):
    """The panel on the held-out rows; None without any."""
    if not context.n_held_out:
        return None
    return Panel(
        context.panel,
        np.asarray(context.rows[context.validation], dtype=np.float64),
        context.y_encoded[context.validation],
        offset=context.item_range.mean,
        scale=context.item_range.deviation,
        weights=None if context.row_weights is None else context.row_weights[context.validation],
        scorer=context.scorer,
    )
