from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http import models

from qframe.encoding.protobuf import MEASURE, encode_options, encode_points
from qframe.errors import InputError
from qframe.points import (
    DenseBlock,
    Ids,
    MultiBlock,
    PayloadBlock,
    PayloadColumn,
    PayloadKind,
    PointBlock,
    PointColumns,
    Rows,
    SparseBlock,
    Texts,
    VectorBlock,
    VectorColumn,
    VectorKind,
)
from qframe.write import WriteOptions

# ---- What the official classes make of a block ----


def official(block: PointBlock) -> grpc.UpsertPoints:
    """Build the request with the official classes, value by value."""
    vectors = {name: values_of(one, len(block)) for name, one in block.vectors.items()}
    points = []
    rows = zip(block.ids.tolist(), block.payloads(), strict=True)
    for at, (point, payload) in enumerate(rows):
        present = {name: ones[at] for name, ones in vectors.items() if ones[at] is not None}
        if list(vectors) == [""] and present:
            wrapped = grpc.Vectors(vector=present[""])
        else:
            wrapped = grpc.Vectors(vectors=grpc.NamedVectors(vectors=present))
        point_id = grpc.PointId(num=point) if isinstance(point, int) else grpc.PointId(uuid=point)
        fields = {key: value(one) for key, one in payload.items()}
        points.append(grpc.PointStruct(id=point_id, payload=fields, vectors=wrapped))
    return grpc.UpsertPoints(points=points)


def values_of(block: VectorBlock, points: int) -> list[grpc.Vector | None]:
    """Build the vectors of one name, None for the points that lack it."""
    present = [True] * points if block.present is None else block.present.tolist()
    if isinstance(block, DenseBlock):
        found = [grpc.Vector(dense=grpc.DenseVector(data=row)) for row in block.values]
    else:
        found = []
        ends = np.cumsum(block.lengths)
        for start, end in zip(ends - block.lengths, ends, strict=True):
            if isinstance(block, MultiBlock):
                rows = [grpc.DenseVector(data=row) for row in block.values[start:end]]
                multi = grpc.MultiDenseVector(vectors=rows)
                found.append(grpc.Vector(multi_dense=multi))
            else:
                sparse = grpc.SparseVector(
                    values=block.values[start:end], indices=block.indices[start:end].tolist()
                )
                found.append(grpc.Vector(sparse=sparse))
    rest = iter(found)
    return [next(rest) if has else None for has in present]


def value(given: Any) -> grpc.Value:
    """Build a value with the official classes."""
    if given is None:
        return grpc.Value(null_value=grpc.NullValue.NULL_VALUE)
    if isinstance(given, bool):
        return grpc.Value(bool_value=given)
    if isinstance(given, int):
        return grpc.Value(integer_value=given)
    if isinstance(given, float):
        return grpc.Value(double_value=given)
    if isinstance(given, str):
        return grpc.Value(string_value=given)
    if isinstance(given, dict):
        fields = {key: value(one) for key, one in given.items()}
        return grpc.Value(struct_value=grpc.Struct(fields=fields))
    return grpc.Value(list_value=grpc.ListValue(values=[value(one) for one in given]))


# ---- Blocks of every kind ----

int64s = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | int64s | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def float32s(draw: st.DrawFn, *shape: int) -> NDArray[np.float32]:
    """Draw an array of float32."""
    numbers = st.floats(width=32, allow_nan=False)
    drawn = draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(drawn, dtype=np.float32).reshape(shape)


def masks(points: int) -> st.SearchStrategy[NDArray[np.bool_] | None]:
    """Draw which points have something, or None for all of them."""
    flags = st.lists(st.booleans(), min_size=points, max_size=points)
    return st.none() | flags.map(lambda drawn: np.array(drawn, dtype=bool))


