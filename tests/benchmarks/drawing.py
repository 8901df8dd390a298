"""What it costs to show an upload in a notebook.

``python -m tests.benchmarks.drawing`` uploads the same frame in a kernel over gRPC to a server that
discards, in turn with the panel and in silence, and then frames of several lengths with the panel.
The kernel is a real one, and so is the widget; only a browser is missing, which has a processor of
its own to draw with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

from tests.benchmarks.discard import discarding_server
from tests.benchmarks.spread import Spread, spread, table

ROOT = Path(__file__).parents[2]

SIZE = 384
PAIRED = 1_000_000
LENGTHS = (100_000, 1_000_000, 10_000_000)

SETUP = """
import gc, json, time
import numpy as np, pandas as pd, qframe
from qframe.panel import Panel
from qframe.watch import Watch

draws = []
plain = Watch.draw

def timed(watch):
    began = time.perf_counter()
    plain(watch)
    draws.append((time.perf_counter() - began, len(panels[-1]._html.value) if panels else 0))

panels = []
opened = Panel._open
Watch.draw = timed
Panel._open = lambda panel, live: (opened(panel, live), panels.append(panel))[0]

def run(rows, size, progress):
    # All rows share one block of vectors, so that ten million of them fit into memory.
    block = np.random.default_rng(0).random((min(rows, 100_000), size), dtype=np.float32)
    vectors = np.broadcast_to(block, (rows // len(block), *block.shape)).reshape(-1, size)
    frame = pd.DataFrame({{"n": np.arange(rows)}})
    gc.collect()
    draws.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    frame.qdrant.upload("films", {url!r}, vectors=vectors, ids="n", progress=progress)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps([wall, cpu, draws]))
"""


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload in a kernel.

    Attributes
    ----------
    rows : int
    wall_s, cpu_s : float
        CPU time is that of the whole kernel.
    draws_s : tuple of float
        How long each drawing kept the thread that draws.
    markup : int
        Characters of the largest of them.
    """

    rows: int
    wall_s: float
    cpu_s: float
    draws_s: tuple[float, ...]
    markup: int

    @property
    def share(self) -> float:
        """Per cent of the upload's time that was spent drawing."""
        return 100 * sum(self.draws_s) / self.wall_s

    @property
    def a_second(self) -> float:
        """Drawings a second."""
        return len(self.draws_s) / self.wall_s


@dataclass(frozen=True, slots=True)
class Drawing:
    """What was measured.

    Attributes
    ----------
    shown, silent : list of Upload
        The same frame, in turn.
    lengths : list of Upload
        Frames of several lengths, all shown.
    """

    shown: list[Upload]
    silent: list[Upload]
    lengths: list[Upload]

    @property
    def shares(self) -> list[float]:
        """Per cent of each upload's time that was spent drawing."""
        return [one.share for one in self.shown]

    @property
    def cpu_shares(self) -> list[float]:
        """Per cent of CPU time that each shown upload took above the silent one beside it."""
        return [
            100 * (one.cpu_s / other.cpu_s - 1)
            for one, other in zip(self.shown, self.silent, strict=True)
        ]


def measure(pairs: int = 5, rows: int = PAIRED, lengths: Sequence[int] = LENGTHS) -> Drawing:
    """Measure all in turn, after an upload of each kind that is not counted."""
    with ExitStack() as stack:
        urls = stack.enter_context(discarding_server(SIZE))
        upload = stack.enter_context(_Kernel(urls["grpc"]))
        for progress in (True, False):
            upload(rows, SIZE, progress)
        shown, silent = [], []
        for _ in range(pairs):
            shown.append(upload(rows, SIZE, True))
            silent.append(upload(rows, SIZE, False))
        stack.close()
        small = stack.enter_context(discarding_server(2))
        upload = stack.enter_context(_Kernel(small["grpc"]))
        upload(max(lengths), 2, True)  # which loads ipywidgets
        return Drawing(shown, silent, [upload(length, 2, True) for length in lengths])


class _Kernel:
    """A kernel that uploads, alive inside the ``with`` block."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> Callable[[int, int, bool], Upload]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._manager, self._client = start_new_kernel(env=environment)
        self._run(SETUP.format(url=self._url))
        return self._upload

    def __exit__(self, *_: object) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel()

    def _upload(self, rows: int, size: int, progress: bool) -> Upload:
        wall, cpu, draws = json.loads(self._run(f"run({rows}, {size}, {progress})"))
        most = max((length for _, length in draws), default=0)
        return Upload(rows, wall, cpu, tuple(seconds for seconds, _ in draws), most)

    def _run(self, code: str) -> str:
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                said.append(message["content"]["text"])

        reply = self._client.execute_interactive(code, output_hook=hear, timeout=600)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))
        return "".join(said)


def to_text(found: Drawing) -> str:
    """Write what was measured as Markdown."""
    first = found.shown[0]
    rates = Spread.of([one.a_second for one in found.shown])
    rows = [
        (
            f"{one.rows:,}",
            f"{one.wall_s:,.1f}",
            f"{one.a_second:.1f}",
            f"{1000 * sum(one.draws_s) / max(1, len(one.draws_s)):.2f}",
            f"{one.markup:,}",
            f"{one.share:.1f} %",
        )
        for one in found.lengths
    ]
    shares, cpu = Spread.of(found.shares), Spread.of(found.cpu_shares)
    return "\n\n".join(
        [
            f"{first.rows:,} x {SIZE} in a kernel, over gRPC, {len(found.shown)} pairs in turn: "
            f"drawn {spread(rates, 1)} times a second, which kept the thread that draws for "
            f"{spread(shares, 2, unit=' %')} of the upload's time. The kernel took "
            f"{spread(cpu, 1, unit=' %')} more CPU time than in silence.",
            "The panel does not grow with the frame (2 numbers a row):",
            table(
                ("rows", "s", "drawings/s", "ms a drawing", "characters", "of the time"),
                rows,
            ),
        ]
    )


if __name__ == "__main__":
    print(to_text(measure()))
