"""What happens on the way to the server: each row is what the report says, and comes in later."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

import qframe
from tests.faults.frames import Data, plain
from tests.faults.oracle import check, check_complete, check_sends
from tests.faults.proxy import Fault, FaultProxy, hold, lose_answer, refuse, reset, truncate
from tests.server import LocalServer

QUICK = qframe.Retry(attempts=6, backoff=0.02)

SPURIOUS = {"rest": 0, "grpc": 2}
"""Attempts on top: gRPC may begin a call on a connection before it has noticed that it was reset,
and so fail once more without a byte on the way."""

# Of the answer over REST the body begins after some 150 bytes, over gRPC all of it are some 100.
BROKEN: dict[str, dict[str, Fault]] = {
    "reset before the request": dict.fromkeys(("rest", "grpc"), reset()),
    "reset in the middle of it": dict.fromkeys(("rest", "grpc"), reset(None)),
    "reset before its last byte": dict.fromkeys(("rest", "grpc"), reset(1_000_000_000)),
    "answer lost": dict.fromkeys(("rest", "grpc"), lose_answer()),
    "no byte of the answer": dict.fromkeys(("rest", "grpc"), truncate(0)),
    "a few bytes of the answer": dict.fromkeys(("rest", "grpc"), truncate(9)),
    "most of the answer": {"rest": truncate(200), "grpc": truncate(50)},
}


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest, transport: str) -> Fault:
    """What breaks a connection."""
    return BROKEN[request.param][transport]


def upload(data: Data, collection: str, con: Any, **options: Any) -> Any:
    """Upload ten rows a batch, one after another, each applied before the next."""
    return data.upload(
        collection, con, **{"batch_size": 10, "order": "ordered", "wait": True, **options}
    )


def test_a_broken_connection_costs_a_retry(
    transport: str, broken: Fault, proxy: FaultProxy, clean: LocalServer, collection: str
) -> None:
    """Whatever breaks twice is sent three times, and nothing else is."""
    data = plain(40)
    proxy.plan(None, broken, broken)
    report = upload(data, collection, proxy.url, retry=QUICK)
    check(report, data, clean, collection)
    assert report["status"].tolist() == ["applied"] * 4
    assert report["attempts"].iloc[1] >= 3
    assert 6 <= report["attempts"].sum() <= 6 + SPURIOUS[transport]
    assert report["error"].isna().all()
    assert proxy.requests == 6
    check_sends(report, arrivals=len(clean.log()), attempts=6)
    check_complete(data, clean, collection)


def test_without_a_retry_nobody_knows(
    transport: str, broken: Fault, proxy: FaultProxy, clean: LocalServer, collection: str
) -> None:
    """A batch that broke is unknown, the others go on, and the same upload again completes it."""
    data = plain(40)
    proxy.plan(None, broken)
    with pytest.raises(qframe.UploadError) as raised:
        upload(data, collection, proxy.url, retry=0)
    report = raised.value.report
    check(report, data, clean, collection)
    assert report["status"].iloc[1] == "unknown"
    assert report["status"].eq("applied").sum() >= 3 - SPURIOUS[transport]
    assert report["error_type"].iloc[1] in ("ConnectionLost", "InvalidAnswer")
    assert report["attempts"].tolist() == [1] * 4
    assert 4 - SPURIOUS[transport] <= proxy.requests <= 4
    time.sleep(0.05)
    upload(data, collection, proxy.url, retry=0)
    check_complete(data, clean, collection)


def test_several_workers_break_one_by_one(
    transport: str, proxy: FaultProxy, clean: LocalServer, collection: str
) -> None:
    """Every third request suffers something else, and each costs one retry."""
    data = plain(300)
    faults = [faults[transport] for faults in BROKEN.values()]
    proxy.always(lambda number: faults[number % len(faults)] if number % 3 == 0 else None)
    report = data.upload(
        collection, proxy.url, batch_size=10, workers=4, retry=qframe.Retry(backoff=0.01)
    )
    check(report, data, clean, collection)
    check_sends(report, arrivals=len(clean.log()), attempts=8)
    assert proxy.requests == 30 + len(proxy.suffered)
    spurious = report["attempts"].sum() - proxy.requests
    assert 0 <= spurious <= SPURIOUS[transport] * len(proxy.suffered)
    check_complete(data, clean, collection)


def test_worker_processes_break_too(
    transport: str, proxy: FaultProxy, clean: LocalServer, collection: str
) -> None:
    """What is retried for a worker process is what is retried for a thread."""
    data = plain(60)
    proxy.plan(lose_answer(), reset(), None, reset(None))
    report = data.upload(
        collection, proxy.url, batch_size=10, workers=2, worker_kind="process", retry=QUICK
    )
    check(report, data, clean, collection)
    assert proxy.requests == 9
    assert 9 <= report["attempts"].sum() <= 9 + 3 * SPURIOUS[transport]
    check_complete(data, clean, collection)


def test_refused_connections(proxy: FaultProxy, clean: LocalServer, collection: str) -> None:
    """Connections that are reset as soon as they are made cost retries, of the preparation too."""
    data = plain(40)
    proxy.plan_connections(refuse(), None, refuse(), refuse())
    report = upload(data, collection, proxy.url, retry=qframe.Retry(backoff=0.1))
    check(report, data, clean, collection)
    assert set(report["status"]) == {"applied"}
    check_complete(data, clean, collection)


def test_a_port_that_closes_and_opens(
    proxy: FaultProxy, clean: LocalServer, collection: str
) -> None:
    """Where nobody listens for a while, an upload waits, and says so where it does not."""
    data = plain(40)
    upload(plain(1), collection, proxy.url)

    def close(event: qframe.ProgressEvent) -> None:
        if event.result is not None and event.result.batch == 0:
            proxy.mute()
            proxy.cut()

    report = upload(data, collection, proxy.url, retry=0, progress=close, on_error="collect")
    check(report, data, clean, collection)
    assert "applied" in set(report["status"])
    assert set(report["status"]) <= {"applied", "unknown", "failed", "unsent"}
    assert set(report["status"]) != {"applied"}
    proxy.listen()
    upload(data, collection, proxy.url, retry=QUICK)
    check_complete(data, clean, collection)


# ---- Silence ----


@pytest.mark.parametrize("where", ["request", "answer"])
def test_a_black_hole_ends_with_the_timeout(
    where: Any, proxy: FaultProxy, clean: LocalServer, collection: str
) -> None:
    """A request that nothing comes back for is given up in time, and is unknown."""
    data = plain(30)
    upload(plain(1), collection, proxy.url)
    proxy.plan(None, hold(where))
    con = qframe.connect(proxy.url, timeout=1)
    began = time.monotonic()
    with pytest.raises(qframe.UploadError) as raised:
        upload(data, collection, con, retry=0, wait=False, barrier=False)
    assert 1 <= time.monotonic() - began < 10
    report = raised.value.report
    assert report["status"].iloc[0] == "acknowledged"
    assert report["status"].iloc[1] == "unknown"
    assert report["error_type"].iloc[1] == "RequestTimeout"
    check(report, data, clean, collection)
    proxy.heal()
    upload(data, collection, proxy.url)
    check_complete(data, clean, collection)


@pytest.mark.parametrize("where", ["request", "answer"])
def test_a_black_hole_swallows_one_connection(
    where: Any, proxy: FaultProxy, clean: LocalServer, collection: str
) -> None:
    """What hangs on one connection is sent again on another."""
    data = plain(30)
    proxy.plan(None, hold(where))
    con = qframe.connect(proxy.url, timeout=1)
    report = upload(data, collection, con, retry=QUICK, wait=False)
    check(report, data, clean, collection)
    assert report["attempts"].tolist() == [1, 2, 1]
    assert set(report["status"]) == {"applied"}
    proxy.heal()  # what was held comes late, and changes nothing
    time.sleep(0.1)
    check_complete(data, clean, collection)


@pytest.mark.parametrize("where", ["request", "answer"])
def test_latency(where: Any, proxy: FaultProxy, clean: LocalServer, collection: str) -> None:
    """A second on every tenth request costs no retry."""
    data = plain(200)
    proxy.always(lambda number: hold(where, 1.0) if number % 10 == 9 else None)
    report = data.upload(collection, proxy.url, batch_size=10, workers=4, retry=QUICK, wait=True)
    check(report, data, clean, collection)
    assert report["attempts"].tolist() == [1] * 20
    assert len(proxy.suffered) == 2
    assert report["send_s"].max() >= 1
    check_complete(data, clean, collection)


def test_a_narrow_line(url: str, clean: LocalServer, collection: str) -> None:
    """What takes its time arrives."""
    data = plain(40)
    with FaultProxy(url, bandwidth=20_000) as proxy:
        report = upload(data, collection, proxy.url, retry=0)
    check(report, data, clean, collection)
    check_complete(data, clean, collection)


# ---- Idle connections ----


def slowly(rows: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield records, with a pause after every ten."""
    for row in range(rows):
        if row and row % 10 == 0:
            time.sleep(seconds)
        yield {"id": row, "vector": [float(row)] * 8, "payload": {"text": f"row {row}"}}


