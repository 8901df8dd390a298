"""Going on with an upload: by its journal, or by the report of what was sent."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qframe
from qframe import InputError, ProgressEvent, ResumeMismatch, UploadError, UploadInterrupted
from tests.server import LocalServer

ROWS = 100


def _frame(rows: int = ROWS) -> pd.DataFrame:
    vectors = np.random.default_rng(3).random((rows, 4), dtype=np.float32)
    return pd.DataFrame(
        {
            "key": [f"k{n}" for n in range(rows)],
            "year": np.arange(1900, 1900 + rows),
            "v": list(vectors),
        },
        index=pd.Index([f"row{n}" for n in range(rows)], name="label"),
    )


def _stop_after(points: int) -> Callable[[ProgressEvent], None]:
    """Return a progress function that presses stop."""

    def stop(event: ProgressEvent) -> None:
        if event.done >= points and not event.finished:
            raise KeyboardInterrupt

    return stop


def _upload(
    frame: pd.DataFrame, collection: str, con: Any, rows: int | None = None, **options: Any
) -> pd.DataFrame:
    """Upload ten rows a batch; with `rows`, press stop after so many."""
    defaults: dict[str, Any] = {
        "vectors": "v",
        "ids": qframe.uuid5("key"),
        "batch_size": 10,
        "distance": "dot",
        "progress": False if rows is None else _stop_after(rows),
    }
    return qframe.upload(frame, collection, con, **(defaults | options))


def _stopped(frame: pd.DataFrame, collection: str, con: Any, **options: Any) -> pd.DataFrame:
    """Upload a part; return the report."""
    with pytest.raises(UploadInterrupted) as caught:
        _upload(frame, collection, con, rows=30, **options)
    return caught.value.report


def _tiles(report: pd.DataFrame, rows: int = ROWS) -> None:
    """The report tells of every row once, in order."""
    assert report["start"].tolist() == [0, *report["stop"].tolist()[:-1]]
    assert report["stop"].iloc[-1] == rows
    assert report["batch"].is_monotonic_increasing


def _equals(frame: pd.DataFrame, collection: str, con: Any) -> None:
    """The collection holds the frame, and nothing else."""
    differences = qframe.verify(
        frame, collection, con, vectors="v", ids=qframe.uuid5("key"), extra=True
    )
    assert differences.empty


def test_the_same_call_sends_what_is_missing(
    con: qframe.Connection, collection: str, tmp_path: Path
) -> None:
    """After a stop, a journal spares what has arrived; a third call sends nothing."""
    frame, journal = _frame(), tmp_path / "films.qframe"
    first = _stopped(frame, collection, con, journal=journal)
    brought = first[first["status"].isin(["applied", "acknowledged"])]["points"].sum()
    assert 30 <= brought < ROWS
    second = _upload(frame, collection, con, journal=journal)
    _tiles(second)
    assert set(second["status"]) == {"applied"}
    assert second["points"].sum() == ROWS
    assert second[second["attempts"] > 0]["points"].sum() == ROWS - brought
    assert second.attrs["upload"]["resumed"] == brought
    assert second.attrs["upload"]["journal"] == str(journal)
    _equals(frame, collection, con)
    third = _upload(frame, collection, con, journal=journal)
    assert third[["start", "stop", "status", "attempts"]].to_numpy().tolist() == [
        [0, ROWS, "applied", 0]
    ]


def test_a_report_spares_what_it_says(con: qframe.Connection, collection: str) -> None:
    """``resume=report`` does the same without a file."""
    frame = _frame()
    first = _stopped(frame, collection, con)
    second = _upload(frame, collection, con, resume=first)
    _tiles(second)
    assert set(second["status"]) == {"applied"}
    again = second[second["attempts"] > 0]["points"].sum()
    assert again == first[~first["status"].isin(["applied", "acknowledged"])]["points"].sum()
    _equals(frame, collection, con)
    assert _upload(frame, collection, con, resume=second)["attempts"].sum() == 0


def test_a_report_that_was_kept(tmp_path: Path, collection: str) -> None:
    """A report can be gone on with after it was written to a file."""
    frame, con = _frame(), tmp_path / "store"
    first = _stopped(frame, collection, con)
    first.to_parquet(tmp_path / "report.parquet")
    second = _upload(frame, collection, con, resume=pd.read_parquet(tmp_path / "report.parquet"))
    assert second["points"].sum() == ROWS
    assert second["attempts"].sum() < 10


@pytest.mark.parametrize("if_exists", ["append", "fail", "replace"])
def test_what_was_prepared_is_not_prepared_again(
    con: qframe.Connection, collection: str, tmp_path: Path, if_exists: Any
) -> None:
    """The collection that the first run made, or made anew, is gone on with."""
    frame, journal = _frame(), tmp_path / "films.qframe"
    if if_exists == "replace":
        _upload(_frame(3).assign(key=["x", "y", "z"]), collection, con)
    options = {"journal": journal, "if_exists": if_exists}
    _stopped(frame, collection, con, **options)
    report = _upload(frame, collection, con, **options)
    assert report.attrs["upload"]["resumed"] >= 30
    _equals(frame, collection, con)


def test_row_numbers_as_ids(tmp_path: Path, collection: str) -> None:
    """Ids that only count rows are no danger to the points of the same upload."""
    frame = _frame().reset_index(drop=True)
    options = {"journal": tmp_path / "films.qframe", "ids": None}
    _stopped(frame, collection, tmp_path / "store", **options)
    report = _upload(frame, collection, tmp_path / "store", **options)
    assert report.attrs["upload"]["resumed"] >= 30


def test_bad_rows_stay_aside(con: qframe.Connection, collection: str, tmp_path: Path) -> None:
    """Rows that were set aside are in nobody's way."""
    frame = _frame()
    frame.loc[["row5", "row55", "row99"], "v"] = None
    options = {"journal": tmp_path / "films.qframe", "bad_rows": "skip"}
    _stopped(frame, collection, con, **options)
    report = _upload(frame, collection, con, **options)
    assert report["points"].sum() == ROWS - 3
    _equals(frame.drop(["row5", "row55", "row99"]), collection, con)


