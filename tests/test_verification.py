"""The proof that what is stored is what the frame holds."""

from __future__ import annotations

import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import qframe
from qframe.verification import COLUMNS
from tests.test_contract import every_type

ROWS = 60
PATCH = {"wait": True, "progress": False}


def random(*shape: int, seed: int = 3) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return float64 numbers that float32 has to round."""
    return np.random.default_rng(seed).normal(size=shape)


def films(rows: int = ROWS) -> pd.DataFrame:
    """Return a frame with a vector, three payload columns, and labels that are no ids."""
    return pd.DataFrame(
        {
            "id": range(100, 100 + rows),
            "v": list(random(rows, 8)),
            "n": range(rows),
            "share": random(rows),
            "text": [None if n % 5 == 4 else f"text {n}" for n in range(rows)],
        },
        index=[f"row {n}" for n in range(rows)],
    )


OPTIONS: dict[str, Any] = {"vectors": "v", "ids": "id"}


def changed(frame: pd.DataFrame, row: int, **cells: Any) -> pd.DataFrame:
    """Return one row of a frame with other cells."""
    return frame.iloc[[row]].assign(**{name: [cell] for name, cell in cells.items()})


def lines(found: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return the differences without their texts."""
    assert found.dtypes.astype(str).to_dict() == COLUMNS
    cells = (found[name].tolist() for name in ("position", "label", "id", "problem", "name"))
    return list(zip(*cells, strict=True))


# ---- What was just uploaded is all there ----

KINDS: dict[str, Any] = {
    "dense": {"vectors": random(ROWS, 5)},
    "a named one": {"vectors": {"a": random(ROWS, 5)}},
    "multi": {"vectors": random(ROWS, 3, 4)},
    "sparse": {
        "vectors": {
            "w": scipy.sparse.random_array(
                (ROWS, 90), density=0.1, format="csr", rng=np.random.default_rng(1)
            )
        }
    },
    "none": {"vectors": {}},
}


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
@pytest.mark.parametrize("kind", ["dense", "a named one", "multi"])
def test_each_distance(con: qframe.Connection, collection: str, kind: str, distance: str) -> None:
    """Vectors are as expected whatever the collection does to them, zeros and small ones too."""
    vectors = KINDS[kind]["vectors"]
    for one in vectors.values() if isinstance(vectors, dict) else [vectors]:
        one[0], one[1] = 0, one[1] * 1e-8
        one[2] /= np.linalg.norm(one[2], axis=-1, keepdims=True)
    frame = films()[["id", "n"]]
    frame.qdrant.upload(collection, con, vectors=vectors, ids="id", distance=distance, **PATCH)
    found = frame.qdrant.verify(collection, con, vectors=vectors, ids="id")
    assert lines(found) == []


def test_every_payload_type(con: qframe.Connection, collection: str) -> None:
    """No value of any type is told as a difference, nor a float that rounds."""
    frame, _ = every_type(200)
    frame["random"] = random(200) * 10.0 ** np.arange(-100, 100)
    vectors = random(200, 4)
    frame.qdrant.upload(collection, con, vectors=vectors, ids=frame.index, **PATCH)
    found = frame.qdrant.verify(collection, con, vectors=vectors, ids=frame.index)
    assert lines(found) == []
    dropping = {"vectors": vectors, "ids": frame.index, "missing": "drop"}
    found = frame.qdrant.verify(collection, con, **dropping)
    assert set(found["problem"]) == {"payload"}
    assert found["expected"].isna().all()
    assert set(map(type, found["found"])) == {type(None)}
    frame.qdrant.upload(collection, con, **dropping, **PATCH)
    assert lines(frame.qdrant.verify(collection, con, **dropping)) == []


