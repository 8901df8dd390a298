from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qdrant_client.models import PointStruct, SparseVector

from qframe import InputError, SchemaMismatch
from qframe.mapping.records import chunks, resolve_records
from qframe.points import VectorKind
from qframe.schema import CollectionInfo, VectorSchema

NAMED = CollectionInfo(
    "films",
    {
        "text": VectorSchema(VectorKind.DENSE, 2, "cosine"),
        "words": VectorSchema(VectorKind.SPARSE),
    },
    points=0,
)
UNNAMED = CollectionInfo("films", {"": VectorSchema(VectorKind.DENSE, 2, "cosine")}, points=0)
GOOD = {"id": 1, "vector": [1.0, 2.0], "payload": {"a": 1}}


@dataclass
class Record:
    id: Any
    vector: Any = None
    payload: Any = None


def _ids(points: Any) -> list[int | str]:
    return points.ids[points.rows(0, len(points))].tolist()  # type: ignore[no-any-return]


def test_mappings_and_objects_are_records() -> None:
    """Dicts, dataclasses and the official client's models give the same points."""
    name = uuid.UUID(int=7)
    records = [
        GOOD,
        Record(2, np.array([3.0, 4.0])),
        PointStruct(id=3, vector=[5.0, 6.0], payload={"b": [1]}),
        {"id": str(name), "vector": (7, 8), "payload": None},
    ]
    points, skipped = resolve_records(records, 0, None)
    assert skipped == []
    assert _ids(points) == [1, 2, 3, str(name)]
    block = points.block(slice(0, 4))
    assert block.vectors[""].values.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert block.payloads() == [{"a": 1}, {}, {"b": [1]}, {}]


def test_named_vectors_may_be_missing() -> None:
    """Records name different vectors, and lack those that they do not name."""
    records = [
        {"id": 1, "vector": {"text": [1.0, 2.0]}},
        {"id": 2, "vector": {"words": SparseVector(indices=[3], values=[0.5])}},
        {"id": 3, "vector": {"words": {"indices": [1], "values": [1.5]}, "text": [3.0, 4.0]}},
        {"id": 4, "vector": {}},
        {"id": 5},
    ]
    for info in (None, NAMED):
        points, skipped = resolve_records(records, 0, info)
        assert skipped == []
        vectors = points.block(slice(0, 5)).vectors
        assert vectors["text"].present.tolist() == [True, False, True, False, False]
        assert vectors["words"].present.tolist() == [False, True, True, False, False]
        assert vectors["words"].indices.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("record", "column", "found"),
    [
        ({"id": -1, "vector": [0, 0]}, "id", "-1 is negative"),
        ({"id": True, "vector": [0, 0]}, "id", "True is a boolean"),
        ({"id": "A-1", "vector": [0, 0]}, "id", "'A-1' is no UUID"),
        ({"id": 1.5, "vector": [0, 0]}, "id", "1.5 is a float"),
        ({"id": [1], "vector": [0, 0]}, "id", "[1] is a list"),
        ({"vector": [0, 0]}, "id", "no id"),
        ({"id": 9, "vector": [0, 0, 0]}, "vector", "has size 3, expected 2"),
        ({"id": 9, "vector": [0, float("nan")]}, "vector", "holds NaN at position 1"),
        ({"id": 9, "vector": ["a", "b"]}, "vector", "holds str 'a' at position 0, not a number"),
        ({"id": 9}, "vector", "no vector"),
        ({"id": 9, "vector": {"text": [0, 0]}}, "vector", "has the name 'text', unlike those"),
        ({"id": 9, "vector": [0, 0], "payload": 5}, "payload", "int, not a mapping"),
        ({"id": 9, "vector": [0, 0], "payload": {"a": b""}}, "payload", "bytes b''"),
        ({"id": 9, "vector": [0, 0], "payload": {1: 2}}, "payload", "an object with the key 1"),
        ({"id": 9, "vector": [0, 0], "score": 1}, "record", "has the unknown field 'score'"),
        ("film", "record", "str 'film' has no id"),
    ],
    ids=str,
)
def test_a_bad_record_is_set_aside(record: Any, column: str, found: str) -> None:
    """One bad record among good ones is named by number and field; the others go on."""
    records = [GOOD, {**GOOD, "id": 2}, record, {**GOOD, "id": 3}]
    for info in (None, UNNAMED):
        points, skipped = resolve_records(records, 100, info)
        assert _ids(points) == [1, 2, 3]
        assert {(s["position"], s["label"]) for s in skipped} == {(102, 102)}
        reasons = {(s["column"], s["reason"][: len(found)]) for s in skipped}
        assert (column, found) in reasons