@st.composite
def ids(draw: st.DrawFn, points: int) -> Ids:
    """Draw ids of one kind, or of both."""
    drawn = draw(st.lists(st.integers(0, 2**64 - 1), min_size=points, max_size=points))
    numbers = np.array(drawn, dtype=np.uint64)
    raw = draw(st.binary(min_size=16 * points, max_size=16 * points))
    uuids = np.frombuffer(raw, dtype=np.uint8).reshape(points, 16)
    is_uuid = draw(masks(points))
    if is_uuid is not None:
        return Ids(numbers, uuids, is_uuid)
    return draw(st.sampled_from([Ids(numbers=numbers), Ids(uuids=uuids)]))


@st.composite
def vectors(draw: st.DrawFn, points: int) -> VectorBlock:
    """Draw the vectors of one name."""
    present = draw(masks(points))
    count = points if present is None else int(present.sum())
    size = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(VectorKind))
    if kind is VectorKind.DENSE:
        matrix = float32s(draw, count, size)
        return DenseBlock(
            draw(st.sampled_from([matrix, list(matrix)])) if count else matrix, present
        )
    shortest = 1 if kind is VectorKind.MULTI else 0
    drawn = draw(st.lists(st.integers(shortest, 4), min_size=count, max_size=count))
    lengths = np.array(drawn, dtype=np.int64)
    total = int(lengths.sum())
    if kind is VectorKind.MULTI:
        return MultiBlock(float32s(draw, total, size), lengths, present)
    each = [
        draw(st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n, unique=True))
        for n in drawn
    ]
    indices = np.array([index for one in each for index in one], dtype=np.uint32)
    return SparseBlock(indices, float32s(draw, total), lengths, present)


@st.composite
def cells(draw: st.DrawFn, key: str, points: int) -> PayloadBlock:
    """Draw a payload column."""
    kind = draw(st.sampled_from(PayloadKind))
    missing = draw(masks(points))
    each = {
        PayloadKind.BOOL: st.booleans(),
        PayloadKind.INTEGER: int64s,
        PayloadKind.FLOAT: floats,
        PayloadKind.TEXT: texts,
        PayloadKind.ANY: json_values,
    }[kind]
    drawn: list[Any] = draw(st.lists(each, min_size=points, max_size=points))
    if missing is not None and kind in (PayloadKind.TEXT, PayloadKind.ANY):
        drawn = [None if lacks else cell for lacks, cell in zip(missing, drawn, strict=True)]
    dtypes = {PayloadKind.BOOL: bool, PayloadKind.INTEGER: np.int64, PayloadKind.FLOAT: float}
    values: Any = np.array(drawn, dtype=dtypes[kind]) if kind in dtypes else drawn
    if kind is PayloadKind.TEXT:
        values = Texts.of(drawn)
    return PayloadBlock(key, kind, values, missing, draw(st.booleans()))


@st.composite
def blocks(draw: st.DrawFn) -> PointBlock:
    """Draw points."""
    points = draw(st.integers(0, 5))
    names = draw(st.just([""]) | st.lists(texts, max_size=3, unique=True))
    by_name = {name: draw(vectors(points)) for name in names}
    if draw(st.booleans()):
        each = st.dictionaries(texts, json_values, max_size=3)
        documents = draw(st.lists(each, min_size=points, max_size=points))
        return PointBlock(draw(ids(points)), by_name, documents=documents)
    keys = draw(st.lists(texts, max_size=4, unique=True))
    payload = tuple(draw(cells(key, points)) for key in keys)
    return PointBlock(draw(ids(points)), by_name, payload)


@given(blocks())
def test_official_classes_read_what_was_meant(block: PointBlock) -> None:
    """The official message parses our bytes to the one that the official classes build."""
    assert grpc.UpsertPoints.FromString(encode_points(block)) == official(block)


# ---- Single cases, for what a random block seldom has ----


def one(**given: Any) -> PointBlock:
    """Build a block of one point."""
    return PointBlock(**{"ids": numbered(1), "vectors": {}, **given})


def numbered(points: int) -> Ids:
    """Count ids from 0."""
    return Ids(numbers=np.arange(points, dtype=np.uint64))