def test_named_vectors_of_all_kinds_with_gaps_and_mixed_ids(
    con: qframe.Connection, collection: str
) -> None:
    """A vector that a point lacks is expected to lack; ids are numbers and UUIDs at once."""
    frame = pd.DataFrame(
        {
            "key": [n if n % 2 else str(uuid.UUID(int=n * 2**100)) for n in range(ROWS)],
            "dense": [None if n % 2 else row for n, row in enumerate(random(ROWS, 5))],
            "multi": [None if n % 3 else random(1 + n % 4, 3, seed=n) for n in range(ROWS)],
            "sparse": [
                None
                if n % 5 == 0
                else {"indices": [2**32 - 1, n][: n % 3], "values": [0.1 * n, -1.5][: n % 3]}
                for n in range(ROWS)
            ],
        }
    )
    names = {"dense": "dense", "multi": "multi", "sparse": "sparse", "full": random(ROWS, 2)}
    frame.qdrant.upload(collection, con, vectors=names, ids="key", **PATCH)
    found = frame.qdrant.verify(collection, con, vectors=names, ids="key", extra=True)
    assert lines(found) == []
    assert found.attrs["verify"]["problems"] == dict.fromkeys(
        ("missing", "vector", "payload", "extra"), 0
    )


def test_no_vectors_at_all(con: qframe.Connection, collection: str) -> None:
    """A collection without vectors is compared by payload."""
    frame = films()[["id", "n"]]
    frame.qdrant.upload(collection, con, vectors={}, ids="id", **PATCH)
    assert lines(frame.qdrant.verify(collection, con, vectors={}, ids="id")) == []
    found = frame.assign(n=0).qdrant.verify(collection, con, vectors={}, ids="id")
    assert len(found) == ROWS - 1


@pytest.mark.parametrize("distance", ["cosine", "dot"])
@pytest.mark.parametrize("datatype", ["float32", "float16", "uint8"])
def test_datatypes(con: qframe.Connection, collection: str, datatype: str, distance: str) -> None:
    """Numbers are compared as the datatype keeps them, clamped and cut off for uint8."""
    frame = films()[["id", "n"]]
    vectors = {"a": random(ROWS, 6) * 200, "m": random(ROWS, 2, 3, seed=9) * 200}
    settings = {"datatype": datatype}
    frame.qdrant.upload(
        collection,
        con,
        vectors=vectors,
        ids="id",
        distance=distance,
        collection_config={"vectors": {"a": settings, "m": settings}},
        **PATCH,
    )
    found = frame.qdrant.verify(collection, con, vectors=vectors, ids="id")
    assert lines(found) == []
    assert found.attrs["verify"]["uncompared"] == {}
    vectors["a"][7, 3] = -vectors["a"][7, 3] + 50
    vectors["m"][9, 1, 2] = -vectors["m"][9, 1, 2] + 50
    found = frame.qdrant.verify(collection, con, vectors=vectors, ids="id")
    assert lines(found) == [
        (7, "row 7", 107, "vector", "a"),
        (9, "row 9", 109, "vector", "m"),
    ]


@pytest.mark.parametrize("datatype", ["turbo8", "turbo16"])
def test_datatypes_that_lose_what_they_like(tmp_path: Path, datatype: str) -> None:
    """What nobody can expect is not compared, and this is told; presence and payload still are."""
    frame = films()
    config = {"vectors": {"": {"datatype": datatype}}}
    frame.iloc[:-1].qdrant.upload("films", tmp_path, **OPTIONS, collection_config=config, **PATCH)
    found = frame.qdrant.verify("films", tmp_path, **OPTIONS)
    assert lines(found) == [(59, "row 59", 159, "missing", pd.NA)]
    assert found.attrs["verify"]["uncompared"] == {"": datatype}


def test_what_is_told_of_the_whole(con: qframe.Connection, collection: str) -> None:
    """The attributes say what was compared with what, rows that were set aside among it."""
    frame = films()
    frame["v"] = frame["v"].where(frame["n"] != 3, None)
    report = frame.qdrant.upload(collection, con, **OPTIONS, bad_rows="skip", **PATCH)
    assert report["points"].sum() == ROWS - 1
    films(70).iloc[65:].qdrant.upload(collection, con, **OPTIONS, **PATCH)
    found = frame.qdrant.verify(collection, con, **OPTIONS, bad_rows="skip")
    assert lines(found) == []
    told = found.attrs["verify"]
    assert told.pop("seconds") > 0
    assert told == {
        "collection": collection,
        "target": con.target,
        "transport": con.transport,
        "rows": ROWS,
        "set_aside": 1,
        "expected": ROWS - 1,
        "stored": ROWS - 1 + 5,
        "compared": ROWS - 1,
        "sampled": False,
        "uncompared": {},
        "problems": {"missing": 0, "vector": 0, "payload": 0, "extra": 0},
    }


