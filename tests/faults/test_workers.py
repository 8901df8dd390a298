"""Worker processes that die: noticed at once, replaced, and their batches brought in by others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import qframe
from tests.faults.frames import plain
from tests.faults.oracle import check, check_complete, check_sends
from tests.faults.processes import gone, workers
from tests.server import LocalServer

QUICK = qframe.Retry(attempts=4, backoff=0.01)


class Killer(threading.Thread):
    """Kills workers once so many requests have come to the server.

    Attributes
    ----------
    killed : list of int
        Process numbers.
    moments : list of float
        When, in seconds since 1970.
    """

    def __init__(
        self, server: LocalServer, after: int, count: int, *, choose: Callable[..., Any] = sorted
    ) -> None:
        super().__init__(name="fault killer")
        self._server = server
        self._after = after
        self._count = count
        self._choose = choose
        self.killed: list[int] = []
        self.moments: list[float] = []
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + 30
        while len(self._server.log()) < self._after and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in self._choose(workers())[: self._count]:
            self.moments.append(time.time())
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)


@pytest.mark.parametrize("count", [1, 4])
def test_workers_that_are_killed(count: int, url: str, clean: LocalServer, collection: str) -> None:
    """One of four, or all of them, in the middle of a request: every row comes in all the same."""
    data = plain(200)
    clean.faults(["delay:3*4"])
    killer = Killer(clean, after=4, count=count)
    report = data.upload(
        collection, url, batch_size=10, workers=4, worker_kind="process", wait=True, retry=QUICK
    )
    killer.join()
    check(report, data, clean, collection)
    assert set(report["status"]) == {"applied"}
    assert report["deaths"].sum() == count
    deaths = report.attrs["upload"]["deaths"]
    assert sorted(death["pid"] for death in deaths) == sorted(killer.killed)
    assert all("SIGKILL" in death["cause"] for death in deaths)
    check_sends(report, arrivals=len(clean.log()), attempts=4, deaths=1)
    # The issue is when the others learn of it; what they were given before takes three seconds.
    resent = [entry["started"] for entry in clean.log()[4:]]
    assert min(resent) - killer.moments[0] < 2
    check_complete(data, clean, collection)
    assert gone(killer.killed)


def test_a_batch_that_kills_two_workers(url: str, clean: LocalServer, collection: str) -> None:
    """It is given up, and the others are not."""
    data = plain(50)
    clean.faults(["delay:3*2"])
    first = Killer(clean, after=1, count=1)
    second = Killer(clean, after=2, count=1)
    with pytest.raises(qframe.UploadError) as raised:
        data.upload(
            collection,
            url,
            batch_size=10,
            order="ordered",
            worker_kind="process",
            wait=True,
            retry=QUICK,
        )
    first.join()
    second.join()
    report = raised.value.report
    check(report, data, clean, collection)
    assert report["status"].tolist() == ["unknown", *["applied"] * 4]
    assert report["deaths"].tolist() == [2, 0, 0, 0, 0]
    assert report["error_type"].iloc[0] == "WorkerDied"
    assert report["attempts"].iloc[0] == 2
    assert len(report.attrs["upload"]["deaths"]) == 2
    assert len(clean.log()) == 6
    again = data.upload(collection, url, resume=report, wait=True)
    assert again["points"][again["attempts"] > 0].sum() == 10
    check_complete(data, clean, collection)


def test_workers_that_die_one_after_another(url: str, clean: LocalServer, collection: str) -> None:
    """As long as no batch meets it twice, all come in."""
    data = plain(300)
    clean.faults(["delay:0.02*60"])
    pids: list[int] = []

    def kill(event: qframe.ProgressEvent) -> None:
        if event.result is not None and event.result.batch % 6 == 0 and len(pids) < 5:
            for pid in sorted(workers() - set(pids))[:1]:
                os.kill(pid, signal.SIGKILL)
                pids.append(pid)

    report = data.upload(
        collection,
        url,
        batch_size=10,
        workers=3,
        worker_kind="process",
        wait=True,
        retry=QUICK,
        progress=kill,
        on_error="collect",
    )
    check(report, data, clean, collection)
    assert pids
    assert {death["pid"] for death in report.attrs["upload"]["deaths"]} <= set(pids)
    # Killed at random, the same batch may be hit twice: then it is unknown.
    assert set(report["status"]) <= {"applied", "unknown"}
    clean.reset(collections=False)
    data.upload(collection, url, resume=report, wait=True)
    check_complete(data, clean, collection)


def test_no_worker_stays(url: str, clean: LocalServer, collection: str) -> None:
    """After the upload none of its workers is left."""
    data = plain(40)
    seen: set[int] = set()
    data.upload(
        collection,
        url,
        batch_size=10,
        workers=2,
        worker_kind="process",
        progress=lambda event: seen.update(workers()),
    )
    assert seen
    assert gone(seen)
