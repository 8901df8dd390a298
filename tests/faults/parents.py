"""Uploads in processes that can be killed.

``python -m tests.faults.parents`` is a small server of its own: for each line of JSON on its
standard input it forks a process that makes this upload, and prints its number. It has imported
qframe and opened nothing, so a fork is as good as a fresh interpreter, and there in milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Job:
    """One upload of `plain` rows.

    Attributes
    ----------
    url, collection : str
    journal : str
    rows : int
    options : dict
        Of `qframe.upload`.
    file_limit : int or None
        Bytes that a file may have in this process: a disk that is full for files beyond that.
    """

    url: str
    collection: str
    journal: str
    rows: int
    options: dict[str, Any]
    file_limit: int | None = None


class Parents:
    """Forks processes that upload."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.parents"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask(None)  # all is imported now

    def start(self, job: Job) -> int:
        """Begin an upload, and return the number of its process."""
        return int(self._ask({name: getattr(job, name) for name in Job.__slots__}))

    def wait(self) -> dict[str, Any]:
        """Wait until the last upload has ended.

        Returns
        -------
        dict
            ``code``, and when it ended by itself what it ``said``: the summary of its report, its
            ``warnings`` and its ``error``.
        """
        answer: dict[str, Any] = json.loads(self._ask("wait"))
        return answer

    def close(self) -> None:
        """End the server; uploads that it began must have ended."""
        self._process.communicate(timeout=30)

    def _ask(self, what: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def parents() -> Iterator[Parents]:
    """Have a `Parents` for as long as the block lasts."""
    made = Parents()
    try:
        yield made
    finally:
        made.close()


def kill(pid: int) -> None:
    """End a process as the lack of memory would."""
    os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Serve, until the input ends."""
    import grpc  # noqa: F401, so that a fork need not
    import requests  # noqa: F401

    import qframe  # noqa: F401
    from tests.faults import frames  # noqa: F401

    child, said = 0, -1
    while line := sys.stdin.readline():
        what = json.loads(line)
        if what is None:
            answer = "ready"
        elif what == "wait":
            with os.fdopen(said) as pipe:  # to its end, or a long answer would wait for us
                told = pipe.read()
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            answer = json.dumps({"code": code, "said": json.loads(told) if told else None})
        else:
            said, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(said)
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                _work(Job(**what), theirs)
            os.close(theirs)
            answer = str(child)
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _work(job: Job, out: int) -> None:
    """Upload, tell, and be gone."""
    code = 1
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            said = _upload(job)
        said["warnings"] = [str(warning.message) for warning in caught]
        os.write(out, json.dumps(said).encode())
        os.close(out)
        code = 0
    finally:
        os._exit(code)


def _upload(job: Job) -> dict[str, Any]:
    import qframe
    from tests.faults.frames import plain

    if job.file_limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_limit, job.file_limit))
    try:
        report = plain(job.rows).upload(job.collection, job.url, journal=job.journal, **job.options)
    except qframe.UploadError as error:
        return {"summary": error.report.attrs["upload"], "error": str(error)}
    except qframe.QframeError as error:
        return {"summary": None, "error": f"{type(error).__name__}: {error}"}
    return {"summary": report.attrs["upload"], "error": None}


@dataclass(frozen=True, slots=True)
class Killed:
    """What came of an upload that was killed again and again.

    Attributes
    ----------
    kills : int
        How often it was killed before it was done.
    sent : int
        Points that the server accepted, in all.
    left : list of int
        Processes that were there after their user had been killed.
    """

    kills: int
    sent: int
    left: list[int]


def kill_until_done(
    parent: Parents, server: Any, job: Job, moments: Iterator[float], *, limit: int = 60
) -> Killed:
    """Upload, and kill the process after so many seconds, until no moment is left; then finish.

    Parameters
    ----------
    parent : Parents
    server : LocalServer
    job : Job
    moments : iterator of float
        Seconds after which each process is killed, counted from its start.
    limit : int
        Processes at the most.
    """
    from tests.faults.processes import family, gone

    kills = 0
    left: list[int] = []
    for _ in range(limit):
        pid = parent.start(job)
        moment = next(moments, None)
        if moment is not None:
            time.sleep(moment)
            relatives = family(pid)
            kill(pid)
            kills += 1
            if not gone(relatives):
                left += relatives
        told = parent.wait()
        if moment is None and told["code"] == 0 and told["said"]["error"] is None:
            break
        assert moment is not None, told
    sent = sum(entry["points"] for entry in server.log() if entry["status"] in (200, "OK"))
    return Killed(kills, sent, left)


if __name__ == "__main__":
    main()
