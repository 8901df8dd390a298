"""Filters in the form of the REST API, as the embedded engine takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np

from qframe.errors import InputError
from qframe.transports.edge_handle import engine

_CLAUSES = ("must", "should", "must_not", "min_should")
_FIELD = (
    "match",
    "range",
    "geo_bounding_box",
    "geo_radius",
    "geo_polygon",
    "values_count",
    "is_empty",
    "is_null",
)
_OTHERS = ("is_empty", "is_null", "has_id", "has_vector", "nested")
_BOUNDS = ("gt", "gte", "lt", "lte")


def edge_filter(value: object) -> Any:
    """Translate a filter.

    Parameters
    ----------
    value : mapping, or object with ``model_dump``
        As the REST API has it, or the official client's ``models.Filter``. None stands for what is
        left out.

    Returns
    -------
    qdrant_edge.Filter

    Raises
    ------
    InputError
        For a key that is not known, and for a value that is not of its kind; the message says where
        in the filter.

    Examples
    --------
    >>> edge_filter({"must": [{"key": "city", "matches": "Berlin"}]})
    Traceback (most recent call last):
        ...
    qframe.errors.InputError: filter.must[0]: unknown key 'matches'; known are geo_bounding_box, \
geo_polygon, geo_radius, is_empty, is_null, key, match, range, values_count
    """
    return _filter("filter", value)


def _filter(where: str, value: object) -> Any:
    given = _given(where, value)
    _check_keys(where, given, _CLAUSES)
    clauses = {
        name: _conditions(f"{where}.{name}", given[name])
        for name in ("must", "should", "must_not")
        if name in given
    }
    if "min_should" in given:
        clauses["min_should"] = _min_should(f"{where}.min_should", given["min_should"])
    return engine().Filter(**clauses)


def _conditions(where: str, value: object) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [_condition(f"{where}[{at}]", item) for at, item in enumerate(value)]
    return [_condition(where, value)]


def _min_should(where: str, value: object) -> Any:
    given = _exactly(where, value, ("conditions", "min_count"))
    return _made(
        where,
        lambda: engine().MinShould(
            _conditions(f"{where}.conditions", given["conditions"]),
            _whole(f"{where}.min_count", given["min_count"]),
        ),
    )


def _condition(where: str, value: object) -> Any:
    given = _given(where, value)
    if "key" in given:
        return _field(where, given)
    if any(name in given for name in _OTHERS):
        if len(given) > 1:
            raise InputError(
                f"{where}: {', '.join(map(repr, given))} cannot stand in one condition"
            )
        ((name, inner),) = given.items()
        return _SPECIAL[name](f"{where}.{name}", inner)
    if given and not any(name in _CLAUSES for name in given):
        wanted = ", ".join(("key", *_OTHERS, *_CLAUSES))
        raise InputError(
            f"{where}: unknown key {next(iter(given))!r}; a condition has one of {wanted}"
        )
    return _filter(where, given)


def _field(where: str, given: Mapping[str, Any]) -> Any:
    _check_keys(where, given, ("key", *_FIELD))
    if len(given) < 2:
        raise InputError(f"{where}: a key without a condition; one of {', '.join(_FIELD)}")
    key = _text(f"{where}.key", given["key"])
    parts = {name: _PARTS[name](f"{where}.{name}", given[name]) for name in _FIELD if name in given}
    return _made(where, lambda: engine().FieldCondition(key=key, **parts))


def _match(where: str, value: object) -> Any:
    given = _given(where, value)
    _check_keys(where, given, _MATCHES)
    if len(given) != 1:
        raise InputError(f"{where}: exactly one of {', '.join(_MATCHES)}")
    ((name, wanted),) = given.items()
    where = f"{where}.{name}"
    if name == "value":
        if isinstance(wanted, UUID):
            wanted = str(wanted)
        if not isinstance(wanted, (str, int)):
            raise InputError(f"{where}={wanted!r}: a str, an int or a bool; floats have 'range'")
        if isinstance(wanted, bool):
            # The engine tries integers first and takes True for 1; numpy's booleans are none.
            wanted = np.bool_(wanted)
    elif name in ("any", "except"):
        wanted = _choices(where, wanted)
    else:
        wanted = _text(where, wanted)
    return _made(where, lambda: getattr(engine(), _MATCHES[name])(wanted))


_MATCHES = {
    "value": "MatchValue",
    "any": "MatchAny",
    "except": "MatchExcept",
    "text": "MatchText",
    "text_any": "MatchTextAny",
    "phrase": "MatchPhrase",
    "prefix": "MatchPrefix",
    "substring": "MatchSubstring",
}


def _choices(where: str, value: object) -> list[Any]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise InputError(f"{where}={value!r}: a list of str or of int")
    items = [str(item) if isinstance(item, UUID) else item for item in value]
    kinds = {type(item) for item in items}
    if not (kinds <= {str} or kinds <= {int}):
        raise InputError(f"{where}: a list of str or of int, not of both or of others")
    return items


def _range(where: str, value: object) -> Any:
    given = _given(where, value)
    _check_keys(where, given, _BOUNDS)
    moments = [name for name, bound in given.items() if isinstance(bound, (str, date))]
    if moments:
        if len(moments) < len(given):
            raise InputError(f"{where}: numbers or points in time, not both")
        texts = {
            name: bound.isoformat() if isinstance(bound, date) else bound
            for name, bound in given.items()
        }
        return _made(where, lambda: engine().RangeDateTime(**texts))
    numbers = {name: _number(f"{where}.{name}", bound) for name, bound in given.items()}
    return _made(where, lambda: engine().RangeFloat(**numbers))


def _values_count(where: str, value: object) -> Any:
    given = _given(where, value)
    _check_keys(where, given, _BOUNDS)
    counts = {name: _whole(f"{where}.{name}", bound) for name, bound in given.items()}
    return _made(where, lambda: engine().ValuesCount(**counts))


def _geo_bounding_box(where: str, value: object) -> Any:
    given = _exactly(where, value, ("top_left", "bottom_right"))
    corners = {name: _geo_point(f"{where}.{name}", given[name]) for name in given}
    return _made(where, lambda: engine().GeoBoundingBox(**corners))


def _geo_radius(where: str, value: object) -> Any:
    given = _exactly(where, value, ("center", "radius"))
    center = _geo_point(f"{where}.center", given["center"])
    radius = _number(f"{where}.radius", given["radius"])
    return _made(where, lambda: engine().GeoRadius(center, radius))


def _geo_polygon(where: str, value: object) -> Any:
    given = _given(where, value)
    _check_keys(where, given, ("exterior", "interiors"))
    if "exterior" not in given:
        raise InputError(f"{where}: 'exterior' is missing")
    exterior = _ring(f"{where}.exterior", given["exterior"])
    interiors = given.get("interiors") or []
    if not isinstance(interiors, (list, tuple)):
        raise InputError(f"{where}.interiors: a list of rings")
    holes = [_ring(f"{where}.interiors[{at}]", ring) for at, ring in enumerate(interiors)]
    return _made(where, lambda: engine().GeoPolygon(exterior, holes or None))


def _ring(where: str, value: object) -> list[Any]:
    points = _exactly(where, value, ("points",))["points"]
    if not isinstance(points, (list, tuple)):
        raise InputError(f"{where}.points: a list of points, each with lon and lat")
    return [_geo_point(f"{where}.points[{at}]", point) for at, point in enumerate(points)]


def _geo_point(where: str, value: object) -> Any:
    given = _exactly(where, value, ("lon", "lat"))
    lon, lat = (_number(f"{where}.{name}", given[name]) for name in ("lon", "lat"))
    return _made(where, lambda: engine().GeoPoint(lon, lat))


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{where}={value!r}: True or False")
    return value


_PARTS: dict[str, Callable[[str, object], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _geo_bounding_box,
    "geo_radius": _geo_radius,
    "geo_polygon": _geo_polygon,
    "values_count": _values_count,
    "is_empty": _flag,
    "is_null": _flag,
}


def _is_empty(where: str, value: object) -> Any:
    key = _text(f"{where}.key", _exactly(where, value, ("key",))["key"])
    return _made(where, lambda: engine().IsEmptyCondition(key))


def _is_null(where: str, value: object) -> Any:
    key = _text(f"{where}.key", _exactly(where, value, ("key",))["key"])
    return _made(where, lambda: engine().IsNullCondition(key))


def _has_id(where: str, value: object) -> Any:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise InputError(f"{where}={value!r}: a list of point ids")
    ids: set[int | str] = set()
    for item in value:
        if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**64:
            ids.add(item)
            continue
        try:
            if not isinstance(item, (str, UUID)):
                raise ValueError
            ids.add(str(UUID(str(item))))
        except ValueError:
            raise InputError(
                f"{where}: {item!r} is no point id: an int from 0 to 2**64 - 1, or a UUID"
            ) from None
    return _made(where, lambda: engine().HasIdCondition(ids))


def _has_vector(where: str, value: object) -> Any:
    name = _text(where, value)
    return _made(where, lambda: engine().HasVectorCondition(name))


def _nested(where: str, value: object) -> Any:
    given = _exactly(where, value, ("key", "filter"))
    key = _text(f"{where}.key", given["key"])
    inner = _filter(f"{where}.filter", given["filter"])
    return _made(where, lambda: engine().NestedCondition(key, inner))


_SPECIAL: dict[str, Callable[[str, object], Any]] = {
    "is_empty": _is_empty,
    "is_null": _is_null,
    "has_id": _has_id,
    "has_vector": _has_vector,
    "nested": _nested,
}


def _given(where: str, value: object) -> Mapping[str, Any]:
    """Return the keys that are set."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        value = dump(mode="json", by_alias=True, exclude_none=True)
    if not isinstance(value, Mapping):
        raise InputError(f"{where}={value!r}: a dict, not {type(value).__name__}")
    return {name: inner for name, inner in value.items() if inner is not None}


def _exactly(where: str, value: object, names: tuple[str, ...]) -> Mapping[str, Any]:
    given = _given(where, value)
    _check_keys(where, given, names)
    for name in names:
        if name not in given:
            raise InputError(f"{where}: {name!r} is missing")
    return given


def _check_keys(where: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"{where}: unknown key {name!r}; known are {', '.join(sorted(known))}")


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}={value!r}: a str")
    return value


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{where}={value!r}: a number")
    return value


def _whole(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{where}={value!r}: a whole number, 0 or more")
    return value


def _made(where: str, make: Callable[[], Any]) -> Any:
    """Call the engine's constructor; what it refuses is the caller's input."""
    try:
        return make()
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}") from error
