"""What the vectors of one name are made from, and how its rows are picked and explained."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.mapping.badrows import BadRows
from qframe.points import Rows

CHUNK = 4096
"""Rows that a whole-frame check looks at together."""

CHUNK_NUMBERS = 1 << 19
"""Numbers that it converts together, 2 MB of float32, so that a check of millions of rows, or of
very long ones, needs no more memory than a batch."""

NUMBER_KINDS = "fiu"
"""numpy's kinds of dtypes that hold real numbers."""

BOOLEANS = frozenset({bool, np.bool_})

LABELLED = (pd.Series, pd.DataFrame, pd.Index, pd.api.extensions.ExtensionArray)


@dataclass(frozen=True, slots=True)
class Source:
    """Data of one vector, as the caller gave it.

    Attributes
    ----------
    role : str
        The argument, for messages.
    noun : str
        What it is, for messages.
    data : Series, list of Series, array, or scipy.sparse matrix
        One row a row of the frame.
    labels : tuple of hashable
        The columns of the frame that these are.
    lenient : bool
        Whether what is wrong with all rows is told row by row, as in the middle of a stream, and
        not raised.
    """

    role: str
    noun: str
    data: Any
    labels: tuple[Hashable, ...] = ()
    lenient: bool = False

    @property
    def finding(self) -> str:
        """What findings call it: as `noun`, and of several arrays which one."""
        several = self.role != "vectors" and self.noun in ("array", "sparse matrix")
        return f"{self.role}: {self.noun}" if several else self.noun

    def __len__(self) -> int:
        data = self.data
        if isinstance(data, list):
            return len(data[0]) if data else 0
        return int(data.shape[0])


