"""Columns -> payload keys, converted by the table in `qframe.mapping.values`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import InputError
from qframe.mapping.badrows import BadRows
from qframe.mapping.columns import arrow_array, arrow_text, is_label, pick, require
from qframe.mapping.values import (
    INF_REMEDY,
    INT64_MAX,
    INT_REMEDY,
    YEAR_REMEDY,
    Unconvertible,
    convert,
    outside_calendar,
    rfc3339_texts,
    time_texts,
)
from qframe.mapping.vectors.source import arrow_rows, spans
from qframe.points import PayloadBlock, PayloadColumn, PayloadKind, Rows, Texts, row_count

GEO_KEY = "location"

NAT = -(2**63)
"""The count that numpy takes for no time."""


@dataclass(frozen=True, slots=True)
class Geo:
    """Two columns that make one geo point; made by `geo`."""

    lat: Hashable
    lon: Hashable
    key: str = GEO_KEY


def geo(lat: Hashable = "lat", lon: Hashable = "lon", *, key: str = GEO_KEY) -> Geo:
    """Make a geo point of two columns, for ``payload=[…]`` or ``payload={…: key}``.

    Parameters
    ----------
    lat, lon : hashable
        Columns with degrees north (-90 to 90) and degrees east (-180 to 180).
    key : str, default "location"
        Payload key, unless a mapping names another.

    Returns
    -------
    Geo
        Stored as ``{"lat": …, "lon": …}``, which Qdrant's geo filters and indexes read.

    Examples
    --------
    >>> geo(lat="latitude", lon="longitude")
    Geo(lat='latitude', lon='longitude', key='location')
    """
    return Geo(lat, lon, key)


def resolve_payload(
    frame: pd.DataFrame,
    payload: Any,
    used: set[Hashable],
    kept_ids: set[Hashable],
    missing: str,
    bad: BadRows,
) -> tuple[PayloadColumn, ...]:
    """Read the ``payload`` argument and check every cell that it names.

    Parameters
    ----------
    frame : DataFrame
    payload : None, label, list of labels and Geo, or mapping of these to keys
    used : set
        Columns that went into ids or vectors, left out when `payload` is None.
    kept_ids : set
        Columns that ids were made from, kept in the payload whatever `payload` lists.
    missing : {"null", "drop"}
    bad : BadRows

    Returns
    -------
    tuple of PayloadColumn
    """
    __tracebackhide__ = True
    if missing not in ("null", "drop"):
        raise InputError(
            f"missing={missing!r}: 'null' stores missing cells as null, 'drop' leaves the key out"
        )
    drop = missing == "drop"
    items = _items(frame, payload, used)
    listed = {column for column, _ in items}
    items += [(label, label) for label in frame.columns if label in kept_ids - listed]
    columns: list[PayloadColumn] = []
    taken: dict[str, Hashable] = {}
    for column, key in items:
        text = _key(column, key)
        if text in taken:
            raise InputError(
                f"payload: {taken[text]!r} and {column!r} both go to the key {text!r}; "
                "give one of them another, as in payload={column: key}"
            )
        taken[text] = column
        if isinstance(column, Geo):
            made = _geo_column(frame, column, text, drop, bad)
            made.labels = (column.lat, column.lon)
        else:
            made = resolve_column(pick(frame, column, "payload"), text, drop, bad)
            made.labels = (column,)
        columns.append(made)
    return tuple(columns)


def _items(frame: pd.DataFrame, payload: Any, used: set[Hashable]) -> list[tuple[Any, Any]]:
    """Return pairs of a column (or Geo) and its key."""
    if payload is None:
        return [(label, label) for label in frame.columns if label not in used]
    if isinstance(payload, Geo) or is_label(frame, payload):
        payload = [payload]
    if isinstance(payload, Mapping):
        pairs = []
        for column, key in payload.items():
            if isinstance(key, Geo):
                column, key = key, column
            pairs.append((column, key))
        return pairs
    if isinstance(payload, (str, int)):
        require(frame, payload, "payload")
    if not isinstance(payload, Sequence | pd.Index | np.ndarray):
        raise InputError(
            f"payload: {type(payload).__name__} {payload!r:.60} is neither a list of columns, "
            "a mapping {column: key}, nor None (every column that is not used otherwise)"
        )
    return [(column, column.key if isinstance(column, Geo) else column) for column in payload]


def _key(column: Any, key: Any) -> str:
    if isinstance(key, str):
        try:
            key.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"payload: UTF-8 cannot hold the key {key!a}; payload={{column: key}} names others"
            ) from None
        return str.__str__(key)  # writers of JSON take no subclass, such as numpy's, for a key
    raise InputError(
        f"payload: the key {key!r} is a {type(key).__name__}, and a payload's keys are strings; "
        f"payload={{{column!r}: 'name'}} gives one, or rename the frame's columns with "
        "df.columns = df.columns.map(str)"
    )


class ConvertedColumn(PayloadColumn):
    """A payload key whose blocks are made by a function of the rows.

    Parameters
    ----------
    key : str
    kind : PayloadKind
    read : callable
        Gives values and missing mask of some rows.
    drop : bool
        Whether missing cells leave the key out.
    """

    def __init__(
        self,
        key: str,
        kind: PayloadKind,
        read: Callable[[Rows], tuple[Any, NDArray[np.bool_] | None]],
        drop: bool,
    ) -> None:
        self.key = key
        self.kind = kind
        self._read = read
        self._drop = drop

    def block(self, rows: Rows) -> PayloadBlock:
        values, missing = self._read(rows)
        if missing is not None and not missing.any():
            missing = None
        return PayloadBlock(self.key, self.kind, values, missing, self._drop)


def resolve_column(series: pd.Series[Any], key: str, drop: bool, bad: BadRows) -> PayloadColumn:
    """Choose the road of a column by its dtype, and check its cells."""
    dtype = series.dtype
    name = series.name
    if isinstance(dtype, pd.SparseDtype):
        series = pd.Series(np.asarray(series), index=series.index, name=series.name)
        dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(series, key, drop, bad)
    if pd.api.types.is_bool_dtype(dtype):
        return ConvertedColumn(key, PayloadKind.BOOL, _masked(series, np.bool_, False), drop)
    if pd.api.types.is_integer_dtype(dtype):
        if pd.api.types.is_unsigned_integer_dtype(dtype):
            numbers, _ = _masked(series, np.uint64, 0)(slice(0, len(series)))
            over = np.flatnonzero(numbers > INT64_MAX)
            found = (f"the integer {number}, beyond int64" for number in numbers[over].tolist())
            bad.add_all(over.tolist(), _named(name), found, INT_REMEDY)
        return ConvertedColumn(key, PayloadKind.INTEGER, _masked(series, np.int64, 0), drop)
    if pd.api.types.is_float_dtype(dtype):
        read = _floats(series)
        for span in spans(len(series)):
            values, _ = read(span)
            infinite = np.flatnonzero(np.isinf(values)) + span.start
            texts = map(str, series.array[infinite].tolist())  # `take` knows no big-endian floats
            bad.add_all(infinite.tolist(), _named(name), texts, INF_REMEDY)
        return ConvertedColumn(key, PayloadKind.FLOAT, read, drop)
    if _is_datetime(dtype):
        return _datetimes(series, key, drop, bad)
    arrow = arrow_text(series)
    if arrow is not None:
        return _arrow_text(arrow, key, drop)
    arrow = arrow_array(series)
    if arrow is not None and str(arrow.type) == "time64[ns]":
        return _arrow_times(arrow, key, drop)
    if _is_text(series):
        return _text(series, key, drop, bad)
    return _checked(series, key, drop, bad)


def _named(name: Hashable) -> str:
    return f"column {name!r}"


def _masked(series: pd.Series[Any], dtype: Any, fill: Any) -> Callable[[Rows], tuple[Any, Any]]:
    """Read a boolean or integer column, numpy's own or a nullable one."""
    if isinstance(series.dtype, np.dtype):
        array = series.to_numpy()
        return lambda rows: (array[rows].astype(dtype, copy=False), None)
    cells = series.array

    def read(rows: Rows) -> tuple[Any, NDArray[np.bool_]]:
        part = cells[rows]
        return part.to_numpy(dtype=dtype, na_value=fill), np.asarray(part.isna())

    return read


