"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.clients import OURS, PEER, said
from tests.benchmarks.comparison import Comparison, Runs
from tests.benchmarks.goals import NAMES, Goal, goals
from tests.benchmarks.spread import Spread, spread, table
from tests.benchmarks.suite import Results

CASE = ("transport", "dims", "columns", "workers", "batch")
"""The columns that say which case a row is."""

VERDICTS = {True: "**reached**", False: "**not reached**", None: "not measured"}


def to_markdown(results: Results) -> str:
    """Write the whole of RESULTS.md."""
    return "\n\n".join(_parts(results)) + "\n"


def _parts(results: Results) -> Iterator[str]:
    machine = results.machine
    packages = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    yield "# What an upload costs, as measured"
    yield (
        f"{results.day.isoformat()}, by `{results.command}`, on {machine.processor}, "
        f"{machine.cores} cores, {machine.memory / 2**30:.0f} GiB of memory, {machine.system}; "
        f"load at the beginning {machine.load:.1f}. {packages}."
    )
    yield (
        "[README.md](README.md) says what is measured and how, and what these figures do not "
        "say: the server discards. A figure is the median, in brackets the least and the greatest. "
        "Ratios are formed pair by pair, within one run; MB are 1,000,000 bytes."
    )
    yield "## Goals"
    yield (
        "Against qdrant-client with 4 columns of payload and 1 worker, in batches of 1,000 for "
        "both, and in each one's default, which is 1,000 here and 64 there. The tables below have "
        "all cases."
    )
    held = goals(results)
    yield table(("goal", "wanted", "measured", "where", ""), map(_goal, held))
    bounds = dict.fromkeys(goal.bound for goal in held if goal.reached is False and goal.bound)
    if bounds:
        yield "What bounds those that are not reached:"
        yield "\n".join(f"- {bound}" for bound in bounds)
    if results.comparisons:
        yield from _clients(results)
    if results.peaks:
        yield "## Memory of a large frame"
        yield (
            "The highest resident memory during an upload, above what was there before it, each in "
            "a process of its own; both as they are called without options."
        )
        yield table(
            ("client", "transport", "rows", "dims", "MB above the frame", "seconds"),
            [
                (
                    peak.client,
                    NAMES[peak.case.transport],
                    f"{peak.case.rows:,}",
                    f"{peak.case.size:,}",
                    f"{peak.watched.above_frame / 1e6:,.0f}",
                    f"{peak.watched.usage.seconds:.1f}",
                )
                for peak in results.peaks
            ],
        )
    if results.line:
        yield "## A straight line"
        yield (
            f"qframe over gRPC, 384 dims, 4 columns, 1 worker, {len(results.line[0].usages)} "
            "uploads of each. What an upload costs whatever its size is left out of the last "
            "column, which is the same in all rows where the cost is a straight line."
        )
        yield table(
            ("rows", "seconds", "1,000 points/s", "CPU µs a point", "CPU µs a further point"),
            map(_line, results.line, [None, *results.line]),
        )
    for each in results.further:
        yield f"## {each.title}"
        yield each.text


