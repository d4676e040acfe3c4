"""Columns of zeros and ones that stand for categories, in items that are being optimised."""

import struct

import torch

# Share of the groups that a step sees as categories, the others as shares of them.
_SHARE_HARD = 0.5
# Of a group whose numbers are all zero, that its shares add up to one.
_TINY = 1e-6


class CategoryGroups:
    """Keeps one category per group in each item: the one with the largest number.

    Wherever items are evaluated each group is one category. In a step this holds for a random half
    of the groups, through which the gradient passes straight (Bengio et al. 2013, *Estimating or
    Propagating Gradients Through Stochastic Neurons*, section 4); the others are shares that add up
    to one, whose gradient says what a little of another category does. With categories alone items
    go back and forth between them, with shares alone what was learned is lost in the end; that half
    is Fan et al. 2021, *Training with Quantization Noise for Extreme Model Compression*.

    Parameters
    ----------
    columns : Columns
    allowed : bool array of shape (n_items, n_expanded)
        Categories that an item may take: those that its class has shown.
    preprocessing : Preprocessing
        Whose scaled units items have here.
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(self, columns, allowed, preprocessing, device, dtype):
        def tensor(array, kept=dtype):
            return torch.tensor(array, dtype=kept, device=device)

        self.offset, self.scale = tensor(preprocessing.offset), tensor(preprocessing.scale)
        self.one_hot = tensor(columns.one_hot, torch.bool)
        # Group by group, of the columns of categories alone.
        widths = columns.widths[columns.is_categorical]
        self.where = tensor(columns.one_hot.nonzero()[0], torch.long)
        self.group = torch.repeat_interleave(
            torch.arange(len(widths), device=device), tensor(widths, torch.long)
        )
        self.n_groups = len(widths)
        self.allowed = tensor(allowed[:, columns.one_hot], torch.bool)

    def harden(self, z):
        """Scaled rows with exactly one category per group; the gradient passes straight through."""
        with torch.no_grad():
            soft = self._numbers(z).masked_fill(~self.allowed, -torch.inf)
            hard = self._scaled(self._largest(soft).to(z.dtype))
            moved = torch.zeros_like(z)
            moved[:, self.where] = hard - z[:, self.where]
        return z + moved

    def relax(self, z):
        """As :meth:`harden`, but for a random half of the groups, which are shares: for a step."""
        shares = (self._numbers(z).clamp(min=0) + _TINY) * self.allowed
        sums = shares.new_zeros(len(z), self.n_groups).index_add(1, self.group, shares)
        shares = self._scaled(shares / sums[:, self.group])
        drawn = torch.rand(len(z), self.n_groups, generator=_generator_of(z))
        soft = (drawn >= _SHARE_HARD).to(z.device)[:, self.group]
        hard = self.harden(z)
        relaxed = hard.clone()
        relaxed[:, self.where] = torch.where(soft, shares, hard[:, self.where])
        return relaxed

    def seen(self, z):
        """Items as models see them: :meth:`relax` in a step, :meth:`harden` elsewhere."""
        in_step = torch.is_grad_enabled() and z.requires_grad
        return self.relax(z) if in_step else self.harden(z)

    def clip(self, z):
        """Scaled rows whose numbers of categories are between that of zero and that of one."""
        low, high = (0 - self.offset) / self.scale, (1 - self.offset) / self.scale
        return torch.where(self.one_hot, torch.minimum(torch.maximum(z, low), high), z)

    def _numbers(self, z):
        """Columns of categories of scaled rows, in units in which zero is none and one is all."""
        return z[:, self.where] * self.scale[self.where] + self.offset[self.where]

    def _scaled(self, numbers):
        """The inverse of :meth:`_numbers`."""
        return (numbers - self.offset[self.where]) / self.scale[self.where]

    def _largest(self, soft):
        """Which entry is the first largest of its group, row by row."""
        n, group = len(soft), self.group.expand(len(soft), -1)
        largest = soft.new_full((n, self.n_groups), -torch.inf)
        largest = largest.scatter_reduce(1, group, soft, "amax")
        order = torch.arange(soft.shape[1], device=soft.device).expand_as(soft)
        candidates = order.masked_fill(soft < largest.gather(1, group), soft.shape[1])
        first = torch.full((n, self.n_groups), soft.shape[1], device=soft.device)
        first = first.scatter_reduce(1, group, candidates, "amin")
        return order == first.gather(1, group)


def _generator_of(z):
    """A generator whose seed is made of the items.

    They are others in each step, and the same in a run that goes on from a file.
    """
    (seed,) = struct.unpack("<q", struct.pack("<d", float(z.detach().double().sum())))
    return torch.Generator().manual_seed(seed)
