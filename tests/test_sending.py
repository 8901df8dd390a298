from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qframe
from qframe import InputError, ProgressEvent, UploadError, UploadInterrupted
from tests.server import LocalServer
from tests.test_pool import worker_processes

ROOT = Path(__file__).parents[1]

QUICK = qframe.Retry(attempts=2, backoff=0.01, splits=0)


def _frame(total: int = 1000) -> pd.DataFrame:
    return pd.DataFrame({"v": list(np.ones((total, 4), np.float32)), "n": range(total)})


def _adds_up(report: pd.DataFrame, total: int) -> None:
    """All rows of the frame are accounted for, once."""
    assert report["points"].sum() == total
    assert report["start"].iloc[0] == 0
    assert report["stop"].iloc[-1] == total
    assert (report["start"].iloc[1:].to_numpy() == report["stop"].iloc[:-1].to_numpy()).all()
    assert report["batch"].tolist() == list(range(len(report)))
    assert sum(report.attrs["upload"]["points"].values()) == total


def _stored(con: Any, collection: str) -> int:
    with qframe.connect(con).store() as store:
        info = store.describe(collection)
    assert info is not None
    return info.points


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("worker_kind", ["thread", "process"])
def test_stopping_in_the_middle(
    server: LocalServer, collection: str, workers: int, worker_kind: Any
) -> None:
    """Ctrl-C while batches are sent ends the upload with a report of every row."""

    def stop(event: ProgressEvent) -> None:
        if event.done >= 200 and not event.finished:
            raise KeyboardInterrupt

    server.reset()
    with pytest.raises(UploadInterrupted) as caught:
        _frame().qdrant.upload(
            collection,
            server.rest_url,
            vectors="v",
            batch_size=50,
            workers=workers,
            worker_kind=worker_kind,
            wait=True,
            progress=stop,
        )
    report = caught.value.report
    _adds_up(report, 1000)
    counts = report.attrs["upload"]["points"]
    assert counts["applied"] >= 200
    assert counts["unsent"] >= 500
    assert counts["failed"] == 0
    assert f"stopped: {counts['applied']:,} applied" in str(caught.value)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert counts["applied"] <= _stored(server.rest_url, collection)
    assert _stored(server.rest_url, collection) <= counts["applied"] + counts["unknown"]
    for thread in threading.enumerate():
        if "qframe-worker" in thread.name:
            thread.join(30)
            assert not thread.is_alive()
    assert worker_processes() == []


def test_a_signal_stops_the_embedded_engine(tmp_path: Path) -> None:
    """A real SIGINT ends an upload, and the store can be opened again at once."""

    def interrupt(event: ProgressEvent) -> None:
        if event.done == 100:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(UploadInterrupted) as caught:
        _frame().qdrant.upload(
            "films", tmp_path / "store", vectors="v", batch_size=50, progress=interrupt
        )
    _adds_up(caught.value.report, 1000)
    again = _frame().qdrant.upload(
        "films", tmp_path / "store", vectors="v", ids="n", progress=False
    )
    assert again.attrs["upload"]["points"]["applied"] == 1000
    assert _stored(tmp_path / "store", "films") == 1000


def test_records_that_break(tmp_path: Path) -> None:
    """An iterable that raises ends the upload with its error as the cause; all that came went."""

    def records() -> Iterator[dict[str, Any]]:
        for n in range(25):
            yield {"id": n, "vector": [1.0, 2.0]}
        raise OSError("the disk is gone")

    with pytest.raises(UploadError, match="OSError: the disk is gone") as caught:
        qframe.upload_points(records(), "films", tmp_path / "store", batch_size=10, progress=False)
    assert isinstance(caught.value.__cause__, OSError)
    report = caught.value.report
    assert report["points"].sum() == _stored(tmp_path / "store", "films") == 25
    assert set(report["status"]) == {"applied"}