def sent(block: PointBlock) -> Any:
    """Read the points as the server would."""
    return grpc.UpsertPoints.FromString(encode_points(block)).points


def test_point_without_vectors_says_so() -> None:
    """A point without vectors carries an empty NamedVectors, for a server refuses one without."""
    absent = DenseBlock(np.zeros((0, 3), np.float32), np.array([False]))
    for vectors in ({}, {"": absent}, {"a": absent}):
        (point,) = sent(one(vectors=vectors))
        assert point.vectors.WhichOneof("vectors_options") == "vectors"


def test_unnamed_vector_beside_a_named_one() -> None:
    """The unnamed vector travels under the empty name as soon as there is another."""
    dense = DenseBlock(np.ones((1, 2), np.float32))
    (point,) = sent(one(vectors={"": dense, "b": dense}))
    assert sorted(point.vectors.vectors.vectors) == ["", "b"]


def test_special_numbers_keep_their_bits() -> None:
    """NaN with its payload, infinities and minus zero arrive bit by bit."""
    raw = np.array([[0x7FC00001, 0xFF800000, 0x80000000, 1]], dtype=np.uint32)
    (point,) = sent(one(vectors={"": DenseBlock(raw.view(np.float32))}))
    assert point.vectors.vector.dense.SerializeToString()[2:] == raw.astype("<u4").tobytes()


def test_zeros_of_both_signs_stay_apart() -> None:
    """Equal floats with different bits are not taken for each other."""
    column = PayloadBlock("x", PayloadKind.FLOAT, np.array([0.0, -0.0, 0.0]))
    points = sent(PointBlock(numbered(3), {}, (column,)))
    signs = [math.copysign(1, point.payload["x"].double_value) for point in points]
    assert signs == [1, -1, 1]


def test_booleans_are_no_integers() -> None:
    """True in a list of mixed values stays a boolean, and 1 beside it an integer."""
    column = PayloadBlock("x", PayloadKind.ANY, [True, 1, 1.0])
    points = sent(PointBlock(numbered(3), {}, (column,)))
    kinds = [point.payload["x"].WhichOneof("kind") for point in points]
    assert kinds == ["bool_value", "integer_value", "double_value"]


def test_missing_cells_are_null_or_left_out() -> None:
    """A missing cell is null, or, where the column drops them, leaves its key out."""
    missing = np.array([True, False])
    values = np.array([1, 2])
    columns = (
        PayloadBlock("null", PayloadKind.INTEGER, values, missing),
        PayloadBlock("drop", PayloadKind.INTEGER, values, missing, drop=True),
    )
    first, second = sent(PointBlock(numbered(2), {}, columns))
    assert list(first.payload) == ["null"]
    assert first.payload["null"].WhichOneof("kind") == "null_value"
    assert (second.payload["null"].integer_value, second.payload["drop"].integer_value) == (2, 2)


WIDE = np.random.default_rng(7).random((1000, 1536), dtype=np.float32)
EVEN = np.arange(1000) % 2 == 0


@pytest.mark.parametrize(
    "vectors",
    [
        {"": DenseBlock(WIDE)},
        {"": DenseBlock(list(WIDE))},
        {"": DenseBlock(WIDE[::2], EVEN)},
        {
            "a": DenseBlock(list(WIDE[::2]), EVEN),
            "b": DenseBlock(WIDE[:, :3]),
            "c": DenseBlock(WIDE),
        },
        {"a": DenseBlock(list(WIDE)), "b": DenseBlock(list(WIDE))},
    ],
    ids=["matrix", "arrays", "some", "named", "side by side"],
)
def test_wide_rows_and_long_columns(vectors: dict[str, VectorBlock]) -> None:
    """Lengths of several bytes are right: a thousand points of 1536 numbers and long texts."""
    text = PayloadBlock("text", PayloadKind.TEXT, Texts.of("å" * n for n in range(1000)))
    block = PointBlock(numbered(1000), vectors, (text,))
    assert grpc.UpsertPoints.FromString(encode_points(block)) == official(block)


