"""Bringing one batch in, against a server that is a set of ids."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe import errors
from qframe.activity import Activity
from qframe.batches import Batch
from qframe.errors import (
    ConnectionLost,
    InvalidRequest,
    QframeError,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
    ServiceUnavailable,
    WorkerDied,
)
from qframe.gate import Gate
from qframe.points import Ids, PointColumns
from qframe.report import BatchResult, Status
from qframe.retry import Retry
from qframe.uploaders.delivery import (
    Answer,
    Delivery,
    Encode,
    Encoded,
    Send,
    bare,
)
from qframe.uploaders.lessons import Lessons

QUICK = Retry(attempts=4, backoff=0.0)


def _batch(total: int, number: int = 0, kept: list[int] | None = None) -> Batch:
    positions = None if kept is None else np.array(kept, dtype=np.int64)
    points = PointColumns(Ids(numbers=np.arange(total, dtype=np.uint64)), {}, kept=positions)
    rows = points.rows(0, len(points))
    return Batch(number, 0, total, points, rows)


class Server:
    """Takes points of ten bytes each, and refuses what it is told to."""

    def __init__(
        self,
        *,
        poison: set[int] | None = None,
        most: float = math.inf,
        size: float = math.inf,
        plan: list[QframeError | None] | None = None,
    ) -> None:
        self.stored: set[int] = set()
        self.sends: list[list[int]] = []
        self.encoded: list[list[int]] = []
        self.poison = poison or set()
        self.most = most
        self.size = size
        self.plan = plan or []

    def __call__(self, message: Encode | Send) -> Any:
        if isinstance(message, Encode):
            self.encoded.append([int(i) for i in message.block.ids.tolist()])
            return Encoded(10 * len(message.block), worker=3)
        ids = self.encoded[-1]
        self.sends.append(ids)
        planned = self.plan.pop(0) if self.plan else None
        if planned is not None:
            raise planned
        if len(ids) > self.most:
            raise RateLimited("please try to split your request")
        if 10 * len(ids) > self.size:
            raise RequestTooLarge("larger than allowed")
        if found := self.poison & set(ids):
            raise InvalidRequest(f"Wrong input: point {min(found)}")
        self.stored |= set(ids)
        return Answer(Status.APPLIED, len(self.sends))


class Paused(Gate):
    """Notes how long was to be waited, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return True


def _run(
    batch: Batch,
    server: Callable[[Encode | Send], Any],
    retry: Retry = QUICK,
    lessons: Lessons | None = None,
    gate: Gate | None = None,
) -> tuple[BatchResult, ...]:
    return Delivery(batch, retry, gate or Gate(), lessons or Lessons(), Activity()).run(server)


def _rows(results: tuple[BatchResult, ...]) -> list[tuple[int, int, str]]:
    return [(result.start, result.stop, result.status.value) for result in results]


def _adds_up(results: tuple[BatchResult, ...], batch: Batch, server: Server) -> None:
    """Results tile the batch, count its points, and tell every request once."""
    assert results[0].start == batch.start
    assert results[-1].stop == batch.stop
    for one, other in itertools.pairwise(results):
        assert one.stop == other.start
    assert sum(result.points for result in results) == len(batch)
    assert sum(result.attempts for result in results) == len(server.sends)


def test_a_batch_that_is_taken() -> None:
    """One request, one result, with what was measured."""
    server = Server()
    (result,) = _run(_batch(7), server)
    assert (result.status, result.attempts, result.retries) == (Status.APPLIED, 1, 0)
    assert (result.bytes, result.worker, result.operation_id) == (70, 3, 1)
    assert server.stored == set(range(7))


