"""What goes wrong between a frame and a server, over both transports, and what is said of it."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qframe
from qframe import errors
from tests.server import LocalServer

KEY = "sesame-open-4711"
WRONG_KEY = "sesame-shut-0815"
QUICK = qframe.Retry(attempts=4, backoff=0.01)
STATUSES = ("applied", "acknowledged", "failed", "unknown", "unsent")


@pytest.fixture(params=["rest", "grpc"])
def transport(request: pytest.FixtureRequest) -> str:
    """Name each transport that has a server."""
    return str(request.param)


@pytest.fixture
def con(transport: str, server: LocalServer) -> qframe.Connection:
    """Connect to the local server, which alone takes orders for misfortunes."""
    return reach(server, transport)


@pytest.fixture(autouse=True)
def no_faults_left(server: LocalServer) -> Iterator[None]:
    """See that every misfortune that a test ordered befell it, and none the next test."""
    yield
    left = server.pending_faults()
    server.reset(collections=False)
    assert left == []


def reach(server: LocalServer, transport: str, **options: Any) -> qframe.Connection:
    """Connect to a local server over one transport."""
    return qframe.connect(server.rest_url if transport == "rest" else server.grpc_url, **options)


def frame(rows: int) -> pd.DataFrame:
    """Return rows with ids that mean something."""
    return pd.DataFrame({"n": range(rows)}, index=pd.RangeIndex(rows, name="key"))


def upload(rows: int, collection: str, con: qframe.Connection, **options: Any) -> pd.DataFrame:
    """Upload rows ten a batch, one batch after another, each applied before the next."""
    defaults: dict[str, Any] = {
        "vectors": np.ones((rows, 2)),
        "distance": "dot",
        "batch_size": 10,
        "order": "ordered",
        "wait": True,
        "progress": False,
    }
    return qframe.upload(frame(rows), collection, con, **(defaults | options))


def counts(report: pd.DataFrame) -> dict[str, int]:
    """Return the points by status, those without any left out, from rows and summary alike."""
    summary = report.attrs["upload"]["points"]
    assert tuple(summary) == STATUSES
    by_rows = report.groupby("status")["points"].sum().to_dict()
    found = {status: count for status, count in summary.items() if count}
    assert found == by_rows
    return found


def stored(collection: str, con: qframe.Connection) -> int:
    """Count the points that are there."""
    with con.store() as store:
        return store.count(collection)


def everything(error: BaseException) -> str:
    """Return all that an error could show to somebody."""
    parts = ["".join(traceback.format_exception(error)), repr(error), repr(error.__dict__)]
    report = getattr(error, "report", None)
    if report is not None:
        parts += [report.to_string(), repr(report.attrs), repr(pickle.dumps(report))]
    return "\n".join(parts)


# ---- Refusals, one batch each ----

REFUSALS: dict[str, tuple[str, type[errors.QframeError], str, str, bool]] = {
    # fault: what happens, error, words of it, status of the batch, whether the rest is not sent
    "400": (
        "bad_request",
        errors.InvalidRequest,
        "Wrong input: a fault on demand",
        "failed",
        False,
    ),
    "401": ("unauthenticated", errors.AuthenticationError, "api_key=...", "failed", True),
    "403": ("forbidden", errors.PermissionDenied, "Global manage access", "failed", True),
    "404": ("not_found", errors.CollectionNotFound, "doesn't exist", "failed", True),
    "408": ("timeout", errors.RequestTimeout, "Timeout: a fault", "unknown", False),
    "429": ("rate_limit", errors.RateLimited, "smaller batch_size", "failed", False),
    "500": ("internal", errors.ServerError, "Service internal error", "failed", False),
    "precondition": ("precondition", errors.ServerError, "Pre-condition failure", "failed", False),
    "502": ("bad_gateway", errors.BadGateway, "502 Bad Gateway", "unknown", False),
    "503": ("unavailable", errors.ServiceUnavailable, "temporarily unavailable", "failed", False),
    "507": ("insufficient_storage", errors.InsufficientStorage, "Insufficient", "failed", True),
    "lost before": ("drop_before", errors.ConnectionLost, "", "unknown", False),
    "lost after": ("drop_after", errors.ConnectionLost, "", "unknown", False),
    "garbage": ("garbage", errors.InvalidAnswer, "", "unknown", False),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_batch_that_does_not_arrive_is_reported(
    kind: str, transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """Without retries each misfortune has its class, text and status; fatal ones end the upload."""
    fault, error_type, text, status, fatal = REFUSALS[kind]
    if (kind, transport) == ("502", "grpc"):  # the local server's gRPC knows no statuses of HTTP
        error_type, status = errors.ServiceUnavailable, "failed"
    upload(1, collection, con)
    server.faults([fault], transport=transport)
    with pytest.raises(qframe.UploadError) as raised:
        upload(40, collection, con, retry=0)
    report = raised.value.report
    rest = "unsent" if fatal else "applied"
    assert report["status"].tolist() == [status, *[rest] * 3]
    assert counts(report) == {status: 10, rest: 30}
    assert report["error_type"].tolist()[0] == error_type.__name__
    assert text in report["error"].iloc[0]
    assert report["error_type"].iloc[1:].isna().all()
    assert report["attempts"].tolist() == [1, *[0 if fatal else 1] * 3]
    assert type(raised.value.__cause__) is error_type
    message = str(raised.value)
    assert f"{40 if fatal else 10} of 40 points did not arrive in {collection!r}" in message
    assert f"batch 0, rows 0 to 10, 1 attempt: {error_type.__name__}" in message
    assert con.target in message
    assert f"10 {status}" in message
    query = "status not in ('applied', 'acknowledged')"
    assert query in message
    assert len(report.query(query)) == (4 if fatal else 1)


@pytest.mark.parametrize(
    "fault",
    [
        "timeout",
        "internal",
        "precondition",
        "bad_gateway",
        "unavailable",
        "insufficient_storage",
        "drop_before",
        "drop_after",
        "garbage",
    ],
)
def test_what_passes_by_itself_is_tried_again(
    fault: str, transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """Two misfortunes of a kind cost two retries and no point."""
    server.faults([f"{fault}*2"], transport=transport)
    report = upload(30, collection, con, retry=QUICK)
    assert counts(report) == {"applied": 30}
    assert report["retries"].tolist() == [2, 0, 0]
    assert report["attempts"].tolist() == [3, 1, 1]
    assert report["error"].isna().all()
    assert report.attrs["upload"]["retries"] == 2
    assert stored(collection, con) == 30


@pytest.mark.parametrize("fault", ["bad_request", "unauthenticated", "forbidden"])
def test_what_does_not_pass_by_itself_is_not_tried_again(
    fault: str, transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """A refusal of a single point, or of the key, is asked for once only."""
    server.faults([fault], transport=transport)
    report = upload(1, collection, con, retry=QUICK, on_error="collect")
    assert report[["status", "attempts"]].to_numpy().tolist() == [["failed", 1]]


@pytest.mark.parametrize("fault", ["bad_request", "rate_limit"])
def test_a_batch_that_is_refused_is_halved(
    fault: str, transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """What is wrong with one batch may be right with its halves."""
    server.faults([fault], transport=transport)
    report = upload(10, collection, con, retry=QUICK)
    assert report[["status", "attempts", "retries"]].to_numpy().tolist() == [["applied", 3, 1]]
    assert stored(collection, con) == 10
    assert [entry["points"] for entry in server.log()][-3:] == [10, 5, 5]


def test_retries_end(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """After the last attempt the batch is given up with the last error, the next one still sent."""
    server.faults(["unavailable*3", "internal"], transport=transport)
    with pytest.raises(qframe.UploadError, match="4 attempts: ServerError") as raised:
        upload(20, collection, con, retry=QUICK)
    assert raised.value.report["status"].tolist() == ["failed", "applied"]
    assert raised.value.report["retries"].tolist() == [3, 0]
    assert stored(collection, con) == 10


def test_a_batch_that_may_have_arrived_is_never_called_failed(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """A lost answer makes the batch unknown even when a later attempt is refused."""
    server.faults(["drop_after", "bad_request"], transport=transport)
    once = qframe.Retry(attempts=4, backoff=0.01, splits=0)
    report = upload(10, collection, con, retry=once, on_error="collect")
    assert report[["status", "error_type"]].to_numpy().tolist() == [["unknown", "InvalidRequest"]]
    assert stored(collection, con) == 10


def test_a_number_of_retries_is_one_less_than_the_attempts(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """`retry=1` sends twice at the most."""
    server.faults(["unavailable*2"], transport=transport)
    report = upload(10, collection, con, retry=1, on_error="collect")
    assert report[["status", "attempts"]].to_numpy().tolist() == [["failed", 2]]


# ---- Raising and collecting ----


def test_collect_returns_the_report_that_raise_raises(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """Both ways tell the same of each batch."""
    upload(1, collection, con)
    reports = []
    for on_error in ("collect", "raise"):
        server.faults(["bad_request", "drop_after", "delay:0"], transport=transport)
        try:
            reports.append(upload(40, collection, con, retry=0, on_error=on_error))
        except qframe.UploadError as error:
            reports.append(error.report)
    same = [
        "batch",
        "start",
        "stop",
        "points",
        "status",
        "attempts",
        "bytes",
        "error_type",
        "error",
    ]
    pd.testing.assert_frame_equal(reports[0][same], reports[1][same])
    assert counts(reports[0]) == {"failed": 10, "unknown": 10, "applied": 20}
    again = pickle.loads(pickle.dumps(reports[1]))
    assert again.attrs == reports[1].attrs


def test_an_upload_error_survives_pickling(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """The error and its report travel between processes."""
    server.faults(["bad_request"], transport=transport)
    with pytest.raises(qframe.UploadError) as raised:
        upload(10, collection, con, retry=0)
    back = pickle.loads(pickle.dumps(raised.value))
    assert str(back) == str(raised.value)
    pd.testing.assert_frame_equal(back.report, raised.value.report)


def test_failures_of_several_workers_are_all_reported(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """Whichever batches the misfortunes hit, the counts are those of the server."""
    server.faults(["bad_request", "delay:0.01", "bad_request", "delay:0.01"], transport=transport)
    with pytest.raises(qframe.UploadError, match="20 of 100 points") as raised:
        upload(100, collection, con, order="unordered", workers=4, retry=0)
    assert counts(raised.value.report) == {"applied": 80, "failed": 20}
    assert stored(collection, con) == 80


def test_a_worker_process_tells_its_errors(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """Errors come back from worker processes as themselves."""
    server.faults(["bad_request"], transport=transport)
    with pytest.raises(qframe.UploadError) as raised:
        upload(30, collection, con, worker_kind="process", retry=0)
    assert isinstance(raised.value.__cause__, errors.InvalidRequest)
    assert counts(raised.value.report) == {"failed": 10, "applied": 20}


def test_a_fatal_error_ends_a_stream(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """After a fatal error a generator is drawn no further than the batches in flight."""
    drawn = 0

    def records() -> Iterator[dict[str, Any]]:
        nonlocal drawn
        for drawn in range(1, 10_001):
            yield {"id": drawn, "vector": [1.0, 2.0]}

    upload(1, collection, con)
    server.faults(["forbidden"], transport=transport)
    with pytest.raises(qframe.UploadError) as raised:
        qframe.upload_points(
            records(), collection, con, batch_size=10, order="ordered", progress=False
        )
    assert isinstance(raised.value.__cause__, errors.PermissionDenied)
    assert drawn <= 50
    report = raised.value.report
    assert report["points"].sum() <= drawn
    assert counts(report)["failed"] == 10


def test_a_collection_that_vanishes_ends_the_upload(
    con: qframe.Connection, collection: str
) -> None:
    """Deleting the collection in the middle is fatal: what follows would come to nothing."""

    def delete(event: qframe.ProgressEvent) -> None:
        if event.result is not None and event.result.batch == 0:
            with con.store() as store:
                store.delete(collection)

    with pytest.raises(qframe.UploadError) as raised:
        upload(100, collection, con, progress=delete)
    assert isinstance(raised.value.__cause__, errors.CollectionNotFound)
    found = counts(raised.value.report)
    assert found["unsent"] >= 60
    assert sum(found.values()) == 100


# ---- Throttling ----


def test_a_server_that_asks_to_come_back_later_is_obeyed(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """429 with Retry-After holds all workers back, and the report shows retries and the wait."""
    server.faults(["rate_limit:1"], transport=transport)
    report = upload(40, collection, con, order="unordered", workers=2, retry=QUICK)
    assert counts(report) == {"applied": 40}
    assert report["retries"].sum() == 1
    assert report["throttled_s"].max() >= 0.9
    assert report.attrs["upload"]["throttled_s"] == pytest.approx(report["throttled_s"].sum())
    seen = [entry for entry in server.log() if entry["collection"] == collection]
    (refused,) = (entry for entry in seen if entry["fault"])
    later = [entry for entry in seen if entry["started"] > refused["finished"] + 0.5]
    assert {entry["started"] >= refused["finished"] + 0.9 for entry in later} == {True}


def test_a_limit_in_retry_after_is_capped(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """`max_wait` bounds what a server may ask for."""
    server.faults(["rate_limit:3600"], transport=transport)
    retry = qframe.Retry(attempts=2, backoff=0.01, max_wait=0.05)
    report = upload(10, collection, con, retry=retry)
    assert counts(report) == {"applied": 10}
    assert report["throttled_s"].iloc[0] >= 0.05


def test_a_real_rate_limit_is_waited_out(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """A collection with a write limit takes all points in the end."""
    config = {"strict_mode_config": {"enabled": True, "write_rate_limit": 600}}
    report = upload(
        610, collection, con, batch_size=100, collection_config=config, order="unordered"
    )
    assert counts(report) == {"applied": 610}
    assert report["retries"].sum() >= 1
    assert report["throttled_s"].sum() > 0


def test_a_write_that_was_not_waited_for_long_enough_is_not_called_applied(
    transport: str, server: LocalServer, con: qframe.Connection, collection: str
) -> None:
    """`wait_timeout` means queued: the batch arrived, and was not seen to be applied."""
    upload(1, collection, con)
    server.faults(["wait_timeout:0.05"], transport=transport)
    report = upload(20, collection, con, barrier=False)
    assert report["status"].tolist() == ["acknowledged", "applied"]
    assert counts(report) == {"acknowledged": 10, "applied": 10}
    assert stored(collection, con) == 20


# ---- Slow, absent and dying servers ----


def test_a_server_that_is_too_slow_leaves_the_batch_unknown(
    transport: str, server: LocalServer, collection: str
) -> None:
    """No answer in time is a timeout, and the points may arrive all the same."""
    con = reach(server, transport, timeout=0.5)
    upload(1, collection, con)
    server.faults(["delay:1.5"], transport=transport)
    with pytest.raises(qframe.UploadError, match=r"within 0\.5 s.*timeout=") as raised:
        upload(20, collection, con, retry=0, wait=False, barrier=False)
    assert isinstance(raised.value.__cause__, errors.RequestTimeout)
    assert raised.value.report["status"].tolist() == ["unknown", "acknowledged"]
    deadline = time.monotonic() + 30
    while stored(collection, con) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stored(collection, con) == 20
    with con.store() as store:
        store.delete(collection)


def test_a_slow_answer_is_asked_for_again(
    transport: str, server: LocalServer, collection: str
) -> None:
    """With a retry a timeout costs time only."""
    con = reach(server, transport, timeout=0.5)
    server.faults(["delay:1.5"], transport=transport)
    report = upload(20, collection, con, retry=QUICK, wait=False, barrier=False)
    assert counts(report) == {"acknowledged": 20}
    assert report["retries"].tolist() == [1, 0]
    with con.store() as store:
        store.delete(collection)


@pytest.fixture
def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_server_that_is_not_there_is_said_at_once(transport: str, free_port: int) -> None:
    """Nothing listening is no failed upload but an error that names the address."""
    scheme = "http" if transport == "rest" else "grpc"
    con = qframe.connect(f"{scheme}://127.0.0.1:{free_port}")
    for call in (
        lambda: upload(10, "c", con),
        lambda: qframe.upload_points([{"id": 1, "vector": [1.0]}], "c", con, progress=False),
        lambda: qframe.read_collection("c", con),
        lambda: qframe.search("c", [1.0], con),
    ):
        with pytest.raises(qframe.ServerUnreachable, match="does Qdrant run there") as raised:
            call()
        assert f"127.0.0.1:{free_port}" in str(raised.value)


def test_a_host_that_does_not_exist_is_said(transport: str) -> None:
    """A name that resolves to nothing is told apart from a server that is down."""
    scheme = "http" if transport == "rest" else "grpc"
    con = qframe.connect(f"{scheme}://no-such-host.invalid", timeout=20)
    with pytest.raises(qframe.ServerUnreachable, match=r"no-such-host\.invalid"):
        upload(10, "c", con)


def test_a_server_that_speaks_something_else_is_said(server: LocalServer) -> None:
    """The ports of REST and gRPC mixed up give errors that say so."""
    rest_port = server.rest_url.rpartition(":")[2]
    grpc_port = server.grpc_url.rpartition(":")[2]
    for url in (f"grpc://127.0.0.1:{rest_port}", f"http://127.0.0.1:{grpc_port}"):
        with pytest.raises(qframe.TransportError, match=r"REST|gRPC"):
            upload(10, "c", qframe.connect(url, timeout=20))


class Babbler(BaseHTTPRequestHandler):
    """Answers every request with the same bytes."""

    content = b""

    def answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, the name is inherited
        """Stay silent."""


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"[]", b'{"result":', b'{"result": {"points": 5}}', b'{"result":[1]}'],
)
def test_an_answer_that_is_not_qdrants_is_said(content: bytes) -> None:
    """Whatever else answers over HTTP, the error is a transport's and names the address."""
    handler = type("Answer", (Babbler,), {"content": content})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        with pytest.raises(qframe.InvalidAnswer, match=url):
            upload(10, "c", qframe.connect(url))
        other.shutdown()


