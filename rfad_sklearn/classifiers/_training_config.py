"""Settings of the training of a finite network, and those that held-out rows choose among."""

from dataclasses import dataclass, replace

import torch

# Label scales that held-out rows choose among.
_LABEL_SCALES = (1.0, 4.0, 16.0)
# Label scale without such rows.
DEFAULT_LABEL_SCALE = 4.0
# How much flatter than the squared loss cross entropy is everywhere.
CROSS_ENTROPY_FLATNESS = 2.0
# At even probabilities it is flatter by the number of classes, of which at most so many count. Rows
# learn faster with that, a few distilled items need the smaller one: held-out rows choose.
_MOST_FLATNESS = 8.0


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the training of a finite network.

    Attributes
    ----------
    instance_norm : bool
        Instance normalisation after each convolution.
    centering : bool
        Whether the outputs at the start are subtracted.
    loss : {"mse", "cross_entropy"}
    label_scale : float
        Factor of the targets for "mse".
    learning_rate : float or None
        First step size. None: half of one over the largest curvature of the squared loss at the
        start, times ``flatness``.
    weight_decay : float
        L2 penalty on the distance to the initial parameters.
    batch_size : int
    n_steps : int
    eval_every : int
        Steps between evaluations on held-out rows.
    augmentations : tuple of str
        Random changes of images.
    flipped : tuple of int
        Numbers of the classes whose images are flipped left to right, each with probability one
        half; where there are any, nothing else is changed.
    flatness : float
        How much flatter than the squared loss the loss is taken to be.
    dtype : torch.dtype
        Of the hidden layers' arithmetic in the steps.
    """

    instance_norm: bool
    centering: bool
    loss: str
    label_scale: float
    learning_rate: float | None
    weight_decay: float
    batch_size: int
    n_steps: int
    eval_every: int
    augmentations: tuple
    flipped: tuple
    flatness: float
    dtype: torch.dtype

    @property
    def chosen(self):
        """The setting that held-out rows choose, in words."""
        if self.loss == "mse":
            return f"label_scale={self.label_scale:g}"
        return f"a step size {self.flatness:g} times the safe one"


def candidate_configs(config, n_classes, *, label_scale_is_open):
    """Settings that held-out rows choose among.

    Parameters
    ----------
    config : TrainingConfig
        The settings without held-out rows.
    n_classes : int
    label_scale_is_open : bool
        Whether the label scale of ``config`` is a default.

    Returns
    -------
    list of TrainingConfig
    """
    if config.loss == "mse":
        scales = _LABEL_SCALES if label_scale_is_open else (config.label_scale,)
        return [replace(config, label_scale=scale) for scale in scales]
    if config.learning_rate is None and n_classes > CROSS_ENTROPY_FLATNESS:
        return [config, replace(config, flatness=min(float(n_classes), _MOST_FLATNESS))]
    return [config]
