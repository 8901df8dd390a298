"""Collections over gRPC: made, described, read, searched, removed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, grpc, models

from qframe import errors
from qframe._wire import messages as wire
from qframe.points import VectorKind
from qframe.schema import DISTANCES, CollectionSchema, VectorSchema
from qframe.stores.grpc import GrpcStore, _creation, _read_vector
from tests.server import LocalServer

DENSE, MULTI, SPARSE = VectorKind.DENSE, VectorKind.MULTI, VectorKind.SPARSE
ID = "936da01f-9abd-4d9d-80c7-02af85c822a8"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """Run one server for the tests of this file."""
    with LocalServer() as server:
        yield server


@pytest.fixture
def store(server: LocalServer) -> Iterator[GrpcStore]:
    """The collections of the server, of which there are none yet."""
    server.reset()
    with GrpcStore(*_address(server)) as store:
        yield store


@pytest.fixture
def official(server: LocalServer, store: GrpcStore) -> Iterator[QdrantClient]:
    """The official client, to look from another side."""
    client = QdrantClient(url=server.rest_url)
    yield client
    client.close()


def _address(server: LocalServer) -> tuple[str, int]:
    host, _, port = server.grpc_url.removeprefix("grpc://").rpartition(":")
    return host, int(port)


def _schema(**settings: Any) -> CollectionSchema:
    return CollectionSchema({"": VectorSchema(DENSE, 2, "dot")}, settings)


# ---- The server ----


def test_version(store: GrpcStore) -> None:
    """The version is that of the server, as three numbers."""
    assert store.version() == (1, 19, 0)


def test_version_of_a_development_build() -> None:
    """A suffix behind the version does not matter."""
    with LocalServer(version="1.20.1-dev") as server, GrpcStore(*_address(server)) as store:
        assert store.version() == (1, 20, 1)


def test_something_else_than_qdrant() -> None:
    """A server that names no version is not taken for Qdrant."""
    strange = pytest.raises(errors.InvalidAnswer, match="does not look like Qdrant")
    with LocalServer(version="unknown") as server, GrpcStore(*_address(server)) as store, strange:
        store.version()


# ---- Made and described ----


@pytest.mark.parametrize("distance", DISTANCES)
def test_unnamed_vector(store: GrpcStore, official: QdrantClient, distance: str) -> None:
    """An unnamed vector is created without a name, and described as it was asked for."""
    schema = CollectionSchema({"": VectorSchema(DENSE, 3, distance)})
    store.create("c", schema)
    found = store.describe("c")
    assert found is not None
    assert (found.name, found.points, found.custom_sharding) == ("c", 0, False)
    assert (found.max_batch_points, found.max_points) == (None, None)
    assert {name: (one.kind, one.size, one.distance) for name, one in found.vectors.items()} == {
        "": (DENSE, 3, distance)
    }
    params = official.get_collection("c").config.params.vectors
    assert isinstance(params, models.VectorParams)
    assert params.distance.value.lower() == distance


def test_vectors_of_every_kind(store: GrpcStore, official: QdrantClient) -> None:
    """Named dense, multi and sparse vectors are created and described, with their settings."""
    vectors = {
        "dense": VectorSchema(DENSE, 4, "cosine", {"on_disk": True, "datatype": "float16"}),
        "multi": VectorSchema(MULTI, 2, "dot"),
        "sparse": VectorSchema(SPARSE, settings={"modifier": "idf", "index": {"on_disk": True}}),
    }
    store.create("c", CollectionSchema(vectors))
    found = store.describe("c")
    assert found is not None
    assert dict(found.vectors) == {
        **vectors,
        "multi": VectorSchema(MULTI, 2, "dot", {"multivector_config": {"comparator": "max_sim"}}),
    }
    params = official.get_collection("c").config.params
    assert (
        params.vectors["multi"].multivector_config.comparator
        is models.MultiVectorComparator.MAX_SIM
    )
    assert params.sparse_vectors["sparse"].modifier is models.Modifier.IDF


def test_sparse_vectors_alone(store: GrpcStore) -> None:
    """A collection may have sparse vectors and no others."""
    store.create("c", CollectionSchema({"s": VectorSchema(SPARSE)}))
    found = store.describe("c")
    assert found is not None
    assert [(name, one.kind) for name, one in found.vectors.items()] == [("s", SPARSE)]


def test_settings_of_a_collection(store: GrpcStore, official: QdrantClient) -> None:
    """Settings by the REST API's names and values reach the server."""
    store.create(
        "c",
        _schema(
            hnsw_config={"m": 24, "on_disk": True},
            optimizers_config={"indexing_threshold": 0, "max_optimization_threads": 2},
            on_disk_payload=True,
            quantization_config={"scalar": {"type": "int8", "quantile": 0.5}},
        ),
    )
    config = official.get_collection("c").config
    assert (config.hnsw_config.m, config.hnsw_config.on_disk) == (24, True)
    assert config.optimizer_config.indexing_threshold == 0
    assert config.params.on_disk_payload is True
    assert config.quantization_config == models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type="int8", quantile=0.5)
    )


