from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.batches import Extent, Limits, iterate_batches
from qframe.mapping.stream import RecordStream
from qframe.mapping.vectors.dense import MatrixColumn
from qframe.points import Ids, PointColumns, Rows


def _points(total: int, kept: list[int] | None = None) -> PointColumns:
    return PointColumns(
        Ids(numbers=np.arange(total, dtype=np.uint64)),
        {"": MatrixColumn(np.arange(total * 2, dtype=np.float32).reshape(total, 2))},
        kept=None if kept is None else np.array(kept, dtype=np.int64),
    )


def _at(rows: Rows) -> Any:
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


@st.composite
def frames(draw: st.DrawFn) -> tuple[PointColumns, list[int], list[int]]:
    """Points, the positions of those kept, and the width of every row."""
    total = draw(st.integers(1, 60))
    widths = draw(st.lists(st.integers(1, 50), min_size=total, max_size=total))
    kept = list(range(total))
    if draw(st.booleans()):
        kept = sorted(draw(st.sets(st.integers(0, total - 1), min_size=1)))
        return _points(total, kept), kept, widths
    return _points(total), kept, widths


@given(frames(), st.integers(1, 20), st.integers(1, 200))
def test_batches_hold_every_point_once(
    frame: tuple[PointColumns, list[int], list[int]], batch_size: int, max_bytes: int
) -> None:
    """Nothing is lost, repeated or reordered, no batch is too large, and ranges tile the frame."""
    points, kept, widths = frame
    measure = np.array(widths, dtype=np.int64)
    batches = list(
        iterate_batches(
            points, lambda _, rows: measure[rows], batch_size=batch_size, max_bytes=max_bytes
        )
    )
    assert [batch.number for batch in batches] == list(range(len(batches)))
    assert [at for batch in batches for at in _at(batch.rows).tolist()] == kept
    assert [n for batch in batches for n in batch.block().ids.tolist()] == kept
    assert batches[0].start == 0
    assert batches[-1].stop == len(widths)
    assert [b.start for b in batches[1:]] == [b.stop for b in batches[:-1]]
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert batch.width == measure[batch.rows].sum()
        assert len(batch) == 1 or batch.width <= max_bytes
        assert ((batch.start <= _at(batch.rows)) & (_at(batch.rows) < batch.stop)).all()
    for batch, following in itertools.pairwise(batches):
        # As full as it may be: the next point would not have fitted.
        next_width = measure[_at(following.rows)[0]]
        too_many = len(batch) == batch_size
        assert too_many or measure[batch.rows].sum() + next_width > max_bytes


@given(st.integers(1, 300), st.integers(1, 40))
def test_rows_are_measured_once_and_no_further_than_needed(total: int, batch_size: int) -> None:
    """Batches are cut lazily: no row is measured twice, and few beyond the batch at hand."""
    seen: list[int] = []

    def widths(_: PointColumns, rows: Rows) -> Any:
        seen.extend(_at(rows).tolist())
        return np.ones(len(_at(rows)), dtype=np.int64)

    for batch in iterate_batches(_points(total), widths, batch_size=batch_size, max_bytes=7):
        assert len(seen) <= batch.stop + 2 * batch_size
    assert seen == list(range(total))


def test_a_point_over_the_limit_travels_alone() -> None:
    """A point that is wider than a batch may be neither blocks the others nor is split."""
    width = np.array([5, 100, 5, 5], dtype=np.int64)
    batches = iterate_batches(_points(4), lambda _, rows: width[rows], max_bytes=10)
    assert [(batch.start, batch.stop) for batch in batches] == [(0, 1), (1, 2), (2, 4)]


def test_no_points_are_no_batches() -> None:
    """An empty frame has no batch, and is never measured."""
    assert list(iterate_batches(_points(0), lambda _, rows: 1 / 0)) == []  # type: ignore[arg-type, return-value]


@st.composite
def sorted_ranges(draw: st.DrawFn, total: int) -> list[tuple[int, int]]:
    """Ranges of rows, ascending and disjoint, some of them adjacent."""
    edges = sorted(draw(st.sets(st.integers(0, total), max_size=12)))
    pairs = list(itertools.pairwise(edges))
    return [pair for pair in pairs if draw(st.booleans())]


@given(frames(), st.integers(1, 20), st.integers(1, 200), st.data())
def test_only_the_ranges_that_are_asked_for_are_cut(
    frame: tuple[PointColumns, list[int], list[int]],
    batch_size: int,
    max_bytes: int,
    data: st.DataObject,
) -> None:
    """Batches tile each range that has points, and hold each of its points once, in order."""
    points, kept, widths = frame
    measure = np.array(widths, dtype=np.int64)
    ranges = data.draw(sorted_ranges(len(widths)))
    batches = list(
        iterate_batches(
            points,
            lambda _, rows: measure[rows],
            batch_size=batch_size,
            max_bytes=max_bytes,
            ranges=ranges,
        )
    )
    assert [batch.number for batch in batches] == list(range(len(batches)))
    wanted = [at for at in kept if any(start <= at < stop for start, stop in ranges)]
    assert [at for batch in batches for at in _at(batch.rows).tolist()] == wanted
    seen = 0
    for start, stop in ranges:
        within = [batch for batch in batches if start <= batch.start < stop]
        seen += len(within)
        if not any(start <= at < stop for at in kept):
            assert within == []
            continue
        edges = [start, *(batch.stop for batch in within)]
        assert [batch.start for batch in within] == edges[:-1]
        assert edges[-1] == stop
        for batch in within:
            assert 1 <= len(batch) <= batch_size
            assert len(batch) == 1 or measure[batch.rows].sum() <= max_bytes
            assert ((batch.start <= _at(batch.rows)) & (_at(batch.rows) < batch.stop)).all()
    assert seen == len(batches)


