"""REST as it goes over the wire, and what becomes of everything that can go wrong there."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
import requests

from qframe import errors
from qframe.address import is_loopback
from qframe.retry import parse_retry_after
from qframe.transports import rest
from qframe.transports.rest import RestSession
from qframe.transports.rest_errors import SHOWN
from tests.server import LocalServer

POINTS = ("collections", "x", "points")
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"result":1}'

# Made for these tests with openssl, good until 2126, trusted by nobody.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4crwLnkYPB/LHZ5M
Z7eDNYWlDfPFCPOFmw1ONB+BYaKhRANCAASaLydwKrsPpZ124N/e/bFcZwaM0pb9
MKcaTvJo5ZFHnl7VryQeMfguDEccnnQdV+ZQV4+vKTNd6w77KK8HNe2V
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBpTCCAUygAwIBAgIUQ0EAMzSOBeAJESOaIXZCklzpQmMwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMcWZyYW1lLXRlc3RzMCAXDTI2MTEyMjE2Mjk1NFoYDzIxMjYx
MDI5MTYyOTU0WjAXMRUwEwYDVQQDDAxxZnJhbWUtdGVzdHMwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAASaLydwKrsPpZ124N/e/bFcZwaM0pb9MKcaTvJo5ZFHnl7V
ryQeMfguDEccnnQdV+ZQV4+vKTNd6w77KK8HNe2Vo3QwcjAdBgNVHQ4EFgQUfzFr
J0GG559DiGwc/AnNKcuUqBcwHwYDVR0jBBgwFoAUfzFrJ0GG559DiGwc/AnNKcuU
qBcwDwYDVR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMA4GA1UdDwEB/wQE
AwIChDAKBggqhkjOPQQDAgNHADBEAiAnf4QsV+INDOn6Zs1/Mmiz6V/iQ9DCmwiS
lnLXNug6WAIgD6Ql4ouQYHPDGsINMroXGGZOWEvdrAPTfOiWVkBlGOc=
-----END CERTIFICATE-----
"""

Script = Callable[[socket.socket], object]


@contextmanager
def _serving(*scripts: Script, tls: bool = False) -> Iterator[str]:
    """Give the address of a server that treats its first connection by the first script."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate_file())

    def run() -> None:
        for script in scripts:
            try:
                connection = listener.accept()[0]
                with connection:
                    if context is not None:
                        connection = context.wrap_socket(connection, server_side=True)
                    with connection:
                        script(connection)
            except OSError:
                continue  # the client went away, which some of the tests are about

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        # Wakes up an accept that nobody came for.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


_certificate: Path | None = None


@pytest.fixture(scope="module", autouse=True)
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the certificate and its key to a file."""
    global _certificate
    _certificate = tmp_path_factory.mktemp("tls") / "server.pem"
    _certificate.write_text(CERTIFICATE)
    return _certificate


def _certificate_file() -> Path:
    assert _certificate is not None
    return _certificate


