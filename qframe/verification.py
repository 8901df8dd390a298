"""What is stored in a collection, compared with the frame that was uploaded."""

from __future__ import annotations

import dataclasses
import math
import numbers
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qframe.arguments import whole_number
from qframe.comparison import COMPARABLE, datatype
from qframe.connection import Con, Connection, resolve
from qframe.errors import CollectionNotFound, InputError
from qframe.mapping import resolve as map_frame
from qframe.mapping.ids import Uuid4
from qframe.mapping.vectors.source import objects
from qframe.points import PointColumns
from qframe.pool import ParallelWorkerPool
from qframe.readback import Line, Start, extra_points, pages
from qframe.retry import Retry
from qframe.schema import CollectionInfo, check_collection_name
from qframe.stores.base import Store
from qframe.stores.patient import PatientStore

COLUMNS = {
    "position": "Int64",
    "label": "object",
    "id": "object",
    "problem": "string",
    "name": "string",
    "expected": "object",
    "found": "object",
}
"""The columns of the result and their dtypes."""

PROBLEMS = ("missing", "vector", "payload", "extra")


WORKERS = 4
"""Measured with 100,000 x 384 and four payload columns on 2 cores, with a local server that is one
process of Python and so the bottleneck: 7,286, 7,089 and 7,226 points/s over gRPC with 1, 2 and 4
workers, 4,889, 7,649 and 6,686 over REST; the embedded engine 13,714 with its one. It is 40 us of
CPU a point, 90 over REST, 19 of them for comparing (`python -m tests.benchmarks.verify`)."""


def verify(
    frame: pd.DataFrame,
    collection: str,
    con: Con = None,
    *,
    vectors: Any,
    ids: Any = None,
    payload: Any = None,
    missing: Literal["null", "drop"] = "null",
    bad_rows: Literal["raise", "skip"] = "raise",
    sample: float | None = None,
    seed: int = 0,
    extra: bool = False,
    workers: int = WORKERS,
    retry: Retry | int | None = None,
) -> pd.DataFrame:
    """Compare what is stored in a collection with a frame, and return the differences.

    The points are read back and compared with what `upload` makes of the rows: that they are there,
    each of their vectors, and each key of their payload. What a collection does to vectors is taken
    into account: cosine ones are stored with length 1, and ``float16`` and ``uint8`` ones rounded.
    Points that are only acknowledged may not be there yet, as after ``barrier=False``.

    Parameters
    ----------
    frame : DataFrame
        The frame that was uploaded.
    collection : str
    con : str, path, Connection or None
    vectors, ids, payload, missing, bad_rows
        As they were given to `upload`. ``qframe.uuid4()`` makes other ids in every call, so its
        points cannot be found again.
    sample : int, float or None
        How many rows to compare, or which share of them, up to 1.0. None is all.
    seed : int
        Chooses the rows of the sample; the same ones for the same seed.
    extra : bool
        Whether to list the points too that the frame does not have. All ids of the collection are
        read for it, also with a sample.
    workers : int
        Requests at the same time. The embedded engine always has one.
    retry : Retry, int or None
        As in `upload`, for each request.

    Returns
    -------
    DataFrame
        One line a difference, in the order of the rows; empty where all is well.
        ``position`` and ``label`` of the row, ``id``; ``problem``, which is "missing" for a point
        that is not there, "vector", "payload", or "extra" for a point without a row; ``name`` of
        the vector (the unnamed one's is empty) or the payload key; ``expected`` and ``found``:
        values for payload, where None is null and NA a key that is not there; for vectors a text.
        ``attrs["verify"]`` says what was compared with what: ``collection, target, transport,
        rows, set_aside`` (rows that cannot become points), ``expected`` and ``stored`` (points,
        exact), ``compared, sampled, uncompared`` (vectors whose datatype is lossy, by name, of
        which only presence and size are compared), ``problems`` (differences of each kind) and
        ``seconds``. More points stored than expected are no difference without `extra`.

    Raises
    ------
    InputError, SchemaMismatch
        As `upload` does, and for a sample that is none.
    CollectionNotFound
    TransportError

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"title": ["Alien", "Heat"], "v": [[0.1, 0.9], [0.8, 0.2]]})
    >>> _ = df.qdrant.upload("proven", ":memory:", vectors="v", progress=False)
    >>> found = df.qdrant.verify("proven", ":memory:", vectors="v")
    >>> len(found), found.attrs["verify"]["compared"]
    (0, 2)
    >>> df.assign(title=["Alien", "Ronin"]).qdrant.verify("proven", ":memory:", vectors="v")
       position label id  problem   name expected found
    0         1     1  1  payload  title    Ronin  Heat
    """
    __tracebackhide__ = True
    began = time.monotonic()
    check_collection_name(collection)
    workers = whole_number("workers", workers, least=1)
    policy = Retry.of(retry)
    _check_sample(sample)
    if isinstance(ids, Uuid4):
        raise InputError(
            "ids=qframe.uuid4() makes new ids in every call, which no point has; upload with "
            "qframe.uuid5(…) or a column of ids where you want to verify"
        )
    connection = resolve(con)
    with PatientStore(connection.store(), retry) as store:
        info = _describe(store, collection, connection)
        mapped = map_frame(
            frame,
            vectors=vectors,
            ids=ids,
            payload=payload,
            missing=missing,
            bad_rows=bad_rows,
            info=info,
        )
        chosen = _choose(mapped.points, sample, seed)
        lines: list[Line] = []
        make = Start(connection, collection, policy, chosen, info.vectors)
        count = 1 if connection.transport == "embedded" else workers  # the engine holds the GIL
        with ParallelWorkerPool[NDArray[np.int64], list[Line]](count, make) as pool:
            for of_page in pool.ordered_map(pages(chosen)):
                lines += of_page
        if extra:
            lines += extra_points(store, collection, mapped.points)
        found = _to_frame(lines, frame)
        problems = [line.problem for line in lines]
        kinds = {name: datatype(schema) for name, schema in info.vectors.items()}
        found.attrs["verify"] = {
            "collection": collection,
            "target": connection.target,
            "transport": connection.transport,
            "rows": len(frame),
            "set_aside": len(frame) - len(mapped.points),
            "expected": len(mapped.points),
            "stored": info.points,
            "compared": len(chosen),
            "sampled": sample is not None,
            "uncompared": {name: kind for name, kind in kinds.items() if kind not in COMPARABLE},
            "problems": {problem: problems.count(problem) for problem in PROBLEMS},
            "seconds": time.monotonic() - began,
        }
    return found


