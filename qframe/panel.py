"""Progress in a notebook: a panel that lives while its upload does, and what is left of it.

A widget that is saved says nothing when its notebook is opened again. So it stands in an output
that has an id, and at the end HTML takes its place there. Below it a line tells now and then how
far a long upload is, and that one is saved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from typing import Any

from qframe import markup, showing
from qframe.display import Display, Ending
from qframe.figures import cut, sparkline
from qframe.progress import CAUSES, WORKERS, Live, Phase

DRAW_SECONDS = 0.1
"""Between two drawings: ten a second keep a browser busy for a fifth of a core, and an eye does not
follow more. Servers drop output above 1,000 messages a second."""

KEPT_SECONDS = 10.0
"""Between two notes of how far it is, for a notebook that is saved while an upload runs. Each of
them is a change of the notebook, which a front end may keep for ever."""

LONGEST = 200
"""Characters of an error that are shown; the report has those that were not mended in full."""

LINE_FROM = 8
"""Spans of time from which on throughput is shown as a line: fewer are a blot."""

NO_WIDGETS = (
    "This is a text, as ipywidgets is not installed: %pip install ipywidgets brings a panel with a "
    "Stop button, once the kernel is restarted."
)

NOTHING = {"text/plain": "", "text/html": ""}

WIDGET = "application/vnd.jupyter.widget-view+json"


def notebook_display(*, block: bool) -> Display:
    """Return what shows progress in a notebook: a panel where there can be one.

    Parameters
    ----------
    block : bool
        Whether the cell runs until the upload has ended.
    """
    try:
        has_widgets = importlib.util.find_spec("ipywidgets") is not None
    except (ImportError, ValueError):  # hidden on purpose
        has_widgets = False
    return Panel(block=block) if has_widgets else Page(block=block)


def panel(live: Live, *notes: str) -> str:
    """Return what is shown while an upload runs, as markup; `notes` are text."""
    event, look = live.event, live.look
    head = f"{markup.strong(event.collection)} → {markup.text(event.target)}"
    if live.phase is Phase.CHECKING:
        return markup.box("panel", markup.line(head), markup.line(markup.text(live.phase.value)))
    speed = markup.text(" · ".join(live.speed() or [live.phase.value]))
    rows = [("speed", speed)]
    if len(live.line) >= LINE_FROM:
        rows.append(("over time", markup.faint(sparkline(live.line))))
    rows.append(("requests", markup.text(" · ".join(live.batches()))))
    if trouble := live.trouble():
        rows.append(("trouble", markup.text(" · ".join(trouble))))
    if look.causes:
        found = [f"{one.count:,} × {cut(one.example, LONGEST)}" for one in look.causes[:CAUSES]]
        rows.append(("errors", "<br>".join(map(markup.text, found))))
    at = [f"{one.worker}: {one.text(event.seconds)}" for one in look.workers[:WORKERS]]
    if len(look.workers) > WORKERS:
        at.append(f"and {len(look.workers) - WORKERS} more")
    rows.append(("workers", "<br>".join(map(markup.text, at))))
    return markup.box(
        "panel",
        markup.line(head),
        markup.bar(event.done, event.total, f"points of {event.collection} sent"),
        markup.line(markup.text(live.done())),
        markup.pairs(rows),
        *(markup.line(markup.text(note)) for note in notes),
    )


def ended(ending: Ending, *, block: bool) -> dict[str, str]:
    """Return what stays of an upload, as a bundle of media types."""
    if ending.report is not None:
        view = showing.show(ending.report if ending.error is None else ending.error)
        return {"text/plain": view.text, "text/html": view.html}
    error = ending.error
    sentence = f"{ending.event.collection}: nothing was sent"
    if error is not None:  # which an upload that blocks raises right below
        sentence += f" ({type(error).__name__}" + (")" if block else f": {error})")
    lines = (markup.line(markup.text(line)) for line in sentence.splitlines())
    return {"text/plain": sentence, "text/html": markup.box("report", *lines)}


def kept(live: Live) -> dict[str, str]:
    """Return what a notebook keeps of an upload that runs while it is saved.

    A widget is not saved, and whoever opens the notebook without its kernel sees none.
    """
    when = time.strftime("%X")
    text = f"kept for a saved notebook: {live.event.collection}, {live.done()} at {when}"
    return {"text/plain": text, "text/html": markup.line(markup.faint(text))}


def put(bundle: dict[str, Any]) -> Any:
    """Make an output of the cell; return the handle by which it is changed."""
    from IPython.display import display

    return display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]


class Page(Display):
    """Text in an output of a cell, drawn anew.

    Parameters
    ----------
    block : bool
        Whether the cell runs until the upload has ended.
    """

    every = DRAW_SECONDS

    def __init__(self, *, block: bool) -> None:
        self._block = block
        self._handle: Any = None

    def draw(self, live: Live) -> None:
        text = f"{live.sentence()}\n{NO_WIDGETS}"
        self._show({"text/plain": text, "text/html": panel(live, NO_WIDGETS)})

    def end(self, ending: Ending) -> None:
        if self._handle is None and ending.report is None:
            return
        text = ending.event.sentence()
        bundle = {"text/plain": text, "text/html": markup.line(markup.text(text))}
        try:
            bundle = ended(ending, block=self._block)
        finally:  # a panel that looks as if it went on would say what is not so
            self._show(bundle)
            self._leave(bundle)

    def _leave(self, bundle: dict[str, str]) -> None:
        """Give up what drew, once the end is shown."""

    def _show(self, bundle: dict[str, Any]) -> None:
        if self._handle is None:
            self._handle = put(bundle)
        else:
            self._handle.update(bundle, raw=True)


class Panel(Page):
    """A widget in an output of a cell, with a button where a click reaches the kernel.

    Parameters
    ----------
    block : bool
        Whether the cell runs until the upload has ended. Then only kernels that answer the front
        end in threads of their own are told of a click meanwhile; ■ reaches all of them.
    """

    def __init__(self, *, block: bool) -> None:
        super().__init__(block=block)
        self._box: Any = None
        self._note: Any = None
        self._noted = 0.0
        self._is_stopping = False

    def draw(self, live: Live) -> None:
        if self._box is None:
            self._open(live)
        else:
            self._html.value = panel(live)
        if live.event.seconds - self._noted >= KEPT_SECONDS:
            self._noted = live.event.seconds
            self._keep(kept(live))
        if self._is_stopping:
            self._button.description = "Stopping"
            self._button.disabled = True
        elif self._button.layout.display == "none" and (not self._block or clicks_arrive()):
            self._button.layout.display = ""

    def _leave(self, bundle: dict[str, str]) -> None:
        if self._box is None:
            return
        if self._note is not None:
            self._keep(NOTHING)
        self._button.close()
        if self._block:
            self._html.close()
            self._box.close()
        else:  # a page that was loaded anew has the widget, and no output that could be replaced
            self._html.value = bundle["text/html"]

    def _open(self, live: Live) -> None:
        import ipywidgets

        self._html = ipywidgets.HTML(panel(live))
        self._button = ipywidgets.Button(
            description="Stop",
            tooltip="End the upload; the report says what has arrived",
            layout=ipywidgets.Layout(display="none"),
        )
        self._button.add_class("qframe-stop")
        self._button.on_click(self._clicked)
        route_clicks(self._button.comm)
        self._box = ipywidgets.VBox([self._html, self._button])
        view = self._box._repr_mimebundle_()
        text = f"{live.event.collection}: upload under way"
        self._show({"text/plain": text, "text/html": markup.text(text), WIDGET: view[WIDGET]})
        if not self._block:  # while its cell runs, for later it might come to stand in another one
            self._keep(NOTHING)

    def _keep(self, bundle: dict[str, Any]) -> None:
        if self._note is None:
            self._note = put(bundle)
        else:
            self._note.update(bundle, raw=True)

    def _clicked(self, button: object) -> None:
        # In whatever thread: what is to be seen of it is drawn with the next drawing.
        self._is_stopping = True
        self.stop()


def route_clicks(comm: Any) -> None:
    """Have the kernel hand on messages of a widget where the front end sends them.

    ipykernel 7.4 hands them to the shell that last wrote to the widget instead, and that one is
    busy with the cell. The hook is private: without it ■ is what stops.
    """
    if hasattr(comm, "_reply_subshell_for"):
        with contextlib.suppress(Exception):
            comm._reply_subshell_for = lambda data, default: default


def clicks_arrive() -> bool:
    """Whether a click reaches the kernel while a cell runs.

    It does where the front end has opened subshells (ipykernel 7.1 and later), which it does some
    50 ms after a widget was shown.
    """
    from ipykernel._version import version_info
    from IPython import get_ipython

    try:
        shells = get_ipython().kernel.shell_channel_thread.manager.list_subshell()
    except AttributeError:  # an older kernel
        return False
    return version_info[:2] >= (7, 1) and bool(shells)
