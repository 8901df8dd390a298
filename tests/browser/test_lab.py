"""An upload in JupyterLab: seen while it runs, stopped, and opened again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.browser.lab import Lab
from tests.server import LocalServer

VERSION = "import ipykernel; print(ipykernel.__version__)"

FRAME = """
import numpy as np, pandas as pd, qframe
con = qframe.connect("{url}")
frame = pd.DataFrame({{"n": np.arange(20_000)}})
vectors = np.random.default_rng(0).random((len(frame), 8), dtype=np.float32)
"""

UPLOAD = 'frame.qdrant.upload("films", con, vectors=vectors, batch_size=50, workers=4)'

POINTS = re.compile(r"films: (?:stopped: )?([\d,]+) of 20,000 points")


@pytest.fixture
def slow(server: LocalServer) -> Iterator[LocalServer]:
    """A server that takes a tenth of a second for each of the first batches."""
    server.reset()
    server.faults(["delay:0.1*400"])
    yield server
    server.reset()


def points(text: str) -> int:
    """Return how many points have arrived by what is shown."""
    found = POINTS.search(text)
    return int(found[1].replace(",", "")) if found else 0


def test_kernel(lab: Lab, kernel: str) -> None:
    """The kernel that a notebook names runs the ipykernel that it is named after."""
    notebook = lab.open(lab.write("kernel", [VERSION], kernel))
    assert notebook.run(0) == kernel
    notebook.close()


def test_upload_that_is_interrupted(lab: Lab, kernel: str, slow: LocalServer) -> None:
    """Points are counted while the cell runs, ■ ends it, and the file keeps what was seen."""
    path = lab.write("interrupted", [FRAME.format(url=slow.rest_url), UPLOAD], kernel)
    notebook = lab.open(path)
    notebook.run(0)
    notebook.begin(1)
    first = lab.wait(lambda: points(notebook.text(1)), "points are counted")
    lab.wait(lambda: points(notebook.text(1)) > first, "more points are counted")
    assert notebook.prompt(1) == "[*]:"

    notebook.interrupt()
    text = notebook.wait(1)
    assert "UploadInterrupted" in text
    assert "films: stopped: " in text
    arrived = points(text)
    assert first < arrived < 20_000

    notebook.save()
    notebook.close()
    notebook = lab.open(path, kernel=False)
    assert points(notebook.text(1)) == arrived
    notebook.close()


def test_upload_that_ends(lab: Lab, kernel: str, server: LocalServer) -> None:
    """A cell that runs to its end shows what arrived."""
    server.reset()
    notebook = lab.open(lab.write("ended", [FRAME.format(url=server.rest_url), UPLOAD], kernel))
    notebook.run(0)
    assert points(notebook.run(1)) == 20_000
    notebook.close()
