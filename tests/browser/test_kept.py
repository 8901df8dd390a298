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
plan = texts.qdrant.plan("texts", con, vectors=vectors, ids=qframe.uuid5(evil))
report = texts.qdrant.upload(
    "texts", con, vectors=vectors, ids=qframe.uuid5(evil), bad_rows="skip", progress=False
)
display(plan, qframe.show(report))
"""


def look_everywhere(notebook: Notebook, at: int, browser: Browser, *words: str) -> None:
    """See the outputs of a cell, each with its words, as others will see them.

    Opened again by whoever ran it, in a notebook of a stranger, in the dark, in a narrow window,
    and as a page of HTML without a network.
    """
    lab, name = notebook.lab, notebook.path.stem

    def texts() -> list[str]:
        return [output.inner_text() for output in notebook.outputs(at)]

    before = texts()
    assert len(before) == len(words)
    assert all(word in text for word, text in zip(words, before, strict=True))
    lab.screenshot(f"{name}-finished")
    saved = notebook.save()
    assert all(set(out.data) == {"text/plain", "text/html"} for out in saved.cells[at].outputs)
    assert "widgets" not in saved.metadata
    notebook.close()

    notebook = lab.open(notebook.path, kernel=False)
    assert notebook.trusted
    assert texts() == before
    notebook.close()

    notebook = lab.open(notebook.of_a_stranger(), kernel=False)
    assert not notebook.trusted
    assert texts() == before
    for summary in notebook.cell(at).locator("summary").all():
        summary.click()
    for theme in ("dark", "light"):
        lab.theme(theme)
        assert [hard_to_read(output, theme) for output in notebook.outputs(at)] == [[]] * len(words)
        lab.screenshot(f"{name}-reopened-{theme}")
    lab.resize(400)
    assert [overflows(output) for output in notebook.outputs(at)] == [[]] * len(words)
    lab.screenshot(f"{name}-narrow")

    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(notebook.export().as_uri())
    assert all(word in page.inner_text("body") for word in words)
    page.screenshot(path=lab.artefacts / f"{name}-exported.png")
    context.close()
    notebook.close()


def test_report(lab: Lab, browser: Browser, qdrant: LocalServer) -> None:
    """The report that an upload leaves behind."""
    cells = [frame(qdrant.rest_url), upload(size=500)]
    notebook = lab.open(lab.write("report", cells, INSTALLED))
    notebook.run(0)
    notebook.run(1)
    assert is_static(notebook, 1)
    look_everywhere(notebook, 1, browser, "all 20,000 points applied")


def test_hostile_texts(lab: Lab, browser: Browser, qdrant: LocalServer) -> None:
    """A plan and a report with texts that are HTML: they are shown as they are, and do nothing."""
    cells = [HOSTILE.format(url=qdrant.rest_url).strip()]
    notebook = lab.open(lab.write("hostile", cells, INSTALLED))
    notebook.run(0)
    for output in notebook.outputs(0):
        assert "<img src=" in output.inner_text()
        assert output.locator("img, b").count() == 0
    look_everywhere(notebook, 0, browser, "57 points in 1 batch", "all 57 points applied")