def test_a_name_that_the_collection_lacks() -> None:
    """A single record with another name is set aside; when all have it, it is a mismatch."""
    good = {"id": 1, "vector": {"text": [1.0, 2.0]}}
    for vector, found in (
        ({"image": [1.0, 2.0]}, "has the name 'image', unlike those of collection 'films'"),
        ([1.0, 2.0], "has no name, unlike those of collection 'films'"),
    ):
        points, skipped = resolve_records([good, {"id": 2, "vector": vector}], 0, NAMED)
        assert _ids(points) == [1]
        assert [s["reason"] for s in skipped] == [found]
        with pytest.raises(SchemaMismatch, match="collection 'films' has no"):
            resolve_records([{"id": 2, "vector": vector}], 0, NAMED)


def test_what_is_wrong_with_all_records_is_raised() -> None:
    """Names that are no strings, and other sizes than the collection's, refuse all records."""
    with pytest.raises(InputError, match="the name 5 is a int, not a string"):
        resolve_records([{"id": 1, "vector": {5: [1.0]}}], 0, None)
    with pytest.raises(SchemaMismatch, match=r"collection 'films' takes 2"):
        resolve_records([{"id": 1, "vector": [1.0]}], 0, UNNAMED)


def test_records_without_a_single_good_one() -> None:
    """All of them are reported, each by its number."""
    points, skipped = resolve_records([{"id": "a", "vector": [1.0]}] * 3, 5, None)
    assert len(points) == 0
    assert [s["label"] for s in skipped] == [5, 6, 7]
    assert all(s["reason"] == "'a' is no UUID" for s in skipped)


def test_chunks_are_drawn_when_they_are_asked_for() -> None:
    """No record is drawn before its chunk is wanted, and none is lost."""
    drawn: list[int] = []
    source = chunks((drawn.append(n) or n for n in range(7)), 3)  # type: ignore[func-returns-value]
    assert drawn == []
    assert next(source) == [0, 1, 2]
    assert drawn == [0, 1, 2]
    assert list(source) == [[3, 4, 5], [6]]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("first", [0, 100])
@pytest.mark.parametrize("info", [None, UNNAMED])
def test_one_record_of_another_kind(at: int, first: int, info: CollectionInfo | None) -> None:
    """A multivector among dense ones is set aside alone, wherever it stands."""
    records: list[Any] = [{**GOOD, "id": number} for number in range(3)]
    records[at] = {"id": at, "vector": [[1.0, 2.0]]}
    points, skipped = resolve_records(records, first, info)
    assert _ids(points) == [number for number in range(3) if number != at]
    assert [s["position"] for s in skipped] == [first + at]
    assert skipped[0]["reason"] == "holds 2 dimensions, expected 1"


def test_one_record_with_a_name_first() -> None:
    """Most records decide whether vectors have names."""
    records = [{"id": 1, "vector": {"text": [1.0, 2.0]}}, {**GOOD, "id": 2}, {**GOOD, "id": 3}]
    points, skipped = resolve_records(records, 0, None)
    assert _ids(points) == [2, 3]
    assert "unlike those of other records" in skipped[0]["reason"]


def test_later_records_are_judged_one_by_one() -> None:
    """Once records are on their way, nothing that a chunk shares sets a good record aside."""
    wrong = [{"id": 4, "vector": {"image": [1.0]}}, {"id": 5, "vector": [1.0]}]
    points, skipped = resolve_records([*wrong, {"id": 6}], 100, NAMED)
    assert _ids(points) == [6]
    assert [s["reason"] for s in skipped] == [
        "has the name 'image', unlike those of collection 'films'",
        "has no name, unlike those of collection 'films'",
    ]
    for info in (None, UNNAMED):
        points, skipped = resolve_records(
            [{"id": 7, "vector": "abc"}, {"id": 8, "vector": []}], 100, info
        )
        assert [s["reason"] for s in skipped] == ["str 'abc', not a vector", "an empty vector"]
    points, skipped = resolve_records([{"id": 9, "vector": [1.0]}], 100, UNNAMED)
    assert skipped[0]["reason"] == "has size 1, expected 2"


def test_labelled_vectors_of_records() -> None:
    """A Series is its numbers, and a masked number in a payload is null."""
    record = {"id": 1, "vector": pd.Series([1.0, 2.0], index=["a", "b"])}
    points, skipped = resolve_records([{**record, "payload": {"a": np.ma.masked}}], 0, UNNAMED)
    assert skipped == []
    block = points.block(slice(0, 1))
    assert block.vectors[""].values.tolist() == [[1, 2]]
    assert block.payloads() == [{"a": None}]
