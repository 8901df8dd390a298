"""The pictures of the README, taken of what is there.

``python -m tests.browser.pictures [FOLDER]`` writes them, to .github/images by default.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Locator, sync_playwright

from tests.browser.conftest import CHROMIUM, QUIET
from tests.browser.lab import Lab, Notebook
from tests.browser.server import INSTALLED, ROOT, JupyterServer
from tests.browser.uploads import LIVE, REPORT, STOP
from tests.server import LocalServer

FOLDER = ROOT / ".github" / "images"

MARGIN = 8
"""Pixels below what is taken."""

FRAME = """
import sys
import numpy as np, pandas as pd, qframe
from sklearn.datasets import load_digits

pixels = np.tile(load_digits().data, (60, 1)).astype("float32")
images = pd.DataFrame({"image": np.arange(len(pixels)), "pixels": list(pixels)})
"""

PENGUINS = """
import pandas as pd, qframe
from palmerpenguins import load_penguins_raw

sizes = ["Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)"]
what = ["studyName", "Sample Number", "Species", "Date Egg", "Sex", "Comments"]
penguins = load_penguins_raw()[what + sizes].convert_dtypes()
penguins["Date Egg"] = pd.to_datetime(penguins["Date Egg"])
"""

UPLOAD = """
report = images.qdrant.upload("images", "http://localhost:6333", vectors="pixels", ids="image")
"""

PLAN = """
penguins.qdrant.plan(
    "penguins",
    "http://localhost:6333",
    vectors=sizes,
    ids=qframe.uuid5("studyName", "Sample Number", "Species"),
    payload=["Date Egg", "Sex"],
)
"""

DELAYS = ["delay:0.2*6", "rate_limit:4", "unavailable*2", "delay:0.15*400"]


def take(lab: Lab, cell: Locator, name: str, last: str) -> None:
    """Keep what is seen of a cell, down to the end of what `last` selects in it."""
    lab.page.add_style_tag(content=".jp-cell-toolbar { display: none }")
    top, bottom = cell.bounding_box(), cell.locator(last).last.bounding_box()
    assert top is not None
    assert bottom is not None
    height = bottom["y"] + bottom["height"] - top["y"] + MARGIN
    area = {"x": top["x"], "y": top["y"], "width": top["width"], "height": height}
    lab.page.screenshot(path=lab.artefacts / f"{name}.png", clip=area)  # type: ignore[arg-type]


def show(lab: Lab, name: str, cells: Sequence[str]) -> Notebook:
    """Open a notebook of these cells, and run all but the last."""
    notebook = lab.open(lab.write(name, [cell.strip() for cell in cells], INSTALLED))
    for at in range(len(cells) - 1):
        notebook.run(at)
    return notebook


def take_all(lab: Lab, server: LocalServer) -> None:
    """Take every picture."""
    lab.page.set_viewport_size({"width": 1000, "height": 2000})
    notebook = show(lab, "upload", [FRAME, UPLOAD])
    server.faults(DELAYS)
    notebook.begin(1)
    panel = notebook.cell(1).locator(LIVE)
    lab.wait(lambda: re.search(r"\(3\d %", panel.inner_text()), "a third is there")
    take(lab, notebook.cell(1), "panel", STOP)
    server.reset(collections=False)
    notebook.wait(1)
    notebook.close()

    server.poison([17, 40_000])
    server.faults(["delay:0.02*20", "rate_limit:0.5", "delay:0.02*20"])
    notebook = show(lab, "report", [FRAME, UPLOAD, "qframe.plot(sys.last_value.report)"])
    take(lab, notebook.cell(1), "report", REPORT)
    notebook.run(2)
    take(lab, notebook.cell(2), "plot", "img")
    notebook.close()

    server.reset()
    notebook = show(lab, "plan", [PENGUINS, PLAN])
    notebook.run(1)
    take(lab, notebook.cell(1), "plan", ".qframe-plan")
    notebook.close()


def main(folder: Path = FOLDER) -> None:
    """Take the pictures in a JupyterLab of our own."""
    folder.mkdir(parents=True, exist_ok=True)
    found = next(path for name in CHROMIUM if (path := shutil.which(name)))
    with (
        tempfile.TemporaryDirectory() as scratch,
        JupyterServer(Path(scratch)) as jupyter,
        LocalServer(rest_port=6333) as server,
        sync_playwright() as playwright,
    ):
        jupyter.add_kernel(INSTALLED)
        browser = playwright.chromium.launch(executable_path=found, args=[*QUIET])
        take_all(Lab(browser, jupyter, folder), server)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
