"""A small run of the benchmarks, without asserting times, and what is made of their figures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.benchmarks import clients
from tests.benchmarks.__main__ import RESULTS, read_arguments
from tests.benchmarks.bodies import Encoding
from tests.benchmarks.clients import Case, Upload, Urls
from tests.benchmarks.comparison import Comparison, Runs, compare
from tests.benchmarks.contestant import Watched
from tests.benchmarks.frames import make_frame
from tests.benchmarks.further import DRAWING, EMBEDDED, IMPORT, Further
from tests.benchmarks.goals import goals
from tests.benchmarks.machine import this_machine, versions
from tests.benchmarks.memory import Peak
from tests.benchmarks.report import to_markdown
from tests.benchmarks.spread import Spread
from tests.benchmarks.suite import FULL, Profile, Results, run
from tests.benchmarks.usage import Usage, measure

TINY = Profile(
    ("clients", "line"),
    sizes=(16,),
    columns=(12,),
    workers=(1,),
    batch_sizes=(500,),
    pairs=2,
    scale=0.01,
    line_rows=(100, 1000),
)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Read the rows of the first table under each heading."""
    found: dict[str, list[list[str]]] = {}
    for part in text.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
        found[part.splitlines()[0]] = rows
    return found


def case(**changes: Any) -> Case:
    """Make a case, by default the one that goals are judged by."""
    return replace(Case("grpc", 384, 4, 1, 1000, 1000), **changes)


def comparison(of: Case, *, ours: float, peer: float, limit: float = 0.1) -> Comparison:
    """Make a comparison of two pairs in which everybody took this many seconds, all of them CPU."""

    def runs(seconds: float) -> Runs:
        return Runs(of.rows, 2_000_000, (Usage(seconds, seconds),) * 2, (0.1, 0.1))

    above = dict.fromkeys(clients.CLIENTS, 10**7)
    starts = (Usage(0.5, 0.25),) * 2 if of.has_processes else ()
    return Comparison(
        of, runs(ours), runs(peer), runs(limit), (Encoding(0.1, 0.2, 0.3),), above, starts
    )


def peak(client: str, of: Case, above: int) -> Peak:
    """Make a peak of so many bytes."""
    return Peak(client, of, Watched(Usage(1.0, 1.0), above))


def results(*comparisons: Comparison, **others: Any) -> Results:
    """Make results of these."""
    made = Results("python", date(2026, 1, 2), this_machine(), versions(), 2, list(comparisons))
    return replace(made, **others)


def test_a_small_run() -> None:
    """Both clients and ready-made bytes bring all points over both transports; all is measured."""
    said: list[str] = []
    found = run(TINY, "python -m tests.benchmarks --tiny", said.append)
    assert [each.case.transport for each in found.comparisons] == ["grpc", "rest"]
    assert len(said) == 3
    for each in found.comparisons:
        for runs in (each.ours, each.peer, each.limit):
            assert len(runs.usages) == 2
            assert runs.points == each.case.rows == 1000
            assert runs.bytes > each.case.rows * each.case.size * 4
            assert all(usage.seconds > 0 and usage.cpu_s > 0 for usage in runs.usages)
        assert each.ours.bytes == each.limit.bytes
        assert all(min(one.map_s, one.cut_s, one.encode_s) > 0 for one in each.encodings)
        assert set(each.above_frame) == {"qframe", "qdrant-client"}
        assert each.share_of_limit.low > 0
    assert [runs.points for runs in found.line] == [100, 1000]
    text = to_markdown(found)
    assert "`python -m tests.benchmarks --tiny`" in text
    assert len(tables(text)["A straight line"]) == 2


@contextmanager
def careless(urls: Urls, case: Case) -> Iterator[Upload]:
    """Make a client that is fast by leaving out points."""
    with clients.peer(urls, case) as upload:
        yield lambda frame: upload(frame.head(len(frame) - 1))


def test_a_run_that_loses_points_is_no_result() -> None:
    """A client that leaves out points is found out."""
    with pytest.raises(RuntimeError, match="qdrant-client: 99 of 100 points arrived"):
        compare(case(size=8, rows=100), 1, peer=careless)


def test_the_report_has_a_row_for_each_case() -> None:
    """Every case stands in every table that is meant for it, with ratios of ours and theirs."""
    cases = replace(FULL, scale=0.01).cases()
    assert len(cases) == len(set(cases)) == 32
    text = to_markdown(
        results(
            *(comparison(each, ours=1.0, peer=4.0) for each in cases),
            peaks=[peak("qframe", case(rows=10**6, workers=None), 57 * 10**6)],
            line=[
                Runs(10_000, 10**7, (Usage(0.2, 0.1),) * 2, (0.1, 0.1)),
                Runs(110_000, 10**8, (Usage(2.2, 2.1),) * 2, (0.1, 0.1)),
            ],
            further=[Further("Cold start", "It starts.")],
        )
    )
    found = tables(text)
    speed = found["qframe and qdrant-client"]
    assert len({tuple(row[:5]) for row in speed}) == 32
    assert all(row[8] == row[11] == "4.00x" for row in speed)
    assert len(found["Where qframe's time goes, the limit, and memory"]) == 32
    without = found["Without the start of the peer's processes"]
    assert len(without) == 16
    assert all(row[7:] == ["4.00x", "3.50x", "4.00x", "3.75x"] for row in without)
    assert found["Memory of a large frame"][0][4] == "57"
    assert [row[4] for row in found["A straight line"]] == ["", "20.00"]
    assert text.endswith("## Cold start\n\nIt starts.\n")
    assert "2026-01-02" in text
    assert f"qdrant-client {versions()['qdrant-client']}" in text


