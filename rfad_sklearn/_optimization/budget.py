"""How far along a run is: by its budget, and once it no longer improves."""

import time
from dataclasses import dataclass


class Budget:
    """The larger share of steps and of time spent, between 0 and 1.

    Parameters
    ----------
    config : LoopConfig
    """

    def __init__(self, config):
        self.config, self.start = config, time.monotonic()
        self.evaluation_seconds = self.step_seconds = self.spent = 0.0

    def progress(self, step):
        """Share that is spent after so many steps."""
        shares = [0.0]
        if self.config.max_iter is not None:
            shares.append(step / self.config.max_iter if self.config.max_iter else 1.0)
        if self.config.deadline is not None:
            # Leave time for one more step, the last evaluation and the final refit of the scale,
            # which costs as much.
            reserve = self.step_seconds + 2 * self.evaluation_seconds
            total = self.config.deadline - reserve - self.start
            shares.append((time.monotonic() - self.start) / total if total > 0 else 1.0)
        # A slow evaluation must not make the step size grow again.
        self.spent = max(self.spent, min(max(shares), 1.0))
        return self.spent

    def state_dict(self):
        """Time spent and measured: the step size goes on to fall from where it was."""
        return {
            "elapsed": time.monotonic() - self.start,
            "evaluation_seconds": self.evaluation_seconds,
            "step_seconds": self.step_seconds,
        }

    def load_state_dict(self, state):
        """Go back to a state."""
        self.start = time.monotonic() - state["elapsed"]
        self.evaluation_seconds = state["evaluation_seconds"]
        self.step_seconds = state["step_seconds"]


@dataclass(frozen=True)
class Cooldown:
    """The end of a run that no longer improves.

    Attributes
    ----------
    begin : int
        Step at which it begins.
    level : float
        Progress of the run there.
    steps : int
        The run is over after so many steps more.
    patience : int
        Evaluations without improvement that the run had waited for.
    """

    begin: int
    level: float
    steps: int
    patience: int

    def progress(self, step):
        """How far along the run is after so many steps, between ``level`` and 1."""
        return self.level + (1 - self.level) * min((step - self.begin) / self.steps, 1.0)
