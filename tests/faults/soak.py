"""Uploads in a loop through random misfortunes, for as long as it is told.

``python -m tests.faults.soak --minutes 20``: each upload fills the next part of one collection,
with many workers and through a proxy that breaks connections, and is gone on with until its part
is complete. The memory, the threads and the open files of the process are counted again and again;
in the end the collection has to be exactly what was uploaded, and no count may have grown.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import psutil

import qframe
from tests.faults import proxy as proxies
from tests.faults.frames import Data, Point
from tests.faults.oracle import check_complete
from tests.faults.processes import family
from tests.faults.proxy import FaultProxy
from tests.faults.schedules import FATAL_FAULTS, SERVER_FAULTS
from tests.server import LocalServer

EVERY = 2.0
"""Seconds between two samples."""

ROWS = 2_000
"""Of one upload."""

SIZE = 32

PARTS = 100
"""Uploads after which the parts begin anew, so that the server need not grow without end."""

TRIES = 100
"""Runs until a part has to be complete."""

NOISE = {"memory": 24.0, "threads": 2, "files": 3, "processes": 0}
"""What may come on top without being growth: MiB of an allocator's rest, a moment's thread."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds at one moment.

    Attributes
    ----------
    memory : float
        Resident, MiB.
    threads, files, processes : int
    """

    memory: float
    threads: int
    files: int
    processes: int


@dataclass
class Soak:
    """What came of it.

    Attributes
    ----------
    uploads, runs, sent, befallen : int
    outcomes : Counter
    samples : list of Sample
        Taken at any moment.
    quiet : list of Sample
        Taken between two uploads.
    """

    uploads: int = 0
    runs: int = 0
    points: int = 0
    befallen: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    quiet: list[Sample] = field(default_factory=list)


def part(number: int, size: int = SIZE, rows: int = ROWS) -> Data:
    """Return the rows of one upload; those of a later round have other contents."""
    place = number % PARTS
    first = place * rows
    vectors = np.random.default_rng(number).standard_normal((rows, size)).astype(np.float32)
    frame = pd.DataFrame(
        {"key": range(first, first + rows), "upload": number, "text": f"text {number} " * 5}
    )
    points: dict[int | str, Point] = {
        first + row: (vectors[row].tolist(), {"upload": number, "text": f"text {number} " * 5})
        for row in range(rows)
    }
    return Data(frame, {"vectors": vectors, "ids": "key"}, list(points), points)


def soak(
    seconds: float,
    server: LocalServer,
    folder: Path,
    *,
    seed: int = 1,
    kind: str = "thread",
    rows: int = ROWS,
    say: Callable[[str], object] = print,
) -> Soak:
    """Upload until the time is over, and compare the collection in the end.

    Raises
    ------
    AssertionError
        When the collection is not what was uploaded, or a part does not become complete.
    """
    random = Random(seed)
    found = Soak()
    over = threading.Event()
    sampler = threading.Thread(target=_sample, args=(found.samples, over), name="soak sampler")
    began = time.monotonic()
    said = began
    number = 0
    with (
        FaultProxy(server.rest_url) as rest,
        FaultProxy(server.grpc_url) as grpc,
    ):
        sampler.start()
        try:
            while time.monotonic() - began < seconds:
                _fill(number, server, [rest, grpc], folder, random, kind, rows, found)
                number += 1
                found.quiet.append(_now())
                if time.monotonic() - said > 30:
                    said = time.monotonic()
                    say(f"{said - began:.0f} s: {found.uploads} uploads, {found.quiet[-1]}")
        finally:
            over.set()
            sampler.join()
    everything: dict[int | str, Point] = {}
    for last in range(max(0, number - PARTS), number):
        everything |= part(last, rows=rows).points
    check_complete(Data(pd.DataFrame(), {}, [], everything), server, "soak")
    return found


def _fill(
    number: int,
    server: LocalServer,
    ways: list[FaultProxy],
    folder: Path,
    random: Random,
    kind: str,
    rows: int,
    found: Soak,
) -> None:
    """Bring one part in, however often that takes."""
    data = part(number, rows=rows)
    proxy = random.choice(ways)
    journal = folder / f"{number}.qframe" if random.random() < 0.5 else None
    report: pd.DataFrame | None = None
    options: dict[str, Any] = {
        "batch_size": random.choice([20, 50, 100]),
        "workers": random.choice([2, 4, 8, 16]),
        "worker_kind": random.choice(["thread", "process"]) if kind == "both" else kind,
        "wait": random.random() < 0.5,
        "retry": random.choice(
            [
                qframe.Retry(attempts=1, max_wait=0.1),
                qframe.Retry(attempts=4, backoff=0.01, max_backoff=0.1, max_wait=0.1),
            ]
        ),
    }
    for _ in range(TRIES):
        proxy.always(_on_the_way(random, random.choice([0, 0.02, 0.2])))
        faults = [random.choice(SERVER_FAULTS) for _ in range(random.choice([0, 2, 10]))]
        if random.random() < 0.1:
            faults.append(random.choice(FATAL_FAULTS))
        server.faults(["delay:0"] * random.randint(0, 10) + faults)
        try:
            report = data.upload(
                "soak",
                qframe.connect(proxy.url, timeout=5),
                **options,
                journal=journal,
                resume=None if journal else report,
            )
            outcome = "complete"
        except qframe.UploadError as error:
            report, outcome = error.report, type(error).__name__
        except qframe.TransportError as error:
            outcome = f"{type(error).__name__} beforehand"
        found.runs += 1
        found.outcomes[outcome] += 1
        found.befallen += len(proxy.suffered)
        found.befallen += sum(entry["fault"] is not None for entry in server.log())
        proxy.reset()
        server.reset(collections=False)
        if outcome == "complete":
            found.uploads += 1
            found.points += rows
            return
    raise AssertionError(f"part {number} is not complete after {TRIES} runs")


def _on_the_way(random: Random, probability: float) -> Callable[[int], proxies.Fault | None]:
    def plan(number: int) -> proxies.Fault | None:
        if random.random() >= probability:
            return None
        return random.choice(
            [
                proxies.reset(),
                proxies.reset(None),
                proxies.lose_answer(),
                proxies.truncate(random.randint(0, 100)),
                proxies.hold("answer", random.uniform(0, 0.1)),
            ]
        )

    return plan


def _sample(samples: list[Sample], over: threading.Event) -> None:
    while not over.wait(EVERY):
        samples.append(_now())


def _now() -> Sample:
    process = psutil.Process()
    return Sample(
        process.memory_info().rss / 2**20,
        threading.active_count(),
        process.num_fds(),
        len(family()),
    )


def growth(samples: list[Sample]) -> list[str]:
    """Return what has grown: the last fifth compared with the second, by their medians."""
    fifth = len(samples) // 5
    if fifth < 3:
        return []
    early, late = samples[fifth : 2 * fifth], samples[-fifth:]
    found = []
    for name, noise in NOISE.items():
        before = statistics.median(getattr(sample, name) for sample in early)
        after = statistics.median(getattr(sample, name) for sample in late)
        # A tenth more memory is what allocators do.
        if after > before + max(noise, 0.1 * before if name == "memory" else 0):
            found.append(f"{name} grew from {before:g} to {after:g}")
    return found


def summary(found: Soak, seconds: float) -> list[str]:
    """Tell what came of it."""

    def course(name: str, samples: list[Sample]) -> str:
        values = [getattr(sample, name) for sample in samples]
        return f"{values[0]:.0f} first, {values[-1]:.0f} last, {max(values):.0f} at the most"

    lines = [
        f"{seconds:.0f} s: {found.uploads} uploads of {found.points:,} points in "
        f"{found.runs} runs through {found.befallen:,} misfortunes",
        "runs: " + ", ".join(f"{n} {name}" for name, n in found.outcomes.most_common()),
    ]
    if found.quiet:
        lines += [f"{name} between uploads: {course(name, found.quiet)}" for name in NOISE]
    if found.samples:
        lines += [f"{name} at any time: {course(name, found.samples)}" for name in NOISE]
    return lines


def main() -> int:
    """Soak; 1 when something grew, or the collection was wrong."""
    parser = argparse.ArgumentParser("python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=["thread", "process", "both"], default="both")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    logging.getLogger("qframe").setLevel(logging.ERROR)
    began = time.monotonic()
    print(f"process {os.getpid()}", flush=True)

    def say(line: str) -> None:
        print(line, flush=True)

    with tempfile.TemporaryDirectory() as folder, LocalServer() as server:
        try:
            found = soak(
                60 * arguments.minutes,
                server,
                Path(folder),
                seed=arguments.seed,
                kind=arguments.kind,
                say=say,
            )
        except AssertionError as error:
            print(f"the collection is not what it should be: {error}")
            return 1
        gc.collect()
        complaints = server.complaints()
    print(*summary(found, time.monotonic() - began), sep="\n")
    grown = growth(found.quiet)
    print(*grown or ["nothing grew"], sep="\n")
    print("the collection is exactly what was uploaded")
    if complaints:
        print(f"the server complained:\n{complaints}")
    return 1 if grown or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
