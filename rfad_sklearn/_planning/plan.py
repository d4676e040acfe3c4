"""What "auto" stands for in :class:`RFADDistiller`: how wide the networks are, and for how long they serve."""

import functools
import math
import time
from dataclasses import dataclass, replace

import torch

from .._networks.random_features import (
    cached_features,
    draw_networks,
    images_per_cuda_pass,
    images_per_pass,
    network_features,
)
from .._optimization.random_feature_objective import PoolConfig
from .._utils.network_spec import ConvNetSpec
from ..architectures import is_open

# Networks that judge the coreset at every evaluation; RFAD's are up to so many as memory allows.
N_EVAL_NETWORKS, _MOST_EVAL_NETWORKS, _MOST_CUDA_EVAL_NETWORKS = 8, 16, 32
# Bytes of cached features of the held-out rows, the same on a GPU.
_HELD_OUT_BYTES, _CUDA_HELD_OUT_BYTES = 2**28, 2**31
# Cached activations and weights of a pool: 512 MB.
_POOL_BYTES = 2**29
# With more items the passes of a ConvNet's coreset cost more than those of new rows: a pool would
# save little, and be fitted.
_MANY_ITEMS = 200
# From so many items on a coreset of images is better off without a pool too, if there is time for
# so many steps of fresh networks. With few items a step on a pool costs so little that nothing
# comes up to the number of steps.
_SOME_ITEMS, _ENOUGH_STEPS = 50, 400
# Runs that are long enough for so many steps of networks twice as wide take those: in the end items
# are moved to bear what noise there is.
_AMPLE_STEPS = 1000
# Channels of the blocks of a fresh network, by their number; deeper ones begin with more of the
# first. Much of the kernel's noise comes from the last block, whose maps are small and cost little.
_CHANNELS = {1: (256,), 2: (32, 128), 3: (32, 64, 256)}
# The last block has at least so many, however large the images.
_FEWEST_LAST = 64
# Bounds of the number of steps between refreshes of the pool with refresh_every="auto".
_REFRESH = (4, 32)
# Most images that are timed, and how often; the fastest time counts.
_TIMED_IMAGES, _TIMINGS = 64, 3


