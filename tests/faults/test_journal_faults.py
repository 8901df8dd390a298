"""A journal through faults: what it holds has arrived, and the next run sends the rest only."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

import qframe
from tests.faults.frames import plain
from tests.faults.oracle import check, check_complete
from tests.faults.proxy import FaultProxy, lose_answer, reset
from tests.server import LocalServer


def test_one_fault_after_another(
    proxy: FaultProxy, clean: LocalServer, collection: str, tmp_path: Path
) -> None:
    """Each run fails somewhere else, and none sends what a journal tells of."""
    data = plain(300)
    journal = tmp_path / "upload.qframe"
    resumed = 0
    for run, faults in enumerate(
        [
            ["delay:0*3", "unauthenticated"],
            ["delay:0*4", "internal*2", "delay:0*2", "forbidden"],
            ["delay:0*2", "drop_after*2", "garbage", "insufficient_storage"],
            ["delay:0*3", "bad_request", "not_found"],
        ]
    ):
        clean.faults(faults)
        before = data.points if run else None
        report = data.upload(
            collection,
            proxy.url,
            batch_size=10,
            order="ordered",
            wait=True,
            retry=0,
            journal=journal,
            on_error="collect",
        )
        check(report, data, clean, collection, before=before)
        assert report.attrs["upload"]["resumed"] == resumed
        earlier = report[report["attempts"] == 0]
        assert earlier.query("status == 'applied'")["points"].sum() == resumed
        resumed = int(report.query("status == 'applied'")["points"].sum())
        assert clean.pending_faults() == []
        clean.reset(collections=False)
    report = data.upload(collection, proxy.url, journal=journal)
    check(report, data, clean, collection, before=data.points)
    assert sum(entry["points"] for entry in clean.log()) == 300 - resumed
    check_complete(data, clean, collection)
    clean.reset(collections=False)
    report = data.upload(collection, proxy.url, journal=journal)
    assert clean.log() == []
    assert report.attrs["upload"]["resumed"] == 300


def test_with_bad_rows(url: str, clean: LocalServer, collection: str, tmp_path: Path) -> None:
    """The good rows of a batch that was halved are kept, the bad ones are tried again."""
    data = plain(200)
    journal = tmp_path / "upload.qframe"
    clean.poison([3, 77, 78, 199])
    for run in range(2):
        clean.reset(collections=False)
        clean.poison([3, 77, 78, 199])
        report = data.upload(
            collection, url, batch_size=50, journal=journal, on_error="collect", wait=True
        )
        check(report, data, clean, collection)
        assert report.attrs["upload"]["resumed"] == (196 if run else 0)
        assert data.frame.qdrant.failed(report)["key"].tolist() == [3, 77, 78, 199]
    assert sum(entry["points"] for entry in clean.log()) <= 8
    clean.poison([])
    data.upload(collection, url, journal=journal)
    check_complete(data, clean, collection)


@pytest.mark.parametrize("going_on", ["journal", "report"])
def test_going_on_before_all_is_applied(
    going_on: str, url: str, clean: LocalServer, collection: str, tmp_path: Path
) -> None:
    """What is acknowledged and still queued is waited for, and not missed."""
    data = plain(100)
    journal = tmp_path / "upload.qframe" if going_on == "journal" else None
    options: dict[str, Any] = {"batch_size": 10, "order": "ordered", "journal": journal}
    clean.faults(["delay:0*4", "apply_late:0.5", "unauthenticated"])
    report = data.upload(collection, url, barrier=False, on_error="collect", **options)
    assert report.attrs["upload"]["points"]["acknowledged"] == 50
    again = data.upload(collection, url, resume=report if going_on == "report" else None, **options)
    check(again, data, clean, collection, before=data.points)
    assert again.attrs["upload"]["resumed"] == 50
    assert len(clean.log()) == 11
    check_complete(data, clean, collection)


@pytest.mark.parametrize("damage", ["cut", "garbled", "a line lost", "emptied"])
def test_a_journal_that_was_damaged(
    damage: str, url: str, clean: LocalServer, collection: str, tmp_path: Path
) -> None:
    """What cannot be read is sent again; nothing is ever left out for it."""
    data = plain(200)
    journal = tmp_path / "upload.qframe"
    clean.faults(["delay:0*12", "unauthenticated"])
    data.upload(
        collection,
        url,
        batch_size=10,
        order="ordered",
        wait=True,
        journal=journal,
        on_error="collect",
    )
    content = journal.read_bytes()
    lines = content.splitlines(keepends=True)
    random = Random(damage)
    match damage:
        case "cut":
            content = content[: -random.randint(1, 40)]
        case "garbled":
            at = len(lines[0]) + random.randrange(len(content) - len(lines[0]))
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        case "a line lost":
            content = b"".join(lines[:4] + lines[5:])
        case "emptied":
            content = b""
    journal.write_bytes(content)
    report = data.upload(collection, url, journal=journal, wait=True)
    check(report, data, clean, collection, before=data.points)
    assert report.attrs["upload"]["resumed"] <= 120
    check_complete(data, clean, collection)


def test_over_a_bad_line(
    proxy: FaultProxy, clean: LocalServer, collection: str, tmp_path: Path
) -> None:
    """Runs with one attempt each, half of which break, come to an end."""
    data = plain(300)
    random = Random(5)
    proxy.always(
        lambda number: random.choice([lose_answer(), reset(), reset(None), None, None, None])
    )
    for run in range(60):
        try:
            report = data.upload(
                collection,
                proxy.url,
                batch_size=10,
                workers=3,
                wait=True,
                retry=0,
                journal=tmp_path / "upload.qframe",
                on_error="collect",
            )
        except qframe.TransportError:
            continue  # it broke before the first batch, while the journal was compared
        check(report, data, clean, collection, before=data.points if run else None)
        if set(report["status"]) == {"applied"}:
            break
    check_complete(data, clean, collection)
