"""Batches over gRPC, from columns to what the server stored."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from qframe import errors
from qframe.batches import Batch
from qframe.connection import connect
from qframe.gate import Gate
from qframe.points import (
    DenseBlock,
    Ids,
    MultiBlock,
    PayloadBlock,
    PayloadKind,
    PointBlock,
    SparseBlock,
    Texts,
    VectorKind,
)
from qframe.report import Status
from qframe.retry import Retry
from qframe.schema import CollectionSchema, VectorSchema
from qframe.stores.base import StoredVector
from qframe.stores.grpc import GrpcStore
from qframe.uploaders.grpc import GRACE, GrpcBatchUploader
from qframe.write import WriteOptions
from tests.blocks import batch_of
from tests.server import LocalServer

QUICK = Retry(attempts=3, backoff=0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """Run one server for the tests of this file."""
    with LocalServer(api_key="secret") as server:
        yield server


@pytest.fixture
def store(server: LocalServer) -> Iterator[GrpcStore]:
    """An empty collection "c" of unnamed vectors, and all faults forgotten."""
    server.reset()
    with GrpcStore(*_address(server), api_key="secret") as store:
        dense = VectorSchema(VectorKind.DENSE, 2, "dot")
        store.create("c", CollectionSchema({"": dense}))
        yield store


def _address(server: LocalServer) -> tuple[str, int]:
    host, _, port = server.grpc_url.removeprefix("grpc://").rpartition(":")
    return host, int(port)


def _uploader(server: LocalServer, **options: Any) -> GrpcBatchUploader:
    given = {"collection": "c", "api_key": "secret", "retry": QUICK, **options}
    return GrpcBatchUploader.start(*_address(server), **given)


def _block(n: int = 3, first: int = 0, **given: Any) -> PointBlock:
    values = np.arange(n * 2, dtype=np.float32).reshape(n, 2) + first
    ids = Ids(numbers=np.arange(first, first + n, dtype=np.uint64))
    return PointBlock(**{"ids": ids, "vectors": {"": DenseBlock(values)}, **given})


def _batch(block: PointBlock | None = None) -> Batch:
    block = block or _block()
    return batch_of(block)


# ---- What is stored ----


def test_points_arrive(server: LocalServer, store: GrpcStore) -> None:
    """Ids, vectors and every kind of payload are read back as they were."""
    nested = [{"a": [1, None, {"b": "ø"}]}, [], None]
    payload = (
        PayloadBlock("bool", PayloadKind.BOOL, np.array([True, False, True])),
        PayloadBlock("integer", PayloadKind.INTEGER, np.array([2**63 - 1, -(2**63), 0])),
        PayloadBlock("float", PayloadKind.FLOAT, np.array([0.1, -0.0, 1e300])),
        PayloadBlock("text", PayloadKind.TEXT, Texts.of(["", "ø" * 300, "a"])),
        PayloadBlock("any", PayloadKind.ANY, nested),
        PayloadBlock(
            "gone", PayloadKind.INTEGER, np.zeros(3, np.int64), np.array([True, False, True]), True
        ),
    )
    block = _block(payload=payload)
    with _uploader(server, wait=True) as uploader:
        result = uploader(_batch(block))
    assert (result.status, result.attempts, result.error) == (Status.APPLIED, 1, None)
    stored = {point.id: point for point in store.retrieve("c", [0, 1, 2], with_vectors=True)}
    assert [stored[n].payload for n in range(3)] == block.payloads()
    for n in range(3):
        np.testing.assert_array_equal(stored[n].vectors[""], block.vectors[""].values[n])


def test_named_vectors_of_every_kind(server: LocalServer, store: GrpcStore) -> None:
    """Dense, multi and sparse vectors arrive under their names, and points may lack some."""
    store.create(
        "named",
        CollectionSchema(
            {
                "": VectorSchema(VectorKind.DENSE, 1, "dot"),
                "multi": VectorSchema(VectorKind.MULTI, 2, "dot"),
                "sparse": VectorSchema(VectorKind.SPARSE),
            }
        ),
    )
    some = np.array([True, False, True])
    multi = MultiBlock(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([1, 2]), some)
    sparse = SparseBlock(
        np.array([7, 2**32 - 1], np.uint32), np.array([0.5, 2], np.float32), np.array([2, 0, 0])
    )
    dense = DenseBlock(np.ones((1, 1), np.float32), np.array([False, True, False]))
    block = _block(vectors={"": dense, "multi": multi, "sparse": sparse})
    with _uploader(server, collection="named", wait=True) as uploader:
        assert uploader(_batch(block)).status is Status.APPLIED
    points = store.retrieve("named", [0, 1, 2], with_vectors=True)
    stored = {point.id: point.vectors for point in points}
    assert [sorted(stored[n]) for n in range(3)] == [
        ["multi", "sparse"],
        ["", "sparse"],
        ["multi", "sparse"],
    ]
    assert _plain(stored[2]["multi"]) == [[2, 3], [4, 5]]
    assert _plain(stored[0]["sparse"]) == ([7, 2**32 - 1], [0.5, 2])
    assert _plain(stored[1]["sparse"]) == ([], [])


def _plain(vector: StoredVector) -> Any:
    return tuple(part.tolist() for part in vector) if isinstance(vector, tuple) else vector.tolist()


def test_points_without_vectors(server: LocalServer, store: GrpcStore) -> None:
    """Points that carry a payload alone are accepted."""
    payload = (PayloadBlock("x", PayloadKind.INTEGER, np.arange(3)),)
    with _uploader(server, wait=True) as uploader:
        assert uploader(_batch(_block(vectors={}, payload=payload))).status is Status.APPLIED
    assert sorted(
        point.payload["x"] for point in store.retrieve("c", [0, 1, 2], with_vectors=False)
    ) == [0, 1, 2]


def test_records_with_mixed_ids(server: LocalServer, store: GrpcStore) -> None:
    """Whole payloads and ids of both kinds in one batch arrive."""
    numbers = np.array([2**64 - 1, 0], dtype=np.uint64)
    uuids = np.array([[0] * 16, list(range(16))], dtype=np.uint8)
    ids = Ids(numbers, uuids, np.array([False, True]))
    documents = [{"a": {"b": [1.5]}}, {}]
    block = _block(2, ids=ids, documents=documents)
    with _uploader(server, wait=True) as uploader:
        assert uploader(_batch(block)).status is Status.APPLIED
    points = store.retrieve("c", ids.tolist(), with_vectors=False)
    assert {point.id: point.payload for point in points} == {
        2**64 - 1: {"a": {"b": [1.5]}},
        "00010203-0405-0607-0809-0a0b0c0d0e0f": {},
    }


def test_body_of_the_default_size(server: LocalServer, store: GrpcStore) -> None:
    """A body beyond the 4 MB and the 16 MB that gRPC knows as limits arrives in one request."""
    store.create("wide", CollectionSchema({"": VectorSchema(VectorKind.DENSE, 4096, "dot")}))
    values = np.ones((1100, 4096), dtype=np.float32)
    with _uploader(server, collection="wide", wait=True) as uploader:
        result = uploader(_batch(_block(1100, vectors={"": DenseBlock(values)})))
    assert result.status is Status.APPLIED
    assert result.bytes == server.log()[-1]["bytes"] > 16 * 1024 * 1024
    assert store.count("wide") == 1100


# ---- How it is written ----


def test_options_reach_the_server(server: LocalServer, store: GrpcStore) -> None:
    """Ordering, mode and filter of a write arrive; insert_only leaves existing points alone."""
    payload = (PayloadBlock("x", PayloadKind.INTEGER, np.arange(3)),)
    with _uploader(server, wait=True) as uploader:
        uploader(_batch(_block(payload=payload)))
    with _uploader(
        server,
        wait=True,
        ordering="strong",
        update_mode="insert_only",
        update_filter={"must": {"key": "x", "range": {"gt": 0}}},
    ) as uploader:
        assert uploader(_batch(_block(4))).status is Status.APPLIED
    seen = server.log()[-1]
    assert (seen["wait"], seen["ordering"], seen["update_mode"], seen["update_filter"]) == (
        True,
        "strong",
        "insert_only",
        True,
    )
    kept = {point.id: point.payload for point in store.retrieve("c", range(4), with_vectors=False)}
    assert kept == {0: {"x": 0}, 1: {"x": 1}, 2: {"x": 2}, 3: {}}


def test_update_filter_decides(server: LocalServer, store: GrpcStore) -> None:
    """With a filter, only those existing points change that match it."""
    payload = (PayloadBlock("x", PayloadKind.INTEGER, np.arange(3)),)
    with _uploader(server, wait=True) as uploader:
        uploader(_batch(_block(payload=payload)))
    newer = (PayloadBlock("x", PayloadKind.INTEGER, np.full(3, 9)),)
    condition = {"must": [{"key": "x", "range": {"gte": 1}}]}
    with _uploader(server, wait=True, update_filter=condition) as uploader:
        uploader(_batch(_block(payload=newer)))
    points = store.retrieve("c", [0, 1, 2], with_vectors=False)
    assert {point.id: point.payload["x"] for point in points} == {0: 0, 1: 9, 2: 9}


@pytest.mark.parametrize(("wait", "status"), [(True, Status.APPLIED), (False, Status.ACKNOWLEDGED)])
def test_status_of_an_answer(
    server: LocalServer, store: GrpcStore, wait: bool, status: Status
) -> None:
    """`completed` is applied and `acknowledged` is not more than that; both have a number."""
    with _uploader(server, wait=wait) as uploader:
        result = uploader(_batch())
    assert result.status is status
    assert isinstance(result.operation_id, int)


def test_wait_timeout_is_an_acknowledgement(server: LocalServer, store: GrpcStore) -> None:
    """A write that the server stopped waiting for is queued: neither applied nor failed."""
    server.faults(["wait_timeout"], transport="grpc")
    with _uploader(server, wait=True) as uploader:
        result = uploader(_batch())
    assert (result.status, result.attempts) == (Status.ACKNOWLEDGED, 1)


def test_a_waiting_client_outlasts_the_server(server: LocalServer, store: GrpcStore) -> None:
    """A waiting write is given longer than the server takes to say that it stopped waiting."""
    server.faults(["delay:1.2"], transport="grpc")
    with _uploader(server, wait=True, timeout=1, retry=0) as uploader:
        assert uploader(_batch()).status is Status.APPLIED
        assert uploader._channel.timeout == 1 + GRACE


def test_a_write_that_takes_too_long(server: LocalServer, store: GrpcStore) -> None:
    """Without an answer in time, nobody knows what became of the batch."""
    server.faults(["delay:1"], transport="grpc")
    with _uploader(server, timeout=0.2, retry=0) as uploader:
        result = uploader(_batch())
    assert result.status is Status.UNKNOWN
    assert isinstance(result.error, errors.RequestTimeout)


# ---- What goes wrong ----

FAULTS = [
    ("bad_request", errors.InvalidRequest, Status.FAILED, 1),
    ("unauthenticated", errors.AuthenticationError, Status.FAILED, 1),
    ("forbidden", errors.PermissionDenied, Status.FAILED, 1),
    ("not_found", errors.CollectionNotFound, Status.FAILED, 1),
    ("rate_limit", errors.RateLimited, Status.FAILED, 1),
    ("rate_limit:0", errors.RateLimited, Status.FAILED, 3),
    ("internal", errors.ServerError, Status.FAILED, 3),
    ("precondition", errors.ServerError, Status.FAILED, 3),
    ("unavailable", errors.ServiceUnavailable, Status.FAILED, 3),
    ("bad_gateway", errors.ServiceUnavailable, Status.FAILED, 3),
    ("insufficient_storage", errors.InsufficientStorage, Status.FAILED, 3),
    ("timeout", errors.RequestTimeout, Status.UNKNOWN, 3),
    ("drop_before", errors.ConnectionLost, Status.UNKNOWN, 3),
    ("drop_after", errors.ConnectionLost, Status.UNKNOWN, 3),
    ("garbage", errors.InvalidAnswer, Status.UNKNOWN, 3),
]


@pytest.mark.parametrize(("fault", "kind", "status", "attempts"), FAULTS)
def test_faults_that_last(
    server: LocalServer,
    store: GrpcStore,
    fault: str,
    kind: type[errors.QframeError],
    status: Status,
    attempts: int,
) -> None:
    """Each fault becomes its own error, and is repeated only where that helps."""
    server.faults([f"{fault}*9"], transport="grpc")
    with _uploader(server) as uploader:
        result = uploader(_batch())
    assert type(result.error) is kind
    assert (result.status, result.attempts) == (status, attempts)
    assert len(server.log()) == attempts


@pytest.mark.parametrize(
    "fault", ["unavailable", "internal", "drop_before", "drop_after", "garbage", "rate_limit:0"]
)
def test_faults_that_pass(server: LocalServer, store: GrpcStore, fault: str) -> None:
    """After a fault that passes, the same bytes are sent again and stored once."""
    server.faults([fault], transport="grpc")
    with _uploader(server, wait=True) as uploader:
        result = uploader(_batch())
    assert (result.status, result.retries, result.error) == (Status.APPLIED, 1, None)
    first, second = server.log()
    assert first["bytes"] == second["bytes"]
    assert store.count("c") == 3


def test_retry_after_holds_all_workers(server: LocalServer, store: GrpcStore) -> None:
    """While the server asks for a pause, no other worker sends."""
    server.faults(["rate_limit:1"], transport="grpc")
    gate = Gate()
    workers = [
        GrpcBatchUploader(
            *_address(server), "c", api_key="secret", write=WriteOptions(), gate=gate, worker=n
        )
        for n in range(2)
    ]
    held = threading.Thread(target=workers[0], args=(_batch(),))
    held.start()
    while not server.log() or server.log()[0]["finished"] is None:
        time.sleep(0.01)
    time.sleep(0.1)  # for the answer to reach the client
    other = workers[1](_batch(_block(first=10)))
    held.join()
    for worker in workers:
        worker.close()
    assert (other.status, other.worker) == (Status.ACKNOWLEDGED, 1)
    assert other.throttled_s > 0.5


def test_a_vector_of_the_wrong_size(server: LocalServer, store: GrpcStore) -> None:
    """The server's own words about a bad vector are in the error."""
    wrong = DenseBlock(np.ones((3, 5), np.float32))
    with _uploader(server) as uploader:
        result = uploader(_batch(_block(vectors={"": wrong})))
    assert isinstance(result.error, errors.InvalidRequest)
    assert "expected dim: 2, got 5" in str(result.error)


