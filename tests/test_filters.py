from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http import models

from qframe.encoding.filters import write_filter
from qframe.errors import InputError

PLACE = models.GeoPoint(lon=10.75, lat=59.91)
TRIANGLE = models.GeoLineString(
    points=[PLACE, models.GeoPoint(lon=11, lat=60), models.GeoPoint(lon=12, lat=59), PLACE]
)
ID = "936da01f-9abd-4d9d-80c7-02af85c822a8"
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)


def field(**given: Any) -> models.FieldCondition:
    """Build a condition on a payload key."""
    return models.FieldCondition(key="a.b[].c", **given)


CONDITIONS: dict[str, Any] = {
    "match text": field(match=models.MatchValue(value="Oslo")),
    "match integer": field(match=models.MatchValue(value=-(2**63))),
    "match true": field(match=models.MatchValue(value=True)),
    "match false": field(match=models.MatchValue(value=False)),
    "match any text": field(match=models.MatchAny(any=["a", "b"])),
    "match any integer": field(match=models.MatchAny(any=[1, -2])),
    "match any of none": field(match=models.MatchAny(any=[])),
    "match except text": field(match=models.MatchExcept(**{"except": ["a"]})),
    "match except integer": field(match=models.MatchExcept(**{"except": [3]})),
    "match except none": field(match=models.MatchExcept(**{"except": []})),
    "full text": field(match=models.MatchText(text="blue sky")),
    "any word": field(match=models.MatchTextAny(text_any="blue sky")),
    "phrase": field(match=models.MatchPhrase(phrase="blue sky")),
    "prefix": field(match=models.MatchPrefix(prefix="blu")),
    "substring": field(match=models.MatchSubstring(substring="lue")),
    "range": field(range=models.Range(gt=0.5, lte=7)),
    "range of zero": field(range=models.Range(gte=0, lt=0)),
    "range without bounds": field(range=models.Range()),
    "datetime range": field(range=models.DatetimeRange(gte=NOON, lt=NOON + timedelta(days=1))),
    "datetime range elsewhere": field(
        range=models.DatetimeRange(gt=NOON.astimezone(timezone(timedelta(hours=-5))))
    ),
    "date range": field(range=models.DatetimeRange(lte=date(1969, 7, 20))),
    "box": field(
        geo_bounding_box=models.GeoBoundingBox(
            top_left=PLACE, bottom_right=models.GeoPoint(lon=11, lat=0)
        )
    ),
    "radius": field(geo_radius=models.GeoRadius(center=PLACE, radius=1500.5)),
    "polygon": field(geo_polygon=models.GeoPolygon(exterior=TRIANGLE)),
    "polygon with holes": field(
        geo_polygon=models.GeoPolygon(exterior=TRIANGLE, interiors=[TRIANGLE, TRIANGLE])
    ),
    "values count": field(values_count=models.ValuesCount(gte=0, lt=2**53)),
    "field is empty": field(is_empty=True),
    "field is not null": field(is_null=False),
    "is empty": models.IsEmptyCondition(is_empty=models.PayloadField(key="a")),
    "is null": models.IsNullCondition(is_null=models.PayloadField(key="a")),
    "has id": models.HasIdCondition(has_id=[0, 2**64 - 1, ID]),
    "has no id": models.HasIdCondition(has_id=[]),
    "has vector": models.HasVectorCondition(has_vector="text"),
    "has the unnamed vector": models.HasVectorCondition(has_vector=""),
    "slice": models.SliceCondition(slice=models.Slice(total=4, index=3)),
    "nested": models.NestedCondition(
        nested=models.Nested(key="diet", filter=models.Filter(must=[field(is_null=True)]))
    ),
    "filter": models.Filter(should=[field(is_empty=False), models.Filter(must_not=[])]),
}


def same(ours: Any, model: models.Filter) -> bool:
    """Compare with what the official client would send."""
    theirs = RestToGrpc.convert_filter(model)
    return bool(grpc.Filter.FromString(ours.SerializeToString()) == theirs)


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_model_becomes_the_official_message(condition: Any) -> None:
    """Each condition of the official client becomes the message that the client would send."""
    model = models.Filter(must=[condition])
    assert same(write_filter(model), model)


@pytest.mark.parametrize("mode", ["python", "json"])
@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_dict_becomes_the_official_message(condition: Any, mode: Any) -> None:
    """Each condition as the REST API writes it becomes that message, in Python types or JSON's."""
    model = models.Filter(must=[condition])
    given = model.model_dump(mode=mode, by_alias=True, exclude_none=True)
    assert same(write_filter(given), model)


def test_all_clauses() -> None:
    """The four clauses stay apart, and keep the order of their conditions."""
    a, b, c, d = (models.HasVectorCondition(has_vector=name) for name in "abcd")
    model = models.Filter(
        must=[a, b],
        should=[c],
        must_not=[d],
        min_should=models.MinShould(conditions=[b, a], min_count=2),
    )
    assert same(write_filter(model.model_dump(exclude_none=True)), model)


def test_single_condition_needs_no_list() -> None:
    """A clause may hold a condition instead of a list, as over REST."""
    model = models.Filter(must=CONDITIONS["nested"])
    assert same(write_filter({"must": model.model_dump(exclude_none=True)["must"]}), model)


def test_empty_filter_and_absent_parts() -> None:
    """None counts as absent, and a filter without conditions is one."""
    assert same(write_filter({}), models.Filter())
    assert same(write_filter({"must": None, "should": []}), models.Filter())


def test_models_inside_a_dict() -> None:
    """The official client's models may stand anywhere in a dict."""
    model = models.Filter(must=[CONDITIONS["box"]], should=CONDITIONS["range"])
    assert same(write_filter({"must": [CONDITIONS["box"]], "should": CONDITIONS["range"]}), model)


