"""How much memory an upload needs above the frame, and how fast it is.

``python -m tests.benchmarks.memory --rows 1000000 --size 384`` uploads one frame over gRPC and over
REST to a server that discards, and prints a line for each. The frame has a column of float32 arrays
and four payload columns (text, integer, float, category).
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import qframe
from tests.benchmarks.discard import discarding_server

PAGE = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Measured:
    """One upload.

    Attributes
    ----------
    seconds : float
    cpu_s : float
        Of this process, user and system.
    above_frame : int
        Bytes of resident memory at its highest, above what was resident before the upload.
    batch_bytes : int
        The largest batch, encoded.
    points : int
        How many the server took.
    """

    seconds: float
    cpu_s: float
    above_frame: int
    batch_bytes: int
    points: int


def make_frame(rows: int, size: int) -> pd.DataFrame:
    """Return a frame of `rows` points with vectors of `size` numbers and four payload columns."""
    random = np.random.default_rng(0)
    matrix = random.random((rows, size), dtype=np.float32)
    return pd.DataFrame(
        {
            "embedding": list(matrix),
            "title": [f"title of the row {row}" for row in range(rows)],
            "year": random.integers(1900, 2025, rows),
            "rating": random.random(rows),
            "genre": pd.Categorical.from_codes(
                random.integers(0, 3, rows), ["drama", "comedy", "horror"]
            ),
        }
    )


def resident() -> int:
    """Return the bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measure(frame: pd.DataFrame, url: str, *, workers: int | None = None) -> Measured:
    """Upload once and watch the memory meanwhile."""
    before = highest = resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        report = frame.qdrant.upload(
            "discarded", url, vectors="embedding", wait=True, workers=workers, progress=False
        )
    finally:
        done.set()
        watcher.join()
    return Measured(
        time.perf_counter() - began,
        time.process_time() - cpu,
        highest - before,
        int(report["bytes"].max()),
        int(report.loc[report["status"] == "applied", "points"].sum()),
    )


def main() -> None:
    """Measure both transports and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=384)
    options = parser.parse_args()
    frame = make_frame(options.rows, options.size)
    # Import and connect once, so that only the upload itself is measured.
    with discarding_server(options.size) as urls:
        for transport in ("grpc", "rest"):
            measure(frame.head(1000), urls[transport])
            found = measure(frame, urls[transport])
            print(
                f"{transport}: {found.points:,} x {options.size}, "
                f"{found.points / found.seconds:,.0f} points/s, "
                f"{found.cpu_s / found.points * 1e6:.1f} us CPU a point, "
                f"{found.above_frame / 1e6:.0f} MB above the frame, "
                f"largest batch {found.batch_bytes / 1e6:.1f} MB, "
                f"qframe {qframe.__version__}"
            )


if __name__ == "__main__":
    main()
