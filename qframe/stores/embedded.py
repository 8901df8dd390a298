"""Collections of the embedded engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import numpy as np

from qframe.errors import CollectionNotFound, InputError, QframeError
from qframe.points import VectorKind
from qframe.schema import CollectionInfo, CollectionSchema, VectorSchema, plain_settings
from qframe.stores.base import Page, PointId, Store, StoredPoint, StoredVector
from qframe.stores.edge_config import edge_config
from qframe.transports.edge_handle import engine
from qframe.transports.embedded import Shard, create_shard, delete_shard, open_shard
from qframe.transports.shard_files import ShardFiles
from qframe.write import ShardKey

T = TypeVar("T")


class EmbeddedStore(Store):
    """The collections in a folder.

    A collection is opened when it is first needed, and kept open until `close`: so no other process
    can use it meanwhile, while this process may have any number of stores and uploaders on it.

    Parameters
    ----------
    folder : str or path
        Made with the first collection.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._shards: dict[str, Shard] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder!r})"

    def version(self) -> None:
        """Return None: nothing depends on the engine's version."""
        return None

    def describe(self, collection: str) -> CollectionInfo | None:
        """Describe a collection; None when there is none of this name."""
        if ShardFiles.at(self.folder, collection).read() is None:
            return None
        try:
            points = self.count(collection)
            return CollectionInfo(collection, dict(self._shard(collection).schema.vectors), points)
        except CollectionNotFound:
            return None

    def check(self, collection: str, schema: CollectionSchema) -> None:
        """Raise what `create` would raise before anything is made."""
        plain = _plain(schema)
        edge_config(plain)
        ShardFiles.at(self.folder, collection).check_free(plain)

    def create(self, collection: str, schema: CollectionSchema) -> None:
        """Create a collection, on the disk when this returns, and open for nobody else.

        Raises
        ------
        CollectionExists
            Where one of this name is there already.
        InputError
            For settings that only a server has, and for names that the disk cannot hold.
        """
        plain = _plain(schema)
        create_shard(self.folder, collection, plain, edge_config(plain))
        self._shard(collection)

    def delete(self, collection: str) -> None:
        """Delete a collection with all its points; one that is missing is no error.

        Whoever else in this process has it open gets `CollectionNotFound` from then on.

        Raises
        ------
        StoreLocked
            Where another process has it open.
        """
        delete_shard(self.folder, collection)
        self._leave(collection)

    def count(self, collection: str, ids: Sequence[PointId] | None = None) -> int:
        """Count the points exactly; with `ids`, those of them that are there."""
        if ids is not None:
            return len(self.retrieve(collection, ids, with_vectors=False))
        request = engine().CountRequest(exact=True)
        return int(self._call(collection, "count", lambda handle: handle.count(request)))

    def settle(self, collection: str, seconds: float, *, shard_key: ShardKey | None = None) -> bool:
        """Return True: every write is applied when it returns."""
        return True

    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, with_vectors: bool
    ) -> list[StoredPoint]:
        """Read these points, those that exist, in any order."""
        wanted = [_point_id(value) for value in ids]
        records = self._call(
            collection, "retrieve", lambda handle: handle.retrieve(wanted, True, with_vectors)
        )
        vectors = self._shard(collection).schema.vectors
        return [_stored_point(record, vectors) for record in records]

    def scroll(
        self,
        collection: str,
        *,
        limit: int,
        offset: PointId | None,
        with_vectors: bool,
        with_payload: bool = True,
    ) -> Page:
        """Read a page of points in the order of their ids, numbers before UUIDs."""
        _check_limit(limit)
        request = engine().ScrollRequest(
            limit=limit,
            offset=None if offset is None else _point_id(offset),
            with_payload=with_payload,
            with_vector=with_vectors,
        )
        records, following = self._call(collection, "scroll", lambda handle: handle.scroll(request))
        vectors = self._shard(collection).schema.vectors
        return Page(
            [_stored_point(record, vectors) for record in records],
            None if following is None else _plain_id(following),
        )

    def search(
        self,
        collection: str,
        vector: StoredVector,
        *,
        limit: int,
        using: str,
        with_vectors: bool,
    ) -> list[StoredPoint]:
        """Find the nearest points, the best first.

        Exact: it compares with every point (44 to 58 ms at 200,000 x 384), since nothing builds the
        engine's index.

        Raises
        ------
        InputError
            Where the vector does not fit the collection's vector `using`.
        """
        _check_limit(limit)
        vectors = self._shard(collection).schema.vectors
        edge = engine()
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(_query(vector, using, vectors), using=using or None),
            with_payload=True,
            with_vector=with_vectors,
        )
        found = self._call(collection, "search", lambda handle: handle.query(request))
        return [_stored_point(record, vectors, float(record.score)) for record in found]

    def close(self) -> None:
        """Flush and unlock what this store opened, unless others in this process have it open."""
        for collection in list(self._shards):
            self._leave(collection)

    def _call(self, collection: str, doing: str, action: Callable[[Any], T]) -> T:
        return self._shard(collection).call(doing, action)

    def _shard(self, collection: str) -> Shard:
        shard = self._shards.get(collection)
        if shard is not None:
            try:
                shard.check()
                return shard
            except QframeError:
                # Deleted and made anew, or ended by a panic or a fork: opening tells.
                self._leave(collection)
        shard = self._shards[collection] = open_shard(self.folder, collection)
        return shard

    def _leave(self, collection: str) -> None:
        shard = self._shards.pop(collection, None)
        if shard is not None:
            shard.close()


