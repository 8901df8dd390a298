"""The page that a person has before them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request

from .server import JupyterServer

PATIENCE = 90.0
"""Seconds to wait for what should come within a few; the machine may be slow and shared."""

LOCAL = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|(data|blob|about|file):")


class Lab:
    """One JupyterLab in one window.

    Parameters
    ----------
    browser, server
        What it is made of.
    artefacts
        The folder of the screenshots.

    """

    def __init__(self, browser: Browser, server: JupyterServer, artefacts: Path) -> None:
        self.server = server
        self.artefacts = artefacts
        server.settle()
        self.outside: list[str] = []
        self.console: list[str] = []
        context = browser.new_context(viewport={"width": 1100, "height": 800})
        context.set_default_timeout(PATIENCE * 1000)
        context.set_default_navigation_timeout(PATIENCE * 1000)
        context.on("request", self._asked)
        context.on("console", self._said)
        self._context = context
        self.page: Page = context.new_page()
        self._begun = False
        self._silence = len(server.log())

    def _asked(self, request: Request) -> None:
        if not LOCAL.match(request.url):
            self.outside.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def close(self) -> None:
        """Close the window."""
        self._context.close()

    def write(self, name: str, cells: Sequence[str], kernel: str) -> Path:
        """Write a notebook without outputs."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": kernel, "display_name": kernel}},
        )
        path = self.server.notebooks / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    def open(self, path: Path, *, kernel: bool = True) -> Notebook:
        """Open a notebook, and wait until its kernel is idle if it is to have one."""
        if not self._begun:
            self.page.goto(f"{self.server.url}lab?reset")
            self.wait_for_start()
            self.command("application:toggle-left-area")
            self._begun = True
        self.page.evaluate(
            """([path, start]) => window.jupyterapp.commands.execute('docmanager:open', {
                path, kernelPreference: {shouldStart: start, autoStartDefault: start},
            }).then(panel => panel.context.ready).then(() => true)""",
            [path.name, kernel],
        )
        notebook = Notebook(self, path)
        if kernel:
            notebook.wait_for_kernel()
        return notebook

    def wait_for_start(self) -> None:
        """Wait until the page has been loaded."""
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self.page.evaluate("window.jupyterapp.restored.then(() => true)")

    def command(self, name: str, **arguments: object) -> Any:
        """Do what stands in a menu."""
        return self.page.evaluate(
            "([name, more]) => window.jupyterapp.commands.execute(name, more).then(() => true)",
            [name, arguments],
        )

    def theme(self, name: str) -> None:
        """Choose "light" or "dark"."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name.capitalize()}")
        light = "true" if name == "light" else "false"
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def resize(self, width: int) -> None:
        """Make the window as wide as a telephone (400) or as a desk (1100)."""
        self.page.set_viewport_size({"width": width, "height": 800})

    def screenshot(self, name: str, of: Page | Locator | None = None) -> Path:
        """Keep what is seen now."""
        path = self.artefacts / f"{name}.png"
        (of or self.page).screenshot(path=path)
        return path

    def keep(self, name: str) -> str:
        """Keep what is seen, and what server, kernels and page have said; return the latter."""
        text = "\n".join([self.server.log()[self._silence :], *self.console])
        (self.artefacts / f"{name}.log").write_text(text)
        self.screenshot(name)
        return text

    def wait(self, true: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait until something is true, while the page goes on; return what it is."""
        end = time.monotonic() + seconds
        while not (found := true()):
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds:.0f} s for this: {what}")
            self.page.wait_for_timeout(50)
        return found


