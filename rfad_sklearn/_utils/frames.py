"""Data frames of pandas and polars: their columns as arrays, and items in columns like theirs.

Neither package is imported: a frame brings its own.
"""

import numpy as np

# Beginnings of the names of types that say when, or how long.
_TIMES = ("datetime", "timedelta", "period", "date", "time", "duration", "interval")
# Columns that a message names, at most.
_FEW = 5


def is_frame(X):
    """Whether X is a data frame of pandas or of polars."""
    pandas = hasattr(X, "iloc") and hasattr(X, "columns")
    return pandas or (is_polars(X) and hasattr(X, "columns"))


def is_polars(X):
    """Whether X is a frame or a series of polars."""
    return type(X).__module__.split(".")[0] == "polars"


def dtype_names(X):
    """Name of the type of each column of a frame, as text."""
    return tuple(_name(dtype) for dtype in X.dtypes)


def _name(dtype):
    if getattr(dtype, "name", None) == "category":
        return "category[ordered]" if dtype.ordered else "category"
    return str(dtype)


def is_category(name):
    """Whether a type's name is one of categories."""
    return name.startswith(("category", "Categorical", "Enum", "dictionary<"))


def column_names(X):
    """Names of the columns as a list; numbers, as text, where X has none."""
    return list(X.columns) if is_frame(X) else [str(k) for k in range(np.shape(X)[1])]


def column_of(X, k):
    """Column of a frame, or of an array."""
    if not is_frame(X):
        return np.asarray(X)[:, k]
    return X.iloc[:, k] if hasattr(X, "iloc") else X.to_series(k)


def values_and_gaps(column):
    """Values of a column as an array of objects, and where it has gaps."""
    if is_polars(column):
        values = np.array(column.to_list() + [None], dtype=object)[:-1]
    else:
        values = np.array(column, dtype=object)
    # NaN is not equal to itself; the gaps of pandas do not even compare.
    gaps = np.array([v is None or type(v).__name__ == "NAType" or v != v for v in values], bool)
    return values, gaps


def numbers_of(column, name):
    """Numbers of a column in float64; gaps are NaN.

    Raises
    ------
    ValueError, TypeError
        When it holds something else.
    """
    try:
        if getattr(column.dtype, "kind", "") in ("M", "m", "c"):
            raise TypeError(f"type {column.dtype}")
        if hasattr(column, "iloc"):
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        if is_polars(column):
            values, gaps = values_and_gaps(column)
            return np.where(gaps, np.nan, values).astype(np.float64)
        return column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"X has a column that is not numeric, {name!r}: {error}.") from error


def refuse_times(X):
    """Refuse columns of dates and of times.

    Raises
    ------
    TypeError
        Names them, and the way out.
    """
    pairs = zip(column_names(X), dtype_names(X), strict=True)
    found = [name for name, dtype in pairs if dtype.lower().startswith(_TIMES)]
    if found:
        raise TypeError(
            f"X has dates or times in the columns {_listed(found)}, whose mean or distance means "
            f"little. Give what matters of them as numbers, the month of {found[0]!r} say, or as "
            "text of a categorical type, and leave them out."
        )


def refuse_text(X, categorical):
    """Refuse columns of text that are no categories.

    Parameters
    ----------
    X : data frame
    categorical : bool array of shape (d,)

    Raises
    ------
    ValueError
        Names them, and the line that makes them categories.
    """
    found, others, numbers = [], [], []
    for k, (name, dtype) in enumerate(zip(column_names(X), dtype_names(X), strict=True)):
        may_be_text = dtype.lower().startswith(("object", "str", "large_str"))
        if categorical[k] or not (may_be_text or is_category(dtype)):
            continue
        if is_category(dtype):
            others.append(name)
        elif _is_text(column_of(X, k), name):
            found.append(name)
            numbers.append(k)
    if others:
        raise ValueError(
            f"X has columns of categories that categorical_features does not name: "
            f"{_listed(others)}. Use categorical_features='from_dtype', name them too, or make "
            f"numbers of them: X[{others[0]!r}].cat.codes, say."
        )
    if found:
        line = (
            f"X = X.astype({dict.fromkeys(found[:_FEW], 'category')!r})"
            if hasattr(X, "iloc")
            else f"X = X.cast(dict.fromkeys({found[:_FEW]!r}, pl.Categorical))"
        )
        named = found if all(isinstance(name, str) for name in found) else numbers
        named = named[:_FEW]
        raise ValueError(
            f"X has a column that is not numeric: text in {_listed(found)}. Make text categories: "
            f"{line}; or name them: categorical_features={named!r}."
        )


