"""What the benchmarks with commands of their own hand in for RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.benchmarks import cold_start, drawing, embedded, stages
from tests.benchmarks.clients import Case
from tests.benchmarks.frames import make_frame
from tests.benchmarks.spread import Spread, spread, table

EMBEDDED = "embedded against local mode"
"""Figure: how many times faster the embedded engine is than local mode on disk, 20,000 x 384."""

IMPORT = "import after pandas, ms"
"""Figure: milliseconds that ``import qframe`` takes where pandas is there already."""

DRAWING = "drawing, share of an upload"
"""Figure: per cent of an upload's time that is spent drawing the panel of a notebook."""

SIZE = 384


@dataclass(frozen=True, slots=True)
class Further:
    """What another benchmark contributes.

    Attributes
    ----------
    title : str
    text : str
        Markdown, without its heading.
    figures : mapping of str to Spread
        Those that goals are held against, by the names of this module.
    """

    title: str
    text: str
    figures: Mapping[str, Spread] = field(default_factory=dict)


def measure_embedded(quick: bool) -> Further:
    """Hold the embedded engine against local mode, against itself, and against larger frames."""
    rows, pairs = (2_000, 2) if quick else (20_000, 5)
    lines = (1_000, 10_000) if quick else (10_000, 100_000, 1_000_000)
    frame = make_frame(rows, SIZE)
    compared = embedded.compare(frame, pairs)
    shares = embedded.measure_shares(frame, pairs)
    del frame
    line = embedded.measure_line(make_frame(max(lines), SIZE), lines)
    ratios = Spread.of(compared.ratios)
    speeds = {
        "qframe, embedded engine": compared.embedded,
        "qdrant-client, local mode on disk": compared.local,
    }
    text = "\n\n".join(
        [
            f"{rows:,} x {SIZE} with 4 columns, {pairs} pairs in turn, each into a fresh folder, "
            f"until the collection is closed: {spread(ratios, 1, unit='x')} as fast.",
            table(
                ("", "points/s", "CPU µs a point"),
                [
                    (
                        name,
                        spread(Spread.of([run.points_per_s for run in runs]), 0),
                        spread(Spread.of([run.cpu_us for run in runs]), 1),
                    )
                    for name, runs in speeds.items()
                ],
            ),
            f"Of {shares.upload:.1f} µs of CPU time a point the engine takes {shares.made:.1f} to "
            f"make its points of Python's objects and {shares.written:.1f} to write them; "
            f"{shares.ours:.1f} are qframe's. That is what bounds it.",
            table(
                ("rows", "points/s", "CPU µs a point"),
                [
                    (f"{run.points:,}", f"{run.points_per_s:,.0f}", f"{run.cpu_us:.1f}")
                    for run in line
                ],
            ),
        ]
    )
    # A goal of 20,000 rows says nothing of others.
    return Further("The embedded engine", text, {} if quick else {EMBEDDED: ratios})


def measure_cold_start(quick: bool) -> Further:
    """Measure imports and first uploads in fresh processes."""
    found = cold_start.measure(3 if quick else 20)
    rows = [
        (f"import {name}, after pandas", f"{taken.median:,.1f}", f"{taken.cpu:,.1f}")
        for name, taken in found.added.items()
    ]
    rows += [
        (
            f"{name}, {transport}: import and first upload",
            f"{taken.median:,.0f}",
            f"{taken.cpu:,.0f}",
        )
        for (name, transport), taken in found.first.items()
    ]
    text = "\n\n".join(
        [
            f"Medians of {found.runs} fresh processes each, in turn; uploads of 1,000 x "
            f"{cold_start.SIZE} with pandas imported before.",
            table(("", "ms", "CPU ms"), rows),
        ]
    )
    added = found.added["qframe"]
    return Further("Cold start", text, {IMPORT: Spread(added.median, added.low, added.high)})


def measure_stages(quick: bool) -> Further:
    """Part the time of an upload by one worker."""
    rows = 2_000 if quick else 20_000
    cases = [
        Case(transport, size, 4, 1, stages.BATCH, rows)
        for transport in ("grpc", "rest")
        for size in (384, 1536)
    ]
    text = "\n\n".join(
        [
            "The least of 5 runs each, by `python -m tests.benchmarks.stages`. What the library "
            "below takes for its share alone, nothing can save.",
            *(stages.to_table(case, stages.measure_stages(case)) for case in cases),
        ]
    )
    return Further("Stage by stage", text)


def measure_drawing(quick: bool) -> Further:
    """Measure what the panel of a notebook costs, and whether it grows with the frame."""
    found = drawing.measure(2, 100_000, (100_000, 200_000)) if quick else drawing.measure()
    share = Spread.of(found.shares)
    return Further("Drawing in a notebook", drawing.to_text(found), {DRAWING: share})


FURTHER: dict[str, Callable[[bool], Further]] = {
    "stages": measure_stages,
    "embedded": measure_embedded,
    "cold-start": measure_cold_start,
    "drawing": measure_drawing,
}
"""Benchmarks by the names of their sections, in order; each is told whether to be quick."""
