"""gRPC messages to the official models and back, where the official conversion is too kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from qdrant_client import grpc as proto
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http import models

from .refusal import Kind, Refusal
from .upsert import Upsert, Writing
from .validation import check_points, is_uuid

_ORDERINGS = {proto.Weak: "weak", proto.Medium: "medium", proto.Strong: "strong"}


def read_upsert(message: proto.UpsertPoints) -> Upsert:
    """Read and validate the points of an upsert."""
    points = [_read_point(point) for point in message.points]
    check_points(points)
    return Upsert(
        points,
        read_shard_key(message),
        read_filter(message, "update_filter"),
        (
            GrpcToRest.convert_update_mode(cast(Any, message.update_mode))
            if message.HasField("update_mode")
            else None
        ),
    )


def read_writing(message: Any) -> Writing:
    """Read how a write wants to be treated."""
    return Writing(
        wait=message.wait,
        ordering=_ORDERINGS[message.ordering.type],
        timeout=float(message.timeout) if message.HasField("timeout") else None,
    )


def read_shard_key(message: Any) -> models.ShardKeySelector | None:
    """Read the shard keys that a write is for."""
    if not message.HasField("shard_key_selector"):
        return None
    return GrpcToRest.convert_shard_key_selector(message.shard_key_selector)


def read_filter(message: Any, field: str = "filter") -> models.Filter | None:
    """Read the filter in ``field``, None where it is unset."""
    return GrpcToRest.convert_filter(getattr(message, field)) if message.HasField(field) else None


def read_id(message: proto.PointId) -> int | str:
    """Read a point id, refusing what is neither a number nor a UUID."""
    kind = message.WhichOneof("point_id_options")
    if kind == "num":
        return message.num
    if kind is None:
        raise _malformed("No ID options provided")
    if not is_uuid(message.uuid):
        raise _malformed(f"Unable to parse UUID: {message.uuid}")
    return message.uuid


def _read_point(message: proto.PointStruct) -> models.PointStruct:
    if not message.HasField("vectors"):
        raise _malformed("Expected some vectors")
    return models.PointStruct.model_construct(
        id=read_id(message.id),
        vector=_read_vectors(message.vectors),
        payload=_read_fields(message.payload),
    )


def _read_vectors(message: proto.Vectors) -> Any:
    if message.WhichOneof("vectors_options") is None:
        raise _malformed("Expected some vectors")
    vectors = GrpcToRest.convert_vectors(message)
    if isinstance(vectors, models.SparseVector):
        raise _malformed("Sparse vector must be named")
    return vectors


def _read_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _read_value(fields[key]) for key in fields}


def _read_value(value: Any) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "integer_value":
            return value.integer_value
        case "double_value":
            if not math.isfinite(value.double_value):
                raise _malformed("cannot convert to json number")
            return value.double_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _read_fields(value.struct_value.fields)
        case "list_value":
            return [_read_value(item) for item in value.list_value.values]
    # A Value without a kind is a null as well.
    return None


def _malformed(text: str) -> Refusal:
    return Refusal(Kind.PAYLOAD, text)


def read_definition(message: Any) -> models.CreateCollection:
    """Read the definition of a new collection."""

    def given(field: str, convert: Any = lambda value: value) -> Any:
        return convert(getattr(message, field)) if message.HasField(field) else None

    return models.CreateCollection(
        vectors=given("vectors_config", GrpcToRest.convert_vectors_config),
        sparse_vectors=given("sparse_vectors_config", GrpcToRest.convert_sparse_vector_config),
        shard_number=given("shard_number"),
        sharding_method=given("sharding_method", GrpcToRest.convert_sharding_method),
        replication_factor=given("replication_factor"),
        write_consistency_factor=given("write_consistency_factor"),
        on_disk_payload=given("on_disk_payload"),
        payload=given("payload", GrpcToRest.convert_payload_storage_params),
        id_tracker=given("id_tracker", GrpcToRest.convert_id_tracker_params),
        hnsw_config=given("hnsw_config", GrpcToRest.convert_hnsw_config_diff),
        wal_config=given("wal_config", GrpcToRest.convert_wal_config_diff),
        optimizers_config=given("optimizers_config", GrpcToRest.convert_optimizers_config_diff),
        quantization_config=given("quantization_config", GrpcToRest.convert_quantization_config),
        strict_mode_config=given("strict_mode_config", GrpcToRest.convert_strict_mode_config),
        metadata=_read_fields(message.metadata) or None,
    )


def read_index(message: proto.CreateFieldIndexCollection) -> models.CreateFieldIndex:
    """Read which field to index and how."""
    schema: models.PayloadFieldSchema
    if message.HasField("field_index_params"):
        schema = GrpcToRest.convert_payload_schema_params(message.field_index_params)
    else:
        # The names are those of the payload schema types behind "FieldType".
        name = proto.FieldType.Name(message.field_type).removeprefix("FieldType")
        schema = models.PayloadSchemaType(name.lower())
    return models.CreateFieldIndex(field_name=message.field_name, field_schema=schema)


def read_selection(message: Any) -> dict[str, Any]:
    """``with_payload`` and ``with_vectors`` of a reading request."""
    payload, vectors = message.with_payload, message.with_vectors
    return {
        "with_payload": (
            GrpcToRest.convert_with_payload_interface(payload)
            if message.HasField("with_payload")
            else None
        ),
        "with_vector": (
            GrpcToRest.convert_with_vectors_selector(vectors)
            if message.HasField("with_vectors")
            else None
        ),
    }


def write_record(record: models.Record) -> proto.RetrievedPoint:
    """A point that was retrieved or scrolled."""
    return RestToGrpc.convert_record(_narrowed(record))


def write_scored(point: models.ScoredPoint) -> proto.ScoredPoint:
    """A point that was found."""
    return RestToGrpc.convert_scored_point(_narrowed(point))


def _narrowed(point: Any) -> Any:
    return point.model_copy(update={"payload": _narrow(point.payload or {})})


def _narrow(value: Any) -> Any:
    """Integers beyond int64 read back as doubles over gRPC."""
    if isinstance(value, dict):
        return {key: _narrow(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_narrow(item) for item in value]
    if isinstance(value, int) and value >= 2**63:
        return float(value)
    return value
