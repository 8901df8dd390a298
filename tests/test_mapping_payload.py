from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest

import qframe
from qframe import BadRowsError, InputError
from qframe.mapping import resolve
from qframe.points import PayloadKind

LABELS = ["x", "y", "z"]


def _resolve(frame: pd.DataFrame, payload: Any = None, **options: Any) -> Any:
    vectors = np.ones((len(frame), 2), np.float32)
    return resolve(frame, vectors=vectors, ids=np.arange(len(frame)), payload=payload, **options)


def _payloads(frame: pd.DataFrame, payload: Any = None, **options: Any) -> Any:
    points = _resolve(frame, payload, **options).points
    payloads = points.block(points.rows(0, len(points))).payloads()
    orjson.dumps(payloads)
    return payloads


def _column(cells: Any, **options: Any) -> list[Any]:
    """Return what a column becomes in the payload, read as one range and row by row."""
    frame = pd.DataFrame({"c": cells})
    values = [payload.get("c", "dropped") for payload in _payloads(frame, **options)]
    points = _resolve(frame, **options).points
    picked = [points.block(np.array([at])).payloads()[0] for at in range(len(frame))]
    assert [payload.get("c", "dropped") for payload in picked] == values
    return values


def _kind(cells: Any) -> PayloadKind:
    (column,) = _resolve(pd.DataFrame({"c": cells})).points.payload
    return column.kind


def _says(error: BaseException, *parts: str) -> None:
    for part in parts:
        assert part in str(error), f"{part!r} is not in: {error}"


def _objects(*cells: Any) -> pd.Series[Any]:
    column = np.empty(len(cells), dtype=object)
    for at, cell in enumerate(cells):
        column[at] = cell
    return pd.Series(column, index=LABELS[: len(cells)], dtype=object)  # pandas makes str of text


@pytest.mark.parametrize(
    ("payload", "parts"),
    [
        (["titel"], ["payload: no column 'titel'", "did you mean 'title'?"]),
        ("titel", ["no column 'titel'", "(columns: 'title', 'year', 3)"]),
        (7, ["no column 7"]),
        ({"titel": "t"}, ["no column 'titel'", "did you mean 'title'?"]),
        ({1, 2}, ["set {1, 2} is neither a list of columns", "{column: key}"]),
        (1.5, ["float 1.5 is neither a list"]),
        ([3], ["the key 3 is a int", "payload={3: 'name'}", "df.columns.map(str)"]),
        (None, ["the key 3 is a int"]),
        ({"title": None}, ["the key None is a NoneType"]),
        ({"title": "a", "year": "a"}, ["'title' and 'year' both go to the key 'a'"]),
        (["title", "title"], ["'title' and 'title' both go to the key 'title'"]),
        ({"title": "\ud800"}, ["UTF-8 cannot hold the key '\\ud800'"]),
        ([qframe.geo("title", "year")], ["geo(lat='title')", "not degrees", "pd.to_numeric"]),
        ([qframe.geo("year", "long")], ["geo(lon=…): no column 'long'"]),
    ],
    ids=str,
)
def test_an_argument_that_is_no_payload(payload: Any, parts: list[str]) -> None:
    """What names no columns, or no keys, is refused with what would be right."""
    frame = pd.DataFrame({"title": ["a", "b"], "year": [1, 2], 3: [5, 6]})
    with pytest.raises(InputError) as caught:
        _resolve(frame, payload)
    _says(caught.value, *parts)


def test_missing_has_two_values() -> None:
    """Another value of missing is refused, and both are explained."""
    with pytest.raises(InputError, match=r"missing='skip': 'null' stores .* 'drop' leaves"):
        _resolve(pd.DataFrame({"a": [1]}), missing="skip")


def test_duplicate_column_names_are_refused() -> None:
    """A name that stands for two columns cannot become one key."""
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    for payload in (None, ["a"], {"a": "b"}):
        with pytest.raises(InputError, match=r"2 columns named 'a'; rename them"):
            _resolve(frame, payload)


