"""What an upload's workers are at: told by them, read by whoever draws."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from qframe.causes import Cause, Causes
from qframe.errors import QframeError


class Stage(StrEnum):
    """What is being done for a batch."""

    ENCODING = "encoding"
    WAITING = "waiting"
    """For the server, which asked for it, for its turn, or between two tries."""
    SENDING = "sending"


@dataclass(frozen=True, slots=True)
class Step:
    """Where one batch is.

    Attributes
    ----------
    stage : Stage
    since : float
        Seconds after the upload's beginning at which this began.
    attempt : int
        Of the request that is under way, was made last, or comes first; from 1.
    """

    stage: Stage
    since: float
    attempt: int = 1


class Activity:
    """The clock of an upload, and what went wrong in it so far, whether it was mended or not.

    Parameters
    ----------
    clock : callable
        Seconds on a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._causes = Causes()

    def seconds(self) -> float:
        """Return the seconds since the upload began."""
        return self._clock() - self._began

    def failed(self, error: QframeError, points: int) -> None:
        """Count a request that was refused, or got no answer."""
        with self._lock:
            self._causes.add(error, points)

    def causes(self, most: int) -> list[Cause]:
        """Return what went wrong most often."""
        with self._lock:
            return self._causes.top(most)
