"""DataFrame -> points: every check that needs no server is made here, over the whole frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qframe.errors import BadRowsError, InputError, Refuse, raise_at_once
from qframe.mapping.badrows import BadRows
from qframe.mapping.ids import ResolvedIds, note_duplicates, resolve_ids
from qframe.mapping.payload import resolve_payload
from qframe.mapping.vectors import resolve_vectors
from qframe.points import PointColumns
from qframe.schema import CollectionInfo


@dataclass(frozen=True, slots=True)
class Mapped:
    """A frame as points.

    Attributes
    ----------
    points : PointColumns
    ids : ResolvedIds
        Where the points' ids come from.
    bad : BadRows
        What is wrong with the other rows.
    """

    points: PointColumns
    ids: ResolvedIds
    bad: BadRows

    @property
    def bare_ids(self) -> bool:
        """Whether the ids are just row numbers of this frame."""
        return self.ids.bare

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Findings of rows that were set aside: position, label, column, reason; JSON's types."""
        return self.bad.to_json()

    def complaint(self, bad_rows: str) -> BadRowsError | None:
        """Return what refuses the frame for its rows; None where it is fine.

        Parameters
        ----------
        bad_rows : {"raise", "skip"}
            Whether rows that cannot become points refuse it, or only when no row is left.
        """
        if self.bad and (bad_rows == "raise" or not len(self.points)):
            return self.bad.error()
        return None


def resolve(
    frame: pd.DataFrame,
    *,
    vectors: Any,
    ids: Any = None,
    payload: Any = None,
    missing: str = "null",
    bad_rows: str = "raise",
    info: CollectionInfo | None = None,
    refuse: Refuse = raise_at_once,
) -> Mapped:
    """Turn a frame into points, or say of every row why it cannot become one.

    Parameters
    ----------
    frame : DataFrame
    vectors, ids, payload, missing, bad_rows
        As in `qframe.upload`.
    info : CollectionInfo or None
        The collection that the points go to, if it exists.
    refuse : callable
        Is given what is wrong with the rows, and what does not fit the collection. It may raise it.

    Returns
    -------
    Mapped

    Raises
    ------
    InputError, SchemaMismatch
        For what is wrong with the call, or with all rows alike.
    BadRowsError
        For rows, with ``bad_rows="raise"``, or when no row is left.
    """
    __tracebackhide__ = True
    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"the first argument is a {type(frame).__name__}, not a DataFrame; "
            "for records there is qframe.upload_points(iterable, …)"
        )
    check_bad_rows(bad_rows)
    bad = BadRows(frame.index)
    resolved = resolve_ids(frame, ids, bad)
    columns = resolve_vectors(frame, vectors, info, bad, refuse=refuse)
    used = {label for column in columns.values() for label in column.labels}
    fields = resolve_payload(frame, payload, used | resolved.used, resolved.kept, missing, bad)
    note_duplicates(resolved, bad)  # of the rows that nothing else is wrong with
    kept = np.flatnonzero(~bad.mask()) if bad else None
    mapped = Mapped(PointColumns(resolved.ids, columns, fields, kept), resolved, bad)
    complaint = mapped.complaint(bad_rows)
    if complaint is not None:
        refuse(complaint)
    return mapped


def check_bad_rows(bad_rows: str) -> None:
    """Raise InputError unless `bad_rows` is one of its two values."""
    if bad_rows not in ("raise", "skip"):
        raise InputError(
            f"bad_rows={bad_rows!r}: 'raise' refuses the call, "
            "'skip' sets bad rows aside and reports them"
        )
