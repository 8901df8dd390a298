"""A file of lines that is added to by one process at a time, and survives its death."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from qframe.errors import JournalError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# On Windows a locked byte cannot be read by others: lock one far behind the lines.
_LOCKED_BYTE = 2**31 - 16


class LineFile:
    """A regular file, open and locked until it is closed or its process dies, however it dies.

    Every line is one write at the file's end, with nothing buffered in this process: a killed
    process leaves one torn line at the most.

    Parameters
    ----------
    path : Path
        Made where there is nothing. Its folder must exist.

    Raises
    ------
    JournalError
        When it is no regular file, its folder is missing, or somebody has it open, in another
        process or in this one.
    OSError
        When the system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _open(path)
        self._torn = False

    def read(self, magic: bytes) -> bytes:
        """Return the whole content, or only its start where that is not `magic`."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        content = os.read(self._descriptor, len(magic))
        if content != magic:
            return content
        parts = [content]
        while part := os.read(self._descriptor, 2**24):
            parts.append(part)
        return b"".join(parts)

    def truncate(self, size: int) -> None:
        """Cut off what is behind so many bytes."""
        os.ftruncate(self._descriptor, size)

    def append(self, line: bytes) -> None:
        """Write a line, newline included, as a whole or not at all.

        Raises
        ------
        OSError
            When it could not be written. The next one is tried all the same.
        """
        was_torn, self._torn = self._torn, True
        # A part of a line that could not be taken back is ended, so that it spoils no other.
        line = (b"\n" if was_torn else b"") + line
        written = 0
        try:
            while written < len(line):  # once, unless the disk is about to be full
                written += os.write(self._descriptor, line[written:])
        except OSError:
            self._torn = was_torn
            if written:
                self._take_back(written)
            raise
        self._torn = False

    def sync(self) -> None:
        """Bring the lines to the disk."""
        os.fsync(self._descriptor)

    def sync_name(self) -> None:
        """Bring the file's name to the disk, where the system can."""
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError:  # Windows opens no folders
            return
        try:
            os.fsync(folder)
        except OSError:  # nor do all file systems sync them
            pass
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let others use the file; does nothing the second time."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            _unlock(descriptor)  # also where a forked child holds a copy of the descriptor
        finally:
            os.close(descriptor)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._descriptor < 0

    def _take_back(self, count: int) -> None:
        try:
            self.truncate(os.fstat(self._descriptor).st_size - count)
        except OSError:
            self._torn = True


class Glance(LineFile):
    """The same file, only looked at: not made, not changed, and not locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._torn = False

    def truncate(self, size: int) -> None:
        """Leave what is behind so many bytes to those who write."""

    def close(self) -> None:
        """Close the file; once."""
        os.close(self._descriptor)


def check_path(path: Path) -> None:
    """Raise JournalError for what cannot be such a file."""
    name = str(path)
    if path.exists() and not path.is_file():  # a pipe would wait for its other end
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise JournalError(f"journal {name!r} is {kind}; name a file")
    if not path.parent.is_dir():
        raise JournalError(
            f"journal {name!r}: there is no folder {str(path.parent)!r}; "
            f"make it with os.makedirs({str(path.parent)!r}), or name a file elsewhere"
        )


def _open(path: Path) -> int:
    """Open and lock a file, and make it where there is none."""
    check_path(path)
    name = str(path)
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
        except BlockingIOError:
            os.close(descriptor)
            raise JournalError(
                f"journal {name!r} is in use by another upload, in this process or in another "
                "one; wait for its end, or name another file"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody removed the file in between


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
