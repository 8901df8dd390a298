"""Rows that the server refuses whatever else comes with them: they alone stay out."""

from __future__ import annotations

import math
from typing import Any

import pytest

import qframe
from tests.faults.frames import plain
from tests.faults.oracle import check, check_complete, check_sends
from tests.faults.proxy import FaultProxy, lose_answer, reset
from tests.server import LocalServer

QUICK = qframe.Retry(attempts=4, backoff=0.01)

STANDING: dict[str, list[int]] = {
    "the first": [0],
    "the last": [99],
    "one": [37],
    "two far apart": [3, 71],
    "two neighbours": [49, 50],
    "a few at the start": [0, 1, 2, 3],
    "one in each batch": [10, 60, 110, 160],
}


def states(report: Any) -> dict[int, str]:
    """What the report says of each row."""
    found: dict[int, str] = {}
    for row in report.itertuples():
        found |= dict.fromkeys(range(row.start, row.stop), row.status)
    return found


@pytest.mark.parametrize("where", STANDING)
def test_only_the_bad_rows_stay_out(
    where: str, url: str, clean: LocalServer, collection: str
) -> None:
    """Each bad row fails alone, with the server's words, for few requests."""
    data, bad = plain(200), STANDING[where]
    clean.poison(bad)
    with pytest.raises(qframe.UploadError) as raised:
        data.upload(collection, url, batch_size=50, order="ordered", wait=True, retry=QUICK)
    report = raised.value.report
    check(report, data, clean, collection)
    assert [row for row, state in states(report).items() if state == "failed"] == bad
    failures = report[report["status"] == "failed"]
    assert failures["points"].sum() == len(bad)
    assert set(failures["error_type"]) == {"InvalidRequest"}
    assert failures["error"].str.contains("poison").all()
    # Each bad row costs a path of halvings, and both halves of each are sent.
    assert len(clean.log()) <= 4 + len(bad) * 2 * math.ceil(math.log2(50))
    check_sends(report, arrivals=len(clean.log()), attempts=4, splits=64)
    rest = data.frame.qdrant.failed(report)
    assert rest["key"].tolist() == bad
    clean.poison([])
    again = data.upload(collection, url, wait=True, resume=report)
    assert again["points"][again["attempts"] > 0].sum() == len(bad)
    check(again, data, clean, collection, before={r: data.points[r] for r in data.points})
    check_complete(data, clean, collection)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_several_workers_find_them(
    kind: Any, url: str, clean: LocalServer, collection: str
) -> None:
    """Batches of several workers are halved side by side."""
    data, bad = plain(600), [5, 250, 251, 599]
    clean.poison(bad)
    report = data.upload(
        collection,
        url,
        batch_size=100,
        workers=3,
        worker_kind=kind,
        retry=QUICK,
        on_error="collect",
    )
    check(report, data, clean, collection)
    assert [row for row, state in states(report).items() if state == "failed"] == bad
    check_sends(report, arrivals=len(clean.log()), attempts=4, splits=64)


def test_nothing_but_bad_rows(url: str, clean: LocalServer, collection: str) -> None:
    """Where every row is refused, halving gives up before it has cost a request a row."""
    data = plain(1000)
    clean.poison(range(1000))
    report = data.upload(
        collection, url, batch_size=100, order="ordered", retry=QUICK, on_error="collect"
    )
    check(report, data, clean, collection)
    assert set(report["status"]) == {"failed"}
    assert len(clean.log()) <= 100
    clean.poison([])
    data.upload(collection, url, resume=report)
    check_complete(data, clean, collection)


def test_more_bad_rows_than_may_be_looked_for(
    url: str, clean: LocalServer, collection: str
) -> None:
    """With few splits the rest of the batch fails with its bad rows, and nothing is lost."""
    data, bad = plain(200), list(range(0, 200, 7))
    clean.poison(bad)
    report = data.upload(
        collection,
        url,
        batch_size=100,
        order="ordered",
        retry=qframe.Retry(attempts=4, backoff=0.01, splits=10),
        on_error="collect",
    )
    check(report, data, clean, collection)
    check_sends(report, arrivals=len(clean.log()), attempts=1, splits=10)
    found = states(report)
    assert all(found[row] == "failed" for row in bad)
    clean.poison([])
    data.upload(collection, url, resume=report)
    check_complete(data, clean, collection)


def test_without_splits(url: str, clean: LocalServer, collection: str) -> None:
    """`retry=0` sends everything once; the batch of the bad row fails as a whole."""
    data = plain(100)
    clean.poison([37])
    report = data.upload(
        collection, url, batch_size=20, order="ordered", retry=0, on_error="collect"
    )
    check(report, data, clean, collection)
    assert report["status"].eq("failed").tolist() == [False, True, False, False, False]
    assert len(clean.log()) == 5


def test_bad_rows_over_a_bad_line(proxy: FaultProxy, clean: LocalServer, collection: str) -> None:
    """Connections that break while a batch is halved cost retries, and no good row."""
    data, bad = plain(300), [5, 250]
    clean.poison(bad)
    proxy.always(lambda number: [lose_answer(), reset(None)][number % 2] if number % 3 else None)
    report = data.upload(
        collection,
        proxy.url,
        batch_size=100,
        workers=3,
        retry=qframe.Retry(attempts=None, backoff=0.01, timeout=60),
        on_error="collect",
    )
    proxy.always(None)
    check(report, data, clean, collection)
    found = states(report)
    # A refusal behind a lost answer leaves it open whether the row got in before.
    assert {row for row, state in found.items() if state in ("failed", "unknown")} == set(bad)
    clean.poison([])
    data.upload(collection, proxy.url, resume=report)
    check_complete(data, clean, collection)


def test_bad_rows_and_a_small_bucket(url: str, clean: LocalServer, collection: str) -> None:
    """Halved for their number first, and for a bad row then."""
    data = plain(160)
    clean.poison([77])
    clean.shrink(20)
    report = data.upload(
        collection, url, batch_size=80, order="ordered", retry=QUICK, on_error="collect"
    )
    check(report, data, clean, collection)
    assert [row for row, state in states(report).items() if state == "failed"] == [77]
