"""Python values and ids as Qdrant's protobuf messages, in both directions."""

from __future__ import annotations

import functools
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any

from qframe._wire import messages as wire
from qframe.errors import InputError

INT64 = range(-(2**63), 2**63)
UINT64 = range(2**64)


def varint(number: int) -> bytes:
    """Encode an unsigned integer, seven bits a byte, the lowest first.

    Examples
    --------
    >>> varint(300).hex()
    'ac02'
    """
    if number < 128:
        return _BYTES[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_BYTES = [bytes([number]) for number in range(128)]


def sized(body: bytes) -> bytes:
    """Put the length in front, as in every field of bytes, text or a message."""
    size = len(body)
    return (_BYTES[size] if size < 128 else varint(size)) + body


def integer(given: object) -> int | None:
    """Return an integer of any type, numpy's too, as an int; None for all else, booleans too."""
    if isinstance(given, bool) or not isinstance(given, Integral):
        return None
    return int(given)


def plain(given: object) -> object:
    """Turn the official client's models into what they stand for, and leave all else alone."""
    dump = getattr(given, "model_dump", None)
    return given if dump is None else dump(by_alias=True, exclude_none=True)


def utf8(text: str) -> bytes:
    """Encode a text.

    Raises
    ------
    InputError
        For half of a surrogate pair, which is no character and has no encoding.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{text!r} is no valid text: {error.reason}") from error


# json_with_int.proto, Value: the tags of its kinds, and the two values that never change.
_NULL = b"\x08\x00"
_DOUBLE = struct.Struct("<cd").pack
_INTEGER = b"\x18"
_STRING = b"\x22"
_BOOL = {False: b"\x28\x00", True: b"\x28\x01"}
_STRUCT = b"\x32"
_LIST = b"\x3a"


def _text(value: str) -> bytes:
    return _STRING + sized(utf8(value))


def _integer(value: int) -> bytes:
    value = int(value)  # a range looks for a member of an IntEnum one by one
    if value not in INT64:
        raise InputError(f"{value} does not fit a 64-bit integer, the only kind that gRPC carries")
    return _INTEGER + varint(value % 2**64)  # two's complement


def _float(value: float) -> bytes:
    return _DOUBLE(b"\x11", value)


def _list(values: Iterable[Any]) -> bytes:
    return _LIST + sized(b"".join([b"\x0a" + sized(value_bytes(value)) for value in values]))


def _struct(value: Mapping[str, Any]) -> bytes:
    return _STRUCT + sized(struct_bytes(value, b"\x0a"))


_KINDS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: _NULL,
    bool: _BOOL.__getitem__,
    int: _integer,
    float: _float,
    str: _text,
    list: _list,
    tuple: _list,
    dict: _struct,
}


def value_bytes(value: Any) -> bytes:
    """Encode a JSON-like Python value as a ``Value``.

    Raises
    ------
    InputError
        For an integer beyond 64 bits, and for what JSON does not know.
    """
    encode = _KINDS.get(type(value))
    if encode is None:
        for kind in (bool, int, float, str, list, tuple, dict):  # subclasses, an IntEnum say
            if isinstance(value, kind):
                return _KINDS[kind](value)
        raise InputError(
            f"a payload cannot hold {value!r} ({type(value).__name__}): only None, bool, int, "
            "float, str, lists and dicts of them"
        )
    return encode(value)


def struct_bytes(values: Mapping[str, Any], tag: bytes) -> bytes:
    """Encode a dict as a map field of ``Value``, one entry with this tag for each key."""
    return b"".join([tag + sized(entry_bytes(key, value)) for key, value in values.items()])


def entry_bytes(key: str, value: Any) -> bytes:
    """Encode one entry of a map field of ``Value``."""
    if not isinstance(key, str):
        raise InputError(f"the key {key!r} of a payload is a {type(key).__name__}: only str works")
    return _key(key) + sized(value_bytes(value))


@functools.lru_cache(maxsize=1024)  # the keys of nested objects are the same in every row
def _key(key: str) -> bytes:
    return b"\x0a" + sized(utf8(key)) + b"\x12"


def write_value(value: Any) -> wire.Value:
    """Turn a JSON-like Python value into its message."""
    return wire.Value.FromString(value_bytes(value))


def read_value(value: wire.Value) -> Any:
    """Turn a message into None, bool, int, float, str, list or dict."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return read_struct(value.struct_value.fields)
    if kind == "list_value":
        return [read_value(item) for item in value.list_value.values]
    return getattr(value, kind)


def read_struct(fields: Mapping[str, wire.Value]) -> dict[str, Any]:
    """Turn a map field of ``Value``, such as a point's payload, into a dict.

    A map has no order on the wire; sorted, the same point gives the same dict every time.
    """
    return {key: read_value(fields[key]) for key in sorted(fields)}


def write_id(point: object) -> wire.PointId:
    """Turn a number, a UUID or its text into a message.

    Raises
    ------
    InputError
        For what cannot be the id of a point.
    """
    if isinstance(point, uuid.UUID):
        return wire.PointId(uuid=str(point))
    if isinstance(point, str):
        try:
            return wire.PointId(uuid=str(uuid.UUID(point)))
        except ValueError:
            pass
    elif (number := integer(point)) is not None and number in UINT64:
        return wire.PointId(num=number)
    raise InputError(
        f"{point!r} cannot be the id of a point: only integers from 0 to 2**64 - 1 and UUIDs can"
    )


def read_id(point: wire.PointId) -> int | str:
    """Turn a message into a number, or a UUID's text."""
    return point.num if point.WhichOneof("point_id_options") == "num" else point.uuid
