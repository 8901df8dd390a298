"""Points by column: what the mapping makes and the encoders read.

Two shapes of the same thing. `PointColumns` spans the frame and is lazy: its columns stay as pandas
holds them, and `PointColumns.block` turns a range of rows into a `PointBlock`, whose values are
ready for the wire. So a million rows cost no more memory than the blocks in flight.

The unnamed vector has the name ``""``, as in Qdrant itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = slice | NDArray[np.int64]
"""Row positions in the frame: a range, or an array where rows between were set aside."""


def row_count(rows: Rows) -> int:
    """Count the rows that a range with plain bounds, or an array, stands for."""
    return int(rows.stop - rows.start) if isinstance(rows, slice) else len(rows)


@dataclass(frozen=True, slots=True)
class Ids:
    """Point ids: unsigned integers, UUIDs, or both.

    Attributes
    ----------
    numbers : uint64 array of shape (n,), or None
        None when all ids are UUIDs; 0 where a single one is.
    uuids : uint8 array of shape (n, 16), or None
        The UUIDs' bytes, big-endian; None when all ids are numbers.
    is_uuid : bool array of shape (n,), or None
        Set only where both kinds occur.
    """

    numbers: NDArray[np.uint64] | None = None
    uuids: NDArray[np.uint8] | None = None
    is_uuid: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        if self.numbers is not None:
            return len(self.numbers)
        assert self.uuids is not None
        return len(self.uuids)

    def __getitem__(self, rows: Rows) -> Ids:
        return Ids(
            None if self.numbers is None else self.numbers[rows],
            None if self.uuids is None else self.uuids[rows],
            None if self.is_uuid is None else self.is_uuid[rows],
        )

    def tolist(self) -> list[int | str]:
        """Return Python integers and hyphenated lower-case UUID strings.

        Examples
        --------
        >>> Ids(numbers=np.array([7, 8], dtype=np.uint64)).tolist()
        [7, 8]
        """
        if self.uuids is None:
            assert self.numbers is not None
            return self.numbers.tolist()  # type: ignore[no-any-return]
        digits = self.uuids.tobytes().hex()
        texts: list[int | str] = [
            f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
            for h in (digits[at : at + 32] for at in range(0, len(digits), 32))
        ]
        if self.is_uuid is None or self.numbers is None:
            return texts
        numbers = self.numbers.tolist()
        return [
            text if is_uuid else number
            for text, number, is_uuid in zip(texts, numbers, self.is_uuid.tolist(), strict=True)
        ]


class VectorKind(StrEnum):
    """The three kinds of vectors that Qdrant stores."""

    DENSE = "dense"
    MULTI = "multi"
    SPARSE = "sparse"


@dataclass(frozen=True, slots=True)
class DenseBlock:
    """One vector a point.

    Attributes
    ----------
    rows : float32 array of shape (k, size), or sequence of k of shape (size,)
        C-contiguous vectors of the k points that have this one, in the points' order. A sequence
        is as they lie in the frame, for encoders that copy each row anyway.
    present : bool array of shape (n,), or None
        Which of the n points have it; None is all of them, and k is n.
    """

    rows: NDArray[np.float32] | Sequence[NDArray[np.float32]]
    present: NDArray[np.bool_] | None = None
    _values: list[NDArray[np.float32]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def values(self) -> NDArray[np.float32]:
        """The rows as one array of shape (k, size)."""
        if isinstance(self.rows, np.ndarray):
            return self.rows
        if not self._values:
            rows: Any = self.rows
            numbers = np.frombuffer(b"".join(rows), np.float32)
            self._values.append(numbers.reshape(len(rows), -1))
        return self._values[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return DenseBlock, (self.values, self.present)  # one array travels, not thousands


@dataclass(frozen=True, slots=True)
class MultiBlock:
    """Several vectors of one size a point.

    Attributes
    ----------
    values : float32 array of shape (sum of lengths, size)
        C-contiguous; the vectors of all points that have some, one after another.
    lengths : int64 array of shape (k,)
        How many vectors each of these k points has; never 0.
    present : bool array of shape (n,), or None
        As in `DenseBlock`.
    """

    values: NDArray[np.float32]
    lengths: NDArray[np.int64]
    present: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class SparseBlock:
    """Indices and values of the numbers that are not zero.

    Attributes
    ----------
    indices : uint32 array of shape (sum of lengths,)
        Unique within a point.
    values : float32 array of shape (sum of lengths,)
    lengths : int64 array of shape (k,)
        How many numbers each of the k points has; 0 is allowed.
    present : bool array of shape (n,), or None
        As in `DenseBlock`.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]
    lengths: NDArray[np.int64]
    present: NDArray[np.bool_] | None = None


