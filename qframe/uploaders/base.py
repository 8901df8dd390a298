"""What all uploaders share: points become a body, and a body one request."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from qframe.activity import Activity
from qframe.batches import Batch, Limits
from qframe.encoding.base import Measure
from qframe.gate import Gate
from qframe.mapping.stream import RecordStream
from qframe.points import PointBlock
from qframe.report import BatchResult
from qframe.retry import Retry
from qframe.uploaders.delivery import Answer, Delivery, Encode, Encoded, Send
from qframe.uploaders.lessons import Lessons
from qframe.write import WriteOptions

Body = TypeVar("Body")


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
        self._lessons = Lessons()
        self._activity = Activity()

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
        """Upload one batch as a whole; what becomes of it stands in the result, never raised."""
        (result,) = self._delivery(batch, replace(self.retry, splits=0)).run(UploadWorker(self))
        return result

    def _delivery(self, batch: Batch, retry: Retry) -> Delivery:
        return Delivery(batch, retry, self.gate, self._lessons, self._activity)

    def process(self, batches: Iterable[Batch]) -> Iterator[BatchResult]:
        """Upload batches one after another, lazily; one that is refused in part gives several."""
        worker = UploadWorker(self)
        for batch in batches:
            yield from self._delivery(batch, self.retry).run(worker)

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


class UploadWorker:
    """An uploader as the pool calls it: told to encode points, then to send them, perhaps again.

    The points may be views on memory that the next message overwrites; what is kept is their body.

    Parameters
    ----------
    uploader : BaseUploader
        Closed with this worker.
    """

    def __init__(self, uploader: BaseUploader[Any]) -> None:
        _keep_freed_memory()
        self._uploader = uploader
        self._body: Any = None

    def __call__(self, message: Encode | Send) -> Encoded | Answer:
        if isinstance(message, Send):
            return self._uploader.send(self._body)
        self._body = None  # before the next one is made: only one is in memory at a time
        self._body = self._uploader.encode(message.block)
        return Encoded(self._uploader.size(self._body), self._uploader.worker)

    def cancel(self) -> None:
        """Break the request that is under way, from another thread."""
        self._uploader.cancel()

    def close(self) -> None:
        """Give back what the uploader holds."""
        self._uploader.close()


@functools.cache
def _keep_freed_memory() -> None:
    """Have memory reused for the next body, instead of going back to the system after each one.

    Memory that is new from the system costs a page fault for every 4 KiB. glibc keeps twice as much
    of what was freed as the largest piece that it ever mapped by itself and got back, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD); this is such a piece. 1,000 points of 1,536 numbers over gRPC go
    from 3,100 page faults to less than 10, and from 13 µs of CPU time a point to 5.7. Other systems
    take no notice.
    """
    # No page of it is touched: the zeros of `bytes` are those of new memory, 0.04 ms. A `bytearray`
    # writes its own, with 8,177 page faults in 20 ms.
    bytes((32 << 20) - (64 << 10))
