"""What every upload promises, over REST, over gRPC and into the embedded engine alike."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import itertools
import json
import math
import pickle
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from qdrant_client import QdrantClient, models

import qframe
from qframe import errors
from qframe.mapping.ids import NAMESPACE
from qframe.report import COLUMNS
from tests.conftest import REAL_GRPC, REAL_KEY, REAL_REST
from tests.server import LocalServer

MANY = 10_000
SIZE = 8
BERLIN = "Europe/Berlin"


@pytest.fixture(autouse=True)
def quiet_server(server: LocalServer) -> Iterator[None]:
    """Forget what one test made the local server note."""
    yield
    server.reset(collections=False)


# ---- What is stored, as qframe and as the official client read it ----


@dataclass(frozen=True)
class Point:
    """A point as somebody read it: plain payload, vectors as arrays or sorted pairs of them."""

    payload: Mapping[str, Any]
    vectors: Mapping[str, Any]


def vector(value: Any) -> Any:
    """Bring a vector of any reader or source into one form."""
    if isinstance(value, models.SparseVector):
        value = {"indices": value.indices, "values": value.values}
    if isinstance(value, Mapping):
        indices = np.asarray(value["indices"], dtype=np.uint32)
        order = np.argsort(indices)
        return indices[order], np.asarray(value["values"], dtype=np.float32)[order]
    return np.asarray(value, dtype=np.float32)


def plain(cell: Any) -> Any:
    """Turn a cell of a frame that was read back into what JSON has."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    return None if cell is pd.NA or cell is pd.NaT or cell != cell else cell


def is_missing(cell: Any) -> bool:
    """Whether a point lacks a vector."""
    return cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell)


def through_qframe(
    collection: str, con: qframe.Connection, names: tuple[str, ...] = ("",)
) -> dict[int | str, Point]:
    """Read a whole collection with `qframe.read_collection`."""
    frame = qframe.read_collection(collection, con)
    labels = {name: name or "vector" for name in names}
    keys = [key for key in frame.columns if key not in labels.values()]
    payloads = zip(*([plain(cell) for cell in frame[key].tolist()] for key in keys), strict=True)
    vectors = zip(*(frame[label].tolist() for label in labels.values()), strict=True)
    return {
        point_id: Point(
            dict(zip(keys, payload, strict=True)),
            {
                name: vector(cell)
                for name, cell in zip(labels, cells, strict=True)
                if not is_missing(cell)
            },
        )
        for point_id, payload, cells in zip(
            frame.index.tolist(), payloads if keys else itertools.repeat(()), vectors, strict=False
        )
    }


def through_official(collection: str, client: QdrantClient) -> dict[int | str, Point]:
    """Read a whole collection with the official client."""
    found: dict[int | str, Point] = {}
    offset = None
    while True:
        records, offset = client.scroll(
            collection, limit=2500, offset=offset, with_payload=True, with_vectors=True
        )
        for record in records:
            vectors = record.vector
            if not isinstance(vectors, dict):
                vectors = {"": vectors}
            found[record.id] = Point(
                record.payload, {name: vector(value) for name, value in vectors.items()}
            )
        if offset is None:
            return found


Clients = Callable[[qframe.Connection], list[QdrantClient]]


@pytest.fixture(scope="module")
def clients(server: LocalServer) -> Iterator[Clients]:
    """Open the official client over HTTP and over gRPC, to whatever server a connection goes to."""
    opened: dict[bool, list[QdrantClient]] = {}

    def of(con: qframe.Connection) -> list[QdrantClient]:
        if con.transport == "embedded":
            return []
        is_local = is_at(con, server)
        if is_local not in opened:
            url = server.rest_url if is_local else REAL_REST
            grpc_url = server.grpc_url if is_local else REAL_GRPC
            opened[is_local] = [
                QdrantClient(
                    url=url,
                    api_key=None if is_local else REAL_KEY,
                    grpc_port=qframe.connect(grpc_url).port,
                    prefer_grpc=prefer_grpc,
                )
                for prefer_grpc in (False, True)
            ]
        return opened[is_local]

    yield of
    for client in itertools.chain(*opened.values()):
        client.close()


def is_at(con: qframe.Connection, server: LocalServer) -> bool:
    """Whether a connection goes to the local server, whose log can be read."""
    return con.target in (server.rest_url, server.grpc_url)


def readers(
    collection: str, con: qframe.Connection, clients: Clients, names: tuple[str, ...] = ("",)
) -> Iterator[dict[int | str, Point]]:
    """Yield the collection as each reader sees it."""
    yield through_qframe(collection, con, names)
    for client in clients(con):
        yield through_official(collection, client)


def two_readers(
    collection: str, con: qframe.Connection, clients: Clients, names: tuple[str, ...] = ("",)
) -> Iterator[dict[int | str, Point]]:
    """Yield a large collection as qframe and the official client see it over one transport."""
    yield through_qframe(collection, con, names)
    for client in clients(con)[con.transport == "grpc" :][:1]:
        yield through_official(collection, client)


def assert_vectors(
    stored: Mapping[int | str, Point], name: str, expected: Mapping[int | str, Any]
) -> None:
    """Compare one vector of all points, to the last bit of float32."""
    assert stored.keys() == expected.keys()
    for point_id, wanted in expected.items():
        assert (name in stored[point_id].vectors) == (wanted is not None), (point_id, name)
        if wanted is None:
            continue
        found, wanted = stored[point_id].vectors[name], vector(wanted)
        if isinstance(wanted, tuple):
            assert all(map(np.array_equal, found, wanted)), (point_id, name)
        else:
            assert found.shape == wanted.shape, (point_id, name)
            assert (found == wanted).all(), (point_id, name)


def same(found: Any, wanted: Any) -> bool:
    """Compare payloads: by type too, and floats to the last but one bit.

    The engine keeps a payload as JSON and reads a float back up to an ulp beside what it wrote.
    """
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, float):
        return found == wanted or abs(found - wanted) <= 2 * math.ulp(wanted)
    return found == wanted


def upload(frame: pd.DataFrame, collection: str, con: qframe.Connection, **options: Any) -> Any:
    """Upload and wait until it is applied, with dot products, which keep vectors as they are."""
    defaults: dict[str, Any] = {"wait": True, "distance": "dot", "progress": False}
    return qframe.upload(frame, collection, con, **(defaults | options))


