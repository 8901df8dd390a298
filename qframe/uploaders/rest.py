"""Uploading over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from qframe.address import parse_url
from qframe.encoding.json import MEASURE, encode_body
from qframe.errors import InputError, InvalidAnswer, ServerError
from qframe.gate import Gate
from qframe.points import PointBlock
from qframe.report import Status
from qframe.retry import Retry
from qframe.transports.rest import RestSession, quoted
from qframe.uploaders.base import BaseUploader
from qframe.uploaders.delivery import Answer
from qframe.write import ShardKey, WriteOptions

STATUSES = {
    "completed": Status.APPLIED,
    "acknowledged": Status.ACKNOWLEDGED,
    "wait_timeout": Status.ACKNOWLEDGED,
}

GRACE = 5.0
"""Seconds that the client waits longer than a waiting write does in the server, so that it hears
``wait_timeout`` instead of giving up at the same moment."""


class RestBatchUploader(BaseUploader[bytes]):
    """Sends batches to one collection over REST, on a connection that is kept alive.

    Parameters
    ----------
    uri : str
        Base URL, with port.
    collection : str
    api_key : str, optional
        Shown nowhere.
    headers : mapping of str to str, optional
    verify : bool or str, default True
        Whether certificates are checked, or the file of the authority to trust.
    write : WriteOptions
    retry : Retry, int or None
    gate : Gate, optional
    worker : int, optional
        The last three as in `BaseUploader`.
    """

    measure = MEASURE

    def __init__(
        self,
        uri: str,
        collection: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
        write: WriteOptions,
        retry: Retry | int | None = None,
        gate: Gate | None = None,
        worker: int | None = None,
    ) -> None:
        super().__init__(collection, write=write, retry=retry, gate=gate, worker=worker)
        self._path = ("collections", collection, "points")
        quoted(self._path)
        self._query: dict[str, str | int] = {"wait": "true" if write.wait else "false"}
        if write.ordering is not None:
            self._query["ordering"] = write.ordering
        if write.server_timeout is not None:
            self._query["timeout"] = write.server_timeout
        self._session = RestSession(
            uri,
            api_key=api_key,
            headers=headers,
            timeout=write.timeout + GRACE if write.wait else write.timeout,
            verify=verify,
        )

    @classmethod
    def start(
        cls,
        uri: str = "http://localhost:6333",
        *,
        collection: str,
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
        """Make an uploader that is used by itself. Nothing is opened or sent yet.

        Parameters
        ----------
        uri : str, default "http://localhost:6333"
        collection : str
        api_key : str, optional
        headers : mapping of str to str, optional
        verify : bool or str, default True
            The last three as in `qframe.connect`.
        retry : Retry, int or None
            A policy, a number of retries, or None for the default.
        wait : bool, default False
        ordering : {"weak", "medium", "strong"}, optional
        timeout : float, default 60
            Seconds that a request may take.
        shard_key : str, int or list of them, optional
        update_mode : {"upsert", "insert_only", "update_only"}, optional
        update_filter : mapping, optional
            The last six as in `WriteOptions`.

        Returns
        -------
        RestBatchUploader

        Raises
        ------
        InputError
            For a URL or an option that cannot work.

        Examples
        --------
        >>> with RestBatchUploader.start(collection="articles", wait=True) as uploader:
        ...     uploader
        RestBatchUploader('http://localhost:6333', 'articles')
        """
        address = parse_url(uri)
        if address.transport != "rest":
            raise InputError(f"{address.url} is no URL for REST: 'http://localhost:6333' is one")
        return cls(
            address.url,
            collection,
            api_key=api_key,
            headers=headers,
            verify=verify,
            write=WriteOptions(
                wait=wait,
                ordering=ordering,
                timeout=timeout,
                shard_key=shard_key,
                update_mode=update_mode,
                update_filter=update_filter,
            ),
            retry=retry,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._session.uri!r}, {self.collection!r})"

    def encode(self, block: PointBlock) -> bytes:
        """Turn points into the body of a request."""
        return encode_body(block, self.write)

    def size(self, body: bytes) -> int:
        """Count the bytes of an encoded body."""
        return len(body)

    def send(self, body: bytes) -> Answer:
        """Make one request.

        Raises
        ------
        TransportError
            Every error of the transport, translated.
        CollectionNotFound
        """
        result = self._session.request("PUT", self._path, query=self._query, body=body)
        said = result.get("status") if isinstance(result, dict) else None
        if not isinstance(said, str):
            raise InvalidAnswer(f"{self._session.uri} does not say what became of the points")
        status = STATUSES.get(said)
        if status is None:
            # `clock_rejected` is a node's own affair, which it repeats three times before this.
            raise ServerError(f"the server did not carry out the write, its status is {said!r}")
        operation = result.get("operation_id")
        return Answer(status, operation if isinstance(operation, int) else None)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def cancel(self) -> None:
        """Break the request that another thread is waiting in, and refuse all later ones."""
        self._session.cancel()
