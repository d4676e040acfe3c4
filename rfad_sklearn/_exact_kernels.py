"""Exact kernels of infinitely wide ReLU networks, by the arc-cosine recursion (Cho and Saul 2009)."""

import math

import torch

from ._specs import MLP


def supports(spec):
    """Whether the exact kernel of this network is available."""
    return isinstance(spec, MLP)


def _arc_cosine(covariance, first, second):
    """Expected products of two ReLUs, and of their derivatives, under a Gaussian.

    ``covariance`` holds the covariances, ``first`` and ``second`` the variances, all broadcastable.
    """
    norms = (first * second).sqrt()
    cosine = (covariance / norms.clamp_min(1e-300)).clamp(-1.0, 1.0)
    angle = torch.acos(cosine)
    products = norms * ((1 - cosine.square()).sqrt() + (math.pi - angle) * cosine) / (2 * math.pi)
    return products, (math.pi - angle) / (2 * math.pi)


def mlp_kernel(spec, first, second=None, *, kernel="nngp"):
    """NNGP or NTK of an infinitely wide MLP.

    Parameters
    ----------
    spec : MLP
    first : float64 tensor of shape (n, d)
    second : float64 tensor of shape (m, d), optional
        None: the kernel of ``first`` with itself, whose diagonal is then exact.
    kernel : {"nngp", "ntk"}

    Returns
    -------
    float64 tensor of shape (n, m)

    References
    ----------
    Lee et al. 2018 (NNGP); Jacot et al. 2018 (NTK).
    """
    weight, bias, d = spec.sigma_w**2, spec.sigma_b**2, first.shape[1]
    other = first if second is None else second
    values = weight / d * (first @ other.T) + bias
    rows = (weight / d * first.square().sum(1) + bias)[:, None]
    columns = (weight / d * other.square().sum(1) + bias)[None]
    tangents = values
    for _ in range(spec.depth):
        if second is None:
            values.diagonal().copy_(rows[:, 0])
        products, derivatives = _arc_cosine(values, rows, columns)
        values = weight * products + bias
        if kernel == "ntk":
            tangents = values + weight * derivatives * tangents
        # A variance through ReLU is halved.
        rows, columns = weight / 2 * rows + bias, weight / 2 * columns + bias
    return tangents if kernel == "ntk" else values
