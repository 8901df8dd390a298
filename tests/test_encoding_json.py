"""The REST body: what it says, how it is read, and how wide it is."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from qdrant_client.http import models

from qframe.encoding.json import ENVELOPE, MEASURE, dumps, encode_body
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

PLAIN = WriteOptions()

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def _numbered(n: int) -> Ids:
    return Ids(numbers=np.arange(n, dtype=np.uint64))


def _floats(*values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@st.composite
def _all_ids(draw: st.DrawFn, n: int) -> Ids:
    ints = np.array(draw(st.lists(st.integers(0, 2**64 - 1), min_size=n, max_size=n)), np.uint64)
    uuids = draw(npst.arrays(np.uint8, (n, 16)))
    kind = draw(st.sampled_from(["numbers", "uuids", "both"]))
    if kind == "numbers":
        return Ids(numbers=ints)
    if kind == "uuids":
        return Ids(uuids=uuids)
    return Ids(numbers=ints, uuids=uuids, is_uuid=draw(npst.arrays(np.bool_, n)))


@st.composite
def _all_vectors(draw: st.DrawFn, n: int) -> VectorBlock:
    present = draw(st.none() | npst.arrays(np.bool_, n))
    k = n if present is None else int(present.sum())
    kind = draw(st.sampled_from(list(VectorKind)))
    size = draw(st.integers(1, 5))
    if kind is VectorKind.DENSE:
        matrix = draw(npst.arrays(np.float32, (k, size), elements=numbers))
        return DenseBlock(draw(st.sampled_from([matrix, list(matrix)])) if k else matrix, present)
    least = 1 if kind is VectorKind.MULTI else 0
    lengths = draw(npst.arrays(np.int64, k, elements=st.integers(least, 4)))
    total = int(lengths.sum())
    if kind is VectorKind.MULTI:
        values = draw(npst.arrays(np.float32, (total, size), elements=numbers))
        return MultiBlock(values, lengths, present)
    indices = [
        index
        for length in lengths.tolist()
        for index in draw(
            st.lists(st.integers(0, 2**32 - 1), min_size=length, max_size=length, unique=True)
        )
    ]
    values = draw(npst.arrays(np.float32, total, elements=numbers))
    return SparseBlock(np.array(indices, np.uint32), values, lengths, present)


@st.composite
def _all_payload(draw: st.DrawFn, n: int, key: str) -> PayloadBlock:
    kind = draw(st.sampled_from(list(PayloadKind)))
    missing = draw(st.none() | npst.arrays(np.bool_, n))
    drop = draw(st.booleans())
    match kind:
        case PayloadKind.BOOL:
            values: Any = draw(npst.arrays(np.bool_, n))
        case PayloadKind.INTEGER:
            values = draw(npst.arrays(np.int64, n))
        case PayloadKind.FLOAT:
            values = draw(
                npst.arrays(
                    np.float64, n, elements=st.floats(allow_nan=False, allow_infinity=False)
                )
            )
        case _:
            cells = texts if kind is PayloadKind.TEXT else json_values
            values = draw(st.lists(cells, min_size=n, max_size=n))
            if missing is not None:
                values = [None if m else v for v, m in zip(values, missing, strict=True)]
            if kind is PayloadKind.TEXT:
                values = Texts.of(values)
    return PayloadBlock(key, kind, values, missing, drop)


@st.composite
def _blocks(draw: st.DrawFn) -> PointBlock:
    n = draw(st.integers(1, 5))
    names = draw(st.lists(texts, max_size=3, unique=True))
    vectors = {name: draw(_all_vectors(n)) for name in names}
    if list(vectors) == [""] and isinstance(vectors[""], SparseBlock):
        vectors = {}  # Qdrant has no unnamed sparse vectors
    ids = draw(_all_ids(n))
    if draw(st.booleans()):
        documents = st.dictionaries(texts, json_values, max_size=3)
        whole = draw(st.lists(documents, min_size=n, max_size=n))
        return PointBlock(ids, vectors, documents=whole)
    keys = draw(st.lists(texts, max_size=3, unique=True))
    return PointBlock(ids, vectors, tuple(draw(_all_payload(n, key)) for key in keys))


def _expected_vectors(block: PointBlock) -> list[dict[str, Any]]:
    """What each point has, by name, worked out point by point."""
    points: list[dict[str, Any]] = [{} for _ in range(len(block))]
    for name, column in block.vectors.items():
        has = [True] * len(block) if column.present is None else column.present.tolist()
        at = first = 0
        for point, there in zip(points, has, strict=True):
            if not there:
                continue
            if isinstance(column, DenseBlock):
                point[name] = column.values[at]
            else:
                last = first + int(column.lengths[at])
                if isinstance(column, MultiBlock):
                    point[name] = column.values[first:last]
                else:
                    point[name] = (column.indices[first:last], column.values[first:last])
                first = last
            at += 1
    return points


def _read_vector(vector: Any) -> Any:
    if isinstance(vector, models.SparseVector):
        vector = vector.model_dump()
    if isinstance(vector, dict):
        return np.array(vector["indices"], np.uint32), _floats(*vector["values"])
    return np.array(vector, dtype=np.float32)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _read_points(body: bytes) -> list[tuple[Any, dict[str, Any], Any]]:
    """Read a body through the official models, in either form."""
    said = json.loads(body)
    if "points" in said:
        listed = models.PointsList.model_validate(said)
        return [
            (
                point.id,
                {
                    name: _read_vector(vector)
                    for name, vector in (
                        point.vector if isinstance(point.vector, dict) else {"": point.vector}
                    ).items()
                },
                point.payload,
            )
            for point in listed.points
        ]
    batch = models.PointsBatch.model_validate(said).batch
    named = batch.vectors if isinstance(batch.vectors, dict) else {"": batch.vectors}
    payloads = batch.payloads or [None] * len(batch.ids)
    return [
        (point, {name: _read_vector(named[name][at]) for name in named}, payloads[at])
        for at, point in enumerate(batch.ids)
    ]


@given(_blocks())
def test_the_official_models_read_the_same_points(block: PointBlock) -> None:
    """What the encoder wrote has the same ids, the same float32 bits and the same payload."""
    found = _read_points(encode_body(block, PLAIN))
    assert len(found) == len(block)
    for (point, vectors, payload), wanted_id, wanted, document in zip(
        found, block.ids.tolist(), _expected_vectors(block), block.payloads(), strict=True
    ):
        assert (str(point) if isinstance(point, UUID) else point) == wanted_id
        assert vectors.keys() == wanted.keys()
        assert all(_same(vectors[name], wanted[name]) for name in wanted)
        assert (payload or {}) == document


class _Vectors(VectorColumn):
    """Vectors of one kind that are converted already."""

    def __init__(self, block: VectorBlock) -> None:
        self._block = block
        self.kind = {
            DenseBlock: VectorKind.DENSE,
            MultiBlock: VectorKind.MULTI,
            SparseBlock: VectorKind.SPARSE,
        }[type(block)]
        self.size = None if block.values.ndim == 1 else block.values.shape[1]

    def block(self, rows: Rows) -> VectorBlock:
        return self._block

    def numbers(self, rows: Rows) -> np.ndarray:
        present = self._block.present
        assert isinstance(rows, slice)
        counts = np.zeros(rows.stop, dtype=np.int64)
        has = slice(None) if present is None else present
        if isinstance(self._block, DenseBlock):
            counts[has] = self._block.values.shape[1]
        else:
            counts[has] = self._block.lengths * (self.size or 1)
        return counts


class _Payload(PayloadColumn):
    """Cells that are converted already."""

    def __init__(self, block: PayloadBlock) -> None:
        self.key, self.kind, self._block = block.key, block.kind, block

    def block(self, rows: Rows) -> PayloadBlock:
        return self._block


def _bound(block: PointBlock) -> int:
    columns = PointColumns(
        block.ids,
        {name: _Vectors(vectors) for name, vectors in block.vectors.items()},
        tuple(_Payload(cells) for cells in block.payload),
        documents=block.documents,
    )
    return int(MEASURE.widths(columns, slice(0, len(block))).sum()) + ENVELOPE


@given(_blocks())
def test_no_body_is_wider_than_its_bound(block: PointBlock) -> None:
    """The sum of the widths and the envelope holds every body."""
    assert len(encode_body(block, PLAIN)) <= _bound(block)


@given(npst.arrays(np.float32, (1, 20), elements=numbers), npst.arrays(np.int64, 20))
def test_the_widest_numbers_fit(values: np.ndarray, cells: np.ndarray) -> None:
    """No float32 takes more than the bound for a number, and no cell more than that for one."""
    assert len(dumps(values)) <= 20 * MEASURE.number + 4
    assert all(len(dumps(cell)) + 2 <= MEASURE.cell for cell in cells.tolist())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_widest_payload_floats_fit(value: float) -> None:
    """A float64 with its colon and comma fits into a cell, and reads back to itself."""
    written = dumps(value)
    assert len(written) + 2 <= MEASURE.cell
    assert json.loads(written) == value


def test_random_bit_patterns_read_back_to_the_same_float32() -> None:
    """A hundred thousand float32 of all magnitudes survive the way over decimals and float64."""
    bits = np.random.default_rng(7).integers(0, 2**32, 100_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    written = dumps(values)
    assert np.array(json.loads(written), dtype=np.float32).tobytes() == values.tobytes()
    assert len(written) <= len(values) * MEASURE.number


def test_the_bound_of_a_typical_frame_is_close() -> None:
    """With embeddings of 384 numbers and four payload columns the bound is less than twice it."""
    n, rng = 200, np.random.default_rng(1)
    vectors = rng.normal(size=(n, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    block = PointBlock(
        _numbered(n),
        {"": DenseBlock(vectors)},
        (
            PayloadBlock(
                "title", PayloadKind.TEXT, Texts.of(f"Title of the article {i}" for i in range(n))
            ),
            PayloadBlock("year", PayloadKind.INTEGER, np.arange(n)),
            PayloadBlock("score", PayloadKind.FLOAT, rng.normal(size=n)),
            PayloadBlock("open", PayloadKind.BOOL, np.ones(n, dtype=bool)),
        ),
    )
    size = len(encode_body(block, PLAIN))
    assert size <= _bound(block) <= 2 * size


def test_unnamed_vectors_go_in_columns() -> None:
    """A lone unnamed vector is a plain list of lists beside the ids."""
    block = PointBlock(_numbered(2), {"": DenseBlock(_floats([0.1, 2], [3, 4]))})
    assert encode_body(block, PLAIN) == (b'{"batch":{"ids":[0,1],"vectors":[[0.1,2.0],[3.0,4.0]]}}')


def test_unnamed_beside_named_goes_by_the_empty_name() -> None:
    """Together with others, the unnamed vector is named ""."""
    block = PointBlock(
        _numbered(1), {"": DenseBlock(_floats([1])), "b": DenseBlock(_floats([2, 3]))}
    )
    assert encode_body(block, PLAIN) == (
        b'{"batch":{"ids":[0],"vectors":{"":[[1.0]],"b":[[2.0,3.0]]}}}'
    )


def test_points_without_a_vector_make_a_list() -> None:
    """Each point names only the vectors that it has, if any."""
    block = PointBlock(_numbered(2), {"a": DenseBlock(_floats([1, 2]), np.array([False, True]))})
    assert encode_body(block, PLAIN) == (
        b'{"points":[{"id":0,"vector":{}},{"id":1,"vector":{"a":[1.0,2.0]}}]}'
    )


def test_unnamed_points_without_a_vector_have_an_empty_one() -> None:
    """Where the unnamed vector is missing, ``{}`` stands for it, and a list where it is not."""
    block = PointBlock(_numbered(2), {"": DenseBlock(_floats([1, 2]), np.array([True, False]))})
    assert json.loads(encode_body(block, PLAIN))["points"] == [
        {"id": 0, "vector": [1, 2]},
        {"id": 1, "vector": {}},
    ]


def test_a_mask_that_hides_nothing_keeps_the_columns() -> None:
    """Vectors that all points have go in columns, mask or not."""
    block = PointBlock(_numbered(1), {"": DenseBlock(_floats([1, 2]), np.array([True]))})
    assert "batch" in json.loads(encode_body(block, PLAIN))


def test_payload_only_points_are_listed() -> None:
    """Points without any vector field have an empty one each, since the server wants the key."""
    block = PointBlock(_numbered(1), {}, (PayloadBlock("k", PayloadKind.TEXT, Texts.of(["v"])),))
    assert encode_body(block, PLAIN) == b'{"points":[{"id":0,"vector":{},"payload":{"k":"v"}}]}'


def test_payload_floats_keep_the_precision_of_float64() -> None:
    """A float64 of the payload is not cut to a float32 like those of vectors."""
    block = PointBlock(
        _numbered(1),
        {"": DenseBlock(_floats([0.1]))},
        (PayloadBlock("f", PayloadKind.FLOAT, np.array([0.1234567890123456])),),
    )
    assert json.loads(encode_body(block, PLAIN))["batch"] == {
        "ids": [0],
        "vectors": [[0.1]],
        "payloads": [{"f": 0.1234567890123456}],
    }


@pytest.mark.parametrize(
    "values",
    [
        _floats([1, 2, 3], [4, 5, 6]).astype(">f4"),
        np.asfortranarray(_floats([1, 2, 3], [4, 5, 6])),
        _floats([1, 0, 2, 0, 3], [4, 0, 5, 0, 6])[:, ::2],
        np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float64),
    ],
    ids=["big-endian", "by columns", "strides", "float64"],
)
def test_any_layout_is_written_alike(values: np.ndarray) -> None:
    """Foreign byte orders, strides and dtypes make the same bytes as plain float32."""
    plain = PointBlock(_numbered(2), {"": DenseBlock(_floats([1, 2, 3], [4, 5, 6]))})
    block = PointBlock(_numbered(2), {"": DenseBlock(values)})
    assert encode_body(block, PLAIN) == encode_body(plain, PLAIN)


def test_write_options_stand_beside_the_points() -> None:
    """Shard key, mode and filter go into the body; what belongs into the query does not."""
    write = WriteOptions(
        wait=True,
        ordering="strong",
        shard_key=["a", 7],
        update_mode="insert_only",
        update_filter={"must": [{"key": "v", "match": {"value": 1}}]},
    )
    said = json.loads(encode_body(PointBlock(_numbered(1), {}), write))
    del said["points"]
    assert said == {
        "shard_key": ["a", 7],
        "update_mode": "insert_only",
        "update_filter": {"must": [{"key": "v", "match": {"value": 1}}]},
    }


def test_the_official_filter_is_taken() -> None:
    """A models.Filter is written by the names of the REST API and without its Nones."""
    wanted = models.Filter(
        must_not=[
            models.FieldCondition(key="c", match=models.MatchExcept(**{"except": ["x"]})),
            models.FieldCondition(key="n", range=models.Range(gte=1)),
        ]
    )
    write = WriteOptions(update_filter=wanted)  # type: ignore[arg-type]
    said = json.loads(encode_body(PointBlock(_numbered(1), {}), write))
    assert said["update_filter"] == {
        "must_not": [
            {"key": "c", "match": {"except": ["x"]}},
            {"key": "n", "range": {"gte": 1.0}},
        ]
    }


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["dense", "multi", "sparse"])
def test_numbers_that_json_cannot_say_are_refused(kind: str, bad: float) -> None:
    """NaN and infinity would become null; the error names the point that has one."""
    present = np.array([True, False, True, True])
    lengths = np.array([2, 0 if kind == "sparse" else 1, 2])
    total = int(lengths.sum())
    vectors: dict[str, VectorBlock] = {
        "dense": DenseBlock(_floats([1, 1], [1, 1], [1, bad]), present),
        "multi": MultiBlock(_floats(*[[1, 1]] * (total - 1), [bad, 1]), lengths, present),
        "sparse": SparseBlock(
            np.arange(total, dtype=np.uint32), _floats(*[1] * (total - 1), bad), lengths, present
        ),
    }
    block = PointBlock(
        Ids(numbers=np.array([10, 11, 12, 13], dtype=np.uint64)), {"v": vectors[kind]}
    )
    with pytest.raises(InputError, match=r"vector 'v' of point 13 holds NaN or infinity"):
        encode_body(block, PLAIN)


def test_payload_that_is_no_json_names_its_point() -> None:
    """Half of a surrogate pair is no Unicode; the error says where it stands."""
    block = PointBlock(
        _numbered(2), {}, (PayloadBlock("title", PayloadKind.ANY, ["fine", "bad \ud800"]),)
    )
    with pytest.raises(InputError, match=r"payload 'title' of point 1 .*surrogates"):
        encode_body(block, PLAIN)


def test_the_width_of_a_broken_string_is_no_error() -> None:
    """Measuring leaves it to the encoder to refuse a string, with the point's id."""
    assert MEASURE.text("\ud800") >= 0
