from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.pace import BATCHES, BINS, RECENT, SLICE, Pace
from qframe.progress import Look, Phase, Tally
from qframe.report import BatchResult, Status


def test_a_rate_is_that_of_the_last_seconds() -> None:
    """What came before is forgotten, and a pause lowers the rate to nothing."""
    pace = Pace()
    for tenth in range(100):
        pace.add(tenth / 10, 1000 if tenth < 50 else 10, 5, math.nan)
    points, size = pace.rates(10.0)
    assert points == pytest.approx(100, rel=0.2)
    assert size == pytest.approx(50, rel=0.1)
    assert pace.rates(10.0 + RECENT + SLICE) == (0.0, 0.0)
    assert Pace().rates(0.0) == (0.0, 0.0)


def test_a_rate_at_the_beginning_is_over_what_there_is() -> None:
    """After one second the rate is over one second, not over five."""
    pace = Pace()
    pace.add(0.5, 300, 900, math.nan)
    assert pace.rates(1.0) == (300.0, 900.0)


def test_percentiles_are_of_the_last_batches() -> None:
    """Slow batches long ago do not count; without any there is nothing to tell."""
    pace = Pace()
    assert pace.percentiles() is None
    for _ in range(BATCHES):
        pace.add(0.0, 1, 1, 99.0)
    for batch in range(BATCHES):
        pace.add(1.0, 1, 1, (batch + 1) / BATCHES)
    pace.add(1.0, 1, 1, math.nan)
    assert pace.percentiles() == (0.5, 0.95)


def test_percentiles_of_one_batch() -> None:
    """One batch is its own median and its own worst."""
    pace = Pace()
    pace.add(0.0, 1, 1, 0.25)
    assert pace.percentiles() == (0.25, 0.25)


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 1000)), max_size=300))
def test_the_line_loses_nothing_and_stays_short(steps: list[tuple[float, int]]) -> None:
    """However long it takes, the line has few bins, and all points are in them."""
    pace = Pace()
    now, total = 0.0, 0
    for seconds, points in steps:
        now += seconds
        total += points
        pace.add(now, points, 0, math.nan)
    line = pace.line(now + pace._width)
    assert len(line) <= BINS
    assert sum(line) * pace._width == pytest.approx(total)


def test_memory_is_bounded() -> None:
    """A hundred thousand batches leave no more behind than a thousand."""
    pace = Pace()
    for batch in range(100_000):
        pace.add(batch / 1000, 1, 1, 0.001)
    assert len(pace._slices) <= RECENT / SLICE + 2
    assert len(pace._batches) == BATCHES
    assert len(pace._bins) <= BINS


def test_a_steady_rate_is_told_as_it_is() -> None:
    """Seconds and points are of the same span, wherever in a slice the moment is."""
    pace = Pace()
    for batch in range(1, 1000):
        pace.add(batch / 100, 10, 100, 0.01)
        if batch > 10:
            assert pace.rates(batch / 100)[0] == pytest.approx(1000, rel=0.01)


def test_what_is_refused_takes_its_time_too() -> None:
    """Where half of the points are refused, the rest does not take twice as long."""
    now = 0.0
    tally = Tally("films", "here", 1000, lambda: now)
    for batch in range(50):
        now += 0.1
        status = Status.ACKNOWLEDGED if batch % 2 else Status.FAILED
        tally.add(BatchResult(batch, 0, 10, 10, status, attempts=1))
    live = tally.live(Phase.SENDING, Look())
    assert live.points_per_s == pytest.approx(50)
    assert live.left_s == pytest.approx(5)
