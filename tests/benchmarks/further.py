"""Where the other benchmarks hand in what they have measured for RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

EMBEDDED = "embedded against local mode"
"""Figure: how many times faster the embedded engine is than local mode on disk, 20,000 x 384."""

IMPORT = "import after pandas, ms"
"""Figure: milliseconds that ``import qframe`` takes where pandas is there already."""


@dataclass(frozen=True, slots=True)
class Further:
    """What another benchmark contributes.

    Attributes
    ----------
    title : str
    text : str
        Markdown, without its heading.
    figures : mapping of str to float
        Those that goals are held against, by the names of this module.
    """

    title: str
    text: str
    figures: Mapping[str, float] = field(default_factory=dict)


FURTHER: dict[str, Callable[[bool], Further]] = {}
"""Benchmarks by the names of their sections, in order; each is told whether to be quick."""
