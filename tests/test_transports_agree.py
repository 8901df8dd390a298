"""The conversion table holds over REST, over gRPC and in the embedded engine, value for value."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import math
import types
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from qdrant_client import QdrantClient

import qframe
from qframe.mapping.values import MAX_DEPTH
from tests.server import LocalServer

BERLIN = ZoneInfo("Europe/Berlin")


class Level(enum.IntEnum):
    LOW = 1


class Shade(enum.Enum):
    DARK = "dark"
    SINCE = dt.date(2024, 5, 1)


class Label(str):
    __slots__ = ()


def cells(*values: Any) -> pd.Series[Any]:
    """Return a column of objects, untouched by pandas."""
    array = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        array[at] = value
    return pd.Series(array, dtype=object)


def series(values: Any, dtype: Any) -> pd.Series[Any]:
    """Return a column of one dtype."""
    return pd.Series(pd.array(values, dtype=dtype))


def nested(depth: int, make: Callable[[Any], Any]) -> Any:
    """Put something into itself."""
    value: Any = 1
    for _ in range(depth):
        value = make(value)
    return value


def arrow(type_: Any) -> pd.ArrowDtype:
    """Return the pandas dtype of an Arrow type."""
    return pd.ArrowDtype(type_)


WIDE = [2**63 - 1, -(2**63), 0, 2**53 + 1]
NS = ["2024-05-01T12:00:00.123456789", "2024-05-01T12:00:00.123456", "2024-05-01T12:00:00"]

TABLE: dict[str, tuple[pd.Series[Any], list[Any]]] = {
    # None, NaN, NaT, pd.NA
    "missing objects": (
        cells(None, float("nan"), pd.NaT, pd.NA, np.datetime64("NaT", "s"), np.float32("nan"), "x"),
        [None, None, None, None, None, None, "x"],
    ),
    "missing only": (cells(None, None), [None, None]),
    "missing inside": (
        cells([None, float("nan"), pd.NaT, pd.NA], {"a": pd.NaT}, np.array([1.5, np.nan])),
        [[None] * 4, {"a": None}, [1.5, None]],
    ),
    "missing timedelta": (series([None, None], "timedelta64[ns]"), [None, None]),
    # bool
    "bool": (pd.Series([True, False]), [True, False]),
    "boolean": (series([True, None, False], "boolean"), [True, None, False]),
    "bool[pyarrow]": (series([True, None], arrow(pa.bool_())), [True, None]),
    "bool objects": (cells(True, np.bool_(False), None), [True, False, None]),
    # int
    **{
        dtype: (
            series([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype),
            [int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)],
        )
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
    },
    "uint64": (series([0, 2**63 - 1], "uint64"), [0, 2**63 - 1]),
    "Int64": (series([*WIDE, None], "Int64"), [*WIDE, None]),
    "UInt64": (series([2**63 - 1, None], "UInt64"), [2**63 - 1, None]),
    "int64[pyarrow]": (series([*WIDE, None], arrow(pa.int64())), [*WIDE, None]),
    "uint8[pyarrow]": (series([255, None], arrow(pa.uint8())), [255, None]),
    "int objects": (cells(*WIDE, None, np.int8(-3)), [*WIDE, None, -3]),
    # float
    "float64": (
        pd.Series([0.1, -0.0, 1e300, 5e-324, 2.0, np.nan]),
        [0.1, -0.0, 1e300, 5e-324, 2.0, None],
    ),
    "long floats": (
        pd.Series([-0.49220651855132963, 1 / 3, math.pi * 1e-7]),
        [-0.49220651855132963, 1 / 3, math.pi * 1e-7],
    ),
    "float32": (pd.Series([0.1, 16777217.0], dtype="float32"), [0.10000000149011612, 16777216.0]),
    "float16": (pd.Series([0.1, 65504.0], dtype="float16"), [0.0999755859375, 65504.0]),
    "Float64": (series([0.5, None], "Float64"), [0.5, None]),
    "double[pyarrow]": (series([0.5, None], arrow(pa.float64())), [0.5, None]),
    "float objects": (
        cells(0.5, 2.0, np.float32(0.1), None),
        [0.5, 2.0, 0.10000000149011612, None],
    ),
    "sparse floats": (pd.Series(pd.arrays.SparseArray([0.0, 1.5, np.nan])), [0.0, 1.5, None]),
    # str
    "str": (
        pd.Series(["", "Ærø", "\N{GRINNING FACE}", 'q"\\/\b\n\x00\x1f\x7f\u2028', "\ufeff", "é"]),
        ["", "Ærø", "\N{GRINNING FACE}", 'q"\\/\b\n\x00\x1f\x7f\u2028', "\ufeff", "é"],
    ),
    "text that looks like something else": (
        pd.Series(["1", "null", "true", "2024-01-01"]),
        ["1", "null", "true", "2024-01-01"],
    ),
    "string[pyarrow]": (series(["a", None], arrow(pa.string())), ["a", None]),
    "str subclasses": (cells(Label("x"), np.str_("y")), ["x", "y"]),
    # datetime
    "datetime64[ns]": (
        pd.Series(np.array([*NS, "NaT"], dtype="datetime64[ns]")),
        [*(f"{text}Z" for text in NS), None],
    ),
    "datetime64[s]": (
        pd.Series(np.array(["0001-01-01", "9999-12-31T23:59:59"], dtype="datetime64[s]")),
        ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
    ),
    "datetime64[ms]": (
        pd.Series(np.array(["1969-12-31T23:59:59.999"], dtype="datetime64[ms]")),
        ["1969-12-31T23:59:59.999000Z"],
    ),
    "datetime64[ns, Europe/Berlin]": (
        pd.Series(pd.to_datetime(["2024-05-01 14:00", None])).dt.tz_localize(BERLIN),
        ["2024-05-01T12:00:00Z", None],
    ),
    "timestamp[us][pyarrow]": (
        series([dt.datetime(2024, 5, 1, 12, 0, 0, 5), None], arrow(pa.timestamp("us"))),
        ["2024-05-01T12:00:00.000005Z", None],
    ),
    "timestamp[ns, tz][pyarrow]": (
        series([dt.datetime(2024, 5, 1, 14, tzinfo=BERLIN)], arrow(pa.timestamp("ns", "UTC"))),
        ["2024-05-01T12:00:00Z"],
    ),
    "datetime objects": (
        cells(
            dt.datetime(1, 1, 1),
            dt.datetime(2024, 5, 1, 14, 0, 0, 7, tzinfo=BERLIN),
            pd.Timestamp("2024-05-01 12:00:00.123456789"),
            np.datetime64("2024-05-01T12:00", "m"),
            [pd.Timestamp("2024-05-01", tz=BERLIN)],
        ),
        [
            "0001-01-01T00:00:00Z",
            "2024-05-01T12:00:00.000007Z",
            "2024-05-01T12:00:00.123456789Z",
            "2024-05-01T12:00:00Z",
            ["2024-04-30T22:00:00Z"],
        ],
    ),
    # date, time
    "dates": (cells(dt.date(2024, 2, 29), dt.date(1, 1, 1)), ["2024-02-29", "0001-01-01"]),
    "date32[pyarrow]": (
        series([dt.date(2024, 2, 29), None], arrow(pa.date32())),
        ["2024-02-29", None],
    ),
    "times": (cells(dt.time(1, 2, 3), dt.time(1, 2, 3, 4)), ["01:02:03", "01:02:03.000004"]),
    "time64[pyarrow]": (series([dt.time(1, 2, 3, 4)], arrow(pa.time64("us"))), ["01:02:03.000004"]),
    # Decimal, UUID
    "Decimal": (
        cells(Decimal("0.1"), Decimal("-12.50"), Decimal("1E+3"), Decimal("NaN"), Decimal(7)),
        [0.1, -12.5, 1000.0, None, 7.0],
    ),
    "decimal128[pyarrow]": (
        series([Decimal("1.25"), None], arrow(pa.decimal128(9, 2))),
        [1.25, None],
    ),
    "UUID": (
        cells(uuid.UUID("{0B0B0B0B-0000-0000-0000-00000000000A}")),
        ["0b0b0b0b-0000-0000-0000-00000000000a"],
    ),
    # category, enum
    "category of text": (series(["a", "b", None, "a"], "category"), ["a", "b", None, "a"]),
    "category of numbers": (series([3, 1, 3], "category"), [3, 1, 3]),
    "category of dates": (
        series(pd.to_datetime(["2024-05-01", "2024-05-02"]), "category"),
        ["2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z"],
    ),
    "enum members": (cells(Level.LOW, Shade.DARK, Shade.SINCE), [1, "dark", "2024-05-01"]),
    # numpy scalars, arrays, lists
    "numpy scalars": (
        cells(
            np.int64(5), np.float64(0.5), np.bool_(True), np.str_("s"), np.array(7), np.array("t")
        ),
        [5, 0.5, True, "s", 7, "t"],
    ),
    "arrays": (
        cells(
            np.array([1, 2], dtype=np.uint8),
            np.array([[0.5], [1.5]], dtype=np.float16),
            np.array([True]),
            np.array([], dtype=np.float64),
            np.array(["a", None], dtype=object),
            np.array(["2024-05-01"], dtype="datetime64[D]"),
            np.array([2**63 - 1], dtype=np.uint64),
        ),
        [
            [1, 2],
            [[0.5], [1.5]],
            [True],
            [],
            ["a", None],
            ["2024-05-01T00:00:00Z"],
            [2**63 - 1],
        ],
    ),
    "lists and tuples": (
        cells([], [1, 1.0, True, "x", None], (1, (2, [3])), [[], {}]),
        [[], [1, 1.0, True, "x", None], [1, [2, [3]]], [[], {}]],
    ),
    "series inside": (cells(pd.Series([1, 2]), pd.Index(["a"])), [[1, 2], ["a"]]),
    "list<int64>[pyarrow]": (
        series([[1, None], None, []], arrow(pa.list_(pa.int64()))),
        [[1, None], None, []],
    ),
    # dict, mapping
    "dicts": (
        cells({}, {"": 1, "a.b": {"c": [{"d": None}]}}, types.MappingProxyType({"k": dt.time(1)})),
        [{}, {"": 1, "a.b": {"c": [{"d": None}]}}, {"k": "01:00:00"}],
    ),
    "struct[pyarrow]": (
        series(
            [{"a": 1, "b": ["x"]}], arrow(pa.struct({"a": pa.int8(), "b": pa.list_(pa.string())}))
        ),
        [{"a": 1, "b": ["x"]}],
    ),
    "map[pyarrow]": (
        series([[("a", 1), ("b", None)]], arrow(pa.map_(pa.string(), pa.int64()))),
        [{"a": 1, "b": None}],
    ),
    "lists as deep as may be": (
        cells(nested(MAX_DEPTH, lambda inner: [inner])),
        [nested(MAX_DEPTH, lambda inner: [inner])],
    ),
    "objects as deep as may be": (
        cells(nested(MAX_DEPTH, lambda inner: {"k": inner})),
        [nested(MAX_DEPTH, lambda inner: {"k": inner})],
    ),
    "everything in one column": (
        cells(1, 1.0, True, "1", [1], {"1": 1}, None),
        [1, 1.0, True, "1", [1], {"1": 1}, None],
    ),
}


@pytest.fixture(scope="module")
def connections(
    server: LocalServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, qframe.Connection]:
    """Connect over each transport."""
    return {
        "rest": qframe.connect(server.rest_url),
        "grpc": qframe.connect(server.grpc_url),
        "embedded": qframe.connect(tmp_path_factory.mktemp("embedded")),
    }


@pytest.fixture(scope="module")
def clients(server: LocalServer) -> Iterator[list[QdrantClient]]:
    """Open the official client over HTTP and over gRPC."""
    port = int(server.grpc_url.rpartition(":")[2])
    opened = [
        QdrantClient(url=server.rest_url, grpc_port=port, prefer_grpc=prefer_grpc)
        for prefer_grpc in (False, True)
    ]
    yield opened
    for client in opened:
        client.close()


@pytest.fixture(scope="module")
def names(connections: dict[str, qframe.Connection]) -> Iterator[dict[str, str]]:
    """Make a collection a transport, with two points that no test changes."""
    made = {transport: f"agree-{transport}-{uuid.uuid4().hex[:8]}" for transport in connections}
    first = pd.DataFrame({"held": ["before", None]}, index=[2**64 - 2, 2**64 - 1])
    for transport, con in connections.items():
        upload(first, made[transport], con)
    yield made
    for transport, con in connections.items():
        with con.store() as store:
            store.delete(made[transport])


def upload(frame: pd.DataFrame, name: str, con: qframe.Connection, **options: Any) -> Any:
    """Upload a payload beside vectors that play no role."""
    return qframe.upload(
        frame,
        name,
        con,
        vectors=np.ones((len(frame), 1)),
        distance="dot",
        wait=True,
        progress=False,
        **options,
    )


def same(found: Any, wanted: Any) -> bool:
    """Compare values: by type too, and floats to the last but one bit.

    The engine keeps a payload as JSON and reads a float back up to an ulp beside what it wrote; a
    server does so once more when the float comes over REST.
    """
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, float):
        near = abs(found - wanted) <= 2 * math.ulp(wanted)
        return near and math.copysign(1, found) == math.copysign(1, wanted)
    return bool(found == wanted)


def plain(cell: Any) -> Any:
    """Turn a cell that was read back into what JSON has."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    return None if cell is pd.NA or cell is pd.NaT or cell != cell else cell


