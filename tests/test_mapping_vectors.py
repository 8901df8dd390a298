from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from qdrant_client.grpc import UpsertPoints

from qframe import BadRowsError, InputError, SchemaMismatch
from qframe.encoding.protobuf import encode_points
from qframe.mapping import resolve
from qframe.points import DenseBlock, MultiBlock, SparseBlock, VectorKind
from qframe.schema import CollectionInfo, VectorSchema

DENSE3 = CollectionInfo("films", {"": VectorSchema(VectorKind.DENSE, 3, "cosine")}, points=0)
NAMED = CollectionInfo(
    "films",
    {
        "text": VectorSchema(VectorKind.DENSE, 2, "cosine"),
        "words": VectorSchema(VectorKind.SPARSE),
        "tokens": VectorSchema(VectorKind.MULTI, 2, "cosine"),
    },
    points=0,
)
LABELS = ["w", "x", "y", "z"]
LIST = pd.ArrowDtype(pa.list_(pa.float32()))


def _cells(cells: list[Any]) -> pd.DataFrame:
    column = np.empty(len(cells), dtype=object)
    for at, cell in enumerate(cells):
        column[at] = cell
    return pd.DataFrame({"v": pd.Series(column, index=LABELS[: len(cells)])})


def _resolve(frame: pd.DataFrame, vectors: Any = "v", **options: Any) -> Any:
    return resolve(frame, vectors=vectors, ids=np.arange(len(frame)), payload=[], **options)


def _block(frame: pd.DataFrame, vectors: Any = "v", **options: Any) -> Any:
    points = _resolve(frame, vectors, **options).points
    (block,) = points.block(points.rows(0, len(points))).vectors.values()
    return block


def _says(error: BaseException, *parts: str) -> None:
    for part in parts:
        assert part in str(error), f"{part!r} is not in: {error}"


def _refused(frame: pd.DataFrame, vectors: Any, found: str, column: str = "column 'v'") -> None:
    """Row "y" is refused with this reason, and set aside with bad_rows="skip"."""
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame, vectors)
    _says(caught.value, "1 of 4 rows", column, f"row 'y': {found}", "-> ", "drop")
    mapped = _resolve(frame, vectors, bad_rows="skip")
    assert mapped.points.kept.tolist() == [0, 1, 3]
    assert [(s["label"], s["reason"]) for s in mapped.skipped] == [("y", found)]
    points = mapped.points
    (block,) = points.block(points.rows(0, 3)).vectors.values()
    assert np.isfinite(block.values).all()
    assert len(block.values) >= 3


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ([1.0, 2.0, 3.0], "has size 3, expected 2"),
        ([1.0], "has size 1, expected 2"),
        ([], "an empty vector"),
        (np.array([], np.float32), "an empty vector"),
        ([1.0, float("nan")], "holds NaN at position 1"),
        (np.array([1.0, np.nan], np.float32), "holds NaN at position 1"),
        ([np.inf, 1.0], "holds inf at position 0"),
        (np.array([1.0, -np.inf], np.float32), "holds -inf at position 1"),
        ([1.0, 1e300], "holds 1e+300 at position 1, beyond float32"),
        (np.array([1e300, 0.0]), "holds 1e+300 at position 0, beyond float32"),
        (["a", "b"], "holds str 'a' at position 0, not a number"),
        ([1.0, "b"], "not a number"),
        (["1", "2"], "not a number"),
        ([1.0, None], "holds None at position 1"),
        ([True, False], "holds booleans, not numbers"),
        (np.array([True, False]), "holds booleans, not numbers"),
        ([True, 0.5], "holds booleans, not numbers"),
        ([1j, 2.0], "holds complex 1j at position 0"),
        ("ab", "str 'ab', not a vector"),
        (1.5, "float 1.5, not a vector"),
        ({"a": 1, "b": 2}, "dict {'a': 1, 'b': 2}, not a vector"),
        ([[1.0, 2.0], [3.0, 4.0]], "holds 2 dimensions, expected 1"),
        ([[1.0, 2.0], [3.0]], "not a flat list of numbers"),
        (np.ones((2, 2)), "holds 2 dimensions, expected 1"),
        (None, "no vector"),
    ],
    ids=lambda value: str(value)[:24],
)
@pytest.mark.parametrize("others", ["lists", "arrays"])
def test_a_bad_cell_is_named(cell: Any, found: str, others: str) -> None:
    """A cell that is no vector is named by row and content, among lists and among arrays."""
    good = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    if others == "arrays":
        good = [np.array(cell, np.float32) for cell in good]  # type: ignore[misc]
    frame = _cells([good[0], good[1], cell, good[2]])
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame)
    _says(caught.value, "1 of 4 rows", "column 'v'", "row 'y': ", found, "-> ")
    mapped = _resolve(frame, bad_rows="skip")
    assert [s["label"] for s in mapped.skipped] == ["y"]
    block = mapped.points.block(mapped.points.rows(0, 3)).vectors[""]
    assert block.values.tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1.0, np.nan], "holds NaN at position 1"),
        ([np.inf, 0.0], "holds inf at position 0"),
        ([0.0, -1e39], "holds -1e+39 at position 1, beyond float32"),
    ],
)
def test_a_bad_row_of_an_array(values: list[float], found: str) -> None:
    """Numbers that float32 or a server cannot take are found in a matrix and in Arrow lists."""
    rows = [[1.0, 2.0], [1.0, 2.0], values, [1.0, 2.0]]
    frame = _cells([[0.0]] * 4)
    _refused(frame, np.array(rows), found, "array")
    lists = pd.array(rows, dtype=pd.ArrowDtype(pa.list_(pa.float64())))
    _refused(frame.assign(v=lists), "v", found)
    fixed = pd.array(rows, dtype=pd.ArrowDtype(pa.list_(pa.float64(), 2)))
    _refused(frame.assign(v=fixed), "v", found)


