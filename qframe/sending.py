"""Sending batches through the pool, and making the report of what became of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pandas as pd

from qframe.arguments import check_choice
from qframe.batches import Batch
from qframe.connection import Connection
from qframe.errors import InputError, QframeError, UploadError, UploadInterrupted, WorkerDied
from qframe.pool import Kind, ParallelWorkerPool, check_workers
from qframe.progress import Called, Display, ProgressEvent, Tally
from qframe.report import BatchResult, Status, points_by_status, to_frame
from qframe.retry import Gate, Retry
from qframe.uploaders.base import BaseUploader, bare
from qframe.write import WriteOptions

log = logging.getLogger("qframe")

WORKERS = 2
"""Workers for a server: while one waits for its answer, another encodes."""

DRAIN_SECONDS = 2.0
"""How long a stopped upload waits for the answers of requests in flight."""

Order = Literal["unordered", "semi-ordered", "ordered"]


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Makes the uploader of each worker; picklable."""

    connection: Connection
    collection: str
    write: WriteOptions
    retry: Retry
    gate: Gate

    def __call__(self, number: int) -> StoppingWorker:
        uploader = self.connection.uploader(
            self.collection, write=self.write, retry=self.retry, gate=self.gate, worker=number
        )
        return StoppingWorker(uploader, self.gate)


class StoppingWorker:
    """An uploader that ends the waits and requests of all others after a fatal error.

    The worker itself does it: until its result is collected, it would have sent another batch.
    """

    def __init__(self, uploader: BaseUploader[Any], gate: Gate) -> None:
        self._uploader = uploader
        self._gate = gate

    def __call__(self, batch: Batch) -> BatchResult:
        result = self._uploader(batch)
        if result.error is not None and result.error.fatal:
            self._gate.abandon()
        return result

    def close(self) -> None:
        self._uploader.close()


class Sending:
    """Sends batches to one collection through a pool of workers.

    Parameters
    ----------
    connection : Connection
    collection : str
    write : WriteOptions
    retry : Retry
    workers : int or None
    worker_kind : {"thread", "process"}
    order : {"unordered", "semi-ordered", "ordered"}
    """

    def __init__(
        self,
        connection: Connection,
        collection: str,
        write: WriteOptions,
        retry: Retry,
        workers: int | None,
        worker_kind: Kind,
        order: Order,
    ) -> None:
        check_choice("order", order, ("unordered", "semi-ordered", "ordered"))
        check_workers(WORKERS if workers is None else workers, worker_kind)
        self._connection = connection
        self._collection = collection
        self._gate = Gate()
        self._kind = worker_kind
        self._workers = WORKERS if workers is None else int(workers)
        if connection.transport == "embedded":
            # More writers are slower (1: 34-38k points/s, 2: 25-28k), and a store has one process.
            self._kind, self._workers = "thread", 1
        if order == "ordered":
            self._workers = 1
        self._start = Start(connection, collection, write, retry, self._gate)

    def run(
        self,
        batches: Iterator[Batch],
        display: Display,
        *,
        points: int | None = None,
        rows: int | None = None,
    ) -> Run:
        """Send batches until they end, an error makes going on pointless, or the user stops.

        Parameters
        ----------
        batches : iterator of Batch
            What is not drawn from it after a fatal error is reported as `unsent`.
        display : Display
        points, rows : int or None
            Points in all, and rows of their frame; None for a stream, whose end nobody knows.

        Returns
        -------
        Run
        """
        run = Run(self._collection, self._connection)
        tally = Tally(self._collection, self._connection.target, points)
        pending: dict[int, BatchResult] = {}
        stopped = False

        def feed() -> Iterator[Batch]:
            while not stopped:
                try:
                    batch = next(batches, None)
                except Exception as error:  # the source broke; what was drawn goes on
                    run.cause = error
                    return
                if batch is None:
                    return
                pending[batch.number] = outline(batch)
                yield batch

        def take(result: BatchResult) -> ProgressEvent:
            run.results.append(result)  # first: an interrupt in between must not lose it
            pending.pop(result.batch, None)
            return tally.add(result)

        shown = Shown(display)
        try:
            with ParallelWorkerPool(self._workers, self._start, self._kind, failed=lost) as pool:
                try:
                    for result in pool.unordered_map(feed()):
                        shown.update(take(result))
                        if result.error is not None and result.error.fatal:
                            stopped = True
                            self._gate.abandon()
                except BaseException as error:
                    run.cause = error
                    self._gate.abandon()
                    self._settle(pool, run, pending, take)
                    pool.close(timeout=0)
        finally:
            run.seconds = tally.seconds()
            if points is not None and rows is not None:
                for result in self._rest(run, batches, points, rows):
                    take(result)
            shown.close(tally.last(stopped=run.cause is not None or stopped))
        if isinstance(display, Called):  # a mistake of the caller's own; others are only logged
            run.display_error = shown.error
        return run

    @staticmethod
    def _rest(run: Run, batches: Iterator[Batch], points: int, rows: int) -> Iterator[BatchResult]:
        """Yield what of a frame was not drawn when the upload ended, as unsent."""
        if run.cause is None:
            yield from map(outline, batches)
            return
        # After an interrupt nobody waits until the rest is cut into batches: it is one row.
        left = points - sum(result.points for result in run.results)
        if left:
            number = max((result.batch + 1 for result in run.results), default=0)
            reached = max((result.stop for result in run.results), default=0)
            yield BatchResult(number, reached, rows, left, Status.UNSENT)

    @staticmethod
    def _settle(
        pool: ParallelWorkerPool[Batch, BatchResult],
        run: Run,
        pending: dict[int, BatchResult],
        take: Callable[[BatchResult], object],
    ) -> None:
        """Collect what is in flight; what gives no answer in time is unknown."""
        try:
            for _, result in pool.drain(DRAIN_SECONDS):
                take(result)
        except KeyboardInterrupt as again:  # pressed once more: nobody waits any longer
            run.cause = again
        known = {result.batch for result in run.results}
        for number in sorted(pending.keys() - known):
            status = Status.UNSENT if number in pool.taken_back else Status.UNKNOWN
            take(dataclasses.replace(pending[number], status=status))


