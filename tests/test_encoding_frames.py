"""From a frame to the wire and back: what is read there is what stood in the frame.

``pytest tests/test_encoding_frames.py --hypothesis-profile=long`` tries 2,000 frames each way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import grpc
from qdrant_client.http import models

from qframe.batches import iterate_batches
from qframe.encoding.json import MEASURE as JSON
from qframe.encoding.json import encode_body
from qframe.encoding.protobuf import MEASURE as PROTOBUF
from qframe.encoding.protobuf import encode_points
from qframe.mapping import resolve
from qframe.points import PointBlock
from qframe.write import WriteOptions
from tests.test_encoding_protobuf import float32s, json_values, texts, value


@dataclass(frozen=True)
class Drawn:
    """A frame and what becomes of it.

    Attributes
    ----------
    frame : DataFrame
    arguments : dict
        Of `resolve`.
    ids : list
    vectors : list of dict of str to list
        A point's vectors by name: a list of float, a list of such lists, or a dict of indices and
        values.
    payloads : list of dict
    batch_size : int
    """

    frame: pd.DataFrame
    arguments: dict[str, Any]
    ids: list[Any]
    vectors: list[dict[str, Any]]
    payloads: list[dict[str, Any]]
    batch_size: int


# ---- Columns, each with the values that a reader must find ----

Column = tuple[Any, list[Any]]


def gaps(draw: st.DrawFn, values: list[Any]) -> list[Any]:
    """Put None in the place of some."""
    return [None if draw(st.booleans()) else one for one in values]


def text_column(draw: st.DrawFn, rows: int) -> Column:
    """Draw text, as any of pandas' five ways to keep it."""
    drawn = gaps(draw, draw(st.lists(texts, min_size=rows, max_size=rows)))
    kinds = ["object", "str", "category", "arrow", "python"]
    kind = draw(st.sampled_from(kinds))
    made: Callable[[], Any] = {
        "object": lambda: pd.Series(drawn, dtype=object),
        "str": lambda: pd.Series(drawn, dtype="string[pyarrow]"),
        "category": lambda: pd.Categorical(drawn),
        "arrow": lambda: pd.Series(drawn, dtype=pd.ArrowDtype(pa.string())),
        "python": lambda: pd.Series(drawn, dtype="string[python]"),
    }[kind]
    return made(), drawn


def integer_column(draw: st.DrawFn, rows: int) -> Column:
    """Draw integers, numpy's, nullable or Arrow's."""
    kind = draw(st.sampled_from(["int64", "int8", "uint32", "Int64", "int32[pyarrow]"]))
    bounds = {
        "int8": (-128, 127),
        "uint32": (0, 2**32 - 1),
        "int32[pyarrow]": (-(2**31), 2**31 - 1),
    }
    low, high = bounds.get(kind, (-(2**63), 2**63 - 1))
    drawn = draw(st.lists(st.integers(low, high), min_size=rows, max_size=rows))
    if kind in ("Int64", "int32[pyarrow]"):
        drawn = gaps(draw, drawn)
    return pd.Series(drawn, dtype=kind), drawn


def float_column(draw: st.DrawFn, rows: int) -> Column:
    """Draw finite floats and missing ones."""
    kind = draw(st.sampled_from(["float64", "float32", "Float64", "double[pyarrow]"]))
    width = 32 if kind == "float32" else 64
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=width)
    drawn = gaps(draw, draw(st.lists(numbers, min_size=rows, max_size=rows)))
    return pd.Series(drawn, dtype=kind), drawn


def boolean_column(draw: st.DrawFn, rows: int) -> Column:
    """Draw booleans, numpy's, nullable or Arrow's."""
    kind = draw(st.sampled_from(["bool", "boolean", "bool[pyarrow]"]))
    drawn = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    if kind != "bool":
        drawn = gaps(draw, drawn)
    return pd.Series(drawn, dtype=kind), drawn


def time_column(draw: st.DrawFn, rows: int) -> Column:
    """Draw times of several units, naive or in a zone."""
    unit = draw(st.sampled_from(["s", "us", "ns"]))
    first, last = dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)  # what nanoseconds can say
    drawn = gaps(draw, draw(st.lists(st.datetimes(first, last), min_size=rows, max_size=rows)))
    if unit == "s":
        drawn = [one and one.replace(microsecond=0) for one in drawn]
    series: pd.Series[Any] = pd.Series(
        np.array([one or "NaT" for one in drawn], dtype=f"datetime64[{unit}]")
    )
    if draw(st.booleans()):
        series = series.dt.tz_localize("UTC").dt.tz_convert("Asia/Kolkata")
    if draw(st.booleans()):
        series = series.astype(pd.ArrowDtype(pa.timestamp(unit, tz=series.dt.tz and "UTC")))
    return series, [None if one is None else f"{one.isoformat()}Z" for one in drawn]


