"""The requests of an upload by qframe, made without being sent, and sent without being made.

This is the one place here that calls what is inside of qframe.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

import qframe
from qframe.batches import BATCH_SIZE, Batch, Limits, iterate_batches
from qframe.mapping import resolve
from qframe.points import PointColumns
from qframe.sending import WORKERS
from qframe.uploaders.base import BaseUploader
from qframe.write import WriteOptions
from tests.benchmarks.clients import COLLECTION, Case, Upload, Urls

WRITE = WriteOptions(wait=True)


@dataclass(frozen=True, slots=True)
class Encoding:
    """The CPU seconds that making all requests of a frame takes, one after another.

    Attributes
    ----------
    map_s : float
        Columns to points, with all checks.
    cut_s : float
        Points to batches.
    encode_s : float
        Batches to bytes.
    """

    map_s: float
    cut_s: float
    encode_s: float

    @property
    def cpu_s(self) -> float:
        """All three."""
        return self.map_s + self.cut_s + self.encode_s


def measure_encoding(frame: pd.DataFrame, urls: Urls, case: Case) -> Encoding:
    """Make all requests of an upload, each thrown away before the next is made."""
    began = time.process_time()
    points = resolve(frame, vectors="embedding").points
    mapped = time.process_time()
    batches = _cut(points, urls, case)
    cut = time.process_time()
    with _uploader(urls, case) as uploader:
        for batch in batches:
            uploader.encode(batch.block())
        encoded = time.process_time()
    return Encoding(mapped - began, cut - mapped, encoded - cut)


@contextmanager
def ready_made(urls: Urls, case: Case) -> Iterator[Upload]:
    """Send the requests of a frame, made when it comes for the first time: no upload is faster."""
    workers = case.workers or WORKERS
    made: dict[int, list[Any]] = {}

    def upload(frame: pd.DataFrame) -> None:
        if len(frame) not in made:
            made[len(frame)] = _make(frame, urls, case)
        bodies = made[len(frame)]

        def send(number: int) -> None:
            with _uploader(urls, case) as uploader:
                for body in bodies[number::workers]:
                    uploader.send(body)

        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(send, range(workers)))

    yield upload


def _make(frame: pd.DataFrame, urls: Urls, case: Case) -> list[Any]:
    batches = _cut(resolve(frame, vectors="embedding").points, urls, case)
    with _uploader(urls, case) as uploader:
        return [uploader.encode(batch.block()) for batch in batches]


def _cut(points: PointColumns, urls: Urls, case: Case) -> list[Batch]:
    measure = qframe.connect(urls[case.transport]).measure(COLLECTION, WRITE)
    limits = measure.room(Limits(case.batch_size or BATCH_SIZE))
    return list(
        iterate_batches(points, measure.widths, batch_size=limits.points, max_bytes=limits.bytes)
    )


def _uploader(urls: Urls, case: Case) -> BaseUploader[Any]:
    return qframe.connect(urls[case.transport]).uploader(COLLECTION, write=WRITE)
