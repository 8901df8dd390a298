from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.fingerprint import Fingerprint, fingerprint, ids_digest
from qframe.mapping import resolve
from qframe.mapping.records import resolve_records
from qframe.points import PointColumns

ROOT = Path(__file__).parents[1]
ROWS = 3500


def _frame(rows: int = ROWS) -> pd.DataFrame:
    at = np.arange(rows)
    return pd.DataFrame(
        {
            "title": [f"Film {n}" for n in range(rows)],
            "year": 1900 + at % 120,
            "score": at / 7,
            "genre": pd.Categorical(np.array(["drama", "comedy", "noir"])[at % 3]),
            "tags": [["a", {"n": n}] for n in range(rows)],
        }
    )


def _matrix(rows: int = ROWS) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)


def _points(frame: pd.DataFrame | None = None, **arguments: Any) -> PointColumns:
    frame = _frame() if frame is None else frame
    return resolve(frame, **{"vectors": _matrix(len(frame)), **arguments}).points


def _print(frame: pd.DataFrame | None = None, **arguments: Any) -> Fingerprint:
    frame = _frame() if frame is None else frame
    return fingerprint(_points(frame, **arguments), len(frame), {"collection": "movies"})


def _changed(column: pd.Series[Any], row: int, value: Any) -> pd.Series[Any]:
    cells = column.tolist()
    cells[row] = value
    return pd.Series(cells, index=column.index, dtype=column.dtype)


def test_the_same_points_have_the_same_fingerprint() -> None:
    """Made twice of equal frames it is equal, and there is nothing to say."""
    assert _print() == _print()
    assert _print().differences(_print()) == []


def test_what_points_say_by_themselves_is_added_to_the_mapping() -> None:
    """Kinds of ids, vectors and payload keys stand beside what the caller gave."""
    made = _print(payload=["title", "year"], missing="drop")
    assert made.mapping == {
        "collection": "movies",
        "ids": "numbers",
        "vectors": {"": {"kind": "dense", "size": 4}},
        "payload": {
            "title": {"kind": "text", "drop": True},
            "year": {"kind": "integer", "drop": True},
        },
    }
    assert {len(digits) for digits in made.digests.values()} == {8 * 4}


def test_it_is_the_same_in_another_process() -> None:
    """Neither hash seeds nor memory addresses go into it."""
    code = "import tests.test_fingerprint as t; print(t.json.dumps(t._print().to_json()))"
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert Fingerprint.from_json(json.loads(run.stdout)) == _print()


def test_it_stays_the_same_in_later_versions() -> None:
    """A journal of today must be understood tomorrow: these digests are part of the format."""
    points = _points(_frame(2))
    assert fingerprint(points, 2, {}).digests == PINNED
    assert ids_digest(points) == PINNED_IDS


PINNED = {
    "kept": "00000000",
    "ids": "aa3baad5",
    "vector:": "a337a7f9",
    "payload:title": "32e9fb21",
    "payload:year": "ed4af021",
    "payload:score": "ac16bd90",
    "payload:genre": "79e78751",
    "payload:tags": "75e9ce82",
}
PINNED_IDS = "917bdc55adb2d9c6"


@pytest.mark.parametrize(
    ("column", "value"),
    [("title", "Film x"), ("year", 7), ("score", 0.5), ("genre", "noir"), ("tags", ["a"])],
)
def test_one_changed_cell_is_found(column: str, value: Any) -> None:
    """A change of one cell names its key and its rows, and nothing else."""
    frame = _frame()
    frame[column] = _changed(frame[column], 1234, value)
    assert _print(frame).differences(_print()) == [
        f"payload key {column!r} differs somewhere in rows 1,000 to 2,000"
    ]


def test_a_changed_vector_is_found() -> None:
    """One number of one vector is enough; the last range ends with the frame."""
    matrix = _matrix()
    matrix[3499, 3] += 1
    assert _print(vectors=matrix).differences(_print()) == [
        "the vectors differ somewhere in rows 3,000 to 3,500"
    ]
    named = _print(vectors={"image": matrix}).differences(_print(vectors={"image": _matrix()}))
    assert named == ["vectors of 'image' differ somewhere in rows 3,000 to 3,500"]


def test_many_changes_are_told_as_ranges() -> None:
    """Neighbouring chunks are one range; of several the first is told, and how many more."""
    frame = _frame()
    frame.loc[[5, 1005, 3005], "year"] = 7
    assert _print(frame).differences(_print()) == [
        "payload key 'year' differs somewhere in rows 0 to 2,000 and 1 more range, up to 3,500"
    ]


