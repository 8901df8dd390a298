"""What a report looks like, as HTML and as text."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qframe
from qframe.errors import InvalidRequest, ServerError, UploadError
from qframe.report import BatchResult, Status, points_by_status, to_frame
from tests.server import LocalServer
from tests.test_markup import HOSTILE, Reader

QUICK = qframe.Retry(attempts=2, backoff=0.01, splits=0)


@pytest.fixture(autouse=True)
def no_faults_left(server: LocalServer) -> Iterator[None]:
    """Leave the server as the next test expects it."""
    yield
    server.reset(collections=False)


def frame(rows: int) -> pd.DataFrame:
    """Return rows with ids that mean something."""
    return pd.DataFrame({"n": range(rows)}, index=pd.RangeIndex(100, 100 + rows, name="key"))


def upload(rows: int, collection: str, con: Any, **options: Any) -> pd.DataFrame:
    """Upload rows ten a batch, one batch after another."""
    defaults: dict[str, Any] = {
        "vectors": np.ones((rows, 2)),
        "batch_size": 10,
        "order": "ordered",
        "progress": False,
        "retry": QUICK,
    }
    return qframe.upload(frame(rows), collection, con, **(defaults | options))


def report_of(*results: BatchResult, **summary: Any) -> pd.DataFrame:
    """Return a report of these results, with the summary of an upload."""
    points = points_by_status(results)
    defaults: dict[str, Any] = {
        "collection": "films",
        "target": "http://localhost:6333",
        "transport": "rest",
        "created": True,
        "rows": sum(points.values()),
        "points": points,
        "seconds": 2.0,
        "points_per_s": 100.0,
        "bytes": sum(result.bytes for result in results),
        "deaths": [],
        "skipped": [],
        "barrier": None,
        "ended": None,
        "mapping": {},
        "journal": None,
    }
    return to_frame(results, defaults | summary)


def shown(report: Any) -> str:
    """Return the text of a view, once its HTML is known to be sound and to say the same."""
    view = qframe.show(report)
    reader = Reader(view.html)
    assert reader.open == []
    assert "script" not in reader.tags
    html, text = (_words("".join(reader.words)), _words(view.text))
    assert html == text
    return view.text


def _words(text: str) -> str:
    return "".join(text.split())


# ---- What came out of uploads ----


def test_all_is_well(con: qframe.Connection, collection: str) -> None:
    """Where everything arrived, it says so first, then where to, how fast, and how to prove it."""
    text = shown(upload(40, collection, con))
    lines = text.splitlines()
    assert lines[0] == "✓ all 40 points applied"
    for part in (collection, con.target, "made by this upload"):
        assert part in lines[1]
    assert "points/s" in text
    assert "4 sent, half of them within" in text
    assert f"df.qdrant.verify('{collection}', con, vectors=…)" in text
    for trouble in ("failed", "errors", "retries", "resume"):
        assert trouble not in text
    assert "added to" in shown(upload(40, collection, con))


def test_refused_rows(server_con: qframe.Connection, server: LocalServer, collection: str) -> None:
    """Rows that a server refuses are one cause, with the first of them and what to type next."""
    upload(1, collection, server_con)
    server.poison([103, 117, 118])
    with pytest.raises(qframe.UploadError) as caught:
        upload(40, collection, server_con, retry=None)
    text = shown(caught.value.report)
    assert text.startswith("✗ 3 of 40 points did not arrive\n")
    assert "df.iloc[3:4], df.iloc[17:19]  InvalidRequest: Wrong input" in text
    assert "df.qdrant.failed(report) gives the failed rows" in text
    assert "resume=report sends only what is missing" in text
    assert shown(caught.value).replace("UploadError", "") != text


def test_the_error_and_the_view_agree(server: LocalServer, collection: str) -> None:
    """What the error says to type next stands in the view, word for word."""
    upload(1, collection, server.rest_url)
    server.faults(["bad_request", "internal*2"])
    with pytest.raises(qframe.UploadError) as caught:
        upload(40, collection, server.rest_url)
    text = shown(caught.value)
    assert f"raised   UploadError: {str(caught.value).splitlines()[0]}" in text
    for way in str(caught.value).splitlines()[-1].strip().split("; "):
        assert f"  {way}" in text.splitlines()
    assert "good rows that could not be told from bad ones" in text
    kinds = [line.split()[:2] for line in text.splitlines() if " df.iloc[" in line]
    assert kinds == [["1", "10"], ["1", "10"]]


def test_retries_and_throttling(server: LocalServer, collection: str) -> None:
    """What it cost until everything arrived is told too."""
    server.faults(["internal", "rate_limit:0.1"])
    text = shown(upload(40, collection, server.rest_url, retry=qframe.Retry(backoff=0.01)))
    assert "2 of 6 requests were repetitions" in text
    assert "of waiting, of all workers together, as the server asked" in text


def test_unknown_and_unsent(server: LocalServer, collection: str) -> None:
    """Statuses are explained in words, and only those that there are."""
    server.faults(["delay:0", "drop_after", "insufficient_storage"])
    report = upload(40, collection, server.rest_url, retry=0, on_error="collect")
    text = shown(report)
    assert "unknown       10 (25 %), sent, and no answer said what became of them" in text
    assert "unsent" in text
    assert "ConnectionLost" in text
    assert "InsufficientStorage" in text


@pytest.mark.parametrize("journal", [False, True])
def test_a_stop(server: LocalServer, collection: str, tmp_path: Path, journal: bool) -> None:
    """A stopped upload says how far it came, and how to go on."""

    def stop(event: qframe.ProgressEvent) -> None:
        if event.done >= 20:
            raise KeyboardInterrupt

    path = str(tmp_path / "films.qframe") if journal else None
    with pytest.raises(qframe.UploadInterrupted) as caught:
        upload(400, collection, server.rest_url, progress=stop, journal=path)
    text = shown(caught.value)
    assert text.startswith("■ stopped: ")
    assert "of 400 points arrived" in text.splitlines()[0]
    if path is None:
        assert "resume=report sends only what is missing" in text
        assert (
            "begun with journal='…', the same call goes on by itself, in another process too"
            in text
        )
    else:
        assert f"the same call again sends only what {path} says is missing" in text
    again = upload(
        400,
        collection,
        server.rest_url,
        **({"journal": path} if journal else {"resume": caught.value.report}),
    )
    assert "of them were there from earlier runs" in shown(again)


def test_a_deadline(server: LocalServer, collection: str) -> None:
    """When the time was over, that is what is read first."""
    server.faults(["delay:0.2*5"])
    with pytest.raises(qframe.UploadError) as caught:
        upload(400, collection, server.rest_url, retry=qframe.Retry(deadline=0.3))
    text = shown(caught.value.report)
    assert text.startswith("■ its time was over: ")
    assert "ended by      DeadlinePassed: the 0.3 s" in text


def test_rows_set_aside(collection: str) -> None:
    """Rows that cannot become points are named by label, the first few of them."""
    bad = pd.DataFrame({"price": [np.inf] * 9 + [1.0]}, index=[f"row {n}" for n in range(10)])
    options: dict[str, Any] = {"vectors": np.ones((10, 2)), "ids": range(10), "progress": False}
    text = shown(bad.qdrant.upload(collection, ":memory:", bad_rows="skip", **options))
    assert text.startswith("✓ the point applied, 9 rows set aside\n")
    assert "  row 4  column 'price'  inf\n  … and 4 more findings\n" in text
    assert "df.qdrant.failed(report) gives the rows that were set aside" in text


def test_a_stream(server: LocalServer, collection: str) -> None:
    """A stream has no frame whose rows could be named, nor one to compare with."""
    records = [{"id": n, "vector": [n, 1.0]} for n in range(30)]
    options: dict[str, Any] = {"distance": "dot", "batch_size": 10, "progress": False}
    server.poison([17])
    with pytest.raises(qframe.UploadError) as caught:
        qframe.upload_points(records, collection, server.rest_url, **options)
    text = shown(caught.value.report)
    assert "17:18" in text
    assert "iloc" not in text
    server.poison([])
    text = shown(qframe.upload_points(records, collection, server.rest_url, **options))
    assert "verify" not in text


def test_a_source_that_breaks(server: LocalServer, collection: str) -> None:
    """An error of the caller's own records is what ended it."""

    def records() -> Iterator[dict[str, Any]]:
        yield from ({"id": n, "vector": [n, 1.0]} for n in range(20))
        raise ZeroDivisionError("what a pity")

    with pytest.raises(qframe.UploadError) as caught:
        qframe.upload_points(
            records(), collection, server.rest_url, batch_size=10, progress=False, distance="dot"
        )
    text = shown(caught.value.report)
    assert text.startswith("✗ ended early, and all 20 points that were sent arrived\n")
    assert "ended by      ZeroDivisionError: what a pity" in text


