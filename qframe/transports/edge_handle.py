"""The embedded engine's handle of one folder: what every call of the engine goes through.

The engine (qdrant-edge-py 0.9) is fast and unforgiving. What this module keeps it from, each of
these seen:

- A panic (`PanicException`, a BaseException) leaves the operation in the write-ahead log, and every
  later `load` panics on it. One more update, even an empty one, makes the log count it as
  done; so that is what follows a panic, then flush and close, and the handle is not used again.
- A handle that came through a fork hangs, and its destructor could flush the parent's files.
- More than one writing thread makes it slower (34-38k points/s with one, 21-24k with four), and it
  holds the interpreter's lock anyway. So the calls of one handle run one at a time.
- Files that were removed or replaced under it take writes all the same, which are then gone.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from qframe.errors import (
    CollectionNotFound,
    EngineError,
    InsufficientStorage,
    QframeError,
    StoreLocked,
)
from qframe.schema import CollectionSchema
from qframe.transports.filelock import FileLock, close_files_below
from qframe.transports.shard_files import ShardFiles, translated

T = TypeVar("T")


def engine() -> Any:
    """Return the engine's module, imported at the first call.

    Raises
    ------
    EngineError
        Where it is not installed; the message says what to type.
    """
    try:
        import qdrant_edge
    except ImportError as error:
        raise EngineError(
            "the embedded engine is not installed: pip install 'qdrant-edge-py==0.9.*', "
            "or pass a server's URL"
        ) from error
    return qdrant_edge


def guarded(doing: str, action: Callable[[], T]) -> T:
    """Run what needs the engine but no handle of it, with the engine's errors translated.

    Parameters
    ----------
    doing : str
        Begins the message of an error.
    action : callable
    """
    try:
        return action()
    except QframeError:
        raise
    except Exception as error:
        if "No space left" in str(error):
            raise InsufficientStorage(f"{doing}: {error}") from error
        if "WouldBlock" in str(error):
            raise StoreLocked(
                f"{doing}: a process that used the engine without qframe has the files open"
            ) from error
        raise EngineError(f"{doing}: {error}") from error
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise EngineError(
            f"{doing}: the embedded engine panicked: {error}. If it happens again the files are "
            "damaged: delete the collection and upload again"
        ) from error


def _is_panic(error: BaseException) -> bool:
    # The class is made by the bindings at run time and cannot be imported.
    return type(error).__name__ == "PanicException"


class OpenShard:
    """An open engine shard with its lock; all `Shard`s of one folder share it."""

    def __init__(
        self, files: ShardFiles, lock: FileLock, schema: CollectionSchema, handle: Any
    ) -> None:
        self.files = files
        self.lock = lock
        self.schema = schema
        self.handle = handle
        self.users = 0
        self.pid = os.getpid()
        self.turn = threading.RLock()
        self.unflushed = 0
        self.ended: QframeError | None = None

    def check(self) -> None:
        """Raise if the handle must not be used any more."""
        if self.pid != os.getpid():
            raise EngineError(
                f"{self.files.path} was opened by process {self.pid}, and a fork of it cannot use "
                "the handle: open the store in the process that works with it"
            )
        if self.ended is not None:
            # A new object each time: raising one twice would mix up their tracebacks.
            raise type(self.ended)(*self.ended.args) from self.ended
        if not self.lock.in_place:
            raise EngineError(
                f"{self.files.path} was removed or replaced while it was open: whatever is written "
                "now would be lost; close it and upload again"
            )

    def call(self, doing: str, action: Callable[[Any], T]) -> T:
        """Run one call of the engine, alone, with its errors translated."""
        self.check()
        with self.turn:
            self.check()
            try:
                return action(self.handle)
            except QframeError:
                raise
            except Exception as error:
                message = f"{doing} in {self.files.path}: {error}"
                if "No space left" in str(error):
                    raise InsufficientStorage(message) from error
                raise EngineError(message) from error
            except BaseException as error:
                if not _is_panic(error):
                    raise
                message = f"{doing} in {self.files.path}: the embedded engine panicked: {error}"
                self.ended = EngineError(f"{message}; open the collection again")
                self._put_to_rest(after_panic=True)
                raise EngineError(message) from error

    def flush(self) -> None:
        self.call("flush", lambda handle: handle.flush())
        self.unflushed = 0

    def close(self, reason: QframeError) -> None:
        """Flush, close and unlock; whoever still has it gets `reason` from now on."""
        if self.pid != os.getpid():
            return
        with self.turn:
            if self.ended is not None:
                return
            # Files that lie elsewhere, or nowhere, by now are none of ours to flush.
            failure: QframeError | None = None
            if self.lock.in_place:
                try:
                    self.flush()
                except QframeError as error:
                    failure = error
            if self.ended is None:
                self.ended = reason
                self._put_to_rest()
            if failure is not None:
                raise failure

    def _put_to_rest(self, *, after_panic: bool = False) -> None:
        operation = engine().UpdateOperation
        steps: list[Callable[[], object]] = [self.handle.close]
        if after_panic:
            steps = [
                lambda: self.handle.update(operation.delete_points([])),
                self.handle.flush,
                self.handle.close,
            ]
        for step in steps:
            try:
                step()
            except Exception:
                continue  # nothing can be done about it, and the error that counts is under way
            except BaseException as error:
                if not _is_panic(error):
                    raise
        self.handle = None
        with translated(f"{self.lock.path} cannot be released"):
            self.lock.release()

    def take_over(self) -> FileLock:
        """Close without flushing, for a collection to be deleted; the caller gets the lock."""
        with self.turn:
            self.ended = CollectionNotFound(
                f"collection {self.files.collection!r} in {self.files.path.parent} was deleted "
                "while it was open"
            )
            try:
                self.handle.close()
            except Exception:
                pass  # its files go anyway
            except BaseException as error:
                if not _is_panic(error):
                    raise
            self.handle = None
            return self.lock

    def forked(self) -> None:
        """Let go of the parent's handle in a forked child."""
        self.lock.abandon()
        if self.handle is not None:
            # Never destroyed in this process: the destructor could write into the parent's files.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.handle))
            # The engine's own lock is shared with the child, and would outlive the parent's close.
            close_files_below(self.files.shard)
