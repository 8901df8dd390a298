"""DataFrame -> points: every check that needs no server is made here, over the whole frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qframe.errors import InputError
from qframe.mapping.badrows import BadRows
from qframe.mapping.ids import note_duplicates, resolve_ids
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
    skipped : list of dict
        Findings of rows that were set aside: position, label, column, reason; of JSON's types.
    bare_ids : bool
        Whether the ids are just row numbers of this frame.
    """

    points: PointColumns
    skipped: list[dict[str, Any]]
    bare_ids: bool


def resolve(
    frame: pd.DataFrame,
    *,
    vectors: Any,
    ids: Any = None,
    payload: Any = None,
    missing: str = "null",
    bad_rows: str = "raise",
    info: CollectionInfo | None = None,
) -> Mapped:
    """Turn a frame into points, or say of every row why it cannot become one.

    Parameters
    ----------
    frame : DataFrame
    vectors, ids, payload, missing, bad_rows
        As in `qframe.upload`.
    info : CollectionInfo or None
        The collection that the points go to, if it exists.

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
    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"the first argument is a {type(frame).__name__}, not a DataFrame; "
            "for records there is qframe.upload_points(iterable, …)"
        )
    check_bad_rows(bad_rows)
    bad = BadRows(frame.index)
    resolved = resolve_ids(frame, ids, bad)
    columns, used = resolve_vectors(frame, vectors, info, bad)
    fields = resolve_payload(frame, payload, used | resolved.used, resolved.kept, missing, bad)
    note_duplicates(resolved, bad)  # of the rows that nothing else is wrong with
    kept = None
    if bad:
        kept = np.flatnonzero(~bad.mask())
        if bad_rows == "raise" or not len(kept):
            raise bad.error()
    return Mapped(PointColumns(resolved.ids, columns, fields, kept), bad.to_json(), resolved.bare)


def check_bad_rows(bad_rows: str) -> None:
    """Raise InputError unless `bad_rows` is one of its two values."""
    if bad_rows not in ("raise", "skip"):
        raise InputError(
            f"bad_rows={bad_rows!r}: 'raise' refuses the call, "
            "'skip' sets bad rows aside and reports them"
        )
