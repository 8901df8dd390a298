from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qframe
from qframe import BadRowsError, InputError
from qframe.mapping import resolve
from qframe.mapping.ids import MAX_NUMBER, NAMESPACE, UUID_TEXT

U = [uuid.UUID(int=n) for n in range(1, 9)]


def _frame(ids: Any, index: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "n": range(len(ids))}, index=index)


def _resolve(frame: pd.DataFrame, ids: Any = "id", **options: Any) -> Any:
    return resolve(frame, vectors=np.ones((len(frame), 2), np.float32), ids=ids, **options)


def _ids(frame: pd.DataFrame, ids: Any = "id", **options: Any) -> list[int | str]:
    points = _resolve(frame, ids, **options).points
    return points.ids[points.rows(0, len(points))].tolist()


def _says(error: BaseException, *parts: str) -> None:
    for part in parts:
        assert part in str(error), f"{part!r} is not in: {error}"


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (None, "no id"),
        (np.nan, "no id"),
        (pd.NA, "no id"),
        (-3, "-3 is negative"),
        (2**64, "18446744073709551616 is 2**64 or more"),
        (True, "True is a boolean"),
        (2.5, "2.5 is a float"),
        (3.0, "3.0 is a float"),
        ("A-1", "'A-1' is no UUID"),
        ("12", "'12' is no UUID; int() makes a number of it"),
        ("", "'' is no UUID"),
        ([1], "[1] is a list"),
        (pd.Timestamp("2024-05-01"), "Timestamp('2024-05-01 00:00:00') is a Timestamp"),
        (b"1", "b'1' is a bytes"),
    ],
)
def test_a_single_bad_id_is_named(cell: Any, found: str) -> None:
    """A cell that is no id is refused by column, row label and value, with the ways out."""
    cells = pd.Series([7, U[0], cell, 9], index=list("wxyz"), dtype=object)
    with pytest.raises(BadRowsError) as caught:
        _resolve(_frame(cells.to_numpy(), cells.index))
    _says(
        caught.value,
        "1 of 4 rows cannot become points; nothing was sent",
        "column 'id'",
        f"row 'y': {found}",
        'ids=qframe.uuid5("key")',
        'bad_rows="skip"',
    )
    assert caught.value.rows.to_dict("records") == [
        {"position": 2, "label": "y", "column": "column 'id'", "reason": found}
    ]
    mapped = _resolve(_frame(cells.to_numpy(), cells.index), bad_rows="skip")
    assert mapped.points.kept.tolist() == [0, 1, 3]
    assert mapped.skipped == caught.value.rows.to_dict("records")
    assert _ids(_frame(cells.to_numpy(), cells.index), bad_rows="skip") == [7, str(U[0]), 9]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (pd.array([1, None, 3], dtype="Int64"), "no id"),
        (pd.array([1, None, 3], dtype="UInt8"), "no id"),
        (pd.array([1, None, 3], dtype=pd.ArrowDtype(pa.int32())), "no id"),
        (np.array([1, -5, 3], dtype=np.int16), "-5 is negative"),
        (pd.array([1, -5, 3], dtype="Int64"), "-5 is negative"),
        (pd.Categorical([1, None, 3]), "no id"),
        ([str(U[0]), None, str(U[2])], "no id"),
        ([U[0], U[0], U[2]], f"'{U[0]}' is the id of row 10 too"),
        ([4, 4, 5], "4 is the id of row 10 too"),
        ([str(U[0]), U[0], 3], f"'{U[0]}' is the id of row 10 too"),
        ([str(U[0]), str(U[0]).upper(), 3], f"'{U[0]}' is the id of row 10 too"),
    ],
)
def test_a_bad_row_in_a_good_column(cells: Any, found: str) -> None:
    """The row in the middle is named by its label and set aside with bad_rows="skip"."""
    frame = _frame(cells, index=[10, 20, 30])
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame)
    _says(caught.value, "column 'id'", f"row 20: {found}")
    mapped = _resolve(frame, bad_rows="skip")
    assert [(s["label"], s["reason"]) for s in mapped.skipped] == [(20, found)]
    assert mapped.points.kept.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("cells", "found", "way_out"),
    [
        ([1.0, np.nan, 3.0], "1.0 is a float", '.astype("Int64")'),
        (pd.array([1.5, None, 3], dtype="Float64"), "1.5 is a float", '.astype("Int64")'),
        ([True, False, True], "True is a boolean", "qframe.uuid5"),
        (pd.array([True, None, False], dtype="boolean"), "True is a boolean", "qframe.uuid5"),
        (pd.to_datetime(["2020", "2021", "2022"]), "is a Timestamp", "qframe.uuid5"),
    ],
)
@pytest.mark.parametrize("bad_rows", ["raise", "skip"])
def test_a_column_of_no_ids(cells: Any, found: str, way_out: str, bad_rows: str) -> None:
    """Where no row has an id the call is refused, with bad_rows="skip" too."""
    with pytest.raises(BadRowsError) as caught:
        _resolve(_frame(cells), bad_rows=bad_rows)
    _says(caught.value, "3 of 3 rows", "column 'id'", "row 0: ", found, way_out)
    assert len(caught.value.rows) == 3
    assert "bad_rows" not in str(caught.value)


