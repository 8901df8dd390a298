"""What became of each batch, and the report frame made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from qframe.errors import QframeError


class Status(StrEnum):
    """What is known of a batch's points."""

    APPLIED = "applied"
    """The server said `completed`: stored, and visible to a search."""
    ACKNOWLEDGED = "acknowledged"
    """In the server's write-ahead log and queue, not yet applied."""
    FAILED = "failed"
    """Refused, or given up after the last retry."""
    UNKNOWN = "unknown"
    """Sent, without an answer that says what became of it."""
    UNSENT = "unsent"
    """Never sent."""


ARRIVED = (Status.APPLIED, Status.ACKNOWLEDGED)
"""What the server took."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The outcome of one batch, or of a part of one; one row of the report.

    Attributes
    ----------
    batch : int
        Number of the batch, from 0.
    start, stop : int
        Row positions in the frame, half open. Rows that were set aside lie in the range too.
    points : int
        Points in the batch, at most ``stop - start``.
    status : Status
        What is known of these points.
    attempts, retries : int
        Requests sent, and how many of them were repetitions.
    throttled_s, encode_s, send_s : float
        Seconds spent waiting because the server asked for it, encoding, and in requests.
    bytes : int
        Size of the encoded body. For the embedded engine, which takes no bytes, that of the
        vectors' numbers.
    operation_id : int or None
        The server's number of the write.
    worker : int or None
        Which worker sent it.
    deaths : int
        Worker processes that died over it.
    started_s, ended_s : float
        Seconds after the upload's beginning at which work on it began and ended; NaN where none
        did.
    requests : tuple of float
        When each request was sent and when it was over, in turn, in seconds after the upload's
        beginning: by its answer, or by none in time. The last one has only the first of the two
        where the batch was given up meanwhile.
    error : QframeError or None
        Why it is `failed` or `unknown`.
    """

    batch: int
    start: int
    stop: int
    points: int
    status: Status
    attempts: int = 0
    retries: int = 0
    throttled_s: float = 0.0
    encode_s: float = 0.0
    send_s: float = 0.0
    bytes: int = 0
    operation_id: int | None = None
    worker: int | None = None
    deaths: int = 0
    started_s: float = math.nan
    ended_s: float = math.nan
    requests: tuple[float, ...] = ()
    error: QframeError | None = None

    @property
    def is_earlier(self) -> bool:
        """Whether an earlier run brought it in."""
        return not self.attempts and self.status in ARRIVED


def merged(results: Sequence[BatchResult]) -> tuple[BatchResult, ...]:
    """Join neighbours that fared alike: what halving took apart, apart from the rows at fault."""
    joined: list[BatchResult] = []
    for result in results:
        if joined and _fared_alike(joined[-1], result):
            joined[-1] = _join(joined[-1], result)
        else:
            joined.append(result)
    return tuple(joined)


def _fared_alike(one: BatchResult, other: BatchResult) -> bool:
    return (one.status, str(one.error), type(one.error)) == (
        other.status,
        str(other.error),
        type(other.error),
    ) and (one.stop == other.start)


def _join(one: BatchResult, other: BatchResult) -> BatchResult:
    return replace(
        other,
        start=one.start,
        points=one.points + other.points,
        attempts=one.attempts + other.attempts,
        retries=one.retries + other.retries,
        throttled_s=one.throttled_s + other.throttled_s,
        encode_s=one.encode_s + other.encode_s,
        send_s=one.send_s + other.send_s,
        bytes=one.bytes + other.bytes,
        deaths=one.deaths + other.deaths,
        started_s=np.fmin(one.started_s, other.started_s).item(),
        ended_s=np.fmax(one.ended_s, other.ended_s).item(),
        requests=one.requests + other.requests,
    )


COLUMNS: dict[str, str] = {
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
"""The report's columns and their dtypes; every one survives `to_parquet`."""


def to_frame(results: Iterable[BatchResult], summary: Mapping[str, Any]) -> pd.DataFrame:
    """Build the report: a row a batch, or part of one, in the order of rows.

    Parameters
    ----------
    results : iterable of BatchResult
        In any order.
    summary : mapping
        Goes to ``attrs["upload"]``; of JSON's types, so that `to_parquet` can write it.

    Returns
    -------
    DataFrame
        With the columns of `COLUMNS`.
    """
    ordered = sorted(results, key=lambda result: (result.batch, result.start))
    cells: dict[str, list[Any]] = {
        name: [getattr(result, name) for result in ordered]
        for name in COLUMNS
        if name not in ("status", "requests", "error_type", "error")
    }
    cells["requests"] = [_written(result.requests) for result in ordered]
    cells["status"] = [result.status.value for result in ordered]
    cells["error_type"] = [
        None if result.error is None else type(result.error).__name__ for result in ordered
    ]
    cells["error"] = [None if result.error is None else str(result.error) for result in ordered]
    report = pd.DataFrame(
        {name: pd.array(cells[name], dtype=dtype) for name, dtype in COLUMNS.items()}  # type: ignore[call-overload]
    )
    report.attrs["upload"] = dict(summary)
    return report


def _written(requests: Sequence[float]) -> str | None:
    """Write the times of requests, to a tenth of a millisecond.

    As text, because lists in a column come back from no file as they went.
    """
    times = [f"{time:.4f}" for time in requests]
    return " ".join(map("-".join, zip_longest(times[::2], times[1::2], fillvalue=""))) or None


def request_times(written: str | None) -> list[tuple[float, float]]:
    """Read a cell of the report's column ``requests``.

    Returns
    -------
    list of (float, float)
        When each request was sent and when it was over, in seconds after the upload's beginning;
        NaN where the batch was given up before.

    Examples
    --------
    >>> request_times("0.0131-0.0304 1.2010-")
    [(0.0131, 0.0304), (1.201, nan)]
    """
    if not isinstance(written, str):
        return []
    pairs = (pair.split("-") for pair in written.split())
    return [(float(sent), float(answered or "nan")) for sent, answered in pairs]


def bare(report: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a report without its summary, which pandas copies with each operation.

    With 50,000 findings in the summary, a single column took 0.2 s to be looked at.
    """
    return pd.DataFrame(report)


def points_by_status(results: Iterable[BatchResult]) -> dict[str, int]:
    """Count points by status, every status named.

    Examples
    --------
    >>> points_by_status([BatchResult(0, 0, 5, 5, Status.APPLIED)])
    {'applied': 5, 'acknowledged': 0, 'failed': 0, 'unknown': 0, 'unsent': 0}
    """
    counts = {status.value: 0 for status in Status}
    for result in results:
        counts[result.status.value] += result.points
    return counts
