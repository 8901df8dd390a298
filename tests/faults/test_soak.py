"""A soak of some seconds, and what counts as growth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.soak import Sample, growth, soak, summary
from tests.server import LocalServer


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_short_soak(kind: str, clean: LocalServer, tmp_path: Path) -> None:
    """Uploads through misfortunes end with the exact collection."""
    said: list[str] = []
    found = soak(3, clean, tmp_path, kind=kind, rows=300, say=said.append)
    assert found.uploads >= 2
    assert found.runs >= found.uploads
    assert summary(found, 3)


def test_growth() -> None:
    """What rises is told, what only varies is not."""
    level = [Sample(100 + n % 7, 5, 20 + n % 2, 3) for n in range(100)]
    assert growth(level) == []
    rising = [Sample(100 + n, 5 + n // 10, 20, 3) for n in range(100)]
    assert growth(rising) == ["memory grew from 129.5 to 189.5", "threads grew from 7.5 to 13.5"]
    assert growth(level[:5]) == []
