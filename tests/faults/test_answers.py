"""What servers say: waits are kept, what passes is tried again, and the report is true."""

from __future__ import annotations

import time
from typing import Any

import pytest

import qframe
from tests.faults.frames import plain
from tests.faults.oracle import check, check_complete, check_sends
from tests.server import LocalServer

QUICK = qframe.Retry(attempts=4, backoff=0.01)

PASSING = (
    "timeout",
    "internal",
    "precondition",
    "bad_gateway",
    "unavailable",
    "unavailable:0.1",
    "insufficient_storage",
    "garbage",
    "drop_before",
    "drop_after",
)
DOUBTFUL = {"timeout", "garbage", "drop_before", "drop_after", "bad_gateway over rest"}
"""After these nobody knows; over gRPC the stand-in's bad gateway says that it is unavailable."""


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_by_itself(
    fault: str, transport: str, url: str, clean: LocalServer, collection: str
) -> None:
    """Two misfortunes of a kind cost two retries; without retries they are told as they are."""
    data = plain(40)
    options: dict[str, Any] = {"batch_size": 10, "order": "ordered", "wait": True}
    clean.faults(["delay:0", f"{fault}*2"])
    report = data.upload(collection, url, retry=QUICK, **options)
    check(report, data, clean, collection)
    assert report["attempts"].tolist() == [1, 3, 1, 1]
    check_sends(report, arrivals=len(clean.log()), attempts=4)
    check_complete(data, clean, collection)

    other = f"{collection}-once"
    clean.faults(["delay:0", fault])
    report = data.upload(other, url, retry=0, on_error="collect", **options)
    check(report, data, clean, other)
    is_doubtful = not DOUBTFUL.isdisjoint({fault, f"{fault} over {transport}"})
    assert report["status"].iloc[1] == ("unknown" if is_doubtful else "failed")
    assert report["attempts"].max() == 1
    data.upload(other, url, retry=0, **options)
    check_complete(data, clean, other)
    assert clean.pending_faults() == []


@pytest.mark.parametrize("fault", ["internal", "unavailable", "drop_after", "garbage"])
def test_what_does_not_pass(fault: str, url: str, clean: LocalServer, collection: str) -> None:
    """A batch that fails every time is given up after its attempts, and nothing more is sent."""
    data = plain(40)
    clean.faults([f"{fault}*8"])
    report = data.upload(
        collection, url, batch_size=20, order="ordered", retry=QUICK, on_error="collect"
    )
    check(report, data, clean, collection)
    assert report["attempts"].tolist() == [4, 4]
    assert len(clean.log()) == 8
    check_sends(report, arrivals=8, attempts=4)
    data.upload(collection, url, batch_size=20)
    check_complete(data, clean, collection)


# ---- Throttling ----

WAITS = {"1": 1.0, "0.3": 0.3, "0": 0.0, "date+2": 0.9, "soon": 0.0, "-3": 0.0, "100000": 0.2}
"""What comes as Retry-After, and the seconds that are waited at least, of at most 0.2 for the
last one; an HTTP date has no fractions."""


@pytest.mark.parametrize("value", WAITS)
@pytest.mark.parametrize("fault", ["rate_limit", "unavailable"])
def test_a_time_to_come_back_is_kept(
    fault: str, value: str, url: str, clean: LocalServer, collection: str
) -> None:
    """However it is written, and never longer than `max_wait`."""
    data = plain(20)
    clean.faults([f"{fault}:{value}"])
    longest = 0.2 if value == "100000" else 5.0
    retry = qframe.Retry(attempts=3, backoff=0.01, max_wait=longest)
    began = time.monotonic()
    report = data.upload(collection, url, batch_size=10, order="ordered", retry=retry)
    assert WAITS[value] <= time.monotonic() - began < WAITS[value] + 10
    check(report, data, clean, collection)
    assert report["attempts"].tolist() == [2, 1]
    assert report["throttled_s"].sum() >= WAITS[value] * 0.9
    first, second = clean.log()[:2]
    assert second["started"] - first["finished"] >= WAITS[value] * 0.9
    check_complete(data, clean, collection)


def test_all_workers_wait(url: str, clean: LocalServer, collection: str) -> None:
    """While one is asked to wait, nobody sends."""
    data = plain(200)
    clean.faults(["delay:0.05*3", "rate_limit:1"])
    report = data.upload(collection, url, batch_size=10, workers=4, retry=QUICK)
    check(report, data, clean, collection)
    log = clean.log()
    refused = next(entry for entry in log if entry["fault"] == "rate_limit:1")
    later = [entry["started"] for entry in log if entry["started"] > refused["finished"] + 0.1]
    assert min(later) - refused["finished"] >= 0.9
    check_complete(data, clean, collection)


def test_all_workers_are_throttled(url: str, clean: LocalServer, collection: str) -> None:
    """Each of the workers is told to wait, several times, and nothing is lost."""
    data = plain(100)
    clean.faults(["rate_limit:0.1*12"])
    report = data.upload(
        collection, url, batch_size=10, workers=4, retry=qframe.Retry(backoff=0.01)
    )
    check(report, data, clean, collection)
    assert clean.pending_faults() == []
    assert report["attempts"].sum() == 22 == len(clean.log())
    check_complete(data, clean, collection)


