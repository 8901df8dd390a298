"""Uploaders used by themselves, without a frame."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qframe
from qframe.batches import Limits
from qframe.report import BatchResult, Status
from qframe.retry import Retry
from qframe.uploaders.base import BaseUploader
from qframe.write import WriteOptions
from tests.conftest import connect
from tests.server import LocalServer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def uploader(con: qframe.Connection, collection: str) -> Iterator[BaseUploader[Any]]:
    """An uploader of each transport, started by its own class, and a collection for it."""
    first = [{"id": 0, "vector": [0.0, 1.0]}]
    qframe.upload_points(first, collection, con, distance="dot", progress=False)
    if con.transport == "rest":
        started: BaseUploader[Any] = qframe.RestBatchUploader.start(
            uri=con.target, collection=collection, api_key=con.api_key, wait=True
        )
    elif con.transport == "grpc":
        started = qframe.GrpcBatchUploader.start(
            host=con.host, port=con.port, collection=collection, api_key=con.api_key, wait=True
        )
    else:
        started = qframe.EmbeddedBatchUploader.start(con.target, collection=collection)
    with started:
        yield started


def test_records_go_in_batch_by_batch(
    uploader: BaseUploader[Any], con: qframe.Connection, collection: str
) -> None:
    """Each batch of a stream of records gives a result, and its points are there afterwards."""
    records = ({"id": n, "vector": [n, 1.0], "payload": {"n": n}} for n in range(10))
    results = list(uploader.upload_points(records, limits=Limits(points=4)))
    assert [(result.start, result.stop, result.status) for result in results] == [
        (0, 4, Status.APPLIED),
        (4, 8, Status.APPLIED),
        (8, 10, Status.APPLIED),
    ]
    back = qframe.read_collection(collection, con)
    assert back["n"].tolist() == list(range(10))
    np.testing.assert_array_equal(np.stack(back["vector"])[:, 0], np.arange(10))


def test_bad_records_are_named_after_the_others_went_in(
    uploader: BaseUploader[Any], con: qframe.Connection, collection: str
) -> None:
    """A record that cannot become a point costs the others nothing, and is complained about."""
    records = [{"id": 1, "vector": [1.0, 1.0]}, {"id": -2, "vector": [1.0, 1.0]}]
    with pytest.raises(qframe.InputError, match=r"1 of 2 .* record 1: id: -2 is negative"):
        list(uploader.upload_points(records))
    assert qframe.read_collection(collection, con).index.tolist() == [0, 1]


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_waiting_uploader_is_cancelled(
    transport: str, server: LocalServer, tmp_path: Path, collection: str
) -> None:
    """The request of a batch ends at once when another thread cancels it, its outcome unknown."""
    con = connect(transport, server, tmp_path)
    first = [{"id": 0, "vector": [0.0, 1.0]}]
    qframe.upload_points(first, collection, con, progress=False)
    server.faults(["delay:3"], transport)
    results: list[BatchResult] = []
    records = [{"id": 1, "vector": [1.0, 1.0]}]
    with con.uploader(collection, write=WriteOptions(), retry=Retry(attempts=1)) as uploader:
        thread = threading.Thread(target=lambda: results.extend(uploader.upload_points(records)))
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive()
        uploader.cancel()
        thread.join(1.0)
        assert not thread.is_alive()
    (result,) = results
    assert result.status is Status.UNKNOWN
    assert type(result.error) is qframe.ConnectionLost
    server.reset(collections=False)


def test_the_embedded_engine_is_not_cancelled(tmp_path: Path) -> None:
    """What the engine is at cannot be broken, and goes on."""
    folder = tmp_path / "qdrant_data"
    qframe.upload_points([{"id": 0, "vector": [0.0, 1.0]}], "films", folder, progress=False)
    with qframe.EmbeddedBatchUploader.start(folder, collection="films") as uploader:
        uploader.cancel()
        (result,) = uploader.upload_points([{"id": 1, "vector": [1.0, 1.0]}])
    assert result.status is Status.APPLIED


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_keeping_memory_touches_none() -> None:
    """The piece that has the allocator keep what is freed takes no memory of its own."""
    script = (
        "import resource\n"
        "from qframe.uploaders.base import _keep_freed_memory\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "before = faults()\n"
        "_keep_freed_memory()\n"
        "print(faults() - before)\n"
    )
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 1000, "of the 8,176 pages that the piece has"
