from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pandas as pd
import pytest

import qframe
from qframe import InputError


def test_the_method_is_the_function() -> None:
    """df.qdrant.upload has the parameters, defaults and docstring of qframe.upload."""
    method = inspect.signature(qframe.QdrantAccessor.upload).parameters
    function = inspect.signature(qframe.upload).parameters
    assert [*method][1:] == [*function][1:]
    for name in [*function][1:]:
        assert method[name] == function[name]
    assert qframe.QdrantAccessor.upload.__doc__ == qframe.upload.__doc__


def test_every_argument_is_handed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No argument is lost or swapped on its way to the function."""
    given: dict[str, object] = {}
    signature = inspect.signature(qframe.upload)

    def take(*args: object, **kwargs: object) -> None:
        given.update(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(sys.modules["qframe.uploading"], "upload", take)
    frame = pd.DataFrame({"a": [1]})
    wanted = {name: object() for name in [*signature.parameters][1:]}
    frame.qdrant.upload(**wanted)
    assert given.pop("frame") is frame
    assert given == wanted


def test_levels_of_columns_are_no_payload_keys(tmp_path: Path) -> None:
    """A frame whose columns have levels is told how to name them."""
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "z")])
    frame = pd.DataFrame([[1, 2, 3]], columns=columns)
    with pytest.raises(InputError, match=r"key \('b', 'z'\) is a tuple.*df\.columns\.map\(str\)"):
        frame.qdrant.upload("films", tmp_path, vectors=[("a", "x"), ("a", "y")])


def test_a_frame_is_not_changed(tmp_path: Path) -> None:
    """Uploading leaves the caller's frame as it was."""
    frame = pd.DataFrame({"v": [[1.0, 2.0]] * 3, "t": ["a", None, "c"]}, index=[5, 6, 7])
    before = frame.copy(deep=True)
    frame.qdrant.upload("films", tmp_path / "store", vectors="v", progress=False)
    pd.testing.assert_frame_equal(frame, before)
    assert frame.attrs == {}


def test_something_else_than_a_frame() -> None:
    """The function says what its first argument was, and where records go."""
    with pytest.raises(InputError, match=r"is a list, not a DataFrame.*upload_points"):
        qframe.upload([{"id": 1}], "films", ":memory:", vectors="v")  # type: ignore[arg-type]


def test_any_frame_can_still_be_looked_at() -> None:
    """Importing qframe changes nothing for frames that it could not upload."""
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["a"], ["x", "y"]]))
    assert "qdrant" in dir(frame)
    assert hasattr(frame, "qdrant")
