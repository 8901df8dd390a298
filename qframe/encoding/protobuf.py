"""Points by column to the bytes of Qdrant's gRPC request UpsertPoints.

A request is a message, and a message is its fields' bytes one after another, in any order. So the
options of the write are encoded once an upload with the protobuf library, and the points are put
behind them without it: each column becomes one piece of bytes a point, then all pieces are joined,
point by point. Field numbers are those of proto/qframe_wire.proto.

A point of 384 numbers takes 0.4 µs, and 0.8 with four payload columns, in batches of 1,000.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qframe._wire import messages as wire
from qframe.encoding.base import Measure, json_widths
from qframe.encoding.filters import write_filter
from qframe.encoding.pieces import NOTHING, Piece, body, instead, joined, total
from qframe.encoding.values import (
    UINT64,
    entry_bytes,
    integer,
    sized,
    struct_bytes,
    utf8,
    varint,
)
from qframe.errors import InputError
from qframe.points import (
    DenseBlock,
    Ids,
    MultiBlock,
    PayloadBlock,
    PayloadKind,
    PointBlock,
    Texts,
    VectorBlock,
)

if TYPE_CHECKING:
    from qframe.write import WriteOptions

# Tags: number of the field << 3, and 2 where a length follows.
_POINT = b"\x1a"  # UpsertPoints.points = 3
_ID = b"\x0a"  # PointStruct.id = 1
_PAYLOAD = b"\x1a"  # PointStruct.payload = 3
_VECTORS = b"\x22"  # PointStruct.vectors = 4
_UNNAMED = b"\x0a"  # Vectors.vector = 1
_NAMED = b"\x12"  # Vectors.vectors = 2
_KEY, _VALUE = b"\x0a", b"\x12"  # the entries of any map
_DOUBLE = b"\x11"  # Value.double_value = 2, 8 bytes
_INTEGER = b"\x18"  # Value.integer_value = 3, a varint in two's complement
_STRING = b"\x22"  # Value.string_value = 4
_DENSE = b"\xaa\x06"  # Vector.dense = 101
_SPARSE = b"\xb2\x06"  # Vector.sparse = 102
_MULTI = b"\xba\x06"  # Vector.multi_dense = 103
_FLOATS = b"\x0a"  # DenseVector.data = 1, SparseVector.values = 1
_INDICES = b"\x12"  # SparseVector.indices = 2
_NAME = b"\x0a"  # NamedVectors.vectors = 1
_ROW = b"\x0a"  # MultiDenseVector.vectors = 1


def encode_options(collection: str, write: WriteOptions) -> bytes:
    """Encode everything of a request but its points.

    Parameters
    ----------
    collection : str
    write : WriteOptions

    Returns
    -------
    bytes
        To be passed to `encode_points`.
    """
    request = wire.UpsertPoints(collection_name=collection, wait=write.wait)
    if write.ordering is not None:
        request.ordering.CopyFrom(wire.WriteOrdering(type=write.ordering.capitalize()))
    if write.shard_key is not None:
        keys = write.shard_key if isinstance(write.shard_key, list) else [write.shard_key]
        request.shard_key_selector.shard_keys.extend(map(_shard_key, keys))
    if write.update_filter is not None:
        request.update_filter.CopyFrom(write_filter(write.update_filter))
    if write.server_timeout is not None:
        request.timeout = write.server_timeout
    if write.update_mode is not None:
        request.update_mode = {
            "upsert": wire.Upsert,
            "insert_only": wire.InsertOnly,
            "update_only": wire.UpdateOnly,
        }[write.update_mode]
    return request.SerializeToString()


def _shard_key(key: object) -> wire.ShardKey:
    if isinstance(key, str):
        return wire.ShardKey(keyword=key)
    number = integer(key)
    if number is not None and number in UINT64:
        return wire.ShardKey(number=number)
    raise InputError(f"shard_key={key!r}: a text or an integer from 0 to 2**64 - 1")


def encode_points(block: PointBlock, options: bytes = b"") -> bytes:
    """Encode points as the field ``points`` of UpsertPoints.

    Parameters
    ----------
    block : PointBlock
        Of n points.
    options : bytes
        The other fields, of `encode_options`; they stand in front.

    Returns
    -------
    bytes
        The request, ready to be sent.

    Raises
    ------
    InputError
        For values that protobuf cannot carry: integers beyond 64 bits, lone surrogates.
    """
    if not len(block):
        return options
    parts = [*_ids(block.ids), *_payload(block), *_vectors(block)]
    return body(options, [_head([_POINT], parts), *parts])


def _head(tags: Sequence[bytes], parts: Iterable[Piece], lead: bytes = b"") -> Piece:
    """Build what stands before these parts of a point: tags and lengths of messages in each other.

    Parameters
    ----------
    tags : sequence of bytes
        The outermost first. A tag may bring along fields that stand before it in the same message.
    parts : iterable of Piece
        What the innermost message ends with.
    lead : bytes
        What the innermost message begins with.
    """

    def head(size: int) -> bytes:
        out = lead
        for tag in reversed(tags):
            out = tag + varint(size + len(out)) + out
        return out

    return Piece.of_size(total(parts), head)


def _varints(numbers: NDArray[np.unsignedinteger]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Encode integers one after another; return the bytes, and how many each of them took."""
    left = numbers.astype(np.uint64)
    sizes = np.ones(len(left), dtype=np.int64)
    places: list[NDArray[np.uint8]] = []
    while True:  # seven bits of all numbers at once, the lowest first
        low = left.astype(np.uint8) & np.uint8(127)
        left = left >> np.uint64(7)
        more = left != 0
        places.append(low | more.view(np.uint8) << np.uint8(7))
        if not more.any():
            break
        sizes += more
    groups = np.stack(places, axis=1)
    if sizes.min(initial=len(places)) == len(places):
        return groups.reshape(-1), sizes
    return groups[np.arange(len(places)) < sizes[:, None]], sizes


