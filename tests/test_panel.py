"""What a notebook is shown, and what stays in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from qframe.activity import Stage, Step
from qframe.causes import Cause
from qframe.panel import NO_WIDGETS, WIDGET, panel
from qframe.progress import CAUSES, WORKERS, At, Live, Look, Phase, Tally
from qframe.report import BatchResult, Status

ROOT = Path(__file__).parents[1]

FRAME = """
import numpy as np, pandas as pd, qframe
frame = pd.DataFrame({"n": range(2000)})
vectors = np.ones((2000, 4), np.float32)
"""

UPLOAD = 'report = frame.qdrant.upload("films", ":memory:", vectors=vectors, batch_size=10)'

BEGIN = UPLOAD.replace("report", "job").replace(")", ", block=False)")

Run = Callable[..., list[Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run cells in a kernel, and return what each of them showed."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def run(*cells: str, path: str = "") -> list[Any]:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (path, str(ROOT)))))
        notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
        client = NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True)
        client.execute(cwd=str(tmp_path))
        return [cell.outputs for cell in notebook.cells]

    return run


def _live(batches: int, *, total: int | None = None, **look: Any) -> Live:
    now = 0.0
    tally = Tally("films", "here", total, clock=lambda: now)
    for batch in range(batches):
        now += 0.01
        span = {"started_s": now - 0.02, "ended_s": now}
        tally.add(BatchResult(batch, 0, 1000, 1000, Status.ACKNOWLEDGED, bytes=1_600_000, **span))
    return tally.live(Phase.SENDING, Look(**look))


def test_a_panel_shows_what_goes_on() -> None:
    """Points, rates, what is left, requests, trouble, causes, and what each worker does."""
    html = panel(
        _live(
            300,
            total=600_000,
            in_flight=2,
            asked_s=4.0,
            retries=3,
            throttled_s=8.25,
            workers=(
                At(0, 100, Step(Stage.SENDING, 0.5, attempt=2)),
                At(1, 101, Step(Stage.WAITING, 0.0)),
                At(2),
            ),
            causes=(Cause("", "RateLimited: slow down", 7, 700),),
        )
    )
    for text in (
        "300,000 of 600,000 points (50 %)",
        "100,000 points/s · 160.0 MB/s · 7.0 s left",
        "2 requests in flight · a batch takes 20 ms (p50), 20 ms (p95)",
        "3 retries · throttled for 8.2 s · server asks to wait 4.0 s",
        "7 × RateLimited: slow down",
        "0: sending batch 100, try 2, 2.5 s",
        "1: waiting with batch 101, 3.0 s",
        "2: has nothing to do",
        'max="600000" value="300000"',
    ):
        assert text in html
    assert any(block in html for block in "▂▃▄▅▆▇█")


def test_a_panel_is_as_light_for_ten_million_rows_as_for_a_thousand() -> None:
    """What is sent to a browser does not grow with rows, batches, workers, or kinds of errors."""
    many = Cause("", "InvalidRequest: " + "x" * 10_000, 10**9, 10**9)
    small = _live(1, total=1000, workers=(At(0),), causes=(many,))
    large = _live(
        10_000,
        total=10_000_000,
        workers=tuple(At(n, n, Step(Stage.SENDING, 0.0)) for n in range(500)),
        causes=(many,) * 500,
    )
    assert large.event.done == 10_000_000
    most = (CAUSES * 260) + (WORKERS * 60) + 200
    assert len(panel(large)) < len(panel(small)) + most
    assert "and 492 more" in panel(large)


def test_what_a_server_says_is_text() -> None:
    """An error, a collection or an address that holds HTML is shown, and makes no element."""
    hostile = "<img src=x onerror=alert(1)>"
    tally = Tally(hostile, hostile, 5, clock=lambda: 1.0)
    html = panel(tally.live(Phase.SENDING, Look(causes=(Cause("", hostile, 1, 1),))), hostile)
    assert "<img" not in html
    assert html.count("&lt;img src=x") >= 4


def test_without_an_end_the_bar_runs() -> None:
    """Of a stream nobody knows how much there is."""
    html = panel(_live(3))
    assert "3,000 points" in html
    assert "value=" not in html
    assert " s left" not in html


def test_html_takes_the_place_of_the_widget(run: Run) -> None:
    """What stays is one output that needs no widget; nothing else is printed."""
    _, (shown,), (text,) = run(FRAME, UPLOAD, "print(set(report['status']))")
    assert shown.output_type == "display_data"
    assert set(shown.data) == {"text/plain", "text/html"}
    assert 'class="qframe qframe-report"' in shown.data["text/html"]
    assert "2,000" in shown.data["text/plain"]
    assert text.text == "{'applied'}\n"


def test_a_notebook_that_is_saved_meanwhile_keeps_how_far_it_was(run: Run) -> None:
    """A line that needs no widget is made anew now and then, and is empty at the end."""
    now_and_then = (
        "import qframe.panel, qframe.watch\n"
        "qframe.panel.KEPT_SECONDS, qframe.watch.PATIENCE = 0.1, 0.0\n" + FRAME
    )
    look = (
        "from IPython import get_ipython\n"
        "said = []\n"
        "get_ipython().display_pub.register_hook("
        "lambda m: said.append(m['content']['data']['text/plain']) or m)"
    )
    slow = UPLOAD.replace("batch_size=10", "batch_size=1")
    *_, outputs, (said,) = run(now_and_then, look, slow, "print(*said, sep='\\n')")
    assert [out.data["text/plain"] for out in outputs[1:]] == [""]
    kept = [line for line in said.text.splitlines() if line.startswith("kept for ")]
    assert len(kept) >= 2
    assert all(": films, " in line and " of 2,000 points (" in line for line in kept)


def test_the_report_stays_after_errors_too(run: Run) -> None:
    """An upload that raises leaves its summary above the traceback, which is short."""
    _, outputs = run(
        FRAME + "con = qframe.connect('http://127.0.0.1:9')",
        UPLOAD.replace('":memory:"', "':memory:'").replace(
            ")", ", retry=qframe.Retry(deadline=1e-9))"
        ),
    )
    shown, error = outputs
    assert 'class="qframe qframe-report"' in shown.data["text/html"]
    assert "did not arrive" in shown.data["text/plain"]
    assert error.ename == "UploadError"
    lines = "\n".join(error.traceback).splitlines()
    assert len(lines) < 40
    assert not any("accessor.py" in line for line in lines)


def test_what_is_refused_at_once_says_so(run: Run) -> None:
    """Bad rows in a large frame, whose checking was shown, leave a line and no widget."""
    _, outputs = run(
        FRAME,
        "many = pd.DataFrame({'n': [float('inf')] * 100_000})\n"
        "many.qdrant.upload('films', ':memory:', vectors=np.ones((100_000, 2), np.float32))",
    )
    shown, error = outputs
    assert shown.data["text/plain"] == "films: nothing was sent (BadRowsError)"
    assert WIDGET not in shown.data
    assert error.ename == "BadRowsError"


def test_a_job_ends_in_the_cell_that_began_it(run: Run) -> None:
    """The panel of a job becomes a report there, wherever its result is asked for."""
    _, begun, _, waited = run(FRAME, BEGIN, "1 + 1", "report = job.result(); job")
    shown, note = begun
    assert note.data == {"text/plain": "", "text/html": ""}
    assert set(shown.data) == {"text/plain", "text/html"}
    assert 'class="qframe qframe-report"' in shown.data["text/html"]
    assert waited[0].data["text/plain"] == "<UploadJob films: 2,000 of 2,000 points, done>"


def test_a_job_is_awaited_in_a_cell(run: Run) -> None:
    """A cell may await a job, whose panel lives meanwhile."""
    _, begun, awaited = run(FRAME, BEGIN, "len(await job)")
    assert 'class="qframe qframe-report"' in begun[0].data["text/html"]
    assert awaited[0].data["text/plain"] == "200"


def test_bad_rows_of_a_job_are_told_where_it_began(run: Run) -> None:
    """Nobody may ask for the result of a job, so its cell says why nothing was sent."""
    faulty = BEGIN.replace("vectors=vectors", "vectors=vectors, ids='n'").replace(
        "frame.", "frame.assign(n=-1)."
    )
    _, begun, (raised,) = run(FRAME, faulty, "job.result()")
    assert raised.ename == "BadRowsError"
    assert "nothing was sent (BadRowsError: " in begun[0].data["text/plain"]
    assert "-1 is negative" in begun[0].data["text/html"]


def test_without_ipywidgets_there_is_text(run: Run, tmp_path: Path) -> None:
    """A kernel without ipywidgets shows the same in text, and how to get the panel."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] == 'ipywidgets':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    _, shown, (ended,) = run(
        FRAME,
        "from qframe.panel import notebook_display\n"
        "from qframe.progress import *\n"
        "notebook_display(block=True).draw("
        "Tally('films', 'here', 5, lambda: 1.0).live(Phase.SENDING, Look()))",
        UPLOAD,
        path=str(hidden),
    )
    assert NO_WIDGETS in shown[0].data["text/plain"]
    assert NO_WIDGETS in shown[0].data["text/html"]
    assert 'class="qframe qframe-report"' in ended.data["text/html"]
    assert NO_WIDGETS not in ended.data["text/plain"]


