"""A stream of records as batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from qframe.batches import Batch, Limits, Widths, iterate_batches
from qframe.errors import InputError, SchemaMismatch
from qframe.mapping.records import chunks, resolve_records
from qframe.target import Target


class RecordStream:
    """Draws records a batch at a time, and makes the collection when it knows the first ones.

    Parameters
    ----------
    records : iterable
    target : Target
    widths : callable
        As in `iterate_batches`.
    limits : Limits

    Attributes
    ----------
    read : int
        Records drawn so far.
    skipped : list of dict
        Findings of records that were set aside.
    """

    def __init__(
        self, records: Iterable[Any], target: Target, widths: Widths, limits: Limits
    ) -> None:
        self._records = records
        self._target = target
        self._widths = widths
        self._limits = limits
        self.read = 0
        self.skipped: list[dict[str, Any]] = []

    def batches(self) -> Iterator[Batch]:
        """Yield batches, numbered through; ``start`` and ``stop`` are numbers of records."""
        number = 0
        for chunk in chunks(self._records, self._limits.points):
            first, self.read = self.read, self.read + len(chunk)
            try:
                points, skipped = resolve_records(chunk, first, self._target.info)
            except (InputError, SchemaMismatch) as error:
                if first == 0:
                    raise
                skipped = [
                    {"position": at, "label": at, "column": "record", "reason": str(error)}
                    for at in range(first, self.read)
                ]
                self.skipped += skipped
                continue
            self.skipped += skipped
            if len(points) and not self._target.prepared:
                self._target.prepare(points.vectors)
            for batch in iterate_batches(
                points,
                self._widths,
                batch_size=self._limits.points,
                max_bytes=self._limits.bytes,
            ):
                yield dataclasses.replace(
                    batch, number=number, start=batch.start + first, stop=batch.stop + first
                )
                number += 1
