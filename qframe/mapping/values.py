"""The one conversion table: what pandas and Python hold -> what a payload can hold.

A payload is JSON. All three transports are given the same converted values, so that the same frame
is stored alike over REST, over gRPC and by the embedded engine:

======================================  ====================================================
in a cell                               in the payload
======================================  ====================================================
None, NaN, NaT, pd.NA                   null; with ``missing="drop"`` the key is left out
bool                                    boolean
int, of any width                       integer; outside of int64 refused
float, of any width                     number (float32 widened exactly); inf refused
str                                     string; lone surrogates refused
datetime, with or without a time zone   string, RFC 3339 in UTC (naive is taken as UTC), to the
                                        microsecond, or nanosecond where there are some;
                                        years outside of 1 to 9999 refused
date                                    string, ``YYYY-MM-DD``
time                                    string, ``HH:MM:SS``, to the microsecond, or nanosecond
                                        where there are some; with a time zone refused
Decimal                                 number, where float64 gives all digits back; else refused
UUID                                    string, hyphenated, lower case
category                                as its category
enum member                             as its value
numpy scalar, 0-d array                 as the Python value it stands for
numpy array, list, tuple                list
dict, mapping                           object; keys that are not strings refused
bytes, set, timedelta, period,          refused, each with what to do instead
interval, complex, anything else
======================================  ====================================================

Lists and objects may be nested `MAX_DEPTH` deep. Missing values inside of them are null.

Numbers are sent to their last digit. The engine keeps payloads as JSON and reads a float back up to
one unit in the last place beside it, whatever the transport; over REST a server reads it so twice.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.points import Texts

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

MAX_DEPTH = 30
"""Lists and objects within one another in one payload value. A server's protobuf reader stops at
100 nested messages: an object within an object takes three, and the request around them four."""


class Unconvertible(Exception):
    """A value that a payload cannot hold.

    Parameters
    ----------
    reason : str
        What was found.
    remedy : str
        What to do instead.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy


REMEDIES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((bytes, bytearray, memoryview), "decode bytes to text, or encode them with base64"),
    ((set, frozenset), 'a set has no order: .map(sorted, na_action="ignore") makes a list of it'),
    ((pd.Timedelta, dt.timedelta, np.timedelta64), "a length of time: .dt.total_seconds()"),
    (pd.Period, 'a span of time: .dt.to_timestamp(), or .astype("string")'),
    (
        pd.Interval,
        'an interval: .astype("string"), or .array.left and .array.right as two columns',
    ),
    ((complex, np.complexfloating), "a complex number: its real and imaginary part as two columns"),
)

INT_REMEDY = (
    'a payload\'s integers are 64 bits wide, with sign: .astype("string") keeps every digit'
)
INF_REMEDY = "JSON knows no infinity: .replace([np.inf, -np.inf], np.nan) makes it missing"
TEXT_REMEDY = "UTF-8 cannot hold it: s.encode('utf-8', 'replace').decode() does away with it"
YEAR_REMEDY = 'RFC 3339 has years 1 to 9999: .astype("string") keeps it as text'
DECIMAL_REMEDY = (
    'float64 would change it: .astype("string") keeps every digit, .astype(float) rounds'
)
TIME_REMEDY = 'a time of day has no date to take the offset of its zone from: .astype("string")'
KEY_REMEDY = "a JSON object has strings as keys: {str(k): v for k, v in value.items()}"
DEPTH_REMEDY = "flatten it, or keep it as text with json.dumps"


def convert(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON knows it.

    Parameters
    ----------
    value : object
    depth : int
        How many lists and objects it stands in.

    Returns
    -------
    None, bool, int, float, str, list or dict

    Raises
    ------
    Unconvertible
        With what was found and what to do instead.

    Examples
    --------
    >>> import datetime
    >>> convert({"when": datetime.datetime(2024, 5, 1, 12), "seen": np.array([1, 2])})
    {'when': '2024-05-01T12:00:00Z', 'seen': [1, 2]}
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value)
    if kind is int:
        return _integer(value)
    if kind is float:
        return _number(value)
    if kind is list or kind is tuple:
        inner = _deeper(depth)
        return [convert(item, inner) for item in value]
    if kind is dict:
        return _mapping(value, depth)
    return _convert_other(value, depth)


