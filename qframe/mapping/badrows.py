"""Collecting what is wrong with rows, and saying it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import BadRowsError

SHOWN = 3
"""Rows shown of each kind of finding in an error's text; all of them are in its `rows`."""


class BadRows:
    """What is wrong with the rows of one frame, and what to do about it.

    Findings are kept by kind, which is a column and a remedy. So a frame of a million bad rows
    costs a number and a text a row, and no object of its own.

    Parameters
    ----------
    index : Index
        The frame's, for the labels.
    noun : str
        What a row is called: ``"row"``, or ``"record"``.

    Attributes
    ----------
    noun : str
    """

    def __init__(self, index: pd.Index[Any], noun: str = "row") -> None:
        self._index = index
        self.noun = noun
        self._kinds: dict[tuple[str, str], tuple[list[int], list[str]]] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, position: int, column: Hashable, reason: str, remedy: str) -> None:
        """Note that one row cannot become a point.

        Parameters
        ----------
        position : int
            0-based row of the frame.
        column : hashable
            Column, or what stands for one.
        reason : str
            What was found, and what would be right.
        remedy : str
            What to type next; the same for all findings of one kind.
        """
        positions, reasons = self._kinds.setdefault((str(column), remedy), ([], []))
        positions.append(position)
        reasons.append(reason)

    def add_all(
        self,
        positions: Sequence[int],
        column: Hashable,
        reason: str | Iterable[str],
        remedy: str,
    ) -> None:
        """Note the same of several rows, or of each its own reason."""
        if not len(positions):
            return
        known, reasons = self._kinds.setdefault((str(column), remedy), ([], []))
        known.extend(positions)
        reasons.extend([reason] * len(positions) if isinstance(reason, str) else reason)

    def labels(self, positions: Sequence[int] | NDArray[np.int64]) -> list[Any]:
        """Return the index labels of rows, as Python's own types where there are such."""
        labels: list[Any] = self._index.take(np.asarray(positions, dtype=np.int64)).tolist()
        return labels

    def label(self, position: int) -> Any:
        """Return the index label of a row."""
        return self.labels([position])[0]

    def mask(self) -> NDArray[np.bool_]:
        """Return which rows have findings, as a bool array of shape (n,)."""
        bad = np.zeros(len(self._index), dtype=np.bool_)
        for positions, _ in self._kinds.values():
            bad[positions] = True
        return bad

    def to_frame(self) -> pd.DataFrame:
        """Return one line a finding, by row: position, label, column, reason."""
        counts = [len(positions) for positions, _ in self._kinds.values()]
        kinds = np.repeat(np.arange(len(counts)), counts)
        found = np.array(
            [at for positions, _ in self._kinds.values() for at in positions], np.int64
        )
        reasons = [reason for _, reasons in self._kinds.values() for reason in reasons]
        order = np.argsort(found, kind="stable")
        columns = [column for column, _ in self._kinds]
        return pd.DataFrame(
            {
                "position": found[order],
                "label": self.labels(found[order]),
                "column": [columns[kind] for kind in kinds[order].tolist()],
                "reason": [reasons[at] for at in order.tolist()],
            }
        )

    @property
    def findings(self) -> int:
        """How many there are; a row may have several."""
        return sum(len(positions) for positions, _ in self._kinds.values())

    def counts(self) -> dict[str, int]:
        """Return in how many rows something is wrong, by column, or what stands for one."""
        found: dict[str, list[int]] = {}
        for (column, _), (positions, _) in self._kinds.items():
            found.setdefault(column, []).extend(positions)
        return {column: len(np.unique(positions)) for column, positions in found.items()}

    def mark(self) -> dict[tuple[str, str], int]:
        """Return where the findings stand, for `back_to`."""
        return {kind: len(positions) for kind, (positions, _) in self._kinds.items()}

    def back_to(self, mark: Mapping[tuple[str, str], int]) -> None:
        """Forget what was found since."""
        for kind in list(self._kinds):
            if kind not in mark:
                del self._kinds[kind]
                continue
            for found in self._kinds[kind]:
                del found[mark[kind] :]

    def to_json(self, most: int | None = None) -> list[dict[str, Any]]:
        """Return the findings, or so many of the first, as JSON's types, for attributes."""
        frame = self.to_frame().iloc[:most]
        labels = map(_plain, self.labels(frame["position"].to_numpy()))
        cells = (frame[name].tolist() for name in ("position", "column", "reason"))
        return [
            {"position": position, "label": label, "column": column, "reason": reason}
            for label, position, column, reason in zip(labels, *cells, strict=True)
        ]

    def error(self, lead: str = "") -> BadRowsError:
        """Build the error that names the rows and the ways out."""
        count = int(self.mask().sum())
        lines = [
            f"{lead}{count:,} of {len(self._index):,} {self.noun}s cannot become points; "
            "nothing was sent"
        ]
        by_first_row = sorted(self._kinds.items(), key=lambda kind: min(kind[1][0]))
        for (column, remedy), (positions, reasons) in by_first_row:
            lines.append(f"  {column}:")
            first = np.argsort(positions, kind="stable")[:SHOWN].tolist()
            lines += [
                f"    {self.noun} {self.label(positions[at])!r}: {reasons[at]}" for at in first
            ]
            if len(positions) > SHOWN:
                lines.append(f"    … and {len(positions) - SHOWN:,} more")
            lines.append(f"    -> {remedy}")
        if count < len(self._index):
            lines.append(
                '  Or bad_rows="skip" sends the others and lists these in the report; '
                "all findings are in this error's .rows"
            )
        return BadRowsError("\n".join(lines), self.to_frame())


def _plain(label: Any) -> Any:
    """Return a label as JSON knows it, or its text."""
    is_json = isinstance(label, (str, int)) or (isinstance(label, float) and math.isfinite(label))
    return label if is_json else str(label)
