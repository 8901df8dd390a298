"""Servers that die, come back, and come late."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import qframe
from tests.faults.frames import plain
from tests.faults.oracle import check, check_complete
from tests.server import LocalServer


def address(server: LocalServer, transport: str) -> str:
    """Where a transport finds a server."""
    return server.rest_url if transport == "rest" else server.grpc_url


class Later:
    """Does something in a thread after some seconds, and tells when it was done."""

    def __init__(self, seconds: float, action: Any) -> None:
        self._timer = threading.Timer(seconds, action)
        self._timer.start()

    def join(self) -> None:
        """Wait for it."""
        self._timer.join(60)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_server_that_is_killed_and_restarted(kind: Any, transport: str, collection: str) -> None:
    """Killed in the middle and back after three seconds: all rows come in, applied ones stay."""
    data = plain(600)
    with LocalServer() as server:
        restarts: list[Later] = []

        def kill(event: qframe.ProgressEvent) -> None:
            if not restarts and event.points.get("applied", 0) >= 100:
                server.kill()
                restarts.append(Later(3, server.start))

        began = time.monotonic()
        report = data.upload(
            collection,
            address(server, transport),
            batch_size=10,
            workers=3,
            worker_kind=kind,
            wait=True,
            retry=qframe.Retry(attempts=None, backoff=0.1, max_backoff=0.5, timeout=60),
            progress=kill,
        )
        assert time.monotonic() - began >= 3
        restarts[0].join()
        check(report, data, server, collection)
        assert set(report["status"]) == {"applied"}
        assert report["retries"].sum() > 0
        check_complete(data, server, collection)


def test_a_server_that_stays_away(transport: str, collection: str) -> None:
    """Where it does not come back, rows are what the report says when it does at last."""
    data = plain(300)
    with LocalServer() as server:

        def kill(event: qframe.ProgressEvent) -> None:
            if event.points.get("applied", 0) == 100:
                server.kill()

        began = time.monotonic()
        with pytest.raises(qframe.UploadError) as raised:
            data.upload(
                collection,
                address(server, transport),
                batch_size=10,
                workers=2,
                wait=True,
                retry=qframe.Retry(attempts=4, backoff=0.01),
                progress=kill,
            )
        assert time.monotonic() - began < 30
        server.start()
        report = raised.value.report
        check(report, data, server, collection)
        assert report["status"].iloc[-1] == "unsent"
        again = data.upload(collection, address(server, transport), resume=report)
        check(again, data, server, collection)
        assert again.attrs["upload"]["resumed"] >= 100
        check_complete(data, server, collection)


def test_a_server_that_starts_late(transport: str, collection: str) -> None:
    """Who names a retry waits for it; who does not is told at once."""
    data = plain(40)
    with LocalServer() as server:
        url = address(server, transport)
        server.kill()
        began = time.monotonic()
        with pytest.raises(qframe.ServerUnreachable):
            data.upload(collection, url)
        assert time.monotonic() - began < 10
        late = Later(2, server.start)
        report = data.upload(
            collection,
            url,
            wait=True,
            retry=qframe.Retry(attempts=None, backoff=0.1, max_backoff=0.5, timeout=60),
        )
        late.join()
        check(report, data, server, collection)
        check_complete(data, server, collection)