def test_limits_of_strict_mode(store: GrpcStore) -> None:
    """The limits of strict mode are told, as long as it is on."""
    limits = {"upsert_max_batchsize": 50, "max_points_count": 1000}
    limits |= {"write_rate_limit": 7, "max_timeout": 9}
    store.create("on", _schema(strict_mode_config={"enabled": True, **limits}))
    store.create("off", _schema(strict_mode_config={"enabled": False, **limits}))
    on, off = store.describe("on"), store.describe("off")
    assert on is not None
    assert off is not None
    assert (on.max_batch_points, on.max_points) == (50, 1000)
    assert (on.write_rate_limit, on.max_timeout) == (7, 9)
    assert (off.max_batch_points, off.max_points) == (None, None)


def test_custom_sharding(store: GrpcStore) -> None:
    """A collection whose writes must name a shard key says so."""
    store.create("c", _schema(sharding_method="custom"))
    found = store.describe("c")
    assert found is not None
    assert found.custom_sharding


def test_creation_is_what_the_official_client_sends() -> None:
    """The whole request is the message that the official classes parse and mean."""
    schema = CollectionSchema(
        {"": VectorSchema(DENSE, 2, "euclid"), "b": VectorSchema(MULTI, 3, "manhattan")},
        {"sharding_method": "custom", "shard_number": 3, "metadata": {"owner": "qframe"}},
    )
    request = grpc.CreateCollection.FromString(_creation("c", schema).SerializeToString())
    params = request.vectors_config.params_map.map
    assert (request.collection_name, request.shard_number) == ("c", 3)
    assert request.sharding_method == grpc.ShardingMethod.Custom
    assert request.metadata["owner"].string_value == "qframe"
    assert (params[""].size, params[""].distance) == (2, grpc.Distance.Euclid)
    assert params["b"].multivector_config.comparator == grpc.MultiVectorComparator.MaxSim


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        (_schema(hnsw={}), "settings knows no 'hnsw': it takes hnsw_config, id_tracker"),
        (_schema(vectors={}), "settings knows no 'vectors'"),
        (
            CollectionSchema({"a": VectorSchema(DENSE, 2, "dot", {"disk": True})}),
            "vector 'a' knows no 'disk': it takes datatype, hnsw_config, memory",
        ),
        (
            CollectionSchema({"": VectorSchema(DENSE, 2, "dot", {"datatype": "float8"})}),
            "the vector.datatype is 'float8': it takes default, float16, float32",
        ),
        (
            CollectionSchema({"s": VectorSchema(SPARSE, settings={"on_disk": True})}),
            "vector 's' knows no 'on_disk': it takes index, modifier",
        ),
    ],
)
def test_settings_that_are_not_known(
    store: GrpcStore, schema: CollectionSchema, complaint: str
) -> None:
    """An unknown setting is refused with what is known, and nothing is created."""
    with pytest.raises(errors.InputError) as caught:
        store.create("c", schema)
    assert complaint in str(caught.value)
    assert store.describe("c") is None


def test_a_name_that_is_taken(store: GrpcStore) -> None:
    """Creating twice is CollectionExists, and leaves the first alone."""
    store.create("c", _schema())
    with pytest.raises(errors.CollectionExists, match="`c` already exists"):
        store.create("c", CollectionSchema({"": VectorSchema(DENSE, 9, "dot")}))
    found = store.describe("c")
    assert found is not None
    assert found.vectors[""].size == 2


def test_what_the_server_refuses(store: GrpcStore) -> None:
    """A size beyond what Qdrant allows is refused in the server's words."""
    with pytest.raises(errors.InvalidRequest, match="65536"):
        store.create("c", CollectionSchema({"": VectorSchema(DENSE, 65537, "dot")}))


