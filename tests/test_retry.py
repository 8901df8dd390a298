from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe import errors
from qframe.errors import InputError, RateLimited, ServiceUnavailable
from qframe.retry import Retry

BUSY = ServiceUnavailable("busy")


@given(
    st.integers(1, 200),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 10),
    st.floats(0, 100),
)
def test_waits_double_up_to_a_limit(
    attempt: int, random: float, backoff: float, max_backoff: float
) -> None:
    """A wait is a random part of the doubled backoff, and never more than the limit."""
    retry = Retry(attempts=None, timeout=None, backoff=backoff, max_backoff=max_backoff)
    seconds = retry.wait(BUSY, attempt, 0.0, lambda: random)
    assert seconds is not None
    assert 0 <= seconds <= max_backoff
    if attempt < 30:
        assert seconds == random * min(max_backoff, backoff * 2 ** (attempt - 1))


def test_attempts_are_counted() -> None:
    """The given number of requests is made in all, the first included; None has no end."""
    for attempts in (1, 2, 5):
        retry = Retry(attempts=attempts)
        waits = [retry.wait(BUSY, attempt, 0.0) for attempt in range(1, 8)]
        assert [wait is not None for wait in waits] == [n < attempts for n in range(1, 8)]
    assert Retry(attempts=None).wait(BUSY, 10**6, 0.0) is not None


def test_time_is_limited() -> None:
    """No wait ends after the timeout; None has no limit and 0 allows none."""
    retry = Retry(timeout=10, backoff=4)
    assert retry.wait(BUSY, 1, 6.0, lambda: 0.99) is not None
    assert retry.wait(BUSY, 1, 7.0, lambda: 0.99) is None
    assert Retry(timeout=0).wait(BUSY, 1, 0.1, lambda: 0) is None
    assert Retry(timeout=None).wait(BUSY, 1, 1e9) is not None


@pytest.mark.parametrize("kind", [RateLimited, ServiceUnavailable])
def test_the_server_is_listened_to(kind: type[errors.TransportError]) -> None:
    """Retry-After is honoured, up to a limit, and a little is added to spread out workers."""
    retry = Retry(max_wait=30, timeout=None)
    assert retry.wait(kind("slow", 5.0), 1, 0.0, lambda: 0) == 5
    assert retry.wait(kind("slow", 5.0), 7, 0.0, lambda: 0.999) == 6
    assert retry.wait(kind("slow", 500.0), 1, 0.0, lambda: 0) == 30
    assert retry.wait(kind("slow", 0.0), 1, 0.0, lambda: 0) == 0
    assert Retry(timeout=4).wait(kind("slow", 5.0), 1, 0.0) is None


def test_a_batch_above_the_rate_is_not_sent_again() -> None:
    """A rate limit without a time to come back can never be met by the same batch."""
    assert Retry().wait(RateLimited("too many points"), 1, 0.0) is None


def test_a_single_point_above_the_rate_waits() -> None:
    """One point is no batch that is too large, so its turn comes after a pause."""
    retry = Retry(backoff=2, attempts=3)
    throttled = RateLimited("busy")
    assert retry.wait(throttled, 1, 0.0, lambda: 0.5, is_single=True) == 1.0
    assert retry.wait(throttled, 3, 0.0, is_single=True) is None


def test_halving_is_trying_again() -> None:
    """A policy of one attempt sends nothing twice, in halves neither."""
    assert Retry().halvings == 64
    assert Retry(splits=10).halvings == 10
    assert Retry.of(0).halvings == 0
    assert Retry(attempts=None).halvings == 64


def _leaves() -> list[type[errors.QframeError]]:
    found = vars(errors).values()
    return [e for e in found if isinstance(e, type) and issubclass(e, errors.TransportError)]


@pytest.mark.parametrize("kind", _leaves(), ids=lambda kind: kind.__name__)
def test_only_what_may_pass_is_tried_again(kind: type[errors.TransportError]) -> None:
    """Errors that are not transient end a batch at once."""
    wait = Retry().wait(kind("x", 1.0), 1, 0.0)
    assert (wait is not None) == kind.transient


def test_a_policy_is_a_value() -> None:
    """It cannot be changed, compares by its parts, and survives pickling."""
    retry = Retry(attempts=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        retry.attempts = 4  # type: ignore[misc]
    assert retry == Retry(attempts=3) == pickle.loads(pickle.dumps(retry))
    assert hash(retry) == hash(Retry(attempts=3))


@pytest.mark.parametrize("wrong", [True, False, -1, 1.5, "3", {}])
def test_what_is_no_policy(wrong: Any) -> None:
    """Whatever stands for no number of retries is refused by its value."""
    with pytest.raises(InputError) as caught:
        Retry.of(wrong)
    assert f"retry={wrong!r}" in str(caught.value)
    assert "qframe.Retry(...)" in str(caught.value)


def test_numbers_are_retries() -> None:
    """A number counts the retries after the first request, and None is the default policy."""
    assert Retry.of(0) == Retry(attempts=1)
    assert Retry.of(4) == Retry(attempts=5)
    assert Retry.of(None) == Retry()
    assert Retry.of(Retry(backoff=1)) == Retry(backoff=1)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"attempts": 0}, "attempts=0): at least 1"),
        ({"timeout": -1}, "timeout=-1): seconds cannot be negative"),
        ({"backoff": -0.5}, "backoff=-0.5)"),
        ({"max_backoff": math.nan}, "max_backoff=nan)"),
        ({"max_wait": -3}, "max_wait=-3)"),
        ({"deadline": -1}, "deadline=-1): seconds cannot be negative"),
        ({"splits": -1}, "splits=-1): a whole number, 0 or more"),
        ({"splits": True}, "splits=True)"),
        ({"attempts": "3"}, "attempts='3'): at least 1"),
        ({"timeout": "5"}, "timeout='5'): a number of seconds"),
        ({"backoff": None}, "backoff=None): a number of seconds"),
        ({"max_wait": None}, "max_wait=None): a number of seconds"),
    ],
)
def test_a_policy_that_cannot_be(wrong: dict[str, Any], found: str) -> None:
    """Numbers that stand for no policy are refused by name and value."""
    with pytest.raises(InputError) as caught:
        Retry(**wrong)
    assert found in str(caught.value)