def test_a_progress_function_that_breaks(server: LocalServer, collection: str) -> None:
    """The points arrived all the same, which is what counts."""

    def draw(event: qframe.ProgressEvent) -> None:
        raise ZeroDivisionError("what a pity")

    with pytest.raises(qframe.UploadError) as caught:
        upload(20, collection, server.rest_url, progress=draw)
    text = shown(caught.value.report)
    assert text.startswith("! the progress function failed, and all 20 points arrived\n")


def test_points_that_a_server_loses(server: LocalServer, collection: str) -> None:
    """Points that were acknowledged and are not there are no success."""
    server.faults(["delay:0", "lose"])
    with pytest.raises(qframe.UploadError) as caught:
        upload(20, collection, server.rest_url)
    text = shown(caught.value.report)
    assert text.startswith("✗ the server took all 20 points, and did not keep all\n")
    assert "\n  barrier" in text


def test_no_barrier(server: LocalServer, collection: str) -> None:
    """What is only queued is not called stored."""
    text = shown(upload(20, collection, server.rest_url, barrier=False))
    assert text.startswith("? all 20 points acknowledged, 0 known as applied\n")


# ---- Reports that were kept, cut and mixed ----


def halved() -> pd.DataFrame:
    """Return a report with each status, and a batch in parts."""
    return report_of(
        BatchResult(0, 0, 4, 4, Status.APPLIED, 1, send_s=0.5, bytes=40, worker=0),
        BatchResult(1, 4, 5, 1, Status.FAILED, 2, 1, error=InvalidRequest("id 4"), worker=1),
        BatchResult(1, 5, 8, 3, Status.ACKNOWLEDGED, 1, send_s=1.5, worker=1),
        BatchResult(2, 8, 9, 1, Status.UNKNOWN, 1, deaths=2, error=ServerError("x")),
        BatchResult(3, 9, 12, 3, Status.UNSENT),
        deaths=[{"worker": 1, "pid": 7, "cause": "killed by SIGKILL"}],
        journal_error="no space left",
        journal="films.qframe",
        resumed=2,
    )


