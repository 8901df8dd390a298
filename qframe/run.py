"""What came out of an upload: its report, or the error that carries it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import pandas as pd

from qframe.barrier import Doubt
from qframe.connection import Connection
from qframe.errors import (
    DeadlinePassed,
    PointsLost,
    QframeError,
    UploadError,
    UploadInterrupted,
)
from qframe.pool import Death
from qframe.report import ARRIVED, BatchResult, Status, points_by_status, to_frame
from qframe.ways import complaint, stopped

log = logging.getLogger("qframe")


@dataclasses.dataclass(slots=True)
class Run:
    """What came out of sending.

    Attributes
    ----------
    collection : str
    connection : Connection
    results : list of BatchResult
        One a batch, or several.
    clock : callable
        Gives the seconds since the first batch, until the last one.
    is_over : bool
        Whether nothing more will come of it.
    cause : BaseException or None
        What ended it early.
    ended_early : bool
        Whether by this, or by an error of a batch that the others would have ended with too.
    blamed : QframeError or None
        What was wrong with the input, or with what was thought to have arrived, though the rest
        went on.
    display_error : Exception or None
        What the progress display, or the caller's own function, ended with.
    deaths : list of Death
        Worker processes that died.
    notes : dict
        What else the report's summary tells, of JSON's types.
    """

    collection: str
    connection: Connection
    results: list[BatchResult] = dataclasses.field(default_factory=list)
    clock: Callable[[], float] = float
    is_over: bool = False
    cause: BaseException | None = None
    ended_early: bool = False
    blamed: QframeError | None = None
    display_error: Exception | None = None
    deaths: list[Death] = dataclasses.field(default_factory=list)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a Ctrl-C end what is done inside, but not lose the report."""
        try:
            yield
        except KeyboardInterrupt as stop:
            self.cause = stop

    def persist(self, action: Callable[[], object]) -> None:
        """Do what the report cannot do without, anew after each Ctrl-C."""
        while True:
            with self.interruptible():
                action()
                return

    @property
    def acknowledged(self) -> list[tuple[int, int]]:
        """The rows whose points are not known to be applied yet, in ranges."""
        return [
            (result.start, result.stop)
            for result in self.results
            if result.status is Status.ACKNOWLEDGED
        ]

    @property
    def points(self) -> int:
        """How many points there are, sent or not, by this run or an earlier one."""
        return sum(result.points for result in self.results)

    @property
    def arrived(self) -> int:
        """How many points the server took."""
        return sum(result.points for result in self.results if result.status in ARRIVED)

    @property
    def sent(self) -> int:
        """How many points this run sent, whatever became of them."""
        return sum(result.points for result in self.results if result.attempts)

    def absorb(self, earlier: Sequence[BatchResult]) -> None:
        """Add what earlier runs brought in, once; batches are numbered in the order of rows."""
        if not earlier or any(result.is_earlier for result in self.results):
            return
        both = [(True, result) for result in earlier] + [(False, r) for r in self.results]
        numbers: dict[tuple[bool, int], int] = {}
        results = []
        for is_earlier, result in sorted(both, key=lambda one: one[1].start):
            number = numbers.setdefault((is_earlier, result.batch), len(numbers))
            results.append(dataclasses.replace(result, batch=number))
        self.results = results

    def settle(self, doubt: Doubt | None) -> None:
        """Note that all acknowledged points are applied, or why that is not certain."""
        if doubt is not None:
            self.notes["barrier"] = doubt.text
            log.warning("%s: %s", self.collection, doubt.text)
            if doubt.is_loss:
                self.blamed = PointsLost(doubt.text)
            return
        self.results = [
            dataclasses.replace(result, status=Status.APPLIED)
            if result.status is Status.ACKNOWLEDGED
            else result
            for result in self.results
        ]

    def report(self, rows: int, skipped: list[dict[str, Any]], *, created: bool) -> pd.DataFrame:
        """Make the report of what is known."""
        results = list(self.results)  # a job adds to them in another thread
        seconds = self.clock()
        counts = points_by_status(results)
        sent = sum(r.points for r in results if r.attempts and r.status in ARRIVED)
        summary = {
            "collection": self.collection,
            "target": self.connection.target,
            "transport": self.connection.transport,
            "created": created,
            "rows": rows,
            "points": counts,
            "seconds": seconds,
            "points_per_s": sent / seconds if seconds else 0.0,
            "bytes": sum(result.bytes for result in results),
            "retries": sum(result.retries for result in results),
            "throttled_s": sum(result.throttled_s for result in results),
            "deaths": [
                {"worker": death.worker, "pid": death.pid, "cause": death.cause}
                for death in self.deaths
            ],
            "skipped": skipped,
            "barrier": None,
            **self.notes,
            "under_way": not self.is_over,
            "ended": self._ended(),
        }
        return to_frame(results, summary)

    def finish(self, report: pd.DataFrame, on_error: Literal["raise", "collect"]) -> pd.DataFrame:
        """Return the report, or raise it with what went wrong.

        Raises
        ------
        UploadError
            When points did not arrive and `on_error` is "raise", or the source broke.
        UploadInterrupted
            After Ctrl-C.
        """
        __tracebackhide__ = True
        if isinstance(self.cause, KeyboardInterrupt):
            raise UploadInterrupted(stopped(report), report) from None
        is_over = isinstance(self.cause, DeadlinePassed)
        if self.cause is not None and not is_over:
            nothing_sent = not any(result.attempts for result in self.results)
            if not isinstance(self.cause, Exception) or (
                nothing_sent and isinstance(self.cause, QframeError)
            ):
                raise self.cause
            raise UploadError(complaint(report), report) from self.cause
        error = self.cause or self._first_failure() or self.blamed or self.display_error
        if on_error == "raise" and (error or self.arrived < self.points):
            raise UploadError(complaint(report), report) from error
        return report

    def _first_failure(self) -> QframeError | None:
        """Return the first error by row, or the first that ended the others too."""
        failures = [
            result
            for result in self.results
            if result.error is not None and result.status not in ARRIVED
        ]
        first = min(failures, key=lambda r: (not is_fatal(r), r.start), default=None)
        return None if first is None else first.error

    def _ended(self) -> dict[str, Any] | None:
        """Return what the upload as a whole ended with, of JSON's types."""
        cause, by = self.cause, "error"
        if isinstance(cause, KeyboardInterrupt):
            by = "stop"
        elif isinstance(cause, DeadlinePassed):
            by = "deadline"
        elif cause is None and self.blamed is not None:
            cause, by = self.blamed, "finding"
        elif cause is None:
            cause, by = self.display_error, "progress"
        if cause is None:
            return None
        return {"by": by, "error_type": type(cause).__name__, "error": str(cause)}


def is_fatal(result: BatchResult) -> bool:
    """Whether what ended a batch is bound to end the others too."""
    return result.error is not None and result.error.fatal