def _request(connection: socket.socket) -> bytes:
    """Read a request with its whole body."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(1 << 16)
        if not more:
            return received
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def _says(answer: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        _request(connection)
        connection.sendall(answer)

    return script


def _status(status: int, body: bytes | str = b"", **headers: str) -> Script:
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return _says("\r\n".join(lines).encode() + b"\r\n\r\n" + content)


def _error(text: str) -> str:
    return json.dumps({"status": {"error": text}, "time": 0.0})


def _closes(connection: socket.socket) -> None:
    _request(connection)


def _resets(connection: socket.socket) -> None:
    _request(connection)
    _reset(connection)


def _resets_early(connection: socket.socket) -> None:
    connection.recv(1000)
    _reset(connection)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _sleeps(connection: socket.socket) -> None:
    connection.recv(1000)
    time.sleep(0.6)


def _put(uri: str, body: bytes = b"{}", **options: object) -> object:
    with _session(uri, **options) as session:
        return session.request("PUT", POINTS, body=body)


@contextmanager
def _session(uri: str, **options: object) -> Iterator[RestSession]:
    session = RestSession(uri, **options)  # type: ignore[arg-type]
    try:
        yield session
    finally:
        session.close()


# What is sent


def test_a_request_as_it_goes_over_the_wire() -> None:
    """Quoted path, query, key, name of the client and the very bytes of the body."""
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(_request(connection))
        connection.sendall(OK)

    with (
        _serving(script) as uri,
        _session(uri, api_key="secret", headers={"X-Team": "search"}) as session,
    ):
        path = ("collections", "a b/ü%", "points")
        assert session.request("PUT", path, query={"wait": "true"}, body=b'{"a":1}') == 1
    head, body = seen[0].decode().split("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert first == "PUT /collections/a%20b%2F%C3%BC%25/points?wait=true HTTP/1.1"
    assert headers["api-key"] == "secret"
    assert headers["x-team"] == "search"
    assert headers["user-agent"].startswith("qframe/")
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert body == '{"a":1}'


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_would_change_the_path_are_refused(name: str) -> None:
    """A name that means another path is not sent at all."""
    with pytest.raises(errors.InputError, match="cannot be the name of a collection"):
        RestSession("http://127.0.0.1:1").request("DELETE", ("collections", name))


@pytest.mark.parametrize("key", ["secret\n", "se\r\ncret", " secret", "sécret"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    """Most often it is the line break behind a key read from a file; it is not repeated."""
    with pytest.raises(errors.InputError, match=r"^api_key ") as caught:
        RestSession("http://127.0.0.1:1", api_key=key)
    assert "cret" not in str(caught.value)


def test_a_missing_file_of_an_authority_is_found_at_once() -> None:
    """The error names the file before anything is sent."""
    with pytest.raises(errors.InputError, match=r"nowhere\.pem"):
        RestSession("https://127.0.0.1:1", verify="nowhere.pem")


def test_netrc_does_not_touch_our_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a .netrc holds for this host is not sent to Qdrant."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(_request(connection))
        connection.sendall(OK)

    with _serving(script) as uri:
        _put(uri)
    assert b"authorization" not in seen[0].lower()


def test_proxies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to a far host goes to HTTP_PROXY, with the whole URL."""
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(_request(connection))
        connection.sendall(OK)

    with _serving(script) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert _put("http://qdrant.example:6333") == 1
    assert seen[0].startswith(b"PUT http://qdrant.example:6333/collections/x/points HTTP/1.1")


