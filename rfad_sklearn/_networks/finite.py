"""Finite networks with all their layers, for training on a coreset and for gradient matching.

The spec is the same as everywhere, but weights are independent and the nonlinearity is ReLU: the
orthogonal filters with CReLU of random features reduce the noise of a kernel and are no
initialisation for training. Instance normalisation, usual in the literature on gradient matching,
is an option of the network, not of the spec: no kernel knows it.
"""

import functools
import math

import torch
import torch.nn.functional as F

from .._utils.network_spec import MLPSpec
from .crelu import Rectified
from .random_features import read_out

# Iterations of the power method: the step size needs the curvature to about ten percent.
_POWER_ITERATIONS = 10


def _draw_hidden(spec, shape, seed):
    """Weight and bias of each hidden layer, independent and normal."""
    generator = torch.Generator().manual_seed(int(seed))
    kernel = () if isinstance(spec, MLPSpec) else (3, 3)
    fan_in = shape[-1]
    for width in spec.widths:
        weight = torch.randn((width, fan_in, *kernel), generator=generator, dtype=torch.float32)
        weight *= spec.sigma_w / math.sqrt(fan_in * math.prod(kernel))
        bias = spec.sigma_b * torch.randn(width, generator=generator, dtype=torch.float32)
        yield (weight.contiguous(memory_format=torch.channels_last) if kernel else weight), bias
        fan_in = width


def _conv_block(spec, x, weight, bias, normalise):
    """[3x3 convolution, ReLU, pooling] of channels-first maps.

    ``normalise``, unless None, acts between convolution and ReLU.
    """
    x = F.conv2d(x, weight, bias, padding=1)
    # Not in place on the output of a normalisation: it may be a view, and autograd would copy its
    # whole base.
    x = Rectified.apply(x) if normalise is None else normalise(x).relu()
    return F.avg_pool2d(x, 2) if spec.pooling == "avg" else x


def draw_finite_network(spec, shape, n_outputs, seed, *, instance_norm=False, device="cpu"):
    """Draw all parameters of one network.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    shape : tuple of int
        Shape of one input.
    n_outputs : int
    seed : int
        They are drawn on the CPU, so that the same seed gives the same network on any device.
    instance_norm : bool, default=False
        With gains 1 and shifts 0 for each channel of each convolution.
    device : str or torch.device

    Returns
    -------
    list of float32 tensors
        Weight and bias (gain, shift) of each hidden layer, weight and bias of the dense layer at
        the end.
    """
    parameters = []
    for weight, bias in _draw_hidden(spec, shape, seed):
        parameters += [weight, bias]
        if instance_norm:
            parameters += [torch.ones_like(bias), torch.zeros_like(bias)]
    # Another stream than that of the hidden layers, which do not know the number of outputs.
    generator = torch.Generator().manual_seed(int(seed) ^ 0x5DEECE66D)
    fan_in = spec.n_features(tuple(shape))
    parameters.append(
        spec.sigma_w
        / math.sqrt(fan_in)
        * torch.randn((n_outputs, fan_in), generator=generator, dtype=torch.float32)
    )
    parameters.append(
        spec.sigma_b * torch.randn(n_outputs, generator=generator, dtype=torch.float32)
    )
    return [parameter.to(device) for parameter in parameters]


def network_outputs(spec, parameters, x, *, instance_norm=False, dtype=None):
    """Outputs ``(n, n_outputs)`` for inputs ``(n, d)`` or ``(n, H, W, channels)``.

    They are differentiable in parameters and inputs. ``dtype`` is that of the hidden layers'
    arithmetic, by default that of the parameters, in which the dense layer at the end is computed.
    """
    per_layer = 4 if instance_norm else 2
    *hidden, weight, bias = parameters
    dtype = dtype or weight.dtype
    hidden, x = [parameter.to(dtype) for parameter in hidden], x.to(dtype)
    layers = [hidden[k : k + per_layer] for k in range(0, len(hidden), per_layer)]
    if isinstance(spec, MLPSpec):
        for layer_weight, layer_bias in layers:
            x = F.linear(x, layer_weight, layer_bias).relu()
    else:
        x = x.permute(0, 3, 1, 2)
        for layer_weight, layer_bias, *norm in layers:
            normalise = None
            if norm:
                gain, shift = norm
                normalise = functools.partial(F.instance_norm, weight=gain, bias=shift)
            x = _conv_block(spec, x, layer_weight, layer_bias, normalise)
        x = read_out(spec, x, 1)[:, 0]
    return F.linear(x.to(weight.dtype), weight, bias)


def largest_curvature(outputs, parameters, generator):
    """Largest eigenvalue of the empirical NTK ``J J^T / n``, by the power method.

    J is the Jacobian of ``outputs(parameters)``. The eigenvalue is the curvature of
    ``0.5 * mean_i |f(x_i) - target_i|^2`` where the network is linear in its parameters.
    """
    parameters = [parameter.detach().requires_grad_(True) for parameter in parameters]
    values = outputs(parameters)
    # J v as the derivative of J^T u by u: linear in u, so any u will do.
    dummy = torch.zeros_like(values, requires_grad=True)
    vector_jacobian = torch.autograd.grad(values, parameters, dummy, create_graph=True)
    u = torch.randn(values.shape, generator=generator, dtype=torch.float32).to(values)
    size = u.norm()
    for _ in range(_POWER_ITERATIONS):
        u = u / size
        v = torch.autograd.grad(values, parameters, u, retain_graph=True)
        (u,) = torch.autograd.grad(vector_jacobian, dummy, v, retain_graph=True)
        size = u.norm()
    return size.item() / len(values)
