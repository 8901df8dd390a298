"""Reading points back into a DataFrame, to see what arrived."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qframe.arguments import whole_number
from qframe.connection import Con, resolve
from qframe.errors import CollectionNotFound, InputError, SchemaMismatch
from qframe.mapping.badrows import BadRows
from qframe.mapping.ids import resolve_record_ids
from qframe.mapping.values import INT64_MAX, INT64_MIN
from qframe.mapping.vectors import cell_kind
from qframe.mapping.vectors.multi import matrix
from qframe.mapping.vectors.source import objects, sequence_fault, to_float32
from qframe.mapping.vectors.sparse import fault, is_matrix, parts
from qframe.points import VectorKind
from qframe.schema import CollectionInfo, check_collection_name
from qframe.stores.base import Store, StoredPoint, StoredVector
from qframe.stores.patient import PatientStore

PAGE = 1000
"""Points in one request; 6 MB of JSON at 384 dims."""

VECTOR = "vector"
SCORE = "score"


def read_collection(
    collection: str,
    con: Con = None,
    *,
    ids: Any = None,
    limit: int | None = None,
    with_vectors: bool = True,
) -> pd.DataFrame:
    """Read points back into a DataFrame.

    Parameters
    ----------
    collection : str
    con : str, path, Connection or None
        As in `upload`.
    ids : int, str, UUID or array-like of these, optional
        Which points, in this order. Those that do not exist are left out, and stand in
        ``attrs["missing_ids"]``. None is all points, in the order of their ids.
    limit : int, optional
        Points at the most. None is all.
    with_vectors : bool, default True

    Returns
    -------
    DataFrame
        The index, named ``id``, holds the ids: integers, or UUIDs as text. A column for each
        payload key, missing where a point has none, or null; then a column for each vector by its
        name (the unnamed one is ``vector``): float32 arrays of shape (size,), or of shape
        (vectors, size) for multivectors, or ``{"indices", "values"}`` for sparse ones. A payload
        key that has the name of a vector comes as ``payload.<key>``. Where a named vector is
        called ``vector``, the unnamed one has its own name, the empty string.

    Raises
    ------
    CollectionNotFound
    TransportError

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"title": ["Alien", "Heat"], "v": [[3.0, 4.0], [0.0, 2.0]]})
    >>> _ = df.qdrant.upload("films", ":memory:", vectors="v", distance="dot", progress=False)
    >>> qframe.read_collection("films", ":memory:")
        title      vector
    id
    0   Alien  [3.0, 4.0]
    1    Heat  [0.0, 2.0]
    """
    if limit is not None:
        limit = whole_number("limit", limit, least=0)
    __tracebackhide__ = True
    connection = resolve(con)
    with PatientStore(connection.store()) as store:
        info = _describe(store, collection, connection.target)
        if ids is None:
            points = list(_scroll(store, collection, limit, with_vectors))
            missing: list[Any] = []
        else:
            points, missing = _retrieve(store, collection, ids, limit, with_vectors)
    frame = _to_frame(points, info, with_vectors, scores=False)
    frame.attrs["missing_ids"] = missing
    return frame


def search(
    collection: str,
    vector: Any,
    con: Con = None,
    *,
    limit: int = 10,
    using: str | None = None,
    with_vectors: bool = False,
) -> pd.DataFrame:
    """Find the points whose vectors are nearest.

    Parameters
    ----------
    collection : str
    vector : array-like
        Shape (size,); or shape (vectors, size) for a multivector; or ``{"indices", "values"}``
        or a scipy.sparse matrix of one row for a sparse one.
    con : str, path, Connection or None
        As in `upload`.
    limit : int, default 10
        Points at the most.
    using : str, optional
        Name of the vector to compare with. None is the unnamed one, or the only one there is.
    with_vectors : bool, default False

    Returns
    -------
    DataFrame
        The best first; a column ``score``, then what `read_collection` gives. A payload key
        ``score`` comes as ``payload.score``.

    Raises
    ------
    CollectionNotFound, InputError, SchemaMismatch, TransportError

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"title": ["Alien", "Heat"], "v": [[3.0, 4.0], [0.0, 2.0]]})
    >>> _ = df.qdrant.upload("films2", ":memory:", vectors="v", distance="dot", progress=False)
    >>> qframe.search("films2", [0.0, 1.0], ":memory:", limit=1)
        score  title
    id
    0     4.0  Alien
    """
    limit = whole_number("limit", limit, least=0)
    __tracebackhide__ = True
    connection = resolve(con)
    with PatientStore(connection.store()) as store:
        info = _describe(store, collection, connection.target)
        name = _using(info, using)
        query = _query(vector, info, name)
        points = store.search(collection, query, limit=limit, using=name, with_vectors=with_vectors)
    return _to_frame(points, info, with_vectors, scores=True)


def _describe(store: Store, collection: str, target: str) -> CollectionInfo:
    check_collection_name(collection)
    info = store.describe(collection)
    if info is None:
        raise CollectionNotFound(f"there is no collection {collection!r} at {target}")
    return info


def _scroll(
    store: Store, collection: str, limit: int | None, with_vectors: bool
) -> Iterator[StoredPoint]:
    offset = None
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = store.scroll(collection, limit=size, offset=offset, with_vectors=with_vectors)
        yield from page.points
        if page.next is None:
            return
        offset = page.next
        left = None if left is None else left - len(page.points)


def _retrieve(
    store: Store, collection: str, ids: Any, limit: int | None, with_vectors: bool
) -> tuple[list[StoredPoint], list[Any]]:
    """Read points in the order asked for; return those that do not exist too."""
    listed = [ids] if np.ndim(ids) == 0 else list(ids)
    bad = BadRows(pd.RangeIndex(len(listed)), noun="id")
    wanted = resolve_record_ids(objects(listed), bad).tolist()
    if bad:
        found_bad = bad.to_json()[0]
        raise InputError(
            f"ids: the one at position {found_bad['position']}: {found_bad['reason']}; "
            "an id is an unsigned integer or a UUID"
        )
    wanted = wanted if limit is None else wanted[:limit]
    found: dict[int | str, StoredPoint] = {}
    for start in range(0, len(wanted), PAGE):
        part = wanted[start : start + PAGE]
        for point in store.retrieve(collection, part, with_vectors=with_vectors):
            found[point.id] = point
    missing = [point_id for point_id in wanted if point_id not in found]
    return [found[point_id] for point_id in wanted if point_id in found], missing


def _using(info: CollectionInfo, using: str | None) -> str:
    """Return the name of the vector to search by."""
    names = list(info.vectors)
    known = ", ".join(map(repr, names)) or "none"
    if using is not None:
        if using not in names:
            raise SchemaMismatch(
                f"collection {info.name!r} has no vector {using!r} (vectors: {known})"
            )
        return using
    if "" in names:
        return ""
    if len(names) == 1:
        return names[0]
    raise InputError(f"collection {info.name!r} has several vectors; using= one of {known}")


def _query(vector: Any, info: CollectionInfo, name: str) -> StoredVector:
    """Check the vector of a search against the collection's."""
    schema = info.vectors[name]
    if is_matrix(vector) and vector.shape[0] == 1:
        row = vector.tocsr()
        vector = {"indices": row.indices, "values": row.data}
    kind = cell_kind(vector)
    if kind is VectorKind.DENSE and schema.kind is VectorKind.MULTI:
        vector, kind = [vector], VectorKind.MULTI  # one vector is a multivector of one
    if kind is not schema.kind:
        raise InputError(
            f"vector: {type(vector).__name__} is no {schema.kind} vector, which collection "
            f"{info.name!r} has there"
        )
    if kind is VectorKind.SPARSE:
        reason = fault(vector)
        if reason is not None:
            raise InputError(f"vector: {reason}")
        indices, values = parts(vector) or ((), ())
        return np.asarray(indices, dtype=np.uint32), to_float32(values)
    reason = sequence_fault(vector, 1 if kind is VectorKind.DENSE else 2)
    if reason is not None:
        raise InputError(f"vector: {reason}")
    numbers = matrix(vector)
    if numbers.shape[-1] != schema.size:
        raise InputError(
            f"vector: holds {numbers.shape[-1]} numbers, and collection {info.name!r} has vectors "
            f"of {schema.size} there"
        )
    return numbers


