"""How fast an upload is, told in bounded memory however long it takes."""

from __future__ import annotations

import math
from collections import deque

RECENT = 5.0
"""Seconds that a rate is taken over: shorter, it jumps from batch to batch."""

SLICE = 0.25
"""Seconds that are counted together, and the first width of a bin of the line."""

BINS = 40
"""Bins that the line has at the most; then two become one each."""

BATCHES = 500
"""Latest batches that the percentiles are of: 500 numbers are sorted in 20 µs."""


class Pace:
    """Rates over the last seconds, percentiles of the last batches, and throughput over time."""

    def __init__(self) -> None:
        self._slices: deque[list[float]] = deque()  # of number, points, bytes
        self._batches: deque[float] = deque(maxlen=BATCHES)
        self._bins: list[float] = []
        self._width = SLICE

    def add(self, seconds: float, points: int, size: int, batch_s: float) -> None:
        """Count what arrived.

        Parameters
        ----------
        seconds : float
            After the upload's beginning; never less than before.
        points : int
        size : int
            Bytes.
        batch_s : float
            How long the batch took; NaN where it is not known.
        """
        number = int(seconds / SLICE)
        if not self._slices or self._slices[-1][0] < number:
            self._slices.append([number, 0, 0])
            self._forget(seconds)
        self._slices[-1][1] += points
        self._slices[-1][2] += size
        if not math.isnan(batch_s):
            self._batches.append(batch_s)
        self._reach(seconds)
        self._bins[-1] += points

    def rates(self, seconds: float) -> tuple[float, float]:
        """Return points and bytes a second over the last `RECENT` seconds."""
        self._forget(seconds)
        span = seconds - SLICE * max(0, self._oldest(seconds))
        if span <= 0:
            return 0.0, 0.0
        points = sum(one[1] for one in self._slices)
        size = sum(one[2] for one in self._slices)
        return points / span, size / span

    def percentiles(self) -> tuple[float, float] | None:
        """Return the seconds that half of the last batches, and 95 % of them, stayed below."""
        ordered = sorted(self._batches)
        if not ordered:
            return None
        return ordered[(len(ordered) - 1) // 2], ordered[math.ceil(0.95 * len(ordered)) - 1]

    def line(self, seconds: float) -> tuple[float, ...]:
        """Return points a second from the beginning until now, in equal spans of time.

        The span that has just begun is left out.
        """
        self._reach(seconds)
        return tuple(points / self._width for points in self._bins[:-1])

    def _forget(self, seconds: float) -> None:
        oldest = self._oldest(seconds)
        while self._slices and self._slices[0][0] < oldest:
            self._slices.popleft()

    @staticmethod
    def _oldest(seconds: float) -> int:
        """Return the number of the first slice that a rate is taken over."""
        return math.floor((seconds - RECENT) / SLICE)

    def _reach(self, seconds: float) -> None:
        """Have a bin for this moment."""
        while seconds >= BINS * self._width:
            self._width *= 2
            pairs = zip(self._bins[::2], [*self._bins[1::2], 0.0], strict=False)
            self._bins = [one + other for one, other in pairs]
        at = int(seconds / self._width)
        self._bins += [0.0] * (at + 1 - len(self._bins))