def test_proxies_are_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loopback address means this machine, which is not what it would mean to a proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with _serving(_says(OK)) as uri:
        assert _put(uri) == 1


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("db.localhost", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_what_counts_as_this_machine(host: str, loopback: bool) -> None:
    """Loopback addresses of both kinds, and names that always mean them."""
    assert is_loopback(host) is loopback


def test_requests_is_imported_for_the_first_request_only() -> None:
    """Importing and making a session costs nothing of requests' import."""
    code = (
        "import sys; from qframe.transports.rest import RestSession; "
        "RestSession('http://localhost:6333'); print('requests' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Connections that do not come about


def test_refused_connections() -> None:
    """Nobody listens: nothing was sent, and the way out is to look whether Qdrant runs."""
    with pytest.raises(errors.ServerUnreachable, match=r"refused; does Qdrant run there\?"):
        _put("http://127.0.0.1:1")


def test_unknown_hosts() -> None:
    """A name that nobody knows is told apart from a server that is down."""
    with pytest.raises(errors.ServerUnreachable, match=r"host of http://no-host\.invalid:6333"):
        _put("http://no-host.invalid:6333")


def test_hosts_that_do_not_answer_at_all() -> None:
    """A connection that is never accepted is unreachable, not a request without an answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        # On Linux a full queue drops what comes next, as a firewall would.
        address = listener.getsockname()
        queued = [socket.socket() for _ in range(4)]
        for waiting in queued:
            waiting.setblocking(False)
            waiting.connect_ex(address)
        with pytest.raises(errors.ServerUnreachable, match="does not accept the connection"):
            _put(f"http://127.0.0.1:{address[1]}", timeout=0.3)
        for waiting in queued:
            waiting.close()


@pytest.mark.parametrize("uri", ["http://a..b:6333", f"http://{'a' * 70}.example:6333"])
def test_hosts_that_cannot_be(uri: str) -> None:
    """A host that no name server could know is a mistake in the URL, and not worth a retry."""
    with pytest.raises(errors.InvalidRequest, match="no request to"):
        _put(uri)


def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that it is the proxy, where it comes from, and not its password."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:password@127.0.0.1:1")
    with pytest.raises(
        errors.ServerUnreachable, match=r"the proxy on the way .* NO_PROXY"
    ) as caught:
        _put("http://qdrant.example:6333")
    assert "password" not in str(caught.value)


def test_a_bundle_of_certificates_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale REQUESTS_CA_BUNDLE is told by its path."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(errors.InvalidRequest, match=r"/nowhere/bundle\.pem"):
        _put("https://127.0.0.1:1")


# TLS


def test_a_trusted_authority(certificate: Path) -> None:
    """With the authority's file the connection is made."""
    with _serving(_says(OK), tls=True) as uri:
        assert _put(uri, verify=str(certificate)) == 1


def test_an_untrusted_certificate() -> None:
    """The error says what is wrong with the certificate and how to trust it."""
    with (
        _serving(_says(OK), tls=True) as uri,
        pytest.raises(errors.ServerUnreachable, match=r"\(self-signed certificate\); .*verify='"),
    ):
        _put(uri)


def test_unverified_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """verify=False holds against a bundle in the environment, and is logged once, not warned of."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with _serving(*[_says(OK)] * 3, tls=True) as uri:
        for _ in range(3):
            assert _put(uri, verify=False) == 1  # warnings are errors in the tests
    said = [record for record in caplog.records if record.name == "qframe"]
    assert [record.message for record in said] == [
        f"qframe: the certificate of {uri} is not checked, as verify=False asks for"
    ]


def test_the_warning_of_others_is_left_alone() -> None:
    """Whoever uses requests beside a session that trusts everything is still warned."""
    with _serving(*[_says(OK)] * 2, tls=True) as uri:
        assert _put(uri, verify=False) == 1
        with pytest.warns(match="Unverified HTTPS request"):
            requests.get(uri, verify=False, timeout=5)


def test_https_to_a_plain_port() -> None:
    """Who speaks TLS to a plain port is told to use http."""
    with LocalServer() as server:
        uri = server.rest_url.replace("http:", "https:")
        with pytest.raises(errors.ServerUnreachable, match=f"use {server.rest_url} if"):
            _put(uri)


def test_http_to_a_port_with_tls() -> None:
    """An alert of TLS in place of an answer means https."""
    alert = b"\x15\x03\x01\x00\x02\x02\x46"
    with (
        _serving(_says(alert)) as uri,
        pytest.raises(errors.ServerUnreachable, match="speaks TLS: use https://127"),
    ):
        _put(uri)


def test_tls_that_breaks_off() -> None:
    """A connection that closes inside TLS is lost: nobody knows what was carried out."""
    with (
        _serving(lambda connection: connection.recv(1000)) as uri,
        pytest.raises(errors.ConnectionLost, match="inside TLS"),
    ):
        _put(uri.replace("http:", "https:"))


def test_rest_to_the_port_of_grpc() -> None:
    """The frames of HTTP/2 that come back lead to a word about the two ports."""
    with LocalServer() as server:
        port = server.grpc_url.rpartition(":")[2]
        with pytest.raises(errors.ServerUnreachable, match="as gRPC does: REST is on port 6333"):
            _put(f"http://127.0.0.1:{port}")


# Connections that break


@pytest.mark.parametrize(
    "script",
    [
        _closes,
        _resets,
        _resets_early,
        _says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        _says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"),
        _says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"),
    ],
    ids=["closed", "reset", "reset early", "cut short", "chunk cut short", "chunk garbled"],
)
def test_connections_that_break_before_the_answer(script: Script) -> None:
    """Closed, reset or cut short: the connection is lost, and the request is in doubt."""
    with _serving(script) as uri, pytest.raises(errors.ConnectionLost) as caught:
        _put(uri, body=b"x" * 1_000_000)
    assert not caught.value.answered
    assert caught.value.__cause__ is not None


def test_connections_that_break_under_a_huge_body() -> None:
    """Over 32 MiB the server closes without reading, which is as good as its saying so."""
    with (
        _serving(_resets_early) as uri,
        pytest.raises(errors.RequestTooLarge, match="under a body of 40000000 bytes"),
    ):
        _put(uri, body=b"x" * 40_000_000)


def test_bodies_over_the_limit_of_the_server() -> None:
    """The server's own word for it is understood, though it answers before it has read."""
    with (
        LocalServer(max_request_size_mb=1) as server,
        pytest.raises(errors.RequestTooLarge, match=r"limit: 1048576 bytes"),
    ):
        _put(server.rest_url, body=b" " * 2_000_000)


@pytest.mark.parametrize("size", [2, 50_000_000], ids=["waiting", "sending"])
def test_answers_that_do_not_come_in_time(size: int) -> None:
    """Neither waiting for an answer nor sending a body takes longer than the timeout."""
    with _serving(_sleeps) as uri, pytest.raises(errors.RequestTimeout, match=r"within 0\.2 s"):
        _put(uri, body=b"x" * size, timeout=0.2)


def test_answers_that_stop_halfway() -> None:
    """A server that falls silent in the middle of its answer has not answered in time."""

    def script(connection: socket.socket) -> None:
        _request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.6)

    with _serving(script) as uri, pytest.raises(errors.RequestTimeout):
        _put(uri, timeout=0.2)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n",
    ],
    ids=["headers", "body", "chunks", "an error"],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_answers_that_drip(head: bytes, tls: bool) -> None:
    """A byte now and then does not begin the timeout anew, neither in the headers nor after."""

    def script(connection: socket.socket) -> None:
        _request(connection)
        connection.sendall(head)
        for _ in range(50):
            connection.sendall(b"H")
            time.sleep(0.05)

    with _serving(script, tls=tls) as uri:
        began = time.monotonic()
        with pytest.raises(errors.RequestTimeout):
            _put(uri, timeout=0.4, verify=not tls)
        took = time.monotonic() - began
    assert 0.3 < took < 1.5


