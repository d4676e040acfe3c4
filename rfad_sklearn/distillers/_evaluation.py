"""Kernel ridge regression that evaluates items which it does not optimise."""

import torch

from .._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from .._planning.memory import N_EVALUATION_NETWORKS

# Training rows that the scale of items is fitted on where none are held out.
_SCALE_ROWS = 2048


def evaluation_objective(context, data, reg, generator, batch_size=_SCALE_ROWS):
    """Kernel ridge regression by a few fixed networks, which validates items and fits their scale.

    Parameters
    ----------
    context : FitContext
    data : TrainingData
    reg : float
    generator : torch.Generator
    batch_size : int, default=2048
        Rows that the scale is fitted on where none are held out.

    Returns
    -------
    RandomFeatureObjective
    """
    config = PoolConfig(
        batch_size=batch_size,
        reg=reg,
        loss="cross_entropy",
        n_networks=N_EVALUATION_NETWORKS,
        pool_size=1,
        refresh_interval=1,
        n_evaluation_networks=N_EVALUATION_NETWORKS,
    )
    return RandomFeatureObjective(
        context.spec,
        data,
        config,
        generator=generator,
        device=context.device,
        dtype=torch.promote_types(context.dtype, torch.float32),
        project=context.project,
    )
