"""Collections over gRPC."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from qframe._wire import messages as wire
from qframe.encoding.settings import read_settings, write_settings
from qframe.encoding.values import read_id, read_struct, write_id
from qframe.errors import CollectionNotFound, InvalidAnswer
from qframe.points import VectorKind
from qframe.schema import strict_limits
from qframe.stores.base import (
    GRACE,
    CollectionInfo,
    CollectionSchema,
    Page,
    PointId,
    Store,
    StoredPoint,
    StoredVector,
    VectorSchema,
    nothing,
    settled,
    whole_seconds,
)
from qframe.transports.grpc import GrpcChannel
from qframe.write import ShardKey

_NO_SETTINGS = ("collection_name", "vectors_config", "sparse_vectors_config", "timeout")
"""Fields of CreateCollection that do not come from a schema's settings."""

_STATUSES: Mapping[int, str] = {
    wire.Green: "green",
    wire.Yellow: "yellow",
    wire.Red: "red",
    wire.Grey: "grey",
}


class GrpcStore(Store):
    """The collections of one server.

    Parameters
    ----------
    host : str
    port : int
    tls : bool, default False
    api_key : str, optional
        Shown nowhere.
    headers : mapping of str to str, optional
        Further metadata.
    timeout : float, default 60
        Seconds that a request may take.
    verify : bool or str, default True
        True, or the file of the authority to trust.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        verify: bool | str = True,
    ) -> None:
        self._channel = GrpcChannel(
            host,
            port,
            tls=tls,
            api_key=api_key,
            headers=headers,
            timeout=timeout,
            verify=verify,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._channel.target!r})"

    def version(self) -> tuple[int, int, int] | None:
        """Return the server's version.

        Raises
        ------
        InvalidAnswer
            Where something else than Qdrant answers.
        """
        reply = self._channel.call(
            "/qdrant.Qdrant/HealthCheck", wire.HealthCheckRequest(), wire.HealthCheckReply
        )
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", reply.version)
        if found is None:
            raise InvalidAnswer(
                f"{self._channel.target} does not look like Qdrant: it names no version"
            )
        major, minor, patch = map(int, found.groups())
        return major, minor, patch

    def describe(self, collection: str) -> CollectionInfo | None:
        """Describe a collection; None when there is none of this name."""
        try:
            reply = self._channel.call(
                "/qdrant.Collections/Get",
                wire.GetCollectionInfoRequest(collection_name=collection),
                wire.GetCollectionInfoResponse,
            )
            points = self.count(collection)
        except CollectionNotFound:
            return None
        config = reply.result.config
        return CollectionInfo(
            collection,
            _read_schemas(config.params),
            points,
            **strict_limits(read_settings(config.strict_mode_config)),
            custom_sharding=config.params.sharding_method == wire.Custom,
            status=_STATUSES.get(reply.result.status),
            optimizer_error=reply.result.optimizer_status.error or None,
            queue_length=(
                reply.result.update_queue.length if reply.result.HasField("update_queue") else None
            ),
        )

    def check(self, collection: str, schema: CollectionSchema) -> None:
        """Raise what `create` would raise before it asks anybody."""
        _creation(collection, schema)

    def create(self, collection: str, schema: CollectionSchema) -> None:
        """Create a collection.

        Raises
        ------
        CollectionExists
            Where one of this name is there already.
        InputError
            For settings that gRPC does not know.
        """
        self._channel.call(
            "/qdrant.Collections/Create",
            _creation(collection, schema),
            wire.CollectionOperationResponse,
        )

    def delete(self, collection: str) -> None:
        """Delete a collection with all its points; one that is missing is no error."""
        try:
            self._channel.call(
                "/qdrant.Collections/Delete",
                wire.DeleteCollection(collection_name=collection),
                wire.CollectionOperationResponse,
            )
        except CollectionNotFound:
            return

    def count(self, collection: str, ids: Sequence[PointId] | None = None) -> int:
        """Count the points exactly; with `ids`, those of them that are there."""
        request = wire.CountPoints(collection_name=collection, exact=True)
        if ids is not None:
            request.filter.must.add().has_id.has_id.extend(map(write_id, ids))
        reply = self._channel.call("/qdrant.Points/Count", request, wire.CountResponse)
        return reply.result.count

    def settle(self, collection: str, seconds: float, *, shard_key: ShardKey | None = None) -> bool:
        """Wait until everything that was acknowledged before is applied.

        It deletes by a filter that fits no point, as `nothing` says.
        """
        wait = whole_seconds(seconds)
        request = wire.DeletePoints(collection_name=collection, wait=True, timeout=wait)
        request.points.filter.must.add().has_id.has_id.append(write_id(nothing()))
        if shard_key is not None:
            keys = shard_key if isinstance(shard_key, list) else [shard_key]
            request.shard_key_selector.shard_keys.extend(map(_write_shard_key, keys))
        reply = self._channel.call(
            "/qdrant.Points/Delete", request, wire.PointsOperationResponse, timeout=wait + GRACE
        )
        return settled(wire.UpdateStatus.Name(reply.result.status))

    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, with_vectors: bool
    ) -> list[StoredPoint]:
        """Read these points, those that exist, in any order."""
        request = wire.GetPoints(
            collection_name=collection,
            ids=[write_id(point) for point in ids],
            with_payload=wire.WithPayloadSelector(enable=True),
            with_vectors=wire.WithVectorsSelector(enable=with_vectors),
        )
        reply = self._channel.call("/qdrant.Points/Get", request, wire.GetResponse)
        return [_read_point(point) for point in reply.result]

    def scroll(
        self,
        collection: str,
        *,
        limit: int,
        offset: PointId | None,
        with_vectors: bool,
        with_payload: bool = True,
    ) -> Page:
        """Read a page of points in the order of their ids."""
        request = wire.ScrollPoints(
            collection_name=collection,
            limit=limit,
            offset=None if offset is None else write_id(offset),
            with_payload=wire.WithPayloadSelector(enable=with_payload),
            with_vectors=wire.WithVectorsSelector(enable=with_vectors),
        )
        reply = self._channel.call("/qdrant.Points/Scroll", request, wire.ScrollResponse)
        following = reply.next_page_offset if reply.HasField("next_page_offset") else None
        return Page(
            [_read_point(point) for point in reply.result],
            None if following is None else read_id(following),
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
        """Find the nearest points, the best first."""
        request = wire.QueryPoints(
            collection_name=collection,
            query=wire.Query(nearest=_write_vector(vector)),
            using=using or None,
            limit=limit,
            with_payload=wire.WithPayloadSelector(enable=True),
            with_vectors=wire.WithVectorsSelector(enable=with_vectors),
        )
        reply = self._channel.call("/qdrant.Points/Query", request, wire.QueryResponse)
        return [_read_point(point) for point in reply.result]

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


# ---- Schemas ----


def _read_schemas(params: wire.CollectionParams) -> dict[str, VectorSchema]:
    vectors = params.vectors_config
    schemas = {name: _read_schema(one) for name, one in vectors.params_map.map.items()}
    if vectors.HasField("params"):
        schemas[""] = _read_schema(vectors.params)
    for name, one in params.sparse_vectors_config.map.items():
        schemas[name] = VectorSchema(VectorKind.SPARSE, settings=read_settings(one))
    return dict(sorted(schemas.items()))  # a map has no order on the wire


def _read_schema(vector: wire.VectorParams) -> VectorSchema:
    return VectorSchema(
        VectorKind.MULTI if vector.HasField("multivector_config") else VectorKind.DENSE,
        vector.size,
        wire.Distance.Name(vector.distance).lower(),
        read_settings(vector, apart=("size", "distance")),
    )


def _creation(collection: str, schema: CollectionSchema) -> wire.CreateCollection:
    request = wire.CreateCollection(collection_name=collection)
    write_settings(request, schema.settings, "settings", apart=_NO_SETTINGS)
    dense = [name for name, one in schema.vectors.items() if one.kind is not VectorKind.SPARSE]
    vectors = request.vectors_config
    vectors.params_map.SetInParent()
    for name, one in schema.vectors.items():
        if one.kind is VectorKind.SPARSE:
            sparse = request.sparse_vectors_config.map[name]
            write_settings(sparse, one.settings, f"vector {name!r}")
            continue
        params = vectors.params if dense == [""] else vectors.params_map.map[name]
        _write_schema(params, name, one)
    return request


def _write_schema(params: wire.VectorParams, name: str, schema: VectorSchema) -> None:
    if schema.size is not None:
        params.size = schema.size
    if schema.distance is not None:
        params.distance = wire.VectorParams(distance=schema.distance.capitalize()).distance
    if schema.kind is VectorKind.MULTI:
        params.multivector_config.comparator = wire.MaxSim
    where = f"vector {name!r}" if name else "the vector"
    write_settings(params, schema.settings, where, apart=("size", "distance"))


def _write_shard_key(key: str | int) -> wire.ShardKey:
    return wire.ShardKey(keyword=key) if isinstance(key, str) else wire.ShardKey(number=key)


# ---- Points ----


def _read_point(point: wire.RetrievedPoint | wire.ScoredPoint) -> StoredPoint:
    vectors = {name: _read_vector(vector) for name, vector in point.vectors.vectors.vectors.items()}
    if point.vectors.HasField("vector"):
        vectors[""] = _read_vector(point.vectors.vector)
    return StoredPoint(
        read_id(point.id),
        read_struct(point.payload),
        vectors,
        point.score if isinstance(point, wire.ScoredPoint) else None,
    )


def _read_vector(vector: wire.VectorOutput) -> StoredVector:
    match vector.WhichOneof("vector"):
        case "dense":
            return np.array(vector.dense.data, dtype=np.float32)
        case "multi_dense":
            rows = [np.array(row.data, dtype=np.float32) for row in vector.multi_dense.vectors]
            return np.stack(rows)
        case "sparse":
            indices, values = vector.sparse.indices, vector.sparse.values
            return np.array(indices, dtype=np.uint32), np.array(values, dtype=np.float32)
    # Servers that do not set the oneof, as before 1.16: all numbers in one row.
    numbers = np.array(vector.data, dtype=np.float32)
    if vector.HasField("indices"):
        return np.array(vector.indices.data, dtype=np.uint32), numbers
    return numbers.reshape(vector.vectors_count, -1) if vector.vectors_count else numbers


def _write_vector(vector: StoredVector) -> wire.VectorInput:
    if isinstance(vector, tuple):
        indices, values = vector
        sparse = wire.SparseVector(values=values.tolist(), indices=indices.tolist())
        return wire.VectorInput(sparse=sparse)
    if vector.ndim == 1:
        return wire.VectorInput(dense=wire.DenseVector(data=vector.tolist()))
    rows = [wire.DenseVector(data=row) for row in vector.tolist()]
    return wire.VectorInput(multi_dense=wire.MultiDenseVector(vectors=rows))
