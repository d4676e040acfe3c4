"""Training of finite networks: gradient descent with momentum, centred outputs, scaled targets."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .._networks.augment import augment_images
from .._networks.finite import draw_finite_network, largest_curvature, network_outputs
from .._ridge.linalg import scaled_quality

_MOMENTUM = 0.9
# First step size, in units of one over the largest curvature at the start: with momentum 0.9 the
# limit would be 3.8.
_SHARE_OF_STABLE = 0.5
# Rows that the curvature is measured on.
_CURVATURE_ROWS = 256
# Rows that pass through a network at a time.
_CHUNK = 256
# How often a step size is tried: one that makes the loss infinite is divided by 4.
_RETRIES = 4


@dataclass(frozen=True)
class FiniteNetwork:
    """A trained network.

    ``start`` holds the parameters at initialisation where the outputs are centred by them.
    """

    spec: object
    instance_norm: bool
    parameters: list
    start: list | None

    @classmethod
    def from_arrays(cls, spec, instance_norm, arrays, like):
        """Network from what :meth:`to_arrays` gave, with the type and device of a tensor."""
        parameters, start = (
            None
            if part is None
            else [torch.tensor(array, dtype=like.dtype, device=like.device) for array in part]
            for part in arrays
        )
        return cls(spec, instance_norm, parameters, start)

    def to_arrays(self):
        """Parameters, and those at the start (or None), as lists of numpy arrays."""
        return [
            None if part is None else [array.cpu().numpy() for array in part]
            for part in (self.parameters, self.start)
        ]

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
    """State of the training of one network."""

    def __init__(self, spec, inputs, targets, config, seed, generator):
        self.spec, self.config, self.generator = spec, config, generator
        self.inputs, self.targets = inputs, targets
        start = draw_finite_network(
            spec,
            inputs.shape[1:],
            targets.shape[1],
            seed,
            instance_norm=config.instance_norm,
            device=inputs.device,
        )
        self.start = [parameter.to(inputs) for parameter in start]
        self.parameters = [parameter.clone().requires_grad_(True) for parameter in self.start]
        self.first = None

    def network(self):
        """Copy of the network at this step."""
        parameters = [parameter.detach().clone() for parameter in self.parameters]
        start = self.start if self.config.centering else None
        return FiniteNetwork(self.spec, self.config.instance_norm, parameters, start)

    def curvature_step_size(self):
        """Step size from the curvature of the squared loss at the start."""
        some = torch.randperm(len(self.inputs), generator=self.generator)[:_CURVATURE_ROWS]
        x = self.inputs[some]
        instance_norm = self.config.instance_norm

        def outputs(parameters):
            return network_outputs(self.spec, parameters, x, instance_norm=instance_norm)

        curvature = max(largest_curvature(outputs, self.start, self.generator), 1e-12)
        return _SHARE_OF_STABLE * self.config.flatness / curvature

    def batch(self):
        """Inputs and targets of one step, augmented."""
        x, targets = self.inputs, self.targets
        if len(x) > self.config.batch_size:
            chosen = torch.randperm(len(x), generator=self.generator)[: self.config.batch_size]
            x, targets = x[chosen], targets[chosen]
        names, flipped = self.config.augmentations, self.config.flipped
        x = augment_images(x, targets.argmax(1), names, flipped, self.generator)
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
        """Outputs at the start; where the inputs are the same at every step, computed once."""
        if self.first is None or x is not self.inputs:
            outputs = self._outputs(self.start, x)
            self.first = outputs if x is self.inputs else None
            return outputs
        return self.first

    def run(self, learning_rate, held_out):
        """Make all steps.

        Returns
        -------
        tuple of FiniteNetwork and float, or None
            The network to keep and its loss on held-out rows (NaN without such rows); None as soon
            as the training loss is not finite.
        """
        config, best = self.config, (None, math.inf)
        optimizer = torch.optim.SGD(self.parameters, lr=learning_rate, momentum=_MOMENTUM)
        for step in range(1, config.n_steps + 1):
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - (step - 1) / config.n_steps)
            optimizer.zero_grad()
            x, targets = self.batch()
            outputs = self._outputs(self.parameters, x)
            if config.centering:
                outputs = outputs - self.outputs_at_start(x)
            loss = _loss(config, outputs, targets)
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
                loss = held_out_loss(network, held_out)
                best = min(best, (network, loss), key=lambda kept: kept[1])
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
    spec : ConvNetSpec or MLPSpec
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
    learning_rate = config.learning_rate
    for _ in range(1 if learning_rate is not None else _RETRIES):
        training = _Training(spec, inputs, targets, config, seed, generator)
        if learning_rate is None:
            learning_rate = training.curvature_step_size()
        kept = training.run(learning_rate, held_out)
        if kept is not None:
            return kept
        learning_rate /= 4
    return None, math.inf


def train_networks(spec, inputs, targets, configs, *, seeds, generator, held_out, report):
    """Train several networks, after a choice among settings.

    Where there are several settings, the first network is trained with each of them, and held-out
    rows choose. These are whole runs: short ones favour settings that learn fast and then become
    unstable.

    Parameters
    ----------
    spec, inputs, targets, generator, held_out
        As for :func:`train`.
    configs : list of TrainingConfig
        Several only with held-out rows.
    seeds : list of int
        One per network.
    report : callable
        Is given a line of text after each network.

    Returns
    -------
    config : TrainingConfig
        The settings that were chosen.
    networks : list of FiniteNetwork
        None where the training diverged.
    losses : list of float
        As of :func:`train`.
    """

    def trained(config, seed):
        return train(
            spec, inputs, targets, config, seed=seed, generator=generator, held_out=held_out
        )

    results, config = [], configs[0]
    if len(configs) > 1:
        runs = [(config, trained(config, seeds[0])) for config in configs]
        config, first = min(runs, key=lambda run: run[1][1])
        results.append(first)
        report(f"{config.chosen} predicts the held-out rows best")
    for seed in seeds[len(results) :]:
        results.append(trained(config, seed))
        report(f"network {len(results)} of {len(seeds)} trained")
    networks, losses = zip(*results, strict=True)
    return config, list(networks), list(losses)