def test_the_clock_begins_with_each_request() -> None:
    """What earlier requests on a connection took does not count against the next."""

    def script(connection: socket.socket) -> None:
        for _ in range(3):
            _request(connection)
            time.sleep(0.25)
            connection.sendall(OK)

    with _serving(script) as uri, _session(uri, timeout=0.5) as session:
        assert [session.request("GET", ("collections",)) for _ in range(3)] == [1, 1, 1]


def test_large_answers_arrive_whole() -> None:
    """Tens of megabytes are read as they were sent."""
    content = b'{"result":"' + b"x" * 30_000_000 + b'"}'
    with _serving(_status(200, content)) as uri:
        assert _put(uri) == "x" * 30_000_000


def test_a_connection_is_kept_alive() -> None:
    """Several requests travel on one connection."""

    def script(connection: socket.socket) -> None:
        for _ in range(3):
            _request(connection)
            connection.sendall(OK)

    with _serving(script) as uri, _session(uri) as session:
        assert [session.request("GET", ("collections",)) for _ in range(3)] == [1, 1, 1]


def test_a_connection_that_the_server_closed_meanwhile() -> None:
    """What the server closed while it was idle is replaced without an error."""
    with LocalServer(keep_alive=0.2) as server, _session(server.rest_url) as session:
        session.root()
        time.sleep(0.4)
        assert session.root()["version"]


def test_a_connection_is_not_trusted_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the server's 5 s are over, an idle connection is replaced by a new one."""
    monkeypatch.setattr(rest, "IDLE_SECONDS", 0.05)
    closed: list[bytes] = []

    def script(connection: socket.socket) -> None:
        _request(connection)
        connection.sendall(OK)
        closed.append(connection.recv(1000))

    with _serving(script, _says(OK)) as uri, _session(uri) as session:
        session.request("GET", ("collections",))
        time.sleep(0.1)
        assert session.request("GET", ("collections",)) == 1
    assert closed == [b""]


