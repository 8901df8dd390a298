"""pandas DataFrames into the Qdrant vector database, with proof that they arrived.

``df.qdrant.upload("movies", con, vectors="embedding")`` is the whole of it.

=================  ================================================================================
`upload`           a frame into a collection; ``df.qdrant.upload`` is the same
`plan`             what that call would do, and nothing done; ``df.qdrant.plan``
`show`, `plot`     its report in words, and as a picture
`failed`           the rows that did not get in; ``df.qdrant.failed``
`verify`           how what is stored differs from the frame; ``df.qdrant.verify``
`UploadJob`        what ``upload(…, block=False)`` returns
`upload_points`    a lazy stream of records instead of a frame
`uuid5`, `uuid4`   ids for ``upload(…, ids=…)``
`geo`              a geo point for ``upload(…, payload=…)``
`connect`          a server, with key, certificate and timeouts
`Retry`            when to try again, and how long
`read_collection`  a collection as a frame
`search`           the points nearest to a vector
`errors`           all that is raised, in one tree
=================  ================================================================================

The house behind it, in the direction that the data takes::

    DataFrame -> mapping        columns -> PointColumns; every check that needs no server
                   vectors/       dense, multi, sparse: views, not copies, where that can be
                   ids            index, column, uuid5, uuid4
                   payload        columns -> keys; values: the one conversion table
                   records        the same for a stream of records
              -> target         the collection: what it must be like, and making it
              -> resume         what earlier runs brought in, by a report or a journal
                   journal        the file of it, with linefile, ranges, and the fingerprint that
                                  tells what of the frame has changed
              -> batches        row ranges, cut by count and by encoded bytes
              -> pool           threads, each with a worker of its own, here or in another process
                   processes      forks of a nursery of our own, or interpreters; exchange and
                                  serving are what goes between, and the other side
                   uploaders/     delivery: send, wait, send again, halve what is refused;
                                  rest, grpc, embedded: points -> body -> answer
              -> sending        results -> journal, progress, report, errors
              -> barrier        acknowledged -> applied, or why that is not certain
              -> failed_rows    a report -> the rows that did not get in
              -> planning       the same call, and nothing is sent: roles says what each column is
                                  for, forecast what the batches are, overview shows it
              -> verification   what is stored -> how it differs from the frame; readback reads it,
                                  comparison says what is equal

    points       the columns and blocks that go between them
    encoding/    blocks -> bytes: protobuf, json, of pieces a column; and how wide they may become
    transports/  sessions, channels and shards; foreign errors become ours here, and only here
    stores/      collections: made, described, read back
    _wire/       the messages of proto/
    showing      a report -> HTML and text; telling: what of it; causes: its errors, grouped; ways:
                   what to type next
    plotting     a report -> timeline -> drawing: the picture
    figures, markup    how numbers are written, and the HTML that is readable everywhere
    progress     what has come of an upload, and with activity, causes and pace what goes on in it
                 at this moment; watch has it shown by a display on a terminal or in a log, or by
                 the panel of a notebook, as surroundings say, also while a job uploads in a thread
                 of its own
    address, arguments, connection, schema, write, retry, gate, run, report, errors, read, accessor,
    names, version

A module imports only from those before it: version, errors, names <- arguments, address, figures,
markup, points, schema, write, report, causes, ways, telling, showing, timeline, drawing, plotting,
retry, gate, activity, pace, batches <- progress, display, panel, surroundings, fingerprint,
linefile, ranges <- journal <- mapping, encoding <- transports <- uploaders, stores <- connection <-
exchange <- serving <- nursery <- processes <- pool <- barrier, target, run, watch, sending, job <-
resume, read, comparison, failed_rows, forecast, roles <- readback, overview <- uploading,
verification, planning <- accessor. REST, gRPC and the embedded engine never meet. No module has the
name of something public, which it would hide.
"""

from typing import TYPE_CHECKING, Any

from qframe.accessor import QdrantAccessor
from qframe.errors import (
    AuthenticationError,
    BadGateway,
    BadRowsError,
    CollectionError,
    CollectionExists,
    CollectionNotFound,
    ConnectionLost,
    DeadlinePassed,
    EngineError,
    InputError,
    InsufficientStorage,
    InvalidAnswer,
    InvalidRequest,
    JournalError,
    MissingPackage,
    PermissionDenied,
    PointsLost,
    QframeError,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    ResumeMismatch,
    SchemaMismatch,
    ServerError,
    ServerUnreachable,
    ServiceUnavailable,
    StoreLocked,
    TransportError,
    UnexpectedError,
    UploadError,
    UploadInterrupted,
    WorkerDied,
    WorkerTimeout,
)
from qframe.names import HOMES as _HOMES
from qframe.names import load as _load
from qframe.version import __version__ as __version__

if TYPE_CHECKING:
    from qframe.connection import Connection, connect
    from qframe.failed_rows import failed
    from qframe.job import UploadJob
    from qframe.mapping.ids import uuid4, uuid5
    from qframe.mapping.payload import geo
    from qframe.planning import plan
    from qframe.plotting import plot
    from qframe.pool import ParallelWorkerPool
    from qframe.progress import ProgressEvent
    from qframe.read import read_collection, search
    from qframe.retry import Retry
    from qframe.showing import show
    from qframe.uploaders.base import BaseUploader
    from qframe.uploaders.embedded import EmbeddedBatchUploader
    from qframe.uploaders.grpc import GrpcBatchUploader
    from qframe.uploaders.rest import RestBatchUploader
    from qframe.uploading import upload, upload_points
    from qframe.verification import verify
else:  # so that type checkers know the names above, and no others

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = _load(name)  # which is not asked for again
        return found


def __dir__() -> list[str]:
    # Not the modules: of what begins with "upl", two are functions, and two would be modules.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


__all__ = [
    "AuthenticationError",
    "BadGateway",
    "BadRowsError",
    "BaseUploader",
    "CollectionError",
    "CollectionExists",
    "CollectionNotFound",
    "Connection",
    "ConnectionLost",
    "DeadlinePassed",
    "EmbeddedBatchUploader",
    "EngineError",
    "GrpcBatchUploader",
    "InputError",
    "InsufficientStorage",
    "InvalidAnswer",
    "InvalidRequest",
    "JournalError",
    "MissingPackage",
    "ParallelWorkerPool",
    "PermissionDenied",
    "PointsLost",
    "ProgressEvent",
    "QdrantAccessor",
    "QframeError",
    "RateLimited",
    "RequestTimeout",
    "RequestTooLarge",
    "RestBatchUploader",
    "ResumeMismatch",
    "Retry",
    "SchemaMismatch",
    "ServerError",
    "ServerUnreachable",
    "ServiceUnavailable",
    "StoreLocked",
    "TransportError",
    "UnexpectedError",
    "UploadError",
    "UploadInterrupted",
    "UploadJob",
    "WorkerDied",
    "WorkerTimeout",
    "connect",
    "failed",
    "geo",
    "plan",
    "plot",
    "read_collection",
    "search",
    "show",
    "upload",
    "upload_points",
    "uuid4",
    "uuid5",
    "verify",
]
