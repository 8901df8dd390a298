"""Strict mode: how much a collection takes at once, in all, and per minute."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from qdrant_client.http import models

from .refusal import Kind, Refusal

LARGER_THAN_BUCKET = (
    "Write rate limit exceeded: request larger than than rate limiter capacity, "
    "please try to split your request"
)


class WriteLimiter:
    """A bucket of ``per_minute`` tokens; it starts full, and a refusal takes nothing out."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._tokens = self._capacity
        self._clock = clock
        self._seen = clock()
        self._lock = threading.Lock()

    def take(self, points: int) -> None:
        cost = max(1, points)
        if cost > self._capacity:
            raise Refusal(Kind.RATE_LIMIT, LARGER_THAN_BUCKET)
        with self._lock:
            self._refill()
            if self._tokens < cost:
                self._refuse(cost)
            self._tokens -= cost

    def _refill(self) -> None:
        now = self._clock()
        gained = self._capacity / 60 * (now - self._seen)
        self._tokens = min(self._capacity, self._tokens + gained)
        self._seen = now

    def _refuse(self, cost: int) -> None:
        seconds = math.ceil((cost - self._tokens) / (self._capacity / 60))
        raise Refusal(
            Kind.RATE_LIMIT,
            f"Write rate limit exceeded: Operation requires {cost} tokens "
            f"but only {int(self._tokens)} were available. Retry after {seconds}s",
            retry_after=str(seconds),
        )


class StrictMode:
    """The limits of one collection; without ``enabled`` it has none."""

    def __init__(self, config: models.StrictModeConfig | None) -> None:
        self._config = config if config and config.enabled else models.StrictModeConfig()
        per_minute = self._config.write_rate_limit
        self._limiter = None if per_minute is None else WriteLimiter(per_minute)

    def check_batch(self, points: int, timeout: float | None) -> None:
        _check_limit("upsert limit", points, self._config.upsert_max_batchsize)
        self.check_timeout(timeout)

    def check_timeout(self, timeout: float | None) -> None:
        if timeout is not None:
            _check_limit("timeout", int(timeout), self._config.max_timeout)

    def check_points_count(self, count: Callable[[], int]) -> None:
        limit = self._config.max_points_count
        # The real server counts every 32 checks and so overshoots; this one counts each time.
        if limit is not None and count() >= limit:
            raise Refusal(Kind.BAD_REQUEST, f"Max points count limit of {limit} reached!")

    def take_tokens(self, points: int) -> None:
        if self._limiter is not None:
            self._limiter.take(points)


def _check_limit(name: str, value: int, limit: int | None) -> None:
    if limit is not None and value > limit:
        raise Refusal(
            Kind.BAD_REQUEST,
            f'Limit exceeded {value} > {limit} for "{name}". '
            f'Help: Reduce the "{name}" parameter to or below {limit}.',
        )
