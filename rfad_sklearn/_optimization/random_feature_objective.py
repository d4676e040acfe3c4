"""Kernel ridge regression with random features, the objective of RFAD."""

from dataclasses import dataclass, replace

import torch

from .._networks.augment import augment_images
from .._networks.random_features import (
    cached_features,
    cpu_networks,
    draw_networks,
    kernel_product,
    network_features,
    wide_dtype,
)
from .._networks.row_cache import RowCache
from .ridge_objective import KernelRidgeObjective, RidgeConfig, kernel_ridge_scores
from .stopwatch import Stopwatch
from .teacher import SoftLabels

# Bytes of activations that are kept for the backward pass on a CPU; above it they are computed a
# second time.
_ACTIVATION_BUDGET = 512 * 2**20
# The same on a GPU, as a share of its memory.
_CUDA_SHARE = 1 / 8
# From this part of a run on, hard labels come back as soon as the items' loss on held-out rows is
# near the teacher's; before, only once it is no higher.
_LATE = 0.5
# Near: at most so many times the teacher's loss. There the labels are worth more than what the
# probabilities spare in noise.
_NEAR = 1.4
# Bound of the seeds of networks; training networks take one each as they are drawn.
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class PoolConfig(RidgeConfig):
    """Settings of :class:`RandomFeatureObjective`.

    Attributes
    ----------
    n_networks : int
        Networks of a group.
    pool_size : int
        Groups of the pool, at most.
    refresh_interval : int
        Steps after which a new group takes the place of the oldest.
    n_evaluation_networks : int
        Networks that validate the items.
    flipped : tuple of int, default=()
        Numbers of the classes of which half of the rows, images, are flipped left to right.
    augmentations : tuple of str, default=()
        Keys of ``AUGMENTATIONS``. One of them changes the rows of a new group, images, once; it
        takes the place of the flips.
    """

    n_networks: int
    pool_size: int
    refresh_interval: int
    n_evaluation_networks: int
    flipped: tuple = ()
    augmentations: tuple = ()


@dataclass
class _Group:
    """Networks, and the activations, labels and targets of some training rows in them."""

    seeds: torch.Tensor
    rows: torch.Tensor
    networks: list
    cache: RowCache
    labels: torch.Tensor
    targets: torch.Tensor
    soft_labels: torch.Tensor | None = None


