"""Where worker processes come from: a process of our own that forks them.

The user's process may hold channels, locks and threads and so is never forked. The nursery is a
fresh interpreter with a single thread, which has imported what workers need, and has opened
nothing. It is started with the first worker and kept, so that later ones are there at once.

It ends when the process that it serves ends, however that happens, and when nobody has needed it
for some minutes.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from enum import Enum
from io import FileIO
from typing import NoReturn

from qframe.exchange import Channel, Memory
from qframe.serving import serve

AVAILABLE = hasattr(os, "fork") and hasattr(socket, "send_fds")
"""Whether this platform can have one."""

IDLE_SECONDS = 300.0
"""How long a nursery stays without a worker. It has 125 MB resident, nearly all of which its
workers share with it: one alone has 4 MB of its own."""

PATIENCE = 60.0
"""Seconds that a nursery may take for an answer: the first comes when all is imported."""

PRELOADED = (
    "numpy",
    "pandas",
    "orjson",
    "requests",
    "grpc",
    "qframe.sending",
    "qframe.transports.rest_connections",
    "qframe.uploaders.rest",
    "qframe.uploaders.grpc",
)
"""What workers need, and would each import by themselves. Together they take 0.45 s."""

SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Without these, numpy and pyarrow start threads when they are imported."""

UNKNOWN = 256
"""The exit code of a process of which nobody knows it; no real one is as large."""

ASK = struct.Struct("<BQ")
TELL = struct.Struct("<q")
RUNNING = 1 << 32
FAILED = -(1 << 32)


class Request(Enum):
    """What a nursery can do."""

    FORK = 1
    STATUS = 2


class Child:
    """A worker process of the nursery, with what of `subprocess.Popen` is needed."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._lock = threading.Lock()
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, minus the signal that killed it, or None while it runs."""
        with self._lock:
            if self._code is None:
                self._code = self._nursery.status(self.pid)
            return self._code

    def kill(self) -> None:
        """End the process now; does nothing once it has ended."""
        # The nursery leaves a dead child's number taken until it was asked for the exit code.
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._code is None:
                os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """The nursery, as the process that it serves sees it.

    Raises
    ------
    OSError
        When it cannot be started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(PATIENCE)
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        with theirs, open(os.devnull, "wb") as nothing:
            self._process = subprocess.Popen(
                # -P: the folder it is in is no place to import from.
                [
                    sys.executable,
                    "-P",
                    "-c",
                    f"from qframe.nursery import tend; tend({theirs.fileno()})",
                ],
                stdin=subprocess.DEVNULL,
                stdout=_stderr(nothing.fileno()),
                env=os.environ | SINGLE_THREADED | {"PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )

    def fork(self) -> tuple[Child, Channel]:
        """Make a worker process.

        Raises
        ------
        OSError
            When the nursery is gone, or could not.
        """
        with contextlib.ExitStack() as stack:
            inbox, theirs_out = _pipe(stack)
            theirs_in, outbox = _pipe(stack)
            nothing = stack.enter_context(open(os.devnull, "wb"))
            fds = [theirs_in, theirs_out, _stderr(nothing.fileno())]
            memory = None
            with contextlib.suppress(OSError):
                memory = Memory.create()
                stack.callback(memory.close)
                fds.append(memory.fd)
            pid = self._ask(Request.FORK, fds=fds)
            if pid == FAILED:
                raise OSError("the nursery could not fork")
            stack.pop_all()
            for fd in (theirs_in, theirs_out):
                os.close(fd)
            nothing.close()
        return Child(self, pid), Channel(
            FileIO(inbox, "rb"), FileIO(outbox, "wb"), memory, writes=True
        )

    def status(self, pid: int) -> int | None:
        """Return the exit code of a child of the nursery, or None while it runs."""
        try:
            code = self._ask(Request.STATUS, pid)
        except OSError:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return UNKNOWN
            return None
        return None if code == RUNNING else code

    def _ask(self, request: Request, pid: int = 0, fds: list[int] | None = None) -> int:
        with self._lock:
            try:
                socket.send_fds(self._control, [ASK.pack(request.value, pid)], fds or [])
                answer: int = TELL.unpack(_receive(self._control, TELL.size))[0]
            except OSError:
                self.end()  # else a late answer would be taken for that of the next question
                raise
        return answer

    def end(self) -> None:
        """End the nursery and all its workers."""
        self._control.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Be in a fork of the process that the nursery serves, which has to have its own."""
        self._control.close()
        self._process.returncode = 0  # nothing to wait for, for this process


