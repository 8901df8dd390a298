"""The README's Python blocks run from top to bottom, as the cells of a notebook would.

A ``text`` block below a Python block is what a notebook would show under it: what it prints, then
the value of its last line; or the error that it ends with, in brief. Where the text leaves
something open, it has "...". ``<!-- faults: internal*2 -->`` above a Python block makes the local
server misbehave meanwhile, and ``<!-- poison: ID -->`` makes it refuse a point.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qframe
from tests.server import LocalServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

CELL = re.compile(
    r"(?:<!-- (?P<kind>faults|poison): (?P<faults>.+?) -->\n)?```python\n(?P<code>.*?)```\n"
    r"(?:\n```text\n(?P<shown>.*?)```\n)?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A block of Python, and what the README shows below it."""

    line: int
    code: str
    shown: str | None
    faults: list[str]
    poison: list[str]


def cells() -> Iterator[Cell]:
    """Yield the README's Python blocks, from top to bottom."""
    for match in CELL.finditer(README):
        line = README.count("\n", 0, match.start("code"))
        told = match["faults"].split() if match["faults"] else []
        faults, poison = ([], told) if match["kind"] == "poison" else (told, [])
        yield Cell(line, match["code"], match["shown"], faults, poison)


def run(cell: Cell, code: str, names: dict[str, Any]) -> str:
    """Run a cell; return what a notebook would show."""
    tree = ast.parse(code, "README.md")
    ast.increment_lineno(tree, cell.line)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        try:
            exec(compile(tree, "README.md", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
                if value is not None:
                    out.write(repr(value))
        except qframe.QframeError as error:
            if cell.shown is None:
                raise
            out.write(f"{type(error).__name__}: {error}")
    return out.getvalue()


def agree(shown: str, got: str) -> bool:
    """Whether an output is what the README shows, up to spaces and what "..." stands for."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown, got, flags)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that holds nothing."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_blocks(empty_folder: Path, server: LocalServer) -> None:
    """Every Python block does what the README shows below it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    ran = 0
    server.reset()
    with pd.option_context("display.width", 100, "display.max_columns", 20):
        for cell in cells():
            code = cell.code.replace("http://localhost:6333", server.rest_url)
            code = code.replace("grpc://localhost:6334", server.grpc_url)
            server.reset(collections=False)
            server.faults(cell.faults)
            server.poison(cell.poison)
            got = run(cell, code, names)
            got = got.replace(server.rest_url, "http://localhost:6333")
            got = got.replace(server.grpc_url, "grpc://localhost:6334")
            got = got.replace(str(empty_folder), "/home/you")
            assert server.pending_faults() == []
            assert cell.shown is None or agree(cell.shown, got), (
                f"README.md, line {cell.line}, shows\n{cell.shown}\nand not\n{got}"
            )
            ran += 1
    server.reset()
    assert ran == README.count("```python")
    assert ran > 10


def test_the_main_job(empty_folder: Path) -> None:
    """The script of the first command shows what the README shows, when run once more too."""
    shown = re.search(r"python notebooks/first_upload\.py\n```\n.*?```text\n(.*?)```", README, re.S)
    assert shown is not None
    for _ in range(2):
        script = subprocess.run(
            [sys.executable, ROOT / "notebooks" / "first_upload.py"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert agree(shown[1], script.stdout)


def test_pictures() -> None:
    """Every picture is there, can be told by those who do not see it, and is a small one."""
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert len(pictures) >= 4
    for told, path in pictures:
        assert len(told) > 40
        assert (ROOT / path).read_bytes().startswith(b"\x89PNG")
        assert (ROOT / path).stat().st_size < 300_000