def test_a_bad_number_in_a_wide_frame() -> None:
    """For a number a column, the message names the column that holds the bad one."""
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, 2, np.nan, 4]}, index=LABELS)
    _refused(frame, ["a", "b"], "holds NaN in column 'b'", "columns 'a' to 'b'")
    frame["b"] = pd.array([1, 2, None, 4], dtype="Int64")
    _refused(frame, ["a", "b"], "holds NaN in column 'b'", "columns 'a' to 'b'")
    frame["b"] = [1.0, 2.0, 1e39, 4.0]
    _refused(frame, ["a", "b"], "holds 1e+39 in column 'b', beyond float32", "columns")


def test_arrow_lists_of_several_lengths() -> None:
    """Ragged rows, inner nulls and missing lists of an Arrow column are named."""
    for cell, found in (
        ([1.0], "has size 1, expected 2"),
        ([], "has size 0, expected 2"),
        ([1.0, None], "holds NaN at position 1"),
        (None, "no vector"),
    ):
        cells = pd.array([[1.0, 2.0], [3.0, 4.0], cell, [5.0, 6.0]], dtype=LIST)
        _refused(_cells([[0.0]] * 4).assign(v=cells), "v", found)


def test_a_named_vector_may_be_missing() -> None:
    """None lacks the vector where it has a name, whatever holds the column."""
    rows = [[1.0, 2.0], None, None, [3.0, 4.0]]
    arrays = [None if row is None else np.array(row, np.float32) for row in rows]
    frame = _cells(rows).assign(
        arrays=pd.Series(arrays, index=LABELS), arrow=pd.array(rows, dtype=LIST)
    )
    for label in ("v", "arrays", "arrow"):
        block = _block(frame, {"text": label})
        assert block.present.tolist() == [True, False, False, True]
        assert block.values.tolist() == [[1, 2], [3, 4]]
        lacking = _resolve(frame, {"text": label}).points.block(slice(1, 3)).vectors["text"]
        assert lacking.values.shape == (0, 2)
        with pytest.raises(BadRowsError, match=r"row 'x': no vector"):
            _resolve(frame, label)


def test_the_wrong_model_is_told_from_a_wrong_row() -> None:
    """Rows that all differ from the collection are a mismatch, a single one is a bad row."""
    frame = _cells([[1.0, 2.0]] * 4)
    for vectors in ("v", np.ones((4, 2)), frame["v"].astype(LIST)):
        with pytest.raises(SchemaMismatch) as caught:
            _resolve(frame, vectors, info=DENSE3, bad_rows="skip")
        _says(caught.value, "holds vectors of 2 numbers", "collection 'films' takes 3", "model")
    frame = _cells([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 2.0]])
    with pytest.raises(BadRowsError, match="row 'w': has size 2, expected 3"):
        _resolve(frame, info=DENSE3)
    assert _resolve(frame, info=DENSE3, bad_rows="skip").points.kept.tolist() == [2]


def test_vectors_too_large_or_empty_for_all() -> None:
    """Sizes that no collection takes are refused for the whole column."""
    for cells, found in (([[]] * 2, "only empty vectors"), ([np.ones(65537)] * 2, "1 to 65536")):
        with pytest.raises(InputError, match=found):
            _resolve(_cells(cells))
    with pytest.raises(InputError, match=r"holds vectors of 0 numbers; a vector has 1 to 65536"):
        _resolve(_cells([[0.0]] * 2), np.empty((2, 0)))


