"""What an upload has brought in, kept in a file that survives its process.

A journal is text. Each line is a record: the CRC-32 of what follows in eight hexadecimal digits, a
space, and JSON. The first line says what is uploaded where; then come::

    {"prepared": true}              the collection is as the call asked for
    [0, 1000, "acknowledged"]       these rows, half open, are in the server's log and queue
    [1000, 2000, "applied"]         these are stored
    {"settled": true}               whatever was acknowledged so far is stored

Lines are only ever added. A line that was cut short or changed says nothing, and its rows are sent
again: losing a record costs time, and never a row.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import orjson

from qframe.errors import JournalError, ResumeMismatch
from qframe.fingerprint import Fingerprint, chain
from qframe.report import BatchResult, Status
from qframe.transports.filelock import lock, unlock
from qframe.version import __version__

log = logging.getLogger("qframe")

VERSION = 1

SYNC_SECONDS = 1.0
"""Between two times that the file is brought to the disk: what a power cut takes is sent again, so
this only bounds how much. A batch would wait 1 to 20 ms for it, as long as it takes to be sent."""

LOCKED_BYTE = 1 << 40
"""Where Windows locks the file: nothing is written so far behind."""


@dataclass(frozen=True, slots=True)
class Range:
    """Rows that have arrived.

    Attributes
    ----------
    start, stop : int
        Row positions, half open.
    status : Status
        `APPLIED` or `ACKNOWLEDGED`.
    """

    start: int
    stop: int
    status: Status


class Journal:
    """The record of one upload; made by `open`, and for one upload at a time.

    Attributes
    ----------
    path : str
    is_prepared : bool
        Whether the collection was made, replaced or found as the call asked for.
    done : list of Range
        What had arrived when it was opened; merged, ascending and disjoint.
    error : str or None
        Why records are missing from it, in a sentence.
    """

    def __init__(self, path: str, descriptor: int, clock: Callable[[], float]) -> None:
        self.path = path
        self.is_prepared = False
        self.done: list[Range] = []
        self.error: str | None = None
        self._descriptor = descriptor
        self._clock = clock
        self._synced = clock()
        self._is_torn = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        fingerprint: Fingerprint,
        *,
        collection: str,
        target: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Begin a journal, or go on with one of the same upload.

        Parameters
        ----------
        path : str or path
        fingerprint : Fingerprint
            Of the frame and its mapping.
        collection, target : str
            Where the upload goes; the target without any key.
        clock : callable
            Seconds on a clock that never goes back.

        Returns
        -------
        Journal

        Raises
        ------
        JournalError
            When the file is something else, is in use, or cannot be read and written.
        ResumeMismatch
            When it belongs to another upload, or the data has changed since; it says what has.
        """
        text = os.fspath(path)
        header = {
            "journal": VERSION,
            "qframe": __version__,
            "collection": collection,
            "target": target,
            "fingerprint": fingerprint.to_json(),
        }
        try:
            journal = cls(text, _open(text), clock)
        except OSError as error:
            _refuse(text, error)
        try:
            journal._read(header, fingerprint)
        except OSError as error:
            journal.close()
            _refuse(text, error)
        except BaseException:
            journal.close()
            raise
        return journal

    def prepared(self) -> None:
        """Note that the collection is as the call asked for."""
        self.is_prepared = True
        self._append({"prepared": True}, sync=True)

    def record(self, result: BatchResult) -> None:
        """Note what has arrived; other results are passed over.

        A record that cannot be written raises nothing, for no row is lost by it: `error` tells it,
        and a warning.
        """
        if result.status in (Status.APPLIED, Status.ACKNOWLEDGED):
            due = self._clock() - self._synced >= SYNC_SECONDS
            self._append([result.start, result.stop, result.status.value], sync=due)

    def settled(self) -> None:
        """Note that everything acknowledged so far is applied."""
        self._append({"settled": True}, sync=True)

    def close(self) -> None:
        """Bring the file to the disk, and let others use it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.fsync(descriptor)
            except OSError as error:
                self._fail(error)
            unlock(descriptor, LOCKED_BYTE)
            os.close(descriptor)

    def _read(self, header: dict[str, Any], fingerprint: Fingerprint) -> None:
        """Read what is there, mend its end, or write the first line."""
        content = _content(self._descriptor)
        end = content.rfind(b"\n") + 1
        if not end:
            if not _may_be_cut_header(content):
                _not_a_journal(self.path)
            self._begin(header)
            return
        lines = content[:end].split(b"\n")[:-1]
        found = _parse(lines[0])
        if not isinstance(found, dict) or "journal" not in found:
            _not_a_journal(self.path)
        if found["journal"] != VERSION:
            raise JournalError(
                f"journal {self.path!r} is of qframe {found.get('qframe')}, in a form that this "
                f"one ({__version__}) does not know: use that version, or name another file"
            )
        self._compare(found, header, fingerprint)
        if end < len(content):
            os.ftruncate(self._descriptor, end)
        self.done = self._replay(lines[1:])

    def _begin(self, header: dict[str, Any]) -> None:
        os.ftruncate(self._descriptor, 0)
        line = _line(header)
        if os.write(self._descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._descriptor)
        if hasattr(os, "O_DIRECTORY"):  # the name of a new file is in its folder
            folder = os.open(Path(self.path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _compare(
        self, found: dict[str, Any], header: dict[str, Any], fingerprint: Fingerprint
    ) -> None:
        differences = [
            f"it was for {name} {found[name]!r}, this is {header[name]!r}"
            for name in ("collection", "target")
            if found[name] != header[name]
        ]
        differences += fingerprint.differences(Fingerprint.from_json(found["fingerprint"]))
        if differences:
            raise ResumeMismatch(
                f"journal {self.path!r} is of another upload: {chain(differences)}. Upload what it "
                "was begun with to go on; or delete it, or name another one, to upload this from "
                "the beginning"
            )

    def _replay(self, lines: Sequence[bytes]) -> list[Range]:
        """Return what the records say, merged."""
        applied: list[list[int]] = []
        acknowledged: list[list[int]] = []
        lost = 0
        for line in lines:
            match _parse(line):
                case [int(start), int(stop), Status.APPLIED.value]:
                    applied.append([start, stop])
                case [int(start), int(stop), Status.ACKNOWLEDGED.value]:
                    acknowledged.append([start, stop])
                case {"settled": True}:
                    applied += acknowledged
                    acknowledged.clear()
                case {"prepared": True}:
                    self.is_prepared = True
                case _:
                    lost += 1
        if lost:
            log.warning(
                "journal %r: %d records cannot be read, and what they told of is sent again",
                self.path,
                lost,
            )
        return _merged(applied, acknowledged)

    def _append(self, record: Any, *, sync: bool) -> None:
        """Write one record in one piece, so that a killed process leaves a torn line at most."""
        line = (b"\n" if self._is_torn else b"") + _line(record)
        try:
            size = os.fstat(self._descriptor).st_size
            written = os.write(self._descriptor, line)
            if written < len(line):
                self._is_torn = True
                os.ftruncate(self._descriptor, size)
                self._is_torn = False
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._is_torn = False
            if sync:
                self._synced = self._clock()
                os.fsync(self._descriptor)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self.error is None:
            self.error = (
                f"journal {self.path!r} could not be written ({error.strerror}): a run that goes "
                "on with it would send again what is not recorded; resume=report does not"
            )
            warnings.warn(self.error, RuntimeWarning, stacklevel=2)


def is_prepared(path: str | os.PathLike[str]) -> bool:
    """Whether a journal tells that its upload has got past preparing the collection.

    A file that cannot be read, or is no journal, is told of when it is opened.
    """
    try:
        with open(path, "rb") as file:
            file.readline()
            return any(_parse(line[:-1]) == {"prepared": True} for line in file)
    except OSError:
        return False


def gaps(done: Iterable[Range], rows: int) -> list[tuple[int, int]]:
    """Return the row ranges that are missing, half open.

    Examples
    --------
    >>> gaps([Range(0, 10, Status.APPLIED), Range(20, 25, Status.ACKNOWLEDGED)], 30)
    [(10, 20), (25, 30)]
    """
    missing = []
    reached = 0
    for known in done:
        if known.start > reached:
            missing.append((reached, known.start))
        reached = max(reached, known.stop)
    if reached < rows:
        missing.append((reached, rows))
    return missing


def merge(ranges: Iterable[Range]) -> list[Range]:
    """Return the same rows, ascending and disjoint; what is applied and acknowledged is applied.

    Examples
    --------
    >>> merge([Range(5, 9, Status.APPLIED), Range(0, 5, Status.APPLIED)])
    [Range(start=0, stop=9, status=<Status.APPLIED: 'applied'>)]
    """
    known = list(ranges)
    return _merged(
        [[r.start, r.stop] for r in known if r.status is Status.APPLIED],
        [[r.start, r.stop] for r in known if r.status is Status.ACKNOWLEDGED],
    )


def _merged(applied: list[list[int]], acknowledged: list[list[int]]) -> list[Range]:
    certain = _union(applied)
    rest = _without(_union(acknowledged), certain)
    both = [Range(start, stop, Status.APPLIED) for start, stop in certain]
    both += [Range(start, stop, Status.ACKNOWLEDGED) for start, stop in rest]
    return sorted(both, key=lambda known: known.start)


def _union(pairs: list[list[int]]) -> list[tuple[int, int]]:
    """Join ranges that touch."""
    if not pairs:
        return []
    bounds = np.array(pairs, dtype=np.int64)
    bounds = bounds[np.argsort(bounds[:, 0], kind="stable")]
    reached = np.maximum.accumulate(bounds[:, 1])
    first = np.flatnonzero(np.r_[True, bounds[1:, 0] > reached[:-1]])
    last = np.r_[first[1:] - 1, len(bounds) - 1]
    return list(zip(bounds[first, 0].tolist(), reached[last].tolist(), strict=True))


def _without(
    ranges: list[tuple[int, int]], others: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Yield what of disjoint, ascending ranges lies in none of the others."""
    at = 0
    for start, stop in ranges:
        while at < len(others) and others[at][1] <= start:
            at += 1
        reached, following = start, at
        while following < len(others) and others[following][0] < stop:
            if others[following][0] > reached:
                yield reached, others[following][0]
            reached = others[following][1]
            following += 1
        if reached < stop:
            yield reached, stop