# ---- Tampering ----


def test_each_tampering_has_its_line(con: qframe.Connection, collection: str) -> None:
    """A point that is gone, one of another vector, keys changed, added, removed, null, and more."""
    frame = films()
    rows = np.delete(np.arange(ROWS), [10])
    frame.iloc[rows].qdrant.upload(collection, con, **OPTIONS, distance="dot", **PATCH)
    vector = frame["v"].iloc[20].copy()
    vector[5] += 0.25
    for tampered in (
        changed(frame, 20, v=vector),
        changed(frame, 25, v=frame["v"].iloc[26]),
        changed(frame, 30, text="other"),
        changed(frame, 31, n=True),
        changed(frame, 32, more={"a": [1]}),
        frame.iloc[[33]].drop(columns="share"),
        changed(frame, 34, text="not null"),
        changed(frame, 35, share=None),
        changed(frame, 36, n=36.0),
        changed(frame, 37, id=7000),
    ):
        tampered.qdrant.upload(collection, con, **OPTIONS, **PATCH)
    found = frame.qdrant.verify(collection, con, **OPTIONS, extra=True)
    assert lines(found) == [
        (10, "row 10", 110, "missing", pd.NA),
        (20, "row 20", 120, "vector", ""),
        (25, "row 25", 125, "vector", ""),
        (30, "row 30", 130, "payload", "text"),
        (31, "row 31", 131, "payload", "n"),
        (32, "row 32", 132, "payload", "more"),
        (33, "row 33", 133, "payload", "share"),
        (34, "row 34", 134, "payload", "text"),
        (35, "row 35", 135, "payload", "share"),
        (pd.NA, None, 7000, "extra", pd.NA),
    ]
    told = found.set_index("position")
    assert told.loc[30, ["expected", "found"]].tolist() == ["text 30", "other"]
    assert told.loc[31, "expected"] == 31
    assert told.loc[31, "found"] is True
    assert told.loc[32, "expected"] is pd.NA
    assert told.loc[32, "found"] == {"a": [1]}
    assert told.loc[33, "found"] is pd.NA
    assert told.loc[34, "expected"] is None
    assert told.loc[35, "found"] is None
    single = np.float32(frame["v"].iloc[20][5]), np.float32(vector[5])
    assert told.loc[20, "expected"] == f"{single[0]:.7g} at position 5"
    assert told.loc[20, "found"] == (
        f"{single[1]:.7g} at position 5, the largest difference of 1 of 8 numbers"
    )
    assert "of 8 of 8 numbers" in told.loc[25, "found"]
    assert found.attrs["verify"]["problems"] == {
        "missing": 1,
        "vector": 2,
        "payload": 6,
        "extra": 1,
    }
    assert found.attrs["verify"]["stored"] == ROWS


def test_a_cosine_vector_that_differs_a_little(con: qframe.Connection, collection: str) -> None:
    """Another length is no difference, another direction is, from the fifth digit on."""
    frame = films()
    frame.qdrant.upload(collection, con, **OPTIONS, **PATCH)
    assert frame.assign(v=frame["v"] * 3).qdrant.verify(collection, con, **OPTIONS).empty
    vector = frame["v"].iloc[3].copy()
    vector[int(np.argmin(np.abs(vector)))] *= 1.00005
    changed(frame, 3, v=vector).qdrant.upload(collection, con, **OPTIONS, **PATCH)
    found = frame.qdrant.verify(collection, con, **OPTIONS)
    assert lines(found) == [(3, "row 3", 103, "vector", "")]


