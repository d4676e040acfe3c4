"""From the parameters of an estimator and the context of a fit to its plan."""

import math
from dataclasses import replace

import torch

from .._kernels.exact import worth_compiling
from .._networks.augment import check_augment
from .._utils.network_spec import ConvNetSpec, MLPSpec, resolve_norm
from ..architectures import is_open
from .flip_selection import select_flipped_classes
from .kernel_method import select_kernel_method
from .memory import most_channels, most_groups, n_evaluation_networks
from .plan import Draft
from .pool import default_pool, fresh_width, refresh_interval

# Steps when neither max_iter nor max_time is given.
DEFAULT_MAX_ITER = 1000
# Share of max_time after which the steps end when labels are solved for.
_LOOP_SHARE = 0.85
# Step size of the logarithm of the scale.
_LOG_SCALE_LEARNING_RATE = 1e-2
# Learned targets move at this share of the items' step: they are of size 1 / n_classes to 1, the
# items of size 1.
_TARGET_SHARE = 0.1
# Share of the time that is left that a teacher may take.
TEACHER_SHARE = 0.2
# Bytes of soft labels that teacher="auto" may take.
_SOFT_LABEL_BYTES = 2**28
# Steps that a run without max_iter is taken to make: is it worth compiling?
_EXPECTED_STEPS = 1000
# Seconds of max_time of which compiling would take too much.
_COMPILING_TIME = 300
# Steps of the items per network and of the network between them, by items per class: the outer and
# inner loops of Zhao et al. 2021.
_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


def resolve_plan(parameters, context, timing=None):
    """Resolve every "auto" of an estimator.

    A function of its arguments: nothing is drawn from the generator of the run. Clocks are in
    ``timing`` only.

    Parameters
    ----------
    parameters : dict
        Parameters of the estimator by name, and ``"method"``, the name of its class.
    context : FitContext or RowsContext
        Data and network of the fit.
    timing : Timing, optional
        Clock of the fit; needed where ``max_time`` is given, or a teacher is.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Where parameters contradict each other, or X.
    """
    draft = Draft(method=parameters["method"])
    _resolve_inputs(draft, parameters, context)
    if "ipc" in parameters:
        _resolve_rows(draft, parameters, context)
    if "kernel_method" in parameters:
        _resolve_kernel_method(draft, parameters, context)
    if "pool_size" in parameters:
        _resolve_random_features(draft, parameters, context, timing)
    elif "kernel" in parameters and "learn_labels" in parameters:
        _resolve_exact_kernel(draft, parameters, context)
    if "norm" in parameters:
        _resolve_finite_network(draft, parameters, context)
    if "learning_rate" in parameters and "ipc" in parameters:
        _resolve_optimization(draft, parameters, context)
    return draft.finished()


def resume_plan(plan, parameters, context):
    """Plan of a run that goes on: that of its file, with the budgets that it is given anew.

    Parameters
    ----------
    plan : Plan
        Of the file.
    parameters, context
        As for :func:`resolve_plan`.

    Returns
    -------
    Plan
    """
    kept = {name: value for name, value in vars(plan).items() if name != "reasons"}
    draft = Draft(**kept)
    draft.reasons = {name: why for name, why in plan.reasons.items() if name != "max_iter"}
    _resolve_optimization(draft, parameters, context)
    if plan.compiled is not None:
        _resolve_exact_kernel(draft, parameters, context)
    return draft.finished()


def default_max_iter(parameters):
    """Steps of a run at most; None where only time bounds them."""
    if parameters["max_iter"] is None and parameters["max_time"] is None:
        return DEFAULT_MAX_ITER
    return parameters["max_iter"]


def loop_seconds(parameters):
    """Seconds of ``fit`` after which the steps end, or None."""
    solves = isinstance(parameters.get("learn_labels"), str)
    seconds = parameters["max_time"]
    return seconds if seconds is None or not solves else _LOOP_SHARE * seconds


def paper_loops(ipc):
    """Steps of the items per network, and of the network between them, by items per class."""
    return _LOOPS[max(known for known in _LOOPS if known <= max(ipc, 1))]


def is_image(shape):
    """Whether inputs are images of more than one row and column of pixels."""
    return len(shape) == 3 and min(shape[:2]) > 1


def _is_auto(parameters, name):
    """Whether a parameter is the word "auto"; arrays and transformers are compared with nothing."""
    return isinstance(parameters[name], str) and parameters[name] == "auto"


def _resolve_inputs(draft, parameters, context):
    """Network, preprocessing and arithmetic: what the context has settled, and why."""
    images = len(context.shape) == 3
    reasons = {
        "architecture": "images" if images else "flat rows; for images pass image_shape",
        "preprocessing": "gentle whitening along the leading directions of images"
        if images
        else "a table, column by column",
        "device": "CUDA is available" if context.device.type == "cuda" else "no CUDA device here",
        "dtype": "the hardware is fast at it"
        if context.dtype == torch.bfloat16
        else "fast and precise enough here",
    }
    values = {
        "architecture": context.spec,
        "preprocessing": context.preprocessing_name,
        "device": context.device.type,
        "dtype": str(context.dtype).removeprefix("torch."),
    }
    for name, value in values.items():
        why = context.reasons.get(name, reasons[name] if _is_auto(parameters, name) else None)
        draft.decide(name, value, why)