def _open(path: str) -> int:
    """Open and lock a file for adding to it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise JournalError(f"journal={path!r} is no ordinary file: name another one")
        lock(descriptor, LOCKED_BYTE)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalError(
            f"journal {path!r} is in use by another upload: wait until that one has ended, or name "
            "another file"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _content(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(descriptor, 1 << 24):
        pieces.append(piece)
    return b"".join(pieces)


def _line(record: Any) -> bytes:
    text = orjson.dumps(record)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> Any:
    """Return what a line says, None for one that was cut short or changed."""
    text = line[9:]
    if line[8:9] != b" " or b"%08x" % zlib.crc32(text) != line[:8]:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _may_be_cut_header(content: bytes) -> bool:
    """Whether a file without a whole line may be a journal whose first line was cut short."""
    opening = b'{"journal":'
    text = content[9:]
    digits = content[:8].strip(b"0123456789abcdef")
    return (
        not digits and content[8:9] in (b"", b" ") and text[: len(opening)] == opening[: len(text)]
    )


def _not_a_journal(path: str) -> NoReturn:
    raise JournalError(
        f"{path!r} is there, and is no journal of qframe: name another file, or delete it"
    )


def _refuse(path: str, error: OSError) -> NoReturn:
    folder = Path(path).absolute().parent
    reason = error.strerror
    if isinstance(error, FileNotFoundError):
        reason = f"there is no folder {str(folder)!r}"
    raise JournalError(f"journal={path!r} cannot be used: {reason}") from error
