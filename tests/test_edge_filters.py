"""Filters for the embedded engine, judged by the points that they find."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import qdrant_edge as edge
from qdrant_client import models

from qframe.errors import InputError
from qframe.points import DenseBlock, Ids, PointBlock, VectorKind
from qframe.schema import CollectionSchema, VectorSchema
from qframe.stores.embedded import EmbeddedStore
from qframe.transports.embedded import Shard, open_shard
from qframe.uploaders.edge_filters import edge_filter
from qframe.uploaders.embedded import EmbeddedBatchUploader

DOCUMENTS: list[dict[str, Any]] = [
    {"city": "Oslo", "n": 1, "at": "2024-01-01T00:00:00Z", "place": {"lon": 10.7, "lat": 59.9}},
    {"city": "Bergen", "n": 2, "at": "2024-06-01T12:00:00Z", "place": {"lon": 5.3, "lat": 60.4}},
    {"city": "Rome", "n": 3, "at": "2025-01-01T00:00:00Z", "place": {"lon": 12.5, "lat": 41.9}},
    {"text": "the quick brown fox", "tags": ["a", "b", "c"], "ok": True},
    {"tags": ["c"], "x": None, "ok": False, "f": 1.5},
    {"tags": [], "items": [{"k": "u", "v": 1}, {"k": "w", "v": 2}]},
    {"items": [{"k": "u", "v": 2}]},
]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the opened collection of `DOCUMENTS`, ids from 0; only the first has a vector."""
    folder: Path = tmp_path_factory.mktemp("filters")
    with EmbeddedStore(folder) as store:
        store.create("docs", CollectionSchema({"v": VectorSchema(VectorKind.DENSE, 1, "dot")}))
        n = len(DOCUMENTS)
        block = PointBlock(
            Ids(np.arange(n, dtype=np.uint64)),
            {"v": DenseBlock(np.ones((1, 1), np.float32), np.arange(n) < 1)},
            documents=DOCUMENTS,
        )
        with EmbeddedBatchUploader.start(folder, collection="docs") as uploader:
            uploader.send(uploader.encode(block))
        with open_shard(folder, "docs") as shard:
            yield shard


def found(shard: Shard, given: object) -> list[int]:
    """Return the ids of the points that a filter finds."""
    request = edge.ScrollRequest(limit=100, filter=edge_filter(given))
    records, _ = shard.call("scroll", lambda handle: handle.scroll(request))
    return [record.id for record in records]


def key(name: str, **condition: Any) -> dict[str, Any]:
    """Wrap one condition on a payload key."""
    return {"must": [{"key": name, **condition}]}


