"""Uploading into the embedded engine: what is refused leaves no trace, what is answered stays."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qframe.batches import Batch
from qframe.errors import (
    CollectionNotFound,
    EngineError,
    InputError,
    InvalidRequest,
    StoreLocked,
)
from qframe.points import (
    DenseBlock,
    Ids,
    MultiBlock,
    PayloadBlock,
    PayloadKind,
    PointBlock,
    PointColumns,
    Rows,
    SparseBlock,
    VectorBlock,
    VectorColumn,
    VectorKind,
)
from qframe.report import BatchResult, Status
from qframe.schema import CollectionSchema, VectorSchema
from qframe.stores.base import StoredPoint
from qframe.stores.embedded import EmbeddedStore
from qframe.transports.edge_handle import engine
from qframe.uploaders import edge_points
from qframe.uploaders.embedded import EmbeddedBatchUploader
from qframe.write import WriteOptions
from tests.blocks import batch_of

REPOSITORY = Path(__file__).parents[1]
SCHEMA = CollectionSchema(
    {
        "": VectorSchema(VectorKind.DENSE, 3, "dot"),
        "m": VectorSchema(VectorKind.MULTI, 2, "dot"),
        "s": VectorSchema(VectorKind.SPARSE),
    }
)


def numbered(first: int, last: int) -> PointBlock:
    """Build points with every kind of vector and a payload, ids `first` to `last`, half open."""
    n = last - first
    ids = np.arange(first, last, dtype=np.uint64)
    ones = np.ones(n, dtype=np.int64)
    column = ids.astype(np.float32)
    return PointBlock(
        Ids(ids),
        {
            "": DenseBlock(np.stack([column, column + 1, column + 2], axis=1)),
            "m": MultiBlock(np.repeat(np.stack([column, -column], axis=1), 2, axis=0), ones * 2),
            "s": SparseBlock(ids.astype(np.uint32), column + 0.5, ones),
        },
        (PayloadBlock("n", PayloadKind.INTEGER, np.arange(first, last)),),
    )


def batch(block: PointBlock) -> Batch:
    """Wrap a block as the pool would."""
    return batch_of(block)


def upload(folder: Path, block: PointBlock, **options: Any) -> BatchResult:
    """Upload one block and close."""
    with EmbeddedBatchUploader.start(folder, collection="docs", **options) as uploader:
        return uploader(batch(block))


def everything(folder: Path) -> dict[int | str, StoredPoint]:
    """Read all points."""
    with EmbeddedStore(folder) as store:
        page = store.scroll("docs", limit=100_000, offset=None, with_vectors=True)
        assert page.next is None
        return {point.id: point for point in page.points}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a store with the collection "docs", which holds the points 0 to 9."""
    with EmbeddedStore(tmp_path) as store:
        store.create("docs", SCHEMA)
    assert upload(tmp_path, numbered(0, 10)).status is Status.APPLIED
    return tmp_path


def test_result(folder: Path) -> None:
    """A batch is applied at once, and its size is that of the vectors' numbers."""
    result = upload(folder, numbered(10, 30), wait=True, ordering="strong", timeout=5)
    assert (result.status, result.points, result.attempts) == (Status.APPLIED, 20, 1)
    assert result.bytes == 20 * (3 * 4 + 4 * 4 + 4 + 4)
    assert result.error is None


def test_everything_arrives(folder: Path) -> None:
    """All kinds of vectors and the payload are read back as they were written."""
    found = everything(folder)
    assert list(found) == list(range(10))
    for n, point in found.items():
        assert isinstance(n, int)
        assert point.payload == {"n": n}
        np.testing.assert_array_equal(point.vectors[""], np.float32([n, n + 1, n + 2]))
        np.testing.assert_array_equal(point.vectors["m"], np.float32([[n, -n]] * 2))
        indices, values = point.vectors["s"]
        assert (indices.tolist(), values.tolist()) == ([n], [n + 0.5])


