"""Collections behind a connection that may have a bad moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from qframe.errors import CollectionExists, InvalidAnswer, QframeError, ServerUnreachable
from qframe.retry import Retry
from qframe.schema import CollectionInfo, CollectionSchema
from qframe.stores.base import Page, PointId, Store, StoredPoint, StoredVector
from qframe.write import ShardKey

T = TypeVar("T")


class WaitFor(Protocol):
    """Does what waits for a server, and returns what that returns."""

    def __call__(self, action: Callable[[], T], /) -> T:
        """Do it."""


def _at_once(action: Callable[[], T], /) -> T:
    return action()


class PatientStore(Store):
    """A store whose requests are repeated as long as `Retry` allows.

    A first request that finds no Qdrant at the address is not: a mistake in a URL is told at once.

    Parameters
    ----------
    store : Store
        Closed with this one.
    retry : Retry, int or None
        None is ``Retry()``; whoever names another one asks to wait for the server too.
    sleep : callable
        Waits as many seconds as it is given.
    wait_for : callable
        Makes each request, so that somebody may stop waiting for it.
    """

    def __init__(
        self,
        store: Store,
        retry: Retry | int | None = None,
        sleep: Callable[[float], object] = time.sleep,
        wait_for: WaitFor = _at_once,
    ) -> None:
        self._store = store
        self._retry = Retry.of(retry)
        self._sleep = sleep
        self._wait_for = wait_for
        self._is_known = retry is not None  # whether a Qdrant is there
        deadline = self._retry.deadline
        self._until = math.inf if deadline is None else time.monotonic() + deadline

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    def version(self) -> tuple[int, int, int] | None:
        """Return the server's version; None where nothing depends on it."""
        return self._persist(self._store.version)

    def describe(self, collection: str) -> CollectionInfo | None:
        """Describe a collection; None when there is none of this name."""
        return self._persist(lambda: self._store.describe(collection))

    def check(self, collection: str, schema: CollectionSchema) -> None:
        """Raise what `create` would raise before it asks anybody."""
        self._store.check(collection, schema)

    def create(self, collection: str, schema: CollectionSchema) -> None:
        """Create a collection.

        Raises
        ------
        CollectionExists
            Where one of this name is there already. One that is found after a request without an
            answer was made by that request.
        """
        is_doubtful = False

        def create() -> None:
            nonlocal is_doubtful
            try:
                self._store.create(collection, schema)
            except CollectionExists:
                if not is_doubtful:
                    raise
            except QframeError as error:
                is_doubtful = is_doubtful or not error.answered
                raise

        self._persist(create)

    def delete(self, collection: str) -> None:
        """Delete a collection with all its points; one that is missing is no error."""
        self._persist(lambda: self._store.delete(collection))

    def count(self, collection: str, ids: Sequence[PointId] | None = None) -> int:
        """Count the points exactly; with `ids`, those of them that are there."""
        return self._persist(lambda: self._store.count(collection, ids))

    def settle(self, collection: str, seconds: float, *, shard_key: ShardKey | None = None) -> bool:
        """Wait until everything that was acknowledged before is applied; never repeated.

        Whoever settles has a patience of his own, and asks again by himself.
        """
        return self._store.settle(collection, seconds, shard_key=shard_key)

    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, with_vectors: bool
    ) -> list[StoredPoint]:
        """Read these points, those that exist, in any order."""
        return self._persist(
            lambda: self._store.retrieve(collection, ids, with_vectors=with_vectors)
        )

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
        return self._persist(
            lambda: self._store.scroll(
                collection,
                limit=limit,
                offset=offset,
                with_vectors=with_vectors,
                with_payload=with_payload,
            )
        )

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
        return self._persist(
            lambda: self._store.search(
                collection, vector, limit=limit, using=using, with_vectors=with_vectors
            )
        )

    def close(self) -> None:
        """Give back sockets and handles."""
        self._store.close()

    def _persist(self, action: Callable[[], T]) -> T:
        began = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                result = self._wait_for(action)
            except QframeError as error:
                _shorten(error)
                if not self._is_known and isinstance(error, (ServerUnreachable, InvalidAnswer)):
                    raise
                now = time.monotonic()
                seconds = self._retry.wait(error, attempt, now - began)
                if seconds is None or now + seconds > self._until:
                    raise
                self._sleep(seconds)
            else:
                self._is_known = True
                return result


def _shorten(error: QframeError) -> None:
    """Leave out of an error's history what went on inside of a library.

    Of a server that is not there, requests and urllib3 tell in 150 lines.
    """
    error.__traceback__ = None
    cause = error.__cause__
    if cause is not None:
        cause.__traceback__ = cause.__cause__ = cause.__context__ = None