def test_shapes_and_absence_of_vectors(con: qframe.Connection, collection: str) -> None:
    """Vectors that are absent, unexpected, or of another size, and sparse ones, have words."""
    frame = pd.DataFrame(
        {
            "id": range(6),
            "a": list(random(6, 3)),
            "m": [random(2, 2, seed=n) for n in range(6)],
            "s": [{"indices": [9, n], "values": [1.0, 2.0]} for n in range(6)],
        }
    )
    options = {"vectors": {"a": "a", "m": "m", "s": "s"}, "ids": "id"}
    sparse = frame["s"].tolist()
    sparse[2] = {"indices": [9, 2], "values": [1.5, 2.0]}
    sparse[3] = {"indices": [9], "values": [1.0]}
    sparse[4] = {"indices": [4, 9], "values": [2.0, 1.0]}
    stored = frame.assign(
        a=[None, *frame["a"][1:]], m=[frame["m"][0], random(3, 2), *frame["m"][2:]], s=sparse
    )
    stored.qdrant.upload(collection, con, **options, distance="dot", **PATCH)
    frame["m"] = [*frame["m"][:5], None]
    found = frame.qdrant.verify(collection, con, **options)
    assert list(
        zip(*(found[name] for name in ("id", "name", "expected", "found")), strict=True)
    ) == [
        (0, "a", "size 3", "no vector"),
        (1, "m", "2 vectors of size 2", "3 vectors of size 2"),
        (2, "s", "1 for index 9", "1.5 for index 9, the first difference"),
        (3, "s", "2 indices", "1 indices"),
        (5, "m", "no vector", "2 vectors of size 2"),
    ]


def test_extra_points_with_ids_of_all_kinds(con: qframe.Connection, collection: str) -> None:
    """Numbers up to the largest, and UUIDs with zero bytes, are told from those of the frame."""
    keys = [
        2**64 - 1,
        0,
        str(uuid.UUID(int=2**64)),
        str(uuid.UUID(int=0)),
        7,
        str(uuid.UUID(int=7)),
    ]
    frame = pd.DataFrame({"key": pd.Series(keys, dtype=object), "v": list(random(6, 2))})
    options = {"vectors": "v", "ids": "key"}
    frame.qdrant.upload(collection, con, **options, **PATCH)
    assert frame.qdrant.verify(collection, con, **options, extra=True).empty
    for part in ([0, 2], [1, 3, 4], [0, 1], [2]):
        found = frame.iloc[part].qdrant.verify(collection, con, **options, extra=True)
        assert set(found["problem"]) == {"extra"}
        rest = [key for at, key in enumerate(keys) if at not in part]
        assert sorted(found["id"], key=str) == sorted(rest, key=str)
    assert frame.head(1).qdrant.verify(collection, con, **options).empty


def test_points_of_another_collection(con: qframe.Connection, collection: str) -> None:
    """The same ids with other contents are told line by line, in the order of the rows."""
    frame = films(2500)
    other = frame.assign(v=frame["v"].iloc[::-1].tolist(), n=-1)
    other.qdrant.upload(collection, con, **OPTIONS, **PATCH)
    found = frame.qdrant.verify(collection, con, **OPTIONS)
    assert found["position"].tolist() == [n for n in range(2500) for _ in "vn"]
    assert found["problem"].tolist() == ["vector", "payload"] * 2500


# ---- Samples ----


def test_a_sample(con: qframe.Connection, collection: str) -> None:
    """A sample is of its size, the same for one seed, and finds its share of what was changed."""
    frame = films(1000)
    frame.qdrant.upload(collection, con, **OPTIONS, **PATCH)
    tampered = frame.assign(n=[-1 if n % 4 == 0 else n for n in range(1000)])
    found = tampered.qdrant.verify(collection, con, **OPTIONS, sample=200)
    told = found.attrs["verify"]
    assert (told["compared"], told["expected"], told["sampled"]) == (200, 1000, True)
    assert 30 <= len(found) <= 70
    assert found["position"].is_monotonic_increasing
    share = tampered.qdrant.verify(collection, con, **OPTIONS, sample=0.2)
    pd.testing.assert_frame_equal(share, found)
    other = tampered.qdrant.verify(collection, con, **OPTIONS, sample=0.2, seed=1)
    assert other["position"].tolist() != found["position"].tolist()
    for everything in (1.0, 1000, 9999, np.int64(1000)):
        whole = tampered.qdrant.verify(collection, con, **OPTIONS, sample=everything)
        assert len(whole) == 250


