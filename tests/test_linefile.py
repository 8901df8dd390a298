from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qframe.errors import JournalError
from qframe.linefile import LineFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may stand."""
    return tmp_path / "lines"


def test_lines_are_in_the_file_at_once(path: Path) -> None:
    """Nothing waits in this process, and what was there before stays in front."""
    path.write_bytes(b"one\n")
    file = LineFile(path)
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert file.read(b"one") == b"one\ntwo\n"
    file.truncate(4)
    file.append(b"three\n")
    file.close()
    assert path.read_bytes() == b"one\nthree\n"


def test_a_foreign_file_is_not_read_whole(path: Path) -> None:
    """Of a file that does not start as expected only that start is read."""
    path.write_bytes(b"another kind of file\n")
    file = LineFile(path)
    assert file.read(b"magic") == b"anoth"
    file.close()


def test_it_is_open_once(path: Path) -> None:
    """The next one may open it when it is closed, and closing twice is no matter."""
    file = LineFile(path)
    assert not file.closed
    with pytest.raises(JournalError, match="is in use"):
        LineFile(path)
    file.close()
    file.close()
    assert file.closed
    LineFile(path).close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_file_that_was_removed_is_made_anew(path: Path) -> None:
    """The lock belongs to the file, so that a new one of the same name is free."""
    old = LineFile(path)
    path.unlink()
    new = LineFile(path)
    new.append(b"line\n")
    old.close()
    new.close()
    assert path.read_bytes() == b"line\n"
