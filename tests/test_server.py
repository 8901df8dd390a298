"""The stand-in server answers as Qdrant does: the official client is the witness."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
import requests
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as proto

from tests.server import LocalServer

ROOT = Path(__file__).parents[1]
PLAIN = {"vectors": {"size": 4, "distance": "Dot"}}
NAMED = {
    "vectors": {
        "image": {"size": 4, "distance": "Dot"},
        "tokens": {
            "size": 2,
            "distance": "Dot",
            "multivector_config": {"comparator": "max_sim"},
        },
    },
    "sparse_vectors": {"words": {}},
}
VECTOR = [1.0, 2.0, 3.0, 4.0]


@pytest.fixture(scope="session")
def running() -> Iterator[LocalServer]:
    """One server for the whole file."""
    with LocalServer() as server:
        yield server
        assert server.complaints() == ""


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalServer]:
    """A server with keys."""
    with LocalServer(api_key="write", read_only_api_key="read") as server:
        headers = {"api-key": "write"}
        call(server, "PUT", "/collections/plain", json=PLAIN, headers=headers)
        yield server


@pytest.fixture
def server(running: LocalServer) -> LocalServer:
    """The server as new, with a plain and a named collection."""
    running.reset()
    create(running, "plain", PLAIN)
    create(running, "named", NAMED)
    return running


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, server: LocalServer) -> Iterator[QdrantClient]:
    """The official client, on either transport."""
    client = QdrantClient(
        url=server.rest_url,
        grpc_port=grpc_port(server),
        prefer_grpc=request.param == "grpc",
        timeout=10,
    )
    yield client
    client.close()


@pytest.fixture
def points(server: LocalServer) -> Iterator[proto.PointsStub]:
    """The official stub of the points service."""
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
        yield proto.PointsStub(channel)


def grpc_port(server: LocalServer) -> int:
    """The number behind the gRPC address."""
    return int(server.grpc_url.rpartition(":")[2])


def call(server: LocalServer, method: str, path: str, **options: Any) -> requests.Response:
    """One REST request."""
    return requests.request(method, server.rest_url + path, timeout=10, **options)


def create(server: LocalServer, name: str, definition: dict[str, Any]) -> None:
    """Create a collection over REST."""
    answer = call(server, "PUT", f"/collections/{name}", json=definition)
    assert answer.status_code == 200, answer.text


def put(
    server: LocalServer, body: Any, name: str = "plain", query: str = "wait=true"
) -> requests.Response:
    """Upsert a body, given as JSON or as bytes, over REST."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call(server, "PUT", f"/collections/{name}/points?{query}", data=data)


def count(server: LocalServer, name: str = "plain") -> int:
    """The exact number of points."""
    answer = call(server, "POST", f"/collections/{name}/points/count", json={"exact": True})
    return answer.json()["result"]["count"]


def error(answer: requests.Response) -> tuple[int, str]:
    """Status and text of a REST refusal."""
    return answer.status_code, answer.json()["status"]["error"]


def rows(*vectors: Any) -> dict[str, Any]:
    """A list body of these vectors, with ids from 0."""
    return {"points": [{"id": i, "vector": vector} for i, vector in enumerate(vectors)]}


def dense(*values: float) -> proto.Vectors:
    """An unnamed dense vector."""
    return proto.Vectors(vector=proto.Vector(dense=proto.DenseVector(data=values)))


def point(number: int = 1, vectors: proto.Vectors | None = None, **payload: Any) -> Any:
    """One point of a gRPC upsert."""
    return proto.PointStruct(
        id=proto.PointId(num=number), vectors=vectors or dense(*VECTOR), payload=payload
    )


def request(*points: Any, name: str = "plain", **options: Any) -> proto.UpsertPoints:
    """A gRPC upsert that waits."""
    options.setdefault("wait", True)
    return proto.UpsertPoints(collection_name=name, points=points, **options)


def trailing(refusal: Any) -> dict[str, str]:
    """The metadata behind a gRPC refusal."""
    return dict(refusal.trailing_metadata())