@pytest.mark.parametrize(
    ("vectors", "parts"),
    [
        ("embeding", ["vectors: no column 'embeding'", "did you mean 'embedding'?"]),
        ("nothing", ["no column 'nothing'", "(columns: 'embedding', 'title', 'year', 'flag')"]),
        ({"text": "titel"}, ["vectors['text']: no column 'titel'", "did you mean 'title'?"]),
        (["year", "yeer"], ["no column 'yeer'", "did you mean 'year'?"]),
        (["year", "year"], ["a column is listed twice"]),
        ([], ["an empty list of columns"]),
        ("title", ["column 'title'", "an embedding model turns text into vectors"]),
        ("year", ["column 'year' holds int64, one value a row", "pass the list of their names"]),
        (["year", "title"], ["column 'title' holds", "not numbers"]),
        (["year", "flag"], ["column 'flag' holds bool, not numbers"]),
        (None, ["NoneType None is neither a column"]),
        (3.5, ["float 3.5 is neither a column", "2-D array"]),
        (np.ones(2), ["an array of 1 dimension is neither"]),
        (np.ones((2, 2, 2, 2)), ["an array of 4 dimensions is neither"]),
        (np.ones((3, 2)), ["the array has 3 rows and the frame 2", "matched by position"]),
        (sp.csr_array(np.ones((3, 2))), ["the sparse matrix has 3 rows and the frame 2"]),
        (np.array([["a", "b"]] * 2), ["holds <U1, not numbers"]),
        (np.ones((2, 2), bool), ["holds bool, not numbers"]),
        (np.ones((2, 2), complex), ["holds complex128, not numbers"]),
        (np.ones((2, 0, 2)), ["has no vectors (shape (2, 0, 2))"]),
        (np.ones((2, 1, 2), bool), ["holds bool, not numbers"]),
        (np.ones((2, 1024, 1025), np.int8), ["1,049,600 numbers", "at the most"]),
        ({7: "embedding"}, ["the name 7 is a int, not a string"]),
        ({"x" * 201: "embedding"}, ["has more than 200 bytes"]),
        ({"\ud800": "embedding"}, ["UTF-8 cannot hold the name"]),
        (pd.Series([[1.0], [2.0]], index=[5, 6]), ["the Series has another index"]),
        (pd.DataFrame({"a": [1.0, 2.0]}, index=[5, 6]), ["the DataFrame has another index"]),
        (sp.csr_array([[1.0], [0.0]]), ["sparse vectors by name only", 'vectors={"text": …}']),
    ],
    ids=lambda value: str(value)[:30].replace("\n", " "),
)
def test_an_argument_that_is_no_vectors(vectors: Any, parts: list[str]) -> None:
    """What cannot be the vectors of this frame is refused by what it is."""
    frame = pd.DataFrame(
        {
            "embedding": [[1.0, 2.0], [3.0, 4.0]],
            "title": ["Alien", "Heat"],
            "year": [1979, 1995],
            "flag": [True, False],
        }
    )
    with pytest.raises(InputError) as caught:
        _resolve(frame, vectors)
    _says(caught.value, "vectors", *parts)


def test_object_text_is_no_vector() -> None:
    """Text in a column of objects, and an Arrow column of text, are led to a model."""
    for frame in (_cells(["Alien", "Heat"]), _cells(["Alien", "Heat"]).astype("string[pyarrow]")):
        with pytest.raises(InputError, match="an embedding model turns text into vectors"):
            _resolve(frame)
    arrow = pd.DataFrame({"v": pd.array(["a"], dtype=pd.ArrowDtype(pa.string()))})
    with pytest.raises(InputError, match=r"holds string\[pyarrow\], one value a row"):
        _resolve(arrow)
    with pytest.raises(InputError, match=r"row 'w', and not vectors"):
        _resolve(_cells([{"a": 1}, {"a": 2}]))


def test_duplicate_column_names_are_refused() -> None:
    """A name that stands for two columns names no vectors."""
    frame = pd.DataFrame([[[1.0], [2.0]]], columns=["v", "v"])
    for vectors in ("v", ["v"], {"text": "v"}):
        with pytest.raises(InputError, match=r"the frame has 2 columns named 'v'; rename them"):
            _resolve(frame, vectors)


