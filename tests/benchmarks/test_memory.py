"""A small run of the memory benchmark, without asserting times."""

from __future__ import annotations

import pytest

from tests.benchmarks.clients import Case, ours
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.discard import discarding_server

ROWS, SIZE = 100_000, 384
MATRIX_BYTES = ROWS * SIZE * 4


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_an_upload_never_holds_a_copy_of_the_vectors(transport: str) -> None:
    """The memory above the frame is that of some batches, far less than the vectors take."""
    case = Case(transport, SIZE, 4, None, None, ROWS)
    with discarding_server(SIZE) as server, Contestant(ours, server.urls, case) as contestant:
        contestant.warm_up()
        server.count(points=True)
        above_frame = contestant.watch().above_frame
        assert server.count().points == ROWS
    assert 0 < above_frame < MATRIX_BYTES / 3
