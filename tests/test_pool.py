from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from qframe.errors import InputError, WorkerDied, WorkerTimeout
from qframe.pool import ParallelWorkerPool, check_workers

ROOT = Path(__file__).parents[1]


class Square:
    """Squares; an item below zero sleeps, an item of text fails, None ends the process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, item: Any) -> Any:
        if item is None:
            os._exit(7)
        if item == "print":
            print("stray")  # noqa: T201 - the test is about prints
            return os.getpid()
        if isinstance(item, str):
            raise ValueError(item)
        if item < 0:
            time.sleep(-item)
        return item * item

    def close(self) -> None: ...


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "qframe-worker" in thread.name}


def worker_processes() -> list[psutil.Process]:
    """Return the worker processes: interpreters that serve, and what a nursery forked."""
    found = []
    for child in psutil.Process().children():
        command = " ".join(child.cmdline())
        if "serve_pipes()" in command:
            found.append(child)
        elif "tend(" in command:
            found += child.children()
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a thread or a child process behind."""
    yield
    assert _threads() == set()
    assert worker_processes() == []


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_three_maps(kind: Any, workers: int) -> None:
    """All give a result an item: in order, by index, and as they come."""
    items = list(range(40))
    squares = [item * item for item in items]
    with ParallelWorkerPool[int, int](workers, Square, kind) as pool:
        assert list(pool.ordered_map(items)) == squares
        by_index = dict(pool.semi_ordered_map(items))
        assert [by_index[index] for index in items] == squares
        assert sorted(pool.unordered_map(items)) == squares
        assert list(pool.ordered_map([])) == []


def test_a_slow_item_holds_nobody_up() -> None:
    """Results come as they are ready; ordered_map alone waits for the ones before."""
    items = [-0.3, 1, 2, 3]
    with ParallelWorkerPool[float, float](2, Square) as pool:
        assert next(iter(pool.unordered_map(items))) == 1
    with ParallelWorkerPool[float, float](2, Square) as pool:
        assert list(pool.ordered_map(items))[1:] == [1, 4, 9]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_items_are_drawn_as_they_are_needed(kind: Any) -> None:
    """An endless source is drawn no further than two items a worker ahead of the results."""
    drawn = itertools.count()
    source = (next(drawn) for _ in itertools.count())
    with ParallelWorkerPool[int, int](3, Square, kind) as pool:
        results = pool.unordered_map(source)
        for taken in range(1, 30):
            next(results)
            assert next(drawn) <= taken + 2 * 3
            drawn = itertools.count(next(drawn) - 1)


def test_items_are_drawn_by_the_calling_thread() -> None:
    """An iterable that belongs to one thread, such as a cursor, is safe."""
    callers: set[str] = set()

    def source() -> Iterator[int]:
        for n in range(10):
            callers.add(threading.current_thread().name)
            yield n

    with ParallelWorkerPool[int, int](3, Square) as pool:
        list(pool.unordered_map(source()))
    assert callers == {threading.current_thread().name}


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_errors_of_workers_are_raised(kind: Any) -> None:
    """What a worker raises comes out of the map, whole, and no more items are drawn."""
    drawn: list[Any] = []
    items = (drawn.append(n) or n for n in [1, "broken", *range(1000)])  # type: ignore[func-returns-value]
    with (
        pytest.raises(ValueError, match="broken"),
        ParallelWorkerPool[Any, Any](1, Square, kind) as pool,
    ):
        list(pool.unordered_map(items))
    assert len(drawn) <= 4


def test_errors_of_the_source_are_raised() -> None:
    """What the iterable raises comes out of the map too."""

    def source() -> Iterator[int]:
        yield 1
        raise OSError("the source broke")

    with (
        pytest.raises(OSError, match="the source broke"),
        ParallelWorkerPool[int, int](2, Square) as pool,
    ):
        list(pool.unordered_map(source()))


class NeverMade:
    def __init__(self, number: int) -> None:
        raise RuntimeError(f"worker {number} cannot be made")


def test_a_worker_that_cannot_be_made() -> None:
    """The error of making a worker comes out of the map, instead of a wait without end."""
    with (
        pytest.raises(RuntimeError, match="worker 0 cannot be made"),
        ParallelWorkerPool[int, int](1, NeverMade) as pool,  # type: ignore[arg-type]
    ):
        list(pool.ordered_map([1, 2]))


