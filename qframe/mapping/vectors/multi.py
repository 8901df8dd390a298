"""Several vectors a row: a 3-D array, or a column of 2-D arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import InputError
from qframe.mapping.badrows import BadRows
from qframe.mapping.columns import arrow_array
from qframe.mapping.vectors.dense import check_size, numeric_dtypes, usual_size
from qframe.mapping.vectors.source import (
    NUMBER_KINDS,
    Source,
    arrow_rows,
    explain,
    objects,
    plain_cells,
    require_present,
    rows_hold_booleans,
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
    """A column of 2-D arrays, lists of vectors or Arrow lists of lists, joined block by block.

    Parameters
    ----------
    cells : object array of shape (n,), or pyarrow.ChunkedArray
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
        if present is not None:
            at = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
            rows = at[present]
        values = _join(self._cells, rows, self.size or 0)
        return MultiBlock(values, self._lengths[rows], present)

    def numbers(self, rows: Rows) -> int | NDArray[np.int64]:
        return self._lengths[rows] * (self.size or 0)


def _join(cells: Any, rows: Rows, size: int) -> NDArray[np.float32]:
    """Put the vectors of some rows, all of which have some, into one float32 matrix.

    Raises
    ------
    ValueError, TypeError
        Where they are no vectors of numbers, of this size.
    """
    if isinstance(cells, np.ndarray):
        values = _join_cells(cells[rows], size)
    else:
        inner = arrow_rows(cells, rows).flatten()
        lengths = _arrow_lengths(inner)
        if inner.null_count or not (lengths == size).all():
            raise ValueError("not vectors of one size")
        values = inner.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    if values.dtype.kind not in NUMBER_KINDS or values.ndim != 2 or values.shape[1] != size:
        raise ValueError("not vectors of numbers of one size")
    return to_float32(values)


def _join_cells(cells: NDArray[np.object_], size: int) -> NDArray[Any]:
    if not len(cells):
        return np.empty((0, size), dtype=np.float32)
    rows = cells.tolist()
    if numeric_dtypes(rows):
        return np.concatenate(rows)
    vectors = [
        vector
        for cell in cells
        for vector in (cell.tolist() if isinstance(cell, np.ndarray) else cell)
    ]
    matrix = np.array(vectors)
    if matrix.ndim == 2 and rows_hold_booleans(vectors, matrix):
        raise ValueError("booleans")
    return matrix


def _arrow_lengths(array: Any) -> NDArray[np.int64]:
    """Return the lengths of lists, 0 for a missing one."""
    import pyarrow.compute as pc

    lengths: NDArray[np.int64] = np.asarray(pc.list_value_length(array).fill_null(0))
    return lengths.astype(np.int64, copy=False)


def fetch(cells: Any, rows: Rows) -> NDArray[np.object_]:
    """Return the cells of some rows as Python objects, from an object array or an Arrow one."""
    return (
        cells[rows]
        if isinstance(cells, np.ndarray)
        else objects(arrow_rows(cells, rows).to_pylist())
    )


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
    cells = plain_cells(data.to_numpy()) if arrow is None else arrow
    missing = pd.isna(cells) if arrow is None else np.asarray(arrow.is_null())
    present = require_present(missing, source, bad, may_lack)
    lengths = np.zeros(len(source), dtype=np.int64)
    if missing.all():
        return MultiCellColumn(cells, size, lengths, present)
    sizes = np.zeros(len(source), dtype=np.int64)
    for span in spans(len(source)):
        rows = np.flatnonzero(~missing[span]) + span.start
        lengths[rows], sizes[rows] = _shapes(cells, rows)
    right = usual_size(source, sizes, size, collection)
    for span in spans(len(source)):
        rows = np.flatnonzero(~missing[span]) + span.start
        try:
            fine = bool(np.isfinite(_join(cells, rows, right)).all())
        except (ValueError, TypeError, OverflowError):
            fine = False
        if fine and _are_within(lengths[rows], right):
            continue
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


def _are_within(lengths: NDArray[np.int64], size: int) -> bool:
    """Whether rows of so many vectors have one at least, and not too many numbers."""
    return bool(((lengths > 0) & (lengths * size <= MAX_NUMBERS)).all())


def _shapes(cells: Any, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many vectors these rows have, and of how many numbers their first ones are."""
    if isinstance(cells, np.ndarray):
        shapes = np.array([_shape(cell) for cell in cells[rows]], dtype=np.int64).reshape(-1, 2)
        return shapes[:, 0], shapes[:, 1]
    outer = arrow_rows(cells, rows)
    lengths = _arrow_lengths(outer)
    sizes = np.zeros(len(rows), dtype=np.int64)
    some = lengths > 0
    firsts = (np.cumsum(lengths) - lengths)[some]
    sizes[some] = _arrow_lengths(outer.flatten())[firsts]
    return lengths, sizes


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
    for span in spans(len(array), array.shape[1] * array.shape[2]):
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
    if isinstance(cell, (str, bytes)):
        return 0, 0
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
        return f"holds vectors of size {numbers}, expected {size}"
    if vectors * numbers > MAX_NUMBERS:
        return f"holds {vectors * numbers:,} numbers, {MAX_NUMBERS:,} at the most"
    return None
