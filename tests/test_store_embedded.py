"""Collections of the embedded engine: made, described, read and searched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from qframe.errors import CollectionExists, CollectionNotFound, InputError
from qframe.points import DenseBlock, Ids, MultiBlock, PointBlock, SparseBlock, VectorKind
from qframe.schema import CollectionInfo, CollectionSchema, VectorSchema
from qframe.stores.embedded import EmbeddedStore
from qframe.uploaders.embedded import EmbeddedBatchUploader

DENSE = VectorSchema(VectorKind.DENSE, 2, "dot")
MULTI = VectorSchema(VectorKind.MULTI, 2, "dot")
SPARSE = VectorSchema(VectorKind.SPARSE)
UUIDS = [str(UUID(int=n)) for n in (1, 2)]


def put(store: EmbeddedStore, block: PointBlock, collection: str = "docs") -> None:
    """Write points."""
    with EmbeddedBatchUploader.start(store.folder, collection=collection) as uploader:
        uploader.send(uploader.encode(block))


def ids(*numbers: int) -> Ids:
    """Make ids of numbers."""
    return Ids(np.array(numbers, dtype=np.uint64))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """Give a store without collections."""
    with EmbeddedStore(tmp_path / "data") as store:
        yield store


def fill(store: EmbeddedStore) -> EmbeddedStore:
    """Make the collection "docs" with the points 1, 2, 3 and all kinds of vectors."""
    store.create("docs", CollectionSchema({"d": DENSE, "m": MULTI, "s": SPARSE}))
    block = PointBlock(
        ids(1, 2, 3),
        {
            "d": DenseBlock(np.float32([[1, 0], [0, 1], [1, 1]])),
            "m": MultiBlock(np.float32([[1, 0], [0, 3], [0, 1], [1, 1]]), np.array([2, 1, 1])),
            "s": SparseBlock(np.uint32([7, 9, 7]), np.float32([1, 2, 3]), np.array([1, 2, 0])),
        },
        documents=[{"a": 1}, {"b": [1, {"c": None}]}, {}],
    )
    put(store, block)
    return store


@pytest.fixture
def filled(store: EmbeddedStore) -> EmbeddedStore:
    """Give a filled store to write to."""
    return fill(store)


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """Give a filled store to read from."""
    with EmbeddedStore(tmp_path_factory.mktemp("data")) as store:
        yield fill(store)


def test_version(store: EmbeddedStore) -> None:
    """Nothing depends on a version."""
    assert store.version() is None


def test_nothing_there(store: EmbeddedStore) -> None:
    """Asking for what is not there makes nothing, not even the folder."""
    assert store.describe("docs") is None
    store.delete("docs")
    with pytest.raises(CollectionNotFound):
        store.count("docs")
    assert not Path(store.folder).exists()


def test_describe(readable: EmbeddedStore) -> None:
    """A description has the vectors as they were asked for, and the exact number of points."""
    vectors = {"d": DENSE, "m": MULTI, "s": SPARSE}
    assert readable.describe("docs") == CollectionInfo("docs", vectors, 3)


def test_create_twice(filled: EmbeddedStore) -> None:
    """A collection is not made over another."""
    with pytest.raises(CollectionExists, match="'docs'"):
        filled.create("docs", CollectionSchema({"": DENSE}))
    assert filled.count("docs") == 3


def test_delete(filled: EmbeddedStore) -> None:
    """A deleted collection is gone, and a new one of its name starts empty."""
    filled.delete("docs")
    assert filled.describe("docs") is None
    assert list(Path(filled.folder).iterdir()) == []
    filled.create("docs", CollectionSchema({"": DENSE}))
    assert filled.describe("docs") == CollectionInfo("docs", {"": DENSE}, 0)


def test_deleted_through_another_store(filled: EmbeddedStore) -> None:
    """A store notices what another one in the process deletes and makes anew."""
    assert filled.count("docs") == 3
    with EmbeddedStore(filled.folder) as other:
        other.delete("docs")
        assert filled.describe("docs") is None
        other.create("docs", CollectionSchema({"": DENSE}))
    assert filled.count("docs") == 0


def test_collections_apart(filled: EmbeddedStore) -> None:
    """Collections in one folder do not meet."""
    filled.create("more", CollectionSchema({"": DENSE}))
    put(filled, PointBlock(ids(9), {"": DenseBlock(np.float32([[1, 2]]))}), "more")
    assert (filled.count("docs"), filled.count("more")) == (3, 1)
    filled.delete("docs")
    assert filled.count("more") == 1


def test_survives_closing(filled: EmbeddedStore) -> None:
    """What was written is there after the store was closed and opened again."""
    filled.close()
    with EmbeddedStore(filled.folder) as again:
        assert again.count("docs") == 3
    assert filled.count("docs") == 3


def test_retrieve(readable: EmbeddedStore) -> None:
    """Points are read with their payload and float32 vectors; missing ones are left out."""
    found = {p.id: p for p in readable.retrieve("docs", [3, 1, 77, 1], with_vectors=True)}
    assert set(found) == {1, 3}
    assert found[1].payload == {"a": 1}
    dense, multi, sparse = (found[1].vectors[name] for name in "dms")
    assert isinstance(dense, np.ndarray)
    assert isinstance(multi, np.ndarray)
    assert (dense.dtype, dense.tolist()) == (np.float32, [1, 0])
    assert (multi.dtype, multi.tolist()) == (np.float32, [[1, 0], [0, 3]])
    assert [(part.dtype, part.tolist()) for part in sparse] == [(np.uint32, [7]), (np.float32, [1])]
    assert [part.tolist() for part in found[3].vectors["s"]] == [[], []]


def test_retrieve_without_vectors(readable: EmbeddedStore) -> None:
    """Vectors are read only when they are asked for."""
    (point,) = readable.retrieve("docs", [2], with_vectors=False)
    assert (point.payload, point.vectors) == ({"b": [1, {"c": None}]}, {})


@pytest.mark.parametrize("wrong", [True, -1, 2**64, 1.5, "7", "x", None])
def test_ids_refused(readable: EmbeddedStore, wrong: Any) -> None:
    """What is no point id is refused, before the engine takes it for one."""
    with pytest.raises(InputError, match="no point id"):
        readable.retrieve("docs", [wrong], with_vectors=False)
    if wrong is not None:
        with pytest.raises(InputError, match="no point id"):
            readable.scroll("docs", limit=1, offset=wrong, with_vectors=False)


def test_scroll(filled: EmbeddedStore) -> None:
    """Pages follow the ids, numbers before UUIDs, and every point is on one page."""
    uuids = Ids(None, np.array([[0] * 15 + [2], [0] * 15 + [1]], dtype=np.uint8))
    put(filled, PointBlock(uuids, {}))
    put(filled, PointBlock(ids(2**64 - 1, 10), {}))
    seen: list[int | str] = []
    offset: int | str | None = None
    sizes = []
    while True:
        page = filled.scroll("docs", limit=3, offset=offset, with_vectors=False)
        sizes.append(len(page.points))
        seen += [point.id for point in page.points]
        if page.next is None:
            break
        offset = page.next
    assert seen == [1, 2, 3, 10, 2**64 - 1, *UUIDS]
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize("limit", [0, -1, True, 1.0])
def test_limits_refused(readable: EmbeddedStore, limit: Any) -> None:
    """A page and a search have at least one point."""
    with pytest.raises(InputError, match="limit"):
        readable.scroll("docs", limit=limit, offset=None, with_vectors=False)
    with pytest.raises(InputError, match="limit"):
        readable.search("docs", np.float32([1, 0]), limit=limit, using="d", with_vectors=False)


@pytest.mark.parametrize(
    ("vector", "using", "expected"),
    [
        (np.float32([0, 2]), "d", {2: 2.0, 3: 2.0, 1: 0.0}),
        (np.float32([[0, 1], [1, 0]]), "m", {1: 4.0, 3: 2.0, 2: 1.0}),
        (np.float32([0, 1]), "m", {1: 3.0, 3: 1.0, 2: 1.0}),
        ((np.uint32([7]), np.float32([10])), "s", {2: 30.0, 1: 10.0}),
    ],
)
def test_search(readable: EmbeddedStore, vector: Any, using: str, expected: Any) -> None:
    """Points are found by every kind of vector, with their scores, the best first."""
    found = readable.search("docs", vector, limit=5, using=using, with_vectors=True)
    assert {point.id: point.score for point in found} == expected
    scores = [point.score for point in found]
    assert scores == sorted(expected.values(), reverse=True)
    assert all(list(point.vectors) == ["d", "m", "s"] for point in found)
    assert len(readable.search("docs", vector, limit=1, using=using, with_vectors=False)) == 1


@pytest.mark.parametrize(
    ("vector", "using", "message"),
    [
        (np.float32([1, 0]), "x", "has 'd', 'm', 's'"),
        (np.float32([1, 0, 0]), "d", r"shape \(3,\)"),
        (np.float32([[1, 0]]), "d", "size 2"),
        (np.float32([1, np.nan]), "d", "NaN"),
        (np.zeros((0, 2), np.float32), "m", "size 2"),
        (np.float32([1, 0]), "s", "sparse"),
        ((np.uint32([1]), np.float32([1])), "d", "dense"),
        ((np.uint32([1, 2]), np.float32([1])), "s", "as many"),
        ((np.uint32([1, 1]), np.float32([1, 1])), "s", "twice"),
        ((np.array([-1]), np.float32([1])), "s", "integers"),
        ((np.uint32([1]), np.float32([np.inf])), "s", "NaN"),
    ],
)
def test_search_refused(readable: EmbeddedStore, vector: Any, using: str, message: str) -> None:
    """A query that does not fit is an error, and not an empty answer."""
    with pytest.raises(InputError, match=message):
        readable.search("docs", vector, limit=1, using=using, with_vectors=False)


def test_without_vectors(store: EmbeddedStore) -> None:
    """A collection may hold payloads only."""
    store.create("docs", CollectionSchema({}))
    put(store, PointBlock(ids(4, 5), {}, documents=[{"a": 1}, {"a": 2}]))
    assert store.describe("docs") == CollectionInfo("docs", {}, 2)
    page = store.scroll("docs", limit=5, offset=None, with_vectors=True)
    assert [(p.id, p.payload, p.vectors) for p in page.points] == [
        (4, {"a": 1}, {}),
        (5, {"a": 2}, {}),
    ]
    with pytest.raises(InputError, match="it has none"):
        store.search("docs", np.float32([1]), limit=1, using="", with_vectors=False)


def test_unnamed_multivector(store: EmbeddedStore) -> None:
    """The unnamed vector may be a multivector."""
    store.create("docs", CollectionSchema({"": MULTI}))
    put(store, PointBlock(ids(1), {"": MultiBlock(np.float32([[1, 2], [3, 4]]), np.array([2]))}))
    (point,) = store.search("docs", np.float32([[1, 0]]), limit=1, using="", with_vectors=True)
    assert point.score == 3
    np.testing.assert_array_equal(point.vectors[""], [[1, 2], [3, 4]])


def test_unnamed_beside_named(store: EmbeddedStore) -> None:
    """The unnamed vector may stand beside named ones."""
    store.create("docs", CollectionSchema({"": DENSE, "d": DENSE}))
    values = np.float32([[1, 2]])
    put(store, PointBlock(ids(1), {"": DenseBlock(values), "d": DenseBlock(values * 2)}))
    put(store, PointBlock(ids(2), {"": DenseBlock(values)}))
    first, second = store.scroll("docs", limit=5, offset=None, with_vectors=True).points
    assert {name: np.asarray(v).tolist() for name, v in first.vectors.items()} == {
        "": [1, 2],
        "d": [2, 4],
    }
    assert list(second.vectors) == [""]


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
def test_distances(store: EmbeddedStore, distance: str) -> None:
    """Each distance scores as its name says."""
    store.create("docs", CollectionSchema({"": VectorSchema(VectorKind.DENSE, 2, distance)}))
    put(store, PointBlock(ids(1), {"": DenseBlock(np.float32([[3, 4]]))}))
    (point,) = store.search("docs", np.float32([0, 1]), limit=1, using="", with_vectors=False)
    expected = {"cosine": 0.8, "dot": 4, "euclid": 18**0.5, "manhattan": 6}
    assert point.score == pytest.approx(expected[distance])


def test_settings(store: EmbeddedStore) -> None:
    """Every setting that the engine has reaches its own configuration file."""
    store.create(
        "docs",
        CollectionSchema(
            {
                "d": VectorSchema(
                    VectorKind.DENSE,
                    2,
                    "dot",
                    {
                        "on_disk": True,
                        "datatype": "float16",
                        "hnsw_config": {"ef_construct": 77},
                        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.9}},
                    },
                ),
                "m": VectorSchema(
                    VectorKind.MULTI,
                    2,
                    "dot",
                    {"multivector_config": {"comparator": "max_sim"}, "memory": "cold"},
                ),
                "s": VectorSchema(
                    VectorKind.SPARSE,
                    None,
                    None,
                    {"modifier": "idf", "index": {"full_scan_threshold": 99, "on_disk": False}},
                ),
            },
            {
                "hnsw_config": {"m": 8, "payload_m": 4, "on_disk": None},
                "quantization_config": {"binary": {"encoding": "one_and_half_bits"}},
                "optimizers_config": {"indexing_threshold": 123},
                "on_disk_payload": False,
                "payload": {"memory": "cached"},
                "id_tracker": {"memory": "pinned"},
            },
        ),
    )
    written = (Path(store.folder) / "docs" / "shard" / "edge_config.json").read_text()
    config = json.loads(written)
    dense = config["vectors"]["d"]
    assert dense["datatype"] == "float16"
    assert (dense["hnsw_config"]["m"], dense["hnsw_config"]["ef_construct"]) == (8, 77)
    assert dense["quantization_config"]["scalar"]["quantile"] == pytest.approx(0.9)
    assert config["vectors"]["m"]["multivector_config"] == {"comparator": "max_sim"}
    assert config["sparse_vectors"]["s"]["modifier"] == "idf"
    assert config["hnsw_config"]["m"] == 8
    assert config["optimizers"]["indexing_threshold"] == 123
    for fragment in ("one_and_half_bits", "99", "cold", "pinned"):
        assert fragment in written
    info = store.describe("docs")
    assert info is not None
    assert info.vectors["d"].settings["hnsw_config"] == {"ef_construct": 77}


QUANTIZATIONS: list[dict[str, Any]] = [
    {"scalar": {"type": "int8", "always_ram": True}},
    *({"product": {"compression": f"x{n}"}} for n in (4, 8, 16, 32, 64)),
    *({"binary": {"query_encoding": q}} for q in ("default", "binary", "scalar4bits")),
    {"binary": {"query_encoding": "scalar8bits", "encoding": "two_bits", "memory": "pinned"}},
    *({"turbo": {"bits": bits}} for bits in ("bits1", "bits1_5", "bits2", "bits4", "bits8")),
]


@pytest.mark.parametrize("quantization", QUANTIZATIONS, ids=str)
def test_quantization(store: EmbeddedStore, quantization: dict[str, Any]) -> None:
    """Every quantization of the REST API is made, and the collection can be loaded again."""
    settings = {"quantization_config": quantization}
    store.create("docs", CollectionSchema({"": VectorSchema(VectorKind.DENSE, 8, "dot", settings)}))
    put(store, PointBlock(ids(1), {"": DenseBlock(np.ones((1, 8), np.float32))}))
    store.close()
    assert store.count("docs") == 1


@pytest.mark.parametrize("datatype", ["float32", "float16", "uint8", "turbo8", "turbo16"])
def test_datatypes(store: EmbeddedStore, datatype: str) -> None:
    """Every datatype of the engine holds a vector."""
    vector = VectorSchema(VectorKind.DENSE, 4, "dot", {"datatype": datatype})
    store.create("docs", CollectionSchema({"": vector}))
    put(store, PointBlock(ids(1), {"": DenseBlock(np.float32([[1, 2, 3, 4]]))}))
    (point,) = store.retrieve("docs", [1], with_vectors=True)
    np.testing.assert_allclose(np.asarray(point.vectors[""]), [1, 2, 3, 4], rtol=0.05)


def test_settings_as_models(store: EmbeddedStore) -> None:
    """Settings may be the official client's objects."""
    store.create(
        "docs",
        CollectionSchema(
            {"": DENSE},
            {
                "hnsw_config": models.HnswConfigDiff(m=5),
                "quantization_config": models.ScalarQuantization(
                    scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
                ),
            },
        ),
    )
    path = Path(store.folder) / "docs" / "shard" / "edge_config.json"
    assert json.loads(path.read_text())["hnsw_config"]["m"] == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({name: 1}, f"'{name}'.*it takes hnsw_config, id_tracker, on_disk_payload")
        for name in (
            "shard_number",
            "replication_factor",
            "write_consistency_factor",
            "sharding_method",
            "strict_mode_config",
            "wal_config",
            "metadata",
        )
    ]
    + [
        ({"hnsw_config": {"mm": 1}}, r"collection\.hnsw_config knows no 'mm'"),
        ({"hnsw_config": {"m": "8"}}, r"hnsw_config\.m='8'"),
        ({"hnsw_config": {"m": 1.5}}, "hnsw_config"),
        ({"hnsw_config": 8}, "a dict of settings"),
        ({"optimizers_config": {"flush_interval_sec": 5}}, "flush_interval_sec"),
        ({"on_disk_payload": "yes"}, "True or False"),
        ({"quantization_config": {"scalar": {}, "binary": {}}}, "'scalar', 'product'"),
        ({"quantization_config": {"scalar": {"type": "int4"}}}, "'int8'"),
        ({"quantization_config": {"scalar": {"type": "int8", "quantile": 5}}}, "0.5 to 1"),
        ({"quantization_config": {"scalar": {}}}, "type"),
    ],
)
def test_settings_refused(store: EmbeddedStore, settings: dict[str, Any], message: str) -> None:
    """A setting that the engine has not, or a wrong value, is named, and nothing is made."""
    with pytest.raises(InputError, match=message):
        store.create("docs", CollectionSchema({"": DENSE}, settings))
    assert not Path(store.folder).exists()


