"""What an HTTP request without success means, in the words of `qframe.errors`.

The texts and statuses are those of Qdrant 1.19 and of the proxies that stand before it.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from qframe.errors import (
    AuthenticationError,
    BadGateway,
    CollectionExists,
    CollectionNotFound,
    ConnectionLost,
    InsufficientStorage,
    InvalidAnswer,
    InvalidRequest,
    PermissionDenied,
    QframeError,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
    ServerUnreachable,
    ServiceUnavailable,
    TransportError,
)
from qframe.retry import parse_retry_after

if TYPE_CHECKING:
    import requests

MAX_REQUEST = 32 * 1024 * 1024
"""Bytes of a body that a server takes unless it is configured otherwise."""

PORTS = (
    ": REST is on port 6333 unless configured otherwise, and grpc:// or grpcs:// with port 6334 "
    "talk gRPC"
)

_BROKEN_RECORD = re.compile("BAD_RECORD_MAC|DECRYPTION_FAILED|BAD_LENGTH|UNEXPECTED_EOF", re.I)
"""What OpenSSL says of a connection that was secure already, so that a request may be under way."""

SHOWN = 300
"""Characters of an answer that an error quotes."""


@dataclass(frozen=True, slots=True)
class Translator:
    """Turns what requests raises and what a server answers into errors of qframe.

    Attributes
    ----------
    uri : str
        Base URL of the server.
    timeout : float
        Seconds after which a request without a whole answer is given up.
    secrets : tuple of str
        What no error may show, should a server or a proxy repeat it.
    """

    uri: str
    timeout: float
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def failure(self, error: Exception, sent: int) -> TransportError:
        """Translate what ended a request without an answer."""
        import requests
        import urllib3

        causes = list(_causes(error))
        words = self.scrubbed(_innermost(causes))

        def has(*types: type[BaseException]) -> BaseException | None:
            return next((cause for cause in causes if isinstance(cause, types)), None)

        if has(ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return ConnectionLost(f"{self.uri} closed the connection inside TLS{PORTS}")
        found = has(ssl.SSLError, ssl.CertificateError, requests.exceptions.SSLError)
        if found and _BROKEN_RECORD.search(str(found)):
            return ConnectionLost(f"the connection to {self.uri} broke inside TLS: {words}")
        if found:
            return ServerUnreachable(f"no TLS with {self.uri}: {self._tls_hint(found)}")
        if has(requests.exceptions.ProxyError):
            return ServerUnreachable(
                f"the proxy on the way to {self.uri} does not connect: {words}; it "
                "comes from HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, and NO_PROXY takes a host off it"
            )
        if has(requests.exceptions.ConnectTimeout):
            return ServerUnreachable(
                f"{self.uri} does not accept the connection in time: is the address right, and "
                "does a firewall let it through?"
            )
        if has(urllib3.exceptions.NameResolutionError):
            return ServerUnreachable(f"the host of {self.uri} is not known: is its name right?")
        if has(urllib3.exceptions.NewConnectionError):
            return ServerUnreachable(
                f"no connection to {self.uri}: {words}; does Qdrant run there?"
            )
        if has(urllib3.exceptions.ReadTimeoutError, TimeoutError):
            return RequestTimeout(
                f"no answer from {self.uri} within {self.timeout:g} s; "
                "qframe.connect(url, timeout=...) waits longer"
            )
        found = has(http.client.BadStatusLine)
        if found and not isinstance(found, http.client.RemoteDisconnected):
            return self._strange(str(found))
        if has(urllib3.exceptions.DecodeError):
            return InvalidAnswer(f"the answer of {self.uri} cannot be decompressed")
        # Strange URLs; and a bare OSError is requests' word for certificates that are not there.
        if isinstance(error, ValueError) or type(error) is OSError:
            return InvalidRequest(f"no request to {self.uri}: {self.scrubbed(str(error))}")
        if sent > MAX_REQUEST and has(ConnectionError):
            return RequestTooLarge(
                f"{self.uri} closed the connection under a body of {sent} bytes: more than "
                f"{MAX_REQUEST} are refused unless the server's max_request_size_mb says otherwise"
            )
        if has(http.client.IncompleteRead, ConnectionError):
            return ConnectionLost(f"{self.uri} closed the connection: {words}")
        if found := has(http.client.HTTPException):
            return InvalidAnswer(
                f"the answer of {self.uri} is no HTTP: {self.scrubbed(str(found))}"
            )
        return ConnectionLost(f"the connection to {self.uri} failed: {words}")

    def cause(self, error: Exception) -> Exception | None:
        """Return the error as the cause to show, or None where it holds a secret."""
        text = "".join(traceback.format_exception(error))
        return error if self.scrubbed(text) == text else None

    def _strange(self, line: str) -> TransportError:
        """Translate an answer that does not begin as HTTP/1.1 does."""
        if "\x15\x03" in line:  # a TLS alert
            other = "https://" + self.uri.partition("://")[2]
            return ServerUnreachable(f"{self.uri} speaks TLS: use {other}")
        if "\x00" in line:  # the frames of HTTP/2 begin with their length in three bytes
            return ServerUnreachable(f"{self.uri} speaks HTTP/2, as gRPC does{PORTS}")
        shown = _shown(self.scrubbed(repr(line.strip())))
        return InvalidAnswer(f"{self.uri} does not answer in HTTP but with {shown}")

    def _tls_hint(self, error: BaseException) -> str:
        text = str(error)
        if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text.lower():
            return (
                "what answers there does not speak it; use "
                f"http://{self.uri.partition('://')[2]} if it is meant to be plain"
            )
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
            reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or text
            return (
                f"its certificate is not trusted ({reason}); "
                "qframe.connect(url, verify='authority.pem') trusts the authority in that file"
            )
        return text

    def refusal(self, response: requests.Response, method: str, path: Sequence[str]) -> QframeError:
        """Translate an answer that is no success."""
        status = response.status_code
        text = f"{self.text(response)} (HTTP {status})"
        retry_after = parse_retry_after(response.headers.get("Retry-After"), time.time())
        match status:
            case 401:
                return AuthenticationError(
                    f"{text}; pass the key as qframe.connect({self.uri!r}, api_key=...), or set "
                    "QDRANT_API_KEY beside QDRANT_URL"
                )
            case 403:
                return PermissionDenied(f"{text}; the key does not allow this")
            case 404:
                return self._not_found(response, text)
            case 408 | 504:
                return RequestTimeout(text, retry_after)
            case 409 if method == "PUT" and len(path) == 2:
                return CollectionExists(text)
            case 413:
                return RequestTooLarge(text)
            case 400 if "larger than allowed" in text or "has exceeded limit" in text:
                return RequestTooLarge(text)
            case 429 if retry_after is None:
                return RateLimited(
                    f"{text}; the server does not say when to come back, so this batch may hold "
                    "more points than it takes at once: a smaller batch_size may pass"
                )
            case 429:
                return RateLimited(text, retry_after)
            case 502 | 520:  # what the server behind a proxy answered, if it did, was not passed on
                return BadGateway(text, retry_after)
            case 503 | 521 | 522 | 523:
                # From 520 on a proxy (Cloudflare's) says that the server behind it is away.
                return ServiceUnavailable(text, retry_after)
            case 524:
                return RequestTimeout(text, retry_after)
            case 507:
                return InsufficientStorage(text, retry_after)
        if 300 <= status < 400:
            place = response.headers.get("Location")
            where = f"; it is sent on to {self.scrubbed(place)}: connect there" if place else ""
            return InvalidRequest(f"{self.uri} does not serve this itself (HTTP {status}){where}")
        if status >= 500:
            return ServerError(text, retry_after)
        return InvalidRequest(text)

    def _not_found(self, response: requests.Response, text: str) -> QframeError:
        said = _said(response.content)
        if said is None:
            return InvalidRequest(
                f"{self.uri} does not look like Qdrant: {text}; is the port right, and the path "
                "before the API's own?"
            )
        if "ollection" in said and "doesn't exist" in said:
            return CollectionNotFound(text)
        return InvalidRequest(text)

    def text(self, response: requests.Response) -> str:
        """Return the server's own words, at a bearable length and without secrets."""
        said = _said(response.content)
        if said is not None:
            return self.scrubbed(said)
        content = response.content.decode("utf-8", "replace").strip()
        if not content:
            return self.scrubbed(response.reason or "an empty answer")
        return _shown(self.scrubbed(content))

    def scrubbed(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def foreign() -> tuple[type[Exception], ...]:
    """Return the classes of what a request may raise."""
    import urllib3

    # requests' own errors are OSErrors; some of urllib3's and of http.client's pass it untouched,
    # and so do the UnicodeErrors of strange host names.
    return OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, UnicodeError


def _said(content: bytes) -> str | None:
    """Return the error that Qdrant puts into its answers; None where there is none."""
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    status = answer.get("status") if isinstance(answer, dict) else None
    said = status.get("error") if isinstance(status, dict) else None
    return said if isinstance(said, str) else None


def _shown(text: str) -> str:
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}… ({len(text)} characters)"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it wraps, from the outside in.

    requests and urllib3 hold the inner error in `args`, in `reason`, or as the cause.
    """
    yield error
    inner = [*error.args, getattr(error, "reason", None), error.__cause__]
    for cause in dict.fromkeys(item for item in inner if isinstance(item, BaseException)):
        yield from _causes(cause)


def _innermost(causes: Sequence[BaseException]) -> str:
    """Return the words of the operating system, or of what comes closest to it."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    # urllib3 puts the object's repr before its words.
    return str(causes[-1]).rpartition(">: ")[2] or type(causes[-1]).__name__
