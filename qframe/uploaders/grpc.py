"""Uploading over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from qframe._wire import messages as wire
from qframe.encoding.protobuf import MEASURE, encode_options, encode_points
from qframe.errors import InvalidAnswer, ServerError
from qframe.gate import Gate
from qframe.points import PointBlock
from qframe.report import Status
from qframe.retry import Retry
from qframe.transports.grpc import GrpcChannel
from qframe.uploaders.base import BaseUploader
from qframe.uploaders.delivery import Answer
from qframe.write import ShardKey, WriteOptions

STATUSES = {
    wire.Completed: Status.APPLIED,
    wire.Acknowledged: Status.ACKNOWLEDGED,
    wire.WaitTimeout: Status.ACKNOWLEDGED,
}

GRACE = 5.0
"""Seconds that the client waits longer than a waiting write does in the server, so that it hears
``WaitTimeout`` instead of giving up at the same moment."""


class GrpcBatchUploader(BaseUploader[bytes]):
    """Sends batches to one collection over gRPC, on a connection of its own.

    Parameters
    ----------
    host : str
    port : int
    collection : str
    tls : bool, default False
    api_key : str, optional
        Shown nowhere.
    headers : mapping of str to str, optional
        Further metadata.
    verify : bool or str, default True
        True, or the file of the authority to trust.
    write : WriteOptions
    retry : Retry, int or None
    gate : Gate, optional
    worker : int, optional
        The last three as in `BaseUploader`.
    """

    measure = MEASURE

    def __init__(
        self,
        host: str,
        port: int,
        collection: str,
        *,
        tls: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
        write: WriteOptions,
        retry: Retry | int | None = None,
        gate: Gate | None = None,
        worker: int | None = None,
    ) -> None:
        super().__init__(collection, write=write, retry=retry, gate=gate, worker=worker)
        self._options = encode_options(collection, write)
        self._channel = GrpcChannel(
            host,
            port,
            tls=tls,
            api_key=api_key,
            headers=headers,
            timeout=write.timeout + (GRACE if write.wait else 0.0),
            verify=verify,
        )

    @classmethod
    def start(
        cls,
        host: str = "localhost",
        port: int = 6334,
        *,
        collection: str,
        tls: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
        retry: Retry | int | None = None,
        wait: bool = False,
        ordering: str | None = None,
        timeout: float = 60,
        shard_key: ShardKey | None = None,
        update_mode: str | None = None,
        update_filter: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start an uploader by itself, without an upload around it.

        Parameters
        ----------
        host : str, default "localhost"
        port : int, default 6334
        collection : str
        tls : bool, default False
        api_key : str, optional
        headers : mapping of str to str, optional
        verify : bool or str, default True
        retry : Retry, int or None
            A number is that of retries; None is the default policy.
        wait : bool, default False
            Whether the server answers only when the points are applied.
        ordering : {"weak", "medium", "strong"}, optional
            None is the server's default, weak.
        timeout : float, default 60
            Seconds that a request may take.
        shard_key : str, int or list of them, optional
            For collections with custom sharding.
        update_mode : {"upsert", "insert_only", "update_only"}, optional
            None is upsert. Needs Qdrant 1.17.
        update_filter : mapping, optional
            Existing points are changed only where this filter, in the form of the REST API,
            matches. Needs Qdrant 1.16.

        Returns
        -------
        GrpcBatchUploader

        Examples
        --------
        >>> uploader = GrpcBatchUploader.start(collection="articles", wait=True)
        >>> uploader.close()
        """
        write = WriteOptions(
            wait=wait,
            ordering=ordering,
            timeout=timeout,
            shard_key=shard_key,
            update_mode=update_mode,
            update_filter=update_filter,
        )
        return cls(
            host,
            port,
            collection,
            tls=tls,
            api_key=api_key,
            headers=headers,
            verify=verify,
            write=write,
            retry=retry,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._channel.target!r}, {self.collection!r})"

    def encode(self, block: PointBlock) -> bytes:
        """Turn points into a whole request."""
        return encode_points(block, self._options)

    def size(self, body: bytes) -> int:
        """Count the bytes of a request."""
        return len(body)

    def send(self, body: bytes) -> Answer:
        """Make one request.

        Raises
        ------
        TransportError, CollectionError
            Every error, translated.
        """
        reply = self._channel.call("/qdrant.Points/Upsert", body, wire.PointsOperationResponse)
        result = reply.result
        if result.status == wire.ClockRejected:
            # The server repeats such a write by itself and reports a failure instead, so this is
            # not expected; nothing was written.
            raise ServerError(f"{self._channel.target} rejected the write's clock")
        if result.status not in STATUSES:
            raise InvalidAnswer(
                f"{self._channel.target} answered with a status that is not known: {result.status}"
            )
        operation = result.operation_id if result.HasField("operation_id") else None
        return Answer(STATUSES[result.status], operation)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def cancel(self) -> None:
        """Break the request that another thread is waiting in, and refuse all later ones."""
        self._channel.cancel()
