"""What all workers of an upload learn from refusals."""

from __future__ import annotations

import math
import threading

BARREN = 3
"""Batches that were halved while nothing at all was accepted, after which others are refused as a
whole: what is wrong with all rows is not found by halving."""


class Lessons:
    """What the server's refusals have taught all workers of an upload.

    Attributes
    ----------
    points, bytes : float
        More than these in one request were refused; infinite before that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.points = math.inf
        self.bytes = math.inf
        self._barren = 0

    def lower(self, *, points: float = math.inf, size: float = math.inf) -> None:
        """Note that the server takes no more than this at a time."""
        with self._lock:
            self.points = min(self.points, max(1.0, points))
            self.bytes = min(self.bytes, max(1.0, size))

    def bear(self, *, fruit: bool) -> None:
        """Note that a request was accepted, or that no part of a batch that was halved was."""
        with self._lock:
            self._barren = 0 if fruit else self._barren + 1

    @property
    def hopeful(self) -> bool:
        """Whether halving a refused batch may find good rows in it."""
        return self._barren < BARREN
