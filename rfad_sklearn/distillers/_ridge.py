"""What the distillers share that minimise the loss of kernel ridge regression."""

from sklearn.utils._param_validation import StrOptions

from ._iterative import BaseDistiller

# Share of max_time after which no more rows are read to solve for labels.
_SOLVE_DEADLINE = 0.95


class RidgeDistiller(BaseDistiller):
    """Base class of the distillers that minimise the loss of kernel ridge regression.

    Its scale and targets may be learned too.
    """

    _parameter_constraints: dict = {
        **BaseDistiller._parameter_constraints,
        "loss": [StrOptions({"cross_entropy", "mse"})],
        "learn_labels": ["boolean", StrOptions({"solve"})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def _check_downstream(self, downstream, resampling):
        if resampling and self.learn_labels:
            raise ValueError(
                f"learn_labels={self.learn_labels!r} makes targets, which fit_resample cannot give "
                "out: it gives labels. Use learn_labels=False, or fit and coreset_.targets."
            )

    @property
    def _solves_labels(self):
        return isinstance(self.learn_labels, str)

    def _divergence_advice(self):
        return f"Lower learning_rate={self.learning_rate!r} or raise reg={self.reg!r}."

    def _finish(self, run, variables):
        name = self._solved(run)
        if name is not None:
            deadline = None
            if self.max_time is not None:
                deadline = run.begin + _SOLVE_DEADLINE * self.max_time
            variables[name] = run.objective.solve_labels(variables, deadline)

    def _solved(self, run):
        """Name of the variable that is solved for at the end; None without one."""
        return "targets" if self._solves_labels else None
