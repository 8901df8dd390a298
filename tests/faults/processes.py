"""Finding the processes that an upload has, and seeing them go."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil


def workers(parent: int | None = None) -> set[int]:
    """Return the numbers of the worker processes of a process; None is this one.

    They are children of the nursery, or interpreters of their own where there is none.
    """
    found = set()
    for nursery in _children(parent):
        if "qframe.nursery" in _command(nursery):
            found |= {child.pid for child in _children(nursery.pid)}
        elif "qframe.serving" in _command(nursery):
            found.add(nursery.pid)
    return found


def family(parent: int | None = None) -> set[int]:
    """Return the numbers of all processes that a process has started, also indirectly."""
    found = set()
    for child in _children(parent):
        found |= {child.pid} | family(child.pid)
    return found


def gone(pids: Iterable[int], seconds: float = 5.0) -> bool:
    """Wait until none of these processes is there any more; False when the time is over."""
    deadline = time.monotonic() + seconds
    while any(map(is_alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _children(parent: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(parent).children()
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
