"""Uploads through misfortunes that are drawn at random, each from a seed.

A schedule says what is uploaded, how, and what goes wrong in each of a few runs; a last run, in
which nothing does, has to bring in all that is missing. After every run the oracle compares what
the report says with what the server holds.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

import qframe
from tests.faults import proxy as proxies
from tests.faults.frames import Data, drawn
from tests.faults.interrupts import pressed_when
from tests.faults.oracle import check, check_complete, check_sends
from tests.faults.processes import workers
from tests.faults.proxy import FaultProxy
from tests.server import LocalServer

LONGEST = 60.0
"""Seconds that one upload may take, however unlucky it is."""

SERVER_FAULTS = (
    "rate_limit:0",
    "rate_limit:0.05",
    "rate_limit:100000",
    "rate_limit:soon",
    "rate_limit",
    "delay:0.02",
    "apply_late:0.05",
    "wait_timeout:0.05",
    "timeout",
    "internal",
    "precondition",
    "bad_gateway",
    "unavailable",
    "unavailable:0.05",
    "drop_before",
    "drop_after",
    "garbage",
    "bad_request",
)
FATAL_FAULTS = ("unauthenticated", "forbidden", "not_found", "insufficient_storage")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong in one run.

    Attributes
    ----------
    faults : list of str
        For the server's queue.
    poison : list
        Ids that the server refuses.
    shrink, limit_body : int or None
        What the server takes at the most in one request.
    requests, connections : float
        How probably a request, or a connection, suffers something on its way.
    holds : bool
        Whether some are held back for longer than the client's patience.
    idle : float
        Seconds after which the proxy closes idle connections.
    interrupt, kill : int or None
        Requests after which Ctrl-C is pressed, or a worker process is killed.
    seed : int
        Of what is drawn while it runs.
    """

    faults: list[str] = field(default_factory=list)
    poison: list[Any] = field(default_factory=list)
    shrink: int | None = None
    limit_body: int | None = None
    requests: float = 0.0
    connections: float = 0.0
    holds: bool = False
    idle: float = math.inf
    interrupt: int | None = None
    kill: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Schedule:
    """What a seed stands for.

    Attributes
    ----------
    seed : int
    transport : {"rest", "grpc"}
    data : Data
    options : dict
        Of `qframe.upload`, the same in all runs.
    retry : Retry or int
        Of the runs with trouble.
    head : int
        Rows that are there before all this, uploaded without trouble.
    going_on : {"journal", "report", "anew"}
        What the next run goes on from.
    troubles : list of Trouble
        One a run.
    """

    seed: int
    transport: str
    data: Data = field(repr=False)
    options: dict[str, Any]
    retry: Any
    head: int
    going_on: str
    troubles: list[Trouble]

    @classmethod
    def draw(cls, seed: int) -> Schedule:
        """Make what a seed stands for; always the same."""
        random = Random(seed)
        rows = random.choice([1, random.randint(2, 30), random.randint(30, 400)])
        data = drawn(random, rows)
        kind = random.choices(["thread", "process"], [8, 1])[0]
        options: dict[str, Any] = {
            "batch_size": random.choice([1, 7, 10, 32, 100])
            if rows < 100
            else 10 ** random.randint(1, 2),
            "workers": random.randint(1, 4),
            "worker_kind": kind,
            "order": random.choice(["unordered", "semi-ordered", "ordered"]),
            "wait": random.random() < 0.5,
            "barrier": random.random() < 0.8,
        }
        if random.random() < 0.2:
            options["max_batch_bytes"] = random.randint(500, 20_000)
        if random.random() < 0.1:
            options["if_exists"] = "replace"
        retry = random.choice(
            [
                # Not 0: its longest wait for a server is two minutes.
                qframe.Retry(attempts=1, max_wait=0.1),
                qframe.Retry(attempts=3, backoff=0.01, max_wait=0.1),
                qframe.Retry(attempts=random.randint(2, 6), backoff=0.01, max_wait=0.1),
                qframe.Retry(
                    attempts=None, backoff=0.01, max_backoff=0.1, max_wait=0.1, timeout=20
                ),
                qframe.Retry(attempts=5, backoff=0.01, max_wait=0.1, splits=random.choice([0, 5])),
                qframe.Retry(
                    attempts=9, backoff=0.02, max_wait=0.1, deadline=random.uniform(0.1, 2)
                ),
            ]
        )
        head = random.randint(0, rows) if random.random() < 0.2 else 0
        troubles = [_trouble(random, data, kind) for _ in range(random.randint(1, 3))]
        if random.random() < 0.1:
            head, troubles[0] = 0, _loss(random)
        return cls(
            seed,
            random.choice(["rest", "grpc"]),
            data,
            options,
            retry,
            head,
            random.choice(["journal", "report", "anew"]),
            troubles,
        )


