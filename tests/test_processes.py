from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from nbclient import NotebookClient

import qframe
from qframe import nursery, processes
from qframe.encoding.protobuf import encode_options, encode_points
from qframe.errors import InputError, QframeError, UnexpectedError, WorkerDied
from qframe.exchange import Channel, Memory, Signal
from qframe.mapping import resolve
from qframe.points import DenseBlock, Ids, PayloadBlock, PayloadKind, PointBlock
from qframe.pool import ParallelWorkerPool
from qframe.processes import ProcessWorker
from qframe.sending import Start
from qframe.uploaders.delivery import Encode, Send
from qframe.write import WriteOptions
from tests.obedient import DiesWhenMade, NeverMade, Obedient
from tests.server import LocalServer
from tests.test_pool import _threads, worker_processes

ROOT = Path(__file__).parents[1]

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(params=["nursery", "interpreter"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with each way to start a process."""
    if request.param == "nursery" and not nursery.AVAILABLE:
        pytest.skip("this platform cannot fork")
    if request.param == "interpreter":
        monkeypatch.setattr(processes, "launch", processes.launch_interpreter)
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a thread or a worker process behind."""
    yield
    assert _threads() == set()
    assert worker_processes() == []


@contextlib.contextmanager
def worker(make: Callable[[int], Any] = Obedient) -> Iterator[ProcessWorker]:
    """Make a worker process, ready to be spoken to."""
    made = ProcessWorker(make, 0)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def name(item: Any, error: BaseException) -> Any:
    """Make the result of an item that failed."""
    return type(error).__name__


def alive(pid: int) -> bool:
    """Whether a process runs; what has ended may still wait for an adoptive parent to notice."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids: list[int], seconds: float) -> bool:
    """Whether these processes end in time."""
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# What is said


def test_values_come_back_as_they_went(start: str) -> None:
    """Values of every kind arrive, empty arrays and large texts included."""
    values: list[Any] = [
        None,
        "x" * 1_000_000,
        np.empty((0, 4), dtype=np.float32),
        [np.arange(5), {"a": np.ones((3, 2))[:, 1]}, np.array(["text", None], dtype=object)],
        np.random.default_rng(0).random((1000, 384), dtype=np.float32),
        np.arange(3),
    ]
    with worker() as made:
        for value in values:
            answer = made(("echo", value))
            np.testing.assert_equal(answer, value)
        assert made(("about", values[4]))[1] is (start == "interpreter")


def test_arrays_are_not_pickled() -> None:
    """A slice of rows goes into the memory, not through the pipe, and is only looked at."""
    matrix = np.random.default_rng(0).random((3000, 384), dtype=np.float32)
    block = PointBlock(
        Ids(numbers=np.arange(3000, dtype=np.uint64)[1000:2000]),
        {"": DenseBlock(matrix[1000:2000])},
        (PayloadBlock("n", PayloadKind.INTEGER, np.arange(1000)),),
    )
    memory = Memory.create()
    theirs = Memory(os.dup(memory.fd))
    inbox, outbox = os.pipe()
    ours = Channel(FileIO(inbox, "rb"), FileIO(outbox, "wb"), memory, writes=True)
    try:
        ours.send(Signal.WORK, block)  # would block, were it larger than a pipe
        head = os.read(inbox, 1 << 20)
        assert len(head) < 2000
        assert memory._size >= matrix[1000:2000].nbytes
        ours.send(Signal.WORK, block)
        ours._memory = theirs
        message = ours.receive()
        found = message.value()
        assert not found.vectors[""].values.flags.writeable
        options = encode_options("c", WriteOptions())
        assert encode_points(found, options) == encode_points(block, options)
        del message, found
    finally:
        ours.close()
        memory.close()


def test_memory_grows_and_is_reused() -> None:
    """Memory holds the largest message so far, and a small one does not shrink or move it."""
    memory = Memory.create()
    try:
        for size, least in [(10, 10), (1 << 20, 1 << 20), (100, 1 << 20), (3 << 20, 3 << 20)]:
            data = memoryview(np.full(size, size % 251, dtype=np.uint8))
            assert memory.write([data, data[:5]])
            assert os.fstat(memory.fd).st_size >= least
        reader = Memory(os.dup(memory.fd))
        first, second = reader.read([3 << 20, 5])
        assert bytes(first[-5:]) == bytes(second) == bytes([(3 << 20) % 251] * 5)
        reader.close()
    finally:
        memory.close()


def test_no_room_for_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory cannot be had, arrays go through the pipe."""

    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    with worker() as made:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
        array = np.random.default_rng(0).random((1000, 100))
        assert (made(("echo", array)) == array).all()


def test_a_temporary_file_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no anonymous memory, a file without a name serves."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with worker() as made:
        assert made(("about", np.ones((500, 500))))[0] == 250_000


def test_errors_arrive_whole(start: str) -> None:
    """Our errors come as they are, others with their traceback as a note, odd ones by name."""
    with worker() as made:
        with pytest.raises(InputError, match="ours") as ours:
            made(("fail", "ours"))
        assert not hasattr(ours.value, "__notes__")
        with pytest.raises(ZeroDivisionError, match="theirs") as theirs:
            made(("fail", "theirs"))
        assert f"in worker process {made.pid}" in theirs.value.__notes__[0]
        assert "in fail" in theirs.value.__notes__[0]
        with pytest.raises(UnexpectedError, match="Odd: onetwo"):
            made(("fail", "odd"))
        assert made("pid") == made.pid


def test_an_answer_that_cannot_be_pickled(start: str) -> None:
    """It is an error that says so, and the worker lives on."""
    with worker() as made:
        with pytest.raises(UnexpectedError, match=r"answered with a lock, which cannot be pickled"):
            made("unpicklable")
        assert made("pid") == made.pid


def test_a_message_that_cannot_be_pickled(start: str) -> None:
    """It is an error here, nothing was sent, and the worker lives on."""
    with worker() as made:
        with pytest.raises(TypeError, match="cannot pickle"):
            made(("echo", threading.Lock()))
        assert made("pid") == made.pid


def test_a_worker_that_cannot_be_made(start: str) -> None:
    """The error of its factory arrives, no worker died, and each item tries again."""
    with ParallelWorkerPool[Any, Any](2, NeverMade, "process", failed=name) as pool:  # type: ignore[arg-type]
        assert list(pool.ordered_map(range(5))) == ["RuntimeError"] * 5
    assert pool.deaths == []


def test_a_factory_that_nobody_else_can_find(start: str) -> None:
    """What cannot be pickled fails here; what cannot be imported there is told with a remedy."""
    with (
        pytest.raises((pickle.PicklingError, AttributeError)),
        ParallelWorkerPool[Any, Any](1, lambda number: Obedient(number), "process") as pool,
    ):
        list(pool.ordered_map([1]))
    script = (
        "from qframe.pool import ParallelWorkerPool\n"
        "from tests.obedient import Obedient\n"
        "class Mine(Obedient): pass\n"
        "with ParallelWorkerPool(1, Mine, 'process') as pool:\n"
        "    list(pool.ordered_map(['pid']))\n"
    )
    done = run(script)
    assert "InputError: the worker cannot be loaded in another process" in done.stderr
    assert "define it in a module that can be imported" in done.stderr


def run(script: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
        **more,
    )


# Where it works


def test_a_worker_finds_what_its_user_finds(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Path, folder and environment are those at the time when the worker is made."""
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setenv("QFRAME_TEST", f"value {number}")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.chdir(folder)
        with worker() as made:
            variable, cwd, path = made("environment")
        assert (variable, cwd) == (f"value {number}", str(folder))
        assert path[0] == str(folder)


def test_workers_draw_different_numbers(start: str) -> None:
    """Forks of one process do not share its random state."""
    with worker() as one, worker() as other:
        assert one("random") != other("random")


@POSIX
def test_workers_ignore_interrupts(start: str) -> None:
    """SIGINT does nothing to them, and they are in a session that is not the user's."""
    with worker() as made:
        handler, session = made("interrupts")
        assert handler == signal.SIG_IGN
        assert session != os.getsid(0)


@pytest.mark.skipif(not nursery.AVAILABLE, reason="there is no nursery")
def test_the_nursery_has_one_thread() -> None:
    """Nothing that it imports leaves a thread, so that its forks are whole."""
    with worker() as made:
        parent = psutil.Process(made.pid).parent()
        assert parent is not None
        assert parent.ppid() == os.getpid()
        assert parent.num_threads() == 1


@pytest.mark.skipif(not nursery.AVAILABLE, reason="there is no nursery")
def test_no_worker_holds_the_ends_of_another() -> None:
    """The tenth worker has as many open files as the first."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker()) for _ in range(10)]
        assert workers[0]("files") == workers[9]("files")


@pytest.mark.skipif(not nursery.AVAILABLE, reason="there is no nursery")
def test_a_nursery_that_went_is_replaced() -> None:
    """Killed or gone for want of work, the next worker gets a new one; old workers work on."""
    with worker() as old:
        (parent,) = {psutil.Process(old.pid).ppid()}
        os.kill(parent, signal.SIGKILL)
        with worker() as fresh:
            assert psutil.Process(fresh.pid).ppid() != parent
            assert fresh("pid") == fresh.pid
        assert old("pid") == old.pid
        os.kill(old.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="ended, nobody knows how, before it gave"):
            old(("sleep", 10))


@pytest.mark.skipif(not nursery.AVAILABLE, reason="there is no nursery")
def test_a_nursery_that_has_nothing_to_do_goes() -> None:
    """After some time without a worker it ends by itself; with one it stays."""
    script = (
        "import os, time\n"
        "from qframe import nursery\n"
        "nursery.PRELOADED = ()\n"
        "nursery.IDLE_SECONDS = 0.3\n"
        "import socket, threading\n"
        "ours, theirs = socket.socketpair()\n"
        "began = time.monotonic()\n"
        "nursery.tend(theirs.detach())\n"
        "assert 0.2 < time.monotonic() - began < 30\n"
    )
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_nursery_has_imported_what_workers_need(
    transport: str, server: LocalServer, collection: str
) -> None:
    """A worker that was forked imports no module of qframe by itself, also to send a batch."""
    con = qframe.connect(server.rest_url if transport == "rest" else server.grpc_url)
    frame = pd.DataFrame({"v": [[1.0, 2.0]], "t": ["a"]})
    frame.qdrant.upload(collection, con, vectors="v", progress=False)
    block = resolve(frame, vectors="v").points.block(slice(0, 1))
    told = [Start(con, collection, WriteOptions()), Encode(block), Send()]
    script = (
        "import importlib, pickle, sys\n"
        "from qframe import nursery\n"
        "for name in nursery.PRELOADED: importlib.import_module(name)\n"
        "known = {*sys.modules}\n"
        f"start, *messages = pickle.loads({pickle.dumps(told)!r})\n"
        "worker = start(0)\n"
        "for message in messages: worker(message)\n"
        "worker.close()\n"
        "print(*[name for name in {*sys.modules} - known if name.startswith('qframe')])\n"
    )
    done = run(script)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_where_there_can_be_no_nursery(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it cannot be started, workers are interpreters."""

    def refuse() -> Any:
        raise OSError("not here")

    monkeypatch.setattr(nursery, "fork_worker", refuse)
    with worker() as made:
        assert "serve_pipes()" in " ".join(psutil.Process(made.pid).cmdline())


@POSIX
def test_a_fork_of_the_user_has_workers_of_its_own() -> None:
    """A forked child makes a nursery anew, and holds nobody's ends open."""
    script = (
        "import os, psutil\n"
        "from qframe.processes import ProcessWorker\n"
        "from tests.obedient import Obedient\n"
        "def ask():\n"
        "    worker = ProcessWorker(Obedient, 0); worker.begin()\n"
        "    parent = psutil.Process(worker('pid')).parent()\n"
        "    assert parent.ppid() == os.getpid()\n"
        "    return worker, parent.pid\n"
        "first, nursery = ask()\n"
        "files = len(os.listdir('/proc/self/fd'))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    if len(os.listdir('/proc/self/fd')) != files - 4: os._exit(3)\n"
        "    second, other = ask()\n"
        "    second.close()\n"
        "    os._exit(0 if other != nursery else 4)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert first('pid') == first.pid\n"
        "first.close()\n"
    )
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")


def test_beside_an_open_channel(server: LocalServer, collection: str) -> None:
    """Workers send over gRPC while this process has a channel open, and threads."""
    frame = pd.DataFrame({"v": list(np.ones((400, 4), np.float32)), "n": range(400)})
    with qframe.connect(server.grpc_url).store() as store:
        assert store.describe(collection) is None
        for _ in range(2):
            report = frame.qdrant.upload(
                collection,
                server.grpc_url,
                vectors="v",
                ids="n",
                batch_size=50,
                workers=3,
                worker_kind="process",
                wait=True,
                progress=False,
            )
            assert report.attrs["upload"]["points"]["applied"] == 400
        info = store.describe(collection)
        assert info is not None
        assert info.points == 400


def test_from_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell uses worker processes twice, and a cell that is interrupted leaves none."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    cells = [
        "from qframe.pool import ParallelWorkerPool\n"
        "from tests.obedient import Obedient\n"
        "for _ in range(2):\n"
        "    with ParallelWorkerPool(2, Obedient, 'process') as pool:\n"
        "        print(list(pool.ordered_map([('echo', n) for n in range(4)])))",
        "import os, signal, threading, time, psutil\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    with ParallelWorkerPool(2, Obedient, 'process') as pool:\n"
        "        list(pool.ordered_map([('sleep', 60)] * 4))\n"
        "except KeyboardInterrupt:\n"
        "    (nursery,) = [c for c in psutil.Process().children() if 'tend(' in str(c.cmdline())]\n"
        "    print(nursery.children())",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(tmp_path))
    outputs = ["".join(part.get("text", "") for part in cell.outputs) for cell in notebook.cells]
    assert outputs == ["[0, 1, 2, 3]\n[0, 1, 2, 3]\n", "[]\n"]


# What goes wrong


@POSIX
@pytest.mark.parametrize(
    ("told", "cause", "found"),
    [
        (("exit", 7), "exit code 7", "ended with code 7 before"),
        (("sys_exit", 3), "exit code 3", "ended with code 3 before"),
        (
            ("kill", 9),
            "killed by signal 9 (SIGKILL), as the system does when memory runs out",
            r"was killed by signal 9 \(SIGKILL\), as the system does when memory runs out, before",
        ),
        (
            ("kill", 11),
            "killed by signal 11 (SIGSEGV)",
            r"was killed by signal 11 \(SIGSEGV\) before",
        ),
    ],
    ids=str,
)
def test_what_a_worker_died_of(start: str, told: Any, cause: str, found: str) -> None:
    """The exit code or the signal is told, and the second death of an item ends the map."""
    with (
        pytest.raises(WorkerDied, match=rf"worker process \d+ {found} it gave its result"),
        ParallelWorkerPool[Any, Any](2, Obedient, "process") as pool,
    ):
        list(pool.ordered_map(["pid", told, "pid"]))
    assert [(death.cause, death.index) for death in pool.deaths] == [(cause, 1)] * 2
    assert len({death.pid for death in pool.deaths}) == 2


def test_an_item_whose_worker_died_goes_to_another(start: str, tmp_path: Path) -> None:
    """One death costs nothing: not the item, nor any other, nor what is counted as taken back."""
    items: list[Any] = [("echo", n) for n in range(10)]
    items.insert(3, ("die_once", str(tmp_path / "died")))
    with ParallelWorkerPool[Any, Any](2, Obedient, "process") as pool:
        results = list(pool.ordered_map(items))
        assert pool.taken_back == frozenset()
    (death,) = pool.deaths
    assert death.index == 3
    survivor = results.pop(3)
    assert results == list(range(10))
    assert survivor not in (0, death.pid, os.getpid())


def test_an_item_that_kills_two_workers_is_failed(start: str) -> None:
    """It is given up with its result from `failed`; the others do not suffer."""
    items: list[Any] = [("echo", 1), ("exit", 7), ("echo", 2), ("exit", 8), ("echo", 3)]
    with ParallelWorkerPool[Any, Any](3, Obedient, "process", failed=name) as pool:
        assert list(pool.ordered_map(items)) == [1, "WorkerDied", 2, "WorkerDied", 3]
    assert sorted((death.index, death.cause) for death in pool.deaths) == [
        (1, "exit code 7"),
        (1, "exit code 7"),
        (3, "exit code 8"),
        (3, "exit code 8"),
    ]


def test_workers_that_die_when_they_are_made(start: str) -> None:
    """Two deaths are enough for an item, also where no worker ever gets to work."""
    with ParallelWorkerPool[Any, Any](2, DiesWhenMade, "process", failed=name) as pool:
        assert list(pool.ordered_map(["pid"] * 3)) == ["WorkerDied"] * 3
    assert [death.cause for death in pool.deaths] == ["exit code 9"] * 6


def test_a_conversation_starts_anew_with_another_worker(start: str, tmp_path: Path) -> None:
    """`drive` is called again with the same item when the worker died between its messages."""
    began: list[Any] = []

    def drive(call: Any, item: str) -> Any:
        began.append(item)
        return call("pid"), call(("die_once", item)), call("pid")

    with ParallelWorkerPool[str, Any](1, Obedient, "process", drive=drive) as pool:
        items = [str(tmp_path / "died"), str(tmp_path / "died too")]
        results = list(pool.ordered_map(items))
    assert [len(set(pids)) for pids in results] == [1, 1]
    assert began == [items[0], items[0], items[1], items[1]]
    assert len(pool.deaths) == 2


def test_a_death_that_drive_gets_over(start: str) -> None:
    """What `drive` makes of it is the result; the next item has a new worker all the same."""

    def drive(call: Any, item: Any) -> Any:
        try:
            return call(item)
        except WorkerDied:
            return "died"

    with ParallelWorkerPool[Any, Any](1, Obedient, "process", drive=drive) as pool:
        assert list(pool.ordered_map([("exit", 7), ("echo", 1)])) == ["died", 1]
    assert len(pool.deaths) == 1


@POSIX
def test_all_workers_killed_at_once(start: str) -> None:
    """Four of four die in the middle: noticed within a second, and every item has its result."""
    noticed: list[float] = []

    def drive(call: Any, item: Any) -> Any:
        try:
            return call(item)
        except WorkerDied:
            noticed.append(time.monotonic())
            raise

    with ParallelWorkerPool[Any, Any](4, Obedient, "process", drive=drive) as pool:
        items = [("echo", 0)] * 4 + [("sleep", 1.5)] * 4 + [("echo", 1)] * 8
        results = pool.unordered_map(items)
        found = [next(results) for _ in range(4)]
        deadline = time.monotonic() + 30
        while not all(slot.worker and slot.task for slot in pool._slots):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        children = worker_processes()
        killed = time.monotonic()
        for child in children:
            child.kill()
        found += list(results)
    assert sorted(found) == [0] * 4 + [1] * 8 + [1.5] * 4
    assert len(children) == len(pool.deaths) == 4
    assert max(noticed) - killed < 1.0
    assert {death.pid for death in pool.deaths} == {child.pid for child in children}


@POSIX
def test_a_worker_that_dies_while_nothing_is_to_do(start: str) -> None:
    """It costs no item anything, and is told without one."""
    with ParallelWorkerPool[Any, Any](1, Obedient, "process") as pool:
        (pid,) = list(pool.ordered_map(["pid"]))
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        (other,) = list(pool.ordered_map(["pid"]))
    assert other != pid
    assert [(death.pid, death.index) for death in pool.deaths] == [(pid, None)]


@POSIX
@pytest.mark.parametrize("told", [("sleep", 1000), ("kill", signal.SIGSTOP)], ids=str)
def test_a_process_that_takes_too_long_is_killed(start: str, told: Any) -> None:
    """Asleep or stopped, it is killed after the time limit, its item failed, and replaced."""
    limit = 2.0 if start == "nursery" else 6.0  # to start counts too
    with ParallelWorkerPool[Any, Any](
        2, Obedient, "process", failed=lambda item, error: str(error), time_limit=limit
    ) as pool:
        first, slow, *rest = list(pool.ordered_map(["pid", told, "pid", "pid"]))
    assert f"gave no result within the time limit of {limit:g} s, and was replaced" in slow
    assert all(isinstance(pid, int) for pid in [first, *rest])
    assert pool.deaths == []


def test_a_death_while_stopping_is_not_made_good(start: str) -> None:
    """After a stop the item of a dead worker is told as lost, and begun by nobody else."""
    with ParallelWorkerPool[Any, Any](1, Obedient, "process", failed=name) as pool:
        results = pool.semi_ordered_map(["pid", ("sleep", 1000)])
        _, pid = next(results)
        time.sleep(0.2)
        threading.Timer(0.2, os.kill, (pid, signal.SIGTERM)).start()
        assert dict(pool.drain(30)) == {1: "WorkerDied"}
        assert pool.taken_back == frozenset()
    assert len(pool.deaths) == 1


# What is left


def opened() -> list[str]:
    """Return what this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0])
    return sorted(found)


def shared() -> set[str]:
    """Name the shared memory of this machine; its semaphores are those of other programs."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("sem.")}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="files are counted in /proc")
def test_nothing_is_left(start: str) -> None:
    """No file, process, thread or memory is left after successes, errors, deaths and kills."""

    def rounds() -> None:
        with ParallelWorkerPool[Any, Any](2, Obedient, "process", failed=name) as pool:
            block = np.ones((1000, 100), dtype=np.float32)
            list(pool.unordered_map([("about", block), ("fail", "ours"), ("exit", 7)]))
        with (
            pytest.raises(QframeError),
            ParallelWorkerPool[Any, Any](2, Obedient, "process") as pool,
        ):
            list(pool.unordered_map([("about", block), ("fail", "ours")]))
        with (
            contextlib.suppress(KeyboardInterrupt),
            ParallelWorkerPool[Any, Any](1, Obedient, "process") as pool,
        ):
            for _ in pool.unordered_map(["pid", ("sleep", 0.1), "pid"]):
                raise KeyboardInterrupt
        pool = ParallelWorkerPool[Any, Any](2, Obedient, "process")
        next(pool.unordered_map(["pid", ("sleep", 1000), ("sleep", 1000)]))
        pool.close(timeout=0)
        assert _threads() == set()

    rounds()
    gc.collect()
    memory, before = shared(), opened()
    for _ in range(3 if start == "nursery" else 1):
        rounds()
    gc.collect()
    assert opened() == before
    assert shared() <= memory
    assert worker_processes() == []


SCRIPT = """
import json, os, psutil, signal, sys, threading, time
from qframe import processes
from qframe.pool import ParallelWorkerPool
from tests.obedient import Obedient
if sys.argv[1] == "interpreter":
    processes.launch = processes.launch_interpreter
begun = threading.Barrier(4)
def tell():
    begun.wait()
    time.sleep(0.2)
    children = psutil.Process().children(recursive=True)
    print(json.dumps([child.pid for child in children]), flush=True)
def drive(call, item):
    call("pid")
    begun.wait()
    return call(item)
with ParallelWorkerPool(3, Obedient, "process", drive=drive) as pool:
    threading.Thread(target=tell, daemon=True).start()
    try:
        for _ in pool.unordered_map([("sleep", 1000)] * 6):
            pass
    except KeyboardInterrupt:
        if sys.argv[2] == "drained":
            began = time.monotonic()
            list(pool.drain(0.2))
            pool.close(timeout=0)
            assert time.monotonic() - began < 2
        raise
"""


@POSIX
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_a_parent_that_is_killed_leaves_nothing(start: str, how: signal.Signals) -> None:
    """Its workers end in the middle of their work, and the nursery too, within a second or so."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, start, "killed"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        assert len(pids) == 3 + (start == "nursery")
        parent.send_signal(how)
        assert gone(pids, 2.0)


@POSIX
@pytest.mark.parametrize("way", ["drained", "raised"])
def test_a_parent_that_is_interrupted_leaves_nothing(start: str, way: str) -> None:
    """Ctrl-C ends the map at once, closing kills what hangs, and a traceback is all there is."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, start, way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        parent.send_signal(signal.SIGINT)
        _, errors = parent.communicate(timeout=30)
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert errors.count("Traceback") == 1
        assert gone(pids, 2.0)


@POSIX
def test_a_parent_interrupted_twice_leaves_nothing(start: str) -> None:
    """A second Ctrl-C while the pool closes kills the workers at once."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, start, "raised"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        parent.send_signal(signal.SIGINT)
        time.sleep(0.5)
        parent.send_signal(signal.SIGINT)
        began = time.monotonic()
        parent.communicate(timeout=30)
        assert time.monotonic() - began < 1.4
        assert gone(pids, 2.0)
