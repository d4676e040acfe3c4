"""Kernel ridge models of rows: by random features (primal or dual) and by the exact kernel."""

from dataclasses import dataclass

import numpy as np
import torch

from .._kernels.exact import exact_kernel, worth_compiling
from .._networks.random_features import (
    cached_features,
    cpu_networks,
    feature_scales,
    linear_in_features,
)
from .._utils.blocks import padded_blocks
from .._utils.device import explained_memory
from .._utils.network_spec import MLPSpec
from .linalg import cholesky, relative_shift, solve_and_leave_one_out

# Rows per pass where features are summed; their Gram matrix is accumulated in float64.
_CHUNK = 2048
# Rows whose leave-one-out scores are computed in the primal: enough to fit one number.
_N_LEAVE_ONE_OUT = 2048
# Rows whose exact kernel is computed at a time.
_BLOCK = 64


@dataclass(frozen=True)
class FeatureModel:
    """Scores linear in random features: seeds and weights, no networks.

    ``weights`` has shape (n_networks * n_features + 1, k); its last row belongs to the constant
    feature.
    """

    spec: object
    shape: tuple
    seeds: tuple
    weights: np.ndarray

    def scores(self, read, n, *, device, dtype):
        """Scores ``(n, k)`` of preprocessed inputs ``read(start, stop)``, float64."""
        networks = cpu_networks(self.spec, self.shape, self.seeds, device, dtype)
        weights = torch.tensor(self.weights, device=device)

        def read_on_device(start, stop):
            return read(start, stop).to(device)

        return linear_in_features(self.spec, networks, read_on_device, n, weights).numpy()


@dataclass(frozen=True)
class ExactModel:
    """Scores ``K(x, X) @ dual`` by the exact kernel of the inputs that it holds."""

    spec: object
    kernel: str
    inputs: np.ndarray
    dual: np.ndarray

    @classmethod
    def build(cls, spec, kernel, inputs, dual):
        """From tensors."""
        return cls(spec, kernel, exact_inputs(spec, inputs).cpu().numpy(), dual.cpu().numpy())

    def scores(self, read, n, *, device, dtype):
        """Scores ``(n, k)`` of preprocessed inputs ``read(start, stop)``, float64.

        In zero-padded blocks of one size, so that the rounding of a row's scores does not depend on
        the rows beside it. For very many rows the arithmetic is compiled, which rounds differently.
        """
        inputs, dual = (
            torch.tensor(self.inputs, device=device),
            torch.tensor(self.dual, device=device),
        )
        compiled = worth_compiling(self.spec, tuple(inputs.shape[1:]), n * len(inputs))
        out = np.empty((n, dual.shape[1]))

        def read_as_inputs(start, stop):
            return read(start, stop).to(inputs)

        for rows, x in padded_blocks(read_as_inputs, n, _BLOCK):
            kernel = exact_kernel(self.spec, x, inputs, kernel=self.kernel, compiled=compiled)
            out[rows] = (kernel.double() @ dual).cpu().numpy()[: rows.stop - rows.start]
        return out


def exact_dtype(spec, dtype):
    """Type that the exact kernel is computed in; an MLP's is cheap enough for float64."""
    return torch.float64 if isinstance(spec, MLPSpec) else dtype


def exact_inputs(spec, inputs):
    """Inputs in the type of :func:`exact_dtype`."""
    return inputs.to(exact_dtype(spec, inputs.dtype))


def fit_exact(spec, kernel, inputs, targets, reg, weights=None):
    """Kernel ridge with the exact kernel; ``weights`` say how much each row counts.

    Returns
    -------
    model : ExactModel
    leave_one_out : float64 tensor of shape (n, n_classes)
    """
    with explained_memory(
        f"the exact kernel of {len(inputs)} rows",
        "the number of rows, or use kernel_method='random_features'",
    ):
        gram = exact_kernel(spec, exact_inputs(spec, inputs), kernel=kernel)
        dual, left_out = solve_and_leave_one_out(gram, targets, reg, weights)
    return ExactModel.build(spec, kernel, inputs, dual), left_out


def feature_weights(spec, features, coefficients):
    """Weights of the :class:`FeatureModel` whose scores are ``K(x, S) @ coefficients``.

    ``features`` are the activations ``(n, ...)`` of S.
    """
    features = features.flatten(1).double()
    scale, constant = feature_scales(spec, features.shape[1])
    return torch.cat(
        [scale**2 * features.T @ coefficients, constant**2 * coefficients.sum(0, keepdim=True)]
    )


