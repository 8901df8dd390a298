from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.gate import Entry, Gate


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_open_gate_is_passed_at_once() -> None:
    """Nobody waits when the server asked for nothing, or the time is over."""
    clock = Clock()
    gate = Gate(clock=clock)
    assert gate.enter() == Entry(0, 100.0, admitted=True)
    gate.hold(5)
    clock.now += 5
    assert gate.enter().waited == 0


def _entering(gate: Gate, count: int) -> tuple[list[Entry], list[threading.Thread]]:
    """Let threads come to the gate; return what they are told, and the threads."""
    told: list[Entry] = []
    threads = [
        threading.Thread(target=lambda: told.append(gate.enter()), daemon=True)
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return told, threads


def test_a_held_gate_keeps_all_back() -> None:
    """Whoever comes while it is held waits until its time, by this clock, and is told how long."""
    clock = Clock()
    gate = Gate(clock=clock, random=lambda: 0.0)
    gate.hold(0.05)
    gate.hold(0.02)  # a shorter hold does not open it earlier
    told, threads = _entering(gate, 2)
    threads[0].join(0.2)
    assert told == []  # by its clock, no time has passed
    clock.now += 0.05
    for thread in threads:
        thread.join(10)
    assert [entry.waited for entry in told] == pytest.approx([0.05, 0.05])


def test_workers_come_back_spread_out() -> None:
    """After a wait that the server asked for, each goes on at a moment of its own."""
    clock = Clock()
    parts = iter([0.25, 0.75])
    gate = Gate(clock=clock, random=lambda: next(parts))
    gate.hold(0.2)
    told, threads = _entering(gate, 2)
    clock.now += 0.2
    threads[0].join(0.3)
    assert told == []
    clock.now += 0.05
    while not told:
        threads[0].join(0.01)
    assert len(told) == 1
    clock.now += 0.2
    for thread in threads:
        thread.join(10)
    assert sorted(entry.waited for entry in told) == pytest.approx([0.25, 0.45])


def test_places_are_given_back() -> None:
    """No more requests are under way than there are workers."""
    gate = Gate(2)
    told, threads = _entering(gate, 3)
    while len(told) < 2:
        threads[0].join(0.01)
    threads[2].join(0.1)
    assert len(told) == 2
    gate.leave()
    for thread in threads:
        thread.join(10)
    assert len(told) == 3


@pytest.mark.parametrize("hold", [0.0, 0.3])
def test_who_waited_longest_goes_first(hold: float) -> None:
    """Also after a wait, whatever moments they come back at: nobody loses to others for ever."""
    moments = [0.9, 0.1, 0.5, 0.3]
    gate = Gate(1, random=iter([*moments, *[0.0] * 99]).__next__)
    if hold:
        gate.hold(hold)
    else:
        gate.enter()
    passed: list[int] = []

    def pass_through(number: int) -> None:
        gate.enter()
        passed.append(number)
        gate.leave()

    threads = [threading.Thread(target=pass_through, args=(n,), daemon=True) for n in range(4)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(gate._waiting) <= number:
            thread.join(0.001)
    if not hold:
        gate.leave()
    for thread in threads:
        thread.join(10)
    assert passed == [0, 1, 2, 3]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 64))
def test_how_many_at_a_time_adapts(answers: list[bool], workers: int) -> None:
    """Throttling halves the number, successes add to it, and it stays between 1 and all."""
    clock = Clock()
    gate = Gate(workers, clock=clock)
    for taken in answers:
        clock.now += 1
        entry = gate.enter()
        before = gate.limit
        if taken:
            gate.advance()
            assert gate.limit == min(workers, before + 1 / before)
        else:
            gate.retreat(entry)
            assert gate.limit == max(1, before / 2)
        gate.leave()
        assert 1 <= gate.limit <= workers


def test_failing_together_counts_once() -> None:
    """Requests that were under way when the number was halved do not halve it again."""
    clock = Clock()
    gate = Gate(8, clock=clock)
    together = [gate.enter() for _ in range(8)]
    clock.now += 1
    for entry in together:
        gate.retreat(entry)
        gate.leave()
    assert gate.limit == 4
    clock.now += 1
    gate.retreat(gate.enter())
    assert gate.limit == 2


def test_without_workers_nothing_is_limited() -> None:
    """An uploader by itself has a gate that lets all pass."""
    gate = Gate()
    gate.retreat(gate.enter())
    assert math.isinf(gate.limit)


def test_abandoning_ends_every_wait() -> None:
    """When the upload is stopped, held gates and pauses end at once, for good."""
    gate = Gate()
    gate.hold(1000)
    told, waiting = _entering(gate, 1)
    pausing = threading.Thread(target=gate.pause, args=(1000,))
    pausing.start()
    gate.abandon()
    waiting[0].join(10)
    pausing.join(10)
    assert not told[0].admitted
    assert not pausing.is_alive()
    assert gate.abandoned
    assert not gate.pause(1000)
    assert not gate.enter().admitted
