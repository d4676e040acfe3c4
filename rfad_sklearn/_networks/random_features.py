"""Random features of finite networks, whose scalar product converges to the NNGP kernel.

Everything here is torch. Inputs are preprocessed: rows ``(n, d)`` for an ``MLP``, channels-last
images ``(n, H, W, channels)`` for a ``ConvNet``.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from .._utils.blocks import padded_blocks
from .._utils.network_spec import MLPSpec
from .crelu import CReLUMaps, PooledCReLU

# Entries of the largest maps of the images of one pass on a CPU: they stay in the cache, and in
# memory that is used again.
_ENTRIES = 2**22
# The same on a GPU, for all networks together: half a gigabyte in bfloat16, one in float32.
_CUDA_ENTRIES = 2**28
# Rows of one pass of an MLP on a CPU.
_FLAT_ROWS = 1024
# Filters that are made orthogonal to each other: the time grows with their square, while the noise
# hardly falls any further.
_BLOCK = 256
# Above this fan-in of a 4x4 window (3 channels have 48) a convolution is as fast as the window
# product.
_WINDOW_FAN_IN = 64


def _by_qr(vectors):
    """Orthonormal rows of full-rank matrices ``(..., n, d)``, n at most d, by Gram-Schmidt."""
    orthonormal, factor = torch.linalg.qr(vectors.mT)
    # The factorisation's own signs are not random.
    return orthonormal.mT * factor.diagonal(dim1=-2, dim2=-1).sign()[..., None]


def _by_cholesky(vectors):
    """The result of :func:`_by_qr` for many matrices at once: a GPU takes its one after another.

    Where rows are too nearly dependent, about one draw in a million, they are normalised but not
    orthogonal.
    """
    wide = vectors.double()
    factor, info = torch.linalg.cholesky_ex(wide @ wide.mT)
    orthonormal = torch.linalg.solve_triangular(factor, wide, upper=False)
    return F.normalize(torch.where((info == 0)[..., None, None], orthonormal, wide), dim=-1).to(
        vectors.dtype
    )


def _orthogonal(n, dimension, generators):
    """Random vectors ``(n, dimension)`` of each generator, orthogonal in blocks.

    Each has length ``sqrt(dimension)`` and is uniform on its sphere.
    """
    size = min(n, dimension, _BLOCK)
    shape = (-(-n // size), size, dimension)
    drawn = torch.stack(
        [
            torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
            for generator in generators
        ]
    )
    vectors = (_by_cholesky if drawn.is_cuda else _by_qr)(drawn)
    return math.sqrt(dimension) * vectors.flatten(1, 2)[:, :n]


def draw_networks(spec, shape, seeds, *, device="cpu", dtype=torch.float32):
    """Draw the weights of some networks with orthogonal filters and CReLU.

    The filters of a layer, each with its bias, are uniform on a sphere and orthogonal to each other
    as far as their number allows (orthogonal random features, Yu et al. 2016). The nonlinearity is
    CReLU (concatenated ReLU, Shang et al. 2016): a filter gives two channels, the ReLU of its
    output and that of its negative. One layer's kernel has the mean that independent normal weights
    give it; several layers have the same limit, at half the multiplications and with slightly less
    noise.

    The second channel is computed as ``min(z, 0)`` in place of ``relu(-z)``: the sign of a channel
    does not change the distribution of the kernel.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    shape : tuple of int
        Shape of one input: ``(d,)`` or ``(H, W, channels)``.
    seeds : sequence of int
        Seeds of their generators on ``device``, one each. The same seed gives the same weights
        there, the same seeds the same bits.
    device : str or torch.device
    dtype : torch.dtype
        Type of the returned weights. They are drawn in float32, so that all types see the same
        network.

    Returns
    -------
    list of list of (weight, bias)
        Hidden layers only: the dense read-out is taken in closed form. A layer has a filter for
        every two channels, the last of an odd number its own.
    """
    generators = [torch.Generator(device=device).manual_seed(int(seed)) for seed in seeds]
    kernel = () if isinstance(spec, MLPSpec) else (3, 3)
    channels = shape[-1]
    layers = []
    for n, width in zip(spec.n_filters, spec.widths, strict=True):
        fan_in = channels * math.prod(kernel)
        vectors = _orthogonal(n, fan_in + 1, generators).flatten(0, 1)
        weights = spec.sigma_w / math.sqrt(fan_in) * vectors[:, :-1].reshape(-1, channels, *kernel)
        if kernel:
            weights = weights.contiguous(memory_format=torch.channels_last)
        biases = spec.sigma_b * vectors[:, -1]
        layers.append(zip(weights.to(dtype).split(n), biases.to(dtype).split(n), strict=True))
        channels = width
    return [list(network) for network in zip(*layers, strict=True)]


def draw_network(spec, shape, seed, **kwargs):
    """One network, as :func:`draw_networks` draws it."""
    return draw_networks(spec, shape, [seed], **kwargs)[0]


def cpu_networks(spec, shape, seeds, device, dtype):
    """Networks drawn on the CPU and moved: the same ones wherever they are used."""
    return [
        [(weight.to(device), bias.to(device)) for weight, bias in network]
        for network in draw_networks(spec, shape, seeds, dtype=dtype)
    ]


def _takes_windows(spec, channels):
    return spec.pooling == "avg" and 16 * channels <= _WINDOW_FAN_IN


def _windows(x):
    """4x4 windows of ``(n, H, W, C)`` around each pooling window: ``(n, H // 2, W // 2, 16 C)``."""
    windows = F.pad(x, (0, 0, 1, 1, 1, 1)).unfold(1, 4, 2).unfold(2, 4, 2)
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3)


