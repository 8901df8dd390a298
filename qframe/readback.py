"""Reading points back, a page of rows at a time, and telling what is not as expected."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qframe.comparison import ABSENT, compare
from qframe.connection import Connection
from qframe.points import Ids, PointColumns
from qframe.retry import Retry
from qframe.schema import VectorSchema
from qframe.stores.base import PointId, Store
from qframe.stores.patient import PatientStore

PAGE = 1000
"""Points in one request. With 250 to 1,000 a run was as fast within the noise, with 4,000 a third
slower: 20,000 x 384 with four payload columns, over each transport on one machine of 2 cores."""

PAGE_NUMBERS = 2**20
"""Numbers of vectors in one request at the most, unless a single point has more: 4 MiB of floats,
some 20 MB as JSON."""

IDS_ONLY = 10_000
"""Ids in one request, where only they are read."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the result.

    Attributes
    ----------
    position : int or None
        Row of the frame; None for a point that has none.
    id : int or str
    problem : {"missing", "vector", "payload", "extra"}
    name : str or None
    expected, found : object
    """

    position: int | None
    id: PointId
    problem: str
    name: str | None = None
    expected: Any = ABSENT
    found: Any = ABSENT


def pages(points: PointColumns) -> Iterator[NDArray[np.int64]]:
    """Yield row positions, cut by points and by numbers."""
    for first in range(0, len(points), PAGE):
        rows = points.rows(first, min(first + PAGE, len(points)))
        if isinstance(rows, slice):
            rows = np.arange(rows.start, rows.stop, dtype=np.int64)
        total = np.zeros(len(rows), dtype=np.int64)
        for column in points.vectors.values():
            total += column.numbers(rows)
        page = np.cumsum(total) // PAGE_NUMBERS
        yield from np.split(rows, np.flatnonzero(np.diff(page)) + 1)


@dataclass(frozen=True, slots=True)
class Start:
    """Makes the reader of each worker."""

    connection: Connection
    collection: str
    retry: Retry
    points: PointColumns
    schemas: Mapping[str, VectorSchema]

    def __call__(self, number: int) -> Reader:
        return Reader(self)


class Reader:
    """Reads a page of points back and compares it; with a store of its own."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._store = PatientStore(start.connection.store(), start.retry)

    def __call__(self, rows: NDArray[np.int64]) -> list[Line]:
        points = self._start.points
        ids = points.ids[rows].tolist()
        stored = {
            point.id: point
            for point in self._store.retrieve(self._start.collection, ids, with_vectors=True)
        }
        is_there = np.array([point_id in stored for point_id in ids], dtype=np.bool_)
        lines = [
            Line(int(rows[at]), ids[at], "missing") for at in np.flatnonzero(~is_there).tolist()
        ]
        there = np.flatnonzero(is_there)
        found = [stored[ids[at]] for at in there.tolist()]
        for one in compare(points.block(rows[there]), found, self._start.schemas):
            at = there[one.at]
            lines.append(
                Line(int(rows[at]), ids[at], one.problem, one.name, one.expected, one.found)
            )
        return sorted(lines, key=lambda line: line.position or 0)  # stable

    def close(self) -> None:
        """Give back the connection."""
        self._store.close()


# ---- Points without a row ----


def extra_points(store: Store, collection: str, points: PointColumns) -> Iterator[Line]:
    """Yield the points of the collection that are none of these."""
    known = KnownIds(points.ids if points.kept is None else points.ids[points.kept])
    offset = None
    while True:
        page = store.scroll(
            collection, limit=IDS_ONLY, offset=offset, with_payload=False, with_vectors=False
        )
        ids = [point.id for point in page.points]
        for point_id, is_known in zip(ids, known.hold(ids), strict=True):
            if not is_known:
                yield Line(None, point_id, "extra")
        if page.next is None:
            return
        offset = page.next


class KnownIds:
    """The ids of a frame, sorted: 8 bytes for a number and 17 for a UUID, which a set has 100 of.

    Parameters
    ----------
    ids : Ids
    """

    def __init__(self, ids: Ids) -> None:
        numbers = np.empty(0, np.uint64) if ids.numbers is None else ids.numbers
        uuids = np.empty((0, 16), np.uint8) if ids.uuids is None else ids.uuids
        if ids.is_uuid is not None:
            numbers, uuids = numbers[~ids.is_uuid], uuids[ids.is_uuid]
        self._numbers = np.sort(numbers)
        # numpy takes zero bytes from the end of a text, so each gets a last byte that is none.
        closed = np.column_stack([uuids, np.ones(len(uuids), np.uint8)])
        self._uuids = np.sort(np.ascontiguousarray(closed).view("S17")[:, 0])

    def hold(self, ids: Sequence[PointId]) -> list[bool]:
        """Return which of these are among them."""
        held = np.zeros(len(ids), dtype=np.bool_)
        is_text = np.array([isinstance(one, str) for one in ids], dtype=np.bool_)
        numbers = np.array([one for one in ids if not isinstance(one, str)], dtype=np.uint64)
        uuids = [uuid.UUID(one).bytes + b"\1" for one in ids if isinstance(one, str)]
        held[~is_text] = _are_in(self._numbers, numbers)
        held[is_text] = _are_in(self._uuids, np.array(uuids, dtype="S17"))
        return held.tolist()


def _are_in(known: NDArray[Any], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values stand in a sorted array."""
    if not len(known):
        return np.zeros(len(values), dtype=np.bool_)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    found: NDArray[np.bool_] = known[at] == values
    return found
