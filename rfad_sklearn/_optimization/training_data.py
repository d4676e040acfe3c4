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
    row_weights : float64 tensor of shape (n,) or None
        How much each row counts, on the CPU; None: all the same.
    scorer : HeldOutScorer or None
        What held-out rows are scored by; None: accuracy and loss.
    """

    read: object
    labels: torch.Tensor
    n_classes: int
    train: torch.Tensor
    validation: torch.Tensor
    shape: tuple
    row_weights: torch.Tensor | None = None
    scorer: object = None

    def stream(self, generator):
        """Stream of the training rows."""
        weights = None if self.row_weights is None else self.row_weights[self.train]
        return RowStream(self.train, generator, weights)

    @property
    def validation_weights(self):
        """How much each held-out row counts; None: all the same."""
        return None if self.row_weights is None else self.row_weights[self.validation]


class RowStream:
    """Endless stream of row numbers: a new shuffle of all of them each epoch.

    With weights rows are drawn by these, independently: a rare class that counts as much as the
    others is in every batch, which weights in the loss would not do.

    Parameters
    ----------
    rows : int tensor
    generator : torch.Generator
        On the CPU.
    weights : float64 tensor, optional
        One per row.
    """

    def __init__(self, rows, generator, weights=None):
        self.rows, self.generator = rows, generator
        # Sums up to each row: a sorted number falls into a row by its weight.
        self.sums = None if weights is None else weights.cumsum(0)
        self.order = rows.new_empty(0)

    def take(self, n):
        """The next n row numbers."""
        if self.sums is not None:
            drawn = torch.rand(n, generator=self.generator, dtype=torch.float64) * self.sums[-1]
            # Rounded up, a number can be the sum of all.
            found = torch.searchsorted(self.sums, drawn, right=True)
            return self.rows[found.clamp_max(len(self.rows) - 1)]
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
