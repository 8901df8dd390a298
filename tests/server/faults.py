"""Misfortunes on demand: each queued fault befalls one upsert.

==========================  ======================================================================
``rate_limit``              429 / RESOURCE_EXHAUSTED without Retry-After
``rate_limit:VALUE``        the same with ``Retry-After: VALUE`` verbatim (``2``, ``0``, ``1.5``)
``rate_limit:date+S``       the same with an HTTP date S seconds from now
``delay[:S]``               the request is served after S (0.2) seconds
``apply_late[:S]``          the request is queued as usual and applied after S (0.2) seconds
``wait_timeout[:S]``        200 / OK with status ``wait_timeout``, applied S (0.2) seconds later
``lose``                    the request is queued as usual and found wrong when it is applied
``red``                     the request is queued as usual and fails when it is applied; the
                            collection is red from then on, until a restart
``red:TEXT``                the request is served; then the optimiser fails with TEXT, the same way
``bad_request``             400 / INVALID_ARGUMENT
``unauthenticated``         401 / UNAUTHENTICATED, plain text
``forbidden``               403 / PERMISSION_DENIED
``not_found``               404 / NOT_FOUND, as if the collection had been deleted
``timeout``                 408 / DEADLINE_EXCEEDED
``internal``                500 / INTERNAL
``precondition``            500 / FAILED_PRECONDITION
``bad_gateway``             502 with an HTML page, as a proxy sends it / UNAVAILABLE
``unavailable[:VALUE]``     503 / UNAVAILABLE, with Retry-After as for ``rate_limit``
``insufficient_storage``    507 / RESOURCE_EXHAUSTED with ``qdrant-insufficient-storage: 1``
``drop_before``             nothing applied, connection closed without an answer / UNAVAILABLE
``drop_after``              applied, then the same
``garbage``                 applied, then 200 / OK with a body that does not parse
==========================  ======================================================================

``NAME*3`` stands for three of a kind.

Besides these there is what lasts, until it is changed or all is reset, and befalls an upsert
before any queued fault does:

=======================  =========================================================================
``poison(ids)``          an upsert that holds one of these points is refused as a whole, with
                         400 / INVALID_ARGUMENT
``shrink(points)``       one of more points is refused with 429 / RESOURCE_EXHAUSTED without
                         Retry-After, as by a rate limit whose bucket is smaller than the request
``limit_body(size)``     one of more bytes is refused unread, with 400 / OUT_OF_RANGE
=======================  =========================================================================
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any
from uuid import UUID

from qdrant_client.http import models

from .journal import Entry
from .limits import LARGER_THAN_BUCKET
from .refusal import Dropped, Garbled, Kind, Refusal
from .upsert import Upsert, Writing

Apply = Callable[[Writing], models.UpdateResult]

_REFUSALS = {
    "bad_request": (Kind.WRONG_INPUT, "a fault on demand"),
    "unauthenticated": (Kind.UNAUTHENTICATED, "Invalid API key or JWT"),
    "forbidden": (Kind.FORBIDDEN, "Global manage access is required"),
    "not_found": (Kind.NOT_FOUND, "Collection `on demand` doesn't exist!"),
    "timeout": (Kind.TIMEOUT, "a fault on demand"),
    "internal": (Kind.SERVICE, "a fault on demand"),
    "precondition": (Kind.PRECONDITION, "a fault on demand"),
    "bad_gateway": (Kind.BAD_GATEWAY, "<html><h1>502 Bad Gateway</h1></html>"),
    "unavailable": (Kind.UNAVAILABLE, "a fault on demand"),
    "insufficient_storage": (Kind.INSUFFICIENT_STORAGE, "a fault on demand"),
}
_TIMED = {"delay", "apply_late", "wait_timeout"}
_TEXTED = {"rate_limit", "unavailable", "red"}
_KNOWN = {"lose", "drop_before", "drop_after", "garbage", *_TEXTED, *_TIMED, *_REFUSALS}
_SPEC = re.compile(r"(?P<name>[a-z_]+)(?::(?P<argument>.*?))?(?:\*(?P<times>\d+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    spec: str
    name: str
    argument: str | None = None

    def befall(self, apply: Apply, writing: Writing) -> models.UpdateResult:
        """Answer in place of ``apply``, which stores the points."""
        if self.name in _REFUSALS:
            raise Refusal(*_REFUSALS[self.name], self._retry_after())
        match self.name:
            case "rate_limit":
                raise self._rate_limit()
            case "delay":
                time.sleep(self.seconds())
                return apply(writing)
            case "apply_late":
                return apply(replace(writing, hold=self.seconds()))
            case "wait_timeout":
                return apply(replace(writing, wait=True, timeout=0, hold=self.seconds()))
            case "lose":
                return apply(replace(writing, lose=True))
            case "red":
                return apply(replace(writing, red=self.argument or ""))
            case "drop_before":
                raise Dropped
            case "drop_after":
                apply(replace(writing, wait=True))
                raise Dropped
            case "garbage":
                apply(replace(writing, wait=True))
                raise Garbled
        raise AssertionError(self.name)

    def seconds(self) -> float:
        return 0.2 if self.argument is None else float(self.argument)

    def _rate_limit(self) -> Refusal:
        text = "Write rate limit exceeded: Operation requires 1 tokens but only 0 were available."
        retry_after = self._retry_after()
        if retry_after is None:
            return Refusal(Kind.RATE_LIMIT, text)
        return Refusal(Kind.RATE_LIMIT, f"{text} Retry after {retry_after}s", retry_after)

    def _retry_after(self) -> str | None:
        if self.argument is None or not self.argument.startswith("date+"):
            return self.argument
        moment = time.time() + float(self.argument.removeprefix("date+"))
        return formatdate(moment, usegmt=True)


class Lasting:
    """What is refused for as long as it is not changed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._poison: frozenset[int | str] = frozenset()
        self._points: int | None = None
        self.body_size: int | None = None

    def set(self, what: str, value: Any) -> None:
        match what:
            case "poison":
                self._poison = frozenset(_spelled(point) for point in value)
            case "shrink":
                self._points = None if value is None else int(value)
            case "limit_body":
                self.body_size = None if value is None else int(value)
            case _:
                raise ValueError(f"nothing of the name {what!r} lasts")

    def check_body(self, size: int, entry: Entry) -> None:
        """Refuse a message of gRPC by its size, before anybody reads it."""
        if self.body_size is not None and size > self.body_size:
            entry["fault"] = "limit_body"
            found = f"found {size} bytes, the limit is: {self.body_size} bytes"
            raise Refusal(Kind.TOO_LARGE, f"Error, decoded message length too large: {found}")

    def check(self, upsert: Upsert, entry: Entry) -> None:
        """Refuse the points, and note in the journal what did."""
        if self._points is not None and len(upsert.points) > self._points:
            entry["fault"] = "shrink"
            raise Refusal(Kind.RATE_LIMIT, LARGER_THAN_BUCKET)
        found = [point.id for point in upsert.points if _spelled(point.id) in self._poison]
        if found:
            entry["fault"] = "poison"
            text = f"the point's id is {found[0]}, and such a point is poison: a fault that lasts"
            raise Refusal(Kind.WRONG_INPUT, text)


