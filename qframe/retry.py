"""When to try again, and how long to wait before it."""

from __future__ import annotations

import math
import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
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
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        # The oldest of the three forms of an HTTP date names no zone and means GMT all the same.
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
