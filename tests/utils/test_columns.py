"""Columns of tables: codes, one-hot columns, and the types of a frame."""

import numpy as np
import pandas as pd
import pytest
import torch

from rfad_sklearn._utils.category_groups import CategoryGroups
from rfad_sklearn._utils.columns import Columns, ExpandedRows
from rfad_sklearn._utils.columns_fit import learn_columns, with_medians
from rfad_sklearn._utils.preprocessing_value import Preprocessing


def small_frame():
    return pd.DataFrame(
        {
            "amount": [1.5, -2.0, 0.25, 3.0],
            "city": pd.Categorical(["b", "a", None, "b"], categories=["b", "unseen", "a"]),
            "count": [3, 1, 2, 9],
        }
    )


def test_codes_expand_to_zeros_and_ones_and_back():
    columns = learn_columns(small_frame(), "from_dtype")
    codes = columns.encode(small_frame())
    # In the order of the type, without what no row shows; a gap is one more.
    assert columns.categories[1].tolist() == ["b", "a"]
    assert codes[:, 1].tolist() == [0, 1, 2, 0]
    rows = ExpandedRows(codes, columns)
    assert rows.shape == (4, 5)
    np.testing.assert_array_equal(np.asarray(rows)[:, 1:4], np.eye(3)[[0, 1, 2, 0]])
    np.testing.assert_array_equal(rows[1:3], np.asarray(rows)[1:3])
    np.testing.assert_array_equal(columns.collapse(np.asarray(rows)), codes)


def test_unknown_categories_are_none_and_gaps_too_where_none_were_seen():
    columns = learn_columns(small_frame().iloc[[0, 1, 3]], "from_dtype")
    others = pd.DataFrame(
        {"amount": [0.0] * 3, "city": pd.Categorical(["new", None, "a"]), "count": [1, 1, 1]}
    )
    expanded = columns.expand(columns.encode(others))
    np.testing.assert_array_equal(expanded[:, 1:3], [[0, 0], [0, 0], [0, 1]])


@pytest.mark.parametrize(
    "values",
    [
        ["x", "y", "x"],
        [3, 7, 3],
        [0.5, 2.0, 0.5],
        [True, False, True],
        ["x", None, "x"],
    ],
)
def test_categories_come_back_as_they_were(values):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": pd.Series(values, dtype="category")})
    columns = learn_columns(frame, "from_dtype")
    pd.testing.assert_frame_equal(columns.like(frame, columns.encode(frame)), frame)


def test_types_come_back():
    frame = pd.DataFrame(
        {
            "float32": np.array([0.5, 1.5], dtype=np.float32),
            "int8": np.array([-3, 4], dtype=np.int8),
            "bool": [True, False],
            "Int64": pd.array([1, 2], dtype="Int64"),
            "Float32": pd.array([1.5, 2.5], dtype="Float32"),
            "boolean": pd.array([True, False], dtype="boolean"),
        }
    )
    columns = learn_columns(frame, "from_dtype")
    made = columns.like(frame, np.array([[0.7, 3.6, 0.4, 1.2, 0.5, 0.9], [9, 1e9, 1, 2, 3, 0]]))
    pd.testing.assert_series_equal(made.dtypes, frame.dtypes)
    assert made["int8"].tolist() == [4, 127]
    assert made["bool"].tolist() == [False, True]
    assert made["boolean"].tolist() == [True, False]


def test_medians_stand_for_gaps_also_of_later_rows():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 100.0], "b": [1, 2, 3, 4]})
    columns = learn_columns(frame, "from_dtype")
    columns = with_medians(columns, columns.encode(frame), ["a", "b"])
    assert columns.filled(columns.encode(frame))[:, 0].tolist() == [1, 3, 3, 100]
    later = np.array([[np.nan, np.nan]], dtype=np.float32)
    assert columns.filled(later).tolist() == [[3, 2.5]]
    assert columns.filled(later).dtype == np.float32