class RandomFeatureObjective(KernelRidgeObjective):
    """Loss of kernel ridge regression with random features, from a pool of networks and rows.

    That of RFAD (Loo et al. 2022). Only the items pass through the networks at every step; the
    features of the training rows are cached. The pool is made of groups, each with its own networks
    and its own rows. A step takes one group at random, so that a group serves many times, but
    hardly twice in a row: the items fit all networks and rows of the pool, not the few of the
    moment.

    Where ``soft_labels`` are set, their probabilities take the place of the labels of the rows
    trained on (knowledge distillation), until the items predict the held-out rows as well as the
    teacher does, or late in the run nearly as well.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
        Of the networks of the pool.
    data : TrainingData
    config : PoolConfig
    generator : torch.Generator
        On the CPU.
    device : torch.device
    dtype : torch.dtype
        Of the networks' arithmetic.
    project : callable, optional
        See :class:`KernelRidgeObjective`.
    evaluation_spec : ConvNetSpec or MLPSpec, optional
        Of the evaluation networks, by default as those of the pool.
    """

    def __init__(
        self, spec, data, config, *, generator, device, dtype, project=None, evaluation_spec=None
    ):
        super().__init__(data, config, generator=generator, device=device, project=project)
        self.spec, self.evaluation_spec, self.dtype = spec, evaluation_spec or spec, dtype
        self.n_steps, self.oldest = 0, 0
        self.groups = []
        # Made here, not at the first evaluation, so that evaluations cost the same each time; and
        # first, so that a run that goes on has the same evaluation networks, whatever pool it
        # starts with before its state is loaded.
        self._validation = self._make_validation() if len(data.validation) else None
        self.draw()

    def draw(self):
        """Make a new group where one is due, and choose the group of the next step."""
        if self.n_steps % self.config.refresh_interval == 0:
            self._add_group()
        self._choose_group()

    def after_step(self, variables):
        """Replace the oldest group when its time is up, and choose the group of the next step."""
        self.n_steps += 1
        super().after_step(variables)

    def state_dict(self):
        """Everything random; activations are computed again."""
        return {
            "generator": self.generator.get_state(),
            "stream": self.stream.state_dict(),
            "seeds": torch.stack([group.seeds for group in self.groups]),
            "rows": torch.stack([group.rows for group in self.groups]),
            "number": self.number,
            "oldest": self.oldest,
            "n_steps": self.n_steps,
            "soft_labels": {} if self.soft_labels is None else vars(self.soft_labels),
        }

    def load_state_dict(self, state):
        """Go back to a state, of an objective with the same networks and settings."""
        self.groups = [
            self._make_group(seeds, rows)
            for seeds, rows in zip(state["seeds"], state["rows"], strict=True)
        ]
        self.oldest, self.n_steps = state["oldest"], state["n_steps"]
        self.soft_labels = (
            SoftLabels(**state["soft_labels"]).to(self.device) if state["soft_labels"] else None
        )
        self._take_group(state["number"])
        self.stream.load_state_dict(state["stream"])
        self.generator.set_state(state["generator"])

    @property
    def refresh_seconds(self):
        """Seconds that making the newest group took, spread over the steps until the next one.

        The first group of a program takes longer than later ones where a device has to be warmed
        up.
        """
        return self._refresh_time.seconds / self.config.refresh_interval

    def scores(self, variables):
        """Scores of the rows of the current group."""
        return self._scores(variables, self.spec, self.group.networks, self.group.cache)

    def validation_scores(self, variables):
        """Scores and labels of the held-out rows."""
        networks, cache = self._validation
        with torch.no_grad():
            scores = self._scores(variables, self.evaluation_spec, networks, cache)
        return scores, self._labels_and_targets(self.data.validation)[0]

    def solving_kernels(self, variables):
        """Kernel of the items, and a function that gives the kernel of rows with them.

        Both by fresh networks.
        """
        spec, networks = self.evaluation_spec, self._draw_evaluation_networks()
        features = self._features(variables, spec, networks)

        def kernel_with(rows):
            return kernel_product(spec, cached_features(spec, networks, rows), features)

        return kernel_product(spec, features, features), kernel_with

    def _after_validation(self, loss, progress):
        """Switch back to hard labels once soft ones are of no more use."""
        if self.soft_labels is not None:
            enough = self.soft_labels.loss * (_NEAR if progress >= _LATE else 1.0)
            if loss <= enough:
                self.soft_labels = replace(self.soft_labels, probabilities=None)

    def _current_labels_and_targets(self):
        if self.soft_labels is None or self.soft_labels.probabilities is None:
            return super()._current_labels_and_targets()
        group = self.group
        if group.soft_labels is None:
            # Once for each group: it serves many steps, and the rows' numbers are not on the
            # device.
            rows = group.rows.to(self.device)
            group.soft_labels = self.soft_labels.probabilities[rows].double()
        return group.soft_labels, group.soft_labels - 1 / group.soft_labels.shape[1]

    def _scores(self, variables, spec, networks, cache):
        features = self._features(variables, spec, networks)
        kernel_ss = kernel_product(spec, features, features)
        return kernel_ridge_scores(
            kernel_ss, cache.kernel(features), variables["targets"], self.config.reg
        )

    def _features(self, variables, spec, networks):
        x = self.items(variables)
        features = network_features(
            spec, networks, x, recompute=self._recompute(x.shape[0], len(networks))
        )
        return features.to(wide_dtype(networks))

    def _recompute(self, n_points, n_networks):
        # With pooling, all maps together are hardly more than twice the largest.
        layers = 2 if len(self.data.shape) == 3 else 2 * self.spec.depth
        n_bytes = layers * self.spec.largest_layer(self.data.shape) * self.dtype.itemsize
        budget = _ACTIVATION_BUDGET
        if self.device.type == "cuda":
            budget = _CUDA_SHARE * torch.cuda.get_device_properties(self.device).total_memory
        return n_points * n_networks * n_bytes > budget

    def _make_group(self, seeds, rows):
        self._refresh_time = Stopwatch(self.device)
        networks = draw_networks(
            self.spec, self.data.shape, seeds.tolist(), device=self.device, dtype=self.dtype
        )
        x, (labels, targets) = self.data.read(rows), self._labels_and_targets(rows)
        x = self._augmented(x, labels, seeds)
        cache = RowCache(self.spec, networks, x, dtype=self.dtype)
        self._refresh_time.stop()
        return _Group(seeds, rows, networks, cache, labels, targets)

    def _augmented(self, x, labels, seeds):
        if not self.config.augmentations and not self.config.flipped:
            return x
        # The same ones when the group is made again for a run that goes on, by a seed that no
        # network has.
        generator = torch.Generator().manual_seed(_MAX_SEED + seeds[0].item())
        config = self.config
        return augment_images(x, labels, config.augmentations, config.flipped, generator)

    def _add_group(self):
        """Draw networks and rows; once the pool is full, in place of the oldest."""
        seeds = torch.randint(_MAX_SEED, (self.config.n_networks,), generator=self.generator)
        group = self._make_group(seeds, self._next_rows())
        if len(self.groups) == self.config.pool_size:
            self.groups[self.oldest] = group
            self.oldest = (self.oldest + 1) % len(self.groups)
        else:
            self.groups.append(group)

    def _choose_group(self):
        self._take_group(torch.randint(len(self.groups), (1,), generator=self.generator).item())

    def _take_group(self, number):
        self.number, self.group = number, self.groups[number]
        self.labels, self.targets = self.group.labels, self.group.targets

    def _make_validation(self):
        networks = self._draw_evaluation_networks()
        return networks, RowCache(
            self.evaluation_spec, networks, self.data.read(self.data.validation), dtype=self.dtype
        )

    def _draw_evaluation_networks(self):
        seeds = torch.randint(
            _MAX_SEED, (self.config.n_evaluation_networks,), generator=self.generator
        )
        return cpu_networks(
            self.evaluation_spec, self.data.shape, seeds.tolist(), self.device, self.dtype
        )
