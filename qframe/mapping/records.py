"""Records -> points: a lazy stream, checked a batch at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from qframe.mapping.badrows import BadRows
from qframe.mapping.ids import resolve_ids
from qframe.mapping.values import Unconvertible, convert
from qframe.mapping.vectors import resolve_vectors
from qframe.points import PointColumns
from qframe.schema import CollectionInfo

FIELDS = ("id", "vector", "payload")

ID_REMEDY = "a record has an id: an unsigned integer or a UUID"
RECORD_REMEDY = (
    "a record is a mapping or an object with id, vector and payload (which may be missing), "
    "as in {'id': 1, 'vector': [0.1, 0.2], 'payload': {'title': 'Alien'}}"
)


def chunks(records: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Draw lists of up to `size` records, never more than one ahead."""
    source = iter(records)
    while chunk := list(itertools.islice(source, size)):
        yield chunk


def resolve_records(
    chunk: list[Any], first: int, info: CollectionInfo | None
) -> tuple[PointColumns, list[dict[str, Any]]]:
    """Turn some records into points.

    Parameters
    ----------
    chunk : list
        Mappings, or objects with attributes, named ``id``, ``vector`` and ``payload``.
    first : int
        Number of the first of them, for messages.
    info : CollectionInfo or None
        The collection, if it exists.

    Returns
    -------
    points : PointColumns
    skipped : list of dict
        Findings of records that were set aside.
    """
    index = pd.RangeIndex(first, first + len(chunk))
    bad = BadRows(index, noun="record")
    ids = np.empty(len(chunk), dtype=object)
    vectors: list[Any] = []
    documents: list[dict[str, Any]] = []
    for at, record in enumerate(chunk):
        point_id, vector, payload = _fields(record, at, bad)
        ids[at] = point_id
        vectors.append(vector)
        documents.append(_document(payload, at, bad))
    frame = pd.DataFrame(index=index)
    resolved = resolve_ids(frame, pd.Series(ids, index=index, dtype=object), bad)
    columns, _ = resolve_vectors(frame, _by_name(vectors, index, bad), info, bad)
    kept = np.flatnonzero(~bad.mask()) if bad else None
    skipped = [finding | {"position": first + finding["position"]} for finding in bad.to_json()]
    return PointColumns(resolved.ids, columns, (), kept, documents), skipped


def _fields(record: Any, at: int, bad: BadRows) -> tuple[Any, Any, Any]:
    """Return id, vector and payload of a record."""
    if isinstance(record, Mapping):
        unknown = [key for key in record if key not in FIELDS]
        if unknown:
            bad.add(at, "record", f"has the unknown field {unknown[0]!r}", RECORD_REMEDY)
        return record.get("id"), record.get("vector"), record.get("payload")
    if not hasattr(record, "id"):
        bad.add(at, "record", f"{type(record).__name__} {record!r:.40} has no id", RECORD_REMEDY)
    return tuple(getattr(record, field, None) for field in FIELDS)  # type: ignore[return-value]


def _document(payload: Any, at: int, bad: BadRows) -> dict[str, Any]:
    if payload is None:
        return {}
    if not isinstance(payload, Mapping):
        bad.add(at, "payload", f"{type(payload).__name__}, not a mapping", RECORD_REMEDY)
        return {}
    try:
        converted: dict[str, Any] = convert(dict(payload), depth=-1)
    except Unconvertible as error:
        bad.add(at, "payload", error.reason, error.remedy)
        return {}
    return converted


def _by_name(vectors: list[Any], index: pd.Index[Any], bad: BadRows) -> Any:
    """Return the vectors as `resolve_vectors` reads them, a Series a name."""
    named = [
        isinstance(vector, Mapping) and set(vector) != {"indices", "values"} for vector in vectors
    ]
    if not any(named):
        return _series(vectors, index)
    names = dict.fromkeys(
        name for vector, is_named in zip(vectors, named, strict=True) if is_named for name in vector
    )
    for at, (vector, is_named) in enumerate(zip(vectors, named, strict=True)):
        if not is_named and vector is not None:
            bad.add(
                at,
                "vector",
                "has no name, while other records' vectors have one",
                "name it, as in {'vector': {'name': […]}}",
            )
    return {
        name: _series(
            [
                vector.get(name) if is_named else None
                for vector, is_named in zip(vectors, named, strict=True)
            ],
            index,
        )
        for name in names
    }


def _series(cells: list[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    array = np.empty(len(cells), dtype=object)
    for at, cell in enumerate(cells):
        array[at] = cell
    return pd.Series(array, index=index, dtype=object)
