"""One step of distillation in three ways, its parts timed: shared by the benchmarks of speed."""

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from rfad_sklearn import ConvNet
from rfad_sklearn._networks.random_features import draw_network, network_features
from rfad_sklearn._optimization.optimizers import Optimizers
from rfad_sklearn._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from rfad_sklearn._optimization.ridge_objective import TrainingData, centred_one_hot
from rfad_sklearn._ridge.linalg import solve_targets
from rfad_sklearn._utils.device import resolve_dtype

SHAPES = {"fashion": (28, 28, 1), "cifar": (32, 32, 3)}
PARTS = ("training features", "coreset forward", "kernel and solve", "backward", "update")


def noise(shape, n_rows, device):
    """Random rows of that shape: the time of a step does not depend on the values."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((n_rows, *shape), generator=generator).to(device)
    labels = torch.arange(n_rows, device=device) % 10
    return TrainingData(
        read=lambda rows: images[rows.to(device)],
        labels=labels,
        targets=centred_one_hot(labels, 10),
        train=torch.arange(n_rows),
        validation=torch.empty(0, dtype=torch.long),
        shape=shape,
    )


def start(shape, n_items, device):
    """Items, targets and scale."""
    generator = torch.Generator().manual_seed(1)
    return {
        "X": torch.randn((n_items, *shape), generator=generator).to(device).requires_grad_(),
        "targets": centred_one_hot(torch.arange(n_items, device=device) % 10, 10),
        "log_scale": torch.zeros((), device=device, requires_grad=True),
    }


def convolution_flops(spec, shape, *, first=True, antithetic=True):
    """Operations of the convolutions for one image in one network, two per multiplication and addition; a filter for every two channels."""
    height, width, channels = shape
    total = 0
    for block, (maps, filters) in enumerate(
        zip(spec.widths, spec.n_filters if antithetic else spec.widths, strict=True)
    ):
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


def descend(steps, device, loss, optimizer, average=lambda: None):
    """The end of a step: gradient, then update and average."""
    with stopwatch(device) as watch:
        loss.backward()
    steps.add("backward", watch.seconds)
    with stopwatch(device) as watch:
        optimizer.step()
        optimizer.zero_grad()
        average()
    steps.add("update", watch.seconds)


class Plain:
    """The paper's step as a beginner writes it: float32, one network after the other, torch's convolutions; no trick."""

    def __init__(self, shape, n_items, *, n_networks=8, width=256, n_rows=5120, device="cpu"):
        self.data, self.device = noise(shape, n_rows, device), device
        self.values = start(shape, n_items, device)
        self.n_networks, self.width, self.shape = n_networks, width, shape
        self.optimizer = torch.optim.Adam([self.values["X"], self.values["log_scale"]], lr=1e-3)

    def _network(self):
        channels, layers = self.shape[-1], []
        for _ in range(3):
            weight = torch.randn((self.width, channels, 3, 3), device=self.device) * math.sqrt(
                2 / (9 * channels)
            )
            layers.append((weight, 0.1 * torch.randn(self.width, device=self.device)))
            channels = self.width
        return layers

    @staticmethod
    def _features(layers, x):
        x = x.permute(0, 3, 1, 2).contiguous()
        for weight, bias in layers:
            x = F.avg_pool2d(torch.relu(F.conv2d(x, weight, bias, padding=1)), 2)
        return x.flatten(1)

    def warm_up(self):
        """Choosing and loading kernels is not part of a step."""
        self._features(
            self._network(), self.data.read(torch.arange(128)).requires_grad_()
        ).sum().backward()

    def step(self, steps):
        """One step, its parts noted in ``steps``."""
        networks = [self._network() for _ in range(self.n_networks)]
        with stopwatch(self.device) as watch, torch.no_grad():
            x = self.data.read(self.data.train)
            # All rows at once would need 20 GB.
            rows = torch.cat(
                [
                    torch.cat([self._features(net, part) for net in networks], 1)
                    for part in x.split(128)
                ]
            )
        steps.add("training features", watch.seconds)
        with stopwatch(self.device) as watch:
            items = torch.cat([self._features(net, self.values["X"]) for net in networks], 1)
        steps.add("coreset forward", watch.seconds)
        with stopwatch(self.device) as watch:
            scale = 2 / items.shape[1]
            kernel_ss, kernel_bs = scale * items @ items.T + 0.01, scale * rows @ items.T + 0.01
            scores = kernel_bs.double() @ solve_targets(kernel_ss, self.values["targets"], 5e-3)
            loss = F.cross_entropy(self.values["log_scale"].exp() * scores, self.data.labels)
        steps.add("kernel and solve", watch.seconds)
        descend(steps, self.device, loss, self.optimizer)


class Engine:
    """A step of this library. The training features of a refresh are spread over the steps between two refreshes."""

    def __init__(self, shape, n_items, *, n_networks, width, n_rows, refresh_every, device="cpu"):
        self.device, self.refresh_every = torch.device(device), refresh_every
        self.dtype = resolve_dtype("auto", self.device, reduced=True)
        self.values = start(shape, n_items, device)
        config = PoolConfig(
            batch_size=n_rows,
            reg=5e-3,
            loss="cross_entropy",
            n_networks=n_networks,
            pool_size=1 if refresh_every == 1 else 4,
            refresh_interval=10**9,
            n_eval_networks=1,
        )
        self.objective = RandomFeatureObjective(
            ConvNet(width=width),
            noise(shape, 4 * n_rows, device),
            config,
            generator=torch.Generator().manual_seed(0),
            device=self.device,
            dtype=self.dtype,
        )
        self.optimizers = Optimizers(self.values, {"X": 1e-3, "log_scale": 1e-3}, ("X",))
        self.average = self.values["X"].detach().clone()

    def step(self, steps, *, refresh):
        """One step; with ``refresh`` the pool gets a group, and the time of it is noted, else the last time noted is noted again."""
        if refresh:
            with stopwatch(self.device) as watch:
                self.objective._add_group()
            self.refresh_seconds = watch.seconds / self.refresh_every
        steps.add("training features", self.refresh_seconds)
        self.objective._choose_group()
        with stopwatch(self.device) as watch:
            items = self.objective._features(
                self.values, self.objective.spec, self.objective.group.networks
            )
        steps.add("coreset forward", watch.seconds)
        with stopwatch(self.device) as watch:
            loss = self.objective.loss_of(items, self.values)
        steps.add("kernel and solve", watch.seconds)
        descend(
            steps,
            self.device,
            loss,
            self.optimizers,
            lambda: self.average.lerp_(self.values["X"].detach(), 0.01),
        )


def convolution_speed(shape, n_items, *, n_networks, width, device="cpu"):
    """Operations per second of the convolutions proper (all blocks but the first) of a forward pass, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    spec, dtype = ConvNet(width=width), resolve_dtype("auto", torch.device(device), reduced=True)
    networks = [
        draw_network(spec, shape, seed, device=device, dtype=dtype) for seed in range(n_networks)
    ]
    x = torch.randn((n_items, *shape), device=device)
    speeds = []
    for _ in range(6):
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as record:
            network_features(spec, networks, x)
        spent = sum(
            event.self_cpu_time_total
            for event in record.key_averages()
            if "mkldnn_convolution" in event.key
        )
        if not spent:
            return math.nan
        speeds.append(
            n_items * n_networks * convolution_flops(spec, shape, first=False) / (spent * 1e-6)
        )
    return float(torch.tensor(speeds[1:]).median())
