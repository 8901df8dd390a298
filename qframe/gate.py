"""Where all workers of an upload wait, and how many of them go on at a time."""

from __future__ import annotations

import math
import random as _random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SPREAD = 1.0
"""Seconds over which workers come back that waited together: a tenth of them at a time would fill
a server's bucket, all at once overrun it. Never longer than the wait itself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How one request came through the gate.

    Attributes
    ----------
    waited : float
        Seconds.
    at : float
        When, by the gate's clock.
    admitted : bool
        False when the upload was stopped meanwhile: nothing is to be sent.
    """

    waited: float
    at: float
    admitted: bool


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody at the gate, and when he may go on after a wait for the server."""

    due: float = -math.inf


class Gate:
    """What each request of all workers passes: where they wait, and how many go on at a time.

    When the server asks one worker to wait, all wait, and come back spread out. How many may have a
    request under way adapts: throttling and time-outs halve it, and each batch that the server
    takes adds a part of one, as TCP does (additive increase, multiplicative decrease: Chiu and
    Jain, 1989, https://doi.org/10.1016/0169-7552(89)90019-6).

    Parameters
    ----------
    workers : int, optional
        Requests under way at the most. None is unlimited.
    clock : callable
        Seconds on a clock that never goes back.
    random : callable
        Gives a float in [0, 1), for spreading out.
    """

    def __init__(
        self,
        workers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._most = math.inf if workers is None else float(workers)
        self._limit = self._most
        self._clock = clock
        self._random = random
        self._changed = threading.Condition()
        self._open_at = -math.inf
        self._lowered_at = -math.inf
        self._inside = 0
        self._waiting: list[_Waiter] = []  # in the order in which they came
        self._passed = 0
        self._abandoned = False

    def enter(self) -> Entry:
        """Wait until the gate is open and has a place; `leave` gives it back.

        Who has waited longest goes first: a batch that the server throttles again and again would
        otherwise lose to others until it has no tries left.

        After the upload was stopped, nobody waits and nobody is admitted.
        """
        me = _Waiter()
        with self._changed:
            began = now = self._clock()
            self._waiting.append(me)
            try:
                while not self._abandoned:
                    left = max(self._open_at, me.due) - now
                    if left > 0 and self._open_at > me.due:
                        me.due = self._open_at + self._random() * min(SPREAD, left)
                    elif left <= 0 and self._inside + 1 <= self._limit:
                        first = self._waiting[0]
                        if first is me:
                            self._inside += 1
                            return Entry(now - began, now, admitted=True)
                        if first.due > now:  # the moment is that of who has waited longest
                            me.due, first.due = first.due, me.due
                            self._changed.notify_all()
                    left = max(self._open_at, me.due) - now
                    self._changed.wait(left if left > 0 else None)
                    now = self._clock()
                return Entry(now - began, now, admitted=False)
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()  # another one is the first now

    def leave(self) -> None:
        """Give the place back."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def hold(self, seconds: float) -> None:
        """Let nobody pass for this long."""
        with self._changed:
            self._open_at = max(self._open_at, self._clock() + seconds)

    def advance(self) -> None:
        """Note that the server took a batch: a little more may be sent at a time."""
        with self._changed:
            self._passed += 1
            if self._limit < self._most:
                self._limit = min(self._most, self._limit + 1 / self._limit)
                self._changed.notify_all()

    def retreat(self, entry: Entry) -> None:
        """Note that a request was throttled or timed out: half as much may be sent at a time.

        Requests that were under way together fail together, and count once.
        """
        with self._changed:
            if entry.at > self._lowered_at and not math.isinf(self._limit):
                self._limit = max(1.0, self._limit / 2)
                self._lowered_at = self._clock()

    @property
    def opens_in(self) -> float:
        """Seconds that all still have to wait because the server asked for it."""
        return 0.0 if self._abandoned else max(0.0, self._open_at - self._clock())

    @property
    def limit(self) -> float:
        """How many requests may be under way; infinite where nothing limits them."""
        return self._limit

    @property
    def passed(self) -> int:
        """How many batches the server took, of all workers."""
        return self._passed

    def abandon(self) -> None:
        """End every wait, now and from now on."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    @property
    def abandoned(self) -> bool:
        """Whether the upload is being stopped."""
        return self._abandoned

    def pause(self, seconds: float) -> bool:
        """Wait this long by oneself; False if the upload was stopped meanwhile."""
        until = self._clock() + seconds
        with self._changed:
            while not self._abandoned and (left := until - self._clock()) > 0:
                self._changed.wait(left)
            return not self._abandoned