def _is_text(column, name):
    """Whether a column that may hold text does: digits that are text are no numbers."""
    values, gaps = values_and_gaps(column)
    if any(isinstance(value, str) for value in values[~gaps]):
        return True
    try:
        numbers_of(column, name)
    except ValueError:
        return True
    return False


def _listed(names):
    shown = ", ".join(map(repr, names[:_FEW]))
    return shown + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def as_type(items, dtype):
    """Items in the type of an array where it holds them; else as they are."""
    if not (isinstance(dtype, np.dtype) and dtype.kind in "biuf"):
        return items
    with np.errstate(invalid="ignore"):
        cast = items.astype(dtype)
    return cast if dtype.kind == "f" or np.array_equal(cast, items) else items


def rounded_as(values, dtype):
    """Numbers, in the type of a column of pandas: rounded, and within its bounds, where it asks.

    Parameters
    ----------
    values : float array
    dtype : dtype of numpy or pandas
    """
    kind, bits = getattr(dtype, "kind", "O"), getattr(dtype, "itemsize", 8)
    if kind == "b":
        return values >= 0.5
    if kind in "iu":
        info = np.iinfo(f"{kind}{min(bits, 8)}")
        high = float(info.max)
        # The largest long integer is no float64, but the next one that it does not hold.
        high = np.nextafter(high, 0) if int(high) > info.max else high
        return np.clip(np.rint(values), float(info.min), high).astype(info.dtype)
    return values


def frame_like(X, columns):
    """Data frame with the names and the types of X.

    Parameters
    ----------
    X : data frame
    columns : list of array
        Numbers in float64, categories as objects with None for gaps.
    """
    if not hasattr(X, "iloc"):
        return _polars_like(X, columns)
    series = [
        column if column.dtype == object else rounded_as(column, dtype)
        for column, dtype in zip(columns, X.dtypes, strict=True)
    ]
    made = type(X)(dict(enumerate(series))).astype(dict(enumerate(X.dtypes)))
    return made.set_axis(X.columns, axis=1)


def _polars_like(X, columns):
    made = {}
    for name, column, dtype in zip(X.columns, columns, X.dtypes, strict=True):
        if column.dtype != object:
            word = str(dtype)
            if word.startswith(("Boolean", "Int", "UInt")):
                plain = np.dtype("bool" if word == "Boolean" else word.lower())
                column = rounded_as(column, plain)
        made[name] = column.tolist()
    return type(X)(made, schema=X.schema)


def coreset_frame(codes, columns, names):
    """Frame of pandas of a coreset's items.

    Parameters
    ----------
    codes : array of shape (n_items, d)
    columns : Columns or None
    names : sequence of str or None

    Raises
    ------
    ImportError
        Without pandas.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install pandas.") from error
    names = [f"x{k}" for k in range(codes.shape[1])] if names is None else list(names)
    if columns is None:
        return pd.DataFrame(codes, columns=names)
    series = {}
    for k, values in enumerate(columns.decoded(codes)):
        word = str(values.dtype) if columns.dtypes is None else columns.dtypes[k]
        own = columns.categories[k]
        if own is not None and (is_category(word) or columns.dtypes is None):
            ordered = word == "category[ordered]"
            dtype = pd.CategoricalDtype(own.tolist(), ordered=ordered)
        else:
            dtype = _pandas_dtype(pd, word, values.dtype)
        series[k] = pd.Series(values if own is not None else rounded_as(values, dtype), dtype=dtype)
    return pd.DataFrame(series).set_axis(names, axis=1)


def _pandas_dtype(pd, word, default):
    """Type of pandas of that name; where there is none here, the default."""
    word = {"Boolean": "boolean", "String": "str"}.get(word, word)
    try:
        dtype = pd.api.types.pandas_dtype(word)
    except (TypeError, ImportError, NotImplementedError):
        return default
    plain = getattr(dtype, "kind", "") in tuple("biufO") and getattr(dtype, "names", None) is None
    return dtype if plain else default
