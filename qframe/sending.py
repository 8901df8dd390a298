"""Sending batches through the pool, and collecting what became of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from qframe.activity import Activity, Stage
from qframe.arguments import check_choice
from qframe.batches import Batch, Extent
from qframe.connection import Connection
from qframe.errors import (
    DeadlinePassed,
    InputError,
)
from qframe.gate import Gate
from qframe.pool import TIME_LIMIT, Kind, ParallelWorkerPool, check_workers
from qframe.progress import CAUSES, At, Look
from qframe.report import BatchResult, Status
from qframe.retry import Retry
from qframe.run import Run, is_fatal
from qframe.uploaders.base import UploadWorker
from qframe.uploaders.delivery import Call, Delivery, bare, outline
from qframe.uploaders.lessons import Lessons
from qframe.watch import Watch
from qframe.write import WriteOptions

WORKERS = 2
"""Workers for a server: while one waits for its answer, another encodes."""

DRAIN_SECONDS = 0.7
"""How long a stopped upload waits for the answers of requests in flight."""

CLOSE_SECONDS = 0.2
"""How long it then waits for idle workers to end. What hangs is broken off, for which the pool
takes a second at the most: so whoever pressed stop waits for less than two."""

Order = Literal["unordered", "semi-ordered", "ordered"]


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Makes each worker, in its own process where it has one; picklable."""

    connection: Connection
    collection: str
    write: WriteOptions

    def __call__(self, number: int) -> UploadWorker:
        return UploadWorker(
            self.connection.uploader(self.collection, write=self.write, worker=number)
        )


Pool = ParallelWorkerPool[Batch, tuple[BatchResult, ...]]


