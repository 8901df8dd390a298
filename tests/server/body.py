"""JSON bodies, read by the official models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from qdrant_client.http import models

from .refusal import Kind, Refusal
from .upsert import Upsert
from .validation import check_depth, check_points, invalid, is_point_id

Model = TypeVar("Model", bound=BaseModel)

_SELECTOR: TypeAdapter[models.PointsSelector] = TypeAdapter(models.PointsSelector)


def parse(raw: bytes) -> Any:
    """Strict JSON: no NaN, no Infinity."""
    if not raw:
        raise Refusal(Kind.FORMAT, "EOF while parsing a value at line 1 column 0")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(Kind.FORMAT, str(error)) from error


def read(model: type[Model], data: Any) -> Model:
    """Let the official model read a body."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _malformed(error) from error


def read_selector(data: Any) -> models.PointsSelector:
    """Read which points to delete."""
    try:
        return _SELECTOR.validate_python(data)
    except ValidationError as error:
        raise _malformed(error) from error


def read_upsert(data: Any) -> Upsert:
    """Read the list form or the columnar form of an upsert."""
    if not isinstance(data, dict) or not {"batch", "points"} & data.keys():
        raise Refusal(Kind.FORMAT, "Invalid PointInsertOperations format")
    _check_ids(data)
    body: models.PointsBatch | models.PointsList
    if "batch" in data:
        # With both keys the columns win.
        columns = {key: value for key, value in data.items() if key != "points"}
        body = read(models.PointsBatch, _without_null_payloads(columns))
        points = _rows(body.batch)
    else:
        body = read(models.PointsList, data)
        points = body.points
    for point in points:
        check_depth(point.payload)
    check_points(points)
    return Upsert(points, body.shard_key, body.update_filter, body.update_mode)


def _malformed(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return Refusal(Kind.FORMAT, f"{path}: {first['msg']}")


def _check_ids(data: dict[str, Any]) -> None:
    for point in _ids(data):
        if not is_point_id(point):
            raise Refusal(
                Kind.FORMAT,
                f"value {_json(point)} is not a valid point ID, "
                "valid values are either an unsigned integer or a UUID",
            )


def _ids(data: dict[str, Any]) -> Iterator[Any]:
    columns = data.get("batch")
    if isinstance(columns, dict) and isinstance(columns.get("ids"), list):
        yield from columns["ids"]
    elif columns is None and isinstance(data["points"], list):
        yield from (point["id"] for point in data["points"] if "id" in point)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _without_null_payloads(data: dict[str, Any]) -> dict[str, Any]:
    """The server takes a null for a point without payload; the model does not know it."""
    columns = data["batch"]
    if not isinstance(columns, dict) or not isinstance(columns.get("payloads"), list):
        return data
    payloads = [{} if payload is None else payload for payload in columns["payloads"]]
    return {**data, "batch": {**columns, "payloads": payloads}}


def _rows(columns: models.Batch) -> list[models.PointStruct]:
    vectors: Any = columns.vectors
    count = len(columns.ids)
    if isinstance(vectors, dict):
        for column in vectors.values():
            _check_length("vectors", count, len(column))
        rows = [{name: column[i] for name, column in vectors.items()} for i in range(count)]
    else:
        _check_length("vectors", count, len(vectors))
        rows = vectors
    payloads: list[Any] = [None] * count if columns.payloads is None else columns.payloads
    _check_length("payloads", count, len(payloads))
    return [
        models.PointStruct.model_construct(id=point, vector=vector, payload=payload)
        for point, vector, payload in zip(columns.ids, rows, payloads, strict=True)
    ]


def _check_length(what: str, ids: int, found: int) -> None:
    if found != ids:
        invalid("batch", f"number of ids and {what} must be equal ({ids} != {found})")