def nested_column(draw: st.DrawFn, rows: int) -> Column:
    """Draw Python values as JSON knows them."""
    drawn = draw(st.lists(json_values, min_size=rows, max_size=rows))
    cells = np.empty(rows, dtype=object)
    for at, one in enumerate(drawn):
        cells[at] = one
    return pd.Series(cells), drawn


COLUMNS = (
    text_column,
    integer_column,
    float_column,
    boolean_column,
    time_column,
    nested_column,
)


# ---- Vectors ----


def cells_of(rows: list[Any]) -> Any:
    """Make a column of objects."""
    cells = np.empty(len(rows), dtype=object)
    for at, row in enumerate(rows):
        cells[at] = row
    return pd.Series(cells)


def dense(draw: st.DrawFn, rows: int, *, may_lack: bool) -> Column:
    """Draw a vector a row, from any source."""
    size = draw(st.sampled_from([1, 2, 3, 1030]))
    if size > 3:
        start = draw(st.integers(-100, 100))
        matrix = np.arange(start, start + rows * size, dtype=np.float32).reshape(rows, size) / 7
    else:
        matrix = float32s(draw, rows, size)
        matrix[~np.isfinite(matrix)] = 0
    kind = draw(st.sampled_from(["arrays", "doubles", "lists", "arrow", "fixed", "matrix"]))
    expected: list[Any] = matrix.tolist()
    if kind == "matrix":
        return matrix, expected
    lacks = [may_lack and draw(st.booleans()) for _ in range(rows)]
    expected = [None if lack else row for row, lack in zip(expected, lacks, strict=True)]
    if kind in ("arrow", "fixed"):
        type_ = pa.list_(pa.float32(), size) if kind == "fixed" else pa.list_(pa.float32())
        return pd.Series(expected, dtype=pd.ArrowDtype(type_)), expected
    double = matrix.astype(np.float64)
    source: Any = {"arrays": matrix, "doubles": double, "lists": expected}[kind]
    given = [None if lack else row for row, lack in zip(source, lacks, strict=True)]
    return cells_of(given), expected


def multi(draw: st.DrawFn, rows: int, *, may_lack: bool) -> Column:
    """Draw one to three vectors a row."""
    lengths = draw(st.lists(st.integers(1, 3), min_size=rows, max_size=rows))
    numbers = iter(range(1, 100))
    expected = [[[float(next(numbers)), 0.5] for _ in range(length)] for length in lengths]
    if may_lack:
        expected = gaps(draw, expected)
    if draw(st.booleans()):
        return cells_of([one and np.array(one, dtype=np.float32) for one in expected]), expected
    return cells_of(expected), expected


def sparse(draw: st.DrawFn, rows: int, *, may_lack: bool) -> Column:
    """Draw indices and values."""
    indices = st.lists(st.integers(0, 2**32 - 1), max_size=4, unique=True)
    drawn = draw(st.lists(indices, min_size=rows, max_size=rows))
    expected: list[Any] = [
        {"indices": one, "values": [at + 0.25 for at in range(len(one))]} for one in drawn
    ]
    if may_lack:
        expected = gaps(draw, expected)
    return cells_of(expected), expected


@st.composite
def drawn_frames(draw: st.DrawFn) -> Drawn:
    """Draw a frame with all that a frame can hold."""
    rows = draw(st.integers(1, 6))
    frame = pd.DataFrame(index=pd.RangeIndex(rows, name="row"))
    by_name: dict[str, list[Any]] = {}
    arguments: dict[str, Any] = {"missing": draw(st.sampled_from(["null", "drop"]))}
    if draw(st.booleans()):
        arguments["vectors"], by_name[""] = dense(draw, rows, may_lack=False)
    else:
        kinds = draw(st.lists(st.sampled_from([dense, multi, sparse]), min_size=1, max_size=3))
        arguments["vectors"] = {}
        for at, kind in enumerate(kinds):
            source, by_name[f"v{at}"] = kind(draw, rows, may_lack=True)
            arguments["vectors"][f"v{at}"] = source
            if all(one is None for one in by_name[f"v{at}"]):  # nobody knows its kind then
                del arguments["vectors"][f"v{at}"], by_name[f"v{at}"]
        if not by_name:
            arguments["vectors"], by_name[""] = dense(draw, rows, may_lack=False)
    cells: dict[str, list[Any]] = {}
    for at, column in enumerate(draw(st.lists(st.sampled_from(COLUMNS), max_size=4))):
        series, cells[f"c{at}"] = column(draw, rows)
        frame[f"c{at}"] = pd.Series(series).array
    if draw(st.booleans()):
        ids: list[Any] = draw(
            st.lists(st.integers(0, 2**64 - 1), min_size=rows, max_size=rows, unique=True)
        )
        arguments["ids"] = np.array(ids, dtype=np.uint64)
    else:
        drawn = draw(st.lists(st.uuids(), min_size=rows, max_size=rows, unique=True))
        ids = [str(one) for one in drawn]
        arguments["ids"] = drawn if draw(st.booleans()) else ids
    payloads = [
        {
            key: values[at]
            for key, values in cells.items()
            if values[at] is not None or arguments["missing"] == "null"
        }
        for at in range(rows)
    ]
    vectors = [
        {name: each[at] for name, each in by_name.items() if each[at] is not None}
        for at in range(rows)
    ]
    return Drawn(frame, arguments, ids, vectors, payloads, draw(st.integers(1, rows)))


