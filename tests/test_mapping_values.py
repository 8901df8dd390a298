from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qframe.mapping.values import (
    INT64_MAX,
    INT64_MIN,
    Unconvertible,
    convert,
    outside_calendar,
    rfc3339,
    rfc3339_texts,
)


class Level(enum.IntEnum):
    LOW = 1


texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.just(pd.NA)
    | st.just(pd.NaT)
    | st.booleans()
    | st.integers(INT64_MIN, INT64_MAX)
    | st.floats(allow_infinity=False)
    | st.floats(width=32, allow_infinity=False).map(np.float32)
    | st.integers(0, 255).map(np.uint8)
    | texts
    | st.datetimes()
    | st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-5))])).filter(
        lambda time: 1 < time.year < 9999
    )
    | st.dates()
    | st.times()
    | st.uuids()
    | st.decimals(-1000, 1000, places=3)
    | st.just(Level.LOW)
    | hnp.arrays(np.float64, 3, elements=st.floats(allow_infinity=False))
    | hnp.arrays(np.int16, (2, 2))
    | hnp.arrays(np.bool_, 2)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=15,
)


@given(values)
def test_what_is_converted_is_json(value: Any) -> None:
    """Everything converted is written by orjson without help and read back unchanged."""
    converted = convert(value)
    assert orjson.loads(orjson.dumps(converted)) == converted


@given(values)
def test_converting_twice_changes_nothing(value: Any) -> None:
    """What is converted stays as it is, type by type, when it is converted again."""
    converted = convert(value)
    again = convert(converted)
    assert again == converted
    assert repr(again) == repr(converted)


@given(st.lists(st.floats(width=32, allow_infinity=False), min_size=1))
def test_float32_is_widened_exactly(numbers: list[float]) -> None:
    """A float32 keeps its value, in cells and in arrays; NaN is null."""
    array = np.array(numbers, np.float32)
    wanted = [None if math.isnan(number) else number for number in numbers]
    assert convert(array) == wanted
    assert [convert(number) for number in array] == wanted


UNITS = st.sampled_from(["s", "ms", "us", "ns"])
LIMIT = np.datetime64("2262-01-01", "ns").astype(np.int64)


@given(UNITS, st.lists(st.integers(-LIMIT, LIMIT), min_size=1), st.booleans())
def test_arrays_of_times_are_written_as_timestamps_are(
    unit: str, counts: list[int], whole: bool
) -> None:
    """rfc3339_texts writes each time of an array as rfc3339 writes the Timestamp."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    counts = [count // (10**9 // per_second) for count in counts]
    if whole:
        counts = [count // per_second * per_second for count in counts]
    times = np.array(counts, dtype="int64").astype(f"datetime64[{unit}]")
    assert rfc3339_texts(times).tolist() == [rfc3339(time) for time in pd.DatetimeIndex(times)]


def test_the_ends_of_nanoseconds() -> None:
    """The earliest and the latest time that pandas has, as people write for "always", are right."""
    times = [pd.Timestamp.min, pd.Timestamp.min + pd.Timedelta(999, "ms"), pd.Timestamp.max]
    assert rfc3339_texts(pd.DatetimeIndex(times).to_numpy()).tolist() == [
        "1677-09-21T00:12:43.145224193Z",
        "1677-09-21T00:12:44.144224193Z",
        "2262-04-11T23:47:16.854775807Z",
    ]
    with pytest.raises(Unconvertible, match="the time 1970-01-01T00:00"):
        convert(np.datetime64(1, "as"))  # of which a second is too many for numpy


@given(UNITS, st.integers(INT64_MIN + 10**10, INT64_MAX - 10**10))  # where numpy reads text
def test_the_calendar_has_years_1_to_9999(unit: str, count: int) -> None:
    """A time outside of RFC 3339's years is no text, all others are read back as they were."""
    times = np.array([count, 0], dtype="int64").astype(f"datetime64[{unit}]")
    text, epoch = rfc3339_texts(times).tolist()
    outside, _ = outside_calendar(times)
    assert epoch == "1970-01-01T00:00:00Z"
    if outside:
        assert text == ""
        with pytest.raises(Unconvertible, match="outside of the calendar"):
            convert(times[0])
    else:
        assert text.endswith("Z")
        assert np.datetime64(text[:-1], unit) == times[0]
        assert convert(times[0]) == text


def test_not_a_time_is_null() -> None:
    """NaT of every kind is missing, not outside of the calendar."""
    times = np.array(["NaT", "2024"], dtype="datetime64[ns]")
    assert rfc3339_texts(times).tolist() == ["", "2024-01-01T00:00:00Z"]
    assert not outside_calendar(times).any()
    assert [convert(x) for x in (times[0], pd.NaT, np.timedelta64("NaT", "s"))] == [None] * 3


@given(st.datetimes(min_value=dt.datetime(2, 1, 1), max_value=dt.datetime(9998, 1, 1)))
def test_times_with_a_zone_are_told_in_utc(time: dt.datetime) -> None:
    """A time with an offset is written in UTC, so that it reads back as the same moment."""
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    text = convert(time.replace(tzinfo=zone))
    assert dt.datetime.fromisoformat(text) == time.replace(tzinfo=zone)
    assert text.endswith("Z")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (dt.datetime(2024, 5, 1), "2024-05-01T00:00:00Z"),
        (dt.datetime(2024, 5, 1, 1, 2, 3, 4), "2024-05-01T01:02:03.000004Z"),
        (pd.Timestamp(1, unit="ns"), "1970-01-01T00:00:00.000000001Z"),
        (pd.Timestamp(2024, 5, 1, 14, tz="Europe/Berlin"), "2024-05-01T12:00:00Z"),
        (np.datetime64("2024-05"), "2024-05-01T00:00:00Z"),
        (np.datetime64("1969-12-31T23:59:59.5"), "1969-12-31T23:59:59.500000Z"),
        (dt.date(2024, 5, 1), "2024-05-01"),
        (dt.time(1, 2, 3, 4), "01:02:03.000004"),
        (Decimal("1.10"), 1.1),
        (Decimal("NaN"), None),
        (uuid.UUID(int=255), "00000000-0000-0000-0000-0000000000ff"),
        (Level.LOW, 1),
        (np.str_("a"), "a"),
        (np.bool_(True), True),
        (np.array(5), 5),
        (np.array([["a", None]], dtype=object), [["a", None]]),
        (np.array([1, np.nan]), [1.0, None]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.array([1, None]), [1, None]),
        (pd.Index(["a"]), ["a"]),
        ({"a": {"b": (1, float("nan"))}}, {"a": {"b": [1, None]}}),
        (-0.0, -0.0),
        ("", ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_the_table_of_conversions(value: Any, wanted: Any) -> None:
    """Values take the form of the table, in Python's own types."""
    converted = convert(value)
    assert converted == wanted
    assert type(converted) is type(wanted)
    assert repr(converted) == repr(wanted)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_keep_their_digits_or_are_refused(value: Decimal) -> None:
    """No digit of a Decimal is lost without a word."""
    try:
        number = convert(value)
    except Unconvertible as error:
        assert "which float64 holds as" in error.reason  # noqa: PT017 - both ends are checked
        assert Decimal(repr(float(value))) != value
    else:
        assert Decimal(repr(number)) == value


def test_a_list_within_itself_is_refused() -> None:
    """A value that contains itself ends at the depth limit."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Unconvertible, match="nested more than 30 deep"):
        convert(endless)
