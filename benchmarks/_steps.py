"""One step of distillation in three ways, its parts timed: shared by the benchmarks of speed."""

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from rfad_sklearn._networks.random_features import draw_network, kernel_product, network_features
from rfad_sklearn._optimization.optimizers import Optimizers
from rfad_sklearn._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from rfad_sklearn._optimization.ridge_objective import kernel_ridge_scores, prediction_loss
from rfad_sklearn._optimization.training_data import TrainingData
from rfad_sklearn._planning.pool import default_pool, refresh_interval
from rfad_sklearn._ridge.linalg import solve_targets
from rfad_sklearn._utils.device import resolve_dtype
from rfad_sklearn._utils.labels import centred_one_hot
from rfad_sklearn._utils.network_spec import ConvNetSpec

# Shapes of the images of the data sets; "small" is for the smoke run.
SHAPES = {"fashion": (28, 28, 1), "cifar": (32, 32, 3), "small": (8, 8, 1)}
N_CLASSES = 10
# All networks have so many blocks.
DEPTH = 3
PARTS = ("training features", "coreset forward", "kernel and solve", "backward", "update")
REG = 5e-3
# Rows of a pass of the plain step: all at once would need 20 GB.
_PLAIN_ROWS = 128
# Timings of the convolutions; the first is to warm up.
_CONVOLUTION_RUNS = 6


@dataclass(frozen=True)
class Way:
    """What a step works on: networks, their channels, rows, and steps between two refreshes."""

    n_networks: int
    width: int | tuple
    n_rows: int
    refresh_interval: int

    @property
    def spec(self):
        """Architecture of the networks."""
        return ConvNetSpec(depth=DEPTH, width=self.width)


#: The paper's: fresh networks and rows at every step.
PAPER = Way(n_networks=8, width=256, n_rows=5120, refresh_interval=1)


def default_way(n_items, *, n_networks=8, n_rows=1024):
    """What ``RFADDistiller`` plans for a ConvNet of three blocks and no time budget."""
    own = default_pool(ConvNetSpec(depth=DEPTH), n_items)
    every = 1 if own.pool_size == 1 else refresh_interval(n_rows, n_items)
    return Way(n_networks, own.width, n_rows, every)


# Data


def noise(shape, n_rows, device):
    """Random rows of that shape: the time of a step does not depend on the values."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((n_rows, *shape), generator=generator).to(device)
    return TrainingData(
        read=lambda rows: images[rows.to(device)],
        labels=torch.arange(n_rows, device=device) % N_CLASSES,
        n_classes=N_CLASSES,
        train=torch.arange(n_rows),
        validation=torch.empty(0, dtype=torch.long),
        shape=shape,
    )


def start(shape, n_items, device):
    """Items, targets and scale."""
    generator = torch.Generator().manual_seed(1)
    y_encoded = torch.arange(n_items, device=device) % N_CLASSES
    return {
        "X": torch.randn((n_items, *shape), generator=generator).to(device).requires_grad_(),
        "targets": centred_one_hot(y_encoded, N_CLASSES),
        "log_scale": torch.zeros((), device=device, requires_grad=True),
    }


# Clocks


@dataclass
class Watch:
    """Seconds that a block took."""

    seconds: float = math.nan


@contextmanager
def stopwatch(device):
    """Time a block; on a GPU wait for it."""
    device, watch = torch.device(device), Watch()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    yield watch
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    watch.seconds = time.perf_counter() - begin


@dataclass
class Steps:
    """Times of the parts of some steps."""

    parts: dict = field(default_factory=lambda: {name: [] for name in PARTS})

    def add(self, name, seconds):
        """Note one part of one step."""
        self.parts[name].append(seconds)

    def totals(self):
        """Seconds of each step."""
        return [sum(step) for step in zip(*self.parts.values(), strict=True)]

    def medians(self):
        """Median seconds of each part."""
        return {name: float(torch.tensor(values).median()) for name, values in self.parts.items()}


def descend(steps, device, loss, optimizer, average=None):
    """The end of a step: gradient, then update and average."""
    with stopwatch(device) as watch:
        loss.backward()
    steps.add("backward", watch.seconds)
    with stopwatch(device) as watch:
        optimizer.step()
        optimizer.zero_grad()
        if average is not None:
            average()
    steps.add("update", watch.seconds)


# Steps


class Plain:
    """The paper's step as a beginner writes it: float32, one network after the other, no trick."""

    def __init__(self, shape, n_items, *, way=PAPER, device="cpu"):
        self.data, self.device = noise(shape, way.n_rows, device), device
        self.values = start(shape, n_items, device)
        self.way, self.shape = way, shape
        self.optimizer = torch.optim.Adam([self.values["X"], self.values["log_scale"]], lr=1e-3)

    def _network(self):
        channels, layers, width = self.shape[-1], [], self.way.width
        for _ in range(DEPTH):
            weight = torch.randn((width, channels, 3, 3), device=self.device)
            bias = 0.1 * torch.randn(width, device=self.device)
            layers.append((weight * math.sqrt(2 / (9 * channels)), bias))
            channels = width
        return layers

    @staticmethod
    def _features(layers, x):
        x = x.permute(0, 3, 1, 2).contiguous()
        for weight, bias in layers:
            x = F.avg_pool2d(torch.relu(F.conv2d(x, weight, bias, padding=1)), 2)
        return x.flatten(1)

    def _all_features(self, networks, x):
        return torch.cat([self._features(network, x) for network in networks], 1)

    def warm_up(self):
        """Choosing and loading kernels is not part of a step."""
        x = self.data.read(torch.arange(min(_PLAIN_ROWS, self.way.n_rows))).requires_grad_()
        self._features(self._network(), x).sum().backward()

    def step(self, steps):
        """One step, its parts noted in ``steps``."""
        networks = [self._network() for _ in range(self.way.n_networks)]
        with stopwatch(self.device) as watch, torch.no_grad():
            x = self.data.read(self.data.train)
            rows = torch.cat([self._all_features(networks, part) for part in x.split(_PLAIN_ROWS)])
        steps.add("training features", watch.seconds)
        with stopwatch(self.device) as watch:
            items = self._all_features(networks, self.values["X"])
        steps.add("coreset forward", watch.seconds)
        with stopwatch(self.device) as watch:
            scale = 2 / items.shape[1]
            kernel_ss, kernel_bs = scale * items @ items.T + 0.01, scale * rows @ items.T + 0.01
            scores = kernel_bs.double() @ solve_targets(kernel_ss, self.values["targets"], REG)
            loss = F.cross_entropy(self.values["log_scale"].exp() * scores, self.data.labels)
        steps.add("kernel and solve", watch.seconds)
        descend(steps, self.device, loss, self.optimizer)


