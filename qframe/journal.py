r"""What of an upload has arrived, in a file, so that the same call sends only the rest.

A text file of one record a line::

    qframe-journal 1 d0a1a7c3 {"qframe":"0.1.0","collection":"movies","target":…}
    5f0c9b1e [0,1000,1000,"acknowledged"]
    83c2d7a4 "settled"

The first line says what the upload was of. Of the others, each is a range of rows (start, stop,
points, status), or says that all acknowledged before it are applied by now. The eight hexadecimal
digits are the CRC-32 of the JSON after them.

Every record is one write of a whole line at the file's end, with nothing buffered in this process.
So a killed process leaves at most one torn line. It is cut off, and a line whose digits are wrong
is passed over: the rows of both are sent again, which changes nothing in the collection.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
import sys
import time
import warnings
import zlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from qframe.errors import JournalError, ResumeMismatch
from qframe.fingerprint import Fingerprint
from qframe.report import BatchResult, Status
from qframe.version import __version__

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger("qframe")

FORMAT = 1
"""Version of the file's format."""

SYNC_SECONDS = 1.0
"""Seconds between two fsyncs at the least. A lost machine, unlike a killed process, takes what was
not synced with it, and those rows are sent again: one second of an upload. A record costs 6 us,
with an fsync 0.2 ms on an NVMe disk (4 ms at the worst of 100), and 10 ms on spinning ones."""

SHOWN = 12
"""Differences that a refusal names."""

_MAGIC = b"qframe-journal "
_STATUS = {1: Status.ACKNOWLEDGED, 2: Status.APPLIED}
# On Windows a locked byte cannot be read by others: lock one far behind the records.
_LOCKED_BYTE = 2**31 - 16


@dataclass(frozen=True, slots=True)
class Range:
    """Rows whose points have arrived.

    Attributes
    ----------
    start, stop : int
        Row positions in the frame, half open.
    points : int
        Points among these rows.
    status : Status
        `applied` or `acknowledged`.
    """

    start: int
    stop: int
    points: int
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
    >>> gaps([Range(2, 5, 3, Status.APPLIED), Range(5, 6, 1, Status.ACKNOWLEDGED)], 9)
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


