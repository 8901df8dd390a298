"""Workers in child processes, as the process that uses them sees them.

They are forked from a nursery (`qframe.nursery`), or are fresh interpreters where there can be
none. In both cases the process that uses them is never forked, and ``__main__`` is not imported:
neither a script without a guard nor a notebook is in the way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from qframe import nursery
from qframe.errors import UnexpectedError, WorkerDied
from qframe.exchange import Channel, Signal
from qframe.serving import Assignment

log = logging.getLogger("qframe")

CLOSE_SECONDS = 30.0
"""How long a worker may take to close before its process is killed."""

SIGKILL = 9

END_SECONDS = 2.0
"""How long a process that said its last, or was killed, may take to be gone."""


class Process(Protocol):
    """What is needed of a child process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Number of the process."""

    def poll(self) -> int | None:
        """Return the exit code, minus the signal that killed it, or None while it runs."""

    def kill(self) -> None:
        """End it now; does nothing once it has ended."""


def launch() -> tuple[Process, Channel]:
    """Start a process that `serve`s, in the best way that there is.

    Returns
    -------
    process : Process
    channel : Channel
        To speak to it.

    Raises
    ------
    OSError
        When no process can be started.
    """
    if nursery.AVAILABLE:
        try:
            return nursery.fork_worker()
        except OSError as error:
            log.info("workers start slower: there is no process to fork them (%s)", error)
    return launch_interpreter()


def launch_interpreter() -> tuple[Process, Channel]:
    """Start a fresh interpreter that serves; on every platform.

    Four are ready after 1.2 s on two cores; forks of a nursery after 0.55 s with the nursery's own
    start, and after 0.05 s from then on.
    """
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from qframe.serving import serve_pipes; serve_pipes()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=os.environ | {"PYTHONPATH": path},
        # A Ctrl-C in the terminal is the parent's to handle.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    return process, Channel(process.stdout, process.stdin)  # type: ignore[arg-type]


class ProcessWorker:
    """A worker in a child process.

    It is used by one thread; `kill` may come from another.

    Parameters
    ----------
    make : callable
        Makes the worker, over there.
    number : int

    Raises
    ------
    Exception
        When `make` cannot be pickled, or no process be started.
    """

    def __init__(self, make: Callable[[int], Any], number: int) -> None:
        self._assignment = Assignment.of(make, number)
        self._process, self._channel = launch()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def begin(self) -> None:
        """Make the worker over there, and wait until it is made.

        Raises
        ------
        WorkerDied
        Exception
            Whatever making it raised.
        """
        self._converse(self._assignment, first=True)

    def __call__(self, message: Any) -> Any:
        return self._converse(message)

    def ended(self) -> bool:
        """Whether the process has ended, though nobody told it to."""
        if os.name == "posix":
            return self._channel.hung_up()
        return self._process.poll() is not None

    def cause(self) -> str:
        """Return what the process died of, once it has ended."""
        code = self._wait(END_SECONDS)
        if code is None or code == nursery.UNKNOWN:
            return "unknown"
        return f"exit code {code}" if code >= 0 else _killed(-code)

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        try:
            if not self.ended():
                with contextlib.suppress(OSError):
                    self._channel.send(Signal.STOP)
                if self._wait(CLOSE_SECONDS) is None:
                    self.kill()
            if self._wait(END_SECONDS) is None:
                self.kill()
                self._wait(END_SECONDS)
        finally:
            self._channel.close()

    def kill(self) -> None:
        """End the process now; does nothing once it has ended."""
        self._process.kill()

    def _converse(self, message: Any, *, first: bool = False) -> Any:
        try:
            with contextlib.suppress(BrokenPipeError):  # the answer that does not come says so too
                self._channel.send(Signal.WORK, message)
            if first:
                self._channel.await_greeting()
            answer = self._channel.receive()
        except (EOFError, ConnectionError):
            raise WorkerDied(
                f"worker process {self.pid} {self._how()} before it gave its result"
            ) from None
        try:
            value = answer.value()
        except Exception as error:
            told = f"the answer of a worker cannot be unpickled: {type(error).__name__}: {error}"
            raise UnexpectedError(told) from error
        if answer.signal is Signal.ERROR:
            raise value
        return value

    def _how(self) -> str:
        code = self._wait(END_SECONDS)
        if code is None or code == nursery.UNKNOWN:
            return "ended, nobody knows how,"
        if code >= 0:
            return f"ended with code {code}"
        return f"was {_killed(-code)}" + "," * (-code == SIGKILL)

    def _wait(self, seconds: float) -> int | None:
        """Wait until the process has ended; None when it has not in time."""
        deadline = time.monotonic() + seconds
        pause = 0.0005
        while (code := self._process.poll()) is None and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return code


def _killed(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"killed by signal {number}"
    why = ", as the system does when memory runs out" if number == SIGKILL else ""
    return f"killed by signal {number} ({name}){why}"
