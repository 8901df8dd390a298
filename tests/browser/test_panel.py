"""An upload in a cell: its panel while it runs, how it is stopped, and what is left at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.lab import Lab, Notebook
from tests.browser.looks import hard_to_read
from tests.browser.server import INSTALLED, OLDER, JupyterServer
from tests.browser.uploads import (
    DELAYED,
    LIVE,
    POINTS,
    REPORT,
    STOP,
    frame,
    is_static,
    points,
    upload,
)
from tests.server import LocalServer

VERSION = "import ipykernel; print(ipykernel.__version__)"


def began(lab: Lab, name: str, kernel: str, qdrant: LocalServer, *cells: str) -> Notebook:
    """Return a notebook whose second cell uploads, and shows that points arrive."""
    notebook = lab.open(lab.write(name, [frame(qdrant.rest_url), upload(), *cells], kernel))
    notebook.run(0)
    notebook.begin(1)
    lab.wait(lambda: points(notebook.text(1)), "points are counted")
    return notebook


def test_live(lab: Lab, kernel: str, qdrant: LocalServer) -> None:
    """Values grow while the cell runs, ■ ends it, and the report stays where the panel was."""
    qdrant.faults(DELAYED)
    notebook = began(lab, "live", kernel, qdrant, VERSION)
    panel = notebook.cell(1).locator(LIVE)
    first = points(panel.inner_text())
    lab.wait(lambda: points(panel.inner_text()) > first, "more points are counted")
    assert notebook.prompt(1) == "[*]:"
    lab.wait(lambda: "points/s" in panel.inner_text(), "a rate is shown")
    text = panel.inner_text()
    assert "in flight" in text
    assert "sending batch" in text
    bar = panel.locator("progress")
    assert bar.get_attribute("max") == str(POINTS)
    assert 0 < int(bar.get_attribute("value") or 0) < POINTS
    if kernel == INSTALLED:
        for theme in ("light", "dark"):
            lab.theme(theme)
            assert hard_to_read(notebook.outputs(1)[0], theme) == []
            lab.screenshot(f"running-{theme}")
    if kernel.startswith("6."):
        assert notebook.cell(1).locator(STOP).count() == 0  # no click would reach the kernel

    notebook.interrupt()
    text = notebook.wait(1)
    assert is_static(notebook, 1)
    assert "stopped" in notebook.cell(1).locator(REPORT).inner_text()
    assert "UploadInterrupted" in text
    assert notebook.run(2) == kernel
    notebook.close()


@pytest.mark.parametrize("number", [INSTALLED, OLDER[0]])
def test_stop(lab: Lab, number: str, kernels: Callable[[str], str], qdrant: LocalServer) -> None:
    """A button stops the upload while the cell runs, in kernels that a click reaches."""
    qdrant.faults(DELAYED)
    notebook = began(lab, "stop", kernels(number), qdrant)
    button = notebook.cell(1).locator(STOP)
    lab.wait(lambda: button.count() == 1, "there is a button")
    assert button.inner_text() == "Stop"
    button.click()
    text = notebook.wait(1)
    assert is_static(notebook, 1)
    assert "UploadInterrupted" in text
    assert "stopped" in notebook.cell(1).locator(REPORT).inner_text()
    lab.screenshot(f"stopped-{number}")
    notebook.close()


def test_throttled(lab: Lab, qdrant: LocalServer) -> None:
    """The panel says for how long the server asks to wait, and ■ does not wait for that."""
    qdrant.faults(["delay:0.05*40", "rate_limit:25*2"])
    notebook = began(lab, "throttled", INSTALLED, qdrant)
    panel = notebook.cell(1).locator(LIVE)
    lab.wait(lambda: "server asks to wait 2" in panel.inner_text(), "the server asks to wait")
    assert "RateLimited" in panel.inner_text()
    lab.screenshot("throttled")
    notebook.interrupt()
    notebook.wait(1)
    assert "throttled" in notebook.cell(1).locator(REPORT).inner_text()
    notebook.close()


def test_failed(lab: Lab, qdrant: LocalServer) -> None:
    """Rows that the server refuses are told of by the report that stays and by the error below."""
    qdrant.poison([7, 11_000])
    notebook = lab.open(lab.write("failed", [frame(qdrant.rest_url), upload(size=500)], INSTALLED))
    notebook.run(0)
    text = notebook.run(1)
    assert is_static(notebook, 1)
    assert "UploadError" in text
    report = notebook.cell(1).locator(REPORT).inner_text()
    assert "2 of 20,000 points did not arrive" in report
    assert "poison" in report
    lab.screenshot("failed")
    notebook.close()


WITHOUT = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] == "ipywidgets" else find(name, path, target)

PathFinder.find_spec = find_spec
"""


def test_without_widgets(
    lab: Lab, jupyter: JupyterServer, qdrant: LocalServer, tmp_path: Path
) -> None:
    """A kernel without ipywidgets gets a text that grows, and is told how to get the panel."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    jupyter.add_kernel("without-ipywidgets", tmp_path)
    qdrant.faults(DELAYED)
    notebook = began(lab, "without", "without-ipywidgets", qdrant)
    first = points(notebook.text(1))
    lab.wait(lambda: points(notebook.text(1)) > first, "more points are counted")
    assert "%pip install ipywidgets" in notebook.text(1)
    assert notebook.cell(1).locator(".jupyter-widgets").count() == 0
    lab.screenshot("without-ipywidgets")
    notebook.interrupt()
    notebook.wait(1)
    assert is_static(notebook, 1)
    notebook.close()
