"""Support points: a distribution in few points."""

import numpy as np
import torch

from rfad_sklearn._optimization.support_points import support_points

# Neither bounds nor a grid.
FREE = (lambda x: x, lambda x: x)


def energy_distance(points, rows):
    """Up to a constant of the rows."""
    return float(2 * torch.cdist(points, rows).mean() - torch.cdist(points, points).mean())


def test_nearer_to_the_rows_than_random_ones_and_as_wide(rng):
    rows = torch.tensor(rng.normal(size=(3000, 2)) * [1.0, 0.5])
    points = support_points(rows, rows[:40], *FREE, torch.Generator().manual_seed(0))
    drawn = [energy_distance(rows[k : k + 40], rows) for k in range(0, 2000, 40)]
    assert energy_distance(points, rows) < min(drawn)
    # Means of groups of rows would be nearer to the middle.
    np.testing.assert_allclose(points.std(0), rows.std(0), rtol=0.1)


def test_points_lie_where_they_may(rng):
    rows = torch.tensor(rng.integers(-2, 3, size=(500, 2)).astype(float))

    def clip(points):
        return points.clamp(-1, 1)

    points = support_points(
        rows, clip(rows[:30]), clip, torch.round, torch.Generator().manual_seed(0)
    )
    assert set(points.unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_many_points_move_in_parts(rng, monkeypatch):
    from rfad_sklearn._optimization import support_points as module

    rows = torch.tensor(rng.normal(size=(1000, 2)))
    monkeypatch.setattr(module, "_MOST_DISTANCES", 20 * (40 + module._N_ROWS))
    points = support_points(rows, rows[:40], *FREE, torch.Generator().manual_seed(0))
    assert energy_distance(points, rows) < energy_distance(rows[:40], rows)
    assert (points != rows[:40]).any(1).all()
