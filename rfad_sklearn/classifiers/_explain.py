"""Explanations of a kernel ridge classifier by the items of its coreset."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._kernels.exact import exact_kernel
from .._networks.random_features import (
    cached_features,
    cpu_networks,
    feature_scales,
    kernel_product,
)
from .._utils.device import own_torch_modes
from .._utils.validation import check_rows

# Rows whose kernel with the items is computed at a time.
_CHUNK = 256
# Rows of a block whose own diagonal is cut out of the exact kernel.
_DIAGONAL = 16


class _ExactKernel:
    """Exact kernel between network inputs, float64."""

    def __init__(self, spec, kernel):
        self.spec, self.kernel = spec, kernel

    def prepare(self, x):
        """What the kernel takes in the place of the inputs: the inputs."""
        return x

    def product(self, x, y=None):
        """Kernel matrix of x and y, or of x with itself."""
        return exact_kernel(self.spec, x, y, kernel=self.kernel).double()

    def diagonal(self, x):
        """Kernel of each input with itself."""
        return torch.cat([self.product(part).diagonal() for part in x.split(_DIAGONAL)])


class _RandomFeatureKernel:
    """The same, estimated by random features."""

    def __init__(self, spec, networks):
        self.spec, self.networks = spec, networks

    def prepare(self, x):
        """Features of the inputs."""
        return cached_features(self.spec, self.networks, x).double()

    def product(self, x, y):
        """Kernel matrix of the inputs with features x and y."""
        return kernel_product(self.spec, x, y)

    def diagonal(self, x):
        """Kernel of each input with itself, from its features."""
        scale, constant = feature_scales(self.spec, x[0].numel())
        return scale**2 * x.flatten(1).square().sum(1) + constant**2


class ExplainingMixin:
    """Methods that explain a classifier which has solved a ridge on ``coreset_``."""

    # Of the class that it is mixed into.
    image_shape_: tuple | None
    _solve: Any
    _scores_by: Any
    _item_weights: Any

    @own_torch_modes()
    def explain(self, X: ArrayLike) -> np.ndarray:
        """Contribution of each item of the coreset to the scores of the rows of X.

        Kernel ridge regression predicts ``scores(x) = sum_s w_s(x) targets_s``: a weighted sum of
        the items' targets.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame

        Returns
        -------
        array of shape (n, n_items, n_classes)
            float64. Its sum over the items is the score of each class; with two classes
            :meth:`decision_function` is their difference.

        Raises
        ------
        ValueError
            When the classifier was fitted on rows, without a coreset.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from rfad_sklearn import NNGPKernelRidge, RFADDistiller
        >>> X, y = load_iris(return_X_y=True)
        >>> distiller = RFADDistiller(ipc=2, max_iter=20, random_state=0)
        >>> clf = NNGPKernelRidge(distiller=distiller).fit(X, y)
        >>> contributions = clf.explain(X[:5])
        >>> contributions.shape
        (5, 6, 3)
        >>> bool(abs(contributions.sum(1) - clf.decision_function(X[:5])).max() < 1e-10)
        True
        """
        coreset = self._explained_coreset("explain")
        rows, _ = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        # The ridge is linear in the targets: with the identity in their place it gives the weights.
        identity = torch.eye(coreset.n_items, dtype=torch.float64)
        model, *_ = self._solve(coreset.rows, identity, self._fitted_kernel, self._item_weights)
        weights = self._scores_by(model, rows)
        return weights[:, :, None] * coreset.ridge_targets

    @own_torch_modes()
    def nearest_rows(self, X: ArrayLike, n_rows: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """For each item of the coreset, the rows of X that are most similar to it by the kernel.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame
        n_rows : int, default=5
            Rows per item.

        Returns
        -------
        similarities : array of shape (n_items, n_rows)
            ``K(x, s) / sqrt(K(x, x) K(s, s))``, the most similar row first.
        indices : array of shape (n_items, n_rows)
            Numbers of the rows in X.

        Raises
        ------
        ValueError
            When the classifier was fitted on rows, without a coreset; or for an ``n_rows`` that X
            does not have.
        """
        self._explained_coreset("nearest_rows")
        rows, _ = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        if not isinstance(n_rows, Integral) or not 1 <= n_rows <= len(rows):
            raise ValueError(
                f"n_rows must be an int between 1 and the {len(rows)} rows of X, got {n_rows!r}."
            )
        similarity = self._similarity()
        values = indices = None
        for start in range(0, len(rows), _CHUNK):
            part = similarity(self._inputs(rows[start : start + _CHUNK]))
            numbers = torch.arange(start, start + len(part)).expand(part.shape[1], -1)
            values = part.T if values is None else torch.cat([values, part.T], dim=1)
            indices = numbers if indices is None else torch.cat([indices, numbers], dim=1)
            values, best = values.topk(min(n_rows, values.shape[1]), dim=1)
            indices = indices.gather(1, best)
        return values.numpy(), indices.numpy()

    def _explained_coreset(self, method):
        check_is_fitted(self)
        if not hasattr(self, "coreset_"):
            raise ValueError(
                f"{method} needs the items of a coreset, but this {type(self).__name__} was fitted "
                "on rows; use fit_coreset, or distiller=."
            )
        return self.coreset_

    @property
    def _fitted_kernel(self):
        """Kernel of the fit, whatever the parameter is now; random features know "nngp" only."""
        return self._model.kernel if self.kernel_method_ == "exact" else "nngp"

    def _similarity(self):
        """Function for the normalised kernel of inputs with the items, float64 on the CPU."""
        device, dtype = self._arithmetic
        spec, items = self.architecture_, self._inputs(self.coreset_.rows).to(device)
        if self.kernel_method_ == "exact":
            kernel = _ExactKernel(spec, self._fitted_kernel)
        else:
            networks = cpu_networks(spec, tuple(items.shape[1:]), self._seeds, device, dtype)
            kernel = _RandomFeatureKernel(spec, networks)
        items = kernel.prepare(items)
        own = kernel.diagonal(items)

        def similarity(x):
            x = kernel.prepare(x.to(device))
            return (kernel.product(x, items) / (kernel.diagonal(x)[:, None] * own).sqrt()).cpu()

        return similarity
