"""Collections as qframe sees them: made, described, read and searched, whatever the transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qframe.schema import DISTANCES, CollectionInfo, CollectionSchema, VectorSchema

PointId = int | str

__all__ = [
    "DISTANCES",
    "CollectionInfo",
    "CollectionSchema",
    "Page",
    "PointId",
    "SparseValue",
    "Store",
    "StoredPoint",
    "StoredVector",
    "VectorSchema",
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
    def count(self, collection: str) -> int:
        """Count the points exactly."""

    @abstractmethod
    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, with_vectors: bool
    ) -> list[StoredPoint]:
        """Read these points, those that exist, in any order."""

    @abstractmethod
    def scroll(
        self, collection: str, *, limit: int, offset: PointId | None, with_vectors: bool
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