def _clients(results: Results) -> Iterator[str]:
    yield "## qframe and qdrant-client"
    yield (
        f"{results.pairs} pairs of each, in turn, after one of each that warms up. The peer's time "
        "holds np.stack and to_dict, ours the mapping. CPU is that of the client's processes."
    )
    yield table(
        (
            *CASE,
            "points",
            "qframe, 1,000 points/s",
            "qdrant-client, 1,000 points/s",
            "ratio",
            "qframe, CPU µs a point",
            "qdrant-client, CPU µs a point",
            "ratio",
        ),
        [
            (
                *_case(each),
                f"{each.case.rows:,}",
                spread(each.ours.points_per_s.times(1e-3), 1),
                spread(each.peer.points_per_s.times(1e-3), 1),
                spread(each.speed_ratio, 2, unit="x"),
                spread(each.ours.cpu_us, 2),
                spread(each.peer.cpu_us, 1),
                spread(each.cpu_ratio, 2, unit="x"),
            )
            for each in results.comparisons
        ],
    )
    yield "## Where qframe's time goes, the limit, and memory"
    yield (
        "Encoding is the CPU time of making all requests without sending any: mapping with all "
        "checks, cutting, and batches to bytes. The limit is the same bytes sent ready-made by as "
        "many workers, after each pair. The server's CPU is given for qframe, qdrant-client and "
        "ready-made bytes; above 100 % it uses several cores. Memory is the highest above what was "
        "there before."
    )
    yield table(
        (
            *CASE,
            "encode µs a point",
            "map + cut + bytes",
            "MB/s",
            "limit MB/s",
            "share of the limit, %",
            "server busy, %",
            "qframe, MB above the frame",
            "qdrant-client, MB above the frame",
        ),
        [
            (
                *_case(each),
                spread(each.encode_us, 2),
                _steps(each),
                spread(each.ours.mb_per_s, 0),
                spread(each.limit.mb_per_s, 0),
                spread(each.share_of_limit.times(100), 0),
                _busy(each),
                f"{each.above_frame[OURS] / 1e6:,.0f}",
                f"{each.above_frame[PEER] / 1e6:,.0f}",
            )
            for each in results.comparisons
        ],
    )
    started = [each for each in results.comparisons if each.peer_starts]
    if started:
        yield "## Without the start of the peer's processes"
        yield (
            "With several workers qdrant-client starts as many processes in each call, which is in "
            "the figures above. What that takes was measured after each pair, with one point a "
            "worker, and is taken off here."
        )
        yield table(
            (
                *CASE,
                "start, s",
                "start, CPU s",
                "ratio of points/s",
                "without the start",
                "ratio of CPU",
                "without the start",
            ),
            [
                (
                    *_case(each),
                    spread(Spread.of([start.seconds for start in each.peer_starts]), 2),
                    spread(Spread.of([start.cpu_s for start in each.peer_starts]), 2),
                    spread(each.speed_ratio, 2, unit="x"),
                    spread(each.without_start().speed_ratio, 2, unit="x"),
                    spread(each.cpu_ratio, 2, unit="x"),
                    spread(each.without_start().cpu_ratio, 2, unit="x"),
                )
                for each in started
            ],
        )


def _goal(goal: Goal) -> tuple[str, ...]:
    relation = "under" if goal.at_most else "at least"
    digits = 2 if goal.unit == "x" else 1
    measured = "" if goal.measured is None else spread(goal.measured, digits, unit=goal.unit)
    return (
        goal.subject,
        f"{relation} {goal.wanted:,g}{goal.unit}",
        measured,
        goal.where,
        VERDICTS[goal.reached],
    )


def _line(runs: Runs, before: Runs | None) -> tuple[str, ...]:
    return (
        f"{runs.points:,}",
        spread(Spread.of([usage.seconds for usage in runs.usages]), 2),
        spread(runs.points_per_s.times(1e-3), 1),
        spread(runs.cpu_us, 2),
        "" if before is None else f"{further_us(before, runs):.2f}",
    )


def further_us(fewer: Runs, more: Runs) -> float:
    """Return the CPU µs of each point that the larger of two uploads has more."""
    cost = more.cpu_us.median * more.points - fewer.cpu_us.median * fewer.points
    return cost / (more.points - fewer.points)


def _case(each: Comparison) -> tuple[str, ...]:
    case = each.case
    return (
        NAMES[case.transport],
        f"{case.size:,}",
        str(case.columns),
        said(case.workers),
        said(case.batch_size),
    )


def _steps(each: Comparison) -> str:
    """Tell the three steps of encoding apart."""
    steps = ("map_s", "cut_s", "encode_s")
    medians = [Spread.of([getattr(one, step) for one in each.encodings]).median for step in steps]
    return " + ".join(f"{seconds / each.case.rows * 1e6:.2f}" for seconds in medians)


def _busy(each: Comparison) -> str:
    return ", ".join(f"{100 * runs.server_busy:.0f}" for runs in (each.ours, each.peer, each.limit))
