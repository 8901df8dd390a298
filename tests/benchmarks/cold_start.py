"""What an import costs, and how long it takes from there to the first frame that is uploaded.

``python -m tests.benchmarks.cold_start`` measures qframe and qdrant-client in turn, in a fresh
process each time: what `import` adds to `import pandas`, and the time from the import to the end of
the first upload of a small frame (1,000 x 384, two payload columns), into ``:memory:`` and, over
gRPC and REST, to a server that discards. ``--against FOLDER`` measures the qframe of another
checkout beside this one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.benchmarks.discard import discarding_server

ROOT = Path(__file__).parents[2]

Key = TypeVar("Key", str, tuple[str, str])

SIZE = 384
TRANSPORTS = ("embedded", "grpc", "rest")

TIMED = """
import json, sys, time
statements, names, laps = json.loads(sys.argv[1]), {"place": sys.argv[2]}, []
for statement in statements:
    wall, cpu = time.perf_counter(), time.process_time()
    exec(statement, names)
    laps.append((time.perf_counter() - wall, time.process_time() - cpu))
print(json.dumps(laps))
"""
"""Runs statements one after the other, and prints the wall and CPU seconds of each."""

FRAME = f"""
import numpy as np, pandas as pd
matrix = np.random.default_rng(0).random((1000, {SIZE}), dtype=np.float32)
titles = [f"title of the row {{row}}" for row in range(1000)]
frame = pd.DataFrame({{"embedding": list(matrix), "title": titles, "id": range(1000)}})
"""

QFRAME = """
frame.qdrant.upload("films", place, vectors="embedding", ids="id", wait=True, progress=False)
"""

PEER_CLIENT = {
    "embedded": f"""
client = qdrant_client.QdrantClient(place)
sizes = qdrant_client.models.VectorParams(size={SIZE}, distance="Cosine")
client.create_collection("films", vectors_config=sizes)
""",
    "grpc": """
port = int(place.rpartition(":")[2])
client = qdrant_client.QdrantClient(
    "127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False
)
""",
    "rest": """