def test_ids_of_both_kinds(folder: Path) -> None:
    """Numbers up to 2**64 - 1 and UUIDs stand beside each other."""
    ids = Ids(
        np.array([2**64 - 1, 0], dtype=np.uint64),
        np.array([[0] * 16, range(16)], dtype=np.uint8),
        np.array([False, True]),
    )
    upload(folder, PointBlock(ids, {}))
    assert set(everything(folder)) - set(range(10)) == {
        2**64 - 1,
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
    }


def test_some_points_have_a_vector(folder: Path) -> None:
    """A point gets the vectors that it has, and no others."""
    block = PointBlock(
        Ids(np.arange(20, 23, dtype=np.uint64)),
        {
            "": DenseBlock(np.float32([[1, 2, 3]]), np.array([False, True, False])),
            "m": MultiBlock(
                np.float32([[1, 2], [3, 4], [5, 6]]),
                np.array([2, 1]),
                np.array([True, False, True]),
            ),
        },
    )
    assert upload(folder, block).status is Status.APPLIED
    found = everything(folder)
    assert [sorted(found[n].vectors) for n in (20, 21, 22)] == [["m"], [""], ["m"]]
    np.testing.assert_array_equal(found[20].vectors["m"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(found[22].vectors["m"], [[5, 6]])


def test_last_of_an_id_counts(folder: Path) -> None:
    """Of points with one id in a batch the last is stored, also across chunks."""
    n = 2500
    block = PointBlock(
        Ids(np.zeros(n, dtype=np.uint64)),
        {},
        (PayloadBlock("n", PayloadKind.INTEGER, np.arange(n)),),
    )
    upload(folder, block)
    assert everything(folder)[0].payload == {"n": n - 1}


def nested(depth: int) -> Any:
    """Nest lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def with_vector(name: str, vector: Any) -> PointBlock:
    """Make one of a batch's vectors another."""
    block = numbered(5, 15)
    return replace(block, vectors={**block.vectors, name: vector})


def with_payload(value: Any) -> PointBlock:
    """Give the last point of a batch a payload value."""
    cells = PayloadBlock("x", PayloadKind.ANY, [None] * 9 + [value])
    return replace(numbered(5, 15), payload=(cells,))


DENSE = np.ones((10, 3), dtype=np.float32)
TENS = np.full(10, 2)


def spoiled(array: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    """Set the last number."""
    array = array.copy()
    array.reshape(-1)[-1] = value
    return array


REFUSED = {
    "wrong size": (with_vector("", DenseBlock(np.ones((10, 4), np.float32))), "size 3"),
    "one dimension": (with_vector("", DenseBlock(np.ones(10, np.float32))), "size 3"),
    "unknown vector": (with_vector("q", DenseBlock(DENSE)), "no such vector; it has '', 'm', 's'"),
    "wrong kind": (with_vector("m", DenseBlock(DENSE[:, :2])), "is multi in the collection"),
    "NaN": (with_vector("", DenseBlock(spoiled(DENSE, np.nan))), "1 of its numbers"),
    "infinity": (with_vector("", DenseBlock(spoiled(DENSE, np.inf))), "1 of its numbers"),
    "too few rows": (with_vector("", DenseBlock(DENSE[:9])), "9 values for 10 points"),
    "presence too short": (
        with_vector("", DenseBlock(DENSE, np.ones(9, np.bool_))),
        "9 marks of presence",
    ),
    "presence of others": (
        with_vector("", DenseBlock(DENSE, np.arange(10) > 3)),
        "10 values for 6 points",
    ),
    "multivector of another size": (
        with_vector("m", MultiBlock(np.ones((20, 3), np.float32), TENS)),
        "size 2",
    ),
    "multivector too short": (
        with_vector("m", MultiBlock(np.ones((19, 2), np.float32), TENS)),
        "lengths for 20 values",
    ),
    "empty multivector": (
        with_vector("m", MultiBlock(np.ones((18, 2), np.float32), np.array([2] * 9 + [0]))),
        "empty multivector",
    ),
    "NaN in a multivector": (
        with_vector("m", MultiBlock(spoiled(np.ones((20, 2), np.float32), np.nan), TENS)),
        "1 of its numbers",
    ),
    "sparse with fewer values": (
        with_vector("s", SparseBlock(np.arange(20, dtype=np.uint32), np.ones(19, "f4"), TENS)),
        "19",
    ),
    "sparse with more values": (
        with_vector("s", SparseBlock(np.arange(19, dtype=np.uint32), np.ones(20, "f4"), TENS)),
        "19 indices for 20 values",
    ),
    "sparse with an index twice": (
        with_vector("s", SparseBlock(np.array([4, 7] * 9 + [5, 5], "u4"), np.ones(20, "f4"), TENS)),
        "twice",
    ),
    "sparse NaN": (
        with_vector(
            "s",
            SparseBlock(np.arange(20, dtype=np.uint32), spoiled(np.ones(20, "f4"), np.nan), TENS),
        ),
        "1 of its numbers",
    ),
    "sparse signed indices": (
        with_vector("s", SparseBlock(np.arange(20), np.ones(20, "f4"), TENS)),
        "uint32",
    ),
    "sparse negative length": (
        with_vector(
            "s", SparseBlock(np.arange(8, dtype="u4"), np.ones(8, "f4"), np.array([1] * 9 + [-1]))
        ),
        "negative",
    ),
    "boolean ids": (
        replace(numbered(5, 6), ids=Ids(np.array([True]))),
        "these are bool",
    ),
    "signed ids": (
        replace(numbered(5, 6), ids=Ids(np.array([-1]))),
        "these are int64",
    ),
    "short UUIDs": (
        replace(numbered(5, 6), ids=Ids(None, np.zeros((1, 15), np.uint8))),
        "16 bytes",
    ),
    "deep payload": (with_payload(nested(65)), "nested more than 64 deep"),
    "very deep payload": (with_payload(nested(900)), "nested more than 64 deep"),
    "NaN in a payload": (with_payload({"a": [float("nan")]}), "'x'"),
    "infinity in a column": (
        replace(
            numbered(5, 6), payload=(PayloadBlock("f", PayloadKind.FLOAT, np.array([np.inf])),)
        ),
        "'f'",
    ),
    "huge integer": (with_payload([2**64]), "64 bits"),
    "bytes": (with_payload(b"x"), "bytes is no type of JSON's"),
    "numpy scalar": (with_payload(np.float32(1)), "float32 is no type"),
    "keys that are no str": (with_payload({1: 2}), "'x'"),
    "broken text": (with_payload("\ud800"), "point 14: payload 'x'"),
    "broken text in a column": (
        replace(numbered(5, 6), payload=(PayloadBlock("t", PayloadKind.ANY, ["a\udfff"]),)),
        "point 5: payload 't'",
    ),
    "a payload that is no dict": (
        replace(numbered(5, 6), payload=(), documents=[[("a", 1)]]),  # type: ignore[list-item]
        "a payload is a dict",
    ),
    "deep document": (
        replace(numbered(5, 6), payload=(), documents=[{"a": nested(70)}]),
        "nested more than 64 deep",
    ),
    "too few documents": (
        replace(numbered(5, 7), payload=(), documents=[{}]),
        "1 payloads for 2 points",
    ),
}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a store like `folder` for all refused batches; in the end it can be loaded again."""
    path = tmp_path_factory.mktemp("store")
    with EmbeddedStore(path) as store:
        store.create("docs", SCHEMA)
        assert upload(path, numbered(0, 12)).status is Status.APPLIED
        assert store.count("docs") == 12  # opened: everything until the end shares the handle
        yield path
    assert list(everything(path)) == list(range(12))


@pytest.mark.parametrize("case", REFUSED)
def test_refused_whole(case: str, lasting: Path) -> None:
    """A batch with something wrong is refused, nothing of it is stored, and the next one passes."""
    block, message = REFUSED[case]
    before = everything(lasting)
    with EmbeddedBatchUploader.start(lasting, collection="docs") as uploader:
        result = uploader(batch(block))
        assert (result.status, type(result.error)) == (Status.FAILED, InvalidRequest)
        assert message in str(result.error)
        assert repr(everything(lasting)) == repr(before)
        assert uploader(batch(numbered(10, 12))).status is Status.APPLIED
    assert list(everything(lasting)) == list(range(12))


def test_deepest_payload(folder: Path) -> None:
    """What the guard lets through can be loaded again."""
    block = replace(numbered(0, 1), payload=(), documents=[{"a": nested(64)}])
    assert upload(folder, block).status is Status.APPLIED
    assert everything(folder)[0].payload == {"a": nested(64)}


vectors_2d = st.lists(
    st.none() | st.lists(st.tuples(*[st.integers(-9, 9)] * 2), min_size=1, max_size=4),
    min_size=1,
    max_size=8,
)


@settings(max_examples=12, deadline=None)
@given(vectors_2d)
def test_multivectors_of_any_shape(
    tmp_path_factory: pytest.TempPathFactory, cells: Sequence[Sequence[tuple[int, int]] | None]
) -> None:
    """Whichever points have whichever number of vectors, each gets its own."""
    folder = tmp_path_factory.mktemp("store")
    schema = CollectionSchema({"": VectorSchema(VectorKind.MULTI, 2, "dot")})
    having = [cell for cell in cells if cell is not None]
    block = PointBlock(
        Ids(np.arange(len(cells), dtype=np.uint64)),
        {
            "": MultiBlock(
                np.array([row for cell in having for row in cell], np.float32).reshape(-1, 2),
                np.array([len(cell) for cell in having], np.int64),
                None if having == cells else np.array([cell is not None for cell in cells]),
            )
        },
    )
    with EmbeddedStore(folder) as store:
        store.create("docs", schema)
        assert upload(folder, block).status is Status.APPLIED
        found = store.retrieve("docs", range(len(cells)), with_vectors=True)
    assert len(found) == len(cells)
    for point in found:
        assert isinstance(point.id, int)
        cell = cells[point.id]
        assert (cell is None) == (point.vectors == {})
        if cell is not None:
            np.testing.assert_array_equal(point.vectors[""], np.float32(cell))


sparse_vectors = st.lists(st.lists(st.integers(0, 9), unique=True), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(sparse_vectors, st.data())
def test_sparse_indices_in_any_order(cells: list[list[int]], data: st.DataObject) -> None:
    """Indices need not ascend, and one that stands twice is found wherever it stands."""
    schema = {"s": VectorSchema(VectorKind.SPARSE)}

    def made() -> list[Any]:
        indices = np.array([index for cell in cells for index in cell], np.uint32)
        lengths = np.array([len(cell) for cell in cells], np.int64)
        vector = SparseBlock(indices, indices.astype(np.float32), lengths)
        ids = Ids(np.arange(len(cells), dtype=np.uint64))
        return edge_points.edge_points(PointBlock(ids, {"s": vector}), schema)

    found = [point.vector["s"] for point in made()]
    assert [vector.indices for vector in found] == cells
    assert [vector.values for vector in found] == cells
    for cell in [cell for cell in cells if cell][:1]:
        cell.insert(data.draw(st.integers(0, len(cell))), data.draw(st.sampled_from(cell)))
        with pytest.raises(InvalidRequest, match="twice"):
            made()


@pytest.mark.parametrize(
    ("first", "options"),
    [
        (500, {"update_mode": "insert_only"}),
        (5, {"update_filter": {"must": [{"key": "n", "match": {"value": 5}}]}}),
    ],
)
def test_what_was_there_before_decides(folder: Path, first: int, options: dict[str, Any]) -> None:
    """Of 2,500 points with one id the last is stored, though a first one was in the way of it."""
    n = 2500
    block = PointBlock(
        Ids(np.full(n, first, dtype=np.uint64)),
        {},
        (PayloadBlock("n", PayloadKind.INTEGER, np.arange(n)),),
    )
    assert upload(folder, block, **options).status is Status.APPLIED
    assert everything(folder)[first].payload == {"n": n - 1}


def test_insert_only(folder: Path) -> None:
    """insert_only leaves existing points as they are."""
    block = replace(
        numbered(8, 12), payload=(PayloadBlock("n", PayloadKind.INTEGER, np.full(4, -1)),)
    )
    upload(folder, block, update_mode="insert_only")
    assert [point.payload["n"] for point in everything(folder).values()] == [*range(10), -1, -1]


def test_update_only(folder: Path) -> None:
    """update_only makes no new points."""
    block = replace(
        numbered(8, 12), payload=(PayloadBlock("n", PayloadKind.INTEGER, np.full(4, -1)),)
    )
    upload(folder, block, update_mode="update_only")
    assert [point.payload["n"] for point in everything(folder).values()] == [*range(8), -1, -1]


def test_update_filter(folder: Path) -> None:
    """Existing points are changed only where the filter matches."""
    block = replace(
        numbered(0, 11), payload=(PayloadBlock("n", PayloadKind.INTEGER, np.full(11, -1)),)
    )
    upload(folder, block, update_filter={"must": [{"key": "n", "range": {"gte": 7}}]})
    assert [p.payload["n"] for p in everything(folder).values()] == [*range(7), -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_key": "a"}, "no shards"),
        ({"update_filter": {"must": [{"kye": "n"}]}}, "'kye'"),
        ({"update_mode": "insert"}, "update_mode"),
        ({"ordering": "loose"}, "ordering"),
        ({"path": "http://localhost:6333"}, "is no folder"),
        ({"path": ":memory:"}, "qframe.connect"),
    ],
)
def test_options_refused(options: dict[str, Any], message: str) -> None:
    """Options that cannot be are refused before anything is opened."""
    with pytest.raises(InputError, match=message):
        EmbeddedBatchUploader.start(collection="docs", **options)


def test_missing_collection(tmp_path: Path) -> None:
    """Uploading into what is not there fails for good, and makes nothing."""
    result = upload(tmp_path, numbered(0, 1))
    assert isinstance(result.error, CollectionNotFound)
    assert list(tmp_path.iterdir()) == []


def test_cell_run_again(folder: Path) -> None:
    """An uploader that was forgotten open is in nobody's way in the same process."""
    forgotten = EmbeddedBatchUploader.start(folder, collection="docs")
    forgotten(batch(numbered(10, 20)))
    assert upload(folder, numbered(20, 30)).status is Status.APPLIED
    assert len(everything(folder)) == 30
    forgotten.close()


def test_threads(folder: Path) -> None:
    """Workers in several threads, each with its own uploader, lose nothing."""
    results: list[BatchResult] = []

    def work(worker: int) -> None:
        write = WriteOptions()
        with EmbeddedBatchUploader(folder, "docs", write=write, worker=worker) as uploader:
            for turn in range(10):
                first = 1000 + (worker * 10 + turn) * 100
                results.append(uploader(batch(numbered(first, first + 100))))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.status for result in results} == {Status.APPLIED}
    found = everything(folder)
    assert set(found) == {*range(10), *range(1000, 5000)}
    assert all(point.payload == {"n": n} for n, point in found.items())


def test_deleted_while_uploading(folder: Path) -> None:
    """Batches after a deletion fail, and do not end up in the collection that comes after."""
    with EmbeddedBatchUploader.start(folder, collection="docs") as uploader:
        uploader(batch(numbered(10, 20)))
        body = uploader.encode(numbered(20, 30))
        with EmbeddedStore(folder) as store:
            store.delete("docs")
            store.create("docs", SCHEMA)
        with pytest.raises(CollectionNotFound):
            uploader.send(body)
        assert isinstance(uploader(batch(numbered(30, 40))).error, CollectionNotFound)
    assert everything(folder) == {}


def test_many_points(folder: Path) -> None:
    """60,000 points, one flush between them, arrive complete."""
    with EmbeddedBatchUploader.start(folder, collection="docs") as uploader:
        for first in range(100, 60_100, 5_000):
            assert uploader(batch(numbered(first, first + 5_000))).status is Status.APPLIED
    with EmbeddedStore(folder) as store:
        assert store.count("docs") == 60_010
        sample = store.retrieve("docs", list(range(0, 60_100, 37)), with_vectors=False)
    assert all(point.payload == {"n": point.id} for point in sample)
    assert len(sample) == len([n for n in range(0, 60_100, 37) if n < 10 or n >= 100])


class Numbers(VectorColumn):
    """A dense vector's width, for `Measure.widths`."""

    kind = VectorKind.DENSE
    size = 3

    def block(self, rows: Rows) -> VectorBlock:
        raise NotImplementedError

    def numbers(self, rows: Rows) -> int:
        return 3


def test_measure_bounds_the_log(folder: Path) -> None:
    """The log grows by no more than the measured widths, and by a good part of them."""
    rng = np.random.default_rng(0)
    documents = [
        {"text": "é" * int(n), "list": [n / 7, {"k": None, "b": True, "i": -(2**40)}]}
        for n in rng.integers(0, 200, 4000).tolist()
    ]
    ids = Ids(None, rng.integers(0, 256, (4000, 16), dtype=np.uint8))
    values = rng.standard_normal((4000, 3), dtype=np.float32)
    columns = PointColumns(ids, {"": Numbers()}, (), None, documents)
    widths = EmbeddedBatchUploader.measure.widths(columns, slice(0, 4000))

    def log_bytes() -> int:
        files = (folder / "docs" / "shard" / "wal").iterdir()
        return sum(file.stat().st_blocks * 512 for file in files)

    with EmbeddedBatchUploader.start(folder, collection="docs") as uploader:
        uploader.encode(numbered(0, 1))
        before = log_bytes()
        block = PointBlock(ids, {"": DenseBlock(values)}, (), documents)
        assert uploader(batch(block)).status is Status.APPLIED
        grown = log_bytes() - before
    assert widths.sum() / 2 < grown <= widths.sum()


PREAMBLE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.test_uploader_embedded import *
"""


def test_killed_while_uploading(folder: Path) -> None:
    """After kill -9 every batch that was reported as applied is there, whole."""
    program = f"""
with EmbeddedBatchUploader.start({str(folder)!r}, collection="docs") as uploader:
    for first in range(1000, 1000_000, 500):
        print(first, uploader(batch(numbered(first, first + 500))).status, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        lines = [other.stdout.readline() for _ in range(15)]
        other.send_signal(signal.SIGKILL)
        lines += other.stdout.readlines()
    last = max(int(first) for first in re.findall(r"(\d+) applied\n", "".join(lines)))
    found = everything(folder)
    assert set(found) >= {*range(10), *range(1000, last + 500)}
    assert all(sorted(point.vectors) == ["", "m", "s"] for point in found.values())


def test_held_by_another_process(folder: Path) -> None:
    """While another process uploads, batches fail with a message that says which."""
    program = f"""
with EmbeddedBatchUploader.start({str(folder)!r}, collection="docs") as uploader:
    uploader(batch(numbered(10, 20)))
    print("open", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        result = upload(folder, numbered(20, 30))
        other.communicate("\n")
    assert isinstance(result.error, StoreLocked)
    assert str(other.pid) in str(result.error)
    assert list(everything(folder)) == list(range(20))


def test_broken_handle_stays_broken(folder: Path) -> None:
    """After the folder is gone, an uploader fails instead of writing into nowhere."""
    with EmbeddedBatchUploader.start(folder, collection="docs") as uploader:
        uploader(batch(numbered(10, 20)))
        (folder / "docs").rename(folder / "moved")
        result = uploader(batch(numbered(20, 30)))
        assert isinstance(result.error, EngineError)
        (folder / "moved").rename(folder / "docs")
    assert list(everything(folder)) == list(range(20))


class PanicException(BaseException):
    """What the engine's bindings raise, by name."""


@pytest.mark.parametrize("raised", [RuntimeError("odd"), KeyError("odd"), PanicException("odd")])
def test_points_that_the_engine_does_not_make(
    folder: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    """Whatever the engine raises while points are made is the batch's error, and nobody else's."""

    def fail(*parts: object) -> None:
        raise raised

    # The engine refuses by TypeError and ValueError; what else it might raise cannot be provoked.
    strange = SimpleNamespace(Point=fail, SparseVector=engine().SparseVector)
    monkeypatch.setattr(edge_points, "engine", lambda: strange)
    result = upload(folder, numbered(10, 12))
    assert (result.status, type(result.error)) == (Status.FAILED, EngineError)
    assert "the points cannot be made" in str(result.error)
    assert result.error is not None
    assert result.error.__cause__ is raised