def test_text_ids_lead_to_uuid5() -> None:
    """A column, an index and a list of other text are told what to type, each its own."""
    frame = _frame(["A-1", "B-2"]).set_index("id", drop=False)
    for ids, parts in (
        ("id", ["column 'id'", "'A-1'", "ids=qframe.uuid5('id')"]),
        (None, ["index", "'A-1'", "df.reset_index(), then ids=qframe.uuid5('id')"]),
        (["A-1", "B-2"], ["ids holds text", "'A-1'", "make a column of them"]),
    ):
        with pytest.raises(InputError) as caught:
            _resolve(frame, ids)
        _says(caught.value, "text that is no UUID", *parts)


def test_digits_as_text_lead_to_astype() -> None:
    """Digits that came as text are told how to become numbers, and that this works."""
    frame = _frame(["12", "13"])
    with pytest.raises(InputError, match=r"df\['id'\] = df\['id'\].astype\('uint64'\)"):
        _resolve(frame)
    frame["id"] = frame["id"].astype("uint64")
    assert _ids(frame) == [12, 13]


def test_a_multiindex_is_no_id() -> None:
    """Several levels are refused with the reset_index and uuid5 to write."""
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["shop", "day"])
    frame = pd.DataFrame({"n": range(4)}, index=index)
    with pytest.raises(InputError) as caught:
        _resolve(frame, None)
    _says(caught.value, "2 levels", "df.reset_index()", "ids=qframe.uuid5('shop', 'day')")
    assert len(set(_ids(frame.reset_index(), qframe.uuid5("shop", "day")))) == 4


def test_the_number_of_ids_must_be_that_of_the_rows() -> None:
    """Both numbers are said; names of columns are led to uuid5."""
    frame = _frame([1, 2, 3])
    with pytest.raises(InputError, match=r"2 ids for 3 rows; they are matched by position"):
        _resolve(frame, np.array([1, 2]))
    with pytest.raises(InputError, match=r"ids=qframe.uuid5\('id', 'n'\)"):
        _resolve(frame, ["id", "n"])


def test_a_series_of_another_index_is_refused() -> None:
    """A misaligned Series is not taken by position unless the caller says so."""
    frame, ids = _frame([1, 2, 3]), pd.Series([7, 8, 9], index=[2, 1, 0])
    with pytest.raises(InputError, match=r"the Series has another index .* \.to_numpy\(\)"):
        _resolve(frame, ids)
    assert _ids(frame, ids.to_numpy()) == [7, 8, 9]