def test_a_report_that_was_kept(tmp_path: Path) -> None:
    """A report that went through a file looks the same, and so do its lines in another order."""
    report = halved()
    report.to_parquet(tmp_path / "report.parquet")
    kept = pd.read_parquet(tmp_path / "report.parquet")
    assert shown(kept) == shown(report)
    assert shown(report.iloc[::-1]) == shown(report)
    assert "the first of them: killed by SIGKILL" in shown(report)
    assert "journal error  no space left" in shown(report)


def test_looking_changes_nothing() -> None:
    """The report is as it was."""
    report, before = halved(), halved()
    shown(report)
    pd.testing.assert_frame_equal(report, before)
    assert report.attrs == before.attrs


def test_lines_of_a_report(tmp_path: Path) -> None:
    """Chosen lines tell of themselves, and that they are not all."""
    text = shown(halved().query("status == 'failed'"))
    assert text.startswith("✗ 1 of 1 point did not arrive\n")
    assert "1 point of the upload's 12 are in these lines" in text
    assert "points/s" not in text
    assert "next" not in text


def test_a_report_without_its_summary(tmp_path: Path) -> None:
    """What has lost its attributes shows what its lines say, and what they do not."""
    halved().to_csv(tmp_path / "report.csv")
    text = shown(pd.read_csv(tmp_path / "report.csv"))
    assert text.startswith("✗ 5 of 12 points did not arrive\n")
    assert 'have lost the report\'s attrs["upload"]' in text
    assert "InvalidRequest: id 4" in text
    few = pd.DataFrame(halved()[["start", "stop", "points", "status"]].to_dict("list"))
    assert shown(few).startswith("✗ 5 of 12 points did not arrive\n")
    doubled = pd.concat([halved(), halved().assign(batch=7)])
    assert shown(doubled).startswith("✗ 10 of 24 points")


