"""The interface between the loop and what it minimises."""

import abc

import torch


class Objective(abc.ABC):
    """What a run minimises, and how its items are validated.

    The loop calls :meth:`loss` and :meth:`after_step` at every step and :meth:`validate` at every
    evaluation. ``variables`` are the tensors of a run by name: ``"X"`` (items as network inputs),
    ``"targets"`` ``(n_items, n_classes)`` and ``"log_scale"`` (logarithm of the factor of the
    scores in the cross entropy).

    A constructor draws what the first step uses, so that a loss can be taken at once.
    """

    #: A teacher's labels that may stand for those of the rows; None without a teacher.
    soft_labels = None

    @abc.abstractmethod
    def draw(self):
        """Draw what the next step uses: rows, networks, or both."""

    def initial_variables(self):
        """Variables of this objective alone, at their start.

        Returns
        -------
        dict of str to tensor
        """
        return {}

    @abc.abstractmethod
    def loss(self, variables):
        """Scalar tensor to minimise, with gradients to the variables.

        Parameters
        ----------
        variables : dict of str to tensor

        Returns
        -------
        tensor of shape ()
        """

    def after_step(self, variables):
        """Take note of a step, and draw what the next one uses.

        Parameters
        ----------
        variables : dict of str to tensor
            As the step has left them.
        """
        self.draw()

    @abc.abstractmethod
    def validate(self, variables, progress):
        """Quality of the variables on held-out rows.

        Parameters
        ----------
        variables : dict of str to tensor
        progress : float
            How far along the run is, between 0 and 1.

        Returns
        -------
        tuple (score, loss) of float, or None without held-out rows
            The loss, by which states are compared, is the cross entropy at its best scale, or
            minus the score of a scorer.
        """

    @abc.abstractmethod
    def fit_scale(self, variables, *, held_out=False):
        """Factor of the scores with the lowest cross entropy.

        Parameters
        ----------
        variables : dict of str to tensor
        held_out : bool, default=False
            Fit it on the held-out rows, where there are any, in place of the current rows.

        Returns
        -------
        float
        """

    @abc.abstractmethod
    def state_dict(self):
        """Everything random or measured that a run needs to go on from here.

        Returns
        -------
        dict
            Of tensors, of what JSON can hold, and of such dicts.
        """

    @abc.abstractmethod
    def load_state_dict(self, state):
        """Go back to a state that :meth:`state_dict` gave."""

    def probe(self, variables):
        """Take one loss and its gradients, as a step does, for measuring how long that takes.

        Works on copies of the variables; random state, rows and networks stay as they are.

        Parameters
        ----------
        variables : dict of str to tensor
        """
        copies = {
            name: value.detach().clone().requires_grad_(True) for name, value in variables.items()
        }
        with torch.enable_grad():
            self.loss(copies).backward()

    def probe_evaluation(self, variables):
        """Evaluate as an evaluation does, for measuring how long that takes; nothing changes."""
        self.fit_scale(variables, held_out=True)

    @property
    def slack(self):
        """How much higher the held-out loss of a late state may be; see :class:`LoopConfig`."""
        return 0.0

    @property
    def refresh_seconds(self):
        """Seconds per step that renewing rows and networks takes; 0.0 where none are renewed."""
        return 0.0