def _floats(values: NDArray[Any] | Sequence[NDArray[Any]]) -> NDArray[Any] | Sequence[NDArray[Any]]:
    """Return numbers as they travel: little-endian, which on most machines they are already."""
    if isinstance(values, np.ndarray) or sys.byteorder != "little":
        return np.ascontiguousarray(values, dtype="<f4")
    return values


# ---- Ids ----

_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
_DIGITS = np.flatnonzero(np.frombuffer(b"00000000-0000-0000-0000-000000000000", np.uint8) != 45)


def _ids(ids: Ids) -> list[Piece]:
    numbers: list[Piece] = []
    if ids.numbers is not None:
        number = Piece.cut(*_varints(ids.numbers))
        numbers = [_head([_ID], [number], lead=b"\x08"), number]
    if ids.uuids is None:
        return numbers
    texts = np.full((len(ids), 36), ord("-"), dtype=np.uint8)
    texts[:, _DIGITS] = _HEX[ids.uuids].reshape(-1, 32)
    uuids = [Piece.constant(_ID + varint(38) + b"\x12" + varint(36)), Piece.rows(texts)]
    if ids.is_uuid is None:
        return uuids
    return [joined(uuids).where(ids.is_uuid, joined(numbers))]


# ---- Payload ----


def _payload(block: PointBlock) -> Iterator[Piece]:
    if block.documents is not None:
        yield Piece.each(struct_bytes(document, _PAYLOAD) for document in block.documents)
        return
    for column in block.payload:
        parts: Iterable[Piece] = _cells(column)
        if column.missing is not None:
            null = NOTHING if column.drop else Piece.constant(_entry(column.key))
            parts = instead(column.missing, null, parts)
        yield from parts


def _entry(key: str, value: Any = None) -> bytes:
    return _PAYLOAD + sized(entry_bytes(key, value))


