"""From the parameters of an estimator and the context of a fit to its plan."""

import torch

from .._kernels.exact import worth_compiling
from .._optimization.scoring import scoring_name
from .._utils.network_spec import ConvNetSpec, MLPSpec, resolve_norm
from ..architectures import is_open
from .any_model_plan import resolve_any_model
from .augmentation import resolve_augmentation
from .budget import (
    DEFAULT_MAX_ITER,
    default_max_iter,
    resolve_eval_every,
    resolve_n_iter_no_change,
)
from .kernel_method import select_kernel_method
from .memory import N_EVALUATION_NETWORKS
from .plan import Draft
from .random_feature_plan import resolve_random_features

# Step size of the logarithm of the scale, and of those of the surrogates.
_LOG_SCALE_LEARNING_RATE = 1e-2
_SURROGATE_LEARNING_RATE = 2e-2
# Learned targets move at this share of the items' step: they are of size 1 / n_classes to 1, the
# items of size 1.
_TARGET_SHARE = 0.1
# Steps that a run without max_iter is taken to make: is it worth compiling?
_EXPECTED_STEPS = 1000
# Seconds of max_time of which compiling would take too much.
_COMPILING_TIME = 300
# Steps of the items per network and of the network between them, by items per class: the outer and
# inner loops of Zhao et al. 2021.
_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


def plan_parameters(estimator):
    """Parameters of an estimator for :func:`resolve_plan`, and the name of its class."""
    return {"method": type(estimator).__name__, **estimator.get_params(deep=False)}


