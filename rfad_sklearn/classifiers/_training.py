"""Training one finite network on a coreset: gradient descent with momentum, centred outputs, scaled targets."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .._networks.augment import draw_augmentation, flip_half
from .._networks.finite import draw_finite_network, largest_curvature, network_outputs
from .._ridge.linalg import scaled_quality

_MOMENTUM = 0.9
# First step size, in units of one over the largest curvature at the start: with momentum 0.9 the
# limit would be 3.8.
_SHARE_OF_STABLE = 0.5
# Rows that the curvature is taken on, and rows that pass through a network at a time.
_CURVATURE_ROWS, _CHUNK = 256, 256
# A step size that makes the loss infinite is divided by 4, so often.
_RETRIES = 4


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of :func:`train`.

    ``loss`` is "mse" or "cross_entropy"; ``learning_rate`` None takes half of one over the largest
    curvature of the squared loss at the start, times ``flatness``: how much flatter the loss is
    taken to be. ``dtype`` is that of the hidden layers' arithmetic in the steps.
    """

    instance_norm: bool
    centering: bool
    loss: str
    label_scale: float
    learning_rate: float | None
    weight_decay: float
    batch_size: int
    n_steps: int
    eval_every: int
    augmentations: tuple
    flipped: tuple
    flatness: float
    dtype: torch.dtype


@dataclass(frozen=True)
class FiniteNetwork:
    """A trained network: its parameters, and those at the start where its outputs are centred by them."""

    spec: object
    instance_norm: bool
    parameters: list
    start: list | None

    def scores(self, x):
        """Outputs less those at the start."""
        outputs = network_outputs(self.spec, self.parameters, x, instance_norm=self.instance_norm)
        if self.start is not None:
            outputs = outputs - network_outputs(
                self.spec, self.start, x, instance_norm=self.instance_norm
            )
        return outputs

    @torch.no_grad()
    def scores_of_many(self, x):
        """Scores of many inputs, in parts."""
        return torch.cat([self.scores(part) for part in x.split(_CHUNK)])


def target_distribution(targets):
    """Class probabilities of centred targets: negative ones are cut off, rows sum to one."""
    shares = (targets + 1 / targets.shape[1]).clamp_min(0)
    return shares / shares.sum(1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)


def _loss(config, outputs, targets):
    if config.loss == "cross_entropy":
        return F.cross_entropy(outputs, target_distribution(targets))
    return 0.5 * (outputs - config.label_scale * targets).square().sum(1).mean()


