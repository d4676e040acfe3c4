"""Gradient matching (Zhao, Mopuri and Bilen 2021): the items shall move a network as the training rows do."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .._networks.augment import draw_augmentation
from .._networks.finite import draw_finite_network, network_outputs
from .ridge_objective import RowStream

# Items per step when a network is trained on them.
_NETWORK_BATCH = 256
# Numbers in the largest maps of the rows that pass through a network at a time: about what a CPU's
# caches hold.
_PIECE = 2**22
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class MatchingConfig:
    """Settings of :class:`GradientMatchingObjective`.

    A network lives ``network_life`` steps of the items; between two of them it takes
    ``network_steps`` steps of size ``network_rate`` on the items. ``batch_size`` rows per class and
    step; ``augmentations`` are names, or empty.
    """

    batch_size: int
    network_life: int
    network_steps: int
    network_rate: float
    instance_norm: bool
    augmentations: tuple


def gradient_distance(gradients, targets):
    """Sum over weights and their output units of one minus the cosine; biases and gains are left out (eq. 10 of the paper).

    Units that no training row reaches have no gradient to match: they do not count.
    """
    distance = 0.0
    for gradient, target in zip(gradients, targets, strict=True):
        if gradient.ndim > 1:
            cosines = F.cosine_similarity(gradient.flatten(1), target.flatten(1), dim=1, eps=1e-8)
            distance = distance + ((1 - cosines) * target.flatten(1).any(1)).sum()
    return distance


class GradientMatchingObjective:
    """Distance between the gradients of a network's loss on the items and on training rows, class by class.

    ``ridge`` is a kernel ridge objective: it judges the items and fits their scale, as for every
    distiller.
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
        self.validate, self.fit_scale = ridge.validate, ridge.fit_scale
        self.age, self.parameters = 0, self._draw()

    def loss(self, variables):
        """Distance of the gradients, summed over the classes."""
        # Also where the caller wants no gradient: the distance itself is made of gradients.
        self._variables = variables
        with torch.enable_grad():
            return self._distance(self.ridge.items(variables))

    def after_step(self, variables):
        """Train the network on the items, or draw a new one at the end of its life."""
        self.age += 1
        if self.age < self.config.network_life:
            # The items as this step has left them.
            self._train_network(self.ridge.items(self._variables).detach())
        else:
            self.age, self.parameters = 0, self._draw()

    def state_dict(self):
        """Everything random, and the network, for a checkpoint."""
        return {
            "generator": self.generator.get_state(),
            "streams": {str(c): stream.state_dict() for c, stream in enumerate(self.streams)},
            "parameters": {str(k): parameter for k, parameter in enumerate(self.parameters)},
            "age": self.age,
        }

    def load_state_dict(self, state):
        """Go back to a state."""
        for c, stream in enumerate(self.streams):
            stream.load_state_dict(state["streams"][str(c)])
        with torch.no_grad():
            for k, parameter in enumerate(self.parameters):
                parameter.copy_(state["parameters"][str(k)])
        self.age = state["age"]
        self.generator.set_state(state["generator"])

    # Parts

    def _distance(self, items):
        total = 0.0
        for c, stream in enumerate(self.streams):
            rows = self.data.read(stream.take(min(self.config.batch_size, len(stream.rows))))
            own = items[self.item_y_encoded == c]
            if self.config.augmentations:
                change = draw_augmentation(
                    self.config.augmentations, 1, self.data.shape, self.generator
                )
                rows, own = change(rows), change(own)
            targets = self._row_gradients(rows, c)
            gradients = self._gradients(self._loss_of(own, c, own.dtype), create_graph=True)
            total = total + gradient_distance(gradients, targets)
        return total

    def _draw(self):
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
        """Sum of the losses of inputs with these y_encoded, or all with one."""
        outputs = network_outputs(
            self.spec, self.parameters, x, instance_norm=self.config.instance_norm, dtype=dtype
        )
        y_encoded = (
            y_encoded
            if torch.is_tensor(y_encoded)
            else torch.full((len(x),), y_encoded, device=self.device)
        )
        return F.cross_entropy(outputs, y_encoded, reduction="sum")

    def _gradients(self, loss, create_graph=False):
        return torch.autograd.grad(loss, self.parameters, create_graph=create_graph)

    def _row_gradients(self, rows, c):
        """Gradients of the rows' loss, up to a factor that no cosine sees, piece by piece."""
        piece = (
            len(rows)
            if rows.is_cuda
            else max(1, _PIECE // self.spec.largest_layer(self.data.shape))
        )
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
            if self.config.augmentations:
                x = draw_augmentation(
                    self.config.augmentations, len(x), self.data.shape, self.generator
                )(x)
            gradients = self._gradients(self._loss_of(x, y_encoded, self.dtype) / len(x))
            with torch.no_grad():
                torch._foreach_add_(self.parameters, gradients, alpha=-self.config.network_rate)
