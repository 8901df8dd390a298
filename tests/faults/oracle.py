"""What a report says, compared with what the server holds.

The server is asked over its own REST interface, and not through qframe.
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd

from tests.faults.frames import Data, Point
from tests.server import LocalServer

ARRIVED = ("applied", "acknowledged")
STATUSES = (*ARRIVED, "failed", "unknown", "unsent")
PATIENCE = 5.0
"""Seconds that the server may take to apply what it acknowledged."""


def check(
    report: pd.DataFrame,
    data: Data,
    server: LocalServer,
    collection: str,
    *,
    before: dict[int | str, Point] | None = None,
    lossy: bool = False,
) -> None:
    """Raise AssertionError unless every row is in exactly the state that the report says.

    Parameters
    ----------
    report : DataFrame
    data : Data
        What was uploaded.
    server : LocalServer
    collection : str
    before : dict, optional
        What the collection held before this upload, or the run that it goes on with; nothing else
        may be there in the end.
    lossy : bool
        Whether the server may lose what it acknowledged; what is called applied is there.
    """
    before = before or {}
    states = _states(report, data)
    certain = ("applied",) if lossy else ARRIVED
    said_there = {point for point, state in states.items() if state in certain}
    held = _await(server, collection, said_there)
    missing = said_there - held.keys()
    assert not missing, f"{len(missing)} points are not there, such as {_some(missing)}"
    foreign = held.keys() - states.keys() - before.keys()
    assert not foreign, f"{len(foreign)} points came from nowhere, such as {_some(foreign)}"
    for point in said_there:
        _same(point, held[point], data.points[point])
    for point, state in states.items():
        if state in ("unsent", "failed"):
            assert (point in held) <= (point in before), f"{point!r} is {state}, and is there"
        elif point in held and point not in before:
            _same(point, held[point], data.points[point])
    for point in before.keys() - states.keys():
        assert point in held, f"{point!r} was there before, and is gone"


def check_complete(data: Data, server: LocalServer, collection: str) -> None:
    """Raise AssertionError unless the collection is what the frame says, and nothing else."""
    held = _await(server, collection, set(data.points))
    assert held.keys() == data.points.keys(), (
        f"missing {_some(data.points.keys() - held.keys())}, "
        f"foreign {_some(held.keys() - data.points.keys())}"
    )
    for point, found in held.items():
        _same(point, found, data.points[point])


def check_sends(
    report: pd.DataFrame,
    *,
    arrivals: int,
    attempts: int,
    splits: int = 0,
    throttled: int = 0,
    alone: bool = False,
    deaths: int = 0,
) -> None:
    """Raise AssertionError when more was sent than what the retry policy allows.

    Parameters
    ----------
    report : DataFrame
    arrivals : int
        Requests that came through to the server or its proxy.
    attempts, splits : int
        Of the `Retry`.
    throttled : int
        Requests that were answered with a time to come back: the patience starts anew after them.
    alone : bool
        Whether the server took so little at a time that each point may have had to travel alone.
    deaths : int
        Workers that died in the middle of a request.
    """
    for batch, rows in report.groupby("batch"):
        sends = int(rows["attempts"].sum())
        # What is halved is sent in parts, and each of them may need all attempts.
        parts = 1 + splits + alone * int(rows["points"].sum())
        limit = attempts * parts + throttled + deaths
        assert sends <= limit, f"batch {batch} was sent {sends} times, more than {limit}"
    total = int(report["attempts"].sum())
    assert arrivals <= total, f"{arrivals} requests came, and the report tells of {total}"


def content(server: LocalServer, collection: str) -> dict[int | str, Point] | None:
    """Return everything that a collection holds; None where there is no such collection."""
    points: dict[int | str, Point] = {}
    offset: Any = None
    while True:
        body = {"limit": 1000, "offset": offset, "with_payload": True, "with_vector": True}
        data = json.dumps({name: value for name, value in body.items() if value is not None})
        url = f"{server.rest_url}/collections/{quote(collection)}/points/scroll"
        try:
            with urlopen(Request(url, data.encode()), timeout=60) as answer:
                page = json.load(answer)["result"]
        except HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise
        for point in page["points"]:
            points[point["id"]] = point["vector"], point.get("payload") or {}
        offset = page.get("next_page_offset")
        if offset is None:
            return points


def _states(report: pd.DataFrame, data: Data) -> dict[int | str, str]:
    """Return what the report says of each point; check that it says something of each, once."""
    assert set(report["status"]) <= set(STATUSES)
    states: dict[int | str, str] = {}
    reached = 0
    for row in report.itertuples():
        assert row.start == reached, f"rows {reached} to {row.start} are not told of, or twice"
        assert row.start < row.stop or not len(data)
        reached = row.stop
        ids = [point for point in data.ids[row.start : row.stop] if point is not None]
        assert len(ids) == row.points, f"rows {row.start} to {row.stop} are {len(ids)} points"
        assert row.attempts >= row.retries >= 0
        if row.status in ARRIVED:
            assert pd.isna(row.error), f"{row.status}, and: {row.error}"
        elif row.status == "unsent":
            assert row.attempts == 0
            assert pd.isna(row.error)
        elif row.status == "failed":
            assert not pd.isna(row.error)
        states |= dict.fromkeys(ids, row.status)
    assert reached == len(data) or not data.points, f"rows {reached} to {len(data)} are missing"
    numbers = report["batch"].drop_duplicates().tolist()
    assert numbers == list(range(len(numbers)))
    summary = report.attrs["upload"]
    counted = pd.Series(states, dtype=object).value_counts().to_dict()
    assert summary["points"] == {state: counted.get(state, 0) for state in STATUSES}
    assert summary["rows"] == len(data)
    assert summary["retries"] == report["retries"].sum()
    json.dumps(summary)
    skipped = {found["position"] for found in summary["skipped"]}
    assert skipped == {row for row, point in enumerate(data.ids) if point is None}
    return states


def _await(server: LocalServer, collection: str, wanted: set[int | str]) -> dict[int | str, Point]:
    """Read the collection, once it holds these points or the time for it is over."""
    deadline = time.monotonic() + PATIENCE
    while True:
        held = content(server, collection) or {}
        if wanted <= held.keys() or time.monotonic() > deadline:
            return held
        time.sleep(0.05)


def _same(point: int | str, found: Point, wanted: Point) -> None:
    vector = np.asarray(found[0], dtype=np.float32)
    assert np.array_equal(vector, np.asarray(wanted[0], dtype=np.float32)), f"vector of {point!r}"
    assert found[1] == wanted[1], f"payload of {point!r}: {found[1]!r}, not {wanted[1]!r}"


def _some(points: Any) -> list[Any]:
    return sorted(points, key=str)[:3]
