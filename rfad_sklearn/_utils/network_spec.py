"""Resolved architectures: frozen values that know shapes but no arrays.

One spec yields the random network (``_networks.random_features``) and the exact kernel of infinite
width (``_kernels.exact``), so that the two cannot drift apart. Users write a ``ConvNet`` or an
``MLP`` of :mod:`rfad_sklearn.architectures`, whose open fields ``fit`` fills in.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real

# Pixels of the smallest map from which norm="auto" normalises: over 2x2 pixels (digits of 8x8)
# gradient matching fails.
_MIN_NORM_PIXELS = 16


def _check_fields(spec):
    name = spec.public_name
    # JSON knows no tuples.
    widths = tuple(spec.width) if isinstance(spec.width, list | tuple) else (spec.width,)
    for field, value, words in [
        ("depth", spec.depth, "an int"),
        *(("width", value, "an int or a tuple of ints") for value in widths),
    ]:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{name}: {field} must be {words}, got {getattr(spec, field)!r}.")
        if value < 1:
            raise ValueError(f"{name}: {field} must be at least 1, got {getattr(spec, field)!r}.")
    # Numbers of numpy would not go into a file.
    object.__setattr__(spec, "depth", int(spec.depth))
    object.__setattr__(
        spec,
        "width",
        tuple(map(int, widths)) if isinstance(spec.width, list | tuple) else int(spec.width),
    )
    if isinstance(spec.width, tuple) and len(spec.width) != spec.depth:
        raise ValueError(
            f"{name}: width={spec.width!r} names {len(spec.width)} layers, but depth={spec.depth}; "
            "name one width for each."
        )
    for field, word in (("sigma_w", "above 0"), ("sigma_b", "at least 0")):
        value = getattr(spec, field)
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{name}: {field} must be a float, got {value!r}.")
        allowed = value > 0 or (field == "sigma_b" and value == 0)
        if not (math.isfinite(value) and allowed):
            raise ValueError(f"{name}: {field} must be finite and {word}, got {value!r}.")
        object.__setattr__(spec, field, float(value))


class _Layered:
    """What both kinds of network have."""

    #: Class of :mod:`rfad_sklearn.architectures` that it is resolved from.
    public_name = ""

    def __repr__(self):
        # Depth and width always; the others where they are not the default.
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name in ("depth", "width") or getattr(self, field.name) != field.default
        ]
        return f"{self.public_name}({', '.join(shown)})"

    @property
    def widths(self):
        """Width of each hidden layer, first to last."""
        return self.width if isinstance(self.width, tuple) else (self.width,) * self.depth

    @property
    def n_filters(self):
        """Filters of each hidden layer of a random network, first to last.

        CReLU makes two channels of each.
        """
        return tuple(-(-width // 2) for width in self.widths)


@dataclass(frozen=True, repr=False)
class MLPSpec(_Layered):
    """A :class:`~rfad_sklearn.MLP` with all its fields filled in; a width may be a tuple."""

    public_name = "MLP"

    depth: int = 3
    width: int | tuple = 1024
    sigma_w: float = 2**0.5
    sigma_b: float = 0.1

    def __post_init__(self):
        _check_fields(self)

    def fits(self, shape):
        """Whether inputs of this shape can be fed to the network: ``(n_columns,)`` can."""
        return len(shape) == 1

    def n_features(self, shape):
        """Number of last hidden activations of one network."""
        return self.widths[-1]

    def n_weights(self, shape):
        """Number of weights and biases that are drawn for one random network."""
        return sum(
            n * (fan_in + 1)
            for n, fan_in in zip(self.n_filters, (shape[0], *self.widths), strict=False)
        )

    def largest_layer(self, shape):
        """Number of units of the largest hidden layer."""
        return max(self.widths)

    def check_shape(self, shape):
        """Raise ``ValueError`` when inputs of ``shape`` cannot be fed to the network."""
        if not self.fits(shape):
            raise ValueError(
                f"architecture={self!r} takes flat rows, got images of shape {tuple(shape)}; use a "
                "ConvNet."
            )


@dataclass(frozen=True, repr=False)
class ConvNetSpec(_Layered):
    """A :class:`~rfad_sklearn.ConvNet` with all its fields filled in; a width may be a tuple."""

    public_name = "ConvNet"

    depth: int = 3
    width: int | tuple = 256
    sigma_w: float = 2**0.5
    sigma_b: float = 0.1
    pooling: str = "avg"
    readout: str = "flatten"

    def __post_init__(self):
        _check_fields(self)
        for field, choices in (("pooling", ("avg", "none")), ("readout", ("flatten", "mean"))):
            value = getattr(self, field)
            if value not in choices:
                raise ValueError(f"ConvNet: {field} must be one of {choices}, got {value!r}.")

    def _final_side(self, side):
        return side >> self.depth if self.pooling == "avg" else side

    def last_map(self, shape):
        """Height and width of the maps of the last convolution, before its pooling."""
        halvings = self.depth - 1 if self.pooling == "avg" else 0
        return shape[0] >> halvings, shape[1] >> halvings

    def fits(self, shape):
        """Whether images of shape ``(H, W, channels)`` survive all the pooling stages."""
        return len(shape) == 3 and min(self._final_side(side) for side in shape[:2]) >= 1

    def n_features(self, shape):
        """Number of last hidden activations of one network for ``(H, W, channels)`` images."""
        if self.readout == "mean":
            return self.widths[-1]
        return self.widths[-1] * self._final_side(shape[0]) * self._final_side(shape[1])

    def n_weights(self, shape):
        """Number of weights and biases that are drawn for one random network."""
        return sum(
            n * (9 * fan_in + 1)
            for n, fan_in in zip(self.n_filters, (shape[2], *self.widths), strict=False)
        )

    def largest_layer(self, shape):
        """Number of entries of the largest maps, before pooling."""
        halvings = range(self.depth) if self.pooling == "avg" else (0,) * self.depth
        return max(
            width * (shape[0] >> k) * (shape[1] >> k)
            for width, k in zip(self.widths, halvings, strict=True)
        )

    def check_shape(self, shape):
        """Raise ``ValueError`` when images of ``shape`` cannot be fed to the network."""
        if len(shape) != 3:
            raise ValueError(
                f"architecture={self!r} takes images, got flat rows of {shape[0]} columns; "
                "give image_shape=(H, W) or (H, W, channels), or use an MLP."
            )
        if not self.fits(shape):
            deepest = int(math.log2(min(shape[:2])))
            way_out = (
                f"depth <= {deepest} or ConvNet(pooling='none')"
                if deepest
                else "ConvNet(pooling='none')"
            )
            raise ValueError(
                f"depth={self.depth} needs images of at least {2**self.depth}x{2**self.depth} "
                f"pixels, got {shape[0]}x{shape[1]}; use {way_out}."
            )


SPECS = {"ConvNet": ConvNetSpec, "MLP": MLPSpec}


def spec_to_dict(spec):
    """Plain dictionary of a spec, for a JSON string."""
    return {"name": spec.public_name, **asdict(spec)}


def spec_from_dict(values):
    """Spec of a dictionary made by :func:`spec_to_dict`."""
    values = dict(values)
    name = values.pop("name", None)
    if name not in SPECS:
        raise ValueError(f"unknown network {name!r}; known: {sorted(SPECS)}.")
    return SPECS[name](**values)


def same_kernel(first, second):
    """Whether two specs have the same infinite-width kernel: all fields but ``width`` are equal."""
    return type(first) is type(second) and replace(first, width=1) == replace(second, width=1)


def resolve_norm(norm, spec, shape):
    """Whether a finite network of this spec has instance normalisation.

    ``norm`` is a user's: None, "instance" or "auto".

    Raises
    ------
    ValueError
        Where it cannot have it: in an MLP, and on maps of a single pixel, which it would make zero.
    """
    if norm is None:
        return False
    pixels = math.prod(spec.last_map(shape)) if isinstance(spec, ConvNetSpec) else 1
    if norm == "auto":
        return pixels >= _MIN_NORM_PIXELS
    if pixels == 1:
        raise ValueError(
            f"norm='instance' needs a ConvNet with maps of more than one pixel, got {spec} and "
            f"inputs of shape {shape}."
        )
    return True
