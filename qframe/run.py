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
    InvalidRequest,
    PointsLost,
    QframeError,
    UploadError,
    UploadInterrupted,
)
from qframe.pool import Death
from qframe.report import ARRIVED, BatchResult, Status, points_by_status, to_frame

log = logging.getLogger("qframe")

IN_A_FILE = "; with journal='…' the same call again does, in another process too"


@dataclasses.dataclass(slots=True)
class Run:
    """What came out of sending.

    Attributes
    ----------
    collection : str
    connection : Connection
    results : list of BatchResult
        One a batch, or several.
    seconds : float
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
    seconds: float = 0.0
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
        """Add what earlier runs brought in; batches are numbered through in the order of rows."""
        if not earlier:
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

    def finish(
        self,
        rows: int,
        skipped: list[dict[str, Any]],
        *,
        created: bool,
        on_error: Literal["raise", "collect"],
    ) -> pd.DataFrame:
        """Make the report; return it, or raise it with what went wrong.

        Raises
        ------
        UploadError
            When points did not arrive and `on_error` is "raise", or the source broke.
        UploadInterrupted
            After Ctrl-C.
        """
        counts = points_by_status(self.results)
        arrived = counts["applied"] + counts["acknowledged"]
        sent = sum(r.points for r in self.results if r.attempts and r.status in ARRIVED)
        summary = {
            "collection": self.collection,
            "target": self.connection.target,
            "transport": self.connection.transport,
            "created": created,
            "rows": rows,
            "points": counts,
            "seconds": self.seconds,
            "points_per_s": sent / self.seconds if self.seconds else 0.0,
            "bytes": sum(result.bytes for result in self.results),
            "retries": sum(result.retries for result in self.results),
            "throttled_s": sum(result.throttled_s for result in self.results),
            "deaths": [
                {"worker": death.worker, "pid": death.pid, "cause": death.cause}
                for death in self.deaths
            ],
            "skipped": skipped,
            "barrier": None,
            **self.notes,
        }
        report = to_frame(self.results, summary)
        if isinstance(self.cause, KeyboardInterrupt):
            raise UploadInterrupted(self._stopped(counts), report) from None
        is_over = isinstance(self.cause, DeadlinePassed)
        if self.cause is not None and not is_over:
            nothing_sent = not any(result.attempts for result in self.results)
            if not isinstance(self.cause, Exception) or (
                nothing_sent and isinstance(self.cause, QframeError)
            ):
                raise self.cause
            raise UploadError(self._complaint(counts, self.cause), report) from self.cause
        first = self._first_failure()
        error = self.cause or self.blamed or self.display_error
        if not is_over and first is not None:
            error = first.error
        if on_error == "raise" and (error or arrived < sum(counts.values())):
            place = None if is_over else first
            raise UploadError(self._complaint(counts, error, place), report) from error
        return report

    def _first_failure(self) -> BatchResult | None:
        """Return the first failure by row, or the first that ended the others too."""
        failures = [
            result
            for result in self.results
            if result.error is not None and result.status not in ARRIVED
        ]
        return min(failures, key=lambda r: (not is_fatal(r), r.start), default=None)

    def _complaint(
        self,
        counts: dict[str, int],
        error: BaseException | None,
        batch: BatchResult | None = None,
    ) -> str:
        """Say how much did not arrive, why, and what to type next."""
        total = sum(counts.values())
        arrived = counts["applied"] + counts["acknowledged"]
        found = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
        if not total:
            lead = "no point was sent to"
        elif arrived < total:
            lead = f"{total - arrived:,} of {total:,} points did not arrive in"
        elif error is not None and error is self.display_error:
            lead = f"the progress function failed, and all {total:,} points arrived in"
        elif isinstance(error, PointsLost):
            lead = f"the server took all {total:,} points, and did not keep all, in"
        else:
            lead = f"all {total:,} points that were sent arrived in"
        note = f" ({found})" if found else ""
        lines = [f"{lead} {self.collection!r} at {self.connection.target}{note}"]
        if error is not None:
            where = (
                ""
                if batch is None
                else f", batch {batch.batch}, rows {batch.start} to {batch.stop}, "
                f"{batch.attempts} attempt{'s' * (batch.attempts != 1)}"
            )
            lines.append(f"  first error{where}: {type(error).__name__}: {error}")
        if arrived < total:
            lines.append(
                "  the error's report has a row a batch (in a notebook: sys.last_value.report); "
                "these did not arrive: report.query(\"status not in ('applied', 'acknowledged')\")"
            )
            lines.append(f"  {self._way_on()}")
        return "\n".join(lines)

    def _stopped(self, counts: dict[str, int]) -> str:
        found = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
        return (
            f"stopped: {found or 'no'} points in {self.collection!r} at {self.connection.target}; "
            "the error's report has a row a batch (in a notebook: sys.last_value.report)\n"
            f"  {self._way_on()}"
            + ("" if "journal" in self.notes or "mapping" not in self.notes else IN_A_FILE)
        )

    def _way_on(self) -> str:
        """Say what to type next."""
        failed = [result for result in self.results if result.status is Status.FAILED]
        refused = [result for result in failed if isinstance(result.error, InvalidRequest)]
        ways = []
        if failed:
            ways.append("df.qdrant.failed(report) gives the failed rows with their reasons")
        if any(result.points > 1 for result in refused):
            ways.append(
                "good rows that could not be told from bad ones are among them, which "
                "retry=qframe.Retry(splits=…) or a smaller batch_size finds"
            )
        if "mapping" not in self.notes:
            return "; ".join(ways) or "the same call again sends everything anew"
        journal = self.notes.get("journal")
        if refused:
            without = "" if journal is None else ", without journal,"
            ways.append(
                f"mend them in df, and the same call with resume=report{without} sends only what "
                "is missing"
            )
        elif journal is not None:
            ways.append(f"the same call again sends only what {journal} says is missing")
        else:
            ways.append("the same call with resume=report sends only what is missing")
        return "; ".join(ways)


def is_fatal(result: BatchResult) -> bool:
    """Whether what ended a batch is bound to end the others too."""
    return result.error is not None and result.error.fatal
