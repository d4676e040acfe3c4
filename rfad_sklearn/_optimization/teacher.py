"""A teacher: a small convolutional network that is trained for a few epochs, and whose probabilities then stand for the labels of rows.

What a label says about a row beyond its probability is noise, which a coreset's steps have to
average away, and which it learns by heart with time.
"""

import math
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from .._networks.augment import draw_augmentation, flip_half
from .._ridge.linalg import scaled_quality

# Channels of the blocks of [3x3 convolution, batch normalisation, ReLU, 2x2 maximum], as many as
# leave maps of 2x2 pixels or more; the dense layer at the end reads means over 4x4 parts of the
# image at most, or its steps would be too large for large images.
_CHANNELS, _PARTS = (48, 96, 192), 4
_RATE, _MOMENTUM, _WEIGHT_DECAY = 0.1, 0.9, 5e-4
# Rows of a step: at most so many, fewer where that would be more pixels, but not so few that their
# statistics say nothing.
_MOST_ROWS, _FEWEST_ROWS, _PIXELS = 128, 16, 128 * 32 * 32
# The step size rises over this share of the steps, then falls to zero.
_RISING = 0.2
# Epochs at most; the fewest epochs, and the fewest steps, that make a teacher worth having.
MOST_EPOCHS, _LEAST_EPOCHS, _LEAST_STEPS = 10, 5, 200
# Steps that tell how long one takes, the first of which warms up; they may take this share of the
# time that is asked about.
_TIMED_STEPS, _TIMING_SHARE = 6, 0.1
# Share of the newest batch in the running statistics of the normalisation, once there were as many
# batches as that takes.
_STATISTICS = 0.1
# So many times the rows of a step pass through the network at a time afterwards, when nothing is
# kept for gradients.
_TELLING = 4


@dataclass(frozen=True)
class SoftLabels:
    """Probabilities ``(n, n_classes)`` of all rows, or None once they are no longer of use, and how good their teacher is.

    ``score`` and ``loss`` are its accuracy and cross entropy on held-out rows; None and minus
    infinity where there are none.
    """

    probabilities: torch.Tensor | None
    score: float | None
    loss: float

    def __str__(self):
        return (
            "nothing held out"
            if self.score is None
            else f"accuracy {self.score:.4f}, loss {self.loss:.4f} on held-out rows"
        )

    def to(self, device):
        """The same on another device."""
        return (
            self
            if self.probabilities is None
            else replace(self, probabilities=self.probabilities.to(device))
        )


