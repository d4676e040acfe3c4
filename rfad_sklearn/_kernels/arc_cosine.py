"""Expected products of two ReLUs under a Gaussian, pooled, with analytic derivatives.

After Cho and Saul (2009). With ``c`` the correlation, ``k0(c) = (pi - acos c) / 2 pi`` and
``k1(c) = (sqrt(1 - c^2) + (pi - acos c) c) / 2 pi``, the covariance ``K`` of two variables with
norms ``n, m`` (square roots of their variances) becomes ``n m k1(K / n m)`` after the ReLU, and a
tangent ``T`` becomes ``T k0(K / n m)``. The derivatives of the first with respect to ``K, n, m``
are bounded. That of the second with respect to ``K`` is infinite at ``c = 1``, where it is set to
zero: this is its value along every path on which the two variables stay equal, and the mean of the
one-sided derivatives otherwise.

``acos(1 - t) / sqrt(t)`` and its integral over ``t^1.5`` are analytic with positive Taylor
coefficients, so short polynomials in ``t = 1 - |c|`` give both functions to rounding error, without
the cancellation that the textbook formula has at ``c = 1``.
"""

import math
import types
import warnings
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import binom

# Degree of the polynomials: their error falls 5.8-fold with each, to 2e-8 and 1e-17.
_DEGREES = {torch.float32: 6, torch.float64: 18}
# Correlations closer to one than this many units of rounding count as one: they belong to two equal
# patches, whose covariance was summed in another order.
_SNAP = 16


def _polynomials(degree):
    """Coefficients in t of two functions of ``c = 1 - t``, both divided by 2 pi.

    The functions are ``acos(c) / sqrt(t)`` and ``(sqrt(1 - c^2) - c acos(c)) / t^1.5``.
    """
    k = np.arange(64)
    arc = 2 * binom(2 * k, k) / (4.0**k * (2 * k + 1)) / 2 ** (k + 0.5)

    def economised(taylor):
        interpolant = Chebyshev.interpolate(Polynomial(taylor), degree, domain=[0, 1])
        return interpolant.convert(kind=Polynomial).coef

    return tuple(
        tuple((economised(taylor) / (2 * math.pi)).tolist()) for taylor in (arc, arc / (k + 1.5))
    )


_COEFFICIENTS = {dtype: _polynomials(degree) for dtype, degree in _DEGREES.items()}


def _horner(coefficients, t):
    value = t * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        value.add_(coefficient).mul_(t)
    return value.add_(coefficients[0])


def _inverse(norms):
    return torch.where(norms > 0, 1 / norms, 0)


def _correlation(covariance, first, second):
    """Correlation ``c``, ``t = 1 - |c|`` (zero where they coincide) and its root."""
    c = covariance * _inverse(first)
    c.mul_(_inverse(second))
    t = F.threshold(1 - c.abs(), _SNAP * torch.finfo(c.dtype).eps, 0.0)
    return c, t, t.sqrt()


def _both(c, t, root):
    """``sqrt(1 - c^2) / 2 pi`` and ``k0``."""
    sine = (2 - t).sqrt_().mul_(root).mul_(1 / (2 * math.pi))
    angle = _horner(_COEFFICIENTS[t.dtype][0], t).mul_(root)
    return sine, torch.where(c >= 0, 0.5 - angle, angle)


def relu_pool(covariance, tangents, first, second, windows):
    """Covariances, and tangents unless None, after ReLU and the average over both windows.

    Parameters
    ----------
    covariance, tangents : tensors of one shape
    first, second : tensors that broadcast with them
        Norms.
    windows : tuple of int
        Dimensions to average over.

    Returns
    -------
    covariance, tangents : tensors without these dimensions
    """
    c, t, root = _correlation(covariance, first, second)
    if tangents is None:
        values = (
            _horner(_COEFFICIENTS[t.dtype][1], t).mul_(t).mul_(root).add_(c.clamp_min(0), alpha=0.5)
        )
        return values.mul_(first).mul_(second).mean(windows), None
    sine, slope = _both(c, t, root)
    values = sine.add_(c.mul_(slope)).mul_(first).mul_(second)
    return values.mean(windows), slope.mul_(tangents).mean(windows)


