"""The upload without the upload."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from qframe.arguments import check_choice
from qframe.batches import BATCH_SIZE, Extent, Limits, iterate_batches
from qframe.connection import Con, resolve
from qframe.errors import QframeError, ResumeMismatch
from qframe.forecast import Encoded, Tally, batches_of, encode_sample, estimate, round_trip
from qframe.mapping import Mapped
from qframe.mapping import resolve as map_frame
from qframe.overview import Plan
from qframe.points import VectorColumn, VectorKind
from qframe.pool import TIME_LIMIT, Kind
from qframe.progress import Progress
from qframe.resume import Past
from qframe.retry import Retry
from qframe.roles import parts, to_frame
from qframe.schema import CollectionInfo, CollectionSchema, VectorSchema
from qframe.sending import Order, Sending
from qframe.stores.patient import PatientStore
from qframe.surroundings import choose
from qframe.target import Target
from qframe.write import ShardKey, WriteOptions

LISTED = 1000
"""Findings that a plan holds: pandas copies `attrs` with every frame that is made of one."""


def plan(
    frame: pd.DataFrame,
    collection: str,
    con: Con = None,
    *,
    vectors: Any,
    ids: Any = None,
    payload: Any = None,
    if_exists: Literal["append", "fail", "replace"] = "append",
    distance: str | Mapping[str, str] = "cosine",
    collection_config: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    max_batch_bytes: int | None = None,
    workers: int | None = None,
    worker_kind: Kind = "thread",
    order: Order = "unordered",
    batch_timeout: float | None = TIME_LIMIT,
    wait: bool = False,
    barrier: bool = True,
    ordering: str | None = None,
    shard_key: ShardKey | None = None,
    update_mode: str | None = None,
    update_filter: Mapping[str, Any] | None = None,
    retry: Retry | int | None = None,
    on_error: Literal["raise", "collect"] = "raise",
    bad_rows: Literal["raise", "skip"] = "raise",
    missing: Literal["null", "drop"] = "null",
    journal: str | os.PathLike[str] | None = None,
    resume: pd.DataFrame | None = None,
    progress: Progress = "auto",
    block: bool = True,
) -> pd.DataFrame:
    """Tell what an upload would do, and do nothing: nothing is sent, made or changed.

    It takes what `upload` takes, so that ``.plan(`` in the place of ``.upload(`` gives the plan of
    that call. The frame is checked in full and cut into the same batches, the collection is looked
    at, and some of the batches are encoded to see how large they are and how long it takes. (To be
    looked at, an embedded collection is opened: for that time nobody else can have it, and the
    engine tidies its own files.)

    Parameters
    ----------
    frame : DataFrame
    collection : str
    con : str, path, Connection or None
    vectors, ids, payload, if_exists, distance, collection_config, batch_size, max_batch_bytes, \
workers, worker_kind, order, ordering, shard_key, update_mode, update_filter, missing
        As in `upload`.
    bad_rows : {"raise", "skip"}
        Whether rows that cannot become points are a problem, or are set aside. They never raise.
    journal : str or path, optional
        Read where it exists, and neither made, changed nor locked: what it says has arrived is not
        in the batches, and whether another upload is using it is not told.
    resume : DataFrame, optional
        As in `upload`. Whether what was only acknowledged has been applied by now is not asked.
    batch_timeout, wait, barrier, retry, on_error, progress, block
        As in `upload`; what is planned does not depend on them.

    Returns
    -------
    DataFrame
        With an overview in a notebook and when it is printed. One row a column of the frame and
        role, then what is no column: ``column`` (missing where it is none), ``source`` ("column",
        "index", "array", ``uuid5(…)``, …), ``role`` ("id", "vector", "payload", "unused"), ``name``
        (payload key or vector), ``dtype`` found, what it ``becomes``, ``kind`` and ``size`` of the
        vector, ``missing`` cells, and ``bad_rows``, which cannot become points for what was found
        there.
        ``attrs["plan"]`` holds the rest: ``collection, target, transport, rows, points`` (of all
        rows that can become some), ``resumed`` (points of earlier runs), ``bad_rows`` (how many
        rows), ``findings`` (how many), ``skipped`` (the first 1,000 of these, with their reasons);
        ``batches``: ``count, points, bytes`` as the report will have them, ``exact`` where every
        batch was encoded, else carried over from a sample, with the upper ``bound`` that batches
        are cut by; ``limits`` of a batch and where they come from; ``action`` ("create", "add",
        "replace", "refuse"), ``existing`` and ``new`` (vectors and settings of the collection),
        ``lost`` (points that replacing deletes), ``strict_mode`` (its limits in force);
        ``estimate``: seconds of encoding and of asking, ``without`` the server's own work; and
        ``problems``, the texts of what `upload` would raise: empty when it can go.

    Raises
    ------
    InputError
        When the call itself is wrong, such as by a column that is not there.
    TransportError
        When the server or the store cannot be asked.

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"title": ["Alien", "Heat"], "embedding": [[0.1, 0.9], [0.8, 0.2]]})
    >>> plan = df.qdrant.plan("planned", ":memory:", vectors="embedding")
    >>> plan[["column", "role", "becomes", "size"]]
          column     role                             becomes  size
    0      title  payload                              string  <NA>
    1  embedding   vector                   vector of float32     2
    2       <NA>       id  unsigned integer, the number of the row  <NA>
    >>> plan.attrs["plan"]["problems"], plan.attrs["plan"]["action"]
    ([], 'create')
    """
    __tracebackhide__ = True
    began = time.monotonic()
    check_choice("on_error", on_error, ("raise", "collect"))
    connection = resolve(con)
    write = WriteOptions(
        wait=wait,
        ordering=ordering,
        timeout=connection.timeout,
        shard_key=shard_key,
        update_mode=update_mode,
        update_filter=update_filter,
    )
    sending = Sending(
        connection,
        collection,
        write,
        Retry.of(retry),
        workers,
        worker_kind,
        order,
        batch_timeout,
    )
    choose(progress, block=block)
    problems = Problems()
    try:
        past = Past(journal, resume, ids, collection, connection.target, write)
    except ResumeMismatch as error:
        problems.add(error)
        past = Past(None, None, ids, collection, connection.target, write)
    with PatientStore(connection.store(), retry) as store:
        known = "append" if past.is_prepared else if_exists
        target = Target(
            store, connection, collection, known, distance, collection_config, problems.add
        )
        target.check_options(write)
        mapped = map_frame(
            frame,
            vectors=vectors,
            ids=ids,
            payload=payload,
            missing=missing,
            bad_rows=bad_rows,
            info=target.info,
            refuse=problems.add,
        )
        with problems:
            past.look(mapped.points, len(frame), write.to_json() | {"missing": missing})
            # Whoever writes the journal meanwhile adds points first, and tells of them then.
            past.compare(store, target.info if journal is None else store.describe(collection))
        measure = connection.measure(collection, write)
        limits = target.limits(batch_size, max_batch_bytes)
        target.check_points(len(mapped.points), bare_ids=mapped.bare_ids and not past.is_prepared)
        new = target.schema(mapped.points.vectors) if target.info is None else None
        has_sizes = new is None or all(one.size for one in _dense(new))
        if new is not None and has_sizes:
            with problems:
                store.check(collection, new)
        extent = Extent(mapped.points, past.missing)
        room = measure.room(limits)
        tally = Tally().take(
            iterate_batches(
                mapped.points,
                measure.widths,
                batch_size=room.points,
                max_bytes=room.bytes,
                ranges=extent.ranges,
            )
        )
        encoded = Encoded()
        if has_sizes:
            with problems:
                encode = connection.encoder(collection, write, _schemas(mapped.points.vectors))
                encoded = encode_sample(tally.sample, encode)
        is_embedded = connection.transport == "embedded"
        trip = None
        if not is_embedded:
            with contextlib.suppress(QframeError):  # a gateway may let only collections through
                trip = round_trip(store.version)
    planned = Plan(to_frame(parts(frame, ids, mapped)))
    planned.attrs["plan"] = {
        "collection": collection,
        "target": connection.target,
        "transport": connection.transport,
        "rows": len(frame),
        "points": len(mapped.points),
        "resumed": len(mapped.points) - tally.points,
        **_bad(mapped),
        "batches": batches_of(tally, encoded),
        "limits": _limits(limits, batch_size, max_batch_bytes),
        **_collection(target, known, new),
        "estimate": estimate(
            tally,
            encoded,
            trip,
            workers=sending.workers,
            kind=sending.kind,
            embedded=is_embedded,
            a_minute=target.rules.write_rate_limit,
        ),
        "problems": problems.texts,
        "seconds": time.monotonic() - began,
    }
    return planned


class Problems:
    """What an upload would raise, written down instead.

    In a ``with`` statement it takes the error that ends the statement too.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, error: BaseException) -> None:
        """Write down an error, once."""
        text = str(error)
        if text not in self.texts:
            self.texts.append(text)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, QframeError):
            return False
        self.add(error)
        return True


