from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.causes import KEPT, READ, Cause, Causes, cause
from qframe.errors import ServerError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("id 17 is poison", "id 9,223,372 is poison"),
        (f"the point's id is {uuid.UUID(int=7)}", f"the point's id is {uuid.uuid4()}"),
        (f"digest {uuid.UUID(int=7).hex}", f"digest {uuid.uuid4().hex}"),
        ("at 0x7f12ab", "at 0x7F0000beef"),
        ("no answer of 127.0.0.1:6333 in 0.5 s", "no answer of 10.0.0.17:6334 in 60 s"),
        ("found 1e-05", "found -2.5"),
        ("2026-11-24T22:00:01", "2027-01-03T02:14:59"),
    ],
)
def test_what_differs_in_numbers_has_one_cause(one: str, other: str) -> None:
    """Numbers, UUIDs, digests, addresses and times do not tell causes apart."""
    assert cause("ServerError", one) == cause("ServerError", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ServerError", "no space"), ("InvalidRequest", "no space")),
        (("ServerError", "no space"), ("ServerError", "no memory")),
        (("ServerError", "a defaced facade"), ("ServerError", "a decade")),
    ],
)
def test_what_differs_in_words_has_not(one: tuple[str, str], other: tuple[str, str]) -> None:
    """The kind of error and its words do, also words that could be hexadecimal."""
    assert cause(*one) != cause(*other)


@given(st.text(max_size=2 * READ))
def test_a_cause_is_short(text: str) -> None:
    """Whatever an error quotes, its cause has the length of what is read of it."""
    assert len(cause("E", text)) <= READ + len("E: ")


def test_causes_are_counted() -> None:
    """Of each cause there is the first example, how many there were and of how many points."""
    causes = Causes()
    causes.add(ServerError("no space left for 3 points"), 3)
    for number in range(3):
        causes.add(("InvalidRequest", f"id {number}"), 1)
    causes.add(ServerError("no space left for 4 points"), 4)
    assert causes.top(5) == [
        Cause("InvalidRequest: id #", "InvalidRequest: id 0", 3, 3),
        Cause(
            "ServerError: no space left for # points",
            "ServerError: no space left for 3 points",
            2,
            7,
        ),
    ]
    assert [found.count for found in causes.top(1)] == [3]
    assert (len(causes), causes.count, causes.untold) == (2, 5, 0)


def test_memory_is_bounded() -> None:
    """Errors that never say the same twice are counted, and no more than so many are kept."""
    causes = Causes()
    words = ["".join(chr(97 + (n // 26**k) % 26) for k in range(4)) for n in range(10 * KEPT)]
    for word in words:
        causes.add(("ServerError", f"{word}zz"))
    causes.add(("ServerError", f"{words[0]}zz"))
    assert (len(causes), causes.count) == (KEPT, 10 * KEPT + 1)
    assert causes.untold == 9 * KEPT
    assert causes.top(1)[0].count == 2
