"""Sparse vectors: a scipy.sparse matrix, or a column of ``{"indices", "values"}``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import InputError
from qframe.mapping.badrows import BadRows
from qframe.mapping.columns import arrow_array
from qframe.mapping.vectors.multi import fetch
from qframe.mapping.vectors.source import (
    NUMBER_KINDS,
    Source,
    holds_booleans,
    plain,
    plain_cells,
    require_present,
    spans,
    to_float32,
)
from qframe.points import Rows, SparseBlock, VectorColumn, VectorKind

MAX_INDEX = 2**32 - 1

REMEDY = (
    "a sparse vector is {'indices': [unique integers from 0], 'values': [as many finite numbers]}: "
    "mend or drop these rows"
)


def is_matrix(value: Any) -> bool:
    """Whether a value is a scipy.sparse matrix or array; scipy itself is not imported for it."""
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "tocsr")


def parts(cell: Any) -> tuple[Any, Any] | None:
    """Return indices and values of a sparse cell; None where it is none."""
    if isinstance(cell, Mapping):
        if set(cell) != {"indices", "values"}:
            return None
        return plain(cell["indices"]), plain(cell["values"])
    if isinstance(cell, (np.ndarray, list, tuple, str, bytes)):
        return None
    indices, values = getattr(cell, "indices", None), getattr(cell, "values", None)
    return None if indices is None or values is None or callable(values) else (indices, values)


class SparseMatrixColumn(VectorColumn):
    """Rows of a matrix in compressed sparse row form."""

    kind = VectorKind.SPARSE
    size = None

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    def block(self, rows: Rows) -> SparseBlock:
        part = self._matrix[rows]
        return SparseBlock(
            part.indices.astype(np.uint32),
            to_float32(part.data),
            np.diff(part.indptr).astype(np.int64),
        )

    def numbers(self, rows: Rows) -> int | NDArray[np.int64]:
        counts: NDArray[np.int64] = np.diff(self._matrix.indptr).astype(np.int64)[rows]
        return counts


class SparseCellColumn(VectorColumn):
    """A column of cells with indices and values, joined block by block."""

    kind = VectorKind.SPARSE
    size = None

    def __init__(
        self, cells: Any, lengths: NDArray[np.int64], present: NDArray[np.bool_] | None
    ) -> None:
        self._cells = cells
        self._lengths = lengths
        self._present = present

    def block(self, rows: Rows) -> SparseBlock:
        present = None if self._present is None else self._present[rows]
        cells = fetch(self._cells, rows)
        lengths = self._lengths[rows]
        if present is not None:
            cells, lengths = cells[present], lengths[present]
        indices, values, _ = _join(cells)
        return SparseBlock(indices.astype(np.uint32), to_float32(values), lengths, present)

    def numbers(self, rows: Rows) -> int | NDArray[np.int64]:
        return self._lengths[rows]


def resolve(
    source: Source, size: int | None, collection: str | None, bad: BadRows, may_lack: bool
) -> VectorColumn:
    """Check every row of a source of sparse vectors."""
    if is_matrix(source.data):
        return _matrix(source, bad)
    data = source.data
    arrow = arrow_array(data)
    cells = plain_cells(data.to_numpy()) if arrow is None else arrow
    missing = pd.isna(cells) if arrow is None else np.asarray(arrow.is_null())
    present = require_present(missing, source, bad, may_lack)
    lengths = np.zeros(len(source), dtype=np.int64)
    for span in spans(len(source)):
        rows = np.flatnonzero(~missing[span]) + span.start
        part = fetch(cells, rows)
        try:
            indices, values, lengths[rows] = _join(part)
            fine = _are_fine(indices, values, lengths[rows])
        except (ValueError, TypeError, OverflowError):
            fine = False
        if not fine:
            for at, cell in zip(rows.tolist(), part, strict=True):
                reason = fault(cell)
                if reason is None:
                    lengths[at] = len((parts(cell) or ((), ()))[0])
                else:
                    bad.add(at, source.finding, reason, REMEDY)
    return SparseCellColumn(cells, lengths, present)


def _join(
    cells: NDArray[np.object_],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return indices and values of cells one after another, and how many each cell has.

    Raises
    ------
    ValueError, TypeError
        Where a cell is no sparse vector.
    """
    pairs = [pair for pair in map(parts, cells) if pair is not None]
    if len(pairs) != len(cells):
        raise ValueError("not a sparse vector")
    lengths = np.fromiter((len(indices) for indices, _ in pairs), np.int64, len(pairs))
    if [len(values) for _, values in pairs] != lengths.tolist():
        raise ValueError("not as many values as indices")
    return _flat([pair[0] for pair in pairs]), _flat([pair[1] for pair in pairs]), lengths


