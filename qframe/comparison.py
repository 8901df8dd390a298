"""What is stored of points, compared with what was to be stored.

Vectors are compared a page at a time, as one matrix; what Qdrant makes of them when it stores them
is made of the expected ones first. Payload is compared value by value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.points import DenseBlock, MultiBlock, PointBlock, VectorBlock, VectorKind
from qframe.schema import VectorSchema
from qframe.stores.base import SparseValue, StoredPoint, StoredVector

COSINE_TOLERANCE = 4e-6
"""Relative, for a number of a vector that the engine normalised in float32 while we do in float64.
Measured: 1.6 ulp (2e-7) up to 16,384 numbers, 2.4 ulp at 65,536. And the engine leaves a vector as
it is whose squared length is within 1e-6 of 1, which is 5e-7 in each number."""

UNTOUCHED = 1.001 * 2.0**-23
"""Squared length below which the engine does not normalise a vector, nearly zero to it (measured:
vectors of length 1e-10 came back as they were); a little more, for its sum is in float32."""

HALF_TOLERANCE = 2.0**-11
HALF_LEAST = 2.0**-25
"""Half of a unit in the last place of float16, relative, and absolute among subnormal numbers."""

FLOAT_ULPS = 2
"""The engine keeps a payload as JSON and reads a float back up to an ulp beside what was written;
servers share its code. Integers, and all that a float32 or a short decimal holds, are exact."""

COMPARABLE = ("float32", "float16", "uint8")
"""Datatypes of which we know what they make of a number; the turbo ones are lossy by design."""

ABSENT = pd.NA
"""Stands for a payload key that is not there, since None is a null that is."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing about a point that is not as expected.

    Attributes
    ----------
    at : int
        Place of the point in its block.
    problem : {"vector", "payload"}
    name : str
        Of the vector, or the payload key.
    expected, found : object
        JSON-like values, or `ABSENT`, for payload; for a vector a short text.
    """

    at: int
    problem: str
    name: str
    expected: Any
    found: Any


def datatype(schema: VectorSchema) -> str:
    """Return what a vector's numbers are stored as, by the names of the REST API.

    That of a sparse vector's index says nothing of what comes back: it was float32 with any.
    """
    named = schema.settings.get("datatype")
    named = getattr(named, "value", named)
    return "float32" if named in (None, "default") or schema.kind is VectorKind.SPARSE else named


def compare(
    block: PointBlock, found: Sequence[StoredPoint], schemas: Mapping[str, VectorSchema]
) -> list[Difference]:
    """Compare points with what was read back of them.

    Parameters
    ----------
    block : PointBlock
        What is expected.
    found : sequence of StoredPoint
        One a point of the block, in this order.
    schemas : mapping of str to VectorSchema
        The collection's vectors.

    Returns
    -------
    list of Difference
        By point; of a point first vectors, then payload.
    """
    differences: list[Difference] = []
    for name, schema in schemas.items():
        stored = [point.vectors.get(name) for point in found]
        differences += _vectors(name, block.vectors.get(name), stored, schema)
    for at, (expected, point) in enumerate(zip(block.payloads(), found, strict=True)):
        differences += _payload(at, expected, point.payload)
    return sorted(differences, key=lambda difference: difference.at)  # stable


# ---- Payload ----


def _payload(
    at: int, expected: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[Difference]:
    for key, value in expected.items():
        stored = found.get(key, ABSENT)
        if stored is ABSENT or not is_same(value, stored):
            yield Difference(at, "payload", key, value, stored)
    if not found.keys() <= expected.keys():
        for key, stored in found.items():
            if key not in expected:
                yield Difference(at, "payload", key, ABSENT, stored)


def is_same(expected: Any, found: Any) -> bool:
    """Whether two JSON-like values are the same one.

    A number is a number, 1 and 1.0 alike, and a boolean is none; floats may be `FLOAT_ULPS` apart.

    Examples
    --------
    >>> is_same({"a": [1, 0.1]}, {"a": [1.0, 0.1]})
    True
    >>> is_same(1, True)
    False
    """
    kind = type(expected)
    if kind is type(found):
        if kind is float:
            return bool(abs(expected - found) <= FLOAT_ULPS * math.ulp(expected))
        if kind is dict:
            return expected.keys() == found.keys() and all(
                is_same(value, found[key]) for key, value in expected.items()
            )
        if kind is list:
            return len(expected) == len(found) and all(map(is_same, expected, found))
        return bool(expected == found)
    return {kind, type(found)} == {int, float} and bool(expected == found)


# ---- Vectors ----

Pair = tuple[Any, Any]
"""A vector as it is expected and as it was found, of the same kind and size."""


def _vectors(
    name: str,
    block: VectorBlock | None,
    found: Sequence[StoredVector | None],
    schema: VectorSchema,
) -> Iterator[Difference]:
    """Compare the vectors of one name."""
    expected = [None] * len(found) if block is None else _each(block)
    places: list[int] = []
    pairs: list[Pair] = []
    for at, (wanted, stored) in enumerate(zip(expected, found, strict=True)):
        if _shape(wanted) != _shape(stored):
            yield Difference(at, "vector", name, _extent(wanted), _extent(stored))
        elif wanted is not None:
            places.append(at)
            pairs.append((wanted, stored))
    if pairs and datatype(schema) in COMPARABLE:
        compared = _sparse(pairs) if schema.kind is VectorKind.SPARSE else _dense(pairs, schema)
        for number, text, other in compared:
            yield Difference(places[number], "vector", name, text, other)


def _each(block: VectorBlock) -> list[StoredVector | None]:
    """Return views of the single vectors of a block, None where a point has none."""
    some: Sequence[StoredVector]
    if isinstance(block, DenseBlock):
        some = list(block.values)
    else:
        ends = np.cumsum(block.lengths)[:-1]
        if isinstance(block, MultiBlock):
            some = np.split(block.values, ends)
        else:
            halves = np.split(block.indices, ends), np.split(block.values, ends)
            some = list(zip(*halves, strict=True))
    if block.present is None:
        return list(some)
    following = iter(some)
    return [next(following) if is_there else None for is_there in block.present.tolist()]


def _shape(vector: StoredVector | None) -> tuple[int, ...] | None:
    if isinstance(vector, tuple):
        return (-1, len(vector[0]))  # no shape that an array has
    return None if vector is None else vector.shape


def _extent(vector: StoredVector | None) -> str:
    if vector is None:
        return "no vector"
    if isinstance(vector, tuple):
        return f"{len(vector[0])} indices"
    return (
        f"size {vector.size}"
        if vector.ndim == 1
        else " vectors of size ".join(map(str, vector.shape))
    )


def _dense(pairs: Sequence[Pair], schema: VectorSchema) -> Iterator[tuple[int, str, str]]:
    """Compare vectors and multivectors; yield the number of a pair, and two texts."""
    wanted = np.concatenate([np.atleast_2d(pair[0]) for pair in pairs])
    stored = np.concatenate([np.atleast_2d(pair[1]) for pair in pairs])
    if np.array_equal(wanted, stored):
        return
    of_pair, starts = _spans([len(np.atleast_2d(pair[0])) for pair in pairs])
    expected, differs = _stored_form(wanted, stored, schema)
    for number in np.unique(of_pair[differs.any(axis=1)]).tolist():
        rows = slice(starts[number], starts[number + 1])
        with np.errstate(invalid="ignore"):  # infinity less infinity
            gap = np.abs(stored[rows] - expected[rows])
        gap = np.where(differs[rows], np.where(np.isnan(gap), np.inf, gap), -1.0)
        at = np.unravel_index(np.argmax(gap), gap.shape)
        place = ", ".join(map(str, at)) if pairs[number][0].ndim == 2 else str(at[1])
        count = f"{int(differs[rows].sum()):,} of {gap.size:,} numbers"
        yield (
            number,
            f"{expected[rows][at]:.7g} at position {place}",
            f"{stored[rows][at]:.7g} at position {place}, the largest difference of {count}",
        )


def _spans(lengths: Sequence[int]) -> tuple[NDArray[np.int64], list[int]]:
    """Return the pair of each row, and where the rows of each pair begin, and the last end."""
    of_pair = np.repeat(np.arange(len(lengths)), lengths)
    return of_pair, [0, *np.cumsum(lengths).tolist()]


def _stored_form(
    wanted: NDArray[np.float32], stored: NDArray[np.float32], schema: VectorSchema
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return what Qdrant makes of vectors, and where what was found is something else."""
    kind = datatype(schema)
    if kind == "uint8":
        # Cut off and clamped, and never normalised, not for cosine either (measured).
        whole = np.clip(np.trunc(wanted), 0, 255)
        return whole, stored != whole
    plain: NDArray[Any] = wanted
    if kind == "float16":
        with np.errstate(over="ignore"):  # beyond 65,504 it is infinite there too
            plain = wanted.astype(np.float16).astype(np.float32)
    if schema.distance != "cosine":
        return plain, stored != plain
    wide = wanted.astype(np.float64)
    squares = np.einsum("ij,ij->i", wide, wide)[:, np.newaxis]
    unit = wide / np.sqrt(np.where(squares > 0, squares, 1.0))
    relative, least = COSINE_TOLERANCE, float(np.finfo(np.float32).tiny)
    if kind == "float16":
        relative, least = relative + HALF_TOLERANCE, HALF_LEAST
    with np.errstate(invalid="ignore"):  # infinity less infinity
        is_unit = np.abs(stored - unit) <= np.abs(unit) * relative + least
    is_plain = (stored == plain) & (squares <= UNTOUCHED)
    return np.where(squares <= UNTOUCHED, plain, unit), ~(is_unit | is_plain)


def _sparse(pairs: Sequence[Pair]) -> Iterator[tuple[int, str, str]]:
    """Compare sparse vectors, whose indices the server sorts; as `_dense`."""
    of_pair, starts = _spans([len(pair[0][0]) for pair in pairs])
    wanted, stored = (_sorted([pair[side] for pair in pairs], of_pair) for side in (0, 1))
    differs = (wanted[0] != stored[0]) | (wanted[1] != stored[1])
    for number in np.unique(of_pair[differs]).tolist():
        at = starts[number] + int(np.argmax(differs[starts[number] : starts[number + 1]]))
        yield (
            number,
            f"{wanted[1][at]:.7g} for index {wanted[0][at]}",
            f"{stored[1][at]:.7g} for index {stored[0][at]}, the first difference",
        )


def _sorted(vectors: Sequence[SparseValue], of_pair: NDArray[np.int64]) -> SparseValue:
    """Join sparse vectors, each sorted by its indices."""
    indices = np.concatenate([vector[0] for vector in vectors])
    values = np.concatenate([vector[1] for vector in vectors])
    order = np.lexsort((indices, of_pair))
    return indices[order], values[order]
