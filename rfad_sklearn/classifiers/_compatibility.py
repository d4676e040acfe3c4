"""Compatibility of a classifier's parameters with a coreset, or with a distiller."""

from .._planning.kernel_method import select_kernel_method
from .._utils.device import resolve_device, resolve_dtype
from .._utils.network_spec import same_kernel
from .._utils.preprocessing_value import Preprocessing
from .._utils.validation import resolve_image_shape, warn_caller
from ..architectures import is_open, resolve_architecture


def refine_architecture(architecture, spec, shape):
    """A classifier's architecture, with what it leaves open taken from a coreset's.

    Parameters
    ----------
    architecture : {"auto"}, ConvNet, MLP, or a frozen spec
    spec : ConvNetSpec or MLPSpec
        Of the coreset.
    shape : tuple of int
        Of one input.

    Returns
    -------
    ConvNetSpec or MLPSpec
    """
    if isinstance(architecture, str):
        return spec
    wanted = resolve_architecture(architecture, shape, depth=spec.depth)
    return spec if is_open(architecture, "width") and same_kernel(wanted, spec) else wanted


def check_compatible(classifier, spec, image_shape, n_features, preprocessing, *, distiller=None):
    """A coreset's network, refined by a classifier's parameters.

    With ``distiller``, that of a distiller which is still to make the coreset.

    Raises
    ------
    ValueError
        Names the parameter that contradicts the coreset.
    """

    def contradicts(name, theirs, given=None):
        given = f"{name}={given or repr(getattr(classifier, name))}"
        if distiller is None:
            way_out = (
                "leave it at its default, or fit(X, y) on coreset.X (to_frame()) and coreset.y"
            )
            return ValueError(f"{given} contradicts the coreset's {theirs}; {way_out}.")
        owner = type(distiller).__name__
        return ValueError(
            f"{given} contradicts the distiller's {theirs}; give it to the distiller: "
            f"{owner}({given})."
        )

    wanted = refine_architecture(classifier.architecture, spec, image_shape or (n_features,))
    if not same_kernel(wanted, spec):
        raise contradicts("architecture", spec, wanted)
    if (
        classifier.image_shape is not None
        and resolve_image_shape(classifier.image_shape, None, n_features) != image_shape
    ):
        raise contradicts("image_shape", image_shape)
    for name, default in (("categorical_features", "from_dtype"), ("missing", "error")):
        given = getattr(classifier, name)
        is_default = isinstance(given, str) and given == default
        if not is_default and given is not getattr(distiller, name, None):
            raise contradicts(name, "own")
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
    """Refuse what contradicts the distiller before its long run, not after it."""
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
    # A kernel that cannot be computed is refused now, too.
    select_kernel_method(classifier.kernel_method, classifier.kernel, spec, shape, n_classes)
    resolve_dtype(classifier.dtype, resolve_device(classifier.device))


def warn_of_stale_scale(classifier, coreset, weighs):
    """Warn that a coreset's scale is not that of the ridge; ``weighs``: it weighs the items."""
    weighing = f" and class_weight={classifier.class_weight!r}" if weighs else ""
    warn_caller(
        f"The coreset's logit_scale belongs to kernel={coreset.kernel!r} and reg={coreset.reg!r}, "
        f"not to kernel={classifier.kernel!r} and reg={classifier.reg_!r}{weighing}: predict_proba "
        "is not calibrated. Give real rows, fit_coreset(coreset, X, y), to refit it."
    )
