"""From acknowledged to applied: what is waited for, and what is said when it cannot be known."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

import qframe
from qframe.barrier import Expected, pass_barrier
from qframe.errors import ConnectionLost, RateLimited
from qframe.stores.base import Store
from qframe.stores.patient import PatientStore
from tests.conftest import connect
from tests.server import LocalServer

BATCH = 10


@pytest.fixture(params=["rest", "grpc"])
def local_con(
    request: pytest.FixtureRequest, server: LocalServer, tmp_path: Path
) -> qframe.Connection:
    """A connection of each transport to the local server, which fails on demand."""
    return connect(request.param, server, tmp_path)


@pytest.fixture(autouse=True)
def quiet_server(server: LocalServer) -> Iterator[None]:
    """Forget what a test made the local server do."""
    yield
    server.reset(collections=False)


def upload(collection: str, con: qframe.Connection, batches: int, **options: Any) -> None:
    """Upload batches of points that are acknowledged and not waited for."""
    points = ({"id": n, "vector": [n, 1.0]} for n in range(batches * BATCH))
    options = {
        "order": "ordered",
        "batch_size": BATCH,
        "barrier": False,
        "progress": False,
        **options,
    }
    qframe.upload_points(points, collection, con, **options)


def barrier(
    store: Store,
    collection: str,
    *,
    exactly: int | None = None,
    at_least: int = 0,
    enough: int | None = None,
    ids: Any = None,
    patience: float = 30.0,
    **options: Any,
) -> str | None:
    """Pass the barrier with a patience that no test needs; return what is said."""
    if exactly is not None:
        at_least = enough = exactly
    expected = Expected(at_least, enough, ids)
    doubt = pass_barrier(store, collection, expected=expected, patience=patience, **options)
    return None if doubt is None else doubt.text


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now += seconds


# ---- What every server tells, and the embedded engine ----


def known(count: int) -> Any:
    """Return the first ids of an upload, in pages of seven."""
    return lambda: (range(at, min(at + 7, count)) for at in range(0, count, 7))


@pytest.mark.parametrize(
    ("at_least", "enough", "ids", "doubt"),
    [
        (0, None, None, r"^nothing that was acknowledged is queued .* the 30 points .*wait=True"),
        (30, 31, None, r"^nothing that was acknowledged is queued any more"),
        (30, 30, None, None),
        (
            31,
            None,
            None,
            r"^1 point is missing: collection 'test-\w+' has 30 of the 31 .*verify\(…\)",
        ),
        (1030, None, None, r"^1,000 points are missing: .* 30 of the 1,030 "),
        (30, None, 30, None),
        (0, 31, 30, None),
        (0, 30, 35, None),
        (
            0,
            31,
            31,
            r"^1 point is missing in collection 'test-\w+' of the 31 .*, such as 30; a server",
        ),
        (
            30,
            None,
            40,
            r"^10 points are missing .* of the 40 .*, such as 30, 31, 32; .*verify\(…\)",
        ),
    ],
)
def test_points_are_counted(
    con: qframe.Connection,
    collection: str,
    at_least: int,
    enough: int | None,
    ids: int | None,
    doubt: str | None,
) -> None:
    """The points that must be there are there, or it is said how many are not, and what to type."""
    upload(collection, con, 3)
    with con.store() as store:
        pages = None if ids is None else known(ids)
        said = barrier(store, collection, at_least=at_least, enough=enough, ids=pages)
        assert said == doubt or re.search(str(doubt), str(said))
        assert store.count(collection) == 30
        assert store.count(collection, list(range(25, 40))) == 5
        assert store.count(collection, []) == 0


def test_every_shard_is_waited_for(server_con: qframe.Connection, collection: str) -> None:
    """With several shards, everything that was acknowledged is there afterwards."""
    upload(collection, server_con, 30, workers=4, collection_config={"shard_number": 3})
    with server_con.store() as store:
        assert barrier(store, collection, exactly=300) is None
        info = store.describe(collection)
    assert info is not None
    assert info.points == 300
    assert info.status in ("green", "yellow", "grey")
    assert info.optimizer_error is None


def test_a_limit_for_timeouts_is_kept(server_con: qframe.Connection, collection: str) -> None:
    """A server that allows requests to wait for two seconds only is not asked for more."""
    strict = {"strict_mode_config": {"enabled": True, "max_timeout": 2}}
    upload(collection, server_con, 2, collection_config=strict)
    with server_con.store() as store:
        assert barrier(store, collection, exactly=20) is None


def test_a_limit_for_writes_is_waited_for(server_con: qframe.Connection, collection: str) -> None:
    """A server without a token left is asked again when it wants to be."""
    strict = {"strict_mode_config": {"enabled": True, "write_rate_limit": 60}}
    upload(collection, server_con, 1, batch_size=60, collection_config=strict)
    with server_con.store() as store:
        # Writes that change nothing take what is left, whatever a server counted before.
        with pytest.raises(RateLimited):
            _ = [store.settle(collection, 1) for _ in range(100)]
        pauses: list[float] = []
        said = barrier(
            store,
            collection,
            exactly=BATCH,
            sleep=lambda seconds: (pauses.append(seconds), time.sleep(seconds)),
        )
    assert said is None
    assert max(pauses) >= 1


def test_a_collection_that_is_gone(con: qframe.Connection, collection: str) -> None:
    """Points of a collection that somebody deleted are gone, which needs no waiting."""
    with con.store() as store:
        said = barrier(store, collection, exactly=1)
    assert said == f"collection {collection!r} is not there any more, and its points are gone"


def test_the_store_of_an_upload_is_settled(local_con: qframe.Connection, collection: str) -> None:
    """The store that an upload uses, which repeats its requests, passes the barrier too."""
    upload(collection, local_con, 2)
    with PatientStore(local_con.store()) as store:
        assert barrier(store, collection, exactly=20) is None


# ---- What a server does when it is told to ----


def test_late_writes_are_waited_for(
    local_con: qframe.Connection, server: LocalServer, collection: str
) -> None:
    """Writes that the server takes its time for are applied once the barrier is passed."""
    upload(collection, local_con, 1, wait=True)
    server.faults(["apply_late:0.3"] * 3)
    upload(collection, local_con, 3)
    with local_con.store() as store:
        assert store.count(collection) < 30
        assert barrier(store, collection, exactly=30) is None
        assert store.count(collection) == 30


def test_a_round_may_end_before_the_queue_does(
    local_con: qframe.Connection, server: LocalServer, collection: str
) -> None:
    """When the server stops waiting, it is asked again."""
    upload(collection, local_con, 1, wait=True)
    server.faults(["apply_late:1.5"])
    upload(collection, local_con, 1)
    with local_con.store() as store:
        assert store.settle(collection, 1) is False
        assert barrier(store, collection, exactly=BATCH, patience=10) is None
        assert store.settle(collection, 1) is True


def test_a_queue_that_outlasts_patience(
    local_con: qframe.Connection, server: LocalServer, collection: str
) -> None:
    """After the patience it is said how many writes are queued, and what to do."""
    upload(collection, local_con, 1, wait=True)
    server.faults(["apply_late:20"])
    upload(collection, local_con, 5)
    with local_con.store() as store:
        began = time.monotonic()
        said = barrier(store, collection, exactly=50, patience=0.5)
        assert time.monotonic() - began < 10
        info = store.describe(collection)
    # Four behind the one that the server is at, and the one that waits.
    assert info is not None
    assert info.queue_length == 5
    assert said is not None
    assert said.startswith("5 writes are still queued in the server")
    assert "verify(…) later" in said
    assert "the same upload with its journal" in said


def test_lost_points_are_told(
    local_con: qframe.Connection, server: LocalServer, collection: str
) -> None:
    """Points that were acknowledged and could not be applied are missed, and counted."""
    upload(collection, local_con, 1, wait=True)
    server.faults(["lose"], None)
    points = [{"id": n, "vector": [n, 1.0]} for n in range(100, 107)]
    report = qframe.upload_points(points, collection, local_con, barrier=False, progress=False)
    assert report["status"].tolist() == ["acknowledged"]
    with local_con.store() as store:
        said = barrier(store, collection, exactly=17)
        assert said is not None
        assert said.startswith("7 points are missing")
        assert barrier(store, collection, exactly=17) == said


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("red", "a write failed in the server, whose log says why"),
        ("red:no space left", "its optimiser failed: no space left"),
    ],
)
def test_a_red_collection(
    local_con: qframe.Connection, server: LocalServer, collection: str, fault: str, reason: str
) -> None:
    """A collection that its server holds to be broken is told, with the reason."""
    upload(collection, local_con, 1, wait=True)
    server.faults([fault])
    upload(collection, local_con, 1)
    with local_con.store() as store:
        said = barrier(store, collection, exactly=BATCH)
    assert said is not None
    assert f"is in the state red ({reason})" in said
    assert "verify(…)" in said


def test_custom_sharding(
    local_con: qframe.Connection, server: LocalServer, collection: str
) -> None:
    """The shards that were written to are waited for; without their keys a server refuses."""
    client = QdrantClient(url=server.rest_url)
    with local_con.store() as store:
        client.create_collection(
            collection,
            {"size": 2, "distance": "Dot"},  # type: ignore[arg-type]
            sharding_method="custom",  # type: ignore[arg-type]
        )
        for key in ("red", 7):
            client.create_shard_key(collection, key)
        client.close()
        server.faults(["apply_late:0.2"])
        upload(collection, local_con, 2, shard_key=["red", 7])
        assert barrier(store, collection, exactly=20, shard_key=["red", 7]) is None
        assert barrier(store, collection, exactly=20, shard_key="red") is None
        assert barrier(store, collection, exactly=20, shard_key=7) is None
        said = barrier(store, collection, exactly=20)
    assert said is not None
    assert "Shard key not specified" in said


# ---- A server that is not there ----


@pytest.fixture(params=["rest", "grpc"])
def leaving(request: pytest.FixtureRequest) -> Iterator[tuple[LocalServer, qframe.Connection]]:
    """A server of one's own, and a connection of each transport to it."""
    with LocalServer() as own:
        yield own, qframe.connect(own.rest_url if request.param == "rest" else own.grpc_url)


