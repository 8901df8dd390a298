from __future__ import annotations

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from qframe.errors import ServerError, UploadError
from qframe.report import BatchResult, Status, points_by_status, to_frame

DTYPES = {
    "batch": "int64",
    "start": "int64",
    "stop": "int64",
    "points": "int64",
    "status": "string",
    "attempts": "int64",
    "retries": "int64",
    "throttled_s": "float64",
    "encode_s": "float64",
    "send_s": "float64",
    "bytes": "int64",
    "operation_id": "UInt64",
    "worker": "Int64",
    "deaths": "int64",
    "started_s": "float64",
    "ended_s": "float64",
    "requests": "string",
    "error_type": "string",
    "error": "string",
}


def _results() -> list[BatchResult]:
    return [
        BatchResult(0, 0, 5, 5, Status.APPLIED, 1, 0, 0.0, 0.1, 0.2, 99, 2**64 - 1, 1),
        BatchResult(1, 5, 9, 3, Status.FAILED, 2, 1, error=ServerError("it broke")),
        BatchResult(2, 9, 10, 1, Status.UNSENT),
    ]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_columns_and_dtypes_are_always_the_same(count: int) -> None:
    """The report has its columns, in order, with their dtypes, whatever became of the batches."""
    report = to_frame(_results()[:count], {})
    assert list(report.columns) == list(DTYPES)
    assert {name: str(dtype) for name, dtype in report.dtypes.items()} == DTYPES
    assert len(report) == count


def test_batches_stand_in_their_order() -> None:
    """Results may come in any order; a row each, by number."""
    results = _results()
    random.Random(3).shuffle(results)
    report = to_frame(results, {})
    assert report["batch"].tolist() == [0, 1, 2]
    assert report["status"].tolist() == ["applied", "failed", "unsent"]
    assert report["error_type"].tolist() == [pd.NA, "ServerError", pd.NA]
    assert report["error"].tolist() == [pd.NA, "it broke", pd.NA]
    assert report["operation_id"].tolist() == [2**64 - 1, pd.NA, pd.NA]


def test_a_report_survives_parquet(tmp_path: Path) -> None:
    """Written and read back it is the same, its summary included."""
    report = to_frame(_results(), {"collection": "films", "skipped": [{"label": "a"}]})
    json.dumps(report.attrs)
    report.to_parquet(tmp_path / "report.parquet")
    back = pd.read_parquet(tmp_path / "report.parquet")
    pd.testing.assert_frame_equal(back, report)
    assert back.attrs == report.attrs


def test_points_are_counted_by_status() -> None:
    """Every status has a count, and the counts add up."""
    counts = points_by_status(_results())
    assert counts == {"applied": 5, "acknowledged": 0, "failed": 3, "unknown": 0, "unsent": 1}
    assert list(points_by_status([])) == [status.value for status in Status]


def test_an_error_carries_its_report() -> None:
    """UploadError shows its message alone, and keeps the frame."""
    report = to_frame(_results(), {})
    error = UploadError("3 points did not arrive", report)
    assert str(error) == "3 points did not arrive"
    assert error.report is report
