"""What the server says when it says no, once for both transports."""

from __future__ import annotations

from enum import Enum

from grpc import StatusCode


class Kind(Enum):
    """HTTP status, gRPC code and the prefix that the text carries."""

    FORMAT = (400, StatusCode.INVALID_ARGUMENT, "Format error in JSON body: ")
    PAYLOAD = (400, StatusCode.INVALID_ARGUMENT, "")
    # tonic's own limit for a message; the real server sets none, a proxy before it may.
    TOO_LARGE = (400, StatusCode.OUT_OF_RANGE, "")
    QUERY = (400, StatusCode.INVALID_ARGUMENT, "Deserialize error in query parameters: ")
    WRONG_INPUT = (400, StatusCode.INVALID_ARGUMENT, "Wrong input: ")
    BAD_REQUEST = (400, StatusCode.INVALID_ARGUMENT, "Bad request: ")
    VALIDATION = (422, StatusCode.INVALID_ARGUMENT, "Validation error in JSON body: ")
    PATH = (422, StatusCode.INVALID_ARGUMENT, "Validation error in path parameters: ")
    UNAUTHENTICATED = (401, StatusCode.UNAUTHENTICATED, "")
    FORBIDDEN = (403, StatusCode.PERMISSION_DENIED, "Forbidden: ")
    NOT_FOUND = (404, StatusCode.NOT_FOUND, "Not found: ")
    TIMEOUT = (408, StatusCode.DEADLINE_EXCEEDED, "Timeout: ")
    ALREADY_EXISTS = (409, StatusCode.ALREADY_EXISTS, "Wrong input: ")
    RATE_LIMIT = (429, StatusCode.RESOURCE_EXHAUSTED, "Rate limiting exceeded: ")
    SERVICE = (500, StatusCode.INTERNAL, "Service internal error: ")
    PRECONDITION = (500, StatusCode.FAILED_PRECONDITION, "Pre-condition failure: ")
    BAD_GATEWAY = (502, StatusCode.UNAVAILABLE, "")
    UNAVAILABLE = (503, StatusCode.UNAVAILABLE, "Shard temporarily unavailable: ")
    INSUFFICIENT_STORAGE = (507, StatusCode.RESOURCE_EXHAUSTED, "Insufficient storage: ")

    def __init__(self, http_status: int, code: StatusCode, prefix: str) -> None:
        self.http_status = http_status
        self.code = code
        self.prefix = prefix


class Refusal(Exception):
    """The request is answered with an error.

    ``retry_after`` goes out verbatim, as the REST header and as the gRPC metadata.
    """

    def __init__(self, kind: Kind, text: str, retry_after: str | None = None) -> None:
        super().__init__(kind.prefix + text)
        self.kind = kind
        self.text = text
        self.retry_after = retry_after

    @property
    def grpc_text(self) -> str:
        if self.kind in (Kind.VALIDATION, Kind.PATH):
            return "Validation error in body: " + self.text
        return str(self)


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Garbled(Exception):
    """A success is to be answered with bytes that nobody can parse."""
