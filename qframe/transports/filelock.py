"""One holder at a time for a file, across processes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_HOLDER_BYTES = 300
# On Windows a locked byte cannot be read by others: lock one far behind the holder's name.
_LOCKED_BYTE = 4096


class LockHeld(Exception):
    """Somebody else holds the lock; the text says who, as far as that is known."""


class FileLock:
    """A lock that the operating system takes back when its holder dies, however it dies.

    Made by `acquire`. The file holds the name of the holder, for the others to read; it stays when
    the lock is released.

    Attributes
    ----------
    path : Path
    key : tuple of int
        Device and number of the file. Nobody else gets this pair while the lock is held.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.key = (status.st_dev, status.st_ino)

    @classmethod
    def acquire(cls, path: Path) -> FileLock:
        """Take the lock, or raise at once.

        Raises
        ------
        LockHeld
            Where somebody holds it, in another process or through another `FileLock`.
        OSError
            Where the file cannot be made or the file system has no locks.
        """
        while True:
            # Not inherited by programs started from here (PEP 446); forks are `abandon`'s.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                lock(descriptor)
                held = cls(path, descriptor)
                if held.in_place:
                    holder = f"process {os.getpid()} on {socket.gethostname()}"
                    content = holder.encode()[:_HOLDER_BYTES]
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, content)
                    return held
            except BlockingIOError:
                os.lseek(descriptor, 0, os.SEEK_SET)
                holder = os.read(descriptor, _HOLDER_BYTES).decode(errors="replace")
                os.close(descriptor)
                raise LockHeld(holder or "another process") from None
            except BaseException:
                os.close(descriptor)
                raise
            # Its former holder removed the file between our opening and locking it.
            os.close(descriptor)

    @property
    def in_place(self) -> bool:
        """Whether the file still lies at its path, so that others meet this lock."""
        try:
            return key_of(self.path) == self.key
        except OSError:
            return False

    def release(self) -> None:
        """Let the next one in; also where a forked child holds a copy of the descriptor."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            unlock(self._descriptor)
            self.abandon()

    def abandon(self) -> None:
        """Close the descriptor only: what a forked child does with its parent's lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def key_of(path: Path) -> tuple[int, int]:
    """Return device and number of the file, the same for every way to write its path."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def close_files_below(folder: Path) -> None:
    """Close whatever this process has open below a folder: in a forked child, its parent's files.

    Nobody must use those files in this process any more.
    """
    if sys.platform == "win32":
        return
    below = os.path.realpath(folder) + os.sep
    for name in os.listdir("/dev/fd"):
        try:
            if sys.platform == "darwin":
                answer = fcntl.fcntl(int(name), fcntl.F_GETPATH, b"\0" * 1024)
                path = os.fsdecode(answer.rstrip(b"\0"))
            else:
                path = os.readlink(f"/dev/fd/{name}")
            if path.startswith(below):
                os.close(int(name))
        except OSError:
            continue  # the listing's own descriptor, or a pipe


def lock(descriptor: int, byte: int = _LOCKED_BYTE) -> None:
    """Lock a file that is open, or raise BlockingIOError.

    Parameters
    ----------
    descriptor : int
    byte : int
        Which byte Windows locks; others cannot read it.
    """
    if sys.platform == "win32":
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, byte, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock(descriptor: int, byte: int = _LOCKED_BYTE) -> None:
    """Take the lock off again."""
    if sys.platform == "win32":
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