def test_an_empty_frame() -> None:
    """No rows are no points, if the argument fits; it is not read as anything else."""
    frame = pd.DataFrame({"v": pd.Series([], dtype=object)})
    assert len(_resolve(frame).points) == 0
    assert len(_resolve(frame, np.empty((0, 3))).points) == 0
    assert len(_resolve(frame.astype(LIST)).points) == 0
    assert _resolve(frame, info=DENSE3).points.vectors[""].size == 3


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ([[1.0, 2.0], [3.0]], "the inner lists differ in length"),
        ([], "holds no vectors"),
        (np.empty((0, 2)), "holds no vectors"),
        ([[1.0, 2.0, 3.0]], "holds vectors of size 3, expected 2"),
        (np.ones((2, 3)), "holds vectors of size 3, expected 2"),
        ([[1.0, np.nan]], "holds NaN at position 0, 1"),
        (np.array([[1.0, 2.0], [1e39, 0.0]]), "holds 1e+39 at position 1, 0, beyond float32"),
        ([1.0, 2.0], "holds 1 dimension, expected 2"),
        ([["a", "b"]], "holds str 'a' at position 0, 0, not a number"),
        (np.ones((1, 2), bool), "holds booleans, not numbers"),
        ("ab", "str 'ab', not a multivector"),
        (np.ones((1048576 // 2, 2), np.float32), "holds 1,048,576 numbers, 1,048,575 at the most"),
        (None, "no vector"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_bad_multivector_is_named(cell: Any, found: str) -> None:
    """A cell that is no multivector is named by row, and the others go on."""
    good = [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0]]]
    _refused(_cells([good[0], good[1], cell, good[2]]), "v", found)
    arrays = [np.array(cell) for cell in good]
    _refused(_cells([arrays[0], arrays[1], cell, arrays[2]]), "v", found)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ([[1.0, 2.0], [3.0]], "the inner lists differ in length"),
        ([[1.0]], "holds vectors of size 1, expected 2"),
        ([], "holds no vectors"),
        ([[1.0, None]], "holds None at position 0, 1"),
        (None, "no vector"),
    ],
)
def test_a_bad_arrow_multivector_is_named(cell: Any, found: str) -> None:
    """The same holds for Arrow lists of lists."""
    good = [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0]]]
    dtype = pd.ArrowDtype(pa.list_(pa.list_(pa.float32())))
    cells = pd.array([good[0], good[1], cell, good[2]], dtype=dtype)
    _refused(_cells([None] * 4).assign(v=cells), "v", found)


def test_multivectors_of_every_source() -> None:
    """Arrays, lists, 3-D arrays and Arrow lists of lists give the same block."""
    rows = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]
    frame = _cells(rows)
    arrow = frame["v"].astype(pd.ArrowDtype(pa.list_(pa.list_(pa.float64()))))
    for source in (frame["v"], _cells([np.array(row) for row in rows])["v"], np.array(rows), arrow):
        block = _block(frame, source)
        assert isinstance(block, MultiBlock)
        assert block.values.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
        assert block.lengths.tolist() == [2, 2]
    lacking = _cells([rows[0], None, rows[1]])
    for source in ("v", lacking["v"].astype(arrow.dtype)):
        block = _block(lacking, {"tokens": source})
        assert block.present.tolist() == [True, False, True]
        assert block.lengths.tolist() == [2, 2]
        assert len(block.values) == 4


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ({"indices": [1, 2], "values": [0.5]}, "holds 2 indices and 1 values"),
        ({"indices": [1, 1], "values": [0.5, 1.0]}, "holds the index 1 more than once"),
        ({"indices": [-1], "values": [0.5]}, "holds the index -1, outside 0 to 4294967295"),
        ({"indices": [2**32], "values": [0.5]}, "holds the index 4294967296, outside"),
        ({"indices": [1.0, 2.0], "values": [0.5, 1.0]}, "indices are float64, not integers"),
        ({"indices": [3], "values": [np.nan]}, "holds nan for the index 3"),
        ({"indices": [3], "values": [1e39]}, "holds 1e+39 for the index 3"),
        ({"indices": ["a"], "values": [0.5]}, "indices are <U1, not integers"),
        ({"indices": [1], "values": ["a"]}, "values are <U1, not numbers"),
        ({"indices": [1], "values": [None]}, "values are object, not numbers"),
        ({"indices": [[1]], "values": [[0.5]]}, "indices or values are no flat list of numbers"),
        ({"indices": 1, "values": 0.5}, "indices or values are no flat list of numbers"),
        ({"indices": [1]}, "dict {'indices': [1]}, not a sparse vector"),
        ([0.5, 1.0], "list [0.5, 1.0], not a sparse vector"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_sparse_vector_is_named(cell: Any, found: str) -> None:
    """A cell that is no sparse vector is named by row, and the others go on."""
    good = [{"indices": [at, 9], "values": [0.5, 1.5]} for at in range(3)]
    frame = _cells([good[0], good[1], cell, good[2]])
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame, {"words": "v"})
    _says(caught.value, "1 of 4 rows", "column 'v'", f"row 'y': {found}"[:50], "{'indices': [")
    mapped = _resolve(frame, {"words": "v"}, bad_rows="skip")
    assert mapped.points.kept.tolist() == [0, 1, 3]
    block = mapped.points.block(mapped.points.rows(0, 3)).vectors["words"]
    assert block.indices.tolist() == [0, 9, 1, 9, 2, 9]
    assert block.lengths.tolist() == [2, 2, 2]


