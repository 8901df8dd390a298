"""A client in a process of its own, which uploads its frame whenever it is told to.

What a client has used and given back, another one in the same process would use again. That
changes more than the memory that is measured: over gRPC with 1,536 dims, qframe took 16 µs of CPU
a point by itself, half of it for memory that the system had to clear for each request anew, and 8
where the peer had made the allocator keep such pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Self

from tests.benchmarks.bodies import Encoding, measure_encoding
from tests.benchmarks.clients import Case, Upload, Urls
from tests.benchmarks.frames import make_frame
from tests.benchmarks.usage import Usage, measure, peak_above

Client = Callable[[Urls, Case], AbstractContextManager[Upload]]
"""Makes a client ready; it is passed to the process by its name, so a module must have it."""

WARM_UP = 1000
"""Points that are uploaded before, so that imports and the first connection are not counted."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The first upload of a whole frame.

    Attributes
    ----------
    usage : Usage
        With the watching.
    above_frame : int
        Bytes of resident memory at its highest, above what was resident before the upload. Those
        of the client's own processes count, if it has some.
    """

    usage: Usage
    above_frame: int


class Contestant:
    """The process as the one that measures sees it.

    Parameters
    ----------
    client : Client
    urls : mapping of str to str
    case : Case
        Its frame is made there.
    """

    def __init__(self, client: Client, urls: Urls, case: Case) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._ready: Future[None] = self._pool.submit(_prepare, client, dict(urls), case)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.submit(_close)
        self._pool.shutdown()

    def warm_up(self) -> None:
        """Upload some points, when the frame is made."""
        self._ready.result()
        self._do("upload", WARM_UP)

    def watch(self) -> Watched:
        """Upload the frame for the first time."""
        found: Watched = self._do("watch")
        return found

    def upload(self, rows: int | None = None) -> Usage:
        """Upload the frame, or its first rows."""
        found: Usage = self._do("upload", rows)
        return found

    def encode(self) -> Encoding:
        """Make the requests of qframe without sending them."""
        found: Encoding = self._do("encode")
        return found

    def _do(self, name: str, *arguments: object) -> Any:
        return self._pool.submit(_call, name, *arguments).result()


class _Inside:
    """What the process holds."""

    def __init__(self, client: Client, urls: Urls, case: Case) -> None:
        self._urls, self._case = urls, case
        self._frame = make_frame(case.rows, case.size, case.columns)
        self._stack = ExitStack()
        self._client = self._stack.enter_context(client(urls, case))

    def close(self) -> None:
        self._stack.close()

    def watch(self) -> Watched:
        usages: list[Usage] = []
        above = peak_above(
            lambda: usages.append(self.upload(None)), children=self._case.has_processes
        )
        return Watched(usages[0], above)

    def upload(self, rows: int | None) -> Usage:
        frame = self._frame if rows is None else self._frame.head(rows)
        return measure(lambda: self._client(frame))

    def encode(self) -> Encoding:
        return measure_encoding(self._frame, self._urls, self._case)


_inside: _Inside | None = None


def _prepare(client: Client, urls: Urls, case: Case) -> None:
    global _inside
    _inside = _Inside(client, urls, case)


def _call(name: str, *arguments: object) -> Any:
    return getattr(_inside, name)(*arguments)


def _close() -> None:
    if _inside is not None:
        _inside.close()