def refused(points: proto.PointsStub, message: proto.UpsertPoints) -> tuple[str, str]:
    """Code and text of a gRPC refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        points.Upsert(message, timeout=10)
    return caught.value.code().name, caught.value.details() or ""


class TestOfficialClient:
    """Every call of the official client that the tests of qframe need."""

    def test_life_of_a_collection(self, client: Any) -> None:
        """A collection is created, listed, described, changed and deleted."""
        client.create_collection(
            "c",
            vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
            strict_mode_config=models.StrictModeConfig(enabled=True, upsert_max_batchsize=7),
            metadata={"origin": "test"},
        )
        client.update_collection(
            "c", optimizers_config=models.OptimizersConfigDiff(indexing_threshold=20000)
        )
        info = client.get_collection("c")
        assert [c.name for c in client.get_collections().collections] == ["c", "named", "plain"]
        assert client.collection_exists("c")
        assert info.status == models.CollectionStatus.GREEN
        assert info.optimizer_status == models.OptimizersStatusOneOf.OK
        assert info.points_count == 0
        assert info.update_queue is not None
        assert info.update_queue.length == 0
        assert info.config.params.vectors.size == 4
        assert info.config.optimizer_config.indexing_threshold == 20000
        assert info.config.strict_mode_config.upsert_max_batchsize == 7
        assert info.config.metadata == {"origin": "test"}
        assert client.delete_collection("c")
        assert not client.collection_exists("c")

    def test_vectors_of_every_kind(self, client: Any) -> None:
        """Dense, multi, sparse and absent vectors read back as they were written."""
        words = models.SparseVector(indices=[7, 3], values=[1.0, 2.0])
        vectors: Any = {"image": VECTOR, "tokens": [[1.0, 2.0], [3.0, 4.0]], "words": words}
        key = "550e8400-e29b-41d4-a716-446655440000"
        result = client.upsert(
            "named",
            [
                models.PointStruct(id=1, vector=vectors, payload={"a": [1, None, {"b": 2.5}]}),
                models.PointStruct(id=key, vector={}, payload={"only": "payload"}),
            ],
            wait=True,
        )
        first, second = client.retrieve("named", [1, key], with_vectors=True)
        assert result.status == models.UpdateStatus.COMPLETED
        assert first.payload == {"a": [1, None, {"b": 2.5}]}
        assert first.vector["image"] == VECTOR
        assert first.vector["tokens"] == [[1.0, 2.0], [3.0, 4.0]]
        assert first.vector["words"] == models.SparseVector(indices=[3, 7], values=[2.0, 1.0])
        assert (second.id, second.vector, second.payload) == (key, {}, {"only": "payload"})

    def test_upload_and_read(self, client: Any) -> None:
        """Uploaded points are counted, scrolled, filtered, found and deleted."""
        client.upload_points(
            "plain",
            [
                models.PointStruct(
                    id=i, vector=[float(i), 0.0, 0.0, 0.0], payload={"n": i, "odd": i % 2}
                )
                for i in range(50)
            ],
            batch_size=20,
            wait=True,
        )
        even = models.Filter(
            must=[models.FieldCondition(key="odd", match=models.MatchValue(value=0))]
        )
        page, following = client.scroll("plain", limit=3, with_vectors=True)
        found = client.query_points("plain", query=[1.0, 0, 0, 0], limit=2, query_filter=even)
        assert client.count("plain").count == 50
        assert client.count("plain", count_filter=even).count == 25
        assert [record.id for record in page] == [0, 1, 2]
        assert page[2].vector == [2.0, 0.0, 0.0, 0.0]
        assert page[2].payload == {"n": 2, "odd": 0}
        assert following == 3
        assert [point.id for point in found.points] == [48, 46]
        client.delete("plain", points_selector=[0, 1], wait=True)
        client.delete("plain", points_selector=even, wait=True)
        assert client.count("plain").count == 24

    def test_payload_index(self, client: Any) -> None:
        """An index on a payload field shows in the collection's schema."""
        client.create_payload_index("plain", "n", models.PayloadSchemaType.INTEGER, wait=True)
        schema = client.get_collection("plain").payload_schema
        assert schema["n"].data_type == models.PayloadSchemaType.INTEGER

    def test_update_modes(self, client: Any) -> None:
        """insert_only leaves what is there, update_only what is not."""

        def upsert(marker: str, mode: models.UpdateMode) -> None:
            both = [models.PointStruct(id=i, vector=VECTOR, payload={"by": marker}) for i in (1, 2)]
            client.upsert("plain", both[: 1 if marker == "first" else 2], update_mode=mode)

        upsert("first", models.UpdateMode.UPSERT)
        upsert("update", models.UpdateMode.UPDATE_ONLY)
        upsert("insert", models.UpdateMode.INSERT_ONLY)
        found = client.retrieve("plain", [1, 2])
        assert [record.payload["by"] for record in found] == ["update", "insert"]

    def test_update_filter(self, client: Any) -> None:
        """Existing points that the filter does not match stay; new ones arrive anyway."""
        old = [models.PointStruct(id=i, vector=VECTOR, payload={"v": i}) for i in (1, 2)]
        new = [models.PointStruct(id=i, vector=VECTOR, payload={"v": 9}) for i in (1, 2, 3)]
        newer = models.FieldCondition(key="v", range=models.Range(lt=2))
        client.upsert("plain", old)
        client.upsert("plain", new, update_filter=models.Filter(must=[newer]))
        found = client.retrieve("plain", [1, 2, 3])
        assert [record.payload["v"] for record in found] == [9, 2, 9]

    def test_shard_keys(self, client: Any) -> None:
        """A custom-sharded collection takes points for the keys it was given."""
        client.create_collection(
            "c",
            vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT),
            sharding_method=models.ShardingMethod.CUSTOM,
        )
        client.create_shard_key("c", "eu")
        batch = [models.PointStruct(id=1, vector=VECTOR)]
        client.upsert("c", batch, shard_key_selector="eu")
        client.upsert(
            "c",
            batch,
            shard_key_selector=models.ShardKeyWithFallback(target="us", fallback="eu"),
        )
        for selector, text in [
            ("us", 'Wrong input: Shard key "us" not found'),
            (None, "Wrong input: Shard key not specified"),
        ]:
            for write, what in ((client.upsert, batch), (client.delete, [1])):
                with pytest.raises(Exception, match="Shard key") as caught:
                    write("c", what, shard_key_selector=selector)
                assert text in str(caught.value).replace("\\", "")
        client.delete("c", [1], shard_key_selector="eu", wait=True)
        assert client.count("c").count == 0


