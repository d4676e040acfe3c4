"""Random features of fixed rows, kept for their kernel with items that change."""

import torch

from .random_features import cached_features, feature_scales, wide_dtype

# Activations that are summed in one bfloat16 product, whose result is rounded.
_PIECE = 512


class _RowsTimesItems(torch.autograd.Function):
    """``rows @ items.T`` of bfloat16 rows ``(n, d)`` and items ``(m, d)`` of a wider type.

    In pieces, which are summed in the items' type. The gradient goes to the items only.
    """

    @staticmethod
    def forward(ctx, rows, items):
        ctx.save_for_backward(rows)
        out = items.new_zeros((rows.shape[0], items.shape[0]))
        for first, second in zip(
            rows.split(_PIECE, 1), items.to(rows.dtype).split(_PIECE, 1), strict=True
        ):
            out += first @ second.T
        return out

    @staticmethod
    def backward(ctx, grad):
        (rows,) = ctx.saved_tensors
        return None, (grad.to(rows.dtype).T @ rows).to(grad.dtype)


class RowCache:
    """Activations of rows, cached for their kernel with items that change at every step.

    They are centred: what discriminates between rows is a few percent of the kernel, less than the
    rounding of bfloat16 products of uncentred activations. Those products are what a CPU with
    bfloat16 is fast at.

    Parameters
    ----------
    spec : ConvNetSpec or MLPSpec
    networks : list
    x : tensor of shape (n, d) or (n, H, W, channels)
    dtype : torch.dtype, optional
        Of the cache, by default that of :func:`cached_features`.
    """

    @torch.no_grad()
    def __init__(self, spec, networks, x, *, dtype=None):
        self.spec, self.centred = spec, cached_features(spec, networks, x, dtype=dtype).flatten(1)
        # As a product, several times faster in bfloat16 than the mean. It need not be exact: any
        # vector near the mean may be subtracted.
        mean = (
            torch.full((1, len(x)), 1 / len(x), dtype=self.centred.dtype, device=x.device)
            @ self.centred
        )
        self.centred -= mean
        self.mean = mean[0].to(wide_dtype(networks))

    def kernel(self, items):
        """Kernel ``(n, m)`` of the rows with items, with gradient to the items.

        It is that of :func:`~rfad_sklearn._networks.random_features.kernel_product`.

        Parameters
        ----------
        items : tensor of shape (m, n_networks, n_features)
        """
        items = items.flatten(1)
        if self.centred.dtype == torch.bfloat16 and self.centred.device.type == "cpu":
            products = _RowsTimesItems.apply(self.centred, items)
        else:
            products = self.centred.to(items.dtype) @ items.T
        scale, constant = feature_scales(self.spec, items.shape[1])
        return scale**2 * (products + items @ self.mean) + constant**2
