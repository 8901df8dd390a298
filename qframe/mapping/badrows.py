"""Collecting what is wrong with rows, and saying it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import BadRowsError

SHOWN = 3
"""Rows shown of each kind of finding in an error's text; all of them are in its `rows`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one row.

    Attributes
    ----------
    position : int
        0-based row of the frame.
    column : str
        Column, or what stands for one.
    reason : str
        What was found, and what would be right.
    remedy : str
        What to type next; the same for all findings of one kind.
    """

    position: int
    column: str
    reason: str
    remedy: str


class BadRows:
    """Findings over one frame.

    Parameters
    ----------
    index : Index
        The frame's, for the labels.
    noun : str
        What a row is called: ``"row"``, or ``"record"``.
    """

    def __init__(self, index: pd.Index[Any], noun: str = "row") -> None:
        self._index = index
        self._noun = noun
        self._findings: list[Finding] = []

    def __bool__(self) -> bool:
        return bool(self._findings)

    def add(self, position: int, column: Hashable, reason: str, remedy: str) -> None:
        """Note that one row cannot become a point."""
        self._findings.append(Finding(position, str(column), reason, remedy))

    def add_all(
        self,
        positions: Iterable[int],
        column: Hashable,
        reason: str | Callable[[int], str],
        remedy: str,
    ) -> None:
        """Note the same of several rows; `reason` may be made from the position."""
        for position in positions:
            self.add(position, column, reason(position) if callable(reason) else reason, remedy)

    def label(self, position: int) -> Any:
        """Return the index label of a row."""
        return self._index[position]

    def mask(self) -> NDArray[np.bool_]:
        """Return which rows have findings, as a bool array of shape (n,)."""
        bad = np.zeros(len(self._index), dtype=np.bool_)
        bad[[finding.position for finding in self._findings]] = True
        return bad

    def findings(self) -> list[Finding]:
        """Return all findings, by row."""
        return sorted(self._findings, key=lambda finding: finding.position)

    def to_frame(self) -> pd.DataFrame:
        """Return one line a finding: position, label, column, reason."""
        findings = self.findings()
        return pd.DataFrame(
            {
                "position": [finding.position for finding in findings],
                "label": [self.label(finding.position) for finding in findings],
                "column": [finding.column for finding in findings],
                "reason": [finding.reason for finding in findings],
            }
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the findings as JSON's types, for a report's attributes."""
        return [
            {
                "position": finding.position,
                "label": _plain(self.label(finding.position)),
                "column": finding.column,
                "reason": finding.reason,
            }
            for finding in self.findings()
        ]

    def error(self, lead: str = "") -> BadRowsError:
        """Build the error that names the rows and the ways out."""
        groups: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings():
            groups.setdefault((finding.column, finding.remedy), []).append(finding)
        count = int(self.mask().sum())
        lines = [
            f"{lead}{count:,} of {len(self._index):,} {self._noun}s cannot become points; "
            "nothing was sent"
        ]
        for (column, remedy), findings in groups.items():
            lines.append(f"  {column}:")
            lines += [
                f"    {self._noun} {self.label(finding.position)!r}: {finding.reason}"
                for finding in findings[:SHOWN]
            ]
            if len(findings) > SHOWN:
                lines.append(f"    … and {len(findings) - SHOWN:,} more")
            lines.append(f"    -> {remedy}")
        if count < len(self._index):
            lines.append(
                '  Or bad_rows="skip" sends the others and lists these in the report; '
                "all findings are in this error's .rows"
            )
        return BadRowsError("\n".join(lines), self.to_frame())


def _plain(label: Any) -> Any:
    """Return a label as JSON knows it, or its text."""
    if isinstance(label, np.generic):
        label = label.item()
    return label if isinstance(label, (str, int, float)) else str(label)
