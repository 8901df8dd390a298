"""The picture of a timeline, by matplotlib alone: no pyplot, whose state would keep each figure."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from qframe.figures import duration
from qframe.timeline import Spans, Timeline

SIZE = (9.0, 5.6)
"""Inches; 900 pixels are what a notebook shows without making them smaller."""

WAITING, ENCODING, SENDING = "#9a9a9a", "#e69f00", "#3b82c4"
"""Told apart by people who do not see some colours, and on black as on white. Each kind also has a
height of its own, so that none is needed."""

PLAIN: Any = {"frameon": False, "fontsize": "small"}

WIDE = 30.0
"""Ratio of the longest latency to the shortest from which on their axis is logarithmic."""


class Drawing(Figure):
    """A figure that a notebook shows, without ``%matplotlib`` and without pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def draw(
    told: Timeline, title: str, figure: Figure | SubFigure | None = None
) -> Figure | SubFigure:
    """Draw a timeline into a figure, or into a new one."""
    if figure is None:
        figure = Drawing(figsize=SIZE, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium", parse_math=False)
    if not told.workers:
        return figure
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 2), width_ratios=(5, 2))
    time = figure.add_subplot(grid[0, 0])
    _draw_workers(time, told)
    _draw_throughput(figure.add_subplot(grid[1, 0], sharex=time), told)
    _draw_latencies(figure.add_subplot(grid[1, 1]), told)
    corner = figure.add_subplot(grid[0, 1])
    corner.set_axis_off()
    corner.legend(*time.get_legend_handles_labels(), loc="upper left", **PLAIN)
    return figure


def _draw_workers(axes: Axes, told: Timeline) -> None:
    ink = mpl.rcParams["text.color"]
    _bars(axes, told.waiting, 0.12, WAITING, "waiting")
    _bars(axes, told.encoding, 0.4, ENCODING, "encoding")
    _bars(axes, told.sending, 0.75, SENDING, "sending")
    _bars(axes, told.repeated, 0.75, SENDING, "sending again", hatch="/////", edge=ink)
    failed = told.failed
    if len(failed.rows):
        axes.scatter(
            failed.starts, failed.rows, marker="X", s=60, c=ink, zorder=5, label="did not arrive"
        )
    axes.set_ylim(len(told.workers) - 0.4, -0.6)
    axes.set_xlim(0, told.seconds or 1)
    places = range(0, len(told.workers), 1 + len(told.workers) // 16)
    axes.set_yticks(places, [f"{told.workers[place]}" for place in places])
    axes.set_ylabel("worker")
    axes.tick_params(labelbottom=False)
    _bare(axes)


def _bars(
    axes: Axes,
    spans: Spans,
    height: float,
    colour: str,
    label: str,
    *,
    hatch: str | None = None,
    edge: str = "none",
) -> None:
    """Draw all spans of one kind, as one thing."""
    if not len(spans.rows):
        return
    x = np.stack([spans.starts, spans.stops, spans.stops, spans.starts], axis=1)
    y = spans.rows[:, None] + np.array([-1, -1, 1, 1]) * height / 2
    axes.add_collection(
        PolyCollection(
            list(np.stack([x, y], axis=2)),
            facecolors=colour,
            edgecolors=edge,
            linewidths=0.6 if hatch else 0,
            hatch=hatch,
            label=label,
        )
    )


def _draw_throughput(axes: Axes, told: Timeline) -> None:
    axes.stairs(told.rates, told.edges, fill=True, color=SENDING, alpha=0.8)
    mean = float((told.rates * np.diff(told.edges)).sum()) / (told.seconds or 1)
    if mean:
        axes.axhline(mean, color=mpl.rcParams["text.color"], linestyle="--", linewidth=1)
        axes.annotate(
            f"{mean:,.0f} on average",
            (1, mean),
            (-3, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize="small",
        )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_rate))
    axes.set_xlabel("seconds after the beginning")
    axes.set_ylabel("points/s")
    _bare(axes)


def _draw_latencies(axes: Axes, told: Timeline) -> None:
    taken = told.latencies[told.latencies > 0]
    axes.set_xlabel("a batch took")
    axes.set_ylabel("batches")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _bare(axes)
    if not len(taken):
        return
    low, high = taken.min(), taken.max()
    count = min(30, max(5, len(taken) // 4))
    if high > WIDE * low:
        axes.set_xscale("log")
        is_short = high < 2 * WIDE * low  # of more, the labels would touch
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if is_short else (1.0,)))
        bins = np.geomspace(low, high, count + 1)
    else:
        bins = np.linspace(low, high, count + 1) if high > low else np.array([0.9, 1.1]) * low
        axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.hist(taken, bins=bins.tolist(), color=SENDING, alpha=0.8)
    axes.xaxis.set_major_formatter(FuncFormatter(_span))
    axes.xaxis.set_minor_formatter(NullFormatter())
    half, most = np.percentile(taken, [50, 95])
    ink = mpl.rcParams["text.color"]
    for seconds, style, name in ((half, "--", "p50"), (most, ":", "p95")):
        label = f"{name} {duration(seconds)}"
        axes.axvline(seconds, color=ink, linestyle=style, linewidth=1.2, label=label)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), **PLAIN)


# Functions of the module, so that a figure can be pickled.


def _rate(rate: float, _: int | None) -> str:
    return f"{rate:,.0f}"


def _span(seconds: float, _: int | None) -> str:
    return duration(seconds)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
