"""Blocks of rows that all have the same shape."""

import torch


def padded_blocks(read, n, size):
    """Rows in blocks of one fixed size, the last one filled up with zeros.

    Libraries choose the order of their sums by the shape of a product. Where all blocks have one
    shape, the result of a row does not depend on how many rows there are.

    Parameters
    ----------
    read : callable
        ``read(start, stop)`` gives the rows ``start`` to ``stop - 1``, a tensor of shape
        ``(stop - start, ...)``.
    n : int
        Number of rows in all. Without any there are no blocks.
    size : int
        Rows per block, at least 1.

    Yields
    ------
    rows : slice
        Which of the n rows are in the block; only its first ``rows.stop - rows.start`` rows are
        data.
    block : tensor of shape (size, ...)
        Type and device are those of what ``read`` gives.

    Examples
    --------
    >>> import torch
    >>> from rfad_sklearn._utils.blocks import padded_blocks
    >>> x = torch.arange(1, 6)
    >>> for rows, block in padded_blocks(lambda start, stop: x[start:stop], 5, 3):
    ...     print(rows.start, rows.stop, block.tolist())
    0 3 [1, 2, 3]
    3 5 [4, 5, 0]
    """
    for start in range(0, n, size):
        stop = min(start + size, n)
        block = read(start, stop)
        padding = block.new_zeros((size - len(block), *block.shape[1:]))
        yield slice(start, stop), torch.cat([block, padding])
