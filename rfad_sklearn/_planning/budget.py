"""Budgets of a run: its steps, its seconds, and their shares."""

import math

# Steps when neither max_iter nor max_time is given.
DEFAULT_MAX_ITER = 1000
# Of items for any model, steps that pass over the rows so often, but some anyway: more gain nothing
# where rows are few. Images, whose pixels are many, gain for longer.
_MOST_PASSES, _FEWEST_STEPS = {"pixels": 600, "table": 300}, 200
# Steps between evaluations, and evaluations without improvement that are waited for, by what the
# items are for. Fitting a panel of classifiers takes the time of many steps.
_EVAL_EVERY = {"nngp": 50, "any": 100}
_N_ITER_NO_CHANGE = {"nngp": 100, "any": 5}
# Share of max_time after which the steps end when labels are solved for.
_LOOP_SHARE = 0.85
# Share of the time that is left that a teacher may take.
TEACHER_SHARE = 0.2


def default_max_iter(parameters, downstream, n_train, pixels):
    """Steps of a run at most; None where only time bounds them.

    Parameters
    ----------
    parameters : dict
    downstream : {"nngp", "any"}
    n_train : int
        Training rows.
    pixels : bool
    """
    if parameters["max_iter"] is not None or parameters["max_time"] is not None:
        return parameters["max_iter"]
    if downstream == "nngp":
        return DEFAULT_MAX_ITER
    passes = _MOST_PASSES["pixels" if pixels else "table"]
    n_steps = math.ceil(passes * n_train / parameters["batch_size"])
    return min(max(n_steps, _FEWEST_STEPS), DEFAULT_MAX_ITER)


def loop_seconds(parameters, solves_targets=False):
    """Seconds of ``fit`` after which the steps end, or None.

    Less than all of them where labels, or targets of items for any model, are solved for.
    """
    solves = solves_targets or isinstance(parameters.get("learn_labels"), str)
    seconds = parameters["max_time"]
    return seconds if seconds is None or not solves else _LOOP_SHARE * seconds


def resolve_eval_every(parameters, downstream):
    """Steps between evaluations."""
    given = parameters["eval_every"]
    return _EVAL_EVERY[downstream] if given == "auto" else int(given)


def resolve_n_iter_no_change(parameters, downstream):
    """Evaluations without improvement after which the end of a run begins."""
    given = parameters["n_iter_no_change"]
    return _N_ITER_NO_CHANGE[downstream] if given == "auto" else int(given)
