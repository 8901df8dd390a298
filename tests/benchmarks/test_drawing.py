"""A small run of the drawing benchmark, without asserting times."""

from __future__ import annotations

from tests.benchmarks.drawing import Drawing, Upload, measure, to_text


def test_a_panel_does_not_grow_with_the_frame() -> None:
    """What is drawn is counted in a real kernel, and is no larger for twenty times the rows."""
    found = measure(1, 100_000, (100_000, 2_000_000))
    small, large = found.lengths
    (silent,) = found.silent
    assert not silent.draws_s
    assert large.draws_s
    assert large.a_second <= 10.5
    assert 1000 < large.markup < 4000
    assert large.markup < max(small.markup, 2000) * 1.5
    assert "100,000 x 384 in a kernel" in to_text(found)


def test_shares() -> None:
    """A share is that of the upload's time, and CPU time is held against the silent one."""
    shown = Upload(10, 2.0, 3.3, (0.01, 0.03), 5)
    found = Drawing([shown], [Upload(10, 2.0, 3.0, (), 0)], [shown])
    assert found.shares == [2.0]
    assert [round(share) for share in found.cpu_shares] == [10]
    assert shown.a_second == 1.0