def test_goals_are_judged_by_the_figures() -> None:
    """A goal is reached from its figure on, for each batch size by itself."""
    grpc, large, rest = case(), case(size=1536), case(transport="rest", batch_size=None)
    found = results(
        comparison(grpc, ours=1.0, peer=6.0),
        comparison(replace(grpc, batch_size=None), ours=1.0, peer=7.0),
        comparison(replace(grpc, columns=12), ours=1.0, peer=1.0),
        comparison(large, ours=1.0, peer=9.0, limit=0.75),
        comparison(replace(large, batch_size=None), ours=1.0, peer=3.99, limit=0.5),
        comparison(rest, ours=1.0, peer=3.99),
        peaks=[
            peak("qframe", case(rows=10**6), 99 * 10**6),
            peak("qframe", case(rows=10**6, transport="rest"), 100 * 10**6),
            peak("qdrant-client", case(rows=10**5), 2 * 10**9),
        ],
        further=[
            Further("Embedded", "", {EMBEDDED: Spread.of([30.0])}),
            Further("Start", "", {IMPORT: Spread.of([50.0])}),
            Further("Drawing", "", {DRAWING: Spread.of([2.9])}),
        ],
    )
    fixed, default = "batches 1,000", "batches default"
    judged = {(goal.subject, goal.where): goal.reached for goal in goals(found)}
    assert judged == {
        ("gRPC, 384 dims: points/s", fixed): True,
        ("gRPC, 384 dims: points/s", default): True,
        ("gRPC, 384 dims: CPU a point", fixed): True,
        ("gRPC, 384 dims: CPU a point", default): True,
        ("gRPC, 1,536 dims: points/s", fixed): True,
        ("gRPC, 1,536 dims: points/s", default): False,
        ("gRPC, 1,536 dims: CPU a point", fixed): True,
        ("gRPC, 1,536 dims: CPU a point", default): False,
        ("REST, 384 dims: points/s", default): False,
        ("REST, 384 dims: CPU a point", default): False,
        ("REST, 1,536 dims: points/s", ""): None,
        ("REST, 1,536 dims: CPU a point", ""): None,
        ("gRPC, 1,536 dims: share of the limit", fixed): True,
        ("gRPC, 1,536 dims: share of the limit", default): False,
        ("memory above the frame, 1,000,000 x 384", ""): False,
        ("the same of qdrant-client, for comparison", ""): None,
        ("embedded engine against qdrant-client's local mode on disk, 20,000 x 384", ""): True,
        ("import qframe after pandas", ""): False,
        ("drawing in a notebook, of an upload's time", ""): True,
    }
    rows = {(row[0], row[3]): row for row in tables(to_markdown(found))["Goals"]}
    assert set(rows) == set(judged)
    assert rows["gRPC, 384 dims: points/s", fixed][1:] == [
        "at least 6x",
        "6.00x",
        fixed,
        "**reached**",
    ]
    assert rows["import qframe after pandas", ""][1:] == [
        "under 50 ms",
        "50.0 ms",
        "",
        "**not reached**",
    ]
    assert rows["REST, 1,536 dims: points/s", ""][2:] == ["", "", "not measured"]


def test_a_median_stands_with_its_spread() -> None:
    """Ratios are those of the pairs, not that of two medians."""
    usages = [Usage(1.0, 1.0), Usage(2.0, 1.0), Usage(4.0, 1.0)]
    ours = Runs(10, 10, tuple(usages), (0.1,) * 3)
    peer = Runs(10, 10, tuple(reversed(usages)), (0.1,) * 3)
    made = replace(comparison(case(), ours=1.0, peer=1.0), ours=ours, peer=peer)
    assert made.speed_ratio == Spread(1.0, 0.25, 4.0)
    assert ours.points_per_s == Spread(5.0, 2.5, 10.0)


def test_cpu_time_of_other_processes() -> None:
    """What the processes of a client use counts, whether they have ended or not."""
    code = (
        "import time\ninput()\nend = time.process_time() + 0.3\n"
        "while time.process_time() < end: pass\nprint('.', flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def work() -> None:
            stdin.write(b"\n")
            assert stdout.read(1) == b"."

        assert measure(work).cpu_s > 0.25
        stdin.write(b"\n")
    whole = measure(lambda: subprocess.run([sys.executable, "-c", code], input=b"\n\n"))
    assert whole.cpu_s > 0.25


def test_the_frames() -> None:
    """Frames of equal arguments are equal, and have as many columns of payload as they should."""
    for columns in (4, 12):
        frame = make_frame(50, 8, columns)
        assert frame.shape == (50, 1 + columns)
        assert not frame.isna().any(axis=None)
        pd.testing.assert_frame_equal(frame, make_frame(50, 8, columns))
    with pytest.raises(ValueError, match="columns=5"):
        make_frame(1, 8, 5)


def test_the_command_line() -> None:
    """Only the full run overwrites RESULTS.md unasked."""
    assert read_arguments([]) == (FULL, RESULTS)
    profile, out = read_arguments(["--batch-sizes", "default", "64", "--sizes", "768"])
    assert (profile.batch_sizes, profile.sizes, out) == ((None, 64), (768,), None)
    profile, out = read_arguments(["--quick", "--only", "line", "--out", "here.md"])
    assert (profile.quick, profile.sections, out) == (True, ("line",), Path("here.md"))
