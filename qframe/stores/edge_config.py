"""Settings of a collection, by the names of the REST API, as the embedded engine takes them.

The engine has a part of what a server has. What it has not is an error that says so: a setting that
is silently dropped would be found out much later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qframe.errors import InputError
from qframe.points import VectorKind
from qframe.schema import DISTANCES, CollectionSchema, VectorSchema, plain_settings
from qframe.transports.edge_handle import engine

PLACEHOLDER = "_qframe_no_vector"
"""Name of the sparse vector that a collection without vectors gets: the engine wants at least one.
No point ever has it, and `EmbeddedStore` does not show it."""

MAX_VECTOR_NAME_BYTES = 200
MAX_SIZE = 65536

Reader = Callable[[str, Any], Any]
"""Takes where a value stands and the value, and returns the engine's."""


def edge_config(schema: CollectionSchema) -> Any:
    """Build the engine's configuration.

    Parameters
    ----------
    schema : CollectionSchema

    Returns
    -------
    qdrant_edge.EdgeConfig

    Raises
    ------
    InputError
        For a setting that the engine has not, and for a value that it does not take.
    """
    edge = engine()
    settings = plain_settings(schema.settings)
    fields = _read(
        "the collection",
        settings,
        {
            "hnsw_config": _hnsw,
            "quantization_config": _quantization,
            "optimizers_config": _optimizers,
            "on_disk_payload": _flag,
            "payload": _memory_only,
            "id_tracker": _memory_only,
        },
    )
    hnsw = settings.get("hnsw_config") or {}
    vectors: dict[str, Any] = {}
    sparse_vectors: dict[str, Any] = {}
    for name, vector in schema.vectors.items():
        _check_vector_name(name)
        if vector.kind is VectorKind.SPARSE:
            sparse_vectors[name] = _sparse_vector(name, vector)
        else:
            vectors[name] = _vector(name, vector, hnsw)
    if not schema.vectors:
        sparse_vectors[PLACEHOLDER] = edge.EdgeSparseVectorParams()
    return _made(
        "the collection",
        lambda: edge.EdgeConfig(
            vectors=vectors or None,
            sparse_vectors=sparse_vectors or None,
            on_disk_payload=fields.get("on_disk_payload"),
            hnsw_config=fields.get("hnsw_config"),
            quantization_config=fields.get("quantization_config"),
            optimizers=fields.get("optimizers_config"),
            payload_memory=fields.get("payload"),
            id_tracker_memory=fields.get("id_tracker"),
        ),
    )


# ---- Vectors ----


def _vector(name: str, vector: VectorSchema, hnsw: Mapping[str, Any]) -> Any:
    edge = engine()
    where = f"vector {name!r}"
    if vector.distance not in DISTANCES:
        raise InputError(
            f"{where}: distance={vector.distance!r}: one of {', '.join(map(repr, DISTANCES))}"
        )
    if not isinstance(vector.size, int) or not 1 <= vector.size <= MAX_SIZE:
        raise InputError(f"{where}: size={vector.size!r}: a vector has 1 to {MAX_SIZE} numbers")
    readers: dict[str, Reader] = {
        "on_disk": _flag,
        "memory": _memory,
        "datatype": _choice("VectorStorageDatatype", (*_DATATYPES, "turbo8", "turbo16")),
        # What a vector leaves out, the collection's own settings say.
        "hnsw_config": lambda where, value: _hnsw(where, {**hnsw, **_mapping(where, value)}),
        "quantization_config": _quantization,
    }
    settings = plain_settings(vector.settings)
    if vector.kind is VectorKind.MULTI:
        readers["multivector_config"] = _multivector
        settings.setdefault("multivector_config", {"comparator": "max_sim"})
    fields = _read(where, settings, readers)
    distance = getattr(edge.Distance, vector.distance.capitalize())
    return _made(where, lambda: edge.EdgeVectorParams(vector.size, distance, **fields))


def _sparse_vector(name: str, vector: VectorSchema) -> Any:
    where = f"sparse vector {name!r}"
    if name == "":
        raise InputError("a sparse vector needs a name")
    fields = _read(
        where,
        plain_settings(vector.settings),
        {"modifier": _choice("Modifier", ("none", "idf")), "index": _sparse_index},
    )
    index = fields.pop("index", {})
    return _made(where, lambda: engine().EdgeSparseVectorParams(**index, **fields))


def _sparse_index(where: str, value: Any) -> Any:
    return _read(
        where,
        _mapping(where, value),
        {
            "full_scan_threshold": _number,
            "on_disk": _flag,
            "memory": _memory,
            "datatype": _choice("VectorStorageDatatype", _DATATYPES),
        },
    )


def _multivector(where: str, value: Any) -> Any:
    readers: dict[str, Reader] = {"comparator": _choice("MultiVectorComparator", ("max_sim",))}
    fields = _read(where, _mapping(where, value), readers)
    if "comparator" not in fields:
        raise InputError(f"{where}: names no comparator; 'max_sim' is the only one")
    return engine().MultiVectorConfig(fields["comparator"])


