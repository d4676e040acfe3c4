"""What all objectives share: probes leave no trace, and states bring the same losses back."""

import time
from dataclasses import replace

import pytest
import torch

from rfad_sklearn._networks.augment import draw_augmentation
from rfad_sklearn._networks.random_features import cached_features
from rfad_sklearn._optimization.exact_kernel_objective import ExactKernelObjective
from rfad_sklearn._optimization.gradient_matching_objective import (
    GradientMatchingObjective,
    MatchingConfig,
)
from rfad_sklearn._optimization.objective import Objective
from rfad_sklearn._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from rfad_sklearn._optimization.ridge_objective import RidgeConfig
from rfad_sklearn._optimization.stopwatch import Stopwatch
from rfad_sklearn._optimization.training_data import TrainingData
from rfad_sklearn._utils.labels import centred_one_hot
from rfad_sklearn._utils.network_spec import ConvNetSpec

SHAPE, N_ROWS, N_CLASSES = (8, 8, 1), 60, 3
SPEC = ConvNetSpec(depth=2, width=8)
CPU = torch.device("cpu")
RIDGE = {"batch_size": 16, "reg": 5e-3, "loss": "cross_entropy"}
POOL = {
    **RIDGE,
    "n_networks": 2,
    "pool_size": 2,
    "refresh_interval": 2,
    "n_evaluation_networks": 2,
}


def training_data():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((N_ROWS, *SHAPE), generator=generator)
    return TrainingData(
        read=lambda indices: rows[indices],
        labels=torch.arange(N_ROWS) % N_CLASSES,
        n_classes=N_CLASSES,
        train=torch.arange(45),
        validation=torch.arange(45, N_ROWS),
        shape=SHAPE,
    )


def variables():
    generator = torch.Generator().manual_seed(1)
    return {
        "X": torch.randn((6, *SHAPE), generator=generator),
        "targets": centred_one_hot(torch.arange(6) % N_CLASSES, N_CLASSES),
        "log_scale": torch.tensor(0.5),
    }


def random_features(seed=2, **changes):
    return RandomFeatureObjective(
        SPEC,
        training_data(),
        PoolConfig(**{**POOL, **changes}),
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
        dtype=torch.float32,
    )


def exact_kernel(seed=2):
    return ExactKernelObjective(
        SPEC,
        training_data(),
        RidgeConfig(**RIDGE),
        kernel="nngp",
        compiled=False,
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
    )


def gradient_matching(seed=2):
    ridge = random_features(seed)
    return GradientMatchingObjective(
        SPEC,
        training_data(),
        MatchingConfig(
            batch_size=4,
            network_life=3,
            network_steps=2,
            network_learning_rate=0.01,
            instance_norm=False,
            augmentations=("crop", "scale"),
        ),
        item_y_encoded=(torch.arange(6) % N_CLASSES).numpy(),
        ridge=ridge,
        generator=ridge.generator,
        device=CPU,
        dtype=torch.float32,
    )


OBJECTIVES = {
    "random features": random_features,
    "augmented random features": lambda seed=2: random_features(
        seed, augmentations=("rotate", "cutout")
    ),
    "exact kernel": exact_kernel,
    "gradient matching": gradient_matching,
}