class _Training:
    """One network on its way."""

    def __init__(self, spec, inputs, targets, config, seed, generator):
        self.spec, self.inputs, self.targets, self.config, self.generator = (
            spec,
            inputs,
            targets,
            config,
            generator,
        )
        self.start = draw_finite_network(
            spec,
            inputs.shape[1:],
            targets.shape[1],
            seed,
            instance_norm=config.instance_norm,
            device=inputs.device,
        )
        self.start = [parameter.to(inputs) for parameter in self.start]
        self.parameters = [parameter.clone().requires_grad_(True) for parameter in self.start]
        self.first = None

    def network(self):
        """What it is now."""
        parameters = [parameter.detach().clone() for parameter in self.parameters]
        return FiniteNetwork(
            self.spec,
            self.config.instance_norm,
            parameters,
            self.start if self.config.centering else None,
        )

    def curvature_rate(self):
        """Step size from the curvature of the squared loss at the start."""
        some = torch.randperm(len(self.inputs), generator=self.generator)[:_CURVATURE_ROWS]
        x = self.inputs[some]
        outputs = lambda parameters: network_outputs(
            self.spec, parameters, x, instance_norm=self.config.instance_norm
        )
        return (
            _SHARE_OF_STABLE
            * self.config.flatness
            / max(largest_curvature(outputs, self.start, self.generator), 1e-12)
        )

    def batch(self):
        """Inputs and targets of one step, augmented."""
        x, targets = self.inputs, self.targets
        if len(x) > self.config.batch_size:
            chosen = torch.randperm(len(x), generator=self.generator)[: self.config.batch_size]
            x, targets = x[chosen], targets[chosen]
        if self.config.flipped:
            mask = torch.zeros(targets.shape[1], dtype=torch.bool, device=x.device)
            mask[list(self.config.flipped)] = True
            x = flip_half(x, mask[targets.argmax(1)], self.generator)
        elif self.config.augmentations:
            shape = tuple(x.shape[1:])
            x = draw_augmentation(self.config.augmentations, len(x), shape, self.generator)(x)
        return x, targets

    def _outputs(self, parameters, x):
        return network_outputs(
            self.spec,
            parameters,
            x,
            instance_norm=self.config.instance_norm,
            dtype=self.config.dtype,
        )

    @torch.no_grad()
    def outputs_at_start(self, x):
        """What centring takes away; of the inputs that are the same at every step, once."""
        if self.first is None or x is not self.inputs:
            outputs = self._outputs(self.start, x)
            self.first = outputs if x is self.inputs else None
            return outputs
        return self.first

    def run(self, rate, held_out):
        """All steps; gives the network to keep and its loss on held-out rows, or None as soon as the loss is not finite."""
        config, best = self.config, (None, math.inf)
        optimizer = torch.optim.SGD(self.parameters, lr=rate, momentum=_MOMENTUM)
        for step in range(1, config.n_steps + 1):
            optimizer.param_groups[0]["lr"] = rate * (1 - (step - 1) / config.n_steps)
            optimizer.zero_grad()
            x, targets = self.batch()
            outputs = self._outputs(self.parameters, x)
            loss = _loss(
                config, outputs - self.outputs_at_start(x) if config.centering else outputs, targets
            )
            if not math.isfinite(loss.item()):
                return None
            loss.backward()
            if config.weight_decay:
                with torch.no_grad():
                    for parameter, first in zip(self.parameters, self.start, strict=True):
                        parameter.grad.add_(parameter - first, alpha=config.weight_decay)
            optimizer.step()
            if held_out is not None and (step % config.eval_every == 0 or step == config.n_steps):
                network = self.network()
                best = min(
                    best, (network, held_out_loss(network, held_out)), key=lambda kept: kept[1]
                )
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters):
            return None
        return best if held_out is not None else (self.network(), math.nan)


def held_out_loss(network, held_out):
    """Cross entropy on held-out inputs and labels at the best scale."""
    inputs, labels = held_out
    scores = network.scores_of_many(inputs).double()
    if not bool(torch.isfinite(scores).all()):
        return math.inf
    return scaled_quality(scores, labels)[2]


def train(spec, inputs, targets, config, *, seed, generator, held_out=None):
    """Train one network.

    Parameters
    ----------
    spec : ConvNet or MLP
    inputs : tensor of shape (n, d) or (n, H, W, channels)
    targets : tensor of shape (n, n_classes)
        Centred: rows sum to about zero.
    config : TrainingConfig
    seed : int
        Of the network.
    generator : torch.Generator
        Of batches and augmentation.
    held_out : (inputs, labels), optional
        Rows that choose the state to keep; without them it is the last one.

    Returns
    -------
    network : FiniteNetwork
        None where the training diverged.
    loss : float
        Cross entropy on the held-out rows; infinite where the training diverged, NaN without
        held-out rows.
    """
    rate = config.learning_rate
    for _ in range(1 if rate is not None else _RETRIES):
        training = _Training(spec, inputs, targets, config, seed, generator)
        rate = training.curvature_rate() if rate is None else rate
        kept = training.run(rate, held_out)
        if kept is not None:
            return kept
        rate /= 4
    return None, math.inf


def train_best(spec, inputs, targets, configs, *, seed, generator, held_out):
    """Train with each of the settings; gives those with which the held-out rows are predicted best, the network and its loss.

    Whole runs: short ones favour settings that learn fast and then become unstable.
    """
    runs = [
        (
            config,
            *train(
                spec, inputs, targets, config, seed=seed, generator=generator, held_out=held_out
            ),
        )
        for config in configs
    ]
    return min(runs, key=lambda run: run[2])
