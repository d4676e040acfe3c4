"""Coordinates of items: monotone, invertible, within the range, on the grid."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from rfad_sklearn._surrogates.column_map import ColumnMap
from rfad_sklearn._surrogates.item_space import PixelSpace, RankSpace, item_space
from rfad_sklearn._utils.item_range import ItemRange
from rfad_sklearn._utils.preprocessing_fit import standardizing_value


@pytest.fixture
def table(rng):
    """Skewed, constant, two-valued and integer columns."""
    n = 300
    return np.column_stack(
        [rng.lognormal(sigma=2, size=n), np.full(n, 3.5), rng.integers(0, 2, n), rng.poisson(4, n)]
    )


def scaled(rows):
    """Scaled rows, and their range."""
    preprocessing = standardizing_value(rows, None)
    item_range = ItemRange.of(rows).scaled(preprocessing, torch.device("cpu"), torch.float64)
    return torch.from_numpy(preprocessing.apply(rows)), item_range


def test_ranks_are_normal_and_come_back(table):
    rows, item_range = scaled(table)
    column_map = ColumnMap.of(rows, item_range.low, item_range.high)
    ranks = column_map.to_ranks(rows)
    torch.testing.assert_close(column_map.to_values(ranks), rows)
    # The skewed column: of mean zero and unit variance, in the order of its values.
    skewed = ranks[:, 0]
    assert abs(skewed.mean()) < 0.02
    assert abs(skewed.std() - 1) < 0.04
    assert (rows[:, 0].argsort() == skewed.argsort()).all()
    # Half of a column with two values is on each side.
    assert len(ranks[:, 2].unique()) == 2
    assert ranks[:, 1].unique().tolist() == [0.0]


def test_outliers_that_no_sample_holds_have_ranks(rng):
    rows = torch.tensor(rng.normal(size=(100, 1)))
    low, high = torch.tensor([-1e6]), torch.tensor([1e6])
    column_map = ColumnMap.of(rows, low, high)
    ends = torch.stack([column_map.low, column_map.high])
    torch.testing.assert_close(column_map.to_values(ends), torch.tensor([[-1e6], [1e6]]).double())


def test_gradients_pass_through_the_map(table):
    rows, item_range = scaled(table)
    column_map = ColumnMap.of(rows[:, :1], item_range.low[:1], item_range.high[:1])
    u = torch.linspace(-1.6, 1.6, 7, dtype=torch.float64)[:, None].requires_grad_(True)
    assert torch.autograd.gradcheck(column_map.to_values, u, eps=1e-7, atol=1e-3)


@pytest.mark.parametrize("pixels", [False, True])
def test_items_stay_in_range_and_on_the_grid(table, pixels, rng):
    rows, item_range = scaled(table)
    space = item_space(item_range, rows.__getitem__, torch.arange(len(rows)), pixels)
    anywhere = space.clip(torch.tensor(5 * rng.normal(size=(50, 4))))
    items = space.decode(anywhere) * item_range.scale + item_range.offset
    assert (items >= torch.from_numpy(table.min(0)) - 1e-9).all()
    assert (items <= torch.from_numpy(table.max(0)) + 1e-9).all()
    torch.testing.assert_close(items[:, 2:], items[:, 2:].round())
    torch.testing.assert_close(items[:, 1], torch.full((50,), 3.5, dtype=torch.float64))
    torch.testing.assert_close(space.decode(space.encode(rows)), rows)


def test_rounding_lets_gradients_pass(table):
    rows, item_range = scaled(table)
    space = PixelSpace(item_range)
    u = space.encode(rows[:5]).requires_grad_(True)
    space.decode(u).sum().backward()
    varying = torch.tensor([True, False, True, True])
    assert (u.grad[:, varying] != 0).all()


def test_views_give_the_units_of_x(table):
    rows, item_range = scaled(table)
    (usual, _), (centred, no_shift), (factor, shift) = RankSpace(item_range, rows).views()
    assert (usual == 1).all()
    raw = rows * factor + shift
    one_factor = raw[0, 0] / table[0, 0]
    torch.testing.assert_close(raw, one_factor * torch.from_numpy(table))
    assert torch.equal(centred, factor)
    assert not no_shift.any()


def test_range_of_rows():
    rows = np.array([[0.0, 1.5, 7], [4.0, -1.5, 7]])
    item_range = ItemRange.of(rows)
    assert item_range.integers.tolist() == [True, False, True]
    clipped = item_range.clip([[2.6, 9, 9], [-3, -9, 0]])
    assert clipped.tolist() == [[3, 1.5, 7], [0, -1.5, 7]]


@pytest.mark.parametrize(
    ("pixels", "flat"), [("bytes", True), ("units", False), ("few", False), ("flags", False)]
)
def test_rows_of_pixels(pixels, flat, rng):
    rows = rng.integers(0, 256, (500, 100)).astype(float)
    rows[0], rows[1], rows[:, :20] = 0, 255, 7
    if pixels == "units":
        rows = rows * rng.lognormal(size=100)
    if pixels == "flags":
        # One-hot columns, and an amount.
        rows = rows > 128
        rows = np.column_stack([rows, rng.lognormal(10, size=500)])
    assert ItemRange.of(rows[:, :40] if pixels == "few" else rows).is_of_pixels is flat


def test_deviations_are_those_of_all_rows(rng):
    # One pixel varies in a single row of many: in most samples it is constant.
    rows = rng.normal(size=(20_000, 2))
    rows[:, 1] = 0
    rows[12_345, 1] = 200
    item_range = ItemRange.of(rows)
    scaler = StandardScaler().fit(rows)
    np.testing.assert_allclose(item_range.mean, scaler.mean_, atol=1e-12)
    np.testing.assert_allclose(item_range.deviation, scaler.scale_)
    space = PixelSpace(scaled(rows)[1])
    # A step of one is a deviation of such a pixel too, not its range.
    moved = space.decode(torch.ones(1, 2)) - space.decode(torch.zeros(1, 2))
    raw = (moved * space.scaled_range.scale).squeeze()
    assert abs(float(raw[0]) - scaler.scale_[0]) < 0.01
    assert float(raw[1]) <= 2