@pytest.mark.parametrize(
    ("name", "vector", "message"),
    [
        ("", VectorSchema(VectorKind.DENSE, 0, "dot"), "size=0"),
        ("", VectorSchema(VectorKind.DENSE, None, "dot"), "size=None"),
        ("", VectorSchema(VectorKind.DENSE, 70_000, "dot"), "65536"),
        ("", VectorSchema(VectorKind.DENSE, 2, "Cosine"), "distance='Cosine'"),
        ("", VectorSchema(VectorKind.DENSE, 2, None), "distance=None"),
        ("", VectorSchema(VectorKind.DENSE, 2, "dot", {"datatype": "int8"}), "'float32'"),
        ("", VectorSchema(VectorKind.DENSE, 2, "dot", {"multivector_config": {}}), "multivector"),
        ("", VectorSchema(VectorKind.MULTI, 2, "dot", {"multivector_config": {}}), "max_sim"),
        ("", SPARSE, "needs a name"),
        ("s", VectorSchema(VectorKind.SPARSE, None, None, {"on_disk": True}), "index, modifier"),
        ("s", VectorSchema(VectorKind.SPARSE, None, None, {"index": {"x": 1}}), "'x'"),
        ("s", VectorSchema(VectorKind.SPARSE, None, None, {"modifier": "bm25"}), "'idf'"),
        ("a/b", DENSE, "no '/'"),
        ("..", DENSE, "not as the name"),
        ("é" * 101, DENSE, "200 bytes"),
    ],
)
def test_vectors_refused(
    store: EmbeddedStore, name: str, vector: VectorSchema, message: str
) -> None:
    """A vector that cannot be is refused, and nothing is made."""
    with pytest.raises(InputError, match=message):
        store.create("docs", CollectionSchema({name: vector}))
    assert not Path(store.folder).exists()


@pytest.mark.parametrize("name", ["a b", "é" * 99, "-", "%41", "日本", " "])
def test_vector_names(store: EmbeddedStore, name: str) -> None:
    """Vectors of unusual names are stored and read back."""
    store.create("docs", CollectionSchema({name: DENSE, name + "s": SPARSE}))
    put(store, PointBlock(ids(1), {name: DenseBlock(np.float32([[1, 2]]))}))
    store.close()
    (point,) = store.retrieve("docs", [1], with_vectors=True)
    assert list(point.vectors) == [name]


def test_bad_collection_name(store: EmbeddedStore) -> None:
    """A name with a slash leads nowhere, whatever is asked."""
    for call in (store.describe, store.delete, store.count):
        with pytest.raises(InputError, match="no '/'"):
            call("../docs")