# Answers that are none


@pytest.mark.parametrize(
    "answer",
    [
        b"hello world\r\n\r\n",
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"result":',
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n<html>Hi!</html>\n",
    ],
    ids=[
        "no HTTP", "another HTTP", "too many headers", "no gzip", "half of it", "no result",
        "empty object", "no object", "nothing", "no content", "HTML",
    ],
)  # fmt: skip
def test_answers_that_cannot_be_read(answer: bytes) -> None:
    """A success that says nothing is invalid, and leaves the request in doubt."""
    with _serving(_says(answer)) as uri, pytest.raises(errors.InvalidAnswer) as caught:
        _put(uri)
    assert not caught.value.answered


# Answers that say no


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (400, "Wrong input: Vector dimension error: expected dim: 4, got 3", "InvalidRequest"),
        (400, "JSON payload (9 bytes) is larger than allowed (limit: 8 bytes).", "RequestTooLarge"),
        (400, "JSON payload has exceeded limit (8 bytes).", "RequestTooLarge"),
        (403, "Forbidden: Global manage access is required", "PermissionDenied"),
        (404, "Not found: Collection `x` doesn't exist!", "CollectionNotFound"),
        (404, "Not found: No point with id 7 found", "InvalidRequest"),
        (405, "Standalone mode", "InvalidRequest"),
        (408, "Timeout: a fault", "RequestTimeout"),
        (409, "Wrong input: conflict", "InvalidRequest"),
        (413, "Payload too large", "RequestTooLarge"),
        (422, "Validation error in JSON body: [points: bad]", "InvalidRequest"),
        (429, "Rate limiting exceeded: Write rate limit exceeded", "RateLimited"),
        (500, "Service internal error: a fault", "ServerError"),
        (501, "Not implemented", "ServerError"),
        (502, "Bad gateway", "BadGateway"),
        (503, "Shard temporarily unavailable: a fault", "ServiceUnavailable"),
        (504, "Gateway timeout", "RequestTimeout"),
        (507, "Insufficient storage: a fault", "InsufficientStorage"),
        (522, "Connection timed out", "ServiceUnavailable"),
        (524, "A timeout occurred", "RequestTimeout"),
    ],
)
def test_statuses_and_their_errors(status: int, said: str, kind: str) -> None:
    """Every status becomes the error of its meaning, with the server's own words."""
    with (
        _serving(_status(status, _error(said))) as uri,
        pytest.raises(errors.QframeError) as caught,
    ):
        _put(uri)
    assert type(caught.value).__name__ == kind
    assert str(caught.value).startswith(f"{said} (HTTP {status})")


def test_a_missing_key_comes_with_what_to_type() -> None:
    """401 is plain text; the error repeats it and says where a key goes."""
    with LocalServer(api_key="secret") as server:
        with pytest.raises(
            errors.AuthenticationError,
            match=r"^Must provide an API key .* \(HTTP 401\); .*api_key=.* QDRANT_API_KEY",
        ):
            _put(server.rest_url)
        with pytest.raises(errors.AuthenticationError, match=r"^Invalid API key or JWT"):
            _put(server.rest_url, api_key="wrong")


def test_the_creation_of_what_exists() -> None:
    """409 says that a collection exists where one was to be created, and only there."""
    said = _error("Wrong input: Collection `x` already exists!")
    with (
        _serving(_status(409, said)) as uri,
        _session(uri) as session,
        pytest.raises(errors.CollectionExists),
    ):
        session.request("PUT", ("collections", "x"), body=b"{}")