def test_columns_become_keys() -> None:
    """None is all that is left, a list chooses, a mapping renames, [] is nothing."""
    frame = pd.DataFrame({"a": [1], "b": ["x"], 3: [True]})
    assert _payloads(frame, ["b", "a"]) == [{"b": "x", "a": 1}]
    assert _payloads(frame, "b") == _payloads(frame, pd.Index(["b"])) == [{"b": "x"}]
    assert _payloads(frame, np.array(["b"])) == [{"b": "x"}]
    assert _payloads(frame, {"a": "A", 3: "flag"}) == [{"A": 1, "flag": True}]
    assert _payloads(frame, []) == _payloads(frame, {}) == [{}]
    assert _payloads(frame[["a", "b"]]) == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    ("cell", "found", "way_out"),
    [
        (b"ab", "bytes b'ab'", "base64"),
        (bytearray(b"ab"), "bytearray", "base64"),
        ({1, 2}, "set {1, 2}", '.map(sorted, na_action="ignore")'),
        (frozenset([1]), "frozenset", '.map(sorted, na_action="ignore")'),
        (dt.timedelta(1), "timedelta", ".dt.total_seconds()"),
        (np.timedelta64(5, "s"), "timedelta", ".dt.total_seconds()"),
        (pd.Timedelta("1h"), "Timedelta", ".dt.total_seconds()"),
        (pd.Period("2024-05", "M"), "Period", ".dt.to_timestamp()"),
        (pd.Interval(0, 1), "Interval", ".array.left and .array.right"),
        (1j, "complex 1j", "real and imaginary"),
        (np.complex64(1j), "complex64", "real and imaginary"),
        (np.inf, "inf", "np.nan"),
        (-np.inf, "-inf", "np.nan"),
        (np.float32("inf"), "inf", "np.nan"),
        ([1, [np.inf]], "inf", "np.nan"),
        (np.array([np.inf]), "inf", "np.nan"),
        (2**63, "the integer 9223372036854775808, beyond int64", '.astype("string")'),
        (-(2**63) - 1, "beyond int64", '.astype("string")'),
        (10**99, "an integer of over 40 digits", '.astype("string")'),
        (np.array([2**63], np.uint64), "beyond int64", '.astype("string")'),
        ("a\ud800b", "a lone surrogate '\\ud800' at position 1", "encode"),
        ({"a\udfff": 1}, "a lone surrogate '\\udfff'", "encode"),
        (Decimal("0.1234567890123456789"), "which float64 holds as", ".astype(float) rounds"),
        (Decimal("1e400"), "which float64 holds as inf", '.astype("string")'),
        (Decimal("Infinity"), "Decimal Infinity", "np.nan"),
        (dt.time(12, tzinfo=dt.UTC), "a time of day with a zone", '.astype("string")'),
        (np.datetime64("20000-01-01"), "the time 20000-01-01", "years 1 to 9999"),
        (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))), "calendar", "years 1"),
        ({1: "a"}, "an object with the key 1 of type int", "str(k)"),
        ({"a": {None: 1}}, "an object with the key None of type NoneType", "str(k)"),
        (object, "type <class 'object'>", "what JSON can hold"),
        (range(3), "range", "what JSON can hold"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_cell_that_no_payload_holds(cell: Any, found: str, way_out: str) -> None:
    """Each value without a form in JSON is named by column and row, with what to do instead."""
    frame = pd.DataFrame({"c": _objects({"fine": 1}, cell, "good")})
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame)
    _says(caught.value, "1 of 3 rows", "column 'c'", "row 'y': ", found, "-> ", way_out)
    mapped = _resolve(frame, bad_rows="skip")
    assert [finding["label"] for finding in mapped.skipped] == ["y"]
    assert _payloads(frame, bad_rows="skip") == [{"c": {"fine": 1}}, {"c": "good"}]


