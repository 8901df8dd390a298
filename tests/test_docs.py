"""Documentation that could drift away from the code is compared with it here."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import qframe
from qframe.mapping import values

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "qframe").rglob("*.py"))
    if path.stem != "accessor"  # its docstrings are those of the functions that it calls
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples in a module's docstrings do what they show, with nothing around them."""
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert result.failed == 0
    assert not list(tmp_path.iterdir())


def docstring_table() -> list[tuple[str, str]]:
    """Read the conversion table of `qframe.mapping.values`, continued lines joined."""
    _, _, rows, *_ = re.split(r"^=+  =+$", str(values.__doc__), flags=re.MULTILINE)
    width = re.search(r"^(=+)  =+$", str(values.__doc__), re.MULTILINE)
    assert width is not None
    column = len(width[1]) + 2
    table: list[tuple[str, str]] = []
    for line in rows.strip("\n").splitlines():
        left, right = line[:column].strip(), line[column:].strip()
        if left and right:
            table.append((left, right))
        else:
            before = table[-1]
            table[-1] = (f"{before[0]} {left}".strip(), f"{before[1]} {right}".strip())
    return [(left.replace("``", "`"), right.replace("``", "`")) for left, right in table]


def readme_table(heading: str) -> list[tuple[str, ...]]:
    """Read the first table under a heading of the README, without its head."""
    _, _, text = README.partition(f"\n{heading}\n")
    table = re.search(r"^\|.*(?:\n\|.*)*", text, re.MULTILINE)
    assert table is not None, f"no table under {heading!r}"
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in table[0].splitlines()[2:]]
    return [tuple(cell.strip() for cell in row) for row in rows]


def test_conversion_table() -> None:
    """The README's table of conversions is that of the module that converts."""
    rows = readme_table("## What cells become")
    assert len(rows) > 15
    assert rows == docstring_table()


def test_statuses() -> None:
    """The README explains every status that a report can hold, and no other."""
    from qframe.report import Status

    told = [row[0].strip("`") for row in readme_table("## The report")]
    assert told == [status.value for status in Status]


def test_defaults() -> None:
    """The defaults that the README names are those of the code."""
    from qframe.batches import Limits
    from qframe.pool import TIME_LIMIT
    from qframe.retry import Retry
    from qframe.sending import WORKERS

    retry, limits = Retry(), Limits()
    assert retry.attempts is not None
    assert retry.timeout is not None
    assert retry.deadline is None
    expected = {
        "points in a request": f"{limits.points:,}",
        "bytes in a request": f"{limits.bytes // 2**20} MiB",
        "workers": str(WORKERS),
        "tries for a batch": str(retry.attempts),
        "time for the tries of a batch": f"{retry.timeout:.0f} s",
        "wait after the first failure": f"up to {retry.backoff} s, doubling",
        "longest such wait": f"{retry.max_backoff:.0f} s",
        "longest wait a server may ask for": f"{retry.max_wait:.0f} s",
        "time for one request": f"{qframe.connect('http://localhost').timeout:.0f} s",
        "time for a batch with all its tries": f"{TIME_LIMIT:.0f} s",
        "time for the whole upload": "none",
        "requests that finding the bad rows of a batch may cost": str(retry.splits),
        "lists and objects within one another": str(values.MAX_DEPTH),
    }
    assert {row[0]: row[1] for row in readme_table("## Defaults and limits")} == expected


def test_changelog_knows_this_version() -> None:
    """The changelog's first entry is the version of the package."""
    entry = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entry is not None
    assert entry[1] == qframe.__version__


def test_ci_runs_what_the_readme_says() -> None:
    """The command that the README gives for the tests stands in .ci/run as it is."""
    command = re.search(r"^.*\.venv/bin/python -m pytest$", README, re.MULTILINE)
    assert command is not None
    assert command[0] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_readme_names_files_that_are_there() -> None:
    """Every link and every path of a command in the README leads to a file of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    scripts = re.findall(r"\bpython ((?:notebooks|tests)/\S+)", README)
    assert scripts
    assert not [name for name in {*links, *scripts} if not (ROOT / name).exists()]
