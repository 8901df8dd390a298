from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qframe
from qframe import InputError, ProgressEvent
from qframe.display import Bar, Called, Ending, Lines, Silent
from qframe.progress import Look, Phase, Tally
from qframe.report import BatchResult, Status
from qframe.surroundings import choose

SCRIPT = """
import sys
import numpy as np, pandas as pd, qframe
frame = pd.DataFrame({{"n": range(800)}})
report = frame.qdrant.upload(
    "films", sys.argv[1], vectors=np.ones((800, 4), np.float32), batch_size=20{progress}
)
assert len(report) == 40
"""


def _run(tmp_path: Path, progress: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(progress=progress), tmp_path / "store"],
        timeout=60,
        check=True,
        **streams,
    )


def _result(batch: int, status: Status, points: int = 5, **more: Any) -> BatchResult:
    return BatchResult(batch, batch * 5, batch * 5 + 5, points, status, **more)


def test_a_pipe_gets_few_lines(tmp_path: Path) -> None:
    """Output that goes to a file is a line every few seconds and one at the end, on stderr."""
    done = _run(tmp_path, "", capture_output=True)
    lines = done.stderr.decode().splitlines()
    assert done.stdout == b""
    assert 1 <= len(lines) <= 10
    assert lines[-1].startswith("films: 800 of 800 points, ")
    assert "points/s" in lines[-1]


def test_silence_is_silence(tmp_path: Path) -> None:
    """progress=False prints nothing at all."""
    done = _run(tmp_path, ", progress=False", capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    """On a terminal a bar is drawn in place, and ends at all points."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    try:
        _run(tmp_path, "", stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs)
    finally:
        os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65536):
            drawn += part
    except OSError:  # the end of a pseudo terminal
        pass
    finally:
        os.close(ours)
    text = drawn.decode()
    assert "\r" in text
    assert "films: 100%" in text
    assert "800/800" in text
    assert text.count("\n") == 1


def test_a_callable_gets_events_that_add_up(tmp_path: Path) -> None:
    """One event a batch and one at the end; counts grow to those of the report."""
    events: list[ProgressEvent] = []
    frame = pd.DataFrame({"v": [[1.0, 2.0]] * 10})
    report = frame.qdrant.upload(
        "films", tmp_path / "store", vectors="v", batch_size=3, progress=events.append
    )
    assert len(events) == len(report) + 1
    assert [event.done for event in events] == [3, 6, 9, 10, 10]
    assert [event.finished for event in events] == [False] * 4 + [True]
    assert [event.result.batch for event in events if event.result is not None] == [0, 1, 2, 3]
    assert events[-1].result is None
    assert events[-1].points == report.attrs["upload"]["points"]
    assert events[-1].arrived == 10
    assert events[-1].bytes == report["bytes"].sum()
    assert {event.total for event in events} == {10}
    assert {event.collection for event in events} == {"films"}


def test_a_stream_has_no_total(tmp_path: Path) -> None:
    """The end of a stream is unknown, and events say so."""
    events: list[ProgressEvent] = []
    records = ({"id": n, "vector": [1.0, 2.0]} for n in range(5))
    qframe.upload_points(records, "films", tmp_path / "s", batch_size=2, progress=events.append)
    assert {event.total for event in events} == {None}
    assert events[-1].done == 5
    assert events[-1].sentence().startswith("films: 5 points, ")


def test_a_sentence_tells_all_that_is_unusual() -> None:
    """Points that did not arrive, retries and throttling are told, and only then."""
    now = iter([1.0, 2.0, 4.0])
    tally = Tally("films", "here", 5000, clock=lambda: next(now))
    assert tally.add(_result(0, Status.APPLIED, 1500)).sentence() == (
        "films: 1,500 of 5,000 points, 1,500 points/s, 1.0 s"
    )
    tally.add(_result(1, Status.ACKNOWLEDGED, 500, retries=2, throttled_s=1.25))
    event = tally.add(_result(2, Status.FAILED, 7))
    assert event.sentence() == (
        "films: 2,000 of 5,000 points, 500 points/s, 7 failed, 2 retries, throttled for 1.2 s, "
        "4.0 s"
    )
    assert event.done == 2007


def test_lines_come_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """The first comes after five seconds, and the last one tells how it ended."""
    now = 0.0
    tally = Tally("films", "here", 500, clock=lambda: now)
    lines = Lines()
    for moment in (1.0, 4.9, 5.0, 10.0):
        now = moment
        tally.add(_result(0, Status.APPLIED))
        lines.draw(tally.live(Phase.SENDING, Look()))
    lines.end(Ending(tally.last(), report=pd.DataFrame()))
    err = capsys.readouterr().err.splitlines()
    assert [line[:20] for line in err] == [
        "films: 15 of 500 poi",
        "films: 20 of 500 poi",
        "films: 20 of 500 poi",
    ]
    assert lines.every == 5.0


def test_nothing_is_said_of_what_was_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was sent, the error says it all."""
    tally = Tally("films", "here", None, clock=lambda: 0.0)
    Lines().end(Ending(tally.last(), error=InputError("no such column")))
    Bar().end(Ending(tally.last(), error=InputError("no such column")))
    assert capsys.readouterr().err == ""


def test_the_choice_of_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """False is silent, a callable is called, and the rest looks where the output goes."""
    assert isinstance(choose(False), Silent)
    assert isinstance(choose(print), Called)
    for progress in ("auto", True):
        assert isinstance(choose(progress), Lines)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert isinstance(choose(progress), Bar)
        monkeypatch.undo()
    monkeypatch.setattr(sys, "stderr", None)  # as in programs without a console
    assert isinstance(choose("auto"), Lines)


@pytest.mark.parametrize("progress", ["bar", None, 1, 0, 2.5])
def test_a_progress_that_cannot_be(progress: Any) -> None:
    """Another value is refused, and the possible ones are named."""
    with pytest.raises(InputError) as caught:
        choose(progress)
    assert f"progress={progress!r}: 'auto', True, False or a callable" in str(caught.value)
