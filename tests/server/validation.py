"""What is wrong with a request whatever the collection: ids, vectors, names, depth.

Checked before anything is looked up, as the real server does it. Everything that makes the
embedded engine panic or leaves a shard that cannot be loaded again is refused here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from qdrant_client.http import models

from .refusal import Kind, Refusal

MAX_MULTIVECTOR_FLOATS = 1048576
MAX_VECTOR_SIZE = 65536
MAX_VECTOR_NAME_BYTES = 200
# serde_json refuses the 128th level. The engine accepts a payload of 124 levels and cannot load
# it again, which is why the line is drawn at 120, three levels short of the real one.
MAX_PAYLOAD_DEPTH = 120

_FORBIDDEN_CHARACTERS = '<>:"/\\|?*\0\x1f'
_HEX = "[0-9a-fA-F]"
_HYPHENATED = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_UUID = re.compile(f"{_HEX}{{32}}|{_HYPHENATED}|{{{_HYPHENATED}}}|urn:uuid:{_HYPHENATED}")


def invalid(path: str, message: str) -> NoReturn:
    """Refuse what is well-formed but breaks a rule."""
    raise Refusal(Kind.VALIDATION, f"[{path}: {message}]")


def is_point_id(value: object) -> bool:
    """Whether JSON holds an id: an unsigned 64-bit integer or a UUID."""
    if isinstance(value, str):
        return is_uuid(value)
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def is_uuid(text: str) -> bool:
    """Whether a text is one of the four spellings of a UUID."""
    return _UUID.fullmatch(text) is not None


def check_collection_name(name: str, *, creating: bool = False) -> None:
    """Refuse names that the server refuses; more of them for a new collection."""
    if not 1 <= len(name) <= 255:
        message = f'value "{name}" invalid, must be from 1 to 255 characters'
        raise Refusal(Kind.PATH, f"[name: {message}]")
    forbidden = _FORBIDDEN_CHARACTERS if creating else "/\0"
    for character in forbidden:
        if character in name:
            message = f'collection name cannot contain "{character}" char'
            raise Refusal(Kind.PATH, f"[name: {message}]")


def check_definition(definition: models.CreateCollection) -> None:
    """Refuse impossible dimensions and vector names."""
    vectors = definition.vectors
    if isinstance(vectors, models.VectorParams):
        _check_size("vectors.size", vectors.size)
    elif vectors:
        for name, params in vectors.items():
            _check_vector_name(name)
            _check_size(f"vectors.{name}.size", params.size)
    for name in definition.sparse_vectors or ():
        _check_vector_name(name)


def _check_size(path: str, size: int) -> None:
    if not 1 <= size <= MAX_VECTOR_SIZE:
        invalid(path, f"value {size} invalid, must be from 1 to {MAX_VECTOR_SIZE}")


def _check_vector_name(name: str) -> None:
    if len(name.encode()) > MAX_VECTOR_NAME_BYTES:
        invalid("vectors", f"vector name must be at most {MAX_VECTOR_NAME_BYTES} bytes long")
    for character in _FORBIDDEN_CHARACTERS:
        if character in name:
            invalid("vectors", f'vector name cannot contain "{character}" char')


def check_points(points: Iterable[models.PointStruct]) -> None:
    """Refuse malformed vectors."""
    for index, point in enumerate(points):
        path = f"points[{index}].vector"
        vector: Any = point.vector
        if isinstance(vector, Mapping):
            for name, named in vector.items():
                _check_vector(f"{path}.{name}", named)
        else:
            _check_vector(path, vector)


def _check_vector(path: str, vector: object) -> None:
    if isinstance(vector, models.SparseVector):
        _check_sparse(path, vector)
    elif not isinstance(vector, list):
        # Text, images and objects need an inference service, which this server has not.
        raise Refusal(Kind.SERVICE, "InferenceService is not initialized.")
    elif not vector:
        invalid(path, "dense vector must not be empty")
    elif isinstance(vector[0], list):
        _check_multivector(path, vector)


def _check_sparse(path: str, vector: models.SparseVector) -> None:
    if len(vector.indices) != len(vector.values):
        invalid(f"{path}.values", "must be the same length as indices")
    if len(set(vector.indices)) != len(vector.indices):
        invalid(f"{path}.indices", "must be unique")
    for index in vector.indices:
        if not 0 <= index < 2**32:
            raise Refusal(Kind.FORMAT, f"invalid value: integer `{index}`, expected u32")


def _check_multivector(path: str, rows: Sequence[Sequence[float]]) -> None:
    lengths = [len(row) for row in rows]
    total = sum(lengths)
    if 0 in lengths:
        invalid(path, "all vectors must be non-empty")
    if total >= MAX_MULTIVECTOR_FLOATS:
        limit = MAX_MULTIVECTOR_FLOATS
        invalid(path, f"Total size of all vectors ({total}) must be less than {limit}")
    for length in lengths:
        if length != lengths[0]:
            invalid(
                path,
                f"all vectors must have the same dimension, found vector with dimension {length}",
            )


def check_depth(payload: object) -> None:
    """Refuse a payload nested too deeply."""
    if _depth(payload) > MAX_PAYLOAD_DEPTH:
        raise Refusal(Kind.FORMAT, "recursion limit exceeded")


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(v) for v in value.values() if type(v) in (dict, list)), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(v) for v in value if type(v) in (dict, list)), default=0)
    return 0


def check_limit(limit: int | None) -> None:
    """Refuse a page without points."""
    if limit is not None and limit < 1:
        invalid("limit", f"value {limit} invalid, must be 1 or larger")
