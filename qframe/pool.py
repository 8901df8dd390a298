"""Workers side by side, in threads or in processes, fed lazily.

Every worker is a thread of this process. With ``kind="process"`` each thread drives a child process
of its own and waits for it, so there is one way to feed, to collect and to stop.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from types import TracebackType
from typing import IO, Any, Generic, Literal, Protocol, Self, TypeVar

from qframe.arguments import check_choice, whole_number
from qframe.errors import WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

Kind = Literal["thread", "process"]


class Worker(Protocol[Item_contra, Result_co]):
    """Turns one item into one result; used by one thread at a time."""

    def __call__(self, item: Item_contra, /) -> Result_co:
        """Work on one item."""

    def close(self) -> None:
        """Give back what the worker holds."""


def check_workers(num_workers: int, kind: str) -> None:
    """Raise InputError unless a pool can have so many workers of this kind."""
    whole_number("workers", num_workers, least=1)
    check_choice("worker_kind", kind, ("thread", "process"))


class _Signal(Enum):
    """What a thread is told, apart from items."""

    STOP = auto()


class ParallelWorkerPool(Generic[Item, Result]):
    """Runs a worker over items, several at a time.

    Parameters
    ----------
    num_workers : int
    worker : callable
        Makes the worker of a given number, in the thread or process that will use it. For
        processes it must be picklable and importable; nothing of ``__main__`` is imported there.
    kind : {"thread", "process"}
    failed : callable, optional
        Makes the result of an item from the item and what its worker raised. None raises it.

    Examples
    --------
    >>> class Square:
    ...     def __init__(self, number): ...
    ...     def __call__(self, item): return item * item
    ...     def close(self): ...
    >>> with ParallelWorkerPool(2, Square) as pool:
    ...     list(pool.ordered_map([1, 2, 3]))
    [1, 4, 9]
    """

    def __init__(
        self,
        num_workers: int,
        worker: Callable[[int], Worker[Item, Result]],
        kind: Kind = "thread",
        *,
        failed: Callable[[Item, BaseException], Result] | None = None,
    ) -> None:
        check_workers(num_workers, kind)
        self._failed = failed
        self._num_workers = num_workers
        self._worker = worker
        self._kind = kind
        self._inbox: queue.SimpleQueue[tuple[int, Item] | _Signal] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[tuple[int, Result | BaseException]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._children: list[_ProcessWorker[Item, Result]] = []
        self._in_flight: set[int] = set()
        self._taken_back: set[int] = set()

    def semi_ordered_map(self, items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        """Yield results as they come, each with the index of its item.

        Items are drawn in the calling thread, at most two a worker ahead of the results, so that a
        worker finds its next item waiting.

        Raises
        ------
        Exception
            Whatever a worker raises; the items behind it are not drawn.
        """
        self._start()
        source = enumerate(items)
        exhausted = False
        while True:
            while not exhausted and len(self._in_flight) < 2 * self._num_workers:
                drawn = next(source, None)
                if drawn is None:
                    exhausted = True
                else:
                    self._in_flight.add(drawn[0])
                    self._inbox.put(drawn)
            if not self._in_flight:
                return
            index, result = self._outbox.get()
            if isinstance(result, BaseException):
                raise result
            self._in_flight.discard(index)
            yield index, result

    def unordered_map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield results as they come."""
        for _, result in self.semi_ordered_map(items):
            yield result

    def ordered_map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield results in the order of their items."""
        waiting: dict[int, Result] = {}
        following = 0
        for index, result in self.semi_ordered_map(items):
            waiting[index] = result
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def drain(self, seconds: float) -> Iterator[tuple[int, Result]]:
        """Take back the items that no worker has begun, and yield what else still comes in time.

        For a caller who stops in the middle: results of items in flight are not lost, and what
        stands in `taken_back` afterwards is known not to have been begun.
        """
        self._take_back()
        deadline = time.monotonic() + seconds
        while self._in_flight:
            try:
                index, result = self._outbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            self._in_flight.discard(index)
            if not isinstance(result, BaseException):
                yield index, result

    @property
    def taken_back(self) -> frozenset[int]:
        """Indices of the items that were drawn, and that no worker ever began."""
        return frozenset(self._taken_back)

    def close(self, timeout: float | None = None) -> None:
        """End the workers, once each has finished its item.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which worker processes are killed, and threads are left to end by
            themselves. None waits as long as it takes.
        """
        if not self._threads:
            return  # closed before: taking back would take the stop from threads that still work
        self._take_back()
        for _ in self._threads:
            self._inbox.put(_Signal.STOP)
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is None:
                continue  # an interrupt came before it was started
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        for child in self._children:
            child.kill()
        self._threads.clear()
        self._children.clear()

    def _take_back(self) -> None:
        while True:
            try:
                task = self._inbox.get_nowait()
            except queue.Empty:
                return
            if not isinstance(task, _Signal):
                self._in_flight.discard(task[0])
                self._taken_back.add(task[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an error nobody waits for the other results: workers may hang on a dead server.
        self.close(timeout=None if error is None else 2.0)

    def _start(self) -> None:
        while len(self._threads) < self._num_workers:
            number = len(self._threads)
            thread = threading.Thread(
                target=self._run, args=(number,), name=f"qframe-worker-{number}", daemon=True
            )
            self._threads.append(thread)  # first, so that `close` knows it whatever comes between
            thread.start()

    def _make(self, number: int) -> Worker[Item, Result]:
        if self._kind == "thread":
            return self._worker(number)
        child = _ProcessWorker(self._worker, number)
        self._children.append(child)
        return child

    def _run(self, number: int) -> None:
        """Work until told to stop; everything raised travels to the calling thread."""
        worker: Worker[Item, Result] | None = None
        try:
            while True:
                task = self._inbox.get()
                if isinstance(task, _Signal):
                    return
                index, item = task
                result: Result | BaseException
                try:
                    if worker is None:
                        worker = self._make(number)
                    result = worker(item)
                except BaseException as error:
                    if self._failed is None:
                        result = error  # ends the map
                    else:
                        result = self._failed(item, error)
                        if isinstance(error, WorkerDied) and worker is not None:
                            worker.close()
                            worker = None  # the next item gets a new one
                self._outbox.put((index, result))
        finally:
            if worker is not None:
                worker.close()


class _ProcessWorker(Generic[Item, Result]):
    """A worker in a child process, spoken to over its standard input and output.

    The child is a plain interpreter that imports qframe: it is never forked from this process,
    which may hold channels and locks, and never imports ``__main__``, so that neither a script
    without a guard nor a function of a notebook is in its way.
    """

    def __init__(self, worker: Callable[[int], Worker[Item, Result]], number: int) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from qframe.pool import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's to handle
        )
        self._send((worker, number))
        assert self._process.stdout is not None
        # Whatever an interpreter prints while it starts comes before this line.
        while (line := self._process.stdout.readline()) and line != READY:
            pass

    def __call__(self, item: Item) -> Result:
        self._send(item)
        assert self._process.stdout is not None
        frame = _read_frame(self._process.stdout)
        if frame is None:
            raise WorkerDied(
                f"worker process {self._process.pid} ended with code {self._process.wait()} "
                "before it gave its result"
            )
        succeeded, value = pickle.loads(frame)
        if not succeeded:
            raise value
        return value  # type: ignore[no-any-return]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died with a message half sent
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def kill(self) -> None:
        """End the process now; does nothing once it has ended."""
        self._process.kill()

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        # When the child has ended, the read that follows finds the end of the stream and says so.
        with contextlib.suppress(BrokenPipeError):
            _write_frame(self._process.stdin, pickle.dumps(message, protocol=5))


LENGTH = struct.Struct("<Q")

READY = b"qframe worker ready\n"


def _write_frame(pipe: IO[bytes], frame: bytes) -> None:
    pipe.write(LENGTH.pack(len(frame)))
    pipe.write(frame)
    pipe.flush()


def _read_frame(pipe: IO[bytes]) -> bytes | None:
    """Read one frame; None at the end of the stream, in the middle of a frame too."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    frame = pipe.read(length)
    return frame if len(frame) == length else None


def serve() -> None:
    """Be a child process: make the worker, answer each item, end with the input."""
    inbox = sys.stdin.buffer
    outbox = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not mix with the answers
    outbox.write(b"\n" + READY)
    outbox.flush()
    first = _read_frame(inbox)
    if first is None:
        return
    make, number = pickle.loads(first)
    worker = make(number)
    try:
        while (frame := _read_frame(inbox)) is not None:
            try:
                answer: tuple[bool, Any] = True, worker(pickle.loads(frame))
            except Exception as error:
                answer = False, error
            _write_frame(outbox, pickle.dumps(answer, protocol=5))
    finally:
        worker.close()
