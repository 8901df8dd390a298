"""The embedded engine's collections: opened once a process, shared, made and removed.

A second `load` of an open shard is refused by the engine, yet damages the first handle for good. So
a lock file of our own is taken before the engine sees a folder, and within a process all users of a
folder share one handle: a cell that is run again joins the handle of its first run.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from qframe.errors import (
    CollectionExists,
    CollectionNotFound,
    EngineError,
    QframeError,
    StoreLocked,
)
from qframe.schema import CollectionSchema
from qframe.transports.edge_handle import OpenShard, engine, guarded
from qframe.transports.filelock import FileLock, LockHeld, key_of
from qframe.transports.shard_files import ShardFiles, translated

FLUSH_EVERY = 50_000
"""Points after which the log is flushed: until then it grows by 1.9 kB a point at 384 dims. A flush
then takes 0.13 to 0.22 s, as much a point as with 100,000 or 200,000, and a third of what it would
be every 10,000."""

CHUNK = 100
"""Points in one call of the engine, which holds the interpreter's lock meanwhile: 100 at 384 dims
take 1 ms. From 25 to 250 a point takes 10.5 µs, with 1,000 of them 12, with 2,000 12.4: what the
engine copies no longer fits the processor's cache. At 16 dims it is 4.2 against 4.7, at 3,072 56
against 58."""

T = TypeVar("T")


class Shard:
    """One user's hold on an open collection; made by `open_shard`.

    Any thread may use it, one call runs at a time. Every method raises `EngineError` for what the
    engine refuses, after a fork, after a panic and when the folder has been removed or replaced,
    and `CollectionNotFound` when this process has deleted the collection meanwhile.

    Attributes
    ----------
    files : ShardFiles
    schema : CollectionSchema
        What the collection was made from.
    """

    def __init__(self, core: OpenShard) -> None:
        self._core = core
        self._left = False
        self.files = core.files
        self.schema = core.schema

    def check(self) -> None:
        """Raise what every other method would raise by now."""
        if self._left:
            raise EngineError(f"{self.files.path} is closed")
        self._core.check()

    @property
    def unflushed(self) -> int:
        """Points written since the last flush; until the next one they are in the log alone."""
        return self._core.unflushed

    def upsert(
        self, points: Sequence[Any], *, size: int, condition: Any = None, mode: Any = None
    ) -> None:
        """Write points; when it returns they are applied, and survive the death of the process.

        Of points with one id the last counts.

        Parameters
        ----------
        points : sequence of qdrant_edge.Point
            Checked by the caller against `schema`: of what does not fit, the engine applies parts.
        size : int
            Bytes of the vectors, to see whether the disk has room.
        condition : qdrant_edge.Filter, optional
        mode : qdrant_edge.UpdateMode, optional
            With one of these the engine gets all points in one call: what was there before decides,
            not what the first of them have just put there.

        Raises
        ------
        InsufficientStorage
            With too little space on the disk. Nothing was applied.
        """
        core = self._core
        upsert = engine().UpdateOperation.upsert_points
        step = CHUNK if condition is None and mode is None else max(1, len(points))

        def write(handle: Any) -> None:
            core.files.check_space(size)
            for first in range(0, len(points), step):
                part = points[first : first + step]
                handle.update(upsert(part, condition, mode))
                core.unflushed += len(part)
            if core.unflushed >= FLUSH_EVERY:
                core.flush()

        self.check()
        core.call("upsert", write)

    def call(self, doing: str, action: Callable[[Any], T]) -> T:
        """Read through the engine's handle.

        Parameters
        ----------
        doing : str
            For the message of an error.
        action : callable
            Gets the `qdrant_edge.EdgeShard`, and must not keep it.
        """
        self.check()
        return self._core.call(doing, action)

    def close(self) -> None:
        """Leave; the last one to leave flushes, closes and unlocks."""
        if self._left:
            return
        self._left = True
        core = self._core
        if core.pid != os.getpid():
            return
        with _registry:
            core.users -= 1
            if core.users:
                return
            if _open.get(core.lock.key) is core:
                del _open[core.lock.key]
            core.close(EngineError(f"{self.files.path} is closed"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


# By the lock file's device and number, so that links, relative paths and other spellings of a path
# meet; as long as the lock is held, no other file can get the same pair.
_open: dict[tuple[int, int], OpenShard] = {}
_registry = threading.RLock()


def open_shard(folder: str | os.PathLike[str], collection: str) -> Shard:
    """Open a collection, or join those who have it open in this process.

    Parameters
    ----------
    folder : str or path
        The embedded store.
    collection : str

    Returns
    -------
    Shard
        To be closed by the caller.

    Raises
    ------
    CollectionNotFound
    StoreLocked
        Where another process has it open.
    EngineError
        Where the engine cannot load it, or is not installed.
    """
    files = ShardFiles.at(folder, collection)
    with _registry:
        if files.read() is None:
            raise _not_found(files)
        core = _find(files)
        if core is None:
            core = _load(files)
            _open[core.lock.key] = core
        core.users += 1
        return Shard(core)


def create_shard(
    folder: str | os.PathLike[str], collection: str, schema: CollectionSchema, config: Any
) -> None:
    """Make a collection. One that was left half made by a crash is made anew.

    Parameters
    ----------
    folder : str or path
        Made with its parents where it is missing.
    collection : str
    schema : CollectionSchema
    config : qdrant_edge.EdgeConfig
        The same schema, as the engine reads it.

    Raises
    ------
    CollectionExists
    InputError
        Where the folder holds something else.
    """
    files = ShardFiles.at(folder, collection)
    files.check_writable(schema)
    edge = engine()
    with _registry:
        if files.read() is not None:
            raise _exists(files)
        with translated(f"{files.path} cannot be made"):
            files.path.mkdir(parents=True, exist_ok=True)
        files.check_ours()
        lock = _lock(files)
        try:
            if files.read() is not None:  # another process was faster
                raise _exists(files)
            files.remove_shard()
            files.check_space()
            guarded(
                f"{files.path} cannot be made",
                lambda: edge.EdgeShard.create(str(files.shard), config).close(),
            )
            files.write(schema, engine=_engine_version())
        except BaseException:
            if files.read() is None:
                _discard(files, lock)
            raise
        finally:
            lock.release()


def delete_shard(folder: str | os.PathLike[str], collection: str) -> None:
    """Remove a collection with its files; one that is missing is no error.

    Raises
    ------
    StoreLocked
        Where another process has it open.
    """
    files = ShardFiles.at(folder, collection)
    with _registry:
        if not files.present():
            return
        core = _find(files)
        if core is None:
            lock = _lock(files)
        else:
            del _open[core.lock.key]
            lock = core.take_over()
        try:
            _discard(files, lock)
        finally:
            lock.release()


def _find(files: ShardFiles) -> OpenShard | None:
    try:
        core = _open.get(key_of(files.lock))
    except OSError:
        return None  # never opened since it was made or copied here
    return core if core is not None and core.ended is None else None


def _load(files: ShardFiles) -> OpenShard:
    edge = engine()
    lock = _lock(files)
    try:
        schema = files.read()
        if schema is None:  # another process deleted it while we waited
            raise _not_found(files)
        handle = guarded(
            f"{files.path} cannot be loaded", lambda: edge.EdgeShard.load(str(files.shard))
        )
        return OpenShard(files, lock, schema, handle)
    except BaseException:
        lock.release()
        raise


def _lock(files: ShardFiles) -> FileLock:
    with translated(f"{files.lock} cannot be locked"):
        try:
            return FileLock.acquire(files.lock)
        except LockHeld as held:
            raise StoreLocked(
                f"{files.path} is in use by {held}: one process at a time can have an embedded "
                "collection open. Close it there (in Jupyter: shut that kernel down), use another "
                "folder, or run a Qdrant server, which serves many processes"
            ) from None


def _discard(files: ShardFiles, lock: FileLock) -> None:
    files.remove_shard()
    if os.name == "nt":
        lock.release()  # a file that is open cannot be removed there
    with translated(f"{files.lock} cannot be removed"):
        files.lock.unlink(missing_ok=True)
    files.remove_folder()


def _engine_version() -> str:
    from importlib.metadata import version

    return version("qdrant-edge-py")


def _not_found(files: ShardFiles) -> CollectionNotFound:
    return CollectionNotFound(f"no collection {files.collection!r} in {files.path.parent}")


def _exists(files: ShardFiles) -> CollectionExists:
    return CollectionExists(f"collection {files.collection!r} exists in {files.path.parent}")


def _close_all() -> None:
    with _registry:
        for core in list(_open.values()):
            try:
                core.close(EngineError(f"{core.files.path} is closed: the process is ending"))
            except QframeError:
                continue  # acknowledged points are in the log
        _open.clear()


def _after_fork() -> None:
    global _registry
    _registry = threading.RLock()  # a thread that is not in this process may have held the old one
    for core in _open.values():
        core.forked()
    _open.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
