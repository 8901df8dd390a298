"""The whole story of an upload."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, overload

import pandas as pd

from qframe.arguments import check_choice
from qframe.barrier import LATER, Doubt, Expected, pass_barrier
from qframe.batches import Extent, iterate_batches
from qframe.connection import Con, Connection, resolve
from qframe.errors import InputError
from qframe.job import UploadJob
from qframe.mapping import check_bad_rows
from qframe.mapping import resolve as map_frame
from qframe.mapping.stream import RecordStream
from qframe.pool import TIME_LIMIT, Kind
from qframe.progress import Progress
from qframe.resume import Past
from qframe.retry import Retry
from qframe.run import Run
from qframe.sending import Order, Sending
from qframe.stores.base import Store
from qframe.stores.patient import PatientStore
from qframe.surroundings import choose, loop_between_cells
from qframe.target import Target
from qframe.watch import Watch
from qframe.write import ShardKey, WriteOptions


@overload
def upload(
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
    block: Literal[True] = True,
) -> pd.DataFrame: ...


@overload
def upload(
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
    block: Literal[False],
) -> UploadJob: ...


@overload
def upload(
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
    block: bool,
) -> pd.DataFrame | UploadJob: ...


def upload(
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
) -> pd.DataFrame | UploadJob:
    """Upload every row of a DataFrame as a point, and report what became of each batch.

    The frame is checked as a whole before anything is sent or changed: ids, vectors and payload
    of all rows, and what the collection takes.

    Parameters
    ----------
    frame : DataFrame
        One row a point.
    collection : str
        Created when there is none of this name.
    con : str, path, Connection or None
        ``"http://host:6333"`` (REST), ``"grpc://host:6334"``, their ``https`` and ``grpcs``, a
        folder or ``":memory:"`` (embedded engine), or a `qframe.connect`. None is what
        ``QDRANT_URL`` and ``QDRANT_API_KEY`` say, and without them the folder ``./qdrant_data``.
    vectors : str, list of str, array, sparse matrix, or mapping of str to these
        - a column of lists, tuples or arrays, of Arrow lists, of 2-D arrays (multivectors), or
          of ``{"indices": …, "values": …}`` (sparse);
        - a list of numeric columns, one number of the vector each;
        - an array of shape (rows, size), or (rows, vectors, size) for multivectors, or a
          scipy.sparse matrix of shape (rows, size), aligned by position;
        - ``{name: any of these}`` for named vectors. A missing cell means that the point lacks
          that vector.
        Sent as float32.
    ids : str, array, `uuid5`, `uuid4` or None
        A column, or one id a row: unsigned integers below 2**64 or UUIDs, unique. None is the
        index. ``qframe.uuid5("sku")`` makes the same ids of the same keys in every run.
    payload : list, mapping or None
        Columns, or ``{column: key}``; ``qframe.geo(lat=…, lon=…)`` makes a geo point of two. None
        is every column that is not used for ids or vectors, ``[]`` is none. The columns of `uuid5`
        go along in any case. What cells become stands in `qframe.mapping.values`.
    if_exists : {"append", "fail", "replace"}
        What to do with a collection of this name: add to it (points with the same id are
        overwritten), refuse, or delete it and make it anew. An upload that is gone on with, by
        `journal` or `resume`, has done that already, and adds to it.
    distance : {"cosine", "dot", "euclid", "manhattan"} or mapping of str to these
        For a new collection; a mapping gives each named vector its own.
    collection_config : mapping, optional
        Further settings of a new collection by the names of the REST API, such as
        ``{"shard_number": 2, "vectors": {"image": {"on_disk": True}}}``.
    batch_size : int, optional
        Points in a request at the most, 1,000 by default, or fewer where the collection says so.
    max_batch_bytes : int, optional
        Encoded bytes in a request at the most, 16 MiB by default. A single point that is larger
        travels alone.
    workers : int, optional
        Requests at the same time; 2 by default. The embedded engine always has one writer.
    worker_kind : {"thread", "process"}
        Where the workers run. Processes pay where encoding keeps a core busy; they need no
        ``if __name__ == "__main__"``.
    order : {"unordered", "semi-ordered", "ordered"}
        "ordered" sends one batch after another, in the order of the rows; the others send as
        workers are free.
    batch_timeout : float or None
        Seconds that encoding a batch and its requests may take, waits in between apart, before its
        worker is given up; 600 by default, None is no limit.
    wait : bool
        Whether the server answers each request only when its points are applied. Without it they
        are `acknowledged`, in the server's log and queue, which is faster.
    barrier : bool
        Whether an upload without `wait` ends by waiting until the server has applied all that it
        acknowledged, and by counting. Where that cannot be shown, points stay `acknowledged`, and
        ``attrs["upload"]["barrier"]`` says why; where points are missing, `UploadError` does.
    ordering : {"weak", "medium", "strong"} or None
        Write ordering between replicas.
    shard_key : str, int, list of them, or None
        For collections with custom sharding.
    update_mode : {"upsert", "insert_only", "update_only"} or None
        For points that exist, or do not (server 1.17 and later).
    update_filter : mapping, optional
        Existing points are changed only where this filter, in the form of the REST API, matches
        (server 1.16 and later).
    retry : Retry, int or None
        A policy, or a number of retries, for the requests that prepare the collection and for each
        batch; None is ``qframe.Retry()``. Only None gives up at once where no server is found.
        A batch that is refused for its content is halved until the bad rows stand alone
        (``retry=0`` does not, and sends everything once).
    on_error : {"raise", "collect"}
        Whether points that did not arrive raise `UploadError`, after all that could be sent was
        sent, or are only reported.
    bad_rows : {"raise", "skip"}
        Whether rows that cannot become points refuse the call, or are set aside and reported.
    missing : {"null", "drop"}
        Whether a missing payload cell is stored as null, or its key left out.
    journal : str or path, optional
        A file that keeps what has arrived. The same call again, after a stop, an error or the
        death of the process, sends only what is missing. Needs ids that stay the same.
    resume : DataFrame, optional
        The report of an earlier upload of this frame to this collection: what it says has arrived
        is not sent again. The ids must be the same. Unlike a journal, a report does not notice
        changed payload and vectors: rows that failed may be mended in the frame, and rows that have
        arrived keep the values that they had; `verify` tells the difference.
    progress : {"auto"}, bool or callable
        "auto" and True show a panel in a notebook, a bar on a terminal, and a line every few
        seconds in a file. False is silent. A callable is given a `ProgressEvent` for each batch.
    block : bool
        False returns an `UploadJob` at once, and uploads in a thread of its own; `frame` is not to
        be changed meanwhile.

    Returns
    -------
    DataFrame, or UploadJob with ``block=False``
        A row a batch, or several where only a part of it got in, in the order of rows: ``batch,
        start, stop`` (row positions, half open), ``points, status, attempts, retries, throttled_s,
        encode_s, send_s`` (seconds), ``bytes, operation_id, worker, deaths`` (of workers),
        ``started_s, ended_s`` (seconds after the upload began), ``requests`` (when each was sent
        and answered, as in ``"0.0131-0.0304 1.2010-1.2411"``), ``error_type, error``. What an
        earlier run brought in has no attempts. The status says what is known of the points:
        "applied" (stored), "acknowledged" (in the server's log and queue), "failed" (refused, or
        given up), "unknown" (sent without an answer), "unsent".
        ``attrs["upload"]`` holds the summary: ``collection, target, transport, created, rows,
        points`` (by status), ``seconds, points_per_s, bytes, retries, throttled_s, deaths`` (of
        worker processes), ``skipped`` (rows that were set aside, with the reasons), ``resumed``
        (points of earlier runs), ``barrier`` (None, or why acknowledged points are not known to be
        applied), ``ended`` (None, or what the upload as a whole ended with: ``by`` "stop",
        "deadline", "error", "finding" or "progress", ``error_type, error``), ``under_way`` (True in
        the ``report`` of a job that has not ended), ``journal, journal_error``, and ``mapping,
        ids_digest``, which `resume` compares. `show` shows it all.

    Raises
    ------
    InputError
        When the call or the frame cannot become points; `BadRowsError` names the rows, and
        `ResumeMismatch` what is not as it was in the run to be gone on with.
    JournalError
        When the journal cannot be read or written, or is in use.
    CollectionError
        When the collection is not what the call needs.
    TransportError
        When the server cannot be spoken to before the first batch.
    UploadError
        When points did not arrive; its ``report`` is what would have been returned.
    UploadInterrupted
        After Ctrl-C or the stop of a cell, with the ``report`` so far.

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"title": ["Alien", "Heat"], "embedding": [[0.1, 0.9], [0.8, 0.2]]})
    >>> report = df.qdrant.upload("movies", ":memory:", vectors="embedding", progress=False)
    >>> report[["start", "stop", "points", "status"]]
       start  stop  points   status
    0      0     2       2  applied
    >>> report.attrs["upload"]["points"]["applied"]
    2
    """
    __tracebackhide__ = True  # notebooks show who called, and what was raised
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
    policy = Retry.of(retry)
    sending = Sending(
        connection, collection, write, policy, workers, worker_kind, order, batch_timeout
    )
    past = Past(journal, resume, ids, collection, connection.target, write)

    def story(watch: Watch) -> pd.DataFrame:
        __tracebackhide__ = True
        with _patient(connection, retry, watch) as store, past:
            known = "append" if past.is_prepared else if_exists
            target = Target(store, connection, collection, known, distance, collection_config)
            target.check_options(write)
            watch.check(len(frame))
            mapped = map_frame(
                frame,
                vectors=vectors,
                ids=ids,
                payload=payload,
                missing=missing,
                bad_rows=bad_rows,
                info=target.info,
            )
            past.open(mapped.points, len(frame), write.to_json() | {"missing": missing})
            past.confirm(store, target.info, sending.patience, watch)
            measure = connection.measure(collection, write)
            limits = measure.room(target.limits(batch_size, max_batch_bytes))
            bare_ids = mapped.bare_ids and not past.is_prepared
            target.check_points(len(mapped.points), bare_ids=bare_ids)
            watch.tick()  # a stop during the checks leaves the collection as it is
            target.prepare(mapped.points.vectors)
            past.prepared()
            extent = Extent(mapped.points, past.missing)
            batches = iterate_batches(
                mapped.points,
                measure.widths,
                batch_size=limits.points,
                max_bytes=limits.bytes,
                ranges=extent.ranges,
            )
            run = Run(collection, connection, notes=past.told())
            skipped = mapped.skipped

            def report() -> pd.DataFrame:
                known = dataclasses.replace(run)
                known.absorb(past.results)
                return known.report(len(frame), skipped, created=target.created)

            watch.follow(run, report)
            sending.run(batches, run, watch, extent=extent, record=past.record)
            with run.interruptible():
                run.absorb(past.results)
                if barrier and await_applied(
                    run, store, target.before, write, sending.patience, watch, extent
                ):
                    past.settled()
            with run.interruptible():
                run.notes |= past.close()
        watch.finish(run)
        return run.finish(report(), on_error)

    draws = block or loop_between_cells() is None
    watch = Watch(choose(progress, block=block), collection, connection.target, draws=draws)
    return watch.tell_of(story) if block else UploadJob(story, watch)


def upload_points(
    points: Iterable[Any],
    collection: str,
    con: Con = None,
    *,
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
    progress: Progress = "auto",
) -> pd.DataFrame:
    """Upload a lazy stream of records as points.

    Records are drawn as they are sent, never more than the batches in flight, so they need not fit
    into memory. For the same reason they cannot be checked as a whole beforehand: a bad record is
    set aside, the others go on, and at the end ``bad_rows="raise"`` raises `UploadError`.
    A stream may write to one id several times; with ``order="ordered"`` the last record wins.

    Parameters
    ----------
    points : iterable
        Mappings, or objects with attributes, named ``id``, ``vector`` and ``payload``. A vector is
        a list or array, a 2-D one (multivector), ``{"indices", "values"}`` (sparse), or a mapping
        of names to these. A collection that does not exist is made for the first batch.
    collection, con, if_exists, distance, collection_config, batch_size, max_batch_bytes, workers, \