def outline(batch: Batch) -> BatchResult:
    """Return the result of a batch that was not sent."""
    return BatchResult(batch.number, batch.start, batch.stop, len(batch), Status.UNSENT)


def lost(batch: Batch, error: BaseException) -> BatchResult:
    """Return the result of a batch whose worker died, or could not even be made."""
    status = Status.UNKNOWN if isinstance(error, WorkerDied) else Status.FAILED
    return dataclasses.replace(outline(batch), status=status, error=bare(error))


class Shown:
    """A display whose own errors cost the upload nothing; the first is kept."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self.error: Exception | None = None

    def update(self, event: ProgressEvent) -> None:
        """Show one more result, as long as the display works."""
        self._show(self._display.update, event)

    def close(self, event: ProgressEvent) -> None:
        """Show how it ended."""
        self._show(self._display.close, event)

    def _show(self, draw: Callable[[ProgressEvent], None], event: ProgressEvent) -> None:
        if self.error is None:
            try:
                draw(event)
            except Exception as error:
                self.error = error
                log.warning("the progress display failed, the upload goes on", exc_info=error)


@dataclasses.dataclass(slots=True)
class Run:
    """What came out of sending.

    Attributes
    ----------
    collection : str
    connection : Connection
    results : list of BatchResult
        One a batch.
    seconds : float
    cause : BaseException or None
        What ended it early.
    blamed : InputError or None
        What was wrong with the input, though the rest went on.
    display_error : Exception or None
        What the progress display, or the caller's own function, ended with.
    """

    collection: str
    connection: Connection
    results: list[BatchResult] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    cause: BaseException | None = None
    blamed: InputError | None = None
    display_error: Exception | None = None

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
        summary = {
            "collection": self.collection,
            "target": self.connection.target,
            "transport": self.connection.transport,
            "created": created,
            "rows": rows,
            "points": counts,
            "seconds": self.seconds,
            "points_per_s": arrived / self.seconds if self.seconds else 0.0,
            "bytes": sum(result.bytes for result in self.results),
            "retries": sum(result.retries for result in self.results),
            "throttled_s": sum(result.throttled_s for result in self.results),
            "skipped": skipped,
        }
        report = to_frame(self.results, summary)
        if isinstance(self.cause, KeyboardInterrupt):
            raise UploadInterrupted(self._stopped(counts), report) from None
        if self.cause is not None:
            nothing_sent = not any(result.attempts for result in self.results)
            if not isinstance(self.cause, Exception) or (
                nothing_sent and isinstance(self.cause, QframeError)
            ):
                raise self.cause
            raise UploadError(self._complaint(counts, self.cause), report) from self.cause
        failures = [result for result in self.results if result.error is not None]
        first = min(failures, key=lambda result: result.batch, default=None)
        error = (self.blamed or self.display_error) if first is None else first.error
        if on_error == "raise" and (error or arrived < sum(counts.values())):
            raise UploadError(self._complaint(counts, error, first), report) from error
        return report

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
        return "\n".join(lines)

    def _stopped(self, counts: dict[str, int]) -> str:
        found = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
        return (
            f"stopped: {found or 'no'} points in {self.collection!r} at {self.connection.target}; "
            "the error's report has a row a batch (in a notebook: sys.last_value.report)"
        )