def relu_pool_vjp(
    covariance,
    tangents,
    first,
    second,
    windows,
    gradient,
    tangent_gradient,
    needs_first,
    needs_second,
):
    """Gradients of :func:`relu_pool` in its first four arguments; None where none is needed."""
    c, t, root = _correlation(covariance, first, second)
    sine, slope = _both(c, t, root)
    scale = 1.0
    for dim in windows:
        scale /= covariance.shape[dim]
        gradient = gradient.unsqueeze(dim)
        tangent_gradient = None if tangents is None else tangent_gradient.unsqueeze(dim)
    g = gradient * scale
    to_covariance, to_tangents = g * slope, None
    # Of the norms: d(n m k1) / dn = m sin / 2 pi.
    to_norms = sine * g
    if tangents is not None:
        h = tangent_gradient * scale
        to_tangents = h * slope
        # d(k0) / dK = 1 / (4 pi^2 sin/2pi) / (n m), d(k0) / dn = -c times that over n: zero at
        # coincidences.
        steep = (
            torch.where(t > 0, 1 / (4 * math.pi**2 * sine), 0)
            .mul_(h)
            .mul_(tangents)
            .mul_(_inverse(first) * _inverse(second))
        )
        to_covariance = to_covariance + steep
        to_norms = to_norms - steep * c
    to_first = (to_norms * second).sum_to_size(first.shape) if needs_first else None
    to_second = (to_norms * first).sum_to_size(second.shape) if needs_second else None
    return to_covariance, to_tangents, to_first, to_second


def _compiler_errors():
    """Every error that torch's compiler defines, by whatever names this version of torch has.

    ``torch.compile`` wraps what goes wrong in the backend (no C++ compiler, one that fails, no
    Triton) into one of them; errors of the compiled function as it runs are not among them.
    """
    # Looked up here: both modules are slow to import, and most calls compile nothing.
    import torch._dynamo.exc
    import torch._inductor.exc

    return tuple(
        value
        for module in (torch._dynamo.exc, torch._inductor.exc)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and value.__module__ == module.__name__
    )


@contextmanager
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Fused:
    """A function compiled into one pass over its data; left as it is where no compiler works.

    Each kind of call has a compilation of its own, on a copy of the code: torch keeps a few per
    piece of code only, and known sizes make faster code.
    """

    # Whether compiling failed in this process: then it is not tried again.
    failed = False

    def __init__(self, function):
        self.function, self.compiled = function, {}

    def __call__(self, *arguments):
        # Variances, whose last dimension is one, are a small part of the work: their sizes may
        # vary.
        sized = arguments[0].shape[-1] > 1
        kind = tuple(self._kind(argument, sized) for argument in arguments)
        new = kind not in self.compiled
        if new:
            self.compiled[kind] = self.function if _Fused.failed else self._compile()
        try:
            # The first call compiles, and the compiler's own code may warn: where a program turns
            # warnings into errors, that would break it.
            with _no_warnings() if new else nullcontext():
                return self.compiled[kind](*arguments)
        except _compiler_errors() as error:
            # The plain function computes the same; if the arguments are at fault, it says so.
            self.compiled[kind] = self.function
            result = self.function(*arguments)
            self._give_up(error)
            return result

    def _compile(self):
        plain = self.function
        code = plain.__code__.replace(co_name=f"{plain.__name__}_{len(self.compiled)}")
        try:
            return torch.compile(types.FunctionType(code, plain.__globals__), fullgraph=True)
        except RuntimeError as error:
            # Nothing runs yet: this Python or this platform has no torch.compile.
            self._give_up(error)
            return plain

    @staticmethod
    def _give_up(error):
        if _Fused.failed:
            return
        _Fused.failed = True
        reason = next(iter(str(error).splitlines()), "")
        warnings.warn(
            "The exact kernel is computed uncompiled, which is slower and right up to rounding: "
            f"torch.compile failed with {type(error).__name__}: {reason}. Install a working C++ "
            "compiler (on a GPU, Triton) to speed it up.",
            RuntimeWarning,
            stacklevel=3,
        )

    @staticmethod
    def _kind(argument, sized):
        if not isinstance(argument, torch.Tensor):
            return argument
        sizes = argument.shape[1:] if sized else (size == 1 for size in argument.shape)
        return argument.dtype, argument.device.type, argument.dim(), *sizes


class Arithmetic:
    """:func:`relu_pool` and :func:`relu_pool_vjp`, plain or compiled."""

    def __init__(self, compiled):
        self.relu_pool, self.relu_pool_vjp = _FUSED if compiled else (relu_pool, relu_pool_vjp)


_FUSED = _Fused(relu_pool), _Fused(relu_pool_vjp)
