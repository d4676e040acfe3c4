"""Architectures of the networks, as a user writes them, and how ``fit`` resolves them.

A :class:`ConvNet` or :class:`MLP` is a plain object of parameters, so that scikit-learn can clone
it and search over ``architecture__depth``. A field that is None is open: ``fit`` fills it in, and
makes a frozen spec of the whole.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from ._utils.network_spec import ConvNetSpec, MLPSpec

__all__ = ["MLP", "ConvNet"]

# Blocks of a ConvNet where images are large enough, and layers of an MLP.
_DEPTH = 3
# Channels per block of a ConvNet where the estimator chooses none.
_CONVNET_WIDTH = 128
# Units per layer of an MLP where the estimator chooses none.
_MLP_WIDTH = 256


def _is_sequence(width):
    return isinstance(width, list | tuple)


class _Architecture:
    """Parameters in the manner of scikit-learn: assigned, read, set and compared, never checked."""

    @classmethod
    def _names(cls):
        return list(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Without effect: no parameter has parameters of its own.

        Returns
        -------
        dict
        """
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> _Architecture:
        """Set parameters.

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a name that is no parameter.
        """
        for name, value in params.items():
            if name not in self._names():
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}; "
                    f"valid parameters are {self._names()}."
                )
            setattr(self, name, value)
        return self

    def _depth(self, shape):
        """Depth for inputs of one shape: that given, that of the widths, or the default."""
        if self.depth is not None:
            return self.depth
        return len(self.width) if _is_sequence(self.width) else self._default_depth(shape)

    def _plain_params(self) -> dict[str, Any]:
        """Parameters as numbers and tuples of Python, whatever numbers they were given as."""
        params = {}
        for name, value in self.get_params().items():
            if hasattr(value, "tolist"):
                value = value.tolist()
            params[name] = tuple(value) if isinstance(value, list) else value
        return params

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self._plain_params().items()
            if value != defaults[name].default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._plain_params() == other._plain_params()

    # Its parameters may change.
    __hash__ = None  # type: ignore[assignment]


class ConvNet(_Architecture):
    """Convolutional ReLU network of the dataset-distillation literature, for images.

    ``depth`` blocks of [3x3 convolution, zero padding 1 -> ReLU -> 2x2 average pooling], a read-out
    and a dense layer. Weights have mean 0 and variance ``sigma_w^2 / fan_in``, biases
    ``sigma_b^2``. Pooling floors: a 7x7 map becomes 3x3.

    Parameters
    ----------
    depth : int, default=None
        Number of blocks. With pooling, image sides must be at least ``2**depth`` pixels. None: as
        many as ``width`` names, else 3, or fewer for images under 8x8 pixels;
        :class:`RFADDistiller` also compares 3 with 2.
    width : int, tuple or list of int, default=None
        Channels per block, of all or of each, first to last. None: chosen by the estimator, else
        128. The kernel of infinite width does not depend on it.
    sigma_w : float, default=sqrt(2)
        Standard deviation of the weights, before division by the square root of the fan-in.
    sigma_b : float, default=0.1
        Standard deviation of the biases.
    pooling : {"avg", "none"}, default="avg"
        Whether each block ends with 2x2 average pooling.
    readout : {"flatten", "mean"}, default="flatten"
        What the dense layer reads: all positions, or their mean (global average pooling).

    Notes
    -----
    Parameters are checked in ``fit``.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from rfad_sklearn import ConvNet, NNGPKernelRidge
    >>> search = GridSearchCV(
    ...     NNGPKernelRidge(architecture=ConvNet()), {"architecture__depth": [2, 3]}
    ... )
    """

    def __init__(
        self,
        depth: int | None = None,
        width: int | Sequence[int] | None = None,
        sigma_w: float = 2**0.5,
        sigma_b: float = 0.1,
        pooling: Literal["avg", "none"] = "avg",
        readout: Literal["flatten", "mean"] = "flatten",
    ):
        self.depth = depth
        self.width = width
        self.sigma_w = sigma_w
        self.sigma_b = sigma_b
        self.pooling = pooling
        self.readout = readout

    def _default_depth(self, shape):
        if len(shape) != 3 or self.pooling != "avg":
            return _DEPTH
        return max(min(_DEPTH, int(math.log2(min(shape[:2])))), 1)

    def _resolve(self, shape):
        depth = self._depth(shape)
        width = _CONVNET_WIDTH if self.width is None else self.width
        return ConvNetSpec(depth, width, self.sigma_w, self.sigma_b, self.pooling, self.readout)


