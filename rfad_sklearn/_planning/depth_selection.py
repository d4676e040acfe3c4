"""How many blocks a ConvNet has whose depth is open: rows decide about the third one."""

import math
from dataclasses import replace

import numpy as np
import torch

from .._networks.random_features import cached_features, draw_network, kernel_product
from .._ridge.linalg import solve_and_leave_one_out
from .._utils.network_spec import ConvNetSpec
from .pilot_sample import N_PILOT_NETWORKS, PILOT_REG, draw_pilot_sample
from .pool import fresh_width

# Only the step from so many blocks to one less is in question: a single block sees only patches.
_BLOCKS = 3
# Share of the rows that the last block must classify rightly in addition.
_LEAST_GAIN = 0.03
# Standard deviations that the gain must be above chance.
_DEVIATIONS = 2.0
# Stream of seeds beside those of the items and of the teacher.
_STREAM = 2


def in_question(spec):
    """Whether a ConvNet of open depth has a block that may be spared."""
    return isinstance(spec, ConvNetSpec) and spec.depth == _BLOCKS and spec.pooling == "avg"


def is_worth_it(wrong, wrong_without):
    """Whether a block is worth its cost, by which rows are misclassified with it and without it.

    Parameters
    ----------
    wrong, wrong_without : bool tensors of shape (n,)
    """
    saved, differ = int(wrong_without.sum()) - int(wrong.sum()), int((wrong != wrong_without).sum())
    return saved > _LEAST_GAIN * len(wrong) and saved > _DEVIATIONS * math.sqrt(differ)


def select_depth(context):
    """Blocks that kernel ridge regression on real rows needs: the context's, or one less.

    Rows of a pilot sample classify each other, each by all the others, with the kernel of a few
    random networks of either depth. A network with fewer blocks is less noisy and takes less time,
    so that items distilled with it are better where real rows are hardly worse.

    Parameters
    ----------
    context : FitContext
        Of images, with a spec that is :func:`in_question`.

    Returns
    -------
    depth : int
    why : str
    """
    spec = context.spec
    # As wide as fresh networks of either depth are.
    both = [replace(spec, depth=depth) for depth in (spec.depth, spec.depth - 1)]
    specs = [replace(each, width=fresh_width(each)) for each in both]
    rng = np.random.default_rng([context.seed, _STREAM])
    sample = draw_pilot_sample(context, max(each.n_features(context.shape) for each in specs), rng)
    if sample is None:
        return spec.depth, "rows are too few or too large to compare depths"
    x, y_encoded, targets = sample
    kernels = [
        torch.zeros((len(x), len(x)), dtype=torch.float32, device=context.device) for _ in specs
    ]
    for seed in rng.integers(2**31, size=N_PILOT_NETWORKS).tolist():
        for each, kernel in zip(specs, kernels, strict=True):
            network = draw_network(
                each, context.shape, seed, device=context.device, dtype=context.dtype
            )
            features = cached_features(each, [network], x).float()
            kernel += kernel_product(each, features, features)
    # The mean of the kernels is that of all networks together; the ridge is relative, so that their
    # sum does as well.
    wrong = [
        solve_and_leave_one_out(kernel, targets, PILOT_REG)[1].argmax(1) != y_encoded
        for kernel in kernels
    ]
    with_it, without = (f"{100 * (~each).double().mean().item():.1f} %" for each in wrong)
    found = f"of {len(x):,} training rows {with_it} are right with {spec.depth} blocks, {without} "
    found += f"with {spec.depth - 1}"
    if is_worth_it(*wrong):
        return spec.depth, f"{found}: the last one is worth its noise and time"
    return spec.depth - 1, f"{found}: the last one is not worth its noise and time"
