"""Batches over REST, from columns to what the server stored."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

from qframe import errors
from qframe.batches import Batch
from qframe.connection import connect
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
from qframe.stores.rest import RestStore
from qframe.uploaders.rest import GRACE, RestBatchUploader
from qframe.write import WriteOptions
from tests.blocks import batch_of
from tests.server import LocalServer

QUICK = Retry(attempts=3, backoff=0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """Run one server for most tests of this file."""
    with LocalServer(api_key="secret") as server:
        yield server


@pytest.fixture
def store(server: LocalServer) -> Iterator[RestStore]:
    """An empty collection "c" of unnamed vectors, and all faults forgotten."""
    server.reset()
    with RestStore(server.rest_url, api_key="secret") as store:
        dense = VectorSchema(VectorKind.DENSE, 2, "dot")
        store.create("c", CollectionSchema({"": dense}))
        yield store


def _batch(n: int = 3, first: int = 0, size: int = 2) -> Batch:
    values = np.arange(n * size, dtype=np.float32).reshape(n, size)
    block = PointBlock(
        Ids(numbers=np.arange(first, first + n, dtype=np.uint64)),
        {"": DenseBlock(values)},
        (PayloadBlock("name", PayloadKind.TEXT, Texts.of(f"point {i}" for i in range(n))),),
    )
    return batch_of(block)


def _start(server: LocalServer, **options: Any) -> RestBatchUploader:
    options = {"collection": "c", "api_key": "secret", "retry": QUICK, **options}
    return RestBatchUploader.start(server.rest_url, **options)


def test_a_batch_arrives(server: LocalServer, store: RestStore) -> None:
    """What was sent with wait=True is applied and read back as it was."""
    with _start(server, wait=True) as upload:
        result = upload(_batch())
    assert (result.status, result.points, result.attempts) == (Status.APPLIED, 3, 1)
    assert result.operation_id is not None
    assert result.bytes == server.log()[0]["bytes"]
    point = store.retrieve("c", [2], with_vectors=True)[0]
    assert point.payload == {"name": "point 2"}
    assert point.vectors[""].tolist() == [4, 5]


def test_all_kinds_of_vectors_arrive(server: LocalServer, store: RestStore) -> None:
    """Dense, multi and sparse vectors, present and missing, in one batch."""
    store.create(
        "mixed",
        CollectionSchema(
            {
                "": VectorSchema(VectorKind.DENSE, 2, "dot"),
                "multi": VectorSchema(VectorKind.MULTI, 2, "dot"),
                "sparse": VectorSchema(VectorKind.SPARSE),
            }
        ),
    )
    uuids = np.frombuffer(bytes(range(32)), dtype=np.uint8).reshape(2, 16)
    block = PointBlock(
        Ids(uuids=uuids),
        {
            "": DenseBlock(np.array([[1, 2]], np.float32), np.array([True, False])),
            "multi": MultiBlock(np.ones((3, 2), np.float32), np.array([1, 2])),
            "sparse": SparseBlock(
                np.array([7, 2], np.uint32),
                np.array([0.5, 1], np.float32),
                np.array([2]),
                np.array([False, True]),
            ),
        },
    )
    with _start(server, collection="mixed", wait=True) as upload:
        assert upload(batch_of(block)).status is Status.APPLIED
    found = {
        point.id: point for point in store.retrieve("mixed", block.ids.tolist(), with_vectors=True)
    }
    first, second = (found[point].vectors for point in block.ids.tolist())
    assert first.keys() == {"", "multi"}
    assert second.keys() == {"multi", "sparse"}
    assert first[""].tolist() == [1, 2]
    assert second["multi"].tolist() == [[1, 1], [1, 1]]
    indices, values = second["sparse"]
    assert dict(zip(indices.tolist(), values.tolist(), strict=True)) == {7: 0.5, 2: 1.0}


def test_without_waiting_a_batch_is_acknowledged(server: LocalServer, store: RestStore) -> None:
    """Queued is not applied, and the result says so."""
    with _start(server) as upload:
        assert upload(_batch()).status is Status.ACKNOWLEDGED


def test_a_wait_that_times_out_is_an_acknowledgement(server: LocalServer, store: RestStore) -> None:
    """wait_timeout means queued, not failed, though the answer is a success."""
    server.faults(["wait_timeout"], transport="rest")
    with _start(server, wait=True) as upload:
        result = upload(_batch())
    assert (result.status, result.attempts) == (Status.ACKNOWLEDGED, 1)


def test_options_reach_the_server(server: LocalServer, store: RestStore) -> None:
    """What belongs to the query and what belongs to the body is understood as it was meant."""
    with _start(
        server, wait=True, ordering="strong", timeout=90, update_mode="insert_only"
    ) as upload:
        upload(_batch())
    seen = server.log()[0]
    assert (seen["wait"], seen["ordering"], seen["timeout"]) == (True, "strong", 90)
    assert seen["update_mode"] == "insert_only"
    assert seen["key_header"] == "api-key"
    assert seen["user_agent"].startswith("qframe/")


def test_a_filter_decides_what_is_changed(server: LocalServer, store: RestStore) -> None:
    """With an update filter only the existing points that match are replaced."""
    with _start(server, wait=True) as upload:
        upload(_batch(2))
    wanted = {"must": [{"key": "name", "match": {"value": "point 1"}}]}
    with _start(server, wait=True, update_filter=wanted) as upload:
        changed = _batch(2).block()
        vectors = {"": DenseBlock(np.full((2, 2), 9, np.float32))}
        block = PointBlock(changed.ids, vectors, changed.payload)
        assert upload(batch_of(block)).status is Status.APPLIED
    vectors = {p.id: p.vectors[""].tolist() for p in store.retrieve("c", [0, 1], with_vectors=True)}
    assert vectors == {0: [0, 1], 1: [9, 9]}


@pytest.mark.parametrize(
    "fault",
    [
        "rate_limit:0",
        "rate_limit:0.1",
        "timeout",
        "internal",
        "bad_gateway",
        "unavailable",
        "insufficient_storage",
        "drop_before",
        "drop_after",
        "garbage",
    ],
)
def test_what_passes_is_repeated(server: LocalServer, store: RestStore, fault: str) -> None:
    """A transient error costs one more request with the same bytes, and no points."""
    server.faults([fault], transport="rest")
    with _start(server, wait=True) as upload:
        result = upload(_batch())
    assert (result.status, result.attempts) == (Status.APPLIED, 2)
    assert [entry["bytes"] for entry in server.log()] == [result.bytes] * 2
    assert store.count("c") == 3


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("bad_request", errors.InvalidRequest),
        ("forbidden", errors.PermissionDenied),
        ("unauthenticated", errors.AuthenticationError),
        ("rate_limit", errors.RateLimited),
    ],
)
def test_what_does_not_pass_is_not_repeated(
    server: LocalServer, store: RestStore, fault: str, kind: type[errors.TransportError]
) -> None:
    """A refusal ends the batch at once, and its reason stands in the result."""
    server.faults([fault], transport="rest")
    with _start(server, wait=True) as upload:
        result = upload(_batch())
    assert (result.status, result.attempts) == (Status.FAILED, 1)
    assert type(result.error) is kind


def test_no_answer_leaves_a_batch_unknown(server: LocalServer, store: RestStore) -> None:
    """Where every attempt is dropped, nobody claims that the points failed; here they arrived."""
    server.faults(["drop_after*3"], transport="rest")
    with _start(server, wait=True) as upload:
        result = upload(_batch())
    assert (result.status, result.attempts) == (Status.UNKNOWN, 3)
    assert isinstance(result.error, errors.ConnectionLost)
    assert store.count("c") == 3


def test_a_lost_collection_is_an_error_of_the_collection(
    server: LocalServer, store: RestStore
) -> None:
    """A collection that is not there is told by its own class of errors."""
    with _start(server, collection="nowhere") as upload:
        body = upload.encode(_batch().block())
        with pytest.raises(errors.CollectionNotFound, match="`nowhere` doesn't exist"):
            upload.send(body)


def test_nan_fails_the_batch_without_a_request(server: LocalServer, store: RestStore) -> None:
    """What cannot be encoded is the batch's own failure."""
    batch = _batch()
    batch.block().vectors[""].values[1, 0] = np.nan
    with _start(server) as upload:
        result = upload(batch)
    assert (result.status, result.attempts) == (Status.FAILED, 0)
    assert server.log() == []


