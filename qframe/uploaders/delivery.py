"""Bringing one batch in: sent until there is an answer, halved where the server refuses it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from qframe.activity import Activity, Stage, Step
from qframe.batches import Batch
from qframe.errors import (
    InvalidRequest,
    QframeError,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    UnexpectedError,
    WorkerDied,
)
from qframe.gate import Entry, Gate
from qframe.points import PointBlock
from qframe.report import ARRIVED, BatchResult, Status, merged
from qframe.retry import Retry
from qframe.uploaders.lessons import Lessons

ADJACENT = 8
"""Refusals beyond the halvings that lead to one row, after which a batch of which nothing was
accepted is given up: so many bad rows may stand together at its start."""


@dataclass(frozen=True, slots=True)
class Encode:
    """Tells a worker to encode these points, and to keep the body; it answers `Encoded`."""

    block: PointBlock


@dataclass(frozen=True, slots=True)
class Send:
    """Tells a worker to send the body that it keeps."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a worker says of points that it encoded.

    Attributes
    ----------
    bytes : int
    worker : int or None
        Its number.
    """

    bytes: int
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to a write.

    Attributes
    ----------
    status : Status
        `APPLIED` only where the server said ``completed``. ``wait_timeout`` is `ACKNOWLEDGED`: the
        write is queued, and was not seen to be applied.
    operation_id : int or None
    """

    status: Status
    operation_id: int | None = None


Call = Callable[[Encode | Send], Any]
"""Hands a message to a worker, in this process or in another, and returns its answer."""


