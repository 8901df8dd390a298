"""Workers side by side, in threads or in processes, fed lazily, and replaced when they fail.

Every worker has a thread of this process. With ``kind="process"`` each thread drives a child
process of its own and waits for it, so there is one way to feed, to collect and to stop.

The calling thread alone draws items, collects results and looks after time limits. It waits in
short steps: so Ctrl-C works on every platform, and what is to be done meanwhile gets done.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from qframe.arguments import check_choice, whole_number
from qframe.errors import InputError, WorkerDied, WorkerTimeout
from qframe.exchange import Signal
from qframe.processes import ProcessWorker

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

Kind = Literal["thread", "process"]

log = logging.getLogger("qframe")

TIME_LIMIT = 600.0
"""Seconds that a worker may be at an item: longer than all the tries that `Retry` makes of a batch
by default, so that what is cut off is stuck."""

TICK = 0.1
"""Seconds between two looks at time limits while the calling thread waits. A look at ten workers
takes 2.4 µs."""

GRACE = 1.0
"""Seconds that threads get to end after their workers were killed or cancelled."""

FATAL_DEATHS = 2
"""Workers that may die over an item before it is to blame: one may be bad luck."""


class Worker(Protocol[Item_contra, Result_co]):
    """Turns one item into one result; used by one thread at a time.

    A worker may also have a method ``cancel()``, which is called from another thread when nobody
    waits for its result any more: it breaks what the worker waits for, such as an open request,
    does not block, and the worker is not called again. A worker process is killed instead.

    What a worker in a process is called with may hold arrays that are read-only views on memory
    which the next message overwrites: a worker keeps none of them after it has answered.

    Examples
    --------
    >>> class Square:
    ...     def __init__(self, number): ...
    ...     def __call__(self, item): return item * item
    ...     def close(self): ...
    >>> Square(0)(3)
    9
    """

    def __call__(self, item: Item_contra, /) -> Result_co:
        """Work on one item, or on one message of `ParallelWorkerPool`'s `drive`."""

    def close(self) -> None:
        """Give back what the worker holds."""


@dataclass(frozen=True, slots=True)
class Death:
    """A worker process that ended by itself.

    Attributes
    ----------
    worker : int
        Number of the worker.
    pid : int
    cause : str
        Such as ``"exit code 7"``.
    index : int or None
        Of the item that it was working on, or was made for; None where it was at no item.
    """

    worker: int
    pid: int
    cause: str
    index: int | None


def check_workers(num_workers: int, kind: str) -> None:
    """Raise InputError unless a pool can have so many workers of this kind."""
    whole_number("workers", num_workers, least=1)
    check_choice("worker_kind", kind, ("thread", "process"))


@dataclass(slots=True, eq=False)
class _Task(Generic[Item]):
    """An item on its way; `begun` never becomes false again."""

    index: int
    item: Item
    begun: bool = False
    deaths: list[WorkerDied] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Raised:
    """An outcome that the calling thread is to raise."""

    error: BaseException


class _Slot(Generic[Item]):
    """One of the places of a pool: a thread, the worker it drives, and what they are at."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.thread: threading.Thread | None = None
        self.worker: Any = None
        self.task: _Task[Item] | None = None
        self.spent = 0.0  # seconds that the worker was at the task
        self.since = math.inf  # when it was called last; infinite when it is not at work
        self.abandoned = False

    def call(self, message: Any) -> Any:
        """Hand the worker a message and return its answer."""
        if self.abandoned:
            raise WorkerTimeout(f"worker {self.number} is not waited for any more")
        with self.working():
            return self.worker(message)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count the time in here as the worker's."""
        began = self.since = time.monotonic()
        try:
            yield
        finally:
            self.since = math.inf  # first: whoever looks in between sees too little, not too much
            self.spent += time.monotonic() - began

    def at_work(self, now: float) -> float:
        """Return the seconds that the worker was at its task until now."""
        return self.spent + max(0.0, now - self.since)

    def break_off(self) -> bool:
        """End what the worker is at, from another thread; False if it cannot be ended."""
        self.abandoned = True
        worker = self.worker
        if isinstance(worker, ProcessWorker):
            worker.kill()
            return True
        cancel = getattr(worker, "cancel", None)
        if cancel is None:
            return worker is None
        try:
            cancel()
        except Exception as error:
            log.warning("worker %d could not be cancelled", self.number, exc_info=error)
        return True

    def dismiss(self) -> None:
        """Close the worker; the next item gets a new one."""
        worker, self.worker = self.worker, None
        close = getattr(worker, "close", None)  # whoever holds nothing need not have it
        if close is not None:
            try:
                close()
            except Exception as error:
                log.warning("worker %d could not be closed", self.number, exc_info=error)


