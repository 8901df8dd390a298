"""What all uploaders share: encode a batch once, send it until `Retry` says enough."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from qframe.batches import Batch, Limits
from qframe.encoding.base import Measure
from qframe.errors import QframeError, RateLimited, UnexpectedError
from qframe.mapping.stream import RecordStream
from qframe.points import PointBlock
from qframe.report import BatchResult, Status
from qframe.retry import Gate, Retry
from qframe.write import WriteOptions

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to a write.

    Attributes
    ----------
    status : Status
        `APPLIED` only where the server said ``completed``. ``wait_timeout`` is `ACKNOWLEDGED`: the
        write is queued, and was not seen to be applied.
    operation_id : int or None
    """

    status: Status
    operation_id: int | None = None


class BaseUploader(ABC, Generic[Body]):
    """Sends batches to one collection; a worker of the pool, or used by itself.

    Not thread-safe: each worker has its own.

    Parameters
    ----------
    collection : str
    write : WriteOptions
    retry : Retry, int or None
    gate : Gate, optional
        Shared with the other workers of an upload.
    worker : int, optional
        Number of the worker, for the report.

    Attributes
    ----------
    measure : Measure
        Upper bounds of its encoding, for cutting batches.
    """

    measure: ClassVar[Measure]

    def __init__(
        self,
        collection: str,
        *,
        write: WriteOptions,
        retry: Retry | int | None = None,
        gate: Gate | None = None,
        worker: int | None = None,
    ) -> None:
        self.collection = collection
        self.write = write
        self.retry = Retry.of(retry)
        self.gate = gate or Gate()
        self.worker = worker

    @abstractmethod
    def encode(self, block: PointBlock) -> Body:
        """Turn points into what `send` takes; done once a batch, however often it is sent."""

    @abstractmethod
    def size(self, body: Body) -> int:
        """Count the bytes of an encoded body."""

    @abstractmethod
    def send(self, body: Body) -> Answer:
        """Make one request.

        Raises
        ------
        TransportError
            Every error of the transport, translated.
        CollectionNotFound
            Where there is no such collection any more.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back sockets and handles."""

    def cancel(self) -> None:
        """Break the request that another thread is waiting in, where that can be done.

        That request ends at once with `ConnectionLost`, and so does every later one.
        """
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, batch: Batch) -> BatchResult:
        """Upload one batch; what becomes of it stands in the result, and is never raised."""
        result = BatchResult(
            batch.number, batch.start, batch.stop, len(batch), Status.UNSENT, worker=self.worker
        )
        began = time.perf_counter()
        try:
            body = self.encode(batch.block())
        except Exception as error:
            return replace(result, status=Status.FAILED, error=bare(error))
        encode_s = time.perf_counter() - began
        return self._deliver(body, replace(result, encode_s=encode_s, bytes=self.size(body)))

    def _deliver(self, body: Body, result: BatchResult) -> BatchResult:
        """Send until there is an answer, or `Retry` or the gate says that it is enough."""
        first_sent = time.perf_counter()
        doubtful = False  # an attempt got no answer: it may have been applied
        tries = 0
        passed = self.gate.passed
        while True:
            throttled_s = result.throttled_s + self.gate.pass_through()
            result = replace(result, throttled_s=throttled_s)
            if self.gate.abandoned:
                return result
            attempts = result.attempts + 1
            result = replace(result, attempts=attempts, retries=attempts - 1)
            began = time.perf_counter()
            try:
                answer = self.send(body)
            except Exception as error:
                failure = bare(error)
            else:
                self.gate.advance()
                send_s = result.send_s + time.perf_counter() - began
                return replace(
                    result,
                    status=answer.status,
                    send_s=send_s,
                    operation_id=answer.operation_id,
                    error=None,
                )
            doubtful = doubtful or not failure.answered
            result = replace(
                result,
                status=Status.UNKNOWN if doubtful else Status.FAILED,
                send_s=result.send_s + time.perf_counter() - began,
                error=failure,
            )
            tries += 1
            if isinstance(failure, RateLimited) and self.gate.passed > passed:
                # The server takes batches, just not this one yet: the patience with it starts anew.
                passed, tries, first_sent = self.gate.passed, 1, time.perf_counter()
            seconds = self.retry.wait(failure, tries, time.perf_counter() - first_sent)
            if seconds is None:
                return result
            if isinstance(failure, RateLimited):
                self.gate.hold(seconds)
            else:
                self.gate.pause(seconds)

    def process(self, batches: Iterable[Batch]) -> Iterator[BatchResult]:
        """Upload batches one after another, lazily."""
        return map(self, batches)

    def upload_points(
        self, records: Iterable[Any], *, limits: Limits | None = None
    ) -> Iterator[BatchResult]:
        """Upload records to the collection, which must exist, lazily and in order.

        Parameters
        ----------
        records : iterable
            Mappings or objects with ``id``, ``vector`` and ``payload``.
        limits : Limits, optional
            Of a batch.

        Yields
        ------
        BatchResult
            One a batch; what became of it stands in its status, and is not raised.

        Raises
        ------
        InputError
            After the last batch, when records were set aside because they cannot become points.
        """
        stream = RecordStream(records, self.measure.widths, limits or Limits())
        yield from self.process(stream.batches())
        complaint = stream.complaint()
        if complaint is not None:
            raise complaint


def bare(error: BaseException) -> QframeError:
    """Return an error as a result can keep it: one of ours, without its tracebacks.

    A traceback holds the frames that it went through, and these the body of the batch: the results
    of failed batches would keep all their bytes in memory.
    """
    ours = error
    if not isinstance(error, QframeError):
        ours = UnexpectedError(f"{type(error).__name__}: {error}")
        ours.__cause__ = error
    assert isinstance(ours, QframeError)
    seen: set[int] = set()
    chain: list[BaseException | None] = [ours]
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            chain += [link.__cause__, link.__context__]
    return ours
