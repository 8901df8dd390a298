"""Watching an upload from its beginning to its end, and stopping it from outside."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Self, TypeVar

import pandas as pd

from qframe.display import Called, Display, Ending
from qframe.errors import UploadInterrupted
from qframe.progress import Look, Phase, ProgressEvent, Tally
from qframe.report import BatchResult, points_by_status
from qframe.run import Run
from qframe.ways import stopped

T = TypeVar("T")

log = logging.getLogger("qframe")

STEP = 0.1
"""Seconds between two looks while something is waited for."""

PATIENCE = 0.5
"""Seconds before the first drawing, and of sending before the next: to open a panel takes 10 ms,
and 150 to load what it is made of, which an upload that is over by then does not need."""

LONG = 100_000
"""Rows whose checking may take long enough to be seen; 384 float32 numbers a row take 0.1 s."""


class Watch:
    """Everything between an upload and whoever looks at it.

    The thread that uploads counts. It also draws, unless `draws` is False: then another thread
    calls `draw`, and `end` when the upload is over. An error of the display costs the upload
    nothing; the first one is kept.

    Parameters
    ----------
    display : Display
    collection, target : str
    draws : bool
        Whether the thread that uploads draws as well.

    Attributes
    ----------
    error : Exception or None
        What the display, or the caller's own function, ended with.
    so_far : callable or None
        Makes the report of what is known at this moment.
    """

    def __init__(
        self, display: Display, collection: str, target: str, *, draws: bool = True
    ) -> None:
        self._display = display
        display.stop = self.stop
        self._collection = collection
        self._target = target
        self.draws = draws
        self._phase = Phase.CHECKING
        self._tally = self._new_tally(None, _since(time.perf_counter()))
        self._look: Callable[[], Look] = Look
        self._due = time.monotonic() + PATIENCE if self.is_shown else math.inf  # when to draw next
        self._stop = threading.Event()
        self._is_stopping = False
        self._events: deque[ProgressEvent] = deque()
        self._last: ProgressEvent | None = None
        self._aside: threading.Thread | None = None
        self._left = threading.Event()  # nobody waits for that thread any more
        self._run: Run | None = None
        self.error: Exception | None = None
        self.so_far: Callable[[], pd.DataFrame] | None = None

    def tell_of(self, story: Callable[[Self], pd.DataFrame]) -> pd.DataFrame:
        """Watch an upload until it has ended; return its report, or raise what it raises.

        A Ctrl-C at whatever moment loses no report.
        """
        __tracebackhide__ = True
        try:
            report = story(self)
        except BaseException as error:
            told = self._told(error)
            if self.draws:
                with contextlib.suppress(KeyboardInterrupt):  # the upload raises all the same
                    self.end(getattr(told, "report", None), told)
            if told is error:
                raise
            raise told from None
        try:
            if self.draws:
                self.end(report)
        except KeyboardInterrupt:
            raise UploadInterrupted(stopped(report), report) from None
        return report

    def follow(self, run: Run, so_far: Callable[[], pd.DataFrame]) -> None:
        """Note what is sent from now on, and what makes the report of it at any moment."""
        self._run, self.so_far = run, so_far

    def stop(self) -> None:
        """Ask the upload to stop, from any thread; what it is at is brought to an end."""
        self._stop.set()

    def check(self, rows: int) -> None:
        """Note that a frame of so many rows is being checked."""
        if rows >= LONG and self.draws and self.is_shown:
            self.draw()

    def begin(
        self, total: int | None, clock: Callable[[], float], look: Callable[[], Look]
    ) -> None:
        """Note that points are being sent from now on.

        Parameters
        ----------
        total : int or None
            Points; None for a stream.
        clock : callable
            Seconds since the first batch.
        look : callable
            Tells what the workers are at.
        """
        self._tally = self._new_tally(total, clock)
        self._look = look
        self._phase = Phase.SENDING
        self._due = max(self._due, time.monotonic() + PATIENCE)

    def count(self, result: BatchResult) -> None:
        """Count one more result."""
        self._events.append(self._tally.add(result))

    def tell(self) -> None:
        """Tell whoever listens of what was counted; what that raises, but errors, is raised."""
        while self._events:
            self._hear(self._events.popleft())

    def tick(self) -> None:
        """Draw if it is time to; raise KeyboardInterrupt, once, when a stop was asked for."""
        if self._stop.is_set() and not self._is_stopping:
            self._is_stopping = True
            raise KeyboardInterrupt
        if self.draws and time.monotonic() >= self._due:
            self.draw()

    def settle(self, action: Callable[[], T]) -> T:
        """Do what waits until the server has applied everything."""
        self._phase = Phase.SETTLING
        return self.wait_for(action)

    def wait_for(self, action: Callable[[], T]) -> T:
        """Do what waits for the server, in a thread of its own, so that one can see and stop it."""
        here = threading.current_thread()
        is_reached = not self.is_shown and here is threading.main_thread()  # by Ctrl-C
        if is_reached or here is self._aside:
            return action()
        done: list[T] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                done.append(action())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="qframe-request", daemon=True)
        self._aside = thread
        try:
            thread.start()
            thread.join(STEP)  # most of it is over by then, and nothing to be seen
            while thread.is_alive():
                self.tick()
                thread.join(STEP)
        except BaseException:
            self._left.set()
            raise
        if failed:
            raise failed[0]
        return done[0]

    def sleep(self, seconds: float) -> None:
        """Wait, and go on drawing; the thread of `wait_for` only waits, until it is left."""
        if threading.current_thread() is self._aside:
            if self._left.wait(seconds):
                raise KeyboardInterrupt  # its store is closed
            return
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.tick()
            time.sleep(min(left, STEP))

    def finish(self, run: Run) -> None:
        """Tell of the end, once nothing more will be known."""
        run.is_over = True
        self._events.clear()  # of what was given up: the last one counts it
        # Counted anew: a Ctrl-C may have come between a result and its count.
        points = points_by_status(result for result in run.results if not result.is_earlier)
        is_stopped = run.ended_early or run.cause is not None
        self._last = self._tally.last(points, stopped=is_stopped)
        with run.interruptible():
            self._hear(self._last)
        if isinstance(self._display, Called):  # a mistake of the caller's own
            run.display_error = self.error

    @property
    def is_shown(self) -> bool:
        """Whether somebody may be looking."""
        return self._display.every < math.inf

    @property
    def event(self) -> ProgressEvent:
        """What is known at this moment."""
        return self._last or self._tally.live(self._phase, Look()).event

    def draw(self) -> None:
        """Show what is to be seen at this moment; called by one thread only."""
        self._due = time.monotonic() + self._display.every
        self._guard(lambda: self._display.draw(self._tally.live(self._phase, self._look())))

    def end(self, report: pd.DataFrame | None, error: BaseException | None = None) -> None:
        """Show how it ended; called by the thread that draws.

        Parameters
        ----------
        report : DataFrame or None
            None where it ended before anything was sent.
        error : BaseException or None
            What the upload raises.
        """
        # A button of a notebook, or a job, may outlive the upload, and is not to hold its points.
        self._look, self._run = Look, None
        if report is not None:
            self.so_far = lambda: report
        ending = Ending(self.event, report, error)
        self._guard(lambda: self._display.end(ending), last=True)

    def _told(self, error: BaseException) -> BaseException:
        """Return what is raised for an error: after a Ctrl-C, what carries the report so far."""
        run, so_far = self._run, self.so_far
        is_told = isinstance(error, UploadInterrupted) or not isinstance(error, KeyboardInterrupt)
        if is_told or run is None or so_far is None:
            return error
        run.cause, run.is_over = error, True
        reports: list[pd.DataFrame] = []
        run.persist(lambda: reports.append(so_far()))
        return UploadInterrupted(stopped(reports[0]), reports[0])

    def _hear(self, event: ProgressEvent) -> None:
        self._guard(lambda: self._display.hear(event))

    def _guard(self, action: Callable[[], object], *, last: bool = False) -> None:
        """Go on without a display that fails."""
        if self.error is None or last:
            try:
                action()
            except Exception as error:
                log.warning("the progress display failed, the upload goes on", exc_info=error)
                self.error = self.error or error

    def _new_tally(self, total: int | None, clock: Callable[[], float]) -> Tally:
        return Tally(self._collection, self._target, total, clock)


def _since(began: float) -> Callable[[], float]:
    return lambda: time.perf_counter() - began
