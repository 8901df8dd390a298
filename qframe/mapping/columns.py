"""Finding columns in a frame, and telling what was there when one is not found."""

from __future__ import annotations

import operator
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from qframe.errors import InputError


def pick(frame: pd.DataFrame, label: Hashable, role: str) -> pd.Series[Any]:
    """Return one column.

    Parameters
    ----------
    frame : DataFrame
    label : hashable
    role : str
        Which argument names it, for the error.

    Raises
    ------
    InputError
        When there is no such column, or more than one.
    """
    require(frame, label, role)
    return _readable(frame[label])


def require(frame: pd.DataFrame, label: Hashable, role: str) -> None:
    """Raise InputError unless the frame has exactly one column of this label."""
    found = _count(frame.columns, label) if is_label(frame, label) else 0
    if found == 1:
        return
    if found > 1:
        raise InputError(
            f"{role}: the frame has {found} columns named {label!r}; "
            "rename them, so that each name stands for one column"
        )
    import difflib

    names = {str(name): name for name in frame.columns}
    close = difflib.get_close_matches(str(label), list(names), n=1)
    hint = f"; did you mean {names[close[0]]!r}?" if close else ""
    if label is not None and label in frame.index.names:
        or_none = " (or leave ids out)" if role == "ids" else ""
        hint = f"; it names the index: df.reset_index() makes a column of it{or_none}"
    raise InputError(
        f"{role}: no column {label!r} in the frame{hint} (columns: {listed(list(frame.columns))})"
    )


def _count(columns: pd.Index[Any], label: Hashable) -> int:
    """Return how many columns have a label that is known to be there."""
    is_missing = not isinstance(label, tuple) and pd.Index([label], dtype=object).isna()[0]
    if is_missing:  # and so equals nothing
        return int(np.count_nonzero(columns.isna()))
    return int((columns == label).sum())


def _readable(column: pd.Series[Any]) -> pd.Series[Any]:
    """Make plain text of Arrow's string views, which pandas cannot read."""
    array = arrow_array(column)
    if array is None or str(array.type) != "string_view":
        return column
    import pyarrow as pa

    cells = pd.arrays.ArrowExtensionArray(array.cast(pa.large_string()))
    return pd.Series(cells, index=column.index, name=column.name)


def listed(names: list[Any], most: int = 20) -> str:
    """Join names for a message, saying how many are not shown."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown}, and {len(names) - most} more" if len(names) > most else shown or "none"


def is_label(frame: pd.DataFrame, value: Any) -> bool:
    """Whether a value is the label of a column."""
    columns: Any = frame.columns
    times = (pd.DatetimeIndex, pd.PeriodIndex, pd.TimedeltaIndex)
    if isinstance(value, str) and isinstance(columns, times):
        return False  # pandas would read it as a time, and "2024" as all of that year
    try:
        return value in columns
    except TypeError:  # not hashable, or a tuple that holds what is not
        return False


def is_own(frame: pd.DataFrame, series: pd.Series[Any]) -> bool:
    """Whether a Series with the frame's index is one of its columns, as in ``df["v"]``."""
    name = series.name
    if name is None or not is_label(frame, name) or _count(frame.columns, name) != 1:
        return False
    own: pd.Series[Any] = frame[name]
    if own.dtype != series.dtype:
        return False
    if own.dtype == object:  # arrays in cells cannot be compared by ==
        return all(map(operator.is_, own, series))
    return own.equals(series)


def arrow_array(column: pd.Series[Any]) -> Any:
    """Return the pyarrow.ChunkedArray behind an Arrow-backed column, else None."""
    if not isinstance(column.dtype, pd.ArrowDtype):
        return None
    return column.array.__arrow_array__()


def arrow_text(column: pd.Series[Any]) -> Any:
    """Return the pyarrow.ChunkedArray behind a column of strings kept by Arrow, else None."""
    import pyarrow as pa

    dtype = column.dtype
    if isinstance(dtype, pd.StringDtype) and dtype.storage.startswith("pyarrow"):
        return column.array.__arrow_array__()
    array = arrow_array(column)
    is_text = array is not None and (
        pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    )
    return array if is_text else None