def steps(objective, n=5):
    """Losses of some steps at fixed variables, and the last gradient."""
    values, losses = variables(), []
    values["X"].requires_grad_(True)
    for _ in range(n):
        loss = objective.loss(values)
        losses.append(loss.item())
        (gradient,) = torch.autograd.grad(loss, values["X"])
        objective.after_step(values)
    return losses, gradient


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_probe_changes_nothing(name):
    plain, probed, values = OBJECTIVES[name](), OBJECTIVES[name](), variables()
    before = {key: value.clone() for key, value in values.items()}
    global_state = torch.get_rng_state()
    for _ in range(2):
        probed.probe(values)
    assert torch.equal(torch.get_rng_state(), global_state)
    assert all(torch.equal(values[key], before[key]) for key in values)
    assert all(value.grad is None and not value.requires_grad for value in values.values())
    expected, gradient = steps(plain)
    found, its_gradient = steps(probed)
    assert found == expected
    assert len(set(found)) > 1
    assert torch.equal(its_gradient, gradient)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_probe_takes_a_loss_and_its_gradients(name, monkeypatch):
    objective, seen = OBJECTIVES[name](), []
    loss = objective.loss

    def noted(values):
        seen.append(values)
        return loss(values)

    monkeypatch.setattr(objective, "loss", noted)
    with torch.no_grad():
        objective.probe(variables())
    (copies,) = seen
    assert copies["X"].grad.abs().max() > 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_state_brings_the_same_losses_back(name):
    objective, other = OBJECTIVES[name](), OBJECTIVES[name](seed=3)
    assert isinstance(objective, Objective)
    steps(objective, 4)
    state = {
        key: value.clone() if torch.is_tensor(value) else value
        for key, value in objective.state_dict().items()
    }
    other.load_state_dict(state)
    expected, _ = steps(objective)
    assert steps(other)[0] == expected


@pytest.mark.parametrize("name", OBJECTIVES)
def test_constructing_and_stepping_leave_the_global_generator(name):
    before = torch.get_rng_state()
    steps(OBJECTIVES[name]())
    assert torch.equal(torch.get_rng_state(), before)


def test_gradient_matching_validates_by_its_ridge_objective():
    objective, values = gradient_matching(), variables()
    assert objective.validate(values, 0.0) == objective.ridge.validate(values, 0.0)
    for held_out in (False, True):
        assert objective.fit_scale(values, held_out=held_out) == objective.ridge.fit_scale(
            values, held_out=held_out
        )


def test_gradient_matching_trains_its_network_on_the_items_after_the_step():
    first, second = gradient_matching(), gradient_matching()
    values = variables()
    first.loss(values)
    second.loss(values)
    moved = {**values, "X": values["X"] + 1}
    first.after_step(values)
    second.after_step(moved)
    assert not torch.equal(first.parameters[0], second.parameters[0])


def test_seconds_of_a_refresh_are_those_of_the_newest_group_per_step():
    objective = random_features(refresh_interval=4)
    assert 0 < objective.refresh_seconds < 10
    read = objective.data.read

    def slowly(indices):
        time.sleep(0.2)
        return read(indices)

    objective.data = replace(objective.data, read=slowly)
    values = variables()
    for _ in range(4):
        objective.after_step(values)
    assert 0.2 / 4 <= objective.refresh_seconds < 10 / 4
    assert exact_kernel().refresh_seconds == gradient_matching().refresh_seconds == 0.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_stopwatch_counts_the_work_of_a_gpu():
    device = torch.device("cuda")
    matrix = torch.randn(2048, 2048, device=device)
    watch = Stopwatch(device)
    for _ in range(20):
        matrix = matrix @ matrix
    watch.stop()
    begin = time.monotonic()
    torch.cuda.synchronize()
    assert watch.seconds > 0.5 * (time.monotonic() - begin)


def test_rows_of_a_group_are_augmented_once_by_its_seed():
    """The cached features are those of the changed rows, and a group made again has the same."""
    names = ("rotate", "cutout")
    objective = random_features(augmentations=names)
    data = objective.data
    for group in (
        objective.group,
        objective._make_group(objective.group.seeds, objective.group.rows),
    ):
        generator = torch.Generator().manual_seed(2**31 - 1 + group.seeds[0].item())
        x = draw_augmentation(names, len(group.rows), SHAPE, generator)(data.read(group.rows))
        expected = cached_features(SPEC, group.networks, x).flatten(1)
        torch.testing.assert_close(group.cache.centred + group.cache.mean, expected)
    plain = cached_features(SPEC, group.networks, data.read(group.rows)).flatten(1)
    assert not torch.allclose(plain, expected)


def test_flips_of_some_classes_take_the_place_of_augmentations():
    both = random_features(augmentations=("crop",), flipped=(0, 1, 2))
    flipped = random_features(flipped=(0, 1, 2))
    assert torch.equal(both.group.cache.centred, flipped.group.cache.centred)
    assert not torch.equal(flipped.group.cache.centred, random_features().group.cache.centred)