@pytest.mark.parametrize(
    ("ids", "parts"),
    [
        ("idd", ["no column 'idd'", "did you mean 'id'?", "columns: 'id', 'n'"]),
        (5, ["int 5 is neither a column", "None (the index)"]),
        ({1, 2, 3}, ["set {1, 2, 3} is neither"]),
        (iter([1]), ["is neither a column"]),
        (np.ones((3, 2)), ["an array of 2 dimensions; it has one id a row"]),
        (qframe.uuid5("idd"), ["uuid5: no column 'idd'", "did you mean 'id'?"]),
    ],
)
def test_ids_that_name_nothing(ids: Any, parts: list[str]) -> None:
    """An argument that stands for no ids is named, with what would be right."""
    with pytest.raises(InputError) as caught:
        _resolve(_frame([1, 2, 3]), ids)
    _says(caught.value, *parts)


def test_duplicate_column_names_are_refused() -> None:
    """A name that stands for two columns cannot name the ids."""
    frame = pd.DataFrame([[1, 2]], columns=["id", "id"])
    with pytest.raises(InputError, match=r"ids: the frame has 2 columns named 'id'; rename them"):
        _resolve(frame)


@pytest.mark.parametrize(
    ("index", "label"),
    [
        (["p", "q", "r"], "'q'"),
        (pd.date_range("2024-01-01", periods=3), "Timestamp('2024-01-02 00:00:00')"),
        (pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]), "('a', 2)"),
        (np.array([10, 20, 30]), "20"),
        ([0.5, 1.5, 2.5], "1.5"),
    ],
)
def test_rows_are_named_by_label(index: Any, label: str) -> None:
    """Messages and reports name index labels as they are written in Python, not positions."""
    frame = _frame([1, -2, 3], index=index)
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame)
    _says(caught.value, f"row {label}: -2 is negative")
    assert repr(caught.value.rows["label"].tolist()[0]) == label
    skipped = _resolve(frame, bad_rows="skip").skipped
    json.dumps(skipped)
    assert str(skipped[0]["label"]) == str(frame.index.tolist()[1])


@pytest.mark.parametrize(
    "cells",
    [
        np.array([0, 5, 2**63, MAX_NUMBER], dtype=np.uint64),
        pd.array([0, 5, 2**63, MAX_NUMBER], dtype="UInt64"),
        pd.array([0, 5, 2**63, MAX_NUMBER], dtype=pd.ArrowDtype(pa.uint64())),
        [0, np.uint8(5), 2**63, MAX_NUMBER],
        pd.Categorical([0, 5, 2**63, MAX_NUMBER]),
        pd.arrays.SparseArray(np.array([0, 5, 2**63, MAX_NUMBER], dtype=np.uint64)),
    ],
)
def test_integers_of_every_dtype(cells: Any) -> None:
    """Unsigned integers come through to the last digit, from every dtype that holds them."""
    assert _ids(_frame(cells)) == [0, 5, 2**63, MAX_NUMBER]


def test_an_index_of_ids() -> None:
    """None takes the index; only an unnamed RangeIndex counts as bare row numbers."""
    frame = _frame([1, 2])
    assert _resolve(frame, None).bare_ids
    assert _ids(frame, None) == [0, 1]
    assert not _resolve(frame, frame.index).bare_ids
    assert not _resolve(frame.set_index("id"), None).bare_ids
    assert _ids(frame.set_index("id"), None) == [1, 2]
    assert _ids(frame.set_axis([str(U[0]), str(U[1])]), None) == [str(U[0]), str(U[1])]


def test_the_id_column_is_used_up() -> None:
    """A column that gives the ids is no payload, and one that keys were made of is."""
    frame = _frame([1, 2])
    assert [c.key for c in _resolve(frame, "id").points.payload] == ["n"]
    assert [c.key for c in _resolve(frame, qframe.uuid5("id")).points.payload] == ["id", "n"]
    kept = _resolve(frame, qframe.uuid5("id"), payload=["n"])
    assert [c.key for c in kept.points.payload] == ["n", "id"]


