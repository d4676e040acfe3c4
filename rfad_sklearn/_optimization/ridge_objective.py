"""What the loop minimises: kernel ridge regression; by the exact kernel here, by random features in ``_feature_objective``."""

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .._kernels.exact import exact_kernel
from .._ridge.label_solve import best_targets
from .._ridge.linalg import fit_logit_scale, scaled_quality, solve_targets
from .._utils.labels import centred_one_hot

# Rows that labels are solved on: this many batches, and this many per item.
_SOLVE_BATCHES, _SOLVE_ROWS_PER_ITEM = 8, 8
# Rows whose kernel with the coreset is computed at a time there.
_SOLVE_CHUNK = 512


@dataclass(frozen=True)
class RidgeConfig:
    """Settings of every :class:`KernelRidgeObjective`."""

    batch_size: int
    reg: float
    loss: str


@dataclass(frozen=True)
class TrainingData:
    """Rows as the objective sees them: ``read(indices)`` gives preprocessed inputs of shape ``(n, *shape)``.

    Inputs and labels are on the device, the numbers of the rows to train on and to hold out on the
    CPU.
    """

    read: object
    labels: torch.Tensor
    n_classes: int
    train: torch.Tensor
    validation: torch.Tensor
    shape: tuple

    def class_mask(self, numbers):
        """Bool tensor ``(n_classes,)`` on the device, true for the classes of these numbers."""
        mask = torch.zeros(self.n_classes, dtype=torch.bool)
        mask[list(numbers)] = True
        return mask.to(self.labels.device)


def kernel_ridge_scores(kernel_ss, kernel_bs, targets, reg):
    """``K_BS (K_SS + reg tr(K_SS)/|S| I)^-1 Y_S`` in float64.

    With gradients, a kernel matrix that cannot be solved gives NaN: a step does not wait for the
    device to find out.
    """
    return kernel_bs.double() @ solve_targets(
        kernel_ss, targets, reg, check=not torch.is_grad_enabled()
    )


def prediction_loss(loss, scores, labels, targets, log_scale):
    """Cross entropy of the scaled scores (``"cross_entropy"``), to labels or probabilities, or half the squared distance to the targets (``"mse"``)."""
    if loss == "cross_entropy":
        return F.cross_entropy(log_scale.exp() * scores, labels)
    return 0.5 * (scores - targets).square().sum(1).mean()


class RowStream:
    """Endless stream of training rows: a new shuffle of all of them each epoch."""

    def __init__(self, rows, generator):
        self.rows, self.generator = rows, generator
        self.order = rows.new_empty(0)

    def take(self, n):
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


