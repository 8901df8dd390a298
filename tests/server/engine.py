"""The embedded engine in the words of the official models.

Every call goes through ``Shard``, which turns the engine's bare exceptions and panics into
refusals, so that no request can take the server down.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import qdrant_edge as edge
from qdrant_client.http import models

from .definition import dense_params
from .filters import edge_filter
from .refusal import Kind, Refusal
from .upsert import Upsert

# The engine refuses a shard without any vector, the server a collection never.
_NO_VECTORS = {"__none__": edge.EdgeSparseVectorParams()}

_MODES = {
    models.UpdateMode.UPSERT: edge.UpdateMode.Upsert,
    models.UpdateMode.INSERT_ONLY: edge.UpdateMode.InsertOnly,
    models.UpdateMode.UPDATE_ONLY: edge.UpdateMode.UpdateOnly,
}
# The server words these two differently.
_TEXTS = {
    "Wrong usage of sparse vectors": "Conversion between sparse and regular vectors failed",
    "Wrong usage of multi vectors": "Conversion between multi and regular vectors failed",
}


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        text = str(error)
        raise Refusal(Kind.WRONG_INPUT, _TEXTS.get(text, text)) from error
    except BaseException as error:
        # A panic is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise Refusal(Kind.SERVICE, f"task panicked: {error}") from error


class Shard:
    """One directory of the engine; reads and writes take turns."""

    def __init__(self, path: Path, definition: models.CreateCollection) -> None:
        with _refusing():
            if path.exists():
                self._edge = edge.EdgeShard.load(str(path))
            else:
                self._edge = edge.EdgeShard.create(str(path), _edge_config(definition))
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock, _refusing():
            self._edge.flush()
            self._edge.close()

    def apply(self, operation: edge.UpdateOperation) -> None:
        with self._lock, _refusing():
            self._edge.update(operation)

    def info(self) -> edge.ShardInfo:
        with self._lock, _refusing():
            return self._edge.info()

    def count(self, request: models.CountRequest) -> int:
        with self._lock, _refusing():
            return self._edge.count(
                edge.CountRequest(request.exact is not False, edge_filter(request.filter))
            )

    def retrieve(self, request: models.PointRequest) -> list[models.Record]:
        with self._lock, _refusing():
            found = self._edge.retrieve(
                [_edge_id(point) for point in request.ids],
                _edge_payload(request.with_payload, default=True),
                request.with_vector or False,
            )
            return [_record(record) for record in found]

    def scroll(self, request: models.ScrollRequest) -> models.ScrollResult:
        if request.order_by is not None:
            raise Refusal(Kind.BAD_REQUEST, "order_by is not supported by this server")
        with self._lock, _refusing():
            found, following = self._edge.scroll(
                edge.ScrollRequest(
                    offset=None if request.offset is None else _edge_id(request.offset),
                    limit=10 if request.limit is None else request.limit,
                    filter=edge_filter(request.filter),
                    with_payload=_edge_payload(request.with_payload, default=True),
                    with_vector=request.with_vector or False,
                )
            )
            return models.ScrollResult(
                points=[_record(record) for record in found],
                next_page_offset=None if following is None else _model_id(following),
            )

    def query(self, request: models.QueryRequest) -> list[models.ScoredPoint]:
        with self._lock, _refusing():
            found = self._edge.query(
                edge.QueryRequest(
                    limit=10 if request.limit is None else request.limit,
                    offset=request.offset,
                    query=self._nearest(request),
                    filter=edge_filter(request.filter),
                    score_threshold=request.score_threshold,
                    with_payload=_edge_payload(request.with_payload, default=False),
                    with_vector=request.with_vector or False,
                )
            )
            return [_scored(point) for point in found]

    def _nearest(self, request: models.QueryRequest) -> Any:
        wanted: Any = request.query
        if request.prefetch is not None:
            raise Refusal(Kind.BAD_REQUEST, "prefetch is not supported by this server")
        if isinstance(wanted, models.NearestQuery):
            wanted = wanted.nearest
        if wanted is None:
            return None
        if isinstance(wanted, (int, str, UUID)):
            wanted = self._vector_of(wanted, request.using or "")
        elif isinstance(wanted, (list, models.SparseVector)):
            wanted = _edge_vector(wanted)
        else:
            name = type(wanted).__name__
            raise Refusal(Kind.BAD_REQUEST, f"{name} is not supported by this server")
        return edge.Query.Nearest(wanted, using=request.using)

    def _vector_of(self, point: int | str | UUID, name: str) -> Any:
        found = self._edge.retrieve([_edge_id(point)], False, True)
        if not found:
            raise Refusal(Kind.NOT_FOUND, f"Point with id {point} does not exists!")
        vector = found[0].vector
        return vector[name] if isinstance(vector, dict) else vector


def upsert_operation(upsert: Upsert) -> edge.UpdateOperation:
    """An upsert for the engine."""
    with _refusing():
        return edge.UpdateOperation.upsert_points(
            [_edge_point(point) for point in upsert.points],
            edge_filter(upsert.update_filter),
            _MODES[upsert.update_mode] if upsert.update_mode is not None else None,
        )


def delete_operation(selector: models.PointsSelector) -> edge.UpdateOperation:
    """A deletion by ids or by filter."""
    with _refusing():
        if isinstance(selector, models.FilterSelector):
            wanted = edge_filter(selector.filter) or edge.Filter()
            return edge.UpdateOperation.delete_points_by_filter(wanted)
        return edge.UpdateOperation.delete_points([_edge_id(point) for point in selector.points])


def index_operation(request: models.CreateFieldIndex) -> edge.UpdateOperation:
    """A payload index; the engine gets its type without the parameters."""
    schema: Any = request.field_schema
    kind = schema if isinstance(schema, models.PayloadSchemaType) else schema.type
    with _refusing():
        return edge.UpdateOperation.create_field_index(
            request.field_name, getattr(edge.PayloadSchemaType, str(kind.value).capitalize())
        )


def payload_schema(info: edge.ShardInfo) -> dict[str, models.PayloadIndexInfo]:
    """The payload indexes as the collection info lists them."""
    return {
        field: models.PayloadIndexInfo(
            data_type=models.PayloadSchemaType(_member(index.data_type).lower()),
            points=index.points,
        )
        for field, index in info.payload_schema.items()
    }


def _member(value: object) -> str:
    return str(value).rpartition(".")[2]


def _edge_config(definition: models.CreateCollection) -> edge.EdgeConfig:
    dense = {name: _edge_params(params) for name, params in dense_params(definition).items()}
    sparse = {
        name: edge.EdgeSparseVectorParams(
            modifier=edge.Modifier.Idf if params.modifier == models.Modifier.IDF else None
        )
        for name, params in (definition.sparse_vectors or {}).items()
    }
    return edge.EdgeConfig(
        vectors=dense or None,
        sparse_vectors=sparse or (None if dense else _NO_VECTORS),
    )


def _edge_params(params: models.VectorParams) -> edge.EdgeVectorParams:
    datatype = params.datatype
    return edge.EdgeVectorParams(
        size=params.size,
        distance=getattr(edge.Distance, params.distance.value),
        multivector_config=(
            edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
            if params.multivector_config
            else None
        ),
        datatype=(
            getattr(edge.VectorStorageDatatype, datatype.value.capitalize()) if datatype else None
        ),
    )


def _edge_point(point: models.PointStruct) -> edge.Point:
    vector: Any = point.vector
    if isinstance(vector, dict):
        vector = {name: _edge_vector(value) for name, value in vector.items()}
    return edge.Point(_edge_id(point.id), vector, point.payload)


def _edge_vector(vector: Any) -> Any:
    if isinstance(vector, models.SparseVector):
        return edge.SparseVector(vector.indices, vector.values)
    return vector


def _edge_id(point: int | str | UUID) -> Any:
    return str(point) if isinstance(point, UUID) else point


def _edge_payload(wanted: Any, *, default: bool) -> Any:
    match wanted:
        case None:
            return default
        case list():
            return edge.PayloadSelector.Include(wanted)
        case models.PayloadSelectorInclude():
            return edge.PayloadSelector.Include(wanted.include)
        case models.PayloadSelectorExclude():
            return edge.PayloadSelector.Exclude(wanted.exclude)
    return wanted


def _record(record: edge.Record) -> models.Record:
    return models.Record(
        id=_model_id(record.id), payload=record.payload, vector=_model_vectors(record.vector)
    )


def _scored(point: edge.ScoredPoint) -> models.ScoredPoint:
    return models.ScoredPoint(
        id=_model_id(point.id),
        version=point.version,
        score=point.score,
        payload=point.payload,
        vector=_model_vectors(point.vector),
    )


def _model_id(point: Any) -> int | str:
    return point if isinstance(point, int) else str(point)


def _model_vectors(vectors: Any) -> Any:
    if isinstance(vectors, dict):
        return {name: _model_vector(vector) for name, vector in vectors.items()}
    return vectors


def _model_vector(vector: Any) -> Any:
    if isinstance(vector, edge.SparseVector):
        return models.SparseVector(indices=vector.indices, values=vector.values)
    return vector
