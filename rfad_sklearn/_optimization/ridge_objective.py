"""Kernel ridge regression as an objective; its kernel is in the files of the subclasses."""

import abc
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .._ridge.label_solve import best_targets
from .._ridge.linalg import fit_logit_scale, scaled_quality, solve_targets
from .._utils.labels import centred_one_hot
from .objective import Objective
from .scoring import TIE, score_and_loss

# Labels are solved on this many batches of rows, or more where there are many items.
_SOLVE_BATCHES = 8
# Labels are solved on at least this many rows per item.
_SOLVE_ROWS_PER_ITEM = 8
# Rows whose kernel with the items is computed at a time when labels are solved.
_SOLVE_CHUNK = 512


@dataclass(frozen=True)
class RidgeConfig:
    """Settings of every :class:`KernelRidgeObjective`.

    Attributes
    ----------
    batch_size : int
        Training rows of a step, at most.
    reg : float
        Ridge in units of the mean diagonal of the items' kernel.
    loss : {"cross_entropy", "mse"}
    """

    batch_size: int
    reg: float
    loss: str


def kernel_ridge_scores(kernel_ss, kernel_bs, targets, reg):
    """``K_BS (K_SS + reg tr(K_SS)/|S| I)^-1 Y_S`` in float64.

    With gradients, a kernel matrix that cannot be solved gives NaN: a step does not wait for the
    device to find out.
    """
    return kernel_bs.double() @ solve_targets(
        kernel_ss, targets, reg, check=not torch.is_grad_enabled()
    )


def prediction_loss(loss, scores, labels, targets, log_scale):
    """Mean loss of the scores of some rows.

    Parameters
    ----------
    loss : {"cross_entropy", "mse"}
        Cross entropy of the scaled scores to the labels, or half the squared distance to the
        targets.
    scores : tensor of shape (n, n_classes)
    labels : int tensor of shape (n,), or probabilities of shape (n, n_classes)
    targets : tensor of shape (n, n_classes)
    log_scale : tensor of shape ()

    Returns
    -------
    tensor of shape ()
    """
    if loss == "cross_entropy":
        return F.cross_entropy(log_scale.exp() * scores, labels)
    return 0.5 * (scores - targets).square().sum(1).mean()