@pytest.mark.parametrize(
    ("change", "options", "found"),
    [
        (lambda df: df.assign(year=[1, *df["year"][1:]]), {}, "'year'"),
        (lambda df: df.assign(v=list(np.ones((ROWS, 4)))), {}, "vectors"),
        (lambda df: df.assign(key=[*df["key"][:-1], "new"]), {}, "ids"),
        (lambda df: df.head(50), {}, "50 rows, it had 100"),
        (lambda df: df.assign(extra=1), {}, "'extra'"),
        (lambda df: df.drop(columns="year"), {}, "'year'"),
        (lambda df: df, {"missing": "drop"}, "missing is 'drop', it was 'null'"),
        (lambda df: df, {"collection": "other"}, "'other'"),
    ],
)
def test_other_data_is_refused(
    tmp_path: Path, change: Any, options: dict[str, Any], found: str
) -> None:
    """A journal is of one frame and one mapping; what has changed is said, and nothing is sent."""
    con, journal = tmp_path / "store", tmp_path / "films.qframe"
    _stopped(_frame(), "films", con, journal=journal)
    before = journal.read_bytes()
    arguments = {"collection": "films", "journal": journal} | options
    with pytest.raises(ResumeMismatch) as caught:
        _upload(change(_frame()), con=con, **arguments)
    assert found in str(caught.value)
    assert str(journal) in str(caught.value)
    assert "name another" in str(caught.value)
    assert journal.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "options", "found"),
    [
        (lambda df: df.assign(key=[*df["key"][:-1], "new"]), {}, "ids"),
        (lambda df: df.head(50), {}, "50 rows, it had 100"),
        (lambda df: df, {"missing": "drop"}, "missing is 'drop', it was 'null'"),
        (lambda df: df, {"collection": "other"}, "collection 'films', and this one goes to"),
    ],
)
def test_another_frame_than_the_reports_is_refused(
    tmp_path: Path, change: Any, options: dict[str, Any], found: str
) -> None:
    """A report is of one frame's rows and one mapping."""
    con = tmp_path / "store"
    report = _stopped(_frame(), "films", con)
    arguments = {"collection": "films", "resume": report} | options
    with pytest.raises(ResumeMismatch) as caught:
        _upload(change(_frame()), con=con, **arguments)
    assert found in str(caught.value)
    assert "leave resume" in str(caught.value)


def test_what_cannot_be_gone_on_with(tmp_path: Path) -> None:
    """Random ids, two sources, and what is no report are refused before anything is opened."""
    con = tmp_path / "store"
    report = qframe.upload_points([{"id": 1, "vector": [1.0]}], "s", con, progress=False)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"journal": tmp_path / "j", "ids": qframe.uuid4()}, "new in every run"),
        ({"journal": tmp_path / "j", "resume": report}, "pass one of them"),
        ({"journal": True}, "journal=True: the path of a file"),
        ({"resume": pd.DataFrame()}, "that is no report"),
        ({"resume": "report"}, "that is no report"),
        ({"resume": report}, "a stream of records"),
    ]
    for options, found in cases:
        with pytest.raises(InputError) as caught:
            _upload(_frame(), "films", con, **options)
        assert found in str(caught.value)
    assert not (tmp_path / "j").exists()


