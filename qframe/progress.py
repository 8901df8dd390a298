"""Showing how far an upload is: silent, a callable, a bar, plain lines, or a notebook's output.

The thread that called the upload is the only one that draws.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from qframe.errors import InputError
from qframe.report import BatchResult, points_by_status

LINE_SECONDS = 5.0
"""Between two lines where output goes to a file: a line a batch would drown a log."""

DRAW_SECONDS = 0.125
"""Between two drawings in a notebook: servers drop output above 1,000 messages a second, and an
eye does not follow more than a few."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """What an upload has done so far.

    Attributes
    ----------
    collection, target : str
    total : int or None
        Points to be sent; None for a stream, whose end nobody knows.
    points : mapping of str to int
        Points by status, of the batches that have a result.
    bytes : int
        Encoded bytes of these batches.
    retries : int
    throttled_s : float
        Seconds that workers waited because the server asked for it, added up.
    seconds : float
        Since the first batch.
    result : BatchResult or None
        The batch that this event is about; None for the last event.
    finished : bool
        Whether this is the last event.
    stopped : bool
        Whether the upload ended before its end.
    """

    collection: str
    target: str
    total: int | None
    points: Mapping[str, int]
    bytes: int
    retries: int
    throttled_s: float
    seconds: float
    result: BatchResult | None = None
    finished: bool = False
    stopped: bool = False

    @property
    def done(self) -> int:
        """Points that were sent, or tried to, whatever became of them."""
        return sum(self.points.values()) - self.points["unsent"]

    @property
    def arrived(self) -> int:
        """Points that the server took."""
        return self.points["applied"] + self.points["acknowledged"]

    def sentence(self) -> str:
        """Say it in one line of text."""
        if self.total == 0:
            return f"{self.collection}: nothing to send"
        of = "" if self.total is None else f" of {self.total:,}"
        rate = self.arrived / self.seconds if self.seconds > 0 else 0.0
        lead = f"{self.collection}: stopped" if self.stopped else self.collection
        parts = [f"{lead}: {self.arrived:,}{of} points", f"{rate:,.0f} points/s"]
        parts += [
            f"{count:,} {status}"
            for status, count in self.points.items()
            if count and status not in ("applied", "acknowledged")
        ]
        if self.retries:
            parts.append(f"{self.retries:,} {'retry' if self.retries == 1 else 'retries'}")
        if self.throttled_s >= 0.1:
            parts.append(f"throttled {self.throttled_s:.1f} s")
        parts.append(f"{self.seconds:.1f} s")
        return ", ".join(parts)


class Tally:
    """Adds up results into events.

    Parameters
    ----------
    collection, target, total
        As in `ProgressEvent`.
    clock : callable
        Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        collection: str,
        target: str,
        total: int | None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._event = ProgressEvent(collection, target, total, points_by_status([]), 0, 0, 0.0, 0.0)
        self._clock = clock
        self._began = clock()

    def seconds(self) -> float:
        """Return the seconds since this tally was made."""
        return self._clock() - self._began

    def add(self, result: BatchResult) -> ProgressEvent:
        """Count one more result; return the event that tells of it."""
        before = self._event
        points = dict(before.points)
        points[result.status] += result.points
        self._event = dataclasses.replace(
            before,
            points=points,
            bytes=before.bytes + result.bytes,
            retries=before.retries + result.retries,
            throttled_s=before.throttled_s + result.throttled_s,
            seconds=self.seconds(),
            result=result,
        )
        return self._event

    def last(self, *, stopped: bool = False) -> ProgressEvent:
        """Return the event that ends the upload, at its end or before."""
        return dataclasses.replace(
            self._event, seconds=self.seconds(), result=None, finished=True, stopped=stopped
        )


Progress = Literal["auto"] | bool | Callable[[ProgressEvent], object]


class Display(ABC):
    """Something that shows events."""

    @abstractmethod
    def update(self, event: ProgressEvent) -> None:
        """Show one more result."""

    @abstractmethod
    def close(self, event: ProgressEvent) -> None:
        """Show how it ended; called once, on errors too."""


class Silent(Display):
    """Shows nothing."""

    def update(self, event: ProgressEvent) -> None: ...

    def close(self, event: ProgressEvent) -> None: ...


class Called(Display):
    """Hands each event to the caller's own function."""

    def __init__(self, function: Callable[[ProgressEvent], object]) -> None:
        self._function = function

    def update(self, event: ProgressEvent) -> None:
        self._function(event)

    close = update


class Lines(Display):
    """Writes a line every few seconds, and one at the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def update(self, event: ProgressEvent) -> None:
        if self._clock() - self._last >= LINE_SECONDS:
            self._last = self._clock()
            self.close(event)

    def close(self, event: ProgressEvent) -> None:
        print(event.sentence(), file=sys.stderr, flush=True)  # noqa: T201 - this is its purpose


class Bar(Display):
    """A tqdm bar on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def update(self, event: ProgressEvent) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=event.total, desc=event.collection, unit="points", unit_scale=True
            )
        self._bar.update(event.done - self._bar.n)
        notes = {
            status: count
            for status, count in event.points.items()
            if count and status not in ("applied", "acknowledged")
        }
        if event.retries:
            notes["retries"] = event.retries
        self._bar.set_postfix(notes, refresh=False)

    def close(self, event: ProgressEvent) -> None:
        if self._bar is not None:
            if event.stopped:
                self._bar.set_description(f"{event.collection}: stopped", refresh=False)
            self._bar.update(event.done - self._bar.n)
            self._bar.close()


class Output(Display):
    """One output of a notebook's cell, drawn again and again.

    Plain HTML, no widget: a notebook that is opened again shows what it showed last.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = -DRAW_SECONDS
        self._handle: Any = None

    def update(self, event: ProgressEvent) -> None:
        if self._clock() - self._last >= DRAW_SECONDS:
            self._draw(event)

    def close(self, event: ProgressEvent) -> None:
        self._draw(event)

    def _draw(self, event: ProgressEvent) -> None:
        self._last = self._clock()
        bundle = {"text/plain": event.sentence(), "text/html": self._html(event)}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)

    @staticmethod
    def _html(event: ProgressEvent) -> str:
        import html

        length = max(1, event.done if event.total is None else event.total)
        value = "" if event.total is None and not event.finished else f' value="{event.done}"'
        return (
            f'<div><progress max="{length}"{value} style="width:20em" '
            f'aria-label="points sent"></progress> {html.escape(event.sentence())}</div>'
        )


def choose(progress: Progress) -> Display:
    """Return the display that ``progress`` asks for.

    Parameters
    ----------
    progress : {"auto"}, bool or callable
        "auto" and True look where the output goes: a notebook, a terminal, or a file. False is
        silent. A callable is given a `ProgressEvent` for each batch and one at the end.
    """
    if progress is False:
        return Silent()
    if callable(progress):
        return Called(progress)
    if progress is not True and progress != "auto":
        raise InputError(f"progress={progress!r}: 'auto', True, False or a callable")
    if _in_notebook():
        return Output()
    return Bar() if _on_terminal() else Lines()


def _on_terminal() -> bool:
    """Whether a bar can be seen: tqdm draws nothing on a terminal that has no width."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except OSError:  # a terminal in name only, whose width nobody knows
        return True


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")
