from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qframe.uploading
from qframe import ProgressEvent, UploadInterrupted
from qframe.connection import connect
from qframe.display import Display, Ending
from qframe.progress import Live, Look, Phase
from qframe.report import BatchResult, Status
from qframe.resume import Past
from qframe.run import Run
from qframe.stores.embedded import EmbeddedStore
from qframe.watch import PATIENCE, Watch
from tests.faults.interrupts import pressed_when
from tests.server import LocalServer


class Drawn(Display):
    """Keeps what it is shown."""

    every = 0.0

    def __init__(self) -> None:
        self.lives: list[Live] = []
        self.endings: list[Ending] = []
        self.threads: set[int] = set()

    def draw(self, live: Live) -> None:
        self.lives.append(live)
        self.threads.add(threading.get_ident())

    def end(self, ending: Ending) -> None:
        self.endings.append(ending)


class Broken(Drawn):
    """Fails whenever it is asked."""

    def draw(self, live: Live) -> None:
        super().draw(live)
        raise ZeroDivisionError("while drawing")

    def end(self, ending: Ending) -> None:
        super().end(ending)
        raise ZeroDivisionError("while ending")


def _watch(display: Display, *, draws: bool = True) -> Watch:
    watch = Watch(display, "films", "here", draws=draws)
    watch.begin(100, lambda: 2.0, Look)
    return watch


def _result(batch: int, status: Status = Status.APPLIED) -> BatchResult:
    span = {"started_s": 0.0, "ended_s": 0.5}
    return BatchResult(batch, batch * 5, batch * 5 + 5, 5, status, attempts=1, **span)


def test_a_stop_is_raised_once() -> None:
    """Whoever waits is told once of a stop: what ends the upload may wait, too."""
    watch = _watch(Display())
    watch.tick()
    watch._display.stop()
    with pytest.raises(KeyboardInterrupt):
        watch.tick()
    watch.tick()


def test_drawings_are_no_more_frequent_than_the_display_allows() -> None:
    """A tick draws when it is time to, and the first time after a while."""
    display = Drawn()
    display.every = 0.2
    watch = _watch(display)
    began = time.monotonic()
    while (seconds := time.monotonic() - began) < PATIENCE + 0.7:
        watch.tick()
        assert not display.lives or seconds > PATIENCE / 2
        time.sleep(0.001)
    assert 2 <= len(display.lives) <= (seconds - PATIENCE) / 0.2 + 1


def test_what_is_drawn_adds_up() -> None:
    """Results are counted, whoever is at work is told, and the rate is over the seconds."""
    display = Drawn()
    watch = Watch(display, "films", "here")
    watch.begin(100, lambda: 2.0, lambda: Look(in_flight=3, retries=2, throttled_s=1.5))
    for batch in range(4):
        watch.count(_result(batch))
    watch.draw()
    (live,) = display.lives
    assert live.phase is Phase.SENDING
    assert live.event.arrived == 20
    assert (live.event.retries, live.event.throttled_s) == (2, 1.5)
    assert live.points_per_s == 10.0
    assert live.left_s == 8.0
    assert live.percentiles == (0.5, 0.5)
    assert "3 requests in flight" in live.sentence()


def test_waiting_for_the_server_is_seen_and_can_be_stopped() -> None:
    """While a server takes its time the display goes on, and a stop ends the waiting."""
    display = Drawn()
    watch = _watch(display)
    go_on = threading.Event()
    timer = threading.Timer(PATIENCE + 0.5, watch.stop)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        watch.settle(lambda: go_on.wait(60))
    go_on.set()
    timer.join()
    assert len(display.lives) > 1
    assert {live.phase for live in display.lives} == {Phase.SETTLING}
    assert display.threads == {threading.get_ident()}


