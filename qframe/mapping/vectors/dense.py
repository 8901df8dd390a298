"""One vector a row: a matrix, columns of numbers, or a column of lists or arrays."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from qframe.errors import InputError, SchemaMismatch
from qframe.mapping.badrows import BadRows
from qframe.mapping.columns import arrow_array
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
from qframe.points import DenseBlock, Rows, VectorColumn, VectorKind, row_count

MAX_SIZE = 65536
"""Largest vector that a collection takes (lib/api/build.rs)."""


APART = 1024
"""Numbers in a vector from which on arrays in cells are handed on as they are, without making one
matrix of them first. Looking at them and encoding them over gRPC with it and without, µs a point:
at 384 numbers 0.66 and 0.57, at 768 0.71 and 0.77, at 1,536 0.9 and 1.4."""


class DenseColumn(VectorColumn):
    """One vector a row, converted block by block.

    Parameters
    ----------
    size : int or None
        Numbers in a vector; None when no row has one.
    present : bool array of shape (n,), or None
        Which rows have a vector; None is all of them.
    """

    kind = VectorKind.DENSE

    def __init__(self, size: int | None, present: NDArray[np.bool_] | None = None) -> None:
        self.size = size
        self.present = present

    def matrix(self, rows: Rows) -> NDArray[np.float32]:
        """Return the vectors of these rows, all of which have one, as (n, size)."""
        raise NotImplementedError

    def vectors(self, rows: Rows) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return them as `DenseBlock.rows`."""
        return self.matrix(rows)

    def original(self, row: int, at: int) -> Any:
        """Return one number as the caller gave it, for messages."""
        raise NotImplementedError

    def place(self, at: int) -> str:
        """Say where in a vector a number stands."""
        return f"at position {at}"

    def block(self, rows: Rows) -> DenseBlock:
        if self.present is None:
            return DenseBlock(self.vectors(rows))
        present = self.present[rows]
        if present.all():
            return DenseBlock(self.vectors(rows))
        start = rows.start if isinstance(rows, slice) else None
        at = np.flatnonzero(present) + start if start is not None else rows[present]  # type: ignore[index]
        return DenseBlock(self.vectors(at), present)

    def numbers(self, rows: Rows) -> int | NDArray[np.int64]:
        return self.size or 0


class MatrixColumn(DenseColumn):
    """Rows of a 2-D array; float32 rows stay views of it."""

    def __init__(self, matrix: NDArray[Any], present: NDArray[np.bool_] | None = None) -> None:
        super().__init__(matrix.shape[1], present)
        self._matrix = matrix

    def matrix(self, rows: Rows) -> NDArray[np.float32]:
        return to_float32(self._matrix[rows])

    def original(self, row: int, at: int) -> Any:
        return self._matrix[row, at]


class WideColumn(DenseColumn):
    """A number a column."""

    def __init__(self, columns: Sequence[pd.Series[Any]]) -> None:
        super().__init__(len(columns))
        self._labels = [column.name for column in columns]
        self._columns: list[Any] = [
            column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
            for column in columns
        ]

        self._view = _side_by_side(self._columns)

    def matrix(self, rows: Rows) -> NDArray[np.float32]:
        if self._view is not None:
            return to_float32(self._view[rows])
        matrix = np.empty((row_count(rows), len(self._columns)), dtype=np.float32)
        with np.errstate(over="ignore"):
            for at, column in enumerate(self._columns):
                cells = column[rows]
                if not isinstance(cells, np.ndarray):
                    cells = cells.to_numpy(dtype=np.float64, na_value=np.nan)
                matrix[:, at] = cells
        return matrix

    def original(self, row: int, at: int) -> Any:
        return self._columns[at][row]

    def place(self, at: int) -> str:
        return f"in column {self._labels[at]!r}"


def _side_by_side(columns: Sequence[Any]) -> NDArray[Any] | None:
    """Return columns as a view of the one array that they are of, as pandas keeps like columns.

    A view has no price a column. Where the 384 numbers of a row lie side by side, reading column by
    column takes 1.8 µs a row; where the numbers of a column do, 1.5 with a view and without.
    """
    first = columns[0]
    if not all(isinstance(column, np.ndarray) for column in columns) or first.base is None:
        return None
    kinds = {(column.dtype, column.strides, id(column.base)) for column in columns}
    places = [column.__array_interface__["data"][0] for column in columns]
    steps = set(np.diff(places).tolist())
    if len(kinds) > 1 or len(steps) > 1:
        return None
    step = steps.pop() if steps else 0
    shape = (len(first), len(columns))
    return as_strided(first, shape, (first.strides[0], step), writeable=False)