def test_a_failure_adds_nothing(server: LocalServer, collection: str) -> None:
    """Where no point arrived in a collection that was there, none is said to be added."""
    upload(1, collection, server.rest_url)
    server.poison(range(100, 200))
    with pytest.raises(qframe.UploadError) as caught:
        upload(20, collection, server.rest_url)
    text = shown(caught.value)
    assert "over REST, nothing was added" in text
    assert "added to" not in text
    assert "nothing was added" not in shown(caught.value.report.head(1))


def test_a_collection_whose_name_holds_spaces(server: LocalServer, collection: str) -> None:
    """What can be typed names the collection to the letter."""
    name = f"{collection}  twice"
    assert f"df.qdrant.verify({name!r}, con" in shown(upload(5, name, server.rest_url))


def test_no_points(collection: str) -> None:
    """An upload of nothing is no failure."""
    report = frame(0).qdrant.upload(collection, ":memory:", vectors=np.ones((0, 2)), progress=False)
    assert shown(report).startswith("– no points\n")


def test_time_of_a_batch_in_parts() -> None:
    """A batch took from its beginning to its end, whatever it was about in between."""
    done = Status.APPLIED
    report = report_of(
        BatchResult(0, 0, 4, 4, done, 1, send_s=0.5, worker=0, started_s=0, ended_s=1),
        BatchResult(1, 4, 6, 2, done, 1, send_s=0.5, worker=1, started_s=1, ended_s=2),
        BatchResult(1, 6, 8, 2, done, 1, send_s=0.5, worker=1, started_s=3, ended_s=10),
    )
    text = shown(report)
    assert "2 sent, half of them within 5.0 s, 95 % within 8.6 s" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["1", "4:8", "9.0", "s", "1.0", "s", "0", "s", "0", "s", "2", "1"] in lines


def test_a_job(collection: str) -> None:
    """What an upload in a thread of its own has come to is shown like its report."""
    job = frame(20).qdrant.upload(
        collection, ":memory:", vectors=np.ones((20, 2)), progress=False, block=False
    )
    report = job.result()
    assert shown(job) == shown(report)


def test_a_job_under_way(server: LocalServer, collection: str) -> None:
    """What is known while an upload goes on is not told as its end, nor is a way on from there."""
    server.faults(["delay:0", "bad_request", "delay:1"])
    job = frame(40).qdrant.upload(
        collection,
        server.rest_url,
        vectors=np.ones((40, 2)),
        batch_size=10,
        order="ordered",
        progress=False,
        retry=QUICK,
        block=False,
    )
    while len(job.report) < 2:
        time.sleep(0.01)
    text = shown(job)
    assert text.startswith("… under way: 10 points arrived so far, 10 did not\n")
    assert "df.iloc[10:20]" in text
    assert text.endswith("next\n  job.result() waits for the end, job.stop() ends it early")
    job.stop()
    with pytest.raises(qframe.UploadInterrupted):
        job.result()
    text = shown(job)
    assert text.startswith("■ stopped: ")
    assert ", of a job job.report, or after an error, before the next one, import sys; " in text


