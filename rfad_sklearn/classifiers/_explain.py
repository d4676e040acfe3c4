"""What a kernel ridge classifier can tell about its predictions: a sum over the items of the coreset."""

from numbers import Integral

import torch
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

# Rows whose kernel with the items is computed at a time, and rows of a block whose own diagonal is
# cut out of the exact kernel.
_CHUNK, _DIAGONAL = 256, 16


class ExplainingMixin:
    """:meth:`explain` and :meth:`nearest_rows` for a classifier that has solved a ridge on ``coreset_``."""

    @own_torch_modes()
    def explain(self, X):
        """What each item of the coreset contributes to the scores of the rows of X.

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
        >>> clf = NNGPKernelRidge(distiller=RFADDistiller(ipc=2, max_iter=20, random_state=0)).fit(X, y)
        >>> parts = clf.explain(X[:5])
        >>> parts.shape
        (5, 6, 3)
        >>> bool(abs(parts.sum(1) - clf.decision_function(X[:5])).max() < 1e-10)
        True
        """
        coreset = self._explained_coreset("explain")
        rows, _ = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        # The ridge is linear in the targets: with the identity in their place it gives the weights.
        model, *_ = self._solve(
            coreset.X, torch.eye(coreset.n_items, dtype=torch.float64), self._fitted_kernel
        )
        weights = self._scores_by(model, rows)
        return weights[:, :, None] * coreset.targets

    @own_torch_modes()
    def nearest_rows(self, X, n_rows=5):
        """For each item of the coreset, the rows of X that the kernel finds most similar: what an item stands for.

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
                f"{method} speaks of the items of a coreset, but this {type(self).__name__} was fitted on rows; use fit_coreset, or "
                "distiller=."
            )
        return self.coreset_

    @property
    def _fitted_kernel(self):
        """That of the fit, whatever the parameter says now; random features know one only."""
        return self._model.kernel if self.kernel_method_ == "exact" else "nngp"

    def _similarity(self):
        """A function that gives the normalised kernel of inputs with the items, float64 on the CPU."""
        device, dtype = self._arithmetic
        spec, items = self.architecture_, self._inputs(self.coreset_.X).to(device)
        if self.kernel_method_ == "exact":
            kernel = lambda x, y=None: exact_kernel(spec, x, y, kernel=self._fitted_kernel).double()  # noqa: E731

            def diagonal(x):
                return torch.cat([kernel(part).diagonal() for part in x.split(_DIAGONAL)])

            prepare = lambda x: x  # noqa: E731
        else:
            networks = cpu_networks(spec, tuple(items.shape[1:]), self._seeds, device, dtype)
            prepare = lambda x: cached_features(spec, networks, x).double()  # noqa: E731
            kernel = lambda x, y: kernel_product(spec, x, y)  # noqa: E731

            def diagonal(x):
                scale, constant = feature_scales(spec, x[0].numel())
                return scale**2 * x.flatten(1).square().sum(1) + constant**2

        items = prepare(items)
        own = diagonal(items)

        def similarity(x):
            x = prepare(x.to(device))
            return (kernel(x, items) / (diagonal(x)[:, None] * own).sqrt()).cpu()

        return similarity
