"""Settings of collections in the form of the REST API as protobuf messages, and back.

Both forms have the same names, so the messages' own descriptors say what is known. They differ in
few places: the values of enums are in snake_case, and some messages stand for a bare value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from qframe.encoding.values import plain, read_value, write_value
from qframe.errors import InputError

_REST_NAMES = {"turboquant": "turbo"}
"""Fields that have another name in the REST API."""


def write_settings(
    message: Message, settings: object, where: str, *, apart: Collection[str] = ()
) -> None:
    """Fill a message.

    Parameters
    ----------
    message : Message
    settings : mapping, or object with ``model_dump``
        By the names and with the values of the REST API; None counts as absent.
    where : str
        What the settings are called in errors.
    apart : collection of str
        Fields of the message that are no settings.

    Raises
    ------
    InputError
        For names and values that the message does not know; the error says which it knows.

    Examples
    --------
    >>> from qframe._wire.messages import VectorParams
    >>> params = VectorParams()
    >>> write_settings(params, {"on_disk": True, "hnsw_config": {"m": 16}}, "vector 'text'")
    >>> params.hnsw_config.m
    16
    """
    settings = plain(settings)
    fields = _fields(message.DESCRIPTOR, apart)
    if not isinstance(settings, Mapping):
        raise InputError(f"{where} is {settings!r}: a mapping with {_listed(fields)}")
    for name in settings:
        if name not in fields:
            raise InputError(f"{where} knows no {name!r}: it takes {_listed(fields)}")
    message.SetInParent()
    given = {name: value for name, value in settings.items() if value is not None}
    for oneof in message.DESCRIPTOR.oneofs:
        both = [name for name in given if fields[name].containing_oneof is oneof]
        if len(both) > 1:
            raise InputError(f"{where} takes one of {_listed(both)}, not several")
    for name, value in given.items():
        _write(message, fields[name], value, f"{where}.{name}")


def read_settings(message: Message, *, apart: Collection[str] = ()) -> dict[str, Any]:
    """Turn a message into what `write_settings` would make it from.

    Examples
    --------
    >>> from qframe._wire.messages import Float16, VectorParams
    >>> read_settings(VectorParams(datatype=Float16), apart=("size", "distance"))
    {'datatype': 'float16'}
    """
    return {
        name: _read(message, field)
        for name, field in _fields(message.DESCRIPTOR, apart).items()
        if _is_set(message, field)
    }


def _fields(kind: Any, apart: Collection[str] = ()) -> dict[str, FieldDescriptor]:
    return {
        _REST_NAMES.get(field.name, field.name): field
        for field in kind.fields
        if field.name not in apart
    }


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    return not _is_map(field) or bool(getattr(message, field.name))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _entries(field: FieldDescriptor) -> Descriptor:
    """Return the message type that a map field holds."""
    assert field.message_type is not None
    inner = field.message_type.fields_by_name["value"].message_type
    assert inner is not None
    return inner


def _bare_map(kind: Descriptor) -> FieldDescriptor | None:
    """Return the one field of a message that the REST API writes as that field's map."""
    return kind.fields[0] if len(kind.fields) == 1 and _is_map(kind.fields[0]) else None


def _bare_value(kind: Descriptor) -> bool:
    """Tell whether a message is a choice of plain values, which the REST API writes by themselves.

    So it is with ``max_optimization_threads``, a number or ``"auto"``.
    """
    return (
        bool(kind.oneofs)
        and all(
            field.containing_oneof is not None and field.message_type is None
            for field in kind.fields
        )
        and not any(oneof.name.startswith("_") for oneof in kind.oneofs)
    )


# ---- Writing ----


def _write(message: Message, field: FieldDescriptor, value: Any, where: str) -> None:
    if _is_map(field):
        _write_map(getattr(message, field.name), field, value, where)
    elif field.message_type is None:
        _write_plain(message, field, value, where)
    elif (only := _bare_map(field.message_type)) is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _write_map(getattr(inner, only.name), only, value, where)
    elif _bare_value(field.message_type):
        wants_text = isinstance(value, str)
        choices = field.message_type.fields
        choice = next((f for f in choices if (f.enum_type is not None) is wants_text), choices[0])
        _write_plain(getattr(message, field.name), choice, value, where)
    else:
        write_settings(getattr(message, field.name), value, where)


def _write_map(entries: Any, field: FieldDescriptor, given: Any, where: str) -> None:
    given = plain(given)
    if not isinstance(given, Mapping):
        raise InputError(f"{where} is {given!r}: a mapping by name")
    inner = _entries(field)
    for name, value in given.items():
        if not isinstance(name, str):
            raise InputError(f"{where} has a key {name!r}: a text")
        if inner.name == "Value":
            entries[name].CopyFrom(write_value(value))
        else:
            write_settings(entries[name], value, f"{where}.{name}")


def _write_plain(message: Message, field: FieldDescriptor, value: Any, where: str) -> None:
    if isinstance(value, Enum):
        value = value.value
    if field.enum_type is not None:
        members = _members(field.enum_type)
        if not isinstance(value, str) or value not in members:
            raise InputError(f"{where} is {value!r}: it takes {_listed(members)}")
        value = members[value]
    elif isinstance(value, bool) is not (field.type == FieldDescriptor.TYPE_BOOL):
        raise InputError(f"{where} is {value!r}: {_KINDS.get(field.type, 'a number')}")
    try:
        setattr(message, field.name, value)
    except (TypeError, ValueError) as error:
        wanted = _KINDS.get(field.type, "a number")
        raise InputError(f"{where} is {value!r}: {wanted}") from error


_KINDS = {
    FieldDescriptor.TYPE_BOOL: "True or False",
    FieldDescriptor.TYPE_STRING: "a text",
    FieldDescriptor.TYPE_UINT32: "an integer from 0 to 2**32 - 1",
    FieldDescriptor.TYPE_UINT64: "an integer from 0 to 2**64 - 1",
}


# ---- Reading ----


def _read(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if _is_map(field):
        return _read_map(value, field)
    if field.message_type is None:
        return _read_plain(value, field)
    if (only := _bare_map(field.message_type)) is not None:
        return _read_map(getattr(value, only.name), only)
    if _bare_value(field.message_type):
        chosen = next((f for f in field.message_type.fields if value.HasField(f.name)), None)
        return None if chosen is None else _read_plain(getattr(value, chosen.name), chosen)
    return read_settings(value)


def _read_map(entries: Mapping[str, Any], field: FieldDescriptor) -> dict[str, Any]:
    read = read_value if _entries(field).name == "Value" else read_settings
    return {name: read(value) for name, value in entries.items()}


def _read_plain(value: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is None:
        return value
    names = {number: name for name, number in _members(field.enum_type).items()}
    return names.get(value, value)  # a server may know members that we do not


def _members(enum: EnumDescriptor) -> dict[str, int]:
    """Return the members of an enum by the names of the REST API."""
    return {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", member.name).lower(): member.number
        for member in enum.values
        if "Unknown" not in member.name
    }


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
