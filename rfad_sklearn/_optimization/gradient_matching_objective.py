"""Gradient matching (Zhao, Mopuri and Bilen 2021) as an objective."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .._networks.augment import augment_images, draw_augmentation
from .._networks.finite import draw_finite_network, network_outputs
from .objective import Objective
from .training_data import RowStream

# Items per step when a network is trained on them.
_NETWORK_BATCH = 256
# Numbers in the largest maps of the rows that pass through a network at a time: about what a CPU's
# caches hold.
_PIECE = 2**22
# Bound of the seeds of networks.
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class MatchingConfig:
    """Settings of :class:`GradientMatchingObjective`.

    Attributes
    ----------
    batch_size : int
        Training rows of each class in a step, at most.
    network_life : int
        Steps of the items that one network serves.
    network_steps : int
        Steps that the network takes on the items between two steps of the items.
    network_learning_rate : float
        Step size of the network.
    instance_norm : bool
        Whether the networks normalise each image's maps.
    augmentations : tuple of str
        Keys of ``AUGMENTATIONS``, or empty.
    flipped : tuple of int
        Numbers of the only classes that are augmented, by flips; empty where all are.
    """

    batch_size: int
    network_life: int
    network_steps: int
    network_learning_rate: float
    instance_norm: bool
    augmentations: tuple
    flipped: tuple = ()


def gradient_distance(gradients, targets):
    """Sum over weights and their output units of one minus the cosine (eq. 10 of the paper).

    Biases and gains are left out. Units that no training row reaches have no gradient to match:
    they do not count.
    """
    distance = 0.0
    for gradient, target in zip(gradients, targets, strict=True):
        if gradient.ndim > 1:
            cosines = F.cosine_similarity(gradient.flatten(1), target.flatten(1), dim=1, eps=1e-8)
            distance = distance + ((1 - cosines) * target.flatten(1).any(1)).sum()
    return distance


class GradientMatchingObjective(Objective):
    """Distance between a network's gradients on the items and on training rows, class by class.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
        Of the networks.
    data : TrainingData
    config : MatchingConfig
    item_y_encoded : int array of shape (n_items,)
        Class numbers of the items.
    ridge : KernelRidgeObjective
        Validates the items and fits their scale, as for every distiller.
    generator : torch.Generator
        On the CPU.
    device : torch.device
    dtype : torch.dtype
        Of the hidden layers' arithmetic.
    """

    def __init__(self, spec, data, config, *, item_y_encoded, ridge, generator, device, dtype):
        self.spec, self.data, self.config, self.ridge = spec, data, config, ridge
        self.generator, self.device, self.dtype = generator, device, dtype
        self.n_classes = data.n_classes
        self.item_y_encoded = torch.from_numpy(item_y_encoded).to(device)
        labels = data.labels.cpu()[data.train]
        self.streams = [
            RowStream(data.train[labels == c], generator) for c in range(self.n_classes)
        ]
        self.age = 0
        self.draw()

    def draw(self):
        """Draw a network where the life of the last one is over.

        Rows and augmentations are drawn in :meth:`loss`.
        """
        # An evaluation may take a loss too, between two steps, on rows of its own: drawn here, the
        # rows of the next step would serve for it, and the order of random draws would be another.
        if self.age == 0:
            self.parameters = self._draw_network()

    def loss(self, variables):
        """Distance of the gradients, summed over the classes."""
        # Also where the caller wants no gradient: the distance itself is made of gradients.
        with torch.enable_grad():
            return self._distance(self.ridge.items(variables))

    def after_step(self, variables):
        """Train the network on the items, or draw a new one at the end of its life."""
        self.age = (self.age + 1) % self.config.network_life
        if self.age:
            self._train_network(self.ridge.items(variables).detach())
        super().after_step(variables)

    def validate(self, variables, progress):
        """As kernel ridge regression on the items."""
        return self.ridge.validate(variables, progress)

    @property
    def slack(self):
        """As of kernel ridge regression."""
        return self.ridge.slack

    def fit_scale(self, variables, *, held_out=False):
        """As kernel ridge regression on the items."""
        return self.ridge.fit_scale(variables, held_out=held_out)

    def state_dict(self):
        """The generator, the rows that are left of the epoch, and the network."""
        return {
            "generator": self.generator.get_state(),
            "streams": {str(c): stream.state_dict() for c, stream in enumerate(self.streams)},
            "parameters": {str(k): parameter for k, parameter in enumerate(self.parameters)},
            "age": self.age,
        }

    def load_state_dict(self, state):
        """Go back to a state."""
        self._load_random_state(state)
        with torch.no_grad():
            for k, parameter in enumerate(self.parameters):
                parameter.copy_(state["parameters"][str(k)])
        self.age = state["age"]

    def probe(self, variables):
        """As for every objective; the rows that it draws are put back."""
        state = self.state_dict()
        super().probe(variables)
        self._load_random_state(state)
        # A backward pass leaves gradients here too, which nothing reads.
        for parameter in self.parameters:
            parameter.grad = None

    def _load_random_state(self, state):
        for c, stream in enumerate(self.streams):
            stream.load_state_dict(state["streams"][str(c)])
        self.generator.set_state(state["generator"])

    def _distance(self, items):
        total = 0.0
        for c, stream in enumerate(self.streams):
            rows = self.data.read(stream.take(min(self.config.batch_size, len(stream.rows))))
            own = items[self.item_y_encoded == c]
            names = self.config.augmentations
            if names and (not self.config.flipped or c in self.config.flipped):
                # The same change for all of them: siamese.
                change = draw_augmentation(names, 1, self.data.shape, self.generator)
                rows, own = change(rows), change(own)
            targets = self._row_gradients(rows, c)
            gradients = self._gradients(self._loss_of(own, c, own.dtype), create_graph=True)
            total = total + gradient_distance(gradients, targets)
        return total

    def _draw_network(self):
        seed = int(torch.randint(_MAX_SEED, (1,), generator=self.generator))
        parameters = draw_finite_network(
            self.spec,
            self.data.shape,
            self.n_classes,
            seed,
            instance_norm=self.config.instance_norm,
            device=self.device,
        )
        wide = torch.promote_types(self.dtype, torch.float32)
        return [parameter.to(wide).requires_grad_(True) for parameter in parameters]

    def _loss_of(self, x, y_encoded, dtype):
        """Sum of the losses of inputs with these class numbers, or all with one."""
        outputs = network_outputs(
            self.spec, self.parameters, x, instance_norm=self.config.instance_norm, dtype=dtype
        )
        if not torch.is_tensor(y_encoded):
            y_encoded = torch.full((len(x),), y_encoded, device=self.device)
        return F.cross_entropy(outputs, y_encoded, reduction="sum")

    def _gradients(self, loss, create_graph=False):
        return torch.autograd.grad(loss, self.parameters, create_graph=create_graph)

    def _row_gradients(self, rows, c):
        """Gradients of the rows' loss, up to a factor that no cosine sees, piece by piece."""
        piece = len(rows)
        if not rows.is_cuda:
            piece = max(1, _PIECE // self.spec.largest_layer(self.data.shape))
        totals = None
        for part in rows.split(piece):
            gradients = self._gradients(self._loss_of(part, c, self.dtype))
            totals = gradients if totals is None else torch._foreach_add(totals, gradients)
        return totals

    def _train_network(self, items):
        for _ in range(self.config.network_steps):
            chosen = torch.arange(len(items))
            if len(items) > _NETWORK_BATCH:
                chosen = torch.randperm(len(items), generator=self.generator)[:_NETWORK_BATCH]
            x, y_encoded = items[chosen], self.item_y_encoded[chosen]
            names, flipped = self.config.augmentations, self.config.flipped
            x = augment_images(x, y_encoded, names, flipped, self.generator)
            gradients = self._gradients(self._loss_of(x, y_encoded, self.dtype) / len(x))
            with torch.no_grad():
                torch._foreach_add_(
                    self.parameters, gradients, alpha=-self.config.network_learning_rate
                )