@given(frames(), st.integers(1, 20), st.integers(1, 200))
def test_the_whole_frame_is_one_range(
    frame: tuple[PointColumns, list[int], list[int]], batch_size: int, max_bytes: int
) -> None:
    """A range over all rows is cut as no ranges are, and no range at all is no batch."""
    points, _, widths = frame

    def cut(ranges: list[tuple[int, int]] | None) -> list[tuple[int, int, int, list[int]]]:
        batches = iterate_batches(
            points,
            lambda _, rows: np.array(widths, dtype=np.int64)[rows],
            batch_size=batch_size,
            max_bytes=max_bytes,
            ranges=ranges,
        )
        return [(b.number, b.start, b.stop, _at(b.rows).tolist()) for b in batches]

    assert cut([(0, len(widths))]) == cut(None)
    assert cut([]) == []


@given(frames(), st.integers(2, 20))
def test_a_split_batch_is_two_halves_of_it(
    frame: tuple[PointColumns, list[int], list[int]], batch_size: int
) -> None:
    """Halves hold the batch's points in order, each in its own rows, down to single points."""
    points, kept, widths = frame
    batches = iterate_batches(
        points,
        lambda _, rows: np.ones(len(widths), dtype=np.int64)[rows],
        batch_size=batch_size,
    )
    singles = []
    queue = list(batches)
    while queue:
        batch = queue.pop(0)
        if len(batch) == 1:
            singles.append(batch)
            with pytest.raises(ValueError, match="single point"):
                batch.split()
            continue
        halves = batch.split()
        first, second = halves
        assert first.number == second.number == batch.number
        assert (first.start, first.stop, second.stop) == (batch.start, second.start, batch.stop)
        assert len(second) - len(first) in (0, 1)
        assert len(first) + len(second) == len(batch)
        for half in halves:
            assert ((half.start <= _at(half.rows)) & (_at(half.rows) < half.stop)).all()
            assert half.block().ids.tolist() == _at(half.rows).tolist()
        queue = [*halves, *queue]
    assert [at for batch in singles for at in _at(batch.rows).tolist()] == kept


def test_a_split_batch_of_a_stream_counts_records() -> None:
    """Halves of a batch of records have the records' numbers, though bad ones were set aside."""
    records = [{"id": n, "vector": "bad" if n in (0, 6, 8) else [1.0, 2.0]} for n in range(12)]
    stream = RecordStream(
        records, lambda _, rows: np.ones(len(_at(rows)), dtype=np.int64), Limits(points=6)
    )
    numbers = []
    for batch in stream.batches():
        for half in batch.split():
            ids = half.block().ids.tolist()
            assert all(half.start <= int(number) < half.stop for number in ids)
            numbers.append((half.start, half.stop, ids))
    assert numbers == [
        (0, 3, [1, 2]),
        (3, 6, [3, 4, 5]),
        (6, 10, [7, 9]),
        (10, 12, [10, 11]),
    ]


@given(st.data())
def test_some_rows_of_a_frame(data: st.DataObject) -> None:
    """Rows in ranges know how many points they are, all their ids, and a sample of them."""
    total = data.draw(st.integers(0, 40))
    kept = data.draw(st.none() | st.sets(st.integers(0, max(0, total - 1))).map(sorted))
    kept = None if kept is None or not total else np.array(kept, dtype=np.int64)
    points = PointColumns(Ids(numbers=np.arange(total, dtype=np.uint64)), {}, kept=kept)
    ranges = data.draw(sorted_ranges(total))
    present = range(total) if kept is None else kept.tolist()
    expected = [row for start, stop in ranges for row in present if start <= row < stop]
    extent = Extent(points, ranges)
    assert extent.points == len(expected)
    assert [point for page in extent.ids() for point in page] == expected
    count = data.draw(st.integers(1, 50))
    sample = extent.sample(count)
    assert len(sample) == min(count, len(expected))
    assert sample == sorted(set(sample) & set(expected))
    after = data.draw(st.integers(0, 40))
    rest = extent.within(list(extent.beyond(after)))
    assert [point for page in rest.ids() for point in page] == [i for i in expected if i >= after]


def test_ids_come_in_pages() -> None:
    """So many ids as a request may hold come at a time."""
    points = PointColumns(Ids(numbers=np.arange(25_000, dtype=np.uint64)), {})
    assert [len(page) for page in Extent(points, [(0, 25_000)]).ids()] == [10_000, 10_000, 5_000]