class Delivery:
    """What becomes of one batch; it can go on with another worker where one has died.

    Parameters
    ----------
    batch : Batch
    retry : Retry
    gate : Gate
    lessons : Lessons
    activity : Activity
        The last three are shared by all workers.

    Attributes
    ----------
    step : Step
        What is being done for the batch at this moment.
    """

    def __init__(
        self, batch: Batch, retry: Retry, gate: Gate, lessons: Lessons, activity: Activity
    ) -> None:
        self._retry = retry
        self._gate = gate
        self._lessons = lessons
        self._activity = activity
        self.step = Step(Stage.ENCODING, activity.seconds())
        self._done: list[BatchResult] = []
        self._left = [_Part(batch, outline(batch))]  # the next one last
        self._halvings = retry.halvings
        self._refusals = 0
        self._throttled = 0  # in a row, for no reason of size
        self._is_halved = False
        self._fruit = False
        self._patience = math.ceil(math.log2(max(2, len(batch)))) + ADJACENT
        self._blamed: QframeError | None = None
        self._closed = False
        self._lock = threading.Lock()

    def run(self, call: Call) -> tuple[BatchResult, ...]:
        """Send everything that is left of the batch.

        Parameters
        ----------
        call : callable
            Hands a message to the worker.

        Returns
        -------
        tuple of BatchResult
            One, or several where only a part of the batch got in: by row, disjoint, and together
            the range of the batch.

        Raises
        ------
        WorkerDied
            When the worker's process has ended. The delivery can be run again with another one.
        """
        while self._left:
            part = self._left[-1]
            if self._is_hopeless and self._blamed is not None:
                self._refused(part, part.result.error or self._blamed, sent=False)
            elif self._is_too_large(part) or not self._deliver(part, call):
                self._halve(part)
                continue
            elif self._is_worth_halving(part):
                self._is_halved = True
                self._slow_down(part)
                self._halve(part)
                continue
            if not self._finish(part):
                break
        if self._is_halved and not self._fruit:
            self._lessons.bear(fruit=False)
        return merged(self._done)

    def give_up(self, error: QframeError | None = None) -> tuple[BatchResult, ...]:
        """Return what is known of the batch now, and send no more of it.

        A worker that is still at it in another thread ends with its next step, and what it finds
        out until then is not told.

        Parameters
        ----------
        error : QframeError, optional
            What no worker could bring it in for. None is that the upload was stopped: then what
            was not sent is `unsent`, instead of `failed`.
        """
        with self._lock:
            self._closed = True
            results, left = list(self._done), self._left[::-1]
        for part in left:
            is_open = part.doubtful or part.is_under_way  # read before what came of it
            result = self._ended(part.result)
            if result.status not in ARRIVED:
                told = error or result.error
                status = Status.UNSENT if told is None else Status.FAILED
                status = Status.UNKNOWN if is_open else status
                result = replace(result, status=status, error=told)
            results.append(result)
        return merged(results)

    def so_far(self) -> list[BatchResult]:
        """Return what is known of the batch's parts, while they are on their way."""
        with self._lock:
            return [*self._done, *(part.result for part in self._left)]

    def _finish(self, part: _Part) -> bool:
        """Put a part to those that are done; False when the batch was given up meanwhile."""
        part.result = self._ended(part.result)
        with self._lock:
            if not self._closed:
                self._left.pop()
                self._done.append(part.result)
            return not self._closed

    def _ended(self, result: BatchResult) -> BatchResult:
        """Return a result that ends now; what was never begun has no end either."""
        if math.isnan(result.started_s):
            return result
        return replace(result, ended_s=self._activity.seconds())

    def _deliver(self, part: _Part, call: Call) -> bool:
        """Encode one part and send it until there is an answer, or nothing more to be tried.

        Returns
        -------
        bool
            False when it was not sent, being larger than what the server refused to others.
        """
        began = time.perf_counter()
        self.step = Step(Stage.ENCODING, self._activity.seconds())
        if math.isnan(part.result.started_s):
            part.result = replace(part.result, started_s=self.step.since)
        try:
            encoded: Encoded = call(Encode(part.batch.block()))
        except WorkerDied:
            self._mourn(part)
            raise
        except Exception as error:
            failure = bare(error)
            self._activity.failed(failure, len(part.batch))
            self._refused(part, failure, sent=False)
            return True
        part.size = encoded.bytes
        part.result = replace(
            part.result,
            encode_s=part.result.encode_s + time.perf_counter() - began,
            bytes=encoded.bytes,
            worker=encoded.worker,
        )
        is_single = len(part.batch) == 1
        if part.size > self._lessons.bytes and not is_single and self._is_halving:
            return False
        tries = 0
        first_sent = math.nan
        passed = self._gate.passed
        while True:
            self.step = Step(Stage.WAITING, self._activity.seconds(), tries + 1)
            entry = self._gate.enter()
            throttled_s = part.result.throttled_s + entry.waited
            part.result = replace(part.result, throttled_s=throttled_s)
            if not entry.admitted:
                return True
            if not tries:
                first_sent = time.perf_counter()  # the wait at the gate is for others
            answer = self._attempt(part, call, entry)
            if isinstance(answer, Answer):
                return True
            tries += 1
            if isinstance(answer, RateLimited) and self._gate.passed > passed:
                # The server takes batches, just not this one yet: the patience with it starts anew.
                passed, tries, first_sent = self._gate.passed, 1, time.perf_counter()
            elapsed = time.perf_counter() - first_sent
            seconds = self._retry.wait(answer, tries, elapsed, is_single=is_single)
            self.step = Step(Stage.WAITING, self._activity.seconds(), part.result.attempts + 1)
            if seconds is None:
                if answer.transient and answer.retry_after is not None:
                    # This batch does not come back, the others wait all the same.
                    self._gate.hold(min(answer.retry_after, self._retry.max_wait))
                return True
            if answer.retry_after is None:
                self._gate.pause(seconds)
            else:
                self._gate.hold(seconds)

    def _attempt(self, part: _Part, call: Call, entry: Entry) -> Answer | QframeError:
        """Make one request; note in the part what came of it."""
        with self._lock:
            if self._closed:  # nothing is sent of what has been reported
                self._gate.leave()
                return UnexpectedError("the batch was given up meanwhile")
            attempts = part.result.attempts + 1
            self.step = Step(Stage.SENDING, self._activity.seconds(), attempts)
            requests = (*part.result.requests, self.step.since)
            part.result = replace(
                part.result, attempts=attempts, retries=attempts - 1, requests=requests
            )
            part.is_under_way = True
        began = time.perf_counter()
        try:
            answer: Answer = call(Send())
        except WorkerDied as death:
            self._activity.failed(death, len(part.batch))
            self._refused(part, WorkerDied(*death.args))  # told, should there be no other try
            self._mourn(part)
            raise
        except Exception as error:
            failure = bare(error)
            self._activity.failed(failure, len(part.batch))
            self._spend(part, began)
            self._refused(part, failure)
            if isinstance(failure, (RateLimited, RequestTimeout)):
                self._gate.retreat(entry)
            return failure
        finally:
            requests = (*part.result.requests, self._activity.seconds())
            part.result = replace(part.result, requests=requests)
            self._gate.leave()
        self._spend(part, began)
        part.result = replace(
            part.result, status=answer.status, operation_id=answer.operation_id, error=None
        )
        part.is_under_way = False
        self._throttled = 0
        self._fruit = True
        self._lessons.bear(fruit=True)
        self._gate.advance()
        return answer

    def _spend(self, part: _Part, began: float) -> None:
        part.result = replace(part.result, send_s=part.result.send_s + time.perf_counter() - began)

    def _refused(self, part: _Part, failure: QframeError, *, sent: bool = True) -> None:
        self._blamed = failure
        part.doubtful = part.doubtful or (sent and not failure.answered)
        status = Status.UNKNOWN if part.doubtful else Status.FAILED
        part.result = replace(part.result, status=status, error=failure)
        part.is_under_way = False

    def _mourn(self, part: _Part) -> None:
        part.result = replace(part.result, deaths=part.result.deaths + 1)
        part.is_under_way = False

    def _is_too_large(self, part: _Part) -> bool:
        """Whether other batches have shown that the server does not take so many points."""
        return len(part.batch) > self._lessons.points and self._is_halving

    @property
    def _is_halving(self) -> bool:
        return self._retry.halvings > 0 and self._lessons.hopeful

    @property
    def _is_hopeless(self) -> bool:
        """Whether so much was refused, and nothing accepted, that the rest will be refused too."""
        return self._refusals >= self._patience and not self._fruit

    def _is_worth_halving(self, part: _Part) -> bool:
        """Decide whether the halves of a part may fare better; learn from why it was refused."""
        error = part.result.error
        points = len(part.batch)
        if self._gate.abandoned:
            return False
        if error is None:
            return False
        if isinstance(error, RateLimited) and error.retry_after is None:
            if error.is_of_size:
                self._lessons.lower(points=(points + 1) // 2)
        elif isinstance(error, RequestTooLarge):
            # Halves differ a little in size: with half as the limit, one of them were cut again.
            self._lessons.lower(size=part.size * 5 / 8)
        elif not isinstance(error, InvalidRequest) or not self._lessons.hopeful:
            return False
        self._refusals += 1
        if points == 1 or not self._retry.halvings or self._is_hopeless:
            return False
        if self._halvings < 2:
            if isinstance(error, (RateLimited, RequestTooLarge)):
                return False
            reason = (
                f"{error}; one or more of these {points:,} points are at fault, which of them was "
                f"not found within {self._retry.splits} requests "
                "(qframe.Retry(splits=…) allows more)"
            )
            part.result = replace(part.result, error=type(error)(reason))
            return False
        self._halvings -= 2
        return True

    def _slow_down(self, part: _Part) -> None:
        """Wait before the halves of what was throttled, unless its size alone was the reason."""
        error = part.result.error
        if isinstance(error, RateLimited) and not error.is_of_size:
            self._throttled += 1
            self._gate.pause(self._retry.spread(self._throttled))

    def _halve(self, part: _Part) -> None:
        """Put the halves in the part's place; what was spent on it is told of the first."""
        first, second = part.batch.split()
        told = part.result
        rest = replace(outline(second), status=told.status, error=told.error, worker=told.worker)
        told = replace(told, start=first.start, stop=first.stop, points=len(first))
        self._left[-1:] = [
            _Part(second, rest, doubtful=part.doubtful),
            _Part(first, told, doubtful=part.doubtful),
        ]


@dataclass(slots=True)
class _Part:
    """Some rows of a batch on their way."""

    batch: Batch
    result: BatchResult
    size: int = 0  # bytes
    is_under_way: bool = False  # a request is
    doubtful: bool = False  # an attempt got no answer: it may have been applied


def outline(batch: Batch) -> BatchResult:
    """Return the result of a batch that was not sent."""
    return BatchResult(batch.number, batch.start, batch.stop, len(batch), Status.UNSENT)


def bare(error: BaseException) -> QframeError:
    """Return an error as a result can keep it: one of ours, without its tracebacks.

    A traceback holds the frames that it went through, and these the body of the batch: the results
    of failed batches would keep all their bytes in memory.
    """
    ours = error
    if not isinstance(error, QframeError):
        ours = UnexpectedError(f"{type(error).__name__}: {error}")
        ours.__cause__ = error
    assert isinstance(ours, QframeError)
    seen: set[int] = set()
    chain: list[BaseException | None] = [ours]
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            chain += [link.__cause__, link.__context__]
    return ours