def test_nesting_has_an_end() -> None:
    """Lists and objects within one another are held to the depth that every transport takes."""
    deep: Any = "end"
    for _ in range(30):
        deep = [deep]
    assert _column(_objects(deep, 1)) == [deep, 1]
    for deeper in ([deep], {"a": deep}, np.array([deep, None], dtype=object)):
        with pytest.raises(BadRowsError, match=r"nested more than 30 deep(?s:.*)json\.dumps"):
            _column(_objects(deeper, 1))


@pytest.mark.parametrize(
    ("cells", "found", "way_out"),
    [
        (
            np.array([1, 2**63, 3], np.uint64),
            "the integer 9223372036854775808",
            '.astype("string")',
        ),
        (pd.array([1, 2**63, None], dtype="UInt64"), "9223372036854775808", '.astype("string")'),
        ([1.5, np.inf, np.nan], "inf", "np.nan"),
        (np.array([1.5, -np.inf, 0], np.float32), "-inf", "np.nan"),
        (np.array([1.5, -np.inf, 0], ">f4"), "-inf", "np.nan"),
        (pd.array([1.5, np.inf, None], dtype="Float64"), "inf", "np.nan"),
        (pd.array([1.5, np.inf, None], dtype=pd.ArrowDtype(pa.float32())), "inf", "np.nan"),
        (np.array(["2020", "12020", "NaT"], "datetime64[s]"), "12020-01-01", "years 1 to 9999"),
        (pd.Categorical(["a", b"b", None]), "bytes b'b'", "base64"),
        (["a", "b\ud800", None], "a lone surrogate", "encode"),
        (pd.array([None, 1, None], dtype=pd.ArrowDtype(pa.duration("s"))), "imedelta", "seconds"),
        (pd.array([None, b"a", None], dtype=pd.ArrowDtype(pa.binary())), "bytes", "base64"),
    ],
    ids=lambda value: str(value)[:30].replace("\n", " "),
)
def test_a_bad_cell_of_a_dtype(cells: Any, found: str, way_out: str) -> None:
    """Typed columns are checked too; the bad row is named and the others go on."""
    frame = pd.DataFrame({"c": pd.Series(cells, dtype=getattr(cells, "dtype", object))})
    frame.index = pd.Index(LABELS)
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame)
    _says(caught.value, "1 of 3 rows", "column 'c'", "row 'y': ", found, way_out)
    assert _resolve(frame, bad_rows="skip").points.kept.tolist() == [0, 2]
    assert len(_payloads(frame, bad_rows="skip")) == 2


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([True, False], [True, False]),
        (pd.array([True, None], dtype="boolean"), [True, None]),
        (pd.array([True, None], dtype=pd.ArrowDtype(pa.bool_())), [True, None]),
        (np.array([1, 255], np.uint8), [1, 255]),
        (pd.array([-(2**63), None], dtype="Int64"), [-(2**63), None]),
        (pd.array([2**63 - 1, None], dtype=pd.ArrowDtype(pa.uint64())), [2**63 - 1, None]),
        ([0.1, np.nan], [0.1, None]),
        (np.array([0.1, np.nan], ">f8"), [0.1, None]),
        (np.array([0.1, np.nan], np.float32), [float(np.float32(0.1)), None]),
        (pd.array([0.5, None], dtype="Float32"), [0.5, None]),
        (pd.array([0.5, None], dtype=pd.ArrowDtype(pa.float64())), [0.5, None]),
        (pd.array([Decimal("1.25"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))), [1.25, None]),
        (["é", None], ["é", None]),
        (np.array(["é", np.nan], dtype=object), ["é", None]),
        (pd.Series(["é", np.float32("nan")], dtype=object), ["é", None]),
        (pd.array(["é", None], dtype="string[python]"), ["é", None]),
        (pd.array(["é", None], dtype="string[pyarrow]"), ["é", None]),
        (pd.array(["é", None], dtype=pd.ArrowDtype(pa.string())), ["é", None]),
        (pd.array(["é", None], dtype=pd.ArrowDtype(pa.large_string())), ["é", None]),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.Categorical([5, None]), [5, None]),
        (pd.to_datetime(["2024-05-01 12:00", None]), ["2024-05-01T12:00:00Z", None]),
        (
            pd.to_datetime(["2024-05-01 14:00", None]).tz_localize("Europe/Berlin"),
            ["2024-05-01T12:00:00Z", None],
        ),
        (
            pd.array(
                [dt.datetime(2024, 5, 1, 12, 0, 0, 5), None],
                dtype=pd.ArrowDtype(pa.timestamp("us")),
            ),
            ["2024-05-01T12:00:00.000005Z", None],
        ),
        (
            pd.array(
                [dt.datetime(2024, 5, 1, 14), None], dtype=pd.ArrowDtype(pa.timestamp("ms", "UTC"))
            ),
            ["2024-05-01T14:00:00Z", None],
        ),
        (
            pd.array([dt.date(2024, 5, 1), None], dtype=pd.ArrowDtype(pa.date32())),
            ["2024-05-01", None],
        ),
        (
            pd.array([{"a": 1}, None], dtype=pd.ArrowDtype(pa.struct([("a", pa.int8())]))),
            [{"a": 1}, None],
        ),
        (
            pd.array([[("k", 1)], None], dtype=pd.ArrowDtype(pa.map_(pa.string(), pa.int8()))),
            [{"k": 1}, None],
        ),
        (
            pd.array([["a", None], None], dtype=pd.ArrowDtype(pa.list_(pa.string()))),
            [["a", None], None],
        ),
        (pd.arrays.SparseArray([0.0, 1.5]), [0.0, 1.5]),
        ([1, "a"], [1, "a"]),
    ],
    ids=lambda value: str(value)[:40].replace("\n", " "),
)
def test_every_dtype_becomes_json(cells: Any, wanted: list[Any]) -> None:
    """Columns of every dtype come out as the table says, missing cells as null or not at all."""
    assert _column(cells) == wanted
    assert list(map(type, _column(cells))) == list(map(type, wanted))
    assert _column(cells, missing="drop") == ["dropped" if v is None else v for v in wanted]