def test_a_server_that_goes_away(leaving: tuple[LocalServer, qframe.Connection]) -> None:
    """Without a server nothing is known, which is said when the patience is over, not raised."""
    server, con = leaving
    upload("films", con, 1)
    server.stop()
    passing = Time()
    with con.store() as store:
        said = barrier(
            store, "films", exactly=10, patience=9, clock=passing.clock, sleep=passing.sleep
        )
    assert said is not None
    assert re.match(r"whether .* could not be found out \((ServerUnreachable|ConnectionLost)", said)
    assert "verify(…) later" in said
    assert 5 < passing.now < 9
    assert passing.pauses[0] == 0.1
    assert max(passing.pauses) == 2.0


class Flaky(PatientStore):
    """A store of which every other count by ids is lost on the way."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, retry=0)
        self.counts: list[int] = []

    def count(self, collection: str, ids: Any = None) -> int:
        """Count, or lose the connection."""
        if ids is not None:
            self.counts.append(ids[0])
            if len(self.counts) % 2:
                raise ConnectionLost("gone")
        return super().count(collection, ids)


def test_what_was_counted_is_not_counted_again(con: qframe.Connection, collection: str) -> None:
    """Where a connection breaks among many pages of ids, the next one goes on there."""
    upload(collection, con, 3)
    passing = Time()
    with Flaky(con.store()) as store:
        said = barrier(store, collection, ids=known(30), clock=passing.clock, sleep=passing.sleep)
        assert store.counts == [0, 0, 7, 7, 14, 14, 21, 21, 28, 28]
    assert said is None


def test_a_server_that_comes_back(leaving: tuple[LocalServer, qframe.Connection]) -> None:
    """A server that is away for a moment is asked again."""
    server, con = leaving
    upload("films", con, 2)
    server.stop()

    def sleep(seconds: float) -> None:
        if not started:
            started.append(seconds)
            server.start()
        time.sleep(seconds)

    started: list[float] = []
    with con.store() as store:
        assert barrier(store, "films", exactly=20, sleep=sleep) is None
    assert started


def test_what_the_user_stops_is_stopped(leaving: tuple[LocalServer, qframe.Connection]) -> None:
    """Ctrl-C goes through."""
    server, con = leaving
    server.stop()

    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt

    with con.store() as store, pytest.raises(KeyboardInterrupt):
        barrier(store, "films", exactly=20, sleep=sleep)


def test_a_key_that_may_only_read() -> None:
    """What a key does not allow is said at once: waiting gives no permission."""
    with LocalServer(api_key="to-write", read_only_api_key="to-read") as own:
        for url in (own.rest_url, own.grpc_url):
            writing = qframe.connect(url, api_key="to-write")
            upload("films", writing, 1)
            passing = Time()
            with qframe.connect(url, api_key="to-read").store() as store:
                said = barrier(store, "films", exactly=10, clock=passing.clock, sleep=passing.sleep)
            assert said is not None
            assert "PermissionDenied" in said
            assert passing.pauses == []
