"""The surrogate models by name, and the losses of rows under all of them."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from . import kernel_machines, unrolled
from .soft_trees import SoftForest

#: Weight of each surrogate's loss. ``docs/notes/any_model_trials.md`` has the trials.
SURROGATES = {
    "network": 3.0,
    "logistic_regression": 3.0,
    "rbf": 1.0,
    "neighbours": 1.0,
    "laplacian_ridge": 1.0,
    "laplacian_average": 1.0,
    "random_forest": 1.0,
    "extra_trees": 1.0,
    "columns": 3.0,
}
# Scores of bounded models are multiplied by this before their own learned factor.
_SCORE_SCALE = 5.0
# The same for logarithms of a forest's probabilities.
_FOREST_SCALE = 2.0
# Of the squared distances of soft nearest neighbours.
_NEIGHBOUR_SCALE = 0.05
# Mean square of a view's factors, and length of rows, where all columns are constant.
_SMALLEST_SIZE = _SMALLEST_LENGTH = 1e-6
# Descent of the network: hidden units, steps, step size; where the length of rows is drawn, its
# product with that.
_HIDDEN, _NETWORK_STEPS, _NETWORK_RATE, _RATE_TIMES_LENGTH = 100, 25, 0.05, 1.4
# Newton steps of the logistic regression, and decades of its inverse penalty C.
_NEWTON_STEPS, _PENALTY_DECADES = 40, (0.0, 2.0)
# The same of that with an RBF kernel.
_RBF_NEWTON_STEPS, _RBF_PENALTY_DECADES = 20, (0.0, 1.0)
# Columns that the Laplacian kernel sees in a step, and decades of its bandwidth in spacings.
_LAPLACIAN_COLUMNS, _LAPLACIAN_DECADES = 96, (-0.3, 0.7)
# Columns, and rows, of the single columns in a step, and decades of their bandwidth in spacings.
_SINGLE_COLUMNS, _SINGLE_ROWS, _SINGLE_DECADES = 32, 256, (-0.8, 0.2)
# Decades of the width of a split in spacings.
_SPLIT_DECADES = (-1.3, -0.3)
# Trees of each forest.
_N_TREES = 8
_FORESTS = ("random_forest", "extra_trees")


@dataclass(frozen=True)
class Batch:
    """Rows of a step, and the items that are fitted on.

    Attributes
    ----------
    rows : tensor of shape (n, d)
        Scaled.
    labels : int tensor of shape (n,)
    items : tensor of shape (n_items, d)
        Scaled, all of them: trees are fitted on these.
    kept : int tensor of shape (n_kept,)
        Numbers of the items that all other models are fitted on.
    y : int tensor of shape (n_items,)
    n_classes : int
    view : tuple (factor, shift) of tensors of shape (d,)
        Units in which models that are not invariant see rows and items.
    network_lengths : tuple of float, or None
        See :class:`ItemSpace`.
    ranks : callable
        See :meth:`ItemSpace.ranks`.
    spacing : float
        Distance per column of rows to the nearest item of their class.
    generator : torch.Generator
        On the CPU, of this step alone.
    """

    rows: torch.Tensor
    labels: torch.Tensor
    items: torch.Tensor
    kept: torch.Tensor
    y: torch.Tensor
    n_classes: int
    view: tuple
    network_lengths: tuple | None
    ranks: object
    spacing: float
    generator: torch.Generator

    def draw(self, decades):
        """A number, evenly distributed on a logarithmic scale between two powers of ten."""
        low, high = decades
        share = torch.rand((), generator=self.generator, dtype=torch.float64).item()
        return 10.0 ** (low + (high - low) * share)

    def draw_bandwidth(self, decades):
        """The same in units of the spacing."""
        return self.spacing * self.draw(decades)

    def draw_columns(self, most):
        """Numbers of some columns."""
        order = torch.randperm(self.rows.shape[1], generator=self.generator)
        return order[:most].to(self.rows.device)

    @functools.cached_property
    def kept_y(self):
        """Class numbers of the kept items."""
        return self.y[self.kept]

    @functools.cached_property
    def one_hot(self):
        """Of the kept items."""
        return F.one_hot(self.kept_y, self.n_classes).to(self.items.dtype)

    @functools.cached_property
    def seen_items(self):
        """Kept items in the units of the view, around its zero."""
        return self.items[self.kept] * self.view[0]

    @functools.cached_property
    def distances(self):
        """Squared distances of rows to kept items in the units of the view."""
        return kernel_machines.squared_distances(self.rows * self.view[0], self.seen_items)

    @functools.cached_property
    def shifted(self):
        """Kept items and rows in the units of the view."""
        factor, shift = self.view
        return self.seen_items + shift, self.rows * factor + shift

    @functools.cached_property
    def rows_by_column(self):
        """Ranks of the rows, transposed."""
        return self.ranks(self.rows).T.contiguous()

    @functools.cached_property
    def item_ranks(self):
        """Ranks of all items."""
        return self.ranks(self.items)

    @functools.cached_property
    def laplacian_kernels(self):
        """Laplacian kernel of the rows, and of the kept items, with the kept items."""
        columns = self.draw_columns(_LAPLACIAN_COLUMNS)
        bandwidth = self.draw_bandwidth(_LAPLACIAN_DECADES)
        rows = self.ranks(self.rows, columns).contiguous()
        items = self.ranks(self.items[self.kept], columns).contiguous()
        between = kernel_machines.manhattan(rows, items)
        among = torch.cdist(items, items, p=1) / len(columns)
        return torch.exp(-between / bandwidth), torch.exp(-among / bandwidth)


def _network(batch):
    items, rows = batch.shifted
    rate, factor = _NETWORK_RATE, 1.0
    if batch.network_lengths is not None:
        length = batch.draw(batch.network_lengths)
        stretch = length / rows.square().sum(1).mean().sqrt().clamp_min(_SMALLEST_LENGTH)
        items, rows, rate = items * stretch, rows * stretch, _RATE_TIMES_LENGTH / length
        # Scores grow with the length; the loss is not to.
        factor = 10 ** batch.network_lengths[0] / length
    return factor * unrolled.network_scores(
        items,
        batch.one_hot,
        rows,
        n_hidden=_HIDDEN,
        n_steps=_NETWORK_STEPS,
        rate=rate,
        generator=batch.generator,
    )


def _logistic_regression(batch):
    items, rows = batch.shifted
    return unrolled.logistic_scores(
        items @ items.T,
        rows @ items.T,
        batch.one_hot,
        inverse_penalty=batch.draw(_PENALTY_DECADES),
        n_steps=_NEWTON_STEPS,
    )


def _rbf(batch):
    return unrolled.logistic_scores(
        *kernel_machines.rbf_kernels(batch.seen_items, batch.distances),
        batch.one_hot,
        inverse_penalty=batch.draw(_RBF_PENALTY_DECADES),
        n_steps=_RBF_NEWTON_STEPS,
    )


def _neighbours(batch, scale):
    # Whatever the units of the view: about one per column.
    size = batch.view[0].square().mean().clamp_min(_SMALLEST_SIZE)
    distances = scale * _NEIGHBOUR_SCALE / size * batch.distances
    return kernel_machines.neighbour_scores(distances, batch.one_hot)


def _laplacian_ridge(batch):
    between, among = batch.laplacian_kernels
    targets = batch.one_hot - 1 / batch.n_classes
    return _SCORE_SCALE * kernel_machines.ridge_scores(among, between, targets)


def _laplacian_average(batch):
    return _SCORE_SCALE * kernel_machines.average_scores(batch.laplacian_kernels[0], batch.one_hot)


_SCORES = {
    "network": _network,
    "logistic_regression": _logistic_regression,
    "rbf": _rbf,
    "laplacian_ridge": _laplacian_ridge,
    "laplacian_average": _laplacian_average,
}


class SurrogateModels:
    """Sum of the losses of rows under models that are fitted on items.

    Parameters
    ----------
    names : sequence of str
        Keys of :data:`SURROGATES`.
    """

    def __init__(self, names):
        self.names = tuple(names)
        self.forests = {}

    def fit_forests(self, items, y_encoded, n_classes, seed, device):
        """Fit trees on the items as they are.

        Parameters
        ----------
        items : array of shape (n_items, d)
            Scaled.
        y_encoded : int array of shape (n_items,)
        n_classes : int
        seed : int
        device : torch.device
        """
        rng = np.random.default_rng(seed)
        self.forests = {
            kind: SoftForest(kind, items, y_encoded, n_classes, _N_TREES, rng, device)
            for kind in _FORESTS
            if kind in self.names
        }

    def loss(self, batch, log_scales):
        """Weighted sum of the surrogates' mean cross entropies.

        Parameters
        ----------
        batch : Batch
        log_scales : tensor of shape (n_surrogates,)
            Logarithm of the factor of each surrogate's scores.

        Returns
        -------
        tensor of shape ()
        """
        total = 0.0
        for name, log_scale in zip(self.names, log_scales, strict=True):
            total = total + SURROGATES[name] * self._loss_of(name, batch, log_scale.exp())
        return total

    def _loss_of(self, name, batch, scale):
        if name == "columns":
            return _loss_of_single_columns(batch)
        if name == "neighbours":
            # A factor of the scores would soften the classes; one of the distances the neighbours.
            return F.cross_entropy(_neighbours(batch, scale), batch.labels)
        if name in _FORESTS:
            forest = self.forests[name]
            scores = _FOREST_SCALE * forest.log_probabilities(
                batch.item_ranks, batch.rows_by_column, batch.draw_bandwidth(_SPLIT_DECADES)
            )
        else:
            scores = _SCORES[name](batch)
        return F.cross_entropy(scale * scores, batch.labels)


def _loss_of_single_columns(batch):
    """Mean loss of columns by themselves: they say of the class what the rows say there."""
    columns = batch.draw_columns(_SINGLE_COLUMNS)
    log_probabilities = kernel_machines.column_log_probabilities(
        batch.ranks(batch.rows[:_SINGLE_ROWS], columns),
        batch.ranks(batch.items[batch.kept], columns),
        batch.one_hot,
        batch.draw_bandwidth(_SINGLE_DECADES),
    )
    labels = batch.labels[:_SINGLE_ROWS, None].expand(-1, len(columns))
    return F.nll_loss(log_probabilities, labels)
