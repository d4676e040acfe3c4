"""Random features of finite networks, whose scalar product converges to the NNGP kernel.

Everything here is torch. Inputs are preprocessed: rows ``(n, d)`` for an ``MLP``, channels-last
images ``(n, H, W, channels)`` for a ``ConvNet``.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from .._utils.network_spec import MLPSpec
from .crelu import CReLUMaps, PooledCReLU

# Entries of the largest maps of the images of one pass on a CPU: they stay in the cache, and in
# memory that is used again.
_ENTRIES = 2**22
# On a GPU, of all networks: half a gigabyte in bfloat16, one in float32.
_CUDA_ENTRIES = 2**28
# Rows of one pass of an MLP on a CPU.
_FLAT_ROWS = 1024
# Activations whose products are summed in one product of bfloat16 matrices, whose result is
# rounded.
_PIECE = 512
# Filters that are made orthogonal among themselves; more would take longer than they are worth.
_BLOCK = 256
# Above this fan-in of a 4x4 window (3 channels have 48) a convolution is as fast as the window
# product.
_WINDOW_FAN_IN = 64


def _by_qr(vectors):
    """Orthonormal rows of full-rank matrices ``(..., n, d)``, n at most d, one after the other (Gram-Schmidt)."""
    orthonormal, factor = torch.linalg.qr(vectors.mT)
    # The factorisation's own signs are not random.
    return orthonormal.mT * factor.diagonal(dim1=-2, dim2=-1).sign()[..., None]


def _by_cholesky(vectors):
    """The same as :func:`_by_qr` for many matrices at once, which a GPU would take one after the other there.

    Rows that are too nearly dependent, hardly one draw in a million, are of length one, but not
    orthogonal.
    """
    wide = vectors.double()
    factor, info = torch.linalg.cholesky_ex(wide @ wide.mT)
    orthonormal = torch.linalg.solve_triangular(factor, wide, upper=False)
    return F.normalize(torch.where((info == 0)[..., None, None], orthonormal, wide), dim=-1).to(
        vectors.dtype
    )


def _orthogonal(n, dimension, generators):
    """Random vectors ``(n, dimension)`` of length ``sqrt(dimension)`` of each generator: orthogonal in blocks, each uniform on its sphere."""
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
    """Draw the weights of some networks.

    Weights are orthogonal (Yu et al. 2016) and antithetic: filters, with their biases, are uniform
    on a sphere, those of a layer at right angles as far as they can be, and each stands for two
    channels, itself and its negative. One layer's kernel has the mean that independent normal
    weights give it, several have the same limit, at half the multiplications and with hardly less
    noise.

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
    """One network as of :func:`draw_networks`."""
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
    """4x4 windows of ``(n, H, W, C)``, one for each 2x2 pooling window: ``(n, H // 2, W // 2, 16 C)``."""
    windows = F.pad(x, (0, 0, 1, 1, 1, 1)).unfold(1, 4, 2).unfold(2, 4, 2)
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3)


def _window_weights(weight, bias, n_networks):
    """The 3x3 convolutions at the four places of a pooling window: a matrix ``(16 C, n_networks * 4 * width)`` and its bias."""
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
    """What the first block reads: windows where they pay, else the image, channels first in channels-last memory."""
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
            # The last of an odd number of channels has no negative.
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
        tuple(torch.cat(parts) for parts in zip(*layer, strict=True))
        for layer in zip(*networks, strict=True)
    ]


def _passes(spec, networks, x, forward, batched):
    """Activations ``(n, k, n_features)`` of all k networks in one call a layer, or of each network with k = 1."""
    dtype = networks[0][0][0].dtype
    inputs = x.to(dtype) if isinstance(spec, MLPSpec) else _convnet_inputs(spec, x.to(dtype))
    if batched or (batched is None and x.is_cuda):
        yield forward(spec, _concatenated(networks), len(networks), inputs)
        return
    for network in networks:
        yield forward(spec, network, 1, inputs)