class TestReplies:
    """What a success looks like on the wire."""

    def test_acknowledged_and_completed(self, server: LocalServer) -> None:
        """wait=false is acknowledged, wait=true completed, and operations are numbered."""
        answers = [put(server, rows(VECTOR), query=q) for q in ("", "wait=false", "wait=true")]
        results = [answer.json()["result"] for answer in answers]
        statuses = [result["status"] for result in results]
        assert statuses == ["acknowledged", "acknowledged", "completed"]
        assert [result["operation_id"] for result in results] == [0, 1, 2]
        assert answers[0].json()["status"] == "ok"

    def test_wait_false_over_grpc(self, points: proto.PointsStub) -> None:
        """An absent wait means false."""
        reply = points.Upsert(proto.UpsertPoints(collection_name="plain", points=[point()]))
        assert reply.result.status == proto.UpdateStatus.Acknowledged

    def test_timeout_of_a_waiting_request(self, server: LocalServer) -> None:
        """A wait that outlasts its timeout is a success whose points come later."""
        server.faults(["apply_late:1.5"])
        answer = put(server, rows(VECTOR), query="wait=true&timeout=1")
        assert answer.status_code == 200
        assert answer.json()["result"]["status"] == "wait_timeout"
        assert count(server) == 0
        put(server, rows(VECTOR))
        assert count(server) == 1

    def test_queue_length(self, server: LocalServer) -> None:
        """What is queued behind a slow operation shows in the collection."""
        server.faults(["apply_late:1"])
        for _ in range(3):
            put(server, rows(VECTOR), query="")
        info = call(server, "GET", "/collections/plain").json()["result"]
        assert info["update_queue"]["length"] == 2

    def test_a_deletion_waits_its_turn(self, server: LocalServer) -> None:
        """A deletion stands in the queue like an upsert, and is told when its time is over."""
        server.faults(["apply_late:1.3"])
        put(server, rows(VECTOR), query="")
        nobody = {"filter": {"must": [{"has_id": [99]}]}}
        for expected in ("wait_timeout", "completed"):
            path = "/collections/plain/points/delete?wait=true&timeout=1"
            answer = call(server, "POST", path, json=nobody)
            assert answer.json()["result"]["status"] == expected
        assert count(server) == 1
        refused = call(server, "POST", path, json={"points": []})
        assert error(refused) == (400, "Bad request: Empty update request")

    def test_columns(self, server: LocalServer) -> None:
        """The columnar form stores named columns row by row."""
        batch = {
            "ids": [1, "550e8400e29b41d4a716446655440000"],
            "vectors": {
                "image": [VECTOR, VECTOR],
                "tokens": [[[1, 2]], [[3, 4], [5, 6]]],
                "words": [{"indices": [1], "values": [2]}, {"indices": [], "values": []}],
            },
            "payloads": [{"a": 1}, None],
        }
        assert put(server, {"batch": batch, "points": []}, "named").status_code == 200
        path = "/collections/named/points/scroll"
        found = call(server, "POST", path, json={"with_vector": True}).json()["result"]["points"]
        assert [record["id"] for record in found] == [1, "550e8400-e29b-41d4-a716-446655440000"]
        assert found[1]["vector"]["tokens"] == [[3.0, 4.0], [5.0, 6.0]]
        assert [record["payload"] for record in found] == [{"a": 1}, {}]

    def test_big_integers(self, server: LocalServer, points: proto.PointsStub) -> None:
        """Integers are exact up to 2**64-1 over REST and doubles beyond int64 over gRPC."""
        payload = {"exact": 2**64 - 1, "float": 2**64}
        put(server, {"points": [{"id": 1, "vector": VECTOR, "payload": payload}]})
        record = call(server, "POST", "/collections/plain/points", json={"ids": [1]}).json()
        assert record["result"][0]["payload"] == {"exact": 2**64 - 1, "float": 2.0**64}
        wanted = proto.GetPoints(collection_name="plain", ids=[proto.PointId(num=1)])
        assert points.Get(wanted).result[0].payload["exact"].double_value == 2.0**64

    def test_gzip(self, server: LocalServer) -> None:
        """A gzipped body is read, and noted."""
        body = gzip.compress(json.dumps(rows(VECTOR)).encode())
        path = "/collections/plain/points?wait=true"
        answer = call(server, "PUT", path, data=body, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 200
        assert server.log()[0]["content_encoding"] == "gzip"
        assert server.log()[0]["bytes"] == len(body)

    def test_unapplicable_batch_without_wait(self, server: LocalServer) -> None:
        """An unknown name is acknowledged and the batch dropped without a word."""
        answer = put(server, rows({"x": VECTOR}), "named", "wait=false")
        put(server, rows({}), "named")
        assert answer.status_code == 200
        assert count(server, "named") == 1

    def test_nan_vectors_over_grpc(self, points: proto.PointsStub) -> None:
        """NaN in a vector is taken over gRPC."""
        reply = points.Upsert(request(point(1, dense(float("nan"), 2, 3, 4))))
        assert reply.result.status == proto.UpdateStatus.Completed

    def test_id_spellings(self, server: LocalServer) -> None:
        """All spellings of a UUID are one point, read back in lower case with hyphens."""
        key = UUID("550e8400-e29b-41d4-a716-446655440000")
        for spelling in (str(key).upper(), key.hex, key.urn, f"{{{key}}}"):
            answer = put(server, {"points": [{"id": spelling, "vector": VECTOR}]})
            assert answer.status_code == 200, answer.text
        assert count(server) == 1

    def test_health(self, server: LocalServer) -> None:
        """The root tells the version, the probes are fine, gRPC says the same."""
        assert call(server, "GET", "/").json()["version"] == "1.19.0"
        for path in ("/healthz", "/readyz", "/livez"):
            assert call(server, "GET", path).status_code == 200
        with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
            reply = proto.QdrantStub(channel).HealthCheck(proto.HealthCheckRequest())
        assert reply.version == "1.19.0"


SPARSE = "points[0].vector.words"

REST_REFUSALS = {
    "truncated": ("plain", b'{"points":[', 400, "Format error in JSON body: "),
    "no body": ("plain", b"", 400, "Format error in JSON body: EOF"),
    "neither form": ("plain", {"rows": []}, 400, "Format error in JSON body: Invalid"),
    "NaN": (
        "plain",
        b'{"points":[{"id":1,"vector":[NaN,1,2,3]}]}',
        400,
        "Format error in JSON body: ",
    ),
    "null in a vector": ("plain", rows([1, None, 2, 3]), 400, "Format error in JSON body: "),
    "missing vector": ("plain", {"points": [{"id": 1}]}, 400, "Format error in JSON body: "),
    "deep payload": (
        "plain",
        {
            "points": [
                {"id": 1, "vector": VECTOR, "payload": {"a": json.loads("[" * 130 + "]" * 130)}}
            ]
        },
        400,
        "Format error in JSON body: recursion limit exceeded",
    ),
    "no points": ("plain", {"points": []}, 400, "Bad request: Empty update request"),
    "wrong dim": (
        "plain",
        rows([1, 2, 3]),
        400,
        "Wrong input: Vector dimension error: expected dim: 4, got 3",
    ),
    "wrong dim of a name": (
        "named",
        rows({"image": [1, 2, 3]}),
        400,
        "Wrong input: Vector dimension error: expected dim: 4, got 3 for vector 'image'",
    ),
    "wrong dim of a row": (
        "named",
        rows({"tokens": [[1, 2, 3]]}),
        400,
        "Wrong input: Vector dimension error: expected dim: 2, got 3 for vector 'tokens'",
    ),
    "unknown name": (
        "named",
        rows({"x": VECTOR}),
        400,
        "Wrong input: Not existing vector name error: x",
    ),
    "unnamed into named": (
        "named",
        rows(VECTOR),
        400,
        "Wrong input: Not existing vector name error: ",
    ),
    "dense into sparse": (
        "named",
        rows({"words": VECTOR}),
        400,
        "Wrong input: Conversion between sparse and regular vectors failed",
    ),
    "multi into dense": (
        "named",
        rows({"image": [VECTOR]}),
        400,
        "Wrong input: Conversion between multi and regular vectors failed",
    ),
    "empty dense": (
        "plain",
        rows([]),
        422,
        "Validation error in JSON body: [points[0].vector: dense vector must not be empty]",
    ),
    "ragged multi": (
        "named",
        rows({"tokens": [[1, 2], [3]]}),
        422,
        "Validation error in JSON body: [points[0].vector.tokens: all vectors must have the "
        "same dimension, found vector with dimension 1]",
    ),
    "empty row": (
        "named",
        rows({"tokens": [[]]}),
        422,
        "Validation error in JSON body: [points[0].vector.tokens: all vectors must be non-empty]",
    ),
    "sparse lengths": (
        "named",
        rows({"words": {"indices": [1, 2], "values": [1]}}),
        422,
        f"Validation error in JSON body: [{SPARSE}.values: must be the same length as indices]",
    ),
    "sparse duplicates": (
        "named",
        rows({"words": {"indices": [1, 1], "values": [1, 2]}}),
        422,
        f"Validation error in JSON body: [{SPARSE}.indices: must be unique]",
    ),
    "sparse index": (
        "named",
        rows({"words": {"indices": [2**32], "values": [1]}}),
        400,
        "Format error in JSON body: ",
    ),
    "unequal columns": (
        "plain",
        {"batch": {"ids": [1, 2], "vectors": [VECTOR]}},
        422,
        "Validation error in JSON body: [batch: number of ids and vectors must be equal (2 != 1)]",
    ),
    "unequal named columns": (
        "named",
        {"batch": {"ids": [1, 2], "vectors": {"image": [VECTOR]}}},
        422,
        "Validation error in JSON body: [batch: number of ids and vectors must be equal (2 != 1)]",
    ),
    "unequal payloads": (
        "plain",
        {"batch": {"ids": [1], "vectors": [VECTOR], "payloads": []}},
        422,
        "Validation error in JSON body: [batch: number of ids and payloads must be equal (1 != 0)]",
    ),
    "null in a column": (
        "named",
        {"batch": {"ids": [1], "vectors": {"image": [None]}}},
        400,
        "Format error in JSON body: ",
    ),
    "missing collection": (
        "absent",
        rows(VECTOR),
        404,
        "Not found: Collection `absent` doesn't exist!",
    ),
}


class TestRestRefusals:
    """What is wrong is refused with the status and the words of the real server."""

    @pytest.mark.parametrize("case", REST_REFUSALS)
    def test_upsert(self, server: LocalServer, case: str) -> None:
        """A malformed or unfitting upsert is refused, and nothing of it is stored."""
        name, body, status, text = REST_REFUSALS[case]
        found = error(put(server, body, name))
        assert found[0] == status
        assert found[1] == text or (text.startswith("Format") and found[1].startswith(text))
        if name != "absent":
            assert count(server, name) == 0

    @pytest.mark.parametrize("key", [-1, 2**64, 1.5, True, None, "123", "no uuid", [1]])
    def test_bad_id(self, server: LocalServer, key: Any) -> None:
        """Only unsigned integers of 64 bits and UUIDs are ids."""
        status, text = error(put(server, {"points": [{"id": key, "vector": VECTOR}]}))
        assert status == 400
        assert text.startswith("Format error in JSON body: value ")
        assert text.endswith(
            " is not a valid point ID, valid values are either an unsigned integer or a UUID"
        )

    def test_dimension_without_wait(self, server: LocalServer) -> None:
        """A wrong dimension is noticed before the acknowledgement."""
        assert put(server, rows([1, 2]), query="wait=false").status_code == 400

    @pytest.mark.parametrize(
        ("query", "status"),
        [("wait=maybe", 400), ("ordering=odd", 400), ("timeout=x", 400), ("timeout=0", 422)],
    )
    def test_parameters(self, server: LocalServer, query: str, status: int) -> None:
        """Query parameters are read strictly."""
        assert put(server, rows(VECTOR), query=query).status_code == status

    @pytest.mark.parametrize("name", ["a:b", "a%3Fb", "a%2Fb", "a*b", "x" * 256])
    def test_collection_name(self, server: LocalServer, name: str) -> None:
        """Names that no file system likes are refused at creation."""
        status, text = error(call(server, "PUT", f"/collections/{name}", json=PLAIN))
        assert status == 422
        assert text.startswith("Validation error in path parameters: [name: ")

    @pytest.mark.parametrize("size", [0, 65537])
    def test_dimension_of_a_collection(self, server: LocalServer, size: int) -> None:
        """A vector has 1 to 65536 dimensions."""
        body = {"vectors": {"size": size, "distance": "Dot"}}
        status, text = error(call(server, "PUT", "/collections/c", json=body))
        assert status == 422
        assert f"value {size} invalid, must be from 1 to 65536" in text

    def test_collection_that_exists(self, server: LocalServer) -> None:
        """Creating twice is a conflict."""
        answer = call(server, "PUT", "/collections/plain", json=PLAIN)
        assert error(answer) == (409, "Wrong input: Collection `plain` already exists!")

    def test_body_over_the_limit(self) -> None:
        """A body that says it is too long is refused unread, a chunked one while it comes."""
        with LocalServer(max_request_size_mb=0.25) as small:
            create(small, "plain", PLAIN)
            body = b" " * 300_000
            announced = put(small, body)
            path = f"{small.rest_url}/collections/plain/points"
            chunked = requests.put(path, data=iter([body[:200_000], body[:100_000]]), timeout=10)
            zipped = {"Content-Encoding": "gzip"}
            inflated = requests.put(path, data=gzip.compress(body), headers=zipped, timeout=10)
        limit = 256 * 1024
        assert error(announced) == (
            400,
            f"JSON payload (300000 bytes) is larger than allowed (limit: {limit} bytes).",
        )
        overflow = (400, f"JSON payload has exceeded limit ({limit} bytes).")
        assert error(chunked) == overflow
        assert error(inflated) == overflow


def field(number: int, content: bytes) -> bytes:
    """One field of a message, by hand: the stubs do not build what they would not read."""
    length = len(content)
    low, high = length & 0x7F, length >> 7
    return bytes([number << 3 | 2, *([low | 0x80, high] if high else [low])]) + content


def nested(depth: int, kind: str) -> bytes:
    """An upsert with a value inside that many objects or lists."""
    value = proto.Value(integer_value=1).SerializeToString()
    for _ in range(depth):
        if kind == "object":
            value = field(6, field(1, field(1, b"a") + field(2, value)))
        else:
            value = field(7, field(1, value))
    payload = field(3, field(1, b"x") + field(2, value))
    return b"\x10\x01" + field(1, b"plain") + field(3, payload + point().SerializeToString())


class TestGrpcRefusals:
    """The same over gRPC, with its codes."""

    def test_points(self, points: proto.PointsStub, server: LocalServer) -> None:
        """What REST refuses for its content, gRPC refuses too."""
        key = proto.PointId
        sparse = proto.SparseVector(indices=[1, 1], values=[1, 2])
        unnamed = proto.Vectors(vector=proto.Vector(sparse=sparse))
        named = proto.Vectors(
            vectors=proto.NamedVectors(vectors={"words": proto.Vector(sparse=sparse)})
        )
        ragged = proto.MultiDenseVector(
            vectors=[proto.DenseVector(data=[1, 2]), proto.DenseVector(data=[1])]
        )
        tokens = proto.Vectors(
            vectors=proto.NamedVectors(vectors={"tokens": proto.Vector(multi_dense=ragged)})
        )
        unknown = proto.Vectors(
            vectors=proto.NamedVectors(
                vectors={"x": proto.Vector(dense=proto.DenseVector(data=[1]))}
            )
        )
        nan = proto.Value(double_value=float("nan"))
        odd = proto.PointId(uuid="odd")
        cases = [
            (request(), "Bad request: Empty update request"),
            (request(proto.PointStruct(id=key(num=1))), "Expected some vectors"),
            (request(proto.PointStruct(vectors=dense(1))), "No ID options provided"),
            (
                request(proto.PointStruct(id=odd, vectors=dense(1))),
                "Unable to parse UUID: odd",
            ),
            (request(point(1, unnamed)), "Sparse vector must be named"),
            (request(point(1, x=nan)), "cannot convert to json number"),
            (
                request(point(1, dense(1, 2))),
                "Wrong input: Vector dimension error: expected dim: 4, got 2",
            ),
            (
                request(point(1, dense())),
                "Validation error in body: [points[0].vector: dense vector must not be empty]",
            ),
            (
                request(point(1, named), name="named"),
                f"Validation error in body: [{SPARSE}.indices: must be unique]",
            ),
            (
                request(point(1, tokens), name="named"),
                "Validation error in body: [points[0].vector.tokens: all vectors must have the "
                "same dimension, found vector with dimension 1]",
            ),
            (
                request(point(1, unknown), name="named"),
                "Wrong input: Not existing vector name error: x",
            ),
        ]
        for message, text in cases:
            assert refused(points, message) == ("INVALID_ARGUMENT", text)
        assert count(server) == count(server, "named") == 0

    def test_missing_collection(self, points: proto.PointsStub) -> None:
        """A collection that is not there is NOT_FOUND."""
        code, text = refused(points, request(point(), name="absent"))
        assert (code, text) == ("NOT_FOUND", "Not found: Collection `absent` doesn't exist!")

    @pytest.mark.parametrize(("kind", "deepest"), [("object", 32), ("list", 48)])
    def test_depth(self, server: LocalServer, kind: str, deepest: int) -> None:
        """A payload is decoded as deep as prost goes, and no deeper."""
        with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
            upsert: Any = channel.unary_unary("/qdrant.Points/Upsert")
            upsert(nested(deepest, kind), timeout=10)
            with pytest.raises(grpc.RpcError) as caught:
                upsert(nested(deepest + 1, kind), timeout=10)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        text = "failed to decode Protobuf message: recursion limit reached"
        assert caught.value.details() == text
        assert count(server) == 1

    def test_bytes_that_are_no_message(self, server: LocalServer) -> None:
        """Rubbish is an internal error, as the real server has it."""
        with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:
            upsert: Any = channel.unary_unary("/qdrant.Points/Upsert")
            with pytest.raises(grpc.RpcError) as caught:
                upsert(b"\xff\xff\xff", timeout=10)
        assert caught.value.code() is grpc.StatusCode.INTERNAL

    def test_method_that_is_not_served(self, points: proto.PointsStub) -> None:
        """What this server does not do, it says."""
        with pytest.raises(grpc.RpcError) as caught:
            points.Facet(proto.FacetCounts(collection_name="plain"), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


class TestKeys:
    """Who may come in, and how far."""

    @pytest.mark.parametrize(
        ("headers", "status", "text"),
        [
            ({}, 401, "Must provide an API key or an Authorization bearer token"),
            ({"api-key": "no"}, 401, "Invalid API key or JWT"),
            ({"Authorization": "Bearer no"}, 401, "Invalid API key or JWT"),
            (
                {"Authorization": "bearer write"},
                401,
                "Must provide an API key or an Authorization bearer token",
            ),
            ({"api-key": "no", "Authorization": "Bearer write"}, 401, "Invalid API key or JWT"),
            ({"api-key": "read"}, 403, "Forbidden: Global manage access is required"),
            ({"api-key": "write"}, 200, "completed"),
            ({"Authorization": "Bearer write"}, 200, "completed"),
        ],
    )
    def test_rest(
        self, guarded: LocalServer, headers: dict[str, str], status: int, text: str
    ) -> None:
        """401 is plain text, 403 is JSON, and the api-key header wins."""
        path = "/collections/plain/points?wait=true"
        answer = call(guarded, "PUT", path, json=rows(VECTOR), headers=headers)
        assert answer.status_code == status
        assert text in answer.text
        assert (answer.text == text) == (status == 401)

    @pytest.mark.parametrize(
        ("metadata", "code"),
        [
            ((), "UNAUTHENTICATED"),
            ((("api-key", "no"),), "UNAUTHENTICATED"),
            ((("api-key", "read"),), "PERMISSION_DENIED"),
            ((("api-key", "write"),), "OK"),
            ((("authorization", "Bearer write"),), "OK"),
        ],
    )
    def test_grpc(
        self, guarded: LocalServer, metadata: tuple[tuple[str, str], ...], code: str
    ) -> None:
        """The keys travel as metadata."""
        with grpc.insecure_channel(guarded.grpc_url.removeprefix("grpc://")) as channel:
            stub = proto.PointsStub(channel)
            try:
                stub.Upsert(request(point()), metadata=metadata, timeout=10)
                found = "OK"
            except grpc.RpcError as refusal:
                found = refusal.code().name
        assert found == code
        assert guarded.log()[-1]["status"] == code

    def test_without_a_key(self, guarded: LocalServer) -> None:
        """The probes need no key, and a read-only key reads."""
        assert call(guarded, "GET", "/").status_code == 200
        assert call(guarded, "GET", "/readyz").status_code == 200
        with grpc.insecure_channel(guarded.grpc_url.removeprefix("grpc://")) as channel:
            proto.QdrantStub(channel).HealthCheck(proto.HealthCheckRequest(), timeout=10)
        reading = call(guarded, "GET", "/collections/plain", headers={"api-key": "read"})
        assert reading.status_code == 200

    def test_log(self, guarded: LocalServer) -> None:
        """The log says which header carried the key, and never the key."""
        guarded.reset(collections=False)
        path = "/collections/plain/points"
        for headers in ({"api-key": "write"}, {"Authorization": "Bearer write"}, {}):
            call(guarded, "PUT", path, json=rows(VECTOR), headers=headers)
        log = guarded.log()
        assert [entry["key_header"] for entry in log] == ["api-key", "authorization", None]
        assert [entry["status"] for entry in log] == [200, 200, 401]
        assert "write" not in json.dumps(log)


class TestStrictMode:
    """Limits of a collection."""

    def test_batch_size(self, server: LocalServer) -> None:
        """Too many points in one request are refused."""
        create(server, "c", {**PLAIN, **strict(upsert_max_batchsize=2)})
        assert put(server, rows(VECTOR, VECTOR), "c").ok
        assert error(put(server, rows(VECTOR, VECTOR, VECTOR), "c")) == (
            400,
            'Bad request: Limit exceeded 3 > 2 for "upsert limit". '
            'Help: Reduce the "upsert limit" parameter to or below 2.',
        )

    def test_points_count(self, server: LocalServer) -> None:
        """A full collection takes no more."""
        create(server, "c", {**PLAIN, **strict(max_points_count=2)})
        assert put(server, rows(VECTOR, VECTOR), "c").ok
        refusal = (400, "Bad request: Max points count limit of 2 reached!")
        assert error(put(server, rows(VECTOR), "c")) == refusal

    def test_disabled(self, server: LocalServer) -> None:
        """Limits without ``enabled`` limit nothing."""
        config = {"strict_mode_config": {"enabled": False, "upsert_max_batchsize": 1}}
        create(server, "c", {**PLAIN, **config})
        assert put(server, rows(VECTOR, VECTOR), "c").ok

    def test_write_rate(self, server: LocalServer) -> None:
        """The bucket starts full; beyond it one waits, and beyond its size one splits."""
        create(server, "c", {**PLAIN, **strict(write_rate_limit=4)})
        assert put(server, rows(VECTOR, VECTOR, VECTOR), "c").ok
        later = put(server, rows(VECTOR, VECTOR), "c")
        never = put(server, rows(*[VECTOR] * 5), "c")
        assert error(later) == (
            429,
            "Rate limiting exceeded: Write rate limit exceeded: Operation requires 2 tokens "
            "but only 1 were available. Retry after 15s",
        )
        assert later.headers["Retry-After"] == "15"
        assert never.status_code == 429
        assert "Retry-After" not in never.headers
        assert never.json()["status"]["error"].endswith("please try to split your request")

    def test_write_rate_over_grpc(self, server: LocalServer, points: proto.PointsStub) -> None:
        """The seconds to wait come as metadata."""
        create(server, "c", {**PLAIN, **strict(write_rate_limit=1)})
        points.Upsert(request(point(), name="c"))
        with pytest.raises(grpc.RpcError) as caught:
            points.Upsert(request(point(), name="c"))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert trailing(caught.value)["retry-after"] == "60"


def strict(**limits: int) -> dict[str, Any]:
    """A strict mode with these limits."""
    return {"strict_mode_config": {"enabled": True, **limits}}


REFUSING_FAULTS = {
    "bad_request": (400, "INVALID_ARGUMENT"),
    "unauthenticated": (401, "UNAUTHENTICATED"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "not_found": (404, "NOT_FOUND"),
    "timeout": (408, "DEADLINE_EXCEEDED"),
    "rate_limit": (429, "RESOURCE_EXHAUSTED"),
    "internal": (500, "INTERNAL"),
    "precondition": (500, "FAILED_PRECONDITION"),
    "bad_gateway": (502, "UNAVAILABLE"),
    "unavailable": (503, "UNAVAILABLE"),
    "insufficient_storage": (507, "RESOURCE_EXHAUSTED"),
}


class TestFaults:
    """Misfortunes on demand."""

    @pytest.mark.parametrize("fault", REFUSING_FAULTS)
    def test_refusals(self, server: LocalServer, points: proto.PointsStub, fault: str) -> None:
        """A refusal befalls one upsert, stores nothing, and the next one passes."""
        server.faults([f"{fault}*2"])
        status, code = REFUSING_FAULTS[fault]
        assert put(server, rows(VECTOR)).status_code == status
        assert refused(points, request(point()))[0] == code
        assert count(server) == 0
        assert put(server, rows(VECTOR)).status_code == 200
        assert [entry["status"] for entry in server.log()] == [status, code, 200]
        assert [entry["fault"] for entry in server.log()] == [fault, fault, None]

    def test_transports(self, server: LocalServer, points: proto.PointsStub) -> None:
        """A fault for one transport leaves the other alone."""
        server.faults(["unavailable"], transport="grpc")
        assert put(server, rows(VECTOR)).status_code == 200
        assert server.pending_faults() == ["unavailable"]
        assert refused(points, request(point()))[0] == "UNAVAILABLE"

    @pytest.mark.parametrize("value", ["2", "0", "1.5"])
    @pytest.mark.parametrize("fault", ["rate_limit", "unavailable"])
    def test_retry_after(
        self, server: LocalServer, points: proto.PointsStub, fault: str, value: str
    ) -> None:
        """Retry-After goes out as it was asked for."""
        server.faults([f"{fault}:{value}*2"])
        assert put(server, rows(VECTOR)).headers["Retry-After"] == value
        with pytest.raises(grpc.RpcError) as caught:
            points.Upsert(request(point()))
        assert trailing(caught.value)["retry-after"] == value

    def test_retry_after_date(self, server: LocalServer) -> None:
        """Retry-After can be a date."""
        server.faults(["rate_limit:date+60"])
        header = put(server, rows(VECTOR)).headers["Retry-After"]
        ahead = parsedate_to_datetime(header) - datetime.now(UTC)
        assert 50 < ahead.total_seconds() <= 60

    def test_insufficient_storage_metadata(
        self, server: LocalServer, points: proto.PointsStub
    ) -> None:
        """A full disk is told from a rate limit by its metadata."""
        server.faults(["insufficient_storage"])
        with pytest.raises(grpc.RpcError) as caught:
            points.Upsert(request(point()))
        assert trailing(caught.value)["qdrant-insufficient-storage"] == "1"

    def test_delay(self, server: LocalServer) -> None:
        """A delayed request is served in the end."""
        server.faults(["delay:0.3"])
        started = time.monotonic()
        assert put(server, rows(VECTOR)).ok
        assert time.monotonic() - started >= 0.3

    def test_wait_timeout(self, server: LocalServer, points: proto.PointsStub) -> None:
        """wait_timeout is a success, and the points come later."""
        server.faults(["wait_timeout:0.4", "wait_timeout:0.1"])
        assert put(server, rows(VECTOR)).json()["result"]["status"] == "wait_timeout"
        assert count(server) == 0
        reply = points.Upsert(request(point(7)))
        assert reply.result.status == proto.UpdateStatus.WaitTimeout
        put(server, rows(VECTOR))
        assert count(server) == 2

    def test_lose(self, server: LocalServer) -> None:
        """What is found wrong when it is applied was acknowledged, unless somebody waited."""
        server.faults(["lose*2"])
        assert put(server, rows(VECTOR), query="").json()["result"]["status"] == "acknowledged"
        status, text = error(put(server, rows(VECTOR)))
        assert (status, text.partition(":")[0]) == (400, "Wrong input")
        assert count(server) == 0
        info = call(server, "GET", "/collections/plain").json()["result"]
        assert (info["status"], info["optimizer_status"]) == ("green", "ok")

    @pytest.mark.parametrize(
        ("fault", "stored", "optimizer"), [("red", 0, "ok"), ("red:oops", 1, {"error": "oops"})]
    )
    def test_red(self, server: LocalServer, fault: str, stored: int, optimizer: Any) -> None:
        """A collection turns red when an operation fails, and when the optimiser does."""
        server.faults([fault])
        put(server, rows(VECTOR), query="")
        nobody = {"filter": {"must": [{"has_id": [99]}]}}
        assert call(server, "POST", "/collections/plain/points/delete?wait=true", json=nobody).ok
        assert count(server) == stored
        info = call(server, "GET", "/collections/plain").json()["result"]
        assert (info["status"], info["optimizer_status"]) == ("red", optimizer)

    @pytest.mark.parametrize(("fault", "stored"), [("drop_before", 0), ("drop_after", 1)])
    def test_drops(
        self, server: LocalServer, points: proto.PointsStub, fault: str, stored: int
    ) -> None:
        """The connection closes without an answer; only the count tells what happened."""
        server.faults([fault])
        with pytest.raises(requests.ConnectionError):
            put(server, rows(VECTOR))
        assert count(server) == stored
        server.faults([fault])
        assert refused(points, request(point(7)))[0] == "UNAVAILABLE"
        assert count(server) == 2 * stored
        assert [entry["status"] for entry in server.log()] == ["dropped", "dropped"]

    def test_garbage(self, server: LocalServer, points: proto.PointsStub) -> None:
        """A success that does not parse is stored all the same."""
        server.faults(["garbage*2"])
        answer = put(server, rows(VECTOR))
        assert answer.status_code == 200
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
        assert refused(points, request(point(7)))[0] == "INTERNAL"
        assert count(server) == 2

    @pytest.mark.parametrize("spec", ["meteor", "delay:soon", "internal:5"])
    def test_unknown(self, server: LocalServer, spec: str) -> None:
        """A fault that does not exist is refused at once."""
        with pytest.raises(OSError, match="400"):
            server.faults([spec])

    def test_official_client_reads_them(self, server: LocalServer) -> None:
        """The official client understands the rate limit as it comes."""
        server.faults(["rate_limit:2"], transport="rest")
        client = QdrantClient(url=server.rest_url, timeout=10)
        with pytest.raises(Exception, match="Rate limiting exceeded") as caught:
            client.upsert("plain", [models.PointStruct(id=1, vector=VECTOR)])
        client.close()
        assert caught.value.retry_after_s == 2  # type: ignore[attr-defined]


class TestLasting:
    """What is refused for as long as it is not changed."""

    ID = "5f6d2c10-3b1e-4c7a-9a53-0d6f3f6f1c2b"

    def test_poison(self, server: LocalServer, points: proto.PointsStub) -> None:
        """An upsert that holds the point is refused as a whole, each time, others are not."""
        server.poison([1, self.ID.upper()])
        text = "the point's id is 1, and such a point is poison: a fault that lasts"
        for _ in range(2):
            assert error(put(server, rows(VECTOR, VECTOR))) == (400, f"Wrong input: {text}")
            message = request(point(0), point(1))
            assert refused(points, message) == ("INVALID_ARGUMENT", f"Wrong input: {text}")
        uuid = {"points": [{"id": self.ID.replace("-", ""), "vector": VECTOR}]}
        assert put(server, uuid).status_code == 400
        assert count(server) == 0
        assert put(server, rows(VECTOR)).ok
        assert [entry["fault"] for entry in server.log()] == ["poison"] * 5 + [None]
        server.reset(collections=False)
        assert put(server, rows(VECTOR, VECTOR)).ok

    def test_poison_over_faults(self, server: LocalServer) -> None:
        """What is queued befalls the next upsert without poison."""
        server.poison([0])
        server.faults(["internal"])
        assert put(server, rows(VECTOR)).status_code == 400
        assert server.pending_faults() == ["internal"]
        server.poison([])
        assert put(server, rows(VECTOR)).status_code == 500

    def test_shrink(self, server: LocalServer, points: proto.PointsStub) -> None:
        """An upsert of too many points never passes, and is told to be split."""
        server.shrink(1)
        answer = put(server, rows(VECTOR, VECTOR))
        assert answer.status_code == 429
        assert "Retry-After" not in answer.headers
        assert error(answer)[1].endswith("please try to split your request")
        with pytest.raises(grpc.RpcError) as caught:
            points.Upsert(request(point(0), point(1)))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert trailing(caught.value) == {}
        assert count(server) == 0
        assert put(server, rows(VECTOR)).ok
        points.Upsert(request(point(7)))
        server.shrink(None)
        assert put(server, rows(VECTOR, VECTOR)).ok

    def test_limit_of_the_body(self, server: LocalServer, points: proto.PointsStub) -> None:
        """An upsert of too many bytes is refused by both transports."""
        server.limit_body(100)
        assert error(put(server, rows(VECTOR, VECTOR, VECTOR))) == (
            400,
            "JSON payload (141 bytes) is larger than allowed (limit: 100 bytes).",
        )
        large = request(point(0), point(1), point(2), point(3))
        assert refused(points, large) == (
            "OUT_OF_RANGE",
            f"Error, decoded message length too large: found {large.ByteSize()} bytes, "
            "the limit is: 100 bytes",
        )
        assert put(server, rows(VECTOR)).ok
        points.Upsert(request(point(7)))
        assert count(server) == 2


class TestProcess:
    """The child and the hand that steers it."""

    def test_log(self, server: LocalServer, points: proto.PointsStub) -> None:
        """An upsert leaves its transport, its size and its wishes."""
        body = {**rows(VECTOR, VECTOR), "update_mode": "insert_only"}
        put(server, body, query="wait=true&ordering=strong&timeout=9")
        message = request(point(5), ordering=proto.WriteOrdering(type=proto.Medium))
        points.Upsert(message)
        rest, rpc = server.log()
        assert rest["transport"] == "rest"
        assert rest["collection"] == rpc["collection"] == "plain"
        assert (rest["points"], rpc["points"]) == (2, 1)
        assert (rest["first_id"], rpc["first_id"]) == ("0", "5")
        assert rest["bytes"] == len(json.dumps(body))
        assert rpc["bytes"] == message.ByteSize()
        assert (rest["wait"], rest["ordering"], rest["timeout"]) == (True, "strong", 9)
        assert rpc["ordering"] == "medium"
        assert rest["update_mode"] == "insert_only"
        assert rest["user_agent"].startswith("python-requests/")
        assert rpc["user_agent"].startswith("grpc-python/")
        assert (rest["status"], rpc["status"]) == (200, "OK")
        assert rest["started"] <= rest["finished"] <= rpc["started"]
        server.reset()
        assert server.log() == []

    def test_kill_and_restart(self) -> None:
        """What was completed survives a kill, at the same address."""
        with LocalServer() as server:
            create(server, "plain", PLAIN)
            put(server, rows(*[VECTOR] * 500))
            before = (server.rest_url, server.grpc_url, server.pid)
            server.kill()
            server.restart()
            assert (server.rest_url, server.grpc_url) == before[:2]
            assert server.pid != before[2]
            assert count(server) == 500
            server.restart()
            assert count(server) == 500

    def test_own_directory(self, tmp_path: Path) -> None:
        """A directory that was given is kept."""
        for _ in range(2):
            with LocalServer(data=tmp_path) as server:
                call(server, "PUT", "/collections/plain", json=PLAIN)
        assert len(list(tmp_path.glob("*/collection.json"))) == 1

    def test_child_that_does_not_come_up(self, tmp_path: Path) -> None:
        """The reason is in the message."""
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "collection.json").write_text("{")
        with pytest.raises(RuntimeError, match="JSONDecodeError"), LocalServer(data=tmp_path):
            pass

    def test_keep_alive(self) -> None:
        """One connection serves many requests, until it idles for too long."""
        with LocalServer(keep_alive=0.3) as server:
            connection = http.client.HTTPConnection(server.rest_url.removeprefix("http://"))
            for _ in range(2):
                connection.request("GET", "/")
                assert connection.getresponse().read()
            time.sleep(0.6)
            connection.sock.setblocking(True)
            assert connection.sock.recv(1) == b""
            connection.close()

    @pytest.mark.parametrize("how", ["stdin", "signal"])
    def test_end(self, how: str) -> None:
        """The server leaves when told to, or when its parent is gone."""
        command = [sys.executable, "-m", "tests.server", "--exit-with-stdin"]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert json.loads(child.stdout.readline())["pid"] == child.pid
            if how == "stdin":
                child.stdin.close()
            else:
                child.send_signal(signal.SIGTERM)
            assert child.wait(timeout=10) == 0

    def test_speed(self, server: LocalServer) -> None:
        """Ten thousand points of 64 dimensions arrive within seconds."""
        create(server, "c", {"vectors": {"size": 64, "distance": "Dot"}})
        vector = [0.5] * 64
        started = time.monotonic()
        for first in range(0, 10_000, 1000):
            ids = range(first, first + 1000)
            put(server, {"points": [{"id": i, "vector": vector} for i in ids]}, "c", "")
        put(server, {"points": [{"id": 0, "vector": vector}]}, "c")
        assert time.monotonic() - started < 10
        assert count(server, "c") == 10_000


def test_an_interrupt_is_not_for_the_server(server: LocalServer) -> None:
    """Ctrl-C and a notebook's ■ go to a whole process group; the server is in one of its own."""
    assert os.getpgid(server.pid) != os.getpgid(0)
