"""What earlier runs of an upload have brought in, and the record that this one keeps."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import pandas as pd

from qframe.barrier import Expected, pass_barrier
from qframe.batches import Extent
from qframe.errors import InputError, ResumeMismatch
from qframe.fingerprint import fingerprint, ids_digest
from qframe.journal import Journal, is_prepared
from qframe.mapping.ids import Uuid4
from qframe.points import PointColumns
from qframe.ranges import Range, gaps
from qframe.report import ARRIVED, BatchResult, Status, bare
from qframe.schema import CollectionInfo
from qframe.stores.base import Store
from qframe.watch import Watch
from qframe.write import WriteOptions

log = logging.getLogger("qframe")

SAMPLE = 1000
"""Points of earlier runs that are looked for, by one request: of a collection that was made anew
with other points, hardly all are there."""


class Past:
    """The rows that need not be sent, by a journal, by a report, or none.

    Parameters
    ----------
    journal : str, path or None
        File that says what earlier runs brought in, and is told what this one does.
    report : DataFrame or None
        Of an earlier run.
    ids : object
        What the caller passes as ids.
    collection, target : str
    write : WriteOptions

    Attributes
    ----------
    is_prepared : bool
        Whether an earlier run has made, replaced or found the collection as the call asks for.

    Raises
    ------
    InputError
        For what cannot be gone on with.
    """

    def __init__(
        self,
        journal: str | os.PathLike[str] | None,
        report: pd.DataFrame | None,
        ids: Any,
        collection: str,
        target: str,
        write: WriteOptions,
    ) -> None:
        if journal is not None and report is not None:
            raise InputError(
                "journal=… and resume=… both say what has arrived already: pass one of them"
            )
        if isinstance(ids, Uuid4) and (journal is not None or report is not None):
            raise InputError(
                "ids=qframe.uuid4() are new in every run, so nothing could be gone on with: "
                "ids=qframe.uuid5('key column') are the same in every run"
            )
        if not isinstance(journal, (str, os.PathLike, type(None))):
            raise InputError(f"journal={journal!r}: the path of a file, such as 'films.qframe'")
        self._path = None if journal is None else os.fspath(journal)
        self._report = None if report is None else _check_report(report, collection, target)
        self._collection = collection
        self._target = target
        self._write = write
        self._journal: Journal | None = None
        self._rows = 0
        self._points: PointColumns | None = None
        self._done: list[Range] = []
        self.notes: dict[str, Any] = {}
        self.is_prepared = self._report is not None or (
            self._path is not None and is_prepared(self._path)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._journal is not None:
            self._journal.close()

    def open(self, points: PointColumns, rows: int, mapping: Mapping[str, Any]) -> None:
        """Compare the frame with that of the earlier runs, and read what they did.

        Parameters
        ----------
        points : PointColumns
        rows : int
            Of the frame.
        mapping : mapping
            What else must be the same, of JSON's types.

        Raises
        ------
        ResumeMismatch
            When it is another frame or another mapping; it says what changed.
        JournalError
            When the journal cannot be used.
        """
        self._rows, self._points = rows, points
        digest = ids_digest(points)
        self.notes |= {"ids_digest": digest, "mapping": dict(mapping)}
        if self._path is not None:
            self._journal = Journal.open(
                self._path,
                fingerprint(points, rows, mapping),
                collection=self._collection,
                target=self._target,
            )
            self._done = self._journal.done
            self.notes["journal"] = self._path
        elif self._report is not None:
            _compare(self._report.attrs["upload"], rows, digest, mapping)
            self._done = _arrived(self._report)

    def look(self, points: PointColumns, rows: int, mapping: Mapping[str, Any]) -> None:
        """Read what the earlier runs did, and leave their record as it is.

        Parameters
        ----------
        points, rows, mapping
            As in `open`.

        Raises
        ------
        ResumeMismatch, JournalError
            As `open` does.
        """
        if self._path is None:
            self.open(points, rows, mapping)
            return
        self._rows, self._points = rows, points
        self._done = Journal.peek(
            self._path,
            fingerprint(points, rows, mapping),
            collection=self._collection,
            target=self._target,
        )

    def confirm(
        self,
        store: Store,
        info: CollectionInfo | None,
        patience: float,
        watch: Watch,
    ) -> None:
        """See that what was brought in is still there, as far as a count can tell.

        What was acknowledged and cannot be shown to be applied is sent again.

        Parameters
        ----------
        store : Store
        info : CollectionInfo or None
            The collection as it was found.
        patience : float
            Seconds.
        watch : Watch

        Raises
        ------
        ResumeMismatch
            When the collection is gone, or has lost points.
        """
        if not self._done:
            return
        told = self._count(self._done)
        if info is None:
            raise ResumeMismatch(self._gone(told))
        if any(known.status is Status.ACKNOWLEDGED for known in self._done):
            expected = Expected()
            if self._write.stores_all:
                expected = Expected(told, ids=self._extent(Status.ACKNOWLEDGED).ids)
            doubt = watch.wait_for(
                lambda: pass_barrier(
                    store,
                    self._collection,
                    expected=expected,
                    patience=patience,
                    shard_key=self._write.shard_key,
                    sleep=watch.sleep,
                )
            )
            if doubt is None:
                self._settle()
            else:
                self._done = [k for k in self._done if k.status is Status.APPLIED]
                if self._journal is not None:
                    self._journal.doubted()
                again = told - self._count(self._done)
                log.warning(
                    "%s: %d acknowledged points are sent again: %s",
                    self._collection,
                    again,
                    doubt.text,
                )
            # What was queued when the collection was found may have been applied by now.
            info = store.describe(self._collection)
            if info is None:
                raise ResumeMismatch(self._gone(told))
        self.compare(store, info)

    def compare(self, store: Store, info: CollectionInfo | None) -> None:
        """See that what is known to be applied is still there; nothing is changed.

        Parameters
        ----------
        store : Store
        info : CollectionInfo or None
            The collection as it was found.

        Raises
        ------
        ResumeMismatch
            When the collection is gone, or has lost points.
        """
        if not self._done:
            return
        if info is None:
            raise ResumeMismatch(self._gone(self._count(self._done)))
        known = [done for done in self._done if done.status is Status.APPLIED]
        applied = self._count(known)
        is_counted = self._write.stores_all
        if is_counted and info.points < applied:
            raise ResumeMismatch(
                f"{self._origin} says that {applied:,} points are in collection "
                f"{self._collection!r} at {self._target}, which holds {info.points:,}: it was made "
                f"anew, or points were deleted; {self._anew}"
            )
        sample = self._extent(Status.APPLIED).sample(SAMPLE) if is_counted else []
        missing = len(sample) - store.count(self._collection, sample) if sample else 0
        if missing:
            raise ResumeMismatch(
                f"{self._origin} says that {applied:,} points are in collection "
                f"{self._collection!r} at {self._target}, where {missing:,} of {len(sample):,} of "
                f"them that were looked for are not: it was made anew, or points were deleted; "
                f"{self._anew}"
            )

    def prepared(self) -> None:
        """Note that the collection is as the call asks for."""
        if self._journal is not None and not self._journal.is_prepared:
            self._journal.prepared()

    @property
    def missing(self) -> Sequence[tuple[int, int]]:
        """The row ranges that are left to be sent."""
        return gaps(self._done, self._rows)

    @property
    def results(self) -> list[BatchResult]:
        """What earlier runs brought in, as results without an attempt."""
        return [
            BatchResult(number, known.start, known.stop, self._count([known]), known.status)
            for number, known in enumerate(self._done)
        ]

    def record(self, result: BatchResult) -> None:
        """Keep what became of a batch."""
        if self._journal is not None:
            self._journal.record(result)

    def settled(self) -> None:
        """Note that all acknowledged points are applied."""
        if self._journal is not None:
            self._journal.settled()

    def close(self) -> dict[str, Any]:
        """Close the journal; return what the summary of a report tells."""
        if self._journal is not None:
            self._journal.close()
            self.notes["journal_error"] = self._journal.error
        return self.told()

    def told(self) -> dict[str, Any]:
        """Return what the summary of a report tells by now."""
        return self.notes | {"resumed": self._count(self._done)}

    def _settle(self) -> None:
        self.settled()
        self._done = [replace(known, status=Status.APPLIED) for known in self._done]

    def _count(self, ranges: Iterable[Range]) -> int:
        """Count the points in ranges of rows."""
        if self._points is None:
            return 0
        return Extent(self._points, [(known.start, known.stop) for known in ranges]).points

    def _extent(self, status: Status) -> Extent:
        """Return the rows that arrived with this status."""
        assert self._points is not None
        ranges = [(known.start, known.stop) for known in self._done if known.status is status]
        return Extent(self._points, ranges)

    def _gone(self, told: int) -> str:
        return (
            f"{self._origin} says that {told:,} points are in collection {self._collection!r} at "
            f"{self._target}, and there is no such collection any more; {self._anew}"
        )

    @property
    def _origin(self) -> str:
        return "the report" if self._path is None else f"the journal {self._path}"

    @property
    def _anew(self) -> str:
        return (
            "leave resume=… out to upload everything anew"
            if self._path is None
            else "delete the journal, or name another one, to upload everything anew"
        )


def _check_report(report: Any, collection: str, target: str) -> pd.DataFrame:
    """Raise unless this is a report of an upload of a frame to the same place."""
    summary = report.attrs.get("upload") if isinstance(report, pd.DataFrame) else None
    columns = {"start", "stop", "points", "status"}
    if not isinstance(summary, dict) or not columns <= set(report.columns):
        raise InputError(
            f"resume is a {type(report).__name__} that is no report: pass what an upload returned, "
            "or the .report of its error"
        )
    if "ids_digest" not in summary:
        raise InputError(
            "resume: only the report of a frame's upload can be gone on with, and this one is of "
            "a stream of records"
        )
    for name, now in (("collection", collection), ("target", target)):
        if summary.get(name) != now:
            raise ResumeMismatch(
                f"resume: the report is of an upload to {name} {summary.get(name)!r}, and this one "
                f"goes to {now!r}; leave resume out to upload everything there"
            )
    assert isinstance(report, pd.DataFrame)
    return report  # itself: a copy by pd.DataFrame(report) is without its attrs


def _compare(
    summary: Mapping[str, Any], rows: int, digest: str, mapping: Mapping[str, Any]
) -> None:
    """Raise unless a report was made of the same rows by the same mapping."""
    found = []
    if summary["rows"] != rows:
        found.append(f"the frame has {rows:,} rows, it had {summary['rows']:,}")
    elif summary["ids_digest"] != digest:
        found.append("the ids, or the rows that are set aside, are others")
    before = summary["mapping"]
    found += [
        f"{name} is {mapping.get(name)!r}, it was {before.get(name)!r}"
        for name in {**before, **mapping}
        if before.get(name) != mapping.get(name)
    ]
    if found:
        raise ResumeMismatch(
            f"resume: the report was made of other data: {'; '.join(found)}. Pass the frame and "
            "the arguments of that upload, or leave resume out to upload everything anew"
        )


def _arrived(report: pd.DataFrame) -> list[Range]:
    """Return the row ranges that a report tells as arrived."""
    report = bare(report)
    there = report[report["status"].isin([status.value for status in ARRIVED])].sort_values("start")
    cells = (there[name].tolist() for name in ("start", "stop", "status"))
    return [Range(start, stop, Status(status)) for start, stop, status in zip(*cells, strict=True)]
