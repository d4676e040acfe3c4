"""Settings of the loop, its state as a callback sees it, and its result."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoopConfig:
    """When to evaluate and when to stop.

    Attributes
    ----------
    learning_rates : dict of str to float
        Step sizes at the start, of the variables to optimise.
    begin : float
        Moment of ``time.monotonic()`` at which ``fit`` began.
    max_iter : int or None
        Number of steps; one of ``max_iter`` and ``deadline`` must be given.
    deadline : float or None
        Moment of ``time.monotonic()`` after which the run is over.
    eval_every : int
        Steps between two evaluations.
    n_iter_no_change : int
        Evaluations without improvement after which the run cools down to its end.
    tol : float
        Improvements of the held-out loss that are not larger do not count.
    muon_parameters : tuple of str
        Names of the variables that take the steps of Muon in place of Adam's.
    slack : float
        A later state is kept in place of the best one where its held-out loss is higher by no more
        than this: what few rows say is noisy, and late states, of small steps, are not.
    """

    learning_rates: dict
    begin: float
    max_iter: int | None
    deadline: float | None
    eval_every: int
    n_iter_no_change: int
    tol: float
    muon_parameters: tuple = ()
    slack: float = 0.0


@dataclass(frozen=True)
class DistillationState:
    """What a callback receives at every evaluation.

    Attributes
    ----------
    step : int
        Steps done.
    time : float
        Seconds since ``fit`` was called.
    loss : float
        Mean training loss of the steps since the last evaluation; to soft labels as long as they
        are used.
    validation_score : float or None
        Accuracy on held-out rows, or what ``scoring`` says; None without held-out rows.
    best_validation_score : float or None
        The same in the best state so far.
    validation_loss : float or None
        By which the best state is chosen: the cross entropy on held-out rows, for any model the
        panel's mean error, or minus the score that ``scoring`` asks for.
    steps_per_second : float
        Since the last evaluation, without the time of evaluations.
    evaluation_time : float
        Seconds that all evaluations took so far, this one included.
    score_name : str
        What the scores are.
    coreset : Coreset
        The current coreset, in raw units; made when it is read.
    """

    step: int
    time: float
    loss: float
    validation_score: float | None
    best_validation_score: float | None
    validation_loss: float | None
    steps_per_second: float
    evaluation_time: float
    score_name: str = "accuracy"
    _make_coreset: object = field(repr=False, default=None)

    @property
    def coreset(self):
        """The current coreset, in raw units."""
        return self._make_coreset()

    def __str__(self):
        parts = [f"step {self.step:6d}", f"{self.time:8.1f} s", f"loss {self.loss:.4f}"]
        if self.validation_score is not None:
            best = f"(best {self.best_validation_score:.4f})"
            parts.append(f"validation {self.score_name} {self.validation_score:.4f} {best}")
        parts += [
            f"{self.steps_per_second:.1f} steps/s",
            f"evaluating {self.evaluation_time:.1f} s",
        ]
        return " | ".join(parts)


@dataclass
class LoopResult:
    """The state that was kept, and how it came about.

    Attributes
    ----------
    variables : dict of str to tensor
    n_iter : int
        Steps done.
    history : list of dict
        ``step``, ``seconds``, ``loss``, ``validation_score`` and ``validation_loss`` of each
        evaluation.
    best_validation_score : float or None
        Score of ``variables`` on held-out rows; None without held-out rows.
    best_validation_loss : float
        The lowest held-out loss; infinity without held-out rows.
    reason : str
        Why the loop ended.
    """

    variables: dict
    n_iter: int = 0
    history: list = field(default_factory=list)
    best_validation_score: float | None = None
    best_validation_loss: float = math.inf
    reason: str = "max_iter"

    @property
    def loss_curve(self):
        """Training loss at each evaluation."""
        return [record["loss"] for record in self.history]

    @property
    def validation_scores(self):
        """Score on held-out rows at each evaluation."""
        return [
            record["validation_score"]
            for record in self.history
            if record["validation_score"] is not None
        ]