def _plain(schema: CollectionSchema) -> CollectionSchema:
    """Return a schema whose settings are of JSON's types."""
    vectors = {
        name: VectorSchema(one.kind, one.size, one.distance, plain_settings(one.settings))
        for name, one in schema.vectors.items()
    }
    return CollectionSchema(vectors, plain_settings(schema.settings))


def _check_limit(limit: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit={limit!r}: a number of points, at least 1")


def _point_id(value: PointId) -> int | str:
    """See that it is a point id: the engine would take True for 1."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if 0 <= value < 2**64:
            return int(value)
    elif isinstance(value, (str, UUID)):
        try:
            return str(UUID(str(value)))
        except ValueError:
            pass
    raise InputError(f"{value!r} is no point id: an int from 0 to 2**64 - 1, or a UUID")


def _plain_id(value: Any) -> PointId:
    return value if isinstance(value, int) else str(value)


def _stored_point(
    record: Any, vectors: Mapping[str, VectorSchema], score: float | None = None
) -> StoredPoint:
    raw = record.vector
    if raw is None:
        raw = {}
    elif not isinstance(raw, dict):
        raw = {"": raw}
    return StoredPoint(
        _plain_id(record.id),
        record.payload or {},
        {name: _stored_vector(raw[name]) for name in vectors if name in raw},
        score,
    )


def _stored_vector(value: Any) -> StoredVector:
    if isinstance(value, list):
        return np.array(value, dtype=np.float32)
    return np.array(value.indices, dtype=np.uint32), np.array(value.values, dtype=np.float32)


def _query(vector: StoredVector, using: str, vectors: Mapping[str, VectorSchema]) -> Any:
    """Check a query against the collection, since the engine answers a NaN with nothing."""
    schema = vectors.get(using)
    if schema is None:
        known = ", ".join(map(repr, vectors)) or "none"
        raise InputError(f"using={using!r}: the collection has no such vector; it has {known}")
    if schema.kind is VectorKind.SPARSE:
        if not isinstance(vector, tuple):
            raise InputError(f"using={using!r} is sparse: pass (indices, values)")
        indices, values = np.asarray(vector[0]), np.asarray(vector[1], dtype=np.float32)
        if indices.ndim != 1 or indices.shape != values.shape:
            raise InputError(f"using={using!r}: as many values as indices, each a 1-D array")
        if len(np.unique(indices)) < len(indices):
            raise InputError(f"using={using!r}: an index stands twice in the vector")
        if len(indices) and not (
            indices.dtype.kind in "ui" and indices.min() >= 0 and indices.max() < 2**32
        ):
            raise InputError(f"using={using!r}: indices are integers from 0 to 2**32 - 1")
        _check_finite(values, using)
        return engine().SparseVector(indices.tolist(), values.tolist())
    if isinstance(vector, tuple):
        raise InputError(f"using={using!r} is {schema.kind.value}: pass an array")
    values = np.asarray(vector, dtype=np.float32)
    if schema.kind is VectorKind.MULTI and values.ndim == 1:
        values = values[np.newaxis]
    wanted = 2 if schema.kind is VectorKind.MULTI else 1
    if values.ndim != wanted or not values.size or values.shape[-1] != schema.size:
        raise InputError(
            f"using={using!r}: a {schema.kind.value} vector of size {schema.size} is wanted, "
            f"and this array has the shape {values.shape}"
        )
    _check_finite(values, using)
    return values.tolist()


def _check_finite(values: Any, using: str) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"using={using!r}: the vector has NaN or infinity in it")
