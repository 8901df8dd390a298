"""What a report says of an upload that did not go well, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from qframe import errors
from qframe.figures import counted
from qframe.report import ARRIVED, Status, bare

Sentence = tuple[str, ...]
"""Text, and what can be typed, in turn."""

NOT_HERE = "status not in ('applied', 'acknowledged')"


KEEP = "import sys; report = sys.last_value.report"
"""What keeps the report of an error that was not caught; the next error takes its place."""

EARLY = ("stop", "deadline", "error")
"""What keeps the rest of an upload from being sent, as `attrs["upload"]["ended"]["by"]` says."""


def complaint(report: pd.DataFrame) -> str:
    """Say how much did not arrive, why, and what to type next."""
    report, summary = bare(report), report.attrs["upload"]
    counts, ended = summary["points"], summary["ended"]
    total = sum(counts.values())
    arrived = sum(counts[status] for status in ARRIVED)
    if not total:
        lead = "no point was sent to"
    elif arrived < total:
        lead = f"{total - arrived:,} of {total:,} points did not arrive in"
    elif ended is not None and ended["by"] == "progress":
        lead = f"the progress function failed, and all {total:,} points arrived in"
    elif ended is not None and ended["error_type"] == "PointsLost":
        lead = f"the server took all {total:,} points, and did not keep all, in"
    else:
        lead = f"all {total:,} points that were sent arrived in"
    found = _found(counts)
    note = f" ({found})" if found else ""
    lines = [f"{lead} {summary['collection']!r} at {summary['target']}{note}"]
    why = "" if ended is None else f"{ended['error_type']}: {ended['error']}"
    is_early = ended is not None and ended["by"] in EARLY
    if is_early:
        lines.append(f"  ended by {why}")
    first = first_failure(report)
    if first is not None:
        line = report.iloc[first]
        where = (
            f"batch {line['batch']}, rows {line['start']} to {line['stop']}, "
            f"{counted(line['attempts'], 'attempt')}"
        )
        lines.append(f"  first error, {where}: {line['error_type']}: {line['error']}")
    elif why and not is_early:
        lines.append(f"  first error: {why}")
    if arrived < total:
        lines.append(
            f"  the error's report has a row a batch (in a notebook: {KEEP}); "
            f'these did not arrive: report.query("{NOT_HERE}")'
        )
        lines.append(f"  {_spoken(report, summary)}")
    return "\n".join(lines)


def stopped(report: pd.DataFrame) -> str:
    """Say where an upload was stopped, and what to type next."""
    report, summary = bare(report), report.attrs["upload"]
    return (
        f"stopped: {_found(summary['points']) or 'no'} points in {summary['collection']!r} at "
        f"{summary['target']}; the error's report has a row a batch (in a notebook: {KEEP})\n"
        f"  {_spoken(report, summary)}"
    )


def _spoken(report: pd.DataFrame, summary: Mapping[str, Any]) -> str:
    """Say in a line what to type next."""
    return "; ".join("".join(way) for way in ways_on(report, summary))


def ways_on(report: pd.DataFrame, summary: Mapping[str, Any]) -> list[Sentence]:
    """Say what to type next, after points did not arrive."""
    cells = (report[name].tolist() for name in ("status", "error_type", "points"))
    failed = [
        (_is_refusal(kind), points)
        for status, kind, points in zip(*cells, strict=True)
        if status == Status.FAILED
    ]
    is_refused = any(is_refusal for is_refusal, _ in failed)
    ways: list[Sentence] = []
    if failed:
        ways.append(("", "df.qdrant.failed(report)", " gives the failed rows with their reasons"))
    if any(is_refusal and points > 1 for is_refusal, points in failed):
        ways.append(
            (
                "good rows that could not be told from bad ones are among them, which ",
                "retry=qframe.Retry(splits=…)",
                " or a smaller ",
                "batch_size",
                " finds",
            )
        )
    if "mapping" not in summary:  # a stream
        return ways or [("the same call again sends everything anew",)]
    journal, ended = summary.get("journal"), summary.get("ended")
    if is_refused:
        without = "" if journal is None else ", without journal,"
        ways.append(
            (
                "mend them in df, and the same call with ",
                "resume=report",
                f"{without} sends only what is missing",
            )
        )
    elif journal is not None:
        ways.append((f"the same call again sends only what {journal} says is missing",))
    else:
        ways.append(("the same call with ", "resume=report", " sends only what is missing"))
    if journal is None and ended is not None and ended["by"] == "stop":
        ways.append(
            (
                "begun with ",
                "journal='…'",
                ", the same call goes on by itself, in another process too",
            )
        )
    return ways


def first_failure(report: pd.DataFrame) -> int | None:
    """Return the line of the first failure by row, or of the first that ended the others too."""
    cells = (report[name].tolist() for name in ("status", "error_type", "start"))
    failures = [
        (not _class(kind).fatal, start, line)
        for line, (status, kind, start) in enumerate(zip(*cells, strict=True))
        if status not in ARRIVED and isinstance(kind, str)
    ]
    return min(failures)[2] if failures else None


def _found(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)


def _is_refusal(name: object) -> bool:
    return issubclass(_class(name), errors.InvalidRequest)


def _class(name: object) -> type[errors.QframeError]:
    """Return the error that a report names, or the root of them where it is none of them."""
    found = getattr(errors, name, None) if isinstance(name, str) else None
    if isinstance(found, type) and issubclass(found, errors.QframeError):
        return found
    return errors.QframeError
