"""Several vectors a row: a 3-D array, or a column of 2-D arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import InputError
from qframe.mapping.badrows import BadRows
from qframe.mapping.columns import arrow_array
from qframe.mapping.vectors.dense import check_size, usual_size
from qframe.mapping.vectors.source import (
    NUMBER_KINDS,
    Source,
    arrow_rows,
    explain,
    require_present,
    sequence_fault,
    spans,
    to_float32,
)
from qframe.points import MultiBlock, Rows, VectorColumn, VectorKind

MAX_NUMBERS = 1048576 - 1
"""Most numbers in one multivector (lib/common/common/src/validation.rs)."""

REMEDY = (
    "a multivector is a 2-D array (vectors x size), or a list of vectors of one size, "
    "with one vector at least: mend or drop these rows"
)


class MultiArrayColumn(VectorColumn):
    """Rows of a 3-D array, all with the same number of vectors."""

    kind = VectorKind.MULTI

    def __init__(self, array: NDArray[Any]) -> None:
        self.size = array.shape[2]
        self._array = array

    def block(self, rows: Rows) -> MultiBlock:
        part = self._array[rows]
        lengths = np.full(part.shape[0], part.shape[1], dtype=np.int64)
        return MultiBlock(to_float32(part).reshape(-1, part.shape[2]), lengths)

    def numbers(self, rows: Rows) -> int | NDArray[np.int64]:
        return int(self._array.shape[1] * self._array.shape[2])


class MultiCellColumn(VectorColumn):
    """A column of 2-D arrays or lists of vectors, stacked block by block.

    Parameters
    ----------
    cells : callable
        Gives the cells of some rows, None where there is none.
    size : int or None
    lengths : int64 array of shape (n,)
        Vectors in each row.
    present : bool array of shape (n,), or None
    """

    kind = VectorKind.MULTI

    def __init__(
        self,
        cells: Any,
        size: int | None,
        lengths: NDArray[np.int64],
        present: NDArray[np.bool_] | None,
    ) -> None:
        self._cells = cells
        self.size = size
        self._lengths = lengths
        self._present = present

    def block(self, rows: Rows) -> MultiBlock:
        present = None if self._present is None else self._present[rows]
        cells = fetch(self._cells, rows)
        lengths = self._lengths[rows]
        if present is not None:
            cells, lengths = cells[present], lengths[present]
        if not len(cells):
            return MultiBlock(np.empty((0, self.size or 0), np.float32), lengths, present)
        values = np.concatenate([matrix(cell) for cell in cells])
        return MultiBlock(values, lengths, present)

    def numbers(self, rows: Rows) -> int | NDArray[np.int64]:
        return self._lengths[rows] * (self.size or 0)


def fetch(cells: Any, rows: Rows) -> NDArray[np.object_]:
    """Return the cells of some rows as Python objects, from an object array or an Arrow one."""
    if isinstance(cells, np.ndarray):
        return cells[rows]
    listed = arrow_rows(cells, rows).to_pylist()
    fetched = np.empty(len(listed), dtype=object)
    fetched[:] = listed
    return fetched


def matrix(cell: Any) -> NDArray[np.float32]:
    """Return one multivector as a float32 array of shape (vectors, size)."""
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        cell = cell.tolist()
    return to_float32(cell)


def resolve(
    source: Source, size: int | None, collection: str | None, bad: BadRows, may_lack: bool
) -> VectorColumn:
    """Check every row of a source of multivectors."""
    data = source.data
    if isinstance(data, np.ndarray):
        return _array(source, size, collection, bad)
    arrow = arrow_array(data)
    cells = data.to_numpy() if arrow is None else arrow
    missing = pd.isna(cells) if arrow is None else np.asarray(arrow.is_null())
    present = require_present(missing, source, bad, may_lack)
    lengths = np.zeros(len(source), dtype=np.int64)
    sizes = np.zeros(len(source), dtype=np.int64)
    for span in spans(len(source)):
        for at, cell in enumerate(fetch(cells, span), span.start):
            if not missing[at]:
                lengths[at], sizes[at] = _shape(cell)
    if missing.all():
        return MultiCellColumn(cells, size, lengths, present)
    right = usual_size(source, sizes, size, collection)
    for span in spans(len(source)):
        rows = np.flatnonzero(~missing[span]) + span.start
        part = fetch(cells, span)
        explain(
            rows,
            lambda at, part=part, start=span.start: part[at - start],  # type: ignore[misc]
            lambda cell: _fault(cell, right),
            source,
            REMEDY,
            bad,
        )
    return MultiCellColumn(cells, right, lengths, present)


def _array(source: Source, size: int | None, collection: str | None, bad: BadRows) -> VectorColumn:
    array = source.data
    if array.dtype.kind not in NUMBER_KINDS:
        raise InputError(f"{source.role}: the {source.noun} holds {array.dtype}, not numbers")
    if array.shape[1] < 1:
        raise InputError(f"{source.role}: the {source.noun} has no vectors (shape {array.shape})")
    check_size(source, array.shape[2], size, collection)
    if array.shape[1] * array.shape[2] > MAX_NUMBERS:
        raise InputError(
            f"{source.role}: a row holds {array.shape[1] * array.shape[2]:,} numbers; "
            f"a multivector has {MAX_NUMBERS:,} at the most"
        )
    for span in spans(len(array)):
        if np.isfinite(to_float32(array[span])).all():
            continue
        explain(
            np.arange(span.start, span.stop),
            lambda at: array[at],
            lambda cell: _fault(cell, array.shape[2]),
            source,
            REMEDY,
            bad,
        )
    return MultiArrayColumn(array)


def _shape(cell: Any) -> tuple[int, int]:
    """Return vectors and numbers a vector of a cell, zeros where it has no such shape."""
    try:
        return len(cell), len(cell[0])
    except (TypeError, IndexError, KeyError):
        return 0, 0


def _fault(cell: Any, size: int) -> str | None:
    """Say what keeps a cell from being a multivector of this size."""
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        cell = cell.tolist()
    if not hasattr(cell, "__len__") or isinstance(cell, (str, bytes)):
        return f"{type(cell).__name__} {cell!r:.40}, not a multivector"
    if len(cell) == 0:
        return "holds no vectors"
    reason = sequence_fault(cell, 2)
    if reason is not None:
        return reason
    vectors, numbers = np.shape(cell)
    if numbers != size:
        return f"holds vectors of {numbers} numbers, expected {size}"
    if vectors * numbers > MAX_NUMBERS:
        return f"holds {vectors * numbers:,} numbers, {MAX_NUMBERS:,} at the most"
    return None