def test_other_ids_are_told() -> None:
    """Rows in another order have other ids; UUIDs instead of numbers are another kind."""
    assert _print(ids=np.arange(ROWS) + 1).differences(_print()) == [
        f"the ids differ somewhere in rows 0 to {ROWS:,}"
    ]
    uuids = _points(_frame(), ids=[f"{n:032x}" for n in range(ROWS)])
    assert fingerprint(uuids, ROWS, {"collection": "movies"}).differences(_print()) == [
        "the ids are UUIDs, they were numbers",
        f"the ids differ somewhere in rows 0 to {ROWS:,}",
    ]


def test_another_number_of_rows_is_told() -> None:
    """Appended rows are told as such, and the common rows that are the same are not."""
    assert _print(_frame(3400)).differences(_print()) == ["the frame has 3,400 rows, it had 3,500"]
    frame = _frame(3400)
    frame["year"] = _changed(frame["year"], 0, 7)
    assert _print(frame).differences(_print()) == [
        "the frame has 3,400 rows, it had 3,500",
        "payload key 'year' differs somewhere in rows 0 to 1,000",
    ]


def test_other_columns_and_options_are_told() -> None:
    """New and lost keys and vectors, other kinds, sizes and options, each in a sentence."""
    frame = _frame()
    was = fingerprint(
        _points(frame, payload=["title", "year"], vectors={"a": _matrix(), "b": _matrix()}),
        ROWS,
        {"shard_key": "a", "wait": True},
    )
    now = fingerprint(
        _points(
            frame.assign(title=1),
            payload=["title", "score"],
            missing="drop",
            vectors={"a": _matrix()[:, :3], "c": _matrix()},
        ),
        ROWS,
        {"shard_key": "b", "wait": True, "ordering": None},
    )
    assert now.differences(was) == [
        "shard_key is 'b', it was 'a'",
        "vector 'a' has 3 numbers, it had 4",
        "vector 'c' is new",
        "vector 'b' is gone",
        "payload key 'title' is integer, it was text",
        "missing cells of payload key 'title' are left out, they were stored as null",
        "payload key 'score' is new",
        "payload key 'year' is gone",
        f"vectors of 'a' differ somewhere in rows 0 to {ROWS:,}",
        f"payload key 'title' differs somewhere in rows 0 to {ROWS:,}",
    ]


def test_rows_set_aside_are_told_once() -> None:
    """Where other rows are set aside every column differs, and one sentence says why."""
    frame = _frame()
    frame["tags"] = _changed(frame["tags"], 1500, {1})
    matrix = _matrix()
    matrix[2500, 0] = np.nan
    now = _print(frame, vectors=matrix, bad_rows="skip")
    assert now.differences(_print()) == [
        "3,498 of 3,500 rows become points, 3,500 did",
        "other rows are set aside somewhere in rows 1,000 to 3,000",
    ]


def test_the_dtype_backend_does_not_matter() -> None:
    """The same values are the same, however pandas keeps them."""
    frame = _frame()[["title", "year", "score"]]
    was = _print(frame)
    for other in (
        frame.convert_dtypes(),
        frame.convert_dtypes(dtype_backend="pyarrow"),
        frame.astype({"title": object, "year": "int32"}),
        frame.astype({"title": "category"}),
    ):
        assert _print(other).differences(was) == []


def test_the_container_of_the_vectors_does_not_matter() -> None:
    """A matrix, a column of arrays, and one of lists, are the same vectors."""
    frame = _frame()[["title"]]
    for cells in (list(_matrix()), _matrix().tolist()):
        made = _print(frame.assign(e=cells), vectors="e")
        assert made.differences(_print(frame)) == []


@pytest.mark.parametrize(
    ("now", "was"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([None, "x"], ["", "x"]),
        ([None, "x"], ["None", "x"]),
        ([None, "x"], ["null", "x"]),
        (["a", None], [None, "a"]),
        (['a","b', "c"], ["a", 'b","c']),
        ([[1, 2], [3]], [[1], [2, 3]]),
        ([{"a": None}, 1], [{}, 1]),
        ([1, 2], [2, 1]),
        ([1.0, np.nan], [1.0, 0.0]),
        (pd.array([0, None], "Int64"), pd.array([0, 0], "Int64")),
        (pd.array([True, None], "boolean"), pd.array([True, False], "boolean")),
    ],
)
def test_values_that_look_alike_are_told_apart(now: Any, was: Any) -> None:
    """Where one value ends and the next begins counts, and missing is like nothing else."""

    def made(values: Any) -> str:
        frame = pd.DataFrame({"x": values})
        return fingerprint(_points(frame), 2, {}).digests["payload:x"]

    assert made(now) != made(was)


def test_what_stands_where_nothing_is_does_not_matter() -> None:
    """The hidden number under a mask is not part of the data, nor is the order of an object."""
    masked = pd.arrays.IntegerArray(np.array([1, 5]), np.array([False, True]))
    other = pd.arrays.IntegerArray(np.array([1, 9]), np.array([False, True]))
    assert _print(pd.DataFrame({"x": masked})) == _print(pd.DataFrame({"x": other}))
    one, two = [{"a": 1, "b": 2}], [{"b": 2, "a": 1}]
    assert _print(pd.DataFrame({"x": one})) == _print(pd.DataFrame({"x": two}))


