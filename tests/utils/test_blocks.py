import pytest
import torch

from rfad_sklearn._utils.blocks import padded_blocks


@pytest.mark.parametrize("n", [0, 1, 4, 5, 12])
def test_blocks_hold_all_rows_once_and_zeros(n):
    x = torch.arange(1, 3 * n + 1, dtype=torch.float64).view(n, 3)
    calls, seen = [], []

    def read(start, stop):
        calls.append((start, stop))
        return x[start:stop]

    for rows, block in padded_blocks(read, n, 4):
        assert block.shape == (4, 3)
        assert block.dtype == torch.float64
        length = rows.stop - rows.start
        assert torch.equal(block[:length], x[rows])
        assert torch.equal(block[length:], torch.zeros(4 - length, 3, dtype=torch.float64))
        seen += range(n)[rows]
    assert seen == list(range(n))
    # Nothing is read twice, or beyond the end.
    assert [k for start, stop in calls for k in range(start, stop)] == seen
