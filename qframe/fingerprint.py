"""What a frame's points are, in a few digests: enough to say later what changed, and where."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from qframe.points import (
    DenseBlock,
    Ids,
    MultiBlock,
    PayloadBlock,
    PayloadKind,
    PointColumns,
    SparseBlock,
    VectorBlock,
)

CHUNKS = 1000
"""Chunks of a frame at the most. So a change is found within a thousandth of the rows, and a
fingerprint of seven columns takes 60 KB."""

CHUNK_ROWS = 1000
"""Rows of a chunk at the least."""

PIECE_ROWS = 1000
"""Rows that are converted at a time, as in a batch: a chunk of many rows costs no more memory."""

# Digests guard against accidents, not against forgery. Best of 4, points of 384 float32 numbers, in
# pieces of 1,000: zlib.crc32 0.37 us a point (4.2 GB/s), adler32 0.44, sha1 0.80, sha256 0.85,
# blake2b 1.7, pandas.util.hash_array 1.7, md5 2.1, blake2s 3.1. Of changed chunks one in 2**32
# passes unseen, and none where four bytes at most, such as one number of a vector, are different.
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of a frame's points by column and chunk of rows, and how they are written.

    Made by `fingerprint`. Without `differences`, the same call would send the same points.

    Attributes
    ----------
    rows : int
        Rows of the frame.
    points : int
        Rows that become points.
    chunk_rows : int
        Rows in a chunk.
    mapping : mapping
        Of JSON's types: what the caller gave, with ``ids``, ``vectors`` and ``payload`` added.
    digests : mapping of str to str
        Eight hexadecimal digits a chunk. By ``kept``, ``ids``, ``vector:<name>``,
        ``payload:<key>`` and ``records``.
    """

    rows: int
    points: int
    chunk_rows: int
    mapping: Mapping[str, Any]
    digests: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return {
            "rows": self.rows,
            "points": self.points,
            "chunk_rows": self.chunk_rows,
            "mapping": dict(self.mapping),
            "digests": dict(self.digests),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Fingerprint:
        """Make one of what `to_json` returned.

        Raises
        ------
        KeyError
            When something is missing.
        """
        return cls(
            value["rows"],
            value["points"],
            value["chunk_rows"],
            value["mapping"],
            value["digests"],
        )

    def differences(self, other: Fingerprint) -> list[str]:
        """Say what is different now from what it was.

        Parameters
        ----------
        other : Fingerprint
            What it was.

        Returns
        -------
        list of str
            Sentences, empty when both are equal. Ranges are row positions, half open.

        Examples
        --------
        >>> was = Fingerprint(2, 2, 1000, {"shard_key": "a"}, {"ids": "0badcafe"})
        >>> now = Fingerprint(2, 2, 1000, {"shard_key": "b"}, {"ids": "cafe0bad"})
        >>> now.differences(was)
        ["shard_key is 'b', it was 'a'", 'the ids differ somewhere in rows 0 to 2']
        """
        if self == other:
            return []
        found = []
        if self.rows != other.rows:
            found.append(f"the frame has {self.rows:,} rows, it had {other.rows:,}")
        elif self.points != other.points:
            found.append(
                f"{self.points:,} of {self.rows:,} rows become points, {other.points:,} did"
            )
        found += _mapping_differences(self.mapping, other.mapping)
        found += self._digest_differences(other)
        if not found and self.digests != other.digests:
            return ["the points are others"]
        return found

    def _digest_differences(self, other: Fingerprint) -> Iterator[str]:
        if self.chunk_rows != other.chunk_rows:  # the number of rows has been said
            return
        aside = self._changed("kept", other)
        if aside:
            yield f"other rows are set aside {self._where(aside, other)}"
        for name in self.digests:
            # Where other rows are set aside, every column differs; that has been said.
            changed = self._changed(name, other) - aside
            if name != "kept" and changed:
                yield f"{_subject(name)} {self._where(changed, other)}"

    def _changed(self, name: str, other: Fingerprint) -> set[int]:
        """Return the chunks that both have whole and that differ."""
        if name not in self.digests or name not in other.digests:
            return set()
        both = zip(_split(self.digests[name]), _split(other.digests[name]), strict=False)
        changed = {at for at, (now, was) in enumerate(both) if now != was}
        if self.rows != other.rows:
            whole = min(self.rows, other.rows) // self.chunk_rows
            changed = {at for at in changed if at < whole}
        return changed

    def _where(self, chunks: Iterable[int], other: Fingerprint) -> str:
        """Say which rows these chunks are."""
        ranges: list[tuple[int, int]] = []
        for at in sorted(chunks):
            start = at * self.chunk_rows
            stop = min(start + self.chunk_rows, self.rows, other.rows)
            if ranges and ranges[-1][1] == start:
                start = ranges.pop()[0]
            ranges.append((start, stop))
        start, stop = ranges[0]
        more = len(ranges) - 1
        rest = f" and {more:,} more range{'s' * (more > 1)}, up to {ranges[-1][1]:,}"
        return f"somewhere in rows {start:,} to {stop:,}{rest if more else ''}"


def fingerprint(points: PointColumns, rows: int, mapping: Mapping[str, Any]) -> Fingerprint:
    """Digest a frame's points, as they are sent.

    Payload is digested once it is converted, so that a column of another dtype backend with the
    same values is the same.

    Parameters
    ----------
    points : PointColumns
    rows : int
        Rows of the frame.
    mapping : mapping
        What else decides what is written and where, as JSON knows it: collection, options of the
        write. What `points` says by itself is added.

    Returns
    -------
    Fingerprint
    """
    # With four columns of payload (text, integer, float, category), best of 3, against the 6 to 7
    # us a point of an upload over gRPC: 0.53 us at 384 numbers and 1.8 us at 1,536 from a matrix,
    # 0.91 and 2.6 us from a column of arrays. Payload is 0.2 us of it, converting included.
    chunk_rows = max(CHUNK_ROWS, -(-rows // CHUNKS))
    kept: list[int] = []
    digests: dict[str, list[int]] = {"kept": kept}
    drops: dict[str, bool] = {}
    for start in range(0, rows, chunk_rows):
        stop = min(start + chunk_rows, rows)
        first, last = start, stop
        kept.append(0)
        if points.kept is not None:
            first, last = np.searchsorted(points.kept, (start, stop)).tolist()
            if last - first < stop - start:
                kept[-1] = _array(points.kept[first:last] - start, "<i8", 1)
        chunk: dict[str, int] = {"ids": 0}
        chunk |= {f"vector:{name}": 0 for name in points.vectors}
        chunk |= {f"payload:{column.key}": 0 for column in points.payload}
        if points.documents is not None:
            chunk["records"] = 0
        for at in range(first, last, PIECE_ROWS):
            block = points.block(points.rows(at, min(at + PIECE_ROWS, last)))
            chunk["ids"] = _ids(block.ids, chunk["ids"])
            for name, vectors in block.vectors.items():
                chunk[f"vector:{name}"] = _vectors(vectors, chunk[f"vector:{name}"])
            for column in block.payload:
                drops[column.key] = column.drop
                chunk[f"payload:{column.key}"] = _payload(column, chunk[f"payload:{column.key}"])
            if block.documents is not None:
                chunk["records"] = _values(block.documents, chunk["records"])
        for name, digest in chunk.items():
            digests.setdefault(name, []).append(digest)
    written = {
        **json.loads(json.dumps(dict(mapping), default=str)),
        "ids": _id_kind(points.ids),
        "vectors": {
            name: {"kind": column.kind.value, "size": column.size}
            for name, column in points.vectors.items()
        },
        "payload": {
            column.key: {"kind": column.kind.value, "drop": drops.get(column.key, False)}
            for column in points.payload
        },
    }
    return Fingerprint(
        rows,
        len(points),
        chunk_rows,
        written,
        {name: "".join(f"{digest:08x}" for digest in parts) for name, parts in digests.items()},
    )


def ids_digest(points: PointColumns) -> str:
    """Digest the ids of a frame's points and which of its rows they are.

    Returns
    -------
    str
        16 hexadecimal digits; the same for the same ids in the same rows, whatever else the points
        hold and however they are written.
    """
    digest = hashlib.sha1(f"{len(points.ids)} {len(points)}".encode(), usedforsecurity=False)
    if points.kept is not None and len(points) < len(points.ids):
        digest.update(_plain(points.kept, "<i8").data)
    for part in _id_parts(points.ids[points.rows(0, len(points))]):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.data)
    return digest.hexdigest()[:16]


def _plain(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return the array in a byte order that all machines agree on; a view on most of them."""
    return np.ascontiguousarray(values, dtype=dtype)


def _bytes(data: Any, crc: int) -> int:
    """Digest bytes after their length, so that no two neighbours can trade any."""
    size = data.nbytes if isinstance(data, np.ndarray) else len(data)
    return zlib.crc32(data, zlib.crc32(size.to_bytes(8, "little"), crc))


def _array(values: NDArray[Any], dtype: str, crc: int) -> int:
    return _bytes(_plain(values, dtype), crc)


def _mask(mask: NDArray[np.bool_] | None, usual: bool, crc: int) -> int:
    """Digest a mask; None is the same as `usual` everywhere."""
    if mask is None or (mask == usual).all():
        return _bytes(b"", crc)
    return _bytes(np.packbits(mask), crc)


def _id_parts(ids: Ids) -> Iterator[NDArray[Any]]:
    numbers, uuids = ids.numbers, ids.uuids
    if ids.is_uuid is not None:
        numbers = None if numbers is None else numbers[~ids.is_uuid]
        uuids = None if uuids is None else uuids[ids.is_uuid]
        yield np.packbits(ids.is_uuid)
    yield _plain(np.empty(0) if numbers is None else numbers, "<u8")
    yield _plain(np.empty(0) if uuids is None else uuids, "u1")


def _ids(ids: Ids, crc: int) -> int:
    for part in _id_parts(ids):
        crc = _bytes(part, crc)
    return crc


def _vectors(block: VectorBlock, crc: int) -> int:
    crc = _mask(block.present, True, crc)
    if isinstance(block, DenseBlock):
        return _array(block.values, "<f4", crc)
    crc = _array(block.lengths, "<i8", crc)
    if isinstance(block, SparseBlock):
        crc = _array(block.indices, "<u4", crc)
    assert isinstance(block, MultiBlock | SparseBlock)
    return _array(block.values, "<f4", crc)


_DTYPES = {PayloadKind.BOOL: "?", PayloadKind.INTEGER: "<i8", PayloadKind.FLOAT: "<f8"}


def _payload(block: PayloadBlock, crc: int) -> int:
    crc = _mask(block.missing, False, crc)
    values = block.values
    if not isinstance(values, np.ndarray):
        return _values(block.tolist(), crc)
    if block.missing is not None:  # whatever stands there
        values = np.where(block.missing, values.dtype.type(0), values)
    return _array(values, _DTYPES[block.kind], crc)


def _values(values: Sequence[Any], crc: int) -> int:
    """Digest JSON-like values as JSON, in which lengths and missing cells are unambiguous."""
    values = values if isinstance(values, list) else list(values)
    return _bytes(orjson.dumps(values, option=orjson.OPT_SORT_KEYS), crc)


def _id_kind(ids: Ids) -> str:
    if ids.is_uuid is not None:
        return "numbers and UUIDs"
    return "UUIDs" if ids.numbers is None else "numbers"


def _split(digits: str) -> Iterator[str]:
    return (digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS))


def _subject(name: str) -> str:
    """Return what a digest is of, with its verb."""
    kind, _, of = name.partition(":")
    if kind == "vector":
        return f"vectors of {of!r} differ" if of else "the vectors differ"
    if kind == "payload":
        return f"payload key {of!r} differs"
    return f"the {name} differ"


def _mapping_differences(now: Mapping[str, Any], was: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(now.keys() | was.keys() - {"vectors", "payload", "ids"}):
        if name == "ids":
            if now.get(name) != was.get(name):
                yield f"the ids are {now.get(name)}, they were {was.get(name)}"
        elif name not in ("vectors", "payload") and now.get(name) != was.get(name):
            yield f"{name} is {now.get(name)!r:.60}, it was {was.get(name)!r:.60}"
    yield from _part_differences("vector", now.get("vectors", {}), was.get("vectors", {}))
    yield from _part_differences("payload key", now.get("payload", {}), was.get("payload", {}))


def _part_differences(noun: str, now: Mapping[str, Any], was: Mapping[str, Any]) -> Iterator[str]:
    """Say which vectors or payload keys are new, gone, or of another kind."""
    for name in [*now, *(name for name in was if name not in now)]:
        what = f"{noun} {name!r}" if name or noun != "vector" else "the unnamed vector"
        if name not in was:
            yield f"{what} is new"
        elif name not in now:
            yield f"{what} is gone"
        else:
            for part, value in now[name].items():
                before = was[name].get(part)
                if value == before:
                    continue
                if part == "size":
                    yield f"{what} has {value} numbers, it had {before}"
                elif part == "drop":
                    told = {True: "left out", False: "stored as null"}
                    yield f"missing cells of {what} are {told[value]}, they were {told[before]}"
                else:
                    yield f"{what} is {value}, it was {before}"
