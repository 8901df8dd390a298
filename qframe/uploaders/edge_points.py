"""Points by column into points of the embedded engine, checked first.

The engine checks late or never: a wrong dimension leaves a batch partly applied, NaN is stored, and
a ragged multivector or a sparse vector with too few values makes the collection unloadable. So the
whole batch is checked here, in numpy where it can be. Of some 26 µs a point at 384 dims, that takes
less than 0.1; for a sparse vector of 60 numbers as little where its indices ascend and 2.7 where
they do not; 1 for a payload of four keys with lists in it.

The engine takes points one by one: about 15 of these µs go into its own reading of their Python
objects, 10 of them into a payload of four keys, since it tries each value as one type after another
(a text is the fifth: 3 µs, a float 2.4, an integer 1.2, None 0.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qframe.encoding.base import Measure, json_widths
from qframe.errors import InvalidRequest
from qframe.points import (
    DenseBlock,
    Ids,
    MultiBlock,
    PayloadKind,
    PointBlock,
    SparseBlock,
    Texts,
    VectorBlock,
    VectorKind,
)
from qframe.schema import VectorSchema
from qframe.transports.edge_handle import engine

MAX_DEPTH = 64
"""Containers within each other in a payload value. From 124 on the engine stores what it cannot
load again, and 5,000 end the process."""


def _text_width(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) + 9


def _texts_width(texts: Texts) -> NDArray[np.int64]:
    return texts.lengths + 9


def _values_width(values: Iterable[Any]) -> NDArray[np.int64]:
    return json_widths(values, overhead=9)  # a number, or the head of anything else


MEASURE = Measure(
    # An empty one with a UUID took 38 bytes, its share of the operation included.
    point=64,
    vector=40,
    number=5,
    index=5,
    cell=9,
    text=_text_width,
    texts=_texts_width,
    values=_values_width,
)
"""Upper bounds of the points in the engine's write-ahead log, which is CBOR: the one place where a
batch has bytes here."""


def edge_points(block: PointBlock, vectors: Mapping[str, VectorSchema]) -> list[Any]:
    """Build the engine's points.

    Parameters
    ----------
    block : PointBlock
    vectors : mapping of str to VectorSchema
        Those of the collection.

    Returns
    -------
    list of qdrant_edge.Point

    Raises
    ------
    InvalidRequest
        Where a point does not fit the collection, or could not be read back.
    """
    n = len(block)
    _check_ids(block.ids)
    for name, vector in block.vectors.items():
        _check_vector(name, vector, vectors, n)
    _check_payload(block)
    payloads = block.payloads()
    if len(payloads) != n:
        raise InvalidRequest(f"{len(payloads)} payloads for {n} points")
    make = engine().Point
    ids = block.ids.tolist()
    try:
        # A loop of Python's, and not `map`: so other threads get a turn between the points.
        parts = zip(ids, _vectors(block), payloads, strict=True)
        return [make(point, vector, payload) for point, vector, payload in parts]
    except (TypeError, ValueError, OverflowError) as error:
        raise _refusal(make, ids, payloads, error) from error


def vector_bytes(block: PointBlock) -> int:
    """Count the bytes of the vectors' numbers, sparse indices included."""
    return sum(
        vector.values.nbytes + (vector.indices.nbytes if isinstance(vector, SparseBlock) else 0)
        for vector in block.vectors.values()
    )


def _refusal(
    make: Callable[..., Any],
    ids: Sequence[int | str],
    payloads: Sequence[dict[str, Any]],
    error: Exception,
) -> InvalidRequest:
    """Say which point the engine does not take; by now it can only be the payload."""
    for point, payload in zip(ids, payloads, strict=True):
        for key, value in payload.items():
            try:
                make(point, {}, {key: value})
            except (TypeError, ValueError, OverflowError):
                reason = "holds what the embedded engine does not take, such as text that is no "
                return InvalidRequest(f"point {point}: payload {key!r} {reason}valid Unicode")
    return InvalidRequest(f"the embedded engine does not take a point: {error}")


def _vectors(block: PointBlock) -> Iterator[Any]:
    """Yield what each point gets as its vector.

    The unnamed vector by itself takes 2 µs a point less than in a dict, and a multivector 2.7.
    """
    if len(block.vectors) == 1:
        ((name, only),) = block.vectors.items()
        if name == "" and only.present is None and not isinstance(only, SparseBlock):
            return _values(only)
    points: list[dict[str, Any]] = [{} for _ in range(len(block))]
    for name, vector in block.vectors.items():
        having = (
            points
            if vector.present is None
            else [points[at] for at in np.flatnonzero(vector.present).tolist()]
        )
        for vectors, value in zip(having, _values(vector), strict=True):
            vectors[name] = value
    return iter(points)


def _values(vector: VectorBlock) -> Iterator[Any]:
    """Yield the engine's value for each point that has this vector."""
    if isinstance(vector, DenseBlock):
        yield from _rows(vector.values)
        return
    bounds = pairwise([0, *np.cumsum(vector.lengths).tolist()])
    if isinstance(vector, MultiBlock):
        rows = _rows(vector.values)
        for first, last in bounds:
            yield rows[first:last]
        return
    sparse = engine().SparseVector
    indices = vector.indices.data  # 0.8 µs less than lists, with 60 numbers
    values = np.ascontiguousarray(vector.values, dtype=np.float32).data
    for first, last in bounds:
        yield sparse(indices[first:last], values[first:last])