def test_records_that_are_stopped(tmp_path: Path) -> None:
    """A KeyboardInterrupt in the iterable is one of the upload."""

    def records() -> Iterator[dict[str, Any]]:
        for n in range(25):
            yield {"id": n, "vector": [1.0, 2.0]}
        raise KeyboardInterrupt

    with pytest.raises(UploadInterrupted) as caught:
        qframe.upload_points(records(), "films", tmp_path / "store", batch_size=10, progress=False)
    assert caught.value.report["points"].sum() == 20


def test_a_callable_that_fails(tmp_path: Path) -> None:
    """An error of the caller's own function costs no report."""

    def fail(event: ProgressEvent) -> None:
        if event.done >= 100:
            raise ZeroDivisionError("in the callback")

    with pytest.raises(UploadError, match="in the callback") as caught:
        _frame().qdrant.upload(
            "films", tmp_path / "store", vectors="v", batch_size=50, progress=fail
        )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    report = caught.value.report
    assert report["points"].sum() == _stored(tmp_path / "store", "films") == 1000


def test_a_log_that_nobody_reads_any_more(tmp_path: Path) -> None:
    """When the reader of the progress lines has gone, the upload goes on and says so."""
    script = (
        "import pandas as pd, qframe, sys\n"
        "df = pd.DataFrame({'v': [[1.0, 2.0]] * 10})\n"
        f"report = df.qdrant.upload('films', {str(tmp_path / 'store')!r}, vectors='v')\n"
        "print(report['status'].tolist())\n"
    )
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=write, cwd=ROOT
    ) as process:
        os.close(write)
        out, _ = process.communicate(timeout=60)
    assert out == b"['applied']\n"


