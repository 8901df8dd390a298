"""The server as a fixture: a child process and the hand that steers it.

Imports nothing but the standard library, so that a test process stays light.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen
from uuid import UUID

_ROOT = Path(__file__).parents[2]


class LocalServer:
    """A stand-in Qdrant on loopback, alive inside the ``with`` block.

    Parameters
    ----------
    api_key, read_only_api_key
        Keys to demand; with neither, everybody may do everything.
    data
        Directory of the collections. None makes one that is removed at the end.
    max_request_size_mb
        Limit of a REST body.
    keep_alive
        Seconds after which an idle REST connection is closed.
    version
        The version to claim.
    rest_port
        0 is any that is free.

    """

    rest_url: str
    grpc_url: str
    pid: int

    def __init__(
        self,
        *,
        api_key: str | None = None,
        read_only_api_key: str | None = None,
        data: str | Path | None = None,
        max_request_size_mb: float = 32,
        keep_alive: float = 5.0,
        version: str = "1.19.0",
        rest_port: int = 0,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="qdrant-")
        # A file, because nobody reads while it runs and a full pipe would stop the server.
        self._stderr = Path(self._scratch.name, "stderr")
        self._options = {
            "--data": str(data or Path(self._scratch.name, "data")),
            "--api-key": api_key,
            "--read-only-api-key": read_only_api_key,
            "--max-request-size-mb": str(max_request_size_mb),
            "--keep-alive": str(keep_alive),
            "--version": version,
        }
        self._ports = [f"--rest-port={rest_port}", "--grpc-port=0"]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._scratch.cleanup()
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._scratch.cleanup()

    def start(self) -> None:
        options = [f"{name}={value}" for name, value in self._options.items() if value is not None]
        with self._stderr.open("a") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.server", "--exit-with-stdin", *self._ports, *options],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,  # the ■ of a notebook interrupts its kernel's whole group
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._reap()
            raise RuntimeError(f"the local server did not come up:\n{self.complaints()}")
        ready = json.loads(line)
        self.rest_url, self.grpc_url, self.pid = ready["rest"], ready["grpc"], ready["pid"]
        # A restart comes back to the same addresses.
        self._ports = [
            f"--rest-port={self.rest_url.rpartition(':')[2]}",
            f"--grpc-port={self.grpc_url.rpartition(':')[2]}",
        ]

    def stop(self) -> None:
        """End it in good order: what is queued is applied, and all is flushed."""
        if self._process is not None:
            self._process.terminate()
            self._reap()

    def kill(self) -> None:
        """End it at once, as the lack of memory would."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.communicate(timeout=60)
        self._process = None

    def restart(self) -> None:
        """Come back with the same ports and data, after ``kill`` as well."""
        self.stop()
        self.start()

    def complaints(self) -> str:
        """Whatever the server wrote to stderr: its own faults, nothing in a good run."""
        return self._stderr.read_text()

    def faults(self, faults: Iterable[str], transport: str | None = None) -> None:
        """Queue misfortunes for the next upserts; ``tests.server.faults`` lists them.

        ``transport`` is "rest", "grpc", or None for whichever comes first.
        """
        self._call("faults", {"faults": list(faults), "transport": transport})

    def pending_faults(self) -> list[str]:
        """The faults that have not befallen anybody yet."""
        return self._call("faults")

    def poison(self, ids: Iterable[int | str | UUID]) -> None:
        """From now on refuse each upsert that holds one of these points; none ends it.

        Like all that lasts it is forgotten by `reset`, and by a restart.
        """
        value = [point if isinstance(point, int) else str(point) for point in ids]
        self._call("lasting", {"what": "poison", "value": value})

    def shrink(self, points: int | None) -> None:
        """From now on refuse each upsert of more points, without a Retry-After; None ends it."""
        self._call("lasting", {"what": "shrink", "value": points})

    def limit_body(self, size: int | None) -> None:
        """From now on refuse each upsert of more bytes, over both transports; None ends it."""
        self._call("lasting", {"what": "limit_body", "value": size})

    def log(self) -> list[dict[str, Any]]:
        """The upserts seen, in order of arrival; ``Journal.open`` lists the fields."""
        return self._call("log")

    def reset(self, *, collections: bool = True) -> None:
        """Forget all faults, the log and, unless told otherwise, the collections."""
        self._call("reset", {"collections": collections})

    def _call(self, name: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.rest_url}/_test/{name}", data), timeout=60) as reply:
            return json.load(reply)["result"]