def test_a_collection_that_is_gone(con: qframe.Connection, collection: str, tmp_path: Path) -> None:
    """A journal does not outlive its collection: rows it holds for stored would be missed."""
    frame, journal = _frame(), tmp_path / "films.qframe"
    report = _stopped(frame, collection, con, journal=journal, wait=True)
    with con.store() as store:
        store.delete(collection)
    for options in ({"journal": journal}, {"resume": report}):
        with pytest.raises(ResumeMismatch, match="there is no such collection any more"):
            _upload(frame, collection, con, **options)
    _upload(frame.head(5), collection, con)
    for options in ({"journal": journal}, {"resume": report}):
        with pytest.raises(ResumeMismatch, match="which holds 5: it was made anew"):
            _upload(frame, collection, con, **options)


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_what_the_server_dropped_is_sent_again(
    server: LocalServer, collection: str, transport: str, tmp_path: Path
) -> None:
    """Acknowledged points that are not there when the upload is gone on with are sent again."""
    con = server.rest_url if transport == "rest" else server.grpc_url
    frame, journal = _frame(), tmp_path / "films.qframe"
    server.reset()
    server.faults(["lose"])
    first = _upload(frame, collection, con, journal=journal, barrier=False)
    assert set(first["status"]) == {"acknowledged"}
    second = _upload(frame, collection, con, journal=journal)
    assert second[second["attempts"] > 0]["points"].sum() == ROWS
    assert set(second["status"]) == {"applied"}
    _equals(frame, collection, con)


def test_what_is_still_queued_is_waited_for(
    server: LocalServer, collection: str, tmp_path: Path
) -> None:
    """Acknowledged points that are applied while an upload is gone on with are not missed."""
    frame, journal = _frame(), tmp_path / "films.qframe"
    server.reset()
    server.faults(["apply_late:1.5"])
    first = _upload(frame, collection, server.rest_url, journal=journal, barrier=False)
    assert set(first["status"]) == {"acknowledged"}
    second = _upload(frame, collection, server.rest_url, journal=journal)
    assert set(second["status"]) == {"applied"}
    assert second["attempts"].sum() == 0


def test_what_was_dropped_and_then_refused_is_missing(
    server: LocalServer, collection: str, tmp_path: Path
) -> None:
    """A row that the server lost, and refused when it came again, is sent a third time."""
    frame, journal = _frame().assign(id=range(ROWS)), tmp_path / "films.qframe"
    options: dict[str, Any] = {"journal": journal, "ids": "id", "batch_size": ROWS}
    server.reset()
    server.faults(["lose"])
    _upload(frame, collection, server.rest_url, barrier=False, **options)
    server.poison([3])
    second = _upload(frame, collection, server.rest_url, on_error="collect", **options)
    assert second.attrs["upload"]["points"]["applied"] == ROWS - 1
    server.reset(collections=False)
    third = _upload(frame, collection, server.rest_url, **options)
    sent = third[third["attempts"] > 0]
    assert sent[["start", "stop"]].to_numpy().tolist() == [[3, 4]]


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_lost_points_are_loud(
    server: LocalServer, collection: str, transport: str, tmp_path: Path
) -> None:
    """Points that were acknowledged and dropped raise at the end, and the next run brings them."""
    con = server.rest_url if transport == "rest" else server.grpc_url
    frame, journal = _frame(), tmp_path / "films.qframe"
    server.reset()
    server.faults(["lose"])
    with pytest.raises(UploadError, match="10 points are missing") as caught:
        _upload(frame, collection, con, journal=journal)
    assert isinstance(caught.value.__cause__, qframe.PointsLost)
    assert "did not keep all" in str(caught.value)
    assert set(caught.value.report["status"]) == {"acknowledged"}
    assert "10 points are missing" in caught.value.report.attrs["upload"]["barrier"]
    _upload(frame, collection, con, journal=journal)
    _equals(frame, collection, con)


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_only_failed_rows_are_tried_again(
    server: LocalServer, collection: str, transport: str, tmp_path: Path
) -> None:
    """Rows that were refused are sent again, alone, once the server takes them."""
    con = server.rest_url if transport == "rest" else server.grpc_url
    frame, journal = _frame().assign(id=range(ROWS)), tmp_path / "films.qframe"
    server.reset()
    server.poison([3, 77])
    with pytest.raises(UploadError, match="2 of 100 points did not arrive") as caught:
        _upload(frame, collection, con, journal=journal, ids="id")
    bad = frame.qdrant.failed(caught.value.report)
    assert bad.index.tolist() == ["row3", "row77"]
    assert bad["upload_error"].str.contains("poison").all()
    server.reset(collections=False)
    report = _upload(frame, collection, con, journal=journal, ids="id")
    sent = report[report["attempts"] > 0]
    assert sent[["start", "stop"]].to_numpy().tolist() == [[3, 4], [77, 78]]
    assert qframe.verify(frame, collection, con, vectors="v", ids="id", extra=True).empty


def test_a_journal_in_use(tmp_path: Path) -> None:
    """Two uploads at a time cannot keep one journal."""
    journal = tmp_path / "films.qframe"
    caught: list[qframe.JournalError] = []

    def second(event: ProgressEvent) -> None:
        if not event.finished and not caught:
            with pytest.raises(qframe.JournalError, match="in use") as error:
                _upload(_frame(), "others", tmp_path / "store", journal=journal)
            caught.append(error.value)

    _upload(_frame(), "films", tmp_path / "store", journal=journal, progress=second)
    assert len(caught) == 1


def test_without_a_journal_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload leaves no file that nobody asked for."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _upload(_frame(), "films", tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
