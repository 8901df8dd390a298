"""What a worker process does: it makes a worker, answers for it, and ends with its user."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import Any, NoReturn

from qframe.errors import InputError, QframeError, UnexpectedError
from qframe.exchange import Channel, Message, Signal


@dataclass(frozen=True, slots=True)
class Assignment:
    """The first that a worker process is told.

    Attributes
    ----------
    make : bytes
        The callable that makes the worker, pickled: it can only be loaded once the path is set.
    number : int
    path : list of str
        ``sys.path`` of the process that the worker is for, so that it finds the same modules.
    folder : str or None
    environment : dict of str to str
        As they are now: a process that workers are forked from may be older.
    """

    make: bytes
    number: int
    path: list[str]
    folder: str | None
    environment: dict[str, str]

    @classmethod
    def of(cls, make: Callable[[int], Any], number: int) -> Assignment:
        """Say what a worker needs to be made as here."""
        try:
            folder = os.getcwd()
        except OSError:  # it was removed
            folder = None
        path = [entry or folder or "" for entry in sys.path if isinstance(entry, str)]
        return cls(pickle.dumps(make, protocol=5), number, path, folder, dict(os.environ))

    def take_up(self) -> Any:
        """Make the worker, in its process."""
        sys.path[:] = self.path
        if self.folder is not None:
            with contextlib.suppress(OSError):
                os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            make = pickle.loads(self.make)
        except Exception as error:
            raise InputError(
                f"the worker cannot be loaded in another process: {error}; define it in a module "
                "that can be imported (nothing of a script or notebook itself is there), "
                'or use kind="thread"'
            ) from error
        return make(self.number)


def serve(channel: Channel) -> NoReturn:
    """Be a worker process: make the worker, answer each message, end when told to.

    It also ends at once when the other end of the channel does, whatever the worker is doing.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the other end to handle
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)  # it does not end the way that flushes
    received: queue.SimpleQueue[Message] = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(channel, received), daemon=True)
    listener.start()
    code = 1
    try:
        with contextlib.suppress(BrokenPipeError):  # nobody is there any more
            channel.greet()
        _answer(channel, received)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _listen(channel: Channel, received: queue.SimpleQueue[Message]) -> None:
    """Hear what comes, above all that nothing can come any more."""
    try:
        while True:
            received.put(channel.receive())
    finally:
        os._exit(0)


def _answer(channel: Channel, received: queue.SimpleQueue[Message]) -> None:
    try:
        worker = received.get().value().take_up()
    except Exception as error:
        _send(channel, Signal.ERROR, error)
        received.get()  # to end by itself now would look like another misfortune
        return
    _send(channel, Signal.READY, None)
    try:
        while (message := received.get()).signal is not Signal.STOP:
            try:
                answer: tuple[Signal, Any] = Signal.RESULT, worker(message.value())
            except Exception as error:
                answer = Signal.ERROR, error
            _send(channel, *answer)
            del message, answer  # with the views on the memory
    finally:
        close = getattr(worker, "close", None)  # whoever holds nothing need not have it
        if close is not None:
            close()


def _send(channel: Channel, signal: Signal, value: Any) -> None:
    """Send an answer, or why it cannot be sent."""
    if signal is Signal.ERROR:
        value = _portable(value)
    try:
        channel.send(signal, value)
    except OSError:
        raise SystemExit(0) from None  # nobody is there
    except Exception as error:
        told = f"a worker answered with a {type(value).__name__}, which cannot be pickled: {error}"
        channel.send(Signal.ERROR, UnexpectedError(told))


def _portable(error: BaseException) -> BaseException:
    """Return an error that arrives as it was sent; tracebacks go along as text."""
    if not isinstance(error, QframeError):  # ours say what is wrong by themselves
        trace = "".join(traceback.format_exception(error))
        error.add_note(f"in worker process {os.getpid()}:\n{trace}")
    try:
        pickle.loads(pickle.dumps(error, protocol=5))
    except Exception:
        return UnexpectedError(f"{type(error).__name__}: {error}")
    return error


def serve_pipes() -> NoReturn:
    """Be a worker process that speaks through its standard input and output."""
    inbox, outbox = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)  # what anything prints must not mix with the answers
    except OSError:
        os.dup2(nothing, 1)
    os.close(nothing)
    serve(Channel(FileIO(inbox, "rb"), FileIO(outbox, "wb")))
