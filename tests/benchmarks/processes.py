"""How soon worker processes are ready, and what a point costs the process that sends it.

``python -m tests.benchmarks.processes`` starts four workers three times in one process, from a
nursery and as interpreters, and then hands blocks of 1,000 points of 384 float32 numbers and four
payload columns to one worker: with shared memory, with the same arrays through the pipe, and
pickled whole through a pipe. Times are user and system CPU time of this process alone.

On two cores: 0.55 s from the nursery, then 0.05 s; 1.2 s for interpreters; and 0.24, 0.45 and
2.3 µs a point.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from qframe import nursery, processes
from qframe.points import (
    DenseBlock,
    Ids,
    PayloadBlock,
    PayloadKind,
    PointBlock,
    Texts,
)
from qframe.processes import ProcessWorker


class Count:
    """Answers with how many points a block has."""

    def __init__(self, number: int) -> None: ...

    def __call__(self, block: PointBlock) -> int:
        return len(block)

    def close(self) -> None: ...


class CountPickled(Count):
    """The same for blocks that were pickled before."""

    def __call__(self, block: Any) -> int:
        return len(pickle.loads(block))


def make_blocks(rows: int, size: int, total: int) -> list[PointBlock]:
    """Make blocks that are slices of one matrix, as those of a frame are."""
    rng = np.random.default_rng(0)
    matrix = rng.random((rows * total, size), dtype=np.float32)
    numbers = np.arange(rows * total, dtype=np.uint64)
    years = rng.integers(1900, 2030, rows * total)
    scores = rng.random(rows * total)
    texts = [f"a title of some length, number {n}" for n in range(rows * total)]
    genres = Texts.of(["drama", "comedy", "thriller", "documentary"] * (rows // 4))
    return [
        PointBlock(
            Ids(numbers=numbers[at : at + rows]),
            {"": DenseBlock(matrix[at : at + rows])},
            (
                PayloadBlock("title", PayloadKind.TEXT, Texts.of(texts[at : at + rows])),
                PayloadBlock("year", PayloadKind.INTEGER, years[at : at + rows]),
                PayloadBlock("score", PayloadKind.FLOAT, scores[at : at + rows]),
                PayloadBlock("genre", PayloadKind.TEXT, genres),
            ),
        )
        for at in range(0, rows * total, rows)
    ]


def start(workers: int) -> float:
    """Return the seconds until so many workers are ready."""
    began = time.perf_counter()

    def make(number: int) -> ProcessWorker:
        worker = ProcessWorker(Count, number)
        worker.begin()
        return worker

    with ThreadPoolExecutor(workers) as threads:
        made = list(threads.map(make, range(workers)))
        seconds = time.perf_counter() - began
        list(threads.map(ProcessWorker.close, made))
    return seconds


def cpu() -> float:
    """Return the CPU seconds that this process has used, in the kernel too."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cost(
    make: Callable[[int], Any],
    blocks: list[PointBlock],
    repeat: int,
    prepare: Callable[[PointBlock], Any] = lambda block: block,
) -> tuple[float, float]:
    """Return the CPU microseconds of this process a point, and the points a second."""
    worker = ProcessWorker(make, 0)
    worker.begin()
    try:
        for block in blocks[:3]:
            worker(prepare(block))
        before, began, points = cpu(), time.perf_counter(), 0
        for _ in range(repeat):
            for block in blocks:
                points += worker(prepare(block))
        return (cpu() - before) / points * 1e6, points / (time.perf_counter() - began)
    finally:
        worker.close()


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    best = processes.launch
    print(f"{arguments.workers} workers ready after, seconds ({os.cpu_count()} cores)")
    if nursery.AVAILABLE:
        print("  nursery     ", *(f"{start(arguments.workers):.3f}" for _ in range(4)))
    processes.launch = processes.launch_interpreter
    print("  interpreters", *(f"{start(arguments.workers):.3f}" for _ in range(2)))
    blocks = make_blocks(arguments.rows, arguments.size, 50)
    print("CPU time of the sending process a point, µs; points a second")
    runs: list[tuple[str, Any, Any, Any]] = [
        ("shared memory", best, Count, lambda block: block),
        ("arrays through the pipe", processes.launch_interpreter, Count, lambda block: block),
        ("pickled through a pipe", processes.launch_interpreter, CountPickled, pickle.dumps),
    ]
    for name, launch, make, prepare in runs * 2:
        processes.launch = launch
        used, speed = cost(make, blocks, arguments.repeat, prepare)
        print(f"  {name:24} {used:6.3f} {speed:12,.0f}")


if __name__ == "__main__":
    # Nothing of `__main__` is there in a worker process.
    from tests.benchmarks.processes import main as imported

    imported()