@given(st.uuids(), st.sampled_from(["{}", "{{{}}}", "urn:uuid:{}"]), st.booleans())
def test_every_form_of_a_uuid(value: uuid.UUID, form: str, upper: bool) -> None:
    """Text that passes as a UUID is the one that the standard library reads."""
    digits = str(value).upper() if upper else str(value)
    for text in (form.format(digits), digits.replace("-", "")):
        assert UUID_TEXT.fullmatch(text)
        assert uuid.UUID(text) == value
        assert _ids(_frame([text])) == [str(value)]


@given(st.from_regex(UUID_TEXT, fullmatch=True))
def test_what_passes_as_a_uuid_is_one(text: str) -> None:
    """Whatever the pattern lets through is read as the standard library reads it."""
    assert _ids(_frame([text])) == [str(uuid.UUID(text))]


@given(st.lists(st.uuids(), min_size=1, max_size=5), st.booleans())
def test_columns_of_hyphenated_text(values: list[uuid.UUID], upper: bool) -> None:
    """Hyphenated UUIDs are read many at a time, digits in any case, Arrow's text and Python's."""
    texts = [str(value).upper() if upper else str(value) for value in dict.fromkeys(values)]
    wanted = [text.lower() for text in texts]
    assert _ids(_frame(texts)) == wanted
    assert _ids(pd.DataFrame({"id": pd.Series(texts, dtype=object)})) == wanted


@pytest.mark.parametrize(
    ("place", "character"), [(0, "g"), (35, "ß"), (8, "0"), (9, "-"), (20, "\x00")]
)
def test_one_character_among_hyphenated_text(place: int, character: str) -> None:
    """Text of the right length that is no UUID is found among others that are, by its row."""
    texts = [str(value) for value in U]
    texts[3] = texts[3][:place] + character + texts[3][place + 1 :]
    with pytest.raises(BadRowsError) as caught:
        _resolve(_frame(texts))
    _says(caught.value, "1 of 8 rows", "row 3: ", "is no UUID")


@pytest.mark.parametrize(
    "text",
    [
        "936da01f-9abd4d9d-80c7-02af85c822a8",
        "{936da01f-9abd-4d9d-80c7-02af85c822a8",
        "936da01f9abd4d9d80c702af85c822a",
        "936da01f-9abd-4d9d-80c7-02af85c822a8 ",
        "urn:uuid:936da01f9abd4d9d80c702af85c822a8",
        "936da01f-9abd-4d9d-80c7-02af85c822ag",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    """Forms that a server does not take are no UUIDs here either."""
    with pytest.raises(BadRowsError, match="is no UUID"):
        _resolve(_frame([text, 3]))


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1)
        ),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
def test_uuid5_is_the_documented_one(keys: list[tuple[str, int]]) -> None:
    """Ids are name-based UUIDs of the keys as a JSON array, as the docstring says."""
    frame = pd.DataFrame({"a": [a for a, _ in keys], "b": [b for _, b in keys]})
    wanted = [
        str(uuid.uuid5(NAMESPACE, json.dumps(key, ensure_ascii=False, separators=(",", ":"))))
        for key in keys
        if all(ch >= " " and ch != "\x7f" for ch in key[0])  # JSON writers differ in controls
    ]
    made = [
        point
        for point, key in zip(_ids(frame, qframe.uuid5("a", "b")), keys, strict=True)
        if all(ch >= " " and ch != "\x7f" for ch in key[0])
    ]
    assert made == wanted


def test_uuid5_has_a_namespace_of_choice() -> None:
    """The namespace changes every id, and must be a UUID."""
    frame = _frame(["a"])
    other = uuid.uuid5(uuid.NAMESPACE_DNS, "example.org")
    assert _ids(frame, qframe.uuid5("id", namespace=other)) == [str(uuid.uuid5(other, '["a"]'))]
    with pytest.raises(InputError, match=r"namespace 'x' is a str, not a UUID"):
        qframe.uuid5("id", namespace="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"needs the columns that name a row"):
        qframe.uuid5()


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (None, "no key"),
        (pd.NaT, "no key"),
        (0.5, "the float 0.5"),
        (b"x", "bytes b'x'"),
        ("a", "is the id of row 0 too"),
    ],
)
def test_keys_that_name_no_row(cell: Any, found: str) -> None:
    """A key that is missing, a float, no JSON or a repetition is named with its row."""
    frame = _frame(np.array(["a", "b", cell, "c"], dtype=object))
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame, qframe.uuid5("id"), payload=[])
    _says(caught.value, "id'", "row 2: ", found)
    skipped = _resolve(frame, qframe.uuid5("id"), payload=[], bad_rows="skip").skipped
    assert {finding["label"] for finding in skipped} == {2}


