"""Adam and Muon side by side: the maths of orthogonalised steps, and what a run sees of them."""

import math

import pytest
import torch

from rfad_sklearn._optimization.optimizers import Muon, Optimizers, orthogonalised


def matrix(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(10, 64), (64, 10), (30, 31), (1, 7), (7, 1)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape):
    given = matrix(*shape)
    u, s, vh = torch.linalg.svd(given, full_matrices=False)
    # The polynomial promises it above some thousandths of the largest; a square matrix of this size
    # may have smaller ones.
    s = s.clamp_min(0.1 * s.max())
    got = u.T @ orthogonalised(u * s @ vh) @ vh.T
    assert got.diagonal().min() > 0.6
    assert got.diagonal().max() < 1.3
    torch.testing.assert_close(got, got.diagonal().diag(), atol=1e-4, rtol=0)


def test_zero_stays_zero_and_the_scale_does_not_matter():
    assert orthogonalised(torch.zeros(3, 5)).abs().max() == 0
    given = matrix(4, 9)
    for scale in (1e-30, 1e-6, 1e6, 1e30):
        torch.testing.assert_close(
            orthogonalised(scale * given), orthogonalised(given), rtol=1e-3, atol=1e-4
        )


def test_float64_keeps_its_precision():
    """The result does not depend on a rotation of the columns, to float64 rounding."""
    given = matrix(5, 8).double()
    rotation = torch.linalg.qr(matrix(8, 8, seed=1).double())[0]
    torch.testing.assert_close(
        orthogonalised(given @ rotation), orthogonalised(given) @ rotation, rtol=1e-10, atol=1e-10
    )


def step_of(kind, shape, rate):
    """First move of a variable whose gradient is a random matrix."""
    variables = {"X": torch.zeros(shape)}
    optimizers = Optimizers(variables, {"X": rate}, ("X",) if kind == "muon" else ())
    variables["X"].grad = matrix(*shape)
    optimizers.step(1.0)
    return variables["X"].detach()


@pytest.mark.parametrize("shape", [(20, 8, 8, 3), (60, 4)])
def test_a_step_has_a_fifth_of_the_step_size_and_goes_downhill(shape):
    """So a learning rate made for Adam serves both.

    Its first step is the step size, and later ones are smaller.
    """
    moved = step_of("muon", shape, 0.03)
    assert moved.square().mean().sqrt().item() == pytest.approx(0.2 * 0.03, rel=0.35)
    assert (moved * matrix(*shape)).sum() < 0
    assert step_of("adam", shape, 0.03).abs().max().item() == pytest.approx(0.03, rel=1e-3)


def descend(muon_parameters, steps=150):
    """Distance left to a goal, in a quadratic function.

    Its gradients are the same in all rows but for a small part.
    """
    goal, share = matrix(12, 40), 0.995
    common = torch.full((12, 12), share) + (1 - share) * torch.eye(12)
    variables = {"X": torch.zeros(12, 40)}
    optimizers = Optimizers(variables, {"X": 0.3}, muon_parameters)
    for step in range(steps):
        optimizers.zero_grad()
        left = variables["X"] - goal
        (0.5 * (left * (common @ left)).sum()).backward()
        optimizers.step(1 - step / steps)
    return (variables["X"] - goal).norm().item() / goal.norm().item()


def test_muon_moves_where_rows_differ_though_their_gradients_hardly_do():
    assert descend(("X",)) < 0.5 * descend(())


def test_only_muon_parameters_take_its_steps_and_only_those_with_a_rate_move():
    variables = {"X": torch.zeros(3, 4), "targets": torch.zeros(3, 4), "fixed": torch.zeros(2)}
    optimizers = Optimizers(variables, {"X": 0.1, "targets": 0.1}, ("X",))
    # Of rank one: orthogonalised it stays so, while Adam takes the sign of each entry.
    gradient = torch.outer(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 1.0, 1.0, 3.0]))
    variables["X"].grad, variables["targets"].grad = gradient.clone(), gradient.clone()
    optimizers.step(0.5)
    torch.testing.assert_close(
        variables["targets"].detach(), torch.full((3, 4), -0.05), rtol=1e-4, atol=0
    )
    moved = variables["X"].detach()
    torch.testing.assert_close(moved / moved[0, 0], gradient / gradient[0, 0], rtol=1e-3, atol=1e-4)
    assert variables["fixed"].requires_grad is False
    assert not variables["fixed"].any()


@pytest.mark.parametrize("muon_parameters", [(), ("X",)])
def test_a_restored_state_goes_on_with_the_same_bits(muon_parameters):
    def steps(variables, optimizers, seeds):
        for seed in seeds:
            for name in ("X", "log_scale"):
                variables[name].grad = matrix(*variables[name].shape, seed=seed)
            optimizers.step(1.0)

    learning_rates = {"X": 0.1, "log_scale": 0.01}
    whole = {"X": torch.zeros(4, 6), "log_scale": torch.zeros(())}
    optimizers = Optimizers(whole, learning_rates, muon_parameters)
    assert all(not moments for moments in optimizers.state_dict().values())
    steps(whole, optimizers, range(3))
    half = {name: value.detach().clone() for name, value in whole.items()}
    state = {
        name: {key: torch.as_tensor(value).clone() for key, value in own.items()}
        for name, own in optimizers.state_dict().items()
    }
    steps(whole, optimizers, range(3, 6))
    second = Optimizers(half, learning_rates, muon_parameters)
    second.load_state_dict(state)
    steps(half, second, range(3, 6))
    assert all(torch.equal(whole[name], half[name]) for name in whole)


def test_momentum_is_that_of_nesterov():
    variable = torch.zeros(3, 5, requires_grad=True)
    optimizer = Muon([{"params": [variable], "lr": 1.0}])
    first, second = matrix(3, 5), matrix(3, 5, seed=1)
    for gradient in (first, second):
        variable.grad = gradient
        optimizer.step()
    average = 0.95 * (0.05 * first) + 0.05 * second
    directions = orthogonalised(first) + orthogonalised(0.05 * second + 0.95 * average)
    torch.testing.assert_close(
        variable.detach(), -0.2 * math.sqrt(5) * directions, rtol=1e-4, atol=1e-5
    )


def test_momentum_averages_noise_away():
    """Under alternating gradients the steps follow their mean."""
    variable = torch.zeros(3, 5, requires_grad=True)
    optimizer = Muon([{"params": [variable], "lr": 1.0}])
    mean, noise = matrix(3, 5), 2 * matrix(3, 5, seed=1)
    for k in range(200):
        variable.grad = mean + (-1) ** k * noise
        optimizer.step()
    straight = -orthogonalised(mean)
    assert (
        torch.nn.functional.cosine_similarity(
            variable.detach().flatten(), straight.flatten(), dim=0
        )
        > 0.95
    )
