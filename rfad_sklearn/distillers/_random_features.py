"""Items for the NNGP by random features: their objective, and the teacher of soft labels."""

import time

import numpy as np
import torch

from .._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from .._optimization.teacher import Teacher
from .._planning.budget import TEACHER_SHARE

# Stream of seeds of the teacher, beside that of the items.
_TEACHER_STREAM = 1


def random_feature_objective(plan, context, reg, loss, generator):
    """The objective of items for the NNGP.

    Parameters
    ----------
    plan : Plan
    context : FitContext
    reg : float
        Ridge.
    loss : {"cross_entropy", "mse"}
    generator : torch.Generator

    Returns
    -------
    RandomFeatureObjective
    """
    config = PoolConfig(
        batch_size=plan.batch_size,
        reg=reg,
        loss=loss,
        n_networks=plan.n_networks,
        pool_size=plan.pool_size,
        refresh_interval=plan.refresh_interval,
        n_evaluation_networks=plan.n_evaluation_networks,
        flipped=plan.flipped_classes,
        augmentations=plan.augmentations,
    )
    return RandomFeatureObjective(
        plan.architecture,
        context.training_data,
        config,
        generator=generator,
        device=context.device,
        dtype=context.dtype,
        project=context.project,
        evaluation_spec=plan.evaluation_architecture,
    )


def train_teacher(plan, context, objective, deadline):
    """Soft labels of a teacher that is trained now; None where they are of no use.

    Parameters
    ----------
    plan : Plan
    context : FitContext
    objective : RandomFeatureObjective
    deadline : float or None
        End of the whole run, on the monotonic clock: the teacher gets a share of what is left.
    """
    if deadline is not None:
        now = time.monotonic()
        deadline = now + TEACHER_SHARE * max(deadline - now, 0.0)
    seed = int(np.random.default_rng([context.seed, _TEACHER_STREAM]).integers(2**62))
    teacher = Teacher(
        objective.data,
        len(context.classes),
        generator=torch.Generator().manual_seed(seed),
        dtype=context.dtype,
        flipped=objective.config.flipped,
        augmentations=objective.config.augmentations,
    )
    return teacher.train(plan.teacher_epochs, deadline)
