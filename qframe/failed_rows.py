"""The rows of a frame that an upload did not bring in, with the reason beside each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import InputError, UploadError, UploadInterrupted
from qframe.report import Status, bare

SKIPPED = "skipped"
"""What is said of rows that were set aside; batches have no such status."""

STATUSES = (*(status.value for status in Status), SKIPPED)

ADDED = ("upload_status", "upload_error")


def failed(
    frame: pd.DataFrame,
    report: pd.DataFrame,
    *,
    status: str | Iterable[str] = ("failed", "skipped"),
) -> pd.DataFrame:
    """Return the rows that were refused, given up or set aside, with the reason beside each.

    ``status=("failed", "unknown", "unsent")`` gives all that are not known to have arrived.

    Parameters
    ----------
    frame : DataFrame
        The frame that was uploaded, rows in the same order.
    report : DataFrame
        What `upload` returned, or the ``report`` of the `UploadError` or `UploadInterrupted` that
        it raised. One that was kept by ``to_parquet`` is as good.
    status : str or iterable of str
        Which rows: any of ``"failed", "unknown", "unsent", "acknowledged", "applied"``, and
        ``"skipped"`` for those that ``bad_rows="skip"`` set aside.

    Returns
    -------
    DataFrame
        These rows with their labels and columns, in the order of `frame`, and two columns more:
        ``upload_status``, and ``upload_error``, which is what the server said, or all that is wrong
        with a row that was set aside; missing where there is no error. Both want to be dropped
        before the rows are uploaded again, or they become payload.

    Raises
    ------
    InputError
        When `report` is no report, or that of another frame; when `status` names something else;
        and when the frame has columns of these two names.

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"price": [1.5, float("inf")], "v": [[0.1, 0.9], [0.8, 0.2]]})
    >>> df.index = [7, 8]
    >>> report = df.qdrant.upload(
    ...     "posters", ":memory:", vectors="v", bad_rows="skip", progress=False
    ... )
    >>> bad = df.qdrant.failed(report)
    >>> bad[["price", "upload_status", "upload_error"]]
       price upload_status         upload_error
    8    inf       skipped  column 'price': inf

    Mended, they go up again. After an `UploadError` it is ``df.qdrant.failed(error.report)``.

    >>> mended = bad.drop(columns=["upload_status", "upload_error"]).assign(price=2.5)
    >>> again = mended.qdrant.upload("posters", ":memory:", vectors="v", progress=False)
    >>> len(mended.qdrant.failed(again))
    0
    """
    __tracebackhide__ = True
    _check_frame(frame)
    wanted = _statuses(status)
    summary = _summary(report)
    if summary["rows"] != len(frame):
        raise InputError(
            f"report: that of {summary['rows']:,} rows, and this frame has {len(frame):,}; pass "
            "the frame that was uploaded, with its rows in the same order"
        )
    report = bare(report)
    of_row = _lines(report, len(frame))
    reasons = _reasons(summary)
    is_skipped = np.zeros(len(frame), dtype=np.bool_)
    is_skipped[list(reasons)] = True
    line_is_wanted = np.append(report["status"].isin(wanted).to_numpy(dtype=np.bool_), False)
    chosen = np.where(is_skipped, SKIPPED in wanted, line_is_wanted[of_row])
    positions = np.flatnonzero(chosen)
    statuses, errors = report["status"].tolist(), report["error"].tolist()
    said = [
        (SKIPPED, reasons[at]) if at in reasons else (statuses[line], errors[line])
        for at, line in zip(positions.tolist(), of_row[positions].tolist(), strict=True)
    ]
    rows = frame.iloc[positions].copy()
    levels = frame.columns.nlevels
    for at, name in enumerate(ADDED):
        label = name if levels == 1 else (name, *[""] * (levels - 1))
        rows[label] = pd.array([pair[at] for pair in said], dtype="string")
    return rows


def _check_frame(frame: object) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"the first argument is a {type(frame).__name__}, not a DataFrame")
    # With levels of columns, a name stands for all that begin with it.
    labels = set(frame.columns.get_level_values(0))
    taken = [name for name in ADDED if name in labels]
    if taken:
        raise InputError(
            f"the frame has {' and '.join(map(repr, taken))} already, which the rows are to get; "
            f"df.drop(columns={taken}) where they come from an earlier call, or df.rename(…)"
        )


def _statuses(status: str | Iterable[str]) -> set[str]:
    given = [status] if isinstance(status, str) else status
    if isinstance(given, Iterable):
        names = list(given)
        if names and all(isinstance(name, str) and name in STATUSES for name in names):
            return set(names)
    raise InputError(f"status={status!r}: one or several of {', '.join(map(repr, STATUSES))}")


def _summary(report: Any) -> Mapping[str, Any]:
    """Return the summary of a report, once it is known to be one."""
    if isinstance(report, (UploadError, UploadInterrupted)):
        raise InputError("report: this is the error; its .report is the report")
    if not isinstance(report, pd.DataFrame):
        raise InputError(f"report: a {type(report).__name__}, not the DataFrame of an upload")
    absent = [name for name in ("start", "stop", "status", "error") if name not in report.columns]
    if absent:
        raise InputError(
            f"report: has no column {', '.join(map(repr, absent))}; a report is what "
            "df.qdrant.upload(…) returns, or the .report of its error"
        )
    summary = report.attrs.get("upload")
    if not isinstance(summary, Mapping) or not {"rows", "skipped"} <= set(summary):
        raise InputError(
            'report: has lost its attrs["upload"], which says what it is a report of; '
            "report.to_parquet(…) keeps them, to_csv(…) and pd.concat(…) do not"
        )
    return summary


def _lines(report: pd.DataFrame, rows: int) -> NDArray[np.int64]:
    """Return the line of the report that each row of the frame lies in, -1 for none."""
    of_row = np.full(rows, -1, dtype=np.int64)
    for line, (start, stop) in enumerate(zip(report["start"], report["stop"], strict=True)):
        of_row[start:stop] = line
    return of_row


def _reasons(summary: Mapping[str, Any]) -> dict[int, str]:
    """Return what is wrong with each row that was set aside, by its position."""
    found: dict[int, list[str]] = {}
    for finding in summary["skipped"]:
        text = f"{finding['column']}: {finding['reason']}"
        found.setdefault(int(finding["position"]), []).append(text)
    return {position: "; ".join(texts) for position, texts in found.items()}
