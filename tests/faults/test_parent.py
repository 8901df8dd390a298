"""An upload whose process is killed, and gone on with from its journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.frames import plain
from tests.faults.oracle import check_complete
from tests.faults.parents import Job, Parents, kill_until_done, parents
from tests.faults.processes import gone
from tests.server import LocalServer

BATCH, WORKERS = 10, 2


@pytest.fixture(scope="module")
def parent() -> Iterator[Parents]:
    """What forks the processes that upload."""
    with parents() as made:
        yield made


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_killed_again_and_again(
    kind: Any,
    wait: bool,
    url: str,
    parent: Parents,
    clean: LocalServer,
    collection: str,
    tmp_path: Path,
) -> None:
    """However often it is killed, the next run goes on; few points are sent twice."""
    rows = 1000
    options = {
        "batch_size": BATCH,
        "workers": WORKERS,
        "wait": wait,
        "worker_kind": kind,
    }
    clean.faults(["delay:0.02*1000"])
    random = Random(f"{kind} {wait} {url.partition(':')[0]}")
    # A process needs 0.1 s until it sends, and 1 s more with a nursery to be started.
    slow, times = (1.0, 2) if kind == "process" else (0.0, 5)
    moments = (slow + random.uniform(0, 0.8) for _ in range(times))
    job = Job(url, collection, str(tmp_path / "upload.qframe"), rows, options)
    killed = kill_until_done(parent, clean, job, moments)
    check_complete(plain(rows), clean, collection)
    assert killed.left == []
    # What is under way when it dies, and what was answered and not yet noted, comes again.
    assert rows <= killed.sent <= rows + killed.kills * 3 * WORKERS * BATCH


def test_a_full_disk(
    url: str, parent: Parents, clean: LocalServer, collection: str, tmp_path: Path
) -> None:
    """A journal that cannot be written costs a warning and no row; what it has is of use."""
    rows = 400
    journal = tmp_path / "upload.qframe"
    options = {"batch_size": BATCH, "order": "ordered", "wait": True}
    job = Job(url, collection, str(journal), rows, options)
    pid = parent.start(Job(*(getattr(job, name) for name in Job.__slots__[:-1]), 1500))
    told = parent.wait()
    assert told["code"] == 0
    said = told["said"]
    assert said["error"] is None
    assert said["summary"]["points"]["applied"] == rows
    assert "The upload goes on" in said["summary"]["journal_error"]
    assert len([text for text in said["warnings"] if "The upload goes on" in text]) == 1
    assert 0 < journal.stat().st_size <= 1500
    check_complete(plain(rows), clean, collection)
    assert gone([pid])

    parent.start(job)
    summary = parent.wait()["said"]["summary"]
    assert 0 < summary["resumed"] < rows
    assert summary["journal_error"] is None
    assert summary["points"]["applied"] == rows
    check_complete(plain(rows), clean, collection)
    sent = sum(entry["points"] for entry in clean.log())
    assert sent == 2 * rows - summary["resumed"]


def test_no_place_for_the_first_line(
    url: str, parent: Parents, clean: LocalServer, collection: str, tmp_path: Path
) -> None:
    """A journal that cannot even be begun ends the call before anything is sent."""
    job = Job(url, collection, str(tmp_path / "upload.qframe"), 100, {}, file_limit=20)
    parent.start(job)
    told = parent.wait()
    assert told["said"]["error"].startswith("JournalError")
    assert clean.log() == []
