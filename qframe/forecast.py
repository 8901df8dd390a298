"""What an upload would send: its batches, their bytes, and how long sending them may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from qframe.batches import Batch
from qframe.points import PointBlock

SAMPLED = 64
"""Batches at the most that are kept to be encoded, evenly spread over the upload."""

SAMPLE_SECONDS = 0.5
"""After how long no further one is encoded."""

ROUND_TRIPS = 5
"""Cheap requests whose quickest answer is taken for the time that an empty one takes."""

Encode = Callable[[PointBlock], int]
"""Encodes points and gives the bytes."""


@dataclass(slots=True)
class Tally:
    """Batches, counted as they are cut; only a sample of them is kept.

    Attributes
    ----------
    count, points : int
    width : int
        Upper bound of the bytes of all.
    largest : int
        That of the largest one.
    sample : list of Batch
        Evenly spread, `SAMPLED` at the most.
    """

    count: int = 0
    points: int = 0
    width: int = 0
    largest: int = 0
    sample: list[Batch] = field(default_factory=list)
    _step: int = 1

    def take(self, batches: Iterable[Batch]) -> Tally:
        """Count batches."""
        for batch in batches:
            if self.count % self._step == 0:
                self.sample.append(batch)
                if len(self.sample) > SAMPLED:  # every second one, from now on too
                    del self.sample[1::2]
                    self._step *= 2
            self.count += 1
            self.points += len(batch)
            self.width += batch.width
            self.largest = max(self.largest, batch.width)
        return self


@dataclass(frozen=True, slots=True)
class Encoded:
    """What encoding a sample of the batches took.

    Attributes
    ----------
    batches, points : int
    width : int
        Upper bound of their bytes.
    bytes, largest : int
        Of all of them, and of the largest.
    seconds : float
        With one worker.
    """

    batches: int = 0
    points: int = 0
    width: int = 0
    bytes: int = 0
    largest: int = 0
    seconds: float = 0.0


def encode_sample(
    sample: list[Batch], encode: Encode, clock: Callable[[], float] = time.perf_counter
) -> Encoded:
    """Encode batches as an upload does, as many as there is time for.

    Parameters
    ----------
    sample : list of Batch
        In the order of rows.
    encode : callable
    clock : callable
        Gives seconds.
    """
    if not sample:
        return Encoded()
    first = sample[0]
    began = clock()
    body = encode(first.block())
    now = clock()
    if now - began > SAMPLE_SECONDS:
        return Encoded(1, len(first), first.width, body, body, now - began)
    # It was quick, and is encoded once more: what was loaded for it is no matter of batches.
    points = width = size = largest = done = 0
    began = now
    for at in _spread(len(sample)):
        if now - began > SAMPLE_SECONDS:
            break
        batch = sample[at]
        body = encode(batch.block())
        now = clock()
        done, points, width, size = done + 1, points + len(batch), width + batch.width, size + body
        largest = max(largest, body)
    return Encoded(done, points, width, size, largest, now - began)


def _spread(count: int) -> list[int]:
    """Return an order in which the first few of so many are evenly spread too.

    Examples
    --------
    >>> _spread(8)
    [0, 4, 2, 6, 1, 3, 5, 7]
    """
    order: dict[int, None] = {}
    step = 1 << max(0, count - 1).bit_length()
    while len(order) < count:
        order.update(dict.fromkeys(range(0, count, step)))
        step //= 2
    return list(order)


def round_trip(ask: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that a cheap request takes, the quickest of some."""
    found = []
    for _ in range(ROUND_TRIPS):
        began = clock()
        ask()
        found.append(clock() - began)
    return min(found)


def batches_of(tally: Tally, encoded: Encoded) -> dict[str, Any]:
    """Return how many batches there are and how large, of JSON's types.

    Bytes are those of the report. They are exact where every batch was encoded; else those of the
    sample are carried over to all, by the upper bounds that batches are cut by.
    """
    exact = encoded.batches == tally.count
    ratio = encoded.bytes / encoded.width if encoded.width else 1.0
    total = encoded.bytes if exact else round(tally.width * ratio)
    largest = encoded.largest if exact else round(tally.largest * ratio)
    return {
        "count": tally.count,
        "points": tally.points,
        "bytes": {
            "sum": total,
            "largest": largest,
            "mean": total / tally.count if tally.count else 0.0,
            "exact": exact,
            "bound": tally.width,
        },
    }


def estimate(
    tally: Tally,
    encoded: Encoded,
    trip: float | None,
    *,
    workers: int,
    kind: str,
    embedded: bool = False,
    a_minute: int | None = None,
) -> dict[str, Any]:
    """Return how long encoding and asking may take, of JSON's types.

    Parameters
    ----------
    tally : Tally
    encoded : Encoded
    trip : float or None
        Seconds of an empty request; None where they are not known.
    workers : int
    kind : {"thread", "process"}
        Threads encode in turns, processes at the same time.
    embedded : bool
        Whether there is no server.
    a_minute : int or None
        Points that strict mode grants a minute, the first of them at once.
    """
    share = tally.points / encoded.points if encoded.points else 0.0
    encode_s = encoded.seconds * share
    asked = tally.count * (trip or 0.0)
    seconds = (encode_s + asked) / max(1, workers)
    if kind == "thread":
        seconds = max(seconds, encode_s)
    if a_minute:
        seconds = max(seconds, 60 * (tally.points - a_minute) / a_minute)
    without = "the server's own work and what the bytes take on their way"
    if embedded:
        without = "the engine's own work"
    elif trip is None:
        without = "requests, which could not be measured, and the server's own work"
    return {
        "seconds": seconds,
        "encode_s": encode_s,
        "round_trip_s": trip,
        "workers": workers,
        "worker_kind": kind,
        "sampled": {"batches": encoded.batches, "points": encoded.points},
        "without": without,
    }
