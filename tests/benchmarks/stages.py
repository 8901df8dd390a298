"""Where the time of an upload goes, beside what the libraries below take for their share alone.

``python -m tests.benchmarks.stages --transport rest --size 1536`` uploads one frame with one worker
to the server that discards, then makes its requests without sending them, then sends them without
making them, and prints the CPU time of each. Beside that stands what nothing above can save: over
REST, orjson writing the vectors' numbers; over gRPC, `bytes.join` copying them once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import orjson

from tests.benchmarks.bodies import measure_encoding, ready_made
from tests.benchmarks.clients import Case, Urls, ours
from tests.benchmarks.discard import discarding_server
from tests.benchmarks.frames import make_frame
from tests.benchmarks.spread import table
from tests.benchmarks.usage import measure

BATCH = 1000

Stage = tuple[str, float]
"""What was done, and the CPU µs that a point took, the least of several runs."""


def measure_stages(case: Case, repeat: int = 5) -> list[Stage]:
    """Measure all stages of one case, in a process of their own."""
    fresh = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with discarding_server(case.size) as server, fresh as pool:
        return pool.submit(_measure, dict(server.urls), case, repeat).result()


def _measure(urls: Urls, case: Case, repeat: int) -> list[Stage]:
    frame = make_frame(case.rows, case.size, case.columns)
    vectors = frame["embedding"].tolist()
    batches = [vectors[at : at + BATCH] for at in range(0, len(vectors), BATCH)]
    alone, write = _floor(case, batches)

    def least(call: Callable[[], object]) -> float:
        call()
        return min(measure(call).cpu_s for _ in range(repeat)) / case.rows * 1e6

    def written() -> None:
        for batch in batches:
            write(batch)

    with ours(urls, case) as upload, ready_made(urls, case) as send:
        whole, sent = least(lambda: upload(frame)), least(lambda: send(frame))
    encodings = [measure_encoding(frame, urls, case) for _ in range(repeat)]
    mapped, cut, encoded = (
        min(getattr(one, name) for one in encodings) / case.rows * 1e6
        for name in ("map_s", "cut_s", "encode_s")
    )
    rest = whole - mapped - cut - encoded - sent
    return [
        ("map: find the columns, check every cell", mapped),
        ("cut: measure rows, make batches", cut),
        ("encode: batches to bytes", encoded),
        (f"- of that, {alone} alone", least(written)),
        ("send, by bytes that are ready", sent),
        ("what is left: connecting, threads, results, report", rest),
        ("the whole upload", whole),
    ]


def _floor(
    case: Case, batches: Sequence[Sequence[Any]]
) -> tuple[str, Callable[[Sequence[Any]], object]]:
    """Return what the library below has to do at the least, and does without anything around it."""
    if case.transport == "grpc":
        return "bytes.join of the vectors", b"".join
    stacked = {id(batch): np.stack(batch) for batch in batches}
    return "orjson writing the vectors", lambda batch: orjson.dumps(
        stacked[id(batch)], option=orjson.OPT_SERIALIZE_NUMPY
    )


def to_table(case: Case, stages: Sequence[Stage]) -> str:
    """Write stages as Markdown."""
    return table((str(case), "CPU µs a point"), [(name, f"{us:.2f}") for name, us in stages])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--transport", choices=("grpc", "rest"), nargs="+", default=["grpc", "rest"]
    )
    parser.add_argument("--size", type=int, nargs="+", default=[384, 1536])
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    for transport in options.transport:
        for size in options.size:
            case = Case(transport, size, options.columns, 1, BATCH, options.rows)
            print(to_table(case, measure_stages(case)), end="\n\n")


if __name__ == "__main__":
    # A process of its own finds nothing of `__main__`.
    from tests.benchmarks.stages import main as imported

    imported()
