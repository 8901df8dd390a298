"""Comparing a block with what was read back: what the tests of `verify` do not reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qframe.comparison import ABSENT, compare, is_same
from qframe.points import DenseBlock, Ids, PayloadBlock, PayloadKind, PointBlock, VectorKind
from qframe.schema import VectorSchema
from qframe.stores.base import StoredPoint


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (1, 1.0, True),
        (1.0, 1, True),
        (2**53 + 1, float(2**53), False),
        (0.0, -0.0, True),
        (True, 1, False),
        (0, False, False),
        (1.0, True, False),
        ("1", 1, False),
        (None, False, False),
        (0.1, math.nextafter(0.1, 1), True),
        (0.1, 0.1 + 4 * math.ulp(0.1), False),
        (5e-324, 5e-324, True),
        ([1, [2]], [1.0, [2.0]], True),
        ([1, 2], [1], False),
        ([1], {"0": 1}, False),
        ({"a": None}, {}, False),
        ({"a": {"b": 1}}, {"a": {"b": True}}, False),
        ("é", "e\N{COMBINING ACUTE ACCENT}", False),
    ],
)
def test_values_that_are_the_same(expected: Any, found: Any, same: bool) -> None:
    """Numbers that are equal are, whatever their type; a boolean is no number."""
    assert is_same(expected, found) is same


def dense(values: Any, found: Any, **schema: Any) -> list[Any]:
    """Compare vectors; return what differs."""
    values = np.array(values, dtype=np.float32)
    block = PointBlock(
        Ids(numbers=np.arange(len(values), dtype=np.uint64)), {"": DenseBlock(values)}
    )
    points = [
        StoredPoint(at, {}, {"": np.array(row, dtype=np.float32)}) for at, row in enumerate(found)
    ]
    options = {"distance": "dot", **schema}
    size = values.shape[1]
    return compare(block, points, {"": VectorSchema(VectorKind.DENSE, size, **options)})


def test_numbers_that_are_none() -> None:
    """A vector that came back as NaN or infinity differs, and the text says where."""
    (nan, infinite) = dense([[1, 2], [3, 4], [5, 6]], [[1, np.nan], [np.inf, 4], [5, 6]])
    assert (nan.at, nan.expected) == (0, "2 at position 1")
    assert nan.found == "nan at position 1, the largest difference of 1 of 2 numbers"
    assert infinite.found.startswith("inf at position 0")


@pytest.mark.parametrize("length", [1e-30, 1e-10, 3.4e-4, 3.46e-4, 1e-3, 1.0, 1 + 4e-7, 1e10])
def test_vectors_of_any_length_by_cosine(length: float) -> None:
    """Of small vectors the engine makes nothing, of others unit vectors; both are as expected."""
    direction = np.random.default_rng(0).normal(size=(4, 16))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    rows = (direction * length).astype(np.float32)
    kept = rows if length**2 < 2**-23 else rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert dense(rows, kept, distance="cosine") == []
    assert len(dense(rows, -kept, distance="cosine")) == 4


def test_a_cosine_vector_that_became_nothing() -> None:
    """Beyond 1e19 the engine's sum of squares overflows, and nobody can find the vector again."""
    (lost,) = dense([[1e25, 1e25]], [[0, 0]], distance="cosine")
    assert lost.found.startswith("0 at position 0")


def test_halves_that_overflow() -> None:
    """What float16 cannot hold is infinite, and expected to be."""
    half = {"settings": {"datatype": "float16"}}
    assert dense([[1e6, 1 / 3]], [[np.inf, np.float16(1 / 3)]], **half) == []
    assert len(dense([[1e6, 1 / 3]], [[np.inf, 1 / 3]], **half)) == 1


@pytest.mark.parametrize("named", [None, "default", "float32"])
def test_the_usual_datatype(named: str | None) -> None:
    """A datatype that is not named, or only so, is float32."""
    assert len(dense([[1]], [[1.0000002]], settings={"datatype": named})) == 1
    assert dense([[1]], [[2]], settings={"datatype": "turbo4"}) == []


def test_a_key_that_is_dropped_is_not_expected() -> None:
    """A missing cell is a null, or with ``missing="drop"`` no key."""
    missing = np.array([False, True])
    values = np.array([1, 0])
    block = PointBlock(
        Ids(numbers=np.arange(2, dtype=np.uint64)),
        {},
        (
            PayloadBlock("a", PayloadKind.INTEGER, values, missing),
            PayloadBlock("b", PayloadKind.INTEGER, values, missing, drop=True),
        ),
    )
    points = [StoredPoint(0, {"a": 1, "b": 1}), StoredPoint(1, {"a": None})]
    assert compare(block, points, {}) == []
    points = [StoredPoint(0, {"a": 1, "b": 1}), StoredPoint(1, {"b": None})]
    told = [(one.at, one.name, one.expected, one.found) for one in compare(block, points, {})]
    assert told == [(1, "a", None, ABSENT), (1, "b", ABSENT, None)]