def _floats(series: pd.Series[Any]) -> Callable[[Rows], tuple[Any, NDArray[np.bool_]]]:
    """Read a float column, widened to float64, NaN as missing."""
    array = series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array

    def read(rows: Rows) -> tuple[Any, NDArray[np.bool_]]:
        part = array[rows]
        if not isinstance(part, np.ndarray):
            part = part.to_numpy(dtype=np.float64, na_value=np.nan)
        with np.errstate(over="ignore"):  # of longdouble, found as inf
            values = part.astype(np.float64, copy=False)
        return values, np.isnan(values)

    return read


def _is_datetime(dtype: Any) -> bool:
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        return bool(pa.types.is_timestamp(dtype.pyarrow_dtype))
    return pd.api.types.is_datetime64_any_dtype(dtype)


def _datetimes(series: pd.Series[Any], key: str, drop: bool, bad: BadRows) -> PayloadColumn:
    """Read a datetime column, naive (taken as UTC) or with a zone."""
    arrow = arrow_array(series)
    if arrow is None:
        # pandas counts from the same moment in every zone, so that this is a view.
        whole = series.to_numpy(f"datetime64[{series.dt.unit}]")

    def utc(rows: Rows) -> NDArray[np.datetime64]:
        if arrow is None:
            return whole[rows]
        counts = arrow_rows(arrow, rows).view("int64").fill_null(NAT)
        return np.asarray(counts).view(f"datetime64[{arrow.type.unit}]")

    def read(rows: Rows) -> tuple[Texts, NDArray[np.bool_]]:
        times = utc(rows)
        return rfc3339_texts(times), np.isnat(times)

    for span in spans(len(series)):
        times = utc(span)
        outside = np.flatnonzero(outside_calendar(times))
        found = (f"the time {text}" for text in np.datetime_as_string(times[outside]).tolist())
        bad.add_all((outside + span.start).tolist(), _named(series.name), found, YEAR_REMEDY)
    return ConvertedColumn(key, PayloadKind.TEXT, read, drop)


