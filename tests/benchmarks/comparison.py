"""One case, by both clients in turn and once more with bytes that are ready, several times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from tests.benchmarks.bodies import Encoding, ready_made
from tests.benchmarks.clients import OURS, PEER, Case, ours, peer
from tests.benchmarks.contestant import Client, Contestant
from tests.benchmarks.discard import Tally, discarding_server
from tests.benchmarks.spread import Spread
from tests.benchmarks.usage import Usage

READY = "ready-made bytes"


@dataclass(frozen=True, slots=True)
class Runs:
    """Uploads of one frame in one way.

    Attributes
    ----------
    points : int
        Of the frame.
    bytes : int
        Of the bodies, in each run.
    usages : tuple of Usage
        Of the client.
    server_s : tuple of float
        CPU seconds of the server.
    """

    points: int
    bytes: int
    usages: tuple[Usage, ...]
    server_s: tuple[float, ...]

    @classmethod
    def of(cls, points: int, usages: Sequence[Usage], tallies: Sequence[Tally]) -> Runs:
        """Put together what the client and the server say of the same uploads."""
        server_s = tuple(tally.cpu_s for tally in tallies)
        return cls(points, tallies[0].bytes, tuple(usages), server_s)

    @property
    def points_per_s(self) -> Spread:
        return Spread.of([self.points / usage.seconds for usage in self.usages])

    @property
    def cpu_us(self) -> Spread:
        """A point."""
        return Spread.of([usage.cpu_s / self.points * 1e6 for usage in self.usages])

    @property
    def mb_per_s(self) -> Spread:
        return Spread.of([self.bytes / usage.seconds / 1e6 for usage in self.usages])

    @property
    def server_busy(self) -> float:
        """CPU seconds of the server a second, the median."""
        pairs = zip(self.server_s, self.usages, strict=True)
        return statistics.median(server_s / usage.seconds for server_s, usage in pairs)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out for one case.

    Attributes
    ----------
    case : Case
    ours, peer : Runs
    limit : Runs
        Of our bodies, sent ready-made.
    encodings : tuple of Encoding
    above_frame : dict of str to int
        Bytes of memory that each client takes above the frame at most.
    peer_starts : tuple of Usage
        What the peer takes for a single point a worker, once a pair, where it starts processes for
        them: that start, most of all.
    """

    case: Case
    ours: Runs
    peer: Runs
    limit: Runs
    encodings: tuple[Encoding, ...]
    above_frame: dict[str, int]
    peer_starts: tuple[Usage, ...] = ()

    @property
    def speed_ratio(self) -> Spread:
        """How many times more points a second we upload than the peer, pair by pair."""
        return Spread.of([theirs.seconds / ours.seconds for ours, theirs in self._pairs()])

    @property
    def cpu_ratio(self) -> Spread:
        """How many times less CPU we take, pair by pair."""
        return Spread.of([theirs.cpu_s / ours.cpu_s for ours, theirs in self._pairs()])

    def without_start(self) -> Comparison:
        """Return the same as if the peer's processes had been there already."""
        usages = tuple(
            Usage(usage.seconds - start.seconds, usage.cpu_s - start.cpu_s)
            for usage, start in zip(self.peer.usages, self.peer_starts, strict=True)
        )
        return replace(self, peer=replace(self.peer, usages=usages), peer_starts=())

    @property
    def share_of_limit(self) -> Spread:
        """How much of the throughput of ready-made bytes an upload reaches, pair by pair."""
        pairs = zip(self.ours.usages, self.limit.usages, strict=True)
        return Spread.of([limit.seconds / ours.seconds for ours, limit in pairs])

    @property
    def encode_us(self) -> Spread:
        """CPU time of mapping, cutting and encoding, a point."""
        return Spread.of([each.cpu_s / self.case.rows * 1e6 for each in self.encodings])

    def _pairs(self) -> list[tuple[Usage, Usage]]:
        return list(zip(self.ours.usages, self.peer.usages, strict=True))


def compare(case: Case, pairs: int, *, ours: Client = ours, peer: Client = peer) -> Comparison:
    """Upload a frame with either client in turn, and send our bytes ready-made after each pair.

    Each has a process of its own, with the same frame. Before, each uploads it once to a server
    that counts the points. Every later run has to bring as many requests and bytes as that one.

    Raises
    ------
    RuntimeError
        When a run was not complete.
    """
    with ExitStack() as stack:
        server = stack.enter_context(discarding_server(case.size))
        contestants = {
            name: stack.enter_context(Contestant(client, server.urls, case))
            for name, client in ((OURS, ours), (PEER, peer), (READY, ready_made))
        }
        above, wanted = {}, {}
        for name, contestant in contestants.items():
            contestant.warm_up()
            server.count(points=True)
            above[name] = contestant.watch().above_frame
            wanted[name] = server.count()
            if wanted[name].points != case.rows:
                raise RuntimeError(f"{name}: {wanted[name].points} of {case.rows} points arrived")
        usages: dict[str, list[Usage]] = {name: [] for name in contestants}
        tallies: dict[str, list[Tally]] = {name: [] for name in contestants}
        encodings, starts = [], []
        for _ in range(pairs):
            for name, contestant in contestants.items():
                usages[name].append(contestant.upload())
                tallies[name].append(server.count())
                _check(name, tallies[name][-1], wanted[name])
            encodings.append(contestants[OURS].encode())
            if case.has_processes:
                starts.append(contestants[PEER].upload(case.workers))
                server.count()
    runs = [Runs.of(case.rows, usages[name], tallies[name]) for name in contestants]
    del above[READY]
    return Comparison(case, *runs, tuple(encodings), above, tuple(starts))


def _check(name: str, came: Tally, wanted: Tally) -> None:
    if (came.requests, came.bytes) != (wanted.requests, wanted.bytes):
        raise RuntimeError(f"{name}: {came} arrived, where {wanted} was expected")
