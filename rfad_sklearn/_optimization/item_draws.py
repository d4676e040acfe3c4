"""Draws of items where some are rows as they are: these must not predict themselves."""

import numpy as np
import torch


class ItemDraws:
    """Draws of a share of the items of each class, and the rows that are left beside them.

    A row that is an item as it is would be predicted by itself: where it is drawn as an item, it is
    no row of the step.

    Parameters
    ----------
    item_y_encoded : int array of shape (n_items,)
        Class by class.
    share : float
        Of the items of each class, above 0 and below 1.
    items, rows : int array of shape (n_fixed,)
        Numbers of the items that are rows as they are, and these rows' numbers.
    """

    def __init__(self, item_y_encoded, share, items, rows):
        self.starts = np.flatnonzero(np.diff(item_y_encoded, prepend=-1))
        self.sizes = np.diff(self.starts, append=len(item_y_encoded))
        self.n_drawn = np.maximum((share * self.sizes).astype(int), 1)
        self.item_y_encoded = item_y_encoded
        # A class with a single item has it in every draw.
        apart = (self.sizes > 1)[item_y_encoded[items]]
        self.items, self.rows = items[apart], rows[apart]

    def draw(self, seed):
        """Numbers of the items of a draw, class by class."""
        rng = np.random.default_rng(seed)
        return np.concatenate(
            [
                start + np.sort(rng.choice(size, n_drawn, replace=False))
                for start, size, n_drawn in zip(self.starts, self.sizes, self.n_drawn, strict=True)
            ]
        )

    def without(self, rows, drawn):
        """Row numbers, a tensor, without those that are drawn as items."""
        taken = self.rows[np.isin(self.items, drawn)]
        return rows[~torch.isin(rows, torch.from_numpy(taken))]

    def halves(self, n_others, seed):
        """Halves of all items, each with the rows that models fitted on it may be evaluated by.

        Parameters
        ----------
        n_others : int
            Rows that are no items.
        seed : int

        Returns
        -------
        list of two tuples (items, positions) of int arrays
            Positions in these rows, followed by those that are items.
        """
        rng = np.random.default_rng(seed)
        # Each class by itself, as evenly as its number of items allows.
        first = np.concatenate([rng.permutation(size) % 2 == 0 for size in self.sizes])
        second = ~first | (self.sizes == 1)[self.item_y_encoded]
        others = rng.permutation(n_others) % 2 == 0
        return [
            (np.flatnonzero(part), np.flatnonzero(np.concatenate([own, ~part[self.items]])))
            for part, own in ((first, others), (second, ~others))
        ]

    def row_weights(self, data):
        """Weights of the training rows; higher where some of them are left out of each step."""
        weights = data.row_weights
        weights = torch.ones(len(data.labels), dtype=torch.float64) if weights is None else weights
        left = np.ones(len(weights))
        left[self.rows] = (1 - self.n_drawn / self.sizes)[self.item_y_encoded[self.items]]
        return (weights / torch.from_numpy(left))[data.train]
