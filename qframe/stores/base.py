"""Collections as qframe sees them: made, described, read and searched, whatever the transport."""

from __future__ import annotations

import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qframe.errors import InvalidAnswer, ServerError
from qframe.schema import DISTANCES, CollectionInfo, CollectionSchema, VectorSchema
from qframe.write import ShardKey

PointId = int | str

__all__ = [
    "DISTANCES",
    "GRACE",
    "CollectionInfo",
    "CollectionSchema",
    "Page",
    "PointId",
    "SparseValue",
    "Store",
    "StoredPoint",
    "StoredVector",
    "VectorSchema",
    "nothing",
    "settled",
    "whole_seconds",
]

SparseValue = tuple[NDArray[np.uint32], NDArray[np.float32]]
"""Indices and values."""

StoredVector = NDArray[np.float32] | SparseValue
"""A 1-D array (dense), a 2-D array (multi), or a pair (sparse)."""


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as it was read back.

    Attributes
    ----------
    id : int or str
        A UUID is a hyphenated lower-case string.
    payload : dict
    vectors : mapping of str to StoredVector
        Only those that the point has; empty when they were not asked for.
    score : float or None
        For search results.
    """

    id: PointId
    payload: dict[str, Any]
    vectors: Mapping[str, StoredVector] = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some points, and where the next ones begin.

    Attributes
    ----------
    points : sequence of StoredPoint
    next : int, str or None
        Offset of the next page; None after the last one.
    """

    points: Sequence[StoredPoint]
    next: PointId | None


class Store(ABC):
    """The collections behind one connection.

    Every method raises the `TransportError` that its transport's error translates to.
    """

    @abstractmethod
    def version(self) -> tuple[int, int, int] | None:
        """Return the server's version; None where nothing depends on it (the embedded engine)."""

    @abstractmethod
    def describe(self, collection: str) -> CollectionInfo | None:
        """Describe a collection; None when there is none of this name."""

    @abstractmethod
    def check(self, collection: str, schema: CollectionSchema) -> None:
        """Raise what `create` would raise before it asks anybody; nothing is made or sent."""

    @abstractmethod
    def create(self, collection: str, schema: CollectionSchema) -> None:
        """Create a collection.

        Raises
        ------
        CollectionExists
            Where one of this name is there already.
        """

    @abstractmethod
    def delete(self, collection: str) -> None:
        """Delete a collection with all its points; one that is missing is no error."""

    @abstractmethod
    def count(self, collection: str, ids: Sequence[PointId] | None = None) -> int:
        """Count the points exactly; with `ids`, those of them that are there."""

    @abstractmethod
    def settle(self, collection: str, seconds: float, *, shard_key: ShardKey | None = None) -> bool:
        """Wait until everything that was acknowledged before is applied.

        Parameters
        ----------
        collection : str
        seconds : float
            How long the server is to wait. It counts whole seconds, and one at the least.
        shard_key : str, int, list of them, or None
            Whose writes are waited for, in a collection with custom sharding; such a server refuses
            a write that names none.

        Returns
        -------
        bool
            False where some of it was still queued after this time.
        """

    @abstractmethod
    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, with_vectors: bool
    ) -> list[StoredPoint]:
        """Read these points, those that exist, in any order."""

    @abstractmethod
    def scroll(
        self,
        collection: str,
        *,
        limit: int,
        offset: PointId | None,
        with_vectors: bool,
        with_payload: bool = True,
    ) -> Page:
        """Read a page of points in the order of their ids."""

    @abstractmethod
    def search(
        self,
        collection: str,
        vector: StoredVector,
        *,
        limit: int,
        using: str,
        with_vectors: bool,
    ) -> list[StoredPoint]:
        """Find the nearest points, the best first."""

    @abstractmethod
    def close(self) -> None:
        """Give back sockets and handles."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


# ---- Settling: the same write in every transport ----

GRACE = 5.0
"""Seconds that the client waits longer than the server is to wait, so that it hears of the end of
that time instead of giving up at the same moment."""


def nothing() -> str:
    """Return the id of a point that nobody has.

    A write that waits is answered after everything that stood before it in the queue of its shard.
    To stand behind all writes it has to reach the queues of all shards. Deleting by ids reaches the
    shards that these would be in, and a list without any is refused; deleting by a filter reaches
    all of them, or all of a shard key (lib/collection/src/shards/shard_holder/mod.rs, Qdrant 1.19).
    This id in a filter deletes nothing, needs no index that strict mode might ask for, costs one
    token of a rate limit, and wants no other permission than writing points does. A UUID of version
    4 is new: someone else's point has it with a probability of 2**-122.
    """
    return str(uuid.uuid4())


def whole_seconds(seconds: float) -> int:
    """Return seconds as a server counts them.

    Examples
    --------
    >>> whole_seconds(2.9), whole_seconds(0.1)
    (2, 1)
    """
    return max(1, math.floor(seconds))


def settled(status: str) -> bool:
    """Read the status of a write that waited.

    Parameters
    ----------
    status : str
        As REST or as gRPC spells it.

    Returns
    -------
    bool

    Raises
    ------
    ServerError
        Where the server did not queue the write.
    InvalidAnswer
        For a status that is none.

    Examples
    --------
    >>> settled("completed"), settled("WaitTimeout")
    (True, False)
    """
    match status.replace("_", "").lower():
        case "completed":
            return True
        case "waittimeout" | "acknowledged":
            return False
        case "clockrejected":
            # A server repeats such a write by itself and reports a failure instead.
            raise ServerError("the server rejected the clock of a write")
    raise InvalidAnswer(f"the server answered a write with the status {status!r}, which is unknown")