class ParallelWorkerPool(Generic[Item, Result]):
    """Runs a worker over items, several at a time.

    A worker process that dies costs nothing: its item goes to another worker first of all, and a
    new process takes its place. An item over which two died is given up.

    Parameters
    ----------
    num_workers : int
    worker : callable
        Makes the worker of a given number (from 0), in the thread or process that will use it. A
        worker is called with an item and returns its result; ``close()``, if it has it, is called
        at its end, and ``cancel()``, from another thread, to break what nobody waits for any more.
        For processes the callable must be picklable and importable, such as a class of a module;
        nothing of ``__main__`` is imported there.
    kind : {"thread", "process"}
        Where the workers run. Both are used in a ``with`` statement, or ended by `close`.
    drive : callable, optional
        Makes the result of an item in several steps: ``drive(call, item)`` runs in a thread of this
        process, with processes too, and ``call(message)`` returns what the worker answers or raises
        what it raises. All messages of one item go to one worker; when that one dies, `drive` is
        called anew with the same item. None is ``call(item)``.
    failed : callable, optional
        Makes the result of an item from the item and what its worker raised, `WorkerDied` and
        `WorkerTimeout` included. None raises it.
    time_limit : float or None, default 600.0
        Seconds that a worker may be at one item, its start included; what `drive` does meanwhile
        does not count. After that its process is killed, or its thread's worker is cancelled and
        neither is used again; a new one takes the place. None is no limit.
    idle : callable, optional
        Called by the calling thread, at least every 0.1 s while it waits for results.

    Attributes
    ----------
    deaths : list of Death
        The worker processes that died, as they did.

    Examples
    --------
    >>> class Square:
    ...     def __init__(self, number): ...
    ...     def __call__(self, item): return item * item
    ...     def close(self): ...
    >>> with ParallelWorkerPool(2, Square) as pool:
    ...     list(pool.ordered_map([1, 2, 3]))
    [1, 4, 9]

    In several steps:

    >>> def fourth_power(call, item):
    ...     return call(call(item))
    >>> with ParallelWorkerPool(2, Square, drive=fourth_power) as pool:
    ...     list(pool.ordered_map([1, 2, 3]))
    [1, 16, 81]
    """

    def __init__(
        self,
        num_workers: int,
        worker: Callable[[int], Worker[Any, Any]],
        kind: Kind = "thread",
        *,
        drive: Callable[[Callable[[Any], Any], Item], Result] | None = None,
        failed: Callable[[Item, BaseException], Result] | None = None,
        time_limit: float | None = TIME_LIMIT,
        idle: Callable[[], object] | None = None,
    ) -> None:
        check_workers(num_workers, kind)
        self.deaths: list[Death] = []
        self._drive = drive
        self._failed = failed
        self._time_limit = time_limit
        self._idle = idle
        self._num_workers = num_workers
        self._worker = worker
        self._kind = kind
        self._signals: queue.SimpleQueue[Signal] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[tuple[_Task[Item], Result | _Raised]] = queue.SimpleQueue()
        # Who begins a task, takes one back, or settles what becomes of one, holds the lock.
        self._lock = threading.Lock()
        self._waiting: deque[_Task[Item]] = deque()
        self._in_flight: dict[int, _Task[Item]] = {}
        self._taken_back: set[int] = set()
        self._slots: list[_Slot[Item]] = []
        self._abandoned: list[_Slot[Item]] = []
        self._stopping = False
        self._closed = False
        self._looked = time.monotonic()

    def semi_ordered_map(self, items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        """Yield results as they come, each with the index of its item.

        Items are drawn in the calling thread, at most two a worker ahead of the results, so that a
        worker finds its next item waiting.

        Raises
        ------
        Exception
            Whatever a worker raises; the items behind it are not drawn.
        InputError
            When the pool is closed, or another map of it was begun meanwhile.
        """
        return self._map(items, held=())

    def unordered_map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield results as they come; raises what `semi_ordered_map` does."""
        for _, result in self._map(items, held=()):
            yield result

    def ordered_map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield results in the order of their items; raises what `semi_ordered_map` does."""
        held: dict[int, Result] = {}
        following = 0
        for index, result in self._map(items, held):
            held[index] = result
            while following in held:
                yield held.pop(following)
                following += 1

    def _map(self, items: Iterable[Item], held: Sized) -> Iterator[tuple[int, Result]]:
        """Yield results as they come; those that the caller still holds count as not come."""
        self._start()
        in_flight = self._in_flight
        source = enumerate(items)
        exhausted = False
        while True:
            if self._in_flight is not in_flight:
                raise InputError("another map of this pool has begun: a pool runs one at a time")
            while not exhausted and len(in_flight) + len(held) < 2 * self._num_workers:
                drawn = next(source, None)
                if drawn is None:
                    exhausted = True
                else:
                    task = in_flight[drawn[0]] = _Task(*drawn)
                    self._waiting.append(task)
                    self._signals.put(Signal.WORK)
            if not in_flight:
                return
            found = self._next_outcome(None)
            assert found is not None
            task, outcome = found
            if isinstance(outcome, _Raised):
                raise outcome.error
            yield task.index, outcome

    def drain(self, seconds: float) -> Iterator[tuple[int, Result]]:
        """Take back the items that no worker has begun, and yield what else still comes in time.

        For a caller who stops in the middle: results of items in flight are not lost, and what
        stands in `taken_back` afterwards is known not to have been begun.
        """
        self._take_back()
        deadline = time.monotonic() + seconds
        while self._in_flight:
            found = self._next_outcome(deadline)
            if found is None:
                return
            task, outcome = found
            if not isinstance(outcome, _Raised):
                yield task.index, outcome

    @property
    def taken_back(self) -> frozenset[int]:
        """Indices of the items that were drawn, and that no worker ever began."""
        return frozenset(self._taken_back)

    def at_work(self) -> list[tuple[int, Item | None]]:
        """Return the number of each worker, and the item that it is at; for any thread."""
        tasks = [(slot.number, slot.task) for slot in self._slots]
        return [(number, None if task is None else task.item) for number, task in tasks]

    def close(self, timeout: float | None = None) -> None:
        """End the workers, once each has finished its item.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which worker processes are killed, and the workers of threads cancelled
            (those without ``cancel()`` are left to end by themselves). None waits as long as it
            takes.
        """
        self._take_back()
        if not self._closed:
            self._closed = True
            for _ in self._slots:
                self._signals.put(Signal.STOP)
        try:
            self._join(self._slots, timeout)
        finally:  # after a Ctrl-C too
            ended = [slot for slot in self._slots + self._abandoned if slot.break_off()]
            self._join(ended, GRACE)

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
        """Be ready for a map: what an earlier one left is not waited for."""
        if self._closed:
            raise InputError("this pool is closed: make a new one")
        self._take_back()
        self._in_flight = {}
        self._taken_back = set()
        self._stopping = False
        while len(self._slots) < self._num_workers:
            slot: _Slot[Item] = _Slot(len(self._slots))
            self._slots.append(slot)  # first, so that `close` knows it whatever comes between
            self._run_in_thread(slot)

    def _run_in_thread(self, slot: _Slot[Item]) -> None:
        slot.thread = threading.Thread(
            target=self._run, args=(slot,), name=f"qframe-worker-{slot.number}", daemon=True
        )
        slot.thread.start()

    def _join(self, slots: list[_Slot[Item]], timeout: float | None) -> None:
        """Wait until the threads of these slots have ended, or the time for it is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        # A list that is looked at anew each time: what takes too long is replaced in it.
        while running := [slot for slot in slots if slot.thread and slot.thread.is_alive()]:
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return
            self._expire(now)
            assert running[0].thread is not None
            running[0].thread.join(TICK if deadline is None else min(TICK, deadline - now))

    def _take_back(self) -> None:
        """Begin no more tasks, and forget those that were not begun."""
        with self._lock:
            self._stopping = True
            for index, task in list(self._in_flight.items()):
                if not task.begun:
                    self._taken_back.add(index)
                    del self._in_flight[index]
            again = [task for task in self._waiting if task.begun]
            self._waiting.clear()
        for task in again:  # its worker died, and there will be no other
            self._outbox.put((task, self._lost(task, task.deaths[-1])))

    def _next_outcome(self, deadline: float | None) -> tuple[_Task[Item], Result | _Raised] | None:
        """Wait for a task of this map to be done; None when the time for it is over."""
        while True:
            now = time.monotonic()
            if now - self._looked >= TICK:
                self._looked = now
                self._expire(now)
                if self._idle is not None:
                    self._idle()
            until = self._looked + TICK if deadline is None else min(self._looked + TICK, deadline)
            try:
                task, outcome = self._outbox.get(timeout=max(0.0, until - now))
            except queue.Empty:
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                continue
            if self._in_flight.get(task.index) is task:  # not one of a map that was left
                del self._in_flight[task.index]
                return task, outcome

    def _expire(self, now: float) -> None:
        """Give up what takes longer than the time limit, and put new workers in its place."""
        if self._time_limit is None:
            return
        for place, slot in enumerate(self._slots):
            with self._lock:
                task = slot.task
                if task is None or slot.at_work(now) < self._time_limit:
                    continue
                slot.abandoned = True  # from here on nothing comes from it
                slot.task = None
                heir = self._slots[place] = _Slot[Item](slot.number)
                self._abandoned.append(slot)
            slow = WorkerTimeout(
                f"worker {slot.number} gave no result within the time limit of "
                f"{self._time_limit:g} s, and was replaced"
            )
            self._outbox.put((task, self._lost(task, slow)))
            slot.break_off()
            self._run_in_thread(heir)

    def _run(self, slot: _Slot[Item]) -> None:
        """Work until told to stop; everything raised travels to the calling thread."""
        try:
            while self._signals.get() is Signal.WORK:
                with self._lock:
                    if not self._waiting:
                        continue  # it was taken back
                    task = self._waiting.popleft()
                    task.begun = True
                    slot.spent = 0.0
                    slot.task = task
                outcome = self._work(slot, task)
                with self._lock:
                    if slot.abandoned:
                        return
                    slot.task = None
                    if outcome is Signal.WORK and not self._stopping:
                        self._waiting.appendleft(task)
                        self._signals.put(Signal.WORK)
                        continue
                if outcome is Signal.WORK:
                    outcome = self._lost(task, task.deaths[-1])
                self._outbox.put((task, outcome))
        finally:
            slot.dismiss()

    def _work(
        self, slot: _Slot[Item], task: _Task[Item]
    ) -> Result | _Raised | Literal[Signal.WORK]:
        """Return what becomes of a task; WORK is to hand it out once more."""
        try:
            self._look_for_death(slot, None)
            if slot.worker is None:
                with slot.working():
                    self._make(slot)
            result: Result
            if self._drive is None:
                result = slot.call(task.item)
            else:
                result = self._drive(slot.call, task.item)
        except BaseException as error:
            died = self._look_for_death(slot, task)
            if not died or not isinstance(error, WorkerDied):
                return self._lost(task, error)
            task.deaths.append(error)
            return Signal.WORK if len(task.deaths) < FATAL_DEATHS else self._lost(task, error)
        self._look_for_death(slot, task)  # `drive` may get over it
        return result

    def _make(self, slot: _Slot[Item]) -> None:
        if self._kind == "thread":
            slot.worker = self._worker(slot.number)
            return
        slot.worker = worker = ProcessWorker(self._worker, slot.number)
        if slot.abandoned:  # before there was anything to kill
            worker.kill()
        try:
            worker.begin()
        except BaseException:
            if not worker.ended():
                slot.dismiss()  # it lives, but has nothing to work with
            raise

    def _look_for_death(self, slot: _Slot[Item], task: _Task[Item] | None) -> bool:
        """Note that a worker process died, if it did, and make room for another."""
        worker = slot.worker
        if not isinstance(worker, ProcessWorker) or not worker.ended():
            return False
        index = None if task is None else task.index
        death = Death(slot.number, worker.pid, worker.cause(), index)
        if not slot.abandoned:  # else it was killed on purpose
            self.deaths.append(death)
        slot.dismiss()
        return True

    def _lost(self, task: _Task[Item], error: BaseException) -> Result | _Raised:
        """Return what becomes of an item that has no result."""
        if self._failed is None:
            return _Raised(error)
        try:
            return self._failed(task.item, error)
        except BaseException as again:
            return _Raised(again)