def _loss(random: Random) -> Trouble:
    """A server that drops what it acknowledged, at a time when counting its points tells so."""
    faults = ["delay:0"] * random.randint(0, 5) + ["lose"]
    if random.random() < 0.5:
        faults += ["delay:0", random.choice(FATAL_FAULTS)]
    return Trouble(faults)


def _trouble(random: Random, data: Data, kind: str) -> Trouble:
    faults = []
    for _ in range(random.choice([0, 3, 10, 30])):
        faults.append("delay:0" if random.random() < 0.3 else random.choice(SERVER_FAULTS))
    if random.random() < 0.2:
        faults.insert(random.randint(0, len(faults)), random.choice(FATAL_FAULTS))
    ids = list(data.points)
    poison = random.sample(ids, min(len(ids), random.randint(1, 4)))
    return Trouble(
        faults=faults,
        poison=poison if random.random() < 0.3 else [],
        shrink=random.randint(1, 50) if random.random() < 0.15 else None,
        limit_body=random.randint(300, 8000) if random.random() < 0.1 else None,
        requests=random.choice([0, 0, 0.1, 0.4]),
        connections=random.choice([0, 0, 0.2]),
        holds=random.random() < 0.07,
        idle=random.choice([math.inf, 0.05]),
        interrupt=random.randint(1, 30) if random.random() < 0.2 else None,
        kill=random.randint(1, 20) if kind == "process" and random.random() < 0.6 else None,
        seed=random.getrandbits(32),
    )


@dataclass
class Figures:
    """What was seen, summed up over schedules."""

    schedules: int = 0
    runs: int = 0
    points: int = 0
    sent: int = 0
    requests: int = 0
    befallen: int = 0
    deaths: int = 0
    interrupts: int = 0
    resumed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def lines(self) -> list[str]:
        """Tell them."""
        return [
            f"{self.schedules} schedules, {self.runs} runs with trouble, {self.points:,} points",
            f"{self.requests:,} requests of {self.sent:,} points; {self.befallen:,} misfortunes, "
            f"{self.deaths} workers killed, {self.interrupts} times Ctrl-C; "
            f"{self.resumed:,} points not sent again",
            "outcomes: " + ", ".join(f"{n} {name}" for name, n in self.outcomes.most_common()),
            "points: " + ", ".join(f"{n:,} {name}" for name, n in self.statuses.most_common()),
            f"the slowest upload took {self.slowest:.1f} s",
        ]


def play(schedule: Schedule, server: LocalServer, folder: Path, figures: Figures) -> None:
    """Carry a schedule out.

    Raises
    ------
    AssertionError
        When a report is not true, a row is lost, or something is left behind.
    """
    server.reset()
    url = server.rest_url if schedule.transport == "rest" else server.grpc_url
    collection = f"schedule-{schedule.seed}"
    journal = folder / f"{schedule.seed}.qframe" if schedule.going_on == "journal" else None
    report: pd.DataFrame | None = None
    head = schedule.data.head(schedule.head)
    if head.points:
        head.upload(collection, url, wait=True)
        server.reset(collections=False)
    with FaultProxy(url) as proxy:
        for number, trouble in enumerate(schedule.troubles):
            new = _run(schedule, trouble, server, proxy, collection, journal, report, figures)
            figures.runs += 1
            if new is not None:
                before = schedule.data.points if number else head.points
                lossy = any("lose" in one.faults for one in schedule.troubles[: number + 1])
                check(new, schedule.data, server, collection, before=before, lossy=lossy)
                _check_sends(new, schedule, trouble, server)
                report = new if schedule.going_on == "report" else None
            figures.requests += proxy.requests
            figures.befallen += len(proxy.suffered)
            figures.befallen += sum(entry["fault"] is not None for entry in server.log())
            figures.sent += sum(entry["points"] or 0 for entry in server.log())
            proxy.cut()  # first: what is held back is not to arrive in the next run
            proxy.reset()
            proxy.idle = math.inf
            server.reset(collections=False)
        options = schedule.options | {"barrier": True}
        last = schedule.data.upload(
            collection, proxy.url, **options, journal=journal, resume=report
        )
        assert set(last["status"]) <= {"applied"}, last["status"].value_counts().to_dict()
        check(last, schedule.data, server, collection, before=schedule.data.points)
        check_complete(schedule.data, server, collection)
        figures.resumed += last.attrs["upload"]["resumed"]
    figures.schedules += 1
    figures.points += len(schedule.data)
    _nothing_left()


