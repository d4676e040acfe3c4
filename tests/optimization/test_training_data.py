"""Order in which rows are drawn."""

import torch

from rfad_sklearn._optimization.training_data import RowStream


def make(seed=0, weights=None):
    rows = torch.tensor([3, 5, 8, 13])
    return RowStream(rows, torch.Generator().manual_seed(seed), weights)


def test_every_row_comes_once_per_epoch():
    stream = make()
    taken = stream.take(6), stream.take(2)
    assert sorted(torch.cat(taken)[:4].tolist()) == [3, 5, 8, 13]
    assert sorted(torch.cat(taken)[4:].tolist()) == [3, 5, 8, 13]


def test_rows_with_weights_come_as_often_as_these_say():
    weights = torch.tensor([1.0, 0.0, 6.0, 3.0], dtype=torch.float64)
    taken = make(weights=weights).take(10_000)
    shares = [(taken == row).double().mean().item() for row in (3, 5, 8, 13)]
    # Four standard errors.
    torch.testing.assert_close(
        torch.tensor(shares), torch.tensor([0.1, 0.0, 0.6, 0.3]), atol=0.02, rtol=0
    )
    assert make(1, weights).take(9).tolist() != taken[:9].tolist()
    assert make(0, weights).take(9).tolist() == taken[:9].tolist()