def test_a_missing_collection(server: LocalServer, store: GrpcStore) -> None:
    """A collection that does not exist is named, and no batch is tried twice."""
    with _uploader(server, collection="none") as uploader:
        result = uploader(_batch())
    assert isinstance(result.error, errors.CollectionNotFound)
    assert result.attempts == 1
    assert "`none`" in str(result.error)


def test_values_that_cannot_travel_fail_their_batch(server: LocalServer, store: GrpcStore) -> None:
    """A batch that cannot be encoded fails by itself, without a request."""
    bad = (PayloadBlock("x", PayloadKind.ANY, [1, 2**64, 3]),)
    with _uploader(server) as uploader:
        result = uploader(_batch(_block(payload=bad)))
        assert uploader(_batch()).status is Status.ACKNOWLEDGED
    assert (result.status, result.attempts) == (Status.FAILED, 0)
    assert isinstance(result.error, errors.InputError)


def test_nobody_there(server: LocalServer) -> None:
    """Where nobody answers, the batch failed for sure: nothing was sent."""
    uploader = GrpcBatchUploader.start("127.0.0.1", 1, collection="c", retry=0)
    result = uploader(_batch())
    uploader.close()
    assert (result.status, type(result.error)) == (Status.FAILED, errors.ServerUnreachable)


