"""What a call takes: time, the CPU of this process and all that it starts, memory."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call took.

    Attributes
    ----------
    seconds : float
    cpu_s : float
        User and system, of this process and those that it has started.
    """

    seconds: float
    cpu_s: float


def measure(call: Callable[[], object]) -> Usage:
    """Make one call, with the garbage of earlier ones gone."""
    gc.collect()
    below, cpu, began = _cpu_below(), time.process_time(), time.perf_counter()
    call()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Usage(seconds, cpu + _cpu_below() - below)


def _cpu_below() -> float:
    """Return the CPU seconds so far of all processes below this one, those that ended too."""
    ended = os.times()
    total = ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile
            total += sum(child.cpu_times()[:4])  # its own, and of those it has waited for
    return total


def resident(*, children: bool = False) -> int:
    """Return the bytes in memory now, of this process, and those that only its children have."""
    process = psutil.Process()
    total = int(process.memory_info().rss)
    for child in process.children(recursive=True) if children else ():
        with suppress(psutil.Error):
            total += int(child.memory_full_info().uss)
    return total


def peak_above(call: Callable[[], object], *, children: bool = False) -> int:
    """Make one call; return the bytes of memory at its highest, above what there was before."""
    pause = 0.05 if children else 0.005  # it takes some milliseconds to ask for those of children
    gc.collect()
    before = highest = resident(children=children)
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(pause):
            highest = max(highest, resident(children=children))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return highest - before