def test_what_waiting_ends_with_is_handed_on() -> None:
    """An answer is returned, an error raised."""
    watch = _watch(Drawn())
    assert watch.settle(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        watch.settle(lambda: 1 // 0)


def test_nobody_looks_and_nothing_is_made_for_it() -> None:
    """Without a display to draw on, waiting takes no other thread."""
    watch = _watch(Display())
    assert watch.settle(threading.get_ident) == threading.get_ident()


def test_another_thread_draws() -> None:
    """A watch that is drawn elsewhere only counts here, and can be stopped."""
    display = Drawn()
    watch = _watch(display, draws=False)
    watch.tick()
    watch.count(_result(0))
    assert not display.lives
    watch.draw()
    assert display.lives[0].event.arrived == 5
    watch.stop()
    with pytest.raises(KeyboardInterrupt):
        watch.sleep(60)


def test_a_display_that_fails_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked no more, it is told of the end, and the error is logged."""
    display = Broken()
    watch = _watch(display)
    with caplog.at_level(logging.WARNING, "qframe"):
        for _ in range(3):
            watch.draw()
        watch.end(None)
    assert len(display.lives) == 1
    assert len(display.endings) == 1
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert str(watch.error) == "while drawing"


def test_the_end_counts_what_was_settled() -> None:
    """Points that the server had acknowledged are applied at the end."""
    watch = _watch(Display())
    watch.count(_result(0, Status.ACKNOWLEDGED))
    run = Run("films", connect(":memory:"), [_result(0, Status.ACKNOWLEDGED)])
    run.settle(None)
    watch.finish(run)
    assert watch.event.points["applied"] == 5
    assert watch.event.finished


FRAME = pd.DataFrame({"n": range(100), "v": list(np.ones((100, 4), np.float32))})


def _pressing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have Ctrl-C pressed in a method, the first time that it is called."""
    pressed: list[bool] = []

    def press(*given: Any, **named: Any) -> Any:
        found = method(*given, **named)
        if not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)
        return found

    return press


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Drawn, "end"), (Drawn, "hear"), (EmbeddedStore, "close"), (Run, "finish"), (Past, "record")],
)
def test_ctrl_c_at_whatever_moment_loses_no_report(
    owner: type, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all that is left is to draw the end, the interrupt carries what has arrived."""
    display = Drawn()
    monkeypatch.setattr(qframe.uploading, "choose", lambda progress, block: display)
    monkeypatch.setattr(owner, name, _pressing(getattr(owner, name)))
    with pytest.raises(UploadInterrupted, match="stopped: ") as caught:
        FRAME.qdrant.upload("films", tmp_path / "store", vectors="v", batch_size=50)
    report = caught.value.report
    assert report["points"].sum() == 100
    assert report.attrs["upload"]["points"]["applied"] >= 50
    (ending,) = display.endings
    assert ending.event.points == report.attrs["upload"]["points"]
    assert ending.event.finished or name == "close"
    if name != "end":
        assert report.attrs["upload"]["ended"]["by"] == "stop"


def test_ctrl_c_while_an_error_is_drawn_hides_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the upload raises is raised all the same."""
    monkeypatch.setattr(qframe.uploading, "choose", lambda progress, block: Drawn())
    monkeypatch.setattr(Drawn, "end", _pressing(Drawn.end))
    with pytest.raises(qframe.UploadError) as caught:
        FRAME.qdrant.upload(
            "films", tmp_path / "store", vectors="v", retry=qframe.Retry(deadline=1e-9)
        )
    assert caught.value.report["points"].sum() == 100


def test_a_stop_while_the_server_applies(server: LocalServer) -> None:
    """What was acknowledged stays so, and the last event says that the upload was stopped."""
    server.reset()
    server.faults(["apply_late:3"])
    events: list[ProgressEvent] = []
    with (
        pressed_when(lambda: sum(event.arrived for event in events[-1:]) == 100),
        pytest.raises(UploadInterrupted) as caught,
    ):
        FRAME.qdrant.upload("films", server.rest_url, vectors="v", progress=events.append)
    server.reset()
    assert set(caught.value.report["status"]) == {"acknowledged"}
    assert events[-1].finished
    assert events[-1].stopped


def test_what_nobody_waits_for_any_more_ends() -> None:
    """A thread that is left behind draws nothing, and asks a closed store nothing."""
    display = Drawn()
    watch = _watch(display)
    began = threading.Event()
    threads: list[threading.Thread] = []

    def ask_again_and_again() -> None:
        threads.append(threading.current_thread())
        while True:
            began.set()
            watch.sleep(0.3)

    with pressed_when(began.is_set), pytest.raises(KeyboardInterrupt):
        watch.settle(ask_again_and_again)
    threads[0].join(60)
    assert not threads[0].is_alive()
    assert display.threads <= {threading.get_ident()}