def _run(
    schedule: Schedule,
    trouble: Trouble,
    server: LocalServer,
    proxy: FaultProxy,
    collection: str,
    journal: Path | None,
    report: pd.DataFrame | None,
    figures: Figures,
) -> pd.DataFrame | None:
    """Upload once; return the report, or None where the upload ended before there could be one."""
    server.faults(trouble.faults)
    server.poison(trouble.poison)
    server.shrink(trouble.shrink)
    server.limit_body(trouble.limit_body)
    random = Random(trouble.seed)
    proxy.idle = trouble.idle
    proxy.always(_on_the_way(random, trouble))
    proxy.always(_at_the_door(random, trouble), connections=True)
    pressed: Any = nullcontext([])
    if trouble.interrupt is not None:
        pressed = pressed_when(lambda: proxy.requests >= trouble.interrupt)
    outcome = "report"
    began = time.monotonic()
    found: pd.DataFrame | None = None
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        if trouble.kill is not None:
            stack.enter_context(_killing(lambda: proxy.requests >= trouble.kill))
        moments = stack.enter_context(pressed)
        try:
            found = schedule.data.upload(
                collection,
                qframe.connect(proxy.url, timeout=1 if trouble.holds else 10),
                **schedule.options,
                retry=schedule.retry,
                journal=journal,
                resume=report,
                on_error=random.choice(["raise", "collect"]),
            )
        except (qframe.UploadError, qframe.UploadInterrupted) as error:
            found, outcome = error.report, type(error).__name__
        except (qframe.TransportError, qframe.CollectionError, qframe.DeadlinePassed) as error:
            # The preparation failed, or nothing at all was sent.
            outcome = f"{type(error).__name__} beforehand"
            arrived = [entry for entry in server.log() if entry["status"] is not None]
            assert not arrived, f"{outcome}, though {len(arrived)} requests were answered"
        except KeyboardInterrupt as error:
            # Before the first batch there is no report yet, and behind the end none any more.
            outcome = "KeyboardInterrupt"
            places = [
                (Path(place.filename).name, place.name)
                for place in traceback.extract_tb(error.__traceback__)
            ]
            is_over = ("run.py", "finish") in places
            if ("uploading.py", "upload") in places and server.log() and not is_over:
                raise AssertionError("Ctrl-C in the middle, and no report") from error
    took = time.monotonic() - began
    assert took < LONGEST, f"the upload took {took:.1f} s"
    if moments:
        figures.interrupts += 1
        late = time.monotonic() - moments[0]
        assert late < 2.5, f"it went on for {late:.1f} s after Ctrl-C"
    figures.slowest = max(figures.slowest, took)
    figures.outcomes[outcome] += 1
    if found is not None:
        figures.deaths += len(found.attrs["upload"]["deaths"])
        figures.statuses.update(found.attrs["upload"]["points"])
    return found


def _on_the_way(random: Random, trouble: Trouble) -> Callable[[int], proxies.Fault | None]:
    def plan(number: int) -> proxies.Fault | None:
        if random.random() >= trouble.requests:
            return None
        longest = 1.2 if trouble.holds else 0.1
        return random.choice(
            [
                proxies.reset(),
                proxies.reset(None),
                proxies.reset(1 << 40),
                proxies.lose_answer(),
                proxies.truncate(random.randint(0, 200)),
                proxies.hold("request", random.uniform(0, longest)),
                proxies.hold("answer", random.uniform(0, longest)),
            ]
        )

    return plan


def _at_the_door(random: Random, trouble: Trouble) -> Callable[[int], proxies.Fault | None]:
    def plan(number: int) -> proxies.Fault | None:
        if random.random() >= trouble.connections:
            return None
        return random.choice([proxies.refuse(), proxies.hold("accept", 0.05)])

    return plan


@contextmanager
def _killing(ready: Callable[[], bool]) -> Iterator[None]:
    """Kill one worker process as soon as something is so, unless the block is left before."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.002):
            if ready():
                for pid in sorted(workers())[:1]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return

    thread = threading.Thread(target=kill, name="fault killer")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _check_sends(
    report: pd.DataFrame, schedule: Schedule, trouble: Trouble, server: LocalServer
) -> None:
    log = server.log()
    retry = qframe.Retry.of(schedule.retry)
    throttled = sum((entry["fault"] or "").startswith("rate_limit:") for entry in log)
    check_sends(
        report,
        arrivals=len(log),
        attempts=10**9 if retry.attempts is None else retry.attempts,
        splits=retry.halvings,
        throttled=throttled,
        alone=(trouble.shrink, trouble.limit_body) != (None, None),
        deaths=int(report["deaths"].sum()),
    )


def _nothing_left() -> None:
    deadline = time.monotonic() + 5
    while left := [t.name for t in threading.enumerate() if t.name.startswith("qframe-worker")]:
        assert time.monotonic() < deadline, f"threads that are left: {left}"
        time.sleep(0.01)


def complaint(schedule: Schedule, error: BaseException) -> str:
    """Return what to print of a schedule that failed."""
    return (
        f"seed {schedule.seed} failed: {type(error).__name__}: {error}\n"
        f"  replay: python -m tests.faults --only {schedule.seed}\n"
        f"  {schedule}\n" + "".join(traceback.format_exception(error))
    )
