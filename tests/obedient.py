"""Workers that do what they are told, in a module that is imported quickly."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import numpy as np

from qframe.errors import InputError


class Odd(Exception):
    """Cannot be unpickled: it is made from two arguments, and remembers one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


class Obedient:
    """Does what it is told, by word."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, told: Any) -> Any:
        word, *rest = told if isinstance(told, tuple) else (told,)
        return getattr(self, word)(*rest)

    def pid(self) -> int:
        return os.getpid()

    def echo(self, value: Any) -> Any:
        return value

    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def exit(self, code: int) -> None:
        os._exit(code)

    def sys_exit(self, code: int) -> None:
        sys.exit(code)

    def kill(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def die_once(self, path: str) -> int:
        """End the first process that gets here, and no other."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return os.getpid()
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def unpicklable(self) -> Any:
        return threading.Lock()

    def fail(self, kind: str) -> None:
        if kind == "odd":
            raise Odd("one", "two")
        if kind == "ours":
            raise InputError("ours")
        raise ZeroDivisionError("theirs")

    def about(self, array: Any) -> Any:
        return array.sum(), array.flags.writeable, array.flags.owndata

    def environment(self) -> Any:
        return os.environ.get("QFRAME_TEST"), os.getcwd(), list(sys.path)

    def interrupts(self) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return signal.getsignal(signal.SIGINT), os.getsid(0)

    def random(self) -> float:
        return float(np.random.random())  # noqa: NPY002 - the test is about the old generator

    def files(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def close(self) -> None: ...


class NeverMade:
    def __init__(self, number: int) -> None:
        raise RuntimeError(f"worker {number} cannot be made")


class DiesWhenMade(Obedient):
    def __init__(self, number: int) -> None:
        os._exit(9)
