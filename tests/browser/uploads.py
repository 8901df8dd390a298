"""The uploads that the notebooks of these tests begin, and what is seen of them."""

from __future__ import annotations

import re

from tests.browser.lab import Notebook

LIVE = ".qframe-panel"
REPORT = ".qframe-report"
STOP = ".qframe-stop:visible"

POINTS = 20_000

_FRAME = """
import numpy as np, pandas as pd, qframe
frame = pd.DataFrame({{"n": np.arange({points})}})
vectors = np.random.default_rng(0).random((len(frame), 8), dtype=np.float32)
con = qframe.connect("{url}")
"""

_COUNT = re.compile(rf"([\d,]+) of {POINTS:,} points")

DELAYED = ["delay:0.1*400"]
"""What keeps a server busy with `upload` for ten seconds or more."""


def frame(url: str) -> str:
    """Return a cell that makes what is uploaded, and connects."""
    return _FRAME.format(points=POINTS, url=url).strip()


def upload(more: str = "", *, name: str = "report", size: int = 50) -> str:
    """Return a cell that uploads it, in many batches unless told otherwise."""
    given = f"vectors=vectors, batch_size={size}, workers=4"
    return f'{name} = frame.qdrant.upload("films", con, {given}{more})'


def points(text: str) -> int:
    """Return how many points have arrived by what is shown; 0 where nothing is said."""
    found = _COUNT.search(text)
    return int(found[1].replace(",", "")) if found else 0


def is_static(notebook: Notebook, at: int) -> bool:
    """Whether a report stands in the place of the panel, and no widget is left."""
    cell = notebook.cell(at)
    left = cell.locator(f"{LIVE}, .jupyter-widgets")
    return cell.locator(REPORT).count() == 1 and left.count() == 0
