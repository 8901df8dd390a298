"""How fast the embedded engine is filled, held against local mode and against the engine itself.

``python -m tests.benchmarks.embedded`` uploads 20,000 points of 384 numbers and four payload
columns into the embedded engine and into qdrant-client's local mode on disk, in turn; then fills
the engine by hand with points that were made before; then uploads 10,000, 100,000 and 1,000,000
points. Each time the folder is a fresh one, and the time ends when the collection is closed.

On two cores: 30,300 points a second (28,200 to 30,700) against 1,050 (970 to 1,080), 28.7 times as
fast (26.8 to 31.6). Of 33 µs of CPU time a point, the engine takes 27: 14 to read a point from
Python's objects, 13 to write and flush it. 10,000 points take 33.4 each, 100,000 32.9, and a
million 33.5. Local mode commits each point by itself: its speed, and so the ratio, is the disk's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from qdrant_client import QdrantClient, models

import qframe
from qframe.points import VectorKind
from qframe.schema import CollectionSchema, VectorSchema
from qframe.stores.edge_config import edge_config
from qframe.transports.edge_handle import engine
from qframe.transports.embedded import CHUNK, FLUSH_EVERY
from tests.benchmarks.frames import make_frame
from tests.benchmarks.spread import Spread, spread

COLUMNS = ["title", "year", "rating", "genre"]


@dataclass(frozen=True, slots=True)
class Filled:
    """One collection, filled and closed.

    Attributes
    ----------
    points : int
    seconds : float
    cpu_s : float
        Of this process, user and system.
    """

    points: int
    seconds: float
    cpu_s: float

    @property
    def points_per_s(self) -> float:
        return self.points / self.seconds

    @property
    def cpu_us(self) -> float:
        """A point."""
        return self.cpu_s / self.points * 1e6


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same frame into the embedded engine and into local mode, in turn.

    Attributes
    ----------
    embedded, local : tuple of Filled
        Pair by pair.
    """

    embedded: tuple[Filled, ...]
    local: tuple[Filled, ...]

    @property
    def ratios(self) -> list[float]:
        """How many times faster the embedded engine is, pair by pair."""
        pairs = zip(self.embedded, self.local, strict=True)
        return [local.seconds / embedded.seconds for embedded, local in pairs]


@dataclass(frozen=True, slots=True)
class Shares:
    """What becomes of the time of an upload: the medians, in µs of CPU time a point.

    Attributes
    ----------
    upload : float
        From the DataFrame to the closed collection.
    made : float
        The engine makes its points of Python's objects that are ready.
    written : float
        It writes points that are ready, 100 a call, into a new collection, and closes it.
    """

    upload: float
    made: float
    written: float

    @property
    def ours(self) -> float:
        """What is left: reading and checking the frame, dicts and views, the report."""
        return self.upload - self.made - self.written


def compare(frame: pd.DataFrame, pairs: int = 5) -> Comparison:
    """Upload a frame into both, in turn."""
    fill_embedded(frame.head(100))  # imports
    fill_local(frame.head(100))
    runs = [(fill_embedded(frame), fill_local(frame)) for _ in range(pairs)]
    embedded, local = zip(*runs, strict=True)
    return Comparison(embedded, local)


def measure_shares(frame: pd.DataFrame, runs: int = 5) -> Shares:
    """Part the time of an upload, in turn, too."""
    fill_embedded(frame.head(100))
    uploads, made, written = [], [], []
    for _ in range(runs):
        uploads.append(fill_embedded(frame).cpu_us)
        points, filled = make_points(frame)
        made.append(filled.cpu_us)
        written.append(write_points(points, frame["embedding"].iloc[0].size).cpu_us)
        del points
    return Shares(*map(statistics.median, (uploads, made, written)))


def measure_line(frame: pd.DataFrame, rows: Sequence[int], runs: int = 3) -> list[Filled]:
    """Upload the first rows of a frame, for each of these numbers; the fastest of some runs."""
    fill_embedded(frame.head(100))
    return [
        min((fill_embedded(frame.head(count)) for _ in range(runs)), key=lambda run: run.cpu_s)
        for count in rows
    ]


