"""A few dozen random schedules; ``python -m tests.faults`` plays as many as it is told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.schedules import Figures, Schedule, play
from tests.server import LocalServer


# Ctrl-C in the middle of connecting leaves the socket to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("seed", range(40))
def test_schedule(seed: int, clean: LocalServer, tmp_path: Path) -> None:
    """Whatever goes wrong, reports are true, and nothing is lost in the end."""
    play(Schedule.draw(seed), clean, tmp_path, Figures())


def test_schedules_are_reproducible() -> None:
    """A seed always stands for the same."""
    assert repr(Schedule.draw(7)) == repr(Schedule.draw(7))
    assert Schedule.draw(7).data.points == Schedule.draw(7).data.points
