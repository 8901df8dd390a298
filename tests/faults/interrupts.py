"""Ctrl-C from a timer."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


@contextmanager
def pressed_when(ready: Callable[[], bool]) -> Iterator[list[float]]:
    """Press Ctrl-C once as soon as something is so, unless the block is left before.

    Yields
    ------
    list of float
        The moment at which it was pressed, by `time.monotonic`, or nothing.
    """
    moments: list[float] = []
    over = threading.Event()

    def press() -> None:
        while not over.wait(0.002):
            if ready():
                moments.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)
                return

    def handle(number: int, frame: Any) -> None:
        if not over.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    thread = threading.Thread(target=press, name="fault ctrl-c")
    thread.start()
    try:
        yield moments
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def pressed_after(seconds: float) -> AbstractContextManager[list[float]]:
    """Press Ctrl-C once after some seconds."""
    due = time.monotonic() + seconds
    return pressed_when(lambda: time.monotonic() >= due)