class CellColumn(DenseColumn):
    """A column of arrays of any kind, stacked block by block."""

    def __init__(
        self, cells: NDArray[np.object_], size: int | None, present: NDArray[np.bool_] | None
    ) -> None:
        super().__init__(size, present)
        self._cells = cells

    def matrix(self, rows: Rows) -> NDArray[np.float32]:
        return stack(self._cells[rows], self.size or 0)


class ArrayColumn(DenseColumn):
    """A column of contiguous float32 arrays of one size.

    It keeps references of its own, 8 bytes a row: a frame may get other arrays while it is sent,
    and these need not be looked at again.
    """

    size: int

    def __init__(
        self, cells: NDArray[np.object_], size: int, present: NDArray[np.bool_] | None
    ) -> None:
        super().__init__(size, present)
        self._cells = cells.copy()

    def matrix(self, rows: Rows) -> NDArray[np.float32]:
        return _joined(self._cells[rows].tolist(), self.size)

    def vectors(self, rows: Rows) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        cells: list[NDArray[np.float32]] = self._cells[rows].tolist()
        return cells if self.size >= APART and cells else _joined(cells, self.size)


class ArrowColumn(DenseColumn):
    """An Arrow list or fixed-size-list column; no Python object a row is ever made."""

    def __init__(self, array: Any, size: int | None, present: NDArray[np.bool_] | None) -> None:
        super().__init__(size, present)
        self._array = array

    def matrix(self, rows: Rows) -> NDArray[np.float32]:
        if not row_count(rows):
            return np.empty((0, self.size or 0), dtype=np.float32)
        values = arrow_rows(self._array, rows).flatten().to_numpy(zero_copy_only=False)
        return to_float32(values).reshape(row_count(rows), self.size or 0)

    def original(self, row: int, at: int) -> Any:
        return self._array[row].as_py()[at]


def stack(cells: NDArray[np.object_], size: int) -> NDArray[np.float32]:
    """Stack lists or arrays of `size` numbers each into a float32 matrix.

    Raises
    ------
    ValueError, TypeError
        Where a cell is no flat sequence of `size` numbers.
    """
    if not len(cells):
        return np.empty((0, size), dtype=np.float32)
    rows = cells.tolist()
    dtypes = numeric_dtypes(rows)
    if dtypes:
        if set(map(_SHAPE, rows)) != {(size,)}:
            raise ValueError("not rows of one size")
        if dtypes == {_FLOAT32}:
            with contextlib.suppress(TypeError):
                return _joined(rows, size)
        with np.errstate(over="ignore"):  # found as inf
            flat = np.concatenate(rows, dtype=np.float32, casting="unsafe")
        return flat.reshape(-1, size)
    matrix = np.array(rows)
    if matrix.dtype.kind not in NUMBER_KINDS or matrix.shape != (len(cells), size):
        raise ValueError("not a matrix of numbers")
    if rows_hold_booleans(rows, matrix):
        raise ValueError("booleans")
    return to_float32(matrix)


def _joined(rows: Sequence[Any], size: int) -> NDArray[np.float32]:
    """Stack contiguous float32 arrays of one size.

    At 384 numbers, `bytes.join` takes 0.06 µs a row, np.concatenate 0.14, np.stack 0.4; at 1,536 it
    is 0.25, 0.5 and 0.9. But numpy keeps 58 bytes for each array that was once asked for its bytes,
    as long as the array lives: a million of them were more than all else that an upload needs.

    Raises
    ------
    TypeError
        Where there are gaps between the numbers of a long array: then it is no bytes.
    """
    if not rows:
        return np.empty((0, size), dtype=np.float32)
    if size < APART:
        return np.concatenate(rows).reshape(-1, size)
    return np.frombuffer(b"".join(rows), np.float32).reshape(-1, size)


_DTYPE = operator.attrgetter("dtype")
_SHAPE = operator.attrgetter("shape")
_FLOAT32 = np.dtype(np.float32)


def numeric_dtypes(cells: Sequence[Any]) -> set[np.dtype[Any]]:
    """Return the dtypes of cells that are arrays of numbers; none where not all of them are."""
    if set(map(type, cells)) != {np.ndarray}:
        return set()
    dtypes = set(map(_DTYPE, cells))
    return dtypes if all(dtype.kind in NUMBER_KINDS for dtype in dtypes) else set()


