"""Where items for any model start: what the panel prefers."""

import numpy as np
import torch

from .._optimization.panel import mean_of
from .._optimization.support_points import support_points
from .._utils.row_editing import edited_rows, own_class_shares
from .._utils.row_selection import CENTROIDS
from ._any_model import item_draws, panel_of
from ._initial_items import RANK_CENTROIDS
from ._iterative import Start

# Beside rows of other classes: points with the distribution of the rows, or random rows to whose
# class forests give at least so much of the share that it would have by chance.
_SUPPORT_POINTS = "support points"
_EDITED_ROWS = {"edited rows": 0.6, "strictly edited rows": 1.0}
# What is clearly better than support points by the panel, in units of its noise.
_CLEARLY = 2.0
# Rows per class that are edited; of larger classes as many random ones.
_MOST_EDITED = 8192


def best_start(context):
    """Where items for any model start: the strategy that the panel likes best.

    Parameters
    ----------
    context : FitContext

    Returns
    -------
    Start
    """
    panel = panel_of(context)
    if context.cross_fitted.any():
        return _start_beside_rows(context, panel)
    if context.pixels or panel is None:
        return Start(CENTROIDS, "the centres of each class")
    scores = {
        init: _score(panel, context, context.initial_variables(init))
        for init in (CENTROIDS, RANK_CENTROIDS)
    }
    return Start(max(scores, key=scores.get), f"the better by the panel: {_shown(scores)}")


def _start_beside_rows(context, panel):
    if panel is None:
        return Start("random", "real rows, as none are held out that would choose")
    made = {_SUPPORT_POINTS: _support_points(context), **_edited(context, panel)}
    variables = {
        name: context.variables_at(context.preprocessing.apply(items))
        for name, items in made.items()
    }
    for each in variables.values():
        context.constrain(each)
    scores = {name: _score(panel, context, each) for name, each in variables.items()}
    best, why = max(scores, key=scores.get), "clearly the best by the panel"
    if scores[best] <= scores[_SUPPORT_POINTS] + _CLEARLY * panel.noise:
        best, why = _SUPPORT_POINTS, "no other is clearly better by the panel"
    return Start(best, f"{why}: {_shown(scores)}", variables[best])


def _score(panel, context, variables):
    """Mean score of the panel."""
    items = context.raw_items(variables["X"].flatten(1).cpu().numpy())
    return mean_of(panel.scores(items, context.item_y_encoded))


def _shown(scores):
    return ", ".join(f"{init} {score:.3f}" for init, score in scores.items())


def _support_points(context):
    """Items in the units of X with the distribution of the rows of their classes."""
    generator = torch.Generator().manual_seed(int(context.rng.integers(2**62)))
    start = context.initial_items("random")
    items = context.coordinates(context.preprocessing.apply(start))
    space = context.space

    for c in np.flatnonzero(~context.exhausted):
        own = torch.from_numpy(context.item_y_encoded == c).to(items.device)

        def project(points, own=own):
            # Of all items at once: what they may be can differ from item to item.
            return space.encode(space.decode(items.masked_scatter(own[:, None], points)))[own]

        rows = context.coordinates(context.read(context.train[_is_of(context, c)]))
        items[own] = support_points(rows, items[own], space.clip, project, generator)
    return context.raw_items(items.cpu().numpy())


def _is_of(context, c):
    return context.y_encoded[context.train] == c


def _edited(context, panel):
    """Items in the units of X by the name of their start: edited rows.

    Each half of the items is edited by forests that know that half only of the rows which are
    items: the rows that evaluate the half are new to it.
    """
    train, rng = context.train, context.rng
    numbers = []
    for c in range(len(context.classes)):
        own = train[_is_of(context, c)]
        most = max(_MOST_EDITED, context.per_class[c])
        numbers.append(own if len(own) <= most else rng.choice(own, most, replace=False))
    numbers = np.concatenate(numbers)
    rows, y_encoded = context.read(numbers), context.y_encoded[numbers]
    draws, item_y_encoded = item_draws(context, 0.5), context.item_y_encoded
    chosen = {name: np.full(context.n_items, -1) for name in _EDITED_ROWS}
    for half, _ in panel.splits:
        unknown = draws.rows[~np.isin(draws.items, half)]
        shares = own_class_shares(rows, y_encoded, ~np.isin(numbers, unknown), rng)
        for (name, least), c in (
            (pair, c) for pair in _EDITED_ROWS.items() for c in np.flatnonzero(~context.exhausted)
        ):
            # A class with a single item has it in both halves.
            places = half[(item_y_encoded[half] == c) & (chosen[name][half] < 0)]
            free = np.flatnonzero((y_encoded == c) & ~np.isin(numbers, chosen[name]))
            level = least / len(context.classes)
            picked = edited_rows(shares[free], len(places), level, rng)
            chosen[name][places] = numbers[free[picked]]
    fixed, fixed_rows = context.fixed_items
    for places in chosen.values():
        places[fixed] = fixed_rows
    return {name: context.rows[places] for name, places in chosen.items()}
