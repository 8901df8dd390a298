"""Columns, arrays and sparse matrices -> `VectorColumn`s, checked row by row.

What a source may be is told by what it holds: `resolve_vectors` looks at the dtype, or at the first
cells that are not missing, and hands it to `dense`, `multi` or `sparse`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from qframe.errors import InputError, Refuse, SchemaMismatch, raise_at_once
from qframe.mapping.badrows import BadRows
from qframe.mapping.columns import arrow_array, is_label, is_own, pick
from qframe.mapping.vectors import dense, multi, sparse
from qframe.mapping.vectors.source import (
    NUMBER_KINDS,
    Source,
    objects,
    plain,
    plain_cells,
    rows_hold_booleans,
)
from qframe.points import VectorColumn, VectorKind
from qframe.schema import CollectionInfo, VectorSchema

LOOKED_AT = 100
"""Cells of a column whose kinds are counted, to tell what the column holds."""

MAX_NAME_BYTES = 200
"""Longest vector name that a server takes (lib/common/common/src/validation.rs)."""


def resolve_vectors(
    frame: pd.DataFrame,
    vectors: Any,
    info: CollectionInfo | None,
    bad: BadRows,
    *,
    lenient: bool = False,
    refuse: Refuse = raise_at_once,
) -> dict[str, VectorColumn]:
    """Read the ``vectors`` argument and check every row of what it names.

    Parameters
    ----------
    frame : DataFrame
    vectors : str, list of str, array, sparse matrix, or mapping of str to these
    info : CollectionInfo or None
        The existing collection, whose names, kinds and sizes the vectors must have.
    bad : BadRows
        Takes what is wrong with single rows.
    lenient : bool
        Whether it takes what is wrong with all rows alike, too.
    refuse : callable
        Is given each SchemaMismatch. Where it does not raise it, the vectors are those that a new
        collection would get.

    Returns
    -------
    dict of str to VectorColumn
        By vector name; ``""`` is the unnamed one.

    Raises
    ------
    InputError, SchemaMismatch
        For what is wrong with the argument, or with all rows alike.
    """
    __tracebackhide__ = True
    named = isinstance(vectors, Mapping)
    wanted: dict[str, Any] = dict(vectors) if named else {"": vectors}
    columns: dict[str, VectorColumn] = {}
    for name, value in wanted.items():
        _check_name(name)
        schema, known = None, info
        try:
            schema = None if info is None else _expected(name, info, list(wanted))
        except SchemaMismatch as error:
            refuse(error)
            known = None
        source = replace(_source(frame, value, name), lenient=lenient)
        may_lack = named and name != ""
        before = bad.mark()
        try:
            column = _column(source, schema, known, bad, may_lack=may_lack)
        except SchemaMismatch as error:
            refuse(error)
            bad.back_to(before)
            column = _column(source, None, None, bad, may_lack=may_lack)
        column.labels, column.noun = source.labels, source.finding
        columns[name] = column
    if info is None and "" in columns and columns[""].kind is VectorKind.SPARSE:
        raise InputError(
            'vectors: Qdrant keeps sparse vectors by name only; name it, as in vectors={"text": …}'
        )
    return columns


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise InputError(f"vectors: the name {name!r} is a {type(name).__name__}, not a string")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise InputError(f"vectors: UTF-8 cannot hold the name {name!a}") from None
    if length > MAX_NAME_BYTES:
        raise InputError(
            f"vectors: the name {name[:30]!r}… has more than {MAX_NAME_BYTES} bytes of UTF-8"
        )


def _expected(name: str, info: CollectionInfo, wanted: list[str]) -> VectorSchema:
    if name in info.vectors:
        return info.vectors[name]
    known = ", ".join(
        f"{known!r} ({schema.kind}{f', size {schema.size}' if schema.size else ''})"
        for known, schema in info.vectors.items()
    )
    if name == "":
        raise SchemaMismatch(
            f"collection {info.name!r} has no unnamed vector, only {known or 'none at all'}; name "
            f'the one that is meant, as in vectors={{"{next(iter(info.vectors), "name")}": …}}'
        )
    if "" in info.vectors and len(wanted) == 1:
        raise SchemaMismatch(
            f"collection {info.name!r} has no vector {name!r}: its vector has no name; "
            "pass the column itself, without {name: …}"
        )
    raise SchemaMismatch(
        f"collection {info.name!r} has no vector {name!r}, only {known or 'none at all'}; "
        'use one of these names, or make a new collection (if_exists="replace" deletes this one)'
    )


def _source(frame: pd.DataFrame, value: Any, name: str) -> Source:
    """Find the data that one vector is made from."""
    role = "vectors" if name == "" else f"vectors[{name!r}]"
    if isinstance(value, pd.Series) and value.index.equals(frame.index) and is_own(frame, value):
        value = value.name
    if isinstance(value, str) or is_label(frame, value):
        column = pick(frame, value, role)
        return Source(role, f"column {value!r}", column, (value,))
    if isinstance(value, pd.Series | pd.DataFrame) and not value.index.equals(frame.index):
        raise InputError(
            f"{role}: the {type(value).__name__} has another index than the frame; pass columns of "
            "the frame, or .to_numpy() to go by position"
        )
    if isinstance(value, pd.Series):
        nameless = "vector" if name == "" else f"vector {name!r}"
        return Source(role, nameless if value.name is None else f"Series {value.name!r}", value)
    if isinstance(value, pd.DataFrame):
        value = value.to_numpy()
    if sparse.is_matrix(value) and value.ndim == 2:
        return _aligned(frame, Source(role, "sparse matrix", value.tocsr()))
    if isinstance(value, pd.Index | np.ndarray) and value.ndim == 1 and _are_labels(frame, value):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if _are_labels(frame, value):
            columns = [pick(frame, label, role) for label in value]
            if len(set(value)) < len(value):
                raise InputError(f"{role}: a column is listed twice")
            return Source(role, f"columns {value[0]!r} to {value[-1]!r}", columns, tuple(value))
        if not value and len(frame):
            raise InputError(f"{role}: an empty list of columns")
        value = _stack(value)
    array = np.asarray(plain(value))
    if array.ndim not in (2, 3) and not (array.ndim == 1 and array.dtype == object):
        raise InputError(
            f"{role}: {_describe(value)} is neither a column, a list of columns, a 2-D array "
            "(points x size), a 3-D array (points x vectors x size) nor a sparse matrix"
        )
    return _aligned(frame, Source(role, "array", array))


def _are_labels(frame: pd.DataFrame, items: Any) -> bool:
    """Whether items are names of columns, or meant to be, and no vectors."""
    return len(items) > 0 and all(isinstance(item, str) or is_label(frame, item) for item in items)


def _stack(value: Sequence[Any]) -> Any:
    """Make one array of a list of vectors, or an object array where they are not alike."""
    try:
        array = np.asarray(plain(value))
    except ValueError:
        return objects(value)
    if array.ndim in (2, 3) and array.size and array.dtype.kind in NUMBER_KINDS:
        rows = value if array.ndim == 2 else list(chain.from_iterable(value))
        if rows_hold_booleans(rows, array.reshape(-1, array.shape[-1])):
            return objects(value)
    return array


def _aligned(frame: pd.DataFrame, source: Source) -> Source:
    rows = source.data.shape[0]
    if rows != len(frame):
        raise InputError(
            f"{source.role}: the {source.noun} has {rows:,} rows and the frame {len(frame):,}; "
            "they are matched by position, so their number must be the same"
        )
    if source.data.ndim == 1:
        return Source(source.role, source.noun, pd.Series(source.data, index=frame.index))
    return source


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.ndim} dimension{'s' * (value.ndim != 1)}"
    return f"{type(value).__name__} {value!r:.60}"


def _column(
    source: Source,
    schema: VectorSchema | None,
    info: CollectionInfo | None,
    bad: BadRows,
    *,
    may_lack: bool,
) -> VectorColumn:
    """Tell the kind of a source, hold it against the collection, and check its rows."""
    kinds = [schema.kind] if schema is not None and source.lenient else _kinds(source, bad)
    if schema is not None and kinds and schema.kind not in kinds:
        assert info is not None
        raise SchemaMismatch(
            f"{source.role}: {source.noun} holds {kinds[0]} vectors, but collection {info.name!r} "
            f"takes {schema.kind} ones there"
        )
    # Rows of another kind than most, or than the collection's, are told apart one by one.
    kind = schema.kind if schema is not None else kinds[0] if kinds else VectorKind.DENSE
    size = None if schema is None else schema.size
    build = {
        VectorKind.DENSE: dense.resolve,
        VectorKind.MULTI: multi.resolve,
        VectorKind.SPARSE: sparse.resolve,
    }[kind]
    collection = None if info is None else info.name
    return build(source, size, collection, bad, may_lack)


def _kinds(source: Source, bad: BadRows) -> list[VectorKind]:
    """Tell the kinds of vectors, the commonest first; none where no row has any."""
    data = source.data
    if isinstance(data, list):
        return [VectorKind.DENSE]
    if sparse.is_matrix(data):
        return [VectorKind.SPARSE]
    if isinstance(data, np.ndarray):
        return [VectorKind.DENSE if data.ndim == 2 else VectorKind.MULTI]
    arrow = arrow_array(data)
    is_text = data.dtype != object and pd.api.types.is_string_dtype(data.dtype)
    if arrow is not None and not is_text:
        return [_arrow_kind(source, arrow.type)]
    present = np.flatnonzero(~data.isna().to_numpy(dtype=np.bool_))
    if not len(present):
        return []
    first = data.iloc[present[0]]
    if data.dtype != object:
        raise InputError(
            f"{source.role}: {source.noun} holds {data.dtype}, one value a row, and not vectors; "
            + (
                _about_text(first, data.name, source)
                if is_text
                else "for vectors spread over columns pass the list of their names"
            )
        )
    cells = plain_cells(data.iloc[present[:LOOKED_AT]].to_numpy())
    kinds = Counter(kind for kind in map(cell_kind, cells) if kind is not None)
    if kinds or source.lenient:
        return [kind for kind, _ in kinds.most_common()]
    raise InputError(
        f"{source.role}: {source.noun} holds {type(first).__name__} ({first!r:.60}) in {bad.noun} "
        f"{bad.label(int(present[0]))!r}, and not vectors: lists, tuples or arrays of numbers, or "
        "{'indices', 'values'} for sparse ones"
        + (f"; {_about_text(first, data.name, source)}" if isinstance(first, str) else "")
    )


def _about_text(text: str, name: Hashable, source: Source) -> str:
    """Say how vectors are made of a column of text."""
    if not text.lstrip().startswith(("[", "{")):
        return "an embedding model turns text into vectors"
    if not source.noun.startswith("column"):
        return "json.loads makes a vector of each text"
    loads = f'df[{name!r}] = df[{name!r}].map(json.loads, na_action="ignore")'
    return f"{loads} makes vectors of this text"


def cell_kind(cell: Any) -> VectorKind | None:
    """Tell what one cell holds; None is no vector of any kind."""
    if sparse.parts(cell) is not None:
        return VectorKind.SPARSE
    if isinstance(cell, (str, bytes, Mapping)):
        return None
    if isinstance(cell, (list, tuple)):
        inner = cell[0] if cell else None
        nested = isinstance(inner, (list, tuple)) or getattr(inner, "ndim", 0) == 1
        return VectorKind.MULTI if nested else VectorKind.DENSE
    dimensions = getattr(cell, "ndim", None)
    if dimensions == 1 and getattr(cell, "dtype", None) == object and len(cell):
        return cell_kind(list(cell))
    return {1: VectorKind.DENSE, 2: VectorKind.MULTI}.get(dimensions) if dimensions else None


def _arrow_kind(source: Source, type_: Any) -> VectorKind:
    import pyarrow as pa

    def is_list(item: Any) -> bool:
        kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(is_kind(item) for is_kind in kinds)

    def is_number(item: Any) -> bool:
        return bool(pa.types.is_integer(item) or pa.types.is_floating(item))

    if is_list(type_) and is_number(type_.value_type):
        return VectorKind.DENSE
    if is_list(type_) and is_list(type_.value_type) and is_number(type_.value_type.value_type):
        return VectorKind.MULTI
    if pa.types.is_struct(type_) and {field.name for field in type_} == {"indices", "values"}:
        return VectorKind.SPARSE
    if pa.types.is_null(type_):
        return VectorKind.DENSE
    raise InputError(
        f"{source.role}: {source.noun} holds {type_}; vectors are list<float>, "
        "fixed_size_list<float>, list<list<float>> (multivectors) or "
        "struct<indices: list<uint32>, values: list<float>> (sparse)"
    )
