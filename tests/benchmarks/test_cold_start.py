"""A single run of the cold start, without asserting times."""

from __future__ import annotations

import pytest

from tests.benchmarks.cold_start import TRANSPORTS, ColdStart, Spread, measure


@pytest.fixture(scope="module")
def found() -> ColdStart:
    """What one run gives."""
    return measure(runs=1)


def test_everything_is_measured(found: ColdStart) -> None:
    """Both clients are measured with each transport, and the first frame takes longer."""
    clients = ("qframe", "qdrant_client")
    assert [*found.imports] == ["pandas", *(f"pandas, {client}" for client in clients)]
    assert {*found.added} == {*clients}
    assert {*found.first} == {(client, way) for client in clients for way in TRANSPORTS}
    assert found.later.keys() == found.first.keys()
    assert all(found.later[key].cpu < first.cpu for key, first in found.first.items())


def test_importing_adds_little_to_pandas(found: ColdStart) -> None:
    """It is a small part of what pandas takes itself; all of qframe would be an eighth of it."""
    assert found.added["qframe"].cpu < found.imports["pandas"].cpu / 20


def test_spread() -> None:
    """Wall time is told with its quartiles, and CPU time beside it."""
    assert Spread.of([(5.0, 1.0), (1.0, 2.0), (3.0, 3.0)]) == Spread(3.0, 2.0, 4.0, 2.0)
