"""Random features of finite networks, whose scalar product converges to the NNGP kernel.

Everything here is torch. Inputs are preprocessed: rows ``(n, d)`` for an ``MLP``, channels-last images ``(n, H, W, channels)`` for a
``ConvNet``.
"""

import math

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from ._specs import MLP

# Images per pass without gradient: small enough for the activations of one block to stay in the cache.
_CHUNK = 64
# Above this fan-in of a 3x3 patch (3 channels have 27) a convolution is as fast as the patch product.
_PATCH_FAN_IN = 64


def draw_network(spec, shape, seed, *, device="cpu", dtype=torch.float32):
    """Draw the weights of one network.

    Parameters
    ----------
    spec : ConvNet or MLP
    shape : tuple of int
        Shape of one input: ``(d,)`` or ``(H, W, channels)``.
    seed : int
        Seed of the generator on ``device``; the same seed gives the same weights on the same device.
    device : str or torch.device
    dtype : torch.dtype
        Type of the returned weights. They are drawn in float32, so that all types see the same network.

    Returns
    -------
    list of (weight, bias)
        Hidden layers only: the dense read-out is taken in closed form.
    """
    generator = torch.Generator(device=device).manual_seed(int(seed))
    kernel = () if isinstance(spec, MLP) else (3, 3)
    fan_in = shape[-1]
    layers = []
    for _ in range(spec.depth):
        weight = torch.randn((spec.width, fan_in, *kernel), generator=generator, device=device)
        weight *= spec.sigma_w / math.sqrt(fan_in * math.prod(kernel))
        bias = spec.sigma_b * torch.randn(spec.width, generator=generator, device=device)
        if kernel:
            weight = weight.contiguous(memory_format=torch.channels_last)
        layers.append((weight.to(dtype), bias.to(dtype)))
        fan_in = spec.width
    return layers


def cpu_networks(spec, shape, seeds, device, dtype):
    """Networks drawn on the CPU and moved: the same ones wherever they are used, and never in reduced precision."""
    dtype = torch.promote_types(dtype, torch.float32)
    return [
        [(weight.to(device), bias.to(device)) for weight, bias in draw_network(spec, shape, seed, dtype=dtype)] for seed in seeds
    ]