VectorBlock = DenseBlock | MultiBlock | SparseBlock


class VectorColumn(ABC):
    """The vectors of one name, over the whole frame.

    Attributes
    ----------
    kind : VectorKind
    size : int or None
        Numbers in one vector; None for sparse vectors, and where no row has one.
    labels : tuple of hashable
        The columns of the frame that it is made from; none for what the caller gave beside it.
    noun : str
        What it is made from, for messages.
    """

    kind: VectorKind
    size: int | None
    labels: tuple[Hashable, ...] = ()
    noun: str = ""

    @abstractmethod
    def block(self, rows: Rows) -> VectorBlock:
        """Convert these rows."""

    @abstractmethod
    def numbers(self, rows: Rows) -> int | NDArray[np.int64]:
        """Count the float32 numbers of each of these rows (indices of sparse ones apart)."""


class PayloadKind(StrEnum):
    """What the cells of a payload column are once they are converted."""

    BOOL = "bool"
    INTEGER = "integer"
    FLOAT = "float"
    TEXT = "text"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts in UTF-8, one after another, as Arrow keeps them.

    Attributes
    ----------
    data : uint8 array
    offsets : int64 array of shape (n + 1,)
        Where in `data` each text begins, and where the last one ends; the first is 0.

    Examples
    --------
    >>> texts = Texts.of(["Alien", None, "Brazil"])
    >>> texts.lengths
    array([5, 0, 6])
    >>> texts.tolist()
    ['Alien', '', 'Brazil']
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        texts: Iterable[str | None] | NDArray[np.object_],
        missing: NDArray[np.bool_] | None = None,
    ) -> Texts:
        """Encode str; what is missing (None, NaN, NaT, NA) becomes an empty text.

        Parameters
        ----------
        texts : iterable or object array of n
        missing : bool array of shape (n,), optional
            Which are missing, whatever stands there: Arrow does not know the NaN of float32.

        Raises
        ------
        UnicodeEncodeError
            For half of a surrogate pair, which is no character and has no encoding.
        """
        import pyarrow as pa

        cells = texts if isinstance(texts, np.ndarray) else list(texts)
        return cls.of_arrow(pa.array(cells, pa.large_string(), mask=missing, from_pandas=True))

    @classmethod
    def of_arrow(cls, array: Any) -> Texts:
        """Take the texts of a pyarrow.Array of strings, as a view where that is possible."""
        import pyarrow as pa

        if array.type != pa.large_string():
            array = array.cast(pa.large_string())
        if array.null_count:
            array = array.fill_null("")
        if not len(array):
            return cls(np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64))
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, np.int64, len(array) + 1, 8 * array.offset)
        first, last = ends[[0, -1]].tolist()
        raw = np.frombuffer(data or b"", np.uint8)[first:last]
        return cls(raw, ends - first)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each text."""
        return np.diff(self.offsets)

    def take(self, at: NDArray[np.integer[Any]]) -> Texts:
        """Return the texts at these positions; -1 is the last one."""
        import pyarrow as pa

        at = at.astype(np.int64, copy=False)  # codes of 8 bits cannot count more than 127 texts
        indices = np.where(at < 0, at + len(self), at)
        return Texts.of_arrow(self.to_arrow().take(pa.array(indices)))

    def to_arrow(self) -> Any:
        """Return a pyarrow.LargeStringArray that is a view."""
        import pyarrow as pa

        buffers = [None, pa.py_buffer(self.offsets), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers)

    def tolist(self) -> list[str]:
        """Return Python's str."""
        texts: list[str] = self.to_arrow().to_pylist()
        return texts