def test_a_body_over_the_limit_is_refused() -> None:
    """The server's limit ends a batch with an error of its own, sent once."""
    with LocalServer(max_request_size_mb=0.01) as server:
        upload = RestBatchUploader.start(server.rest_url, collection="c", retry=QUICK)
        with upload:
            result = upload(_batch(2000))
    assert type(result.error) is errors.RequestTooLarge
    assert (result.status, result.attempts) == (Status.FAILED, 1)


class _Saying(BaseHTTPRequestHandler):
    """Answers every upsert with the result that the server was given."""

    protocol_version = "HTTP/1.1"
    result: Any = None

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"result": self.result, "status": "ok", "time": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silence."""


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"operation_id": 1, "status": "clock_rejected"}, errors.ServerError),
        ({"operation_id": 1, "status": "something_new"}, errors.ServerError),
        ({"operation_id": 1}, errors.InvalidAnswer),
        (True, errors.InvalidAnswer),
        (None, errors.InvalidAnswer),
    ],
)
def test_only_known_statuses_are_successes(said: Any, kind: type[errors.TransportError]) -> None:
    """A success that does not say what became of the points is none."""
    handler = type("Saying", (_Saying,), {"result": said})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with (
            RestBatchUploader.start(
                f"http://127.0.0.1:{server.server_port}", collection="c"
            ) as upload,
            pytest.raises(kind),
        ):
            upload.send(b"{}")
        thread.join()


def test_a_waiting_write_outlasts_the_wait_of_the_server(
    server: LocalServer, store: RestStore
) -> None:
    """A wait of just the timeout is heard to its end; without waiting the timeout is sharp."""
    server.faults(["delay:0.6"], transport="rest")
    with _start(server, wait=True, timeout=0.3) as upload:
        began = time.monotonic()
        assert upload(_batch()).status is Status.APPLIED
        assert 0.6 <= time.monotonic() - began < GRACE
    server.faults(["delay:0.6"], transport="rest")
    with _start(server, timeout=0.3) as upload, pytest.raises(errors.RequestTimeout):
        upload.send(upload.encode(_batch().block()))


def test_no_secret_is_shown(server: LocalServer) -> None:
    """The uploader's repr names server and collection only."""
    with _start(server) as upload:
        assert repr(upload) == f"RestBatchUploader('{server.rest_url}', 'c')"