def _window_weights(weight, bias, n_networks):
    """The 3x3 convolutions at the four places of a pooling window as one product.

    Returns a matrix ``(16 C, n_networks * 4 * width)`` and its bias.
    """
    kernel = weight.unflatten(0, (n_networks, -1)).permute(3, 4, 2, 0, 1)
    channels, width = kernel.shape[2], kernel.shape[4]
    matrix = weight.new_zeros((4, 4, channels, n_networks, 2, 2, width))
    for a in (0, 1):
        for b in (0, 1):
            matrix[a : a + 3, b : b + 3, :, :, a, b] = kernel
    return matrix.view(16 * channels, -1), bias.view(n_networks, 1, width).expand(
        -1, 4, -1
    ).flatten()


def read_out(spec, x, n_networks):
    """Features ``(n, n_networks, n_features)`` of the last maps."""
    x = x.permute(0, 2, 3, 1).unflatten(3, (n_networks, -1))
    return x.mean((1, 2)) if spec.readout == "mean" else x.permute(0, 3, 1, 2, 4).flatten(2)


def _convnet_inputs(spec, x):
    """Inputs of the first block: windows where they are faster, else channels-first images."""
    return _windows(x) if _takes_windows(spec, x.shape[-1]) else x.permute(0, 3, 1, 2)


def _convnet_forward(spec, layers, n_networks, inputs):
    for k, ((weight, bias), width) in enumerate(zip(layers, spec.widths, strict=True)):
        if k == 0 and _takes_windows(spec, weight.shape[1]):
            matrix, bias = _window_weights(weight, bias, n_networks)
            x = torch.addmm(bias, inputs.flatten(0, 2), matrix).view(
                -1, 4, weight.shape[0] // n_networks
            )
            x = PooledCReLU.apply(x).view(*inputs.shape[:3], -1).permute(0, 3, 1, 2)
        else:
            x = F.conv2d(inputs, weight, bias, padding=1, groups=n_networks if k else 1)
            x = CReLUMaps.apply(x, n_networks, spec.pooling == "avg")
        if width % 2:
            # With an odd number of channels, the last filter gives only one.
            x = x.unflatten(1, (n_networks, -1))[:, :, :-1].flatten(1, 2)
        inputs = x
    return read_out(spec, x, n_networks)


def _mlp_forward(spec, layers, n_networks, x):
    for k, ((weight, bias), width) in enumerate(zip(layers, spec.widths, strict=True)):
        if k == 0:
            x = torch.addmm(bias, x, weight.T).unflatten(1, (n_networks, -1)).transpose(0, 1)
        else:
            x = torch.baddbmm(
                bias.view(n_networks, 1, -1),
                x,
                weight.unflatten(0, (n_networks, -1)).transpose(1, 2),
            )
        positive = x.relu()
        x = torch.cat((positive, x - positive), dim=2)[:, :, :width]
    return x.transpose(0, 1)


def _concatenated(networks):
    """One network of all their channels: each layer's weights and biases, one after the other."""
    return [
        tuple(torch.cat(tensors) for tensors in zip(*layer, strict=True))
        for layer in zip(*networks, strict=True)
    ]


def _passes(spec, networks, x, forward, batched):
    """Activations ``(n, k, n_features)``, once for all k networks, or with k = 1 for each."""
    dtype = networks[0][0][0].dtype
    inputs = x.to(dtype) if isinstance(spec, MLPSpec) else _convnet_inputs(spec, x.to(dtype))
    if batched or (batched is None and x.is_cuda):
        yield forward(spec, _concatenated(networks), len(networks), inputs)
        return
    for network in networks:
        yield forward(spec, network, 1, inputs)


