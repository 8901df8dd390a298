"""Batches of points that are converted already."""

from __future__ import annotations

from qframe.batches import Batch
from qframe.points import PointBlock, Rows


class Converted:
    """Columns whose rows are one block, whole."""

    def __init__(self, block: PointBlock) -> None:
        self._block = block

    def block(self, rows: Rows) -> PointBlock:
        """Return the block."""
        assert rows == slice(0, len(self._block))
        return self._block


def batch_of(block: PointBlock) -> Batch:
    """Return a batch of these points."""
    rows = slice(0, len(block))
    return Batch(0, 0, len(block), Converted(block), rows)  # type: ignore[arg-type]