def random(*shape: int, seed: int = 7) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return float64 numbers that float32 has to round."""
    return np.random.default_rng(seed).normal(size=shape)


def small(rows: int = 20, size: int = 4, **columns: Any) -> pd.DataFrame:
    """Return a frame with ids as its index, a column of arrays, and more."""
    vectors = list(random(rows, size))
    return pd.DataFrame(
        {"v": vectors, "n": range(rows), **columns}, index=pd.RangeIndex(rows, name="key")
    )


# ---- Ten thousand rows ----


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def every_type(rows: int) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return a frame with every payload type, and what is to be stored of each row."""
    at = list(range(rows))
    lacks = [n % 7 == 3 for n in at]
    moments = [dt.datetime(2020, 1, 1) + dt.timedelta(hours=5 * n, microseconds=n % 3) for n in at]
    dates = [dt.date(1970, 1, 1) + dt.timedelta(days=n) for n in at]
    times = [dt.time(n % 24, n % 60, n % 60, n % 2) for n in at]
    wide = [(-1) ** n * (2**63 - 1 - n) for n in at]
    floats = (np.round(random(rows) * 64) / 64).tolist()
    texts = [f'Ærøskøbing {n} \N{SNOWMAN} "quoted" \\ \n' for n in at]
    keys = [uuid.UUID(int=n * 2**64 + 5) for n in at]
    colours = [Colour.RED if n % 2 else Colour.BLUE for n in at]

    def gaps(values: list[Any], hole: Any = None) -> list[Any]:
        return [hole if gone else value for value, gone in zip(values, lacks, strict=True)]

    def cells(values: list[Any]) -> Any:
        column = np.empty(rows, dtype=object)
        for n, value in enumerate(values):
            column[n] = value
        return column

    frame = pd.DataFrame(
        {
            "bool": [n % 2 == 0 for n in at],
            "boolean": pd.array(gaps([n % 2 == 0 for n in at]), dtype="boolean"),
            "int8": np.array([n % 256 - 128 for n in at], dtype=np.int8),
            "int64": np.array(wide, dtype=np.int64),
            "uint32": np.array([2**32 - 1 - n for n in at], dtype=np.uint32),
            "Int64": pd.array(gaps(wide), dtype="Int64"),
            "arrow_int": pd.array(gaps(at), dtype=pd.ArrowDtype(pa.int32())),
            "float16": np.array(floats, dtype=np.float16),
            "float32": np.array(floats, dtype=np.float32),
            "float64": gaps(floats, float("nan")),
            "text": pd.Series(texts, dtype="str"),
            "text_gaps": cells(gaps(texts)),
            "arrow_text": pd.array(gaps(texts), dtype=pd.ArrowDtype(pa.string())),
            "moment": pd.Series(gaps(moments, pd.NaT)).astype("datetime64[us]"),
            "zoned": pd.Series(moments).dt.tz_localize("UTC").dt.tz_convert(BERLIN),
            "date": cells(dates),
            "time": cells(times),
            "decimal": cells([Decimal(n) / 4 for n in at]),
            "uuid": cells(keys),
            "category": pd.Categorical(gaps([f"c{n % 5}" for n in at])),
            "numbered": pd.Categorical([n % 3 for n in at]),
            "enum": cells(colours),
            "scalar": cells([np.int16(n % 1000) if n % 2 else np.array(n / 2) for n in at]),
            "list": cells(gaps([[n, None, "x"] for n in at])),
            "tuple": cells([(n, float("nan")) for n in at]),
            "array": cells([np.arange(n % 3) for n in at]),
            "object": cells([{"a": {"b": [n]}, "when": dates[n]} for n in at]),
            "mixed": cells([(n, str(n), n / 8, None, True)[n % 5] for n in at]),
        }
    )
    expected = {
        "bool": [n % 2 == 0 for n in at],
        "boolean": gaps([n % 2 == 0 for n in at]),
        "int8": [n % 256 - 128 for n in at],
        "int64": wide,
        "uint32": [2**32 - 1 - n for n in at],
        "Int64": gaps(wide),
        "arrow_int": gaps(at),
        "float16": np.array(floats, dtype=np.float16).astype(float).tolist(),
        "float32": np.array(floats, dtype=np.float32).astype(float).tolist(),
        "float64": gaps(floats),
        "text": texts,
        "text_gaps": gaps(texts),
        "arrow_text": gaps(texts),
        "moment": gaps([f"{moment.isoformat()}Z" for moment in moments]),
        "zoned": [f"{moment.isoformat()}Z" for moment in moments],
        "date": [date.isoformat() for date in dates],
        "time": [time.isoformat() for time in times],
        "decimal": [n / 4 for n in at],
        "uuid": [str(key) for key in keys],
        "category": gaps([f"c{n % 5}" for n in at]),
        "numbered": [n % 3 for n in at],
        "enum": [colour.value for colour in colours],
        "scalar": [n % 1000 if n % 2 else n / 2 for n in at],
        "list": gaps([[n, None, "x"] for n in at]),
        "tuple": [[n, None] for n in at],
        "array": [list(range(n % 3)) for n in at],
        "object": [{"a": {"b": [n]}, "when": dates[n].isoformat()} for n in at],
        "mixed": [(n, str(n), n / 8, None, True)[n % 5] for n in at],
    }
    payloads = [
        dict(zip(expected, row, strict=True)) for row in zip(*expected.values(), strict=True)
    ]
    return frame, payloads