class Sending:
    """Sends batches to one collection through a pool of workers.

    The workers encode and make requests. What follows from an answer is decided here, by one
    `Delivery` a batch, also for workers in other processes: so all share one gate, and a batch
    outlives its worker.

    Parameters
    ----------
    connection : Connection
    collection : str
    write : WriteOptions
    retry : Retry
        Its `deadline` runs from now.
    workers : int or None
    worker_kind : {"thread", "process"}
    order : {"unordered", "semi-ordered", "ordered"}
    batch_timeout : float or None
        Seconds that a worker may be at a batch.

    Attributes
    ----------
    workers : int
        How many there are.
    kind : {"thread", "process"}
        Where they run.
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
        batch_timeout: float | None = TIME_LIMIT,
    ) -> None:
        check_choice("order", order, ("unordered", "semi-ordered", "ordered"))
        check_workers(WORKERS if workers is None else workers, worker_kind)
        if batch_timeout is not None and not batch_timeout > 0:
            raise InputError(
                f"batch_timeout={batch_timeout!r}: seconds above 0, or None for no limit"
            )
        self._began = time.monotonic()
        self._connection = connection
        self._collection = collection
        self._retry = retry
        self.kind: Kind = worker_kind
        self.workers = WORKERS if workers is None else int(workers)
        if connection.transport == "embedded":
            # More writers are slower (1: 34-38k points/s, 2: 25-28k), and a store has one process.
            self.kind, self.workers = "thread", 1
        if order == "ordered":
            self.workers = 1
        self._time_limit = batch_timeout
        self._start = Start(connection, collection, write)
        self._gate = Gate(self.workers)
        self._lessons = Lessons()
        self._activity = Activity()
        self._deliveries: dict[int, Delivery] = {}
        self._pool: Pool | None = None

    @property
    def patience(self) -> float:
        """Seconds to wait for what the server does by itself, within the deadline."""
        deadline = self._retry.deadline
        if deadline is None:
            return self._retry.patience
        return min(self._retry.patience, max(0.0, self._began + deadline - time.monotonic()))

    def run(
        self,
        batches: Iterator[Batch],
        run: Run,
        watch: Watch,
        *,
        extent: Extent | None = None,
        record: Callable[[BatchResult], object] | None = None,
    ) -> None:
        """Send batches until they end, an error makes going on pointless, or the user stops.

        Parameters
        ----------
        batches : iterator of Batch
            What is not drawn from it after a fatal error is reported as `unsent`.
        run : Run
            Takes what comes of them.
        watch : Watch
        extent : Extent, optional
            What there is to send; None for a stream, whose end nobody knows.
        record : callable, optional
            Told of each result.
        """
        self._activity = Activity()
        run.clock = self._activity.seconds
        watch.begin(None if extent is None else extent.points, self._activity.seconds, self.look)
        pending: dict[int, Batch] = {}

        def feed() -> Iterator[Batch]:
            while True:
                try:
                    batch = next(batches, None)
                except Exception as error:  # the source broke; what was drawn goes on
                    run.cause = error
                    return
                if batch is None:
                    return
                pending[batch.number] = batch
                yield batch

        def take(results: Sequence[BatchResult]) -> None:
            run.results += results  # first: an interrupt in between must not lose them
            for result in results:
                pending.pop(result.batch, None)
                self._deliveries.pop(result.batch, None)
                if record is not None:
                    record(result)
                watch.count(result)

        def idle() -> None:
            self._check_deadline()
            watch.tick()

        fatal = False
        pool = self._pool = Pool(
            self.workers,
            self._start,
            self.kind,
            drive=self._deliver,
            failed=self._lost,
            time_limit=self._time_limit,
            idle=idle,
        )
        try:
            try:
                for results in pool.unordered_map(feed()):
                    take(results)
                    watch.tell()
                    fatal = any(is_fatal(result) for result in results)
                    if fatal:
                        break
                    idle()
            except BaseException as error:
                run.cause = error
            if run.cause is not None or fatal:
                self._settle(pool, run, pending, take)
        finally:
            self._gate.abandon()  # whoever still waits at it has been given up
            run.ended_early = run.cause is not None or fatal
            run.deaths = list(pool.deaths)
            with run.interruptible():  # once only: what hangs is left behind
                pool.close(timeout=CLOSE_SECONDS if run.ended_early else None)
            seconds = self._activity.seconds()
            run.clock = lambda: seconds
            if extent is not None:
                run.persist(lambda: take([*self._rest(run, batches, extent)]))

    def look(self) -> Look:
        """Tell what goes on at this moment; for another thread too."""
        ways = self._deliveries.copy()  # workers add to it meanwhile
        known = [result for delivery in ways.values() for result in delivery.so_far()]
        at = [
            At(worker)
            if batch is None or batch.number not in ways
            else At(worker, batch.number, ways[batch.number].step)
            for worker, batch in ([] if self._pool is None else self._pool.at_work())
        ]
        return Look(
            sum(one.step is not None and one.step.stage is Stage.SENDING for one in at),
            self._gate.opens_in,
            sum(result.retries for result in known),
            sum(result.throttled_s for result in known),
            tuple(at),
            tuple(self._activity.causes(CAUSES)),
            0 if self._pool is None else len(self._pool.deaths),
        )

    def _deliver(self, call: Call, batch: Batch) -> tuple[BatchResult, ...]:
        """Bring one batch in, in the thread of a worker; go on where another worker died."""
        delivery = self._deliveries.get(batch.number)
        if delivery is None:
            delivery = Delivery(batch, self._retry, self._gate, self._lessons, self._activity)
            self._deliveries[batch.number] = delivery
        results = delivery.run(call)
        if any(is_fatal(result) for result in results):
            # Here, for until the result is collected this worker would send another batch.
            self._gate.abandon()
        return results

    def _lost(self, batch: Batch, error: BaseException) -> tuple[BatchResult, ...]:
        """Return what is known of a batch that two workers died over, or that none could begin."""
        delivery = self._deliveries.get(batch.number)
        if delivery is None:
            delivery = Delivery(batch, self._retry, self._gate, self._lessons, self._activity)
        return delivery.give_up(bare(error))

    def _check_deadline(self) -> None:
        seconds = None if self._gate.abandoned else self._retry.deadline  # once is enough
        if seconds is not None and time.monotonic() - self._began > seconds:
            raise DeadlinePassed(
                f"the {seconds:g} s that the upload was given are over: "
                "qframe.Retry(deadline=…) gives it more"
            )

    def _settle(
        self,
        pool: Pool,
        run: Run,
        pending: dict[int, Batch],
        take: Callable[[Sequence[BatchResult]], object],
    ) -> None:
        """Stop all workers; collect what is in flight, and say of the rest what is known."""
        self._gate.abandon()
        with run.interruptible():  # pressed once more: nobody waits any longer
            for _, results in pool.drain(DRAIN_SECONDS):
                take(results)

        def tell() -> None:
            known = {result.batch for result in run.results}
            for number in sorted(pending.keys() - known):
                delivery = None if number in pool.taken_back else self._deliveries.get(number)
                take([outline(pending[number])] if delivery is None else delivery.give_up())

        run.persist(tell)

    @staticmethod
    def _rest(run: Run, batches: Iterator[Batch], extent: Extent) -> Iterator[BatchResult]:
        """Yield what of a frame was not drawn when the upload ended, as unsent."""
        if run.cause is None:
            yield from map(outline, batches)
            return
        # After an interrupt nobody waits until the rest is cut into batches.
        number = max((result.batch + 1 for result in run.results), default=0)
        reached = max((result.stop for result in run.results), default=0)
        for start, stop in extent.beyond(reached):
            points = extent.count(start, stop)
            if points:
                yield BatchResult(number, start, stop, points, Status.UNSENT)
                number += 1
