"""Rows whose class forests do not doubt."""

import numpy as np
import pytest

from rfad_sklearn._utils.row_editing import edited_rows, own_class_shares


@pytest.fixture
def two(rng):
    """Four hundred rows of one class, forty of them where the sixty of the other lie."""
    y = np.repeat([0, 1], [400, 60])
    X = rng.normal(size=(460, 3)) * 0.5 + 4 * y[:, None]
    X[:40] += 4
    return X, y


def test_rows_amid_another_class_are_doubted(two, rng):
    X, y = two
    shares = own_class_shares(X, y, np.ones(460, dtype=bool), rng)
    assert shares[:40].max() < 0.5 < shares[40:400].min()


def test_only_known_rows_are_believed(two, rng):
    X, y = two
    known = np.ones(460, dtype=bool)
    # Of the rare class those that lie amid the common one only.
    X[430:] -= 4
    known[400:430] = False
    shares = own_class_shares(X, y, known, rng)
    assert shares[:40].mean() > 0.5


def test_edited_rows(rng):
    shares = np.array([0.1, 0.9, 0.8, 0.2, 0.7])
    for _ in range(5):
        assert set(edited_rows(shares, 2, 0.5, rng)) <= {1, 2, 4}
        # Too few are above: the next ones fill up.
        assert set(edited_rows(shares, 4, 0.5, rng)) == {1, 2, 3, 4}