class KernelRidgeObjective:
    """Loss of kernel ridge regression on the coreset, for a batch of training rows; subclasses provide the kernel.

    A subclass sets ``labels`` and ``targets`` of the current rows and provides
    ``scores(variables)`` of them, ``after_step(variables)``, ``validation_scores(variables)``
    (scores and labels) and ``solving_kernels(variables)``.
    """

    def __init__(self, data, config, *, generator, device, project=None):
        self.data, self.config = data, config
        self.generator, self.device, self.project = generator, device, project
        self.stream = RowStream(data.train, generator)
        self.whole = config.batch_size >= len(data.train)

    def _next_rows(self):
        return self.data.train if self.whole else self.stream.take(self.config.batch_size)

    def loss(self, variables):
        """Loss of the coreset on the current rows, with gradients to the variables only."""
        return self._loss(self.scores(variables), variables)

    def _loss(self, scores, variables):
        return prediction_loss(self.config.loss, scores, *self._goals(), variables["log_scale"])

    def _goals(self):
        """Labels of the current rows, or probabilities, and their targets."""
        return self.labels, self.targets

    def validate(self, variables, progress):
        """Accuracy, and cross entropy at its best scale, on held-out rows; None without any. ``progress``: see :func:`distill`."""
        if not len(self.data.validation):
            return None
        scores, labels = self.validation_scores(variables)
        return scaled_quality(scores, labels, start=variables["log_scale"].exp().item())[1:]

    def fit_scale(self, variables, *, held_out=False):
        """Best scale on the current rows, or on the held-out ones where there are any."""
        with torch.no_grad():
            if held_out and len(self.data.validation):
                return fit_logit_scale(*self.validation_scores(variables))
            return fit_logit_scale(self.scores(variables), self.labels)

    @torch.no_grad()
    def solve_labels(self, variables, deadline=None):
        """Best targets for the items as they are, by the convex problem on the training rows (Nguyen et al. 2021).

        Parameters
        ----------
        variables : dict of str to tensor
        deadline : float, optional
            Moment of ``time.monotonic()`` after which no more rows are read.

        Returns
        -------
        targets : tensor of shape (n_items, n_classes)
            Those of ``variables`` where no others predict the held-out rows better.
        """
        rows = self.data.train
        limit = max(
            _SOLVE_BATCHES * self.config.batch_size,
            _SOLVE_ROWS_PER_ITEM * len(variables["targets"]),
        )
        if len(rows) > limit or deadline is not None:
            # Cut off by the deadline too, the rows are of all classes.
            rows = rows[torch.randperm(len(rows), generator=self.generator)[:limit]]
        kernel_ss, kernel_with = self.solving_kernels(variables)
        solved = solve_targets(
            kernel_ss,
            torch.eye(len(kernel_ss), dtype=torch.float32, device=self.device),
            self.config.reg,
        )
        maps = []
        for part in rows.split(_SOLVE_CHUNK):
            if maps and deadline is not None and time.monotonic() > deadline:
                break
            maps.append(kernel_with(self.data.read(part)).double())
        maps = torch.cat(maps) @ solved
        labels, targets = self._labels(rows[: len(maps)])
        # The scores of held-out rows are linear in the targets too: with the identity as targets
        # they give the map.
        held_out = None
        if len(self.data.validation):
            held_out = self.validation_scores(
                {
                    **variables,
                    "targets": torch.eye(len(solved), dtype=torch.float32, device=self.device),
                }
            )

        def judge(targets):
            scores = held_out[0] @ targets.double()
            return scaled_quality(scores, held_out[1])[2]

        return best_targets(
            maps,
            labels,
            targets,
            variables["targets"],
            loss=self.config.loss,
            scale=variables["log_scale"].exp().item(),
            judge=judge if held_out is not None else None,
        )

    def items(self, variables):
        """Items as the networks see them."""
        return variables["X"] if self.project is None else self.project(variables["X"])

    def _labels(self, rows):
        """Labels of rows by their numbers, and their targets: those of all rows would be as many numbers as rows times classes."""
        labels = self.data.labels[rows.to(self.device)]
        return labels, centred_one_hot(labels, self.data.n_classes)


class ExactKernelObjective(KernelRidgeObjective):
    """KIP (Nguyen et al. 2021): the same loss with the exact kernel, on fresh rows at every step."""

    def __init__(self, spec, data, config, *, kernel, compiled, generator, device, project=None):
        super().__init__(data, config, generator=generator, device=device, project=project)
        self.spec, self.kernel, self.compiled = spec, kernel, compiled
        self._take(self._next_rows())
        self.held_out = data.read(data.validation) if len(data.validation) else None

    def _take(self, rows):
        self.rows = rows
        self.inputs = self.data.read(rows)
        self.labels, self.targets = self._labels(rows)

    def state_dict(self):
        """Everything random, for a checkpoint."""
        return {
            "generator": self.generator.get_state(),
            "stream": self.stream.state_dict(),
            "rows": self.rows,
        }

    def load_state_dict(self, state):
        """Go back to a state."""
        self.generator.set_state(state["generator"])
        self.stream.load_state_dict(state["stream"])
        self._take(state["rows"])

    def after_step(self, variables):
        """Draw the next rows."""
        if not self.whole:
            self._take(self._next_rows())

    def scores(self, variables):
        """Scores of the current rows."""
        return self._scores(variables, self.inputs)

    def validation_scores(self, variables):
        """Scores and labels of the held-out rows."""
        with torch.no_grad():
            return self._scores(variables, self.held_out), self._labels(self.data.validation)[0]

    def solving_kernels(self, variables):
        """Kernel of the items with themselves, and a function that gives the kernel of rows with them."""
        x = self.items(variables)
        return self._kernel(x), lambda rows: self._kernel(rows, x)

    def _kernel(self, first, second=None):
        return exact_kernel(self.spec, first, second, kernel=self.kernel, compiled=self.compiled)

    def _scores(self, variables, rows):
        x = self.items(variables)
        return kernel_ridge_scores(
            self._kernel(x), self._kernel(rows, x), variables["targets"], self.config.reg
        )
