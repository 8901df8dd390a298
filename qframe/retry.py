"""When to try again, and how long to wait before it."""

from __future__ import annotations

import math
import random as _random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from qframe.errors import InputError, QframeError, RateLimited


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

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise InputError(f"Retry(attempts={self.attempts!r}): at least 1, the first try itself")
        for name in ("timeout", "backoff", "max_backoff", "max_wait"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"Retry({name}={value!r}): seconds cannot be negative")

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

        Returns
        -------
        float or None
            Seconds to wait before the next attempt; None is to give up.
        """
        if not error.transient:
            return None
        if isinstance(error, RateLimited) and error.retry_after is None:
            return None  # the batch costs more than the server's bucket holds: it never passes
        if self.attempts is not None and attempt >= self.attempts:
            return None
        # Full jitter spreads out workers that failed together.
        spread = random() * min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 30))
        if error.retry_after is None:
            seconds = spread
        else:
            seconds = min(error.retry_after, self.max_wait) + min(spread, 1.0)
        if self.timeout is not None and elapsed + seconds > self.timeout:
            return None
        return seconds


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


class Gate:
    """Where all workers wait when the server asked one of them to.

    Parameters
    ----------
    clock : callable
        Seconds on a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open_at = 0.0
        self._closed = threading.Event()
        self._passed = 0

    def __reduce__(self) -> tuple[type[Gate], tuple[()]]:
        # A worker in another process has a gate of its own.
        return Gate, ()

    def hold(self, seconds: float) -> None:
        """Let nobody pass for this long."""
        with self._lock:
            self._open_at = max(self._open_at, self._clock() + seconds)

    def advance(self) -> None:
        """Note that the server took a batch."""
        with self._lock:
            self._passed += 1

    @property
    def passed(self) -> int:
        """How many batches the server took, of all workers."""
        return self._passed

    def abandon(self) -> None:
        """End every wait, now and from now on."""
        self._closed.set()

    @property
    def abandoned(self) -> bool:
        """Whether the upload is being stopped."""
        return self._closed.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait this long by oneself; False if the upload was stopped meanwhile."""
        return not self._closed.wait(seconds)

    def pass_through(self) -> float:
        """Wait until the gate is open; return the seconds that this took."""
        waited = 0.0
        began = self._clock()
        while not self._closed.is_set():
            with self._lock:
                left = self._open_at - self._clock()
            if left <= 0:
                break
            self._closed.wait(left)
            waited = self._clock() - began
        return waited
