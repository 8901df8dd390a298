"""Which id each row gets: the index, a column, an array, or UUIDs made here."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from qframe.errors import InputError
from qframe.mapping.badrows import BadRows
from qframe.mapping.columns import arrow_array, is_label, is_own, pick
from qframe.mapping.payload import resolve_column
from qframe.mapping.vectors.source import objects as object_array
from qframe.mapping.vectors.source import spans
from qframe.points import Ids

NAMESPACE = uuid.UUID("0d487439-fe04-5d13-a0cb-259d5dd670d1")  # uuid5(NAMESPACE_DNS, "qframe")
"""Namespace of `uuid5`, unless the caller has one. It never changes: ids hang on it."""

MAX_NUMBER = 2**64 - 1

_HYPHENATED = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

UUID_TEXT = re.compile(
    rf"{_HYPHENATED}|[0-9a-fA-F]{{32}}|urn:uuid:{_HYPHENATED}|\{{{_HYPHENATED}\}}"
)
"""The forms that a server takes: hyphenated, bare, urn:uuid: and braced, digits in any case."""

REMEDY = (
    "an id is an unsigned integer below 2**64 or a UUID: "
    'ids="column" names another column, ids=qframe.uuid5("key") makes ids of one'
)
RECORD_REMEDY = (
    "a record's id is an unsigned integer below 2**64 or a UUID: "
    "uuid.uuid5(namespace, text) makes the same UUID of the same text"
)


@dataclass(frozen=True, slots=True)
class Uuid5:
    """Ids made from key columns; made by `uuid5`."""

    columns: tuple[Hashable, ...]
    namespace: uuid.UUID


@dataclass(frozen=True, slots=True)
class Uuid4:
    """Random ids; made by `uuid4`."""


def uuid5(*columns: Hashable, namespace: uuid.UUID = NAMESPACE) -> Uuid5:
    """Make ids of one or more key columns: the same keys give the same ids, everywhere.

    So a second run of a cell overwrites its points instead of doubling them. The key columns stay
    in the payload.

    Parameters
    ----------
    *columns : hashable
        Columns whose values name a row, none of them missing. Text, integers, dates, booleans and
        categories; not floats and Decimals, whose digits depend on who wrote them (``1``, ``1.0``
        and ``1.00`` would be three ids of one row).
    namespace : UUID, optional
        Keeps apart what has the same keys.

    Returns
    -------
    Uuid5
        Each id is the name-based UUID, version 5 (RFC 9562, section 5.5), of the row's keys,
        converted as payload is and written as a JSON array without spaces.

    Examples
    --------
    >>> ids = uuid5("sku", "lang")
    >>> ids.columns
    ('sku', 'lang')

    The id of the row with the keys "A-1" and "de":

    >>> uuid.uuid5(NAMESPACE, '["A-1","de"]')
    UUID('b772ca82-0ee4-56f8-9ded-955182c65a2d')
    """
    if not columns:
        raise InputError('uuid5() needs the columns that name a row, as in qframe.uuid5("sku")')
    first: Any = columns[0]
    if isinstance(first, list):
        names = ", ".join(map(repr, first))
        raise InputError(f"uuid5 takes columns one by one: qframe.uuid5({names})")
    if not isinstance(namespace, uuid.UUID):
        raise InputError(
            f"uuid5: the namespace {namespace!r:.60} is a {type(namespace).__name__}, not a UUID; "
            "uuid.uuid5(uuid.NAMESPACE_DNS, 'a name of yours') makes one"
        )
    return Uuid5(columns, namespace)


def uuid4() -> Uuid4:
    """Make random ids, drawn once before the first request, so that retries never double a point.

    A second call of the upload draws new ones and so adds every row again; `uuid5` does not.

    Returns
    -------
    Uuid4
        For ``ids=``; each id is a random UUID, version 4 (RFC 9562, section 5.4).
    """
    return Uuid4()


@dataclass(frozen=True, slots=True)
class ResolvedIds:
    """Ids, and what became of the columns.

    Attributes
    ----------
    ids : Ids
        One a row.
    used : set
        Columns that are used up by the ids.
    kept : set
        Columns that the ids were made from and that stay in the payload.
    noun : str
        What they are, for messages.
    remedy : str
        What to do when two rows have one id.
    bare : bool
        Whether they are just row numbers, which mean nothing outside of this frame.
    """

    ids: Ids
    used: set[Hashable]
    kept: set[Hashable]
    noun: str
    remedy: str
    bare: bool = False


def resolve_ids(frame: pd.DataFrame, ids: Any, bad: BadRows) -> ResolvedIds:
    """Read the ``ids`` argument and check every id.

    Parameters
    ----------
    frame : DataFrame
    ids : None, label, array, Series, Uuid5 or Uuid4
    bad : BadRows

    Returns
    -------
    ResolvedIds
    """
    __tracebackhide__ = True
    if isinstance(ids, Uuid5):
        noun = f"uuid5({', '.join(map(repr, ids.columns))})"
        keys = list(ids.columns)
        remedy = (
            "the key columns must name each row: add the column that tells these rows apart, "
            f"or df.drop_duplicates({keys!r}) first"
        )
        return ResolvedIds(_named_uuids(frame, ids, bad), set(), set(keys), noun, remedy)
    if isinstance(ids, Uuid4):
        return ResolvedIds(_random_uuids(len(frame)), set(), set(), "ids", "")
    if isinstance(ids, pd.Series) and ids.index.equals(frame.index) and is_own(frame, ids):
        ids = ids.name
    used: set[Hashable] = set()
    bare = False
    if ids is None:
        index = frame.index
        bare = isinstance(index, pd.RangeIndex) and index.name is None
        if isinstance(index, pd.MultiIndex):
            raise InputError(
                f"ids: the index has {index.nlevels} levels, and an id is one value; "
                "df.reset_index() makes columns of them, for ids=qframe.uuid5("
                f"{', '.join(repr(name) for name in _level_names(index))})"
            )
        cells, noun = pd.Series(index, index=frame.index), "index"
        keep = "df[~df.index.duplicated()]"
    elif is_label(frame, ids) or isinstance(ids, str):
        cells, noun = pick(frame, ids, "ids"), f"column {ids!r}"
        used.add(ids)
        keep = f"df.drop_duplicates({ids!r})"
    else:
        cells, noun = _array(frame, ids), "ids"
        keep = "df[~pd.Series(ids).duplicated().to_numpy()]"
    remedy = (
        f"an id names one point: {keep} keeps the first row of each, and ids=qframe.uuid5(…) "
        "makes ids of the columns that tell these rows apart"
    )
    return ResolvedIds(_read(cells, noun, bad), used, set(), noun, remedy, bare)


def _level_names(index: pd.MultiIndex) -> list[Hashable]:
    """Return the names that levels have as columns, after ``df.reset_index()``."""
    return [f"level_{at}" if name is None else name for at, name in enumerate(index.names)]


def resolve_record_ids(cells: NDArray[np.object_], bad: BadRows) -> Ids:
    """Check the ids of records.

    A stream may write to one id several times: nobody sees all of it at once, and whether two such
    records meet in one batch would be chance.
    """
    return _objects(cells, "id", RECORD_REMEDY, bad)


def _array(frame: pd.DataFrame, ids: Any) -> pd.Series[Any]:
    """Align an array, list, Index or Series of ids with the rows."""
    if isinstance(ids, pd.Series) and not ids.index.equals(frame.index):
        raise InputError(
            "ids: the Series has another index than the frame; pass a column of the frame, "
            "or its .to_numpy() to go by position"
        )
    if isinstance(ids, pd.DataFrame | dict | set) or not hasattr(ids, "__len__"):
        raise InputError(
            f"ids: {type(ids).__name__} {ids!r:.60} is neither a column, an array of one id a row, "
            "qframe.uuid5(...), qframe.uuid4() nor None (the index)"
        )
    if len(ids) != len(frame):
        keys = isinstance(ids, list | tuple) and all(is_label(frame, label) for label in ids)
        raise InputError(
            f"ids: {len(ids):,} ids for {len(frame):,} rows; they are matched by position, "
            "so their number must be the same"
            + (
                f"; ids=qframe.uuid5({', '.join(map(repr, ids))}) makes ids of these columns"
                if keys
                else ""
            )
        )
    if isinstance(ids, pd.Series | pd.Index):
        return pd.Series(ids.array, index=frame.index)
    if isinstance(ids, np.ndarray | pd.api.extensions.ExtensionArray):
        if getattr(ids, "ndim", 1) != 1:
            raise InputError(f"ids: an array of {ids.ndim} dimensions; it has one id a row")
        return pd.Series(ids, index=frame.index)
    cells = np.empty(len(ids), dtype=object)  # numpy would make floats of [1, None]
    cells[:] = list(ids)
    return pd.Series(cells, index=frame.index)


def _read(cells: pd.Series[Any], noun: str, bad: BadRows) -> Ids:
    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        # Integers cannot say that one is missing; objects can.
        cells = cells.astype(object if cells.hasnans else dtype.categories.dtype)
        dtype = cells.dtype
    if pd.api.types.is_integer_dtype(dtype):
        return _numbers(cells, noun, bad)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_float_dtype(dtype):
        return _refused(cells, noun, bad)
    arrow = arrow_array(cells)
    if arrow is not None and str(arrow.type) == "extension<arrow.uuid>":
        objects = object_array(arrow.to_pylist())  # pandas makes bytes of them
    else:
        objects = cells.astype(object).to_numpy()
    uuids = _hyphenated(objects)
    if uuids is not None:
        return Ids(uuids=uuids)
    if _is_other_text(objects):
        raise InputError(_about_text(objects, cells.name, noun))
    return _objects(objects, noun, REMEDY, bad)


_NIBBLES = np.full(256, 255, dtype=np.uint8)
for _value, _digit in enumerate("0123456789abcdef"):
    _NIBBLES[[ord(_digit), ord(_digit.upper())]] = _value
_HYPHENS = np.array([8, 13, 18, 23])
_DIGITS = np.setdiff1d(np.arange(36), _HYPHENS)


def _hyphenated(objects: NDArray[np.object_]) -> NDArray[np.uint8] | None:
    """Read text that is hyphenated UUIDs and nothing else; None where it is not.

    0.2 µs an id, a tenth of what looking at each one takes.
    """
    uuids = np.empty((len(objects), 16), dtype=np.uint8)
    for span in spans(len(objects)):
        part = objects[span]
        if set(map(type, part)) != {str} or set(map(len, part)) != {36}:
            return None
        try:
            texts = np.frombuffer("".join(part).encode("ascii"), np.uint8).reshape(-1, 36)
        except UnicodeEncodeError:
            return None
        nibbles = _NIBBLES[texts[:, _DIGITS]]
        if nibbles.max() > 15 or (texts[:, _HYPHENS] != ord("-")).any():
            return None
        uuids[span] = nibbles[:, ::2] << 4 | nibbles[:, 1::2]
    return uuids if len(objects) else None


def _is_other_text(objects: NDArray[np.object_]) -> bool:
    """Whether there is nothing but text, and not one UUID among it."""
    some = False
    for cell, is_missing in zip(objects, pd.isna(objects), strict=True):
        if is_missing:
            continue
        if not isinstance(cell, str) or UUID_TEXT.fullmatch(cell):
            return False
        some = True
    return some


def _is_number(text: str) -> bool:
    """Whether text is the digits of a number that can be an id."""
    return text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) <= MAX_NUMBER


def _about_text(objects: NDArray[np.object_], name: Hashable, noun: str) -> str:
    """Say what to do with ids that are all text."""
    texts = objects[~pd.isna(objects)]
    text = texts[0]
    found = f"ids: {noun} holds text that is no UUID, such as {text!r:.60}; "
    if noun.startswith("column"):
        digits = f"df[{name!r}] = df[{name!r}].astype('uint64')"
        keys = f"ids=qframe.uuid5({name!r})"
    elif noun == "index":
        digits = "df.index = df.index.astype('uint64')"
        key = "key" if name is None else name
        rename = 'rename_axis("key").' if name is None else ""
        keys = f"df.{rename}reset_index(), then ids=qframe.uuid5({key!r})"
    else:
        digits = "ids.astype('uint64')"
        keys = 'make a column of them, then ids=qframe.uuid5("that column")'
    if all(map(_is_number, texts)):
        once = "" if len(texts) == len(objects) else ", once no row lacks one"
        return f"{found}{digits} makes numbers of digits{once}"
    return f"{found}to make a UUID of each, the same in every run: {keys}"


def _numbers(cells: pd.Series[Any], noun: str, bad: BadRows) -> Ids:
    """Read a column of integers, numpy's own or nullable ones."""
    missing = cells.isna().to_numpy()
    bad.add_all(np.flatnonzero(missing).tolist(), noun, "no id", REMEDY)
    filled = cells.fillna(0) if missing.any() else cells
    if not pd.api.types.is_unsigned_integer_dtype(cells.dtype):
        signed = filled.to_numpy(dtype=np.int64)
        negative = np.flatnonzero(signed < 0)
        found = (f"{number} is negative" for number in signed[negative].tolist())
        bad.add_all(negative.tolist(), noun, found, REMEDY)
        return Ids(numbers=signed.astype(np.uint64))  # of our own: a frame may change meanwhile
    return Ids(numbers=filled.to_numpy(dtype=np.uint64))