def test_slices_of_a_larger_matrix() -> None:
    """Rows of a matrix that is no longer contiguous are read by value."""
    matrix = np.arange(24, dtype=np.float32).reshape(4, 6)
    block = PointBlock(numbered(2), {"": DenseBlock(matrix[::2, ::3])})
    assert grpc.UpsertPoints.FromString(encode_points(block)) == official(block)


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        (2**63, "9223372036854775808 does not fit a 64-bit integer"),
        ({"a": [-(2**63) - 1]}, "-9223372036854775809 does not fit"),
        ("a\ud800", r"'a\ud800' is no valid text: surrogates not allowed"),
        ({"\udfff": 1}, r"'\udfff' is no valid text"),
        ({1: 2}, "the key 1 of a payload is a int: only str works"),
        (uuid.UUID(int=5), "a payload cannot hold UUID("),
        ([{1, 2}], "a payload cannot hold {1, 2} (set)"),
    ],
)
def test_values_that_cannot_travel_are_named(cell: Any, complaint: str) -> None:
    """What protobuf cannot carry is an InputError with the value, not a foreign exception."""
    block = one(payload=(PayloadBlock("x", PayloadKind.ANY, [cell]),))
    with pytest.raises(InputError) as caught:
        encode_points(block)
    assert complaint in str(caught.value)


# ---- The other fields ----


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (WriteOptions(), {"wait": False}),
        (WriteOptions(wait=True), {"wait": True}),
        (WriteOptions(wait=True, timeout=90.5), {"wait": True, "timeout": 91}),
        (
            WriteOptions(ordering="weak"),
            {"wait": False, "ordering": grpc.WriteOrdering(type=grpc.WriteOrderingType.Weak)},
        ),
        (
            WriteOptions(ordering="strong"),
            {"wait": False, "ordering": grpc.WriteOrdering(type=grpc.WriteOrderingType.Strong)},
        ),
        (
            WriteOptions(shard_key="eu"),
            {
                "wait": False,
                "shard_key_selector": grpc.ShardKeySelector(
                    shard_keys=[grpc.ShardKey(keyword="eu")]
                ),
            },
        ),
        (
            WriteOptions(shard_key=["eu", 7]),
            {
                "wait": False,
                "shard_key_selector": grpc.ShardKeySelector(
                    shard_keys=[grpc.ShardKey(keyword="eu"), grpc.ShardKey(number=7)]
                ),
            },
        ),
        (WriteOptions(update_mode="upsert"), {"wait": False, "update_mode": grpc.Upsert}),
        (WriteOptions(update_mode="insert_only"), {"wait": False, "update_mode": grpc.InsertOnly}),
        (WriteOptions(update_mode="update_only"), {"wait": False, "update_mode": grpc.UpdateOnly}),
    ],
)
def test_options(write: WriteOptions, expected: dict[str, Any]) -> None:
    """Each option of a write sets the field that the official client would set."""
    read = grpc.UpsertPoints.FromString(encode_options("articles", write))
    assert read == grpc.UpsertPoints(collection_name="articles", **expected)


def test_update_filter() -> None:
    """The filter of a conditional write arrives as the official client would send it."""
    condition = models.FieldCondition(key="v", range=models.Range(lt=3))
    model = models.Filter(must=[condition])
    write = WriteOptions(update_filter=model.model_dump(exclude_none=True))
    read = grpc.UpsertPoints.FromString(encode_options("articles", write))
    assert read.update_filter == RestToGrpc.convert_filter(model)


@pytest.mark.parametrize("key", [True, -1, 1.5, ["a", None]])
def test_shard_keys_are_texts_or_numbers(key: Any) -> None:
    """Another kind of shard key is refused before anything is sent."""
    with pytest.raises(InputError, match="shard_key="):
        encode_options("articles", WriteOptions(shard_key=key))


def test_options_stand_in_front_of_the_points() -> None:
    """Options and points together are one request."""
    options = encode_options("articles", WriteOptions(wait=True))
    request = grpc.UpsertPoints.FromString(encode_points(one(), options))
    assert (request.collection_name, request.wait, len(request.points)) == ("articles", True, 1)


