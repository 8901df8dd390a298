"""Uploading into the embedded engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from qframe.errors import InputError
from qframe.gate import Gate
from qframe.points import PointBlock
from qframe.report import Status
from qframe.retry import Retry
from qframe.schema import VectorSchema
from qframe.transports.edge_handle import engine, guarded
from qframe.transports.embedded import Shard, open_shard
from qframe.transports.shard_files import ShardFiles
from qframe.uploaders.base import BaseUploader
from qframe.uploaders.delivery import Answer
from qframe.uploaders.edge_filters import edge_filter
from qframe.uploaders.edge_points import MEASURE, edge_points, vector_bytes
from qframe.write import ShardKey, WriteOptions

_MODES = {"upsert": "Upsert", "insert_only": "InsertOnly", "update_only": "UpdateOnly"}


@dataclass(frozen=True, slots=True)
class EdgeBody:
    """A batch as the engine takes it.

    Attributes
    ----------
    points : list of qdrant_edge.Point
        Checked against the collection.
    size : int
        Bytes of the vectors' numbers.
    """

    points: list[Any]
    size: int


def encode(block: PointBlock, vectors: Mapping[str, VectorSchema]) -> EdgeBody:
    """Check points against the vectors of a collection and build the engine's objects."""
    points = guarded("the points cannot be made", lambda: edge_points(block, vectors))
    return EdgeBody(points, vector_bytes(block))


class EmbeddedBatchUploader(BaseUploader[EdgeBody]):
    """Sends batches into a collection of the embedded engine.

    The collection is opened with the first batch and kept open until `close`. Several uploaders in
    one process share one handle and write in turns: a second one makes nothing faster.

    A batch is checked whole before anything of it is written, and what has been answered survives
    the death of the process. Within a batch, the last point of an id counts.

    Parameters
    ----------
    folder : str or path
    collection : str
        One that exists.
    write : WriteOptions
        `wait`, `ordering` and `timeout` mean nothing here: every write is applied when it
        returns, one after another.
    retry : Retry, int or None
    gate : Gate, optional
    worker : int, optional

    Raises
    ------
    InputError
        For a shard key, a filter that cannot be read, and what is no folder.
    """

    measure = MEASURE

    def __init__(
        self,
        folder: str | os.PathLike[str],
        collection: str,
        *,
        write: WriteOptions,
        retry: Retry | int | None = None,
        gate: Gate | None = None,
        worker: int | None = None,
    ) -> None:
        super().__init__(collection, write=write, retry=retry, gate=gate, worker=worker)
        if write.shard_key is not None:
            raise InputError(f"shard_key={write.shard_key!r}: an embedded collection has no shards")
        ShardFiles.at(folder, collection)
        self.folder = os.fspath(folder)
        self._condition = None if write.update_filter is None else edge_filter(write.update_filter)
        self._mode = (
            None
            if write.update_mode is None
            else getattr(engine().UpdateMode, _MODES[write.update_mode])
        )
        self._shard: Shard | None = None

    @classmethod
    def start(
        cls,
        path: str | os.PathLike[str] = "qdrant_data",
        *,
        collection: str,
        retry: Retry | int | None = None,
        wait: bool = False,
        ordering: str | None = None,
        timeout: float = 60,
        shard_key: ShardKey | None = None,
        update_mode: str | None = None,
        update_filter: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start an uploader by itself.

        Parameters
        ----------
        path : str or path, default "qdrant_data"
            The folder.
        collection : str
        retry : Retry, int or None
        wait, ordering, timeout
            Accepted and without meaning, see the class.
        shard_key
            An error, see the class.
        update_mode : {"upsert", "insert_only", "update_only"} or None
        update_filter : mapping or None
            In the form of the REST API.

        Returns
        -------
        EmbeddedBatchUploader
            To be closed by the caller, or used in a ``with`` statement.
        """
        write = WriteOptions(
            wait=wait,
            ordering=ordering,
            timeout=timeout,
            shard_key=shard_key,
            update_mode=update_mode,
            update_filter=update_filter,
        )
        return cls(path, collection, write=write, retry=retry)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder!r}, {self.collection!r})"

    def encode(self, block: PointBlock) -> EdgeBody:
        """Check the points against the collection and build the engine's objects.

        Raises
        ------
        InvalidRequest
            Where one of them does not fit.
        CollectionNotFound, StoreLocked, EngineError
            Where the collection cannot be opened, or the engine does not make the points.
        """
        return encode(block, self._open().schema.vectors)

    def size(self, body: EdgeBody) -> int:
        """Count the bytes of the vectors' numbers."""
        return body.size

    def send(self, body: EdgeBody) -> Answer:
        """Write the points.

        Raises
        ------
        InsufficientStorage
            With too little space on the disk.
        CollectionNotFound
            When this process has deleted the collection meanwhile.
        EngineError
            For everything else.
        """
        self._open().upsert(body.points, size=body.size, condition=self._condition, mode=self._mode)
        return Answer(Status.APPLIED)

    def close(self) -> None:
        """Leave the collection; the last one to leave flushes and unlocks it."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def _open(self) -> Shard:
        if self._shard is None:
            self._shard = open_shard(self.folder, self.collection)
        self._shard.check()
        return self._shard