def test_a_404_that_is_not_from_qdrant() -> None:
    """An unknown path means another server, or another path before the API's own."""
    with (
        _serving(_status(404, "<html>nginx</html>")) as uri,
        pytest.raises(errors.InvalidRequest, match=r"does not look like Qdrant.*nginx"),
    ):
        _put(uri)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """Points do not go where nobody sent them; the error names the place."""
    with (
        _serving(_status(status, Location="https://other.example/collections")) as uri,
        pytest.raises(errors.InvalidRequest, match=r"sent on to https://other\.example/"),
    ):
        _put(uri)


def test_a_page_of_html_is_shortened() -> None:
    """A proxy's page is quoted in its first characters, with its length."""
    page = "<html>" + "x" * 5000 + "</html>"
    with (
        _serving(_status(502, page)) as uri,
        pytest.raises(errors.ServiceUnavailable, match=r"^<html>x+… \(5013 characters\)") as caught,
    ):
        _put(uri)
    assert len(str(caught.value)) < SHOWN + 50


def test_an_empty_answer_has_its_reason() -> None:
    """Where the body is empty, the reason in the status line stands for it."""
    with (
        _serving(_says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")) as uri,
        pytest.raises(errors.ServiceUnavailable, match=r"^Service Unavailable \(HTTP 503\)"),
    ):
        _put(uri)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("Thu, 01 Jan 1970 00:10:00 GMT", 0.0),
        ("Thu Jan  1 00:20:00 1970", 200.0),
        ("Thursday, 01-Jan-70 00:20:00 GMT", 200.0),
        ("soon", 0.0),
        ("inf", 0.0),
        ("nan", 0.0),
        ("", 0.0),
        (None, None),
    ],
)
def test_retry_after_in_all_its_forms(value: str | None, seconds: float | None) -> None:
    """Seconds, decimals and the three forms of dates, never negative, and zero if unreadable."""
    assert parse_retry_after(value, now=1000.0) == seconds


@pytest.mark.parametrize("status", [429, 500, 502, 503, 507])
def test_retry_after_reaches_the_error(status: int) -> None:
    """Who asks for patience, whatever the status, is heard."""
    with (
        _serving(_status(status, _error("busy"), Retry_After="2.5")) as uri,
        pytest.raises(errors.TransportError) as caught,
    ):
        _put(uri)
    assert caught.value.retry_after == 2.5


def test_retry_after_as_a_date_is_relative_to_now() -> None:
    """A date half a minute ahead is half a minute."""
    date = formatdate(time.time() + 30, usegmt=True)
    with (
        _serving(_status(429, _error("busy"), Retry_After=date)) as uri,
        pytest.raises(errors.RateLimited) as caught,
    ):
        _put(uri)
    assert caught.value.retry_after == pytest.approx(30, abs=2)


def test_a_rate_limit_without_a_time_asks_for_smaller_batches() -> None:
    """Without Retry-After the batch costs more than the server ever grants."""
    with (
        _serving(_status(429, _error("too many"))) as uri,
        pytest.raises(errors.RateLimited, match="smaller batch_size") as caught,
    ):
        _put(uri)
    assert caught.value.retry_after is None


# Secrets


@pytest.mark.parametrize(
    "options",
    [{"api_key": "hush-hush"}, {"headers": {"Authorization": "Bearer hush-hush"}}],
    ids=["api_key", "bearer"],
)
@pytest.mark.parametrize("status", [200, 307, 401, 404, 500])
def test_a_key_that_a_server_repeats_is_not_shown(
    options: dict[str, object], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """No error, repr or log holds the key, even where the answer does."""
    caplog.set_level(logging.DEBUG)
    page = "you sent hush-hush"
    with (
        _serving(_status(status, page, Location="http://x/hush-hush")) as uri,
        _session(uri, **options) as session,
        pytest.raises(errors.QframeError) as caught,
    ):
        session.request("PUT", POINTS, body=b"{}")
    shown = repr(session)
    assert "hush-hush" not in shown + str(caught.value) + repr(caught.value) + caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        b"hush-hush is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhush-hush\r\n",
        b"HTTP/1.1 500 hush-hush\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"hush-hush":1}',
    ],
    ids=["status line", "chunk", "reason", "names"],
)
def test_a_key_is_in_no_cause_of_an_error(answer: bytes) -> None:
    """Where the library's own error repeats the key, it is not shown as the cause of ours."""
    with _serving(_says(answer)) as uri, pytest.raises(errors.QframeError) as caught:
        _put(uri, api_key="hush-hush")
    assert "hush-hush" not in str(caught.value)
    cause = caught.value.__cause__
    assert cause is None or "hush-hush" not in "".join(traceback.format_exception(cause))
    assert caught.value.__context__ is None or caught.value.__suppress_context__