def images_per_pass(spec, shape):
    """Images of shape ``(n, H, W, channels)`` that go through one network of a CPU at once."""
    return max(_ENTRIES // spec.largest_layer(shape[1:]), 1)


def images_per_cuda_pass(spec, shape, n_networks):
    """Images of shape ``(n, H, W, channels)``, or rows, that go through all networks on a GPU at once."""
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
        fast again, memory of one network.
    batched : bool, optional
        All networks in one call a layer, in place of one network after the other. By default on
        GPUs without ``recompute``: there the number of calls is what costs; on a CPU the
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
    # Pieces of the same size, or nearly.
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
    """``[phi(x), 1] @ weights`` row by row, in zero-padded blocks of fixed size.

    All blocks have the same shape, so that the result of a row does not depend on the rows beside
    it; memory does not depend on n.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    networks : list
    read : callable
        ``read(start, stop)`` gives preprocessed inputs.
    n : int
    weights : float64 tensor of shape (n_networks * n_features + 1, k)
        Last row: the constant. The factors of :func:`kernel_product` are the caller's, see
        :func:`feature_scales`.

    Returns
    -------
    float64 tensor of shape (n, k), on the CPU
    """
    out = torch.empty((n, weights.shape[1]), dtype=torch.float64)
    for start in range(0, n, block):
        x = read(start, min(start + block, n))
        padding = x.new_zeros((block - x.shape[0], *x.shape[1:]))
        features = network_features(spec, networks, torch.cat([x, padding])).flatten(1).double()
        out[start : start + block] = torch.addmm(weights[-1], features, weights[:-1]).cpu()[
            : n - start
        ]
    return out


def feature_scales(spec, n_features):
    """Factors of the activations and of the constant such that their scalar product is :func:`kernel_product`."""
    return spec.sigma_w / math.sqrt(n_features), spec.sigma_b


def kernel_product(spec, first, second):
    """``sigma_w^2 <phi, phi'> + sigma_b^2``: the NNGP estimate for activations of shape ``(n, n_networks, n_features)``."""
    dtype = torch.promote_types(first.dtype, second.dtype)
    first, second = first.flatten(1).to(dtype), second.flatten(1).to(dtype)
    scale, constant = feature_scales(spec, first.shape[1])
    return scale**2 * (first @ second.T) + constant**2


def network_kernels(spec, features):
    """Estimates ``(n_networks, n, n)`` by each network alone: their mean is :func:`kernel_product` of the features with themselves."""
    features = features.transpose(0, 1)
    scale, constant = feature_scales(spec, features.shape[2])
    return scale**2 * (features @ features.mT) + constant**2


class _RowsTimesItems(torch.autograd.Function):
    """``rows @ items.T`` of bfloat16 rows ``(n, d)`` and wider items ``(m, d)``, in pieces that are summed in the items' type.

    Gradient to the items only.
    """

    @staticmethod
    def forward(ctx, rows, items):
        ctx.save_for_backward(rows)
        out = items.new_zeros((rows.shape[0], items.shape[0]))
        for first, second in zip(
            rows.split(_PIECE, 1), items.to(rows.dtype).split(_PIECE, 1), strict=True
        ):
            out += first @ second.T
        return out

    @staticmethod
    def backward(ctx, grad):
        (rows,) = ctx.saved_tensors
        return None, (grad.to(rows.dtype).T @ rows).to(grad.dtype)


class RowCache:
    """Activations of rows whose kernel with changing items is taken again and again.

    Kept less their mean: what tells rows apart is a few percent of the kernel, and would drown in
    the rounding of bfloat16 products, which are what a CPU with bfloat16 is fast at.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    networks : list
    x : tensor of shape (n, d) or (n, H, W, channels)
    dtype : torch.dtype, optional
        Of what is kept, by default that of :func:`cached_features`.
    """

    @torch.no_grad()
    def __init__(self, spec, networks, x, *, dtype=None):
        self.spec, self.centred = spec, cached_features(spec, networks, x, dtype=dtype).flatten(1)
        # As a product, which is several times faster in bfloat16 than the mean. Any vector would
        # do, if near enough.
        mean = (
            torch.full((1, len(x)), 1 / len(x), dtype=self.centred.dtype, device=x.device)
            @ self.centred
        )
        self.centred -= mean
        self.mean = mean[0].to(wide_dtype(networks))

    def kernel(self, items):
        """:func:`kernel_product` of the rows and of items ``(m, n_networks, n_features)``, with gradient to the latter."""
        return self._kernel(self.centred, self.mean, items.flatten(1))

    def network_kernels(self, items):
        """Estimates ``(n_networks, n, m)`` by each network alone, whose mean is :meth:`kernel`."""
        width = items.shape[2]
        parts = zip(
            self.centred.split(width, 1), self.mean.split(width), items.unbind(1), strict=True
        )
        return torch.stack([self._kernel(*part) for part in parts])

    def _kernel(self, centred, mean, items):
        if centred.dtype == torch.bfloat16 and centred.device.type == "cpu":
            products = _RowsTimesItems.apply(centred, items)
        else:
            products = centred.to(items.dtype) @ items.T
        scale, constant = feature_scales(self.spec, items.shape[1])
        return scale**2 * (products + items @ mean) + constant**2
