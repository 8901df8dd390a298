"""What qframe is meant to reach, and whether a run says that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.clients import OURS, PEER, said
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.further import DRAWING, EMBEDDED, IMPORT
from tests.benchmarks.spread import Spread
from tests.benchmarks.suite import Results

BOUNDS = {
    "gRPC, 384 dims": (
        "A worker encodes and sends in turn, so a point takes the sum of both: of some 4 µs, "
        "1.6 are map, cut and encode, and 1.1 to 1.5 the wait for the answer to bytes that are "
        "ready (the limit). In batches of 64 the peer needs a tenth to a fifth less CPU than in "
        "batches of 1,000. Tried: `bytes.join` of all pieces (1.7 µs for encode, 0.7 now), "
        "numpy tables, a memoryview a row; channel options of gRPC, which change nothing. With "
        "2 workers, the default, one sends while the other encodes."
    ),
    "gRPC, 1,536 dims": (
        "The same sum: 2.1 µs to map, cut and encode, 4.4 for bytes that are ready, and 0.8 for "
        "threads and the results. Each number is read twice, to be checked before anything is "
        "sent and to be sent, and copied once by qframe. With 2 workers it is 66 to 75 % of the "
        "limit."
    ),
    "REST": (
        "orjson writes the vectors' numbers in 22 to 25 ns each, which is 9 of 15 µs at 384 "
        "dims and 35 of 50 at 1,536 (see the stages), and it holds the interpreter's lock "
        "meanwhile. Tried: chunks of 10 to 250 rows, rows one by one and float64, which are "
        "slower; Arrow's cast to text takes 70 ns a number; fewer digits would not read back to "
        "the same float32, more of them are half as many bytes again. The peer needs a third "
        "less CPU at 1,536 dims in its batches of 64 than in batches of 1,000, where qframe is "
        "5 times ahead."
    ),
    "embedded engine": (
        "The engine takes 26 of 32 µs for itself: 14 to read each point from Python's objects, "
        "trying one type after another, and 12 to write it. It has no bulk call. Tried: 25 to "
        "2,000 points a call, flushing at other intervals, other forms of ids, texts and empty "
        "payload. Local mode commits each point by itself, so that its speed is that of the "
        "disk."
    ),
}
"""What keeps a goal from being reached, and what was tried, by the beginning of its subject."""

MANY = 1_000_000
"""Rows of the goals for memory; a run with fewer says nothing of them."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, and what it is to be.

    Attributes
    ----------
    subject : str
    wanted : float
    unit : str
        "x", " %", " MB" or " ms".
    measured : Spread or None
        None where this run has not measured it.
    at_most : bool
        Whether less is better.
    where : str
        Which of several cases was measured.
    """

    subject: str
    wanted: float
    unit: str
    measured: Spread | None
    at_most: bool = False
    where: str = ""

    @property
    def bound(self) -> str:
        """What bounds it, where that is known."""
        return next((said for name, said in BOUNDS.items() if self.subject.startswith(name)), "")

    @property
    def reached(self) -> bool | None:
        """Whether the median is what it is to be; None where it was not measured."""
        if self.measured is None:
            return None
        if self.at_most:
            return self.measured.median < self.wanted
        return self.measured.median >= self.wanted


def goals(results: Results) -> list[Goal]:
    """Hold a run against all goals.

    Those of the clients are judged with 4 columns of payload and 1 worker, at each of the batch
    sizes that were measured.
    """
    return [
        *client_goals(results),
        *memory_goals(results),
        Goal(
            "embedded engine against qdrant-client's local mode on disk, 20,000 x 384",
            30.0,
            "x",
            results.figure(EMBEDDED),
        ),
        Goal("import qframe after pandas", 50.0, " ms", results.figure(IMPORT), True),
        Goal(
            "drawing in a notebook, of an upload's time", 3.0, " %", results.figure(DRAWING), True
        ),
    ]


def client_goals(results: Results) -> list[Goal]:
    """Return the goals of speed, CPU time and throughput, one for each batch size."""

    def held(
        subject: str,
        wanted: float,
        unit: str,
        key: tuple[str, int],
        figure: Callable[[Comparison], Spread],
    ) -> list[Goal]:
        return [
            Goal(subject, wanted, unit, figure(each), where=f"batches {said(each.case.batch_size)}")
            for each in results.comparisons
            if (each.case.transport, each.case.size) == key
            and (each.case.columns, each.case.workers) == (4, 1)
        ] or [Goal(subject, wanted, unit, None)]

    made: list[Goal] = []
    for transport, size, wanted in (
        ("grpc", 384, 6.0),
        ("grpc", 1536, 4.0),
        ("rest", 384, 4.0),
        ("rest", 1536, 3.5),
    ):
        name, key = f"{NAMES[transport]}, {size:,} dims", (transport, size)
        made += held(f"{name}: points/s", wanted, "x", key, lambda each: each.speed_ratio)
        made += held(f"{name}: CPU a point", wanted, "x", key, lambda each: each.cpu_ratio)
    return made + held(
        "gRPC, 1,536 dims: share of the limit",
        60.0,
        " %",
        ("grpc", 1536),
        lambda each: each.share_of_limit.times(100.0),
    )


def memory_goals(results: Results) -> list[Goal]:
    """Return the goals for memory: the worse transport of ours, the better one of the peer's."""
    above: dict[str, list[float]] = {}
    for peak in results.peaks:
        if (peak.case.rows, peak.case.size) == (MANY, 384):
            above.setdefault(peak.client, []).append(peak.watched.above_frame / 1e6)
    ours, peer = above.get(OURS), above.get(PEER)
    return [
        Goal(
            "memory above the frame, 1,000,000 x 384",
            100.0,
            " MB",
            _single(max(ours) if ours else None),
            at_most=True,
        ),
        Goal(
            "the same of qdrant-client, for comparison",
            1000.0,
            " MB",
            _single(min(peer) if peer else None),
        ),
    ]


NAMES = {"grpc": "gRPC", "rest": "REST"}


def _single(value: float | None) -> Spread | None:
    return None if value is None else Spread(value, value, value)