class _Network:
    """Parameters, running statistics, and the steps that change them."""

    def __init__(self, shape, n_classes, generator, like):
        fan_in, layers = shape[2], []
        depth = max(min(int(math.log2(min(shape[:2]))) - 1, len(_CHANNELS)), 1)
        for width in _CHANNELS[:depth]:
            weight = math.sqrt(2 / (9 * fan_in)) * torch.randn(
                (width, fan_in, 3, 3), generator=generator, dtype=torch.float32
            )
            layers.append(
                (
                    weight.contiguous(memory_format=torch.channels_last),
                    torch.ones(width),
                    torch.zeros(width),
                )
            )
            fan_in = width
        self.parts = tuple(min(side >> depth, _PARTS) for side in shape[:2])
        n_features = fan_in * math.prod(self.parts)
        last = torch.randn(
            (n_classes, n_features), generator=generator, dtype=torch.float32
        ) / math.sqrt(n_features)
        flat = [tensor for layer in layers for tensor in layer] + [last, torch.zeros(n_classes)]
        self.parameters = [tensor.to(like).requires_grad_(True) for tensor in flat]
        self.statistics = [
            (torch.zeros_like(gain), torch.ones_like(gain)) for gain in self.parameters[1:-2:3]
        ]
        self.optimizer = torch.optim.SGD(
            self.parameters, momentum=_MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY
        )
        self.n_steps = 0

    def outputs(self, x, *, training):
        """Scores ``(n, n_classes)`` of images ``(n, H, W, channels)``."""
        x = x.permute(0, 3, 1, 2)
        newest = max(_STATISTICS, 1 / (self.n_steps + 1))
        for k, (mean, variance) in enumerate(self.statistics):
            weight, gain, shift = self.parameters[3 * k : 3 * k + 3]
            x = F.conv2d(x, weight, padding=1)
            x = F.batch_norm(x, mean, variance, gain, shift, training=training, momentum=newest)
            # The same as the maximum of the ReLU, on a quarter of the entries.
            x = F.max_pool2d(x, 2).relu()
        return F.linear(F.adaptive_avg_pool2d(x, self.parts).flatten(1), *self.parameters[-2:])

    def step(self, loss, rate):
        """Move the parameters."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.n_steps += 1


class Teacher:
    """Trains on an objective's rows and tells what it takes them for.

    Images are moved by up to an eighth of their sides at random, and those of some classes flipped.

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
    """

    def __init__(self, data, n_classes, *, generator, dtype, flipped=()):
        self.data, self.n_classes, self.generator, self.dtype, self.flipped = (
            data,
            n_classes,
            generator,
            dtype,
            flipped,
        )
        self.like = torch.zeros(
            (), device=data.labels.device, dtype=torch.promote_types(dtype, torch.float32)
        )
        self.batch_size = min(max(_PIXELS // math.prod(data.shape[:2]), _FEWEST_ROWS), _MOST_ROWS)
        # What is left over in an epoch waits for the next: few rows would give poor statistics.
        self.per_epoch = max(len(data.train) // self.batch_size, 1)

    def n_epochs(self, seconds):
        """How many epochs there is time for, MOST_EPOCHS at most; 0 where they, or their steps, are too few to be worth it."""
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
            if time.monotonic() - start > _TIMING_SHARE * seconds:
                break
        # The rows pass once more at the end, forwards only.
        epochs = min(int(seconds / (max(fastest, 1e-6) * self.per_epoch) - 0.5), MOST_EPOCHS)
        return epochs if epochs >= _LEAST_EPOCHS and epochs * self.per_epoch >= _LEAST_STEPS else 0

    @property
    def all_epochs(self):
        """How many epochs a teacher takes that has the time: MOST_EPOCHS, more where their steps would be too few."""
        return max(MOST_EPOCHS, math.ceil(_LEAST_STEPS / self.per_epoch))

    def train(self, n_epochs, deadline=None):
        """Train for so many epochs, and tell.

        Parameters
        ----------
        n_epochs : int
        deadline : float, optional
            Moment of ``time.monotonic()`` at which the training ends, its step size at zero as at
            the end of the last epoch.

        Returns
        -------
        SoftLabels
            None where the training diverged, or where nothing held out could tell how little the
            few steps taught that there was time for.
        """
        network = _Network(self.data.shape, self.n_classes, self.generator, self.like)
        n_steps, begin = n_epochs * self.per_epoch, time.monotonic()
        for step in range(n_steps):
            done = (step + 0.5) / n_steps
            if deadline is not None:
                done = max(done, (time.monotonic() - begin) / max(deadline - begin, 1e-6))
            if done >= 1:
                break
            if step % self.per_epoch == 0:
                order = torch.randperm(len(self.data.train), generator=self.generator)
                batches = self.data.train[order].split(self.batch_size)
            rate = _RATE * min(done / _RISING, (1 - done) / (1 - _RISING))
            self._step(network, batches[step % self.per_epoch], rate)
        if not len(self.data.validation) and network.n_steps < min(n_steps, _LEAST_STEPS):
            return None
        return self._telling(network)

    def _autocast(self):
        # Inside another one, weights that are kept cast would be those of steps before.
        return torch.autocast(
            self.like.device.type,
            self.dtype,
            enabled=self.dtype == torch.bfloat16,
            cache_enabled=False,
        )

    def _step(self, network, rows, rate):
        x, labels = self.data.read(rows).to(self.like), self.data.labels[rows.to(self.like.device)]
        x = draw_augmentation(("crop",), len(x), tuple(self.data.shape), self.generator)(x)
        if self.flipped:
            x = flip_half(x, self.data.class_mask(self.flipped)[labels], self.generator)
        with self._autocast():
            scores = network.outputs(x, training=True)
        network.step(F.cross_entropy(scores.to(self.like), labels), rate)

    @torch.no_grad()
    def _telling(self, network):
        n = len(self.data.labels)
        scores = torch.empty((n, self.n_classes), dtype=torch.float32, device=self.like.device)
        for rows in torch.arange(n).split(_TELLING * self.batch_size):
            with self._autocast():
                scores[rows.to(scores.device)] = network.outputs(
                    self.data.read(rows).to(self.like), training=False
                ).float()
        if not bool(torch.isfinite(scores).all()):
            return None
        held_out = self.data.validation.to(scores.device)
        if not len(held_out):
            return SoftLabels(scores.softmax(1), None, -math.inf)
        scale, score, loss = scaled_quality(scores[held_out].double(), self.data.labels[held_out])
        return SoftLabels((scale * scores).softmax(1), score, loss)
