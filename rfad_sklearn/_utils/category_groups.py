"""Columns of zeros and ones that stand for categories, in items that are being optimised."""

import torch


class CategoryGroups:
    """Keeps one category per group in each item: forwards it is one, backwards it is a number.

    The category is the one with the largest number; the gradient passes straight through (Bengio et
    al. 2013, *Estimating or Propagating Gradients Through Stochastic Neurons*, section 4).

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
            soft = z[:, self.where] * self.scale[self.where] + self.offset[self.where]
            hard = self._largest(soft.masked_fill(~self.allowed, -torch.inf)).to(z.dtype)
            scaled = (hard - self.offset[self.where]) / self.scale[self.where]
            moved = torch.zeros_like(z)
            moved[:, self.where] = scaled - z[:, self.where]
        return z + moved

    def clip(self, z):
        """Scaled rows whose numbers of categories are between that of zero and that of one."""
        low, high = (0 - self.offset) / self.scale, (1 - self.offset) / self.scale
        return torch.where(self.one_hot, torch.minimum(torch.maximum(z, low), high), z)

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