SQUARE = [{"lon": lon, "lat": lat} for lon, lat in ((0, 50), (15, 50), (15, 70), (0, 70), (0, 50))]
HOLE = [{"lon": lon, "lat": lat} for lon, lat in ((9, 58), (12, 58), (12, 61), (9, 61), (9, 58))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"must": None, "should": []}, [0, 1, 2, 3, 4, 5, 6]),
        (key("city", match={"value": "Oslo"}), [0]),
        (key("n", match={"value": 2}), [1]),
        (key("ok", match={"value": True}), [3]),
        (key("ok", match={"value": False}), [4]),
        (key("n", match={"value": True}), []),
        (key("city", match={"any": ["Oslo", "Rome"]}), [0, 2]),
        (key("n", match={"any": [1, 3]}), [0, 2]),
        (key("city", match={"except": ["Oslo"]}), [1, 2]),
        (key("n", match={"except": [1]}), [1, 2]),
        (key("text", match={"text": "quick"}), [3]),
        (key("text", match={"text_any": "slow fox"}), [3]),
        (key("text", match={"phrase": "quick brown"}), [3]),
        (key("city", match={"prefix": "Ber"}), [1]),
        (key("city", match={"substring": "om"}), [2]),
        (key("n", range={"gt": 1, "lte": 3}), [1, 2]),
        (key("n", range={"gte": 1.5, "lt": 3}), [1]),
        (key("f", range={"gte": 1.5, "lte": 1.5}), [4]),
        (key("at", range={"gte": "2024-06-01T00:00:00Z"}), [1, 2]),
        (key("at", range={"lt": "2024-06-01"}), [0]),
        (key("at", range={"gt": dt.datetime(2024, 6, 1, 13)}), [2]),
        (key("at", range={"lte": dt.date(2024, 1, 1)}), [0]),
        (key("tags", values_count={"gte": 1, "lt": 3}), [4]),
        (key("x", is_null=True), [4]),
        (key("tags", is_empty=False), [3, 4]),
        ({"must": [{"is_null": {"key": "x"}}]}, [4]),
        ({"must": [{"is_empty": {"key": "tags"}}]}, [0, 1, 2, 5, 6]),
        ({"must": {"has_id": [1, 5, 2**64 - 1, str(UUID(int=7)), UUID(int=8)]}}, [1, 5]),
        ({"must": {"has_vector": "v"}}, [0]),
        (
            key(
                "place",
                geo_bounding_box={
                    "top_left": {"lon": 5, "lat": 61},
                    "bottom_right": {"lon": 11, "lat": 59},
                },
            ),
            [0, 1],
        ),
        (
            key("place", geo_radius={"center": {"lon": 10.7, "lat": 59.9}, "radius": 1000.0}),
            [0],
        ),
        (key("place", geo_polygon={"exterior": {"points": SQUARE}}), [0, 1]),
        (
            key(
                "place",
                geo_polygon={"exterior": {"points": SQUARE}, "interiors": [{"points": HOLE}]},
            ),
            [1],
        ),
        (
            {
                "must": [
                    {
                        "nested": {
                            "key": "items",
                            "filter": {
                                "must": [
                                    {"key": "k", "match": {"value": "u"}},
                                    {"key": "v", "match": {"value": 2}},
                                ]
                            },
                        }
                    }
                ]
            },
            [6],
        ),
        (key("items[].v", match={"value": 2}), [5, 6]),
        (
            {
                "should": [
                    {"key": "n", "match": {"value": 1}},
                    {"key": "n", "match": {"value": 3}},
                ],
                "must_not": {"key": "city", "match": {"value": "Rome"}},
            },
            [0],
        ),
        (
            {
                "min_should": {
                    "conditions": [
                        {"key": "n", "range": {"gte": 2}},
                        {"key": "city", "match": {"any": ["Rome"]}},
                        {"has_vector": "v"},
                    ],
                    "min_count": 2,
                }
            },
            [2],
        ),
        (
            {"must": [{"should": [{"has_id": [0]}, {"must": [{"has_id": [1]}]}]}]},
            [0, 1],
        ),
        ({"must": [{}]}, [0, 1, 2, 3, 4, 5, 6]),
    ],
    ids=str,
)
def test_finds(shard: Shard, given: Any, expected: list[int]) -> None:
    """Each kind of condition finds what it says."""
    assert found(shard, given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            models.Filter(
                must_not=[
                    models.FieldCondition(
                        key="city", match=models.MatchExcept(**{"except": ["Oslo"]})
                    )
                ],
                must=[models.FieldCondition(key="n", range=models.Range(gte=0))],
            ),
            [0],
        ),
        (
            models.Filter(
                must=[
                    models.FieldCondition(
                        key="at",
                        range=models.DatetimeRange(
                            gt=dt.datetime(2024, 3, 1, tzinfo=dt.UTC), lt=dt.date(2024, 12, 1)
                        ),
                    )
                ]
            ),
            [1],
        ),
        ({"must": [models.HasIdCondition(has_id=[3, str(UUID(int=3))])]}, [3]),
        (models.Filter(must=models.IsEmptyCondition(is_empty={"key": "items"})), [0, 1, 2, 3, 4]),
    ],
    ids=["except", "datetime", "mixed", "bare"],
)
def test_models(shard: Shard, given: Any, expected: list[int]) -> None:
    """The official client's objects mean the same, also within dicts."""
    assert found(shard, given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "filter=None: a dict"),
        ([], "a dict, not list"),
        (
            {"musst": []},
            "filter: unknown key 'musst'; known are min_should, must, must_not, should",
        ),
        ({"must": "x"}, "filter.must='x'"),
        ({"must": [1]}, r"filter\.must\[0\]=1"),
        ({"must": [{"kye": "n", "match": {"value": 1}}]}, r"must\[0\]: unknown key 'kye'"),
        ({"must": [{"slice": {"total": 2, "index": 0}}]}, "'slice'"),
        ({"must": [{"key": "n"}]}, "a key without a condition"),
        (key("n", macht={"value": 1}), "unknown key 'macht'"),
        (key("n", match={}), "exactly one of value, any"),
        (key("n", match={"value": 1, "text": "a"}), "exactly one of"),
        (key("n", match={"value": 1.5}), r"match\.value=1\.5"),
        (key("n", match={"values": 1}), "unknown key 'values'"),
        (key("n", match={"value": 2**63}), "match.value"),
        (key("n", match={"any": "abc"}), "a list of str or of int"),
        (key("n", match={"any": [1, "a"]}), "not of both"),
        (key("n", match={"any": [True]}), "not of both or of others"),
        (key("n", match={"text": 5}), r"match\.text=5"),
        (key("n", range={"gte": 1, "ge": 2}), "unknown key 'ge'; known are gt, gte, lt, lte"),
        (key("n", range={"gte": 1, "lt": "2024-01-01"}), "not both"),
        (key("n", range={"gte": True}), "range.gte=True"),
        (key("at", range={"gte": "yesterday"}), "date-time"),
        (key("n", values_count={"gt": -1}), "values_count.gt=-1"),
        (key("n", is_null="yes"), "True or False"),
        (key("a[", match={"value": 1}), "JSON path"),
        ({"must": [{"key": 5, "is_null": True}]}, "key=5"),
        ({"must": [{"is_null": {"key": "x", "y": 1}}]}, "unknown key 'y'"),
        ({"must": [{"is_null": {}}]}, "'key' is missing"),
        ({"must": [{"has_id": 5}]}, "a list of point ids"),
        ({"must": [{"has_id": [True]}]}, "True is no point id"),
        ({"must": [{"has_id": ["7"]}]}, "'7' is no point id"),
        ({"must": [{"has_id": [-1]}]}, "-1 is no point id"),
        ({"must": [{"has_id": [1], "has_vector": "v"}]}, "cannot stand in one condition"),
        ({"must": [{"has_vector": 1}]}, "has_vector=1"),
        ({"must": [{"nested": {"key": "items"}}]}, "'filter' is missing"),
        ({"must": [{"nested": {"key": "i", "filter": {"mus": []}}}]}, "nested.filter: unknown"),
        ({"min_should": {"conditions": []}}, "'min_count' is missing"),
        ({"min_should": {"conditions": [], "min_count": 1.0}}, "min_count=1.0"),
        (key("p", geo_radius={"center": {"lon": 500, "lat": 0}, "radius": 1}), "GeoPoint"),
        (key("p", geo_radius={"center": {"lon": 0, "lat": 0}}), "'radius' is missing"),
        (key("p", geo_radius={"center": {"lon": 0}, "radius": 1}), "'lat' is missing"),
        (key("p", geo_polygon={"exterior": {"points": SQUARE[:2]}}), "polygon"),
        (key("p", geo_polygon={"interiors": []}), "'exterior' is missing"),
        (key("p", geo_bounding_box={"top_left": 1, "bottom_right": 2}), "top_left=1"),
    ],
    ids=str,
)
def test_refused(given: Any, message: str) -> None:
    """A mistake in a filter is named with its place, since a wider filter would do harm."""
    with pytest.raises(InputError, match=message):
        edge_filter(given)