def test_wrong_key(server: LocalServer) -> None:
    """A wrong key is an AuthenticationError that does not show it."""
    with _uploader(server, api_key="not-the-key") as uploader:
        result = uploader(_batch())
    assert isinstance(result.error, errors.AuthenticationError)
    assert "not-the-key" not in f"{result.error!r} {uploader!r}"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ordering": "loose"}, "ordering='loose'"),
        ({"update_mode": "replace"}, "update_mode='replace'"),
        ({"shard_key": 1.5}, "shard_key=1.5"),
        ({"update_filter": {"mst": []}}, "filter knows no 'mst'"),
        ({"retry": -1}, "retry=-1"),
        ({"verify": False}, "verify=False"),
    ],
)
def test_options_are_checked_at_the_start(options: dict[str, Any], complaint: str) -> None:
    """What cannot work is refused when the uploader starts, before any batch."""
    with pytest.raises(errors.InputError) as caught:
        GrpcBatchUploader.start(collection="c", **options)
    assert complaint in str(caught.value)


def test_results_can_be_pickled(server: LocalServer, store: GrpcStore) -> None:
    """A result survives the way from another process, its error included."""
    server.faults(["rate_limit:7"], transport="grpc")
    with _uploader(server, retry=0) as uploader:
        result = pickle.loads(pickle.dumps(uploader(_batch())))
    assert (str(result.error).startswith("Rate limiting exceeded"), result.error.retry_after) == (
        True,
        7,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "s3cret\n"},
        {"api_key": " s3cret"},
        {"api_key": ""},
        {"headers": {"a b": "s3cret"}},
        {"headers": {"a": "s3cret\x00"}},
    ],
)
def test_keys_and_headers_are_checked_as_connect_does(options: dict[str, Any]) -> None:
    """An uploader by itself refuses what `connect` refuses, in the same words."""
    with pytest.raises(errors.InputError) as caught:
        GrpcBatchUploader.start(collection="c", **options)
    with pytest.raises(errors.InputError) as expected:
        connect("grpc://localhost", **options)
    assert str(caught.value) == str(expected.value)
    assert "s3cret" not in str(caught.value)
