from __future__ import annotations

import uuid
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc

from qframe.encoding.values import read_id, read_value, value_bytes, varint, write_id, write_value
from qframe.errors import InputError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abå", max_size=3), inner),
    max_leaves=20,
)


@given(json_values)
def test_values_come_back(value: Any) -> None:
    """A JSON-like value survives the way into a message and back, with its types."""
    back = read_value(write_value(value))
    assert back == value
    assert repr(back) == repr(value) or isinstance(value, dict | list)


@given(st.integers(0, 2**64 - 1))
def test_varint_is_what_protobuf_reads(number: int) -> None:
    """protobuf reads the number that was encoded."""
    assert grpc.PointId.FromString(b"\x08" + varint(number)).num == number


def test_subclasses_count_as_what_they_are() -> None:
    """Members of enums, which are integers or texts, travel as these."""
    number = IntEnum("Number", {"TWO": 2})
    text = StrEnum("Text", {"A": "a"})
    assert value_bytes(number.TWO) == value_bytes(2)
    assert write_id(number.TWO).num == 2
    assert value_bytes(text.A) == value_bytes("a")
    assert value_bytes((1, 2)) == value_bytes([1, 2])


def test_a_value_without_kind_is_null() -> None:
    """A server that sets no kind means null."""
    assert read_value(write_value(None)) is None
    assert read_value(type(write_value(None))()) is None


@pytest.mark.parametrize("point", [0, 2**64 - 1, "936da01f-9abd-4d9d-80c7-02af85c822a8"])
def test_ids_come_back(point: int | str) -> None:
    """An id survives the way into a message and back."""
    assert read_id(write_id(point)) == point


@pytest.mark.parametrize(
    "spelling",
    ["936DA01F9ABD4D9D80C702AF85C822A8", "urn:uuid:936da01f-9abd-4d9d-80c7-02af85c822a8"],
)
def test_uuids_are_sent_in_one_spelling(spelling: str) -> None:
    """Any spelling that Qdrant accepts is sent hyphenated and in lower case."""
    assert write_id(spelling).uuid == str(uuid.UUID(spelling))


@pytest.mark.parametrize("point", [-1, 2**64, True, None, 1.0, "7", ""])
def test_what_is_no_id_is_refused(point: object) -> None:
    """Only numbers from 0 to 2**64 - 1 and UUIDs are ids."""
    with pytest.raises(InputError, match="cannot be the id of a point"):
        write_id(point)
