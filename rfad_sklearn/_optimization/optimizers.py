"""How variables move: by Adam, or by momentum with orthogonalised steps (Muon)."""

import math

import torch

# Of the running average of the gradients.
_MOMENTUM = 0.95
# Root mean square of a step in units of the step size: about what Adam's steps have, so that both
# take the same step sizes.
_STEP_SIZE = 0.2
# Coefficients of the odd polynomial that brings singular values towards 1.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# Times that it is applied: singular values below a few thousandths of the largest stay small.
_ITERATIONS = 5


def orthogonalised(matrix):
    """The orthogonal factor of a matrix, nearly.

    For ``U S V^T``, its singular value decomposition, that is ``U V^T`` with singular values of
    about 0.7 to 1.2; zero for a zero matrix. By Newton-Schulz iterations: products of matrices
    only, the same on every device, without waiting for it.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    # By the largest entry first, or the squares of very small or large ones would leave the range
    # of the type.
    wide = wide / wide.abs().max().clamp_min(torch.finfo(matrix.dtype).tiny)
    wide = wide / wide.norm().clamp_min(torch.finfo(matrix.dtype).tiny)
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """Gradient descent with Nesterov momentum and orthogonalised steps.

    Of Jordan et al. (2024), scaled as in Liu et al. (2025). The gradients of the items have much in
    common: a few directions in which all of them move. Adam, which sees one entry at a time, goes
    there and hardly anywhere else; here all directions are taken at the same pace. Each variable is
    one matrix with a row for each item.

    Parameters
    ----------
    groups : list of dict
        As torch's optimisers take them; their ``lr`` is set before each step.
    """

    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.0})

    @torch.no_grad()
    def step(self):
        """Move every variable; each must have a gradient."""
        for group in self.param_groups:
            for variable in group["params"]:
                gradient = variable.grad.flatten(1)
                state = self.state[variable]
                if not state:
                    state["exp_avg"] = torch.zeros_like(gradient)
                average = state["exp_avg"]
                average.lerp_(gradient, 1 - _MOMENTUM)
                direction = orthogonalised(gradient.lerp(average, _MOMENTUM))
                size = group["lr"] * _STEP_SIZE * math.sqrt(max(gradient.shape))
                variable.sub_(size * direction.view_as(variable))


class Optimizers:
    """All variables of a run that move, each with its own step size.

    Parameters
    ----------
    variables : dict of str to tensor
    learning_rates : dict of str to float
        Step sizes at the start; variables without one stay as they are.
    muon_parameters : collection of str
        Names of those that take the steps of :class:`Muon` in place of Adam's.
    """

    def __init__(self, variables, learning_rates, muon_parameters=()):
        self.variables = {name: variables[name].requires_grad_(True) for name in learning_rates}
        self.learning_rates = learning_rates
        kinds = {
            name: Muon if name in muon_parameters else torch.optim.Adam for name in learning_rates
        }
        self._optimizers = {
            name: kinds[name]([variable]) for name, variable in self.variables.items()
        }

    def zero_grad(self):
        """Forget all gradients."""
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()

    def step(self, share=1.0):
        """Move all variables, by this share of their step sizes."""
        for name, optimizer in self._optimizers.items():
            optimizer.param_groups[0]["lr"] = share * self.learning_rates[name]
            optimizer.step()

    def state_dict(self):
        """Moments of the gradients, by variable."""
        return {
            name: dict(optimizer.state[self.variables[name]])
            for name, optimizer in self._optimizers.items()
        }

    def load_state_dict(self, state):
        """Go back to a state."""
        for name, moments in state.items():
            variable = self.variables[name]
            own = {
                key: value if key == "step" else value.to(variable)
                for key, value in moments.items()
            }
            self._optimizers[name].state[variable].update(own)