@dataclass(frozen=True)
class PoolDefaults:
    """Channels of a ConvNet's blocks (of all or of each), groups of the pool, steps between refreshes, and whether a run is a long one."""

    width: int | tuple
    pool_size: int
    refresh_every: int
    long: bool = False

    @classmethod
    def choose(cls, spec, n_items, batch_size, *, most_channels=math.inf, affordable=None):
        """Those of a network, a number of items and a number of rows per step.

        ``affordable(width)`` is the number of steps of fresh networks that a run may take in its
        time, None where time is no bound; for ``most_channels`` see :meth:`fresh`.
        """
        if isinstance(spec, ConvNetSpec):
            fresh, timed = cls.fresh(spec, most_channels), affordable is not None
            if n_items > _MANY_ITEMS or (
                timed and n_items >= _SOME_ITEMS and affordable(fresh.width) >= _ENOUGH_STEPS
            ):
                wider = tuple(2 * channels for channels in fresh.width)
                if not timed or affordable(wider) < _AMPLE_STEPS:
                    return fresh
                return replace(
                    fresh, width=wider if wider[-1] <= most_channels else fresh.width, long=True
                )
        # In the same time, more steps are worth more than wider networks; a step's share of a
        # refresh costs about half of the coreset's own passes.
        every = int(min(max(batch_size // n_items, _REFRESH[0]), _REFRESH[1]))
        return cls(width=64, pool_size=32, refresh_every=every)

    @classmethod
    def fresh(cls, spec, most_channels=math.inf):
        """Fresh networks at every step, of a ConvNet's depth, with a last block of about so many channels at most."""
        channels = _CHANNELS[min(spec.depth, max(_CHANNELS))]
        *first, last = channels[:1] * (spec.depth - len(channels)) + channels
        while last > max(most_channels, _FEWEST_LAST):
            last //= 2
        return cls(width=(*first, last), pool_size=1, refresh_every=1)


def _fastest(function, device):
    """Seconds that a function takes at best, once it is warm."""
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = math.inf
    for _ in range(_TIMINGS):
        begin = time.monotonic()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = min(seconds, time.monotonic() - begin)
    return seconds


def seconds_of_fresh_step(context, width, batch_size, n_networks):
    """About the time of a step of fresh networks on images: on a CPU what a few of them take in one network, times their number.

    On a GPU, where a few take as long as many, it is what all rows, and as many items as one pass
    may hold, take in all networks.
    """
    spec = replace(context.spec, width=width)
    n_rows, n_items = min(batch_size, len(context.train)), int(context.per_class.sum())
    if context.device.type == "cuda":
        most = images_per_cuda_pass(spec, (1, *context.shape), n_networks)
        k, timed_rows, timed_items = n_networks, n_rows, min(n_items, n_rows, most)
    else:
        k, timed_rows = 1, min(images_per_pass(spec, (1, *context.shape)), _TIMED_IMAGES)
        timed_items = timed_rows
    networks = draw_networks(
        spec, context.shape, range(k), device=context.device, dtype=context.dtype
    )
    rows = torch.zeros((timed_rows, *context.shape), device=context.device, dtype=context.dtype)
    items = torch.zeros_like(rows[:timed_items]).requires_grad_(True)
    row = _fastest(lambda: cached_features(spec, networks, rows), context.device)
    item = _fastest(
        lambda: torch.autograd.grad(network_features(spec, networks, items).float().sum(), items),
        context.device,
    )
    return n_networks / k * (n_rows / timed_rows * row + n_items / timed_items * item)


def n_evaluation_networks(bytes_of_one, device):
    """Networks that judge where the held-out rows' features in one of them take so many bytes; on a GPU they cost little."""
    on_cuda = device.type == "cuda"
    budget, most = (
        (_CUDA_HELD_OUT_BYTES, _MOST_CUDA_EVAL_NETWORKS)
        if on_cuda
        else (_HELD_OUT_BYTES, _MOST_EVAL_NETWORKS)
    )
    return min(max(budget // max(bytes_of_one, 1), N_EVAL_NETWORKS), most)


class ChoosesPool:
    """The part of :class:`RFADDistiller` that fills in what its "auto" parameters stand for in one context."""

    def _chooses_width(self, spec):
        return is_open(self.architecture, "width") and isinstance(spec, ConvNetSpec)

    def _evaluation_spec(self, context):
        """Networks that judge: what is best without a pool is the least noise for its cost."""
        if not self._chooses_width(context.spec):
            return context.spec
        return replace(
            context.spec, width=PoolDefaults.fresh(context.spec, self._most_channels(context)).width
        )

    def _most_channels(self, context):
        """Of large images even a single group of the widest networks would be more than a pool may be."""
        activations = (
            self.n_networks
            * self._n_rows(context)
            * replace(context.spec, width=1).n_features(context.shape)
        )
        return _POOL_BYTES // (activations * context.dtype.itemsize)

    def _pool_defaults(self, context):
        affordable = None
        if self.max_time is not None:
            own = None if self._chooses_width(context.spec) else context.spec.width
            # A width of the user's own is measured once, whatever is asked.
            seconds = functools.cache(
                lambda width: seconds_of_fresh_step(
                    context, width, self.batch_size, self.n_networks
                )
            )
            most_steps = math.inf if self.max_iter is None else self.max_iter
            affordable = lambda width: min(self._loop_time() / seconds(own or width), most_steps)  # noqa: E731
        n_items, most = context.per_class.sum(), self._most_channels(context)
        return PoolDefaults.choose(
            context.spec, n_items, self.batch_size, most_channels=most, affordable=affordable
        )

    def _n_rows(self, context):
        return min(self.batch_size, len(context.train))

    def _group_bytes(self, context, spec):
        """Bytes of the activations and weights of a group."""
        one_network = self._n_rows(context) * spec.n_features(context.shape) + spec.n_weights(
            context.shape
        )
        return self.n_networks * one_network * context.dtype.itemsize

    def _pool_config(self, context, spec, defaults):
        pool_size = defaults.pool_size if isinstance(self.pool_size, str) else int(self.pool_size)
        every = int(min(max(self.batch_size // context.per_class.sum(), _REFRESH[0]), _REFRESH[1]))
        n_features = self._evaluation_spec(context).n_features(context.shape)
        return PoolConfig(
            batch_size=self.batch_size,
            reg=self.reg,
            loss=self.loss,
            n_networks=self.n_networks,
            pool_size=max(min(pool_size, _POOL_BYTES // self._group_bytes(context, spec)), 1),
            refresh_interval=1 if pool_size == 1 else every,
            n_evaluation_networks=n_evaluation_networks(
                len(context.validation) * n_features * context.dtype.itemsize, context.device
            ),
        )