@pytest.mark.parametrize("bad", [0, 1, 499, 500, 998, 999])
def test_one_bad_row_stands_alone(bad: int) -> None:
    """The others go in; the row comes with the server's own reason, after 20 requests at most."""
    server = Server(poison={bad})
    batch = _batch(1000)
    results = _run(batch, server)
    _adds_up(results, batch, server)
    assert server.stored == set(range(1000)) - {bad}
    (failed,) = [result for result in results if result.status is Status.FAILED]
    assert (failed.start, failed.stop, failed.points) == (bad, bad + 1, 1)
    assert str(failed.error) == f"Wrong input: point {bad}"
    assert len(results) <= 3
    assert len(server.sends) <= 21


@given(
    st.integers(1, 300),
    st.sets(st.integers(0, 299), max_size=12),
    st.integers(0, 80),
    st.data(),
)
def test_what_is_said_is_what_is_so(
    total: int, poison: set[int], splits: int, data: st.DataObject
) -> None:
    """Whatever is poison: applied rows are there, failed ones are not, within the bound."""
    kept = data.draw(
        st.none() | st.sets(st.integers(0, total - 1), min_size=1).map(sorted), label="kept"
    )
    batch = _batch(total, kept=kept)
    server = Server(poison=poison)
    results = _run(batch, server, Retry(attempts=2, splits=splits))
    _adds_up(results, batch, server)
    assert len(server.sends) <= 1 + splits
    present = set(range(total)) if kept is None else set(kept)
    applied = {
        row
        for result in results
        if result.status is Status.APPLIED
        for row in range(result.start, result.stop)
    }
    assert server.stored == applied & present
    needed = 2 * len(poison & present) * math.ceil(math.log2(max(2, total)))
    if splits >= needed and len(poison & present) <= 8:
        assert server.stored == present - poison


def test_without_retries_nothing_is_halved() -> None:
    """``retry=0`` sends everything once, and so does ``splits=0``."""
    for retry in (Retry.of(0), Retry(splits=0)):
        server = Server(poison={3})
        (result,) = _run(_batch(10), server, retry)
        assert (result.status, result.attempts) == (Status.FAILED, 1)
        assert str(result.error) == "Wrong input: point 3"


def test_the_bound_is_told() -> None:
    """What could not be told apart within the bound says so, and what allows more."""
    server = Server(poison=set(range(0, 64, 4)))
    results = _run(_batch(64), server, Retry(splits=20))
    assert len(server.sends) <= 21
    unfound = [r for r in results if r.status is Status.FAILED and r.points > 1]
    assert unfound
    assert "not found within 20 requests (qframe.Retry(splits=…) allows more)" in str(
        unfound[0].error
    )


def test_a_batch_that_is_wrong_throughout() -> None:
    """When nothing is accepted, a batch costs few requests, and after three batches just one."""
    lessons = Lessons()
    server = Server(poison=set(range(1000)))
    costs = []
    for _ in range(5):
        before = len(server.sends)
        results = _run(_batch(1000), server, lessons=lessons)
        assert {result.status for result in results} == {Status.FAILED}
        assert sum(result.points for result in results) == 1000
        costs.append(len(server.sends) - before)
    assert costs == [18, 18, 18, 1, 1]
    server.poison = {1}
    assert len(_run(_batch(1000), server, lessons=lessons)) == 1
    server.poison = set()
    _run(_batch(10), server, lessons=lessons)


def test_a_batch_that_is_accepted_brings_hope() -> None:
    """After batches that were wrong throughout, one that is partly good lets halving go on."""
    lessons = Lessons()
    for _ in range(2):
        _run(_batch(100), Server(poison=set(range(100))), lessons=lessons)
    assert len(_run(_batch(100), Server(poison={50}), lessons=lessons)) == 3
    _run(_batch(100), Server(poison=set(range(100))), lessons=lessons)
    assert lessons.hopeful


def test_a_batch_that_is_taken_whole_brings_hope_back() -> None:
    """Bad rows are found again once the server took a batch, however many it refused before."""
    lessons = Lessons()
    for _ in range(3):
        _run(_batch(100), Server(poison=set(range(100))), lessons=lessons)
    assert not lessons.hopeful
    _run(_batch(100), Server(), lessons=lessons)
    results = _run(_batch(100), Server(poison={50}), lessons=lessons)
    assert _rows(results) == [(0, 50, "applied"), (50, 51, "failed"), (51, 100, "applied")]