@pytest.mark.parametrize("wanted", [[False, True], [1], ["city"]])
def test_categories_are_named_in_three_ways(wanted):
    frame = pd.DataFrame({"amount": [1.0, 2.0, 3.0], "city": ["b", "a", "b"]})
    columns = learn_columns(frame, wanted)
    assert columns.is_categorical.tolist() == [False, True]
    assert columns.categories[1].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("frame", "wanted", "error", "message"),
    [
        (pd.DataFrame({"t": ["x", "y"]}), "from_dtype", ValueError, r"astype\({'t': 'category'}\)"),
        (pd.DataFrame({"t": ["x", "y"]}), None, ValueError, r"categorical_features=\['t'\]"),
        (
            pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2021-01-01"])}),
            "from_dtype",
            TypeError,
            "dates or times in the columns 'when'",
        ),
        (pd.DataFrame({"a": [1, 2]}), ["b"], ValueError, r"not have: \['b'\]"),
        (pd.DataFrame({"a": [1, 2]}), [1], ValueError, "from 0 to 0"),
        (pd.DataFrame({"a": [1, 2]}), [True, False], ValueError, "a mask of 1 bools"),
        (pd.DataFrame({"a": [1, 2]}), "all", ValueError, "categorical_features='all'"),
        (pd.DataFrame({"a": range(1001)}), [0], ValueError, "1001 categories in column 'a'"),
        (
            pd.DataFrame({"a": pd.Categorical([1, "x"])}),
            "from_dtype",
            TypeError,
            "categories of type int, str in column 'a'",
        ),
        (
            pd.DataFrame({"a": pd.cut(np.array([1.0, 2.0]), 2)}),
            "from_dtype",
            TypeError,
            "categories of type Interval",
        ),
    ],
)
def test_columns_that_cannot_be_taken_are_named(frame, wanted, error, message):
    with pytest.raises(error, match=message):
        learn_columns(frame, wanted)


def test_a_column_of_gaps_has_no_median():
    with pytest.raises(ValueError, match="no number in column 'a'"):
        with_medians(None, np.full((2, 1), np.nan), ["a"])


def test_arrays_of_numbers_have_nothing_to_say():
    assert learn_columns(np.eye(3), "from_dtype") is None


def test_values_that_are_no_columns_are_refused():
    with pytest.raises(ValueError, match="distinct"):
        Columns((np.array(["a", "a"]),), np.array([False]))
    with pytest.raises(ValueError, match="distinct"):
        Columns((np.array([{}, []], dtype=object),), np.array([False]))
    with pytest.raises(ValueError, match="with_gaps"):
        Columns((None,), np.array([0]))
    with pytest.raises(ValueError, match="medians"):
        Columns((None,), np.array([False]), [np.nan])


@pytest.fixture
def groups():
    """One number, then groups of two and of three; the second item may not take some."""
    columns = Columns((None, np.array(["a", "b"]), np.array([1, 2, 3])), np.zeros(3, dtype=bool))
    allowed = np.ones((2, 6), dtype=bool)
    allowed[1, [2, 3]] = False
    preprocessing = Preprocessing(np.full(6, 0.3), np.full(6, 2.0))
    return CategoryGroups(columns, allowed, preprocessing, torch.device("cpu"), torch.float64)


def test_each_group_is_one_allowed_category_and_the_gradient_passes(groups):
    z = torch.tensor(
        [[5.0, 0.1, 0.2, 0.3, 0.1, 0.3], [5.0, 0.1, 0.2, 0.9, 0.1, 0.0]],
        dtype=torch.float64,
        requires_grad=True,
    )
    hard = groups.harden(z)
    raw = hard * 2 + 0.3
    # Of equal ones the first.
    expected = [[0, 1, 1, 0, 0], [1, 0, 0, 1, 0]]
    np.testing.assert_allclose(raw[:, 1:].detach().numpy(), expected, atol=1e-12)
    assert (hard[:, 0] == 5).all()
    weights = torch.arange(12.0, dtype=torch.float64).reshape(2, 6)
    (hard * weights).sum().backward()
    np.testing.assert_array_equal(z.grad.numpy(), weights.numpy())


def test_numbers_of_categories_stay_between_none_and_all(groups):
    z = torch.tensor([[50.0, 9.0, -9.0, 0.0, 0.1, 0.2]] * 2, dtype=torch.float64)
    raw = groups.clip(z) * 2 + 0.3
    np.testing.assert_allclose(raw[0].numpy(), [100.3, 1, 0, 0.3, 0.5, 0.7])


def test_a_step_sees_shares_in_some_groups_and_an_evaluation_in_none(groups):
    z = torch.tensor([[1.0, 0.1, 0.2, 0.3, 0.1, 0.3]] * 2, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        torch.testing.assert_close(groups.seen(z), groups.harden(z))
    kinds = set()
    for move in np.linspace(0, 0.1, 20):
        raw = (groups.seen(z + move) * 2 + 0.3).detach()
        for part in (raw[:, 1:3], raw[:, 3:]):
            # Whatever is seen of a group adds up to one, and takes nothing that is not allowed.
            np.testing.assert_allclose(part.sum(1).numpy(), 1, atol=1e-9)
        np.testing.assert_allclose(raw[1, 2:4].numpy(), 0, atol=1e-9)
        kinds.add(bool(((raw[0, 1:] > 0.01) & (raw[0, 1:] < 0.99)).any()))
    assert kinds == {True, False}
    # The same items are seen the same way: a run that goes on takes the same steps.
    torch.testing.assert_close(groups.seen(z), groups.seen(z), rtol=0, atol=0)