# ---- Cancelled by another thread ----


@contextmanager
def _black_hole() -> Iterator[str]:
    """Give the address of a server that accepts every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _cancel_while(session: RestSession, call: Callable[[], object]) -> None:
    """Make a call in a thread and cancel it: it ends at once, and so does what comes after."""
    ends: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:
            ends.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()
    session.cancel()
    thread.join(1.0)
    assert not thread.is_alive()
    with pytest.raises(errors.ConnectionLost, match=r"^the connection to .* was cancelled$"):
        session.root()
    (end,) = ends
    assert type(end) is errors.ConnectionLost
    assert re.search("^the connection to .* was cancelled$", str(end))
    session.close()


def test_a_request_without_an_answer_is_cancelled() -> None:
    """Whoever waits for an answer stops waiting, and no request is made any more."""
    with _black_hole() as address:
        session = RestSession(f"http://{address}")
        _cancel_while(session, session.root)


@pytest.mark.skipif(sys.platform != "linux", reason="how full listeners behave differs")
def test_connecting_is_cancelled() -> None:
    """A host that does not accept the connection is not waited for."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(listener.getsockname())  # until the listener takes no more
        session = RestSession(f"http://127.0.0.1:{listener.getsockname()[1]}")
        _cancel_while(session, session.root)
        for other in others:
            other.close()


def test_a_request_that_is_being_sent_is_cancelled() -> None:
    """A body that nobody reads does not hold on to the thread, nor count as too large."""
    with _black_hole() as address:
        session = RestSession(f"http://{address}")
        body = b" " * 50_000_000
        _cancel_while(session, lambda: session.request("PUT", POINTS, body=body))


def test_a_handshake_is_cancelled() -> None:
    """A server that does not answer in TLS either is not waited for."""
    with _black_hole() as address:
        session = RestSession(f"https://{address}")
        _cancel_while(session, session.root)


def test_an_answer_that_does_not_end_is_cancelled() -> None:
    """An answer that has begun is left in the middle, over TLS too."""
    for tls in (False, True):
        ended = threading.Event()

        def script(connection: socket.socket, ended: threading.Event = ended) -> None:
            _request(connection)
            connection.sendall(OK[:-5])
            ended.wait(5)

        with _serving(script, tls=tls) as uri:
            verify = _certificate_file() if tls else True
            session = RestSession(uri, verify=verify if verify is True else str(verify))
            _cancel_while(session, session.root)
            ended.set()


def test_a_connection_that_is_kept_alive_is_cancelled() -> None:
    """The second request on a connection is reached like the first one."""
    ended = threading.Event()

    def script(connection: socket.socket) -> None:
        _says(OK)(connection)
        _request(connection)
        ended.wait(5)

    with _serving(script) as uri:
        session = RestSession(uri)
        assert session.request("GET", POINTS) == 1
        _cancel_while(session, session.root)
        ended.set()


def test_cancelling_an_idle_session() -> None:
    """Nothing is opened after `cancel`, whether something was open before or not."""
    session = RestSession("http://127.0.0.1:9")
    session.cancel()
    with pytest.raises(errors.ConnectionLost, match="was cancelled"):
        session.root()


def test_no_socket_is_left_by_a_session() -> None:
    """The handles that cancelling needs are closed with the connections, warnings being errors."""
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with _serving(_says(OK)) as uri:
        session = RestSession(uri)
        session.request("GET", POINTS)
        session.close()
    with _serving(_says(OK), tls=True) as uri:
        session = RestSession(uri, verify=str(_certificate_file()))
        session.request("GET", POINTS)
        session.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_before