def resolve_plan(parameters, context, timing=None, *, begun=None):
    """Resolve every "auto" of an estimator.

    A function of its arguments: nothing is drawn from the generator of the run. Clocks are in
    ``timing`` only.

    Parameters
    ----------
    parameters : dict
        As of :func:`plan_parameters`.
    context : FitContext or RowsContext
        Data and network of the fit.
    timing : Timing, optional
        Clock of the fit; needed where ``max_time`` is given, or a teacher is.
    begun : Plan, optional
        See :func:`resume_plan`.

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
    _resolve_rows(draft, parameters, context)
    if "scoring" in parameters:
        _resolve_scoring(draft, parameters, context)
    if "kernel_method" in parameters:
        _resolve_kernel_method(draft, parameters, context)
    if "downstream" in parameters:
        _resolve_downstream(draft, parameters, context)
    if "pool_size" in parameters and context.downstream == "any":
        resolve_any_model(draft, context)
    elif "pool_size" in parameters:
        resolve_random_features(draft, parameters, context, timing, begun)
    elif "kernel" in parameters and "learn_labels" in parameters:
        _resolve_exact_kernel(draft, parameters, context)
    if "norm" in parameters:
        _resolve_finite_network(draft, parameters, context)
    if "max_time" in parameters:
        _resolve_optimization(draft, parameters, context)
    return draft.finished()


def resume_plan(plan, parameters, context):
    """Plan of a run that goes on, with the budgets that it is given anew.

    Only what timing may have decided comes from the plan of its file.

    Parameters
    ----------
    plan : Plan
        Of the file.
    parameters, context
        As for :func:`resolve_plan`.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError, TypeError
        Where the plan of the file cannot be one of such a run.
    """
    return resolve_plan(parameters, context, begun=plan)


def paper_loops(ipc):
    """Steps of the items per network, and of the network between them, by items per class."""
    return _LOOPS[max(known for known in _LOOPS if known <= max(ipc, 1))]


def _is_auto(parameters, name):
    """Whether a parameter is the word "auto"; arrays and transformers are compared with nothing."""
    return isinstance(parameters[name], str) and parameters[name] == "auto"


def _resolve_inputs(draft, parameters, context):
    """Network, preprocessing and arithmetic: what the context holds, and why."""
    images, spec = len(context.shape) == 3, context.spec
    whitened = "whitened" in context.preprocessing_name
    if images:
        others = "images of too few rows to whiten"
    elif "quantiles" in context.preprocessing_name:
        others = "these columns of a table are skewed"
    else:
        others = "a table, column by column, without skewed ones"
    reasons = {
        "preprocessing": "images: gently, along their leading directions" if whitened else others,
        "device": "CUDA is available" if context.device.type == "cuda" else "no CUDA device here",
        "dtype": "the hardware is fast at it"
        if context.dtype == torch.bfloat16
        else "fast and precise enough here",
    }
    architecture = parameters["architecture"]
    if isinstance(architecture, str):
        reasons["architecture"] = "images" if images else "flat rows; for images pass image_shape"
    elif is_open(architecture, "depth") or is_open(architecture, "width"):
        reasons["architecture"] = f"open fields: depth {spec.depth}, width {spec.width}"
    values = {
        "architecture": context.spec,
        "preprocessing": context.preprocessing_name,
        "device": context.device.type,
        "dtype": str(context.dtype).removeprefix("torch."),
    }
    for name, value in values.items():
        automatic = name == "architecture" or _is_auto(parameters, name)
        draft.decide(
            name, value, context.reasons.get(name, reasons.get(name) if automatic else None)
        )


def _resolve_downstream(draft, parameters, context):
    """What the items are for, and what evaluates them."""
    wanted, kind = parameters["downstream"], context.downstream
    if not isinstance(wanted, str):
        draft.decide("downstream", type(wanted).__name__)
    elif wanted == "auto":
        why = "fit_resample is for other models" if kind == "any" else "fit is for NNGPKernelRidge"
        draft.decide("downstream", kind, why)
    else:
        draft.decide("downstream", kind)
    draft.decide("panel", context.panel_names, context.reasons.get("panel"))


def _resolve_scoring(draft, parameters, context):
    """What held-out rows are scored by."""
    automatic = _is_auto(parameters, "scoring")
    if not context.n_held_out:
        draft.decide("scoring", None, None if automatic else "no rows are held out")
    elif not automatic:
        draft.decide("scoring", scoring_name(parameters["scoring"]))
    elif context.downstream == "any":
        draft.decide("scoring", "accuracy", "the mean of the panel")
    else:
        draft.decide("scoring", "cross entropy", "of the held-out rows, at its best scale")


def _resolve_rows(draft, parameters, context):
    draft.decide("n_items", context.n_items)
    draft.decide("n_train", context.n_train)
    draft.decide("n_held_out", context.n_held_out, context.reasons.get("n_held_out"))
    for name in ("batch_size", "n_networks"):
        # A selector has networks for distances between features only.
        if name in parameters and parameters.get("space") != "input":
            draft.decide(name, parameters[name])
    if "network_life" in parameters or "strategy" in parameters:
        draft.decide("n_evaluation_networks", N_EVALUATION_NETWORKS)


def _resolve_kernel_method(draft, parameters, context):
    kernel = parameters["kernel"]
    method, why = select_kernel_method(
        parameters["kernel_method"],
        kernel,
        context.spec,
        context.shape,
        context.n_items or context.n_train,
    )
    draft.decide("kernel", kernel)
    draft.decide("kernel_method", method, why)
    if method == "random_features":
        return
    draft.decide("n_networks", None)
    if isinstance(context.spec, MLPSpec):
        draft.decide("dtype", "float64", "the exact kernel of an MLP is cheap enough for it")


def _resolve_optimization(draft, parameters, context):
    max_iter = default_max_iter(parameters, context.downstream, context.n_train, context.pixels)
    draft.decide("max_iter", max_iter)
    if context.downstream == "any" and context.exhausted.all():
        draft.decide("max_iter", 1, "every class gives its rows as they are")
    elif parameters["max_iter"] is None and context.cross_fitted.any():
        why = "beside rows as they are: steps fit the items to these few, and lose on others"
        draft.decide("max_iter", 0, why)
    elif parameters["max_time"] is not None and max_iter is None:
        draft.reasons["max_iter"] = "only max_time bounds the steps"
    elif parameters["max_iter"] is None:
        why = f"{DEFAULT_MAX_ITER} where no budget is given"
        few = context.downstream == "any" and max_iter < DEFAULT_MAX_ITER
        draft.reasons["max_iter"] = "no budget is given, and rows are few" if few else why
    draft.decide("max_time", parameters["max_time"])
    for name, resolve in (
        ("eval_every", resolve_eval_every),
        ("n_iter_no_change", resolve_n_iter_no_change),
    ):
        why = "by what the items are for" if _is_auto(parameters, name) else None
        draft.decide(name, resolve(parameters, context.downstream), why)
    learning_rates = {"X": parameters["learning_rate"]}
    if context.downstream == "any":
        learning_rates["log_scales"] = _SURROGATE_LEARNING_RATE
        draft.decide("learning_rates", learning_rates)
        draft.decide("solver", "adam", "a step size for each column")
        return
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
        draft.decide(
            "solver", "muon", "images: orthogonal steps, whatever their gradients have in common"
        )
    else:
        draft.decide("solver", "adam", "flat rows: a step size for each column")


def _resolve_exact_kernel(draft, parameters, context):
    draft.decide("kernel", parameters["kernel"])
    draft.decide("kernel_method", "exact")
    n_items, steps = context.n_items, parameters["max_iter"]
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
    convolutional = isinstance(context.spec, ConvNetSpec)
    why = "by the size of the last maps" if convolutional else "an MLP has no maps to normalise"
    draft.decide("instance_norm", norm, why if automatic else None)
    resolve_augmentation(draft, parameters, context)
    if "network_life" not in parameters:
        draft.decide("max_iter", parameters["max_iter"])
        draft.decide("solver", "sgd")
        return
    loops = zip(
        ("network_life", "network_steps"), paper_loops(int(context.per_class.max())), strict=True
    )
    for name, value in loops:
        if isinstance(parameters[name], str):
            draft.decide(name, value, "as in the paper, by the items per class")
        else:
            draft.decide(name, parameters[name])
