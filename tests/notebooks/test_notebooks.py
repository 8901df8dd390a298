"""The notebooks run from top to bottom in a real kernel, twice, and show what they tell of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def stored(path: Path) -> Any:
    """Read a notebook as it is on disk."""
    return nbformat.read(path, as_version=4)


def run(path: Path) -> Any:
    """Run a notebook in its own folder, save it, and return what was saved."""
    notebook = stored(path)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(path.parent))
    nbformat.write(notebook, path)
    return stored(path)


def output(notebook: Any, cell_id: str) -> Any:
    """Return the last output of a cell."""
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return cell.outputs[-1]


@pytest.fixture
def kernel_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start kernels with this work tree's qframe, and nothing of the user's own settings."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_in_git(path: Path) -> None:
    """A notebook is stored without outputs, counts and traces of a machine."""
    notebook = stored(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert not any(cell.metadata for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_first_upload(tmp_path: Path, kernel_environment: None) -> None:
    """The first upload arrives whole, finds equal digits, and can be run again to the same end."""
    path = tmp_path / "01_first_upload.ipynb"
    shutil.copy(ROOT / "notebooks" / path.name, path)

    first, second = run(path), run(path)

    for notebook in (first, second):
        upload = next(cell for cell in notebook.cells if cell.id == "upload")
        progress, report = upload.outputs
        assert progress.output_type == "display_data"
        assert progress.data["text/plain"].startswith("digits: 1,797 of 1,797 points, ")
        assert '<progress max="1797" value="1797"' in progress.data["text/html"]
        assert report.data["text/plain"].split()[7:] == [
            *("0", "0", "0", "1000", "1000", "applied", "1", "256000"),
            *("1", "1", "1000", "1797", "797", "applied", "1", "204032"),
        ]
        assert "'applied': 1797" in output(notebook, "summary").data["text/plain"]
        nearest = output(notebook, "search").data["text/plain"].splitlines()[2:]
        assert [row.split()[2] for row in nearest] == ["0"] * 5
        assert output(notebook, "sample").text.startswith("247 of the 250 images")
        assert output(notebook, "again").data["text/plain"] == "'1,797 points'"
        outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
        assert not any(out.get("name") == "stderr" for out in outputs)
    assert output(first, "search").data == output(second, "search").data
