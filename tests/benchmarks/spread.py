"""Medians with what lies around them, and how they are written."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some measurements, and the least and the greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def times(self, factor: float) -> Spread:
        """Return the same in another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


def spread(values: Spread, digits: int, unit: str = "") -> str:
    """Write a median, and where several were measured the least and the greatest.

    Examples
    --------
    >>> spread(Spread(6.04, 5.9, 6.31), 1, unit="x")
    '6.0x (5.9-6.3)'
    """
    median, low, high = (
        f"{value:,.{digits}f}" for value in (values.median, values.low, values.high)
    )
    return f"{median}{unit}" + ("" if low == high else f" ({low}-{high})")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
