"""A browser, a JupyterLab and its kernels for the tests of this folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.lab import Lab
from tests.browser.server import INSTALLED, OLDER, JupyterServer, install_ipykernel
from tests.server import LocalServer

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Whatever the pages ask for, there is nothing but this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def without(what: str) -> None:
    """Skip, or fail where these tests have to run."""
    if os.environ.get("QFRAME_BROWSER") == "required":
        pytest.fail(f"QFRAME_BROWSER=required, and {what}")
    pytest.skip(what)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what was seen and said when a test failed."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.when == "call" and report.failed and lab is not None:
        name = "failed-" + re.sub(r"[^\w.-]+", "_", item.name)
        report.sections.append((f"JupyterLab, as in {name}.log and .png", lab.keep(name)[-5000:]))
    return report


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Headless Chromium, as the system has it; gone with the last test of this folder.

    Playwright leaves an event loop running in this thread for as long as it is there.
    """
    found = [path for name in CHROMIUM if (path := shutil.which(name))]
    if not found:
        without("there is no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=[*QUIET])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A JupyterLab that offers the kernel that is installed."""
    with JupyterServer(tmp_path_factory.mktemp("jupyter")) as server:
        server.add_kernel(INSTALLED)
        yield server


@pytest.fixture(scope="session")
def kernels(
    jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Offer a kernel of another ipykernel, which is installed when it is first asked for."""
    known = {INSTALLED: ""}

    def offer(number: str) -> str:
        if number not in known:
            folder = tmp_path_factory.mktemp(f"ipykernel-{number}")
            try:
                install_ipykernel(number, folder)
                known[number] = ""
            except subprocess.CalledProcessError as error:
                known[number] = f"ipykernel {number} cannot be installed: {error.stderr}"
            jupyter.add_kernel(number, folder)
        if known[number]:
            without(known[number])
        return number

    return offer


@pytest.fixture(params=[INSTALLED, *OLDER])
def kernel(request: pytest.FixtureRequest, kernels: Callable[[str], str]) -> str:
    """The name of each kernel in turn, which is the version of its ipykernel."""
    return kernels(request.param)


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the screenshots: QFRAME_ARTEFACTS, or a temporary one."""
    named = os.environ.get("QFRAME_ARTEFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def qdrant(server: LocalServer) -> Iterator[LocalServer]:
    """The local server, with nothing in it."""
    server.reset()
    yield server
    server.reset()


@pytest.fixture
def lab(browser: Browser, jupyter: JupyterServer, artefacts: Path) -> Iterator[Lab]:
    """A fresh window of JupyterLab, from which nothing but this machine is asked for anything."""
    lab = Lab(browser, jupyter, artefacts)
    yield lab
    lab.close()
    assert not lab.outside
