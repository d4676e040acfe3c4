"""The plan of a fit: what every "auto" became, and why, before the first step."""

import dataclasses
import textwrap
from dataclasses import dataclass, field

import numpy as np

from .._utils.network_spec import ConvNetSpec, MLPSpec, spec_from_dict, spec_to_dict

# Fields that are measured: they differ from run to run, and stay out of files.
_MEASURED = ("seconds_per_step", "expected_seconds")
# Width of the first two columns of a printed plan, and of the whole of it.
_NAME_WIDTH = 23
_WIDTH = 100


@dataclass(frozen=True)
class Plan:
    """What ``fit`` decided before its first step.

    A field is None where it has no meaning for the estimator. ``reasons`` has one sentence for each
    automatic choice, by the name of the field.

    Attributes
    ----------
    method : str
        Class of the estimator.
    architecture : ConvNetSpec or MLPSpec
        Network with its depth and widths, as it is trained on.
    evaluation_architecture : ConvNetSpec, MLPSpec or None
        Network that evaluates held-out rows.
    downstream : str or None
        What the items are for: "nngp", "any", or the classifier that evaluates them.
    init : str or None
        Where the items start; None where they are given.
    spacing : float or None
        Root mean square distance per column of rows to the nearest item of their class, at the
        start, in the coordinates of the items.
    surrogates : tuple of str
        Models whose losses on rows are minimised, where the items are for any model.
    panel : tuple of str
        Classifiers that are fitted on the items and evaluate the held-out rows.
    scoring : str or None
        What held-out rows are scored by: which state is kept goes by it.
    item_dropout : float or None
        Share of the items that a step leaves out.
    kernel : {"nngp", "ntk"} or None
    kernel_method : {"exact", "random_features"} or None
    solves_targets : bool or None
        Whether items for any model get targets that are the best for the coreset's own classifier.
    n_items : int or None
        Items of the coreset.
    n_train, n_held_out : int or None
        Rows that are trained on, and rows that evaluate the result.
    preprocessing : str or None
    n_networks : int or None
        Random networks of a step, or of a kernel.
    pool_size : int or None
        Groups of networks and rows that are kept at a time.
    refresh_interval : int or None
        Steps between two new groups; 1 is fresh networks and rows at every step.
    n_evaluation_networks : int or None
    batch_size : int or None
        Training rows of a step.
    solver : {"muon", "adam", "sgd"} or None
    learning_rates : dict of str to float, or None
        First step size of each variable.
    soft_labels : bool or None
        Whether a teacher's probabilities stand for the labels (knowledge distillation).
    teacher_epochs : int or None
    augmentations : tuple of str
        Random changes of images.
    flipped_classes : tuple of int
        Numbers of the classes that are augmented, where flips are the only augmentation.
    instance_norm : bool or None
        Whether a finite network normalises each image.
    network_life, network_steps : int or None
        Steps of the items per network, and steps of the network between two of them.
    compiled : bool or None
        Whether the exact kernel's arithmetic is compiled.
    eval_every : int or None
        Steps between evaluations.
    n_iter_no_change : int or None
        Evaluations without improvement after which the end begins.
    max_iter : int or None
    max_time : float or None
        Seconds.
    device, dtype : str or None
    seconds_per_step : float or None
        Measured, with ``verbose``.
    expected_seconds : float or None
        Of the whole of ``fit``, measured, with ``verbose``; but for solving for labels at its end.
    reasons : dict of str to str
    """

    method: str
    architecture: ConvNetSpec | MLPSpec
    evaluation_architecture: ConvNetSpec | MLPSpec | None = None
    downstream: str | None = None
    init: str | None = None
    spacing: float | None = None
    surrogates: tuple = ()
    panel: tuple = ()
    scoring: str | None = None
    item_dropout: float | int | None = None
    kernel: str | None = None
    kernel_method: str | None = None
    solves_targets: bool | None = None
    n_items: int | None = None
    n_train: int | None = None
    n_held_out: int | None = None
    preprocessing: str | None = None
    n_networks: int | None = None
    pool_size: int | None = None
    refresh_interval: int | None = None
    n_evaluation_networks: int | None = None
    batch_size: int | None = None
    solver: str | None = None
    learning_rates: dict | None = None
    soft_labels: bool | None = None
    teacher_epochs: int | None = None
    augmentations: tuple = ()
    flipped_classes: tuple = ()
    instance_norm: bool | None = None
    network_life: int | None = None
    network_steps: int | None = None
    compiled: bool | None = None
    eval_every: int | None = None
    n_iter_no_change: int | None = None
    max_iter: int | None = None
    max_time: float | int | None = None
    device: str | None = None
    dtype: str | None = None
    seconds_per_step: float | None = None
    expected_seconds: float | None = None
    reasons: dict = field(default_factory=dict)

    def to_dict(self) -> dict:
        """The plan as JSON values, without what was measured.

        Returns
        -------
        dict
            The same for equal runs; :meth:`from_dict` reads it.
        """
        out = {}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if each.name in _MEASURED or value is None:
                continue
            if isinstance(value, ConvNetSpec | MLPSpec):
                value = spec_to_dict(value)
                value["width"] = _as_list(value["width"])
            # A copy: whoever writes into it does not change the plan.
            out[each.name] = dict(value) if isinstance(value, dict) else _as_list(value)
        return out

    @classmethod
    def from_dict(cls, values: dict) -> "Plan":
        """Plan of a dictionary made by :meth:`to_dict`.

        Parameters
        ----------
        values : dict

        Returns
        -------
        Plan

        Raises
        ------
        ValueError, TypeError
            Where it is not such a dictionary.
        """
        values = dict(values)
        for name in ("architecture", "evaluation_architecture"):
            if name in values:
                values[name] = spec_from_dict(values[name])
        for name in ("augmentations", "flipped_classes", "surrogates", "panel"):
            values[name] = tuple(values.get(name, ()))
        plan = cls(**values)
        plan._check()
        return plan

    def _check(self):
        """Raise ``TypeError`` where a field has not the type that it must have."""
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            # To Python a bool is a number.
            number = isinstance(value, bool) and each.type != bool | None
            if number or not isinstance(value, each.type):
                raise TypeError(f"plan: {each.name} cannot be {value!r}")

    def __str__(self):
        lines = [f"{self.method}: plan"]
        for name, text in self._shown():
            reason = self.reasons.get(name)
            entry = f"{text} - {reason}" if reason else text
            lines += textwrap.wrap(
                entry,
                _WIDTH,
                initial_indent=f"  {name.replace('_', ' '):{_NAME_WIDTH}s} ",
                subsequent_indent=" " * (_NAME_WIDTH + 3),
            )
        return "\n".join(lines)

    def _shown(self):
        """Names and texts of the fields that say something, in their order."""
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if each.name in ("method", "reasons") or (
                value in (None, ()) and each.name not in self.reasons
            ):
                continue
            yield each.name, _text(each.name, value)


def _plain(value):
    """A value with the numbers of Python in place of those of numpy."""
    if isinstance(value, dict):
        return {key: _plain(number) for key, number in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _as_list(value):
    return list(value) if isinstance(value, tuple) else value


def _text(name, value):
    """How a value is printed."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {number:g}" for key, number in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if name == "max_time" or name in _MEASURED:
        return f"{value:.3g} s"
    if name == "spacing":
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


class Draft:
    """A plan in the making: values, and the reason for each that was chosen automatically."""

    def __init__(self, **values):
        self.values, self.reasons = values, {}

    def decide(self, name, value, why=None):
        """Set a field; ``why`` gives the reason of an automatic choice."""
        self.values[name] = _plain(value)
        self.reasons.pop(name, None)
        if why is not None:
            self.reasons[name] = why

    def finished(self):
        """The plan."""
        return Plan(**self.values, reasons=self.reasons)