@pytest.mark.parametrize("row", TABLE)
def test_a_row_of_the_table_is_stored_alike_by_all(
    row: str,
    connections: dict[str, qframe.Connection],
    names: dict[str, str],
    clients: list[QdrantClient],
) -> None:
    """Every transport stores what the table says, whoever reads it."""
    column, wanted = TABLE[row]
    frame = pd.DataFrame({"x": column, "row": row}, index=column.index)
    ids = list(range(len(frame)))
    for transport, con in connections.items():
        upload(frame, names[transport], con, ids=ids)
        read = qframe.read_collection(names[transport], con, ids=ids)
        assert read["row"].tolist() == [row] * len(ids)
        found = [plain(cell) for cell in read["x"].tolist()] if "x" in read else [None] * len(ids)
        assert same(found, wanted), (transport, found)
        if transport == "embedded":
            continue
        for client in clients:
            records = {record.id: record for record in client.retrieve(names[transport], ids)}
            found = [records[point_id].payload["x"] for point_id in ids]
            assert same(found, wanted), (transport, found)


@pytest.mark.parametrize("row", TABLE)
def test_a_stream_converts_as_a_frame_does(
    row: str, connections: dict[str, qframe.Connection], names: dict[str, str]
) -> None:
    """A record with the same value in its payload is stored like the cell of a frame."""
    column, wanted = TABLE[row]
    # What Arrow holds has become Python's own objects by the time it is in a record.
    values = column.tolist()
    if row == "map[pyarrow]":
        values = [dict(value) for value in values]
    if row.startswith("uint64"):
        values = [int(value) for value in values]
    records = ({"id": n, "vector": [1.0], "payload": {"x": v}} for n, v in enumerate(values))
    con = connections["grpc"]
    qframe.upload_points(records, names["grpc"], con, wait=True, progress=False)
    read = qframe.read_collection(names["grpc"], con, ids=range(len(values)))
    assert same([plain(cell) for cell in read["x"].tolist()], wanted)


