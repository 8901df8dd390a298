"""Rows that have arrived, and those that are missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qframe.report import Status

_STATUS = {1: Status.ACKNOWLEDGED, 2: Status.APPLIED}


@dataclass(frozen=True, slots=True)
class Range:
    """Rows whose points have arrived.

    Attributes
    ----------
    start, stop : int
        Row positions in the frame, half open.
    status : Status
        `applied` or `acknowledged`.
    """

    start: int
    stop: int
    status: Status


def gaps(done: Iterable[Range], rows: int) -> list[tuple[int, int]]:
    """Return what is missing between ranges that are sorted and disjoint.

    Parameters
    ----------
    done : iterable of Range
    rows : int
        Rows of the frame.

    Returns
    -------
    list of (int, int)
        Row positions, half open, ascending and disjoint.

    Examples
    --------
    >>> gaps([Range(2, 5, Status.APPLIED), Range(5, 6, Status.ACKNOWLEDGED)], 9)
    [(0, 2), (6, 9)]
    """
    missing = []
    reached = 0
    for known in done:
        if known.start > reached:
            missing.append((reached, known.start))
        reached = known.stop
    if reached < rows:
        missing.append((reached, rows))
    return missing


def merge(records: np.ndarray[Any, np.dtype[np.int64]]) -> list[Range]:
    """Merge records, which may overlap where rows were sent twice; applied wins.

    Parameters
    ----------
    records : int64 array of shape (n, 3)
        Start, stop, and 1 for applied or 0 for acknowledged; in any order.

    Returns
    -------
    list of Range
        Ascending and disjoint; neighbours differ in status.
    """
    # The frame is cut at every start and stop; what lies between two cuts has one status.
    starts, stops, applied = records.T
    cuts = np.unique(np.concatenate([starts, stops]))
    lows, highs = np.searchsorted(cuts, starts), np.searchsorted(cuts, stops)
    status = np.zeros(len(cuts) + 1, dtype=np.int8)
    for value, chosen in ((1, applied == 0), (2, applied == 1)):  # applied wins
        steps = np.bincount(lows[chosen], minlength=len(cuts) + 1) - np.bincount(
            highs[chosen], minlength=len(cuts) + 1
        )
        status[np.cumsum(steps) > 0] = value
    # status[i] is of the rows from cuts[i] to cuts[i + 1]; behind the last cut it is 0.
    edges = np.flatnonzero(np.diff(status, prepend=0))
    places = cuts[edges].tolist()
    kinds = status[edges].tolist()
    return [
        Range(places[at], places[at + 1], _STATUS[kind]) for at, kind in enumerate(kinds) if kind
    ]
