"""The pool of networks and rows of :class:`RFADDistiller`: how many, how wide, for how long."""

import math
from dataclasses import dataclass

from .._utils.network_spec import ConvNetSpec

# Cached activations and weights of a pool: 512 MB.
POOL_BYTES = 2**29
# Groups of a pool.
_POOL_SIZE = 32
# Channels or units of the networks in a pool.
_POOL_WIDTH = 64
# With more items the passes of a ConvNet's coreset cost more than those of fresh rows: a pool would
# save little, and be overfitted.
_MANY_ITEMS = 200
# From so many items on a coreset of images is better off with fresh networks, given enough steps.
_SOME_ITEMS = 50
# Steps of fresh networks that are enough: with few items nothing makes up for fewer steps.
_ENOUGH_STEPS = 400
# Runs of so many steps of networks twice as wide take those: late in a run noise is what limits it.
_AMPLE_STEPS = 1000
# Channels of the blocks of a fresh network, by their number; deeper ones repeat the first. Much of
# the kernel's noise comes from the last block, whose maps are small and cost little.
_CHANNELS = {1: (256,), 2: (32, 128), 3: (32, 64, 256)}
# Channels of the last block at least, however large the images.
_FEWEST_LAST_CHANNELS = 64
# Fewest and most steps between refreshes of the pool.
_SHORTEST_INTERVAL = 4
_LONGEST_INTERVAL = 32


@dataclass(frozen=True)
class Pool:
    """Widths and groups of a pool; whether a run is a long one; and the reasons."""

    width: int | tuple
    pool_size: int
    long: bool
    why: str
    width_why: str


def fresh_width(spec, most_channels=math.inf):
    """Channels of the blocks of a fresh network, at most about ``most_channels`` in the last."""
    channels = _CHANNELS[min(spec.depth, max(_CHANNELS))]
    *first, last = channels[:1] * (spec.depth - len(channels)) + channels
    while last > max(most_channels, _FEWEST_LAST_CHANNELS):
        last //= 2
    return (*first, last)


def refresh_interval(batch_size, n_items):
    """Steps between refreshes, such that they cost about half of the coreset's own passes."""
    return int(min(max(batch_size // n_items, _SHORTEST_INTERVAL), _LONGEST_INTERVAL))


def default_pool(spec, n_items, *, most_channels=math.inf, affordable=None):
    """Pool of "auto" for a network and a number of items.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    n_items : int
    most_channels : float, default=inf
        Channels of the last block that memory allows.
    affordable : callable, optional
        ``affordable(width)`` is the number of steps of fresh networks that a run may take in its
        time; None where time is no bound.

    Returns
    -------
    Pool
    """
    if not isinstance(spec, ConvNetSpec):
        return _cached_pool(
            "a pool of cached rows: many cheap steps are worth more than fresh ones"
        )
    width, timed = fresh_width(spec, most_channels), affordable is not None
    if n_items > _MANY_ITEMS:
        why = f"with more than {_MANY_ITEMS} items a pool saves little and is overfitted"
    elif n_items < _SOME_ITEMS or not timed:
        return _cached_pool(
            f"a pool of cached rows: with at most {_MANY_ITEMS} items many cheap steps are worth "
            "more than fresh ones"
        )
    elif affordable(width) < _ENOUGH_STEPS:
        return _cached_pool(
            f"max_time allows fewer than {_ENOUGH_STEPS} steps of fresh networks, as measured"
        )
    else:
        why = f"max_time allows {_ENOUGH_STEPS} steps of fresh networks, as measured"
    width_why = "much of the noise comes from the last block, which costs little"
    wider = tuple(2 * channels for channels in width)
    if not timed or affordable(wider) < _AMPLE_STEPS:
        return Pool(width, 1, False, why, width_why)
    why += f"; a long run of {_AMPLE_STEPS} steps or more, as measured"
    if wider[-1] > most_channels:
        return Pool(width, 1, True, why, "as wide as the memory of a pool allows")
    return Pool(wider, 1, True, why, "twice as wide in a long run, which noise limits, as measured")


def _cached_pool(why):
    """The pool of a run whose steps shall be cheap."""
    return Pool(_POOL_WIDTH, _POOL_SIZE, False, why, "narrow networks for many cheap steps")