def test_float_keys_are_refused_as_a_column() -> None:
    """The digits of a float depend on who writes them, so they name nothing."""
    with pytest.raises(InputError, match=r"column 'id' holds float64.*\.astype\(\"Int64\"\)"):
        _resolve(_frame([0.5, 1.5]), qframe.uuid5("id"))


def test_uuid4_is_new_each_time() -> None:
    """Random ids are valid, all different, and others in the next call."""
    frame = _frame(range(100))
    first, second = _ids(frame, qframe.uuid4()), _ids(frame, qframe.uuid4())
    assert len({*first, *second}) == 200
    assert {uuid.UUID(str(text)).version for text in first} == {4}


def test_several_rows_of_one_kind_are_counted() -> None:
    """Three rows of a kind are shown, the others counted, and all of them are in .rows."""
    frame = _frame([*range(-1000, 0), 5])
    with pytest.raises(BadRowsError) as caught:
        _resolve(frame)
    _says(caught.value, "1,000 of 1,001 rows", "row 2: -998 is negative", "… and 997 more")
    assert "row 3:" not in str(caught.value)
    assert caught.value.rows["position"].tolist() == list(range(1000))


def _keyed(cells: Any, **options: Any) -> list[int | str]:
    return _ids(pd.DataFrame({"k": cells}), qframe.uuid5("k"), payload=[], **options)


@pytest.mark.parametrize(
    "cells",
    [
        np.array([Decimal(1), Decimal("2.0")], dtype=object),
        pd.Categorical([1.0, 2.0]),
        np.array([1.0, 2.0], dtype=object),
    ],
    ids=lambda value: str(value)[:24],
)
def test_whole_numbers_that_are_no_integers_are_no_keys(cells: Any) -> None:
    """Floats and Decimals are refused whatever holds them; the advice gives the integers' ids."""
    with pytest.raises(BadRowsError) as caught:
        _keyed(cells)
    _says(caught.value, "row 0: the float 1.0", '.astype("Int64") makes integers')
    assert _keyed(pd.Series(cells).astype("Int64")) == _keyed([1, 2])


def test_floats_within_keys_are_refused() -> None:
    """A float in a list or object is no better than one in a cell."""
    for cell in ([1, [2.5]], {"a": 2.5}):
        with pytest.raises(BadRowsError, match=r"row 1: the float 2\.5"):
            _keyed(pd.Series([["a"], cell], dtype=object))


def test_a_key_that_no_payload_holds_is_listed_once() -> None:
    """What the payload says of a key column is not said again of the keys."""
    with pytest.raises(BadRowsError) as caught:
        _keyed(np.array([2**63, 2**63, 1], dtype=np.uint64))
    assert caught.value.rows["position"].tolist() == [0, 1]


def test_keys_keep_nanoseconds() -> None:
    """Times of day that differ in a nanosecond are two keys."""
    times = pa.array([1000, 1001], pa.time64("ns"))
    assert len(set(_keyed(pd.Series(times, dtype=pd.ArrowDtype(times.type))))) == 2


def test_uuid5_takes_columns_one_by_one() -> None:
    """A list of columns is told how it is written."""
    with pytest.raises(InputError, match=r"one by one: qframe\.uuid5\('k', 'l'\)"):
        qframe.uuid5(["k", "l"])  # type: ignore[arg-type]


