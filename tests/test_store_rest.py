"""Collections over REST: made, described, read and searched."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from qframe import errors
from qframe.points import (
    DenseBlock,
    Ids,
    MultiBlock,
    PayloadBlock,
    PayloadKind,
    PointBlock,
    SparseBlock,
    VectorKind,
)
from qframe.schema import CollectionSchema, VectorSchema
from qframe.stores.rest import RestStore
from qframe.uploaders.rest import RestBatchUploader
from tests.blocks import batch_of
from tests.server import LocalServer

UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
DENSE = VectorSchema(VectorKind.DENSE, 2, "dot")
MIXED = CollectionSchema(
    {
        "": DENSE,
        "multi": VectorSchema(VectorKind.MULTI, 2, "dot"),
        "sparse": VectorSchema(VectorKind.SPARSE),
    }
)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """Run one server for all tests of this file."""
    with LocalServer() as server:
        yield server


@pytest.fixture
def store(server: LocalServer) -> Iterator[RestStore]:
    """Forget all collections and open the server."""
    server.reset()
    with RestStore(server.rest_url) as store:
        yield store


@pytest.fixture
def filled(server: LocalServer, store: RestStore) -> RestStore:
    """Collection "mixed" with points 1, 2 and a UUID, the last of them without vectors."""
    store.create("mixed", MIXED)
    uuid = np.arange(16, dtype=np.uint8)
    present = np.array([True, True, False])
    block = PointBlock(
        Ids(
            np.array([1, 2, 0], np.uint64),
            np.stack([uuid * 0, uuid * 0, uuid]),
            np.array([False, False, True]),
        ),
        {
            "": DenseBlock(np.array([[1, 0], [0, 2]], np.float32), present),
            "multi": MultiBlock(
                np.array([[1, 0], [0, 1], [3, 3]], np.float32), np.array([2, 1]), present
            ),
            "sparse": SparseBlock(
                np.array([5, 9, 5], np.uint32),
                np.array([1, 0.5, 4], np.float32),
                np.array([2, 1]),
                present,
            ),
        },
        (PayloadBlock("n", PayloadKind.INTEGER, np.array([10, 20, 30])),),
    )
    with RestBatchUploader.start(server.rest_url, collection="mixed", wait=True) as upload:
        upload(batch_of(block))
    return store


@contextmanager
def _answering(**answers: Any) -> Iterator[RestStore]:
    """Give a store whose server answers by the last part of the path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = answers[self.path.rpartition("/")[2] or "root"]
            status = 200
            if isinstance(said, tuple):
                status, said = said
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = _answer

        def log_message(self, *args: Any) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with RestStore(f"http://127.0.0.1:{server.server_port}") as store:
                yield store
        finally:
            server.shutdown()
            thread.join()


def _result(result: Any) -> dict[str, Any]:
    return {"result": result, "status": "ok", "time": 0.0}


def _error(status: int, text: str) -> tuple[int, dict[str, Any]]:
    return status, {"status": {"error": text}, "time": 0.0}


def test_the_version(store: RestStore) -> None:
    """Three numbers, as the server says them."""
    assert store.version() == (1, 19, 0)


@pytest.mark.parametrize("version", ["1.20.0-dev", "1.20.0+build"])
def test_versions_with_more_to_say(version: str) -> None:
    """What follows the three numbers does not matter."""
    with _answering(root={"title": "qdrant", "version": version}) as store:
        assert store.version() == (1, 20, 0)


@pytest.mark.parametrize("root", [{"title": "something"}, {"version": "next"}])
def test_servers_without_a_version_are_not_qdrant(root: dict[str, Any]) -> None:
    """Another server's JSON is told as such."""
    with _answering(root=root) as store, pytest.raises(errors.InvalidAnswer, match="Qdrant"):
        store.version()


def test_a_missing_collection_is_described_as_none(store: RestStore) -> None:
    """None, and no error, for a name that nobody has taken."""
    assert store.describe("nowhere") is None


def test_a_collection_of_one_unnamed_vector(store: RestStore) -> None:
    """What was created is what is described."""
    store.create("plain", CollectionSchema({"": VectorSchema(VectorKind.DENSE, 4, "cosine")}))
    info = store.describe("plain")
    assert info is not None
    assert (info.name, info.points, info.custom_sharding) == ("plain", 0, False)
    assert info.vectors.keys() == {""}
    vector = info.vectors[""]
    assert (vector.kind, vector.size, vector.distance) == (VectorKind.DENSE, 4, "cosine")
    assert (info.max_batch_points, info.max_points) == (None, None)


def test_a_collection_of_all_kinds(filled: RestStore) -> None:
    """Unnamed, multi and sparse vectors keep their kinds, and the points are counted."""
    info = filled.describe("mixed")
    assert info is not None
    assert info.points == 3
    assert {name: (v.kind, v.size, v.distance) for name, v in info.vectors.items()} == {
        name: (v.kind, v.size, v.distance) for name, v in MIXED.vectors.items()
    }
    assert info.vectors["multi"].settings["multivector_config"] == {"comparator": "max_sim"}


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
def test_every_distance_comes_back(store: RestStore, distance: str) -> None:
    """The server's spelling of a distance is translated both ways."""
    store.create("d", CollectionSchema({"v": VectorSchema(VectorKind.DENSE, 2, distance)}))
    info = store.describe("d")
    assert info is not None
    assert info.vectors["v"].distance == distance


