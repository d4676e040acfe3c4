"""scikit-learn's own callbacks (progress bars, for example), which it has from version 1.9 on."""

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """In place of scikit-learn's, which older versions lack."""


def begin_fit(estimator, X, y, n_evaluations):
    """Tell the callbacks that ``fit`` begins.

    ``n_evaluations`` is the number of its subtasks, or None when it is not known.
    """
    if hasattr(estimator, "_init_callback_context"):
        context = estimator._init_callback_context(max_subtasks=n_evaluations)
        context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)


def end_evaluation(estimator):
    """Tell the callbacks that some steps are done and evaluated; True when one asks to stop."""
    context = getattr(estimator, "_callback_fit_ctx", None)
    if context is None:
        return False
    task = context.subcontext(task_name="evaluation")
    task.call_on_fit_task_begin(estimator=estimator)
    return bool(task.call_on_fit_task_end(estimator=estimator))


def end_fit(estimator, X, y):
    """Tell the callbacks that ``fit`` is done."""
    context = getattr(estimator, "_callback_fit_ctx", None)
    if context is not None:
        context.call_on_fit_task_end(estimator=estimator, X=X, y=y)