def _cells(column: PayloadBlock) -> list[Piece]:
    """Encode the entries of ``PointStruct.payload`` for one key, missing cells as they come."""
    values = column.values
    tags = [_PAYLOAD, _KEY + sized(utf8(column.key)) + _VALUE]
    if isinstance(values, Texts):
        text = Piece.cut(values.data, values.lengths)
        return [_head([*tags, _STRING], [text]), text]
    if not isinstance(values, np.ndarray):
        return [Piece.each(_entry(column.key, value) for value in values)]
    if column.kind is PayloadKind.BOOL:
        true, false = (Piece.constant(_entry(column.key, value)) for value in (True, False))
        return [true.where(values, false)]
    if column.kind is PayloadKind.INTEGER:
        tag = _INTEGER
        number = Piece.cut(*_varints(values.astype(np.int64, copy=False).view(np.uint64)))
    else:
        tag = _DOUBLE
        number = Piece.rows(np.ascontiguousarray(values, dtype="<f8"))
    return [_head(tags, [number], lead=tag), number]


# ---- Vectors ----


def _vectors(block: PointBlock) -> list[Piece]:
    """Encode ``PointStruct.vectors``, which every point has to have."""
    if list(block.vectors) == [""]:
        vectors = block.vectors[""]
        parts = _vector([_VECTORS, _UNNAMED], vectors)
        if vectors.present is None:
            return parts
        no_vectors = Piece.constant(_VECTORS + sized(_NAMED + sized(b"")))
        head, *body = (part.spread(vectors.present) for part in parts)
        return [head.where(vectors.present, no_vectors), *body]
    entries: list[Piece] = []
    for name, vectors in block.vectors.items():
        parts = _vector([_NAME, _KEY + sized(utf8(name)) + _VALUE], vectors)
        if vectors.present is not None:
            parts = [part.spread(vectors.present) for part in parts]
        entries += parts
    return [_head([_VECTORS, _NAMED], entries), *entries]


def _vector(tags: Sequence[bytes], vectors: VectorBlock) -> list[Piece]:
    """Encode the vectors of one name inside of these tags, for the points that have one."""
    if isinstance(vectors, DenseBlock):
        row = Piece.rows(_floats(vectors.rows))
        return [_head([*tags, _DENSE, _FLOATS], [row]), row]
    values = np.ascontiguousarray(vectors.values, dtype="<f4")
    if isinstance(vectors, MultiBlock):
        size = values.shape[1] * values.itemsize
        row_head = _ROW + varint(size + len(_FLOATS + varint(size))) + _FLOATS + varint(size)
        table = np.empty((len(values), len(row_head) + size), dtype=np.uint8)
        table[:, : len(row_head)] = np.frombuffer(row_head, dtype=np.uint8)
        table[:, len(row_head) :] = values.view(np.uint8)
        several = Piece.cut(table, vectors.lengths * table.shape[1])
        return [_head([*tags, _MULTI], [several]), several]
    numbers = Piece.cut(values, vectors.lengths * values.itemsize)
    raw, sizes = _varints(vectors.indices)
    ends = np.cumsum(np.concatenate([[0], sizes]))[np.cumsum(vectors.lengths)]
    indices = Piece.cut(raw, np.diff(ends, prepend=0))
    body = [_head([_FLOATS], [numbers]), numbers, _head([_INDICES], [indices]), indices]
    return [_head([*tags, _SPARSE], body), *body]


# ---- How wide a point may become ----


_LENGTHS = 15
"""Bytes of the three lengths around a text, 5 each: its own, that of its value and of its entry."""


def _text_width(text: str) -> int:
    return len(text.encode(errors="surrogatepass")) + _LENGTHS


def _texts_width(texts: Texts) -> NDArray[np.int64]:
    return texts.lengths + _LENGTHS


def _values_width(values: Iterable[Any]) -> NDArray[np.int64]:
    # An entry of an object, its key, its value and the text of that have a tag and a length each,
    # which takes 5 bytes at the most. A number takes less.
    return json_widths(values, overhead=24)


MEASURE = Measure(
    # Tag and length of the point, 6; a UUID with two tags and lengths, 40; no vectors, 4.
    point=50,
    # A named vector: tag and length, at most 6, of Vectors, NamedVectors, entry, Vector, its kind
    # (one byte more) and the numbers; for sparse ones the indices too; the tag of the name.
    vector=44,
    number=4,
    index=5,
    # Tags of the entry, its key, its value and the kind, 4; a varint, 10; two lengths, 2.
    cell=16,
    text=_text_width,
    texts=_texts_width,
    values=_values_width,
)
"""Upper bounds of what `encode_points` writes."""
