"""Finding columns in a frame, and telling what was there when one is not found."""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from typing import Any

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
    return frame[label]


def require(frame: pd.DataFrame, label: Hashable, role: str) -> None:
    """Raise InputError unless the frame has exactly one column of this label."""
    found = int((frame.columns == label).sum()) if is_label(frame, label) else 0
    if found == 1:
        return
    if found > 1:
        raise InputError(
            f"{role}: the frame has {found} columns named {label!r}; "
            "rename them, so that each name stands for one column"
        )
    names = {str(name): name for name in frame.columns}
    close = difflib.get_close_matches(str(label), list(names), n=1)
    hint = f"; did you mean {names[close[0]]!r}?" if close else ""
    raise InputError(
        f"{role}: no column {label!r} in the frame{hint} (columns: {listed(list(frame.columns))})"
    )


def listed(names: list[Any], most: int = 20) -> str:
    """Join names for a message, saying how many are not shown."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown}, and {len(names) - most} more" if len(names) > most else shown or "none"


def is_label(frame: pd.DataFrame, value: Any) -> bool:
    """Whether a value is the label of a column."""
    try:
        return value in frame.columns
    except TypeError:  # not hashable, or a tuple that holds what is not
        return False


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
