"""What the loop minimises: kernel ridge regression on a rolling pool of random networks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ._ridge import fit_platt_scale, solve_targets
from .random_features import cached_features, cpu_networks, draw_network, kernel_product, network_features

# Bytes of activations kept for the backward pass; above it they are computed a second time.
_ACTIVATION_BUDGET = 512 * 2**20
# Stream of seeds: training networks take one each as they are drawn.
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class ObjectiveConfig:
    """Settings of :class:`RandomFeatureObjective`.

    ``network_life`` and ``row_life`` are the numbers of steps that a network and a training row stay in the pool.
    """

    n_networks: int
    batch_size: int
    reg: float
    loss: str
    network_life: float
    row_life: float
    n_eval_networks: int


@dataclass(frozen=True)
class TrainingData:
    """Rows as the objective sees them: ``read(indices)`` gives preprocessed float32 inputs of shape ``(n, *shape)``."""

    read: object
    labels: torch.Tensor
    targets: torch.Tensor
    train: torch.Tensor
    validation: torch.Tensor
    shape: tuple


def kernel_ridge_scores(kernel_ss, kernel_bs, targets, reg):
    """``K_BS (K_SS + reg tr(K_SS)/|S| I)^-1 Y_S`` in float64."""
    return kernel_bs.double() @ solve_targets(kernel_ss, targets, reg)


def prediction_loss(loss, scores, labels, targets, log_scale):
    """Cross entropy of the scaled scores (``"platt"``) or half the squared distance to the centred one-hot targets (``"mse"``)."""
    if loss == "platt":
        return F.cross_entropy(log_scale.exp() * scores, labels)
    return 0.5 * (scores - targets).square().sum(1).mean()


def centred_one_hot(codes, n_classes):
    """``onehot - 1 / n_classes`` as float32."""
    return F.one_hot(codes, n_classes).float() - 1 / n_classes


class _RowStream:
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


class RandomFeatureObjective:
    """RFAD (Loo et al. 2022): loss of kernel ridge regression with random features, on a rolling pool.

    The pool holds ``n_networks`` networks and their cached features of ``batch_size`` training rows. Only the coreset passes
    through the networks at every step; after each step a few networks and rows are replaced, so that the loss of the pool stays
    an honest estimate of the loss with fresh ones.
    """

    def __init__(self, spec, data, config, *, generator, device, dtype, project=None, eval_spec=None):
        self.spec, self.data, self.config = spec, data, config
        self.eval_spec = eval_spec or spec
        self.generator, self.device, self.dtype = generator, device, dtype
        self.project = project
        self.whole = config.batch_size >= len(data.train)
        self.stream = _RowStream(data.train, generator)
        self.rows = data.train if self.whole else self.stream.take(config.batch_size)
        self.inputs = self._read(self.rows)
        self.networks = [self._draw() for _ in range(config.n_networks)]
        self.cache = cached_features(spec, self.networks, self.inputs)
        self.row_credit = self.network_credit = 0.0
        self.next_row = self.next_network = 0
        # Made here, not at the first evaluation, so that evaluations cost the same each time.
        self._validation = self._draw_validation() if len(data.validation) else None

    def _draw(self):
        seed = torch.randint(_MAX_SEED, (1,), generator=self.generator).item()
        return draw_network(self.spec, self.data.shape, seed, device=self.device, dtype=self.dtype)

    def _read(self, rows):
        return self.data.read(rows).to(self.device)

    # What the loop calls

    def loss(self, variables):
        """Loss of the coreset on the pool, with gradients to the variables only."""
        scores = self.scores(variables)
        return prediction_loss(self.config.loss, scores, *self._labels(self.rows), variables["log_scale"])

    def after_step(self):
        """Replace the rows and the networks whose time is up."""
        config = self.config
        n_rows = 0
        if not self.whole:
            self.row_credit += config.batch_size / config.row_life
            n_rows = min(int(self.row_credit), config.batch_size)
            self.row_credit -= n_rows
        self.network_credit += config.n_networks / config.network_life
        n_networks = min(int(self.network_credit), config.n_networks)
        self.network_credit -= n_networks
        if n_rows:
            self._replace_rows(n_rows)
        if n_networks:
            self._replace_networks(n_networks)

    def validate(self, variables):
        """Accuracy, and cross entropy at its best scale, on held-out rows with networks of their own; None without any."""
        if self._validation is None:
            return None
        scores, labels = self.validation_scores(variables)
        scale = fit_platt_scale(scores, labels, start=variables["log_scale"].exp().item())
        accuracy = (scores.argmax(1) == labels).double().mean().item()
        return accuracy, F.cross_entropy(scale * scores, labels).item()

    def validation_scores(self, variables):
        """Scores and labels of the held-out rows."""
        networks, cache = self._validation
        with torch.no_grad():
            scores = self._scores(variables, self.eval_spec, networks, cache)
        return scores, self._labels(self.data.validation)[0]

    # Parts

    def scores(self, variables):
        """Scores of the pool's rows."""
        return self._scores(variables, self.spec, self.networks, self.cache)

    def fit_scale(self, variables, *, held_out=False):
        """Best scale on the pool's rows, or on the held-out ones where there are any."""
        with torch.no_grad():
            if held_out and self._validation is not None:
                return fit_platt_scale(*self.validation_scores(variables))
            return fit_platt_scale(self.scores(variables), self._labels(self.rows)[0])

    def _labels(self, rows):
        return self.data.labels[rows].to(self.device), self.data.targets[rows].to(self.device)

    def _scores(self, variables, spec, networks, cache):
        x = variables["X"] if self.project is None else self.project(variables["X"])
        features = network_features(spec, networks, x, recompute=self._recompute(x.shape[0], len(networks)))
        features = torch.stack(features, dim=1).to(cache.dtype)
        kernel_ss = kernel_product(spec, features, features)
        kernel_bs = kernel_product(spec, cache, features)
        return kernel_ridge_scores(kernel_ss, kernel_bs, variables["targets"], self.config.reg)

    def _recompute(self, n_points, n_networks):
        positions = self.data.shape[0] * self.data.shape[1] if len(self.data.shape) == 3 else self.spec.depth
        n_bytes = 2 * positions * self.spec.width * self.dtype.itemsize
        return n_points * n_networks * n_bytes > _ACTIVATION_BUDGET

    def _replace_rows(self, n):
        size = self.config.batch_size
        places = (self.next_row + torch.arange(n)) % size
        self.next_row = (self.next_row + n) % size
        self.rows[places] = self.stream.take(n)
        self.inputs[places] = self._read(self.rows[places])
        self.cache[places] = cached_features(self.spec, self.networks, self.inputs[places])

    def _replace_networks(self, n):
        for _ in range(n):
            slot, self.next_network = self.next_network, (self.next_network + 1) % len(self.networks)
            self.networks[slot] = self._draw()
            cached_features(self.spec, [self.networks[slot]], self.inputs, out=self.cache[:, slot : slot + 1])

    def _draw_validation(self):
        seeds = torch.randint(_MAX_SEED, (self.config.n_eval_networks,), generator=self.generator)
        networks = cpu_networks(self.eval_spec, self.data.shape, seeds.tolist(), self.device, self.dtype)
        return networks, cached_features(self.eval_spec, networks, self._read(self.data.validation))
