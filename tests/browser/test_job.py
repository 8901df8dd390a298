"""An upload that goes on below its cell, while other cells run."""

from __future__ import annotations

import re

import pytest

from tests.browser.lab import Lab, Notebook
from tests.browser.server import INSTALLED
from tests.browser.uploads import DELAYED, POINTS, STOP, frame, is_static, points, upload
from tests.server import LocalServer

NOTE = re.compile(r"kept for a saved notebook: films, [\d,]+ of [\d,]+ points .*at [\d:]+")

JOB = upload(", block=False", name="job")
FEW = upload(", block=False", name="job", size=500)


def began(lab: Lab, name: str, kernel: str, qdrant: LocalServer, *cells: str) -> Notebook:
    """Return a notebook whose second cell began a job, and shows that points arrive."""
    notebook = lab.open(lab.write(name, [frame(qdrant.rest_url), JOB, *cells], kernel))
    notebook.run(0)
    notebook.run(1)
    lab.wait(lambda: points(notebook.text(1)), "points are counted")
    return notebook


def test_other_cells_run(lab: Lab, kernel: str, qdrant: LocalServer) -> None:
    """The cell returns at once, its panel goes on, other cells run, and Stop works everywhere."""
    qdrant.faults(DELAYED)
    notebook = began(
        *(lab, "job", kernel, qdrant),
        "len(job.report), job.done",
        "job.result()",
    )
    first = points(notebook.text(1))
    said = notebook.run(2)
    assert said.endswith("False)")
    lab.wait(lambda: points(notebook.text(1)) > first, "more points are counted")
    assert int(said[1:].partition(",")[0]) < int(notebook.run(2)[1:].partition(",")[0])
    button = notebook.cell(1).locator(STOP)
    lab.wait(lambda: button.count() == 1, "there is a button")
    lab.screenshot(f"job-{kernel}")
    button.click()
    lab.wait(lambda: is_static(notebook, 1), "the report is there")
    assert notebook.ended(1)
    arrived = points(notebook.text(1))
    assert first < arrived < POINTS
    text = notebook.run(3)
    assert "UploadInterrupted" in text
    lab.screenshot(f"job-stopped-{kernel}")
    notebook.close()


@pytest.mark.parametrize("wait", ["job.result()", "await job"])
def test_waiting(lab: Lab, wait: str, qdrant: LocalServer) -> None:
    """A cell that waits for the job gets its report; the panel goes on meanwhile."""
    qdrant.faults(["delay:0.1*60"])
    notebook = began(lab, "waiting", INSTALLED, qdrant, f"({wait})['points'].sum()")
    notebook.begin(2)
    first = points(notebook.text(1))
    lab.wait(lambda: points(notebook.text(1)) > first, "more points are counted")
    assert str(POINTS) in notebook.wait(2)
    lab.wait(lambda: is_static(notebook, 1), "the report is there")
    assert "all 20,000 points applied" in notebook.text(1)
    notebook.close()


def test_interrupting_what_waits(lab: Lab, qdrant: LocalServer) -> None:
    """■ ends the cell that waits for a job, and not the job; `job.stop()` ends that."""
    qdrant.faults(DELAYED)
    notebook = began(lab, "waits", INSTALLED, qdrant, "job.result()", "job.stop()")
    notebook.begin(2)
    notebook.interrupt()
    assert "KeyboardInterrupt" in notebook.wait(2)
    first = points(notebook.text(1))
    lab.wait(lambda: points(notebook.text(1)) > first, "more points are counted")
    notebook.run(3)
    lab.wait(lambda: is_static(notebook, 1), "the report is there")
    assert "stopped" in notebook.text(1)
    notebook.close()


def test_rows_that_are_refused(lab: Lab, qdrant: LocalServer) -> None:
    """A job that fails says so below its cell, and its result raises."""
    qdrant.poison([7])
    notebook = lab.open(
        lab.write("refused", [frame(qdrant.rest_url), FEW, "job.result()"], INSTALLED)
    )
    notebook.run(0)
    notebook.run(1)
    lab.wait(lambda: is_static(notebook, 1), "the report is there")
    assert "1 of 20,000 points did not arrive" in notebook.text(1)
    assert "UploadError" in notebook.run(2)
    lab.screenshot("job-failed")
    notebook.close()


def test_kernel_that_ends(lab: Lab, qdrant: LocalServer) -> None:
    """A job ends with its kernel, and does not keep it from ending."""
    qdrant.faults(DELAYED)
    notebook = began(lab, "ends", INSTALLED, qdrant)
    notebook.end_kernel()
    lab.page.wait_for_timeout(1000)  # for what was on its way
    came = len(qdrant.log())
    lab.page.wait_for_timeout(1000)
    assert len(qdrant.log()) == came < POINTS / 50
    notebook.close()


def test_saved_meanwhile(lab: Lab, kernel: str, qdrant: LocalServer) -> None:
    """A notebook that is saved while its job runs tells how far it was, in its own cell."""
    qdrant.faults(DELAYED)
    soon = "import qframe.panel; qframe.panel.KEPT_SECONDS = 0.5"
    notebook = lab.open(lab.write("meanwhile", [frame(qdrant.rest_url), soon, JOB, "1"], kernel))
    for at in range(4):
        notebook.run(at)
    lab.wait(lambda: NOTE.search(notebook.text(2)), "there is a note")
    assert notebook.text(3) == "1"
    notebook.save()
    notebook.close()

    notebook = lab.open(notebook.of_a_stranger(), kernel=False)
    note = NOTE.search(notebook.text(2))
    assert note
    assert points(note[0]) > 0
    notebook.close()


def test_page_that_is_loaded_anew(lab: Lab, qdrant: LocalServer) -> None:
    """The panel of a job that was saved is there again after a reload, Stop and the end too."""
    qdrant.faults(DELAYED)
    notebook = began(lab, "anew", INSTALLED, qdrant)
    notebook.save()
    lab.page.reload()
    lab.wait_for_start()
    first = lab.wait(lambda: points(notebook.text(1)), "points are counted")
    lab.wait(lambda: points(notebook.text(1)) > first, "more points are counted")
    notebook.cell(1).locator(STOP).click()
    lab.wait(lambda: "stopped" in notebook.text(1), "the report is there")
    assert notebook.cell(1).locator(STOP).count() == 0
    notebook.close()
