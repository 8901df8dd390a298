"""Points by column to the bytes of Qdrant's gRPC request UpsertPoints.

A request is a message, and a message is its fields' bytes one after another, in any order. So the
options of the write are encoded once an upload with the protobuf library, and the points are put
behind them without it: each column becomes one piece of bytes a point, then all pieces are joined,
point by point. Field numbers are those of proto/qframe_wire.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qframe._wire import messages as wire
from qframe.encoding.base import Measure
from qframe.encoding.filters import write_filter
from qframe.encoding.values import (
    UINT64,
    entry_bytes,
    integer,
    sized,
    struct_bytes,
    utf8,
    value_bytes,
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

Sizes = NDArray[np.int64]
Piece = bytes | memoryview


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
    parts = [*_ids(block.ids), *_payload(block), *_vectors(block)]
    parts.insert(0, _head([_POINT], parts, len(block)))
    pieces = chain.from_iterable(zip(*(part.pieces for part in parts), strict=True))
    return b"".join(chain((options,), pieces))


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of every point.

    Attributes
    ----------
    pieces : sequence of n bytes or views of bytes
    sizes : int64 array of shape (n,)
        Their lengths.
    """

    pieces: Sequence[Piece]
    sizes: Sizes

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> _Part:
        return cls(pieces, np.fromiter(map(len, pieces), np.int64, len(pieces)))

    @classmethod
    def cut(cls, raw: Piece, sizes: Sizes) -> _Part:
        ends = np.cumsum(sizes).tolist()
        starts = chain((0,), ends)
        return cls([raw[start:end] for start, end in zip(starts, ends, strict=False)], sizes)

    def replaced(self, where: NDArray[np.bool_], piece: bytes) -> _Part:
        """Put this piece in the place of some."""
        pieces = list(self.pieces)
        for at in np.flatnonzero(where).tolist():
            pieces[at] = piece
        return _Part(pieces, np.where(where, len(piece), self.sizes))

    def spread(self, present: NDArray[np.bool_], absent: bytes = b"") -> _Part:
        """Give the points that have no piece yet this one."""
        pieces = iter(self.pieces)
        sizes = np.full(len(present), len(absent), dtype=np.int64)
        sizes[present] = self.sizes
        return _Part([next(pieces) if has else absent for has in present.tolist()], sizes)


