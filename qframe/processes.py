"""Workers in child processes, as the process that uses them sees them."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any

from qframe.errors import WorkerDied


class ProcessWorker:
    """A worker in a child process, spoken to over its standard input and output.

    The child is a plain interpreter that imports qframe: it is never forked from this process,
    which may hold channels and locks, and never imports ``__main__``, so that neither a script
    without a guard nor a function of a notebook is in its way.
    """

    def __init__(self, make: Callable[[int], Any], number: int) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._first = (make, number)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from qframe.processes import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's to handle
        )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def begin(self) -> None:
        """Make the worker over there."""
        self._send(self._first)
        assert self._process.stdout is not None
        # Whatever an interpreter prints while it starts comes before this line.
        while (line := self._process.stdout.readline()) and line != READY:
            pass

    def __call__(self, message: Any) -> Any:
        self._send(message)
        assert self._process.stdout is not None
        frame = _read_frame(self._process.stdout)
        if frame is None:
            raise self._died()
        succeeded, value = pickle.loads(frame)
        if not succeeded:
            raise value
        return value

    def close(self) -> None:
        """End the process, and wait until it has ended."""
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

    def ended(self) -> bool:
        """Whether the process has ended, though nobody told it to."""
        return self._process.poll() is not None

    def cause(self) -> str:
        """Return what the process died of."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        return f"killed by signal {-code} ({signal.Signals(-code).name})"

    def _died(self) -> WorkerDied:
        cause = self.cause()
        ended = cause.replace("exit", "ended with") if cause.startswith("exit") else f"was {cause}"
        return WorkerDied(f"worker process {self.pid} {ended} before it gave its result")


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