class Killer:
    """Ends a server when the first batch has its result, and may bring it back."""

    def __init__(self, victim: LocalServer, restart_after: float | None = None) -> None:
        self.victim = victim
        self.restart_after = restart_after
        self.thread: threading.Thread | None = None
        self.killed = False

    def __call__(self, event: qframe.ProgressEvent) -> None:
        if self.killed:
            return
        self.killed = True
        self.victim.kill()
        if self.restart_after is not None:
            self.thread = threading.Thread(target=self._revive, args=(self.restart_after,))
            self.thread.start()

    def _revive(self, seconds: float) -> None:
        time.sleep(seconds)
        self.victim.start()


def test_a_server_that_dies_leaves_a_report_of_what_arrived(transport: str) -> None:
    """Killed in the middle and without retries: sent is applied or unknown, the rest unsent."""
    with LocalServer() as victim:
        con = reach(victim, transport, timeout=20)
        with pytest.raises(qframe.UploadError) as raised:
            upload(400, "c", con, progress=Killer(victim), retry=0)
        report = raised.value.report
        assert isinstance(raised.value.__cause__, errors.ServerUnreachable | errors.ConnectionLost)
        found = counts(report)
        assert sum(found.values()) == 400
        assert report["status"].iloc[0] == "applied"
        assert found["applied"] < 100
        assert found["unsent"] >= 300
        assert report["stop"].iloc[-1] == 400
        assert set(report["attempts"]) == {0, 1}
        victim.start()
        there = qframe.read_collection("c", con)["n"].tolist()
        applied = report.query("status == 'applied'")
        unsent = report.query("status == 'unsent'")
        for batch in applied.itertuples():
            assert set(range(batch.start, batch.stop)) <= set(there)
        for batch in unsent.itertuples():
            assert not set(range(batch.start, batch.stop)) & set(there)