def test_sparse_vectors_of_every_source() -> None:
    """Dicts of lists or arrays, Arrow structs and scipy matrices give the same block."""
    rows: list[Any] = [
        {"indices": [1, 4], "values": [0.5, 2.0]},
        {"indices": [], "values": []},
        {"indices": [0], "values": [1.0]},
    ]
    frame = _cells(rows)
    arrays = [
        {"indices": np.array(row["indices"], np.uint32), "values": np.array(row["values"])}
        for row in rows
    ]
    struct = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
    matrix = np.array([[0, 0.5, 0, 0, 2], [0] * 5, [1, 0, 0, 0, 0]])
    for source in (
        frame["v"],
        _cells(arrays)["v"],
        frame["v"].astype(pd.ArrowDtype(struct)),
        sp.csr_array(matrix),
        sp.coo_matrix(matrix),
        sp.csc_array(matrix.astype(np.float32)),
    ):
        block = _block(frame, {"words": source})
        assert isinstance(block, SparseBlock)
        assert block.indices.dtype == np.uint32
        assert block.values.dtype == np.float32
        assert block.indices.tolist() == [1, 4, 0]
        assert block.values.tolist() == [0.5, 2, 1]
        assert block.lengths.tolist() == [2, 0, 1]


def test_bad_numbers_in_a_sparse_matrix() -> None:
    """NaN in a scipy matrix is found by row, and the caller's matrix stays as it is."""
    matrix = sp.csr_array(np.array([[1.0, 0], [0, 2], [0, np.nan], [3, 0]]))
    with pytest.raises(BadRowsError, match=r"row 'y': holds a number that is NaN"):
        _resolve(_cells([None] * 4), {"w": matrix})
    twice = sp.csr_array((np.ones(2), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    assert _block(_cells([None]), {"w": twice}).values.tolist() == [2]
    assert twice.nnz == 2


def test_names_and_kinds_are_held_against_the_collection() -> None:
    """Unknown names and other kinds are refused with what the collection has."""
    frame = _cells([[1.0, 2.0]] * 2).assign(s=[{"indices": [1], "values": [0.5]}] * 2)
    for vectors, parts in (
        ({"image": "v"}, ["has no vector 'image'", "'text' (dense, size 2)", "'words' (sparse)"]),
        ("v", ["has no unnamed vector", "name the one that is meant", 'vectors={"text": …}']),
        ({"words": "v"}, ["holds dense vectors", "collection 'films' takes sparse ones"]),
        ({"text": "s"}, ["holds sparse vectors", "takes dense ones"]),
        ({"tokens": "v"}, ["holds dense vectors", "takes multi ones"]),
    ):
        with pytest.raises(SchemaMismatch) as caught:
            _resolve(frame, vectors, info=NAMED)
        _says(caught.value, *parts)
    with pytest.raises(SchemaMismatch, match=r"its vector has no name; pass the column itself"):
        _resolve(frame, {"text": "v"}, info=DENSE3)


def test_what_a_collection_lacks_is_told_first() -> None:
    """Of a vector that neither the collection nor the frame has, the collection's side is told."""
    frame = _cells([[1.0, 2.0]] * 2)
    for vectors in ("nothing", {"image": "nothing"}, 3, np.ones((1, 2))):
        with pytest.raises(SchemaMismatch, match="has no "):
            _resolve(frame, vectors, info=NAMED)


def test_rows_of_numbers_as_objects() -> None:
    """Numbers that came as Python objects are read, and what is none is named by row."""
    mixed = np.array([[1, 2.5], [3, 4]], dtype=object)
    assert _block(_cells([None] * 2), mixed).values.tolist() == [[1, 2.5], [3, 4]]
    cells = _cells([np.array([1, 2.5], dtype=object), np.array([3, 4], dtype=object)])
    assert _block(cells).values.tolist() == [[1, 2.5], [3, 4]]
    for bad, found in ((None, "None at position 1"), ("4", "str '4' at position 1")):
        with pytest.raises(BadRowsError, match=f"row 'x': holds {found}"):
            _resolve(_cells([None] * 2), np.array([[1, 2.5], [3, bad]], dtype=object))


def test_dense_vectors_of_every_source() -> None:
    """Lists, tuples, arrays, Arrow lists, wide columns and matrices give the same block."""
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    flat = pa.array(np.array(rows, np.float16).ravel())
    halves = pa.FixedSizeListArray.from_arrays(flat, 2)
    frame = _cells(rows).assign(a=[1, 3, 5], b=pd.array([2, 4, 6], dtype="Float32").copy())
    for source in (
        "v",
        _cells([tuple(row) for row in rows])["v"],
        _cells([np.array(row, np.float16) for row in rows])["v"],
        _cells([rows[0], np.array(rows[1]), tuple(rows[2])])["v"],
        frame["v"].astype(LIST),
        frame["v"].astype(pd.ArrowDtype(pa.large_list(pa.float64()))),
        pd.Series(halves, index=frame.index, dtype=pd.ArrowDtype(halves.type)),
        ["a", "b"],
        frame[["a", "b"]],
        np.array(rows),
        np.array(rows, np.int64),
        np.asfortranarray(rows),
        rows,
    ):
        points = _resolve(frame, source).points
        for selected, wanted in ((slice(0, 3), rows), (slice(1, 2), rows[1:2])):
            block = points.block(selected).vectors[""]
            assert isinstance(block, DenseBlock)
            assert block.values.dtype == np.float32
            assert block.values.flags.c_contiguous
            assert block.values.tolist() == wanted
        picked = points.block(np.array([0, 2])).vectors[""]
        assert picked.values.tolist() == [rows[0], rows[2]]


def test_lists_of_lists_of_several_lengths() -> None:
    """A ragged list of vectors is refused by row, not as a whole."""
    with pytest.raises(BadRowsError, match=r"row 'y': has size 1, expected 2"):
        _resolve(_cells([None] * 3), [[1.0, 2.0], [1.0, 2.0], [1.0]])


def test_a_float32_matrix_is_viewed() -> None:
    """Blocks of a float32 matrix share its memory: no copy is made."""
    matrix = np.random.default_rng(0).random((1000, 8), dtype=np.float32)
    points = _resolve(pd.DataFrame(index=range(1000)), matrix).points
    block = points.block(slice(100, 200)).vectors[""]
    assert np.shares_memory(block.values, matrix)


def _arrow_vectors(total: int, size: int) -> pd.DataFrame:
    values = pa.array(np.random.default_rng(0).random(total * size, dtype=np.float32))
    lists = pa.FixedSizeListArray.from_arrays(values, size)
    return pd.DataFrame({"v": pd.Series(lists, dtype=pd.ArrowDtype(lists.type))})


def _python_objects(frame: pd.DataFrame, vectors: Any) -> tuple[int, int]:
    """Return how many memory blocks mapping and a block held at the end, and the peak in bytes."""
    rows = slice(0, 1000)
    ids = np.arange(len(frame))
    resolve(frame[:10], vectors=vectors, ids=ids[:10], payload=[])  # imports what it needs
    tracemalloc.start()
    try:
        points = resolve(frame, vectors=vectors, ids=ids, payload=[]).points
        block = points.block(rows)
        taken = tracemalloc.take_snapshot()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(block) == 1000
    return sum(stat.count for stat in taken.statistics("filename")), peak


def test_arrow_lists_make_no_object_a_row() -> None:
    """Mapping an Arrow list column leaves no more objects behind for ten times the rows."""
    few, _ = _python_objects(_arrow_vectors(2_000, 16), "v")
    many, peak = _python_objects(_arrow_vectors(20_000, 16), "v")
    assert many < few + 500
    # A list of Python floats would take 16 x 24 bytes a row and more.
    assert peak < 20_000 * 16 * 8


def test_memory_does_not_grow_with_the_vectors() -> None:
    """A column of float32 arrays is checked a chunk at a time, never stacked as a whole."""
    size = 384
    peaks = []
    for total in (10_000, 25_000):
        frame = pd.DataFrame({"v": list(np.ones((total, size), np.float32))})
        peaks.append(_python_objects(frame, "v")[1])
    assert peaks[1] - peaks[0] < 15_000 * size * 4 / 10


def test_masked_numbers_are_missing() -> None:
    """The number under a mask is never sent: it is found as NaN, by row and position."""
    frame = _cells([[0.0]] * 4)
    mask = np.zeros((4, 2), bool)
    mask[2, 1] = True
    masked = np.ma.array(np.ones((4, 2)), mask=mask)
    _refused(frame, masked, "holds NaN at position 1", "array")
    _refused(frame, masked.astype(np.int64), "holds NaN at position 1", "array")
    _refused(frame, masked.reshape(4, 1, 2), "holds NaN at position 0, 1", "array")
    for rows in (list(masked), [np.array(row) for row in masked[:2]] + list(masked[2:])):
        _refused(_cells(rows), "v", "holds NaN at position 1")
    _refused(_cells(list(masked.reshape(4, 1, 2))), "v", "holds NaN at position 0, 1")
    assert _block(frame, np.ma.array(np.ones((4, 2)))).values.tolist() == [[1, 1]] * 4
    words = _cells([{"indices": [1], "values": np.ma.array([1.0], mask=[True])}])
    with pytest.raises(BadRowsError, match="row 'w': holds nan for the index 1"):
        _resolve(words, {"words": "v"})


@pytest.mark.parametrize("info", [None, DENSE3])
def test_the_first_cell_does_not_decide_the_kind(info: CollectionInfo | None) -> None:
    """One row of another kind is told as such, first or not, and the others go on."""
    good = [1.0, 2.0, 3.0]
    for at in range(3):
        cells: list[Any] = [good, good, good]
        cells[at] = [good]
        with pytest.raises(BadRowsError) as caught:
            _resolve(_cells(cells), info=info)
        _says(caught.value, "1 of 3 rows", f"row {LABELS[at]!r}: holds 2 dimensions, expected 1")
        assert len(_resolve(_cells(cells), info=info, bad_rows="skip").points) == 2
    with pytest.raises(SchemaMismatch, match="holds multi vectors"):
        _resolve(_cells([[good]] * 3), info=DENSE3)


def test_cells_with_labels_are_vectors() -> None:
    """A Series or a DataFrame in a cell is its numbers, whatever its labels."""
    cells = _cells([pd.Series([1.0, 2.0], index=["a", "b"]), pd.Series([3, 4], dtype="Int64")])
    assert _block(cells).values.tolist() == [[1, 2], [3, 4]]
    frames = _cells([pd.DataFrame({"a": [1.0], "b": 2.0}), pd.DataFrame([[3.0, 4.0]])])
    assert _block(frames).lengths.tolist() == [1, 1]
    with pytest.raises(BadRowsError, match=r"row .x.: holds (NaN|<NA>) at position 1"):
        _resolve(_cells([[1.0, 2.0], pd.Series([1, None], dtype="Float64")]))


@pytest.mark.parametrize("cell", [[True, 0.5], [0.5, True], [0.5, np.bool_(False)]], ids=str)
def test_booleans_are_refused_wherever_they_stand(cell: list[Any]) -> None:
    """A boolean among numbers is refused at any position and beside any neighbours."""
    found = "row 'x': holds booleans, not numbers"
    for neighbour in ([1.0, 2.0], [1.0]):
        for frame, vectors in (
            (_cells([neighbour, cell, [1.0, 2.0], [1.0, 2.0]]), "v"),
            (_cells([[neighbour], [cell], [[1.0, 2.0]], [[1.0, 2.0]]]), "v"),
            (_cells([None] * 4), [neighbour, cell, [1.0, 2.0], [1.0, 2.0]]),
            (_cells([None] * 2), [[[1.0, 2.0]], [cell]]),
        ):
            with pytest.raises(BadRowsError) as caught:
                _resolve(frame, vectors)
            _says(caught.value, found)
    words = [{"indices": [1, 2], "values": [0.5, 1.0]}, {"indices": [1, 2], "values": cell}]
    with pytest.raises(BadRowsError) as caught:
        _resolve(_cells(words), {"words": "v"})
    _says(caught.value, found)


def test_names_of_columns_in_an_index_or_array() -> None:
    """An Index or an array of names is a list of columns."""
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": ["x", "y"]})
    for names in (frame.columns[:2], np.array(["a", "b"]), frame.select_dtypes("number").columns):
        assert _block(frame, names).values.tolist() == [[1, 3], [2, 4]]
    with pytest.raises(InputError, match="no column 'z' in the frame"):
        _resolve(frame, pd.Index(["a", "z"]))


def test_vectors_written_as_text_lead_to_json() -> None:
    """Text that looks like JSON is told how to become vectors, and that this works."""
    for dtype in (object, "string"):
        frame = _cells(["[1.0, 2.0]", None]).astype(dtype)
        with pytest.raises(InputError) as caught:
            _resolve(frame)
        _says(caught.value, "df['v'] = df['v'].map(json.loads, na_action=\"ignore\")")
        frame["v"] = frame["v"].map(json.loads, na_action="ignore")
        assert _block(frame, {"text": "v"}).values.tolist() == [[1, 2]]


def test_a_finding_says_which_vector() -> None:
    """Arrays of several names are told apart in findings."""
    bad = np.array([[1.0, np.nan]])
    with pytest.raises(BadRowsError) as caught:
        _resolve(_cells([None]), {"a": bad, "b": sp.csr_array(bad)})
    _says(caught.value, "vectors['a']: array:", "vectors['b']: sparse matrix:")


def test_labels_that_pandas_reads_otherwise() -> None:
    """A label that is missing or a tuple is a label, and a text is none of a column of dates."""
    for label in (None, np.nan, pd.NaT):
        frame = pd.DataFrame([[1.0, 2.0]], columns=pd.Index([label, "b"], dtype=object))
        assert _block(frame, [label, "b"]).values.tolist() == [[1, 2]]
    pairs = pd.DataFrame([[1.0, 2.0]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))
    assert _block(pairs, [("a", 1), ("a", 2)]).values.tolist() == [[1, 2]]
    flat = pd.DataFrame([[[1.0, 2.0], 5]], columns=pd.Index([("a", 1), "b"], tupleize_cols=False))
    with pytest.raises(InputError, match="no column"):
        _resolve(pairs, "a")
    assert len(_resolve(flat, np.ones((1, 2))).points) == 1
    dates = pd.DataFrame([[1.0, 2.0]], columns=pd.date_range("2024-01-01", periods=2))
    assert _block(dates, list(dates.columns)).values.tolist() == [[1, 2]]
    with pytest.raises(InputError, match=r"no column '2024' in the frame \(columns: Timestamp"):
        _resolve(dates, "2024")


def test_a_cell_that_is_no_vector_is_named_by_its_label() -> None:
    """The message writes labels as Python does."""
    frame = pd.DataFrame({"v": [{"a": 1}]}, index=np.arange(10, 11))
    with pytest.raises(InputError, match=r"holds dict \(.*\) in row 10, and not vectors"):
        _resolve(frame)


def test_a_series_of_the_frame_is_its_column() -> None:
    """df["v"] is used up as "v" is; a Series of other values is not."""
    frame = pd.DataFrame({"v": [[1.0, 2.0]], "k": [5], "a": [1]})
    keys = [c.key for c in resolve(frame, vectors=frame["v"], ids=frame["k"]).points.payload]
    assert keys == ["a"]
    keys = [c.key for c in resolve(frame, vectors=frame["v"], ids=frame["k"] + 1).points.payload]
    assert keys == ["k", "a"]


def test_long_vectors_are_checked_a_few_at_a_time() -> None:
    """The memory of a check is bounded by numbers, not by rows, which may be long."""
    frame = pd.DataFrame({"v": list(np.ones((300, 60_000), dtype=np.float32))})
    tracemalloc.start()
    try:
        resolve(frame, vectors="v")
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert highest < 300 * 60_000 * 4 / 3


WIDE = np.arange(40, dtype=np.float32).reshape(5, 8)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(WIDE),
        pd.DataFrame(WIDE).copy(),
        pd.DataFrame({at: WIDE[:, at] for at in range(8)}),
        pd.DataFrame({at: WIDE[:, at] for at in range(8)}).copy(),
        pd.DataFrame({at: WIDE[:, at].astype(float) for at in range(8)}).copy(),
        pd.DataFrame(np.repeat(WIDE, 2, axis=0)).iloc[::2],
        pd.DataFrame(WIDE).astype({3: "float64"}),
        pd.DataFrame(WIDE).astype({3: "Float32"}),
    ],
    ids=["matrix", "copied", "apart", "one block", "float64", "every other row", "two", "nullable"],
)
@pytest.mark.parametrize(
    "columns",
    [[*range(8)], [7, 6, 5, 4, 3, 2, 1, 0], [0, 2, 4, 6], [0, 1, 3, 7], [5], [6, 2]],
    ids=str,
)
def test_wide_frames_however_pandas_keeps_them(frame: pd.DataFrame, columns: list[int]) -> None:
    """Columns of one array or of several, in any order, give the numbers that stand in them."""
    frame = frame.rename(columns=str)
    labels = [str(column) for column in columns]
    wanted = WIDE[:, columns]
    points = _resolve(frame, labels).points
    for rows in (slice(0, 5), slice(2, 4), np.array([0, 3])):
        values = points.block(rows).vectors[""].values
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        assert (values == wanted[rows]).all()