def _flat(parts: list[Any]) -> NDArray[Any]:
    """Join flat lists or arrays."""
    if all(type(part) is list for part in parts):
        items = list(itertools.chain.from_iterable(parts))
        flat = np.array(items)
        if flat.ndim == 1 and ((flat == 0) | (flat == 1)).any() and holds_booleans(items):
            raise ValueError("booleans")
        return flat
    for part in parts:
        if not isinstance(part, np.ndarray) and holds_booleans(part):
            raise ValueError("booleans")
    some = [np.asarray(part) for part in parts if len(part)]
    return np.concatenate(some) if some else np.empty(0)


def _are_fine(indices: NDArray[Any], values: NDArray[Any], lengths: NDArray[np.int64]) -> bool:
    """Whether `fault` would find nothing in any of these cells."""
    if not lengths.sum():
        return True
    if indices.dtype.kind not in "iu" or values.dtype.kind not in NUMBER_KINDS:
        return False
    if indices.ndim != 1 or values.ndim != 1 or indices.min() < 0 or indices.max() > MAX_INDEX:
        return False
    of_row = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    keys = np.sort((of_row << np.uint64(32)) | indices.astype(np.uint64))
    return not (keys[1:] == keys[:-1]).any() and bool(np.isfinite(to_float32(values)).all())


def _matrix(source: Source, bad: BadRows) -> VectorColumn:
    matrix = source.data
    if matrix.dtype.kind not in NUMBER_KINDS:
        raise InputError(f"{source.role}: the {source.noun} holds {matrix.dtype}, not numbers")
    if matrix.shape[1] > MAX_INDEX + 1:
        raise InputError(
            f"{source.role}: {matrix.shape[1]:,} columns; an index is {MAX_INDEX:,} at the most"
        )
    if not matrix.has_canonical_format:
        matrix = matrix.copy()  # the caller's own stays as it is
        matrix.sum_duplicates()
    for span in spans(matrix.shape[0]):
        first, last = matrix.indptr[span.start], matrix.indptr[span.stop]
        values = to_float32(matrix.data[first:last])
        wrong = np.flatnonzero(~np.isfinite(values)) + first
        rows = np.unique(np.searchsorted(matrix.indptr, wrong, side="right") - 1)
        bad.add_all(
            rows.tolist(),
            source.finding,
            "holds a number that is NaN, infinite or beyond float32",
            REMEDY,
        )
    return SparseMatrixColumn(matrix)


def fault(cell: Any) -> str | None:
    """Say what keeps a cell from being a sparse vector; None is nothing."""
    pair = parts(cell)
    if pair is None:
        return f"{type(cell).__name__} {cell!r:.40}, not a sparse vector"
    try:
        indices, values = np.asarray(pair[0]), np.asarray(pair[1])
    except (ValueError, TypeError):
        return "indices or values are no flat list of numbers"
    if indices.ndim != 1 or values.ndim != 1:
        return "indices or values are no flat list of numbers"
    if len(indices) != len(values):
        return f"holds {len(indices)} indices and {len(values)} values"
    if not len(indices):
        return None
    if any(not isinstance(part, np.ndarray) and holds_booleans(part) for part in pair):
        return "holds booleans, not numbers"
    if indices.dtype.kind not in "iu":
        return f"indices are {indices.dtype}, not integers"
    if values.dtype.kind not in NUMBER_KINDS:
        return f"values are {values.dtype}, not numbers"
    if indices.min() < 0 or indices.max() > MAX_INDEX:
        outside = indices[(indices < 0) | (indices > MAX_INDEX)][0]
        return f"holds the index {outside}, outside 0 to {MAX_INDEX}"
    unique, counts = np.unique(indices, return_counts=True)
    if len(unique) != len(indices):
        return f"holds the index {unique[counts > 1][0]} more than once"
    finite = np.isfinite(to_float32(values))
    if not finite.all():
        at = int(np.flatnonzero(~finite)[0])
        return f"holds {values[at]} for the index {indices[at]}"
    return None