def fit_features(spec, shape, seeds, read, n, targets, reg, rng, *, device, dtype, weights=None):
    """Kernel ridge by random features, in the smaller of primal (features) and dual (rows).

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    shape : tuple of int
        Shape of one input.
    seeds : sequence of int
        Of the networks.
    read : callable
        ``read(indices)`` gives preprocessed inputs; indices are an array or a slice.
    n : int
    targets : float64 tensor of shape (n, n_classes)
    reg : float
        Ridge, relative to the mean diagonal of the kernel.
    rng : numpy.random.Generator
        Chooses the rows whose leave-one-out scores are computed in the primal.
    device : torch.device
    dtype : torch.dtype
        Of the networks.
    weights : float64 tensor of shape (n,), optional
        How much each row counts.

    Returns
    -------
    model : FeatureModel
    rows : array of int
        Rows whose leave-one-out scores are returned.
    leave_one_out : float64 tensor of shape (len(rows), n_classes)
    """
    networks = cpu_networks(spec, shape, seeds, device, dtype)
    n_features = len(seeds) * spec.n_features(shape)

    def read_on_device(rows):
        return read(rows).to(device)

    with explained_memory(
        f"a kernel ridge on {n} rows and {n_features} random features",
        "n_networks, the architecture's width or the number of rows",
    ):
        problem = spec, networks, read_on_device, n, targets.to(device), reg
        if n <= n_features:
            coefficients, rows, scores = _fit_dual(*problem, weights)
        else:
            coefficients, rows, scores = _fit_primal(*problem, weights, rng, n_features)
    return FeatureModel(spec, tuple(shape), tuple(seeds), coefficients.cpu().numpy()), rows, scores


def _fit_dual(spec, networks, read, n, targets, reg, row_weights):
    inputs = read(slice(0, n))
    scale, constant = feature_scales(spec, len(networks) * spec.n_features(tuple(inputs.shape[1:])))
    gram = torch.full((n, n), constant**2, dtype=torch.float64, device=inputs.device)
    for network in networks:
        features = cached_features(spec, [network], inputs).flatten(1)
        gram += scale**2 * (features @ features.T)
    dual, left_out = solve_and_leave_one_out(gram, targets, reg, row_weights)
    weights = [
        scale**2 * cached_features(spec, [network], inputs).flatten(1).double().T @ dual
        for network in networks
    ]
    weights.append(constant**2 * dual.sum(0, keepdim=True))
    return torch.cat(weights), np.arange(n), left_out.cpu()


def _fit_primal(spec, networks, read, n, targets, reg, row_weights, rng, n_features):
    scales = feature_scales(spec, n_features)

    def features(rows):
        hidden = scales[0] * cached_features(spec, networks, read(rows)).flatten(1)
        return torch.cat([hidden, torch.full_like(hidden[:, :1], scales[1])], dim=1)

    device = targets.device
    gram = torch.zeros((n_features + 1, n_features + 1), dtype=torch.float64, device=device)
    moments = torch.zeros((n_features + 1, targets.shape[1]), dtype=torch.float64, device=device)
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        part = features(rows)
        weighted = part if row_weights is None else part * row_weights[rows, None].to(part)
        gram += weighted.T @ part
        moments += weighted.double().T @ targets[rows]
    total = n if row_weights is None else row_weights.sum()
    gram.diagonal().add_(relative_shift(gram.diagonal().sum() / total, reg))
    factor = cholesky(gram, reg)
    weights = torch.cholesky_solve(moments, factor)
    rows = np.sort(rng.choice(n, min(n, _N_LEAVE_ONE_OUT), replace=False))
    part = features(rows).double()
    leverage = torch.linalg.solve_triangular(factor, part.T, upper=False).square().sum(0)[:, None]
    numbers = torch.from_numpy(rows).to(device)
    own = targets[numbers]
    if row_weights is not None:
        leverage *= row_weights[numbers, None]
    scores = (part @ weights - leverage * own) / (1 - leverage)
    # The model's weights are those of activations without these factors.
    factors = torch.full((n_features + 1, 1), scales[0], dtype=torch.float64, device=device)
    factors[-1] = scales[1]
    return weights * factors, rows, scores.cpu()