# ---- How wide a point may become ----


class FixedVectors(VectorColumn):
    def __init__(self, block: VectorBlock, points: int) -> None:
        self._block = block
        self._points = points
        self.size = None if isinstance(block, SparseBlock) else block.values.shape[1]
        self.kind = {
            DenseBlock: VectorKind.DENSE,
            MultiBlock: VectorKind.MULTI,
            SparseBlock: VectorKind.SPARSE,
        }[type(block)]

    def block(self, rows: Rows) -> VectorBlock:
        return self._block

    def numbers(self, rows: Rows) -> NDArray[np.int64]:
        counts = np.zeros(self._points, dtype=np.int64)
        present = slice(None) if self._block.present is None else self._block.present
        if isinstance(self._block, DenseBlock):
            counts[present] = self._block.values.shape[1]
        elif isinstance(self._block, MultiBlock):
            counts[present] = self._block.lengths * self._block.values.shape[1]
        else:
            counts[present] = self._block.lengths
        return counts


class FixedPayload(PayloadColumn):
    def __init__(self, block: PayloadBlock) -> None:
        self._block = block
        self.key, self.kind = block.key, block.kind

    def block(self, rows: Rows) -> PayloadBlock:
        return self._block


def widths(block: PointBlock) -> NDArray[np.int64]:
    """Measure all points of a block."""
    points = len(block)
    columns = PointColumns(
        block.ids,
        {name: FixedVectors(vectors, points) for name, vectors in block.vectors.items()},
        tuple(FixedPayload(column) for column in block.payload),
        documents=block.documents,
    )
    return MEASURE.widths(columns, slice(0, points))


@given(blocks())
def test_a_batch_is_never_larger_than_measured(block: PointBlock) -> None:
    """The encoded points fit into the sum of their widths, whatever they hold."""
    assert len(encode_points(block)) <= widths(block).sum()


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 16382, 16383, 16384, 2**21])
def test_lengths_around_the_steps_of_a_varint(length: int) -> None:
    """The bound holds where a length takes one byte more, for texts, names and nested values."""
    text = "x" * length
    columns = (
        PayloadBlock(text or "key", PayloadKind.TEXT, Texts.of([text])),
        PayloadBlock("nested", PayloadKind.ANY, [{text: [text]}]),
    )
    for payload in ((columns[0],), (columns[1],), columns):
        block = one(payload=payload, vectors={text: DenseBlock(np.ones((1, 1), np.float32))})
        assert len(encode_points(block)) <= widths(block).sum()


def test_numpys_default_integer_may_be_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has 32 bits, as with numpy 1 on Windows, a request is the same."""
    block = PointBlock(numbered(3), {"": DenseBlock(np.ones((3, 4), dtype=np.float32))})
    wanted = encode_points(block)
    arange = np.arange
    monkeypatch.setattr(np, "arange", lambda *args, dtype=np.int32: arange(*args, dtype=dtype))
    assert encode_points(block) == wanted


@pytest.mark.parametrize("size", [64, 384, 1536])
@pytest.mark.parametrize("names", [[""], ["text", "image"]])
def test_measure_is_not_absurdly_wide(size: int, names: Sequence[str]) -> None:
    """For frames as they come, the bound is at most twice what is sent."""
    random = np.random.default_rng(size)
    block = PointBlock(
        numbered(100),
        {name: DenseBlock(random.random((100, size), dtype=np.float32)) for name in names},
        (
            PayloadBlock(
                "title", PayloadKind.TEXT, Texts.of(f"document number {n}" for n in range(100))
            ),
            PayloadBlock("year", PayloadKind.INTEGER, random.integers(1990, 2025, 100)),
            PayloadBlock("price", PayloadKind.FLOAT, random.random(100)),
            PayloadBlock("tags", PayloadKind.ANY, [["new", "red"]] * 100),
        ),
    )
    assert widths(block).sum() <= 2 * len(encode_points(block))
