"""An upload that goes on while its caller does something else."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pandas as pd

from qframe.errors import QframeError, UploadInterrupted
from qframe.report import to_frame
from qframe.watch import STEP, Watch

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

log = logging.getLogger("qframe")

_BEGUN: WeakSet[UploadJob] = WeakSet()
"""The jobs of this process that somebody still holds, or that have not ended."""


class UploadJob:
    """An upload in a thread of its own; made by ``upload(…, block=False)``.

    In a notebook its panel goes on below the cell that began it, and is drawn whenever no cell
    runs, or one waits in `result`. It ends with the kernel. In a script, Python waits for it at its
    end, and a Ctrl-C there ends it without a report; one in `result` ends only the waiting.

    ``await job`` gives what `result` does. The `UploadInterrupted` of a job that was stopped is an
    `asyncio.CancelledError` there, too: it ends the task that awaits, and not the loop.

    Parameters
    ----------
    story : callable
        Uploads, and returns the report or raises.
    watch : Watch

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"title": ["Alien", "Heat"], "embedding": [[0.1, 0.9], [0.8, 0.2]]})
    >>> job = df.qdrant.upload(
    ...     "jobs", ":memory:", vectors="embedding", block=False, progress=False
    ... )
    >>> job.result()[["start", "stop", "points", "status"]]
       start  stop  points   status
    0      0     2       2  applied
    >>> job
    <UploadJob jobs: 2 of 2 points, done>
    """

    def __init__(self, story: Callable[[Watch], pd.DataFrame], watch: Watch) -> None:
        self._watch = watch
        self._report: pd.DataFrame | None = None
        self._error: BaseException | None = None
        self._waiting: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_shown = False  # whether the end is
        event = watch.event
        self._goal = event.collection, event.target
        if any(job._goal == self._goal and not job.done for job in [*_BEGUN]):
            warnings.warn(
                f"another job uploads to {event.collection!r} at {event.target} already, and both "
                "go on; where its cell was run twice, the stop() of the first one ends that",
                stacklevel=4,
            )
        _BEGUN.add(self)
        self._drawer = None if watch.draws else threading.get_ident()
        # Python waits at its end for a thread that is no daemon. A kernel that is told to end has
        # been told to.
        is_daemon = self._drawer is not None
        thread = threading.Thread(
            target=self._run, args=(story,), name="qframe-job", daemon=is_daemon
        )
        thread.start()
        if self._drawer is not None:
            import asyncio

            self._draw_in(asyncio.get_running_loop())

    def __repr__(self) -> str:
        event = self._watch.event
        of = "" if event.total is None else f" of {event.total:,}"
        if not self.done:
            state = "under way"
        elif self._error is None:
            state = "done"
        else:
            state = "stopped" if isinstance(self._error, UploadInterrupted) else "failed"
        return f"<UploadJob {event.collection}: {event.arrived:,}{of} points, {state}>"

    @property
    def done(self) -> bool:
        """Whether the upload has ended, in whatever way."""
        return self._ended.is_set()

    @property
    def report(self) -> pd.DataFrame:
        """The report of what is known by now; the batches that are on their way are not in it."""
        if self._report is not None:
            return self._report
        so_far = self._watch.so_far
        return to_frame([], {}) if so_far is None else so_far()

    def stop(self) -> None:
        """End the upload early, as Ctrl-C would; one that has ended stays as it is.

        Returns at once. `result` then raises `UploadInterrupted`, with the report, which is empty
        where nothing was sent.
        """
        self._watch.stop()

    def result(self, timeout: float | None = None) -> pd.DataFrame:
        """Wait for the end of the upload; return its report, or raise what it raised.

        Ctrl-C, or the stop of the cell, ends the waiting and not the upload.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which nobody waits any longer; None waits as long as it takes.

        Returns
        -------
        DataFrame
            As of `qframe.upload`.

        Raises
        ------
        TimeoutError
            When the upload has not ended by then. It goes on.
        UploadError, UploadInterrupted, QframeError
            As `qframe.upload` raises them.
        """
        __tracebackhide__ = True
        until = math.inf if timeout is None else time.monotonic() + timeout
        try:
            while not self._ended.wait(max(0.0, min(STEP, until - time.monotonic()))):
                if time.monotonic() >= until:
                    raise TimeoutError(f"{self!r} has not ended within {timeout:g} s, and goes on")
                self._show()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{self!r} goes on; job.stop() ends it") from None
        # Once more, if the end is to be seen already: runners of notebooks (nbclient) take notice
        # only of what is drawn while a cell runs.
        self._is_shown = False
        self._show()
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    def __await__(self) -> Generator[Any, None, pd.DataFrame]:
        import asyncio

        __tracebackhide__ = True
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def tell() -> None:
            if not ended.done():  # nobody waits any more
                ended.set_result(None)

        with self._lock:
            is_over = self.done
            if not is_over:
                self._waiting.append(lambda: loop.call_soon_threadsafe(tell))
        if not is_over:
            yield from ended.__await__()
        try:
            return self.result()
        except UploadInterrupted as stop:
            raise _cancelled(stop) from None

    def _run(self, story: Callable[[Watch], pd.DataFrame]) -> None:
        __tracebackhide__ = True
        report: pd.DataFrame | None = None
        try:
            report = self._watch.tell_of(story)
        except BaseException as error:  # raised where the result is asked for
            name = self._watch.event.collection
            report = getattr(error, "report", None)
            if isinstance(error, KeyboardInterrupt) and report is None:
                told = f"stopped before anything was sent to {name!r}"
                error = UploadInterrupted(told, to_frame([], {}))
            if isinstance(error, (QframeError, UploadInterrupted)):
                # They say what is wrong by themselves; what they went through holds all points.
                error.__traceback__ = None
            self._error = error
            is_seen = self._drawer is not None and self._watch.is_shown
            if not (is_seen or isinstance(error, UploadInterrupted)):
                log.warning(
                    "the job that uploads to %r failed, as its result() tells: %s", name, error
                )
        self._report = report
        with self._lock:
            self._ended.set()
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            with contextlib.suppress(RuntimeError):  # its loop is closed, and nobody waits there
                tell()

    def _draw_in(self, loop: AbstractEventLoop) -> None:
        """Draw now and then in the loop of a kernel, which is free between its cells."""
        try:
            self._show()
        finally:  # after a Ctrl-C too
            if not self._is_shown:
                loop.call_later(STEP, self._draw_in, loop)

    def _show(self) -> None:
        """Draw, in the one thread that may."""
        if self._drawer != threading.get_ident() or self._is_shown:
            return
        if self.done:
            self._is_shown = True
            self._watch.end(self._report, self._error)
        else:
            self._watch.draw()


def _cancelled(stop: UploadInterrupted) -> BaseException:
    """Return the interrupt as one that ends the task that awaits, which counts as cancelled.

    asyncio lets every other KeyboardInterrupt of a task end its loop too, and that is the kernel's.
    """
    from asyncio import CancelledError

    # It is shown by the name that is known.
    both = type(UploadInterrupted.__name__, (UploadInterrupted, CancelledError), {})
    interrupted: BaseException = both(*stop.args)
    return interrupted
