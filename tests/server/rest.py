"""REST over the standard library's HTTP server."""

from __future__ import annotations

import re
import socket
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
from pydantic import BaseModel

from . import body
from .app import App
from .refusal import Dropped, Garbled, Kind, Refusal
from .upsert import Writing
from .validation import invalid


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: re.Pattern[str]
    serve: Callable[..., None]
    writes: bool
    public: bool


class RestServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, app: App, routes: list[Route], port: int) -> None:
        self.app = app
        self.routes = routes
        super().__init__(("127.0.0.1", port), RestHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients come and go; anything else is a fault of this server and belongs on stderr.
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class RestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one write, or Nagle and delayed acknowledgements cost 40 ms each.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: RestServer

    def setup(self) -> None:
        self.app = self.server.app
        super().setup()
        self.connection.settimeout(self.app.settings.keep_alive)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, the name is inherited
        """Silence: the journal remembers what matters."""

    def serve(self) -> None:
        self._started = time.perf_counter()
        self.given = {name.lower(): value for name, value in self.headers.items()}
        self._unread = "content-length" in self.given or "transfer-encoding" in self.given
        parts = urlsplit(self.path)
        self.parameters = parse_qs(parts.query)
        try:
            self._dispatch(parts.path)
        except Refusal as refusal:
            self._refuse(refusal)
        except Dropped:
            self.close_connection = True
        except Garbled:
            self._send(200, b'{"result":{"operation_id":1,"stat', "application/json")
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            self._refuse(Refusal(Kind.SERVICE, repr(error)))
            raise
        if self._unread:
            self._hang_up()

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve

    def _dispatch(self, path: str) -> None:
        for route in self.server.routes:
            found = route.path.fullmatch(path)
            if found and route.method == self.command:
                if not route.public:
                    self.app.authorize(self.given, writes=route.writes)
                route.serve(self, *(unquote(part) for part in found.groups()))
                return
        self._send(404, b"", "text/plain")

    # Reading

    def content_length(self) -> int | None:
        length = self.given.get("content-length")
        return None if length is None else int(length)

    def read_json(self, limit: int | None = None) -> Any:
        return body.parse(self._read_body(limit or self.app.settings.max_request_size))

    def _read_body(self, limit: int) -> bytes:
        if "chunked" in self.given.get("transfer-encoding", ""):
            raw = self._read_chunks(limit)
        else:
            length = self.content_length() or 0
            if length > limit:
                text = f"JSON payload ({length} bytes) is larger than allowed"
                raise Refusal(Kind.PAYLOAD, f"{text} (limit: {limit} bytes).")
            raw = self.rfile.read(length)
            if len(raw) < length:
                raise ConnectionResetError("the body ended early")
        self._unread = False
        match self.given.get("content-encoding", "identity"):
            case "identity":
                return raw
            case "gzip" | "deflate":
                return _inflate(raw, limit)
            case other:
                raise Refusal(Kind.PAYLOAD, f"Content-Encoding {other} is not spoken here")

    def _read_chunks(self, limit: int) -> bytes:
        chunks = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks += self.rfile.read(size)
            self.rfile.readline()
            if len(chunks) > limit:
                raise _overflow(limit)
        self.rfile.readline()
        return bytes(chunks)

    def writing(self) -> Writing:
        wait = self._parameter("wait", "false")
        ordering = self._parameter("ordering", "weak")
        timeout = self._parameter("timeout", "")
        if wait not in ("true", "false"):
            raise Refusal(Kind.QUERY, "provided string was not `true` or `false`")
        if ordering not in ("weak", "medium", "strong"):
            text = f"unknown variant `{ordering}`, expected one of `weak`, `medium`, `strong`"
            raise Refusal(Kind.QUERY, text)
        if timeout and not timeout.isdigit():
            raise Refusal(Kind.QUERY, "invalid digit found in string")
        if timeout == "0":
            invalid("timeout", "value 0 invalid, must be 1 or larger")
        return Writing(wait == "true", ordering, float(timeout) if timeout else None)

    def _parameter(self, name: str, default: str) -> str:
        return self.parameters.get(name, [default])[-1]

    # Answering

    def answer(self, result: Any) -> None:
        reply = {"result": result, "status": "ok", "time": self._elapsed()}
        self._send(200, orjson.dumps(reply, default=_plain), "application/json")

    def send_text(self, text: str) -> None:
        self._send(200, text.encode(), "text/plain; charset=utf-8")

    def send_json(self, value: Any) -> None:
        self._send(200, orjson.dumps(value), "application/json")

    def _refuse(self, refusal: Refusal) -> None:
        status = refusal.kind.http_status
        headers = {} if refusal.retry_after is None else {"Retry-After": refusal.retry_after}
        if refusal.kind is Kind.UNAUTHENTICATED:
            self._send(status, str(refusal).encode(), "text/plain; charset=utf-8")
        elif refusal.kind is Kind.BAD_GATEWAY:
            self._send(status, str(refusal).encode(), "text/html")
        else:
            reply = {"status": {"error": str(refusal)}, "time": self._elapsed()}
            self._send(status, orjson.dumps(reply), "application/json", headers)

    def _send(
        self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self._unread:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        """Close behind a body that nobody read, so that the client still gets the answer.

        Closing a socket with unread bytes resets the connection, and the answer with it.
        """
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1.0)
            while self.connection.recv(1 << 16):
                pass
        except OSError:
            pass

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


def _inflate(raw: bytes, limit: int) -> bytes:
    # 32 added to the window makes zlib recognise gzip and deflate by their heads.
    inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        content = inflater.decompress(raw, limit + 1)
    except zlib.error as error:
        raise Refusal(Kind.FORMAT, f"Payload error: {error}") from error
    if len(content) > limit:
        raise _overflow(limit)
    return content


def _overflow(limit: int) -> Refusal:
    return Refusal(Kind.PAYLOAD, f"JSON payload has exceeded limit ({limit} bytes).")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: field for name, field in value if field is not None}
    raise TypeError(type(value).__name__)
