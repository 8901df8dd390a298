"""Ctrl-C in the middle: back within two seconds, and every row is what the report says."""

from __future__ import annotations

import time
from typing import Any

import pytest

import qframe
from tests.faults.frames import plain
from tests.faults.interrupts import pressed_after
from tests.faults.oracle import check, check_complete
from tests.faults.proxy import FaultProxy, hold
from tests.server import LocalServer


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("wait", [False, True])
def test_in_the_middle(
    kind: Any, wait: bool, url: str, clean: LocalServer, collection: str
) -> None:
    """What was in flight is unknown or has arrived, what was not begun is unsent."""
    data = plain(2000)
    clean.faults(["delay:0.03*200"])
    options: dict[str, Any] = {"batch_size": 10, "workers": 3, "wait": wait}
    with pressed_after(1.0) as moments, pytest.raises(qframe.UploadInterrupted) as raised:
        data.upload(collection, url, worker_kind=kind, **options)
    assert time.monotonic() - moments[0] < 2
    report = raised.value.report
    clean.reset(collections=False)
    time.sleep(0.1)  # requests that were broken off may still be served
    check(report, data, clean, collection)
    assert "unsent" in set(report["status"])
    again = data.upload(collection, url, resume=report, **options)
    check(again, data, clean, collection, before=data.points)
    check_complete(data, clean, collection)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_in_a_black_hole(kind: Any, proxy: FaultProxy, clean: LocalServer, collection: str) -> None:
    """A server that never answers holds nobody back; its rows are unknown."""
    data = plain(200)
    proxy.always(lambda number: hold("answer") if number >= 4 else None)
    with pressed_after(1.5) as moments, pytest.raises(qframe.UploadInterrupted) as raised:
        data.upload(collection, proxy.url, batch_size=10, workers=2, worker_kind=kind, wait=True)
    assert time.monotonic() - moments[0] < 2
    report = raised.value.report
    check(report, data, clean, collection)
    assert report["status"].value_counts()["applied"] == 4
    assert report["status"].value_counts()["unknown"] == 2
    proxy.reset()
    data.upload(collection, proxy.url, resume=report, wait=True)
    check_complete(data, clean, collection)


def test_while_all_wait_for_the_server(url: str, clean: LocalServer, collection: str) -> None:
    """A long Retry-After is no reason to stay."""
    data = plain(100)
    clean.faults(["delay:0*2", "rate_limit:60"])
    with pressed_after(0.7) as moments, pytest.raises(qframe.UploadInterrupted) as raised:
        data.upload(collection, url, batch_size=10, workers=2, wait=True)
    assert time.monotonic() - moments[0] < 2
    report = raised.value.report
    check(report, data, clean, collection)
    data.upload(collection, url, resume=report)
    check_complete(data, clean, collection)