def _convert_other(value: Any, depth: int) -> Any:
    """Convert what is not one of Python's own JSON types."""
    if value is pd.NaT or value is pd.NA or value is np.ma.masked:
        return None
    if isinstance(value, enum.Enum):
        return convert(value.value, depth)
    if isinstance(value, (pd.Timedelta, np.timedelta64)):
        return None if pd.isna(value) else _refuse(value)
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else _datetime64(value)
    if isinstance(value, np.generic):
        if isinstance(value, np.floating):
            return _number(float(value))
        return _refuse(value) if isinstance(value, np.complexfloating) else convert(value.item())
    if isinstance(value, np.ndarray):
        return _array(value, depth)
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            raise Unconvertible(f"a time of day with a zone, {value}", TIME_REMEDY)
        return value.isoformat()
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, (list, tuple)):
        return convert(list(value), depth)
    if isinstance(value, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        return convert(list(value), depth)
    return _refuse(value)


def _refuse(value: Any) -> Any:
    name = type(value).__name__
    for kinds, remedy in REMEDIES:
        if isinstance(value, kinds):
            raise Unconvertible(f"{name} {value!r:.40}", remedy)
    raise Unconvertible(
        f"{name} {value!r:.40}",
        "a payload holds what JSON can hold: convert it, or leave the column out of payload=[…]",
    )


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unconvertible(
                f"a lone surrogate {value[error.start]!a} at position {error.start} of a text",
                TEXT_REMEDY,
            ) from None
    return value


def _integer(value: int) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        shown = f"the integer {value}" if abs(value) < 10**40 else "an integer of over 40 digits"
        raise Unconvertible(f"{shown}, beyond int64", INT_REMEDY)
    return value


def _number(value: float) -> float | None:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    raise Unconvertible(str(value), INF_REMEDY)


def _decimal(value: Decimal) -> float | None:
    if value.is_nan():
        return None
    if value.is_infinite():
        raise Unconvertible(f"Decimal {value}", INF_REMEDY)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise Unconvertible(f"Decimal {value}, which float64 holds as {number!r}", DECIMAL_REMEDY)
    return number


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    inner = _deeper(depth)
    converted: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise Unconvertible(
                f"an object with the key {key!r:.40} of type {type(key).__name__}", KEY_REMEDY
            )
        converted[_text(str.__str__(key))] = convert(item, inner)
    return converted


def _array(value: np.ndarray[Any, Any], depth: int) -> Any:
    if value.ndim == 0:
        return convert(value[()], depth)
    for _ in range(value.ndim):
        depth = _deeper(depth)
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            value = value.astype(np.float64)
    if value.dtype.kind == "b" or (value.dtype.kind == "f" and np.isfinite(value).all()):
        return value.tolist()
    if value.dtype.kind in "iu" and not (value.dtype == np.uint64 and (value > INT64_MAX).any()):
        return value.tolist()
    return [convert(item, depth - value.ndim + 1) for item in value]


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise Unconvertible(f"lists or objects nested more than {MAX_DEPTH} deep", DEPTH_REMEDY)
    return depth + 1


def rfc3339(value: dt.datetime) -> str:
    """Write a datetime or Timestamp in UTC; a naive one is taken as UTC.

    Examples
    --------
    >>> rfc3339(pd.Timestamp("2024-05-01 14:00", tz="Europe/Berlin"))
    '2024-05-01T12:00:00Z'
    """
    try:
        if value.tzinfo is not None and value.utcoffset() is not None:
            value = value.astimezone(dt.UTC)
        if not dt.MINYEAR <= value.year <= dt.MAXYEAR:  # a Timestamp goes further
            raise ValueError(value.year)
        text = value.replace(tzinfo=None).isoformat()
    except (OverflowError, ValueError) as error:
        raise Unconvertible(f"the time {value}, outside of the calendar", YEAR_REMEDY) from error
    return f"{text}Z"


def _datetime64(value: np.datetime64) -> str:
    try:
        (text,) = rfc3339_texts(np.array([value])).tolist()
    except OverflowError:  # more seconds than 64 bits can say, or a unit of attoseconds
        text = ""
    if not text:
        raise Unconvertible(f"the time {value}, outside of the calendar", YEAR_REMEDY)
    return text


def time_texts(nanoseconds: NDArray[np.int64]) -> Texts:
    """Write times of day, counted in nanoseconds from midnight.

    Examples
    --------
    >>> time_texts(np.array([3_600_000_000_000, 1_000, 1])).tolist()
    ['01:00:00', '00:00:00.000001', '00:00:00.000000001']
    """
    times = nanoseconds.astype("datetime64[ns]")  # of the first day of all
    return Texts.of([text[len("1970-01-01T") : -1] for text in rfc3339_texts(times).tolist()])


def outside_calendar(values: np.ndarray[Any, np.dtype[np.datetime64]]) -> NDArray[np.bool_]:
    """Tell which times are outside of the years 1 to 9999; NaT is not."""
    seconds, _ = _since_1970(values)
    return (seconds < _FIRST) | (seconds > _LAST)


_FIRST = int(np.datetime64("0001-01-01", "s").astype(np.int64))
_LAST = int(np.datetime64("9999-12-31T23:59:59", "s").astype(np.int64))


def _since_1970(
    values: np.ndarray[Any, np.dtype[np.datetime64]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split times into seconds and nanoseconds, both 0 for NaT.

    Not with `astype`, which wraps around in the first second that nanoseconds can say, and from
    numpy 2.5 on raises OverflowError.
    """
    # Differences are taken in the finer unit of the two, so they are exact.
    elapsed = values - np.datetime64(0, "s")
    elapsed[np.isnat(values)] = 0
    seconds, fractions = np.divmod(elapsed, np.timedelta64(1, "s"))
    return seconds, fractions.astype("timedelta64[ns]").astype(np.int64)


def rfc3339_texts(values: np.ndarray[Any, np.dtype[np.datetime64]]) -> Texts:
    """Write an array of UTC times as `rfc3339` writes one.

    Parameters
    ----------
    values : datetime64 array of shape (n,)
        Of any unit.

    Returns
    -------
    Texts
        Empty for NaT and for years outside of 1 to 9999.

    Examples
    --------
    >>> rfc3339_texts(np.array(["2024-05-01T12", "NaT"], "datetime64[s]")).tolist()
    ['2024-05-01T12:00:00Z', '']
    """
    import pyarrow as pa

    seconds, nanoseconds = _since_1970(values)
    absent = np.isnat(values) | (seconds < _FIRST) | (seconds > _LAST)
    seconds[absent] = 0
    nanoseconds[absent] = 0
    digits = 9 if nanoseconds.any() else 0
    table = np.empty((len(values), 21 + digits), dtype=np.uint8)
    # Arrow writes "2024-05-01 12:00:00" in 0.04 µs, numpy's own datetime_as_string in 0.17.
    known = pa.array(seconds.view("datetime64[s]")).cast(pa.large_string())
    table[:, :19] = Texts.of_arrow(known).data.reshape(-1, 19)
    table[:, 10] = ord("T")
    table[:, 19] = ord(".")
    for place in range(digits):
        table[:, 28 - place] = ord("0") + nanoseconds // 10**place % 10
    lengths = np.where(nanoseconds == 0, 20, np.where(nanoseconds % 1000 == 0, 27, 30))
    table[np.arange(len(values)), lengths - 1] = ord("Z")
    lengths[absent] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)], dtype=np.int64)
    return Texts(table[np.arange(table.shape[1]) < lengths[:, None]], offsets)
