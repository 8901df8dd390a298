"""What ends a gRPC call, translated into the errors of qframe.

A server's answer and the client library's own failures come in the same form, a code and a text.
What the library says by itself is therefore recognised by its words, and what is known neither as
the server's answer nor as said before anything was sent counts as a request without an answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qframe.errors import (
    AuthenticationError,
    BadGateway,
    CollectionExists,
    CollectionNotFound,
    ConnectionLost,
    InsufficientStorage,
    InvalidRequest,
    PermissionDenied,
    QframeError,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
    ServerUnreachable,
    ServiceUnavailable,
)
from qframe.retry import parse_retry_after

if TYPE_CHECKING:
    import grpc

SHOWN = 300
"""Characters of an answer that an error quotes."""

REST_PORT = 6333

# What gRPC itself says, without a word from the server. Tried with grpcio 1.85; older ones say
# the same without "Stream removed" around it.
_NOT_CONNECTED = re.compile(
    r"^failed to connect to all addresses|^errors resolving |DNS resolution failed"
    r"|^empty address list|name resolution"
)
_BROKEN = re.compile(
    r"Stream removed|Received RST_STREAM|RST_STREAM|Received GOAWAY|Channel closed"
)
_LOST = re.compile(
    r"stream removed|socket closed|goaway|connection (reset|closed|aborted|refused)|broken pipe"
    r"|recvmsg|sendmsg|rst_stream|keepalive|ping timeout|end of tcp stream|transport closed",
    re.IGNORECASE,
)
_HTTP_STATUS = re.compile(r"Received http2 .*?status\W+(\d{3})")

_TEXT = re.compile(r"http1\.x server|got frame type (3[2-9]|[4-9]\d|1[01]\d|12[0-6])\)")
"""An answer in readable characters, where frames of HTTP/2 were to come."""
_PAGE = re.compile(r"\s*<(!doctype|html)", re.IGNORECASE)

# What the server says; a collection's name may hold line breaks.
_NO_COLLECTION = re.compile(r"Collection .* doesn't exist|Collection .* not found", re.DOTALL)
_COLLECTION_EXISTS = re.compile(r"Collection .* already exists", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Translator:
    """Translates what ends the calls to one server.

    Attributes
    ----------
    target : str
        The server's URL, for the messages.
    address : str
        Host and port of it.
    port : int
    secrets : tuple of str
        What no message may hold.
    """

    target: str
    address: str
    port: int
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def translate(self, error: grpc.RpcError, seconds: float) -> QframeError:
        """Return the error to raise.

        Parameters
        ----------
        error : RpcError
        seconds : float
            How long the call was allowed to take.
        """
        text = self._scrubbed(error.details() or "")
        trailing = {item.key: str(item.value) for item in error.trailing_metadata() or ()}
        code = error.code().name
        shown = f"{_shortened(text) or 'no details'} ({code})"
        retry_after = parse_retry_after(trailing.get("retry-after"), time.time())
        if found := _HTTP_STATUS.search(text):
            return self._not_grpc(int(found[1]), shown, retry_after)
        if code == "UNAVAILABLE":
            return self._unavailable(text, shown, retry_after)
        if _BROKEN.match(text) or (code == "UNKNOWN" and _LOST.search(text)):
            return ConnectionLost(f"the connection to {self.target} broke: {shown}")
        match code:
            case "DEADLINE_EXCEEDED" if text.startswith("Timeout:"):
                return RequestTimeout(shown, retry_after)
            case "DEADLINE_EXCEEDED":
                return RequestTimeout(
                    f"no answer from {self.target} within {seconds:g} s; "
                    "qframe.connect(url, timeout=...) waits longer"
                )
            case "CANCELLED" if "timeout" in text.lower():
                return RequestTimeout(shown)
            case "CANCELLED":
                return ConnectionLost(f"{self.target}: {shown}")
            case "RESOURCE_EXHAUSTED":
                return _exhausted(shown, trailing, retry_after)
            case "UNAUTHENTICATED":
                return AuthenticationError(
                    f"{shown}; pass the key as qframe.connect({self.target!r}, api_key=...), or "
                    "set QDRANT_API_KEY beside QDRANT_URL"
                )
            case "PERMISSION_DENIED":
                return PermissionDenied(f"{shown}; the key does not allow this")
            case "NOT_FOUND" if _NO_COLLECTION.search(text):
                return CollectionNotFound(shown)
            case "ALREADY_EXISTS" | "INVALID_ARGUMENT" if _COLLECTION_EXISTS.search(text):
                return CollectionExists(shown)
            case "OUT_OF_RANGE" if "too large" in text:
                return RequestTooLarge(shown)
            case "INTERNAL" if "failed to decode Protobuf message" in text:
                return InvalidRequest(f"the server cannot read the request: {shown}")
            case "UNIMPLEMENTED":
                return InvalidRequest(
                    f"{self.target} does not know this call: {shown}; is it Qdrant, and of a "
                    "recent version?"
                )
            case "INVALID_ARGUMENT" | "NOT_FOUND" | "ALREADY_EXISTS" | "OUT_OF_RANGE":
                return InvalidRequest(shown)
        return ServerError(shown, retry_after)

    def _unavailable(self, text: str, shown: str, retry_after: float | None) -> QframeError:
        """Tell apart what the server says and what befalls the connection."""
        if text.startswith("Shard temporarily unavailable") or _PAGE.match(text):
            return ServiceUnavailable(shown, retry_after)
        if _NOT_CONNECTED.search(text):
            return ServerUnreachable(self._unreachable(text))
        if _LOST.search(text):
            return ConnectionLost(f"the connection to {self.target} broke: {shown}")
        # Whoever said this, a proxy perhaps: it does not say that nothing was written.
        return ConnectionLost(f"{self.target}: {shown}", retry_after)

    def _unreachable(self, text: str) -> str:
        cause = text.rpartition("last error: ")[2]
        cause = _shortened(re.sub(r"^[A-Z_]+: (ipv[46]:\S+: )?", "", cause))
        if "CERTIFICATE_VERIFY_FAILED" in text or "Peer name" in text:
            return (
                f"no TLS with {self.target}: its certificate is not trusted ({cause}); "
                "qframe.connect(url, verify='authority.pem') trusts the authority in that file"
            )
        if "WRONG_VERSION_NUMBER" in text:
            return (
                f"no TLS with {self.target}: what answers there does not speak it; use "
                f"grpc://{self.address} if it is meant to be plain"
            )
        hint = "does Qdrant run there?"
        if _TEXT.search(text) or self.port == REST_PORT:
            hint = (
                "this looks like the port of the REST API: gRPC is on port 6334 unless configured "
                f"otherwise, and http://{self.address} talks REST"
            )
        elif any(sign in text for sign in ("HTTP/2", "Socket closed", "Connection reset")):
            # Something accepted the connection and hung up on the first bytes of HTTP/2.
            hint = (
                "is this the port of gRPC, 6334 unless configured otherwise, and does it want TLS "
                "(grpcs://) or not (grpc://)?"
            )
        return f"no connection to {self.target}: {cause}; {hint}"

    def _not_grpc(self, status: int, shown: str, retry_after: float | None) -> QframeError:
        """Translate what a proxy said in HTTP; gRPC itself answers with 200 always."""
        text = f"{self.target}, or a proxy on the way: {shown}"
        match status:
            case 401:
                return AuthenticationError(text)
            case 403:
                return PermissionDenied(text)
            case 408 | 504:
                return RequestTimeout(text, retry_after)
            case 413:
                return RequestTooLarge(text)
            case 429:
                return RateLimited(text, retry_after)
            case 502:
                return BadGateway(text, retry_after)
            case 503:
                return ServiceUnavailable(text, retry_after)
        if status >= 500:
            return ServerError(text, retry_after)
        return InvalidRequest(f"{text}; is this the port of gRPC?")

    def cause(self, error: grpc.RpcError) -> grpc.RpcError | None:
        """Return the error as the cause to show, or None where it holds a secret."""
        text = str(error)
        return error if self._scrubbed(text) == text else None

    def _scrubbed(self, text: str) -> str:
        for value in self.secrets:
            # Of "Bearer KEY" the key alone may come back.
            for secret in (value, value.rpartition(" ")[2]):
                if len(secret) > 3:
                    text = text.replace(secret, "***")
        return text


def _exhausted(shown: str, trailing: Mapping[str, str], retry_after: float | None) -> QframeError:
    """Tell apart what RESOURCE_EXHAUSTED stands for."""
    if "qdrant-insufficient-storage" in trailing:
        return InsufficientStorage(shown, retry_after)
    if "message larger than max" in shown:
        return RequestTooLarge(shown)
    if retry_after is None:
        return RateLimited(
            f"{shown}; the server does not say when to come back, so this batch may hold more "
            "points than it takes at once: a smaller batch_size may pass"
        )
    return RateLimited(shown, retry_after)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
