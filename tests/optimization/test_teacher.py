"""The teacher: its network, what it learns, and how long it trains."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rfad_sklearn import ConvNet, RFADDistiller
from rfad_sklearn._networks.augment import draw_augmentation
from rfad_sklearn._optimization.teacher import MAX_EPOCHS, Teacher, _Network
from rfad_sklearn.distillers._prepare import prepare
from tests.conftest import FAST


def context_of(data, **changes):
    X, _, y, _ = data
    distiller = RFADDistiller(**{**FAST, "early_stopping": True, **changes})
    return distiller, prepare(distiller, X, y, 0)


def teacher_of(context, dtype=torch.float32, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    return Teacher(
        context.training_data, len(context.classes), generator=generator, dtype=dtype, **changes
    )


@pytest.fixture
def short_teachers(monkeypatch):
    """Teachers of a few steps, where it does not matter how good they are."""
    monkeypatch.setattr("rfad_sklearn._optimization.teacher.MAX_EPOCHS", 2)
    monkeypatch.setattr("rfad_sklearn._optimization.teacher._MIN_STEPS", 10)


class PlainNetwork:
    """The network and its optimiser by functions on a list of tensors, for images of 8x8 pixels."""

    def __init__(self, n_classes, generator):
        layers = []
        for fan_in, width in ((1, 48), (48, 96)):
            weight = torch.randn((width, fan_in, 3, 3), generator=generator)
            weight = (math.sqrt(2 / (9 * fan_in)) * weight).to(memory_format=torch.channels_last)
            layers += [weight, torch.ones(width), torch.zeros(width)]
        dense = torch.randn((n_classes, 4 * 96), generator=generator) / math.sqrt(4 * 96)
        self.parameters = [*layers, dense, torch.zeros(n_classes)]
        self.statistics = [(torch.zeros(width), torch.ones(width)) for width in (48, 96)]
        self.momentum = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.n_steps = 0

    def outputs(self, x, training):
        x = x.permute(0, 3, 1, 2)
        for k, (mean, variance) in enumerate(self.statistics):
            weight, gain, shift = self.parameters[3 * k : 3 * k + 3]
            x = F.conv2d(x, weight, padding=1)
            newest = max(0.1, 1 / (self.n_steps + 1))
            x = F.batch_norm(x, mean, variance, gain, shift, training=training, momentum=newest)
            x = F.max_pool2d(x.relu(), 2)
        return F.linear(x.flatten(1), *self.parameters[-2:])

    def step(self, x, labels, learning_rate):
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        loss = F.cross_entropy(self.outputs(x, training=True), labels)
        gradients = torch.autograd.grad(loss, self.parameters)
        self.n_steps += 1
        for k, gradient in enumerate(gradients):
            parameter = self.parameters[k].detach()
            gradient = gradient + 5e-4 * parameter
            # The first gradient is the momentum at the start.
            if self.n_steps == 1:
                self.momentum[k] = gradient
            else:
                self.momentum[k] = 0.9 * self.momentum[k] + gradient
            self.parameters[k] = parameter - learning_rate * (gradient + 0.9 * self.momentum[k])


def test_the_network_is_that_of_plain_functions(digits):
    X, _, y, _ = digits
    x = torch.from_numpy(X[:40, :, :, None] / 8 - 1).float()
    labels = torch.from_numpy(y[:40].astype(np.int64))
    network = _Network((8, 8, 1), 3, torch.Generator().manual_seed(0), torch.zeros(()))
    plain = PlainNetwork(3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = network.outputs(x, training=False), plain.outputs(x, training=False)
    torch.testing.assert_close(found, expected)
    for learning_rate in (0.0, 0.01, 0.02):
        network.step(F.cross_entropy(network.outputs(x, training=True), labels), learning_rate)
        plain.step(x, labels, learning_rate)
        with torch.no_grad():
            found, expected = network.outputs(x, training=False), plain.outputs(x, training=False)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 8, 1), (64, 48, 3)])
def test_making_and_training_a_network_leaves_the_global_generator(shape):
    before = torch.get_rng_state()
    network = _Network(shape, 3, torch.Generator().manual_seed(0), torch.zeros(()))
    scores = network.outputs(torch.zeros(2, *shape), training=True)
    network.step(F.cross_entropy(scores, torch.tensor([0, 1])), 0.1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(value.is_meta for value in network.model.state_dict().values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.slow
def test_it_learns_the_rows_and_scores_the_held_out_ones(all_digits, dtype):
    _, context = context_of(all_digits, dtype=str(dtype).removeprefix("torch."))
    soft_labels = teacher_of(context, dtype).train(8)
    assert soft_labels.probabilities.shape == (len(context.y_encoded), 10)
    torch.testing.assert_close(soft_labels.probabilities.sum(1), torch.ones(len(context.y_encoded)))
    predicted, right = soft_labels.probabilities.numpy(), context.y_encoded[context.validation]
    held_out = predicted[context.validation]
    assert soft_labels.score == pytest.approx((held_out.argmax(1) == right).mean())
    assert soft_labels.loss == pytest.approx(
        -np.log(held_out[np.arange(len(right)), right]).mean(), rel=1e-3
    )
    assert soft_labels.score > 0.9
    assert soft_labels.loss < 0.4


def test_probabilities_are_at_their_best_temperature(all_digits):
    _, context = context_of(all_digits)
    soft_labels = teacher_of(context).train(3)
    logs, labels = (
        soft_labels.probabilities[context.validation].log(),
        torch.from_numpy(context.y_encoded)[context.validation],
    )
    for factor in (0.8, 1.25):
        assert F.cross_entropy(factor * logs, labels).item() > soft_labels.loss


def test_the_same_seed_gives_the_same_and_held_out_labels_are_not_learned(digits):
    _, context = context_of(digits)
    first = teacher_of(context).train(2).probabilities
    assert torch.equal(teacher_of(context).train(2).probabilities, first)
    assert not torch.equal(teacher_of(context, seed=1).train(2).probabilities, first)
    teacher = teacher_of(context)
    labels = teacher.data.labels.clone()
    labels[context.validation] = (labels[context.validation] + 1) % 3
    teacher.data = replace(teacher.data, labels=labels)
    # Only their temperature depends on them.
    assert torch.equal(teacher.train(2).probabilities.argsort(1), first.argsort(1))


def test_without_held_out_rows_a_teacher_has_no_score(digits):
    _, context = context_of(digits, early_stopping=False)
    soft_labels = teacher_of(context).train(1)
    assert soft_labels.score is None
    assert soft_labels.loss == -math.inf
    # Soft labels of one that had no time to learn would be used to the end.
    assert teacher_of(context).train(10, time.monotonic()) is None


def test_few_rows_are_learned_for_more_epochs(digits, monkeypatch):
    X, _, y, _ = digits
    n_steps = []
    monkeypatch.setattr(
        Teacher,
        "train",
        lambda self, n_epochs, deadline: n_steps.append(n_epochs * self.per_epoch),
    )
    for some in (slice(None, 40), slice(None)):
        RFADDistiller(**FAST, teacher="network", early_stopping=False).fit(X[some], y[some])
    assert len(n_steps) == 2
    assert min(n_steps) >= 200
    teacher = teacher_of(context_of(digits)[1])
    teacher.per_epoch = 50
    assert teacher.all_epochs == MAX_EPOCHS


def test_no_steps_need_no_teacher(digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(
        **{**FAST, "max_iter": 0}, teacher="network", early_stopping=True
    ).fit(X, y)
    assert distiller.teacher_score_ is None


def test_epochs_fit_into_the_time(all_digits, monkeypatch):
    teacher = teacher_of(context_of(all_digits)[1])
    teacher.per_epoch = 50
    monkeypatch.setattr(
        Teacher, "_step", lambda self, network, rows, learning_rate: time.sleep(0.01)
    )
    assert teacher.n_epochs(1e-6) == 0
    assert teacher.n_epochs(0.01 * 50 * 4) == 0
    assert 5 <= teacher.n_epochs(0.01 * 50 * 7.5) <= 7
    assert teacher.n_epochs(1e6) == MAX_EPOCHS
    teacher.per_epoch = 10
    assert teacher.n_epochs(1e6) == 0


def test_training_ends_at_its_deadline_with_a_step_size_of_zero(digits, monkeypatch):
    teacher, learning_rates = teacher_of(context_of(digits)[1]), []
    step = Teacher._step

    def noted(self, network, rows, learning_rate):
        learning_rates.append(learning_rate)
        time.sleep(0.02)
        step(self, network, rows, learning_rate)

    monkeypatch.setattr(Teacher, "_step", noted)
    begin = time.monotonic()
    soft_labels = teacher.train(10**6, begin + 1.0)
    assert time.monotonic() - begin < 3
    assert soft_labels.score > 0.5
    assert max(learning_rates) > 0.07
    assert learning_rates[-1] < 0.02
    learning_rates.clear()
    teacher.train(1)
    assert min(learning_rates) > 0


def test_a_teacher_that_diverged_gives_no_soft_labels(digits, monkeypatch, short_teachers):
    monkeypatch.setattr("rfad_sklearn._optimization.teacher._LEARNING_RATE", float("inf"))
    distiller = RFADDistiller(**FAST, teacher="network", early_stopping=True).fit(*digits[::2])
    assert distiller.teacher_score_ is None
    assert distiller.stop_reason_ == "max_iter"


@pytest.mark.slow
def test_large_images_are_learned_in_smaller_batches(rng):
    """The step size suits them too: two patterns of 64x64 pixels in noise."""
    y = np.arange(120) % 2
    pattern = 0.3 * np.sign(np.arange(64) - 32)[:, None]
    X = rng.normal(size=(120, 64, 64, 1)) + np.where(y[:, None, None, None], pattern, -pattern)
    distiller = RFADDistiller(**{**FAST, "early_stopping": True, "validation_fraction": 0.3})
    teacher = teacher_of(prepare(distiller, X, y, 0))
    assert teacher.batch_size == 32
    assert teacher.train(10).score > 0.9


def test_augmentations_come_after_the_crop(digits, monkeypatch):
    _, context = context_of(digits)
    seen = []

    def noted(names, n, shape, generator):
        seen.append(tuple(names))
        return draw_augmentation(names, n, shape, generator)

    for module in ("_optimization.teacher", "_networks.augment"):
        monkeypatch.setattr(f"rfad_sklearn.{module}.draw_augmentation", noted)
    changed = teacher_of(context, augmentations=("rotate", "cutout")).train(1)
    assert set(seen[::2]) == {("crop",)}
    assert set(seen[1::2]) == {("rotate", "cutout")}
    seen.clear()
    flipped, plain = (teacher_of(context, flipped=classes).train(1) for classes in ((0, 2), ()))
    assert set(seen) == {("crop",)}
    for first, second in ((changed, flipped), (flipped, plain), (changed, plain)):
        assert not torch.equal(first.probabilities, second.probabilities)


@pytest.mark.parametrize("shape", [(2, 2, 1), (4, 9, 3), (28, 28, 1), (33, 17, 3)])
def test_images_of_any_size_have_a_teacher(shape, rng, short_teachers):
    X, y = rng.random((30, *shape)), np.arange(30) % 3
    distiller = RFADDistiller(
        teacher="network", max_iter=2, architecture=ConvNet(width=4), n_networks=2, random_state=0
    ).fit(X, y)
    assert distiller.n_iter_ == 2


def test_soft_labels_lead_elsewhere_than_hard_ones(digits, short_teachers):
    X, _, y, _ = digits
    soft, hard = (
        RFADDistiller(**FAST, teacher=teacher).fit(X, y).coreset_.X for teacher in ("network", None)
    )
    assert not np.allclose(soft, hard)


@pytest.mark.slow
def test_a_teacher_stays_within_its_share_of_the_time(digits, monkeypatch):
    X, _, y, _ = digits
    step, steps = Teacher._step, []

    def counted(self, *args):
        steps.append(time.monotonic())
        step(self, *args)

    monkeypatch.setattr(Teacher, "_step", counted)
    begin = time.monotonic()
    distiller = RFADDistiller(
        **{**FAST, "max_iter": None}, max_time=5.0, teacher="network", early_stopping=True
    ).fit(X, y)
    assert time.monotonic() - begin < 10
    # How good so short a training is depends on the machine.
    assert len(steps) > 1
    assert distiller.teacher_score_ is not None
    assert distiller.history_[0]["seconds"] < 4


def test_flat_rows_have_no_teacher(digits):
    X, _, y, _ = digits
    with pytest.raises(
        ValueError,
        match=r"teacher='network' takes images of at least 2x2 pixels.*shape \(64,\).*image_shape",
    ):
        RFADDistiller(teacher="network").fit(X.reshape(len(X), -1), y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_teachers_are_as_good_as_those_of_the_cpu(all_digits):
    X, _, y, _ = all_digits
    settings = {
        **FAST,
        "teacher": "network",
        "augment": True,
        "early_stopping": True,
        "dtype": "float32",
    }
    scores = [
        RFADDistiller(**settings, device=device).fit(X, y).teacher_score_
        for device in ("cpu", "cuda")
    ]
    assert min(scores) > 0.9
