from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qframe.ranges import Range, gaps, merge
from qframe.report import Status

A, K = Status.APPLIED, Status.ACKNOWLEDGED


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=8))
def test_gaps_and_ranges_tile_the_frame(pairs: list[tuple[int, int]]) -> None:
    """What is done and what is missing are the frame, each row once."""
    done, reached = [], 0
    for skip, length in pairs:
        start = reached + skip
        done.append(Range(start, start + length, A))
        reached = start + length
    rows = reached + 5
    tiles = sorted([*gaps(done, rows), *((one.start, one.stop) for one in done)])
    assert [tile[0] for tile in tiles] == [0, *(tile[1] for tile in tiles[:-1])]
    assert tiles[-1][1] == rows
    assert gaps([], 0) == []


def test_no_records_are_no_ranges() -> None:
    """A journal with nothing but its first line has nothing done."""
    assert merge(np.empty((0, 3), dtype=np.int64)) == []


def test_neighbours_of_one_status_are_one_range() -> None:
    """Whatever order they come in, what touches is merged."""
    records = [(20, 30, 1), (0, 10, 0), (10, 20, 0), (40, 50, 1)]
    assert merge(np.array(records, dtype=np.int64)) == [
        Range(0, 20, K),
        Range(20, 30, A),
        Range(40, 50, A),
    ]


def test_rows_that_were_sent_twice_in_other_batches_count_once() -> None:
    """Where ranges overlap in part, applied wins."""
    records = [(0, 20, 0), (10, 30, 1)]
    assert merge(np.array(records, dtype=np.int64)) == [Range(0, 10, K), Range(10, 30, A)]