def test_a_second_interrupt_keeps_the_report(server: LocalServer, collection: str) -> None:
    """Stopping again while requests in flight are awaited gives the report at once."""
    server.reset()
    server.faults(["delay:3"] * 4)
    script = (
        "import os, signal, threading, time, pandas as pd, qframe\n"
        "df = pd.DataFrame({'v': [[1.0, 2.0]] * 100})\n"
        "def stop():\n"
        "    for _ in range(2):\n"
        "        time.sleep(0.7)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        "try:\n"
        f"    df.qdrant.upload({collection!r}, {server.rest_url!r}, vectors='v', batch_size=10,\n"
        "        progress=False)\n"
        "except qframe.UploadInterrupted as error:\n"
        "    print(error.report['points'].sum(), sorted(set(error.report['status'])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout == "100 ['unknown', 'unsent']\n"


@pytest.mark.parametrize("presses", [1, 3])
def test_a_worker_that_hangs_does_not_keep_the_user(
    server: LocalServer, collection: str, presses: int
) -> None:
    """A stop takes less than two seconds and gives the report, whatever a worker waits for."""
    server.reset()
    _frame(10).qdrant.upload(collection, server.rest_url, vectors="v", ids="n", progress=False)
    script = (
        "import os, signal, socket, threading, time, pandas as pd, qframe\n"
        "df = pd.DataFrame({'v': [[1.0] * 4] * 100, 'id': range(100)})\n"
        "look_up, main = socket.getaddrinfo, threading.main_thread()\n"
        "def hang(*args, **options):\n"
        "    if threading.current_thread() is not main:\n"
        "        time.sleep(30)\n"
        "    return look_up(*args, **options)\n"
        "socket.getaddrinfo = hang\n"
        "pressed = []\n"
        "def stop():\n"
        "    time.sleep(1)\n"
        f"    for _ in range({presses}):\n"
        "        pressed.append(time.monotonic())\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(0.3)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        "try:\n"
        f"    df.qdrant.upload({collection!r}, {server.rest_url!r}, vectors='v', ids='id',\n"
        "        batch_size=10, progress=False)\n"
        "except qframe.UploadInterrupted as error:\n"
        "    print(time.monotonic() - pressed[0] < 2, error.report['points'].sum())\n"
        "    print(error.report['start'].tolist()[1:] == error.report['stop'].tolist()[:-1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout == "True 100\nTrue\n"


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_throttled_upload_that_advances_loses_nothing(
    server: LocalServer, collection: str, transport: str
) -> None:
    """Losing the race for a server's tokens is no failure while other batches get through."""
    url = server.rest_url if transport == "rest" else server.grpc_url
    server.reset()
    frame = _frame(60)
    strict = {"enabled": True, "write_rate_limit": 600}  # ten points a second
    frame.qdrant.upload(
        collection,
        url,
        vectors="v",
        ids="n",
        batch_size=10,
        workers=4,
        collection_config={"strict_mode_config": strict},
        progress=False,
    )
    server.faults(["rate_limit:0"] * 30)
    report = frame.qdrant.upload(
        collection,
        url,
        vectors="v",
        ids="n",
        batch_size=5,
        workers=4,
        retry=qframe.Retry(attempts=12, backoff=0.01),
        progress=False,
    )
    assert report.attrs["upload"]["points"]["applied"] == 60
    assert report["retries"].sum() == 30


def test_failed_batches_keep_no_bodies(server: LocalServer, collection: str) -> None:
    """The error of a failed batch is kept without the bytes that were sent."""
    server.reset()
    frame = _frame(400)
    frame["v"] = list(np.ones((400, 4000), dtype=np.float32))

    def highest() -> tuple[int, pd.DataFrame]:
        tracemalloc.start()
        try:
            report = frame.qdrant.upload(
                collection,
                server.rest_url,
                vectors="v",
                ids="n",
                batch_size=10,
                on_error="collect",
                progress=False,
                retry=0,
                barrier=False,
            )
            return tracemalloc.get_traced_memory()[1], report
        finally:
            tracemalloc.stop()

    _, fine = highest()
    usual, fine = highest()
    server.faults(["bad_request*40"])
    failing, failed = highest()
    assert set(fine["status"]) == {"acknowledged"}
    assert set(failed["status"]) == {"failed"}
    assert failing < usual + failed["bytes"].sum() / 4


@pytest.mark.parametrize("order", ["unordered", "semi-ordered", "ordered"])
def test_one_batch_that_fails(server: LocalServer, collection: str, order: Any) -> None:
    """The other batches are sent all the same, and then it is raised or reported."""
    arguments: dict[str, Any] = {
        "vectors": "v",
        "ids": "n",
        "batch_size": 100,
        "order": order,
        "retry": QUICK,
        "progress": False,
        "wait": True,
    }
    server.reset()
    server.faults(["bad_request"])
    with pytest.raises(UploadError, match="100 of 1,000 points did not arrive") as caught:
        _frame().qdrant.upload(collection, server.rest_url, **arguments)
    _adds_up(caught.value.report, 1000)
    assert "InvalidRequest" in str(caught.value)
    assert type(caught.value.__cause__).__name__ == "InvalidRequest"
    server.faults(["bad_request"])
    report = _frame().qdrant.upload(collection, server.rest_url, on_error="collect", **arguments)
    _adds_up(report, 1000)
    assert sorted(report["status"]) == ["applied"] * 9 + ["failed"]
    failed = report.query("status not in ('applied', 'acknowledged')")
    assert failed["error_type"].tolist() == ["InvalidRequest"]
    server.reset()


def test_a_fatal_error_stops_the_rest(server: LocalServer, collection: str) -> None:
    """Where going on is pointless no more is sent, and the rest is reported as unsent."""
    server.reset()
    server.faults(["delay:0", "forbidden"])
    report = _frame().qdrant.upload(
        collection,
        server.rest_url,
        vectors="v",
        batch_size=50,
        workers=2,
        retry=QUICK,
        on_error="collect",
        progress=False,
    )
    _adds_up(report, 1000)
    counts = report["status"].value_counts()
    assert counts["failed"] == 1
    assert counts["unsent"] >= 10  # those that were acknowledged while the delay lasted are not
    assert report.query("status == 'unsent'")["attempts"].sum() == 0
    assert report.query("status == 'failed'")["error_type"].tolist() == ["PermissionDenied"]
    assert len(server.log()) == 20 - counts["unsent"]
    server.reset()


@pytest.mark.parametrize("worker_kind", ["thread", "process"])
def test_a_deadline_ends_everything(server: LocalServer, collection: str, worker_kind: Any) -> None:
    """When the time for the upload is over, what is there is told, and the rest is unsent."""
    server.reset()
    _frame(10).qdrant.upload(collection, server.rest_url, vectors="v", ids="n", progress=False)
    server.faults(["delay:0", "delay:0", "delay:6", "delay:6"])
    arguments: dict[str, Any] = {
        "vectors": "v",
        "ids": "n",
        "batch_size": 50,
        "workers": 2,
        "worker_kind": worker_kind,
        "retry": qframe.Retry(deadline=2.5),
        "progress": False,
    }
    began = time.monotonic()
    with pytest.raises(UploadError, match=r"the 2\.5 s that the upload was given") as caught:
        _frame().qdrant.upload(collection, server.rest_url, **arguments)
    assert time.monotonic() - began < 6
    assert isinstance(caught.value.__cause__, qframe.DeadlinePassed)
    assert "\n  ended by DeadlinePassed: the 2.5 s that the upload was given" in str(caught.value)
    report = caught.value.report
    _adds_up(report, 1000)
    counts = report.attrs["upload"]["points"]
    assert (counts["acknowledged"], counts["unknown"]) == (100, 100)
    assert counts["unsent"] == 800
    server.faults(["delay:6", "delay:6"])
    report = _frame().qdrant.upload(collection, server.rest_url, on_error="collect", **arguments)
    assert report.attrs["upload"]["points"]["unsent"] == 900
    server.reset()


def test_a_server_that_has_gone_is_not_asked_for_more(collection: str) -> None:
    """When the server is gone for good, nobody waits until it has applied what it took."""
    with LocalServer() as mortal:

        def kill(event: ProgressEvent) -> None:
            if event.done == 50 and not event.finished:
                mortal.kill()

        began = time.monotonic()
        report = _frame().qdrant.upload(
            collection,
            mortal.rest_url,
            vectors="v",
            batch_size=50,
            retry=0,
            on_error="collect",
            progress=kill,
        )
        assert time.monotonic() - began < 30  # Retry.timeout is ten times as long
    _adds_up(report, 1000)
    counts = report.attrs["upload"]["points"]
    assert counts["acknowledged"] >= 50
    assert counts["unsent"] >= 500
    assert "the upload ended early" in report.attrs["upload"]["barrier"]


def test_a_deadline_ends_the_waiting_for_the_barrier(server: LocalServer, collection: str) -> None:
    """What the server has not applied by the deadline stays acknowledged, with the reason."""
    server.reset()
    server.faults(["apply_late:8"])
    report = _frame(10).qdrant.upload(
        collection,
        server.rest_url,
        vectors="v",
        retry=qframe.Retry(deadline=2.0),
        progress=False,
    )
    assert set(report["status"]) == {"acknowledged"}
    assert "still queued in the server" in report.attrs["upload"]["barrier"]
    assert report.attrs["upload"]["points"]["acknowledged"] == 10


def test_a_deadline_ends_the_waiting_for_a_server(collection: str) -> None:
    """A server that does not come is not waited for beyond the deadline."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        retry = qframe.Retry(attempts=None, timeout=None, max_backoff=0.1, deadline=1.0)
        with pytest.raises(qframe.ServerUnreachable):
            _frame().qdrant.upload(collection, url, vectors="v", retry=retry, progress=False)


@pytest.mark.parametrize("worker_kind", ["thread", "process"])
def test_a_batch_that_takes_too_long(
    server: LocalServer, collection: str, worker_kind: Any
) -> None:
    """Its worker is given up and replaced, it is unknown, and the others go in."""
    server.reset()
    _frame(10).qdrant.upload(collection, server.rest_url, vectors="v", ids="n", progress=False)
    server.faults(["delay:6"])
    report = _frame().qdrant.upload(
        collection,
        server.rest_url,
        vectors="v",
        ids="n",
        batch_size=100,
        worker_kind=worker_kind,
        batch_timeout=1.0,
        wait=True,
        on_error="collect",
        progress=False,
    )
    _adds_up(report, 1000)
    counts = report.attrs["upload"]["points"]
    assert (counts["applied"], counts["unknown"]) == (900, 100)
    (error,) = report["error_type"].dropna()
    assert error == "WorkerTimeout"
    server.reset()


def test_order_is_kept(server: LocalServer, collection: str) -> None:
    """With order="ordered" requests come one after another, whatever the workers."""
    server.reset()
    report = _frame().qdrant.upload(
        collection,
        server.rest_url,
        vectors="v",
        batch_size=100,
        order="ordered",
        workers=4,
        progress=False,
    )
    assert report["worker"].unique().tolist() == [0]
    assert [entry["points"] for entry in server.log()] == [100] * 10
    server.reset()


def test_bad_rows_are_set_aside(tmp_path: Path) -> None:
    """With bad_rows="skip" the good rows are stored, the others told, the ranges whole."""
    frame = _frame(100)
    frame["v"] = [*frame["v"][:7], None, *frame["v"][8:99], np.array([np.nan] * 4)]
    frame.index = pd.Index([f"row{n}" for n in range(100)])
    report = frame.qdrant.upload(
        "films",
        tmp_path / "store",
        vectors="v",
        ids="n",
        batch_size=10,
        bad_rows="skip",
        progress=False,
    )
    assert report["points"].sum() == _stored(tmp_path / "store", "films") == 98
    assert (report["start"].iloc[0], report["stop"].iloc[-1]) == (0, 100)
    summary = report.attrs["upload"]
    assert summary["rows"] == 100
    assert [(s["label"], s["reason"]) for s in summary["skipped"]] == [
        ("row7", "no vector"),
        ("row99", "holds NaN at position 0"),
    ]


def test_records_set_aside_are_raised_at_the_end(tmp_path: Path) -> None:
    """Good records arrive; the others raise at the end, or are only reported with "skip"."""
    records = [{"id": n if n != 3 else -3, "vector": [1.0, 2.0]} for n in range(10)]
    arguments: dict[str, Any] = {"batch_size": 4, "progress": False}
    with pytest.raises(UploadError, match=r"record 3: id: -3 is negative") as caught:
        qframe.upload_points(records, "films", tmp_path / "store", **arguments)
    assert caught.value.report["points"].sum() == 9
    report = qframe.upload_points(
        iter(records), "films", tmp_path / "store", bad_rows="skip", **arguments
    )
    assert report["points"].sum() == 9
    assert [s["position"] for s in report.attrs["upload"]["skipped"]] == [3]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"on_error": "ignore"}, "on_error='ignore': one of 'raise', 'collect'"),
        ({"bad_rows": "drop"}, "bad_rows='drop': 'raise' refuses the call"),
        ({"missing": "skip"}, "missing='skip'"),
        ({"if_exists": "overwrite"}, "if_exists='overwrite': 'append' adds"),
        ({"order": "sorted"}, "order='sorted': one of 'unordered', 'semi-ordered', 'ordered'"),
        ({"worker_kind": "fork"}, "worker_kind='fork': one of 'thread', 'process'"),
        ({"ordering": "strict"}, "ordering='strict': one of 'weak', 'medium', 'strong'"),
        ({"update_mode": "insert"}, "update_mode='insert': one of 'upsert', 'insert_only'"),
        ({"distance": "l2"}, "distance='l2': one of 'cosine', 'dot', 'euclid', 'manhattan'"),
        ({"distance": {"": 5}}, "distance=5: one of 'cosine'"),
        ({"batch_size": 0}, "batch_size=0: a whole number, 1 or more"),
        ({"batch_size": True}, "batch_size=True: a whole number, 1 or more"),
        ({"batch_size": 10.0}, "batch_size=10.0: a whole number"),
        ({"max_batch_bytes": -1}, "max_batch_bytes=-1: a whole number, 1 or more"),
        ({"workers": 0}, "workers=0: a whole number, 1 or more"),
        ({"workers": True}, "workers=True: a whole number, 1 or more"),
        ({"batch_timeout": 0}, "batch_timeout=0: seconds above 0"),
        ({"retry": -1}, "retry=-1: pass a number of retries"),
        ({"retry": True}, "retry=True: pass a number of retries"),
        ({"progress": "bar"}, "progress='bar': 'auto', True, False or a callable"),
        ({"con": 6333}, "con is a int"),
        ({"con": "localhost:6333"}, "looks like a server without its scheme"),
        ({"con": "redis://host"}, "redis:// is no scheme of Qdrant"),
    ],
    ids=str,
)
def test_a_bad_argument_sends_nothing(
    tmp_path: Path, arguments: dict[str, Any], found: str
) -> None:
    """Each wrong keyword is refused by value, with the right ones, and leaves no collection."""
    con = tmp_path / "store"
    arguments = {"con": con, "vectors": "v", "progress": False} | arguments
    with pytest.raises(InputError) as caught:
        _frame(3).qdrant.upload("films", **arguments)
    assert found in str(caught.value)
    arguments = {name: arguments[name] for name in arguments if name not in ("vectors", "missing")}
    if "missing='skip'" not in found:
        with pytest.raises(InputError) as caught:
            qframe.upload_points([{"id": 1, "vector": [1.0]}], "films", **arguments)
        assert found in str(caught.value)
    with qframe.connect(con).store() as store:
        assert store.describe("films") is None


@pytest.mark.parametrize(
    ("points", "found"),
    [
        (pd.DataFrame(), "not a DataFrame; df.qdrant.upload(…) takes a frame"),
        ({"id": 1}, "an iterable of records, not a dict"),
        ("records", "an iterable of records, not a str"),
        (5, "an iterable of records, not a int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_stream_of_records(tmp_path: Path, points: Any, found: str) -> None:
    """A frame, a single record or text is refused before anything is opened."""
    with pytest.raises(InputError) as caught:
        qframe.upload_points(points, "films", tmp_path / "store", progress=False)
    assert found in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_an_empty_frame_needs_a_collection(tmp_path: Path) -> None:
    """No rows into a collection are an empty report; without one its size is unknown."""
    empty = _frame(0).assign(v=pd.Series([], dtype=object))
    with pytest.raises(InputError, match="the size of a new collection's is unknown"):
        empty.qdrant.upload("films", tmp_path / "store", vectors="v", progress=False)
    _frame(3).qdrant.upload("films", tmp_path / "store", vectors="v", progress=False)
    report = empty.qdrant.upload("films", tmp_path / "store", vectors="v", ids="n", progress=False)
    assert len(report) == 0
    assert report.attrs["upload"]["rows"] == 0


class Counted(dict[str, int]):
    """A nested payload that counts how often it is read."""

    reads = 0

    def items(self) -> Any:
        Counted.reads += 1
        return super().items()


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_the_first_batch_leaves_before_the_last_one_is_encoded(
    server: LocalServer, collection: str, transport: str
) -> None:
    """Rows are converted batch by batch: while some have arrived, others are as they were."""
    total = 200
    frame = _frame(total).assign(nested=[Counted(n=at) for at in range(total)])
    Counted.reads = 0
    reads: list[int] = []
    url = server.rest_url if transport == "rest" else server.grpc_url
    qframe.upload(
        frame,
        collection,
        url,
        vectors="v",
        ids="n",
        batch_size=5,
        workers=1,
        progress=lambda event: reads.append(Counted.reads),
    )
    checked = total  # the whole frame is looked at before anything is sent
    assert checked <= reads[0] < checked + 2 * total / 4
    assert reads[-1] >= checked + 2 * total
