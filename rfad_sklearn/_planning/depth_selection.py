"""How many blocks a ConvNet of "auto" has in :class:`RFADDistiller`: the rows say whether the last one is worth its noise and its time."""

import math
from dataclasses import replace

import numpy as np
import torch

from .._networks.random_features import cached_features, draw_network, kernel_product
from .._ridge.linalg import solve_and_leave_one_out
from .._utils.network_spec import ConvNetSpec
from .pilot_sample import N_NETWORKS, RIDGE, draw_pilot_sample
from .plan import PoolDefaults

# Only the step from so many blocks to one less is ever in question: a single block sees no more
# than patches.
_BLOCKS = 3
# The last block must tell the class of more than this share of the rows in addition, and more than
# by chance: so many standard deviations.
_WORTH, _DEVIATIONS = 0.03, 2.0
# Stream of seeds beside those of the items and of the teacher.
_STREAM = 2


def in_question(spec):
    """Whether a network that "auto" stands for has a block that may be spared."""
    return isinstance(spec, ConvNetSpec) and spec.depth == _BLOCKS and spec.pooling == "avg"


def _specs(spec):
    """The network with and without its last block, as wide as fresh ones of such a depth are."""
    both = [replace(spec, depth=depth) for depth in (spec.depth, spec.depth - 1)]
    return [replace(each, width=PoolDefaults.fresh(each).width) for each in both]


def worth_it(wrong, wrong_without):
    """Whether a block is worth it, by which rows are classified wrongly with it and without it (boolean tensors)."""
    saved, differ = int(wrong_without.sum()) - int(wrong.sum()), int((wrong != wrong_without).sum())
    return saved > _WORTH * len(wrong) and saved > _DEVIATIONS * math.sqrt(differ)


def enough_blocks(context):
    """Blocks that kernel ridge regression on real rows asks for: those of the context's ConvNet, or one less.

    Rows classify each other, each by all the others, with the kernel of a few random networks of
    either depth. A network with fewer blocks is less noisy and takes less time, so that items
    distilled with it are better where real rows are hardly worse.

    Parameters
    ----------
    context : FitContext
        Of images, with the ConvNet that "auto" takes by their shape, :func:`in_question`.

    Returns
    -------
    int
    """
    spec = context.spec
    specs = _specs(spec)
    rng = np.random.default_rng([context.seed, _STREAM])
    asked = draw_pilot_sample(context, max(each.n_features(context.shape) for each in specs), rng)
    if asked is None:
        return spec.depth
    x, y_encoded, targets = asked
    kernels = [
        torch.zeros((len(x), len(x)), dtype=torch.float32, device=context.device) for _ in specs
    ]
    for seed in rng.integers(2**31, size=N_NETWORKS).tolist():
        for each, kernel in zip(specs, kernels, strict=True):
            network = draw_network(
                each, context.shape, seed, device=context.device, dtype=context.dtype
            )
            features = cached_features(each, [network], x).float()
            kernel += kernel_product(each, features, features)
    # The mean of the kernels is that of all networks together; the ridge is relative, so that their
    # sum does as well.
    wrong = [
        solve_and_leave_one_out(kernel, targets, RIDGE)[1].argmax(1) != y_encoded
        for kernel in kernels
    ]
    return spec.depth if worth_it(*wrong) else spec.depth - 1