def _refused(cells: pd.Series[Any], noun: str, bad: BadRows) -> Ids:
    """Note every row of a column of booleans or floats."""
    is_float = pd.api.types.is_float_dtype(cells.dtype)
    remedy = (
        f'a float is no id: .astype("Int64") makes integers of {noun}, once no row lacks one'
        if is_float
        else f"a boolean is no id. {REMEDY[0].upper()}{REMEDY[1:]}"
    )
    kind = "float" if is_float else "boolean"
    missing = cells.isna().to_numpy(dtype=np.bool_)
    found = (
        "no id" if is_missing else f"{value!r} is a {kind}"
        for value, is_missing in zip(cells.tolist(), missing, strict=True)
    )
    bad.add_all(range(len(cells)), noun, found, remedy)
    return Ids(numbers=np.zeros(len(cells), dtype=np.uint64))


def _objects(objects: NDArray[np.object_], noun: str, remedy: str, bad: BadRows) -> Ids:
    """Read Python objects: integers, UUIDs and text."""
    total = len(objects)
    numbers = np.zeros(total, dtype=np.uint64)
    raw = bytearray(16 * total)
    is_uuid = np.zeros(total, dtype=np.bool_)
    missing = pd.isna(objects)
    for at, cell in enumerate(objects):
        if isinstance(cell, uuid.UUID):
            raw[16 * at : 16 * at + 16] = cell.bytes
            is_uuid[at] = True
        elif isinstance(cell, str):
            if not UUID_TEXT.fullmatch(cell):
                hint = "; int() makes a number of it" if _is_number(cell) else ""
                bad.add(at, noun, f"{cell!r:.60} is no UUID{hint}", remedy)
                continue
            digits = cell.rstrip("}").replace("-", "")[-32:]  # 4 times faster than uuid.UUID
            raw[16 * at : 16 * at + 16] = bytes.fromhex(digits)
            is_uuid[at] = True
        elif missing[at]:
            bad.add(at, noun, "no id", remedy)
        elif isinstance(cell, bool | np.bool_):
            bad.add(at, noun, f"{cell} is a boolean", remedy)
        elif isinstance(cell, int | np.integer):
            if not 0 <= cell <= MAX_NUMBER:
                fault = "is negative" if cell < 0 else "is 2**64 or more"
                bad.add(at, noun, f"{cell} {fault}", remedy)
                continue
            numbers[at] = cell
        else:
            bad.add(at, noun, f"{cell!r:.60} is a {type(cell).__name__}", remedy)
    if not is_uuid.any():
        return Ids(numbers=numbers)
    uuids = np.frombuffer(bytes(raw), dtype=np.uint8).reshape(total, 16)
    wanted = np.ones(total, dtype=np.bool_)
    if bad:
        wanted &= ~bad.mask()
    if is_uuid[wanted].all():
        return Ids(uuids=uuids)
    return Ids(numbers=numbers, uuids=uuids, is_uuid=is_uuid)


