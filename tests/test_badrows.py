from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from qframe.errors import BadRowsError
from qframe.mapping.badrows import SHOWN, BadRows


def _three(noun: str = "row") -> BadRows:
    bad = BadRows(pd.Index(["p", "q", "r", "s"]), noun)
    bad.add(2, "b", "is bent", "straighten it")
    bad.add_all([0, 2], "a", (f"is {position}" for position in (0, 2)), "fill it")
    return bad


def test_nothing_found_is_false() -> None:
    """Without findings there is nothing to raise, report or set aside."""
    bad = BadRows(pd.RangeIndex(3))
    bad.add_all([], "a", "is wrong", "mend it")
    assert not bad
    assert not bad.mask().any()
    assert bad.to_json() == []
    assert bad.to_frame().columns.tolist() == ["position", "label", "column", "reason"]


def test_the_error_tells_all_in_order() -> None:
    """Findings stand by column, first the column with the first row, then the ways out."""
    text = str(_three().error("ids: "))
    assert text.splitlines() == [
        "ids: 2 of 4 rows cannot become points; nothing was sent",
        "  a:",
        "    row 'p': is 0",
        "    row 'r': is 2",
        "    -> fill it",
        "  b:",
        "    row 'r': is bent",
        "    -> straighten it",
        '  Or bad_rows="skip" sends the others and lists these in the report; '
        "all findings are in this error's .rows",
    ]


def test_the_rows_of_the_error() -> None:
    """The error's rows are a frame by position, and a row may have several findings."""
    error = _three().error()
    assert isinstance(error, BadRowsError)
    assert error.rows.to_dict("list") == {
        "position": [0, 2, 2],
        "label": ["p", "r", "r"],
        "column": ["a", "b", "a"],
        "reason": ["is 0", "is bent", "is 2"],
    }
    assert _three().mask().tolist() == [True, False, True, False]


def test_many_rows_are_counted() -> None:
    """A few rows of a kind are shown, by position, and the others counted."""
    bad = BadRows(pd.RangeIndex(5000), "record")
    bad.add_all(list(range(4999, -1, -1)), "a", "is wrong", "mend it")
    text = str(bad.error())
    assert "5,000 of 5,000 records" in text
    assert text.count("    record ") == SHOWN
    assert "record 0: is wrong" in text
    assert f"… and {5000 - SHOWN:,} more" in text
    assert "bad_rows" not in text
    assert bad.to_frame()["position"].tolist() == list(range(5000))


@pytest.mark.parametrize(
    "label", ["a", 5, 2.5, True, pd.Timestamp("2024"), ("a", 1), pd.Period("2024-05", "M"), None]
)
def test_labels_are_json_in_a_report(label: object) -> None:
    """Text and numbers stay, every other label is told as its text."""
    index = pd.MultiIndex.from_tuples([label]) if isinstance(label, tuple) else pd.Index([label])
    bad = BadRows(index)
    bad.add(0, "a", "is wrong", "mend it")
    (finding,) = json.loads(json.dumps(bad.to_json()))
    wanted = label if isinstance(label, (str, int, float)) else str(label)
    assert finding == {"position": 0, "label": wanted, "column": "a", "reason": "is wrong"}


def test_labels_that_json_does_not_know() -> None:
    """NaN in an index is told as text, because JSON has no such number."""
    bad = BadRows(pd.Index([math.nan, 1.0]))
    bad.add(0, "a", "is wrong", "mend it")
    json.dumps(bad.to_json(), allow_nan=False)


def test_findings_are_counted_by_column() -> None:
    """A row counts once a column, however much is wrong with it there."""
    bad = _three()
    bad.add(2, "b", "is bent", "straighten it")
    bad.add(2, "b", "is long", "cut it")
    assert bad.counts() == {"b": 1, "a": 2}
    assert bad.findings == 5


def test_going_back_forgets_what_was_found_since() -> None:
    """Findings after a mark are forgotten, and those before it stay."""
    bad = _three()
    before, mark = bad.to_json(), bad.mark()
    bad.add(3, "a", "is 3", "fill it")
    bad.add(3, "c", "is odd", "even it")
    bad.back_to(mark)
    assert bad.to_json() == before


def test_the_first_findings_alone() -> None:
    """Those of the first rows are to be had without the others."""
    assert _three().to_json(2) == _three().to_json()[:2]