def test_ten_thousand_dense_vectors_and_every_payload_type_come_back(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """Every reader sees the float32 of every vector and the documented value of every cell."""
    frame, payloads = every_type(MANY)
    vectors = random(MANY, SIZE)
    report = upload(frame.assign(v=list(vectors)), collection, con, vectors="v", ids=frame.index)
    assert report["points"].sum() == MANY
    assert report.attrs["upload"]["points"]["applied"] == MANY
    for stored in two_readers(collection, con, clients):
        assert_vectors(stored, "", dict(enumerate(vectors)))
        for n, payload in enumerate(payloads):
            assert stored[n].payload == payload, n


def test_ten_thousand_multivectors_come_back(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """Matrices of one to three vectors keep their numbers and their shapes."""
    numbers = random(MANY * 3, 4)
    matrices = [numbers[3 * n : 3 * n + 1 + n % 3] for n in range(MANY)]
    frame = pd.DataFrame({"m": matrices})
    upload(frame, collection, con, vectors="m")
    for stored in two_readers(collection, con, clients):
        assert_vectors(stored, "", dict(enumerate(matrices)))


def test_ten_thousand_sparse_vectors_come_back(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """Rows of a scipy matrix, empty ones among them, keep their indices and values."""
    matrix = scipy.sparse.random_array(
        (MANY, 300), density=0.01, format="csr", rng=np.random.default_rng(3)
    )
    assert (np.diff(matrix.indptr) == 0).any()
    frame = pd.DataFrame({"n": range(MANY)})
    upload(frame, collection, con, vectors={"words": matrix})
    expected = {}
    for n in range(MANY):
        span = slice(matrix.indptr[n], matrix.indptr[n + 1])
        expected[n] = {"indices": matrix.indices[span], "values": matrix.data[span]}
    for stored in two_readers(collection, con, clients, ("words",)):
        assert_vectors(stored, "words", expected)


def test_ten_thousand_points_with_named_vectors_of_all_kinds_and_gaps_come_back(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """A missing cell leaves out that vector of that point, and nothing else."""
    dense = [None if n % 2 else row for n, row in enumerate(random(MANY, SIZE))]
    multi = [None if n % 3 else row for n, row in enumerate(random(MANY, 2, 3, seed=8))]
    sparse = [
        None if n % 5 else {"indices": [2**32 - 1, n], "values": [0.1 * n, -1.5]}
        for n in range(MANY)
    ]
    full = random(MANY, 2, seed=9)
    frame = pd.DataFrame({"dense": dense, "multi": multi, "sparse": sparse})
    names = {"dense": "dense", "multi": "multi", "sparse": "sparse", "full": full}
    upload(frame, collection, con, vectors=names)
    for stored in two_readers(collection, con, clients, tuple(names)):
        assert_vectors(stored, "dense", dict(enumerate(dense)))
        assert_vectors(stored, "multi", dict(enumerate(multi)))
        assert_vectors(stored, "sparse", dict(enumerate(sparse)))
        assert_vectors(stored, "full", dict(enumerate(full)))


# ---- Every form of a vector ----

ROWS = 60


def _arrow(type_: pa.DataType, values: Any) -> pd.Series[Any]:
    return pd.Series(pd.array(values.tolist(), dtype=pd.ArrowDtype(type_)))


def _column(cells: list[Any]) -> dict[str, Any]:
    return {"v": cells}


DENSE: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "arrays": (lambda x: _column(list(x)), "v"),
    "float32 arrays": (lambda x: _column(list(x.astype(np.float32))), "v"),
    "float16 arrays": (lambda x: _column(list(x.astype(np.float16))), "v"),
    "integer arrays": (lambda x: _column(list((x * 100).astype(np.int16))), "v"),
    "lists": (lambda x: _column(x.tolist()), "v"),
    "lists of integers": (lambda x: _column((x * 100).astype(int).tolist()), "v"),
    "tuples": (lambda x: _column([tuple(row) for row in x.tolist()]), "v"),
    "arrays and lists": (
        lambda x: _column([row if n % 2 else row.tolist() for n, row in enumerate(x)]),
        "v",
    ),
    "arrow lists": (lambda x: {"v": _arrow(pa.list_(pa.float64()), x)}, "v"),
    "arrow large lists": (lambda x: {"v": _arrow(pa.large_list(pa.float32()), x)}, "v"),
    "arrow fixed-size lists": (lambda x: {"v": _arrow(pa.list_(pa.float32(), SIZE), x)}, "v"),
    "wide columns": (
        lambda x: {f"x{n}": x[:, n] for n in range(SIZE)},
        [f"x{n}" for n in range(SIZE)],
    ),
    "wide columns of several types": (
        lambda x: {
            "x0": (x[:, 0] * 100).astype(np.int8),
            "x1": pd.array((x[:, 1] * 100).astype(int), dtype="Int64"),
            "x2": x[:, 2].astype(np.float16),
            **{f"x{n}": x[:, n] for n in range(3, SIZE)},
        },
        [f"x{n}" for n in range(SIZE)],
    ),
}


def test_dense_vectors_come_in_many_forms(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """The same numbers arrive whatever column or columns held them."""
    for form, (make, vectors) in DENSE.items():
        frame = pd.DataFrame({**make(random(ROWS, SIZE)), "form": form})
        if isinstance(vectors, list):
            wanted = frame[vectors].to_numpy(dtype=np.float64)
        else:
            wanted = [np.asarray(cell, dtype=np.float64) for cell in frame["v"]]
        upload(frame, collection, con, vectors=vectors, ids=frame.index, batch_size=25)
        for stored in readers(collection, con, clients):
            assert_vectors(stored, "", dict(enumerate(wanted)))
            assert stored[41].payload == {"form": form}


def test_a_dense_array_goes_by_position(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """A 2-D array of any number type, here a view with strides, gives each row its vector."""
    for dtype in ("float16", "float32", "float64", "int8", "uint16", "int64"):
        array = (random(ROWS, 2 * SIZE) * 50).clip(0).astype(dtype)[:, ::2]
        frame = pd.DataFrame({"dtype": dtype}, index=np.arange(ROWS)[::-1])
        upload(frame, collection, con, vectors=array, batch_size=25)
        for stored in readers(collection, con, clients):
            assert_vectors(stored, "", {ROWS - 1 - n: row for n, row in enumerate(array)})
            assert stored[0].payload == {"dtype": dtype}


def test_cosine_normalises_and_the_others_do_not(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """What comes back is the vector itself, or for cosine the vector of length 1."""
    array = random(ROWS, SIZE)
    names = ("cosine", "dot", "euclid", "manhattan")
    frame = pd.DataFrame(index=range(ROWS))
    upload(
        frame,
        collection,
        con,
        vectors=dict.fromkeys(names, array),
        distance={name: name for name in names if name != "cosine"},
    )
    wanted = array.astype(np.float32)
    lengths = np.linalg.norm(wanted, axis=1, keepdims=True)
    for stored in readers(collection, con, clients, names):
        for name in names[1:]:
            assert_vectors(stored, name, dict(enumerate(wanted)))
        found = np.stack([stored[n].vectors["cosine"] for n in range(ROWS)])
        np.testing.assert_allclose(found, wanted / lengths, rtol=1e-5)


MULTI: dict[str, Callable[[Any], tuple[pd.DataFrame, Any]]] = {
    "column of 2-D arrays": lambda x: (pd.DataFrame({"m": list(x)}), "m"),
    "column of lists of lists": lambda x: (pd.DataFrame({"m": x.tolist()}), "m"),
    "3-D array": lambda x: (pd.DataFrame(index=range(len(x))), x),
    "3-D float32 array": lambda x: (pd.DataFrame(index=range(len(x))), x.astype(np.float32)),
    "arrow lists of lists": lambda x: (
        pd.DataFrame({"m": _arrow(pa.list_(pa.list_(pa.float64())), x)}),
        "m",
    ),
}


def test_multivectors_come_in_many_forms(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """Columns of matrices and a 3-D array are stored alike."""
    array = random(ROWS, 3, SIZE)
    for form, make in MULTI.items():
        frame, vectors = make(array)
        frame = frame.assign(form=form)
        upload(frame, collection, con, vectors=vectors, ids=frame.index, batch_size=25)
        for stored in readers(collection, con, clients):
            assert_vectors(stored, "", dict(enumerate(array)))
            assert stored[0].payload == {"form": form}


SPARSE_CELLS = [
    {"indices": [], "values": []} if n == 4 else {"indices": [n + 9, n], "values": [0.1, n / 3]}
    for n in range(ROWS)
]


def _csr() -> Any:
    rows = [n for n, cell in enumerate(SPARSE_CELLS) for _ in cell["indices"]]
    columns = [index for cell in SPARSE_CELLS for index in cell["indices"]]
    values = [value for cell in SPARSE_CELLS for value in cell["values"]]
    return scipy.sparse.coo_array((values, (rows, columns)), shape=(ROWS, 100))


SPARSE: dict[str, Callable[[], Any]] = {
    "dicts of lists": lambda: pd.Series(SPARSE_CELLS),
    "dicts of arrays": lambda: pd.Series(
        [
            {"indices": np.array(c["indices"], dtype=np.int64), "values": np.array(c["values"])}
            for c in SPARSE_CELLS
        ]
    ),
    "models of the official client": lambda: pd.Series(
        [models.SparseVector(**cell) for cell in SPARSE_CELLS]
    ),
    "arrow structs": lambda: pd.Series(
        pd.array(
            SPARSE_CELLS,
            dtype=pd.ArrowDtype(
                pa.struct({"indices": pa.list_(pa.uint32()), "values": pa.list_(pa.float32())})
            ),
        )
    ),
    "coo array": _csr,
    "csc matrix": lambda: scipy.sparse.csc_matrix(_csr()),
}


def test_sparse_vectors_come_in_many_forms(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """Dicts, structs and scipy matrices of any layout are stored alike."""
    for form, make in SPARSE.items():
        frame = pd.DataFrame({"form": form}, index=range(ROWS))
        upload(frame, collection, con, vectors={"s": make()}, ids=frame.index, batch_size=25)
        for stored in readers(collection, con, clients, ("s",)):
            assert_vectors(stored, "s", dict(enumerate(SPARSE_CELLS)))
            assert stored[0].payload == {"form": form}


def test_a_point_may_lack_all_its_vectors(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """A row without any named vector becomes a point with its payload alone."""
    frame = pd.DataFrame({"v": [[1.0, 2.0], None], "title": ["a", "b"]})
    upload(frame, collection, con, vectors={"v": "v"})
    for stored in readers(collection, con, clients, ("v",)):
        assert stored[1] == Point({"title": "b"}, {})
        assert stored[0].vectors["v"].tolist() == [1.0, 2.0]


# ---- Ids ----

UUIDS = [uuid.UUID(int=n * 0x1234567890ABCDEF + 1) for n in range(1, 5)]
TEXTS = [
    str(UUIDS[0]),
    UUIDS[1].hex.upper(),
    f"urn:uuid:{UUIDS[2]}",
    f"{{{str(UUIDS[3]).upper()}}}",
]
WIDE = [0, 1, 2**63, 2**64 - 1]
LOWER = [str(key) for key in UUIDS]

IDS: dict[str, tuple[Callable[[pd.DataFrame], Any], list[Any]]] = {
    "column of uint64": (lambda f: f.assign(key=np.array(WIDE, dtype=np.uint64)), WIDE),
    "column of integer objects": (lambda f: f.assign(key=pd.Series(WIDE, dtype=object)), WIDE),
    "column of Int64": (
        lambda f: f.assign(key=pd.array([3, 2, 1, 0], dtype="Int64")),
        [3, 2, 1, 0],
    ),
    "column of int8": (lambda f: f.assign(key=np.array([9, 8, 7, 6], np.int8)), [9, 8, 7, 6]),
    "column of categories": (lambda f: f.assign(key=pd.Categorical([5, 3, 9, 1])), [5, 3, 9, 1]),
    "UUIDs as text": (lambda f: f.assign(key=TEXTS), LOWER),
    "UUIDs as arrow text": (
        lambda f: f.assign(key=pd.array(TEXTS, dtype=pd.ArrowDtype(pa.string()))),
        LOWER,
    ),
    "UUID objects": (lambda f: f.assign(key=UUIDS), LOWER),
    "numbers and UUIDs": (
        lambda f: f.assign(key=pd.Series([2**64 - 1, UUIDS[0], 0, TEXTS[1]], dtype=object)),
        [2**64 - 1, LOWER[0], 0, LOWER[1]],
    ),
}


def test_ids_of_every_sort_arrive(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """A column of ids names the points, and leaves the payload."""
    for kind, (change, wanted) in IDS.items():
        upload(change(small(4)).assign(kind=kind), collection, con, vectors="v", ids="key")
        for stored in readers(collection, con, clients):
            made = {i: p.payload for i, p in stored.items() if p.payload["kind"] == kind}
            assert made == {i: {"n": n, "kind": kind} for n, i in enumerate(wanted)}


def test_ids_come_as_arrays(con: qframe.Connection, collection: str) -> None:
    """One id a row, matched by position whatever the frame's index says."""
    frame = small(4).set_index(pd.Index(list("wxyz")))
    for ids in (
        np.array(WIDE, dtype=np.uint64),
        pd.Index(WIDE, dtype="uint64"),
        WIDE[::-1],
        tuple(WIDE),
        pd.array(WIDE[::-1], dtype=pd.ArrowDtype(pa.uint64())),
    ):
        upload(frame, collection, con, vectors="v", ids=ids)
        found = qframe.read_collection(collection, con)
        wanted = dict(zip(list(ids), range(4), strict=True))
        assert dict(zip(found.index.tolist(), found["n"], strict=True)) == wanted


def test_the_index_is_the_id_of_a_row(con: qframe.Connection, collection: str) -> None:
    """Labels of an index of numbers are the ids, and so are UUIDs in one."""
    upload(small(3).set_index(pd.Index([30, 10, 20])), collection, con, vectors="v")
    upload(small(2).set_index(pd.Index(TEXTS[:2])), collection, con, vectors="v")
    found = qframe.read_collection(collection, con)
    assert found["n"].to_dict() == {30: 0, 10: 1, 20: 2, LOWER[0]: 0, LOWER[1]: 1}


def test_uuid5_is_the_standard_librarys_uuid5_of_the_keys(
    con: qframe.Connection, collection: str
) -> None:
    """Ids made of keys are what anybody computes from the formula, and the keys stay."""
    frame = small(3).assign(
        sku=["A-1", "Ærø", '"\\\n'],
        number=[1, -5, 2**62],
        day=[dt.date(2024, 5, n) for n in (1, 2, 3)],
        sold=[True, False, True],
        kind=pd.Categorical(["x", "y", "x"]),
    )
    keys = ["sku", "number", "day", "sold", "kind"]
    upload(frame, collection, con, vectors="v", ids=qframe.uuid5(*keys))
    found = qframe.read_collection(collection, con)
    for row in frame.itertuples():
        values = [row.sku, row.number, row.day.isoformat(), row.sold, row.kind]
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        assert found.loc[str(uuid.uuid5(NAMESPACE, text)), "n"] == row.n
    assert set(keys) < set(found.columns)


def test_uuid5_takes_a_namespace_of_its_own(con: qframe.Connection, collection: str) -> None:
    """The same keys have other ids in another namespace."""
    frame = small(1).assign(sku="A")
    for namespace in (uuid.NAMESPACE_URL, uuid.NAMESPACE_OID):
        ids = qframe.uuid5("sku", namespace=namespace)
        upload(frame, collection, con, vectors="v", ids=ids)
    wanted = {str(uuid.uuid5(n, '["A"]')) for n in (uuid.NAMESPACE_URL, uuid.NAMESPACE_OID)}
    assert set(qframe.read_collection(collection, con).index) == wanted


def test_uuid4_draws_new_ids_each_time(con: qframe.Connection, collection: str) -> None:
    """Random ids are UUIDs of version 4, and a second run adds its rows."""
    for _ in range(2):
        upload(small(), collection, con, vectors="v", ids=qframe.uuid4())
    found = qframe.read_collection(collection, con).index
    assert len(set(found)) == 40
    assert {uuid.UUID(point_id).version for point_id in found} == {4}


def test_a_second_run_with_uuid5_gives_the_same_collection(
    con: qframe.Connection, collection: str
) -> None:
    """Running a cell twice overwrites its points with themselves."""
    frame = small().assign(sku=[f"S{n}" for n in range(20)])
    upload(frame, collection, con, vectors="v", ids=qframe.uuid5("sku"))
    once = qframe.read_collection(collection, con)
    upload(frame, collection, con, vectors="v", ids=qframe.uuid5("sku"))
    pd.testing.assert_frame_equal(qframe.read_collection(collection, con), once, check_like=True)
    assert len(once) == 20


def test_row_numbers_are_refused_as_ids_where_they_would_overwrite(
    con: qframe.Connection, collection: str
) -> None:
    """The second run with a bare index is refused, and each way out that it names works."""
    frame = small().reset_index(drop=True).assign(sku=[f"S{n}" for n in range(20)])
    upload(frame, collection, con, vectors="v")
    with pytest.raises(qframe.InputError) as refused:
        upload(frame.assign(n=-1), collection, con, vectors="v")
    ways = ['ids="column"', "ids=qframe.uuid5(", 'if_exists="replace"', "ids=df.index"]
    assert all(way in str(refused.value) for way in ways)
    assert "20 points" in str(refused.value)
    assert qframe.read_collection(collection, con)["n"].tolist() == list(range(20))
    upload(frame, collection, con, vectors="v", ids=qframe.uuid5("sku"))
    upload(frame.assign(n=-2), collection, con, vectors="v", ids=frame.index)
    assert (qframe.read_collection(collection, con, ids=range(20))["n"] == -2).all()
    upload(frame.assign(n=-3), collection, con, vectors="v", if_exists="replace")
    assert qframe.read_collection(collection, con)["n"].tolist() == [-3] * 20


# ---- Collections ----


def test_append_overwrites_equal_ids_and_adds_the_others(
    con: qframe.Connection, collection: str
) -> None:
    """A second upload replaces the whole point of an id that is there."""
    first = upload(small(3), collection, con, vectors="v")
    second = upload(
        small(4).assign(extra="x").iloc[2:], collection, con, vectors="v", payload="extra"
    )
    assert (first.attrs["upload"]["created"], second.attrs["upload"]["created"]) == (True, False)
    found = qframe.read_collection(collection, con)
    assert [plain(n) for n in found["n"]] == [0, 1, None, None]
    assert [plain(cell) for cell in found["extra"]] == [None, None, "x", "x"]


def test_fail_refuses_a_collection_that_exists(con: qframe.Connection, collection: str) -> None:
    """`if_exists="fail"` makes a new collection and leaves an old one alone."""
    upload(small(3), collection, con, vectors="v", if_exists="fail")
    with pytest.raises(qframe.CollectionExists, match=f"'{collection}'.*3 points"):
        upload(small(9), collection, con, vectors="v", if_exists="fail")
    assert len(qframe.read_collection(collection, con)) == 3


def test_replace_makes_the_collection_anew(con: qframe.Connection, collection: str) -> None:
    """Other vectors and none of the old points are there after `if_exists="replace"`."""
    upload(small(9), collection, con, vectors="v")
    frame = small(2, size=7)
    report = upload(frame, collection, con, vectors={"w": "v"}, if_exists="replace")
    assert report.attrs["upload"]["created"]
    with con.store() as store:
        info = store.describe(collection)
    assert info is not None
    assert (info.points, {n: s.size for n, s in info.vectors.items()}) == (2, {"w": 7})


def test_a_refused_config_costs_no_data(con: qframe.Connection, collection: str) -> None:
    """With settings that cannot be, neither is a collection made nor an old one deleted."""
    upload(small(5), collection, con, vectors="v")
    before = qframe.read_collection(collection, con)
    for config in (
        {"hnsw_config": {"m": "many"}},
        {"hnsw_konfig": {"m": 16}},
        {"vectors": {"": {"on_disc": True}}},
        {"vectors": {"other": {"on_disk": True}}},
        {"vectors": {"": {"size": 5}}},
        {"vectors": {"": {"distance": "Euclid"}}},
    ):
        for name, if_exists in ((f"{collection}-new", "append"), (collection, "replace")):
            with pytest.raises(qframe.QframeError) as refused:
                upload(
                    small(2),
                    name,
                    con,
                    vectors="v",
                    if_exists=if_exists,
                    collection_config=config,
                )
            assert isinstance(refused.value, qframe.InputError | errors.InvalidRequest), config
        with pytest.raises(qframe.CollectionNotFound):
            qframe.read_collection(f"{collection}-new", con)
        after = qframe.read_collection(collection, con)
        pd.testing.assert_frame_equal(after, before, check_like=True)


def test_replace_leaves_no_other_collection_behind(
    server_con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """The trial of the new settings is gone afterwards, whether they were accepted or not."""
    upload(small(2), collection, server_con, vectors="v")
    for config in ({}, {"hnsw_config": {"m": "many"}}):
        with contextlib.suppress(qframe.QframeError):
            upload(
                small(3),
                collection,
                server_con,
                vectors="v",
                if_exists="replace",
                collection_config=config,
            )
    names = [found.name for found in clients(server_con)[0].get_collections().collections]
    assert collection in names
    assert not [name for name in names if name.startswith("qframe-trial")]


def test_vectors_of_a_new_collection_have_the_settings_they_were_given(
    con: qframe.Connection, collection: str
) -> None:
    """`collection_config` and `distance` reach each vector by its name."""
    frame = small(2).assign(m=list(random(2, 2, 3)), s=[{"indices": [1], "values": [1.0]}] * 2)
    upload(
        frame,
        collection,
        con,
        vectors={"v": "v", "m": "m", "s": "s", "w": random(2, 5)},
        distance={"v": "Manhattan", "m": "euclid"},
        collection_config={
            "vectors": {"v": {"on_disk": True, "hnsw_config": {"m": 24}}},
            "sparse_vectors": {"s": {"modifier": "idf"}},
        },
    )
    with con.store() as store:
        info = store.describe(collection)
    assert info is not None
    assert {name: (schema.kind.value, schema.size) for name, schema in info.vectors.items()} == {
        "v": ("dense", 4),
        "m": ("multi", 3),
        "s": ("sparse", None),
        "w": ("dense", 5),
    }
    assert {name: schema.distance for name, schema in info.vectors.items()} == {
        "v": "manhattan",
        "m": "euclid",
        "s": None,
        "w": "cosine",
    }
    assert info.vectors["v"].settings["on_disk"] is True
    assert info.vectors["v"].settings["hnsw_config"]["m"] == 24
    assert info.vectors["s"].settings["modifier"] == "idf"
    assert not info.vectors["w"].settings.get("on_disk")


def test_a_server_is_told_the_settings_of_the_collection(
    server_con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """The server's own account of a new collection has what `collection_config` said."""
    config = {
        "shard_number": 2,
        "on_disk_payload": True,
        "hnsw_config": {"m": 0, "ef_construct": 77},
        "optimizers_config": {"indexing_threshold": 0},
        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99}},
        "vectors": {"": {"datatype": "float16"}},
    }
    upload(small(2), collection, server_con, vectors="v", collection_config=config)
    for client in clients(server_con):
        told = client.get_collection(collection).config
        assert told.params.shard_number == 2
        assert told.params.on_disk_payload is True
        assert (told.hnsw_config.m, told.hnsw_config.ef_construct) == (0, 77)
        assert told.optimizer_config.indexing_threshold == 0
        assert told.quantization_config.scalar.quantile == pytest.approx(0.99)
        assert told.params.vectors.datatype == models.Datatype.FLOAT16
        assert told.params.vectors.distance == models.Distance.DOT


@pytest.mark.parametrize(
    ("distance", "text"),
    [("hamming", "'cosine', 'dot'"), ({"w": "dot"}, "'w'"), ({"v": 5}, "distance=5")],
)
def test_a_distance_that_cannot_be_is_refused(
    distance: Any, text: str, con: qframe.Connection, collection: str
) -> None:
    """An unknown distance, or one of an unknown vector, is refused before anything is made."""
    with pytest.raises(qframe.InputError, match=text):
        upload(small(2), collection, con, vectors={"v": "v"}, distance=distance)
    with con.store() as store:
        assert store.describe(collection) is None


@pytest.mark.parametrize(
    ("change", "options", "text"),
    [
        ({"v": list(np.ones((20, 3)))}, {}, "3 numbers.*takes 4"),
        ({"v": list(np.ones((20, 2, 4)))}, {}, "multi vectors.*dense"),
        ({}, {"vectors": {"w": "v"}}, "has no vector 'w'"),
    ],
    ids=["size", "kind", "name"],
)
def test_vectors_that_the_collection_does_not_take_are_refused(
    change: Any, options: Any, text: str, con: qframe.Connection, collection: str
) -> None:
    """Another size, kind or name than the collection's is found before the first byte."""
    upload(small(5), collection, con, vectors="v")
    with pytest.raises(qframe.SchemaMismatch, match=text):
        upload(small().assign(**change), collection, con, **({"vectors": "v"} | options))
    assert len(qframe.read_collection(collection, con)) == 5


# ---- Payload ----


def test_missing_cells_are_null_or_left_out(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """`missing="drop"` leaves out the key, and "null" stores null, for every type of column."""
    frame = small(2).assign(
        text=["a", None],
        number=[1.5, np.nan],
        whole=pd.array([1, None], dtype="Int64"),
        flag=pd.array([True, None], dtype="boolean"),
        when=[pd.Timestamp("2024-01-01"), pd.NaT],
        kind=pd.Categorical(["k", None]),
        inner=[[None], None],
    )
    holes = ["text", "number", "whole", "flag", "when", "kind", "inner"]
    upload(frame, collection, con, vectors="v", missing="null")
    stored = list(readers(collection, con, clients))
    assert all(points[1].payload == {"n": 1} | dict.fromkeys(holes) for points in stored)
    upload(frame, collection, con, vectors="v", missing="drop")
    for client in clients(con):
        assert through_official(collection, client)[1].payload == {"n": 1}
    with con.store() as store:
        first, second = store.scroll(collection, limit=9, offset=None, with_vectors=False).points
    assert second.payload == {"n": 1}
    assert first.payload.keys() == {"n", *holes}
    assert first.payload["inner"] == [None]


def test_payload_columns_are_chosen_and_renamed(con: qframe.Connection, collection: str) -> None:
    """A list chooses columns, a mapping renames them, and `[]` is none."""
    frame = small(2).assign(a=["x", "y"], b=[1, 2])
    upload(frame, collection, con, vectors="v", payload={"a": "title", "b": "b"})
    found = qframe.read_collection(collection, con)
    assert found.drop(columns="vector").to_dict("list") == {"title": ["x", "y"], "b": [1, 2]}
    upload(frame, collection, con, vectors="v", payload=[])
    assert list(qframe.read_collection(collection, con).columns) == ["vector"]


def test_two_columns_become_a_geo_point(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """`qframe.geo` stores what a geo filter reads, and null where both are missing."""
    frame = small(3).assign(lat=[52.5, np.nan, -90.0], lon=[13.4, np.nan, 180.0])
    upload(frame, collection, con, vectors="v", payload=["n", qframe.geo("lat", "lon")])
    for stored in readers(collection, con, clients):
        assert [stored[n].payload["location"] for n in range(3)] == [
            {"lat": 52.5, "lon": 13.4},
            None,
            {"lat": -90.0, "lon": 180.0},
        ]
        assert stored[0].payload.keys() == {"n", "location"}


def test_bad_rows_are_refused_or_set_aside(con: qframe.Connection, collection: str) -> None:
    """With `skip` the others are stored, and the report names label, column and reason."""
    frame = small(10)
    cells = list(frame["v"])
    cells[3], cells[5] = np.array([1.0, np.nan, 0.0, 0.0]), np.ones(3)
    frame = frame.assign(v=cells, price=[np.inf if n == 8 else 1.0 for n in range(10)])
    with pytest.raises(qframe.BadRowsError) as refused:
        upload(frame, collection, con, vectors="v")
    assert refused.value.rows["label"].tolist() == [3, 5, 8]
    with con.store() as store:
        assert store.describe(collection) is None
    report = upload(frame, collection, con, vectors="v", bad_rows="skip", batch_size=3)
    assert qframe.read_collection(collection, con).index.tolist() == [0, 1, 2, 4, 6, 7, 9]
    skipped = report.attrs["upload"]["skipped"]
    assert [(found["label"], found["column"]) for found in skipped] == [
        (3, "column 'v'"),
        (5, "column 'v'"),
        (8, "column 'price'"),
    ]
    for found, reason in zip(skipped, ("NaN at position 1", "size 3", "inf"), strict=True):
        assert reason in found["reason"]
    assert report.attrs["upload"]["rows"] == 10
    assert report["points"].tolist() == [3, 3, 1]
    assert_tiles(report, 10)


def test_a_frame_of_bad_rows_only_is_refused_even_with_skip(
    con: qframe.Connection, collection: str
) -> None:
    """When no row is left nothing is made or sent."""
    frame = small(3).assign(price=np.inf)
    with pytest.raises(qframe.BadRowsError, match="3 of 3 rows") as refused:
        upload(frame, collection, con, vectors="v", bad_rows="skip")
    assert 'bad_rows="skip"' not in str(refused.value)
    with con.store() as store:
        assert store.describe(collection) is None


def test_an_empty_frame_makes_an_empty_collection(con: qframe.Connection, collection: str) -> None:
    """No rows are no error where the size of the vectors is known: a report without rows."""
    report = upload(small(0), collection, con, vectors=np.empty((0, 6)))
    assert len(report) == 0
    assert dict(report.dtypes.astype(str)) == {
        name: "string" if dtype == "string" else dtype for name, dtype in COLUMNS.items()
    }
    assert sum(report.attrs["upload"]["points"].values()) == 0
    with con.store() as store:
        info = store.describe(collection)
    assert info is not None
    assert (info.points, info.vectors[""].size) == (0, 6)


def test_an_empty_column_of_vectors_has_no_size(con: qframe.Connection, collection: str) -> None:
    """A frame without rows and without a size is refused by name, and fits an old collection."""
    with pytest.raises(qframe.InputError, match="size"):
        upload(small(0), collection, con, vectors="v")
    upload(small(3), collection, con, vectors="v")
    report = upload(small(0), collection, con, vectors="v")
    assert len(report) == 0
    assert len(qframe.read_collection(collection, con)) == 3


# ---- Batches and workers ----


def assert_tiles(report: pd.DataFrame, rows: int) -> None:
    """Check that the batches cover all rows, none twice, in order."""
    assert report["batch"].tolist() == list(range(len(report)))
    assert report["start"].tolist() == [0, *report["stop"].tolist()[:-1]]
    assert report["stop"].iloc[-1] == rows


def test_batches_are_cut_by_count(con: qframe.Connection, collection: str) -> None:
    """No batch has more points than `batch_size`, and together they are the frame."""
    report = upload(small(205), collection, con, vectors="v", batch_size=50)
    assert report["points"].tolist() == [50, 50, 50, 50, 5]
    assert_tiles(report, 205)


def test_batches_are_cut_by_bytes(server_con: qframe.Connection, collection: str) -> None:
    """Encoded bodies of wide random payloads never exceed `max_batch_bytes`, nor waste it."""
    rng = np.random.default_rng(5)
    alphabet = list('ab"\\\n\x01éß\N{SNOWMAN}\N{GRINNING FACE}')
    frame = small(400).assign(
        text=["".join(rng.choice(alphabet, rng.integers(0, 400))) for _ in range(400)],
        inner=[
            {"k" * int(n): rng.normal(size=n).tolist(), "s": [None, True, -(2**63)] * int(n)}
            for n in rng.integers(0, 30, 400)
        ],
        number=rng.normal(size=400) * 1e300,
        m=[rng.normal(size=(n, 3)) for n in rng.integers(1, 20, 400)],
    )
    limit = 30_000
    report = upload(
        frame,
        collection,
        server_con,
        vectors={"v": "v", "m": "m"},
        max_batch_bytes=limit,
    )
    assert (report["bytes"] <= limit).all()
    assert report["bytes"].median() > limit / 4
    assert len(report) > 5
    assert_tiles(report, 400)
    assert len(qframe.read_collection(collection, server_con, with_vectors=False)) == 400


def test_the_report_counts_the_bytes_that_the_server_saw(
    server: LocalServer, collection: str
) -> None:
    """`bytes` is what arrives in a request, over both transports."""
    for url in (server.rest_url, server.grpc_url):
        con = qframe.connect(url)
        report = upload(small(), collection, con, vectors="v", if_exists="replace", batch_size=7)
        seen = [entry["bytes"] for entry in server.log() if entry["collection"] == collection]
        assert sorted(seen) == sorted(report["bytes"])
        server.reset(collections=False)
    with con.store() as store:
        store.delete(collection)


def test_a_point_beyond_the_limit_travels_alone(con: qframe.Connection, collection: str) -> None:
    """One row larger than `max_batch_bytes` is sent by itself, and its neighbours together."""
    frame = small(5).assign(text=["a", "b", "x" * 9000, "c", "d"])
    report = upload(frame, collection, con, vectors="v", max_batch_bytes=4000)
    assert report["points"].tolist() == [2, 1, 2]
    assert_tiles(report, 5)
    assert qframe.read_collection(collection, con)["text"].str.len().tolist() == [1, 1, 9000, 1, 1]


def test_an_ordered_upload_sends_one_batch_after_another(
    server_con: qframe.Connection, server: LocalServer, collection: str
) -> None:
    """Batches arrive in the order of the rows, each after the answer to the one before."""
    frame = small(100)
    report = upload(
        frame, collection, server_con, vectors="v", order="ordered", workers=4, batch_size=10
    )
    assert set(report["worker"]) == {0}
    seen = [entry for entry in server.log() if entry["collection"] == collection]
    if is_at(server_con, server):
        assert [int(entry["first_id"]) for entry in seen] == list(range(0, 100, 10))
        assert all(a["finished"] <= b["started"] for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("order", ["unordered", "semi-ordered", "ordered"])
def test_every_order_stores_everything(order: Any, con: qframe.Connection, collection: str) -> None:
    """Whatever the order of sending, all points are there and the report is in batch order."""
    report = upload(small(100), collection, con, vectors="v", order=order, workers=3, batch_size=9)
    assert_tiles(report, 100)
    assert sorted(qframe.read_collection(collection, con)["n"]) == list(range(100))


def test_an_ordered_upload_lets_the_last_row_win(con: qframe.Connection, collection: str) -> None:
    """Records with one id overwrite each other in their order."""
    records = ({"id": 1, "vector": [1.0, 2.0], "payload": {"n": n}} for n in range(30))
    qframe.upload_points(
        records, collection, con, batch_size=7, order="ordered", wait=True, progress=False
    )
    assert qframe.read_collection(collection, con)["n"].tolist() == [29]


def test_workers_may_be_processes(con: qframe.Connection, collection: str) -> None:
    """Points sent from other processes arrive as those of threads do."""
    frame, payloads = every_type(60)
    vectors = random(60, SIZE)
    upload(
        frame.assign(v=list(vectors)),
        collection,
        con,
        vectors="v",
        worker_kind="process",
        workers=2,
        batch_size=20,
    )
    stored = through_qframe(collection, con)
    assert_vectors(stored, "", dict(enumerate(vectors)))
    assert same([stored[n].payload for n in range(60)], payloads)


def test_points_are_acknowledged_unless_waited_for(
    server_con: qframe.Connection, collection: str
) -> None:
    """Without `wait` the server has queued the points; with it, or after it, they are applied."""
    queued = upload(small(), collection, server_con, vectors="v", wait=False, barrier=False)
    assert set(queued["status"]) == {"acknowledged"}
    for options in ({"wait": True}, {"wait": False}):
        applied = upload(small(), collection, server_con, vectors="v", **options)
        assert set(applied["status"]) == {"applied"}
        assert applied.attrs["upload"]["barrier"] is None


def test_the_embedded_engine_applies_at_once(tmp_path: Path) -> None:
    """Into a folder every point is applied when it is answered."""
    report = upload(small(), "c", qframe.connect(tmp_path), vectors="v", wait=False)
    assert set(report["status"]) == {"applied"}


def test_progress_tells_of_every_batch(con: qframe.Connection, collection: str) -> None:
    """A callable gets an event a batch and a last one, with totals that only grow."""
    events: list[qframe.ProgressEvent] = []
    upload(small(50), collection, con, vectors="v", batch_size=10, progress=events.append)
    assert [event.finished for event in events] == [False] * 5 + [True]
    assert [event.done for event in events] == [10, 20, 30, 40, 50, 50]
    assert {event.total for event in events} == {50}
    assert events[-1].points["applied"] == 50


# ---- Streams ----


def test_a_stream_is_drawn_no_further_than_its_batches_in_flight(
    con: qframe.Connection, collection: str
) -> None:
    """A generator is never read more than two batches a worker ahead of the results."""
    done = ahead = 0
    workers, batch_size = 2, 10

    def records() -> Iterator[dict[str, Any]]:
        nonlocal ahead
        for n in range(500):
            ahead = max(ahead, n + 1 - done)
            yield {"id": n, "vector": [n, 1.0], "payload": {"n": n}}

    def count(event: qframe.ProgressEvent) -> None:
        nonlocal done
        done = event.done

    report = qframe.upload_points(
        records(),
        collection,
        con,
        workers=workers,
        batch_size=batch_size,
        wait=True,
        progress=count,
    )
    assert ahead <= 2 * workers * batch_size
    assert_tiles(report, 500)
    assert sorted(qframe.read_collection(collection, con)["n"]) == list(range(500))


def test_records_have_every_kind_of_vector(
    con: qframe.Connection, clients: Clients, collection: str
) -> None:
    """Mappings and objects with named vectors of all kinds become points."""
    sparse = {"indices": [7, 3], "values": [0.5, 0.25]}
    records = [
        {"id": 1, "vector": {"d": [0.1, 0.2], "m": [[1, 2, 3], [4, 5, 6]], "s": sparse}},
        models.PointStruct(
            id=LOWER[0],
            vector={"d": [0.3, 0.4], "s": models.SparseVector(**sparse)},
            payload={"a": {"b": [1]}},
        ),
        {"id": uuid.UUID(LOWER[1]), "vector": {"m": np.ones((1, 3))}, "payload": None},
    ]
    report = qframe.upload_points(
        iter(records), collection, con, wait=True, distance="dot", progress=False
    )
    assert report.attrs["upload"]["rows"] == 3
    for stored in readers(collection, con, clients, ("d", "m", "s")):
        assert {key: sorted(point.vectors) for key, point in stored.items()} == {
            1: ["d", "m", "s"],
            LOWER[0]: ["d", "s"],
            LOWER[1]: ["m"],
        }
        assert_vectors(stored, "d", {1: [0.1, 0.2], LOWER[0]: [0.3, 0.4], LOWER[1]: None})
        assert_vectors(stored, "s", {1: sparse, LOWER[0]: sparse, LOWER[1]: None})
        assert plain(stored[LOWER[0]].payload["a"]) == {"b": [1]}


def test_bad_records_are_set_aside_and_told(con: qframe.Connection, collection: str) -> None:
    """One bad record neither stops the stream nor goes unsaid."""

    def records() -> Iterator[Any]:
        for n in range(30):
            payload = {"n": 2**63} if n == 13 else {"n": n}
            yield {"id": n, "vector": [1.0] if n == 17 else [n, 1.0], "payload": payload}

    with pytest.raises(
        qframe.UploadError, match=r"all 28 points .* arrived[^?]*record 13"
    ) as refused:
        qframe.upload_points(records(), collection, con, batch_size=7, wait=True, progress=False)
    assert len(qframe.read_collection(collection, con)) == 28
    skipped = refused.value.report.attrs["upload"]["skipped"]
    assert [found["position"] for found in skipped] == [13, 17]
    report = qframe.upload_points(
        records(), collection, con, batch_size=7, wait=True, bad_rows="skip", progress=False
    )
    assert report["points"].sum() == 28


def test_an_error_of_the_generator_is_the_cause(con: qframe.Connection, collection: str) -> None:
    """What was drawn before a generator broke is stored, and the report says so."""

    def records() -> Iterator[Any]:
        for n in range(25):
            yield {"id": n, "vector": [n, 1.0]}
        raise OSError("the file ended early")

    with pytest.raises(qframe.UploadError, match="the file ended early") as broken:
        qframe.upload_points(records(), collection, con, batch_size=5, wait=True, progress=False)
    assert isinstance(broken.value.__cause__, OSError)
    arrived = broken.value.report.query("status == 'applied'")["points"].sum()
    assert arrived == len(qframe.read_collection(collection, con)) > 0


# ---- Conditions ----


def test_update_modes_insert_or_update_only(con: qframe.Connection, collection: str) -> None:
    """`insert_only` leaves points that exist, `update_only` makes none."""
    upload(small(4), collection, con, vectors="v")
    upload(small(6).assign(n=100), collection, con, vectors="v", update_mode="insert_only")
    assert qframe.read_collection(collection, con)["n"].tolist() == [0, 1, 2, 3, 100, 100]
    upload(small(9).assign(n=7), collection, con, vectors="v", update_mode="update_only")
    assert qframe.read_collection(collection, con)["n"].tolist() == [7] * 6


def test_an_update_filter_protects_points(con: qframe.Connection, collection: str) -> None:
    """Points that exist are changed only where the filter matches; new ones are made."""
    upload(small(4), collection, con, vectors="v")
    upload(
        small(5).assign(n=50),
        collection,
        con,
        vectors="v",
        update_filter={"must": [{"key": "n", "range": {"lt": 2}}]},
    )
    assert qframe.read_collection(collection, con)["n"].tolist() == [50, 50, 2, 3, 50]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"update_mode": "replace"}, "'upsert', 'insert_only', 'update_only'"),
        ({"ordering": "loose"}, "'weak', 'medium', 'strong'"),
        ({"order": "sorted"}, "'unordered', 'semi-ordered', 'ordered'"),
        ({"on_error": "ignore"}, "'raise', 'collect'"),
        ({"bad_rows": "drop"}, "'skip'"),
        ({"missing": "nan"}, "'null'.*'drop'"),
        ({"if_exists": "overwrite"}, "'append'.*'fail'.*'replace'"),
        ({"worker_kind": "fibre"}, "'thread', 'process'"),
        ({"workers": 0}, "workers=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"max_batch_bytes": -1}, "max_batch_bytes=-1"),
        ({"retry": -1}, "retry=-1"),
        ({"progress": "loud"}, "progress='loud'"),
        ({"vectors": "w"}, "no column 'w'"),
        ({"ids": "kee"}, "no column 'kee'"),
        ({"payload": ["nn"]}, "no column 'nn'.*did you mean 'n'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_are_checked_before_anything_is_made(
    options: Any, text: str, con: qframe.Connection, collection: str
) -> None:
    """A value that an argument does not have names those it has."""
    with pytest.raises(qframe.InputError, match=text):
        upload(small(2), collection, con, **({"vectors": "v"} | options))
    with con.store() as store:
        assert store.describe(collection) is None


def test_shard_keys_choose_the_shard(
    server_con: qframe.Connection, server: LocalServer, clients: Clients, collection: str
) -> None:
    """A custom-sharded collection needs a key that it has; others take none."""
    try:
        clients(server_con)[0].create_collection(
            collection,
            vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT),
            sharding_method=models.ShardingMethod.CUSTOM,
        )
        clients(server_con)[0].create_shard_key(collection, "eu")
        clients(server_con)[0].create_shard_key(collection, 7)
    except Exception as error:
        if is_at(server_con, server):
            raise
        pytest.skip(f"this server has no custom sharding: {error}")
    with pytest.raises(qframe.SchemaMismatch, match="shard_key="):
        upload(small(), collection, server_con, vectors="v")
    upload(small(), collection, server_con, vectors="v", shard_key="eu")
    upload(small(), collection, server_con, vectors="v", ids=qframe.uuid4(), shard_key=["eu", 7])
    with pytest.raises(qframe.UploadError, match="not found") as refused:
        upload(
            small(),
            collection,
            server_con,
            vectors="v",
            shard_key="us",
            ids=qframe.uuid4(),
            retry=0,
        )
    assert refused.value.report["error_type"].tolist() == ["InvalidRequest"]
    if is_at(server_con, server):
        keys = [e["shard_key"] for e in server.log() if e["collection"] == collection]
        assert keys == ["eu", ["eu", 7], "us"]


def test_a_shard_key_is_refused_where_there_are_no_shards(
    con: qframe.Connection, collection: str
) -> None:
    """Naming a shard of a collection without custom sharding is an error, not ignored."""
    upload(small(2), collection, con, vectors="v")
    with pytest.raises(qframe.QframeError, match="shard"):
        upload(small(), collection, con, vectors="v", shard_key="eu")
    assert len(qframe.read_collection(collection, con)) == 2


def test_strict_mode_is_kept_before_the_first_byte(
    server_con: qframe.Connection, server: LocalServer, clients: Clients, collection: str
) -> None:
    """Limits that the collection tells are refused here, and batches are cut to them."""
    clients(server_con)[0].create_collection(
        collection,
        vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT),
        strict_mode_config=models.StrictModeConfig(
            enabled=True, upsert_max_batchsize=15, max_points_count=50
        ),
    )
    with pytest.raises(qframe.SchemaMismatch, match=r"batch_size=30.*takes 15 points"):
        upload(small(), collection, server_con, vectors="v", batch_size=30)
    with pytest.raises(qframe.SchemaMismatch, match=r"51 points.*takes 50 in all"):
        upload(small(51), collection, server_con, vectors="v")
    assert [entry for entry in server.log() if entry["collection"] == collection] == []
    report = upload(small(50), collection, server_con, vectors="v")
    assert report["points"].tolist() == [15, 15, 15, 5]


def test_an_old_server_is_not_sent_what_it_would_not_understand(collection: str) -> None:
    """Conditions are refused where the server's version would ignore them."""
    with LocalServer(version="1.15.5") as old:
        for url in (old.rest_url, old.grpc_url):
            for options in (
                {"update_mode": "insert_only"},
                {"update_filter": {"must": [{"has_id": [1]}]}},
            ):
                with pytest.raises(qframe.SchemaMismatch, match=r"1\.15\.5"):
                    upload(small(2), collection, qframe.connect(url), vectors="v", **options)
        assert old.log() == []


# ---- Searching ----


def test_search_ranks_as_the_numbers_do(con: qframe.Connection, collection: str) -> None:
    """The nearest points by dense, multi and sparse vectors are those that numpy finds."""
    dense, multi = random(50, SIZE), random(50, 3, 4, seed=8)
    sparse = [{"indices": [n % 7, 50 + n], "values": [0.5 + n, 1.0]} for n in range(50)]
    frame = pd.DataFrame({"n": range(50), "s": sparse})
    upload(frame, collection, con, vectors={"d": dense, "m": multi, "s": "s"})
    query = random(SIZE, seed=1)
    queries = random(2, 4, seed=2)
    scores = {
        "d": dense @ query,
        "m": np.einsum("qi,pvi->pqv", queries, multi).max(axis=2).sum(axis=1),
        "s": np.array([2.0 * (0.5 + n) * (n % 7 == 3) + 9.0 * (n == 10) for n in range(50)]),
    }
    for using, wanted in (
        ("d", query),
        ("m", queries),
        ("s", {"indices": [3, 60], "values": [2.0, 9.0]}),
    ):
        found = qframe.search(collection, wanted, con, using=using, limit=5)
        best = np.argsort(-scores[using], kind="stable")[:5]
        assert found.index.tolist() == best.tolist()
        np.testing.assert_allclose(found["score"], scores[using][best], rtol=1e-4)
        assert found["n"].tolist() == best.tolist()
    with pytest.raises(qframe.InputError, match="using= one of"):
        qframe.search(collection, query, con)
    with pytest.raises(qframe.SchemaMismatch, match="no vector 'x'"):
        qframe.search(collection, query, con, using="x")
    with pytest.raises(qframe.InputError, match="holds 4 numbers"):
        qframe.search(collection, query[:4], con, using="d")


def test_search_by_the_unnamed_vector_needs_no_name(
    con: qframe.Connection, collection: str
) -> None:
    """A collection with one unnamed vector is searched without `using`, vectors on demand."""
    frame = small(10)
    upload(frame, collection, con, vectors="v")
    found = qframe.search(collection, frame["v"].iloc[4], con, limit=3, with_vectors=True)
    scores = np.stack(frame["v"]) @ frame["v"].iloc[4]
    assert found.index.tolist() == np.argsort(-scores)[:3].tolist()
    assert found["vector"].iloc[0].dtype == np.float32


def test_points_are_read_by_id_in_the_order_asked_for(
    con: qframe.Connection, collection: str
) -> None:
    """Ids choose the points and their order; those that do not exist are named."""
    upload(small(10), collection, con, vectors="v")
    found = qframe.read_collection(collection, con, ids=[7, LOWER[0], 2, 99])
    assert found.index.tolist() == [7, 2]
    assert found.attrs["missing_ids"] == [LOWER[0], 99]
    assert len(qframe.read_collection(collection, con, limit=4, with_vectors=False)) == 4


# ---- The report ----


def test_the_report_has_its_columns_and_survives_what_frames_go_through(
    con: qframe.Connection, collection: str, tmp_path: Path
) -> None:
    """Columns and dtypes are as written; pickle, Parquet and concat keep values and summary."""
    report = upload(small(25), collection, con, vectors="v", batch_size=10)
    assert list(report.columns) == list(COLUMNS)
    assert {name: str(dtype) for name, dtype in report.dtypes.items()} == COLUMNS
    assert report["error"].isna().all()
    assert (report[["attempts", "retries"]] == [1, 0]).all(axis=None)
    assert (report["bytes"] > 0).all()
    summary = report.attrs["upload"]
    assert summary["collection"] == collection
    assert (summary["target"], summary["transport"]) == (con.target, con.transport)
    assert summary["bytes"] == report["bytes"].sum()
    assert json.loads(json.dumps(summary)) == summary
    back = pickle.loads(pickle.dumps(report))
    pd.testing.assert_frame_equal(back, report)
    assert back.attrs == report.attrs
    report.to_parquet(tmp_path / "report.parquet")
    back = pd.read_parquet(tmp_path / "report.parquet")
    pd.testing.assert_frame_equal(back, report)
    assert back.attrs == report.attrs
    other = upload(small(25), collection, con, vectors="v", batch_size=10)
    both = pd.concat([report, other])
    assert both.dtypes.equals(report.dtypes)
    assert both["points"].sum() == 50


def test_the_accessor_is_the_function(con: qframe.Connection, collection: str) -> None:
    """`df.qdrant.upload` does what `qframe.upload` does."""
    report = small(3).qdrant.upload(collection, con, vectors="v", wait=True, progress=False)
    assert report["points"].tolist() == [3]
    assert qframe.read_collection(collection, con)["n"].tolist() == [0, 1, 2]


def test_the_frame_is_left_as_it_was(con: qframe.Connection, collection: str) -> None:
    """An upload changes nothing in the frame that it was given."""
    frame, _ = every_type(30)
    frame["v"] = list(random(30, SIZE))
    before = frame.copy(deep=True)
    upload(frame, collection, con, vectors="v")
    pd.testing.assert_frame_equal(frame, before)