def _describe(store: Store, collection: str, connection: Connection) -> CollectionInfo:
    info = store.describe(collection)
    if info is None:
        raise CollectionNotFound(
            f"there is no collection {collection!r} at {connection.target}, so nothing of the "
            "frame is stored there; df.qdrant.upload(…) makes it, and con= names another place"
        )
    return info


# ---- What to compare ----


def _check_sample(sample: object) -> None:
    is_whole = isinstance(sample, numbers.Integral) and not isinstance(sample, bool)
    if sample is None or (is_whole and sample >= 1):  # type: ignore[operator]
        return
    is_share = isinstance(sample, numbers.Real) and not isinstance(sample, numbers.Integral)
    if not (is_share and 0 < sample <= 1):  # type: ignore[operator]
        raise InputError(
            f"sample={sample!r}: a number of rows, 1 or more; or a share of them, a float above 0 "
            "and up to 1.0; or None for all rows"
        )


def _choose(points: PointColumns, sample: float | None, seed: int) -> PointColumns:
    """Return the points to compare."""
    if sample is None:
        return points
    total = len(points)
    is_whole = isinstance(sample, numbers.Integral)
    size = min(int(sample) if is_whole else math.ceil(sample * total), total)
    seed = whole_number("seed", seed, least=0)
    places = np.sort(np.random.default_rng(seed).choice(total, size, replace=False))
    return dataclasses.replace(points, kept=places if points.kept is None else points.kept[places])


# ---- The result ----


def _to_frame(lines: Sequence[Line], frame: pd.DataFrame) -> pd.DataFrame:
    rows = [line.position for line in lines if line.position is not None]
    labels = frame.index.take(np.array(rows, dtype=np.int64)).tolist()
    cells = {
        "position": [line.position for line in lines],
        "label": labels + [None] * (len(lines) - len(labels)),  # those of no row are the last
        "id": [line.id for line in lines],
        "problem": [line.problem for line in lines],
        "name": [line.name for line in lines],
        "expected": [line.expected for line in lines],
        "found": [line.found for line in lines],
    }
    # A Series, since pandas infers another dtype of a bare array of objects that are all texts.
    return pd.DataFrame(
        {
            name: pd.Series(objects(cells[name]) if dtype == "object" else cells[name], dtype=dtype)
            for name, dtype in COLUMNS.items()
        }
    )