def test_a_bucket_that_is_too_small(url: str, clean: LocalServer, collection: str) -> None:
    """Batches that never fit are halved until they do, and those behind start small."""
    data = plain(160)
    clean.shrink(10)
    report = data.upload(collection, url, batch_size=40, order="ordered", wait=True, retry=QUICK)
    check(report, data, clean, collection)
    log = clean.log()
    assert [entry["points"] for entry in log if entry["status"] in (429, "RESOURCE_EXHAUSTED")] == [
        40,
        20,
    ]
    assert sum(entry["points"] for entry in log if entry["status"] in (200, "OK")) == 160
    check_sends(report, arrivals=len(log), attempts=4, splits=64)
    check_complete(data, clean, collection)


def test_a_body_that_is_too_large(url: str, clean: LocalServer, collection: str) -> None:
    """Requests that are too large are halved until they fit."""
    data = plain(160, size=64)
    clean.limit_body(9_000)
    report = data.upload(collection, url, batch_size=80, order="ordered", wait=True, retry=QUICK)
    check(report, data, clean, collection)
    log = clean.log()
    accepted = [entry for entry in log if entry["status"] in (200, "OK")]
    assert all(entry["bytes"] <= 9_000 for entry in accepted)
    assert len(log) - len(accepted) <= 6
    check_sends(report, arrivals=len(log), attempts=4, splits=64)
    check_complete(data, clean, collection)


def test_a_point_that_never_fits(url: str, clean: LocalServer, collection: str) -> None:
    """Where a single point is too large, it fails alone, and nothing is tried without end."""
    data = plain(64, size=64)
    clean.limit_body(100)
    report = data.upload(collection, url, batch_size=16, retry=QUICK, on_error="collect")
    check(report, data, clean, collection)
    assert set(report["status"]) == {"failed"}
    assert len(clean.log()) <= 4 * 65
    clean.limit_body(None)
    data.upload(collection, url)
    check_complete(data, clean, collection)


# ---- Keys, and the collection itself ----


@pytest.mark.parametrize("fault", ["unauthenticated", "forbidden"])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_key_that_is_withdrawn(
    fault: str, workers: int, url: str, clean: LocalServer, collection: str
) -> None:
    """The upload ends at once; what came before is there, and the rest was not sent."""
    data = plain(400)
    clean.faults(["delay:0*2", f"{fault}*{workers}"])
    with pytest.raises(qframe.UploadError) as raised:
        data.upload(collection, url, batch_size=10, workers=workers, wait=True, retry=QUICK)
    report = raised.value.report
    check(report, data, clean, collection)
    assert set(report["status"]) == {"applied", "failed", "unsent"}
    assert len(clean.log()) <= 2 + 2 * workers
    clean.reset(collections=False)
    again = data.upload(collection, url, resume=report)
    assert again.attrs["upload"]["resumed"] == (report["status"] == "applied").sum() * 10
    check_complete(data, clean, collection)


def test_a_collection_that_is_dropped(url: str, clean: LocalServer, collection: str) -> None:
    """The upload ends, makes no collection anew, and says what it knows."""
    data = plain(200)

    def drop(event: qframe.ProgressEvent) -> None:
        if event.result is not None and event.result.batch == 2:
            with qframe.connect(url).store() as store:
                store.delete(collection)

    with pytest.raises(qframe.UploadError) as raised:
        data.upload(
            collection, url, batch_size=10, order="ordered", wait=True, retry=QUICK, progress=drop
        )
    report = raised.value.report
    assert report["status"].tolist()[:3] == ["applied"] * 3
    assert report["error_type"].dropna().unique().tolist() == ["CollectionNotFound"]
    assert report["status"].iloc[-1] == "unsent"
    with qframe.connect(url).store() as store:
        assert store.describe(collection) is None
    with pytest.raises(qframe.ResumeMismatch, match="no such collection"):
        data.upload(collection, url, resume=report)
    data.upload(collection, url)
    check_complete(data, clean, collection)


# ---- Success that is none yet ----


@pytest.mark.parametrize("wait", [False, True])
def test_points_that_are_applied_later(
    wait: bool, url: str, clean: LocalServer, collection: str
) -> None:
    """`wait_timeout` and late applying cost no retry, and the barrier waits for both."""
    data = plain(60)
    clean.faults(["wait_timeout:0.3", "apply_late:0.3", "delay:0", "wait_timeout:0.2"])
    report = data.upload(collection, url, batch_size=10, order="ordered", wait=wait, retry=QUICK)
    assert report["attempts"].tolist() == [1] * 6
    assert set(report["status"]) == {"applied"}
    check(report, data, clean, collection)
    check_complete(data, clean, collection)


def test_without_a_barrier(url: str, clean: LocalServer, collection: str) -> None:
    """What was only acknowledged is called so, and comes."""
    data = plain(40)
    clean.faults(["wait_timeout:0.3"])
    report = data.upload(
        collection, url, batch_size=10, order="ordered", wait=True, barrier=False, retry=QUICK
    )
    assert report["status"].tolist() == ["acknowledged", "applied", "applied", "applied"]
    check(report, data, clean, collection)
    check_complete(data, clean, collection)


def test_points_that_the_server_lost(url: str, clean: LocalServer, collection: str) -> None:
    """Points that were acknowledged and never applied are missed, by count."""
    data = plain(40)
    clean.faults(["delay:0", "lose"])
    with pytest.raises(qframe.UploadError, match="10 points are missing") as raised:
        data.upload(collection, url, batch_size=10, order="ordered", retry=QUICK)
    report = raised.value.report
    assert set(report["status"]) == {"acknowledged"}
    assert "10 points are missing" in report.attrs["upload"]["barrier"]
    again = data.upload(collection, url, batch_size=10, resume=report)
    assert again.attrs["upload"]["resumed"] == 0
    check_complete(data, clean, collection)
