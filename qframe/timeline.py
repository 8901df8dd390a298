"""When an upload did what, read from its report, in arrays as small as a picture needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import InputError
from qframe.report import ARRIVED, bare, request_times
from qframe.telling import RIGHT

Floats = NDArray[np.float64]

NEEDED = ("started_s", "ended_s", "requests")

READ = ("batch", "points", "status", "encode_s", "worker")

STEPS = 2000
"""Times that are told apart: more than a picture has pixels."""

BINS = 80
"""Spans of time that throughput is told for, at the most."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time of one kind, those that touch joined.

    Attributes
    ----------
    rows : array of int, shape (n,)
        Place of the worker in `Timeline.workers`.
    starts, stops : arrays of float, shape (n,)
        Seconds after the upload's beginning.
    """

    rows: NDArray[np.int64]
    starts: Floats
    stops: Floats

    def joined(self, step: float) -> Spans:
        """Return the spans without gaps that are shorter than a step, none shorter than one."""
        if not len(self.rows):
            return self
        order = np.lexsort((self.starts, self.rows))
        rows, starts = self.rows[order], self.starts[order]
        stops = np.maximum(self.stops[order], starts + step)
        # Shifted row by row beyond what was before, the highest stop so far is that of the row.
        shift = rows * (stops.max() - starts.min() + 2 * step)
        reached = np.maximum.accumulate(stops + shift)
        firsts = np.flatnonzero(np.append(True, (starts + shift)[1:] > reached[:-1] + step))
        lasts = np.append(firsts[1:], len(rows)) - 1
        return Spans(rows[firsts], starts[firsts], (reached - shift)[lasts])


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the workers of an upload did, and when.

    Attributes
    ----------
    workers : list of int
    seconds : float
        When the last batch ended.
    waiting, encoding, sending, repeated : Spans
        At a batch at all; encoding it; first requests; and those that were sent again.
    failed : Spans
        Of batches that did not arrive; what counts is where they stop.
    edges, rates : arrays of float, shapes (k + 1,) and (k,)
        Spans of time, and the points that arrived in each of them, a second; those of a batch are
        spread over its time.
    latencies : array of float, shape (batches,)
        Seconds that each batch took, from its beginning to its last answer.
    """

    workers: list[int]
    seconds: float
    waiting: Spans
    encoding: Spans
    sending: Spans
    repeated: Spans
    failed: Spans
    edges: Floats
    rates: Floats
    latencies: Floats


def timeline(report: pd.DataFrame) -> Timeline:
    """Read the timeline of a report.

    Raises
    ------
    InputError
        When it has no times, or is no report.
    """
    report = bare(report)
    absent = [name for name in (*READ, *NEEDED) if name not in report.columns]
    if set(absent) & set(NEEDED) and set(report.columns) >= set(READ):
        raise InputError(
            f"report: has no column {', '.join(map(repr, absent))}, which tell when a batch was "
            "sent: it was made by an older qframe, or they were dropped; upload again to draw it"
        )
    if absent:
        raise InputError(f"report: has no column {', '.join(map(repr, absent))}; {RIGHT}")
    began = report["started_s"].notna() & report["ended_s"].notna() & report["worker"].notna()
    lines = report[began.to_numpy(bool)]
    starts, stops = _floats(lines, "started_s"), _floats(lines, "ended_s")
    workers, rows = np.unique(lines["worker"].to_numpy(np.int64), return_inverse=True)
    seconds = float(stops.max()) if len(stops) else 0.0
    step = seconds / STEPS

    line_of, sent, answered, is_first = _requests(lines)
    answered = np.where(np.isnan(answered), stops[line_of], answered)
    requests = Spans(rows[line_of], sent, answered)
    first_sent = stops.copy()
    first_sent[line_of[is_first]] = sent[is_first]
    # Of a batch that was halved, the halves are encoded too: that is a part of the waiting.
    encoded = np.minimum(starts + _floats(lines, "encode_s"), first_sent)
    has_arrived = lines["status"].isin([status.value for status in ARRIVED]).to_numpy()
    edges, rates = _throughput(lines["points"].to_numpy(np.int64), starts, stops, has_arrived)
    return Timeline(
        workers.tolist(),
        seconds,
        Spans(rows, starts, stops).joined(step),
        Spans(rows, starts, encoded).joined(step),
        _chosen(requests, is_first).joined(step),
        _chosen(requests, ~is_first).joined(step),
        _chosen(Spans(rows, stops, stops), ~has_arrived).joined(step),
        edges,
        rates,
        _latencies(lines["batch"].to_numpy(), starts, stops),
    )


def _floats(lines: pd.DataFrame, name: str) -> Floats:
    return lines[name].to_numpy(np.float64)


def _chosen(spans: Spans, mask: NDArray[np.bool_]) -> Spans:
    return Spans(spans.rows[mask], spans.starts[mask], spans.stops[mask])


def _requests(
    lines: pd.DataFrame,
) -> tuple[NDArray[np.int64], Floats, Floats, NDArray[np.bool_]]:
    """Return the line, the two times, and whether it is the line's first, of each request."""
    times = [request_times(written) for written in lines["requests"].tolist()]
    counts = np.array([len(pairs) for pairs in times], dtype=np.int64)
    flat = np.array([pair for pairs in times for pair in pairs], dtype=np.float64).reshape(-1, 2)
    is_first = np.zeros(len(flat), dtype=np.bool_)
    is_first[(np.cumsum(counts) - counts)[counts > 0]] = True
    return np.repeat(np.arange(len(lines)), counts), flat[:, 0], flat[:, 1], is_first


def _throughput(
    points: NDArray[np.int64], starts: Floats, stops: Floats, has_arrived: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return spans of time, and how many points a second arrived in each."""
    end = stops.max() if len(stops) else 0.0
    edges = np.linspace(0.0, end or 1.0, min(BINS, max(4, len(stops) // 4)) + 1)
    points, starts = points[has_arrived], starts[has_arrived]
    took = np.maximum(stops[has_arrived] - starts, 1e-9)
    arrived = [float((points * np.clip((edge - starts) / took, 0, 1)).sum()) for edge in edges]
    return edges, np.diff(arrived) / np.diff(edges)


def _latencies(batches: NDArray[np.int64], starts: Floats, stops: Floats) -> Floats:
    """Return how long each batch took, all its parts together."""
    numbers, place = np.unique(batches, return_inverse=True)
    first, last = np.full(len(numbers), np.inf), np.full(len(numbers), -np.inf)
    np.minimum.at(first, place, starts)
    np.maximum.at(last, place, stops)
    taken: Floats = np.maximum(last - first, 0.0)
    return taken