class _Memo(dict[Any, bytes]):
    """Encodes each distinct value once; what repeats costs a look-up in C."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode

    def __missing__(self, value: Any) -> bytes:
        encoded = self[value] = self._encode(value)
        return encoded

    def of(self, values: Iterable[Any]) -> list[bytes]:
        return list(map(self.__getitem__, values))


def _head(tags: Sequence[bytes], parts: Iterable[_Part], count: int, lead: bytes = b"") -> _Part:
    """Build what stands before these parts of a point: tags and lengths of messages in each other.

    Parameters
    ----------
    tags : sequence of bytes
        The outermost first. A tag may bring along fields that stand before it in the same message.
    parts : iterable of _Part
        What the innermost message ends with.
    count : int
        Points in each part.
    lead : bytes
        What the innermost message begins with.
    """

    def head(size: int) -> bytes:
        out = lead
        for tag in reversed(tags):
            out = tag + varint(size + len(out)) + out
        return out

    sizes = sum((part.sizes for part in parts), np.zeros(count, dtype=np.int64))
    return _Part.of(_Memo(head).of(sizes.tolist()))


_BOUNDS = 2 ** (7 * np.arange(1, 10, dtype=np.uint64))
"""The smallest integers that take 2, 3, … 10 bytes."""


def _varints(numbers: NDArray[np.unsignedinteger]) -> tuple[bytes, Sizes]:
    """Encode integers one after another; return the bytes, and how many each of them took."""
    numbers = numbers.astype(np.uint64)
    sizes = np.searchsorted(_BOUNDS, numbers, side="right") + 1
    place = np.arange(sizes.max(initial=1))
    groups = (numbers[:, None] >> (7 * place).astype(np.uint64) & np.uint64(127)).astype(np.uint8)
    groups[place < sizes[:, None] - 1] |= 128
    return groups[place < sizes[:, None]].tobytes(), sizes


def _floats(values: NDArray[np.float32]) -> memoryview:
    """Return the numbers as they travel: little-endian, which on most machines they are already.

    A view, not bytes: the join copies the numbers once, and 1.7 µs a point of 384 numbers become
    2.0 without it, or 4 where the memory for the copy has to be asked for anew.
    """
    return np.ascontiguousarray(values, dtype="<f4").reshape(-1).view(np.uint8).data


# ---- Ids ----


def _ids(ids: Ids) -> list[_Part]:
    numbers: list[_Part] = []
    if ids.numbers is not None:
        number = _Part.cut(*_varints(ids.numbers))
        numbers = [_head([_ID], [number], len(ids), lead=b"\x08"), number]
    if ids.uuids is None:
        return numbers
    head = _ID + varint(38) + b"\x12" + varint(36)
    uuids = _Part.of([head + str(text).encode() for text in Ids(uuids=ids.uuids).tolist()])
    if ids.is_uuid is None:
        return [uuids]
    each = zip(ids.is_uuid.tolist(), uuids.pieces, *(part.pieces for part in numbers), strict=True)
    return [_Part.of([uuid if is_uuid else b"".join(rest) for is_uuid, uuid, *rest in each])]


# ---- Payload ----


def _payload(block: PointBlock) -> Iterator[_Part]:
    if block.documents is not None:
        yield _Part.of([struct_bytes(document, _PAYLOAD) for document in block.documents])
        return
    for column in block.payload:
        parts = _cells(column)
        if column.missing is not None:
            parts = _instead(parts, column.missing, b"" if column.drop else _entry(column.key))
        yield from parts


def _entry(key: str, value: Any = None) -> bytes:
    return _PAYLOAD + sized(entry_bytes(key, value))


def _instead(parts: Sequence[_Part], where: NDArray[np.bool_], piece: bytes) -> list[_Part]:
    """Put one piece in the place of all parts of some points."""
    first, *rest = parts
    return [first.replaced(where, piece), *(part.replaced(where, b"") for part in rest)]


def _cells(column: PayloadBlock) -> list[_Part]:
    """Encode the entries of ``PointStruct.payload`` for one key, missing cells as they come."""
    values = column.values
    count = len(values)
    tags = [_PAYLOAD, _KEY + sized(utf8(column.key)) + _VALUE]
    if column.kind is PayloadKind.ANY:
        return [_Part.of([_entry(column.key, value) for value in values])]
    if not isinstance(values, np.ndarray):
        text = _Part.of(_encoded(values))
        parts = [_head([*tags, _STRING], [text], count), text]
        if None in values:
            none = np.fromiter((value is None for value in values), np.bool_, count)
            parts = _instead(parts, none, _entry(column.key))
        return parts
    if column.kind is PayloadKind.BOOL:
        return [_Part.of(_Memo(lambda value: _entry(column.key, value)).of(values.tolist()))]
    if column.kind is PayloadKind.INTEGER:
        tag = _INTEGER
        number = _Part.cut(*_varints(values.astype(np.int64, copy=False).view(np.uint64)))
    else:
        tag = _DOUBLE
        eight = np.full(count, 8, dtype=np.int64)
        number = _Part.cut(values.astype("<f8", copy=False).tobytes(), eight)
    return [_head(tags, [number], count, lead=tag), number]


def _encoded(texts: Iterable[str | None]) -> list[bytes]:
    given = [text or "" for text in texts]
    try:
        return list(map(str.encode, given))
    except UnicodeEncodeError:
        return list(map(utf8, given))  # names the text


# ---- Vectors ----


def _vectors(block: PointBlock) -> list[_Part]:
    """Encode ``PointStruct.vectors``, which every point has to have."""
    points = len(block)
    if list(block.vectors) == [""]:
        vectors = block.vectors[""]
        head, *body = _vector([_VECTORS, _UNNAMED], vectors)
        if vectors.present is None:
            return [head, *body]
        no_vectors = _VECTORS + sized(_NAMED + sized(b""))
        return [
            head.spread(vectors.present, no_vectors),
            *(part.spread(vectors.present) for part in body),
        ]
    entries: list[_Part] = []
    for name, vectors in block.vectors.items():
        parts = _vector([_NAME, _KEY + sized(utf8(name)) + _VALUE], vectors)
        if vectors.present is not None:
            parts = [part.spread(vectors.present) for part in parts]
        entries += parts
    return [_head([_VECTORS, _NAMED], entries, points), *entries]


def _vector(tags: Sequence[bytes], vectors: VectorBlock) -> list[_Part]:
    """Encode the vectors of one name inside of these tags, for the points that have one."""
    if isinstance(vectors, DenseBlock):
        count, size = vectors.values.shape
        row = _Part.cut(_floats(vectors.values), np.full(count, 4 * size, dtype=np.int64))
        return [_head([*tags, _DENSE, _FLOATS], [row], count), row]
    if isinstance(vectors, MultiBlock):
        rows = _Part.cut(*_rows(vectors))
        return [_head([*tags, _MULTI], [rows], len(vectors.lengths)), rows]
    count = len(vectors.lengths)
    values = _Part.cut(_floats(vectors.values), 4 * vectors.lengths)
    raw, sizes = _varints(vectors.indices)
    ends = np.cumsum(np.concatenate([[0], sizes]))[np.cumsum(vectors.lengths)]
    indices = _Part.cut(raw, np.diff(ends, prepend=0))
    body = [
        _head([_FLOATS], [values], count),
        values,
        _head([_INDICES], [indices], count),
        indices,
    ]
    return [_head([*tags, _SPARSE], body, count), *body]


def _rows(vectors: MultiBlock) -> tuple[bytes, Sizes]:
    """Put its tag before each row; return the bytes, and how many each point has of them."""
    count, size = vectors.values.shape
    inner = varint(4 * size)
    head = _ROW + varint(4 * size + len(_FLOATS + inner)) + _FLOATS + inner
    table = np.empty((count, len(head) + 4 * size), dtype=np.uint8)
    table[:, : len(head)] = np.frombuffer(head, dtype=np.uint8)
    table[:, len(head) :] = vectors.values.astype("<f4", copy=False).view(np.uint8)
    return table.tobytes(), vectors.lengths * table.shape[1]


# ---- How wide a point may become ----


def _room(size: int) -> int:
    """Bound the bytes of a string that come once more as the lengths of what holds it.

    A length takes one byte for every seven bits, and the length of a sum no more bytes than those
    of its terms together. So each string answers for its own share of the lengths around it: its
    own, that of the value and that of the map entry.
    """
    return size + 3 * (((size | 1).bit_length() + 6) // 7)


def _text_width(text: str) -> int:
    return _room(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")))


def _value_width(value: Any) -> int:
    return _room(len(value_bytes(value)))


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
    value=_value_width,
)
"""Upper bounds of what `encode_points` writes."""
