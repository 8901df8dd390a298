"""What a frame was when it was uploaded: enough to tell later what has changed."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from qframe.batches import points_between
from qframe.points import (
    Ids,
    PayloadBlock,
    PointBlock,
    PointColumns,
    Rows,
    SparseBlock,
    VectorBlock,
    VectorKind,
)

CHUNK = 1000
"""Rows that a digest spans at the least, and that are converted at a time."""

CHUNKS = 1000
"""Digests a column at the most: what a journal's header holds of it is under 10 kB."""

SHOWN = 3
"""Row ranges that a sentence names."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A frame and its mapping in short.

    Digests are CRC-32: one in four billion changed chunks would pass, and a forger. CRC-32 reads
    4.3 GB/s, SHA-1 2.0 and BLAKE2b 1.0.

    Attributes
    ----------
    rows, points : int
        Of the frame, and how many of them become points.
    mapping : mapping
        Everything else that decides what is stored and where, of JSON's types.
    chunk : int
        Rows that a digest spans.
    digests : mapping of str to sequence of str
        By what they are of ("the ids", "vector 'image'", "payload 'year'"), one a chunk, of eight
        hexadecimal digits.
    """

    rows: int
    points: int
    mapping: Mapping[str, Any]
    chunk: int
    digests: Mapping[str, Sequence[str]]

    def differences(self, other: Fingerprint) -> list[str]:
        """Say what of this frame and mapping is not as it was.

        Parameters
        ----------
        other : Fingerprint
            What was before.

        Returns
        -------
        list of str
            Empty when nothing has changed.
        """
        found = [
            f"{name} is {_shown(self.mapping, name)}, it was {_shown(other.mapping, name)}"
            for name in {**other.mapping, **self.mapping}
            if self.mapping.get(name) != other.mapping.get(name)
        ]
        if self.rows != other.rows:
            return [*found, f"the frame has {self.rows:,} rows, it had {other.rows:,}"]
        for name in {**other.digests, **self.digests}:
            now, before = self.digests.get(name), other.digests.get(name)
            if now is None or before is None:
                continue  # the mapping tells
            if list(now) != list(before):
                verb = "differ" if name.startswith("the ") else "differs"
                found.append(f"{name} {verb} in {self._where(now, before)}")
        return found

    def _where(self, now: Sequence[str], before: Sequence[str]) -> str:
        """Name the first row ranges in which digests differ."""
        pairs = enumerate(zip(now, before, strict=True))
        changed = [at for at, (one, other) in pairs if one != other]
        runs: list[list[int]] = []
        for at in changed:
            if runs and runs[-1][1] == at:
                runs[-1][1] = at + 1
            else:
                runs.append([at, at + 1])
        ranges = [
            f"{start * self.chunk:,} to {min(stop * self.chunk, self.rows):,}"
            for start, stop in runs
        ]
        more = f" and {len(ranges) - SHOWN:,} more places" if len(ranges) > SHOWN else ""
        return f"rows {', '.join(ranges[:SHOWN])}{more}"

    def to_json(self) -> dict[str, Any]:
        """Return the same of JSON's types; digests of a column in one string."""
        return {
            "rows": self.rows,
            "points": self.points,
            "mapping": dict(self.mapping),
            "chunk": self.chunk,
            "digests": {name: "".join(digests) for name, digests in self.digests.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        digests = {
            name: [text[at : at + 8] for at in range(0, len(text), 8)]
            for name, text in value["digests"].items()
        }
        return cls(value["rows"], value["points"], value["mapping"], value["chunk"], digests)


def fingerprint(points: PointColumns, rows: int, mapping: Mapping[str, Any]) -> Fingerprint:
    """Take the fingerprint of a frame.

    Every value is looked at, as it is converted for the wire: a frame that was written to a file
    and read back, with other dtypes, has the same.

    Parameters
    ----------
    points : PointColumns
    rows : int
        Of the frame.
    mapping : mapping
        What else must not change, of JSON's types; vectors and payload keys are added to it.

    Returns
    -------
    Fingerprint

    Examples
    --------
    >>> points = PointColumns(Ids(numbers=np.arange(3, dtype=np.uint64)), {})
    >>> other = PointColumns(Ids(numbers=np.array([0, 1, 7], dtype=np.uint64)), {})
    >>> fingerprint(other, 3, {}).differences(fingerprint(points, 3, {}))
    ['the ids differ in rows 0 to 3']
    """
    chunk = max(CHUNK, math.ceil(rows / CHUNKS))
    digests: dict[str, list[str]] = {}
    for start in range(0, rows, chunk):
        sums: dict[str, int] = {}
        for first in range(start, min(start + chunk, rows), CHUNK):
            piece = points_between(points, first, min(first + CHUNK, start + chunk, rows))
            selected = points.rows(*piece)
            for name, parts in _parts(points.block(selected), selected, first):
                sums[name] = _digest(parts, sums.get(name, 0))
        for name, digest in sums.items():
            digests.setdefault(name, []).append(f"{digest:08x}")
    return Fingerprint(rows, len(points), {**mapping, **_shape(points)}, chunk, digests)


def ids_digest(points: PointColumns) -> str:
    """Return a digest of the ids of all points and of their rows: 16 ns a point.

    Examples
    --------
    >>> ids_digest(PointColumns(Ids(numbers=np.arange(3, dtype=np.uint64)), {}))
    'fba33d76'
    """
    selected = points.rows(0, len(points))
    return f"{_digest(_id_parts(points.ids[selected], selected, 0)):08x}"


def _shape(points: PointColumns) -> dict[str, Any]:
    """Return what is known of vectors and payload without looking at values."""
    vectors = {
        _label(name): f"{column.kind}" + ("" if _sizeless(column) else f" of {column.size}")
        for name, column in points.vectors.items()
    }
    payload = {f"payload {column.key!r}": str(column.kind) for column in points.payload}
    return vectors | payload


def _sizeless(column: Any) -> bool:
    return column.kind is VectorKind.SPARSE or column.size is None


def _shown(mapping: Mapping[str, Any], name: str) -> str:
    return repr(mapping[name]) if name in mapping else "not there"


def _label(name: str) -> str:
    return f"vector {name!r}" if name else "the vectors"


Part = NDArray[Any] | bytes


def _parts(block: PointBlock, rows: Rows, first: int) -> Iterator[tuple[str, Iterable[Part]]]:
    """Yield what there is to look at, by what it is."""
    yield "the ids", _id_parts(block.ids, rows, first)
    for name, vector in block.vectors.items():
        yield _label(name), _vector_parts(vector)
    for column in block.payload:
        yield f"payload {column.key!r}", _payload_parts(column)
    if block.documents is not None:
        yield "payload", [orjson.dumps(block.documents)]


def _id_parts(ids: Ids, rows: Rows, first: int) -> list[Part]:
    """Return the ids, and where they stand: rows that were set aside leave gaps."""
    standing = np.arange(len(ids))
    places = standing if isinstance(rows, slice) else rows - first
    gaps = [] if (places == standing).all() else [places]
    arrays = (ids.numbers, ids.uuids, ids.is_uuid)
    return [*gaps, *(array for array in arrays if array is not None)]


def _vector_parts(block: VectorBlock) -> list[Part]:
    parts: list[Part] = [block.values]
    if isinstance(block, SparseBlock):
        parts.append(block.indices)
    lengths = getattr(block, "lengths", None)
    return [
        *parts,
        *([] if lengths is None else [lengths]),
        *([] if block.present is None or block.present.all() else [block.present]),
    ]


def _payload_parts(block: PayloadBlock) -> list[Part]:
    values = block.values
    if isinstance(values, np.ndarray):
        if block.missing is None or not block.missing.any():
            return [values]
        # What stands at a missing cell means nothing.
        return [np.where(block.missing, values.dtype.type(0), values), block.missing]
    return [orjson.dumps(values, option=orjson.OPT_SORT_KEYS)]


def _digest(parts: Iterable[Part], so_far: int = 0) -> int:
    """Go on with a CRC-32 over arrays and bytes, their lengths and types included."""
    for part in parts:
        if isinstance(part, np.ndarray):
            head = f"{part.dtype.str}{part.shape}".encode()
            data: Any = np.ascontiguousarray(part).view(np.uint8).data if part.size else b""
        else:
            head, data = f"{len(part)}".encode(), part
        so_far = zlib.crc32(data, zlib.crc32(head, so_far))
    return so_far


def chain(sentences: Sequence[str]) -> str:
    """Join sentences about what changed, the first few of them.

    Examples
    --------
    >>> chain(["a", "b", "c", "d", "e", "f"])
    'a; b; c; d; e; and 1 more'
    """
    shown = list(itertools.islice(sentences, 5))
    return "; ".join(shown + ([f"and {len(sentences) - 5} more"] if len(sentences) > 5 else []))