def test_several_tests_of_one_key_are_all_sent() -> None:
    """A condition with two tests carries both, as over REST."""
    message = write_filter({"must": {"key": "a", "range": {"gt": 1}, "is_null": False}})
    sent = message.must[0].field
    assert (sent.range.gt, sent.HasField("is_null"), sent.is_null) == (1.0, True, False)


def test_has_id_takes_uuids_in_any_form() -> None:
    """Ids are numbers, UUID objects and any spelling of a UUID."""
    given = {"must": {"has_id": [uuid.UUID(ID), ID.upper(), ID.replace("-", "")]}}
    assert [point.uuid for point in write_filter(given).must[0].has_id.has_id] == [ID] * 3


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T12:00:00.123456Z",
        "2024-02-29T13:00:00.123456+01:00",
        "2024-02-29 12:00:00.123456",
    ],
)
def test_times_as_text(text: str) -> None:
    """A text is a time as the server reads it, in UTC where it names no zone."""
    message = write_filter({"must": {"key": "a", "range": {"gte": text}}})
    assert message.must[0].field.datetime_range.gte.ToDatetime(tzinfo=UTC) == NOON


WRONG: list[tuple[Any, str]] = [
    ([], "filter is []: a mapping with must, should, must_not or min_should"),
    ({"mst": []}, "filter knows no 'mst': it takes must, should, must_not or min_should"),
    ({"must": 5}, "filter.must is 5: a list"),
    ({"must": ["a"]}, "filter.must[0] is 'a': a mapping with key, is_empty, is_null, has_id,"),
    ({"must": [{}, {"has": 1}]}, "filter.must[1] knows no 'has': it takes key, is_empty"),
    ({"must": {"key": "a"}}, "filter.must says nothing about 'a': add match, range"),
    ({"must": {"key": "a", "mtch": {}}}, "filter.must knows no 'mtch': it takes key, match"),
    ({"must": {"key": 5, "is_null": True}}, "filter.must.key is 5: a text"),
    ({"must": {"key": "a", "is_null": 1}}, "filter.must.is_null is 1: True or False"),
    ({"must": {"key": "a", "match": {}}}, "filter.must.match holds []: it takes one of value"),
    ({"must": {"key": "a", "match": {"value": 1, "any": [1]}}}, "holds ['any', 'value']"),
    ({"must": {"key": "a", "match": {"value": 1.5}}}, "match.value is 1.5: a text, an integer"),
    ({"must": {"key": "a", "match": {"value": 2**63}}}, "an integer from -9223372036854775808"),
    ({"must": {"key": "a", "match": {"any": "ab"}}}, "filter.must.match.any is 'ab': a list"),
    ({"must": {"key": "a", "match": {"any": [1, "b"]}}}, "match.any[1] is 'b': an integer"),
    ({"must": {"key": "a", "match": {"except": ["b", 1]}}}, "match.except[1] is 1: a text"),
    ({"must": {"key": "a", "match": {"text": 1}}}, "filter.must.match.text is 1: a text"),
    (
        {"must": {"key": "a", "range": {"above": 1}}},
        "knows no 'above': it takes lt, lte, gt or gte",
    ),
    ({"must": {"key": "a", "range": {"gt": True}}}, "filter.must.range.gt is True: a number"),
    ({"must": {"key": "a", "range": {"gt": "soon"}}}, "filter.must.range.gt: Invalid isoformat"),
    ({"must": {"key": "a", "range": {"gt": "2024-01-01", "lt": 5}}}, "range.lt is 5: a date"),
    ({"must": {"key": "a", "geo_radius": {"center": {"lon": 1, "lat": 2}}}}, "lacks 'radius'"),
    ({"must": {"key": "a", "geo_bounding_box": {"top_left": {"lon": 1}}}}, "lacks 'bottom_right'"),
    ({"must": {"key": "a", "geo_polygon": {"exterior": [1]}}}, "exterior is [1]: a mapping with"),
    (
        {"must": {"key": "a", "values_count": {"gt": -1}}},
        "values_count.gt is -1: an integer from 0",
    ),
    ({"must": {"is_empty": "a"}}, "filter.must.is_empty is 'a': a mapping with key"),
    ({"must": {"is_null": {"key": "a"}, "has_id": []}}, "filter.must knows no 'has_id': it takes"),
    ({"must": {"has_id": ["x"]}}, "'x' cannot be the id of a point"),
    ({"must": {"has_id": [True]}}, "True cannot be the id of a point"),
    ({"must": {"has_id": [-1]}}, "-1 cannot be the id of a point"),
    ({"must": {"has_vector": None}}, "filter.must lacks 'has_vector'"),
    ({"must": {"nested": {"key": "a"}}}, "filter.must.nested lacks 'filter'"),
    ({"must": {"nested": {"key": "a", "filter": {"x": 1}}}}, "nested.filter knows no 'x'"),
    ({"must": {"slice": {"total": 2, "index": 2}}}, "slice.index is 2: an integer from 0 to 1"),
    ({"min_should": {"conditions": []}}, "filter.min_should lacks 'min_count'"),
    ({"min_should": {"conditions": [], "min_count": -1}}, "min_should.min_count is -1"),
]


@pytest.mark.parametrize(("given", "complaint"), WRONG)
def test_mistakes_are_named(given: Any, complaint: str) -> None:
    """A key or a value that no filter has is refused, with its place and what is known there."""
    with pytest.raises(InputError) as caught:
        write_filter(given)
    assert complaint in str(caught.value)
