"""How far an upload is: what has come of it, and what goes on at this moment."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from qframe.activity import Stage, Step
from qframe.causes import Cause
from qframe.figures import counted, cut, duration, share, size
from qframe.pace import Pace
from qframe.report import ARRIVED, BatchResult, points_by_status

CAUSES = 5
"""Causes of errors that are shown while an upload runs."""

WORKERS = 8
"""Workers that are shown one by one."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """What an upload has done so far.

    Attributes
    ----------
    collection, target : str
    total : int or None
        Points to be sent; None for a stream, whose end nobody knows.
    points : mapping of str to int
        Points by status, of the batches that have a result.
    bytes : int
        Encoded bytes of these batches.
    retries : int
    throttled_s : float
        Seconds that workers waited because the server asked for it, added up.
    seconds : float
        Since the first batch.
    result : BatchResult or None
        The batch that this event is about; None for the last event.
    finished : bool
        Whether this is the last event.
    stopped : bool
        Whether the upload ended before its end.
    """

    collection: str
    target: str
    total: int | None
    points: Mapping[str, int]
    bytes: int
    retries: int
    throttled_s: float
    seconds: float
    result: BatchResult | None = None
    finished: bool = False
    stopped: bool = False

    @property
    def done(self) -> int:
        """Points that were sent, or tried to, whatever became of them."""
        return sum(self.points.values()) - self.points["unsent"]

    @property
    def arrived(self) -> int:
        """Points that the server took."""
        return sum(self.points[status] for status in ARRIVED)

    def sentence(self) -> str:
        """Say it in one line of text."""
        if self.total == 0:
            return f"{self.collection}: nothing to send"
        of = "" if self.total is None else f" of {self.total:,}"
        rate = self.arrived / self.seconds if self.seconds > 0 else 0.0
        lead = f"{self.collection}: stopped" if self.stopped else self.collection
        parts = [f"{lead}: {self.arrived:,}{of} points", f"{rate:,.0f} points/s"]
        parts += self.trouble()
        return ", ".join([*parts, duration(self.seconds)])

    def trouble(self) -> list[str]:
        """Say what is unusual; nothing where all is well."""
        parts = [
            f"{count:,} {status}"
            for status, count in self.points.items()
            if count and status not in ARRIVED
        ]
        if self.retries:
            parts.append(counted(self.retries, "retry", "retries"))
        if self.throttled_s >= 0.1:
            parts.append(f"throttled for {duration(self.throttled_s)}")
        return parts


class Phase(StrEnum):
    """What an upload is about."""

    CHECKING = "checking the frame"
    SENDING = "sending"
    SETTLING = "waiting until the server has applied everything"


@dataclass(frozen=True, slots=True)
class At:
    """What one worker is at.

    Attributes
    ----------
    worker : int
    batch : int or None
        None where it has nothing to do.
    step : Step or None
        None where it is between two steps.
    """

    worker: int
    batch: int | None = None
    step: Step | None = None

    def text(self, now: float) -> str:
        """Say it in a few words."""
        if self.batch is None or self.step is None:
            return "has nothing to do"
        stage, attempt = self.step.stage, self.step.attempt
        words = f"{stage} batch {self.batch:,}"
        if stage is Stage.WAITING:
            words = f"waiting with batch {self.batch:,}"
        if attempt > 1:
            words += f", try {attempt}"
        return f"{words}, {duration(max(0.0, now - self.step.since))}"


@dataclass(frozen=True, slots=True)
class Look:
    """What the sending of an upload is at.

    Attributes
    ----------
    in_flight : int
        Requests that are under way.
    asked_s : float
        Seconds that the server still asks all workers to wait.
    retries : int
        Of batches that have no result yet.
    throttled_s : float
        Seconds, of these batches too.
    workers : tuple of At
    causes : tuple of Cause
        What went wrong most often so far, whether it was mended or not.
    deaths : int
        Worker processes that died.
    """

    in_flight: int = 0
    asked_s: float = 0.0
    retries: int = 0
    throttled_s: float = 0.0
    workers: tuple[At, ...] = ()
    causes: tuple[Cause, ...] = ()
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Live:
    """Everything that is shown of an upload while it runs; as large for any number of rows.

    Attributes
    ----------
    event : ProgressEvent
        What has come of it, batches that are on their way included where they count.
    phase : Phase
    look : Look
    points_per_s, bytes_per_s : float
        Over the last seconds.
    left_s : float or None
        Seconds that it will still take at this rate; None where nobody can tell.
    percentiles : tuple of two floats, or None
        Seconds that half of the last batches, and 95 % of them, took.
    line : tuple of float
        Points a second from the beginning, in equal spans of time.
    """

    event: ProgressEvent
    phase: Phase
    look: Look = Look()
    points_per_s: float = 0.0
    bytes_per_s: float = 0.0
    left_s: float | None = None
    percentiles: tuple[float, float] | None = None
    line: tuple[float, ...] = ()

    def done(self) -> str:
        """Say how many of how many points."""
        event = self.event
        if event.total is None:
            return counted(event.arrived, "point")
        of = f"{event.arrived:,} of {counted(event.total, 'point')}"
        return f"{of} ({share(event.arrived, event.total)})" if event.total else "nothing to send"

    def speed(self) -> list[str]:
        """Say how fast it is, and how long it will take."""
        if self.phase is not Phase.SENDING:
            return []
        parts = [f"{self.points_per_s:,.0f} points/s", f"{size(self.bytes_per_s)}/s"]
        if self.left_s is not None:
            parts.append(f"{duration(self.left_s)} left")
        return parts

    def batches(self) -> list[str]:
        """Say how many are on their way, and how long the last ones took."""
        parts = [f"{counted(self.look.in_flight, 'request')} in flight"]
        if self.percentiles is not None:
            half, most = map(duration, self.percentiles)
            parts.append(f"a batch takes {half} (p50), {most} (p95)")
        return parts

    def trouble(self) -> list[str]:
        """Say what is unusual; nothing where all is well."""
        look = self.look
        parts = self.event.trouble()
        if look.asked_s > 0:
            parts.append(f"server asks to wait {duration(look.asked_s)}")
        if look.deaths:
            parts.append(f"{counted(look.deaths, 'worker')} died, and others took their place")
        return parts

    def sentence(self) -> str:
        """Say it in one line of text."""
        lead = f"{self.event.collection}: "
        if self.phase is Phase.SENDING:
            parts = [lead + self.done(), *self.speed(), *self.batches()]
        elif self.phase is Phase.SETTLING:
            parts = [lead + self.done(), self.phase.value]
        else:
            parts = [lead + self.phase.value]
        parts += self.trouble()
        if self.look.causes:
            parts.append(f"most often {cut(self.look.causes[0].example, 100)}")
        return ", ".join([*parts, duration(self.event.seconds)])


class Tally:
    """Adds up results into events.

    Parameters
    ----------
    collection, target, total
        As in `ProgressEvent`.
    clock : callable
        Seconds since the upload began.
    """

    def __init__(
        self, collection: str, target: str, total: int | None, clock: Callable[[], float]
    ) -> None:
        self._event = ProgressEvent(collection, target, total, points_by_status([]), 0, 0, 0.0, 0.0)
        self._clock = clock
        self._pace = Pace()
        self._lock = threading.Lock()  # a job adds in one thread, and is looked at in another

    def add(self, result: BatchResult) -> ProgressEvent:
        """Count one more result; return the event that tells of it."""
        with self._lock:
            before = self._event
            points = dict(before.points)
            points[result.status] += result.points
            self._event = dataclasses.replace(
                before,
                points=points,
                bytes=before.bytes + result.bytes,
                retries=before.retries + result.retries,
                throttled_s=before.throttled_s + result.throttled_s,
                seconds=self._clock(),
                result=result,
            )
            arrived = result.points if result.status in ARRIVED else 0
            taken = result.ended_s - result.started_s
            self._pace.add(self._event.seconds, arrived, result.bytes if arrived else 0, taken)
            return self._event

    def last(
        self, points: Mapping[str, int] | None = None, *, stopped: bool = False
    ) -> ProgressEvent:
        """Return the event that ends the upload, at its end or before.

        Parameters
        ----------
        points : mapping of str to int, optional
            By status; None is as they were counted.
        stopped : bool
        """
        return dataclasses.replace(
            self._event,
            points=self._event.points if points is None else points,
            seconds=self._clock(),
            result=None,
            finished=True,
            stopped=stopped,
        )

    def live(self, phase: Phase, look: Look) -> Live:
        """Return what is to be seen at this moment."""
        with self._lock:
            known, seconds = self._event, self._clock()
            event = dataclasses.replace(
                known,
                seconds=seconds,
                retries=known.retries + look.retries,
                throttled_s=known.throttled_s + look.throttled_s,
            )
            points_per_s, bytes_per_s = self._pace.rates(seconds)
            left_s = None
            if known.total is not None and points_per_s > 0:
                # What is refused takes its time, too.
                left = max(0, known.total - known.done)
                left_s = look.asked_s + left / points_per_s * known.arrived / known.done
            return Live(
                event,
                phase,
                look,
                points_per_s,
                bytes_per_s,
                left_s,
                self._pace.percentiles(),
                self._pace.line(seconds),
            )


Progress = Literal["auto"] | bool | Callable[[ProgressEvent], object]