def _resolve_rows(draft, parameters, context):
    draft.decide("n_items", int(context.per_class.sum()))
    draft.decide("n_train", len(context.train))
    draft.decide("n_held_out", len(context.validation), context.reasons.get("n_held_out"))
    if "batch_size" in parameters:
        draft.decide("batch_size", parameters["batch_size"])


def _resolve_kernel_method(draft, parameters, context):
    kernel = parameters["kernel"]
    method, why = select_kernel_method(
        parameters["kernel_method"], kernel, context.spec, context.shape, context.n_rows
    )
    draft.decide("kernel", kernel)
    draft.decide("kernel_method", method, why)
    if method == "random_features":
        draft.decide("n_networks", parameters["n_networks"])
    elif isinstance(context.spec, MLPSpec):
        draft.decide("dtype", "float64", "the exact kernel of an MLP is cheap enough for it")


def _resolve_optimization(draft, parameters, context):
    draft.decide("max_iter", default_max_iter(parameters))
    if parameters["max_iter"] is None:
        draft.reasons["max_iter"] = (
            f"{DEFAULT_MAX_ITER} where no budget is given"
            if parameters["max_time"] is None
            else "only max_time bounds the steps"
        )
    draft.decide("max_time", parameters["max_time"])
    learning_rates = {"X": parameters["learning_rate"]}
    if parameters.get("loss") == "cross_entropy":
        learning_rates["log_scale"] = _LOG_SCALE_LEARNING_RATE
    learn_labels = parameters.get("learn_labels", False)
    if learn_labels and not isinstance(learn_labels, str):
        learning_rates["targets"] = _TARGET_SHARE * parameters["learning_rate"]
    draft.decide("learning_rates", learning_rates)
    if "solver" not in parameters:
        draft.decide("solver", "adam")
        return
    solver = parameters["solver"]
    if solver != "auto":
        draft.decide("solver", solver)
    elif parameters["corruption"]:
        # Frozen entries have no gradient: the others would take larger steps in their place.
        draft.decide("solver", "adam", "entries that corruption freezes have no gradient")
    elif len(context.shape) == 3:
        draft.decide("solver", "muon", "items are images: what they share must not drown the rest")
    else:
        draft.decide("solver", "adam", "items are flat rows: each column by itself")


def _resolve_random_features(draft, parameters, context, timing):
    """Networks, pool, augmentation and soft labels of :class:`RFADDistiller`."""
    _check_random_features(parameters, context)
    draft.decide("kernel", "nngp")
    draft.decide("kernel_method", "random_features")
    draft.decide("n_networks", parameters["n_networks"])
    long = _resolve_pool(draft, parameters, context, timing)
    _resolve_augmentation(draft, parameters, context, long=long)
    _resolve_soft_labels(draft, parameters, context, timing)


def _check_random_features(parameters, context):
    corruption, init = parameters["corruption"], parameters["init"]
    if corruption and not (isinstance(init, str) and init in ("random", "noise")):
        raise ValueError(
            f"corruption={corruption!r} starts from noise, but init={init!r}; leave init at its "
            "default."
        )
    if parameters["teacher"] == "network" and not is_image(context.shape):
        raise ValueError(
            f"teacher='network' takes images of at least 2x2 pixels, but X holds rows of shape "
            f"{tuple(context.shape)}; give image_shape, or use teacher='auto' or None."
        )


def _resolve_pool(draft, parameters, context, timing):
    """Widths, groups and evaluation networks; whether the run is a long one."""
    spec, shape, n_items = context.spec, tuple(context.shape), int(context.per_class.sum())
    chooses = is_open(parameters["architecture"], "width") and isinstance(spec, ConvNetSpec)
    n_networks, batch_size = parameters["n_networks"], parameters["batch_size"]
    sizes = (shape, n_networks, min(batch_size, len(context.train)), context.dtype)
    channels, affordable = most_channels(spec, *sizes), None
    if parameters["max_time"] is not None:
        most_steps = math.inf if parameters["max_iter"] is None else parameters["max_iter"]

        def affordable(width):
            seconds = timing.fresh_step(width if chooses else spec.width, batch_size, n_networks)
            return min(loop_seconds(parameters) / seconds, most_steps)

    pool = default_pool(spec, n_items, batch_size, most_channels=channels, affordable=affordable)
    evaluation = spec
    if chooses:
        evaluation = replace(spec, width=fresh_width(spec, channels))
        spec = replace(spec, width=pool.width)
        what = "twice the width of fresh networks" if pool.long else pool.why.split(":")[0]
        depth = draft.reasons.get("architecture")
        width = f"width {spec.width} for {what}"
        draft.decide("architecture", spec, f"{depth}; {width}" if depth else width)
        draft.reasons["evaluation_architecture"] = "wider than a pool's: least noise for its cost"
    draft.decide("evaluation_architecture", evaluation)
    automatic = isinstance(parameters["pool_size"], str)
    wanted = pool.pool_size if automatic else int(parameters["pool_size"])
    size = min(wanted, most_groups(spec, *sizes))
    why = pool.why if automatic else None
    if size < wanted:
        why = (
            f"{wanted} would take more than 512 MB"
            if why is None
            else f"{why}; memory allows {size}"
        )
    draft.decide("pool_size", size, why)
    draft.decide(
        "refresh_interval",
        1 if wanted == 1 else refresh_interval(batch_size, n_items),
        "fresh ones at every step" if wanted == 1 else "refreshing costs half of the items' passes",
    )
    n_bytes = len(context.validation) * evaluation.n_features(shape) * context.dtype.itemsize
    draft.decide(
        "n_evaluation_networks",
        n_evaluation_networks(n_bytes, context.device),
        "as many as the memory for held-out rows allows",
    )
    return pool.long and size == 1


