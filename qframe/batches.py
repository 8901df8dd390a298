"""Cutting points into batches, by count and by encoded bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qframe.points import PointBlock, PointColumns, Rows, row_count

BATCH_SIZE = 1000
"""Points in a batch at the most, unless the caller says otherwise."""

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Encoded bytes in a batch at the most: half of the 32 MiB that a server takes over REST."""


PAGE = 10_000
"""Ids in one request that asks for points: 360 kB where they are UUIDs."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may become.

    Attributes
    ----------
    points : int
    bytes : int
        Encoded.
    """

    points: int = BATCH_SIZE
    bytes: int = MAX_BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of rows that travels in one request.

    Attributes
    ----------
    number : int
        From 0.
    start, stop : int
        Row positions in the frame, half open. Batches tile the frame: rows that were set aside lie
        in the range of a neighbour.
    points : PointColumns
        Where the points are.
    rows : slice or int64 array
        Which rows of `points` they are.
    origin : int
        Where row 0 of `points` stands among all rows: 0 for a frame, and for a stream of records
        the number of records before these columns.
    width : int
        Bytes that these points are encoded in at the most; 0 where nobody counted.
    """

    number: int
    start: int
    stop: int
    points: PointColumns
    rows: Rows
    origin: int = 0
    width: int = 0

    def __len__(self) -> int:
        return row_count(self.rows)

    def block(self) -> PointBlock:
        """Convert this batch's points."""
        return self.points.block(self.rows)

    def split(self) -> tuple[Batch, Batch]:
        """Cut into two halves by points, which tile the rows of this batch.

        Both keep the number. Rows that were set aside lie in the range of a neighbour.

        Raises
        ------
        ValueError
            For a single point.

        Examples
        --------
        >>> from qframe.points import Ids
        >>> points = PointColumns(Ids(numbers=np.arange(9, dtype=np.uint64)), {})
        >>> for half in Batch(0, 4, 9, points, slice(4, 9)).split():
        ...     print(half.start, half.stop, len(half))
        4 6 2
        6 9 3
        """
        half = len(self) // 2
        if not half:
            raise ValueError(f"batch {self.number} is a single point, which cannot be split")
        if isinstance(self.rows, slice):
            middle = self.rows.start + half
            first: Rows = slice(self.rows.start, middle)
            second: Rows = slice(middle, self.rows.stop)
        else:
            first, second = self.rows[:half], self.rows[half:]
        cut = self.origin + _end(first)
        return (
            Batch(self.number, self.start, cut, self.points, first, self.origin),
            Batch(self.number, cut, self.stop, self.points, second, self.origin),
        )


@dataclass(frozen=True, slots=True)
class Extent:
    """Some rows of a frame, in ranges.

    Attributes
    ----------
    columns : PointColumns
    ranges : sequence of (int, int)
        Row positions, half open, ascending and disjoint.
    """

    columns: PointColumns
    ranges: Sequence[tuple[int, int]]

    @property
    def points(self) -> int:
        """How many points these are."""
        return sum(self.count(start, stop) for start, stop in self.ranges)

    def count(self, start: int, stop: int) -> int:
        """Count the points in a range of rows."""
        first, last = points_between(self.columns, start, stop)
        return last - first

    def ids(self) -> Iterator[list[int | str]]:
        """Yield the ids of these points, `PAGE` at a time."""
        for start, stop in self.ranges:
            first, last = points_between(self.columns, start, stop)
            for at in range(first, last, PAGE):
                rows = self.columns.rows(at, min(at + PAGE, last))
                yield self.columns.ids[rows].tolist()

    def sample(self, count: int) -> list[int | str]:
        """Return the ids of so many of these points, or of all, evenly spread."""
        bounds = [points_between(self.columns, start, stop) for start, stop in self.ranges]
        firsts = np.array([first for first, _ in bounds], dtype=np.int64)
        ends = np.cumsum([last - first for first, last in bounds], dtype=np.int64)
        total = self.points
        wanted = np.unique(np.linspace(0, total, min(count, total), endpoint=False, dtype=np.int64))
        at = np.searchsorted(ends, wanted, side="right")
        chosen = firsts[at] + wanted - (ends[at - 1] * (at > 0))
        rows = chosen if self.columns.kept is None else self.columns.kept[chosen]
        return self.columns.ids[rows].tolist()

    def within(self, ranges: Sequence[tuple[int, int]]) -> Extent:
        """Return other rows of the same frame."""
        return Extent(self.columns, ranges)

    def beyond(self, row: int) -> Iterator[tuple[int, int]]:
        """Yield what of the ranges comes after the rows before this one."""
        for start, stop in self.ranges:
            if stop > row:
                yield max(start, row), stop


Widths = Callable[[PointColumns, Rows], NDArray[np.int64]]
"""Gives an upper bound on the encoded bytes of each of these rows."""


def iterate_batches(
    points: PointColumns,
    widths: Widths,
    *,
    batch_size: int = BATCH_SIZE,
    max_bytes: int = MAX_BATCH_BYTES,
    ranges: Sequence[tuple[int, int]] | None = None,
) -> Iterator[Batch]:
    """Cut points into batches, lazily and in order.

    Parameters
    ----------
    points : PointColumns
    widths : callable
        The encoder's upper bound on the bytes of each row.
    batch_size : int
        Points in a batch at the most.
    max_bytes : int
        Bytes in a batch at the most. A single point that is larger travels alone.
    ranges : sequence of (int, int), optional
        Row positions ``[start, stop)`` to cut, ascending and disjoint; None is the whole frame.

    Yields
    ------
    Batch
        Every point of these ranges in exactly one batch, and every batch in one range. Within a
        range ``start`` of each is ``stop`` of the one before, the first starts where the range
        does and the last stops where it does. A range without points has no batch.
    """
    number = 0
    for start, stop in [(0, len(points.ids))] if ranges is None else ranges:
        first, total = points_between(points, start, stop)
        known = np.empty(0, dtype=np.int64)  # widths from `first` on
        while first < total:
            seen = first + len(known)
            if len(known) < batch_size and seen < total:
                window = points.rows(seen, min(seen + batch_size, total))
                known = np.concatenate([known, widths(points, window)])
            ends = np.cumsum(known[:batch_size])
            fits = max(1, int(np.searchsorted(ends, max_bytes, side="right")))
            last = first + fits
            rows = points.rows(first, last)
            end = stop if last == total else _end(rows)
            yield Batch(number, start, end, points, rows, width=int(ends[fits - 1]))
            known = known[fits:]
            first, start, number = last, end, number + 1


def points_between(points: PointColumns, start: int, stop: int) -> tuple[int, int]:
    """Return the first point, and the one after the last, of a range of rows."""
    if points.kept is None:
        return start, stop
    first, last = np.searchsorted(points.kept, (start, stop)).tolist()
    return first, last


def _end(rows: Rows) -> int:
    """Return the position after the last of some rows."""
    return int(rows.stop if isinstance(rows, slice) else rows[-1] + 1)