def test_a_process_that_dies_is_told() -> None:
    """A child that ends in the middle raises WorkerDied with its exit code."""
    with (
        pytest.raises(WorkerDied, match=r"worker process \d+ ended with code 7 before"),
        ParallelWorkerPool[Any, Any](2, Square, "process") as pool,
    ):
        list(pool.ordered_map([1, 2, None, 4]))


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_errors_may_become_results(kind: Any) -> None:
    """With `failed` an item whose worker raises or dies costs the other items nothing."""

    def failed(item: Any, error: BaseException) -> Any:
        return type(error).__name__

    dies = None if kind == "process" else "x"
    with ParallelWorkerPool[Any, Any](2, Square, kind, failed=failed) as pool:
        results = list(pool.ordered_map([1, dies, "text", 4, 5, 6]))
    died = "WorkerDied" if kind == "process" else "ValueError"
    assert results == [1, died, "ValueError", 16, 25, 36]


def test_an_interpreter_that_prints_as_it_starts(tmp_path: Path) -> None:
    """What a child prints before it is ready does not mix with its answers."""
    (tmp_path / "sitecustomize.py").write_text("print('hello', end='')\n")
    script = (
        "from qframe.pool import ParallelWorkerPool\n"
        "from tests.test_pool import Square\n"
        "with ParallelWorkerPool(1, Square, 'process') as pool:\n"
        "    print(list(pool.ordered_map(range(3))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        check=True,
    )
    assert done.stdout == "hello[0, 1, 4]\n"