def test_settings_reach_the_server(store: RestStore) -> None:
    """Settings of vectors and of the collection go out by the names of the REST API."""
    vectors = {
        "half": VectorSchema(VectorKind.DENSE, 2, "dot", {"datatype": "float16", "on_disk": True}),
        "bag": VectorSchema(VectorKind.SPARSE, settings={"modifier": "idf"}),
    }
    settings = {
        "sharding_method": "custom",
        "strict_mode_config": {"enabled": True, "upsert_max_batchsize": 7, "max_points_count": 9},
    }
    store.create("set", CollectionSchema(vectors, settings))
    info = store.describe("set")
    assert info is not None
    assert info.custom_sharding
    assert (info.max_batch_points, info.max_points) == (7, 9)
    assert info.vectors["half"].settings["datatype"] == "float16"
    assert info.vectors["half"].settings["on_disk"] is True
    assert info.vectors["bag"].settings["modifier"] == "idf"


def test_limits_count_only_in_strict_mode(store: RestStore) -> None:
    """Limits that are written down but not enabled are none."""
    settings = {"strict_mode_config": {"enabled": False, "upsert_max_batchsize": 7}}
    store.create("lax", CollectionSchema({"": DENSE}, settings))
    info = store.describe("lax")
    assert info is not None
    assert info.max_batch_points is None


def test_a_collection_without_vectors(store: RestStore) -> None:
    """A collection for payload alone can be made and described."""
    store.create("bare", CollectionSchema({}))
    info = store.describe("bare")
    assert info is not None
    assert info.vectors == {}


def test_a_vector_that_is_named_size() -> None:
    """A named vector called "size" is not mistaken for the size of an unnamed one."""
    vectors = {"size": {"size": 3, "distance": "Dot"}}
    info = _result({"config": {"params": {"vectors": vectors}}})
    with _answering(c=info, count=_result({"count": 0})) as store:
        described = store.describe("c")
    assert described is not None
    assert described.vectors == {"size": VectorSchema(VectorKind.DENSE, 3, "dot")}


def test_a_collection_that_exists(store: RestStore) -> None:
    """A second creation is an error of the collection."""
    store.create("twice", CollectionSchema({"": DENSE}))
    with pytest.raises(errors.CollectionExists, match="`twice` already exists"):
        store.create("twice", CollectionSchema({"": DENSE}))


def test_older_servers_say_400_for_what_exists() -> None:
    """The text counts where the status is that of any bad request."""
    said = _error(400, "Wrong input: Collection `c` already exists!")
    with _answering(c=said) as store, pytest.raises(errors.CollectionExists):
        store.create("c", CollectionSchema({"": DENSE}))


def test_a_refused_creation(store: RestStore) -> None:
    """What the server does not accept is its refusal, not an existing collection."""
    with pytest.raises(errors.InvalidRequest):
        store.create("bad", CollectionSchema({"": VectorSchema(VectorKind.DENSE, 0, "dot")}))


def test_deleting(filled: RestStore) -> None:
    """A collection goes with its points, and one that is gone can be deleted again."""
    filled.delete("mixed")
    assert filled.describe("mixed") is None
    filled.delete("mixed")


def test_deleting_what_a_server_calls_missing() -> None:
    """A server that answers 404 to the deletion of nothing is no error either."""
    with _answering(c=_error(404, "Not found: Collection `c` doesn't exist!")) as store:
        store.delete("c")


def test_reading_a_missing_collection(store: RestStore) -> None:
    """All reads but the description say that there is no such collection."""
    with pytest.raises(errors.CollectionNotFound):
        store.count("nowhere")
    with pytest.raises(errors.CollectionNotFound):
        store.scroll("nowhere", limit=1, offset=None, with_vectors=False)


def test_points_by_their_ids(filled: RestStore) -> None:
    """Those that exist come back, numbers as int and UUIDs as hyphenated text."""
    points = filled.retrieve("mixed", [2, UUID, 77], with_vectors=False)
    assert {point.id: point.payload for point in points} == {2: {"n": 20}, UUID: {"n": 30}}
    assert all(point.vectors == {} for point in points)


