from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from qframe.batches import Batch, iterate_batches
from qframe.forecast import (
    SAMPLED,
    Encoded,
    Tally,
    batches_of,
    encode_sample,
    estimate,
    round_trip,
)
from qframe.points import Ids, PointColumns


def batches(points: int) -> Iterator[Batch]:
    """Yield a batch a point, the first of width 0, the second of width 1, and so on."""
    columns = PointColumns(Ids(numbers=np.arange(points, dtype=np.uint64)), {})
    widths = np.arange(points)
    return iterate_batches(columns, lambda _, rows: widths[rows], batch_size=1)


@pytest.mark.parametrize("points", [0, 1, 5, SAMPLED, SAMPLED + 1, 1000, 4097])
def test_all_are_counted_and_some_are_kept(points: int) -> None:
    """Sums are those of all batches; the sample is small, in order, and evenly spread."""
    tally = Tally().take(batches(points))
    assert (tally.count, tally.points) == (points, points)
    assert tally.width == sum(range(points))
    assert tally.largest == max(0, points - 1)
    numbers = [batch.number for batch in tally.sample]
    assert len(numbers) <= SAMPLED
    assert len(numbers) > min(points - 1, SAMPLED // 2 - 1)
    assert len(set(np.diff(numbers).tolist())) <= 1
    assert numbers[:1] == [0][:points]


@pytest.mark.parametrize(("seconds", "encoded", "calls"), [(1.0, 1, 1), (0.2, 3, 4), (0.0, 50, 51)])
def test_encoding_stops_when_there_is_no_time(seconds: float, encoded: int, calls: int) -> None:
    """A slow encoder gets one batch, a quick one all of them, and the first once more."""
    sample = Tally().take(batches(50)).sample
    asked: list[int] = []

    def encode(block: Any) -> int:
        asked.append(len(block))
        return 10

    found = encode_sample(sample, encode, clock=lambda: seconds * len(asked))
    assert (found.batches, found.points, found.bytes) == (encoded, encoded, 10 * encoded)
    assert found.seconds == pytest.approx(seconds * encoded)
    assert found.largest == 10
    assert len(asked) == calls
    if encoded == 50:
        assert found.width == sum(range(50))


def test_nothing_to_encode() -> None:
    """Without batches nothing is encoded, and there is nothing to tell."""
    tally = Tally()
    encoded = encode_sample(tally.sample, lambda block: 1 // 0)
    found = batches_of(tally, encoded)
    sizes = {"sum": 0, "largest": 0, "mean": 0.0, "exact": True, "bound": 0}
    assert found == {"count": 0, "points": 0, "bytes": sizes}
    assert estimate(tally, encoded, None, workers=1, kind="thread")["seconds"] == 0


def test_bytes_are_carried_over_by_width() -> None:
    """What a sample needed of its bounds, all batches are taken to need of theirs."""
    tally = Tally(count=10, points=100, width=1000, largest=200)
    found = batches_of(tally, Encoded(2, 20, width=100, bytes=80, largest=50))["bytes"]
    assert found == {"sum": 800, "largest": 160, "mean": 80.0, "exact": False, "bound": 1000}


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"workers": 1, "kind": "thread"}, 10 + 10 * 0.5),
        ({"workers": 2, "kind": "thread"}, 10),  # encoding takes turns
        ({"workers": 3, "kind": "process"}, (10 + 5) / 3),
        ({"workers": 1, "kind": "thread", "a_minute": 20}, 240),
    ],
)
def test_estimate(options: dict[str, Any], seconds: float) -> None:
    """Encoding and asking are spread over the workers, as far as they work at the same time."""
    tally = Tally(count=10, points=100, width=1000, largest=200)
    encoded = Encoded(2, 20, width=200, bytes=100, largest=50, seconds=2.0)
    found = estimate(tally, encoded, 0.5, **options)
    assert found["seconds"] == pytest.approx(seconds)
    assert found["encode_s"] == pytest.approx(10)


def test_the_quickest_answer_counts() -> None:
    """A round trip is the quickest of several, as a slow one waited for something else."""
    clock = iter([0.0, 5.0, 10.0, 10.1, 20.0, 23.0, 30.0, 31.0, 40.0, 42.0])
    assert round_trip(lambda: None, clock=lambda: next(clock)) == pytest.approx(0.1)