class Engine:
    """A step of this library.

    The training features of a refresh are spread over the steps between two refreshes. With
    ``timed`` :meth:`step` says when to refresh, else :meth:`run` does it as in a fit.
    """

    def __init__(self, shape, n_items, way, *, timed, device="cpu"):
        self.device, self.way = torch.device(device), way
        self.dtype = resolve_dtype("auto", self.device, reduced=True)
        self.values = start(shape, n_items, device)
        config = PoolConfig(
            batch_size=way.n_rows,
            reg=REG,
            loss="cross_entropy",
            n_networks=way.n_networks,
            pool_size=1 if way.refresh_interval == 1 else 4,
            refresh_interval=10**9 if timed else way.refresh_interval,
            n_evaluation_networks=1,
        )
        self.objective = RandomFeatureObjective(
            way.spec,
            noise(shape, 4 * way.n_rows, device),
            config,
            generator=torch.Generator().manual_seed(0),
            device=self.device,
            dtype=self.dtype,
        )
        self.optimizers = Optimizers(self.values, {"X": 1e-3, "log_scale": 1e-3}, ("X",))
        self.average = self.values["X"].detach().clone()
        self.refresh_seconds = math.nan

    def _update_average(self):
        self.average.lerp_(self.values["X"].detach(), 0.01)

    def step(self, steps, *, refresh):
        """One step, its parts noted in ``steps``.

        With ``refresh`` the pool gets a group, which is timed; else the last time is noted again.
        """
        objective = self.objective
        if refresh:
            with stopwatch(self.device) as watch:
                objective._add_group()
            self.refresh_seconds = watch.seconds / self.way.refresh_interval
        steps.add("training features", self.refresh_seconds)
        objective._choose_group()
        group = objective.group
        with stopwatch(self.device) as watch:
            items = objective._features(self.values, objective.spec, objective.group.networks)
        steps.add("coreset forward", watch.seconds)
        with stopwatch(self.device) as watch:
            kernel_ss = kernel_product(objective.spec, items, items)
            kernel_bs = group.cache.kernel(items)
            scores = kernel_ridge_scores(kernel_ss, kernel_bs, self.values["targets"], REG)
            labels, targets, log_scale = group.labels, group.targets, self.values["log_scale"]
            loss = prediction_loss("cross_entropy", scores, labels, targets, log_scale)
        steps.add("kernel and solve", watch.seconds)
        descend(steps, self.device, loss, self.optimizers, self._update_average)

    def run(self, n_steps):
        """Some steps as a fit makes them, without clocks inside."""
        for _ in range(n_steps):
            self.objective.loss(self.values).backward()
            self.optimizers.step()
            self.optimizers.zero_grad()
            self.objective.after_step(self.values)


# Arithmetic


def convolution_flops(spec, shape, *, first=True, crelu=True):
    """Operations of the convolutions for one image in one network.

    A multiplication with its addition counts as two. With CReLU there is one filter for every two
    channels. ``first`` includes the first block.
    """
    height, width, channels = shape
    total = 0
    filters_of_blocks = spec.n_filters if crelu else spec.widths
    for block, (maps, filters) in enumerate(zip(spec.widths, filters_of_blocks, strict=True)):
        if first or block:
            total += 2 * 9 * channels * filters * height * width
        height, width, channels = height // 2, width // 2, maps
    return total


def matmul_peak(dtype, device, size=2048, repeats=10):
    """Best measured speed of a large square matrix product, in operations per second."""
    a = torch.randn((size, size), device=device).to(dtype)
    best = math.inf
    for _ in range(repeats):
        with stopwatch(device) as watch:
            a @ a
        best = min(best, watch.seconds)
    return 2 * size**3 / best


def convolution_speed(shape, n_items, way, device="cpu"):
    """Operations per second of all convolutions but the first block's, in a forward pass.

    By torch's profiler; NaN where it sees none.
    """
    from torch.profiler import ProfilerActivity, profile

    spec, dtype = way.spec, resolve_dtype("auto", torch.device(device), reduced=True)
    networks = [
        draw_network(spec, shape, seed, device=device, dtype=dtype)
        for seed in range(way.n_networks)
    ]
    x = torch.randn((n_items, *shape), device=device)
    work = n_items * way.n_networks * convolution_flops(spec, shape, first=False)
    speeds = []
    for _ in range(_CONVOLUTION_RUNS):
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as record:
            network_features(spec, networks, x)
        spent = sum(
            event.self_cpu_time_total
            for event in record.key_averages()
            if "mkldnn_convolution" in event.key
        )
        if not spent:
            return math.nan
        speeds.append(work / (spent * 1e-6))
    return float(torch.tensor(speeds[1:]).median())
