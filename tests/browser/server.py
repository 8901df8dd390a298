"""JupyterLab as a fixture: on loopback, with folders and kernels of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]

INSTALLED = version("ipykernel")
OLDER = ("7.1.0", "6.31.0")
"""A click reaches the cell that runs through 7.1's subshells, and not at all in 6.31."""

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
    "apputils-extension/themes": {"theme": "JupyterLab Light"},
    "docmanager-extension/plugin": {"autosave": False},  # a test says when it saves
}


class JupyterServer:
    """A JupyterLab without a token, alive inside the ``with`` block.

    Parameters
    ----------
    folder
        Where everything of it is kept: what it is set to, its log, and the notebooks.

    """

    url: str

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        self._folder = folder
        self._log = folder / "jupyter.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = {**os.environ, "JUPYTER_PLATFORM_DIRS": "1"}
        # What pytest runs under is no matter of the kernels, and neither is what a user has set.
        for name in ("PYTHONWARNINGS", "PYTHONPATH", "JUPYTER_PATH", "JUPYTER_TOKEN"):
            environment.pop(name, None)
        for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
            environment[f"JUPYTER_{name}"] = str(self._folder / name.lower())
        environment["JUPYTERLAB_SETTINGS_DIR"] = str(self._folder / "settings")
        environment["JUPYTERLAB_WORKSPACES_DIR"] = str(self._folder / "workspaces")
        environment["IPYTHONDIR"] = str(self._folder / "ipython")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                    *("--ip=127.0.0.1", "--port=0", "--expose-app-in-browser"),
                    *("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"),
                    f"--ServerApp.root_dir={self.notebooks}",
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.url = self._found()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _found(self) -> str:
        """Wait until it listens, and return where."""
        assert self._process is not None
        end = time.monotonic() + 120
        while time.monotonic() < end and self._process.poll() is None:
            for path in (self._folder / "runtime_dir").glob("jpserver-*.json"):
                try:
                    found = json.loads(path.read_text())
                except ValueError:  # it is being written
                    continue
                return str(found["url"])
            time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not come up:\n{self.log()}")

    def log(self) -> str:
        """Return what the server and its kernels wrote."""
        return self._log.read_text(errors="replace")

    def settle(self) -> None:
        """Forget what a user has chosen."""
        for name, value in SETTINGS.items():
            path = self._folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))

    def add_kernel(self, name: str, *folders: Path, **environment: str) -> None:
        """Offer a kernel: this Python, where the packages in `folders` come before its own."""
        spec: dict[str, Any] = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "env": {
                "PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT))),
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",
                **environment,
            },
        }
        path = self._folder / "data_dir" / "kernels" / name / "kernel.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(spec))


def install_ipykernel(number: str, folder: Path) -> None:
    """Put another ipykernel into a folder; the other packages are those that are there."""
    packages = [f"ipykernel=={number}", "nest-asyncio"]  # 7.2 and later have nest-asyncio2
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *packages],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
