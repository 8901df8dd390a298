"""What each column of a frame is for an upload, and what becomes of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from qframe.mapping import Mapped
from qframe.mapping.ids import Uuid4, Uuid5
from qframe.mapping.words import column_becomes, dtype_found, missing_cells
from qframe.points import PayloadColumn, VectorColumn, VectorKind

COLUMNS = {
    "column": "string",
    "source": "string",
    "role": "string",
    "name": "string",
    "dtype": "string",
    "becomes": "string",
    "kind": "string",
    "size": "Int64",
    "missing": "Int64",
    "bad_rows": "Int64",
}
"""The columns of a plan and their dtypes; every one survives `to_parquet`."""

ROLES = ("id", "vector", "payload", "unused")


@dataclass(frozen=True, slots=True)
class Part:
    """One role of one column, or of what is no column; a row of the plan.

    Attributes
    ----------
    role : {"id", "vector", "payload", "unused"}
    becomes : str
        In the words of `qframe.mapping.values` where it is payload.
    source : str
        What it is: "column", or what stands for one.
    name : str or None
        Payload key, or name of the vector.
    kind : str or None
        Of the vector.
    size : int or None
        Of the vector.
    column : str or None
        Label of the column; None for what is no column of the frame.
    dtype : str or None
    missing : int or None
        Cells without a value.
    bad_rows : int
        Rows that cannot become points for what was found here.
    """

    role: str
    becomes: str
    source: str = "column"
    name: str | None = None
    kind: str | None = None
    size: int | None = None
    column: str | None = None
    dtype: str | None = None
    missing: int | None = None
    bad_rows: int = 0


def parts(frame: pd.DataFrame, ids: Any, mapped: Mapped) -> list[Part]:
    """Tell the roles of a frame's columns, then of what is no column.

    Parameters
    ----------
    frame : DataFrame
    ids : object
        What the caller passed as ids.
    mapped : Mapped

    Returns
    -------
    list of Part
        One a column and role, in the order of the columns; a column without a role is "unused".
    """
    bad = mapped.bad.counts()
    roles: dict[Hashable, list[Part]] = {}
    beside: list[Part] = []
    _add_ids(frame, ids, mapped, bad, roles, beside)
    for name, vector in mapped.points.vectors.items():
        _add_vector(name, vector, bad, roles, beside)
    for column in mapped.points.payload:
        _add_payload(frame, column, bad, roles, beside)
    return [*_columns(frame, roles, bad), *beside]


def to_frame(rows: Sequence[Part]) -> dict[str, Any]:
    """Return the columns of a plan."""
    return {
        name: pd.array([getattr(row, name) for row in rows], dtype=dtype)  # type: ignore[call-overload]
        for name, dtype in COLUMNS.items()
    }


def _columns(
    frame: pd.DataFrame, roles: dict[Hashable, list[Part]], bad: dict[str, int]
) -> Iterator[Part]:
    """Yield the parts of every column, with what was found in it."""
    for at, label in enumerate(frame.columns):
        series = frame.iloc[:, at]
        dtype, missing = dtype_found(series), int(np.count_nonzero(missing_cells(series)))
        for part in roles.get(label) or [Part("unused", "not sent")]:
            found = part.bad_rows or bad.get(f"column {label!r}", 0)
            yield replace(part, column=str(label), dtype=dtype, missing=missing, bad_rows=found)


def _add_ids(
    frame: pd.DataFrame,
    ids: Any,
    mapped: Mapped,
    bad: dict[str, int],
    roles: dict[Hashable, list[Part]],
    beside: list[Part],
) -> None:
    found = mapped.points.ids
    numbers, uuids = found.numbers is not None, found.uuids is not None
    becomes = " or ".join(["unsigned integer"] * numbers + ["UUID"] * uuids)
    for label in mapped.ids.used:
        roles.setdefault(label, []).append(Part("id", becomes))
    if mapped.ids.used:
        return
    source, dtype, missing = "array", None, None
    if isinstance(ids, Uuid5):
        source = _call("uuid5", ids.columns)
        becomes = "UUID, version 5, the same in every run"
        for label in ids.columns:
            roles.setdefault(label, []).append(Part("id", f"a key of {source}"))
    elif isinstance(ids, Uuid4):
        source, becomes = "uuid4()", "UUID, version 4, a new one in every run"
    elif ids is None:
        source, dtype = "index", str(frame.index.dtype)
        missing = int(np.count_nonzero(frame.index.isna()))
        if mapped.bare_ids:
            becomes = f"{becomes}, the number of the row"
    count = bad.get(mapped.ids.noun, 0)
    beside.append(Part("id", becomes, source, dtype=dtype, missing=missing, bad_rows=count))


def _add_vector(
    name: str,
    vector: VectorColumn,
    bad: dict[str, int],
    roles: dict[Hashable, list[Part]],
    beside: list[Part],
) -> None:
    kind, size = vector.kind.value, vector.size
    becomes = {
        VectorKind.DENSE: "vector of float32",
        VectorKind.MULTI: "multivector of float32",
        VectorKind.SPARSE: "sparse vector of float32",
    }[vector.kind]
    count = bad.get(vector.noun, 0)
    if not vector.labels:
        beside.append(
            Part("vector", becomes, vector.noun, name, kind, size, missing=None, bad_rows=count)
        )
    is_one_of_many = vector.noun.startswith("columns ")
    for label in vector.labels:
        text = "one number of the vector" if is_one_of_many else becomes
        part = Part("vector", text, "column", name, kind, size, bad_rows=count)
        roles.setdefault(label, []).append(part)


def _add_payload(
    frame: pd.DataFrame,
    column: PayloadColumn,
    bad: dict[str, int],
    roles: dict[Hashable, list[Part]],
    beside: list[Part],
) -> None:
    if len(column.labels) == 1:
        (label,) = column.labels
        part = Part("payload", column_becomes(column, frame[label]), name=column.key)
        roles.setdefault(label, []).append(part)
        return
    source = _call("geo", column.labels)
    for label, word in zip(column.labels, ("lat", "lon"), strict=True):
        roles.setdefault(label, []).append(Part("payload", f"{word} of {source}", name=column.key))
    missing = np.logical_and.reduce([missing_cells(frame[label]) for label in column.labels])
    beside.append(
        Part(
            "payload",
            "object, {lat, lon}",
            source,
            column.key,
            missing=int(np.count_nonzero(missing)),
            bad_rows=bad.get(source, 0),
        )
    )


def _call(name: str, labels: Iterable[Hashable]) -> str:
    return f"{name}({', '.join(map(repr, labels))})"