def test_a_small_bucket_is_learned() -> None:
    """A rate limit without a time to come back halves, and later batches are cut beforehand."""
    lessons = Lessons()
    server = Server(most=300)
    batch = _batch(1000)
    _adds_up(_run(batch, server, lessons=lessons), batch, server)
    assert server.stored == set(range(1000))
    assert [len(ids) for ids in server.sends] == [1000, 500, 250, 250, 250, 250]
    server.sends.clear()
    (result,) = _run(_batch(1000), server, lessons=lessons)
    assert [len(ids) for ids in server.sends] == [250] * 4
    assert (result.status, result.attempts, result.retries) == (Status.APPLIED, 4, 0)


def test_a_proxy_that_throttles_teaches_nothing_of_size() -> None:
    """Where nobody speaks of splitting, halves are sent after a pause, and later batches whole."""
    lessons, gate = Lessons(), Paused()
    server = Server(plan=[RateLimited("too many requests")] * 3)
    batch = _batch(1000)
    retry = Retry(backoff=8.0, max_backoff=20.0)
    _adds_up(_run(batch, server, retry, lessons, gate), batch, server)
    assert server.stored == set(range(1000))
    assert [len(ids) for ids in server.sends] == [1000, 500, 250, 125, 125, 250, 500]
    assert len(gate.pauses) == 3
    assert all(0 < pause <= most for pause, most in zip(gate.pauses, (8, 16, 20), strict=True))
    server.sends.clear()
    _run(_batch(1000), server, lessons=lessons)
    assert [len(ids) for ids in server.sends] == [1000]
    gate.pauses.clear()
    _run(_batch(1000), Server(most=300), retry, Lessons(), gate)
    assert not gate.pauses  # the server itself says that it is the size


def test_a_small_body_is_learned() -> None:
    """Too many bytes halve, and later batches of that size are cut before they are sent."""
    lessons = Lessons()
    server = Server(size=6000)
    batch = _batch(1000)
    _adds_up(_run(batch, server, lessons=lessons), batch, server)
    assert [len(ids) for ids in server.sends] == [1000, 500, 500]
    server.sends.clear()
    _run(_batch(1000), server, lessons=lessons)
    assert [len(ids) for ids in server.sends] == [500, 500]
    server.sends.clear()
    _run(_batch(600), server, lessons=lessons)
    assert [len(ids) for ids in server.sends] == [600]


def test_a_single_point_that_is_too_large() -> None:
    """It is failed with the server's words, and the others go in."""
    batch = _batch(8)

    class Uneven(Server):
        def __call__(self, message: Encode | Send) -> Any:
            if isinstance(message, Send) and 5 in self.encoded[-1]:
                self.sends.append(self.encoded[-1])
                raise RequestTooLarge("larger than allowed")
            return super().__call__(message)

    server = Uneven()
    results = _run(batch, server)
    assert _rows(results) == [(0, 5, "applied"), (5, 6, "failed"), (6, 8, "applied")]


def test_a_throttled_single_point_waits() -> None:
    """A point that cannot be halved is sent again after a pause."""
    server = Server(plan=[RateLimited("busy"), RateLimited("busy")])
    (result,) = _run(_batch(1), server)
    assert (result.status, result.attempts) == (Status.APPLIED, 3)


def test_transient_errors_are_counted_by_part() -> None:
    """Each part has the attempts of a batch, and no more."""
    server = Server(poison={0}, plan=[None, *[ServiceUnavailable("busy")] * 3])
    results = _run(_batch(2), server)
    assert _rows(results) == [(0, 1, "failed"), (1, 2, "applied")]
    assert len(server.sends) == 1 + 3 + 1 + 1
    server = Server(plan=[ServiceUnavailable("busy")] * 9)
    (result,) = _run(_batch(2), server)
    assert (result.status, result.attempts) == (Status.FAILED, 4)