class Journal:
    """The record of one upload, open for more; made by `Journal.open`.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path, descriptor: int, clock: Callable[[], float]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._clock = clock
        self._synced = clock()
        # Four numbers a record (start, stop, points, whether it is applied): 32 bytes.
        self._records = array("q")
        self._torn = False
        self._failure: OSError | None = None
        self._warned = False
        self._lost: list[tuple[int, int]] = []

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        fingerprint: Fingerprint,
        *,
        collection: str,
        target: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> Journal:
        """Begin a journal, or go on with the one of the same upload.

        Parameters
        ----------
        path : path
            A file that does not exist or is empty, or a journal. Its folder must exist.
        fingerprint : Fingerprint
            Of what is to be uploaded.
        collection, target : str
            Where to; without secrets.
        clock : callable
            Gives seconds.

        Raises
        ------
        JournalError
            When the file cannot be opened or written, is no journal, is one of a later format, or
            is in use.
        ResumeMismatch
            When it is the journal of another upload; says what is different.
        """
        path = Path(path).expanduser()
        descriptor = _open(path)
        try:
            journal = cls(path, descriptor, clock)
            content = _read(descriptor)
            if _is_whole(content):
                journal._go_on(content, fingerprint, collection, target)
            elif _is_torn(content):
                journal._begin(fingerprint, collection, target)
            else:
                raise JournalError(
                    f"{str(path)!r} is not a journal of qframe, and is left as it is; "
                    "name another file"
                )
        except OSError as error:
            os.close(descriptor)
            raise JournalError(f"journal {str(path)!r}: {_reason(error)}") from error
        except BaseException:
            os.close(descriptor)
            raise
        return journal

    @property
    def done(self) -> list[Range]:
        """What has arrived according to the file: merged, ascending and disjoint ranges."""
        return _merge(np.array(self._records, dtype=np.int64).reshape(-1, 4))

    @property
    def error(self) -> str | None:
        """Say what could not be written, and what that means; None when nothing was lost."""
        if self._failure is None:
            return None
        lost = ""
        if self._lost:
            rows = sum(stop - start for start, stop in self._lost)
            lost = (
                f"; {rows:,} rows that arrived are not in it, the first range is "
                f"{self._lost[0][0]:,} to {self._lost[0][1]:,}"
            )
        return (
            f"journal {str(self.path)!r}: {_reason(self._failure)}{lost}. The upload goes on. The "
            "same call would send again what the journal lacks; the report knows it, for resume="
        )

    def record(self, result: BatchResult) -> None:
        """Write down that a batch has arrived; does nothing for one that has not.

        Never raises for a file that cannot be written: see `error`.
        """
        if result.status not in (Status.APPLIED, Status.ACKNOWLEDGED):
            return
        entry = [result.start, result.stop, result.points, result.status.value]
        if self._append(entry):
            is_applied = result.status is Status.APPLIED
            self._records.extend((result.start, result.stop, result.points, is_applied))
            if self._clock() - self._synced >= SYNC_SECONDS:
                self._sync()
        else:
            self._lost.append((result.start, result.stop))
            self._warn()

    def settled(self) -> None:
        """Write down that everything acknowledged so far is applied."""
        if self._append("settled"):
            self._settle()
            self._sync()
        else:
            self._warn()

    def close(self) -> None:
        """Bring the records to the disk and let others use the file."""
        if self._descriptor < 0:
            return
        self._sync()
        descriptor, self._descriptor = self._descriptor, -1
        try:
            _unlock(descriptor)  # also where a forked child holds a copy of the descriptor
        finally:
            os.close(descriptor)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _begin(self, fingerprint: Fingerprint, collection: str, target: str) -> None:
        os.ftruncate(self._descriptor, 0)  # of a header that was torn
        header = {
            "qframe": __version__,
            "collection": collection,
            "target": target,
            "fingerprint": fingerprint.to_json(),
        }
        line = _MAGIC + b"%d " % FORMAT + _line(header)
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, 0)
            raise
        _sync_folder(self.path.parent)

    def _go_on(
        self, content: bytes, fingerprint: Fingerprint, collection: str, target: str
    ) -> None:
        end = content.rfind(b"\n") + 1
        first, *lines = content[:end].split(b"\n")[:-1]
        header = self._header(first)
        was = Fingerprint.from_json(header["fingerprint"])
        found = [
            f"{name} is {now!r}, it was {header[name]!r}"
            for name, now in (("collection", collection), ("target", target))
            if now != header[name]
        ]
        found = list(dict.fromkeys(found + fingerprint.differences(was)))
        if found:
            raise ResumeMismatch(_refusal(self.path, found))
        if end < len(content):
            os.ftruncate(self._descriptor, end)
        self._load(lines, fingerprint.rows)

    def _header(self, line: bytes) -> dict[str, Any]:
        name = str(self.path)
        match = re.fullmatch(rb"(\d{1,9}) (.*)", line[len(_MAGIC) :], re.DOTALL)
        version = FORMAT if match is None else int(match[1])
        if version > FORMAT:
            raise JournalError(
                f"journal {name!r} has format {version}, of a later qframe; this one, "
                f"{__version__}, reads {FORMAT}: upgrade qframe, or name another file"
            )
        header = None if match is None or version < FORMAT else _parse(match[2])
        try:
            if not isinstance(header, dict):
                raise KeyError
            Fingerprint.from_json(header["fingerprint"])
            return {"collection": header["collection"], "target": header["target"], **header}
        except (KeyError, TypeError):
            raise JournalError(
                f"journal {name!r}: its first line is damaged, so that nobody can tell what it is "
                "of; delete it, or name another file, to upload everything"
            ) from None

    def _load(self, lines: list[bytes], rows: int) -> None:
        """Read all records after the header; 0.9 us a record."""
        damaged = []
        add = self._records.extend
        for number, line in enumerate(lines, 2):
            entry = _parse(line)
            if entry == "settled":
                self._settle()
            elif _is_range(entry, rows):
                add((entry[0], entry[1], entry[2], entry[3] == "applied"))
            elif line:
                damaged.append(number)
        if damaged:
            log.warning(
                "journal %r: %d damaged line(s), the first is line %d; their rows are sent again",
                str(self.path),
                len(damaged),
                damaged[0],
            )

    def _settle(self) -> None:
        self._records[3::4] = array("q", [1]) * (len(self._records) // 4)

    def _append(self, entry: Any) -> bool:
        """Write a line; return whether it is in the file as a whole."""
        was_torn, self._torn = self._torn, True
        # A part of a line that could not be taken back is ended, and passed over when read.
        line = (b"\n" if was_torn else b"") + _line(entry)
        written = 0
        try:
            while written < len(line):  # once, unless the disk is about to be full
                written += os.write(self._descriptor, line[written:])
            self._torn = False
        except OSError as error:
            self._failure = self._failure or error
            self._torn = was_torn
            if written:
                self._take_back(written)
            return False
        return True

    def _take_back(self, count: int) -> None:
        try:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - count)
        except OSError:
            self._torn = True

    def _sync(self) -> None:
        self._synced = self._clock()
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if self._failure is None:
                self._failure = error
                self._warn()

    def _warn(self) -> None:
        """Tell the user once, where a notebook shows it."""
        if self._warned:
            return
        self._warned = True
        message = str(self.error)
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        except RuntimeWarning:  # where warnings are errors; the upload must not end here
            log.warning("%s", message)


def _open(path: Path) -> int:
    """Open and lock a file, and make it where there is none."""
    name = str(path)
    try:
        if path.exists() and not path.is_file():  # a pipe would wait for its other end
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise JournalError(f"journal {name!r} is {kind}; name a file")
        if not path.parent.is_dir():
            raise JournalError(
                f"journal {name!r}: there is no folder {str(path.parent)!r}; "
                f"make it with os.makedirs({str(path.parent)!r}), or name a file elsewhere"
            )
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        while True:
            descriptor = os.open(path, flags, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise JournalError(f"journal {name!r} is not a regular file; name a file")
                _lock(descriptor)
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # somebody removed the file in between
    except BlockingIOError:
        raise JournalError(
            f"journal {name!r} is in use by another upload, in this process or in another one; "
            "wait for its end, or name another file"
        ) from None
    except OSError as error:
        raise JournalError(f"journal {name!r}: {_reason(error)}") from error


def _read(descriptor: int) -> bytes:
    """Read the whole file, or only its start where that is no journal's."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    content = os.read(descriptor, len(_MAGIC))
    if content != _MAGIC:
        return content
    parts = [content]
    while part := os.read(descriptor, 2**24):
        parts.append(part)
    return b"".join(parts)