def _to_frame(
    points: Sequence[StoredPoint], info: CollectionInfo, with_vectors: bool, *, scores: bool
) -> pd.DataFrame:
    """Put points into columns."""
    columns: dict[str, Any] = {}
    if scores:
        columns[SCORE] = np.array([point.score for point in points], dtype=np.float64)
    vectors: dict[str, Any] = {}
    if with_vectors:
        unnamed = "" if VECTOR in info.vectors else VECTOR
        for name in info.vectors:
            vectors[name or unnamed] = objects([_cell(point.vectors.get(name)) for point in points])
    keys = dict.fromkeys(key for point in points for key in point.payload)
    for key in keys:
        label = f"payload.{key}" if key in vectors or key in columns else key
        columns[label] = _payload([point.payload.get(key) for point in points])
    ids = [point.id for point in points]
    index = pd.Index(ids if all(isinstance(i, str) for i in ids) else _index(ids), name="id")
    return pd.DataFrame(columns | vectors, index=index)


def _index(ids: list[int | str]) -> Any:
    """Return integer ids as int64, or uint64 where they need it; mixed ones as objects."""
    if any(isinstance(point_id, str) for point_id in ids):
        return objects(ids)
    wide = any(point_id > 2**63 - 1 for point_id in ids)  # type: ignore[operator]
    return np.array(ids, dtype=np.uint64 if wide else np.int64)


def _cell(vector: StoredVector | None) -> Any:
    if isinstance(vector, tuple):
        return {"indices": vector[0], "values": vector[1]}
    return vector


def _payload(cells: list[Any]) -> Any:
    """Return one payload key as a column that keeps every digit.

    Integers with missing ones stay integers (Int64), and so do booleans; pandas by itself would
    make floats and objects of them.
    """
    kinds = {type(cell) for cell in cells if cell is not None}
    complete = all(cell is not None for cell in cells)
    if kinds == {bool}:
        return pd.array(cells, dtype="bool" if complete else "boolean")
    if kinds == {int}:
        numbers = [cell for cell in cells if cell is not None]
        if max(numbers) <= INT64_MAX and min(numbers) >= INT64_MIN:
            return pd.array(cells, dtype="int64" if complete else "Int64")
        return objects(cells)  # written by others: over REST, integers go up to 2**64 - 1
    if kinds == {float}:
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    if kinds == {str}:
        return pd.Series(cells).array
    return objects(cells)
