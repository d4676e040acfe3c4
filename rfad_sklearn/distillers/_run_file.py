"""The checkpoint of one run: whether there is one, whose it is, and what goes into it."""

from pathlib import Path

from .._optimization.checkpoint import (
    array_fingerprint,
    check_same_run,
    is_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from .._planning.plan import Plan
from .._version import __version__

# Parameters that a run that goes on may change, and n_items, which ``per_class`` stands for.
_NOT_COMPARED = ("max_iter", "max_time", "n_iter_no_change", "n_items")
# Preprocessed rows that discriminate two preprocessings.
_FINGERPRINT_ROWS = 16


def seed_of(path):
    """Seed of the run that a checkpoint file holds; None where there is no file.

    Parameters
    ----------
    path : str, path-like or None

    Raises
    ------
    ValueError
        Where the folder does not exist, or the file is something else.
    """
    if path is None:
        return None
    if not Path(path).parent.is_dir():
        raise ValueError(
            f"checkpoint={str(path)!r} is to lie in a folder that does not exist; make it, or give "
            "another path."
        )
    if not Path(path).exists():
        return None
    if not is_checkpoint(path):
        raise ValueError(
            f"checkpoint={str(path)!r} is there already and is not a checkpoint; remove it, or "
            "give another path."
        )
    return load_checkpoint(path)[1]["seed"]


def run_fingerprint(method, settings, context, variables):
    """What must be the same for a run to go on; budgets may change.

    Parameters
    ----------
    method : str
    settings : dict
        Parameters as JSON values.
    context : FitContext
    variables : dict of str to tensor
        At the start.

    Returns
    -------
    dict
    """
    settings = {name: value for name, value in settings.items() if name not in _NOT_COMPARED}
    if settings.get("downstream") == "auto":
        settings["downstream"] = context.downstream
    # Parameters that are arrays or transformers have no words: what they lead to is compared.
    read = context.read(context.train[:_FINGERPRINT_ROWS])
    return {
        **settings,
        "method": method,
        "version": __version__,
        "seed": context.seed,
        "device": context.device.type,
        "dtype": str(context.dtype),
        "network": str(context.spec),
        # Whatever their form: as they were understood.
        "ipc": context.per_class.tolist(),
        "class_weight": context.class_weights,
        "image_shape": context.image_shape and list(context.image_shape),
        "data": array_fingerprint(context.rows, context.y_encoded),
        "rows": context.n_rows,
        "start": array_fingerprint(variables["X"].cpu().numpy(), read),
    }


class RunFile:
    """Checkpoint file of one run.

    Parameters
    ----------
    path : str or path-like
    fingerprint : dict
        Of this run.

    Attributes
    ----------
    state : dict or None
        What the file held, if there was one.
    plan : Plan or None
        The plan in it.

    Raises
    ------
    ValueError
        Where the file is damaged, or of another run.
    """

    def __init__(self, path, fingerprint):
        self.path, self.fingerprint = path, fingerprint
        self.state = self.plan = None
        if Path(path).exists():
            self.state, theirs = load_checkpoint(path)
            check_same_run(path, fingerprint, theirs)
            self.plan = self._read_plan()

    def _read_plan(self):
        try:
            return Plan.from_dict(self.state["plan"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise self.damaged(error) from error

    def damaged(self, error):
        """Exception for a file from which no run can go on."""
        return ValueError(
            f"{self.path} is not a readable checkpoint: {str(error).rstrip('.')}. Remove it, or "
            "give checkpoint= another path."
        )

    def save(self, state, plan):
        """Write the state of the loop, and the plan."""
        save_checkpoint(self.path, {**state, "plan": plan.to_dict()}, self.fingerprint)
