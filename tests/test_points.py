from __future__ import annotations

import pickle
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.mapping.vectors.dense import MatrixColumn
from qframe.points import (
    DenseBlock,
    Ids,
    PayloadBlock,
    PayloadKind,
    PointBlock,
    PointColumns,
    Texts,
    row_count,
)


@given(st.lists(st.integers(0, 2**64 - 1) | st.uuids(), min_size=1))
def test_ids_of_both_kinds_come_back(ids: list[int | uuid.UUID]) -> None:
    """Numbers and UUIDs side by side are listed as they were, as a whole and in parts."""
    is_uuid = np.array([isinstance(point, uuid.UUID) for point in ids])
    numbers = np.array([0 if isinstance(p, uuid.UUID) else p for p in ids], dtype=np.uint64)
    raw = b"".join(p.bytes if isinstance(p, uuid.UUID) else bytes(16) for p in ids)
    uuids = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 16)
    wanted = [str(p) if isinstance(p, uuid.UUID) else p for p in ids]
    mixed = Ids(numbers, uuids, is_uuid)
    assert len(mixed) == len(ids)
    assert mixed.tolist() == wanted
    assert mixed[slice(1, None)].tolist() == wanted[1:]
    assert mixed[np.array([0])].tolist() == wanted[:1]
    assert Ids(uuids=uuids)[is_uuid.nonzero()[0]].tolist() == [p for p in wanted if type(p) is str]


def test_payloads_of_several_columns() -> None:
    """A row is a dict of all keys; what is missing is null, or not there, by column."""
    missing = np.array([False, True])
    block = PointBlock(
        Ids(numbers=np.arange(2, dtype=np.uint64)),
        {},
        (
            PayloadBlock("n", PayloadKind.INTEGER, np.array([1, 2])),
            PayloadBlock("x", PayloadKind.FLOAT, np.array([0.5, np.nan]), missing),
            PayloadBlock("t", PayloadKind.TEXT, Texts.of(["a", None]), missing, drop=True),
        ),
    )
    assert block.payloads() == [{"n": 1, "x": 0.5, "t": "a"}, {"n": 2, "x": None}]
    assert len(PointBlock(block.ids, {}).payloads()) == 2


def test_points_know_which_rows_they_are() -> None:
    """Rows are a range while all are kept, and positions once some were set aside."""
    ids = Ids(numbers=np.arange(5, dtype=np.uint64))
    whole = PointColumns(ids, {"": MatrixColumn(np.zeros((5, 2), np.float32))})
    assert (len(whole), whole.rows(1, 3)) == (5, slice(1, 3))
    some = PointColumns(ids, {}, kept=np.array([0, 2, 4]))
    assert len(some) == 3
    assert some.rows(1, 3).tolist() == [2, 4]  # type: ignore[union-attr]
    assert (row_count(slice(1, 3)), row_count(np.array([2, 4, 0]))) == (2, 3)


def test_documents_are_picked_by_row() -> None:
    """Payloads that came as records go with their rows."""
    documents = [{"n": n} for n in range(4)]
    points = PointColumns(Ids(numbers=np.arange(4, dtype=np.uint64)), {}, documents=documents)
    assert points.block(slice(1, 3)).payloads() == [{"n": 1}, {"n": 2}]
    assert points.block(np.array([0, 3])).payloads() == [{"n": 0}, {"n": 3}]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(st.lists(st.none() | TEXTS), st.integers(0, 3), st.sampled_from(["string", "large_string"]))
def test_texts_of_a_part_of_an_arrow_array(texts: list[str | None], start: int, kind: str) -> None:
    """Texts begin at 0 wherever in Arrow's buffers they lie, and are empty where one is missing."""
    part = pa.array(texts, getattr(pa, kind)()).slice(start)
    taken = Texts.of_arrow(part)
    assert taken.tolist() == [text or "" for text in texts[start:]]
    assert taken.lengths.tolist() == [len(text.encode()) for text in taken.tolist()]
    assert taken.offsets[0] == 0
    again = pickle.loads(pickle.dumps(taken, protocol=5))
    assert again.tolist() == taken.tolist()
    if len(taken):
        at = np.array([-1, 0, len(taken) - 1, 0])
        assert taken.take(at).tolist() == [taken.tolist()[position] for position in at.tolist()]


def test_texts_are_taken_by_positions_of_any_width() -> None:
    """Positions of 8 bits find their texts where there are more than 127."""
    texts = Texts.of(str(number) for number in range(200))
    assert texts.take(np.array([-1, 0, 127], dtype=np.int8)).tolist() == ["199", "0", "127"]


def test_texts_of_cells_know_what_is_missing() -> None:
    """None, NaN, NaT and NA have no text; half of a surrogate pair is an error."""
    cells = np.array(["a", None, np.nan, pd.NaT, pd.NA, "ø"], dtype=object)
    assert Texts.of(cells).tolist() == ["a", "", "", "", "", "ø"]
    with pytest.raises(UnicodeEncodeError):
        Texts.of(["\ud800"])


def test_vectors_that_lie_apart_travel_as_one_array() -> None:
    """Arrays of a block are one matrix for whoever asks for it, and after pickling."""
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    block = DenseBlock(list(matrix), np.array([True, False, True]))
    assert (block.values == matrix).all()
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(block, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 2
    again = pickle.loads(data, buffers=buffers)
    assert (again.values == matrix).all()
    assert again.present.tolist() == [True, False, True]