def test_a_job_that_has_sent_nothing(collection: str) -> None:
    """Of a job without a report it is not said that the report has lost something."""
    job = frame(20).qdrant.upload(
        collection, ":memory:", vectors="nothing", progress=False, block=False
    )
    with pytest.raises(qframe.InputError):
        job.result()
    text = shown(job)
    assert text.startswith("– no points\nnothing has been sent")
    assert "job.result() tells why" in text
    assert "lost" not in text


# ---- What others wrote, and how much of it ----


def test_hostile_texts() -> None:
    """Whatever a server, a name or a label says becomes no element, and is read as it was."""
    report = report_of(
        BatchResult(0, 0, 1, 1, Status.FAILED, 1, error=ServerError(HOSTILE)),
        collection=HOSTILE,
        target=HOSTILE,
        transport="rest",
        skipped=[{"position": 1, "label": HOSTILE, "column": HOSTILE, "reason": HOSTILE}],
        barrier=HOSTILE,
        journal=HOSTILE,
        journal_error=HOSTILE,
        deaths=[{"worker": 1, "pid": 7, "cause": HOSTILE}],
        ended={"by": "error", "error_type": HOSTILE, "error": HOSTILE},
    )
    assert shown(qframe.UploadError(HOSTILE, report)).count(HOSTILE) > 8


def test_long_texts() -> None:
    """A text of many lines and characters is cut in one line that says so."""
    error = ServerError("<p>\n" + "x" * 100_000)
    view = qframe.show(report_of(BatchResult(0, 0, 1, 1, Status.FAILED, 1, error=error)))
    assert "… (100,017 characters; the report has them all)" in view.text
    assert len(view.html) < 6_000


def test_a_huge_report() -> None:
    """What is shown of a hundred thousand batches is as short as that of a thousand."""

    def of(batches: int) -> pd.DataFrame:
        words = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)} {n}" for n in range(batches)]
        return report_of(
            *(
                BatchResult(n, n, n + 1, 1, Status.FAILED, 1, send_s=n, error=ServerError(words[n]))
                for n in range(batches)
            ),
            skipped=[
                {"position": n, "label": n, "column": "a", "reason": "inf"} for n in range(batches)
            ],
        )

    small, large = of(1_000), of(100_000)
    view = qframe.show(large)
    assert len(view.html) < len(qframe.show(small).html) + 500
    assert "… and 99,260 of other causes" in view.text


def test_what_a_notebook_and_a_terminal_show() -> None:
    """A notebook gets both forms, and a terminal the text."""
    view = qframe.show(halved())
    assert view._repr_mimebundle_() == {"text/html": view.html, "text/plain": view.text}
    assert view._repr_html_() == view.html
    assert str(view) == repr(view) == view.text
    assert view.html.startswith('<div class="qframe qframe-report"')


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "report: a NoneType, which is no report; a report is what df.qdrant.upload"),
        (ValueError("x"), "report: a ValueError"),
        (pd.DataFrame({"start": [1]}), "has no column 'stop', 'points', 'status'"),
        (halved().assign(status="lost"), "has the status 'lost'"),
        (halved().assign(status=None), "has the status"),
    ],
)
def test_what_is_no_report(given: Any, message: str) -> None:
    """Anything else is refused, with what a report is."""
    with pytest.raises(qframe.InputError, match=message):
        qframe.show(given)


def test_a_deadline_does_not_hide_why(server: LocalServer, collection: str) -> None:
    """Where time was over, the first error of a batch is told beside it."""
    server.faults(["unavailable*1000"])
    with pytest.raises(UploadError) as caught:
        upload(40, collection, server.rest_url, retry=qframe.Retry(attempts=None, deadline=1.0))
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  ended by DeadlinePassed: the 1 s that the upload was given")
    assert re.match(r"  first error, batch \d, rows .* attempts: ServiceUnavailable: ", lines[2])
