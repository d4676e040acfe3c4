"""Parts of a fit, as ``fit`` builds them: for tests that look at one part."""

import time

import torch

from rfad_sklearn._planning.resolution import plan_parameters, resolve_plan
from rfad_sklearn._planning.timing import Timing


class FixedTiming:
    """A clock that says what a test wants: seconds of a fresh step, and epochs of a teacher."""

    def __init__(self, seconds=0.01, epochs=0, timed=None):
        self.seconds, self.epochs, self.timed = seconds, epochs, timed

    def fresh_step(self, width, batch_size, n_networks):
        if self.timed is not None and width not in self.timed:
            self.timed.append(width)
        return self.seconds

    def elapsed(self):
        return 0.0

    def teacher_epochs(self, seconds):
        return self.epochs

    def all_teacher_epochs(self):
        return self.epochs


def plan_of(distiller, context, timing=None):
    """The plan of a distiller."""
    timing = timing or Timing(context, time.monotonic())
    return resolve_plan(plan_parameters(distiller), context, timing)


def objective_of(distiller, context, seed=0, timing=None):
    """What a distiller minimises."""
    generator = torch.Generator().manual_seed(seed)
    return distiller._make_objective(plan_of(distiller, context, timing), context, generator)
