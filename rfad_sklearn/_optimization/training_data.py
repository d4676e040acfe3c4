"""Training rows as the objectives see them, and the order in which they are drawn."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TrainingData:
    """Rows and labels of one fit, and which rows are trained on.

    Attributes
    ----------
    read : callable
        ``read(indices)`` gives preprocessed inputs ``(len(indices), *shape)`` on the device.
    labels : int tensor of shape (n,)
        Class numbers of all rows, on the device.
    n_classes : int
    train, validation : int tensor
        Numbers of the rows to train on and to hold out, on the CPU.
    shape : tuple of int
        Of one input.
    """

    read: object
    labels: torch.Tensor
    n_classes: int
    train: torch.Tensor
    validation: torch.Tensor
    shape: tuple


class RowStream:
    """Endless stream of row numbers: a new shuffle of all of them each epoch.

    Parameters
    ----------
    rows : int tensor
    generator : torch.Generator
        On the CPU.
    """

    def __init__(self, rows, generator):
        self.rows, self.generator = rows, generator
        self.order = rows.new_empty(0)

    def take(self, n):
        """The next n row numbers."""
        parts = []
        while n:
            if not len(self.order):
                self.order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
            parts.append(self.order[:n])
            self.order = self.order[n:]
            n -= len(parts[-1])
        return torch.cat(parts)

    def state_dict(self):
        """Rows that are left of the current epoch."""
        return {"order": self.order}

    def load_state_dict(self, state):
        """Go back to a state."""
        self.order = state["order"]
