"""Kernel ridge regression with the exact kernel, the objective of KIP."""

import torch

from .._kernels.exact import exact_kernel
from .ridge_objective import KernelRidgeObjective, kernel_ridge_scores


class ExactKernelObjective(KernelRidgeObjective):
    """Loss of kernel ridge regression with the exact kernel, on fresh rows at every step.

    That of KIP (Nguyen et al. 2021).

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    data : TrainingData
    config : RidgeConfig
    kernel : {"nngp", "ntk"}
    compiled : bool
        Compile the recursion of the kernel.
    generator : torch.Generator
        On the CPU: of the rows.
    device : torch.device
    project : callable, optional
        See :class:`KernelRidgeObjective`.
    """

    def __init__(self, spec, data, config, *, kernel, compiled, generator, device, project=None):
        super().__init__(data, config, generator=generator, device=device, project=project)
        self.spec, self.kernel, self.compiled = spec, kernel, compiled
        self.rows = None
        self.draw()
        self.held_out = data.read(data.validation) if len(data.validation) else None

    def draw(self):
        """Draw the rows of the next step; nothing where one batch holds all rows."""
        if self.rows is None or not self.whole:
            self._read(self._next_rows())

    def _read(self, rows):
        self.rows = rows
        self.inputs = self.data.read(rows)
        self.labels, self.targets = self._labels_and_targets(rows)

    def state_dict(self):
        """The generator, the rows that are left of the epoch, and the current rows."""
        return {
            "generator": self.generator.get_state(),
            "stream": self.stream.state_dict(),
            "rows": self.rows,
        }

    def load_state_dict(self, state):
        """Go back to a state."""
        self.generator.set_state(state["generator"])
        self.stream.load_state_dict(state["stream"])
        self._read(state["rows"])

    def scores(self, variables):
        """Scores of the current rows."""
        return self._scores(variables, self.inputs)

    def validation_scores(self, variables):
        """Scores and labels of the held-out rows."""
        with torch.no_grad():
            labels, _ = self._labels_and_targets(self.data.validation)
            return self._scores(variables, self.held_out), labels

    def solving_kernels(self, variables):
        """Kernel of the items, and a function that gives the kernel of rows with them."""
        x = self.items(variables)
        return self._kernel(x), lambda rows: self._kernel(rows, x)

    def _kernel(self, first, second=None):
        return exact_kernel(self.spec, first, second, kernel=self.kernel, compiled=self.compiled)

    def _scores(self, variables, rows):
        x = self.items(variables)
        return kernel_ridge_scores(
            self._kernel(x), self._kernel(rows, x), variables["targets"], self.config.reg
        )