worker_kind, order, batch_timeout, wait, barrier, ordering, shard_key, update_mode, update_filter, \
retry, on_error, progress
        As in `upload`.
    bad_rows : {"raise", "skip"}
        Whether records that were set aside raise `UploadError` at the end.

    Returns
    -------
    DataFrame
        As in `upload`; ``start`` and ``stop`` are numbers of records.

    Raises
    ------
    UploadError, InputError, CollectionError, TransportError, UploadInterrupted
        As in `upload`. An error of the iterable itself is the cause of an `UploadError`.

    Examples
    --------
    >>> import qframe
    >>> records = ({"id": n, "vector": [n, 1.0], "payload": {"n": n}} for n in range(3))
    >>> report = qframe.upload_points(records, "numbers", ":memory:", progress=False)
    >>> int(report["points"].sum())
    3
    """
    __tracebackhide__ = True
    check_choice("on_error", on_error, ("raise", "collect"))
    check_bad_rows(bad_rows)
    is_single = isinstance(points, pd.DataFrame | str | bytes | Mapping)
    if is_single or not isinstance(points, Iterable):
        raise InputError(
            f"upload_points takes an iterable of records, not a {type(points).__name__}"
            + ("; df.qdrant.upload(…) takes a frame" if isinstance(points, pd.DataFrame) else "")
        )
    connection = resolve(con)
    write = WriteOptions(
        wait=wait,
        ordering=ordering,
        timeout=connection.timeout,
        shard_key=shard_key,
        update_mode=update_mode,
        update_filter=update_filter,
    )
    policy = Retry.of(retry)
    sending = Sending(
        connection, collection, write, policy, workers, worker_kind, order, batch_timeout
    )

    def story(watch: Watch) -> pd.DataFrame:
        __tracebackhide__ = True
        with _patient(connection, retry, watch) as store:
            target = Target(store, connection, collection, if_exists, distance, collection_config)
            target.check_options(write)
            measure = connection.measure(collection, write)
            limits = measure.room(target.limits(batch_size, max_batch_bytes))
            stream = RecordStream(
                points,
                measure.widths,
                limits,
                info=target.info,
                prepare=target.prepare,
            )
            run = Run(collection, connection)

            def report() -> pd.DataFrame:
                return run.report(stream.read, stream.skipped, created=target.created)

            watch.follow(run, report)
            sending.run(stream.batches(), run, watch)
            with run.interruptible():
                if barrier:
                    await_applied(run, store, target.before, write, sending.patience, watch)
        if bad_rows == "raise":
            run.blamed = stream.complaint() or run.blamed
        watch.finish(run)
        return run.finish(report(), on_error)

    return Watch(choose(progress), collection, connection.target).tell_of(story)


def _patient(connection: Connection, retry: Retry | int | None, watch: Watch) -> PatientStore:
    """Return the store of an upload, which can be stopped while a server gives no answer."""
    if connection.transport == "embedded":  # whose files are not to be closed under a thread
        return PatientStore(connection.store(), retry, watch.sleep)
    return PatientStore(connection.store(), retry, watch.sleep, watch.wait_for)


def await_applied(
    run: Run,
    store: Store,
    before: int,
    write: WriteOptions,
    patience: float,
    watch: Watch,
    extent: Extent | None = None,
) -> bool:
    """Wait until what was acknowledged is applied, and tell the run.

    Parameters
    ----------
    run : Run
    store : Store
    before : int
        Points in the collection before the upload.
    write : WriteOptions
    patience : float
        Seconds.
    watch : Watch
    extent : Extent, optional
        Rows of the frame, each with an id of its own. None is a stream, in which one id may come
        several times, so that its points cannot be counted.

    Returns
    -------
    bool
        Whether all acknowledged points are known to be applied.
    """
    if not run.acknowledged or isinstance(run.cause, KeyboardInterrupt):
        return False
    if run.ended_early:
        run.settle(
            Doubt(
                "whether all acknowledged points are applied was not asked, as the upload ended "
                f"early; {LATER}"
            )
        )
        return False
    expected = Expected(before)
    if write.stores_all:
        # With all that were sent as new ones, those of unknown fate included, none is missing; but
        # what an earlier run left queued may have been applied since.
        enough = before + run.sent if run.sent == run.points else None
        expected = Expected(before, enough)
        if extent is not None:
            rows = extent.within(run.acknowledged)
            expected = Expected(max(before, run.arrived), enough, rows.ids)
    doubt = watch.settle(
        lambda: pass_barrier(
            store,
            run.collection,
            expected=expected,
            patience=patience,
            shard_key=write.shard_key,
            sleep=watch.sleep,
        )
    )
    run.settle(doubt)
    return doubt is None
