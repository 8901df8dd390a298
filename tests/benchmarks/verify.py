"""How fast a collection is compared with its frame.

``python -m tests.benchmarks.verify --rows 100000 --size 384`` uploads one frame into the embedded
engine and to a local server, and prints a line for each transport and number of workers. That
server holds the same engine, in one process of Python: a real one answers faster.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import qframe
from tests.benchmarks.frames import make_frame
from tests.server import LocalServer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--transports", nargs="+", default=["embedded", "grpc", "rest"])
    options = parser.parse_args()
    frame = make_frame(options.rows, options.size)
    with LocalServer() as server, tempfile.TemporaryDirectory() as folder:
        places = {"embedded": folder, "grpc": server.grpc_url, "rest": server.rest_url}
        frame.qdrant.upload("measured", folder, vectors="embedding", progress=False)
        if set(options.transports) - {"embedded"}:
            url = server.grpc_url
            frame.qdrant.upload("measured", url, vectors="embedding", wait=True, progress=False)
        for transport in options.transports:
            for workers in options.workers[: 1 if transport == "embedded" else None]:
                began, cpu = time.perf_counter(), time.process_time()
                found = frame.qdrant.verify(
                    "measured", places[transport], vectors="embedding", workers=workers
                )
                seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
                assert found.empty, found
                print(
                    f"{transport}, workers={workers}: {options.rows:,} x {options.size}, "
                    f"{options.rows / seconds:,.0f} points/s, "
                    f"{cpu / options.rows * 1e6:.0f} us CPU a point, qframe {qframe.__version__}"
                )


if __name__ == "__main__":
    main()
