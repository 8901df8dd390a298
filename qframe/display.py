"""Where progress is shown outside of notebooks: nowhere, to a function, on a terminal, in a log."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from qframe.figures import duration, size
from qframe.progress import Live, Phase, ProgressEvent

LINE_SECONDS = 5.0
"""Between two lines where output goes to a file: a line a batch would drown a log."""

BAR_SECONDS = 0.1
"""Between two drawings of a bar, which is what tqdm draws at the most."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an upload ended.

    Attributes
    ----------
    event : ProgressEvent
        The last one.
    report : DataFrame or None
        None where it ended before anything was sent.
    error : BaseException or None
        What it raises.
    """

    event: ProgressEvent
    report: pd.DataFrame | None = None
    error: BaseException | None = None


class Display:
    """Shows how far an upload is; this one shows nothing.

    Attributes
    ----------
    every : float
        Seconds between two drawings at the least.
    stop : callable
        Asks the upload to stop, from any thread.
    """

    every: float = math.inf
    stop: Callable[[], None] = staticmethod(lambda: None)

    def hear(self, event: ProgressEvent) -> None:
        """Be told of one more result, and of the end."""

    def draw(self, live: Live) -> None:
        """Show what is to be seen at this moment."""

    def end(self, ending: Ending) -> None:
        """Show how it ended; called once, on errors too."""


class Silent(Display):
    """Shows nothing."""


class Called(Display):
    """Hands each event to the caller's own function."""

    def __init__(self, function: Callable[[ProgressEvent], object]) -> None:
        self._function = function

    def hear(self, event: ProgressEvent) -> None:
        self._function(event)


class Lines(Display):
    """Writes a line every few seconds, and one at the end."""

    every = LINE_SECONDS

    def draw(self, live: Live) -> None:
        if live.event.seconds >= LINE_SECONDS:
            self._write(live.sentence())

    def end(self, ending: Ending) -> None:
        if ending.report is not None:
            self._write(ending.event.sentence())

    @staticmethod
    def _write(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is its purpose


class Bar(Display):
    """A tqdm bar on a terminal."""

    every = BAR_SECONDS

    def __init__(self) -> None:
        self._bar: Any = None

    def draw(self, live: Live) -> None:
        if live.phase is Phase.CHECKING:
            return
        bar = self._open(live.event)
        # What does not fit into the line is cut off at its end.
        notes = [*live.trouble(), f"{size(live.bytes_per_s)}/s", f"{live.look.in_flight} in flight"]
        if live.percentiles is not None:
            half, most = map(duration, live.percentiles)
            notes.append(f"p50 {half}, p95 {most}")
        if live.phase is Phase.SETTLING:
            notes = [live.phase.value, *live.trouble()]
        bar.set_postfix_str(", ".join(notes), refresh=False)
        bar.update(live.event.done - bar.n)
        bar.refresh()

    def end(self, ending: Ending) -> None:
        event = ending.event
        if self._bar is None and ending.report is None:
            return
        bar = self._open(event)
        if event.stopped:
            bar.set_description(f"{event.collection}: stopped", refresh=False)
        bar.set_postfix_str(", ".join(event.trouble()), refresh=False)
        bar.update(event.done - bar.n)
        bar.close()

    def _open(self, event: ProgressEvent) -> Any:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=event.total,
                desc=event.collection,
                unit=" points",
                unit_scale=True,
                bar_format="{l_bar}{bar:10}{r_bar}" if event.total else None,
            )
        return self._bar