def resolve(
    source: Source, size: int | None, collection: str | None, bad: BadRows, may_lack: bool
) -> DenseColumn:
    """Check every row of a source of dense vectors."""
    data = source.data
    if isinstance(data, list):
        return _wide(source, size, collection, bad)
    if isinstance(data, np.ndarray):
        if data.dtype == object and len(data):
            # Looked at row by row, which tells what is no number and where.
            rows = pd.Series(objects(list(data)))
            return _cells(Source(source.role, source.noun, rows), size, collection, bad, False)
        return _matrix(source, size, collection, bad)
    arrow = arrow_array(data)
    if arrow is not None:
        return _arrow(source, arrow, size, collection, bad, may_lack)
    return _cells(source, size, collection, bad, may_lack)


def check_size(source: Source, found: int, size: int | None, collection: str | None) -> int:
    """Return the size that rows must have, when all of them have the size `found`."""
    if size is not None and found != size:
        raise SchemaMismatch(
            f"{source.role}: {source.noun} holds vectors of {found} numbers, but collection "
            f"{collection!r} takes {size}; they come from another model, or belong elsewhere"
        )
    if not 0 < found <= MAX_SIZE:
        raise InputError(
            f"{source.role}: {source.noun} holds vectors of {found} numbers; "
            f"a vector has 1 to {MAX_SIZE}"
        )
    return found


def usual_size(
    source: Source, lengths: NDArray[np.int64], size: int | None, collection: str | None
) -> int:
    """Return the size that rows must have: the collection's, or the commonest in the frame."""
    if source.lenient and size is not None:
        return size
    found, counts = np.unique(lengths[lengths > 0], return_counts=True)
    if not len(found):
        if source.lenient:
            return 1
        raise InputError(f"{source.role}: {source.noun} holds only empty vectors")
    commonest = int(found[np.argmax(counts)])
    if size is None or size not in found:
        return check_size(source, commonest, size, collection)
    return size


def note_not_finite(
    column: DenseColumn, source: Source, bad: BadRows, skip: NDArray[np.bool_] | None = None
) -> None:
    """Look at every block for numbers that are NaN, inf, or beyond float32."""
    for span in spans(len(source), column.size or 1):
        rows = np.arange(span.start, span.stop)
        if skip is None:
            block = column.matrix(span)
        else:
            rows = rows[~skip[span]]
            block = column.matrix(rows)
        finite = np.isfinite(block)
        if finite.all():
            continue
        wrong = np.flatnonzero(~finite.all(axis=1))
        places = finite[wrong].argmin(axis=1)
        numbers = block[wrong, places].tolist()
        for row, place, number in zip(rows[wrong].tolist(), places.tolist(), numbers, strict=True):
            found = "NaN"
            beyond = ""
            if not np.isnan(number):
                found = column.original(row, place)
                beyond = "" if np.isinf(found) else ", beyond float32"
            reason = f"holds {found} {column.place(place)}{beyond}"
            bad.add(row, source.finding, reason, FINITE_REMEDY)


def _matrix(source: Source, size: int | None, collection: str | None, bad: BadRows) -> DenseColumn:
    matrix = source.data
    if matrix.dtype.kind not in NUMBER_KINDS:
        raise InputError(f"{source.role}: the {source.noun} holds {matrix.dtype}, not numbers")
    check_size(source, matrix.shape[1], size, collection)
    column = MatrixColumn(matrix)
    note_not_finite(column, source, bad)
    return column


def _wide(source: Source, size: int | None, collection: str | None, bad: BadRows) -> DenseColumn:
    columns = source.data
    for column in columns:
        is_number = pd.api.types.is_numeric_dtype(column.dtype)
        if not is_number or pd.api.types.is_bool_dtype(column.dtype):
            raise InputError(
                f"{source.role}: column {column.name!r} holds {column.dtype}, not numbers; "
                "a list of columns is one number of the vector each. For several vectors pass "
                "{name: column}"
            )
        if pd.api.types.is_complex_dtype(column.dtype):
            raise InputError(f"{source.role}: column {column.name!r} holds complex numbers")
    check_size(source, len(columns), size, collection)
    wide = WideColumn(columns)
    note_not_finite(wide, source, bad)
    return wide


def _arrow(
    source: Source,
    array: Any,
    size: int | None,
    collection: str | None,
    bad: BadRows,
    may_lack: bool,
) -> DenseColumn:
    import pyarrow.compute as pc

    missing = np.asarray(array.is_null())
    present = require_present(missing, source, bad, may_lack)
    if missing.all():
        return ArrowColumn(array, size, present)
    lengths = np.asarray(pc.list_value_length(array).fill_null(0)).astype(np.int64)
    right = usual_size(source, lengths, size, collection)
    wrong = (lengths != right) & ~missing
    note_lengths(wrong, lengths, right, source, bad)
    column = ArrowColumn(array, right, present)
    skip = missing | wrong
    note_not_finite(column, source, bad, skip if skip.any() else None)
    return column