def test_a_matrix_in_a_frame_is_not_copied() -> None:
    """The blocks of columns that pandas keeps side by side are views of its array."""
    matrix = np.ones((6, 300), dtype=np.float32)
    frame = pd.DataFrame(matrix, columns=[f"c{at}" for at in range(300)], copy=False)
    block = _block(frame, list(frame.columns))
    assert np.shares_memory(block.values, matrix)


def test_long_arrays_in_cells_are_not_copied() -> None:
    """A block holds float32 arrays as they are; others become one array of float32."""
    arrays = [np.full(1500, at, dtype=np.float32) for at in range(3)]
    (rows,) = {id(block.rows): block.rows for block in [_block(_cells(arrays))]}.values()
    assert all(row is array for row, array in zip(rows, arrays, strict=True))
    strided = [np.full((1500, 2), at, dtype=np.float32)[:, 0] for at in range(3)]
    double = [array.astype(float) for array in arrays]
    mixed = [arrays[0], double[1], strided[2]]
    for cells in (strided, double, mixed):
        values = _block(_cells(cells)).values
        assert values.dtype == np.float32
        assert (values == np.stack(arrays)).all()


@pytest.mark.parametrize("size", [3, 1500])
@pytest.mark.parametrize("kind", ["arrays", "doubles", "lists", "arrow"])
def test_rows_among_which_none_has_the_vector(size: int, kind: str) -> None:
    """A batch of points that all lack a named vector has none of it, whatever the others have."""
    arrays = [np.full(size, at, dtype=np.float32) for at in range(2)]
    double = [array.astype(float) for array in arrays]
    rows = {"arrays": arrays, "doubles": double}.get(kind, [row.tolist() for row in arrays])
    frame = _cells([*rows, None, None])
    if kind == "arrow":
        frame["v"] = frame["v"].astype(LIST)
    points = _resolve(frame, {"text": "v"}).points
    for selected, present in ((slice(2, 4), [False] * 2), (slice(1, 3), [True, False])):
        block = points.block(selected).vectors["text"]
        assert block.values.shape == (sum(present), size)
        assert block.values.dtype == np.float32
        assert block.present.tolist() == present
        sent = UpsertPoints.FromString(encode_points(points.block(selected)))
        assert ["text" in point.vectors.vectors.vectors for point in sent.points] == present
