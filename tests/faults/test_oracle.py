"""The oracle notices what it is there for: each lie of a report, and each row gone astray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import qframe
from tests.faults.frames import Data, plain
from tests.faults.oracle import check, check_complete, check_sends, content
from tests.server import LocalServer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes late here."""
    monkeypatch.setattr("tests.faults.oracle.PATIENCE", 0.2)


@pytest.fixture
def told(clean: LocalServer, collection: str) -> tuple[pd.DataFrame, Data, LocalServer, str]:
    """A true report, in which every status but acknowledged occurs."""
    data = plain(70)
    clean.faults(["delay:0*2", "internal", "drop_before", "delay:0", "unauthenticated"])
    report = data.upload(
        collection,
        clean.rest_url,
        batch_size=10,
        order="ordered",
        wait=True,
        retry=0,
        on_error="collect",
    )
    wanted = ["applied"] * 2 + ["failed", "unknown", "applied", "failed", "unsent"]
    assert report["status"].tolist() == wanted
    return report, data, clean, collection


def changed(report: pd.DataFrame, batch: int, **cells: Any) -> pd.DataFrame:
    """Return a report that says something else of a batch, in its summary as well."""
    lie = report.copy()
    for name, value in cells.items():
        lie.loc[batch, name] = value
    summary = dict(report.attrs["upload"])
    counts = lie.groupby("status")["points"].sum()
    summary["points"] = {name: int(counts.get(name, 0)) for name in summary["points"]}
    summary["retries"] = int(lie["retries"].sum())
    lie.attrs["upload"] = summary
    return lie


LIES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "failed rows that are called applied": lambda r: changed(
        r, 2, status="applied", error=pd.NA, error_type=pd.NA
    ),
    "unknown rows that are called acknowledged": lambda r: changed(
        r, 3, status="acknowledged", error=pd.NA, error_type=pd.NA
    ),
    "applied rows that are called unsent": lambda r: changed(r, 0, status="unsent", attempts=0),
    "applied rows that are called failed": lambda r: changed(r, 0, status="failed", error="x"),
    "an error that is not told": lambda r: changed(r, 2, error=pd.NA),
    "an error of rows that arrived": lambda r: changed(r, 0, error="x"),
    "unsent rows with attempts": lambda r: changed(r, 6, attempts=1),
    "a hole": lambda r: changed(r.drop(index=2).reset_index(drop=True), 0),
    "rows told twice": lambda r: changed(r, 3, start=29),
    "an end that is missing": lambda r: changed(r.iloc[:-1], 0),
    "a wrong number of points": lambda r: changed(r, 4, points=9),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(lie: str, told: tuple[pd.DataFrame, Data, LocalServer, str]) -> None:
    """A report that says anything else than the truth is found out."""
    report, *rest = told
    check(report, *rest)
    with pytest.raises(AssertionError):
        check(LIES[lie](report), *rest)


def test_a_summary_that_does_not_agree(
    told: tuple[pd.DataFrame, Data, LocalServer, str],
) -> None:
    """The sums are part of the report."""
    report, *rest = told
    report.attrs["upload"]["points"]["applied"] += 1
    with pytest.raises(AssertionError):
        check(report, *rest)


def test_points_that_are_wrong(told: tuple[pd.DataFrame, Data, LocalServer, str]) -> None:
    """Another payload, another vector, and a point of nobody's are found."""
    report, data, server, collection = told
    for change in (
        {"id": 0, "vector": [9.0] * 8, "payload": data.points[0][1]},
        {"id": 0, "vector": data.points[0][0], "payload": {"text": "other"}},
        {"id": 4711, "vector": [9.0] * 8, "payload": {}},
    ):
        records = [{"id": 0, "vector": data.points[0][0], "payload": data.points[0][1]}, change]
        qframe.upload_points(
            records, collection, server.rest_url, wait=True, order="ordered", progress=False
        )
        with pytest.raises(AssertionError):
            check(report, data, server, collection)


def test_a_collection_that_is_not_complete(
    told: tuple[pd.DataFrame, Data, LocalServer, str],
) -> None:
    """Completeness is to the point."""
    _, data, server, collection = told
    with pytest.raises(AssertionError, match="missing"):
        check_complete(data, server, collection)
    data.upload(collection, server.rest_url)
    check_complete(data, server, collection)
    assert content(server, "no such collection") is None


def test_more_requests_than_allowed(
    told: tuple[pd.DataFrame, Data, LocalServer, str],
) -> None:
    """Sends beyond the policy, and requests that no report tells of, are found."""
    report = told[0]
    check_sends(report, arrivals=6, attempts=1)
    with pytest.raises(AssertionError):
        check_sends(report, arrivals=7, attempts=1)
    with pytest.raises(AssertionError):
        check_sends(changed(report, 0, attempts=2, retries=1), arrivals=6, attempts=1)
