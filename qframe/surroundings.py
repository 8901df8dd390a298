"""Where an upload is looked at: in a notebook, on a terminal, or in a log."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

from qframe.display import Bar, Called, Display, Lines, Silent
from qframe.errors import InputError
from qframe.progress import Progress

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


def choose(progress: Progress, *, block: bool = True) -> Display:
    """Return the display that ``progress`` asks for.

    Parameters
    ----------
    progress : {"auto"}, bool or callable
        "auto" and True look where the output goes: a notebook, a terminal, or a file. False is
        silent. A callable is given a `ProgressEvent` for each batch and one at the end.
    block : bool
        Whether the caller waits for the end; else a bar would run into what is typed meanwhile.
    """
    if progress is False:
        return Silent()
    if callable(progress):
        return Called(progress)
    if progress is not True and progress != "auto":
        raise InputError(f"progress={progress!r}: 'auto', True, False or a callable")
    if in_notebook() and (block or loop_between_cells() is not None):
        from qframe.panel import notebook_display

        return notebook_display(block=block)
    is_typed_at = hasattr(sys, "ps1") or "IPython" in sys.modules
    return Bar() if _on_terminal() and (block or not is_typed_at) else Lines()


def in_notebook() -> bool:
    """Whether a cell of a notebook is calling, in the thread that may draw there.

    Outputs of other threads get lost, or their cell does (ipykernel 7.0).
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    is_main = threading.current_thread() is threading.main_thread()
    return shell is not None and hasattr(shell, "kernel") and is_main


def loop_between_cells() -> AbstractEventLoop | None:
    """Return the loop that draws what goes on while no cell runs; None where there is none.

    A cell of ipykernel runs in it, what a debugger or a toolkit's own loop calls need not.
    """
    if not in_notebook():
        return None
    import asyncio

    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _on_terminal() -> bool:
    """Whether a bar can be seen: tqdm draws nothing on a terminal that has no width."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except OSError:  # a terminal in name only, whose width nobody knows
        return True