@pytest.mark.parametrize("sample", [0, -1, 0.0, 1.5, float("nan"), True, "10%", "5"])
def test_what_is_no_sample(tmp_path: Path, sample: Any) -> None:
    """A sample is a number of rows or a share of them."""
    with pytest.raises(
        qframe.InputError, match=r"sample=.*a number of rows, 1 or more; or a share"
    ):
        films().qdrant.verify("films", tmp_path, **OPTIONS, sample=sample)


# ---- What is refused, and what it costs ----


def test_no_collection(con: qframe.Connection, collection: str) -> None:
    """A collection that is not there is named, with the place and what makes it."""
    with pytest.raises(qframe.CollectionNotFound, match=rf"{collection}.*df\.qdrant\.upload"):
        films().qdrant.verify(collection, con, **OPTIONS)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    """Another vector, random ids, and bad rows are refused before anything is read."""
    frame = films()
    frame.qdrant.upload("films", tmp_path, **OPTIONS, progress=False)
    with pytest.raises(qframe.SchemaMismatch, match="'image'"):
        frame.qdrant.verify("films", tmp_path, vectors={"image": "v"}, ids="id")
    with pytest.raises(qframe.InputError, match=r"uuid4\(\) makes new ids in every call"):
        frame.qdrant.verify("films", tmp_path, vectors="v", ids=qframe.uuid4())
    with pytest.raises(qframe.BadRowsError):
        frame.assign(id=5).qdrant.verify("films", tmp_path, **OPTIONS)
    for workers in (0, 1.5, True):
        with pytest.raises(qframe.InputError, match="workers="):
            frame.qdrant.verify("films", tmp_path, **OPTIONS, workers=workers)
    with pytest.raises(qframe.InputError, match="seed=-1"):
        frame.qdrant.verify("films", tmp_path, **OPTIONS, sample=5, seed=-1)


def test_an_empty_frame(tmp_path: Path) -> None:
    """A frame without rows differs in nothing."""
    films().qdrant.upload("films", tmp_path, **OPTIONS, progress=False)
    found = films().head(0).qdrant.verify("films", tmp_path, **OPTIONS, sample=0.5)
    assert lines(found) == []
    assert found.attrs["verify"]["compared"] == 0


def test_a_result_can_be_kept(tmp_path: Path) -> None:
    """Differences, and what is told of the whole, go through a file."""
    frame = films()
    frame.iloc[1:].qdrant.upload("films", tmp_path / "store", **OPTIONS, progress=False)
    found = frame.assign(text="x").qdrant.verify("films", tmp_path / "store", **OPTIONS)
    found.to_parquet(tmp_path / "found.parquet")
    kept = pd.read_parquet(tmp_path / "found.parquet")
    assert kept.attrs == found.attrs
    assert kept["problem"].tolist() == found["problem"].tolist()


def test_a_frame_is_never_copied_as_a_whole(tmp_path: Path) -> None:
    """What is allocated at its highest is a few pages, far less than the vectors take."""
    rows, size = 100_000, 64
    frame = pd.DataFrame({"n": np.arange(rows)})
    vectors = np.random.default_rng(0).random((rows, size), dtype=np.float32)
    options = {"vectors": vectors, "ids": "n", "payload": []}
    frame.qdrant.upload("many", tmp_path, **options, progress=False)
    tracemalloc.start()
    try:
        found = frame.qdrant.verify("many", tmp_path, **options)
        _, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.empty
    assert found.attrs["verify"]["compared"] == rows
    assert highest < vectors.nbytes / 2


def test_no_server() -> None:
    """A server that is not there is told at once."""
    with pytest.raises(qframe.ServerUnreachable):
        films().qdrant.verify("films", "http://127.0.0.1:9", **OPTIONS)
