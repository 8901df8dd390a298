"""All measurements of one run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from tests.benchmarks.clients import Case
from tests.benchmarks.comparison import Comparison, Runs, compare
from tests.benchmarks.further import FURTHER, Further
from tests.benchmarks.line import measure_line
from tests.benchmarks.machine import Machine, this_machine, versions
from tests.benchmarks.memory import Peak, measure_peaks
from tests.benchmarks.spread import Spread

SECONDS = 2.5
"""How long the peer is to take for one upload by one worker, about."""

POINT_US = {"grpc": (12, 0.017), "rest": (15, 0.11)}
"""What a point, and a number of its vector, cost the peer about; for choosing numbers of rows."""

COLUMN_US = 2
"""What a column of payload costs it."""

SEVERAL = 2
"""How many times more rows for several workers, as the peer takes one to two seconds to start its
processes: a third of its time then. The report has the ratio without it too."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a run measures.

    Attributes
    ----------
    sections : tuple of str
        Some of `SECTIONS`.
    transports, sizes, columns, workers, batch_sizes : tuples
        Each combination is a case of the section "clients".
    pairs : int
        How often each case is measured, by both clients in turn.
    scale : float
        Of the numbers of rows of these cases.
    memory_rows : int
    line_rows : tuple of int
    quick : bool
    """

    sections: tuple[str, ...]
    transports: tuple[str, ...] = ("grpc", "rest")
    sizes: tuple[int, ...] = (384, 1536)
    columns: tuple[int, ...] = (4, 12)
    workers: tuple[int, ...] = (1, 2)
    batch_sizes: tuple[int | None, ...] = (1000, None)
    pairs: int = 5
    scale: float = 1.0
    memory_rows: int = 1_000_000
    line_rows: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    quick: bool = False

    def cases(self) -> list[Case]:
        """Return all combinations."""
        combined = itertools.product(
            self.transports, self.sizes, self.columns, self.workers, self.batch_sizes
        )
        return [Case(*each, rows=self._rows(*each[:4])) for each in combined]

    def _rows(self, transport: str, size: int, columns: int, workers: int) -> int:
        point, number = POINT_US[transport]
        seconds = SECONDS * self.scale * (1 if workers == 1 else SEVERAL)
        return max(1, round(seconds * 1000 / (point + number * size + COLUMN_US * columns))) * 1000


SECTIONS = ("clients", "memory", "line", *FURTHER)

FULL = Profile(SECTIONS)
QUICK = Profile(
    SECTIONS,
    columns=(4,),
    workers=(1,),
    batch_sizes=(1000,),
    pairs=3,
    scale=0.4,
    memory_rows=100_000,
    line_rows=(1_000, 10_000, 100_000),
    quick=True,
)


@dataclass(frozen=True, slots=True)
class Results:
    """What one run has measured.

    Attributes
    ----------
    command : str
    day : date
    machine : Machine
    versions : dict of str to str
    pairs : int
    comparisons : list of Comparison
    peaks : list of Peak
    line : list of Runs
    further : list of Further
    """

    command: str
    day: date
    machine: Machine
    versions: dict[str, str]
    pairs: int
    comparisons: list[Comparison] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    line: list[Runs] = field(default_factory=list)
    further: list[Further] = field(default_factory=list)

    def figure(self, name: str) -> Spread | None:
        """Return a figure of another benchmark, if it was measured."""
        found = (each.figures[name] for each in self.further if name in each.figures)
        return next(found, None)


def run(profile: Profile, command: str, say: Callable[[str], object]) -> Results:
    """Measure everything of a profile.

    Parameters
    ----------
    profile : Profile
    command : str
        What was typed.
    say : callable
        Told what is measured next.
    """
    results = Results(command, date.today(), this_machine(), versions(), profile.pairs)
    if "clients" in profile.sections:
        for case in profile.cases():
            say(str(case))
            results.comparisons.append(compare(case, profile.pairs))
    if "memory" in profile.sections:
        say(f"memory, {profile.memory_rows:,} rows")
        results.peaks.extend(measure_peaks(profile.memory_rows, 384))
    if "line" in profile.sections:
        say(f"line, {max(profile.line_rows):,} rows")
        results.line.extend(measure_line(profile.line_rows, profile.pairs))
    for name, measure in FURTHER.items():
        if name in profile.sections:
            say(name)
            results.further.append(measure(profile.quick))
    return results