def _resolve_augmentation(draft, parameters, context, *, long):
    augment, n_classes = parameters["augment"], len(context.classes)
    if not isinstance(augment, str):
        names = check_augment(augment, context.shape)
        if names == ("flip",):
            # Both halves of the rows count: each image is flipped or not.
            draft.decide("flipped_classes", tuple(range(n_classes)))
        draft.decide("augmentations", names)
        return
    flipped, why = (), "flips pay late in long runs of fresh networks"
    if not is_image(context.shape):
        why = None
    elif long and parameters["max_iter"] != 0:
        flipped, why = select_flipped_classes(context)
    draft.decide("augmentations", ("flip",) if flipped else (), why)
    draft.decide("flipped_classes", flipped)


def _resolve_soft_labels(draft, parameters, context, timing):
    teacher = parameters["teacher"]
    if teacher is None or parameters["max_iter"] == 0 or not is_image(context.shape):
        draft.decide("soft_labels", False)
        return
    if teacher == "network":
        draft.decide("soft_labels", True)
        draft.decide("teacher_epochs", timing.all_teacher_epochs())
        return
    n_bytes = 4 * len(context.y_encoded) * len(context.classes)
    why = None
    if parameters["max_time"] is None:
        why = "a teacher is trained only in runs with max_time"
    elif draft.values["pool_size"] != 1:
        why = "a teacher pays only where each step has fresh networks and rows"
    elif not len(context.validation):
        why = "no held-out rows say when to switch back to hard labels"
    elif n_bytes > _SOFT_LABEL_BYTES:
        why = "the soft labels would take more than 256 MB"
    if why is not None:
        draft.decide("soft_labels", False, why)
        return
    epochs = timing.teacher_epochs(TEACHER_SHARE * (parameters["max_time"] - timing.elapsed()))
    if epochs:
        draft.decide("soft_labels", True, "a fifth of the time trains a teacher, as measured")
        draft.decide("teacher_epochs", epochs)
    else:
        draft.decide("soft_labels", False, "a fifth of the time is too little for a teacher")


def _resolve_exact_kernel(draft, parameters, context):
    draft.decide("kernel", parameters["kernel"])
    draft.decide("kernel_method", "exact")
    n_items, steps = int(context.per_class.sum()), parameters["max_iter"]
    steps = _EXPECTED_STEPS if steps is None else steps
    n_pairs = steps * n_items * (min(parameters["batch_size"], len(context.train)) + n_items)
    compiled = worth_compiling(context.spec, tuple(context.shape), n_pairs)
    why = "enough pairs to be worth the compiler's time" if compiled else "too few pairs to compile"
    if compiled and parameters["max_time"] is not None and parameters["max_time"] < _COMPILING_TIME:
        compiled, why = False, f"max_time is under {_COMPILING_TIME} s"
    draft.decide("compiled", compiled, why)


def _resolve_finite_network(draft, parameters, context):
    automatic = parameters["norm"] == "auto"
    norm = resolve_norm(parameters["norm"], context.spec, tuple(context.shape))
    draft.decide("instance_norm", norm, "by the size of the last maps" if automatic else None)
    _resolve_fixed_augmentation(draft, parameters, context)
    if "network_life" not in parameters:
        return
    loops = zip(
        ("network_life", "network_steps"), paper_loops(int(context.per_class.max())), strict=True
    )
    for name, value in loops:
        if isinstance(parameters[name], str):
            draft.decide(name, value, "as in the paper, by the items per class")
        else:
            draft.decide(name, parameters[name])


def _resolve_fixed_augmentation(draft, parameters, context):
    """Augmentation of a network's training: "auto" flips the classes that keep their label."""
    augment = parameters["augment"]
    if not isinstance(augment, str):
        draft.decide("augmentations", check_augment(augment, context.shape))
        return
    flipped, why = (), None
    if is_image(context.shape):
        flipped, why = select_flipped_classes(context)
    draft.decide("augmentations", ("flip",) if flipped else (), why)
    draft.decide("flipped_classes", flipped)