def test_arrow_uuids_are_ids() -> None:
    """A column of Arrow's own UUIDs is read as such, and may be a key."""
    if not hasattr(pa, "uuid"):
        pytest.skip("this pyarrow has no UUIDs")
    uuids = pa.array([U[0].bytes, U[1].bytes], pa.uuid())
    try:
        cells = pd.Series(uuids, dtype=pd.ArrowDtype(uuids.type))
    except NotImplementedError:
        pytest.skip("this pandas has no UUIDs")
    assert _ids(_frame(cells)) == [str(U[0]), str(U[1])]
    assert _keyed(cells) == _keyed(np.array(U[:2], dtype=object))


def test_text_ids_are_sent_to_integers_only_where_that_works() -> None:
    """Digits among other text lead to uuid5, and so do numbers too large."""
    for cells in (["1", "abc"], [str(2**64)]):
        with pytest.raises(InputError, match=r"ids=qframe\.uuid5\('id'\)"):
            _resolve(_frame(cells))
    with pytest.raises(InputError, match="makes numbers of digits, once no row lacks one"):
        _resolve(_frame(["1", None]))


def test_nameless_indexes_lead_to_names() -> None:
    """The advice for an index without a name gives the names that pandas will make."""
    levels = _frame([1]).set_index(pd.MultiIndex.from_tuples([("a", 1)]))
    with pytest.raises(InputError, match=r"uuid5\('level_0', 'level_1'\)"):
        _resolve(levels, None)
    assert len(_ids(levels.reset_index(), qframe.uuid5("level_0", "level_1"))) == 1
    text = _frame([1], index=["a"])
    with pytest.raises(InputError) as caught:
        _resolve(text, None)
    _says(caught.value, "df.rename_axis(\"key\").reset_index(), then ids=qframe.uuid5('key')")
    assert len(_ids(text.rename_axis("key").reset_index(), qframe.uuid5("key"))) == 1


def test_the_name_of_the_index_is_no_column() -> None:
    """Naming the index as if it were a column leads to the index, or to reset_index."""
    frame = _frame([1, 2]).set_index("id")
    with pytest.raises(InputError) as caught:
        _resolve(frame)
    _says(caught.value, "'id'", "it names the index", "df.reset_index()", "leave ids out")
    with pytest.raises(InputError, match=r"it names the index: df\.reset_index\(\) makes"):
        _resolve(frame, qframe.uuid5("id"))


def test_duplicates_have_a_way_out() -> None:
    """Two rows of one id are told how to keep one of them, each source its own."""
    frame = _frame([4, 4, 5])
    for rows, ids, way_out in (
        (frame, "id", "df.drop_duplicates('id')"),
        (frame.set_index("id"), None, "df[~df.index.duplicated()]"),
        (frame, [4, 4, 5], "df[~pd.Series(ids).duplicated().to_numpy()]"),
        (frame, qframe.uuid5("id"), "df.drop_duplicates(['id'])"),
    ):
        with pytest.raises(BadRowsError) as caught:
            _resolve(rows, ids)
        _says(caught.value, way_out)
        left = eval(way_out, {"df": rows, "pd": pd, "ids": ids})
        assert len(left) == 2


def test_only_rows_that_would_be_sent_are_duplicates() -> None:
    """A row is not set aside for the id of one that is set aside itself."""
    frame = _frame([1, 1, 2, 2]).assign(n=[np.inf, 1.0, 1.0, 2.0])
    for ids in ("id", qframe.uuid5("id")):
        mapped = _resolve(frame, ids, bad_rows="skip")
        assert [finding["position"] for finding in mapped.skipped] == [0, 3]


def test_ids_that_a_frame_gets_later() -> None:
    """The ids that were checked are those that are sent, also where a column is written to."""
    keys = np.arange(3)
    frame = pd.DataFrame({"id": pd.Series(keys, copy=False)}, copy=False)
    assert np.shares_memory(frame["id"].to_numpy(), keys)
    points = _resolve(frame, "id").points
    keys[1] = -5
    assert points.ids.tolist() == [0, 1, 2]
