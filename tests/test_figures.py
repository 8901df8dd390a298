from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.figures import duration, share, size, sparkline


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-1.0, "0 s"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (86400.0, "1 d 0 h"),
    ],
)
def test_a_duration_passes_from_unit_to_unit(seconds: float, written: str) -> None:
    """Nothing is rounded up to sixty of a unit."""
    assert duration(seconds) == written


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_hundred_per_cent_is_everything(part: int, whole: int) -> None:
    """A share is 100 % when nothing is missing, and only then."""
    assert (share(part, whole) == "100 %") is (part >= whole)


@given(st.floats(0, 9.9e14))
def test_a_size_is_short(count: float) -> None:
    """At most four digits of bytes are read before the unit."""
    assert len(size(count).replace(".", "").split()[0]) <= 4


def test_a_line_without_height() -> None:
    """Where nothing moved, the line lies at the bottom; without values there is none."""
    assert sparkline([0, 0, 0]) == "▁▁▁"
    assert sparkline([]) == ""
