"""Filters in the form of the REST API as protobuf messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from numbers import Real
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from qframe._wire import messages as wire
from qframe.encoding.values import INT64, UINT64, integer, plain, write_id
from qframe.errors import InputError

_FILTER_KEYS = ("must", "should", "must_not", "min_should")
_BOUNDS = ("lt", "lte", "gt", "gte")
_TEXT_MATCHES = ("text", "text_any", "phrase", "prefix", "substring")


def write_filter(given: object) -> wire.Filter:
    """Turn a filter into its message.

    Parameters
    ----------
    given : mapping, or object with ``model_dump``
        In the form of the REST API, ``{"must": [{"key": "city", "match": {"value": "Oslo"}}]}``,
        or the official client's ``models.Filter``.

    Returns
    -------
    Filter

    Raises
    ------
    InputError
        For a key that no filter has, and for values that do not fit; the message says where.

    Examples
    --------
    >>> write_filter({"must": {"has_vector": "text"}}).must[0].has_vector.has_vector
    'text'
    """
    return _filter(given, "filter")


def _filter(given: object, where: str) -> wire.Filter:
    parts = _mapping(given, where, _FILTER_KEYS)
    message = wire.Filter()
    for name, conditions in (
        ("must", message.must),
        ("should", message.should),
        ("must_not", message.must_not),
    ):
        if name in parts:
            conditions.extend(_conditions(parts[name], f"{where}.{name}"))
    if "min_should" in parts:
        inner = f"{where}.min_should"
        least = _mapping(
            parts["min_should"], inner, ("conditions", "min_count"), ("conditions", "min_count")
        )
        message.min_should.conditions.extend(
            _conditions(least["conditions"], f"{inner}.conditions")
        )
        message.min_should.min_count = _integer(least["min_count"], f"{inner}.min_count", UINT64)
    return message


def _conditions(given: object, where: str) -> list[wire.Condition]:
    """Read a list of conditions, or the one that stands there instead of a list."""
    if isinstance(plain(given), Mapping):
        return [_condition(given, where)]
    return [_condition(item, f"{where}[{at}]") for at, item in enumerate(_list(given, where))]


def _condition(given: object, where: str) -> wire.Condition:
    given = plain(given)
    if isinstance(given, Mapping):
        if "key" in given:
            return wire.Condition(field=_field(given, where))
        for name, write in _CONDITIONS.items():
            if name in given:
                parts = _mapping(given, where, (name,), (name,))
                return write(parts[name], f"{where}.{name}")
    known = ("key", *_CONDITIONS, *_FILTER_KEYS)
    _mapping(given, where, known)
    return wire.Condition(filter=_filter(given, where))


def _is_empty(given: object, where: str) -> wire.Condition:
    return wire.Condition(is_empty=wire.IsEmptyCondition(key=_payload_key(given, where)))


def _is_null(given: object, where: str) -> wire.Condition:
    return wire.Condition(is_null=wire.IsNullCondition(key=_payload_key(given, where)))


def _payload_key(given: object, where: str) -> str:
    return _text(_mapping(given, where, ("key",), ("key",))["key"], f"{where}.key")


def _has_id(given: object, where: str) -> wire.Condition:
    return wire.Condition(
        has_id=wire.HasIdCondition(has_id=[write_id(point) for point in _list(given, where)])
    )


def _has_vector(given: object, where: str) -> wire.Condition:
    return wire.Condition(has_vector=wire.HasVectorCondition(has_vector=_text(given, where)))


def _nested(given: object, where: str) -> wire.Condition:
    parts = _mapping(given, where, ("key", "filter"), ("key", "filter"))
    key = _text(parts["key"], f"{where}.key")
    inner = _filter(parts["filter"], f"{where}.filter")
    return wire.Condition(nested=wire.NestedCondition(key=key, filter=inner))


def _slice(given: object, where: str) -> wire.Condition:
    parts = _mapping(given, where, ("total", "index"), ("total", "index"))
    total = _integer(parts["total"], f"{where}.total", range(1, 2**32))
    index = _integer(parts["index"], f"{where}.index", range(total))
    return wire.Condition(slice=wire.SliceCondition(total=total, index=index))


_CONDITIONS: dict[str, Callable[[object, str], wire.Condition]] = {
    "is_empty": _is_empty,
    "is_null": _is_null,
    "has_id": _has_id,
    "has_vector": _has_vector,
    "nested": _nested,
    "slice": _slice,
}


# ---- Conditions on the values of a payload key ----


def _field(given: object, where: str) -> wire.FieldCondition:
    tests = (
        "match",
        "range",
        "geo_bounding_box",
        "geo_radius",
        "geo_polygon",
        "values_count",
        "is_empty",
        "is_null",
    )
    parts = _mapping(given, where, ("key", *tests), ("key",))
    if len(parts) == 1:
        raise InputError(f"{where} says nothing about {parts['key']!r}: add {_either(tests)}")
    message = wire.FieldCondition(key=_text(parts["key"], f"{where}.key"))
    if "match" in parts:
        message.match.CopyFrom(_match(parts["match"], f"{where}.match"))
    if "range" in parts:
        _range(message, parts["range"], f"{where}.range")
    if "geo_bounding_box" in parts:
        inner = f"{where}.geo_bounding_box"
        corners = ("top_left", "bottom_right")
        box = _mapping(parts["geo_bounding_box"], inner, corners, corners)
        message.geo_bounding_box.top_left.CopyFrom(_place(box["top_left"], f"{inner}.top_left"))
        message.geo_bounding_box.bottom_right.CopyFrom(
            _place(box["bottom_right"], f"{inner}.bottom_right")
        )
    if "geo_radius" in parts:
        inner = f"{where}.geo_radius"
        circle = _mapping(parts["geo_radius"], inner, ("center", "radius"), ("center", "radius"))
        message.geo_radius.center.CopyFrom(_place(circle["center"], f"{inner}.center"))
        message.geo_radius.radius = _number(circle["radius"], f"{inner}.radius")
    if "geo_polygon" in parts:
        inner = f"{where}.geo_polygon"
        area = _mapping(parts["geo_polygon"], inner, ("exterior", "interiors"), ("exterior",))
        message.geo_polygon.exterior.CopyFrom(_line(area["exterior"], f"{inner}.exterior"))
        for at, hole in enumerate(_list(area.get("interiors", []), f"{inner}.interiors")):
            message.geo_polygon.interiors.append(_line(hole, f"{inner}.interiors[{at}]"))
    if "values_count" in parts:
        inner = f"{where}.values_count"
        bounds = _mapping(parts["values_count"], inner, _BOUNDS)
        message.values_count.SetInParent()
        for name, bound in bounds.items():
            setattr(message.values_count, name, _integer(bound, f"{inner}.{name}", UINT64))
    for name in ("is_empty", "is_null"):
        if name in parts:
            if not isinstance(parts[name], bool):
                raise InputError(f"{where}.{name} is {parts[name]!r}: True or False")
            setattr(message, name, parts[name])
    return message


def _match(given: object, where: str) -> wire.Match:
    known = ("value", "any", "except", *_TEXT_MATCHES)
    parts = _mapping(given, where, known)
    if len(parts) != 1:
        raise InputError(f"{where} holds {sorted(parts)}: it takes one of {_either(known)}")
    ((name, value),) = parts.items()
    where = f"{where}.{name}"
    if name in _TEXT_MATCHES:
        message = wire.Match()
        setattr(message, name, _text(value, where))
        return message
    if name == "value":
        if isinstance(value, bool):
            return wire.Match(boolean=value)
        if integer(value) is not None:
            return wire.Match(integer=_integer(value, where, INT64))
        return wire.Match(keyword=_text(value, where, "a text, an integer, True or False"))
    values = _list(value, where)
    if values and not isinstance(values[0], str):
        integers = wire.RepeatedIntegers(
            integers=[_integer(item, f"{where}[{at}]", INT64) for at, item in enumerate(values)]
        )
        if name == "any":
            return wire.Match(integers=integers)
        return wire.Match(except_integers=integers)
    strings = wire.RepeatedStrings(
        strings=[_text(item, f"{where}[{at}]") for at, item in enumerate(values)]
    )
    return wire.Match(keywords=strings) if name == "any" else wire.Match(except_keywords=strings)


def _range(message: wire.FieldCondition, given: object, where: str) -> None:
    """Set the range of numbers, or that of points in time where a bound is a date or a text."""
    bounds = _mapping(given, where, _BOUNDS)
    if any(isinstance(bound, (str, date)) for bound in bounds.values()):
        for name, bound in bounds.items():
            getattr(message.datetime_range, name).CopyFrom(_instant(bound, f"{where}.{name}"))
    else:
        message.range.SetInParent()
        for name, bound in bounds.items():
            setattr(message.range, name, _number(bound, f"{where}.{name}"))


def _instant(given: object, where: str) -> Timestamp:
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
    elif isinstance(given, date) and not isinstance(given, datetime):
        given = datetime.combine(given, time.min)
    if not isinstance(given, datetime):
        raise InputError(f"{where} is {given!r}: a date like the other bounds")
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)  # as the server reads a time without a zone
    message = Timestamp()
    message.FromDatetime(given)
    return message


def _place(given: object, where: str) -> wire.GeoPoint:
    parts = _mapping(given, where, ("lon", "lat"), ("lon", "lat"))
    return wire.GeoPoint(
        lon=_number(parts["lon"], f"{where}.lon"), lat=_number(parts["lat"], f"{where}.lat")
    )


def _line(given: object, where: str) -> wire.GeoLineString:
    points = _list(_mapping(given, where, ("points",), ("points",))["points"], f"{where}.points")
    return wire.GeoLineString(
        points=[_place(point, f"{where}.points[{at}]") for at, point in enumerate(points)]
    )


# ---- Reading values of one type ----


def _mapping(
    given: object, where: str, known: Sequence[str], needed: Sequence[str] = ()
) -> dict[str, Any]:
    """Check the keys of a mapping, and leave out those that are None."""
    given = plain(given)
    if not isinstance(given, Mapping):
        raise InputError(f"{where} is {given!r}: a mapping with {_either(known)}")
    for key in given:
        if key not in known:
            raise InputError(f"{where} knows no {key!r}: it takes {_either(known)}")
    parts = {key: value for key, value in given.items() if value is not None}
    for key in needed:
        if key not in parts:
            raise InputError(f"{where} lacks {key!r}: {dict(given)!r}")
    return parts


def _list(given: object, where: str) -> list[Any]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence):
        raise InputError(f"{where} is {given!r}: a list")
    return list(given)


def _text(given: object, where: str, wanted: str = "a text") -> str:
    if not isinstance(given, str):
        raise InputError(f"{where} is {given!r}: {wanted}")
    return given


def _integer(given: object, where: str, allowed: range) -> int:
    number = integer(given)
    if number is None or number not in allowed:
        raise InputError(
            f"{where} is {given!r}: an integer from {allowed.start} to {allowed.stop - 1}"
        )
    return number


def _number(given: object, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise InputError(f"{where} is {given!r}: a number")
    return float(given)


def _either(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}" if len(names) > 1 else names[0]