def test_a_server_that_comes_back_gets_all_points(transport: str) -> None:
    """Killed and restarted in the middle, with retries: every point arrives, and once."""
    with LocalServer() as victim:
        con = reach(victim, transport, timeout=20)
        killer = Killer(victim, restart_after=0.3)
        retry = qframe.Retry(attempts=None, timeout=60, backoff=0.05, max_backoff=0.3)
        report = upload(400, "c", con, order="unordered", progress=killer, retry=retry)
        assert killer.thread is not None
        killer.thread.join()
        assert counts(report) == {"applied": 400}
        assert report["retries"].sum() > 0
        assert sorted(qframe.read_collection("c", con)["n"]) == list(range(400))


# ---- Keys ----


@pytest.fixture(scope="module")
def locked() -> Iterator[LocalServer]:
    """Run a server that asks for a key, and takes small bodies only."""
    with LocalServer(
        api_key=KEY, read_only_api_key="sesame-peek-1234", max_request_size_mb=0.05
    ) as locked:
        yield locked


def test_a_server_that_asks_for_a_key_says_how_to_pass_one(
    transport: str, locked: LocalServer
) -> None:
    """Without a key the error shows the call that has one."""
    con = reach(locked, transport)
    with pytest.raises(qframe.AuthenticationError, match="Must provide an API key") as raised:
        upload(10, "c", con)
    assert f"qframe.connect({con.target!r}, api_key=...)" in str(raised.value)
    with pytest.raises(qframe.AuthenticationError):
        qframe.read_collection("c", con)