def test_half_closed_connections(proxy: FaultProxy, clean: LocalServer, collection: str) -> None:
    """A connection that the other side closed while nothing was sent is not sent on."""
    proxy.idle = 0.2
    report = qframe.upload_points(
        slowly(40, 0.5),
        collection,
        proxy.url,
        distance="dot",
        batch_size=10,
        order="ordered",
        wait=True,
        retry=QUICK,
        progress=False,
    )
    assert report["status"].tolist() == ["applied"] * 4
    assert report["points"].sum() == 40
    assert proxy.requests <= report["attempts"].sum() <= 8
    assert proxy.connections >= 4
    assert len(clean.log()) >= 4


def test_a_server_that_closes_idle_connections(transport: str, collection: str) -> None:
    """The same with the server's own keep-alive."""
    with LocalServer(keep_alive=0.2) as server:
        report = qframe.upload_points(
            slowly(30, 0.5),
            collection,
            server.rest_url if transport == "rest" else server.grpc_url,
            distance="dot",
            batch_size=10,
            order="ordered",
            wait=True,
            retry=QUICK,
            progress=False,
        )
        assert report["status"].tolist() == ["applied"] * 3
        assert len(server.log()) == report["attempts"].sum() == 3


def test_silence_is_not_forever(proxy: FaultProxy, clean: LocalServer, collection: str) -> None:
    """A connection that is accepted and never answered is given up in time."""
    proxy.plan_connections(hold("accept", math.inf))
    con = qframe.connect(proxy.url, timeout=1)
    began = time.monotonic()
    with pytest.raises(qframe.TransportError):
        upload(plain(10), collection, con, retry=0, wait=False)
    assert time.monotonic() - began < 10
    proxy.heal()