class MLP(_Architecture):
    """Fully connected ReLU network, for flat rows.

    ``depth`` blocks of [dense -> ReLU] and a dense read-out. Weights have mean 0 and variance
    ``sigma_w^2 / fan_in``, biases ``sigma_b^2``.

    Parameters
    ----------
    depth : int, default=None
        Number of hidden layers. None: as many as ``width`` names, else 3.
    width : int, tuple or list of int, default=None
        Units per hidden layer, of all or of each. None: 256. The kernel of infinite width does not
        depend on it.
    sigma_w : float, default=sqrt(2)
        Standard deviation of the weights, before division by the square root of the fan-in.
    sigma_b : float, default=0.1
        Standard deviation of the biases.

    Notes
    -----
    Parameters are checked in ``fit``.

    Examples
    --------
    >>> from rfad_sklearn import MLP
    >>> MLP(depth=2).set_params(width=64)
    MLP(depth=2, width=64)
    """

    def __init__(
        self,
        depth: int | None = None,
        width: int | Sequence[int] | None = None,
        sigma_w: float = 2**0.5,
        sigma_b: float = 0.1,
    ):
        self.depth = depth
        self.width = width
        self.sigma_w = sigma_w
        self.sigma_b = sigma_b

    def _default_depth(self, shape):
        return _DEPTH

    def _resolve(self, shape):
        depth = self._depth(shape)
        width = _MLP_WIDTH if self.width is None else self.width
        return MLPSpec(depth, width, self.sigma_w, self.sigma_b)


# Types that a user's ``architecture`` may have, besides the word "auto".
ARCHITECTURES = (ConvNet, MLP, ConvNetSpec, MLPSpec)


def default_architecture(shape: tuple[int, ...]) -> ConvNet | MLP:
    """Architecture of "auto" for inputs of one shape: a ConvNet for images, an MLP for rows."""
    if len(shape) == 1:
        return MLP()
    # Images of a single row or column of pixels cannot be pooled.
    return ConvNet() if min(shape[:2]) > 1 else ConvNet(pooling="none")


def is_open(architecture: str | ConvNet | MLP | ConvNetSpec | MLPSpec, field: str) -> bool:
    """Whether ``fit`` decides about a field, "depth" or "width", of a user's architecture."""
    if isinstance(architecture, str):
        return True
    # A width for each layer decides about the depth.
    if field == "depth" and _is_sequence(architecture.width):
        return False
    return getattr(architecture, field) is None


def resolve_architecture(
    architecture: str | ConvNet | MLP | ConvNetSpec | MLPSpec, shape: tuple[int, ...], **fill: Any
) -> ConvNetSpec | MLPSpec:
    """Frozen spec of a user's architecture, for inputs of one shape.

    Parameters
    ----------
    architecture : {"auto"}, ConvNet, MLP, or a frozen spec
    shape : tuple of int
        ``(d,)`` or ``(H, W, channels)``.
    **fill : dict
        Values of the fields "depth" and "width", used where the architecture leaves them open.

    Returns
    -------
    ConvNetSpec or MLPSpec

    Raises
    ------
    ValueError, TypeError
        When a field is wrong, or when the network cannot take inputs of that shape. The message
        names the field.
    """
    wanted = default_architecture(shape) if isinstance(architecture, str) else architecture
    spec = wanted._resolve(tuple(shape)) if isinstance(wanted, _Architecture) else wanted
    filled = {name: value for name, value in fill.items() if is_open(architecture, name)}
    spec = replace(spec, **filled)
    spec.check_shape(shape)
    return spec
