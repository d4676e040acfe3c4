"""Trees that scikit-learn fits on the items, routed softly.

A threshold lies between the values of two items, so gradients reach these two.
"""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

# Of a class that no tree gives a share.
_SMALLEST_PROBABILITY = 1e-4


def _fitted_tree(kind, X, y, rng):
    """One tree of a forest, and the numbers of the items that it was fitted on."""
    n = len(X)
    drawn = np.arange(n) if kind == "extra_trees" else rng.integers(0, n, n)
    model = ExtraTreeClassifier if kind == "extra_trees" else DecisionTreeClassifier
    tree = model(max_features="sqrt", random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        # Of more classes than half of the items: each class has few.
        warnings.simplefilter("ignore", UserWarning)
        return tree.fit(X[drawn], y[drawn]), drawn


def _neighbours(tree, X, inner):
    """For each inner node the items next to its threshold: below, above, and its place between."""
    path = tree.decision_path(X).toarray()[:, inner].astype(bool)
    threshold = tree.threshold[inner]
    values = X[:, tree.feature[inner]]
    low = np.where(path & (values <= threshold), values, -np.inf).argmax(0)
    high = np.where(path & (values > threshold), values, np.inf).argmin(0)
    columns = np.arange(len(inner))
    a, b = values[low, columns], values[high, columns]
    share = np.where(b > a, (threshold - a) / np.maximum(b - a, 1e-30), 0.5)
    return low, high, share


class SoftForest:
    """A few trees of a random forest, or extra trees, fitted on items.

    Nodes stand level by level, of all trees at once: a level's probabilities follow from those of
    the level above it.

    Parameters
    ----------
    kind : {"random_forest", "extra_trees"}
    X : array of shape (n_items, d)
    y : int array of shape (n_items,)
    n_classes : int
    n_trees : int
    rng : numpy.random.Generator
    device : torch.device
    """

    def __init__(self, kind, X, y, n_classes, n_trees, rng, device):
        X = np.ascontiguousarray(X, dtype=np.float32)
        parts = {name: [] for name in ("left", "right", "feature", "low", "high", "share", "value")}
        roots, offset = [], 0
        for _ in range(n_trees):
            model, drawn = _fitted_tree(kind, X, y, rng)
            tree = model.tree_
            inner = np.flatnonzero(tree.children_left >= 0)
            count = tree.node_count
            low, high, share = (np.zeros(count, dtype=t) for t in (np.int64, np.int64, np.float32))
            low[inner], high[inner], share[inner] = _neighbours(tree, X[drawn], inner)
            value = np.zeros((count, n_classes), dtype=np.float32)
            weights = tree.value[:, 0]
            value[:, model.classes_] = weights / weights.sum(1, keepdims=True)
            is_inner = tree.children_left >= 0
            parts["left"].append(np.where(is_inner, tree.children_left + offset, -1))
            parts["right"].append(np.where(is_inner, tree.children_right + offset, -1))
            parts["feature"].append(tree.feature)
            parts["low"].append(drawn[low])
            parts["high"].append(drawn[high])
            parts["share"].append(share)
            parts["value"].append(value)
            roots.append(offset)
            offset += count
        self.n_trees = n_trees
        self._arrange({k: np.concatenate(v) for k, v in parts.items()}, np.array(roots), device)

    def _arrange(self, nodes, level, device):
        """Inner nodes in the order of their levels, and for each level what it passes on."""
        order, self.levels, start = [], [], 0
        while len(level):
            is_inner = nodes["left"][level] >= 0
            inner, leaves = np.flatnonzero(is_inner), np.flatnonzero(~is_inner)
            values = torch.from_numpy(nodes["value"][level[leaves]]).to(device)
            indices = (torch.from_numpy(part).to(device) for part in (inner, leaves))
            self.levels.append((*indices, values, slice(start, start + len(inner))))
            start += len(inner)
            order.append(level[inner])
            level = np.concatenate([nodes["left"][order[-1]], nodes["right"][order[-1]]])
        order = np.concatenate(order)
        for name in ("feature", "low", "high", "share"):
            setattr(self, name, torch.from_numpy(nodes[name][order]).to(device))

    def log_probabilities(self, items, rows_by_column, width):
        """Logarithms of the forest's probabilities ``(n, n_classes)``.

        Parameters
        ----------
        items : tensor of shape (n_items, d)
            Those that the trees were fitted on, or where they have moved to.
        rows_by_column : tensor of shape (d, n)
            The rows, transposed.
        width : float
            Of the sigmoid of a row's distance to a threshold.
        """
        low, high = items[self.low, self.feature], items[self.high, self.feature]
        thresholds = torch.lerp(low, high, self.share.to(low.dtype))
        z = (rows_by_column[self.feature] - thresholds[:, None]) / width
        to_right = F.logsigmoid(z)
        to_left = to_right - z
        reached = z.new_zeros(self.n_trees, z.shape[1])
        total = 0.0
        for inner, leaves, values, own in self.levels:
            total = total + values.to(z.dtype).T @ reached[leaves].exp()
            above = reached[inner]
            reached = torch.cat([above + to_left[own], above + to_right[own]])
        return (total.T / self.n_trees).clamp_min(_SMALLEST_PROBABILITY).log()
