"""A small run of the memory benchmark, without asserting times."""

from __future__ import annotations

import pytest

from tests.benchmarks.discard import discarding_server
from tests.benchmarks.memory import make_frame, measure

ROWS, SIZE = 100_000, 384
MATRIX_BYTES = ROWS * SIZE * 4


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_an_upload_never_holds_a_copy_of_the_vectors(transport: str) -> None:
    """The memory above the frame is that of some batches, far less than the vectors take."""
    frame = make_frame(ROWS, SIZE)
    with discarding_server(SIZE) as urls:
        measure(frame.head(1000), urls[transport])  # imports and connects
        found = measure(frame, urls[transport])
    assert found.points == ROWS
    assert found.above_frame < MATRIX_BYTES / 3
