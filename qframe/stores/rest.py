"""Collections over REST."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from qframe.encoding.json import dumps
from qframe.errors import CollectionExists, CollectionNotFound, InvalidAnswer, InvalidRequest
from qframe.points import VectorKind
from qframe.schema import CollectionInfo, CollectionSchema, VectorSchema, strict_limits
from qframe.stores.base import (
    GRACE,
    Page,
    PointId,
    Store,
    StoredPoint,
    StoredVector,
    nothing,
    settled,
    whole_seconds,
)
from qframe.transports.rest import RestSession
from qframe.write import ShardKey

MAX_SIM = {"comparator": "max_sim"}


class RestStore(Store):
    """The collections of one server.

    Parameters
    ----------
    uri : str
        Base URL, with port.
    api_key : str, optional
        Shown nowhere.
    headers : mapping of str to str, optional
    timeout : float, default 60
        Seconds that a request may take.
    verify : bool or str, default True
        Whether certificates are checked, or the file of the authority to trust.
    """

    def __init__(
        self,
        uri: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        verify: bool | str = True,
    ) -> None:
        self._session = RestSession(
            uri, api_key=api_key, headers=headers, timeout=timeout, verify=verify
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._session.uri!r})"

    def version(self) -> tuple[int, int, int] | None:
        """Return the server's version.

        Raises
        ------
        InvalidAnswer
            Where something else than Qdrant answers.
        """
        root = self._session.root()
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(root.get("version")))
        if found is None:
            raise InvalidAnswer(
                f"{self._session.uri} does not look like Qdrant: it names no version"
            )
        major, minor, patch = map(int, found.groups())
        return major, minor, patch

    def describe(self, collection: str) -> CollectionInfo | None:
        """Describe a collection; None when there is none of this name."""
        try:
            info = self._session.request("GET", ("collections", collection))
            points = self.count(collection)
        except CollectionNotFound:
            return None
        with self._readable():
            config = info["config"]
            params = config["params"]
            return CollectionInfo(
                collection,
                _read_schemas(params),
                points,
                **strict_limits(config.get("strict_mode_config") or {}),
                custom_sharding=params.get("sharding_method") == "custom",
                status=info.get("status"),
                optimizer_error=_optimizer_error(info.get("optimizer_status")),
                queue_length=(info.get("update_queue") or {}).get("length"),
            )

    def check(self, collection: str, schema: CollectionSchema) -> None:
        """Raise what `create` would raise before it asks anybody."""
        dumps(_creation(schema))

    def create(self, collection: str, schema: CollectionSchema) -> None:
        """Create a collection.

        Raises
        ------
        CollectionExists
            Where one of this name is there already.
        """
        body = dumps(_creation(schema))
        try:
            self._session.request("PUT", ("collections", collection), body=body)
        except InvalidRequest as error:
            # Servers before 1.8 answer 400 here, and 409 since.
            if "already exists" in str(error):
                raise CollectionExists(str(error)) from error
            raise

    def delete(self, collection: str) -> None:
        """Delete a collection with all its points; one that is missing is no error."""
        try:
            self._session.request("DELETE", ("collections", collection))
        except CollectionNotFound:
            return

    def count(self, collection: str, ids: Sequence[PointId] | None = None) -> int:
        """Count the points exactly; with `ids`, those of them that are there."""
        wanted: dict[str, Any] = {"exact": True}
        if ids is not None:
            wanted["filter"] = {"must": [{"has_id": list(ids)}]}
        result = self._ask(collection, "count", wanted)
        with self._readable():
            return int(result["count"])

    def settle(self, collection: str, seconds: float, *, shard_key: ShardKey | None = None) -> bool:
        """Wait until everything that was acknowledged before is applied.

        It deletes by a filter that fits no point, as `nothing` says.
        """
        wait = whole_seconds(seconds)
        wanted: dict[str, Any] = {"filter": {"must": [{"has_id": [nothing()]}]}}
        if shard_key is not None:
            wanted["shard_key"] = shard_key
        result = self._session.request(
            "POST",
            ("collections", collection, "points", "delete"),
            query={"wait": "true", "timeout": wait},
            body=dumps(wanted),
            timeout=wait + GRACE,
        )
        with self._readable():
            return settled(result["status"])

    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, with_vectors: bool
    ) -> list[StoredPoint]:
        """Read these points, those that exist, in any order."""
        wanted = {"ids": list(ids), "with_payload": True, "with_vector": with_vectors}
        result = self._session.request(
            "POST", ("collections", collection, "points"), body=dumps(wanted)
        )
        with self._readable():
            return [_read_point(point) for point in result]

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
        wanted: dict[str, Any] = {
            "limit": limit,
            "with_payload": with_payload,
            "with_vector": with_vectors,
        }
        if offset is not None:
            wanted["offset"] = offset
        result = self._ask(collection, "scroll", wanted)
        with self._readable():
            points = [_read_point(point) for point in result["points"]]
            return Page(points, result.get("next_page_offset"))

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
        wanted = {
            "query": _written(vector),
            "limit": limit,
            "with_payload": True,
            "with_vector": with_vectors,
        }
        if using:
            wanted["using"] = using
        result = self._ask(collection, "query", wanted)
        with self._readable():
            return [_read_point(point) for point in result["points"]]

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _ask(self, collection: str, what: str, wanted: Mapping[str, Any]) -> Any:
        path = ("collections", collection, "points", what)
        return self._session.request("POST", path, body=dumps(wanted))

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Translate what an answer of another shape than Qdrant's leads to."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidAnswer(
                f"{self._session.uri} answered in a form that is not Qdrant's: {error!r}"
            ) from error


def _read_schemas(params: Mapping[str, Any]) -> dict[str, VectorSchema]:
    vectors = params.get("vectors") or {}
    if isinstance(vectors.get("size"), int):
        vectors = {"": vectors}
    schemas = {name: _read_schema(one) for name, one in vectors.items()}
    for name, one in (params.get("sparse_vectors") or {}).items():
        schemas[name] = VectorSchema(VectorKind.SPARSE, settings=one or {})
    return schemas


def _read_schema(vector: Mapping[str, Any]) -> VectorSchema:
    return VectorSchema(
        VectorKind.MULTI if vector.get("multivector_config") else VectorKind.DENSE,
        int(vector["size"]),
        vector["distance"].lower(),
        {name: value for name, value in vector.items() if name not in ("size", "distance")},
    )


def _optimizer_error(status: Any) -> str | None:
    return status.get("error") if isinstance(status, dict) else None


def _creation(schema: CollectionSchema) -> dict[str, Any]:
    dense: dict[str, Any] = {}
    sparse: dict[str, Any] = {}
    for name, vector in schema.vectors.items():
        if vector.kind is VectorKind.SPARSE:
            sparse[name] = dict(vector.settings)
            continue
        params: dict[str, Any] = {"size": vector.size}
        if vector.distance is not None:
            params["distance"] = vector.distance.capitalize()
        if vector.kind is VectorKind.MULTI:
            params["multivector_config"] = MAX_SIM
        dense[name] = {**params, **vector.settings}
    creation = {**schema.settings, "vectors": dense[""] if list(dense) == [""] else dense}
    if sparse:
        creation["sparse_vectors"] = sparse
    return creation


def _read_point(point: Mapping[str, Any]) -> StoredPoint:
    # An unnamed vector is a list; a point without any has none, null, or an empty one.
    vectors = point.get("vector") or {}
    if not isinstance(vectors, dict):
        vectors = {"": vectors}
    return StoredPoint(
        point["id"],
        point.get("payload") or {},
        {name: _read_vector(vector) for name, vector in vectors.items()},
        point.get("score"),
    )


def _read_vector(vector: Any) -> StoredVector:
    if isinstance(vector, dict):
        return (
            np.array(vector["indices"], dtype=np.uint32),
            np.array(vector["values"], dtype=np.float32),
        )
    # A stored NaN comes as null, which numpy turns back into NaN.
    return np.array(vector, dtype=np.float32)


def _written(vector: StoredVector) -> Any:
    if isinstance(vector, tuple):
        indices, values = vector
        return {
            "indices": np.ascontiguousarray(indices, dtype=np.uint32),
            "values": np.ascontiguousarray(values, dtype=np.float32),
        }
    return np.ascontiguousarray(vector, dtype=np.float32)
