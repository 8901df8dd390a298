"""A stream of records as batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from qframe.batches import Batch, Limits, Widths, iterate_batches
from qframe.errors import InputError, SchemaMismatch
from qframe.mapping.records import chunks, resolve_records
from qframe.points import VectorColumn
from qframe.schema import CollectionInfo

Prepare = Callable[[Mapping[str, VectorColumn]], CollectionInfo]


class RecordStream:
    """Draws records a batch at a time.

    Parameters
    ----------
    records : iterable
        Mappings or objects with ``id``, ``vector`` and ``payload``.
    widths : callable
        As in `iterate_batches`.
    limits : Limits
    info : CollectionInfo, optional
        The collection, whose vectors the records must have.
    prepare : callable, optional
        Called once with the vectors of the first batch, before it is yielded; gives the collection.

    Attributes
    ----------
    read : int
        Records drawn so far.
    skipped : list of dict
        Findings of records that were set aside: position, label, column, reason.
    """

    def __init__(
        self,
        records: Iterable[Any],
        widths: Widths,
        limits: Limits,
        *,
        info: CollectionInfo | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self._records = records
        self._widths = widths
        self._limits = limits
        self._info = info
        self._prepare = prepare
        self.read = 0
        self.skipped: list[dict[str, Any]] = []

    def batches(self) -> Iterator[Batch]:
        """Yield batches, numbered through; ``start`` and ``stop`` are numbers of records."""
        number = 0
        for chunk in chunks(self._records, self._limits.points):
            first, self.read = self.read, self.read + len(chunk)
            try:
                points, skipped = resolve_records(chunk, first, self._info)
            except (InputError, SchemaMismatch) as error:
                if first == 0:
                    raise
                self.skipped += [
                    {"position": at, "label": at, "column": "record", "reason": str(error)}
                    for at in range(first, self.read)
                ]
                continue
            self.skipped += skipped
            if len(points) and self._prepare is not None:
                self._info, self._prepare = self._prepare(points.vectors), None
            for batch in iterate_batches(
                points,
                self._widths,
                batch_size=self._limits.points,
                max_bytes=self._limits.bytes,
            ):
                yield replace(
                    batch,
                    number=number,
                    start=batch.start + first,
                    stop=batch.stop + first,
                    origin=first,
                )
                number += 1

    def complaint(self) -> InputError | None:
        """Return what was wrong with the records that were set aside; None for none."""
        if not self.skipped:
            return None
        first = self.skipped[0]
        count = len({finding["position"] for finding in self.skipped})
        return InputError(
            f"{count:,} of {self.read:,} records cannot become points and were set aside; the "
            f"first, record {first['label']}: {first['column']}: {first['reason']}"
        )
