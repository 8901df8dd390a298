"""The notebooks run from top to bottom in a real kernel, again to the same end, and show what they
tell of.

They run where a newcomer opens them: in the folder ``notebooks`` of a copy of the repository, with
qframe installed, and nothing else of the repository on Python's path.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import qframe
from tests.server import LocalServer

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

Edit = Callable[[str], str]


def stored(path: Path) -> Any:
    """Read a notebook as it is on disk."""
    return nbformat.read(path, as_version=4)


def cell(notebook: Any, cell_id: str) -> Any:
    """Return the cell of this id."""
    (found,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return found


def output(notebook: Any, cell_id: str) -> Any:
    """Return the last output of a cell."""
    return cell(notebook, cell_id).outputs[-1]


def result(notebook: Any, cell_id: str) -> str:
    """Return what a cell's last line is, as text."""
    return str(output(notebook, cell_id).data["text/plain"])


def printed(notebook: Any, cell_id: str) -> str:
    """Return what a cell printed."""
    outputs = cell(notebook, cell_id).outputs
    return "".join(out.text for out in outputs if out.get("name") == "stdout")


class Books:
    """A copy of the repository, as far as its notebooks need it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "notebooks"
        self.folder.mkdir(parents=True)
        (root / "tests").symlink_to(ROOT / "tests")
        shutil.copy(ROOT / "pyproject.toml", root)

    def run(self, name: str, edit: tuple[str, str] | None = None) -> Any:
        """Run a notebook in its own folder, save it, and return what was saved."""
        path = self.folder / f"{name}.ipynb"
        shutil.copy(ROOT / "notebooks" / path.name, path)
        notebook = stored(path)
        if edit is not None:
            assert sum(one.source.count(edit[0]) for one in notebook.cells) == 1
            for one in notebook.cells:
                one.source = one.source.replace(*edit)
        client = NotebookClient(notebook, timeout=120, kernel_name="python3")
        client.execute(cwd=str(self.folder))
        nbformat.write(notebook, path)
        self.check_what_is_left(path)
        saved = stored(path)
        assert complaints(saved) == ""
        return saved

    def check_what_is_left(self, path: Path) -> None:
        """Nothing is beside a notebook that ran but its collections, which git ignores."""
        assert {one.name for one in self.folder.iterdir()} <= {path.name, "qdrant_data"}


def complaints(notebook: Any) -> str:
    """Return what was written to stderr: warnings, mostly."""
    outputs = [out for one in notebook.cells for out in one.get("outputs", ())]
    lines = "".join(out.text for out in outputs if out.get("name") == "stderr").splitlines()
    # Matplotlib says so once on a machine, if it takes long.
    return "\n".join(line for line in lines if "building the font cache" not in line)


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    """Start kernels with this work tree's qframe, and nothing of the user's own settings."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "qframe").symlink_to(ROOT / "qframe")
    monkeypatch.setenv("PYTHONPATH", str(site))
    for name in ("PYTHONWARNINGS", "QDRANT_GRPC_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return Books(tmp_path / "repository")


@pytest.fixture
def named_server(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    """Have the environment name a server."""
    server.reset()
    monkeypatch.setenv("QDRANT_URL", server.rest_url)
    monkeypatch.setenv("QDRANT_GRPC_URL", server.grpc_url)
    return server


def has_ended(notebook: Any, cell_id: str, *words: str) -> None:
    """Check the final output of an upload: it is there without a widget, and has these words."""
    shown = (out.get("data", {}) for out in cell(notebook, cell_id).outputs)
    data = next(data for data in shown if "text/html" in data)
    assert "application/vnd.jupyter.widget-view+json" not in data
    for word in words:
        assert word in data["text/plain"]
        assert word in data["text/html"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_in_git(path: Path) -> None:
    """A notebook is stored without outputs, counts and traces of a machine."""
    notebook = stored(path)
    nbformat.validate(notebook)
    code = [one for one in notebook.cells if one.cell_type == "code"]
    assert code
    assert not any(one.outputs or one.execution_count for one in code)
    assert not any(one.metadata for one in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_prose_goes_before_code(path: Path) -> None:
    """A notebook says first what it needs; each cell has a text before it, and is short."""
    cells = stored(path).cells
    assert cells[0].source.startswith("# ")
    assert 'pip install ".[examples,notebook]"' in cells[0].source
    assert [one.cell_type for one in cells[::2]] == ["markdown"] * len(cells[::2])
    assert [one.cell_type for one in cells[1::2]] == ["code"] * len(cells[1::2])
    assert max(len(one.source.splitlines()) for one in cells) <= 30
    assert all(ast.parse(one.source).body for one in cells[1::2])


def test_the_readme_lists_them() -> None:
    """Each notebook has its line in the README."""
    readme = (ROOT / "README.md").read_text()
    assert all(f"](notebooks/{path.name})" in readme for path in NOTEBOOKS)


def test_first_upload(books: Books) -> None:
    """The first upload arrives whole, finds equal digits, and can be run again to the same end."""
    first, second = books.run("01_first_upload"), books.run("01_first_upload")

    for notebook in (first, second):
        has_ended(notebook, "upload", "digits", "1,797")
        assert result(notebook, "upload").split()[7:] == [
            *("0", "0", "0", "1000", "1000", "applied", "1", "256000"),
            *("1", "1", "1000", "1797", "797", "applied", "1", "204032"),
        ]
        assert "'applied': 1797" in result(notebook, "summary")
        nearest = result(notebook, "search").splitlines()[2:]
        assert [row.split()[2] for row in nearest] == ["0"] * 5
        assert printed(notebook, "sample").startswith("247 of the 250 images")
        assert result(notebook, "again") == "'1,797 points'"
    assert output(first, "search").data == output(second, "search").data


def test_mapping_columns(books: Books) -> None:
    """Each kind of column arrives, and is found by; a second run leaves the same collection."""
    con = books.folder / "qdrant_data"
    first, collection = books.run("02_mapping_columns"), qframe.read_collection("penguins", con)
    second = books.run("02_mapping_columns")

    pd.testing.assert_frame_equal(qframe.read_collection("penguins", con), collection)
    assert len(collection) == 344
    for notebook in (first, second):
        bad = printed(notebook, "bad")
        assert bad.startswith("2 of 344 rows cannot become points; nothing was sent\n")
        assert "row 3: holds NaN in column 'bill_length'" in bad
        assert "Adult not sampled." in result(notebook, "findings")
        has_ended(notebook, "upload", "penguins", "344")
        assert result(notebook, "upload").split()[7:-1] == [
            "0",
            "0",
            "0",
            "344",
            "344",
            "applied",
            "1",
        ]
        assert "RFC 3339" in result(notebook, "plan")
        assert "not sent" in output(notebook, "plan").data["text/html"]
        assert result(notebook, "back").count("2007-11-11T00:00:00Z") == 2
        assert result(notebook, "verify") == "'0 differences'"
        assert result(notebook, "again") == "'344 points'"
    for cell_id in ("checks", "search-body", "search-isotopes"):
        assert result(first, cell_id) == result(second, cell_id)


def check_a_server(notebook: Any) -> None:
    """Check what 03 shows, whichever server it had."""
    for cell_id in ("rest", "grpc", "key", "throttling", "shrink"):
        has_ended(notebook, cell_id, "china_tiles", "4,240")
    assert "'applied': 4240" in result(notebook, "rest-report")
    assert [row.split()[2:] for row in result(notebook, "compare").splitlines()[2:]] == [["1.0"]]
    assert "image/png" in output(notebook, "search").data
    assert "(HTTP 401); pass the key as qframe.connect(" in printed(notebook, "keys")
    assert "api_key='***'" in result(notebook, "key")
    assert printed(notebook, "throttled").endswith("2 requests were sent again\n")
    assert "image/png" in output(notebook, "plot").data
    assert "Connection refused" in printed(notebook, "gone")


def test_a_server_without_one(books: Books) -> None:
    """Where no server is named, the story is told with the tests' own."""
    notebook = books.run("03_a_server")
    assert "http://127.0.0.1:" in result(notebook, "server")
    assert "grpc://127.0.0.1:" in result(notebook, "server")
    check_a_server(notebook)


def test_a_server_that_is_named(books: Books, named_server: LocalServer) -> None:
    """Where one is named, the collection is there afterwards, and the same after a second run."""
    first = books.run("03_a_server")
    collection = qframe.read_collection("china_tiles", named_server.rest_url)
    assert len(collection) == 4240
    second = books.run("03_a_server")

    pd.testing.assert_frame_equal(
        qframe.read_collection("china_tiles", named_server.rest_url), collection
    )
    for notebook in (first, second):
        assert named_server.rest_url in result(notebook, "server")
        assert named_server.grpc_url in result(notebook, "server")
        check_a_server(notebook)
    throttled = [entry["fault"] for entry in named_server.log() if entry["fault"]]
    assert throttled == []  # a server of one's own is not asked for trouble


def test_failures(books: Books) -> None:
    """Each failure is told with its way out, and in the end everything is there, each time."""
    first, second = books.run("04_failures"), books.run("04_failures")

    for notebook in (first, second):
        died = printed(notebook, "death")
        assert "points did not arrive in 'reference'" in died
        assert "the same call again sends only what" in died
        assert "Connection refused" in result(notebook, "death-report")
        assert "Connection refused" in output(notebook, "death-report").data["text/html"]
        has_ended(notebook, "revival", "reference")
        assert "payload key 'text' differs" in printed(notebook, "changed")
        has_ended(notebook, "job", "reference", "stopped")
        assert result(notebook, "so-far").endswith(", under way>")
        assert printed(notebook, "stop").startswith("stopped: ")
        assert "points had arrived" in result(notebook, "resume")
        has_ended(notebook, "refused", "reference", "RequestTooLarge")
        assert "specialnames" in result(notebook, "failed")
        assert "'failed': 0" in result(notebook, "mended")
        assert result(notebook, "verify") == "'0 differences'"
        assert "rewritten" in result(notebook, "drift")
        assert "'yield'" in result(notebook, "search")
    for cell_id in ("frame", "failed", "mended", "drift", "search"):
        assert result(first, cell_id) == result(second, cell_id)


FEWER = ("[::8, ::6]", "[::32, ::32]")
"""Windows of the photograph in 05: so few that measuring takes no time, and means nothing."""


def check_how_fast(notebook: Any, places: list[str]) -> None:
    """Check the tables and the plots of 05, but no figure in them."""
    assert [
        row.split()[0] for row in result(notebook, "places-compared").splitlines()[2:]
    ] == places
    sizes = [row.split() for row in result(notebook, "batches").splitlines()[2:]]
    assert [row[0] for row in sizes] == ["30", "100", "300", "1000", "3000"]
    assert sizes[3][1:] == ["1.00"] * len(places)
    workers = [row.split()[0] for row in result(notebook, "workers").splitlines()[2:]]
    assert workers == ["1", "2", "4"]
    assert [row.split()[0] for row in result(notebook, "parts").splitlines()[1:]] == places
    for cell_id in ("batches-plot", "workers-plot", "parts-plot", "plot"):
        assert "image/png" in output(notebook, cell_id).data


def test_how_fast_is_it_here(books: Books) -> None:
    """Everything is measured and plotted, without a server; nothing is left."""
    check_how_fast(books.run("05_how_fast_is_it_here"), ["gRPC", "REST", "embedded"])
    assert not (books.folder / "qdrant_data").exists()


def test_how_fast_a_server_is(books: Books, named_server: LocalServer) -> None:
    """A server that is named is measured beside the others, many times, and has each point once."""
    notebook = books.run("05_how_fast_is_it_here", FEWER)
    check_how_fast(notebook, ["gRPC", "REST", "embedded", "QDRANT_URL"])
    collection = qframe.read_collection("china_benchmark", named_server.rest_url)
    assert result(notebook, "frame") == f"'{len(collection):,} points'"
