"""What a report tells: sentences and tables, before anybody asks how they will look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.causes import Causes
from qframe.errors import InputError
from qframe.figures import counted, duration, share, size
from qframe.report import ARRIVED, COLUMNS, Status, bare
from qframe.ways import KEEP, Sentence, ways_on

CAUSES = 5
SLOWEST = 5
PLACES = 3
FINDINGS = 5
"""How many of each are shown; the report has them all."""

LONGEST = 300
"""Characters of a text that are shown."""

MEANS = {
    Status.APPLIED: "stored, and visible to a search",
    Status.ACKNOWLEDGED: "in the server's log and queue, not known to be applied",
    Status.FAILED: "refused, or given up after the last try",
    Status.UNKNOWN: "sent, and no answer said what became of them",
    Status.UNSENT: "never sent",
}

ALWAYS = ("start", "stop", "points", "status")
"""Columns without which a frame is no report."""

WAY = {"rest": "over REST", "grpc": "over gRPC", "embedded": "in the embedded engine"}

RIGHT = "a report is what df.qdrant.upload(…) returns, or the .report of its error"

USED = (
    "batch",
    *ALWAYS,
    *("attempts", "retries", "throttled_s", "encode_s", "send_s", "bytes"),
    *("worker", "deaths", "started_s", "ended_s", "error_type", "error"),
)
"""Columns that are read here; lines that lack some of them tell less."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under heads, each cell a sentence."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[Sentence, ...]]
    numbers: tuple[int, ...] = ()
    folded: bool = False
    more: str = ""


