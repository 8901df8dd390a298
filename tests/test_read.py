"""Reading points back: what the contract tests do not ask."""

from __future__ import annotations

import json
import urllib.request
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import qframe
from tests.server import LocalServer

FRAME = pd.DataFrame({"n": [1, 2, 3], "v": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a collection of three points."""
    FRAME.qdrant.upload("films", tmp_path, vectors="v", ids="n", distance="dot", progress=False)
    return tmp_path


def test_ids_in_any_number_and_order(folder: Path) -> None:
    """One id, an id twice, and ids that are not there are all questions that have an answer."""
    assert qframe.read_collection("films", folder, ids=2).index.tolist() == [2]
    found = qframe.read_collection("films", folder, ids=np.array([3, 9, 1, 3]))
    assert found.index.tolist() == [3, 1, 3]
    assert found.attrs["missing_ids"] == [9]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["film"], "position 0: 'film' is no UUID"),
        ([1, -5], "position 1: -5 is negative"),
        ([1, 2.5], "position 1: 2.5 is a float"),
    ],
)
def test_what_is_no_id(folder: Path, ids: list[object], message: str) -> None:
    """Something that can be no id is named, in the words of reading."""
    with pytest.raises(qframe.InputError, match=message) as caught:
        qframe.read_collection("films", folder, ids=ids)
    assert "sent" not in str(caught.value)


def test_a_uuid_by_its_text(tmp_path: Path) -> None:
    """A single UUID as text is one id, not a list of letters."""
    key = uuid.uuid4()
    frame = FRAME.assign(n=[key, uuid.uuid4(), uuid.uuid4()])
    frame.qdrant.upload("films", tmp_path, vectors="v", ids="n", progress=False)
    assert qframe.read_collection("films", tmp_path, ids=str(key)).index.tolist() == [str(key)]


def test_an_unnamed_vector_beside_one_called_vector(tmp_path: Path) -> None:
    """Both come back, the unnamed one under its own name."""
    words = scipy.sparse.csr_matrix(np.eye(3))
    frame = FRAME[["n"]]
    vectors = {"": np.ones((3, 2)), "vector": words}
    frame.qdrant.upload("films", tmp_path, vectors=vectors, ids="n", progress=False)
    back = qframe.read_collection("films", tmp_path)
    assert back[""][1].shape == (2,)
    assert back["vector"][2]["indices"].tolist() == [1]
    found = qframe.search("films", words[[2]], tmp_path, using="vector", limit=1)
    assert found.index.tolist() == [3]


def test_integers_that_others_wrote(server: LocalServer, collection: str) -> None:
    """Integers beyond int64, which REST takes from other clients, come back as they are."""
    FRAME.qdrant.upload(collection, server.rest_url, vectors="v", ids="n", progress=False)
    point = {"id": 4, "vector": [1.0, 1.0], "payload": {"big": 2**64 - 1}}
    request = urllib.request.Request(
        f"{server.rest_url}/collections/{collection}/points?wait=true",
        json.dumps({"points": [point]}).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request):
        back = qframe.read_collection(collection, server.rest_url)
    assert back.loc[4, "big"] == 2**64 - 1


def test_a_limit_may_be_a_number_of_numpy(folder: Path) -> None:
    """Counts come from numpy often enough."""
    assert len(qframe.read_collection("films", folder, limit=np.int64(2))) == 2
    with pytest.raises(qframe.InputError, match="limit=-1: a whole number, 0 or more"):
        qframe.search("films", [1.0, 0.0], folder, limit=-1)