def _patches(x):
    """3x3 patches of ``(n, H, W, C)`` for each of the four places in a 2x2 pooling window: ``(4, n, H//2, W//2, 9 C)``."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    windows = F.pad(x, (0, 0, 1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
    places = [windows[:, a:height:2, b:width:2].flatten(3) for a in (0, 1) for b in (0, 1)]
    return torch.stack(places)


def _patch_block(patches, weight, bias):
    """First convolution, ReLU and pooling as one sum of four patch products: no full-size map is ever stored."""
    flat = patches.flatten(1, 3)
    matrix = weight.flatten(1).T
    pooled = torch.addmm(bias, flat[0], matrix).relu_()
    for place in flat[1:]:
        pooled = pooled + torch.addmm(bias, place, matrix).relu_()
    return (0.25 * pooled).view(*patches.shape[1:4], -1).permute(0, 3, 1, 2)


def _conv_block(spec, x, weight, bias):
    x = F.conv2d(x, weight, bias, padding=1).relu()
    return F.avg_pool2d(x, 2) if spec.pooling == "avg" else x


def _convnet_inputs(spec, x):
    """What the first block reads: patches where they pay, else the image, channels first in channels-last memory."""
    if spec.pooling == "avg" and 9 * x.shape[-1] <= _PATCH_FAN_IN:
        return _patches(x)
    return x.permute(0, 3, 1, 2)


def _convnet_forward(spec, network, inputs):
    first, *others = network
    x = _patch_block(inputs, *first) if inputs.dim() == 5 else _conv_block(spec, inputs, *first)
    for weight, bias in others:
        x = _conv_block(spec, x, weight, bias)
    x = x.permute(0, 2, 3, 1)
    return x.mean((1, 2)) if spec.readout == "mean" else x.flatten(1)


def _mlp_forward(spec, network, x):
    for weight, bias in network:
        x = torch.addmm(bias, x, weight.T).relu()
    return x


def network_features(spec, networks, x, *, recompute=False):
    """Last hidden activations of each network, with gradient to ``x``.

    Parameters
    ----------
    spec : ConvNet or MLP
    networks : list
        As drawn by :func:`draw_network`; their dtype is the dtype of the arithmetic.
    x : tensor of shape (n, d) or (n, H, W, channels)
    recompute : bool, default=False
        Do not keep the activations for the backward pass but compute them a second time: half as fast again, memory of one
        network.

    Returns
    -------
    list of tensors of shape (n, n_features)
        Not normalised; in the dtype of the networks.
    """
    dtype = networks[0][0][0].dtype
    is_mlp = isinstance(spec, MLP)
    forward = _mlp_forward if is_mlp else _convnet_forward
    inputs = x.to(dtype) if is_mlp else _convnet_inputs(spec, x.to(dtype))
    if recompute and torch.is_grad_enabled():
        return [checkpoint(forward, spec, network, inputs, use_reentrant=False, preserve_rng_state=False) for network in networks]
    return [forward(spec, network, inputs) for network in networks]


@torch.no_grad()
def cached_features(spec, networks, x, *, out=None):
    """Activations of many rows without gradient, in cache-sized chunks.

    Returns
    -------
    tensor of shape (n, n_networks, n_features)
        ``out`` when given; float64 for float64 networks, else float32.
    """
    if out is None:
        shape = (x.shape[0], len(networks), spec.n_features(tuple(x.shape[1:])))
        out = torch.empty(shape, dtype=wide_dtype(networks), device=x.device)
    chunk = 16 * _CHUNK if isinstance(spec, MLP) else _CHUNK
    for start in range(0, x.shape[0], chunk):
        rows = slice(start, start + chunk)
        for slot, features in enumerate(network_features(spec, networks, x[rows])):
            out[rows, slot] = features
    return out


def wide_dtype(networks):
    """Type in which features are kept and multiplied: never below float32."""
    return torch.promote_types(networks[0][0][0].dtype, torch.float32)


@torch.no_grad()
def linear_in_features(spec, networks, read, n, weights, *, block=64):
    """``[phi(x), 1] @ weights`` row by row, in zero-padded blocks of fixed size.

    All blocks have the same shape, so that the result of a row does not depend on the rows beside it; memory does not depend on n.

    Parameters
    ----------
    spec : ConvNet or MLP
    networks : list
    read : callable
        ``read(start, stop)`` gives preprocessed inputs.
    n : int
    weights : float64 tensor of shape (n_networks * n_features + 1, k)
        Last row: the constant. The factors of :func:`kernel_product` are the caller's, see :func:`feature_scales`.

    Returns
    -------
    float64 tensor of shape (n, k), on the CPU
    """
    out = torch.empty((n, weights.shape[1]), dtype=torch.float64)
    for start in range(0, n, block):
        x = read(start, min(start + block, n))
        padding = x.new_zeros((block - x.shape[0], *x.shape[1:]))
        features = torch.cat(network_features(spec, networks, torch.cat([x, padding])), dim=1).double()
        out[start : start + block] = torch.addmm(weights[-1], features, weights[:-1]).cpu()[: n - start]
    return out


def feature_scales(spec, n_features):
    """Factors of the activations and of the constant such that their scalar product is :func:`kernel_product`."""
    return spec.sigma_w / math.sqrt(n_features), spec.sigma_b


def kernel_product(spec, first, second):
    """``sigma_w^2 <phi, phi'> + sigma_b^2``: the NNGP estimate for activations of shape ``(n, n_networks, n_features)``."""
    first, second = first.flatten(1), second.flatten(1)
    scale, constant = feature_scales(spec, first.shape[1])
    return scale**2 * (first @ second.T) + constant**2