def test_a_thread_of_a_notebook_writes_lines(run: Run) -> None:
    """A blocking upload in a thread of the user's own draws nothing: it may not there."""
    _, outputs = run(
        FRAME,
        "import threading\n"
        f"def work(): {UPLOAD.replace('report = ', '')}\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()",
    )
    assert [out.output_type for out in outputs] == ["stream"]
    assert "films: 2,000 of 2,000 points" in outputs[0].text


def test_what_cannot_be_shown_leaves_no_panel(run: Run) -> None:
    """Where the report cannot be drawn, a line says how it ended, and no widget goes on."""
    _, _, outputs, (left,) = run(
        FRAME,
        "import qframe.panel\nqframe.panel.showing.show = lambda report: 1 / 0",
        UPLOAD.replace("batch_size=10", "batch_size=1"),
        "from ipywidgets.widgets.widget import _instances\n"
        "any(type(one).__name__ == 'Button' for one in _instances.values())",
    )
    assert "films: 2,000 of 2,000 points" in outputs[0].data["text/plain"]
    assert WIDGET not in outputs[0].data
    assert left.data["text/plain"] == "False"


def test_a_job_without_a_loop_writes_lines(run: Run) -> None:
    """Where nothing would draw between the cells, a job goes on all the same, and says so."""
    _, _, (*_, ended) = run(
        FRAME,
        "from asyncio import events\n"
        "loop = events._get_running_loop()\n"
        "events._set_running_loop(None)\n"
        f"try: {BEGIN}\n"
        "finally: events._set_running_loop(loop)",
        "set(job.result()['status'])",
    )
    assert ended.data["text/plain"] == "{'applied'}"


def test_a_stopped_job_that_is_awaited_leaves_the_kernel(run: Run) -> None:
    """A task that awaits it ends as a cancelled one, and the next cell runs."""
    *_, (said,) = run(
        FRAME,
        BEGIN.replace("batch_size=10", "batch_size=1"),
        "import asyncio\n"
        "async def wait(): return await job\n"
        "task = asyncio.create_task(wait())\n"
        "await asyncio.sleep(0.1)\n"
        "job.stop()\n"
        "await asyncio.wait([task])",
        "task.cancelled()",
    )
    assert said.data["text/plain"] == "True"


def test_numbers_of_points_are_plain() -> None:
    """Totals that come from numpy are written as numbers."""
    assert "5 of 7 points" in _live_of(np.int64(7)).done()


def _live_of(total: Any) -> Live:
    tally = Tally("films", "here", total, clock=lambda: 1.0)
    tally.add(BatchResult(0, 0, 5, 5, Status.APPLIED))
    return tally.live(Phase.SENDING, Look())
