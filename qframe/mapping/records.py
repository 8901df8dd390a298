"""Records -> points: a lazy stream, checked a batch at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from qframe.mapping.badrows import BadRows
from qframe.mapping.ids import resolve_record_ids
from qframe.mapping.values import Unconvertible, convert
from qframe.mapping.vectors import resolve_vectors
from qframe.mapping.vectors.source import objects
from qframe.points import PointColumns
from qframe.schema import CollectionInfo

FIELDS = ("id", "vector", "payload")

RECORD_REMEDY = (
    "a record is a mapping or an object with id, vector and payload (which may be missing), "
    "as in {'id': 1, 'vector': [0.1, 0.2], 'payload': {'title': 'Alien'}}"
)


def chunks(records: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Draw lists of up to `size` records, never more than one ahead."""
    source = iter(records)
    while True:
        chunk: list[Any] = []
        try:
            chunk.extend(itertools.islice(source, size))
        except Exception:
            if chunk:
                yield chunk  # what was drawn before the source broke is not lost
            raise
        if not chunk:
            return
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
    lenient = first > 0  # what is wrong with all of the first ones is wrong with the call
    index = pd.RangeIndex(first, first + len(chunk))
    bad = BadRows(index, noun="record")
    ids: list[Any] = []
    vectors: list[Any] = []
    documents: list[dict[str, Any]] = []
    for at, record in enumerate(chunk):
        point_id, vector, payload = _fields(record, at, bad)
        ids.append(point_id)
        vectors.append(vector)
        documents.append(_document(payload, at, bad))
    frame = pd.DataFrame(index=index)
    resolved = resolve_record_ids(objects(ids), bad)
    named = _by_name(vectors, index, info, bad, lenient)
    columns = resolve_vectors(frame, named, info, bad, lenient=lenient)
    kept = np.flatnonzero(~bad.mask()) if bad else None
    skipped = [finding | {"position": first + finding["position"]} for finding in bad.to_json()]
    return PointColumns(resolved, columns, (), kept, documents), skipped


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


def _by_name(
    vectors: list[Any],
    index: pd.Index[Any],
    info: CollectionInfo | None,
    bad: BadRows,
    lenient: bool,
) -> Any:
    """Return the vectors as `resolve_vectors` reads them, a Series a name."""
    named = [
        isinstance(vector, Mapping) and set(vector) != {"indices", "values"} for vector in vectors
    ]
    given: list[Mapping[str, Any]] = [
        vector if is_named else {} if vector is None else {"": vector}
        for vector, is_named in zip(vectors, named, strict=True)
    ]
    names = dict.fromkeys(itertools.chain.from_iterable(given))
    known = _known(list(names), given, info)
    if not (known or lenient):
        known = list(names)
    for at, parts in enumerate(given):
        for name in parts:
            if name not in known:
                bad.add(at, "vector", _strange(name, info), _naming(known))
    is_nameless = not names and (info is None or "" in info.vectors)
    if known == [""] or is_nameless:
        return _series([parts.get("") for parts in given], index)
    return {name: _series([parts.get(name) for parts in given], index) for name in known}


def _known(
    names: list[str], given: list[Mapping[str, Any]], info: CollectionInfo | None
) -> list[str]:
    """Return the names that vectors may have: the collection's, or such as most records have."""
    if info is not None:
        return [name for name in names if name in info.vectors]
    nameless = Counter(list(parts) == [""] for parts in given if parts)
    if nameless[True] > nameless[False]:
        return [""]
    both = any("" in parts and len(parts) > 1 for parts in given)
    return [name for name in names if name or both]


def _strange(name: str, info: CollectionInfo | None) -> str:
    """Say of a vector that its name does not fit."""
    found = f"has the name {name!r}" if name else "has no name"
    return f"{found}, unlike " + (
        "those of other records" if info is None else f"those of collection {info.name!r}"
    )


def _naming(known: list[str]) -> str:
    names = ", ".join(f"{name!r}: […]" for name in known)
    if not known:
        return "pass vectors of the collection's names"
    return "pass the vector itself" if known == [""] else f"name it, as in {{{names}}}"


def _series(cells: list[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    return pd.Series(objects(cells), index=index, dtype=object)
