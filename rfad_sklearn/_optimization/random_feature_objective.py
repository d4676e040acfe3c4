"""What the loop minimises by random features: kernel ridge regression with networks and rows from a pool."""

from dataclasses import dataclass, replace

import torch

from .._networks.augment import flip_half
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
from .teacher import SoftLabels

# Bytes of activations kept for the backward pass, and of a GPU the part of its memory; above it
# they are computed a second time.
_ACTIVATION_BUDGET, _CUDA_SHARE = 512 * 2**20, 1 / 8
# Settings of the pool that a run may have chosen by its time or its rows: one that goes on keeps
# them.
_POOL_SETTINGS = ("pool_size", "refresh_interval", "flipped")
# Most of a loss that may be taken for its bias: where the networks disagree more, items would be
# moved to make them.
_MOST_BIAS = 0.5
# In this last part of a run a teacher is left as soon as the coreset's loss on held-out rows is at
# most so many times its own; before, only one that is no better. Near it labels are worth more than
# what its probabilities spare in noise.
_LATE, _NEAR = 0.5, 1.4
# Stream of seeds: training networks take one each as they are drawn.
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class PoolConfig(RidgeConfig):
    """Settings of :class:`RandomFeatureObjective`.

    The pool holds up to ``pool_size`` groups of ``n_networks`` networks and ``batch_size`` rows;
    every ``refresh_interval`` steps a new group takes the place of the oldest. ``debias`` frees the
    loss of the bias by their number. ``flipped`` holds the numbers of the classes of which half of
    the rows, images, are flipped.
    """

    n_networks: int
    pool_size: int
    refresh_interval: int
    n_evaluation_networks: int
    debias: bool = False
    flipped: tuple = ()


@dataclass
class _Group:
    """Networks, the activations of some training rows in them, the labels and targets of these rows, and what a teacher told of them."""

    seeds: torch.Tensor
    rows: torch.Tensor
    networks: list
    cache: RowCache
    labels: torch.Tensor
    targets: torch.Tensor
    told: torch.Tensor | None = None


def all_and_all_but_one(kernels):
    """Means of k kernels: of all of them, and of all but each in turn, ``(k + 1, ...)``."""
    total = kernels.sum(0, keepdim=True)
    return torch.cat([total / len(kernels), (total - kernels) / (len(kernels) - 1)])


class RandomFeatureObjective(KernelRidgeObjective):
    """RFAD (Loo et al. 2022): loss of kernel ridge regression with random features, from a pool of networks and rows.

    Only the coreset passes through the networks at every step; the features of the training rows
    are cached. The pool is made of groups, each with its own networks and its own rows. A step
    takes one group at random, so that a group serves many times, but hardly twice in a row: the
    coreset fits all networks and rows of the pool, not the few of the moment.

    With a ``teaching`` the probabilities of a teacher stand for the labels of the rows trained on,
    until the coreset predicts the held-out rows as well as the teacher does, or late in the run
    nearly as well.
    """

    def __init__(
        self, spec, data, config, *, generator, device, dtype, project=None, evaluation_spec=None
    ):
        super().__init__(data, config, generator=generator, device=device, project=project)
        self.spec, self.evaluation_spec, self.dtype = spec, evaluation_spec or spec, dtype
        self.n_steps, self.oldest = 0, 0
        self.soft_labels = None
        self.groups = []
        # Made here, not at the first evaluation, so that evaluations cost the same each time; and
        # first, so that the same networks judge a run that goes on, whatever pool it starts with
        # before it is restored.
        self._validation = self._draw_validation() if len(data.validation) else None
        self._add_group()
        self._choose_group()

    def validate(self, variables, progress):
        """As for every kernel; a teacher that is not better than the coreset any more, or late in the run hardly so, is left."""
        result = super().validate(variables, progress)
        if result is not None and self.soft_labels is not None:
            enough = self.soft_labels.loss * (_NEAR if progress >= _LATE else 1.0)
            if result[1] <= enough:
                self.soft_labels = replace(self.soft_labels, probabilities=None)
        return result

    def after_step(self, variables):
        """Replace the oldest group when its time is up, and choose the group of the next step."""
        self.n_steps += 1
        if self.n_steps % self.config.refresh_interval == 0:
            self._add_group()
        self._choose_group()

    def state_dict(self):
        """Everything random or chosen by timing, for a checkpoint; activations are computed again."""
        pool = {name: getattr(self.config, name) for name in _POOL_SETTINGS}
        return {
            "pool": {**pool, "width": self.spec.width},
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
        """Go back to a state, and to the networks that it was made with."""
        self.spec = replace(self.spec, width=state["pool"]["width"])
        pool = {name: state["pool"][name] for name in _POOL_SETTINGS}
        self.config = replace(self.config, **{**pool, "flipped": tuple(pool["flipped"])})
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

    def validation_scores(self, variables):
        """Scores and labels of the held-out rows."""
        networks, cache = self._validation
        with torch.no_grad():
            scores = self._scores(variables, self.evaluation_spec, networks, cache)
        return scores, self._labels(self.data.validation)[0]

    def loss(self, variables):
        """Loss of the coreset on the current rows, with gradients to the variables only."""
        return self.loss_of(self._features(variables, self.spec, self.group.networks), variables)

    def loss_of(self, features, variables):
        """The loss by the items' activations."""
        return self._loss(self._solve(features, self.spec, self.group.cache, variables), variables)

    # Parts

    def _goals(self):
        if self.soft_labels is None or self.soft_labels.probabilities is None:
            return super()._goals()
        group = self.group
        if group.told is None:
            # Once for each group: it serves many steps, and the rows' numbers are not on the
            # device.
            group.told = self.soft_labels.probabilities[group.rows.to(self.device)].double()
        return group.told, group.told - 1 / group.told.shape[1]

    def scores(self, variables):
        """Scores of the rows of the current group."""
        return self._scores(variables, self.spec, self.group.networks, self.group.cache)

    def solving_kernels(self, variables):
        """Kernel of the items with themselves, and a function that gives the kernel of rows with them; by fresh networks."""
        networks = self._draw_evaluation_networks()
        features = self._features(variables, self.evaluation_spec, networks)
        of_rows = lambda rows: kernel_product(
            self.evaluation_spec, cached_features(self.evaluation_spec, networks, rows), features
        )
        return kernel_product(self.evaluation_spec, features, features), of_rows

    def _scores(self, variables, spec, networks, cache):
        return self._solve(self._features(variables, spec, networks), spec, cache, variables)

    def _solve(self, features, spec, cache, variables):
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
        networks = draw_networks(
            self.spec, self.data.shape, seeds.tolist(), device=self.device, dtype=self.dtype
        )
        x, (labels, targets) = self.data.read(rows), self._labels(rows)
        if self.config.flipped:
            # The same ones when the group is made again for a run that goes on, by a seed that no
            # network has.
            generator = torch.Generator().manual_seed(_MAX_SEED + seeds[0].item())
            x = flip_half(x, self.data.class_mask(self.config.flipped)[labels], generator)
        cache = RowCache(self.spec, networks, x, dtype=self.dtype)
        return _Group(seeds, rows, networks, cache, labels, targets)

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

    def _draw_validation(self):
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
