"""Whether the cost of a point stays the same in larger frames."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.clients import Case, ours
from tests.benchmarks.comparison import Runs
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.discard import discarding_server


def measure_line(rows: Sequence[int], times: int, size: int = 384) -> list[Runs]:
    """Upload the first rows of one frame over gRPC with one worker, fewer and more in turn.

    Parameters
    ----------
    rows : sequence of int
    times : int
        Uploads of each.
    size : int
        Numbers of a vector.

    Returns
    -------
    list of Runs
        One for each of `rows`.
    """
    case = Case("grpc", size, 4, 1, None, max(rows))
    with (
        discarding_server(size) as server,
        Contestant(ours, server.urls, case) as contestant,
    ):
        contestant.warm_up()
        server.count()
        usages, tallies = [], []
        for _ in range(times):
            for count in rows:
                usages.append(contestant.upload(count))
                tallies.append(server.count())
    return [
        Runs.of(count, usages[at :: len(rows)], tallies[at :: len(rows)])
        for at, count in enumerate(rows)
    ]