class Colour(enum.Enum):
    RED = "red"


class Text(enum.StrEnum):
    A = "a"


class Code(enum.StrEnum):
    """Text by type, numbers by value."""

    A = "a", 5

    def __new__(cls, text: str, value: int) -> Code:
        member = str.__new__(cls, text)
        member._value_ = value
        return member


def test_objects_become_json() -> None:
    """Objects in one column each take the form that the table gives them."""
    cells = _objects(Colour.RED, uuid.UUID(int=1), (1, np.float32(0.5), pd.NA))
    assert _column(cells) == ["red", "00000000-0000-0000-0000-000000000001", [1, 0.5, None]]
    assert _column(_objects(dt.date(2024, 5, 1), dt.time(9), pd.NaT)) == [
        "2024-05-01",
        "09:00:00",
        None,
    ]
    assert _column(_objects(Code.A, "b", None)) == [5, "b", None]
    assert [type(value) for value in _column(_objects(Text.A, Text.A, None))] == [
        str,
        str,
        type(None),
    ]


def test_maps_within_arrow_types() -> None:
    """Maps become objects wherever they stand; with keys that repeat no pair is lost."""
    pairs = pa.map_(pa.string(), pa.list_(pa.struct([("m", pa.map_(pa.string(), pa.int8()))])))
    cells = pd.array([[("a", [{"m": [("b", 1)]}, None]), ("c", None)]], dtype=pd.ArrowDtype(pairs))
    assert _column(cells) == [{"a": [{"m": {"b": 1}}, None], "c": None}]
    flat = pd.ArrowDtype(pa.map_(pa.string(), pa.int8()))
    assert _column(pd.array([[("a", 1), ("a", 2)]], dtype=flat)) == [[["a", 1], ["a", 2]]]


