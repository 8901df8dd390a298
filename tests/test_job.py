from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import qframe
from qframe import BadRowsError, UploadError, UploadInterrupted, UploadJob
from tests.server import LocalServer

ROWS = 2_000


@pytest.fixture
def frame() -> pd.DataFrame:
    """Many small rows."""
    return pd.DataFrame({"n": range(ROWS), "v": list(np.ones((ROWS, 4), np.float32))})


@pytest.fixture
def slow(server: LocalServer) -> Iterator[LocalServer]:
    """A server that takes its time for each batch."""
    server.reset()
    server.faults(["delay:0.05*1000"])
    yield server
    server.reset()


def _begin(frame: pd.DataFrame, server: LocalServer, **options: object) -> UploadJob:
    job = frame.qdrant.upload(
        "films", server.rest_url, vectors="v", batch_size=20, block=False, progress=False, **options
    )
    assert isinstance(job, UploadJob)
    return job


def _wait_for(job: UploadJob, batches: int) -> None:
    until = time.monotonic() + 60
    while len(job.report) < batches:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_upload_goes_on_by_itself(frame: pd.DataFrame, slow: LocalServer) -> None:
    """The call returns before the end, the report grows, and the result is the whole of it."""
    job = _begin(frame, slow)
    assert not job.done
    _wait_for(job, 3)
    first = job.report
    assert 0 < first["points"].sum() < ROWS
    assert first.attrs["upload"]["rows"] == ROWS
    assert "under way" in repr(job)
    slow.reset(collections=False)
    report = job.result()
    assert job.done
    assert report["points"].sum() == ROWS
    assert set(report["status"]) == {"applied"}
    assert job.report is report
    assert job.result() is report
    assert repr(job) == f"<UploadJob films: {ROWS:,} of {ROWS:,} points, done>"


def test_a_job_is_stopped(frame: pd.DataFrame, slow: LocalServer) -> None:
    """A stop returns at once; the result raises, with a report that an upload can go on from."""
    job = _begin(frame, slow)
    _wait_for(job, 3)
    job.stop()
    with pytest.raises(UploadInterrupted) as caught:
        job.result()
    report = caught.value.report
    assert report["points"].sum() == ROWS
    assert "unsent" in set(report["status"])
    assert job.report is report
    assert "stopped" in repr(job)
    job.stop()
    slow.reset(collections=False)
    again = frame.qdrant.upload("films", slow.rest_url, vectors="v", resume=report, progress=False)
    assert set(again["status"]) == {"applied"}


def test_waiting_has_an_end(frame: pd.DataFrame, slow: LocalServer) -> None:
    """A time-out ends the waiting, and says that the job goes on."""
    job = _begin(frame, slow)
    with pytest.raises(TimeoutError, match=r"UploadJob films: .*goes on"):
        job.result(timeout=0.2)
    assert not job.done
    job.stop()
    with pytest.raises(UploadInterrupted):
        job.result(timeout=60)


def test_ctrl_c_ends_the_waiting_only(frame: pd.DataFrame, slow: LocalServer) -> None:
    """Ctrl-C in `result` leaves the upload alone."""
    job = _begin(frame, slow)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt, match=r"goes on; job\.stop\(\) ends it") as caught:
        job.result()
    timer.join()
    assert not isinstance(caught.value, UploadInterrupted)
    assert not job.done
    job.stop()
    with pytest.raises(UploadInterrupted):
        job.result()


def test_a_cell_that_is_run_twice(frame: pd.DataFrame, slow: LocalServer) -> None:
    """A second job into the same collection is told of the first; one into another is not."""
    first = _begin(frame, slow)
    with pytest.warns(UserWarning, match="another job uploads to 'films' at .* already"):
        second = _begin(frame, slow, ids=frame.index)
    other = frame.qdrant.upload(
        "others", slow.rest_url, vectors="v", batch_size=20, block=False, progress=False
    )
    for job in (first, second, other):
        job.stop()
    for job in (first, second, other):
        with pytest.raises(UploadInterrupted):
            job.result()


def test_a_job_is_awaited(frame: pd.DataFrame, slow: LocalServer) -> None:
    """A coroutine waits while others run; several wait for one job."""

    async def main() -> int:
        job = _begin(frame.head(200), slow)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while not job.done:
                turns += 1
                await asyncio.sleep(0.01)

        async def wait() -> pd.DataFrame:
            return await job

        first, second, _ = await asyncio.gather(wait(), wait(), others())
        assert first is second
        assert (await job) is first
        assert first["points"].sum() == 200
        return turns

    assert asyncio.run(main()) > 3