def _schemas(vectors: Mapping[str, VectorColumn]) -> dict[str, VectorSchema]:
    """Return the vectors of a collection that these would fit."""
    return {name: VectorSchema(one.kind, one.size, "cosine") for name, one in vectors.items()}


def _dense(schema: CollectionSchema) -> list[VectorSchema]:
    """Return the vectors that have a size."""
    return [one for one in schema.vectors.values() if one.kind is not VectorKind.SPARSE]


def _bad(mapped: Mapped) -> dict[str, Any]:
    return {
        "bad_rows": int(mapped.bad.mask().sum()),
        "findings": mapped.bad.findings,
        "skipped": mapped.bad.to_json(LISTED),
    }


def _limits(
    limits: Limits, batch_size: int | None, max_batch_bytes: int | None
) -> dict[str, dict[str, Any]]:
    """Return the limits of a batch, and where they come from."""
    of_points = "strict mode" if limits.points < BATCH_SIZE else "default"
    return {
        "points": {
            "most": limits.points,
            "from": of_points if batch_size is None else "argument",
        },
        "bytes": {
            "most": limits.bytes,
            "from": "default" if max_batch_bytes is None else "argument",
        },
    }


def _collection(target: Target, if_exists: str, new: CollectionSchema | None) -> dict[str, Any]:
    """Return what becomes of the collection, of JSON's types."""
    found = target.replaced or target.info
    action = "create" if found is None else {"append": "add", "fail": "refuse"}.get(if_exists)
    rules = target.rules
    strict = {
        "upsert_max_batchsize": rules.max_batch_points,
        "max_points_count": rules.max_points,
        "write_rate_limit": rules.write_rate_limit,
        "max_timeout": rules.max_timeout,
    }
    return {
        "action": action or "replace",
        "existing": None if found is None else _described(found) | {"points": found.points},
        "new": None if new is None else _described(new) | {"settings": _json(new.settings)},
        "lost": 0 if target.replaced is None else target.replaced.points,
        "strict_mode": {name: value for name, value in strict.items() if value is not None},
    }


def _described(schema: CollectionInfo | CollectionSchema) -> dict[str, Any]:
    vectors = {
        name: {
            "kind": one.kind.value,
            "size": one.size,
            "distance": one.distance,
            "settings": _json(one.settings),
        }
        for name, one in schema.vectors.items()
    }
    return {"vectors": vectors}


def _json(settings: Mapping[str, Any]) -> Any:
    """Return settings of JSON's types, and as text what has another."""
    return json.loads(json.dumps(dict(settings), default=str))