def test_kinds_tell_the_encoders() -> None:
    """Typed columns keep their kind, so that encoders need not look at every cell."""
    assert _kind([True]) is PayloadKind.BOOL
    assert _kind([1]) is PayloadKind.INTEGER
    assert _kind([1.5]) is PayloadKind.FLOAT
    assert _kind(["a"]) is _kind(pd.to_datetime(["2024"])) is PayloadKind.TEXT
    assert _kind(np.array(["a", None], dtype=object)) is PayloadKind.TEXT
    assert _kind(pd.Categorical(["a"])) is PayloadKind.TEXT
    assert _kind(pd.Categorical([1])) is _kind([{"a": 1}]) is PayloadKind.ANY


def test_geo_points() -> None:
    """Two columns become one object; missing as a whole is null; keys can be chosen."""
    frame = pd.DataFrame({"lat": [52.5, np.nan], "lon": pd.array([13, None], dtype="Int64")})
    place = {"lat": 52.5, "lon": 13.0}
    assert _payloads(frame, [qframe.geo()]) == [{"location": place}, {"location": None}]
    assert _payloads(frame, [qframe.geo()], missing="drop") == [{"location": place}, {}]
    assert _payloads(frame, qframe.geo(key="at"))[0] == {"at": place}
    assert _payloads(frame, {qframe.geo(): "at"})[0] == {"at": place}
    assert _payloads(frame, {"at": qframe.geo()})[0] == {"at": place}


@pytest.mark.parametrize(
    ("lat", "lon", "column", "found"),
    [
        (90.5, 0.0, "column 'lat'", "90.5 degrees"),
        (0.0, -180.5, "column 'lon'", "-180.5 degrees"),
        (np.inf, 0.0, "column 'lat'", "inf degrees"),
        (np.nan, 0.0, "geo('lat', 'lon')", "only one of lat and lon"),
        (0.0, np.nan, "geo('lat', 'lon')", "only one of lat and lon"),
    ],
)
def test_a_geo_point_off_the_globe(lat: float, lon: float, column: str, found: str) -> None:
    """Degrees out of range and half a point are named by column and row."""
    frame = pd.DataFrame({"lat": [1.0, lat, 90], "lon": [1.0, lon, -180]}, index=LABELS)
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame, [qframe.geo()])
    _says(caught.value, column, f"row 'y': {found}")
    assert len(_payloads(frame, [qframe.geo()], bad_rows="skip")) == 2


def test_findings_of_several_columns_stand_by_column() -> None:
    """One error tells of all columns, each row under the column that is wrong with it."""
    frame = pd.DataFrame({"a": [1.0, np.inf, 3.0], "b": ["x", b"y", b"z"]}, index=LABELS)
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame)
    _says(caught.value, "2 of 3 rows", "column 'a':\n    row 'y': inf", "column 'b':\n    row 'y'")
    assert caught.value.rows["label"].tolist() == ["y", "y", "z"]


def test_a_call_without_a_good_row_is_refused() -> None:
    """Where all rows are bad, bad_rows="skip" raises too."""
    for cells in ([b"a", b"b"], [np.inf, np.inf], [1j, 2j], pd.to_timedelta([1, 2])):
        with pytest.raises(BadRowsError, match="2 of 2 rows"):
            _resolve(pd.DataFrame({"c": cells}), bad_rows="skip")


def test_wide_arrow_integers_beside_a_null() -> None:
    """An unsigned integer beyond int64 is refused beside a missing one, too."""
    cells = pd.array([2**63, None, 1], dtype=pd.ArrowDtype(pa.uint64()))
    with pytest.raises(BadRowsError, match="row 0: the integer 9223372036854775808, beyond int64"):
        _resolve(pd.DataFrame({"c": cells}))
    frame = pd.DataFrame({"c": cells})
    assert _payloads(frame, bad_rows="skip") == [{"c": None}, {"c": 1}]