FLOAT_KEY_REMEDY = (
    "the digits of a float or Decimal depend on who writes them: "
    '.astype("Int64") makes integers of whole numbers, .astype("string") makes text'
)


def _named_uuids(frame: pd.DataFrame, ids: Uuid5, bad: BadRows) -> Ids:
    keys: list[list[Any]] = []
    for label in ids.columns:
        column = pick(frame, label, "uuid5")
        if pd.api.types.is_float_dtype(column.dtype):
            raise InputError(f"uuid5: column {label!r} holds {column.dtype}; {FLOAT_KEY_REMEDY}")
        keys.append(_keys(column, label, bad))
    prefix = ids.namespace.bytes
    raw = bytearray()
    for row in zip(*keys, strict=True):
        # A name-based UUID is a SHA-1 of namespace and name, cut to 16 bytes (RFC 9562, 5.5).
        raw += hashlib.sha1(prefix + orjson.dumps(row), usedforsecurity=False).digest()[:16]
    return Ids(uuids=_stamped(raw, version=5))


def _keys(column: pd.Series[Any], label: Hashable, bad: BadRows) -> list[Any]:
    """Convert a key column as payload is converted; missing keys are bad, and so are floats.

    What cannot be converted is None here: keys stay in the payload, where it is found again.
    """
    remedy = "every row needs its keys: fill or drop these rows, or take other columns"
    found = BadRows(column.index)
    payload = resolve_column(column, "", False, found)
    rows = np.flatnonzero(~found.mask())
    keys: list[Any] = [None] * len(column)
    for at, value in zip(rows.tolist(), payload.block(rows).tolist(), strict=True):
        keys[at] = value
        if value is None:
            bad.add(at, f"column {label!r}", "no key", remedy)
        elif (number := _float_within(value)) is not None:
            bad.add(at, f"column {label!r}", f"the float {number!r}", FLOAT_KEY_REMEDY)
    return keys


