"""How much memory an upload needs above the frame.

``python -m tests.benchmarks.memory --rows 1000000 --size 384`` uploads one frame with each client,
over gRPC and over REST, to a server that discards, and prints a line for each. Each upload has a
process of its own, for what one has used and given back another would use again unnoticed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks.clients import CLIENTS, Case
from tests.benchmarks.contestant import Contestant, Watched
from tests.benchmarks.discard import discarding_server


@dataclass(frozen=True, slots=True)
class Peak:
    """One upload, watched.

    Attributes
    ----------
    client : str
    case : Case
    watched : Watched
    """

    client: str
    case: Case
    watched: Watched


def measure_peaks(
    rows: int,
    size: int,
    transports: Sequence[str] = ("grpc", "rest"),
    clients: Iterable[str] = tuple(CLIENTS),
    workers: int | None = None,
) -> Iterator[Peak]:
    """Measure clients and transports one after another, with four columns of payload."""
    with discarding_server(size) as server:
        for transport in transports:
            case = Case(transport, size, 4, workers, None, rows)
            for client in clients:
                with Contestant(CLIENTS[client], server.urls, case) as contestant:
                    contestant.warm_up()
                    yield Peak(client, case, contestant.watch())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--workers", type=int, help="each one's default unless given")
    parser.add_argument("--transports", nargs="+", default=["grpc", "rest"])
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    options = parser.parse_args()
    for peak in measure_peaks(**vars(options)):
        usage, rows = peak.watched.usage, peak.case.rows
        print(
            f"{peak.client}, {peak.case}: {peak.watched.above_frame / 1e6:,.0f} MB above the "
            f"frame, {rows / usage.seconds:,.0f} points/s, {usage.cpu_s / rows * 1e6:.1f} us CPU a "
            "point",
            flush=True,
        )


if __name__ == "__main__":
    main()