def test_a_wrong_key_is_shown_nowhere(
    transport: str, locked: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither text nor traceback nor log nor repr has the key in it."""
    con = reach(locked, transport, api_key=WRONG_KEY)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(qframe.AuthenticationError, match="Invalid API key") as raised,
    ):
        upload(10, "c", con)
    for shown in (everything(raised.value), caplog.text, repr(con), str(con)):
        assert WRONG_KEY not in shown


def test_the_right_key_is_shown_nowhere(
    transport: str,
    locked: LocalServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Reports, logs, output and errors of a keyed upload keep the key to themselves."""
    con = reach(locked, transport, api_key=KEY)
    events: list[qframe.ProgressEvent] = []
    locked.faults(["bad_request", "unauthenticated"], transport=transport)
    with caplog.at_level(logging.DEBUG):
        report = upload(
            50, f"k-{transport}", con, retry=0, on_error="collect", progress=events.append
        )
        with pytest.raises(qframe.CollectionNotFound) as raised:
            qframe.read_collection("missing", con)
        upload(5, f"k-{transport}", con, progress=True)
    assert counts(report) == {"failed": 20, "unsent": 30}
    out, err = capfd.readouterr()
    shown = [report.to_string(), repr(report.attrs), repr(pickle.dumps(report)), repr(events)]
    shown += [event.sentence() for event in events]
    for text in (*shown, everything(raised.value), caplog.text, repr(con), out, err):
        assert KEY not in text
    keys = {entry["key_header"] for entry in locked.log()}
    assert keys == {"api-key"}


def test_a_key_that_may_only_read_cannot_upload(transport: str, locked: LocalServer) -> None:
    """A read-only key is refused when the collection is made, and when points are sent."""
    name = f"read-{transport}"
    reader = reach(locked, transport, api_key="sesame-peek-1234")
    with pytest.raises(qframe.PermissionDenied, match="the key does not allow this"):
        upload(10, name, reader)
    upload(10, name, reach(locked, transport, api_key=KEY))
    assert len(qframe.read_collection(name, reader)) == 10
    with pytest.raises(qframe.UploadError) as raised:
        upload(40, name, reader)
    assert isinstance(raised.value.__cause__, errors.PermissionDenied)
    assert counts(raised.value.report) == {"failed": 10, "unsent": 30}


def test_a_body_that_is_too_large_names_the_limit(locked: LocalServer) -> None:
    """REST refuses large bodies; the batches that fit go on, and smaller ones help."""
    con = reach(locked, "rest", api_key=KEY)
    large = frame(40).assign(text=["x" * 20_000 if n < 10 else "x" for n in range(40)])
    options: dict[str, Any] = {
        "vectors": np.ones((40, 2)),
        "batch_size": 10,
        "order": "ordered",
        "wait": True,
        "progress": False,
    }
    with pytest.raises(qframe.UploadError, match="larger than allowed") as raised:
        qframe.upload(large, "large", con, retry=0, **options)
    assert isinstance(raised.value.__cause__, errors.RequestTooLarge)
    assert counts(raised.value.report) == {"failed": 10, "applied": 30}
    for change in ({"max_batch_bytes": 50_000}, {}):
        report = qframe.upload(large, "large", con, **options, **change)
        assert counts(report) == {"applied": 40}
    assert report["retries"].sum() >= 1


# ---- Stopping ----


def test_an_interrupted_upload_says_how_far_it_got(con: qframe.Connection, collection: str) -> None:
    """Ctrl-C raises a KeyboardInterrupt that carries the report."""

    def stop(event: qframe.ProgressEvent) -> None:
        if event.result is not None and event.result.batch == 2:
            raise KeyboardInterrupt

    with pytest.raises(qframe.UploadInterrupted, match="points") as raised:
        upload(200, collection, con, progress=stop)
    assert isinstance(raised.value, KeyboardInterrupt)
    found = counts(raised.value.report)
    assert sum(found.values()) == 200
    assert found["applied"] >= 30
    assert found["unsent"] >= 100
    assert stored(collection, con) >= found["applied"]


def test_an_error_of_the_callers_own_progress_keeps_the_report(
    con: qframe.Connection, collection: str
) -> None:
    """A callable that raises costs no point; its error is raised at the end, with the report."""

    def fail(event: qframe.ProgressEvent) -> None:
        if event.result is not None:
            raise LookupError("my own mistake")

    with pytest.raises(qframe.UploadError, match="my own mistake") as raised:
        upload(200, collection, con, progress=fail)
    assert isinstance(raised.value.__cause__, LookupError)
    assert counts(raised.value.report) == {"applied": 200}


def test_a_mistake_after_the_last_batch_costs_no_report(
    con: qframe.Connection, collection: str
) -> None:
    """When only the last event meets an error, the report still says that all arrived."""

    def fail(event: qframe.ProgressEvent) -> None:
        if event.finished:
            raise LookupError("my own mistake")

    with pytest.raises(
        qframe.UploadError, match="the progress function failed, and all 20 points arrived"
    ) as raised:
        upload(20, collection, con, progress=fail)
    assert isinstance(raised.value.__cause__, LookupError)
    assert counts(raised.value.report) == {"applied": 20}
