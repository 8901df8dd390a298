"""What columns become, in the words of the table in `qframe.mapping.values`."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from qframe.mapping.columns import arrow_array
from qframe.mapping.payload import python_cells
from qframe.points import PayloadColumn, PayloadKind

LOOKED_AT = 100
"""Cells, the first that are not missing, that tell what a column of objects holds."""

NAIVE = "string, RFC 3339 in UTC (naive is taken as UTC)"
ZONED = "string, RFC 3339 in UTC"
DATE = "string, YYYY-MM-DD"
TIME = "string, HH:MM:SS"

WORDS: tuple[tuple[Any, str], ...] = (
    ((bool, np.bool_), "boolean"),
    (dt.datetime, ZONED),
    (np.datetime64, NAIVE),
    (dt.date, DATE),
    (dt.time, TIME),
    (enum.Enum, "as its value"),
    (uuid.UUID, "string, hyphenated, lower case"),
    (str, "string"),
    ((np.timedelta64, dt.timedelta), "refused"),
    ((int, np.integer), "integer"),
    ((float, np.floating, Decimal), "number"),
    ((list, tuple, np.ndarray, pd.Series, pd.Index, pd.api.extensions.ExtensionArray), "list"),
    (Mapping, "object"),
)
"""What a cell of a type becomes; the first that fits."""

KINDS = {
    PayloadKind.BOOL: "boolean",
    PayloadKind.INTEGER: "integer",
    PayloadKind.FLOAT: "number",
    PayloadKind.TEXT: "string",
}


def cell_becomes(cell: Any) -> str:
    """Return what a cell becomes.

    Examples
    --------
    >>> cell_becomes(Decimal("1.5")), cell_becomes((1, 2)), cell_becomes(b"raw")
    ('number', 'list', 'refused')
    """
    if isinstance(cell, np.ndarray) and cell.ndim == 0:
        cell = cell[()]
    return next((words for kinds, words in WORDS if isinstance(cell, kinds)), "refused")


def first_cells(series: pd.Series[Any]) -> list[Any]:
    """Return the first cells of a column that are not missing, as Python objects."""
    present = np.flatnonzero(~missing_cells(series))[:LOOKED_AT]
    return python_cells(series, present)


def missing_cells(series: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which cells of a column are missing."""
    return np.asarray(series.array.isna() if hasattr(series.array, "isna") else pd.isna(series))


def dtype_found(series: pd.Series[Any]) -> str:
    """Return a column's dtype, and of one of objects what the first one is.

    Examples
    --------
    >>> dtype_found(pd.Series([None, [1, 2]])), dtype_found(pd.Series([1.5]))
    ('object (list)', 'float64')
    """
    if series.dtype != object:
        return str(series.dtype)
    cells = first_cells(series)[:1]
    inside = "".join(f" of {cell.dtype}" for cell in cells if isinstance(cell, np.ndarray))
    return "object" + "".join(f" ({type(cell).__name__}{inside})" for cell in cells)


def column_becomes(column: PayloadColumn, series: pd.Series[Any]) -> str:
    """Return what the cells of a column become under a payload key.

    Parameters
    ----------
    column : PayloadColumn
    series : Series
        The one column of the frame that it is made of.

    Examples
    --------
    >>> from qframe.mapping.badrows import BadRows
    >>> from qframe.mapping.payload import resolve_column
    >>> times = pd.Series(pd.to_datetime(["2024-05-01"]))
    >>> column_becomes(resolve_column(times, "seen", False, BadRows(times.index)), times)
    'string, RFC 3339 in UTC (naive is taken as UTC)'
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "as its category: " + _joined(dtype.categories[:LOOKED_AT].tolist())
    if column.kind is PayloadKind.ANY:
        return _joined(first_cells(series))
    words = KINDS[column.kind]
    if column.kind is PayloadKind.FLOAT and "float32" in str(dtype).lower():
        return f"{words} (float32 widened exactly)"
    if column.kind is not PayloadKind.TEXT:
        return words
    arrow = arrow_array(series)
    kind = str(dtype if arrow is None else arrow.type)
    if kind.startswith(("datetime64", "timestamp")):
        return ZONED if "," in kind or "tz=" in kind else NAIVE
    return TIME if kind.startswith("time64") else words


def _joined(cells: list[Any]) -> str:
    """Return what cells become, each word once; none of them are null."""
    return " or ".join(dict.fromkeys(map(cell_becomes, cells))) or "null"
