from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import qframe
from qframe import InputError

ROOT = Path(__file__).parents[1]


METHODS = ["upload", "plan", "verify", "failed"]


@pytest.mark.parametrize("name", METHODS)
def test_the_method_is_the_function(name: str) -> None:
    """df.qdrant.upload has the parameters, defaults and docstring of qframe.upload, and so on."""
    method, function = getattr(qframe.QdrantAccessor, name), getattr(qframe, name)
    own = inspect.signature(method, follow_wrapped=False)
    signature = inspect.signature(function)
    assert [*own.parameters.values()][1:] == [*signature.parameters.values()][1:]
    assert own.return_annotation == signature.return_annotation
    assert method.__doc__ == function.__doc__
    assert method.__name__ == name


def test_every_public_method_is_compared() -> None:
    """No method of df.qdrant escapes the tests of this file."""
    assert [name for name in vars(qframe.QdrantAccessor) if not name.startswith("_")] == METHODS


@pytest.mark.parametrize(
    "look",
    [
        "inspect.getdoc(frame.qdrant.upload) == inspect.getdoc(qframe.upload)",
        "inspect.getdoc(pd.DataFrame.qdrant.upload) == inspect.getdoc(qframe.upload)",
        "'Write ordering' in pydoc.render_doc(frame.qdrant.upload)",
        "[*inspect.signature(frame.qdrant.upload, eval_str=True).parameters][0] == 'collection'",
        "get_type_hints(frame.qdrant.upload)['con'] == get_type_hints(qframe.upload)['con']",
        "pickle.loads(pickle.dumps(frame.qdrant.upload)).__name__ == 'upload'",
    ],
)
def test_the_first_look_at_a_method(look: str) -> None:
    """Whatever of a method is looked at first, in a fresh interpreter, it is right."""
    code = (
        "import inspect, pickle, pydoc\nfrom typing import get_type_hints\n"
        f"import pandas as pd, qframe\nframe = pd.DataFrame({{'a': [1]}})\nassert {look}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_is_handed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No argument is lost or swapped on its way to the function."""
    given: dict[str, object] = {}
    function = getattr(qframe, name)
    signature = inspect.signature(function)

    def take(*args: object, **kwargs: object) -> None:
        given.update(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(sys.modules[function.__module__], name, take)
    frame = pd.DataFrame({"a": [1]})
    wanted = {name: object() for name in [*signature.parameters][1:]}
    getattr(frame.qdrant, name)(**wanted)
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