REFUSED: dict[str, tuple[pd.Series[Any], str, str]] = {
    "inf": (pd.Series([1.0, np.inf]), "inf", ".replace([np.inf, -np.inf], np.nan)"),
    "-inf in float32": (pd.Series([1.0, -np.inf], dtype="float32"), "-inf", ".replace("),
    "inf object": (cells(1, float("inf")), "inf", ".replace("),
    "inf inside": (cells(1, [float("-inf")]), "-inf", ".replace("),
    "inf in an array": (cells(1, np.array([np.inf])), "inf", ".replace("),
    "2**63": (cells(1, 2**63), "9223372036854775808, beyond int64", '.astype("string")'),
    "-2**63-1": (cells(1, -(2**63) - 1), "beyond int64", '.astype("string")'),
    "10**50": (cells(1, 10**50), "over 40 digits", '.astype("string")'),
    "uint64": (
        pd.Series(np.array([1, 2**64 - 1], dtype=np.uint64)),
        "beyond int64",
        '.astype("string")',
    ),
    "UInt64": (series([1, 2**63], "UInt64"), "beyond int64", '.astype("string")'),
    "uint64 in an array": (
        cells(1, np.array([2**63], np.uint64)),
        "beyond int64",
        '.astype("string")',
    ),
    "bytes": (cells("a", b"raw"), "bytes b'raw'", "base64"),
    "bytearray": (cells("a", bytearray(b"x")), "bytearray", "decode"),
    "binary[pyarrow]": (series([None, b"raw"], arrow(pa.binary())), "bytes", "base64"),
    "set": (cells("a", {1}), "set {1}", '.map(sorted, na_action="ignore")'),
    "set inside": (
        cells("a", {"k": [frozenset()]}),
        "frozenset",
        '.map(sorted, na_action="ignore")',
    ),
    "timedelta64": (
        pd.Series(pd.to_timedelta([None, 5], unit="s")),
        "Timedelta",
        ".dt.total_seconds()",
    ),
    "timedelta": (cells(1, dt.timedelta(1)), "timedelta", ".dt.total_seconds()"),
    "timedelta in an array": (cells(1, np.array([1], "m8[s]")), "timedelta", ".dt.total_seconds()"),
    "Period": (series([None, "2024-05"], "period[M]"), "Period", ".dt.to_timestamp()"),
    "Interval": (cells(None, pd.Interval(0, 1)), "Interval", ".array.left and .array.right"),
    "category of intervals": (
        pd.Series(pd.cut([np.nan, 1.5], [1, 2])),
        "Interval",
        ".array.left and .array.right",
    ),
    "complex": (cells(1, 1j), "complex 1j", "imaginary part"),
    "key": (cells({}, {1: "one"}), "the key 1 of type int", "str(k): v"),
    "key inside": (cells({}, [{"a": {None: 0}}]), "the key None", "str(k): v"),
    "deep list": (
        cells(1, nested(MAX_DEPTH + 1, lambda x: [x])),
        "more than 30 deep",
        "json.dumps",
    ),
    "deep object": (cells(1, nested(99, lambda x: {"k": x})), "more than 30 deep", "json.dumps"),
    "deep array": (cells(1, nested(MAX_DEPTH, lambda x: (x, np.ones(1)))), "30 deep", "flatten"),
    "surrogate": (cells("a", "x\ud800"), "'\\ud800' at position 1", "encode('utf-8', 'replace')"),
    "surrogate in a key": (cells({}, {"\udfff": 1}), "surrogate", "encode('utf-8', 'replace')"),
    "year 10000": (
        pd.Series(np.array(["NaT", "10000-01-01"], "M8[s]")),
        "10000",
        'years 1 to 9999: .astype("string")',
    ),
    "year -5": (
        pd.Series(np.array(["NaT", "-0005-01-01"], "M8[s]")),
        "-005-01-01",
        "years 1 to 9999",
    ),
    "year 0 by zone": (
        cells(1, dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5)))),
        "outside of the calendar",
        "years 1 to 9999",
    ),
    "Decimal of 20 digits": (
        cells(1, Decimal("0.12345678901234567890")),
        "float64 holds as 0.1234567890123456",
        ".astype(float) rounds",
    ),
    "Decimal integer": (
        cells(1, Decimal(2**53 + 1)),
        "float64",
        '.astype("string") keeps every digit',
    ),
    "Decimal infinity": (cells(1, Decimal("-Infinity")), "-Infinity", "JSON knows no infinity"),
    "Decimal signalling NaN": (cells(1, [Decimal("1E+400")]), "1E+400", '.astype("string")'),
    "time with a zone": (cells(1, dt.time(1, tzinfo=dt.UTC)), "with a zone", '.astype("string")'),
    "object": (cells(1, object()), "object <object", "what JSON can hold"),
    "function": (cells(1, len), "builtin_function", "payload=[…]"),
    "generator": (cells(1, itertools.count()), "count", "what JSON can hold"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_payload_cannot_hold_is_refused_by_all(
    kind: str, connections: dict[str, qframe.Connection], names: dict[str, str]
) -> None:
    """The error names column, row and remedy, and the collection holds what it held before."""
    column, reason, remedy = REFUSED[kind]
    frame = pd.DataFrame({"price": column.set_axis([10, 20]), "held": "after"})
    texts = set()
    for transport, con in connections.items():
        before = read_whole(names[transport], con)
        with pytest.raises(qframe.BadRowsError) as refused:
            upload(frame, names[transport], con)
        text = str(refused.value)
        texts.add(text)
        assert "column 'price'" in text
        assert "row 20" in text
        assert "row 10" not in text
        assert reason in text
        assert remedy in text.partition("->")[2]
        assert refused.value.rows["label"].tolist() == [20]
        assert refused.value.rows["position"].tolist() == [1]
        assert refused.value.rows["column"].tolist() == ["column 'price'"]
        assert read_whole(names[transport], con) == before
    assert len(texts) == 1


def read_whole(name: str, con: qframe.Connection) -> dict[Any, Any]:
    """Read every point of a collection."""
    with con.store() as store:
        page = store.scroll(name, limit=1000, offset=None, with_vectors=True)
    assert page.next is None
    assert {2**64 - 2, 2**64 - 1} <= {point.id for point in page.points}
    return {
        point.id: (
            point.payload,
            {name: vector.tolist() for name, vector in point.vectors.items()},  # type: ignore[union-attr]
        )
        for point in page.points
    }


@pytest.mark.parametrize("kind", REFUSED)
def test_a_stream_refuses_what_a_frame_refuses(
    kind: str, connections: dict[str, qframe.Connection], names: dict[str, str]
) -> None:
    """A record that cannot be stored is set aside with the same reason."""
    column, reason, _ = REFUSED[kind]
    records = [{"id": 5, "vector": [1.0], "payload": {"x": value}} for value in column.tolist()]
    report = qframe.upload_points(
        records[1:], names["embedded"], connections["embedded"], bad_rows="skip", progress=False
    )
    (found,) = report.attrs["upload"]["skipped"]
    assert found["position"] == 0
    assert reason in found["reason"]


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_cell_does_not_keep_out_its_neighbour(
    kind: str, connections: dict[str, qframe.Connection], names: dict[str, str]
) -> None:
    """With `skip` the other row is stored and the refused one is reported."""
    column, reason, _ = REFUSED[kind]
    frame = pd.DataFrame({"price": column, "held": kind})
    name, con = names["embedded"], connections["embedded"]
    report = upload(frame, name, con, ids=[700, 701], bad_rows="skip")
    assert report["points"].tolist() == [1]
    found = qframe.read_collection(name, con, ids=[700, 701])
    assert found["held"].to_dict() == {700: kind}
    (skipped,) = report.attrs["upload"]["skipped"]
    assert (skipped["label"], skipped["column"]) == (1, "column 'price'")
    assert reason in skipped["reason"]
