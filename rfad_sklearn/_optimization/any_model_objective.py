"""Losses of several cheap models fitted on the items: items that serve any model."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from .._surrogates.models import Batch, SurrogateModels
from .objective import Objective
from .panel import mean_of
from .scoring import TIE, score_and_loss
from .training_data import RowStream

# Steps that trees serve before others are fitted.
_FOREST_LIFE = 4
# Bound of the seeds of steps and forests.
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class AnyModelConfig:
    """Settings of :class:`AnyModelObjective`.

    Attributes
    ----------
    batch_size : int
        Training rows of a step, at most.
    surrogates : tuple of str
        Models that are fitted on the items, keys of ``SURROGATES``.
    item_dropout : float
        Share of the items that a step leaves out; of each class one is kept.
    other_views : float
        Share of the steps in which models see other units than the usual ones.
    spacing : float
        Distance per column of rows to the nearest item of their class, which bandwidths follow.
    """

    batch_size: int
    surrogates: tuple
    item_dropout: float
    other_views: float
    spacing: float


class AnyModelObjective(Objective):
    """Sum of the losses of rows under models that are fitted on the items.

    Its variables ``"X"`` are coordinates of an :class:`ItemSpace`, ``"log_scales"`` the logarithms
    of the factors of the models' scores. Real scikit-learn models evaluate the held-out rows: those
    that are no part of the loss get worse the longer a run lasts.

    Parameters
    ----------
    data : TrainingData
        Of scaled rows.
    config : AnyModelConfig
    space : ItemSpace
    item_y_encoded : int array of shape (n_items,)
    panel : Panel or None
        Without held-out rows None.
    raw_items : callable
        Items in the units of X, of coordinates ``(n_items, d)`` as a numpy array.
    ridge : KernelRidgeObjective
        The coreset's own classifier: its scale is fitted, and its targets solved for.
    generator : torch.Generator
        On the CPU.
    device : torch.device
    draws : ItemDraws, optional
        Items that a step takes, where some are rows as they are; then none are left out of these.
    """

    def __init__(
        self,
        data,
        config,
        *,
        space,
        item_y_encoded,
        panel,
        raw_items,
        ridge,
        generator,
        device,
        draws=None,
    ):
        self.data, self.config, self.space, self.ridge = data, config, space, ridge
        self.panel, self.raw_items = panel, raw_items
        self.generator, self.device = generator, device
        self.item_y_encoded = item_y_encoded
        self.y = torch.from_numpy(item_y_encoded).to(device)
        self.draws, self.drawn = draws, None
        self.stream = (
            data.stream(generator)
            if draws is None
            else RowStream(data.train, generator, draws.row_weights(data))
        )
        self.views = space.views()
        self.models = SurrogateModels(config.surrogates)
        # Steps since the trees were fitted, and what they were fitted on.
        self.age, self.forest_seed, self.forest_items = 0, 0, None
        self.draw()

    def draw(self):
        """Draw the rows of the next step, and the seed of all else that is random in it."""
        self.rows = self.stream.take(min(self.config.batch_size, len(self.data.train)))
        self.step_seed = self._draw_seed()

    def initial_variables(self):
        """Factors of one."""
        return {"log_scales": torch.zeros(len(self.config.surrogates), device=self.device)}

    def loss(self, variables):
        """Weighted sum of the models' losses on the current rows."""
        items = self.space.decode(variables["X"].flatten(1))
        if self.forest_items is None:
            self._fit_forests(items.detach(), self._draw_seed())
        return self.models.loss(self._batch(items), variables["log_scales"])

    def after_step(self, variables):
        """Draw the next rows; now and then trees are fitted on the items as they are now."""
        self.age = (self.age + 1) % _FOREST_LIFE
        if self.age == 0:
            self.forest_items = None
        super().after_step(variables)

    def validate(self, variables, progress):
        """Mean score of the panel on held-out rows, and a loss; None without any.

        The loss is the mean error, or by a scorer minus the score.
        """
        if self.panel is None:
            return None
        mean = mean_of(self.panel_scores(variables))
        return (mean, 1 - mean) if self.data.scorer is None else score_and_loss(mean)

    @property
    def slack(self):
        """About the standard error of a difference between two states in the panel's mean.

        By a scorer the best state counts, whatever noise there is.
        """
        if self.data.scorer is not None:
            return TIE
        return 0.0 if self.panel is None else self.panel.noise

    def panel_scores(self, variables):
        """Score of each model of the panel, by its name."""
        coordinates = variables["X"].detach().flatten(1).cpu().numpy()
        return self.panel.scores(self.raw_items(coordinates), self.item_y_encoded)

    def fit_scale(self, variables, *, held_out=False):
        """As kernel ridge regression on the items."""
        return self.ridge.fit_scale(self._ridge_variables(variables), held_out=held_out)

    def solve_labels(self, variables, deadline=None):
        """Best targets of kernel ridge regression on the items; see its own method.

        Their size is such that the factor of the scores is that of the labels.
        """
        inputs = self._ridge_variables(variables)
        scale = self.ridge.fit_scale(inputs, held_out=True)
        inputs["log_scale"] = torch.full_like(inputs["log_scale"], math.log(scale))
        solved = self.ridge.solve_labels(inputs, deadline, cross_validate=True)
        own_scale = self.ridge.fit_scale({**inputs, "targets": solved}, held_out=True)
        return solved * (own_scale / scale)

    def state_dict(self):
        """The generator, the rows of the current step and of the epoch, and the trees."""
        fitted = self.forest_items is not None
        return {
            "generator": self.generator.get_state(),
            "stream": self.stream.state_dict(),
            "rows": self.rows,
            "step_seed": self.step_seed,
            "age": self.age,
            "forest_seed": self.forest_seed,
            "forest_items": self.forest_items if fitted else torch.empty(0),
        }

    def load_state_dict(self, state):
        """Go back to a state."""
        self.generator.set_state(state["generator"])
        self.stream.load_state_dict(state["stream"])
        self.rows, self.step_seed = state["rows"], state["step_seed"]
        self.age = state["age"]
        self.forest_items = None
        if state["forest_items"].numel():
            self._fit_forests(state["forest_items"].to(self.device), state["forest_seed"])

    def probe(self, variables):
        """As for every objective; what it draws is put back."""
        state = self.state_dict()
        super().probe(variables)
        self.load_state_dict(state)

    def probe_evaluation(self, variables):
        """Fit the panel once."""
        self.validate(variables, 0.0)

    def _ridge_variables(self, variables):
        """The same with items as the coreset's own classifier sees them."""
        with torch.no_grad():
            items = self.space.decode(variables["X"].flatten(1))
        return {**variables, "X": items.view_as(variables["X"])}

    def _draw_seed(self):
        return int(torch.randint(_MAX_SEED, (1,), generator=self.generator))

    def _fit_forests(self, items, seed):
        self.forest_items, self.forest_seed = items, seed
        y_encoded = self.item_y_encoded
        if self.draws is not None:
            self.drawn = self.draws.draw(seed)
            items, y_encoded = items[self.drawn], y_encoded[self.drawn]
        self.models.fit_forests(
            items.cpu().numpy(), y_encoded, self.data.n_classes, seed, self.device
        )

    def _batch(self, items):
        generator = torch.Generator().manual_seed(self.step_seed)
        numbers, y = self.rows, self.y
        if self.draws is None:
            kept = self._kept(generator).to(self.device)
        else:
            numbers, items, y = (
                self.draws.without(numbers, self.drawn),
                items[self.drawn],
                y[self.drawn],
            )
            kept = torch.arange(len(y), device=self.device)
        rows = self.data.read(numbers).flatten(1)
        return Batch(
            rows=rows,
            labels=self.data.labels[numbers.to(self.device)],
            items=items.to(rows.dtype),
            kept=kept,
            y=y,
            n_classes=self.data.n_classes,
            view=self.views[self._view_number(generator)],
            network_lengths=self.space.network_lengths,
            ranks=self.space.ranks,
            spacing=self.config.spacing,
            generator=generator,
        )

    def _view_number(self, generator):
        """0 for the usual units, else one of the others."""
        if float(torch.rand((), generator=generator)) >= self.config.other_views:
            return 0
        return 1 + int(torch.randint(len(self.views) - 1, (), generator=generator))

    def _kept(self, generator):
        """Numbers of the items that are not left out: of each class one at least."""
        chances = torch.rand(len(self.y), generator=generator).numpy()
        # Items stand class by class.
        starts = np.flatnonzero(np.diff(self.item_y_encoded, prepend=-1))
        highest = np.maximum.reduceat(chances, starts)[self.item_y_encoded]
        kept = (chances >= self.config.item_dropout) | (chances == highest)
        return torch.from_numpy(np.flatnonzero(kept))
