"""Everything that qframe raises, in one tree.

::

    QframeError
    ├── InputError (ValueError)         the call or the frame cannot become points
    │   ├── BadRowsError                these rows cannot; `.rows` names them
    │   └── ResumeMismatch              what is to be gone on with was other data
    ├── CollectionError                 the collection is not what the call needs
    │   ├── CollectionNotFound
    │   ├── CollectionExists
    │   └── SchemaMismatch              vectors or limits differ from the frame's
    ├── TransportError                  what a server or an engine answered, or did not
    │   ├── ServerUnreachable           no connection, nothing was sent   transient
    │   ├── ConnectionLost              it broke before the answer        transient, unanswered
    │   ├── RequestTimeout              no answer in time                 transient, unanswered
    │   ├── ServiceUnavailable          503, UNAVAILABLE                  transient
    │   │   └── BadGateway              502, 520 of a proxy               transient, unanswered
    │   ├── ServerError                 500, INTERNAL                     transient
    │   ├── RateLimited                 429, RESOURCE_EXHAUSTED           transient
    │   ├── InsufficientStorage         507                               transient
    │   ├── InvalidAnswer               an answer that cannot be read     transient, unanswered
    │   ├── InvalidRequest              400, 409, 422, INVALID_ARGUMENT
    │   │   └── RequestTooLarge
    │   ├── AuthenticationError         401, UNAUTHENTICATED
    │   ├── PermissionDenied            403, PERMISSION_DENIED
    │   ├── StoreLocked                 another process holds the embedded store
    │   └── EngineError                 the embedded engine refused or panicked
    ├── WorkerDied                      a worker process ended before its result
    ├── WorkerTimeout                   a batch took longer than its time limit
    ├── DeadlinePassed                  the time for the whole upload is over
    ├── PointsLost                      the server did not apply what it acknowledged
    ├── JournalError                    a journal cannot be read, written, or is in use
    ├── MissingPackage (ImportError)    what was asked for needs a package that is not installed
    ├── UnexpectedError                 an error of another kind, while a batch was sent
    └── UploadError                     some points did not arrive; `.report` says which

    UploadInterrupted (KeyboardInterrupt)   the user stopped an upload; `.report` says where

`QframeError.transient` tells `Retry` what may pass by itself; after an unanswered request nobody
knows whether it was carried out; and `QframeError.fatal` tells an upload that going on with the
next batch is pointless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import pandas as pd


class QframeError(Exception):
    """Root of all errors of qframe.

    Attributes
    ----------
    transient : bool
        Whether the same request may succeed later.
    answered : bool
        Whether the request is known not to have been carried out in full.
    fatal : bool
        Whether the next request is bound to end the same way.
    retry_after : float or None
        Seconds after which the server asks to come back.
    """

    transient: ClassVar[bool] = False
    answered: ClassVar[bool] = True
    fatal: ClassVar[bool] = False
    retry_after: float | None = None


class InputError(QframeError, ValueError):
    """The arguments, or the frame as a whole, cannot become points."""


class BadRowsError(InputError):
    """Some rows cannot become points.

    Parameters
    ----------
    message : str
        What is wrong, where, and the way out.
    rows : DataFrame
        One line a finding: ``position`` (0-based), ``label`` (index label), ``column``,
        ``reason``.
    """

    def __init__(self, message: str, rows: pd.DataFrame) -> None:
        super().__init__(message, rows)
        self.rows = rows

    def __str__(self) -> str:
        return str(self.args[0])


class ResumeMismatch(InputError):
    """The frame or the mapping is not the one that the journal or the report was made with."""


class CollectionError(QframeError):
    """The collection is not what the call needs."""


class CollectionNotFound(CollectionError):
    """There is no collection of this name."""

    fatal = True


class CollectionExists(CollectionError):
    """A collection of this name exists, and the call asked for a new one."""


class SchemaMismatch(CollectionError):
    """The collection's vectors, limits or version do not fit the frame."""


class TransportError(QframeError):
    """What a server or an engine answered, or did not answer.

    Parameters
    ----------
    message : str
        The answer's own text, with what to do about it where that is known.
    retry_after : float, optional
        Seconds after which the server asks to come back.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class ServerUnreachable(TransportError):
    """No connection could be made; nothing was sent."""

    transient = True
    fatal = True


class ConnectionLost(TransportError):
    """The connection broke before the answer; the request may have been carried out."""

    transient = True
    answered = False


class RequestTimeout(TransportError):
    """No answer came in time; the request may have been carried out all the same."""

    transient = True
    answered = False


class ServiceUnavailable(TransportError):
    """The server says that it cannot serve right now."""

    transient = True


class BadGateway(ServiceUnavailable):
    """A proxy got no proper answer from the server, which may have carried out the request."""

    answered = False


class ServerError(TransportError):
    """The server failed while it carried out the request."""

    transient = True


class RateLimited(TransportError):
    """The server asks for fewer points a minute; `retry_after` says when to come back."""

    transient = True

    @property
    def is_of_size(self) -> bool:
        """Whether the request costs more than the server ever grants at once, as it says itself.

        Without a time to come back, and without these words of Qdrant's, it may as well be a
        proxy's limit of requests.
        """
        return self.retry_after is None and "split your request" in str(self)


class InsufficientStorage(TransportError):
    """The server is out of disk or memory."""

    transient = True
    fatal = True


class InvalidAnswer(TransportError):
    """The answer cannot be read: truncated, malformed, or not Qdrant's."""

    transient = True
    answered = False


class InvalidRequest(TransportError):
    """The server refuses the request's content; sending it again is no use."""


class RequestTooLarge(InvalidRequest):
    """The body is larger than the server allows."""


class AuthenticationError(TransportError):
    """The server wants a key, or another one."""

    fatal = True


class PermissionDenied(TransportError):
    """The key does not allow this."""

    fatal = True


class StoreLocked(TransportError):
    """Another process holds this embedded store."""

    fatal = True


class EngineError(TransportError):
    """The embedded engine refused an operation, or panicked."""


class UploadError(QframeError):
    """Some points did not arrive.

    Parameters
    ----------
    message : str
        How many points, the first error, and what to type next.
    report : DataFrame
        The same report that a successful upload returns, one row a batch.
    """

    def __init__(self, message: str, report: pd.DataFrame) -> None:
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerDied(QframeError):
    """A worker process ended before it gave its result."""

    answered = False


class WorkerTimeout(QframeError):
    """A worker gave no result within the time limit of a batch."""

    answered = False


class DeadlinePassed(QframeError):
    """The time that the whole upload was given, `Retry.deadline`, is over."""

    fatal = True


class PointsLost(QframeError):
    """The server acknowledged points that it did not apply, or may not have applied."""


class JournalError(QframeError):
    """A journal cannot be read or written, or another upload is using it."""


class MissingPackage(QframeError, ImportError):
    """What was asked for needs a package that is not installed."""


class UnexpectedError(QframeError):
    """An error of another kind came up while a batch was encoded or sent; it is the cause."""

    answered = False


class UploadInterrupted(KeyboardInterrupt):
    """The user stopped an upload, by Ctrl-C or the stop of a cell.

    Parameters
    ----------
    message : str
        How many points are in which state.
    report : DataFrame
        One row a batch; those in flight that gave no answer in time are `unknown`.
    """

    def __init__(self, message: str, report: pd.DataFrame) -> None:
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


Refuse = Callable[[QframeError], object]
"""What is done with what a check finds: an upload raises it, a plan writes it down."""


def raise_at_once(error: QframeError) -> None:
    """Refuse as an upload does."""
    raise error