def test_a_collection_that_is_not_there(store: GrpcStore) -> None:
    """Describing gives None, deleting does nothing, all else is CollectionNotFound."""
    assert store.describe("none") is None
    store.delete("none")
    query = np.ones(2, np.float32)
    for read in (
        lambda: store.count("none"),
        lambda: store.retrieve("none", [1], with_vectors=False),
        lambda: store.scroll("none", limit=1, offset=None, with_vectors=False),
        lambda: store.search("none", query, limit=1, using="", with_vectors=False),
    ):
        with pytest.raises(errors.CollectionNotFound, match="`none`"):
            read()


def test_delete(store: GrpcStore, official: QdrantClient) -> None:
    """A deleted collection is gone for everybody."""
    store.create("c", _schema())
    store.delete("c")
    assert store.describe("c") is None
    assert not official.collection_exists("c")


# ---- Read ----

PAYLOAD = {
    "text": "ø",
    "integer": -(2**63),
    "float": 0.5,
    "bool": True,
    "null": None,
    "list": [1, [2.5, {}], "a"],
    "dict": {"a": {"b": [None]}},
}


@pytest.fixture
def filled(store: GrpcStore, official: QdrantClient) -> GrpcStore:
    """A collection "c" with vectors of every kind, written by the official client."""
    store.create(
        "c",
        CollectionSchema(
            {
                "d": VectorSchema(DENSE, 2, "dot"),
                "m": VectorSchema(MULTI, 2, "dot"),
                "s": VectorSchema(SPARSE),
            }
        ),
    )
    sparse = models.SparseVector(indices=[3, 2**32 - 1], values=[1.0, 2.0])
    official.upsert(
        "c",
        wait=True,
        points=[
            models.PointStruct(
                id=1, payload=PAYLOAD, vector={"d": [1, 0.1], "m": [[1, 2], [3, 4.5]], "s": sparse}
            ),
            models.PointStruct(id=2**64 - 1, payload={}, vector={"d": [2, 0]}),
            models.PointStruct(id=ID, payload={}, vector={"m": [[5, 6]]}),
        ],
    )
    return store


def test_count(filled: GrpcStore) -> None:
    """All points are counted, exactly."""
    assert filled.count("c") == 3
    found = filled.describe("c")
    assert found is not None
    assert found.points == 3


def test_retrieve(filled: GrpcStore) -> None:
    """Points come back with payload and vectors as Python and numpy have them."""
    points = filled.retrieve("c", [1, ID, 2**64 - 1, 77], with_vectors=True)
    by_id = {point.id: point for point in points}
    assert set(by_id) == {1, ID, 2**64 - 1}
    assert by_id[1].payload == PAYLOAD
    assert isinstance(by_id[1].payload["integer"], int)
    dense, multi, sparse = (by_id[1].vectors[name] for name in "dms")
    assert isinstance(dense, np.ndarray)
    assert isinstance(multi, np.ndarray)
    assert (dense.dtype, dense.shape, multi.dtype) == (np.float32, (2,), np.float32)
    np.testing.assert_array_equal(dense, np.float32([1, 0.1]))
    np.testing.assert_array_equal(multi, np.float32([[1, 2], [3, 4.5]]))
    assert isinstance(sparse, tuple)
    assert [(part.dtype, part.tolist()) for part in sparse] == [
        (np.uint32, [3, 2**32 - 1]),
        (np.float32, [1, 2]),
    ]
    assert set(by_id[ID].vectors) == {"m"}
    dense[0] = 5  # what was read belongs to the reader


def test_retrieve_without_vectors(filled: GrpcStore) -> None:
    """Vectors that were not asked for do not come."""
    (point,) = filled.retrieve("c", [1], with_vectors=False)
    assert (dict(point.vectors), point.payload["text"]) == ({}, "ø")


def test_retrieve_nothing(filled: GrpcStore) -> None:
    """Asking for no point gives none."""
    assert filled.retrieve("c", [], with_vectors=True) == []


def test_ids_in_other_types(filled: GrpcStore) -> None:
    """Numbers of numpy and UUID objects are ids as well."""
    points = filled.retrieve("c", [np.uint64(1), uuid.UUID(ID)], with_vectors=False)  # type: ignore[list-item]
    assert {point.id for point in points} == {1, ID}


