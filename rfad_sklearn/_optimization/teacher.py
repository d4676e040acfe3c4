"""Soft labels by knowledge distillation: the probabilities that a small trained network predicts.

What a label says about a row beyond its probability is noise. A run has to average it away, and
memorises it with time.
"""

import math
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from .._networks.augment import augment_images, draw_augmentation
from .._ridge.linalg import scaled_quality

# Channels of the blocks of [3x3 convolution, batch normalisation, 2x2 maximum, ReLU], as many as
# leave maps of 2x2 pixels or more.
_CHANNELS = (48, 96, 192)
# The dense layer reads means over at most so many parts of the image along each side, or its steps
# would be too large for large images.
_MAX_PARTS = 4
# Step size of stochastic gradient descent at its highest.
_LEARNING_RATE = 0.1
# Nesterov momentum.
_MOMENTUM = 0.9
_WEIGHT_DECAY = 5e-4
# Rows of a step, at most.
_MAX_ROWS = 128
# Pixels of a step, at most: larger images come in fewer rows.
_MAX_PIXELS = 128 * 32 * 32
# But not in fewer rows than this, whose statistics would say nothing.
_MIN_ROWS = 16
# The step size rises over this share of the steps, then falls to zero.
_RISING = 0.2
# Epochs at most.
MAX_EPOCHS = 10
# Fewest epochs that make a teacher worth having.
_MIN_EPOCHS = 5
# Fewest steps that do.
_MIN_STEPS = 200
# Steps whose fastest says how long one takes; the first warms up.
_TIMED_STEPS = 6
# Share of the given time that the timed steps may take.
_TIMING_SHARE = 0.1
# Share of the newest batch in the running statistics of the normalisation, once there were as many
# batches as that takes; before, all batches count alike.
_STATISTICS_MOMENTUM = 0.1
# Rows that pass through the network at a time without gradients, in batches of a step.
_PREDICTED_BATCHES = 4


@dataclass(frozen=True)
class SoftLabels:
    """Probabilities of all rows by a teacher, and how good it is.

    Attributes
    ----------
    probabilities : tensor of shape (n, n_classes), or None
        None once a run has switched back to hard labels.
    score : float or None
        Accuracy on held-out rows; None where there are none.
    loss : float
        Cross entropy on held-out rows; minus infinity where there are none.
    """

    probabilities: torch.Tensor | None
    score: float | None
    loss: float

    def __str__(self):
        if self.score is None:
            return "nothing held out"
        return f"accuracy {self.score:.4f}, loss {self.loss:.4f} on held-out rows"

    def to(self, device):
        """The same on another device."""
        if self.probabilities is None:
            return self
        return replace(self, probabilities=self.probabilities.to(device))


def _build_model(shape, n_classes, generator, like):
    """Network for images of this shape, with weights from the generator.

    In the dtype and on the device of ``like``. Weights are drawn here, not by the modules, which
    would take them from torch's global generator: those with weights of their own begin on the meta
    device, which draws nothing.
    """
    layers, fan_in = [], shape[2]
    depth = max(min(int(math.log2(min(shape[:2]))) - 1, len(_CHANNELS)), 1)
    for width in _CHANNELS[:depth]:
        convolution = nn.Conv2d(fan_in, width, 3, padding=1, bias=False, device="meta")
        weight = math.sqrt(2 / (9 * fan_in)) * torch.randn(
            (width, fan_in, 3, 3), generator=generator, dtype=torch.float32
        )
        convolution.weight = nn.Parameter(
            weight.contiguous(memory_format=torch.channels_last).to(like)
        )
        # The maximum of the maps and then the ReLU are the same as the other way round, on a
        # quarter of the entries.
        layers += [
            convolution,
            nn.BatchNorm2d(width, device=like.device, dtype=like.dtype),
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]
        fan_in = width
    parts = tuple(min(side >> depth, _MAX_PARTS) for side in shape[:2])
    n_features = fan_in * math.prod(parts)
    dense = nn.Linear(n_features, n_classes, device="meta")
    weight = torch.randn((n_classes, n_features), generator=generator, dtype=torch.float32)
    dense.weight = nn.Parameter((weight / math.sqrt(n_features)).to(like))
    dense.bias = nn.Parameter(torch.zeros(n_classes).to(like))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(parts), nn.Flatten(), dense)


class _Network:
    """A model, and the steps that train it."""

    def __init__(self, shape, n_classes, generator, like):
        self.model = _build_model(shape, n_classes, generator, like)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), momentum=_MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY
        )
        self.n_steps = 0

    def outputs(self, x, *, training):
        """Scores ``(n, n_classes)`` of images ``(n, H, W, channels)``."""
        self.model.train(training)
        momentum = max(_STATISTICS_MOMENTUM, 1 / (self.n_steps + 1))
        for module in self.model:
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = momentum
        return self.model(x.permute(0, 3, 1, 2))

    def step(self, loss, learning_rate):
        """Move the weights."""
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.n_steps += 1