def test_waiting_for_the_first_request_costs_no_patience() -> None:
    """`Retry.timeout` runs from the first request, not from before the wait that others caused."""
    gate = Gate()
    gate.hold(0.5)
    server = Server(plan=[ServiceUnavailable("busy")])
    (result,) = _run(_batch(4), server, Retry(timeout=0.4, backoff=0.0), gate=gate)
    assert (result.status, result.attempts) == (Status.APPLIED, 2)


def test_a_doubt_stays() -> None:
    """A part of a batch that may have been applied is unknown when it is refused."""
    server = Server(poison={0, 1}, plan=[ConnectionLost("reset")])
    results = _run(_batch(4), server)
    assert _rows(results) == [(0, 1, "unknown"), (1, 2, "unknown"), (2, 4, "applied")]


def test_a_stop_in_the_middle() -> None:
    """Once stopped, nothing more is sent: what was refused has failed, what was not is unsent."""
    gate = Gate()
    server = Server(poison={0})

    def call(message: Encode | Send) -> Any:
        if isinstance(message, Send) and len(server.sends) == 2:
            gate.abandon()
        return server(message)

    results = _run(_batch(8), call, gate=gate)
    assert len(server.sends) == 3
    assert _rows(results) == [(0, 8, "failed")]
    (unsent,) = _run(_batch(8), call, gate=gate)
    assert (unsent.status, unsent.attempts) == (Status.UNSENT, 0)


def test_a_worker_that_dies_is_followed_by_another() -> None:
    """A delivery goes on where it was, and tells the death."""
    server = Server(plan=[None, WorkerDied("killed")], poison={2})
    delivery = Delivery(_batch(4), QUICK, Gate(1), Lessons(), Activity())
    with pytest.raises(WorkerDied):
        delivery.run(server)
    results = delivery.run(server)
    assert _rows(results) == [(0, 2, "applied"), (2, 3, "failed"), (3, 4, "applied")]
    assert [result.deaths for result in results] == [1, 0, 0]
    assert sum(result.attempts for result in results) == len(server.sends)


def test_a_stop_after_a_worker_died_over_a_request() -> None:
    """What it had sent is unknown, not unsent, when the upload is stopped before another try."""
    gate = Gate(2)
    delivery = Delivery(_batch(4), QUICK, gate, Lessons(), Activity())
    with pytest.raises(WorkerDied):
        delivery.run(Server(plan=[WorkerDied("killed")]))
    gate.abandon()
    (result,) = delivery.run(Server())
    assert (result.status, result.attempts, result.deaths) == (Status.UNKNOWN, 1, 1)
    assert str(result.error) == "killed"


def test_a_batch_over_which_workers_die() -> None:
    """Given up, it is unknown if it was sent, failed if it never was, with the reason."""
    gate = Gate(1)
    delivery = Delivery(_batch(4), QUICK, gate, Lessons(), Activity())
    for _ in range(2):
        with pytest.raises(WorkerDied):
            delivery.run(Server(plan=[WorkerDied("killed")]))
    (result,) = delivery.give_up(WorkerDied("killed twice"))
    assert (result.status, result.attempts, result.deaths) == (Status.UNKNOWN, 2, 2)
    assert str(result.error) == "killed twice"
    assert gate.enter().admitted  # its place was given back

    def dies_at_once(message: Encode | Send) -> Any:
        raise WorkerDied("killed")

    delivery = Delivery(_batch(4), QUICK, Gate(), Lessons(), Activity())
    with pytest.raises(WorkerDied):
        delivery.run(dies_at_once)
    (result,) = delivery.give_up(WorkerDied("killed twice"))
    assert (result.status, result.attempts, result.deaths) == (Status.FAILED, 0, 1)


