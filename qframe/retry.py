"""When to try again, how long to wait before it, and how many workers may try at a time."""

from __future__ import annotations

import math
import random as _random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from numbers import Real

from qframe.errors import InputError, QframeError, RateLimited

PATIENCE = 3600.0
"""Seconds to wait for a server's queue where `Retry.timeout` sets no limit."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, how long and after which errors a request is repeated.

    A pure value: it holds no state and never sleeps.

    Parameters
    ----------
    attempts : int or None
        Requests for one batch, the first included. None is unlimited.
    timeout : float or None
        Seconds from the first request of a batch after which none is repeated. None is unlimited.
    backoff : float
        Seconds: the upper end of the first wait; it doubles with every attempt.
    max_backoff : float
        Seconds: where the doubling ends.
    max_wait : float
        Seconds: the longest that a server's own ``Retry-After`` is honoured.
    deadline : float or None
        Seconds for the whole upload, its preparation included; what has not arrived by then is
        reported as it is. None is unlimited.
    splits : int
        How many requests a batch may cost that is refused for its content or its size, and so is
        halved until the rows at fault stand alone. 0 reports the batch as a whole, and so does
        ``attempts=1``.

    Examples
    --------
    >>> from qframe.errors import InvalidRequest, ServiceUnavailable
    >>> Retry(attempts=3).wait(ServiceUnavailable("busy"), attempt=1, elapsed=0, random=lambda: 1)
    0.5
    >>> Retry(attempts=3).wait(ServiceUnavailable("busy"), attempt=3, elapsed=0) is None
    True
    >>> Retry().wait(InvalidRequest("wrong vector size"), attempt=1, elapsed=0) is None
    True
    """

    attempts: int | None = 8
    timeout: float | None = 300.0
    backoff: float = 0.5
    max_backoff: float = 20.0
    max_wait: float = 120.0
    deadline: float | None = None
    # One bad row among 1,000 costs 20 requests, three up to 54, thirty of them what they may.
    splits: int = 64

    def __post_init__(self) -> None:
        attempts = self.attempts
        if attempts is not None and (_is_no_number(attempts) or attempts < 1):
            raise InputError(f"Retry(attempts={attempts!r}): at least 1, the first try itself")
        if isinstance(self.splits, bool) or not isinstance(self.splits, int) or self.splits < 0:
            raise InputError(f"Retry(splits={self.splits!r}): a whole number, 0 or more")
        for name in ("timeout", "backoff", "max_backoff", "max_wait", "deadline"):
            value = getattr(self, name)
            if value is None and name in ("timeout", "deadline"):
                continue
            if _is_no_number(value):
                raise InputError(f"Retry({name}={value!r}): a number of seconds")
            if not value >= 0:
                raise InputError(f"Retry({name}={value!r}): seconds cannot be negative")

    @property
    def patience(self) -> float:
        """Seconds to wait for what the server does by itself."""
        return PATIENCE if self.timeout is None else self.timeout

    @property
    def halvings(self) -> int:
        """Requests that a refused batch may cost to find the rows at fault."""
        return 0 if self.attempts == 1 else self.splits

    @classmethod
    def of(cls, retry: Retry | int | None) -> Retry:
        """Read what callers may pass: a policy, a number of retries, or None for the default."""
        if retry is None:
            return cls()
        if isinstance(retry, Retry):
            return retry
        if isinstance(retry, bool) or not isinstance(retry, int) or retry < 0:
            raise InputError(
                f"retry={retry!r}: pass a number of retries (0 is none), "
                "a qframe.Retry(...), or None for the default"
            )
        return cls(attempts=retry + 1)

    def wait(
        self,
        error: QframeError,
        attempt: int,
        elapsed: float,
        random: Callable[[], float] = _random.random,
        *,
        is_single: bool = False,
    ) -> float | None:
        """Decide what follows a failed attempt.

        Parameters
        ----------
        error : QframeError
            What the attempt ended with.
        attempt : int
            Its number, from 1.
        elapsed : float
            Seconds since the first attempt began.
        random : callable
            Gives a float in [0, 1), for the jitter.
        is_single : bool
            Whether the request holds one point only. A larger one that is throttled without a time
            to come back costs more than the server's bucket holds, and never passes as it is.

        Returns
        -------
        float or None
            Seconds to wait before the next attempt; None is to give up.
        """
        if not error.transient:
            return None
        if isinstance(error, RateLimited) and error.retry_after is None and not is_single:
            return None
        if self.attempts is not None and attempt >= self.attempts:
            return None
        spread = self.spread(attempt, random)
        if error.retry_after is None:
            seconds = spread
        else:
            seconds = min(error.retry_after, self.max_wait) + min(spread, 1.0)
        if self.timeout is not None and elapsed + seconds > self.timeout:
            return None
        return seconds

    def spread(self, attempt: int, random: Callable[[], float] = _random.random) -> float:
        """Return the seconds to wait after an attempt of this number, where nobody names them.

        Full jitter spreads out workers that failed together.
        """
        return random() * min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 30))


def _is_no_number(value: object) -> bool:
    return isinstance(value, bool) or not isinstance(value, Real)  # NumPy's are Real, too


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Read the header ``Retry-After``, or the gRPC metadata of this name.

    Parameters
    ----------
    value : str or None
        Seconds, with decimals or without, or an HTTP date.
    now : float
        Seconds since 1970, what a date is compared with.

    Returns
    -------
    float or None
        Seconds, not negative; 0 for what cannot be read, for the server did ask to come back;
        None where the server did not ask.

    Examples
    --------
    >>> parse_retry_after("1.5", now=0)
    1.5
    >>> parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=20)
    40.0
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        # The oldest of the three forms of an HTTP date names no zone and means GMT all the same.
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


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
