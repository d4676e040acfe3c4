"""What a classifier's parameters and a coreset (or a distiller) say together."""

from .._kernels.pixel_pairs import n_arc_cosines
from .._utils.device import resolve_device, resolve_dtype
from .._utils.network_spec import MLPSpec, same_kernel
from .._utils.preprocessing_value import Preprocessing
from .._utils.validation import resolve_image_shape
from ..architectures import is_open, resolve_architecture

# The exact kernel matrix of more rows would not fit in the memory of a laptop, twice.
_MAX_EXACT = 5000
# Arc-cosines per predicted row up to which the exact kernel of a ConvNet is taken: 16 images of
# 28x28.
_MAX_ARC_COSINES = 2e6


def check_compatible(classifier, spec, image_shape, n_features, preprocessing, *, distiller=None):
    """A coreset's network, or that of a ``distiller`` that is still to make one, refined by the classifier's parameters.

    Raises
    ------
    ValueError
        Names the parameter that contradicts the coreset.
    """

    def contradicts(name, theirs, given=None):
        given = f"{name}={given or repr(getattr(classifier, name))}"
        if distiller is None:
            way_out = "leave it at its default, or fit(X, y) on coreset.X and coreset.y"
            return ValueError(f"{given} contradicts the coreset's {theirs}; {way_out}.")
        owner = type(distiller).__name__
        return ValueError(
            f"{given} contradicts the distiller's {theirs}; give it to the distiller: {owner}({given})."
        )

    # Fields that the parameter leaves open are the coreset's.
    given = classifier.architecture
    wanted = spec
    if not isinstance(given, str):
        wanted = resolve_architecture(given, image_shape or (n_features,), depth=spec.depth)
    if is_open(given, "width") and same_kernel(wanted, spec):
        wanted = spec
    if not same_kernel(wanted, spec):
        raise contradicts("architecture", spec, wanted)
    if (
        classifier.image_shape is not None
        and resolve_image_shape(classifier.image_shape, None, n_features) != image_shape
    ):
        raise contradicts("image_shape", image_shape)
    none = preprocessing is None or (
        isinstance(preprocessing, Preprocessing)
        and preprocessing == Preprocessing.identity(n_features)
    )
    own_word = isinstance(preprocessing, str) and preprocessing == classifier.preprocessing
    automatic = isinstance(classifier.preprocessing, str) and classifier.preprocessing == "auto"
    if not (automatic or own_word or (classifier.preprocessing is None and none)):
        raise contradicts("preprocessing", "own")
    return wanted


def check_compatible_with_distiller(classifier, seen, n_features, n_classes):
    """What contradicts the distiller is said before its long run, not after it."""
    if isinstance(classifier.distiller, type):
        name = classifier.distiller.__name__
        raise TypeError(
            f"distiller must be an estimator, got the class {name}; use distiller={name}()."
        )
    own = classifier.distiller.get_params(deep=False)
    image_shape = resolve_image_shape(own["image_shape"], seen, n_features)
    shape = image_shape or (n_features,)
    spec = resolve_architecture(own["architecture"], shape)
    given = classifier.architecture
    if classifier.distiller._depth_is_open(shape) and not is_open(given, "depth"):
        owner = type(classifier.distiller).__name__
        raise ValueError(
            f"architecture={given!r} contradicts the distiller where the rows decide on another "
            f"depth; give it to the distiller: {owner}(architecture={given!r})."
        )
    spec = check_compatible(
        classifier,
        spec,
        image_shape,
        n_features,
        own["preprocessing"],
        distiller=classifier.distiller,
    )
    resolve_kernel_method(classifier, spec, shape, n_classes)


def resolve_kernel_method(classifier, spec, shape, n):
    """How to compute the kernel of n rows of inputs of ``shape``, or an error where it cannot be computed."""
    resolve_dtype(classifier.dtype, resolve_device(classifier.device))
    method = classifier.kernel_method
    if method == "auto":
        cheap = (
            n <= _MAX_EXACT
            if isinstance(spec, MLPSpec)
            else n * n_arc_cosines(spec, shape) <= _MAX_ARC_COSINES
        )
        method = "exact" if cheap or classifier.kernel == "ntk" else "random_features"
    if method == "random_features" and classifier.kernel == "ntk":
        raise ValueError(
            "kernel='ntk' has no random features here; use kernel_method='exact', or kernel='nngp'."
        )
    return method