def test_masked_cells_are_missing() -> None:
    """What is masked is null, in a cell and inside of one."""
    cells = _objects(np.ma.masked, np.ma.array([1, 2], mask=[True, False]), 1)
    assert _column(cells) == [None, [None, 2], 1]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_arrow_times_beyond_the_calendar(zone: str | None) -> None:
    """Years that Python's datetime does not have are refused by row."""
    times = pa.array([2**60, None, 1], pa.timestamp("us", zone))
    frame = pd.DataFrame({"c": pd.Series(times, dtype=pd.ArrowDtype(times.type))})
    with pytest.raises(BadRowsError, match="row 0: the time 38504-08-17T21:30:06"):
        _resolve(frame)
    assert len(_payloads(frame, bad_rows="skip")) == 2


def test_arrow_times_of_day_keep_nanoseconds() -> None:
    """A time of day is written to its last digit."""
    times = pa.array([1000, None, 1001, 10**9], pa.time64("ns"))
    cells = pd.Series(times, dtype=pd.ArrowDtype(times.type))
    assert _column(cells) == ["00:00:00.000001", None, "00:00:00.000001001", "00:00:01"]


def test_arrow_string_views_are_text() -> None:
    """Columns of string views are read as other text is."""
    if not hasattr(pa, "string_view"):
        pytest.skip("this pyarrow has no string views")
    views = pa.array(["a", None], pa.string_view())
    assert _column(pd.Series(views, dtype=pd.ArrowDtype(views.type))) == ["a", None]


def test_numbers_beyond_float64() -> None:
    """A longdouble that float64 cannot hold is refused, in columns, cells and arrays."""
    big = np.longdouble("1e4000")
    for cells in (np.array([1, big]), _objects(1, big), _objects(1, np.array([big]))):
        with pytest.raises(BadRowsError, match="1 of 2 rows"):
            _resolve(pd.DataFrame({"c": cells}))


def test_complex_degrees_are_refused() -> None:
    """A complex number is no degree of latitude."""
    with pytest.raises(InputError, match="the column holds complex128, not degrees"):
        _resolve(pd.DataFrame({"lat": [1j], "lon": [0.0]}), qframe.geo())


@pytest.mark.parametrize(
    "cells",
    [
        pd.array([2**63, None], dtype="UInt64"),
        np.array(["20000-01-01", "NaT"], "datetime64[s]"),
        pd.period_range("2024", periods=2, freq="M"),
        pd.interval_range(0, 2),
        _objects(Decimal("0.1234567890123456789"), None).array,
        _objects(dt.time(1, tzinfo=dt.UTC), None).array,
    ],
    ids=lambda value: str(value.dtype),
)
def test_the_way_to_text_works(cells: Any) -> None:
    """Typing the advice makes text of the cells, and leaves missing ones missing."""
    frame = pd.DataFrame({"c": cells})
    with pytest.raises(BadRowsError, match=r"\.astype\(\"string\"\)"):
        _resolve(frame)
    missing = frame["c"].isna().tolist()
    frame["c"] = frame["c"].astype("string")
    assert [payload["c"] is None for payload in _payloads(frame)] == missing


def test_texts_and_arrays_that_a_frame_gets_later() -> None:
    """What was checked is what is sent, also where cells are exchanged in between."""
    texts = np.array(["a", "b", "c"], dtype=object)
    arrays = np.empty(3, dtype=object)
    for at in range(3):
        arrays[at] = np.full(3, at, np.float32)
    frame = pd.DataFrame({"c": pd.Series(texts, dtype=object, copy=False)}, copy=False)
    vectors = pd.Series(arrays, copy=False)
    assert np.shares_memory(frame["c"].to_numpy(), texts)
    points = resolve(frame, vectors=vectors, ids=np.arange(3)).points
    texts[1], arrays[1] = b"other", np.ones(2)
    block = points.block(slice(0, 3))
    assert [payload["c"] for payload in block.payloads()] == ["a", "b", "c"]
    assert block.vectors[""].values.tolist() == [[0] * 3, [1] * 3, [2] * 3]
