"""The part of a plan that :class:`RFADDistiller` has alone: networks, pool, soft labels."""

import math
from dataclasses import replace

from .._utils.network_spec import ConvNetSpec, same_kernel
from ..architectures import is_open
from .augmentation import is_image, resolve_augmentation
from .budget import TEACHER_SHARE, loop_seconds
from .memory import most_channels, most_groups, n_evaluation_networks
from .pool import default_pool, fresh_width, refresh_interval

# Bytes of soft labels that teacher="auto" may take.
_SOFT_LABEL_BYTES = 2**28
# What timing may decide. A run that goes on keeps it, however fast the machine is then.
_TIMED = ("pool_size", "refresh_interval", "soft_labels", "teacher_epochs")
_FLIPS = ("augmentations", "flipped_classes")


def resolve_random_features(draft, parameters, context, timing, begun):
    """Decide about networks, pool, augmentation and soft labels.

    Parameters
    ----------
    draft : Draft
    parameters : dict
    context : FitContext
    timing : Timing or None
    begun : Plan or None
        Plan of the run that goes on.
    """
    _check_parameters(parameters, context)
    draft.decide("kernel", "nngp")
    draft.decide("kernel_method", "random_features")
    _resolve_evaluation(draft, parameters, context)
    if begun is not None:
        _keep_timed(draft, begun, parameters, context)
        return
    long = _resolve_pool(draft, parameters, context, timing)
    why_not = None
    if not long or parameters["max_iter"] == 0:
        why_not = "flips only in long runs of fresh networks"
        if parameters["max_time"] is not None:
            why_not += ", as measured"
    resolve_augmentation(draft, parameters, context, why_not=why_not)
    _resolve_soft_labels(draft, parameters, context, timing)


def _check_parameters(parameters, context):
    corruption, init = parameters["corruption"], parameters["init"]
    if corruption and not (isinstance(init, str) and init in ("auto", "random", "noise")):
        raise ValueError(
            f"corruption={corruption!r} starts from noise, but init={init!r}; leave init at its "
            "default."
        )
    if parameters["teacher"] == "network" and not is_image(context.shape):
        raise ValueError(
            f"teacher='network' takes images of at least 2x2 pixels, but X holds rows of shape "
            f"{tuple(context.shape)}; give image_shape, or use teacher='auto' or None."
        )


def _chooses_width(parameters, context):
    """Whether the widths of the networks are the planner's, of a ConvNet."""
    return is_open(parameters["architecture"], "width") and isinstance(context.spec, ConvNetSpec)


def _sizes(parameters, context):
    """Arguments of the functions on memory."""
    n_rows = min(parameters["batch_size"], len(context.train))
    return tuple(context.shape), parameters["n_networks"], n_rows, context.dtype


def _resolve_evaluation(draft, parameters, context):
    spec = context.spec
    if _chooses_width(parameters, context):
        width = fresh_width(spec, most_channels(spec, *_sizes(parameters, context)))
        spec = replace(spec, width=width)
        why = "much of the noise comes from the last block, which costs little"
        draft.decide("evaluation_architecture", spec, why)
    else:
        draft.decide("evaluation_architecture", spec)
    n_features = spec.n_features(tuple(context.shape))
    n_bytes = len(context.validation) * n_features * context.dtype.itemsize
    draft.decide(
        "n_evaluation_networks",
        n_evaluation_networks(n_bytes, context.device),
        "8 to 16, on a GPU 32, by the memory of the held-out rows' features",
    )


def _resolve_pool(draft, parameters, context, timing):
    """Widths and groups; whether the run is a long one of fresh networks."""
    spec, n_items = context.spec, context.n_items
    chooses, sizes = _chooses_width(parameters, context), _sizes(parameters, context)
    n_networks, batch_size = parameters["n_networks"], parameters["batch_size"]
    affordable = None
    if parameters["max_time"] is not None:
        most_steps = math.inf if parameters["max_iter"] is None else parameters["max_iter"]

        def affordable(width):
            seconds = timing.fresh_step(width if chooses else spec.width, batch_size, n_networks)
            return min(loop_seconds(parameters) / seconds, most_steps)

    channels = most_channels(spec, *sizes)
    pool = default_pool(spec, n_items, most_channels=channels, affordable=affordable)
    if chooses:
        spec = replace(spec, width=pool.width)
        known = draft.reasons.get("architecture")
        why = f"width {spec.width}: {pool.width_why}"
        draft.decide("architecture", spec, why if known is None else f"{known}; {why}")
    automatic = isinstance(parameters["pool_size"], str)
    wanted = pool.pool_size if automatic else int(parameters["pool_size"])
    size, why = min(wanted, most_groups(spec, *sizes)), pool.why if automatic else None
    if size < wanted:
        short = f"{wanted} groups would take more than 512 MB"
        why = short if why is None else f"{why}; {short}"
    draft.decide("pool_size", size, why)
    if wanted == 1:
        draft.decide("refresh_interval", 1, "fresh networks and rows at every step")
    else:
        every = refresh_interval(batch_size, n_items)
        draft.decide("refresh_interval", every, "batch_size / n_items, at least 4, at most 32")
    return pool.long and size == 1


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
        why = "a teacher pays only without a pool of several groups"
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
        why = "a fifth of the time is too little for a teacher, as measured"
        draft.decide("soft_labels", False, why)


def _keep_timed(draft, begun, parameters, context):
    """Take over what timing may have decided when the run began."""
    if not same_kernel(begun.architecture, context.spec):
        raise ValueError(f"plan: architecture cannot be {begun.architecture!r}")
    for name in ("pool_size", "refresh_interval"):
        if getattr(begun, name) is None or getattr(begun, name) < 1:
            raise ValueError(f"plan: {name} cannot be {getattr(begun, name)!r}")
    # Reasons of a run without a time budget say nothing about one that has it now.
    stale = (begun.max_time is None) is not (parameters["max_time"] is None)

    def keep(name):
        why = begun.reasons.get(name)
        draft.decide(name, getattr(begun, name), "as the run began" if stale and why else why)

    for name in ("architecture", *_TIMED) if _chooses_width(parameters, context) else _TIMED:
        keep(name)
    if not isinstance(parameters["augment"], str):
        resolve_augmentation(draft, parameters, context)
        return
    flips = () if not begun.flipped_classes else ("flip",)
    if begun.augmentations != flips or (flips and not is_image(context.shape)):
        raise ValueError(f"plan: augmentations cannot be {begun.augmentations!r}")
    if not set(begun.flipped_classes) <= set(range(len(context.classes))):
        raise ValueError(f"plan: there are no classes {begun.flipped_classes}")
    for name in _FLIPS:
        keep(name)
