"""The rows that an upload did not bring in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qframe
from qframe.errors import ServerError
from qframe.report import BatchResult, Status, to_frame
from tests.server import LocalServer

LABELS = ["a", "b", "c", "d", "e", "f", "g", "h"]

FRAME = pd.DataFrame({"n": range(8), "text": list("ABCDEFGH")}, index=pd.Index(LABELS, name="key"))


def finding(position: int, reason: str = "inf", column: str = "column 'n'") -> dict[str, Any]:
    """Return what a report says of a row that was set aside."""
    return {"position": position, "label": LABELS[position], "column": column, "reason": reason}


def report_of(*results: BatchResult, rows: int = 8, skipped: Any = ()) -> pd.DataFrame:
    """Return the report of these results."""
    return to_frame(results, {"rows": rows, "skipped": list(skipped)})


def every_status() -> pd.DataFrame:
    """Return a report with each status, one batch in two parts, and a row set aside in another."""
    refused = ServerError("no space left")
    return report_of(
        BatchResult(0, 0, 2, 2, Status.APPLIED),
        BatchResult(1, 2, 3, 1, Status.FAILED, error=refused),
        BatchResult(1, 3, 4, 1, Status.ACKNOWLEDGED),
        BatchResult(2, 4, 6, 1, Status.FAILED, error=ServerError("two")),
        BatchResult(3, 6, 7, 1, Status.UNKNOWN, error=ServerError("three")),
        BatchResult(4, 7, 8, 1, Status.UNSENT),
        skipped=[finding(5), finding(5, "[1]", "column 'v'")],
    )


def test_failed_and_skipped_rows_with_their_reasons() -> None:
    """Each row that did not get in stands there as it was, with what is known of it."""
    bad = FRAME.qdrant.failed(every_status())
    pd.testing.assert_frame_equal(bad[["n", "text"]], FRAME.iloc[[2, 4, 5]])
    assert bad["upload_status"].tolist() == ["failed", "failed", "skipped"]
    assert bad["upload_error"].tolist() == [
        "no space left",
        "two",
        "column 'n': inf; column 'v': [1]",
    ]


@pytest.mark.parametrize(
    ("status", "labels"),
    [
        ("applied", ["a", "b"]),
        ("acknowledged", ["d"]),
        ("failed", ["c", "e"]),
        ("skipped", ["f"]),
        ({"unknown", "unsent"}, ["g", "h"]),
        (["unsent", "unsent"], ["h"]),
        (
            ("applied", "acknowledged", "failed", "unknown", "unsent", "skipped"),
            LABELS,
        ),
    ],
)
def test_rows_of_any_status(status: Any, labels: list[str]) -> None:
    """`status` names one or several, and all together are all rows."""
    rows = FRAME.qdrant.failed(every_status(), status=status)
    assert rows.index.tolist() == labels
    assert rows.index.name == "key"


def test_no_row_is_an_empty_frame_with_types() -> None:
    """When everything arrived, the columns are there all the same."""
    bad = FRAME.qdrant.failed(report_of(BatchResult(0, 0, 8, 8, Status.APPLIED)))
    assert bad.empty
    assert bad.dtypes.astype(str).to_dict() == {
        **FRAME.dtypes.astype(str).to_dict(),
        "upload_status": "string",
        "upload_error": "string",
    }


def test_a_row_without_an_error_has_none() -> None:
    """What was never sent has no reason."""
    rows = FRAME.qdrant.failed(every_status(), status="unsent")
    assert rows["upload_error"].isna().all()


def test_a_report_that_was_kept(tmp_path: Path) -> None:
    """A report that went through a file says the same."""
    report = every_status()
    report.to_parquet(tmp_path / "report.parquet")
    kept = pd.read_parquet(tmp_path / "report.parquet")
    pd.testing.assert_frame_equal(FRAME.qdrant.failed(kept), FRAME.qdrant.failed(report))


def test_part_of_a_report() -> None:
    """Lines chosen from a report are a report of those rows."""
    report = every_status()
    rows = FRAME.qdrant.failed(report[report["batch"] == 1])
    assert rows["upload_error"].tolist()[0] == "no space left"
    assert rows.index.tolist() == ["c", "f"]


def test_any_index_and_columns() -> None:
    """Labels that repeat, and columns with levels, are no hindrance."""
    columns = pd.MultiIndex.from_product([["a"], ["x", "y"]])
    frame = pd.DataFrame([[n, n] for n in range(8)], index=[0] * 8, columns=columns)
    before = frame.copy(deep=True)
    bad = qframe.failed(frame, every_status())
    assert bad[("a", "x")].tolist() == [2, 4, 5]
    assert bad[("upload_status", "")].tolist() == ["failed", "failed", "skipped"]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (None, "report: a NoneType, not the DataFrame of an upload"),
        (FRAME, "report: has no column 'start', 'stop', 'status', 'error'"),
        (qframe.UploadError("x", every_status()), r"its \.report is the report"),
        (report_of(rows=9), "that of 9 rows, and this frame has 8"),
    ],
)
def test_what_is_no_report_of_this_frame(report: Any, message: str) -> None:
    """Something else, and the report of another frame, are told apart from a report."""
    with pytest.raises(qframe.InputError, match=message):
        FRAME.qdrant.failed(report)


def test_a_report_without_its_summary(tmp_path: Path) -> None:
    """A report that lost its attributes is named, with what keeps them."""
    every_status().to_csv(tmp_path / "report.csv", index=False)
    with pytest.raises(qframe.InputError, match=r'lost its attrs\["upload"\].*to_parquet'):
        FRAME.qdrant.failed(pd.read_csv(tmp_path / "report.csv"))


@pytest.mark.parametrize("status", ["lost", (), ["failed", 3], None, 5])
def test_what_is_no_status(status: Any) -> None:
    """Another status is refused with those that there are."""
    with pytest.raises(qframe.InputError, match="one or several of 'applied', 'acknowledged'"):
        FRAME.qdrant.failed(every_status(), status=status)


def test_columns_that_are_there_already() -> None:
    """Columns of the caller's own are never overwritten."""
    again = FRAME.qdrant.failed(every_status())
    with pytest.raises(qframe.InputError, match=r"df\.drop\(columns=\['upload_status', 'upl"):
        again.qdrant.failed(report_of(BatchResult(0, 0, 3, 3, Status.FAILED), rows=3))
    with pytest.raises(qframe.InputError, match="the frame has 'upload_error' already"):
        FRAME.assign(upload_error=1).qdrant.failed(every_status())


def test_something_else_than_a_frame() -> None:
    """The function says what its first argument was."""
    with pytest.raises(qframe.InputError, match="is a list, not a DataFrame"):
        qframe.failed([], every_status())  # type: ignore[arg-type]


def test_what_a_server_refused(server: LocalServer, collection: str) -> None:
    """The error of an upload leads to its rows, which go up again."""
    frame = FRAME.assign(v=[[1.0, 2.0]] * 8)
    options = {"vectors": "v", "ids": "n", "wait": True, "progress": False, "retry": 0}
    server.faults(["bad_request", "delay:0"])
    with pytest.raises(qframe.UploadError) as caught:
        frame.qdrant.upload(collection, server.rest_url, batch_size=5, order="ordered", **options)
    bad = frame.qdrant.failed(caught.value.report)
    assert bad.index.tolist() == LABELS[:5]
    assert bad["upload_error"].str.contains("Wrong input: a fault on demand").all()
    mended = bad.drop(columns=["upload_status", "upload_error"])
    again = mended.qdrant.upload(collection, server.rest_url, **options)
    assert mended.qdrant.failed(again).empty
    assert len(qframe.read_collection(collection, server.rest_url)) == 8
