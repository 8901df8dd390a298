"""Official filters, as the embedded engine wants them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, cast

import qdrant_edge as edge
from qdrant_client.http import models


def edge_filter(wanted: models.Filter | None) -> edge.Filter | None:
    """The filter of a request, None where there is none."""
    if wanted is None:
        return None
    minimum = wanted.min_should
    return edge.Filter(
        must=_conditions(wanted.must),
        should=_conditions(wanted.should),
        must_not=_conditions(wanted.must_not),
        min_should=(
            edge.MinShould(_conditions(minimum.conditions) or [], minimum.min_count)
            if minimum
            else None
        ),
    )


def _conditions(given: Any) -> list[Any] | None:
    if given is None:
        return None
    return [_condition(condition) for condition in (given if isinstance(given, list) else [given])]


def _condition(given: Any) -> Any:
    match given:
        case models.FieldCondition():
            return _field(given)
        case models.IsEmptyCondition():
            return edge.IsEmptyCondition(given.is_empty.key)
        case models.IsNullCondition():
            return edge.IsNullCondition(given.is_null.key)
        case models.HasIdCondition():
            return edge.HasIdCondition({_hashable(point) for point in given.has_id})
        case models.HasVectorCondition():
            return edge.HasVectorCondition(given.has_vector)
        case models.NestedCondition():
            nested = cast(edge.Filter, edge_filter(given.nested.filter))
            return edge.NestedCondition(given.nested.key, nested)
        case models.Filter():
            return edge_filter(given)
    raise ValueError(f"{type(given).__name__} is not supported by this server")


def _hashable(point: Any) -> Any:
    return point if isinstance(point, int) else str(point)


def _field(given: models.FieldCondition) -> edge.FieldCondition:
    count = given.values_count
    return edge.FieldCondition(
        given.key,
        match=_match(given.match),
        range=_range(given.range),
        geo_bounding_box=_box(given.geo_bounding_box),
        geo_radius=_radius(given.geo_radius),
        geo_polygon=_polygon(given.geo_polygon),
        values_count=edge.ValuesCount(**dict(count)) if count else None,
        is_empty=given.is_empty,
        is_null=given.is_null,
    )


def _match(given: Any) -> Any:
    match given:
        case None:
            return None
        case models.MatchValue(value=bool()):
            # The engine takes True for 1 and would find nothing.
            raise ValueError("matching a boolean is not supported by this server")
        case models.MatchValue():
            return edge.MatchValue(given.value)
        case models.MatchText():
            return edge.MatchText(given.text)
        case models.MatchTextAny():
            return edge.MatchTextAny(given.text_any)
        case models.MatchPhrase():
            return edge.MatchPhrase(given.phrase)
        case models.MatchAny():
            return edge.MatchAny(given.any)
        case models.MatchExcept():
            return edge.MatchExcept(given.except_)
    raise ValueError(f"{type(given).__name__} is not supported by this server")


def _range(given: Any) -> Any:
    if given is None:
        return None
    if isinstance(given, models.DatetimeRange):
        return edge.RangeDateTime(**{name: _moment(value) for name, value in given})
    return edge.RangeFloat(**dict(given))


def _moment(value: datetime | date | None) -> str | None:
    return None if value is None else value.isoformat()


def _box(given: models.GeoBoundingBox | None) -> edge.GeoBoundingBox | None:
    if given is None:
        return None
    return edge.GeoBoundingBox(_point(given.top_left), _point(given.bottom_right))


def _radius(given: models.GeoRadius | None) -> edge.GeoRadius | None:
    return None if given is None else edge.GeoRadius(_point(given.center), given.radius)


def _polygon(given: models.GeoPolygon | None) -> edge.GeoPolygon | None:
    if given is None:
        return None
    interiors = [[_point(p) for p in line.points] for line in given.interiors or ()]
    return edge.GeoPolygon([_point(p) for p in given.exterior.points], interiors or None)


def _point(given: models.GeoPoint) -> edge.GeoPoint:
    return edge.GeoPoint(given.lon, given.lat)