class KernelRidgeObjective(Objective):
    """Loss of kernel ridge regression on the items, for a batch of training rows.

    A subclass provides the kernel: it sets ``labels`` and ``targets`` of the current rows in
    :meth:`draw`, and has the abstract methods below.

    Parameters
    ----------
    data : TrainingData
    config : RidgeConfig
    generator : torch.Generator
        On the CPU: of all that is random.
    device : torch.device
    project : callable, optional
        Takes items to what the networks see, differentiably: items that preprocessing would give.
        None where that is the items themselves.
    """

    def __init__(self, data, config, *, generator, device, project=None):
        self.data, self.config = data, config
        self.generator, self.device, self.project = generator, device, project
        self.stream = data.stream(generator)
        self.whole = config.batch_size >= len(data.train) and data.row_weights is None

    @abc.abstractmethod
    def scores(self, variables):
        """Scores ``(n, n_classes)`` of the current rows."""

    @abc.abstractmethod
    def validation_scores(self, variables):
        """Scores and labels of the held-out rows."""

    @abc.abstractmethod
    def solving_kernels(self, variables):
        """Kernel of the items, and a function that gives the kernel of rows with them."""

    def loss(self, variables):
        """Loss of the items on the current rows, with gradients to the variables only."""
        labels, targets = self._current_labels_and_targets()
        return prediction_loss(
            self.config.loss, self.scores(variables), labels, targets, variables["log_scale"]
        )

    def validate(self, variables, progress):
        """Accuracy, and cross entropy at its best scale, on held-out rows; None without any.

        By a scorer: its score, and minus this score.
        """
        if not len(self.data.validation):
            return None
        scores, labels = self.validation_scores(variables)
        start, scorer = variables["log_scale"].exp().item(), self.data.scorer
        scale, accuracy, loss = self._held_out_quality(scores, labels, start)
        self._after_validation(loss, progress)
        if scorer is None:
            return accuracy, loss
        return score_and_loss(scorer.of_scores(scores.cpu().numpy(), scale))

    @property
    def slack(self):
        """None but for equal scores, of a scorer."""
        return 0.0 if self.data.scorer is None else TIE

    def fit_scale(self, variables, *, held_out=False):
        """Best scale on the current rows, or on the held-out ones where there are any."""
        with torch.no_grad():
            if held_out and len(self.data.validation):
                weights = self.data.validation_weights
                return fit_logit_scale(*self.validation_scores(variables), weights=weights)
            return fit_logit_scale(self.scores(variables), self.labels)

    @torch.no_grad()
    def solve_labels(self, variables, deadline=None, *, cross_validate=False):
        """Best targets for fixed items, by the convex problem on training rows.

        As Nguyen et al. (2021) solve for labels.

        Parameters
        ----------
        variables : dict of str to tensor
        deadline : float, optional
            Moment of ``time.monotonic()`` after which no more rows are read.
        cross_validate : bool, default=False
            See :func:`best_targets`.

        Returns
        -------
        targets : tensor of shape (n_items, n_classes)
            Those of ``variables`` where no others predict other rows better.
        """
        rows, weights = self._rows_to_solve_on(len(variables["targets"]), deadline)
        kernel_ss, kernel_with = self.solving_kernels(variables)
        identity = torch.eye(len(kernel_ss), dtype=torch.float32, device=self.device)
        solved = solve_targets(kernel_ss, identity, self.config.reg)
        kernels = []
        for part in rows.split(_SOLVE_CHUNK):
            if kernels and deadline is not None and time.monotonic() > deadline:
                break
            kernels.append(kernel_with(self.data.read(part)).double())
        # Scores are linear in the targets: this matrix times the targets.
        design = torch.cat(kernels) @ solved
        labels, targets = self._labels_and_targets(rows[: len(design)])
        validation_loss = None
        if len(self.data.validation):
            held_out, held_out_labels = self.validation_scores({**variables, "targets": identity})

            def validation_loss(candidate):
                return self._held_out_quality(held_out @ candidate.double(), held_out_labels)[2]

        return best_targets(
            design,
            labels,
            targets,
            variables["targets"],
            loss=self.config.loss,
            scale=variables["log_scale"].exp().item(),
            held_out_loss=validation_loss,
            cross_validate=cross_validate,
            weights=None if weights is None else weights[: len(design)].to(self.device),
            deadline=deadline,
        )

    def items(self, variables):
        """Items as the networks see them."""
        return variables["X"] if self.project is None else self.project(variables["X"])

    def _held_out_quality(self, scores, labels, start=1.0):
        return scaled_quality(scores, labels, start=start, weights=self.data.validation_weights)

    def _after_validation(self, loss, progress):
        """Take note of the cross entropy on held-out rows."""

    def _next_rows(self):
        return self.data.train if self.whole else self.stream.take(self.config.batch_size)

    def _rows_to_solve_on(self, n_items, deadline):
        """Numbers of rows, each once, and their weights; None: all count the same."""
        rows, weights = self.data.train, self.data.row_weights
        limit = max(_SOLVE_BATCHES * self.config.batch_size, _SOLVE_ROWS_PER_ITEM * n_items)
        if weights is not None and len(rows) > limit:
            rows, weights = self.data.stream(self.generator).take(limit).unique(return_counts=True)
        elif weights is not None:
            weights = weights[rows]
        if len(rows) > limit or deadline is not None:
            # Truncated by the deadline too, the rows are of all classes.
            order = torch.randperm(len(rows), generator=self.generator)[:limit]
            rows, weights = rows[order], None if weights is None else weights[order]
        return rows, None if weights is None else weights.double()

    def _current_labels_and_targets(self):
        return self.labels, self.targets

    def _labels_and_targets(self, rows):
        # Targets of all rows at once would be as many numbers as rows times classes.
        labels = self.data.labels[rows.to(self.device)]
        return labels, centred_one_hot(labels, self.data.n_classes)