_lock = threading.Lock()
_current: Nursery | None = None


def fork_worker() -> tuple[Child, Channel]:
    """Make a worker process, and a nursery where there is none.

    Raises
    ------
    OSError
        When there is no nursery, and a new one cannot do it either.
    """
    global _current
    with _lock:
        known = _current
    if known is not None:
        with contextlib.suppress(OSError):  # it went for want of work, or was killed
            return known.fork()
    with _lock:
        fresh = _current
        if fresh is None or fresh is known:
            fresh = _current = Nursery()
    return fresh.fork()


def _end() -> None:
    global _current
    if _current is not None:
        _current.end()
    _current = None


def _forget() -> None:
    global _current, _lock
    if _current is not None:
        _current.forget()
    _current, _lock = None, threading.Lock()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _stderr(nothing: int) -> int:
    """Return the standard error, or what there is instead where it is closed."""
    try:
        os.fstat(2)
    except OSError:
        return nothing
    return 2


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _receive(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            raise ConnectionResetError("the other end has gone")
        data += part
    return data


def tend(fd: int) -> None:
    """Be the nursery: fork workers, and tell what became of them.

    Parameters
    ----------
    fd : int
        Of the socket to the process that it serves.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=fd)
    for name in PRELOADED:
        if _nobody_is_there(control):
            return
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else the first collection in a worker copies every page
    control.settimeout(IDLE_SECONDS)
    children: set[int] = set()
    try:
        while True:
            try:
                head, fds, _, _ = socket.recv_fds(control, ASK.size, 4)
                if not head:
                    return
                head += _receive(control, ASK.size - len(head))
            except TimeoutError:
                if children:
                    continue
                return
            except OSError:
                return
            kind, pid = ASK.unpack(head)
            if Request(kind) is Request.FORK:
                answer = _fork(control, fds)
                if answer > 0:
                    children.add(answer)
            else:
                answer = _status(pid, children)
            control.sendall(TELL.pack(answer))
    finally:
        for child in children:  # none has been waited for, so the numbers are still theirs
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _nobody_is_there(control: socket.socket) -> bool:
    poll = select.poll()
    poll.register(control, 0)  # hanging up is told whatever one asks for
    return bool(poll.poll(0))


def _fork(control: socket.socket, fds: list[int]) -> int:
    try:
        pid = os.fork()
    except OSError:
        pid = FAILED
    if pid == 0:
        _become_worker(control, fds)
    for fd in fds:  # before the next fork: a worker that holds another's ends keeps it waiting
        os.close(fd)
    return pid


def _become_worker(control: socket.socket, fds: list[int]) -> NoReturn:
    try:
        control.close()
        inbox, outbox, errors, *memory = fds
        os.dup2(errors, 1)  # what a worker prints is not the output of the user's program
        os.dup2(errors, 2)
        os.close(errors)
        random = sys.modules.get("numpy.random")
        if random is not None:
            random.seed()  # else all workers would draw the same numbers
        serve(
            Channel(
                FileIO(inbox, "rb"),
                FileIO(outbox, "wb"),
                Memory(memory[0]) if memory else None,
            )
        )
    finally:
        os._exit(1)


def _status(pid: int, children: set[int]) -> int:
    if pid not in children:
        return UNKNOWN
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return RUNNING
    children.discard(pid)
    return os.waitstatus_to_exitcode(status)