def test_what_goes_wrong_is_told_and_raised(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Bad rows are raised by each `result`; nobody who never asks stays without a word."""
    server.reset()
    frame = pd.DataFrame({"v": [[1.0, 2.0], [1.0]]})
    with caplog.at_level(logging.WARNING, "qframe"):
        job = frame.qdrant.upload(
            "films", server.rest_url, vectors="v", block=False, progress=False
        )
        for _ in range(2):
            with pytest.raises(BadRowsError, match="nothing was sent"):
                job.result()
    assert "the job that uploads to 'films' failed, as its result() tells: 1 of 2" in caplog.text
    assert job.report.empty


def test_points_that_did_not_arrive(frame: pd.DataFrame, server: LocalServer) -> None:
    """What a blocking call raises, the result does."""
    server.reset()
    server.faults(["bad_request*1000"])
    job = _begin(frame, server, retry=0)
    with pytest.raises(UploadError) as caught:
        job.result()
    server.reset()
    assert caught.value.report is job.report
    assert "failed" in repr(job)


def test_a_script_waits_for_its_job(tmp_path: Path) -> None:
    """At its end Python waits until the points are there."""
    store = tmp_path / "store"
    code = (
        "import sys, numpy as np, pandas as pd, qframe\n"
        "frame = pd.DataFrame({'n': range(5000)})\n"
        "frame.qdrant.upload('films', sys.argv[1], vectors=np.ones((5000, 4), np.float32),"
        " batch_size=100, block=False)\n"
        "print('over')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "over\n"
    assert "films: 5,000 of 5,000 points" in done.stderr
    assert len(qframe.read_collection("films", store)) == 5000


def test_a_job_is_stopped_while_the_server_applies(
    frame: pd.DataFrame, server: LocalServer
) -> None:
    """Nobody looks, and still nobody waits until the server has applied everything."""
    server.reset()
    server.faults(["apply_late:30"])
    job = frame.qdrant.upload(
        "films", server.rest_url, vectors="v", batch_size=ROWS, block=False, progress=False
    )
    _wait_for(job, 1)
    time.sleep(0.3)
    job.stop()
    with pytest.raises(UploadInterrupted) as caught:
        job.result(timeout=10)
    server.reset()
    assert set(caught.value.report["status"]) == {"acknowledged"}


def test_a_stop_before_anything_is_sent(
    frame: pd.DataFrame, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collection that was to be replaced is there, and the job says that it was stopped."""
    server.reset()
    frame.qdrant.upload("films", server.rest_url, vectors="v", progress=False)
    checked, stopped = threading.Event(), threading.Event()

    def check(rows: int) -> None:
        checked.set()
        stopped.wait(60)

    monkeypatch.setattr(qframe.watch.Watch, "check", lambda self, rows: check(rows))
    job = _begin(frame.head(5), server, if_exists="replace")
    checked.wait(60)
    job.stop()
    stopped.set()
    with pytest.raises(UploadInterrupted, match="stopped before anything was sent to 'films'"):
        job.result(timeout=60)
    assert "stopped" in repr(job)
    assert job.report.empty
    assert len(qframe.read_collection("films", server.rest_url)) == ROWS


def test_a_stopped_job_leaves_the_loop_alone(frame: pd.DataFrame, slow: LocalServer) -> None:
    """A task that awaits a stopped job ends, as a cancelled one; other tasks and the loop go on."""

    async def main() -> pd.DataFrame:
        job = _begin(frame, slow)

        async def wait() -> pd.DataFrame:
            return await job

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.3)
        job.stop()
        await asyncio.wait([task])
        assert task.cancelled()
        with pytest.raises(UploadInterrupted) as caught:
            await job
        return caught.value.report

    assert asyncio.run(main())["points"].sum() == ROWS


def test_a_report_so_far_can_be_gone_on_with(
    frame: pd.DataFrame, slow: LocalServer, tmp_path: Path
) -> None:
    """It tells the seconds by now, what earlier runs brought in, and what resume compares."""
    journal = tmp_path / "films.journal"
    job = _begin(frame, slow, journal=journal)
    _wait_for(job, 3)
    job.stop()
    with pytest.raises(UploadInterrupted):
        job.result()
    again = _begin(frame, slow, journal=journal)
    _wait_for(again, 10)
    report = again.report
    again.stop()
    summary = report.attrs["upload"]
    assert summary["seconds"] > 0
    assert summary["resumed"] > 0
    assert report["points"].sum() > summary["resumed"]
    with pytest.raises(UploadInterrupted):
        again.result()
    slow.reset(collections=False)
    last = frame.qdrant.upload("films", slow.rest_url, vectors="v", resume=report, progress=False)
    assert last.attrs["upload"]["resumed"] == report["points"].sum()


@pytest.mark.parametrize("faults", [[], ["bad_request*1000"]])
def test_a_job_that_has_ended_keeps_no_points(server: LocalServer, faults: list[str]) -> None:
    """What was uploaded is free once it is over, though the job, and its error, are kept."""
    server.reset()
    server.faults(faults)
    vectors = np.ones((100, 4), np.float32)
    frame = pd.DataFrame({"n": range(100)})
    kept = weakref.ref(vectors)
    job = frame.qdrant.upload(
        "films", server.rest_url, vectors=vectors, retry=0, block=False, progress=False
    )
    with contextlib.suppress(UploadError):
        job.result()
    assert len(job.report) == 1
    del vectors, frame
    gc.collect()
    assert kept() is None
    server.reset()


@pytest.mark.parametrize("block", [True, False])
def test_whether_to_block_may_be_a_variable(
    frame: pd.DataFrame, tmp_path: Path, *, block: bool
) -> None:
    """Then it is a frame or a job that comes of it, and type checkers are told so."""
    done = qframe.upload(frame, "films", tmp_path, vectors="v", progress=False, block=block)
    report = done.result() if isinstance(done, UploadJob) else done
    assert set(report["status"]) == {"applied"}


def test_a_job_is_stopped_while_a_server_gives_no_answer(
    frame: pd.DataFrame, server: LocalServer
) -> None:
    """Also before anything is sent nobody waits for the time limit of a request."""
    server.reset()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for url in (server.rest_url, server.grpc_url):
            job = frame.qdrant.upload("films", url, vectors="v", block=False, progress=False)
            with pytest.raises(TimeoutError):
                job.result(timeout=0.3)
            job.stop()
            with pytest.raises(UploadInterrupted):
                job.result(timeout=10)
    finally:
        os.kill(server.pid, signal.SIGCONT)