def blocks_of(drawn: Drawn, widths: Any) -> list[PointBlock]:
    """Map the frame and cut it into batches."""
    mapped = resolve(drawn.frame, **drawn.arguments)
    batches = iterate_batches(mapped.points, widths, batch_size=drawn.batch_size)
    return [batch.block() for batch in batches]


def official_point(point: Any, vectors: dict[str, Any], payload: dict[str, Any]) -> Any:
    """Build a point with the official classes, value by value."""
    made = {}
    for name, one in vectors.items():
        if isinstance(one, dict):
            made[name] = grpc.Vector(sparse=grpc.SparseVector(**one))
        elif isinstance(one[0], list):
            rows = [grpc.DenseVector(data=row) for row in one]
            made[name] = grpc.Vector(multi_dense=grpc.MultiDenseVector(vectors=rows))
        else:
            made[name] = grpc.Vector(dense=grpc.DenseVector(data=one))
    if list(made) == [""]:
        wrapped = grpc.Vectors(vector=made[""])
    else:
        wrapped = grpc.Vectors(vectors=grpc.NamedVectors(vectors=made))
    point_id = grpc.PointId(num=point) if isinstance(point, int) else grpc.PointId(uuid=point)
    fields = {key: value(one) for key, one in payload.items()}
    return grpc.PointStruct(id=point_id, payload=fields, vectors=wrapped)


large = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@large
@given(drawn_frames())
def test_protobuf_reads_what_stands_in_the_frame(drawn: Drawn) -> None:
    """All batches together parse to the message that the official library builds row by row."""
    body = b"".join(encode_points(block) for block in blocks_of(drawn, PROTOBUF.widths))
    expected = [
        official_point(*point)
        for point in zip(drawn.ids, drawn.vectors, drawn.payloads, strict=True)
    ]
    assert grpc.UpsertPoints.FromString(body) == grpc.UpsertPoints(points=expected)


@large
@given(drawn_frames())
def test_json_reads_what_stands_in_the_frame(drawn: Drawn) -> None:
    """The official models read from all bodies together the points of the frame, row by row."""
    found: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []
    for block in blocks_of(drawn, JSON.widths):
        read = orjson.loads(encode_body(block, WriteOptions()))
        if "batch" in read:
            batch = models.PointsBatch.model_validate(read).batch
            payloads = batch.payloads or [{}] * len(batch.ids)
            each = batch.vectors
            if isinstance(each, dict):
                each = [
                    dict(zip(each, row, strict=True)) for row in zip(*each.values(), strict=True)
                ]
            found += zip(batch.ids, map(named, each), payloads, strict=True)
        else:
            points = models.PointsList.model_validate(read).points
            found += [(one.id, named(one.vector), one.payload or {}) for one in points]
    assert [point for point, _, _ in found] == drawn.ids
    assert [vectors for _, vectors, _ in found] == drawn.vectors
    for (_, _, payload), expected in zip(found, drawn.payloads, strict=True):
        # As text, in which 1, 1.0 and true are three things.
        sort = orjson.OPT_SORT_KEYS
        assert orjson.dumps(payload, option=sort) == orjson.dumps(expected, option=sort)


def named(vector: Any) -> dict[str, Any]:
    """Return vectors by name, of plain lists of float32."""
    by_name = vector if isinstance(vector, dict) else {"": vector}
    return {name: plain(one) for name, one in by_name.items()}


def plain(vector: Any) -> Any:
    """Return what a vector holds as lists of Python's numbers."""
    if isinstance(vector, models.SparseVector):
        return {"indices": vector.indices, "values": np.float32(vector.values).tolist()}
    return np.float32(vector).tolist()