client = qdrant_client.QdrantClient(url=place, check_compatibility=False)
""",
}

PEER = """
client.upload_collection(
    "films",
    vectors=np.stack(frame["embedding"].to_numpy()),
    payload=frame[["title", "id"]].to_dict("records"),
    ids=frame["id"].tolist(),
    wait=True,
)
"""


@dataclass(frozen=True, slots=True)
class Program:
    """Statements that a fresh process runs, each timed by itself.

    Attributes
    ----------
    statements : sequence of str
    folder : Path
        The checkout whose qframe is imported.
    """

    statements: Sequence[str]
    folder: Path = ROOT

    def run(self, place: str) -> list[tuple[float, float]]:
        """Return the wall and CPU milliseconds of each statement."""
        # Where bytecode is not written, every import would compile.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-c", TIMED, json.dumps(self.statements), place],
            cwd=self.folder,  # stands before everything else in sys.path
            env=environment | {"PYTHONPATH": ""},
            stdout=subprocess.PIPE,
            check=True,
        )
        laps = json.loads(done.stdout.splitlines()[-1])
        return [(wall * 1000, cpu * 1000) for wall, cpu in laps]


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds of several runs.

    Attributes
    ----------
    median, low, high : float
        Wall time; with the quartiles.
    cpu : float
        The median of the CPU time, all threads of the process.
    """

    median: float
    low: float
    high: float
    cpu: float

    @classmethod
    def of(cls, laps: Sequence[tuple[float, float]]) -> Spread:
        """Sum up wall and CPU times, one of each a run."""
        walls = [wall for wall, _ in laps]
        low, _, high = (
            statistics.quantiles(walls, n=4, method="inclusive") if walls[1:] else walls * 3
        )
        return cls(statistics.median(walls), low, high, statistics.median(cpu for _, cpu in laps))

    def __str__(self) -> str:
        return (
            f"{self.median:7.1f} ms (quartiles {self.low:.1f} and {self.high:.1f}), "
            f"CPU {self.cpu:.1f} ms"
        )


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What was measured.

    Attributes
    ----------
    runs : int
        Fresh processes of each kind.
    imports : mapping of str to Spread
        Of what is imported: ``"pandas"``, ``"pandas, qframe"``, ``"pandas, qdrant_client"``.
    added : mapping of str to Spread
        What the import of a client takes after pandas.
    first : mapping of (str, str) to Spread
        By client and transport: from the import of the client, pandas being there, to the end of
        its first upload.
    later : mapping of (str, str) to Spread
        A second upload in the same process.
    """

    runs: int
    imports: Mapping[str, Spread]
    added: Mapping[str, Spread]
    first: Mapping[tuple[str, str], Spread]
    later: Mapping[tuple[str, str], Spread]


def measure(runs: int = 20, against: Path | None = None) -> ColdStart:
    """Measure all in turn, so that what else the machine does meets all alike.

    Parameters
    ----------
    runs : int
        Fresh processes of each kind, after one that is not counted.
    against : Path, optional
        Another checkout of qframe, called by the name of its folder.
    """
    checkouts = {"qframe": ROOT}
    if against is not None:
        checkouts[f"qframe of {against.resolve().name}"] = against.resolve()
    importing = {"pandas": Program(["import pandas"])}
    uploading: dict[tuple[str, str], Program] = {}
    for name, folder in checkouts.items():
        importing[f"pandas, {name}"] = Program(["import pandas", "import qframe"], folder)
        for transport in TRANSPORTS:
            statements = [FRAME, "import qframe\n" + QFRAME, QFRAME]
            uploading[name, transport] = Program(statements, folder)
    importing["pandas, qdrant_client"] = Program(["import pandas", "import qdrant_client"])
    for transport in TRANSPORTS:
        start = "import qdrant_client\n" + PEER_CLIENT[transport] + PEER
        uploading["qdrant_client", transport] = Program([FRAME, start, PEER])

    imported = _in_turn(importing, {}, runs)
    with discarding_server(SIZE) as urls:
        places = {"embedded": ":memory:", "grpc": urls["grpc"], "rest": urls["rest"]}
        uploaded = _in_turn(uploading, places, runs)
    return ColdStart(
        runs,
        imports={name: Spread.of([_sum(laps) for laps in all_]) for name, all_ in imported.items()},
        added={
            name.removeprefix("pandas, "): Spread.of([laps[1] for laps in all_])
            for name, all_ in imported.items()
            if name != "pandas"
        },
        first={key: Spread.of([laps[1] for laps in all_]) for key, all_ in uploaded.items()},
        later={key: Spread.of([laps[2] for laps in all_]) for key, all_ in uploaded.items()},
    )


def _in_turn(
    programs: Mapping[Key, Program], places: Mapping[str, str], runs: int
) -> dict[Key, list[list[tuple[float, float]]]]:
    """Return the laps of every run of every program."""
    laps: dict[Key, list[list[tuple[float, float]]]] = {key: [] for key in programs}
    for run in range(runs + 1):
        for key, program in programs.items():
            found = program.run(places[key[1]] if isinstance(key, tuple) else "")
            if run:  # the first may have had bytecode to write and files to read from the disk
                laps[key].append(found)
    return laps


def _sum(laps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(wall for wall, _ in laps), sum(cpu for _, cpu in laps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="fresh processes of each kind")
    parser.add_argument("--against", type=Path, help="another checkout to measure beside this one")
    options = parser.parse_args()
    found = measure(options.runs, options.against)
    rows = {f"import {name}": spread for name, spread in found.imports.items()}
    rows |= {f"{name}, added to pandas": spread for name, spread in found.added.items()}
    for (client, transport), spread in found.first.items():
        rows[f"{client}, {transport}, import to first frame"] = spread
        rows[f"{client}, {transport}, a later frame"] = found.later[client, transport]
    print(f"medians of {found.runs} fresh processes, wall time")
    width = max(map(len, rows))
    for name, spread in rows.items():
        print(f"{name:{width}} {spread}")


if __name__ == "__main__":
    main()