@pytest.mark.parametrize("kind", ["multi", "sparse"])
def test_multi_and_sparse_vectors_are_told_apart(kind: str) -> None:
    """Numbers, indices, lengths, and which rows have a vector, all count."""
    if kind == "multi":
        cells: list[Any] = [
            [[[1, 2], [3, 4]], [[5, 6]]],
            [[[1, 2]], [[3, 4], [5, 6]]],
            [[[1, 2], [3, 4]], [[5, 7]]],
            [[[1, 2], [3, 4]], None],
            [None, [[1, 2], [3, 4]]],
        ]
    else:
        cells = [
            [{"indices": [1, 2], "values": [1, 2]}, {"indices": [3], "values": [3]}],
            [{"indices": [1], "values": [1]}, {"indices": [2, 3], "values": [2, 3]}],
            [{"indices": [1, 2], "values": [1, 2]}, {"indices": [4], "values": [3]}],
            [{"indices": [1, 2], "values": [1, 2]}, {"indices": [3], "values": [4]}],
            [{"indices": [1, 2], "values": [1, 2]}, None],
            [None, {"indices": [1, 2], "values": [1, 2]}],
        ]
    made = [
        fingerprint(_points(pd.DataFrame({"v": two}), vectors={"v": "v"}), 2, {}).digests[
            "vector:v"
        ]
        for two in cells
    ]
    assert len(set(made)) == len(made)


def test_records_are_told_apart() -> None:
    """Whole payloads of records count as one column."""

    def made(name: str) -> Fingerprint:
        records = [{"id": n, "vector": [1.0, n], "payload": {"name": name}} for n in range(3)]
        points, _ = resolve_records(records, 0, None)
        return fingerprint(points, 3, {})

    assert made("a") == made("a")
    assert made("b").differences(made("a")) == ["the records differ somewhere in rows 0 to 3"]


def test_ids_of_both_kinds_are_told_apart() -> None:
    """Numbers and UUIDs in one column count with their places."""
    one, two = f"{1:032x}", f"{2:032x}"
    made = [
        _print(_frame(3), ids=pd.Series(ids, dtype=object))
        for ids in ([1, one, 2], [1, two, 2], [1, 2, one], [2, one, 1])
    ]
    assert len({print_.digests["ids"] for print_ in made}) == 4
    assert made[0].mapping["ids"] == "numbers and UUIDs"


def test_an_empty_frame_has_one_too() -> None:
    """No rows are no chunks."""
    made = fingerprint(_points(_frame(), ids=None), 0, {})
    assert made.digests == {"kept": ""} or set(made.digests.values()) == {""}


def test_a_large_frame_has_a_thousand_chunks() -> None:
    """However many rows, the fingerprint stays small enough for the first line of a journal."""
    rows = 1_000_001
    points = resolve(pd.DataFrame(index=range(rows)), vectors=np.ones((rows, 1), np.float32)).points
    made = fingerprint(points, rows, {})
    assert made.chunk_rows == 1001
    assert {len(digits) for digits in made.digests.values()} == {8 * 1000}


def test_the_digest_of_ids_is_of_ids_alone() -> None:
    """Other vectors and payload change nothing; other ids, or other rows, do."""
    whole = ids_digest(_points())
    assert ids_digest(_points(payload=[], vectors=_matrix() + 1)) == whole
    assert len(whole) == 16
    matrix = _matrix()
    matrix[7, 0] = np.nan
    others = {
        ids_digest(_points(ids=np.arange(ROWS) + 1)),
        ids_digest(_points(_frame(ROWS - 1))),
        ids_digest(_points(vectors=matrix, bad_rows="skip")),
    }
    assert len(others | {whole}) == 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.dictionaries(st.text(), json_values, max_size=4),
    st.dictionaries(st.text(), st.text("0123456789abcdef"), max_size=4),
)
def test_it_survives_json(rows: int, points: int, mapping: Any, digests: Any) -> None:
    """What comes back from JSON is what went in."""
    made = Fingerprint(rows, points, 1000, mapping, digests)
    back = Fingerprint.from_json(json.loads(json.dumps(made.to_json())))
    assert back == made
    assert back.differences(made) == []


def test_one_of_points_survives_json() -> None:
    """Whatever the caller's mapping holds, it is JSON from the start."""
    made = fingerprint(_points(), ROWS, {"keys": ("a", 1), "filter": {"n": 1}, "none": None})
    back = Fingerprint.from_json(json.loads(json.dumps(made.to_json())))
    assert back == made
    assert dataclasses.replace(back, digests={}).differences(made) == ["the points are others"]