class Lines:
    """The lines of a report, and what they amount to.

    Parameters
    ----------
    report : DataFrame
    """

    def __init__(self, report: pd.DataFrame) -> None:
        summary = report.attrs.get("upload")
        self.summary: Mapping[str, Any] = summary if isinstance(summary, Mapping) else {}
        self.was_told = summary is not None
        self.report = report = checked(bare(report))
        by_status = report.groupby("status")["points"].sum()
        self.counts = {status: int(by_status.get(status.value, 0)) for status in Status}
        self.total = sum(self.counts.values())
        self.arrived = sum(self.counts[status] for status in ARRIVED)
        told = self.summary.get("points")
        self.is_whole = isinstance(told, Mapping) and dict(told) == {
            status.value: count for status, count in self.counts.items()
        }
        self.is_under_way = self.is_whole and bool(self.summary.get("under_way"))

    def headline(self) -> str:
        """Say in a few words how it ended, readable without any colour."""
        ended = self.summary.get("ended") or {} if self.is_whole else {}
        by, error_type = ended.get("by"), ended.get("error_type")
        points = counted(self.total, "point")
        everything = f"all {points}" if self.total != 1 else "the point"
        if self.is_under_way:
            head = f"… under way: {counted(self.arrived, 'point')} arrived so far"
            if self.arrived < self.total:
                head += f", {self.total - self.arrived:,} did not"
        elif by in ("stop", "deadline"):
            lead = "■ stopped" if by == "stop" else "■ its time was over"
            head = f"{lead}: {self.arrived:,} of {points} arrived"
        elif not self.total:
            head = "– no points"
        elif self.arrived < self.total:
            head = f"✗ {self.total - self.arrived:,} of {points} did not arrive"
        elif by == "progress":
            head = f"! the progress function failed, and {everything} arrived"
        elif error_type == "PointsLost":
            head = f"✗ the server took {everything}, and did not keep all"
        elif by == "error":
            head = f"✗ ended early, and {everything} that were sent arrived"
        elif not self.counts[Status.ACKNOWLEDGED]:
            head = f"✓ {everything} applied"
        else:
            head = f"? {everything} acknowledged, {self.counts[Status.APPLIED]:,} known as applied"
        aside = len({finding.get("position") for finding in self.findings})
        return head + (f", {counted(aside, 'row')} set aside" if aside else "")

    def place(self) -> Sentence:
        """Say where the points went."""
        if not self.summary.get("collection"):
            if not len(self.report) and self.was_told:
                return ("nothing has been sent; where that is for good, job.result() tells why",)
            return ('these lines have lost the report\'s attrs["upload"], and tell no more',)
        way = WAY.get(self.summary.get("transport", ""), "")
        made = "made by this upload" if self.summary.get("created") else "added to"
        if made == "added to" and self.is_whole and not self.arrived:
            made = "nothing was added"
        return (
            "collection ",
            short(self.summary["collection"]),
            " at ",
            short(self.summary.get("target", "?")),
            f", {way}, {made}",
        )

    def facts(self) -> Iterator[tuple[str, Sentence]]:
        """Yield what is told in a line each."""
        for status, count in self.counts.items():
            if count:
                part = "" if count == self.total else f" ({share(count, self.total)})"
                yield status.value, (f"{count:,}{part.replace(' (0 %)', '')}, {MEANS[status]}",)
        summary = self.summary if self.is_whole else {}
        if self.summary and not self.is_whole:
            whole = sum(self.summary.get("points", {}).values())
            told = f"{counted(self.total, 'point')} of the upload's {whole:,} are in these lines"
            yield "part", (told,)
        ended = summary.get("ended")
        if ended and ended["by"] != "stop":
            yield "ended by", (short(f"{ended['error_type']}: {ended['error']}"),)
        if summary.get("resumed"):
            yield "resumed", (f"{summary['resumed']:,} of them were there from earlier runs",)
        sent = int(self.report["bytes"].sum())
        if summary.get("seconds") and len(self.sent):
            rate = f"{summary.get('points_per_s', 0):,.0f} points/s"
            yield (
                "time",
                (
                    f"{duration(summary['seconds'])}, {rate}, "
                    f"{size(sent / summary['seconds'])}/s, {size(sent)} in all",
                ),
            )
        elif sent:
            yield "bytes", (size(sent),)
        yield from self._batches()
        retries, waited = self.report["retries"].sum(), self.report["throttled_s"].sum()
        if retries:
            requests = counted(int(self.report["attempts"].sum()), "request")
            yield "retries", (f"{retries:,} of {requests} were repetitions",)
        if waited:
            waits = "waiting, of all workers together, as the server asked"
            yield "throttled", (f"{duration(waited)} of {waits}",)
        if self.report["deaths"].any() or summary.get("deaths"):
            yield "deaths", (_deaths(int(self.report["deaths"].sum()), summary.get("deaths", [])),)
        if summary.get("barrier"):
            yield "barrier", (short(summary["barrier"]),)
        if summary.get("journal"):
            yield "journal", ("", short(summary["journal"]))
        if summary.get("journal_error"):
            yield "journal error", (short(summary["journal_error"]),)

    def _batches(self) -> Iterator[tuple[str, Sentence]]:
        seconds = self.sent["seconds"].to_numpy()
        told = f"{len(seconds):,} sent" if len(seconds) else "nothing was sent"
        if len(seconds) > 1:
            half, most = np.percentile(seconds, [50, 95])
            told += f", half of them within {duration(half)}, 95 % within {duration(most)}"
        yield "batches", (told,)

    @cached_property
    def sent(self) -> pd.DataFrame:
        """A line for each batch that was sent, also of those that the report has in several."""
        sums = ("points", "attempts", "encode_s", "send_s", "throttled_s")
        batches = self.report.groupby("batch", sort=False).agg(
            start=("start", "min"),
            stop=("stop", "max"),
            worker=("worker", "last"),
            began=("started_s", "min"),
            ended=("ended_s", "max"),
            **{name: (name, "sum") for name in sums},
        )
        known = batches["send_s"] + batches["encode_s"] + batches["throttled_s"]
        batches["seconds"] = (batches["ended"] - batches["began"]).fillna(known)
        return batches[batches["attempts"] > 0]

    def tables(self) -> Iterator[Table]:
        """Yield what is told in several columns."""
        yield self._errors()
        yield self._set_aside()
        yield self._slowest()

    def _errors(self) -> Table:
        said = self.report[self.report["error_type"].notna()]
        pairs = pd.MultiIndex.from_frame(said[["error_type", "error"]].astype("string").fillna(""))
        codes, kinds = pairs.factorize()
        points = np.bincount(codes, weights=said["points"].to_numpy(float), minlength=len(kinds))
        causes = Causes()
        key_of = [
            causes.add(kind, int(sum_), int(count))
            for kind, sum_, count in zip(
                kinds, points, np.bincount(codes, minlength=len(kinds)), strict=True
            )
        ]
        at = pd.Series(key_of, dtype="object").to_numpy()[codes]
        rows: list[tuple[Sentence, ...]] = []
        shown = causes.top(CAUSES)
        for found in shown:
            lines = said[at == found.key]
            rows.append(
                (
                    (f"{found.count:,}",),
                    (f"{found.points:,}",),
                    self._rows(lines["start"].to_numpy(), lines["stop"].to_numpy()),
                    (short(found.example),),
                )
            )
        rest = causes.count - sum(found.count for found in shown)
        return Table(
            "errors by cause",
            ("parts", "points", "first rows", "what the first of them says"),
            rows,
            numbers=(0, 1),
            more=f"… and {rest:,} of other causes" if rest else "",
        )

    def _rows(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Sentence:
        """Name the first of these row ranges."""
        order = np.argsort(starts, kind="stable")
        starts, stops = starts[order], stops[order]
        breaks = np.flatnonzero(starts[1:] != stops[:-1])  # what lies side by side is one place
        firsts = starts[np.append(0, breaks + 1)[:PLACES]].tolist()
        lasts = stops[np.append(breaks, len(stops) - 1)[:PLACES]].tolist()
        parts: list[str] = []
        for start, stop in zip(firsts, lasts, strict=True):
            text = f"{start}:{stop}" if self.is_stream else f"df.iloc[{start}:{stop}]"
            parts += [", " if parts else "", text]
        return (*parts, " …") if len(breaks) >= PLACES else tuple(parts)

    def _set_aside(self) -> Table:
        found = self.findings
        rows: list[tuple[Sentence, ...]] = [
            (
                (short(finding.get("label")),),
                (short(finding.get("column")),),
                (short(finding.get("reason")),),
            )
            for finding in found[:FINDINGS]
        ]
        rest = len(found) - len(rows)
        return Table(
            "rows set aside",
            ("row", "column", "what is wrong"),
            rows,
            more=f"… and {counted(rest, 'more finding')}" if rest else "",
        )

    def _slowest(self) -> Table:
        batches = self.sent
        slowest = batches.nlargest(SLOWEST, "seconds") if len(batches) > 1 else batches[:0]
        spans = ("seconds", "send_s", "encode_s", "throttled_s")
        columns = [
            [f"{number}" for number in slowest.index],
            [f"{start}:{stop}" for start, stop in slowest[["start", "stop"]].to_numpy()],
            *([duration(seconds) for seconds in slowest[name].tolist()] for name in spans),
            [f"{attempts:,}" for attempts in slowest["attempts"]],
            ["" if pd.isna(worker) else f"{worker}" for worker in slowest["worker"].tolist()],
        ]
        heads = ("batch", "rows", "took", "sending", "encoding", "throttled", "requests", "worker")
        rows: list[tuple[Sentence, ...]] = [
            tuple((cell,) for cell in cells) for cells in zip(*columns, strict=True)
        ]
        return Table("slowest batches", heads, rows, tuple(range(len(heads))), folded=True)

    def ways(self) -> list[Sentence]:
        """Say what to type next."""
        if not self.summary.get("collection") or not self.is_whole:
            return []
        if self.is_under_way:
            return [("", "job.result()", " waits for the end, ", "job.stop()", " ends it early")]
        ways: list[Sentence] = []
        if self.arrived < self.total:
            ways += ways_on(self.report, self.summary)
            ways.append(
                (
                    "the report is what the call returned, of a job ",
                    "job.report",
                    ", or after an error, before the next one, ",
                    KEEP,
                )
            )
        elif self.findings and not self.is_stream:
            ways.append(
                (
                    "",
                    "df.qdrant.failed(report)",
                    " gives the rows that were set aside, with their reasons",
                )
            )
        if self.arrived == self.total and self.total and not self.is_stream:
            call = f"df.qdrant.verify({self.summary['collection']!r}, con, vectors=…)"
            ways.append(("", call, " with the same ids and payload compares what is stored"))
        return ways

    @property
    def findings(self) -> list[Mapping[str, Any]]:
        """What is wrong with rows that were set aside."""
        return self.summary.get("skipped") or [] if self.is_whole else []

    @property
    def is_stream(self) -> bool:
        """Whether it was an upload of records, and not of a frame."""
        return bool(self.summary) and "mapping" not in self.summary


def frame_of(report: Any) -> pd.DataFrame:
    """Return the report that is given, by itself or by an error that carries it."""
    frame = report if isinstance(report, pd.DataFrame) else getattr(report, "report", None)
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"report: a {type(report).__name__}, which is no report; {RIGHT}")
    return frame


