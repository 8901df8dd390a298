from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qframe.batches import Batch, iterate_batches
from qframe.mapping.vectors.dense import MatrixColumn
from qframe.points import Ids, PointBlock, PointColumns, Rows


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
        assert len(batch) == 1 or measure[batch.rows].sum() <= max_bytes
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


def test_a_batch_in_another_process_has_its_own_points_only() -> None:
    """A pickled batch holds the block of its rows, not the whole frame."""
    batch = Batch(3, 10, 14, _points(100_000), np.array([10, 12, 13]))
    sent = pickle.dumps(batch)
    assert len(sent) < 2_000
    copy = pickle.loads(sent)
    assert (copy.number, copy.start, copy.stop, len(copy)) == (3, 10, 14, 3)
    assert isinstance(copy.points, PointBlock)
    assert copy.block().ids.tolist() == [10, 12, 13]
    assert copy.block().vectors[""].values.tolist() == batch.block().vectors[""].values.tolist()