@dataclass(frozen=True, slots=True)
class PayloadBlock:
    """Converted cells of one payload key.

    Attributes
    ----------
    key : str
    kind : PayloadKind
    values : array of shape (n,), Texts, or list of n
        A bool, int64 or finite float64 array for `BOOL`, `INTEGER` and `FLOAT`, and `Texts` for
        `TEXT` (anything where missing); a list of JSON-like Python values (None, bool, int within
        int64, finite float, str, list, dict with str keys) for `ANY`.
    missing : bool array of shape (n,), or None
        Cells without a value; None is none of them.
    drop : bool
        Whether a missing cell leaves the key out, instead of being null.
    """

    key: str
    kind: PayloadKind
    values: NDArray[Any] | Texts | Sequence[Any]
    missing: NDArray[np.bool_] | None = None
    drop: bool = False

    def tolist(self) -> list[Any]:
        """Return one JSON-like Python value a point, None where it is missing."""
        if not isinstance(self.values, np.ndarray | Texts):
            return list(self.values)
        values: list[Any] = self.values.tolist()
        if self.missing is not None:
            for at in np.flatnonzero(self.missing).tolist():
                values[at] = None
        return values


class PayloadColumn(ABC):
    """One payload key over the whole frame.

    Attributes
    ----------
    key : str
    kind : PayloadKind
    labels : tuple of hashable
        The columns of the frame that it is made from: one, or two for a geo point.
    """

    key: str
    kind: PayloadKind
    labels: tuple[Hashable, ...] = ()

    @abstractmethod
    def block(self, rows: Rows) -> PayloadBlock:
        """Convert these rows."""


@dataclass(frozen=True, slots=True)
class PointBlock:
    """The points of one batch, ready for an encoder.

    Attributes
    ----------
    ids : Ids
    vectors : mapping of str to VectorBlock
        By vector name, ``""`` for the unnamed one.
    payload : tuple of PayloadBlock
        Empty when `documents` is set.
    documents : list of dict, or None
        Whole payloads, for points that came as records.
    """

    ids: Ids
    vectors: Mapping[str, VectorBlock]
    payload: tuple[PayloadBlock, ...] = ()
    documents: Sequence[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def payloads(self) -> Sequence[dict[str, Any]]:
        """Return one payload dict a point."""
        if self.documents is not None:
            return self.documents
        payloads: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for column in self.payload:
            key = column.key
            for payload, value in zip(payloads, column.tolist(), strict=True):
                payload[key] = value
            if column.drop and column.missing is not None:
                for at in np.flatnonzero(column.missing).tolist():
                    del payloads[at][key]
        return payloads


@dataclass(frozen=True, slots=True)
class PointColumns:
    """All points of a frame, checked, converted lazily.

    Attributes
    ----------
    ids : Ids
        One a row of the frame; what stands at rows that were set aside means nothing.
    vectors : mapping of str to VectorColumn
    payload : tuple of PayloadColumn
    kept : int64 array, or None
        Positions of the rows that become points, ascending; None is all of them.
    documents : list of dict, or None
        As in `PointBlock`, one a row.
    """

    ids: Ids
    vectors: Mapping[str, VectorColumn]
    payload: tuple[PayloadColumn, ...] = ()
    kept: NDArray[np.int64] | None = None
    documents: Sequence[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.ids) if self.kept is None else len(self.kept)

    def rows(self, first: int, last: int) -> Rows:
        """Return the row positions of points ``first`` to ``last`` (half open)."""
        return slice(first, last) if self.kept is None else self.kept[first:last]

    def block(self, rows: Rows) -> PointBlock:
        """Convert these rows."""
        return PointBlock(
            self.ids[rows],
            {name: column.block(rows) for name, column in self.vectors.items()},
            tuple(column.block(rows) for column in self.payload),
            None if self.documents is None else [self.documents[at] for at in _positions(rows)],
        )


def _positions(rows: Rows) -> Iterator[int]:
    if isinstance(rows, slice):
        return iter(range(rows.start, rows.stop))
    return iter(rows.tolist())
