"""Making sure that what was acknowledged is applied."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from qframe.errors import QframeError
from qframe.schema import CollectionInfo
from qframe.stores.base import PointId, Store
from qframe.write import ShardKey

ROUND = 30.0
"""Seconds that one request waits at the most: proxies on the way end those of a minute, and when
the server goes away meanwhile, it is noticed after this time."""

FIRST_PAUSE = 0.1
LAST_PAUSE = 2.0
"""Seconds between two requests; a pause is twice the one before it."""

LATER = (
    "df.qdrant.verify(…) later tells which points are there, and the same upload with its journal "
    "goes on from here"
)
DROPPED = (
    "a server drops what it cannot apply, and says so in its log only, unless somebody else "
    "deleted points meanwhile"
)
WHICH = "df.qdrant.verify(…) tells which"


SHOWN = 3
"""Missing ids that a sentence names."""

Pages = Callable[[], Iterable[Sequence[PointId]]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a collection must hold when everything that was acknowledged is applied.

    Attributes
    ----------
    at_least : int
        Points that it must not have fewer than.
    enough : int or None
        Points with which it has all that were acknowledged, whatever else it holds. None where
        nobody can tell.
    ids : callable or None
        Returns lists of the ids that were acknowledged. They are counted where the number of all
        points shows neither that some are missing nor that none is. None where they are not known,
        so that it stays uncertain.
    """

    at_least: int = 0
    enough: int | None = None
    ids: Pages | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why it is not certain that everything is applied.

    Attributes
    ----------
    text : str
        A sentence.
    may_pass : bool
        Whether asking again may help.
    is_loss : bool
        Whether points are missing, or a write is known to have failed.
    """

    text: str
    may_pass: bool = False
    is_loss: bool = False


def pass_barrier(
    store: Store,
    collection: str,
    *,
    expected: Expected,
    patience: float,
    shard_key: ShardKey | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Doubt | None:
    """Wait until everything that was acknowledged before is applied, and count.

    A server that acknowledges a write has it in its log and in the queue of a shard. It still may
    fail to apply it, and tells nobody. So this waits behind all queues, and then looks whether the
    points are there.

    Parameters
    ----------
    store : Store
    collection : str
    expected : Expected
    patience : float
        Seconds after which no request is made any more. Each of them may take `ROUND` seconds, or
        the time that the store gives to its requests.
    shard_key : str, int, list of them, or None
        That of the writes, in a collection with custom sharding.
    clock, sleep : callable
        Give and wait seconds.

    Returns
    -------
    Doubt or None
        None where everything is applied. No error of a transport is raised.
    """
    until = clock() + patience
    pause = FIRST_PAUSE
    passage = _Passage(store, collection, expected, shard_key)
    while True:
        try:
            doubt = passage.go_on(until - clock())
        except QframeError as error:
            doubt = Doubt(
                "whether all acknowledged points are applied could not be found out "
                f"({type(error).__name__}: {error}); {LATER}",
                may_pass=error.transient,
            )
            pause = max(pause, error.retry_after or 0.0)
        if doubt is None:
            return None
        if not doubt.may_pass or clock() + pause >= until:
            return doubt
        sleep(pause)
        pause = min(2 * pause, LAST_PAUSE)


@dataclass(slots=True)
class _Passage:
    """How far one got: a step that was made is not made again when a later one fails."""

    store: Store
    collection: str
    expected: Expected
    shard_key: ShardKey | None
    found: CollectionInfo | None = None
    is_settled: bool = False
    pages: int = 0  # of ids, that were counted
    looked_for: int = 0  # points
    missing: int = 0
    some: list[PointId] = field(default_factory=list)

    def go_on(self, left: float) -> Doubt | None:
        """Wait for what is queued if that is not over, and look."""
        if self.found is None:
            self.found = self.store.describe(self.collection)
            if self.found is None:
                return _gone(self.collection)
            if self.found.status == "red":
                return _red(self.found)
        if not self.is_settled:
            seconds = min(ROUND, left, self.found.max_timeout or ROUND)
            self.is_settled = self.store.settle(self.collection, seconds, shard_key=self.shard_key)
        # What is told now, the count included, is newer than the answer.
        info = self.store.describe(self.collection)
        if info is None:
            return _gone(self.collection)
        # Yellow and grey are not waited for: they tell of optimising, which moves points and
        # changes none (lib/collection/src/shards/local_shard/mod.rs, local_shard_status, in 1.19).
        if info.status == "red":
            return _red(info)
        if not self.is_settled:
            return Doubt(_queued(info), may_pass=True)
        return self._count(info)

    def _count(self, info: CollectionInfo) -> Doubt | None:
        expected = self.expected
        if info.points < expected.at_least:
            return _missing(info, expected.at_least - info.points)
        if expected.enough is not None and info.points >= expected.enough:
            return None
        return _uncertain(info) if expected.ids is None else self._look_for(expected.ids)

    def _look_for(self, ids: Pages) -> Doubt | None:
        """Count the points that were acknowledged, by their ids."""
        for page in itertools.islice(ids(), self.pages, None):
            absent = len(page) - self.store.count(self.collection, page)
            if absent > 0 and not self.some:
                found = self.store.retrieve(self.collection, page, with_vectors=False)
                missing = {*page} - {point.id for point in found}
                self.some = sorted(missing, key=page.index)[:SHOWN]
            self.pages += 1
            self.looked_for += len(page)
            self.missing += max(0, absent)
        if not self.missing:
            return None
        verb = "point is" if self.missing == 1 else "points are"
        return Doubt(
            f"{self.missing:,} {verb} missing in collection {self.collection!r} of the "
            f"{self.looked_for:,} that were acknowledged, such as "
            f"{', '.join(map(str, self.some))}; {DROPPED}; {WHICH}",
            is_loss=True,
        )


def _gone(collection: str) -> Doubt:
    return Doubt(
        f"collection {collection!r} is not there any more, and its points are gone", is_loss=True
    )


def _red(info: CollectionInfo) -> Doubt:
    reason = (
        f"its optimiser failed: {info.optimizer_error}"
        if info.optimizer_error
        else "a write failed in the server, whose log says why"
    )
    return Doubt(
        f"collection {info.name!r} is in the state red ({reason}), so acknowledged points may be "
        f"missing; {WHICH}",
        is_loss=True,
    )


def _queued(info: CollectionInfo) -> str:
    # The length leaves out what is being applied at this moment, and counts the write that waits.
    match info.queue_length:
        case None:
            queued = "some writes are"
        case 0 | 1:
            queued = "the last write is"
        case length:
            queued = f"{length:,} writes are"
    return f"{queued} still queued in the server, which goes on applying them; {LATER}"


def _missing(info: CollectionInfo, missing: int) -> Doubt:
    verb = "point is" if missing == 1 else "points are"
    return Doubt(
        f"{missing:,} {verb} missing: collection {info.name!r} has {info.points:,} of the "
        f"{info.points + missing:,} that were acknowledged or there before; {DROPPED}; {WHICH}",
        # What is queued now came after the writes that were waited for: nothing to wait for,
        # unless a replica that lags behind the others was the one to count.
        may_pass=bool(info.queue_length),
        is_loss=True,
    )


def _uncertain(info: CollectionInfo) -> Doubt:
    return Doubt(
        f"nothing that was acknowledged is queued any more, but the {info.points:,} points of "
        f"collection {info.name!r} do not show that all were applied: points may be there twice in "
        "the stream, have been there before, or be passed over by update_filter or update_mode; "
        "wait=True has each request answered once it is applied"
    )