def note_lengths(
    wrong: NDArray[np.bool_], lengths: NDArray[np.int64], right: int, source: Source, bad: BadRows
) -> None:
    """Note the rows whose vectors have another size than the others."""
    bad.add_all(
        np.flatnonzero(wrong).tolist(),
        source.finding,
        (f"has size {length}, expected {right}" for length in lengths[wrong].tolist()),
        "vectors of one name have one size: mend or drop these rows",
    )


def _cells(
    source: Source, size: int | None, collection: str | None, bad: BadRows, may_lack: bool
) -> DenseColumn:
    """Check a column of lists, tuples or arrays.

    Arrays stay where they are and are stacked again for each batch. Lists become one float32
    matrix at once: reading them is what costs (a Python float takes 24 bytes and 20 ns), and the
    matrix adds an eighth or less of the memory that they take already.
    """
    cells = plain_cells(source.data.to_numpy())
    missing = pd.isna(cells)
    present = require_present(missing, source, bad, may_lack)
    if missing.all():
        return CellColumn(cells, size, present)
    given = cells if present is None else cells[present]
    found = _common_size(given)
    if found is not None and found == usual_size(source, np.array([found]), size, collection):
        kind = ArrayColumn if _are_float32(given) else CellColumn
        return kind(cells, found, present)
    lengths = np.zeros(len(cells), dtype=np.int64)
    lengths[~missing] = list(map(_length, given))
    right = usual_size(source, lengths, size, collection)
    column = CellColumn(cells, right, present)
    matrix: NDArray[np.float32] | None = None
    if not numeric_dtypes(given.tolist()):
        matrix = np.zeros((len(cells), right), dtype=np.float32)
    for span in spans(len(cells), right):
        rows = np.flatnonzero(~missing[span]) + span.start
        try:
            block = stack(cells[rows], right)
            fine = bool(np.isfinite(block).all())
        except (ValueError, TypeError, OverflowError):
            fine = False
        if not fine:
            rows = explain(
                rows, lambda at: cells[at], lambda cell: _fault(cell, right), source, REMEDY, bad
            )
            if matrix is not None:
                matrix[rows] = _stack_each(cells[rows], right)
        elif matrix is not None:
            matrix[rows] = block
    return column if matrix is None else MatrixColumn(matrix, present)


REMEDY = (
    "a vector is a flat list or array of finite numbers, all of one size: mend or drop these rows"
)
FINITE_REMEDY = (
    "mend or drop these rows: a server stores NaN without a word, and no search finds it"
)


def _are_float32(cells: NDArray[np.object_]) -> bool:
    """Whether arrays are contiguous and float32."""
    kinds = set(map(operator.attrgetter("dtype", "strides"), cells))
    return kinds == {(_FLOAT32, (_FLOAT32.itemsize,))}


def _common_size(cells: NDArray[np.object_]) -> int | None:
    """Return the size of arrays that are right one and all; None where a closer look is needed.

    0.3 µs a point at 384 float32 numbers, a third of it for reading them from memory.
    """
    first = cells[0]
    if type(first) is not np.ndarray or first.ndim != 1 or not len(first):
        return None
    for span in spans(len(cells), len(first)):
        try:
            block = stack(cells[span], len(first))
        except (ValueError, TypeError, OverflowError):
            return None
        if not np.isfinite(block).all():
            return None
    return len(first)


def _length(cell: Any) -> int:
    """Return how many items a cell holds; -1 where it is no sequence."""
    if isinstance(cell, (str, bytes, dict, set)):
        return -1
    try:
        return len(cell)
    except TypeError:
        return -1


def _fault(cell: Any, size: int) -> str | None:
    """Say what keeps a cell from being a vector of this size."""
    if _length(cell) < 0:
        return f"{type(cell).__name__} {cell!r:.40}, not a vector"
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        cell = cell.tolist()
    reason = sequence_fault(cell, 1)
    if reason is None and len(cell) != size:
        return f"has size {len(cell)}, expected {size}"
    return reason


def _stack_each(cells: NDArray[np.object_], size: int) -> NDArray[np.float32]:
    """Stack cells that are right one by one, though not of one type."""
    matrix = np.empty((len(cells), size), dtype=np.float32)
    for at, cell in enumerate(cells):
        matrix[at] = to_float32(cell)
    return matrix