def test_results_travel_between_processes(server: LocalServer, store: RestStore) -> None:
    """A result with its error can be pickled, which workers in other processes rely on."""
    server.faults(["bad_request"], transport="rest")
    with _start(server) as upload:
        result = upload(_batch())
    copy = pickle.loads(pickle.dumps(result))
    assert str(copy.error) == str(result.error)
    assert type(copy.error) is errors.InvalidRequest


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("grpc://localhost", "no URL for REST"),
        ("folder", "has no scheme"),
        ("http://me:pw@localhost", "api_key="),
        ("localhost:6333", "'http://localhost:6333' is REST"),
    ],
)
def test_addresses_that_are_not_rest(uri: str, text: str) -> None:
    """Other transports, folders and mistakes are refused before anything is opened."""
    with pytest.raises(errors.InputError, match=text):
        RestBatchUploader.start(uri, collection="c")


def test_names_that_no_collection_has() -> None:
    """An empty name is found when the uploader is made."""
    with pytest.raises(errors.InputError, match="cannot be the name"):
        RestBatchUploader("http://localhost:6333", "", write=WriteOptions())


def test_the_default_port_is_qdrants() -> None:
    """A URL without a port means 6333, not the web's 80."""
    with RestBatchUploader.start("http://localhost", collection="c") as upload:
        assert repr(upload) == "RestBatchUploader('http://localhost:6333', 'c')"


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
        RestBatchUploader.start(collection="c", **options)
    with pytest.raises(errors.InputError) as expected:
        connect("http://localhost", **options)
    assert str(caught.value) == str(expected.value)
    assert "s3cret" not in str(caught.value)