def _check_vector_name(name: str) -> None:
    # It becomes part of a folder's name; the engine lets "a/b" through, and "a" could then hold it.
    for character in "/\\\0":
        if character in name:
            raise InputError(
                f"vector {name!r}: the embedded engine keeps a vector in a folder of its name, "
                f"which has no {character!r}"
            )
    if len(name.encode(errors="surrogatepass")) > MAX_VECTOR_NAME_BYTES:
        raise InputError(
            f"vector {name!r}: a name has {MAX_VECTOR_NAME_BYTES} bytes in UTF-8 at the most"
        )
    if name in (".", "..", PLACEHOLDER):
        raise InputError(f"vector {name!r}: not as the name of a vector")


# ---- Index, quantization, optimizers ----


def _hnsw(where: str, value: Any) -> Any:
    numbers = ("m", "ef_construct", "full_scan_threshold", "max_indexing_threads", "payload_m")
    readers: dict[str, Reader] = {
        **dict.fromkeys(numbers, _number),
        "on_disk": _flag,
        "inline_storage": _flag,
        "memory": _memory,
    }
    fields = _read(where, _mapping(where, value), readers)
    # The engine wants these three; the defaults are the server's.
    filled = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, **fields}
    return _made(where, lambda: engine().HnswIndexConfig(**filled))


def _optimizers(where: str, value: Any) -> Any:
    numbers = (
        "deleted_threshold",
        "vacuum_min_vector_number",
        "default_segment_number",
        "max_segment_size",
        "indexing_threshold",
    )
    readers: dict[str, Reader] = {**dict.fromkeys(numbers, _number), "prevent_unoptimized": _flag}
    fields = _read(where, _mapping(where, value), readers)
    return _made(where, lambda: engine().EdgeOptimizersConfig(**fields))


def _quantization(where: str, value: Any) -> Any:
    encodings = ("one_bit", "two_bits", "one_and_half_bits")
    queries = ("default", "binary", "scalar4bits", "scalar8bits")
    kinds: dict[str, tuple[str, dict[str, Reader]]] = {
        "scalar": (
            "ScalarQuantizationConfig",
            {"type": _choice("ScalarType", ("int8",)), "quantile": _quantile},
        ),
        "product": (
            "ProductQuantizationConfig",
            {"compression": _choice("CompressionRatio", ("x4", "x8", "x16", "x32", "x64"))},
        ),
        "binary": (
            "BinaryQuantizationConfig",
            {
                "encoding": _choice("BinaryQuantizationEncoding", encodings),
                "query_encoding": _choice("BinaryQuantizationQueryEncoding", queries),
            },
        ),
        "turbo": (
            "TurboQuantQuantizationConfig",
            {"bits": _choice("TurboQuantBitSize", ("bits1", "bits1_5", "bits2", "bits4", "bits8"))},
        ),
    }
    value = _mapping(where, value)
    if len(value) != 1 or (kind := next(iter(value))) not in kinds:
        raise InputError(
            f"{where}={value!r}: one of {', '.join(map(repr, kinds))}, with its settings inside"
        )
    name, readers = kinds[kind]
    where = f"{where}.{kind}"
    readers = {**readers, "always_ram": _flag, "memory": _memory}
    fields = _read(where, _mapping(where, value[kind]), readers)
    return _made(where, lambda: getattr(engine(), name)(**fields))


# ---- Values ----

_DATATYPES = ("float32", "float16", "uint8")


def _flag(where: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise InputError(f"{where}={value!r}: True or False")
    return value


def _number(where: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise InputError(f"{where}={value!r}: a number, 0 or more")
    return value


def _quantile(where: str, value: Any) -> Any:
    # The engine takes any number now, and fails when it quantizes.
    if not 0.5 <= _number(where, value) <= 1:
        raise InputError(f"{where}={value!r}: a number from 0.5 to 1")
    return value


def _choice(kind: str, names: Iterable[str]) -> Reader:
    """Read one of an enum's members, which the REST API writes in snake_case."""

    def read(where: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise InputError(
                f"{where}={value!r}: the embedded engine knows {', '.join(map(repr, names))}"
            )
        if value == "none":
            return None
        pascal = re.sub(r"(?:^|_)([a-z])", lambda found: found[1].upper(), value)
        return getattr(getattr(engine(), kind), re.sub(r"(\d)b", r"\1B", pascal))

    return read


_memory = _choice("Memory", ("cold", "cached", "pinned"))


def _memory_only(where: str, value: Any) -> Any:
    return _read(where, _mapping(where, value), {"memory": _memory}).get("memory")


def _read(where: str, given: Mapping[str, Any], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Translate settings one by one; None is not given."""
    fields = {}
    for name, value in given.items():
        if name not in readers:
            raise InputError(
                f"{where} knows no {name!r} in the embedded engine, which has neither the cluster "
                f"nor the limits of a server; it takes {', '.join(sorted(readers))}"
            )
        if value is not None:
            fields[name] = readers[name](f"{where}.{name}", value)
    return fields


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}={value!r}: a dict of settings, not {type(value).__name__}")
    return value


def _made(where: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: {error}") from error