def checked(report: pd.DataFrame) -> pd.DataFrame:
    """Return a report with the columns that are read, in the order of rows; or raise."""
    absent = [name for name in ALWAYS if name not in report.columns]
    if absent:
        raise InputError(f"report: has no column {', '.join(map(repr, absent))}; {RIGHT}")
    other = ~report["status"].isin([status.value for status in Status])
    if other.any():
        raise InputError(f"report: has the status {report['status'][other].iloc[0]!r}; {RIGHT}")
    if "batch" not in report.columns:
        report = report.assign(batch=np.arange(len(report)))
    dtypes = {name: COLUMNS[name] for name in USED}
    numbers = {name for name, dtype in dtypes.items() if dtype in ("int64", "float64")}
    lacking = dict.fromkeys(numbers - {"started_s", "ended_s"}, 0)
    report = report.reindex(columns=list(dtypes)).fillna(lacking).astype(dtypes)
    return report.sort_values("start", kind="stable", ignore_index=True)


def _deaths(counted_: int, deaths: Sequence[Mapping[str, Any]]) -> str:
    told = counted(len(deaths) or counted_, "worker process", "worker processes") + " died"
    return told + (f", the first of them: {short(deaths[0].get('cause'))}" if deaths else "")


def short(value: object) -> str:
    """Return a text in one line, and as much of it as one reads."""
    text = str(value)
    cut = " ".join(text[: 2 * LONGEST].split())
    if len(text) <= LONGEST and len(cut) <= LONGEST:
        return cut
    return f"{cut[:LONGEST]}… ({len(text):,} characters; the report has them all)"