def test_vectors_come_back_as_arrays(filled: RestStore) -> None:
    """Dense as 1-D and multi as 2-D float32, sparse as a pair, missing ones not at all."""
    points = {p.id: p.vectors for p in filled.retrieve("mixed", [1, UUID], with_vectors=True)}
    assert points[UUID] == {}
    vectors = points[1]
    dense, multi, (indices, values) = vectors[""], vectors["multi"], vectors["sparse"]
    assert (dense.dtype, multi.dtype, indices.dtype, values.dtype) == ("f4", "f4", "u4", "f4")
    assert dense.tolist() == [1, 0]
    assert multi.tolist() == [[1, 0], [0, 1]]
    assert (indices.tolist(), values.tolist()) == ([5, 9], [1, 0.5])


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ([1.5, None], {"": [1.5, np.nan]}),
        ([[1, 2], [None, 4]], {"": [[1, 2], [np.nan, 4]]}),
        ({"": [1, 2]}, {"": [1, 2]}),
        ({"a": [0.1]}, {"a": [0.1]}),
        ({}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_the_forms_in_which_vectors_come(vector: Any, expected: dict[str, Any]) -> None:
    """Lists, lists of lists, names, nothing at all; and null is what a stored NaN looks like."""
    point = {"id": 1, "payload": None, "vector": vector}
    with _answering(points=_result([point])) as store:
        (found,) = store.retrieve("c", [1], with_vectors=True)
    assert found.payload == {}
    assert found.vectors.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found.vectors[name], np.array(values, np.float32))


def test_pages_follow_one_another(filled: RestStore) -> None:
    """Pages of two make three points, each once, and the last page says that it is."""
    first = filled.scroll("mixed", limit=2, offset=None, with_vectors=False)
    assert first.next is not None
    second = filled.scroll("mixed", limit=2, offset=first.next, with_vectors=True)
    assert second.next is None
    assert [point.id for point in (*first.points, *second.points)] == [1, 2, UUID]


@pytest.mark.parametrize(
    ("vector", "using", "best", "score"),
    [
        (np.array([0, 1], np.float32), "", 2, 2.0),
        (np.array([1, 0], np.float64), "", 1, 1.0),
        (np.array([[1, 0], [0, 1]], np.float32), "multi", 2, 6.0),
        ((np.array([9], np.uint32), np.array([2], np.float32)), "sparse", 1, 1.0),
    ],
    ids=["dense", "another dtype", "multi", "sparse"],
)
def test_searching(filled: RestStore, vector: Any, using: str, best: int, score: float) -> None:
    """The nearest point by each kind of vector comes first, with its score and payload."""
    found = filled.search("mixed", vector, limit=1, using=using, with_vectors=True)
    assert [(point.id, point.score, point.payload) for point in found] == [
        (best, score, {"n": best * 10})
    ]
    assert found[0].vectors.keys() == MIXED.vectors.keys()


def test_searching_without_vectors(filled: RestStore) -> None:
    """Vectors that were not asked for do not come."""
    query = np.array([0, 1], np.float32)
    found = filled.search("mixed", query, limit=5, using="", with_vectors=False)
    assert [point.vectors for point in found] == [{}, {}]


@pytest.mark.parametrize("result", [None, 7, {"points": [{}]}, {"points": 3}, {}, [1]])
def test_answers_of_another_shape(result: Any) -> None:
    """JSON that is not Qdrant's is an invalid answer, never a KeyError."""
    with _answering(scroll=_result(result)) as store, pytest.raises(errors.InvalidAnswer):
        store.scroll("c", limit=1, offset=None, with_vectors=True)


def test_no_secret_is_shown() -> None:
    """The store's repr is its address only."""
    store = RestStore("http://localhost:6333", api_key="secret", headers={"X-A": "hidden"})
    assert repr(store) == "RestStore('http://localhost:6333')"


# ---- Settling ----


def test_settling_deletes_nothing(filled: RestStore) -> None:
    """Waiting for writes leaves the points as they are."""
    assert filled.settle("mixed", 1.0) is True
    assert filled.count("mixed") == 3
    with pytest.raises(errors.CollectionNotFound):
        filled.settle("absent", 1.0)


def test_what_becomes_of_a_write_that_waits() -> None:
    """A write that is still queued is no error; an answer that is none of Qdrant's is one."""
    said = [{"status": "wait_timeout"}, {"status": "clock_rejected"}, {"status": "lost"}, {}]
    answers = {f"delete?wait=true&timeout={n}": {"result": one} for n, one in enumerate(said, 1)}
    with _answering(**answers) as store:
        assert store.settle("c", 1.9) is False
        with pytest.raises(errors.ServerError, match="clock"):
            store.settle("c", 2)
        with pytest.raises(errors.InvalidAnswer, match="'lost'"):
            store.settle("c", 3)
        with pytest.raises(errors.InvalidAnswer):
            store.settle("c", 4)


def test_the_state_of_a_collection() -> None:
    """The state, what the optimiser failed with and the length of the queue are told if known."""
    config = {"params": {"vectors": {"size": 2, "distance": "Dot"}}}
    failed = {"optimizer_status": {"error": "no space"}, "update_queue": {"length": 7}}
    for said, expected in (
        ({"status": "red", **failed}, ("red", "no space", 7)),
        ({"status": "yellow", "optimizer_status": "ok"}, ("yellow", None, None)),
        ({}, (None, None, None)),
    ):
        answers = {"c": {"result": {"config": config, **said}}, "count": {"result": {"count": 1}}}
        with _answering(**answers) as store:
            info = store.describe("c")
        assert info is not None
        assert (info.status, info.optimizer_error, info.queue_length) == expected