def _float_within(value: Any) -> float | None:
    """Return a float that a key holds, which Decimals are by now; None where there is none."""
    if isinstance(value, float):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return None
    return next((x for x in map(_float_within, value) if x is not None), None)


def _random_uuids(total: int) -> Ids:
    return Ids(uuids=_stamped(bytearray(os.urandom(16 * total)), version=4))


def _stamped(raw: bytearray, version: int) -> NDArray[np.uint8]:
    """Set version and variant of UUIDs (RFC 9562, sections 4.1 and 4.2)."""
    uuids = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 16)
    uuids[:, 6] = (uuids[:, 6] & 0x0F) | (version << 4)
    uuids[:, 8] = (uuids[:, 8] & 0x3F) | 0x80
    return uuids


def note_duplicates(resolved: ResolvedIds, bad: BadRows) -> None:
    """Note every row whose id an earlier row has already, of those without other findings."""
    ids = resolved.ids
    if ids.uuids is None and ids.numbers is not None and (ids.numbers[1:] > ids.numbers[:-1]).all():
        return  # they ascend; a table of hashes would take 40 bytes a row
    keys = pd.DataFrame()
    if ids.numbers is not None:
        keys["number"] = ids.numbers
    if ids.uuids is not None:
        halves = np.ascontiguousarray(ids.uuids).view(">u8").astype(np.uint64)
        keys["high"], keys["low"] = halves[:, 0], halves[:, 1]
    if ids.is_uuid is not None:
        keys["is_uuid"] = ids.is_uuid
    if bad:
        keys = keys[~bad.mask()]
    if not keys.duplicated().any():
        return
    first = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    positions = keys.index.to_numpy()
    firsts = positions[np.unique(first, return_index=True)[1]]
    again = keys.duplicated().to_numpy()
    rows = positions[again]
    values = ids[rows].tolist()
    labels = bad.labels(firsts[first[again]])
    for position, value, label in zip(rows.tolist(), values, labels, strict=True):
        reason = f"{value!r} is the id of {bad.noun} {label!r} too"
        bad.add(position, resolved.noun, reason, resolved.remedy)
