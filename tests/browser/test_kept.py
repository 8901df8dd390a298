"""What stays in a notebook is readable wherever it is seen later."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.browser.lab import Lab, Notebook
from tests.browser.looks import hard_to_read, overflows
from tests.browser.server import INSTALLED
from tests.browser.uploads import frame, is_static, upload
from tests.server import LocalServer

HOSTILE = """
import numpy as np, pandas as pd, qframe
evil = '<img src="https://example.com/x.png" onerror="document.body.remove()"><b>&amp;'
vectors = np.eye(60, 8, dtype=np.float32)
vectors[:3] = np.nan
labels = [f"{{evil}} {{n}}" for n in range(60)]
texts = pd.DataFrame({{evil: range(60), "text": evil}}, index=labels)
con = qframe.connect("{url}")
texts.qdrant.plan("texts", con, vectors=vectors, ids=qframe.uuid5(evil))
"""

SKIPPED = """
qframe.show(
    texts.qdrant.upload("texts", con, vectors=vectors, ids=qframe.uuid5(evil), bad_rows="skip")
)
"""


def look_everywhere(notebook: Notebook, at: int, name: str, browser: Browser, words: str) -> None:
    """See the first output of a cell as others will, the notebook being saved and closed.

    Opened again by whoever ran it, in a notebook of a stranger, in the dark, in a narrow window,
    and as a page of HTML without a network.
    """
    lab = notebook.lab
    text = notebook.output(at).inner_text()
    assert words in text
    lab.screenshot(f"{name}-finished")
    saved = notebook.save()
    assert set(saved.cells[at].outputs[0].data) == {"text/plain", "text/html"}
    assert "widgets" not in saved.metadata
    notebook.close()

    notebook = lab.open(notebook.path, kernel=False)
    assert notebook.trusted
    assert notebook.output(at).inner_text() == text
    notebook.close()

    notebook = lab.open(notebook.of_a_stranger(), kernel=False)
    assert not notebook.trusted
    assert notebook.output(at).inner_text() == text
    for summary in notebook.output(at).locator("summary").all():
        summary.click()
    for theme in ("dark", "light"):
        lab.theme(theme)
        assert hard_to_read(notebook.output(at), theme) == []
        lab.screenshot(f"{name}-reopened-{theme}")
    lab.resize(400)
    assert overflows(notebook.output(at)) == []
    lab.screenshot(f"{name}-narrow")
    lab.resize(1100)

    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(notebook.export().as_uri())
    assert words in page.inner_text("body")
    page.screenshot(path=lab.artefacts / f"{name}-exported.png")
    context.close()
    notebook.close()


def test_report(lab: Lab, browser: Browser, qdrant: LocalServer) -> None:
    """The report that an upload leaves behind."""
    notebook = lab.open(lab.write("report", [frame(qdrant.rest_url), upload()], INSTALLED))
    notebook.run(0)
    notebook.run(1)
    assert is_static(notebook, 1)
    look_everywhere(notebook, 1, "report", browser, "all 20,000 points applied")


def test_hostile_text(lab: Lab, browser: Browser, qdrant: LocalServer) -> None:
    """A plan and a report with texts that are HTML: they are shown as they are, and do nothing."""
    cells = [HOSTILE.format(url=qdrant.rest_url).strip(), SKIPPED.strip()]
    notebook = lab.open(lab.write("hostile", cells, INSTALLED))
    notebook.run(0)
    notebook.run(1)
    outputs = notebook.panel.locator(".qframe").all()
    assert len(outputs) >= 2
    for output in outputs:
        assert "<img src=" in output.inner_text()
        assert output.locator("img, b").count() == 0
    path = notebook.path
    look_everywhere(notebook, 0, "plan", browser, '<img src="https://example.com/x.png"')
    notebook = lab.open(path, kernel=False)
    look_everywhere(notebook, 1, "hostile", browser, "57 points")