def spans(total: int, numbers: int = 1) -> Iterator[slice]:
    """Cut ``range(total)`` into slices of `CHUNK` rows, or fewer where a row has many numbers."""
    rows = max(1, min(CHUNK, CHUNK_NUMBERS // max(1, numbers)))
    for start in range(0, total, rows):
        yield slice(start, min(start + rows, total))


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return an object array of shape (n,), whatever the values are."""
    cells = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):  # numpy would look into lists and arrays
        cells[at] = value
    return cells


def plain(value: Any) -> Any:
    """Return numbers as numpy keeps them: without labels, and NaN where they are masked."""
    if value is np.ma.masked:
        return None
    if isinstance(value, np.ma.MaskedArray):
        masked: Any = value
        if not np.ma.getmaskarray(value).any():
            return masked.data
        if masked.dtype.kind not in NUMBER_KINDS:
            return masked.astype(object).filled(None)
        return masked.astype(np.result_type(masked.dtype, np.float32)).filled(np.nan)
    if isinstance(value, LABELLED):
        return value.to_numpy()
    if isinstance(value, (list, tuple)) and value and hasattr(value[0], "__len__"):
        return [plain(item) for item in value]
    return value


def plain_cells(cells: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return cells as `plain` makes them; the same array where they are so already."""
    kinds = set(map(type, cells))
    if any(issubclass(kind, (np.ma.MaskedArray, *LABELLED, list, tuple)) for kind in kinds):
        return objects([plain(cell) for cell in cells])
    return cells


def arrow_rows(array: Any, rows: Rows) -> Any:
    """Return these rows of a pyarrow.ChunkedArray as one pyarrow.Array."""
    import pyarrow as pa

    if isinstance(rows, slice):
        picked = array.slice(rows.start, rows.stop - rows.start)
    elif len(rows):
        # Taking from all chunks would join them first: the whole column, for every block.
        first = int(rows.min())
        picked = array.slice(first, int(rows.max()) - first + 1).take(pa.array(rows - first))
    else:
        picked = array.slice(0, 0)
    if picked.num_chunks == 1:
        return picked.chunk(0)
    whole = picked.combine_chunks()
    # Releases of pyarrow differ in what combining the chunks of an array gives.
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) and whole.num_chunks else whole


def to_float32(values: Any) -> NDArray[np.float32]:
    """Cast numbers to contiguous float32; what float32 cannot hold becomes inf, without a word."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def require_present(
    missing: NDArray[np.bool_], source: Source, bad: BadRows, may_lack: bool
) -> NDArray[np.bool_] | None:
    """Return the mask of rows that have a vector; None is all of them.

    Rows without one are bad, unless the vector is a named one, which a point may lack.
    """
    if not missing.any():
        return None
    if not may_lack:
        bad.add_all(
            np.flatnonzero(missing).tolist(),
            source.finding,
            "no vector",
            "drop these rows, or name the vector (vectors={'name': column}): "
            "a point may lack a named one",
        )
    return ~missing


def sequence_fault(cell: Any, dimensions: int) -> str | None:
    """Say what keeps a cell from being an array of numbers; None is nothing."""
    try:
        array = np.asarray(cell)
    except (ValueError, TypeError, OverflowError):
        if dimensions == 2:
            return "the inner lists differ in length"
        return "not a flat list of numbers"
    if array.size and array.dtype.kind not in NUMBER_KINDS:
        # As objects, because numpy makes text of all numbers that stand next to text.
        return _element_fault(array if array is cell else np.array(cell, dtype=object))
    if array.ndim != dimensions:
        return f"holds {array.ndim} dimension{'s' * (array.ndim != 1)}, expected {dimensions}"
    if array.size == 0:
        return "an empty vector"
    if array is not cell and holds_booleans(cell if dimensions == 1 else chain(*cell)):
        return "holds booleans, not numbers"
    if not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))[0]
        found = array[tuple(at)]
        return f"holds {'NaN' if np.isnan(found) else found} at position {_place(at)}"
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        at = np.argwhere(~np.isfinite(single))[0]
        return f"holds {array[tuple(at)]} at position {_place(at)}, beyond float32"
    return None


def holds_booleans(items: Iterable[Any]) -> bool:
    """Whether there are booleans among numbers, where numpy would make numbers of them."""
    return not BOOLEANS.isdisjoint(map(type, items))


def rows_hold_booleans(rows: Sequence[Any], matrix: NDArray[Any]) -> bool:
    """Whether there are booleans in rows that numpy has made a matrix of numbers of.

    Only rows with a number that a boolean becomes are looked at, which costs a tenth of all.
    """
    candidates = np.flatnonzero(((matrix == 0) | (matrix == 1)).any(axis=1))
    return any(holds_booleans(rows[at]) for at in candidates.tolist())


def _element_fault(array: NDArray[Any]) -> str:
    """Say which element of an array is no number."""
    if array.dtype.kind == "b":
        return "holds booleans, not numbers"
    if BOOLEANS.issuperset(map(type, array.flat)):
        return "holds booleans, not numbers"
    for at, item in np.ndenumerate(array):
        if item is None or item is pd.NA:
            return f"holds {item} at position {_place(np.array(at))}"
        if isinstance(item, (bool, np.bool_)) or not isinstance(item, (int, float, np.number)):
            if isinstance(item, (list, tuple, np.ndarray)):
                return "the inner lists differ in length"
            shown = f"{type(item).__name__} {item!r:.40}"
            return f"holds {shown} at position {_place(np.array(at))}, not a number"
    return f"holds {array.dtype} values, not real numbers"


def _place(at: NDArray[Any]) -> str:
    return ", ".join(str(int(part)) for part in at)


def explain(
    positions: NDArray[np.int64],
    cell: Callable[[int], Any],
    fault: Callable[[Any], str | None],
    source: Source,
    remedy: str,
    bad: BadRows,
) -> NDArray[np.int64]:
    """Note the fault of every one of these rows that has one; return the rows that have none."""
    fine: list[int] = []
    for position in positions.tolist():
        reason = fault(cell(position))
        if reason is None:
            fine.append(position)
        else:
            bad.add(position, source.finding, reason, remedy)
    return np.array(fine, dtype=np.int64)