def images_per_pass(spec, shape):
    """Images of shape ``(n, H, W, channels)`` that go through one network on a CPU at once."""
    return max(_ENTRIES // spec.largest_layer(shape[1:]), 1)


def images_per_cuda_pass(spec, shape, n_networks):
    """Images ``(n, H, W, channels)``, or rows, that go through all networks on a GPU at once."""
    return max(_CUDA_ENTRIES // (n_networks * spec.largest_layer(shape[1:])), 1)


def network_features(spec, networks, x, *, recompute=False, batched=None):
    """Last hidden activations of each network, with gradient to ``x``.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    networks : list
        As drawn by :func:`draw_networks`; their dtype is the dtype of the arithmetic.
    x : tensor of shape (n, d) or (n, H, W, channels)
    recompute : bool, default=False
        Do not keep the activations for the backward pass but compute them a second time: half as
        much time again, and the memory of one network.
    batched : bool, optional
        All networks in one call per layer, in place of one network after the other. By default on
        GPUs without ``recompute``: there the number of calls costs the time; on a CPU the
        activations of one network stay in the cache.

    Returns
    -------
    tensor of shape (n, n_networks, n_features)
        Not normalised; in the dtype of the networks.
    """
    forward = _mlp_forward if isinstance(spec, MLPSpec) else _convnet_forward
    if recompute and torch.is_grad_enabled():
        # One after the other, or the second pass would keep the activations of all networks at
        # once.
        batched = bool(batched)
        forward = functools.partial(
            checkpoint, forward, use_reentrant=False, preserve_rng_state=False
        )
    if x.is_cuda or isinstance(spec, MLPSpec):
        return torch.cat(list(_passes(spec, networks, x, forward, batched)), dim=1)
    # Pieces of nearly the same size.
    pieces = x.tensor_split(-(-x.shape[0] // images_per_pass(spec, x.shape)))
    return torch.cat(
        [
            torch.cat(list(_passes(spec, networks, piece, forward, batched)), dim=1)
            for piece in pieces
        ]
    )


@torch.no_grad()
def cached_features(spec, networks, x, *, dtype=None, batched=None):
    """Activations of many rows without gradient, in cache-sized chunks.

    Returns
    -------
    tensor of shape (n, n_networks, n_features)
        Of type ``dtype``, by default float64 for float64 networks and float32 for all others.
    """
    is_mlp = isinstance(spec, MLPSpec)
    shape = (x.shape[0], len(networks), spec.n_features(tuple(x.shape[1:])))
    out = torch.empty(shape, dtype=dtype or wide_dtype(networks), device=x.device)
    chunk = _FLAT_ROWS if is_mlp else images_per_pass(spec, x.shape)
    if x.is_cuda:
        chunk = images_per_cuda_pass(spec, x.shape, len(networks))
    forward = _mlp_forward if is_mlp else _convnet_forward
    for start in range(0, x.shape[0], chunk):
        rows, slot = slice(start, start + chunk), 0
        for features in _passes(spec, networks, x[rows], forward, batched):
            out[rows, slot : slot + features.shape[1]] = features
            slot += features.shape[1]
    return out


def wide_dtype(networks):
    """Type in which features are kept and multiplied: never below float32."""
    return torch.promote_types(networks[0][0][0].dtype, torch.float32)


@torch.no_grad()
def linear_in_features(spec, networks, read, n, weights, *, block=64):
    """``[phi(x), 1] @ weights`` of many rows, independently of each other.

    They pass in zero-padded blocks of one size, so that the result of a row does not depend on the
    rows beside it; memory does not depend on n.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    networks : list
    read : callable
        ``read(start, stop)`` gives preprocessed inputs.
    n : int
    weights : float64 tensor of shape (n_networks * n_features + 1, k)
        Last row: the constant. The caller applies the factors of :func:`kernel_product`, see
        :func:`feature_scales`.
    block : int, default=64
        Rows per block.

    Returns
    -------
    float64 tensor of shape (n, k), on the CPU
    """
    out = torch.empty((n, weights.shape[1]), dtype=torch.float64)
    for rows, x in padded_blocks(read, n, block):
        features = network_features(spec, networks, x).flatten(1).double()
        scores = torch.addmm(weights[-1], features, weights[:-1]).cpu()
        out[rows] = scores[: rows.stop - rows.start]
    return out


def feature_scales(spec, n_features):
    """Factors of activations and constant that make their scalar product :func:`kernel_product`."""
    return spec.sigma_w / math.sqrt(n_features), spec.sigma_b


def kernel_product(spec, first, second):
    """Estimate ``sigma_w^2 <phi, phi'> + sigma_b^2`` of the NNGP kernel.

    ``first`` and ``second`` are activations of shape ``(n, n_networks, n_features)``; the scalar
    product is the mean over networks and features.
    """
    dtype = torch.promote_types(first.dtype, second.dtype)
    first, second = first.flatten(1).to(dtype), second.flatten(1).to(dtype)
    scale, constant = feature_scales(spec, first.shape[1])
    return scale**2 * (first @ second.T) + constant**2