def fill_embedded(frame: pd.DataFrame) -> Filled:
    """Upload a frame into the embedded engine."""
    return _measured(len(frame), lambda folder: upload_embedded(frame, folder))


def fill_local(frame: pd.DataFrame) -> Filled:
    """Upload a frame into qdrant-client's local mode."""
    return _measured(len(frame), lambda folder: upload_local(frame, folder))


def upload_embedded(frame: pd.DataFrame, folder: Path) -> None:
    """Fill the collection "points" as users of qframe write it."""
    frame.qdrant.upload("points", folder, vectors="embedding", progress=False)


def upload_local(frame: pd.DataFrame, folder: Path) -> None:
    """Fill the collection "points" as users of local mode write it, with the same ids."""
    client = QdrantClient(path=str(folder))
    size = frame["embedding"].iloc[0].size
    params = models.VectorParams(size=size, distance=models.Distance.COSINE)
    client.create_collection("points", vectors_config=params)
    client.upload_collection(
        "points",
        vectors=np.stack(frame["embedding"]),
        payload=frame[COLUMNS].to_dict("records"),
        ids=frame.index.tolist(),
    )
    client.close()


def make_points(frame: pd.DataFrame) -> tuple[list[Any], Filled]:
    """Make the engine's points; ids, views and dicts are ready before the clock starts."""
    point = engine().Point
    ids = frame.index.tolist()
    views = [vector.data for vector in frame["embedding"]]
    payloads = frame[COLUMNS].to_dict("records")
    began, cpu = time.perf_counter(), time.process_time()
    points = list(map(point, ids, views, payloads))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return points, Filled(len(points), seconds, cpu)


def write_points(points: Sequence[Any], size: int) -> Filled:
    """Write points that are ready into a new shard, with nothing of qframe in between."""
    edge = engine()
    schema = CollectionSchema({"": VectorSchema(VectorKind.DENSE, size, "cosine")})

    def fill(folder: Path) -> None:
        shard = edge.EdgeShard.create(str(folder / "shard"), edge_config(schema))
        for first in range(0, len(points), CHUNK):
            shard.update(edge.UpdateOperation.upsert_points(points[first : first + CHUNK]))
            if (first + CHUNK) % FLUSH_EVERY == 0:
                shard.flush()
        shard.flush()
        shard.close()

    return _measured(len(points), fill)


def _measured(points: int, fill: Callable[[Path], object]) -> Filled:
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        fill(Path(folder))
        return Filled(points, time.perf_counter() - began, time.process_time() - cpu)


def main() -> None:
    """Measure and print medians, with the least and the greatest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--line", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    frame = make_frame(options.rows, options.size)
    if options.pairs:
        found = compare(frame, options.pairs)
        print(f"{options.rows:,} x {options.size}, {options.pairs} pairs, qframe", end=" ")
        print(f"{qframe.__version__}: embedded {spread(Spread.of(found.ratios), 1)} times as fast")
        for name, runs in (("embedded", found.embedded), ("local mode", found.local)):
            speeds = spread(Spread.of([run.points_per_s for run in runs]), 0)
            cost = spread(Spread.of([run.cpu_us for run in runs]), 0)
            print(f"  {name}: {speeds} points/s, {cost} us CPU a point")
    shares = measure_shares(frame)
    print(f"CPU of a point, us: {shares.upload:.1f} in all; the engine makes it in", end=" ")
    print(f"{shares.made:.1f} and writes it in {shares.written:.1f}; {shares.ours:.1f} are left")
    del frame
    if options.line:
        frame = make_frame(max(options.line), options.size)
        for run in measure_line(frame, options.line):
            print(f"{run.points:,} points: {run.points_per_s:,.0f}/s, {run.cpu_us:.1f} us CPU each")


if __name__ == "__main__":
    main()