class Teacher:
    """Trains a small convolutional network on an objective's rows, and predicts all rows with it.

    Images are moved by up to an eighth of their sides at random.

    Parameters
    ----------
    data : TrainingData
        Of images.
    n_classes : int
    generator : torch.Generator
        On the CPU: of weights, batches and augmentation.
    dtype : torch.dtype
        Of the hidden layers' arithmetic.
    flipped : sequence of int, default=()
        Numbers of the classes of which half of the images are flipped left to right.
    augmentations : sequence of str, default=()
        Keys of ``AUGMENTATIONS``. One of them, drawn for each step, changes the moved images; it
        takes the place of the flips.
    """

    def __init__(self, data, n_classes, *, generator, dtype, flipped=(), augmentations=()):
        self.data, self.n_classes, self.generator = data, n_classes, generator
        self.dtype, self.flipped, self.augmentations = dtype, flipped, augmentations
        self.like = torch.zeros(
            (), device=data.labels.device, dtype=torch.promote_types(dtype, torch.float32)
        )
        self.batch_size = min(max(_MAX_PIXELS // math.prod(data.shape[:2]), _MIN_ROWS), _MAX_ROWS)
        # What is left over in an epoch waits for the next: few rows would give poor statistics.
        self.per_epoch = max(len(data.train) // self.batch_size, 1)

    def _step_seconds(self, most=math.inf):
        """Seconds of a step: the fastest of a few, which may take so many seconds together."""
        network = _Network(
            self.data.shape, self.n_classes, torch.Generator().manual_seed(0), self.like
        )
        fastest, start = math.inf, time.monotonic()
        for _ in range(_TIMED_STEPS):
            begin = time.monotonic()
            self._step(network, self.data.train[: self.batch_size], 0.0)
            if self.like.is_cuda:
                torch.cuda.synchronize(self.like.device)
            fastest = min(fastest, time.monotonic() - begin)
            if time.monotonic() - start > most:
                break
        return max(fastest, 1e-6)

    def n_epochs(self, seconds):
        """How many epochs there is time for, by timing a few steps.

        Parameters
        ----------
        seconds : float

        Returns
        -------
        int
            MAX_EPOCHS at most; 0 where they, or their steps, are too few to be worth it.
        """
        of_epoch = self._step_seconds(_TIMING_SHARE * seconds) * self.per_epoch
        # The rows pass once more at the end, forwards only.
        epochs = min(int(seconds / of_epoch - 0.5), MAX_EPOCHS)
        return epochs if epochs >= _MIN_EPOCHS and epochs * self.per_epoch >= _MIN_STEPS else 0

    def seconds_of(self, n_epochs):
        """Seconds that so many epochs take, by timing a few steps."""
        return self._step_seconds() * self.per_epoch * (n_epochs + 0.5)

    @property
    def all_epochs(self):
        """Epochs where time is no bound: MAX_EPOCHS, more where their steps would be too few."""
        return max(MAX_EPOCHS, math.ceil(_MIN_STEPS / self.per_epoch))

    def train(self, n_epochs, deadline=None):
        """Train for so many epochs, and predict all rows.

        Parameters
        ----------
        n_epochs : int
        deadline : float, optional
            Moment of ``time.monotonic()`` at which the training ends, its step size at zero as at
            the end of the last epoch.

        Returns
        -------
        SoftLabels
            None where the training diverged, and where it was truncated by the deadline to few
            steps while no held-out rows could say how good they made it.
        """
        network = _Network(self.data.shape, self.n_classes, self.generator, self.like)
        n_steps, begin = n_epochs * self.per_epoch, time.monotonic()
        weighted = None if self.data.row_weights is None else self.data.stream(self.generator)
        for step in range(n_steps):
            done = (step + 0.5) / n_steps
            if deadline is not None:
                done = max(done, (time.monotonic() - begin) / max(deadline - begin, 1e-6))
            if done >= 1:
                break
            if weighted is not None:
                rows = weighted.take(self.batch_size)
            else:
                if step % self.per_epoch == 0:
                    order = torch.randperm(len(self.data.train), generator=self.generator)
                    batches = self.data.train[order].split(self.batch_size)
                rows = batches[step % self.per_epoch]
            learning_rate = _LEARNING_RATE * min(done / _RISING, (1 - done) / (1 - _RISING))
            self._step(network, rows, learning_rate)
        if not len(self.data.validation) and network.n_steps < min(n_steps, _MIN_STEPS):
            return None
        return self._soft_labels(network)

    def _autocast(self):
        # Inside another one, weights that are kept cast would be those of steps before.
        return torch.autocast(
            self.like.device.type,
            self.dtype,
            enabled=self.dtype == torch.bfloat16,
            cache_enabled=False,
        )

    def _augmented(self, x, labels):
        x = draw_augmentation(("crop",), len(x), tuple(self.data.shape), self.generator)(x)
        return augment_images(x, labels, self.augmentations, self.flipped, self.generator)

    def _step(self, network, rows, learning_rate):
        labels = self.data.labels[rows.to(self.like.device)]
        x = self._augmented(self.data.read(rows).to(self.like), labels)
        with self._autocast():
            scores = network.outputs(x, training=True)
        network.step(F.cross_entropy(scores.to(self.like), labels), learning_rate)

    @torch.no_grad()
    def _soft_labels(self, network):
        n = len(self.data.labels)
        scores = torch.empty((n, self.n_classes), dtype=torch.float32, device=self.like.device)
        for rows in torch.arange(n).split(_PREDICTED_BATCHES * self.batch_size):
            with self._autocast():
                predicted = network.outputs(self.data.read(rows).to(self.like), training=False)
            scores[rows.to(scores.device)] = predicted.float()
        if not bool(torch.isfinite(scores).all()):
            return None
        held_out = self.data.validation.to(scores.device)
        if not len(held_out):
            return SoftLabels(scores.softmax(1), None, -math.inf)
        scale, score, loss = scaled_quality(
            scores[held_out].double(),
            self.data.labels[held_out],
            weights=self.data.validation_weights,
        )
        return SoftLabels((scale * scores).softmax(1), score, loss)