def _is_text(series: pd.Series[Any]) -> bool:
    """Whether there is nothing but text, and missing cells."""
    if series.dtype == object:
        return pd.api.types.infer_dtype(series, skipna=True) == "string"
    return pd.api.types.is_string_dtype(series.dtype)


def _arrow_text(array: Any, key: str, drop: bool) -> PayloadColumn:
    """Read text that Arrow keeps: it is UTF-8 already, so there is nothing to check."""

    def read(rows: Rows) -> tuple[Texts, NDArray[np.bool_]]:
        part = arrow_rows(array, rows)
        return Texts.of_arrow(part), np.asarray(part.is_null())

    return ConvertedColumn(key, PayloadKind.TEXT, read, drop)


def _arrow_times(array: Any, key: str, drop: bool) -> PayloadColumn:
    """Read times of day in nanoseconds, which Python's own have not."""
    import pyarrow as pa

    def read(rows: Rows) -> tuple[Texts, NDArray[np.bool_]]:
        part = arrow_rows(array, rows)
        texts = time_texts(np.asarray(part.cast(pa.int64()).fill_null(0)))
        return texts, np.asarray(part.is_null())

    return ConvertedColumn(key, PayloadKind.TEXT, read, drop)


def _text(series: pd.Series[Any], key: str, drop: bool, bad: BadRows) -> PayloadColumn:
    """Read a column of str and missing cells, looked at many at a time."""
    # References of our own, 8 bytes a row: a frame may get other texts while it is sent.
    cells = series.to_numpy(dtype=object, copy=True)
    for span in spans(len(cells)):
        kinds = set(map(type, cells[span]))
        if any(kind is not str and issubclass(kind, str) for kind in kinds):
            # Enum members, say, whose values need not be text.
            return _checked(series, key, drop, bad)
        try:
            Texts.of(cells[span], pd.isna(cells[span]))
        except UnicodeEncodeError:
            _check_cells(cells[span].tolist(), span.start, _named(series.name), bad)

    def read(rows: Rows) -> tuple[Texts, NDArray[np.bool_]]:
        part = cells[rows]
        missing = pd.isna(part)
        return Texts.of(part, missing), missing

    return ConvertedColumn(key, PayloadKind.TEXT, read, drop)


def python_cells(series: pd.Series[Any], rows: Rows) -> list[Any]:
    """Return the cells of some rows as Python objects."""
    arrow = arrow_array(series)
    if arrow is None:
        plain = series.dtype == object
        return series.to_numpy()[rows].tolist() if plain else list(series.array[rows])
    cells: list[Any] = arrow_rows(arrow, rows).to_pylist()
    if _holds_map(arrow.type):
        cells = [_with_dicts(cell, arrow.type) for cell in cells]
    return cells


def _holds_map(type_: Any) -> bool:
    """Whether an Arrow type is a map, or has one inside."""
    import pyarrow as pa

    inside = range(type_.num_fields)
    return bool(pa.types.is_map(type_)) or any(_holds_map(type_.field(at).type) for at in inside)


