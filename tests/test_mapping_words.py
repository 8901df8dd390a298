"""What a column becomes is told in the words of the table that converts it."""

from __future__ import annotations

import datetime as dt
import enum
import re
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from qframe.mapping.badrows import BadRows
from qframe.mapping.payload import resolve_column
from qframe.mapping.values import Unconvertible, convert
from qframe.mapping.words import WORDS, cell_becomes, column_becomes, dtype_found, missing_cells
from tests.test_docs import docstring_table

NOW = dt.datetime(2024, 5, 1, 12)


class Colour(enum.Enum):
    """A member of it becomes its value."""

    RED = "red"


CELLS: list[tuple[Any, str]] = [
    (True, "boolean"),
    (np.bool_(True), "boolean"),
    (3, "integer"),
    (np.uint8(3), "integer"),
    (1.5, "number"),
    (np.float32(1.5), "number"),
    (Decimal("1.5"), "number"),
    ("text", "string"),
    (NOW, "string, RFC 3339 in UTC"),
    (pd.Timestamp(NOW), "string, RFC 3339 in UTC"),
    (NOW.date(), "string, YYYY-MM-DD"),
    (NOW.time(), "string, HH:MM:SS"),
    (uuid.uuid4(), "string, hyphenated, lower case"),
    ([1], "list"),
    (np.array([1.0]), "list"),
    (np.array(7), "integer"),
    ({"a": 1}, "object"),
    (Colour.RED, "as its value"),
]

KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list"}


@pytest.mark.parametrize(("cell", "words"), CELLS)
def test_cells(cell: Any, words: str) -> None:
    """A cell becomes what is said of it."""
    assert cell_becomes(cell) == words
    expected = KINDS.get(type(convert(cell)), "object")
    assert words.startswith(expected) or words == "as its value"


@pytest.mark.parametrize(
    "cell", [b"raw", {1, 2}, dt.timedelta(1), np.timedelta64(1, "s"), pd.Period("2024"), 1j]
)
def test_what_is_refused(cell: Any) -> None:
    """What cannot be converted is told as refused."""
    assert cell_becomes(cell) == "refused"
    with pytest.raises(Unconvertible):
        convert(cell)


def test_the_words_are_those_of_the_table() -> None:
    """Whatever may be said of a cell stands in the table of conversions."""
    table = " ".join(right.replace("`", "") for _, right in docstring_table())
    for _, words in WORDS:
        for part in re.split(r" \(|\)", words):
            assert part in table


ARROW_TIME = pd.ArrowDtype(pa.time64("ns"))

SERIES: list[tuple[pd.Series[Any], str, str]] = [
    (pd.Series([1]), "int64", "integer"),
    (pd.Series([True, None], dtype="boolean"), "boolean", "boolean"),
    (pd.Series([1.5], dtype="float32"), "float32", "number (float32 widened exactly)"),
    (pd.Series(["a"], dtype="string"), "string", "string"),
    (pd.Series(["a"], dtype="category"), "category", "as its category: string"),
    (
        pd.Series(np.array(["2024"], "datetime64[ns]")),
        "datetime64[ns]",
        "string, RFC 3339 in UTC (naive is taken as UTC)",
    ),
    (
        pd.Series(np.array(["2024"], "datetime64[ns]")).dt.tz_localize("UTC"),
        "datetime64[ns, UTC]",
        "string, RFC 3339 in UTC",
    ),
    (pd.Series([NOW.time()], dtype=ARROW_TIME), "time64[ns][pyarrow]", "string, HH:MM:SS"),
    (pd.Series([None, NOW.date()]), "object (date)", "string, YYYY-MM-DD"),
    (pd.Series([[1], {"a": 1}, [2]]), "object (list)", "list or object"),
    (pd.Series([np.ones(2)]), "object (ndarray of float64)", "list"),
    (pd.Series([None, None], dtype=object), "object", "null"),
    (pd.Series(pd.arrays.SparseArray([0, 1])), "Sparse[int64, 0]", "integer"),
]


@pytest.mark.parametrize(("series", "dtype", "words"), SERIES)
def test_columns(series: pd.Series[Any], dtype: str, words: str) -> None:
    """A column is told by its dtype, one of objects by its first cells."""
    column = resolve_column(series, "key", False, BadRows(series.index))
    assert dtype_found(series) == dtype
    assert column_becomes(column, series) == words


def test_missing_cells() -> None:
    """Missing cells are found in every kind of column, and lists are none."""
    for series in (
        pd.Series([1.0, None]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([[1, None], None]),
        pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        pd.Series(["a", None], dtype="category"),
    ):
        assert missing_cells(series).tolist() == [False, True]
