"""A small run of the benchmark of the embedded engine, without asserting times."""

from __future__ import annotations

from pathlib import Path

from qdrant_client import QdrantClient

from tests.benchmarks import embedded
from tests.benchmarks.frames import make_frame

ROWS, SIZE = 300, 8


def test_everything_is_measured() -> None:
    """Each way of filling a collection reports its points and the time that they took."""
    frame = make_frame(ROWS, SIZE)
    found = embedded.compare(frame, pairs=2)
    assert len(found.ratios) == 2
    runs = [*found.embedded, *found.local, *embedded.measure_line(frame, [100, 200], runs=1)]
    assert [run.points for run in runs] == [ROWS] * 4 + [100, 200]
    assert all(run.seconds > 0 and run.cpu_s > 0 for run in runs)
    shares = embedded.measure_shares(frame, runs=1)
    assert shares.made > 0
    assert shares.written > 0


def test_both_store_the_same(tmp_path: Path) -> None:
    """What is compared is the same work: the same ids, payload and vectors lie in both."""
    frame = make_frame(ROWS, SIZE)
    embedded.upload_embedded(frame, tmp_path / "embedded")
    embedded.upload_local(frame, tmp_path / "local")
    found = frame.qdrant.verify("points", tmp_path / "embedded", vectors="embedding")
    assert found.empty
    client = QdrantClient(path=str(tmp_path / "local"))
    records, _ = client.scroll("points", limit=ROWS + 1)
    client.close()
    payloads = frame[embedded.COLUMNS].to_dict("records")
    assert {record.id: record.payload for record in records} == dict(enumerate(payloads))