def test_what_is_no_id(filled: GrpcStore) -> None:
    """An id that no point can have is refused before it is sent."""
    with pytest.raises(errors.InputError, match="'x' cannot be the id of a point"):
        filled.retrieve("c", ["x"], with_vectors=False)


def test_scroll(filled: GrpcStore) -> None:
    """Pages follow each other in the order of ids, and the last one has no successor."""
    seen = []
    offset = None
    for _ in range(3):
        page = filled.scroll("c", limit=1, offset=offset, with_vectors=False)
        seen += [point.id for point in page.points]
        offset = page.next
    assert offset is None
    assert seen == [1, 2**64 - 1, ID]


def test_scroll_with_vectors(filled: GrpcStore) -> None:
    """A page brings the vectors along when they are asked for."""
    page = filled.scroll("c", limit=10, offset=2**64 - 1, with_vectors=True)
    assert [sorted(point.vectors) for point in page.points] == [["d"], ["m"]]
    assert page.next is None


@pytest.mark.parametrize(
    ("vector", "using", "best"),
    [
        (np.array([1, 0], np.float32), "d", [(2**64 - 1, 2.0), (1, 1.0)]),
        (np.array([[1, 0], [0, 1]], np.float32), "m", [(ID, 11.0), (1, 7.5)]),
        ((np.array([3], np.uint32), np.array([4], np.float32)), "s", [(1, 4.0)]),
    ],
)
def test_search(filled: GrpcStore, vector: Any, using: str, best: list[Any]) -> None:
    """Each kind of vector finds its nearest points, the best first, with their scores."""
    found = filled.search("c", vector, limit=5, using=using, with_vectors=False)
    assert [(point.id, point.score) for point in found] == best
    assert all(not point.vectors for point in found)


def test_search_the_unnamed_vector(store: GrpcStore, official: QdrantClient) -> None:
    """Without a name, the unnamed vector is searched; limit and vectors are as asked for."""
    store.create("c", _schema())
    points = [models.PointStruct(id=n, vector=[n, 1], payload={"n": n}) for n in range(5)]
    official.upsert("c", points, wait=True)
    query = np.array([1, 0], np.float32)
    found = store.search("c", query, limit=2, using="", with_vectors=True)
    assert [(point.id, point.payload) for point in found] == [(4, {"n": 4}), (3, {"n": 3})]
    np.testing.assert_array_equal(found[0].vectors[""], np.float32([4, 1]))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"data": [1, 2.5]}, [1, 2.5]),
        ({"data": [1, 2, 3, 4], "vectors_count": 2}, [[1, 2], [3, 4]]),
        ({"data": [1, 2], "indices": wire.SparseIndices(data=[7, 9])}, ([7, 9], [1, 2])),
    ],
)
def test_vectors_of_older_servers(fields: dict[str, Any], expected: Any) -> None:
    """The form in which servers wrote vectors before there were kinds is read too."""
    found = _read_vector(wire.VectorOutput(**fields))
    if isinstance(found, tuple):
        assert tuple(part.tolist() for part in found) == expected
    else:
        assert (found.dtype, found.tolist()) == (np.float32, expected)


# ---- Keys ----


def test_keys() -> None:
    """The right key opens the collections; a wrong one is refused and shown nowhere."""
    with LocalServer(api_key="the-right-key") as server:
        with GrpcStore(*_address(server), api_key="the-right-key") as store:
            assert store.describe("c") is None
        with GrpcStore(*_address(server), api_key="not-the-key") as store:
            with pytest.raises(errors.AuthenticationError) as caught:
                store.count("c")
            assert "not-the-key" not in f"{caught.value!r} {store!r}"


# ---- Settling ----


def test_settling_deletes_nothing(filled: GrpcStore) -> None:
    """Waiting for writes leaves the points as they are."""
    before = filled.count("c")
    assert filled.settle("c", 1.0) is True
    assert filled.count("c") == before > 0
    with pytest.raises(errors.CollectionNotFound):
        filled.settle("absent", 1.0)


def test_the_state_of_a_collection(store: GrpcStore) -> None:
    """A new collection is green and nothing is queued."""
    store.create("c", _schema())
    info = store.describe("c")
    assert info is not None
    assert (info.status, info.optimizer_error, info.queue_length) == ("green", None, 0)