def _is_whole(content: bytes) -> bool:
    return content.startswith(_MAGIC) and b"\n" in content


def _is_torn(content: bytes) -> bool:
    """Whether it is nothing, or the start of a first line."""
    return _MAGIC.startswith(content) or content.startswith(_MAGIC)


def _line(entry: Any) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()  # ASCII, without newlines
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> Any:
    """Return what a line holds; None where it is damaged."""
    text = line[9:]
    if line[:9] != b"%08x " % zlib.crc32(text):
        return None
    try:
        return orjson.loads(text)
    except ValueError:  # one in 2**32 of damaged lines
        return None


def _is_range(entry: Any, rows: int) -> bool:
    """Whether a line's content is a range within the frame."""
    if type(entry) is not list or len(entry) != 4:
        return False
    start, stop, points, status = entry
    if status not in ("applied", "acknowledged"):
        return False
    if type(start) is not int or type(stop) is not int or type(points) is not int:
        return False
    return 0 <= start < stop <= rows and 0 <= points <= stop - start


def _merge(records: np.ndarray[Any, np.dtype[np.int64]]) -> list[Range]:
    """Merge records, which may overlap where rows were sent twice.

    The frame is cut at every start and stop; what lies between two cuts has one status.
    """
    starts, stops, points, applied = records.T
    cuts = np.unique(np.concatenate([starts, stops]))
    lows, highs = np.searchsorted(cuts, starts), np.searchsorted(cuts, stops)
    status = np.zeros(len(cuts) + 1, dtype=np.int8)
    for value, chosen in ((1, applied == 0), (2, applied == 1)):  # applied wins
        steps = np.bincount(lows[chosen], minlength=len(cuts) + 1) - np.bincount(
            highs[chosen], minlength=len(cuts) + 1
        )
        status[np.cumsum(steps) > 0] = value
    count = np.zeros(len(cuts) + 1)
    overlapped = highs - lows > 1
    for at in np.flatnonzero(overlapped).tolist():
        # Only where rows were sent twice in other batches: their points are taken as spread evenly.
        part = slice(lows[at], highs[at])
        share = points[at] / (stops[at] - starts[at])
        count[part] = share * np.diff(cuts[lows[at] : highs[at] + 1])
    count[lows[~overlapped]] = points[~overlapped]
    # status[i] is of the rows from cuts[i] to cuts[i + 1]; behind the last cut it is 0.
    edges = np.flatnonzero(np.diff(status, prepend=0))
    totals = np.append(0, np.cumsum(count)).round().astype(np.int64)[edges].tolist()
    places = cuts[edges].tolist()
    kinds = status[edges].tolist()
    return [
        Range(places[at], places[at + 1], totals[at + 1] - totals[at], _STATUS[kind])
        for at, kind in enumerate(kinds)
        if kind
    ]


def _refusal(path: Path, found: list[str]) -> str:
    """Say what is different, and what to type next."""
    lines = [f"journal {str(path)!r} is of another upload; nothing was sent"]
    lines += [f"  {sentence}" for sentence in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  … and {len(found) - SHOWN:,} more")
    lines.append(
        "  -> with the former data and arguments the same call sends what is missing; "
        "to upload everything, delete the file or name another journal"
    )
    return "\n".join(lines)


def _reason(error: OSError) -> str:
    """Return the system's text for an error, with its short name."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{error.strerror or error} ({name})"


def _sync_folder(folder: Path) -> None:
    """Bring the file's name to the disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError:  # nor do all file systems sync them
        pass
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock until the descriptor is closed, as it is when the process dies, or raise at once."""
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlock(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