def test_giving_up_while_a_worker_is_at_it() -> None:
    """A request under way is unknown, and nothing is sent after the batch was given up."""
    server = Server(poison={0})
    begun, go_on = threading.Event(), threading.Event()

    def call(message: Encode | Send) -> Any:
        if isinstance(message, Send) and len(server.sends) == 1:
            begun.set()
            go_on.wait(30)
        return server(message)

    delivery = Delivery(_batch(8), QUICK, Gate(), Lessons(), Activity())
    worker = threading.Thread(target=delivery.run, args=(call,))
    worker.start()
    begun.wait(30)
    results = delivery.give_up()
    go_on.set()
    worker.join(30)
    assert not worker.is_alive()
    assert _rows(results) == [(0, 4, "unknown"), (4, 8, "failed")]
    assert len(server.sends) == 2


def test_a_batch_that_cannot_be_encoded() -> None:
    """It has failed with the error, and was not sent."""

    def call(message: Encode | Send) -> Any:
        raise ZeroDivisionError("in the encoder")

    (result,) = _run(_batch(4), call)
    assert (result.status, result.attempts) == (Status.FAILED, 0)
    assert "ZeroDivisionError: in the encoder" in str(result.error)


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (RateLimited("slow", 0.0), 2.0),
        (RequestTimeout("no answer"), 2.0),
        (ServerError("broken"), 4.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fewer_requests_at_a_time(error: QframeError, limit: float) -> None:
    """Throttling and time-outs halve how many requests are under way, other errors do not."""
    gate = Gate(4)
    seen: list[float] = []
    server = Server(plan=[error])

    def call(message: Encode | Send) -> Any:
        seen.append(gate.limit)
        return server(message)

    _run(_batch(4), call, gate=gate)
    assert seen[-1] == limit
    assert gate.limit == min(4.0, limit + 1 / limit)


def test_the_last_try_holds_the_others_too() -> None:
    """A server's time to come back is kept by all, also where its batch is given up."""
    gate = Gate(2)
    (result,) = _run(_batch(4), Server(plan=[RateLimited("slow", 0.3)]), Retry.of(0), gate=gate)
    assert (result.status, result.attempts) == (Status.FAILED, 1)
    assert gate.enter().waited > 0.2


def test_an_error_as_a_result_keeps_it() -> None:
    """Tracebacks are dropped through all causes, and foreign errors become ours."""
    try:
        try:
            raise OSError("inner")
        except OSError as inner:
            raise ValueError("outer") from inner
    except ValueError as outer:
        kept = bare(outer)
    assert isinstance(kept, errors.UnexpectedError)
    assert isinstance(kept.__cause__, ValueError)
    assert kept.__cause__.__traceback__ is None
    assert kept.__cause__.__cause__.__traceback__ is None  # type: ignore[union-attr]


def test_between_two_tries_a_batch_waits() -> None:
    """Whoever looks is not told of a request that is under way when none is."""
    seen: list[tuple[str, int]] = []

    class Looked(Paused):
        def pause(self, seconds: float) -> bool:
            seen.append((delivery.step.stage.value, delivery.step.attempt))
            return super().pause(seconds)

    server = Server(plan=[ServiceUnavailable("busy"), ConnectionLost("gone")])
    delivery = Delivery(_batch(4), QUICK, Looked(), Lessons(), Activity())
    (result,) = delivery.run(server)
    assert result.attempts == 3
    assert seen == [("waiting", 2), ("waiting", 3)]


def test_what_was_never_begun_never_ended() -> None:
    """The rest of a batch that is given up as hopeless has no times, as no work was done on it."""
    server = Server(poison=set(range(4096)))
    results = Delivery(_batch(4096), Retry(splits=10_000), Paused(), Lessons(), Activity()).run(
        server
    )
    times = [(result.started_s, result.ended_s) for result in results]
    assert all(math.isnan(began) == math.isnan(ended) for began, ended in times)
