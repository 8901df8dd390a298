"""Cutting points into batches, by count and by encoded bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qframe.points import PointBlock, PointColumns, Rows, row_count

BATCH_SIZE = 1000
"""Points in a batch at the most, unless the caller says otherwise."""

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Encoded bytes in a batch at the most: half of the 32 MiB that a server takes over REST."""


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
    points : PointColumns or PointBlock
        Where the points are.
    rows : slice or int64 array
        Which rows of `points` they are.
    """

    number: int
    start: int
    stop: int
    points: PointColumns | PointBlock
    rows: Rows

    def __len__(self) -> int:
        return row_count(self.rows)

    def block(self) -> PointBlock:
        """Convert this batch's points."""
        if isinstance(self.points, PointBlock):
            return self.points
        return self.points.block(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process gets this batch's points, not the whole frame.
        return Batch, (self.number, self.start, self.stop, self.block(), slice(0, len(self)))


Widths = Callable[[PointColumns, Rows], NDArray[np.int64]]
"""Gives an upper bound on the encoded bytes of each of these rows."""


def iterate_batches(
    points: PointColumns,
    widths: Widths,
    *,
    batch_size: int = BATCH_SIZE,
    max_bytes: int = MAX_BATCH_BYTES,
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

    Yields
    ------
    Batch
        Every point in exactly one batch; ``start`` of each is ``stop`` of the one before.
    """
    total = len(points)
    frame_length = len(points.ids)
    known = np.empty(0, dtype=np.int64)  # widths from `first` on
    first = number = start = 0
    while first < total:
        seen = first + len(known)
        if len(known) < batch_size and seen < total:
            window = points.rows(seen, min(seen + batch_size, total))
            known = np.concatenate([known, widths(points, window)])
        fits = int(np.searchsorted(np.cumsum(known[:batch_size]), max_bytes, side="right"))
        last = first + max(1, fits)
        rows = points.rows(first, last)
        if last == total:
            stop = frame_length
        else:
            stop = rows.stop if isinstance(rows, slice) else int(rows[-1]) + 1
        yield Batch(number, start, stop, points, rows)
        known = known[last - first :]
        first, start, number = last, stop, number + 1