def test_processes_are_not_this_one(capfd: pytest.CaptureFixture[str]) -> None:
    """Work happens in as many other processes as there are workers; prints go to stderr."""
    with ParallelWorkerPool[Any, Any](2, Square, "process") as pool:
        pids = set(pool.ordered_map(["print"] * 20))
        assert os.getpid() not in pids
        assert pids <= {child.pid for child in worker_processes()}
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("stray") == 20


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """Worker processes need no ``if __name__ == "__main__"``, and print nothing."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "from qframe.pool import ParallelWorkerPool\n"
        "from tests.test_pool import Square\n"
        "with ParallelWorkerPool(2, Square, 'process') as pool:\n"
        "    print(list(pool.ordered_map(range(5))))\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "started\n[0, 1, 4, 9, 16]\n"


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_draining_gives_back_what_is_in_flight(kind: Any) -> None:
    """After a stop, begun items give their results in time, and the others are taken back."""
    with ParallelWorkerPool[float, float](2, Square, kind) as pool:
        results = pool.semi_ordered_map([1, -0.2, -0.2, -0.2, -0.2, -0.2])
        first, _ = next(results)
        drained = dict(pool.drain(30))
        assert first not in drained
        assert 1 <= len(drained) <= 4
        drawn = {first, *drained, *pool.taken_back}
        assert len(drawn) == 1 + len(drained) + len(pool.taken_back)
        assert drawn == set(range(len(drawn)))


def test_draining_ends_in_time() -> None:
    """What gives no result in time was begun, and so is not taken back."""
    with ParallelWorkerPool[float, float](1, Square) as pool:
        results = pool.semi_ordered_map([1, -1.0])
        next(results)
        time.sleep(0.1)
        assert list(pool.drain(0.05)) == []
        assert pool.taken_back == frozenset()


def test_closing_kills_a_process_that_hangs() -> None:
    """A child that does not end in time is killed."""
    pool = ParallelWorkerPool[float, float](1, Square, "process")
    results = pool.unordered_map([1, -1000])
    next(results)
    (child,) = worker_processes()
    began = time.monotonic()
    pool.close(timeout=0.1)
    child.wait(30)
    assert time.monotonic() - began < 100
    for thread in threading.enumerate():
        if "qframe-worker" in thread.name:
            thread.join(30)


def test_closing_twice_ends_the_threads() -> None:
    """A thread that is still at work at the second close ends as well, once it is done."""
    with ParallelWorkerPool[float, float](2, Square) as pool:
        next(pool.unordered_map([1, -0.3, -0.3]))
        pool.close(timeout=0)
        pool.close(timeout=0)
    for thread in threading.enumerate():
        if "qframe-worker" in thread.name:
            thread.join(30)
    assert _threads() == set()


class Steps:
    """Adds up what it is told; "sleep" hangs until cancelled, "raise" fails."""

    made: list[Steps]

    def __init__(self, number: int) -> None:
        self.total = 0
        self.cancelled = threading.Event()
        self.closed = False
        self.made.append(self)

    def __call__(self, message: Any) -> int:
        if message == "raise":
            raise ValueError("told to")
        if message == "sleep":
            assert self.cancelled.wait(30)
            return -1
        self.total += message
        return self.total

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Steps]:
    """The workers that a test made."""
    monkeypatch.setattr(Steps, "made", [], raising=False)
    return Steps.made


def test_an_item_may_take_several_messages(made: list[Steps]) -> None:
    """`drive` talks with one worker about one item, and gets its answers and its errors."""

    def drive(call: Any, item: int) -> Any:
        first = call(item)
        with pytest.raises(ValueError, match="told to"):
            call("raise")
        return call(-item) - first

    with ParallelWorkerPool[int, int](2, Steps, drive=drive) as pool:
        assert list(pool.ordered_map(range(20))) == [-n for n in range(20)]
    assert [worker.total for worker in made] == [0] * len(made)


def test_a_result_may_be_none() -> None:
    """None is a result as any other."""
    with ParallelWorkerPool[int, None](2, Square, drive=lambda call, item: None) as pool:
        assert list(pool.ordered_map(range(5))) == [None] * 5


def test_a_thread_that_takes_too_long_is_replaced(made: list[Steps]) -> None:
    """Its item fails by name and seconds, its worker is cancelled, and its result ignored."""

    def failed(item: Any, error: BaseException) -> Any:
        return f"{item}: {type(error).__name__}: {error}"

    with ParallelWorkerPool[Any, Any](1, Steps, failed=failed, time_limit=0.3) as pool:
        results = list(pool.ordered_map([1, "sleep", 2, 3]))
    assert results == [
        1,
        "sleep: WorkerTimeout: worker 0 gave no result within the time limit of 0.3 s, "
        "and was replaced",
        2,
        5,
    ]
    assert [worker.closed for worker in made] == [True, True]
    assert pool.deaths == []


def test_a_time_limit_is_raised_without_failed(made: list[Steps]) -> None:
    """Where nobody makes results of errors, the map ends with WorkerTimeout."""
    with (
        pytest.raises(WorkerTimeout, match=r"within the time limit of 0\.3 s"),
        ParallelWorkerPool[Any, Any](1, Steps, time_limit=0.3) as pool,
    ):
        list(pool.ordered_map([1, "sleep", 2]))


def test_a_thread_without_cancel_is_left_behind() -> None:
    """A worker that cannot be cancelled ends by itself, and holds nobody up."""
    with ParallelWorkerPool[Any, Any](
        1, Square, failed=lambda item, error: "slow", time_limit=0.2
    ) as pool:
        assert list(pool.ordered_map([-1.0, 2, 3])) == ["slow", 4, 9]
        assert pool.taken_back == frozenset()
    for thread in threading.enumerate():
        if "qframe-worker" in thread.name:
            thread.join(30)


def test_closing_cancels_what_takes_longer(made: list[Steps]) -> None:
    """After the time for it is over, threads end because their workers are cancelled."""
    pool = ParallelWorkerPool[Any, Any](2, Steps)
    next(pool.unordered_map([1, "sleep", "sleep"]))
    pool.close(timeout=0.1)
    assert _threads() == set()
    assert all(worker.closed for worker in made)


def test_idle_is_called_while_nothing_comes() -> None:
    """The calling thread calls it, also when results keep coming; its error ends the map."""
    called: list[tuple[float, str]] = []

    def idle() -> None:
        called.append((time.monotonic(), threading.current_thread().name))
        if len(called) == 6:
            raise InputError("enough")

    with (
        pytest.raises(InputError, match="enough"),
        ParallelWorkerPool[float, float](2, Square, idle=idle) as pool,
    ):
        list(pool.unordered_map([-0.7, *[-0.02] * 1000]))
    assert {name for _, name in called} == {threading.current_thread().name}


def test_ordered_results_are_not_piled_up() -> None:
    """Behind an item that takes long, no more are drawn than the usual two a worker."""
    drawn: list[float] = []
    items = (drawn.append(n) or n for n in [-0.5, *range(1, 100)])  # type: ignore[func-returns-value]
    with ParallelWorkerPool[float, float](2, Square) as pool:
        next(pool.ordered_map(items))
        assert len(drawn) <= 4


def test_a_map_that_was_left_disturbs_no_other() -> None:
    """Results of a map that nobody goes on with do not come out of the next one."""
    with ParallelWorkerPool[float, float](2, Square) as pool:
        left = pool.unordered_map([1, -0.2, -0.2, -0.2, 5])
        next(left)
        assert list(pool.ordered_map([7, 8, 9])) == [49, 64, 81]
        with pytest.raises(InputError, match="another map of this pool has begun"):
            list(left)
    with pytest.raises(InputError, match="this pool is closed"):
        list(pool.ordered_map([1]))


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2", None])
def test_a_number_of_workers_that_cannot_be(workers: Any) -> None:
    """The number is refused by its value."""
    with pytest.raises(InputError) as caught:
        check_workers(workers, "thread")
    assert f"workers={workers!r}: a whole number, 1 or more" in str(caught.value)


def test_a_kind_of_workers_that_cannot_be() -> None:
    """Both kinds are named."""
    with pytest.raises(InputError, match="worker_kind='fork': one of 'thread', 'process'"):
        ParallelWorkerPool(1, Square, "fork")  # type: ignore[arg-type]
