"""A teacher: a small convolutional network that is trained for a few epochs, and whose probabilities then stand for the labels of rows.

What a label says about a row beyond its probability is noise, which a coreset's steps have to average away, and which it learns by heart
with time.
"""

import math
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ._augment import draw_augmentation
from ._ridge import fit_platt_scale

# Channels of the blocks of [3x3 convolution, batch normalisation, ReLU, 2x2 maximum], as many as leave maps of 2x2 pixels or more.
_CHANNELS = (48, 96, 192)
_BATCH, _RATE, _MOMENTUM, _WEIGHT_DECAY = 128, 0.1, 0.9, 5e-4
# The step size rises over this share of the steps, then falls to zero.
_RISING = 0.2
# Epochs at most, and the fewest that make a teacher worth having.
MOST_EPOCHS, _LEAST_EPOCHS = 10, 5
# Rows that pass through the network at a time afterwards; steps that tell how long one takes, the first of which warms up.
_CHUNK, _TIMED_STEPS = 512, 6
# Share of the newest batch in the running statistics of the normalisation.
_STATISTICS = 0.1


@dataclass(frozen=True)
class Teaching:
    """Probabilities ``(n, n_classes)`` of all rows, or None once they are no longer of use, and how good their teacher is.

    ``score`` and ``loss`` are its accuracy and cross entropy on held-out rows; None and minus infinity where there are none.
    """

    probabilities: torch.Tensor | None
    score: float | None
    loss: float

    def __str__(self):
        return "nothing held out" if self.score is None else f"accuracy {self.score:.4f}, loss {self.loss:.4f} on held-out rows"

    def to(self, device):
        """The same on another device."""
        return self if self.probabilities is None else replace(self, probabilities=self.probabilities.to(device))


class _Network:
    """Parameters, running statistics, and the steps that change them."""

    def __init__(self, shape, n_classes, generator, like):
        side, fan_in, layers = min(shape[:2]), shape[2], []
        depth = max(min(int(math.log2(side)) - 1, len(_CHANNELS)), 1)
        for width in _CHANNELS[:depth]:
            weight = math.sqrt(2 / (9 * fan_in)) * torch.randn((width, fan_in, 3, 3), generator=generator)
            weight = weight.contiguous(memory_format=torch.channels_last)
            layers.append((weight, torch.ones(width), torch.zeros(width)))
            fan_in = width
        n_features = fan_in * (shape[0] >> depth) * (shape[1] >> depth)
        last = torch.randn((n_classes, n_features), generator=generator) / math.sqrt(n_features)
        flat = [tensor for layer in layers for tensor in layer] + [last, torch.zeros(n_classes)]
        self.parameters = [tensor.to(like).requires_grad_(True) for tensor in flat]
        self.statistics = [(torch.zeros_like(gain), torch.ones_like(gain)) for gain in self.parameters[1:-2:3]]
        self.optimizer = torch.optim.SGD(self.parameters, momentum=_MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY)

    def outputs(self, x, *, training):
        """Scores ``(n, n_classes)`` of images ``(n, H, W, channels)``."""
        x = x.permute(0, 3, 1, 2)
        for k, (mean, variance) in enumerate(self.statistics):
            weight, gain, shift = self.parameters[3 * k : 3 * k + 3]
            x = F.conv2d(x, weight, padding=1)
            x = F.batch_norm(x, mean, variance, gain, shift, training=training, momentum=_STATISTICS)
            # The same as the maximum of the ReLU, on a quarter of the entries.
            x = F.max_pool2d(x, 2).relu()
        return F.linear(x.flatten(1), *self.parameters[-2:])

    def step(self, loss, rate):
        """Move the parameters."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Teacher:
    """Trains on an objective's rows and tells what it takes them for.

    Parameters
    ----------
    data : TrainingData
        Of images.
    n_classes : int
    generator : torch.Generator
        On the CPU: of weights, batches and augmentation.
    dtype : torch.dtype
        Of the hidden layers' arithmetic.
    """

    def __init__(self, data, n_classes, *, generator, dtype):
        self.data, self.n_classes, self.generator, self.dtype = data, n_classes, generator, dtype
        self.like = torch.zeros((), device=data.labels.device, dtype=torch.promote_types(dtype, torch.float32))

    def n_epochs(self, seconds, *, forced=False):
        """How many epochs there is time for, MOST_EPOCHS at most; where they are too few, 0, or 1 at least where it is ``forced``."""
        network = self._new_network(torch.Generator().manual_seed(0))
        rows, fastest = self.data.train[:_BATCH], math.inf
        for _ in range(_TIMED_STEPS):
            begin = time.monotonic()
            self._step(network, rows, 0.0)
            if self.like.is_cuda:
                torch.cuda.synchronize(self.like.device)
            fastest = min(fastest, time.monotonic() - begin)
        # The rows pass once more at the end, forwards only.
        epochs = min(int(seconds / (fastest * self._steps_per_epoch()) - 0.5), MOST_EPOCHS)
        return max(epochs, 1) if forced or epochs >= _LEAST_EPOCHS else 0

    def teach(self, n_epochs):
        """Train for so many epochs, and tell.

        Returns
        -------
        Teaching
        """
        network, per_epoch = self._new_network(self.generator), self._steps_per_epoch()
        n_steps = n_epochs * per_epoch
        for step in range(n_steps):
            if step % per_epoch == 0:
                batches = self.data.train[torch.randperm(len(self.data.train), generator=self.generator)].split(_BATCH)
            done = (step + 1) / n_steps
            self._step(network, batches[step % per_epoch], _RATE * min(done / _RISING, (1 - done) / (1 - _RISING)))
        return self._telling(network)

    def _new_network(self, generator):
        return _Network(self.data.shape, self.n_classes, generator, self.like)

    def _steps_per_epoch(self):
        # What is left over in an epoch waits for the next: few rows would give poor statistics.
        return max(len(self.data.train) // _BATCH, 1)

    def _autocast(self):
        return torch.autocast(self.like.device.type, self.dtype, enabled=self.dtype == torch.bfloat16)

    def _step(self, network, rows, rate):
        x = self.data.read(rows).to(self.like)
        x = draw_augmentation(("crop",), len(x), tuple(self.data.shape), self.generator)(x)
        with self._autocast():
            scores = network.outputs(x, training=True)
        network.step(F.cross_entropy(scores.to(self.like), self.data.labels[rows.to(self.like.device)]), rate)

    @torch.no_grad()
    def _telling(self, network):
        rows = torch.arange(len(self.data.labels))
        with self._autocast():
            parts = [network.outputs(self.data.read(part).to(self.like), training=False).double() for part in rows.split(_CHUNK)]
        scores, held_out = torch.cat(parts), self.data.validation.to(self.like.device)
        score, loss, scale = None, -math.inf, 1.0
        if len(held_out):
            labels = self.data.labels[held_out]
            scale = fit_platt_scale(scores[held_out], labels)
            score = (scores[held_out].argmax(1) == labels).double().mean().item()
            loss = F.cross_entropy(scale * scores[held_out], labels).item()
        return Teaching((scale * scores).softmax(1).float(), score, loss)