class Notebook:
    """A notebook that is open, and in front.

    Parameters
    ----------
    lab
        The window.
    path
        The file.

    """

    def __init__(self, lab: Lab, path: Path) -> None:
        self.lab = lab
        self.page = lab.page
        self.path = path
        self.panel = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def wait_for_kernel(self) -> None:
        """Wait until the kernel has run something, and has nothing to do.

        On a busy machine a new kernel may never answer (once in some 200 starts of 7.1.0, why is
        not known), or tell of itself and run nothing. It is started again then, which is what its
        user would do.
        """
        for _ in range(5):
            answered = self.page.evaluate(
                """async seconds => {
                    const context = window.jupyterapp.shell.currentWidget.context.sessionContext;
                    await context.ready;
                    const late = new Promise(done => setTimeout(() => done(null), 1000 * seconds));
                    const kernel = context.session.kernel;
                    const run = kernel.info.then(
                        () => kernel.requestExecute({code: 'pass', silent: true}).done
                    ).catch(() => null);
                    return await Promise.race([run, late]) !== null;
                }""",
                PATIENCE / 5,
            )
            if answered:
                break
            self.page.evaluate(
                "window.jupyterapp.shell.currentWidget.context.sessionContext.restartKernel()"
            )
        self.page.wait_for_function(
            """() => {
                const {sessionContext} = window.jupyterapp.shell.currentWidget.context;
                return sessionContext.session?.kernel?.status === 'idle';
            }"""
        )

    def cell(self, at: int) -> Locator:
        """Return a cell."""
        return self.panel.locator(".jp-Notebook .jp-Cell").nth(at)

    def outputs(self, at: int) -> list[Locator]:
        """Return the outputs of a cell."""
        return self.cell(at).locator(".jp-OutputArea-output").all()

    def text(self, at: int) -> str:
        """Return the outputs of a cell as they are read; nothing where there are none."""
        output = self.cell(at).locator(".jp-OutputArea-output")
        return "\n".join(text.strip() for text in output.all_inner_texts())

    def prompt(self, at: int) -> str:
        """Return what stands before a cell: "[ ]:", "[*]:" while it runs, "[1]:" after that."""
        return self.cell(at).locator(".jp-InputPrompt").first.inner_text().strip()

    def begin(self, at: int) -> None:
        """Run a cell from the keyboard, and go on as soon as it runs."""
        before = self.prompt(at)
        for _ in range(5):
            self.cell(at).locator(".cm-content").click()
            self.page.keyboard.press("Control+Enter")
            try:
                # The keys are lost at times, in a notebook that has just been opened.
                self.lab.wait(lambda: self.prompt(at) != before, "the cell begins to run", 5)
                return
            except AssertionError:
                continue
        raise AssertionError("the cell does not begin to run")

    def ended(self, at: int) -> bool:
        """Whether a cell has been run to its end."""
        return re.fullmatch(r"\[\d+\]:", self.prompt(at)) is not None

    def wait(self, at: int) -> str:
        """Wait until a cell ends; return the text of its outputs."""
        self.lab.wait(lambda: self.ended(at), f"cell {at} ends")
        return self.text(at)

    def run(self, at: int) -> str:
        """Run a cell to its end; return the text of its outputs."""
        self.begin(at)
        return self.wait(at)

    def interrupt(self) -> None:
        """Click the ■ of the tool bar."""
        self.panel.locator('jp-button[data-command="notebook:interrupt-kernel"]').click()

    def save(self) -> Any:
        """Save from the keyboard; return what is in the file then."""
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        self.lab.wait(lambda: self.path.stat().st_mtime_ns != before, "the notebook is saved")
        self.page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
        return nbformat.read(self.path, as_version=4)

    def of_a_stranger(self) -> Path:
        """Return a copy of the file of which JupyterLab does not know that it ran it."""
        notebook = nbformat.read(self.path, as_version=4)
        notebook.metadata["stranger"] = True  # what is signed is the whole of the file
        path = self.path.with_stem(f"{self.path.stem}-of-a-stranger")
        nbformat.write(notebook, path)
        return path

    def export(self) -> Path:
        """Return the file as a page of HTML, made by nbconvert."""
        command = [sys.executable, "-m", "nbconvert", "--to", "html", self.path]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        return self.path.with_suffix(".html")

    def end_kernel(self) -> None:
        """End the kernel, as closing does."""
        self.page.evaluate(
            "window.jupyterapp.shell.currentWidget.context.sessionContext.shutdown()"
        )

    def close(self) -> None:
        """End the kernel, and close the notebook without saving."""
        self.end_kernel()
        self.page.evaluate(
            """() => {
                const panel = window.jupyterapp.shell.currentWidget;
                panel.context.model.dirty = false;
                panel.dispose();
            }"""
        )

    @property
    def trusted(self) -> bool:
        """Whether JupyterLab shows the outputs as they are."""
        trusted: bool = self.page.evaluate(
            """() => Array.from(window.jupyterapp.shell.currentWidget.content.model.cells)
                .every(cell => cell.trusted)"""
        )
        return trusted