def _rows(matrix: NDArray[np.float32]) -> list[memoryview]:
    """Return a memoryview of each row, the form that the engine reads fastest.

    With a point made of each, rows of 384 numbers take 4.6 µs like this, 7 as lists and 16 as
    arrays. To slice one memoryview takes 0.09 µs a row, to make one of each row 0.16.
    """
    numbers = np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1).data
    size = matrix.shape[1]
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]


def _check_ids(ids: Ids) -> None:
    n = len(ids)
    if ids.numbers is not None and ids.numbers.dtype.kind != "u":
        raise InvalidRequest(
            f"ids are unsigned integers or UUIDs, and these are {ids.numbers.dtype}"
        )
    if ids.uuids is not None and (ids.uuids.dtype != np.uint8 or ids.uuids.shape != (n, 16)):
        raise InvalidRequest(
            f"UUIDs are 16 bytes each, and these {ids.uuids.dtype} of shape {ids.uuids.shape}"
        )


def _check_vector(
    name: str, vector: VectorBlock, vectors: Mapping[str, VectorSchema], n: int
) -> None:
    where = f"vector {name!r}"
    schema = vectors.get(name)
    if schema is None:
        known = ", ".join(map(repr, vectors)) or "none"
        raise InvalidRequest(f"{where}: the collection has no such vector; it has {known}")
    kind = _KINDS[type(vector)]
    if kind is not schema.kind:
        raise InvalidRequest(
            f"{where} is {schema.kind.value} in the collection, and {kind.value} here"
        )
    if vector.present is not None and len(vector.present) != n:
        raise InvalidRequest(f"{where}: {len(vector.present)} marks of presence for {n} points")
    having = n if vector.present is None else int(np.count_nonzero(vector.present))
    count = len(vector.values) if isinstance(vector, DenseBlock) else len(vector.lengths)
    if count != having:
        raise InvalidRequest(f"{where}: {count} values for {having} points")
    if not isinstance(vector, DenseBlock):
        fewest = 1 if isinstance(vector, MultiBlock) else 0
        if count and vector.lengths.min() < fewest:
            raise InvalidRequest(f"{where}: an empty multivector, or a negative length")
        if vector.lengths.sum() != len(vector.values):
            raise InvalidRequest(
                f"{where}: lengths for {vector.lengths.sum()} values, "
                f"and there are {len(vector.values)}"
            )
    if isinstance(vector, SparseBlock):
        _check_indices(where, vector)
    elif vector.values.ndim != 2 or vector.values.shape[1] != schema.size:
        raise InvalidRequest(
            f"{where}: the collection wants vectors of size {schema.size}, "
            f"and these are of shape {vector.values.shape}"
        )
    finite = np.isfinite(vector.values)
    if not finite.all():
        raise InvalidRequest(
            f"{where}: {finite.size - np.count_nonzero(finite)} of its numbers are NaN or infinite"
        )


_KINDS = {
    DenseBlock: VectorKind.DENSE,
    MultiBlock: VectorKind.MULTI,
    SparseBlock: VectorKind.SPARSE,
}


def _check_indices(where: str, vector: SparseBlock) -> None:
    indices = vector.indices
    if len(indices) != len(vector.values):
        raise InvalidRequest(f"{where}: {len(indices)} indices for {len(vector.values)} values")
    if indices.dtype != np.uint32:
        raise InvalidRequest(f"{where}: indices are uint32, and these {indices.dtype}")
    rising = np.empty(len(indices), dtype=np.bool_)
    rising[1:] = indices[1:] > indices[:-1]
    starts = np.cumsum(vector.lengths) - vector.lengths
    rising[starts[vector.lengths > 0]] = True
    if rising.all():
        return
    owners = np.repeat(np.arange(len(vector.lengths), dtype=np.uint64), vector.lengths)
    keys = np.sort(owners << np.uint64(32) | indices)
    if len(keys) > 1 and (keys[1:] == keys[:-1]).any():
        raise InvalidRequest(f"{where}: an index stands twice in a sparse vector")


def _check_payload(block: PointBlock) -> None:
    for column in block.payload:
        if column.kind is PayloadKind.ANY:
            for value in column.tolist():
                _check_value(value, column.key, 0)
    for document in block.documents or ():
        if type(document) is not dict:
            raise InvalidRequest(f"a payload is a dict, not {type(document).__name__}")
        for key, value in document.items():
            _check_value(value, key, 0)


def _check_value(value: Any, where: object, depth: int) -> None:
    """See that a value can be stored as it is and read back; `where` is its key."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        pass
    elif kind is int:
        # Beyond this the engine makes it a float, silently.
        if not -(2**63) <= value < 2**64:
            raise InvalidRequest(f"payload {where!r}: {value} does not fit 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidRequest(f"payload {where!r}: {value} is not a number of JSON's")
    elif kind is list or kind is dict:
        if depth >= MAX_DEPTH:
            raise InvalidRequest(
                f"payload {where!r}: nested more than {MAX_DEPTH} deep, "
                "which the embedded engine could not load again"
            )
        for inner in value if kind is list else value.values():
            _check_value(inner, where, depth + 1)
    else:
        raise InvalidRequest(f"payload {where!r}: {kind.__name__} is no type of JSON's")
