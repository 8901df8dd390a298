from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qframe
from qframe import CollectionExists, InputError, SchemaMismatch
from qframe.batches import BATCH_SIZE, MAX_BATCH_BYTES, Limits
from qframe.mapping import resolve
from qframe.points import VectorKind
from qframe.schema import CollectionInfo, VectorSchema
from qframe.stores.base import Store
from qframe.target import Target
from qframe.write import WriteOptions
from tests.server import LocalServer
from tests.test_store_patient import Unsteady, unsteady

__all__ = ["unsteady"]

DENSE = {"": VectorSchema(VectorKind.DENSE, 2, "cosine")}


@pytest.fixture
def connection(tmp_path: Path) -> qframe.Connection:
    """An embedded store of the test's own."""
    return qframe.connect(tmp_path / "store")


@pytest.fixture
def store(connection: qframe.Connection) -> Iterator[Store]:
    """Its collections."""
    with connection.store() as opened:
        yield opened


def _target(store: Store, connection: qframe.Connection, **options: Any) -> Target:
    arguments = {"if_exists": "append", "distance": "cosine", "config": None} | options
    return Target(store, connection, arguments.pop("name", "films"), **arguments)


def _vectors(vectors: Any = None) -> Any:
    frame = pd.DataFrame(
        {"v": [[1.0, 2.0]] * 2, "s": [{"indices": [1], "values": [0.5]}] * 2, "none": [None] * 2}
    )
    return resolve(frame, vectors=vectors or {"": "v"}, ids=[1, 2], payload=[]).points.vectors


def test_a_collection_is_made_of_the_vectors(store: Store, connection: qframe.Connection) -> None:
    """Sizes come from the vectors, distances from the call, by name where they are named."""
    target = _target(store, connection, distance={"title": "Dot"})
    assert target.info is None
    target.prepare(_vectors({"title": "v", "body": "v", "words": "s"}))
    assert target.created
    info = store.describe("films")
    assert info is not None
    assert info.vectors["title"].size == 2
    assert info.vectors["title"].distance == "dot"
    assert info.vectors["body"].distance == "cosine"
    assert info.vectors["words"].kind is VectorKind.SPARSE


def test_a_collection_that_exists(store: Store, connection: qframe.Connection) -> None:
    """It is added to, refused or made anew, as the call says."""
    _target(store, connection).prepare(_vectors())
    frame = pd.DataFrame({"v": [[1.0, 2.0]] * 3})
    store.close()
    frame.qdrant.upload("films", connection, vectors="v", progress=False)
    with connection.store() as store:
        added = _target(store, connection)
        assert added.info is not None
        assert added.info.points == 3
        added.prepare(_vectors())
        assert not added.created
        with pytest.raises(CollectionExists) as caught:
            _target(store, connection, if_exists="fail")
        for part in ("'films'", "3 points", 'if_exists="append"', '"replace" deletes it first'):
            assert part in str(caught.value)
        anew = _target(store, connection, if_exists="replace")
        assert anew.info is None
        assert store.describe("films").points == 3  # type: ignore[union-attr]
        anew.prepare(_vectors({"title": "v"}))
        assert anew.created
        info = store.describe("films")
        assert info is not None
        assert (info.points, list(info.vectors)) == (0, ["title"])


def test_replacing_keeps_the_old_one_when_the_new_one_cannot_be(
    store: Store, connection: qframe.Connection
) -> None:
    """Settings that are refused cost no data."""
    _target(store, connection).prepare(_vectors())
    wrong = _target(store, connection, if_exists="replace", config={"hnsw_config": {"m": "many"}})
    with pytest.raises(qframe.QframeError):
        wrong.prepare(_vectors({"title": "v"}))
    info = store.describe("films")
    assert info is not None
    assert list(info.vectors) == [""]