def _with_dicts(value: Any, type_: Any) -> Any:
    """Make dicts of maps, which Arrow gives as lists of pairs."""
    import pyarrow as pa

    if value is None or not _holds_map(type_):
        return value
    if pa.types.is_map(type_):
        pairs = [(key, _with_dicts(item, type_.item_type)) for key, item in value]
        mapping = dict(pairs)
        return mapping if len(mapping) == len(pairs) else pairs  # nothing is lost if keys repeat
    if pa.types.is_struct(type_):
        return {field.name: _with_dicts(value[field.name], field.type) for field in type_}
    return [_with_dicts(item, type_.value_type) for item in value]


def _checked(series: pd.Series[Any], key: str, drop: bool, bad: BadRows) -> PayloadColumn:
    """Read a column cell by cell, each through the conversion table."""
    for span in spans(len(series)):
        _check_cells(python_cells(series, span), span.start, _named(series.name), bad)

    def read(rows: Rows) -> tuple[list[Any], NDArray[np.bool_]]:
        values = [convert(cell) for cell in python_cells(series, rows)]
        missing = np.fromiter((value is None for value in values), np.bool_, row_count(rows))
        return values, missing

    return ConvertedColumn(key, PayloadKind.ANY, read, drop)


def _check_cells(cells: list[Any], start: int, name: str, bad: BadRows) -> None:
    for at, cell in enumerate(cells, start):
        try:
            convert(cell)
        except Unconvertible as error:
            bad.add(at, name, error.reason, error.remedy)


def _categories(series: pd.Series[Any], key: str, drop: bool, bad: BadRows) -> PayloadColumn:
    """Read a categorical column; each category is converted once."""
    codes = series.cat.codes.to_numpy()
    converted: list[Any] = []
    for code, category in enumerate(series.cat.categories.tolist()):
        try:
            converted.append(convert(category))
        except Unconvertible as error:
            converted.append(None)
            bad.add_all(
                np.flatnonzero(codes == code).tolist(),
                _named(series.name),
                error.reason,
                error.remedy,
            )
    if converted and all(isinstance(value, str) for value in converted):
        texts = Texts.of([*converted, None])  # where the code of a missing cell, -1, points to

        def read_texts(rows: Rows) -> tuple[Texts, NDArray[np.bool_]]:
            part = codes[rows]
            return texts.take(part), part < 0

        return ConvertedColumn(key, PayloadKind.TEXT, read_texts, drop)
    table = np.empty(len(converted) + 1, dtype=object)
    table[:-1] = converted  # and here the None at the end

    def read(rows: Rows) -> tuple[list[Any], NDArray[np.bool_]]:
        part = codes[rows]
        return table[part].tolist(), part < 0

    return ConvertedColumn(key, PayloadKind.ANY, read, drop)


def _geo_column(
    frame: pd.DataFrame, source: Geo, key: str, drop: bool, bad: BadRows
) -> PayloadColumn:
    """Read two columns as one object, in degrees."""
    degrees = {}
    for part, label, limit in (("lat", source.lat, 90.0), ("lon", source.lon, 180.0)):
        column = pick(frame, label, f"geo({part}=…)")
        dtype = column.dtype
        refused = pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_complex_dtype(dtype)
        if refused or not pd.api.types.is_numeric_dtype(dtype):
            raise InputError(
                f"geo({part}={label!r}): the column holds {dtype}, not degrees; "
                "pd.to_numeric(column, errors='coerce') makes numbers of text"
            )
        with np.errstate(over="ignore"):
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        outside = np.flatnonzero(np.abs(values) > limit)
        bad.add_all(
            outside.tolist(),
            _named(label),
            (f"{number} degrees" for number in values[outside].tolist()),
            f"{part} goes from {-limit:g} to {limit:g} degrees (are lat and lon swapped?)",
        )
        degrees[part] = values
    lat, lon = degrees["lat"], degrees["lon"]
    half = np.isnan(lat) != np.isnan(lon)
    bad.add_all(
        np.flatnonzero(half).tolist(),
        f"geo({source.lat!r}, {source.lon!r})",
        "only one of lat and lon",
        "a geo point has both, or is missing as a whole",
    )

    def read(rows: Rows) -> tuple[list[Any], NDArray[np.bool_]]:
        north, east = lat[rows], lon[rows]
        missing = np.isnan(north)
        return [
            None if is_missing else {"lat": x, "lon": y}
            for x, y, is_missing in zip(
                north.tolist(), east.tolist(), missing.tolist(), strict=True
            )
        ], missing

    return ConvertedColumn(key, PayloadKind.ANY, read, drop)
