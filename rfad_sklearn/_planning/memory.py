"""Numbers of networks, rows and channels that fit in the memory set aside for them."""

from dataclasses import replace

from .pool import POOL_BYTES

# Networks that evaluate held-out rows: fewest everywhere, most on a CPU, most on a GPU.
N_EVALUATION_NETWORKS = 8
_MOST_EVALUATION_NETWORKS = 16
_MOST_CUDA_EVALUATION_NETWORKS = 32
# Bytes of the cached features of the held-out rows, on a CPU and on a GPU.
_HELD_OUT_BYTES = 2**28
_CUDA_HELD_OUT_BYTES = 2**31
# Bytes of one cached feature.
_ENTRY_BYTES = 4
# Held-out rows that are always affordable.
_FEW_HELD_OUT = 256


def held_out_limit(spec, shape, most):
    """Held-out rows whose features in the evaluation networks are worth their memory.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    shape : tuple of int
        Of one input.
    most : int
        More are never held out.
    """
    bytes_of_one = _ENTRY_BYTES * N_EVALUATION_NETWORKS * spec.n_features(tuple(shape))
    return min(max(_HELD_OUT_BYTES // bytes_of_one, _FEW_HELD_OUT), most)


def n_evaluation_networks(bytes_of_one, device):
    """Evaluation networks, where the held-out rows' features in one take so many bytes."""
    on_cuda = device.type == "cuda"
    budget = _CUDA_HELD_OUT_BYTES if on_cuda else _HELD_OUT_BYTES
    most = _MOST_CUDA_EVALUATION_NETWORKS if on_cuda else _MOST_EVALUATION_NETWORKS
    return min(max(budget // max(bytes_of_one, 1), N_EVALUATION_NETWORKS), most)


def most_channels(spec, shape, n_networks, n_rows, dtype):
    """Channels of the last block such that one group of networks fits in a pool's memory."""
    activations = n_networks * n_rows * replace(spec, width=1).n_features(shape)
    return POOL_BYTES // (activations * dtype.itemsize)


def most_groups(spec, shape, n_networks, n_rows, dtype):
    """Groups of networks, their weights and the rows' activations, that a pool's memory holds."""
    one_network = n_rows * spec.n_features(shape) + spec.n_weights(shape)
    return max(POOL_BYTES // (n_networks * one_network * dtype.itemsize), 1)
