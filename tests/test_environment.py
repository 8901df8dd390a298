"""What qframe needs, said in three places that must agree: pyproject, environment.yml, imports."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

DISTRIBUTIONS = {
    "google": "protobuf",
    "grpc": "grpcio",
    "qdrant_client": "qdrant-client",
    "qdrant_edge": "qdrant-edge-py",
    "sklearn": "scikit-learn",
}
"""What is imported under another name than it is installed by."""


def split(requirement: str) -> tuple[str, str]:
    """Return name and version of a requirement such as ``numpy>=1.26``."""
    match = re.fullmatch(r"([A-Za-z0-9_-]+)\s*([<>=!~].*)?", requirement)
    assert match is not None, requirement
    return match[1], match[2] or ""


def required(*extras: str) -> dict[str, str]:
    """Return what pyproject asks for, by name; extras that name extras are followed."""
    wanted = dict(map(split, PROJECT["dependencies"]))
    for extra in extras:
        for requirement in PROJECT["optional-dependencies"][extra]:
            inner = re.fullmatch(r"qframe\[(.+)\]", requirement)
            wanted |= required(inner[1]) if inner else dict([split(requirement)])
    return wanted


def listed_for_conda() -> list[str]:
    """Return the entries of environment.yml, those for pip among them."""
    entries = re.findall(r"^ +- (.+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    return [entry for entry in entries if entry not in ("conda-forge", "pip", "pip:")]


def sources(folder: Path) -> Iterator[str]:
    """Read the code of a folder: of its modules, and of its notebooks' cells."""
    for path in folder.rglob("*.py"):
        yield path.read_text()
    for path in folder.rglob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        yield from ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def imported(folder: str) -> set[str]:
    """Return the distributions that the files of a folder import, inside of functions too."""
    names = set()
    for source in sources(ROOT / folder):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module))
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    return {DISTRIBUTIONS.get(top, top) for top in tops} - {"qframe", "tests"}


def test_conda_gets_what_pip_gets() -> None:
    """environment.yml lists runtime, notebook and test packages with pyproject's versions."""
    entries = listed_for_conda()
    assert "-e ." in entries
    listed = dict(split(entry) for entry in entries if entry != "-e .")
    assert listed.pop("python") == PROJECT["requires-python"]
    assert listed == required("notebook", "examples", "test")


def test_the_package_imports_only_what_it_requires() -> None:
    """Everything that qframe imports is a dependency, or one of an extra that says what it is for.

    IPython is there wherever it is needed.
    """
    assert imported("qframe") - {"IPython"} <= set(required("notebook", "plot"))


def test_the_package_requires_only_what_it_imports() -> None:
    """No dependency is there that no module imports."""
    assert set(required()) <= imported("qframe")


def test_the_tests_import_only_what_they_require() -> None:
    """Whoever installs the extra "test" can import every test."""
    assert imported("tests") <= set(required("test"))


def test_notebooks_import_only_what_they_require() -> None:
    """Whoever installs the extra "examples" can run what stands in notebooks/."""
    assert imported("notebooks") <= set(required("examples"))