def _spelled(point: object) -> int | str:
    """Return an id in the one form in which ids can be compared."""
    return point if isinstance(point, int) else str(UUID(str(point)))


class Faults:
    """The queues: one for each transport, and one for whichever comes first."""

    def __init__(self) -> None:
        self._queues: dict[str | None, deque[Fault]] = {
            "rest": deque(),
            "grpc": deque(),
            None: deque(),
        }
        self._lock = threading.Lock()

    def add(self, specs: Iterable[str], transport: str | None) -> None:
        if transport not in self._queues:
            raise ValueError(f"transport is {transport!r}, known are 'rest', 'grpc' and None")
        faults = [fault for spec in specs for fault in _parse(spec)]
        with self._lock:
            self._queues[transport].extend(faults)

    def take(self, transport: str) -> Fault | None:
        with self._lock:
            for queue in (self._queues[transport], self._queues[None]):
                if queue:
                    return queue.popleft()
        return None

    def pending(self) -> list[str]:
        with self._lock:
            return [fault.spec for queue in self._queues.values() for fault in queue]

    def clear(self) -> None:
        with self._lock:
            for queue in self._queues.values():
                queue.clear()


def _parse(spec: str) -> list[Fault]:
    found = _SPEC.fullmatch(spec)
    if found is None or found["name"] not in _KNOWN:
        raise ValueError(f"{spec!r} is no fault; known are {sorted(_KNOWN)}")
    fault = Fault(spec.partition("*")[0], found["name"], found["argument"])
    if fault.name in _TIMED:
        fault.seconds()
    elif fault.argument is not None and fault.name not in _TEXTED:
        raise ValueError(f"{fault.name!r} takes no argument")
    return [fault] * int(found["times"] or 1)