@pytest.mark.parametrize(
    ("options", "vectors", "found"),
    [
        ({"distance": {"titel": "dot"}}, {"title": "v"}, "speaks of the vector 'titel'"),
        ({"config": {"vectors": {"image": {}}}}, {"title": "v"}, "the frame gives 'title'"),
        ({"config": {"vectors": {"": {"size": 3}}}}, {"": "v"}, "size of the vector ''"),
        ({"config": {"vectors": {"": {"distance": "Dot"}}}}, {"": "v"}, "comes from distance=…"),
        ({}, {"title": "none"}, "no row has a vector 'title'"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit(
    store: Store, connection: qframe.Connection, options: Any, vectors: Any, found: str
) -> None:
    """What speaks of other vectors than the frame's is refused, and nothing is made."""
    target = _target(store, connection, **options)
    with pytest.raises(InputError) as caught:
        target.prepare(_vectors(vectors))
    assert found in str(caught.value)
    assert store.describe("films") is None


def test_limits_of_a_batch(store: Store, connection: qframe.Connection) -> None:
    """The caller's limits hold within those of the collection."""
    target = _target(store, connection)
    assert target.limits(None, None) == Limits(BATCH_SIZE, MAX_BATCH_BYTES)
    assert target.limits(5, 100) == Limits(5, 100)
    target.info = CollectionInfo("films", DENSE, 0, max_batch_points=64)
    assert target.limits(None, None).points == 64
    assert target.limits(64, None).points == 64
    with pytest.raises(SchemaMismatch, match=r"batch_size=65: strict mode .* takes 64 points"):
        target.limits(65, None)


@pytest.mark.parametrize("wrong", [0, -1, True, 2.0, "9"])
def test_limits_that_cannot_be(store: Store, connection: qframe.Connection, wrong: Any) -> None:
    """Numbers that are none are refused by name and value."""
    target = _target(store, connection)
    with pytest.raises(InputError) as caught:
        target.limits(wrong, None)
    assert f"batch_size={wrong!r}: a whole number, 1 or more" in str(caught.value)
    with pytest.raises(InputError) as caught:
        target.limits(None, wrong)
    assert f"max_batch_bytes={wrong!r}: a whole number, 1 or more" in str(caught.value)


def test_row_numbers_do_not_overwrite_points(store: Store, connection: qframe.Connection) -> None:
    """Ids that only count rows are refused where there are points, with four ways out."""
    target = _target(store, connection)
    target.check_points(3, bare_ids=True)
    target.info = CollectionInfo("films", DENSE, 1234)
    target.check_points(3, bare_ids=False)
    with pytest.raises(InputError) as caught:
        target.check_points(3, bare_ids=True)
    for part in ("1,234 points", 'ids="column"', "uuid5", 'if_exists="replace"', "ids=df.index"):
        assert part in str(caught.value)


def test_more_points_than_may_be(store: Store, connection: qframe.Connection) -> None:
    """Strict mode's limit of points is told before anything is sent."""
    target = _target(store, connection)
    target.info = CollectionInfo("films", DENSE, 0, max_points=10)
    target.check_points(10, bare_ids=False)
    with pytest.raises(SchemaMismatch, match=r"11 points: strict mode .*'films' takes 10 in all"):
        target.check_points(11, bare_ids=False)


def test_shard_keys_belong_to_custom_sharding(store: Store, connection: qframe.Connection) -> None:
    """A shard key is wanted by custom sharding, and by nothing else."""
    target = _target(store, connection)
    target.info = CollectionInfo("films", DENSE, 0, custom_sharding=True)
    with pytest.raises(SchemaMismatch, match="has custom sharding: name the shard"):
        target.check_options(WriteOptions())
    target.check_options(WriteOptions(shard_key="eu"))
    target.info = CollectionInfo("films", DENSE, 0)
    with pytest.raises(SchemaMismatch, match="no custom sharding: leave shard_key out"):
        target.check_options(WriteOptions(shard_key="eu"))


def test_a_server_that_is_too_old(tmp_path: Path) -> None:
    """Options that an old server would ignore without a word are refused by version."""
    frame = pd.DataFrame({"v": list(np.ones((2, 2), np.float32))})
    with LocalServer(version="1.15.3") as old:
        for option, value, since in (
            ("update_filter", {"must": []}, "1.16.0"),
            ("update_mode", "insert_only", "1.17.0"),
        ):
            with pytest.raises(SchemaMismatch) as caught:
                frame.qdrant.upload(
                    "films", old.rest_url, vectors="v", progress=False, **{option: value}
                )
            assert f"{option} needs Qdrant {since}" in str(caught.value)
            assert "is 1.15.3" in str(caught.value)
        assert old.log() == []


def test_another_distance_than_the_collection_has(tmp_path: Path) -> None:
    """Asking an existing collection for another distance is refused; saying nothing is not."""
    frame = pd.DataFrame({"n": [1], "v": [[1.0, 2.0]]})
    frame.qdrant.upload("films", tmp_path, vectors="v", ids="n", distance="dot", progress=False)
    frame.qdrant.upload("films", tmp_path, vectors="v", ids="n", progress=False)
    with pytest.raises(qframe.SchemaMismatch, match=r"distance='euclid'.*by dot.*leave distance"):
        frame.qdrant.upload(
            "films", tmp_path, vectors="v", ids="n", distance="euclid", progress=False
        )


def test_nothing_to_append_overwrites_nothing(tmp_path: Path) -> None:
    """An empty frame is no danger to the points that are there, whatever its index."""
    frame = pd.DataFrame({"v": [[1.0, 2.0]]})
    frame.qdrant.upload("films", tmp_path, vectors="v", progress=False)
    report = frame.iloc[:0].qdrant.upload("films", tmp_path, vectors="v", progress=False)
    assert len(report) == 0


# ---- Replacing ----


def _put(rows: int, con: Any, name: str, **options: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"n": range(rows), "v": [[1.0, 2.0]] * rows})
    arguments = {"vectors": "v", "ids": "n", "wait": True, "progress": False}
    return qframe.upload(frame, name, con, **(arguments | options))


def test_replacing_outlasts_a_bad_moment(unsteady: Unsteady, collection: str) -> None:
    """A creation that fails once, after the old collection is gone, is repeated."""
    _put(3, unsteady.url, collection)
    unsteady.refusals = [("PUT", collection, 503)]
    _put(2, unsteady.url, collection, if_exists="replace")
    assert unsteady.refusals == []
    assert len(qframe.read_collection(collection, unsteady.url)) == 2


def test_a_loss_is_told(unsteady: Unsteady, collection: str) -> None:
    """When the new collection cannot be made any more, the error says what became of the old."""
    _put(3, unsteady.url, collection)
    unsteady.refusals = [("PUT", collection, 503)] * 2
    with pytest.raises(qframe.ServiceUnavailable) as caught:
        _put(2, unsteady.url, collection, if_exists="replace", retry=1)
    for part in (f"{collection!r} was deleted with its 3 points", "a bad moment", "same upload"):
        assert part in str(caught.value)


def test_a_trial_that_stays_hides_no_refusal(unsteady: Unsteady, collection: str) -> None:
    """What the server said of the settings is told, though the trial cannot be removed either."""
    _put(3, unsteady.url, collection)
    unsteady.refusals = [("DELETE", "", 403)]
    with pytest.raises(qframe.InvalidRequest):
        _put(
            2,
            unsteady.url,
            collection,
            if_exists="replace",
            collection_config={"hnsw_config": {"m": "many"}},
        )
    assert unsteady.refusals == []
    assert len(qframe.read_collection(collection, unsteady.url)) == 3
    trial = next(path for path in unsteady.seen if path.startswith("DELETE")).rpartition("/")[2]
    assert trial.startswith("qframe-trial-")
    assert collection not in trial


def test_a_replaced_collection_stays_locked(tmp_path: Path) -> None:
    """No other process can take the embedded collection before the first batch is written."""
    _put(3, tmp_path, "films")
    code = f"import qframe; qframe.read_collection('films', {str(tmp_path)!r})"
    with qframe.connect(tmp_path).store() as store:
        target = _target(store, qframe.connect(tmp_path), if_exists="replace")
        target.prepare(_vectors())
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "StoreLocked" in other.stderr


# ---- Limits of a collection that is yet to be made ----


@pytest.mark.parametrize(
    ("strict", "options", "found"),
    [
        ({"upsert_max_batchsize": 5}, {"batch_size": 6}, r"takes 5 points in a request"),
        ({"write_rate_limit": 5}, {"batch_size": 6}, r"5 points a minute.*write_rate_limit"),
        ({"max_points_count": 5}, {}, r"9 points.*takes 5 in all"),
        ({"max_timeout": 5}, {"timeout": 30}, r"timeout=30.*5 s at the most.*timeout=5"),
    ],
    ids=str,
)
@pytest.mark.parametrize("exists", [True, False])
def test_strict_mode_is_known_before_the_first_byte(
    server_con: qframe.Connection,
    collection: str,
    strict: Any,
    options: Any,
    found: str,
    exists: bool,
) -> None:
    """Limits hold for a collection that is there, and for one that is made with them."""
    config = {"strict_mode_config": {"enabled": True, **strict}}
    if exists:
        _put(0, server_con, collection, collection_config=config, vectors=np.ones((0, 2)))
    con = replace(server_con, timeout=options.get("timeout", server_con.timeout))
    arguments = {name: value for name, value in options.items() if name != "timeout"}
    with pytest.raises(SchemaMismatch, match=found):
        _put(9, con, collection, collection_config=config, **arguments)
    with server_con.store() as store:
        assert (store.describe(collection) is not None) == exists


def test_batches_are_cut_to_the_rate(server_con: qframe.Connection, collection: str) -> None:
    """Without a batch size of the caller's, none costs more than the server's bucket holds."""
    strict = {"enabled": True, "write_rate_limit": 6, "upsert_max_batchsize": 8}
    config = {"strict_mode_config": strict}
    report = _put(6, server_con, collection, collection_config=config)
    assert report["points"].tolist() == [6]
    with server_con.store() as store:
        target = _target(store, server_con, name=collection)
        assert target.limits(None, None).points == 6


def test_a_new_collection_has_no_shard_keys(server_con: qframe.Connection, collection: str) -> None:
    """Custom sharding of a new collection, or a key without it, is refused and nothing is made."""
    custom = {"sharding_method": "custom"}
    for config, key, found in (
        (custom, None, "no shard keys yet"),
        (custom, "eu", "no shard keys yet"),
        ({}, "eu", "leave shard_key out"),
    ):
        with pytest.raises(SchemaMismatch, match=found):
            _put(2, server_con, collection, collection_config=config, shard_key=key)
    with server_con.store() as store:
        assert store.describe(collection) is None


# ---- Two at once ----


def test_first_uploads_at_once_share_the_collection(
    con: qframe.Connection, collection: str
) -> None:
    """Whoever comes second to make the collection adds to it; one that is to be new is refused."""
    with con.store() as store:
        first = _target(store, con, name=collection)
        second = _target(store, con, name=collection)
        other = _target(store, con, name=collection)
        bare = _target(store, con, name=collection)
        alone = _target(store, con, name=collection, if_exists="fail")
        second.check_options(WriteOptions())
        second.limits(None, None)
        second.check_points(2, bare_ids=False)
        bare.check_points(2, bare_ids=True)
        first.prepare(_vectors())
        info = second.prepare(_vectors())
        assert (info.vectors[""].size, first.created, second.created) == (2, True, False)
        with pytest.raises(SchemaMismatch, match=r"by somebody else meanwhile.*'' .*'title'"):
            other.prepare(_vectors({"title": "v"}))
        with pytest.raises(InputError, match="another upload is filling"):
            bare.prepare(_vectors())
        with pytest.raises(CollectionExists):
            alone.prepare(_vectors())


# ---- Names ----


@pytest.mark.parametrize("name", [7, None, "", "a" * 256, "a/b", "a\0", "a\ud800"], ids=ascii)
def test_names_that_no_collection_has(con: qframe.Connection, name: Any) -> None:
    """Every call refuses them in the same words, before anything is sent."""
    for call in (
        lambda: _put(1, con, name),
        lambda: qframe.upload_points([{"id": 1, "vector": [1.0]}], name, con, progress=False),
        lambda: qframe.read_collection(name, con),
        lambda: qframe.search(name, [1.0], con),
    ):
        with pytest.raises(InputError, match="collection="):
            call()


@pytest.mark.parametrize("name", list('<>:"\\|?*\x1f'))
def test_names_that_no_new_collection_has(server_con: qframe.Connection, name: str) -> None:
    """They are refused where a collection is to be made, and looked for otherwise."""
    with pytest.raises(InputError, match="the name of a new collection has no"):
        _put(1, server_con, name)
    with pytest.raises(qframe.CollectionNotFound):
        qframe.read_collection(name, server_con)
