"""Calls over gRPC, and what each way to fail is translated to."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import grpc
import pytest

from qframe import errors
from qframe._wire import messages as wire
from qframe.retry import parse_retry_after
from qframe.transports.grpc import GrpcChannel
from tests.faults.proxy import FaultProxy, hold
from tests.server import LocalServer

KEY = "a-long-and-secret-key"
UPSERT = "/qdrant.Points/Upsert"
HEALTH = "/qdrant.Qdrant/HealthCheck"


# ---- Servers to be called ----


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalServer]:
    """A server that wants a key."""
    with LocalServer(api_key=KEY, read_only_api_key="to-read-only") as local:
        yield local


class Scripted(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every method as it is told, and remembers what came."""

    def __init__(self) -> None:
        self.answer: Callable[[bytes, Any], bytes] = lambda request, context: b""
        self.requests: list[bytes] = []
        self.metadata: list[dict[str, str]] = []

    def service(self, details: Any) -> Any:
        """Handle any method, in bytes."""
        return grpc.unary_unary_rpc_method_handler(self._serve)

    def _serve(self, request: bytes, context: Any) -> bytes:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        return self.answer(request, context)

    def refuses(self, code: grpc.StatusCode, text: str, **trailing: str) -> None:
        """Answer with an error from now on."""

        def refuse(request: bytes, context: Any) -> bytes:
            context.set_trailing_metadata(
                tuple((name.replace("_", "-"), value) for name, value in trailing.items())
            )
            context.abort(code, text)
            raise AssertionError

        self.answer = refuse


@contextmanager
def serving(credentials: Any = None) -> Iterator[tuple[Scripted, int]]:
    """Run a scripted server, and tell its port."""
    script = Scripted()
    server = grpc.server(
        ThreadPoolExecutor(4),
        handlers=[script],
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("localhost:0", credentials)
    server.start()
    try:
        yield script, port
    finally:
        server.stop(None).wait()


@pytest.fixture(scope="module")
def scripted() -> Iterator[tuple[Scripted, int]]:
    """A scripted server for the tests of this file."""
    with serving() as found:
        yield found


@contextmanager
def raw(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections on a port and do with each as told."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # the client may hang up first
                talk(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


MARK = b"the end of the request"


def after_request(*frames: bytes, reset: bool = False) -> Callable[[socket.socket], None]:
    """Speak HTTP/2 until a whole request has come, then send frames and hang up."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(frame(4, 0, 0))
        seen = b""
        while MARK not in seen:
            data = connection.recv(65536)
            if not data:
                return
            seen += data
        connection.sendall(b"".join(frames))
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif frames:
            time.sleep(0.2)  # for the client to read them

    return talk


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Build a frame of HTTP/2 (RFC 9113, section 4.1)."""
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def goaway(code: int) -> bytes:
    """Build the frame with which a server ends a connection."""
    return frame(7, 0, 0, struct.pack(">II", 0, code))


def reset_stream(code: int) -> bytes:
    """Build the frame with which a server, or a proxy, drops one call."""
    return frame(3, 0, 1, struct.pack(">I", code))


def http_status(status: int) -> bytes:
    """Build the headers that end a call as a proxy does, in plain HTTP."""
    return frame(1, 5, 1, b"\x08\x03" + str(status).encode())


def fails(port: int, body: bytes = MARK, **options: Any) -> errors.QframeError:
    """Make a call that has to fail, and return its error."""
    channel = GrpcChannel(options.pop("host", "127.0.0.1"), port, **{"timeout": 20.0, **options})
    try:
        with pytest.raises(errors.QframeError) as caught:
            channel.call(UPSERT, body, wire.PointsOperationResponse)
        # None where it would show a secret.
        assert caught.value.__cause__ is not None or caught.value.__suppress_context__
        return caught.value
    finally:
        channel.close()


# ---- Calls that succeed ----


def test_bytes_go_out_as_they_are(scripted: tuple[Scripted, int]) -> None:
    """A request of bytes arrives unchanged, 16 MB of it too, and a large answer comes back."""
    script, port = scripted
    body = bytes(range(256)) * 65536
    script.answer = lambda request, context: wire.HealthCheckReply(
        title="x" * 8_000_000
    ).SerializeToString()
    channel = GrpcChannel("127.0.0.1", port)
    reply = channel.call(HEALTH, body, wire.HealthCheckReply)
    channel.close()
    assert script.requests.pop() == body
    assert len(reply.title) == 8_000_000


def test_metadata_goes_along(scripted: tuple[Scripted, int]) -> None:
    """The key, further headers in lower case and the user agent reach the server."""
    script, port = scripted
    script.answer = lambda request, context: b""
    channel = GrpcChannel("127.0.0.1", port, api_key=KEY, headers={"X-Tenant": "a b"})
    channel.call(HEALTH, b"", wire.HealthCheckReply)
    channel.close()
    seen = script.metadata.pop()
    assert (seen["api-key"], seen["x-tenant"]) == (KEY, "a b")
    assert seen["user-agent"].startswith("qframe/")


def test_a_closed_channel_opens_again(scripted: tuple[Scripted, int]) -> None:
    """Closing gives the connection back, and the next call makes a new one."""
    script, port = scripted
    script.answer = lambda request, context: b""
    channel = GrpcChannel("127.0.0.1", port)
    for _ in range(2):
        channel.call(HEALTH, b"", wire.HealthCheckReply)
        channel.close()
    channel.close()


def test_nothing_is_opened_before_the_first_call() -> None:
    """Making a channel imports no gRPC and needs no server."""
    program = (
        "import sys; from qframe.transports.grpc import GrpcChannel; "
        "GrpcChannel('nosuch.invalid', 1); print('grpc' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout == "False\n"


def test_each_channel_has_a_connection_of_its_own() -> None:
    """Two channels to one server do not share a connection, as gRPC would have it."""
    with serving() as (script, port):
        peers = set()
        script.answer = lambda request, context: peers.add(context.peer()) or b""
        channels = [GrpcChannel("127.0.0.1", port) for _ in range(2)]
        for channel in channels:
            channel.call(HEALTH, b"", wire.HealthCheckReply)
        for channel in channels:
            channel.close()
    assert len(peers) == 2


def test_a_server_that_comes_back_is_found_soon(guarded: LocalServer) -> None:
    """After an outage longer than a few attempts, calls succeed within two seconds again."""
    channel = GrpcChannel(*address(guarded), api_key=KEY)
    channel.call(HEALTH, b"", wire.HealthCheckReply)
    guarded.stop()
    for _ in range(8):
        with pytest.raises((errors.ServerUnreachable, errors.ConnectionLost)):
            channel.call(HEALTH, b"", wire.HealthCheckReply)
        time.sleep(0.2)
    guarded.start()
    began = time.monotonic()
    while True:
        try:
            channel.call(HEALTH, b"", wire.HealthCheckReply)
        except errors.ServerUnreachable:
            assert time.monotonic() - began < 2
            time.sleep(0.05)
        else:
            break
    channel.close()


def address(server: LocalServer) -> tuple[str, int]:
    """Split a server's gRPC address."""
    host, _, port = server.grpc_url.removeprefix("grpc://").rpartition(":")
    return host, int(port)


# ---- Nothing was sent ----


def test_nobody_listens() -> None:
    """A refused connection is ServerUnreachable, and says where nobody answered."""
    error = fails(free_port())
    assert isinstance(error, errors.ServerUnreachable)
    assert "Connection refused" in str(error)
    assert str(error).endswith("; does Qdrant run there?")
    assert "grpc://127.0.0.1:" in str(error)


def free_port() -> int:
    """Find a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_unknown_host() -> None:
    """A name that does not resolve is ServerUnreachable."""
    error = fails(6334, host="nosuch.invalid")
    assert isinstance(error, errors.ServerUnreachable)
    assert "nosuch.invalid" in str(error)


def test_port_of_the_rest_api(guarded: LocalServer) -> None:
    """A server that speaks HTTP/1.1 is no gRPC server, and the error names the usual port."""
    error = fails(int(guarded.rest_url.rpartition(":")[2]))
    assert isinstance(error, errors.ServerUnreachable)
    assert "6334 unless configured otherwise" in str(error)


def test_rest_port_by_its_answer() -> None:
    """An answer of HTTP/1.1 gives away the REST API, where gRPC tells what it read."""

    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with raw(talk) as port:
        error = fails(port)
    if "http1.x" not in str(error):
        pytest.skip("this grpcio does not tell")
    assert f"http://127.0.0.1:{port} talks REST" in str(error)


def test_connection_closed_before_the_request() -> None:
    """A connection that is closed before HTTP/2 is spoken carried nothing."""
    with raw(lambda connection: None) as port:
        error = fails(port)
    assert isinstance(error, errors.ServerUnreachable)
    assert "does it want TLS" in str(error)


def test_tls_to_a_server_without(scripted: tuple[Scripted, int]) -> None:
    """TLS against a plain server says that grpc:// may be meant."""
    error = fails(scripted[1], tls=True)
    assert isinstance(error, errors.ServerUnreachable)
    assert f"use grpc://127.0.0.1:{scripted[1]}" in str(error)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for localhost that signs itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, authority = folder / "key.pem", folder / "authority.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {authority}".split(),
        check=True,
        capture_output=True,
    )
    return key, authority


def test_tls_with_an_authority(certificate: tuple[Path, Path]) -> None:
    """A server with TLS is trusted through the file of its authority, and not without."""
    key, authority = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), authority.read_bytes())])
    with serving(credentials) as (script, port):
        channel = GrpcChannel("localhost", port, tls=True, verify=str(authority))
        channel.call(HEALTH, b"", wire.HealthCheckReply)
        channel.close()
        assert len(script.requests) == 1
        error = fails(port, host="localhost", tls=True)
    assert isinstance(error, errors.ServerUnreachable)
    assert "qframe.connect(url, verify='authority.pem')" in str(error)


# ---- It is not known whether the request was carried out ----


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(after_request(), id="closed"),
        pytest.param(after_request(reset=True), id="reset"),
        pytest.param(after_request(goaway(0)), id="goaway"),
        pytest.param(after_request(goaway(2)), id="goaway with an error"),
        pytest.param(after_request(reset_stream(2)), id="INTERNAL"),
        pytest.param(after_request(reset_stream(7)), id="REFUSED_STREAM"),
        pytest.param(after_request(reset_stream(8)), id="CANCEL"),
        pytest.param(after_request(reset_stream(11)), id="ENHANCE_YOUR_CALM"),
    ],
)
def test_broken_after_the_request(talk: Callable[[socket.socket], None]) -> None:
    """A connection or a call that breaks after the request left is ConnectionLost."""
    with raw(talk) as port:
        error = fails(port)
    assert isinstance(error, errors.ConnectionLost)
    assert f"the connection to grpc://127.0.0.1:{port} broke" in str(error)


def test_channel_closed_under_a_call(scripted: tuple[Scripted, int]) -> None:
    """A call that another thread ends by closing the channel is ConnectionLost."""
    script, port = scripted
    arrived = threading.Event()
    script.answer = lambda request, context: (arrived.set(), time.sleep(0.5), b"")[2]
    channel = GrpcChannel("127.0.0.1", port)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(channel.call, HEALTH, b"", wire.HealthCheckReply)
        assert arrived.wait(5)
        channel.close()
        assert isinstance(call.exception(5), errors.ConnectionLost)


def test_no_answer_in_time(scripted: tuple[Scripted, int]) -> None:
    """A deadline that passes is RequestTimeout, and names the seconds."""
    script, port = scripted
    script.answer = lambda request, context: (time.sleep(0.5), b"")[1]
    error = fails(port, timeout=0.1)
    assert isinstance(error, errors.RequestTimeout)
    assert f"no answer from grpc://127.0.0.1:{port} within 0.1 s" in str(error)


def test_a_connection_that_died_in_silence_is_left(server: LocalServer) -> None:
    """After a call without an answer the next one goes over another connection."""
    with FaultProxy(server.grpc_url, least=0) as proxy:
        channel = GrpcChannel("127.0.0.1", proxy.port, timeout=0.3)
        proxy.plan(None, hold("answer"))
        for _ in range(2):
            with suppress(errors.RequestTimeout):
                channel.call(HEALTH, wire.HealthCheckRequest(), wire.HealthCheckReply)
        reply = channel.call(HEALTH, wire.HealthCheckRequest(), wire.HealthCheckReply, timeout=10)
        channel.close()
        assert reply.version
        assert proxy.connections == 2
        assert proxy.pending() == []


def test_answer_that_is_no_message(scripted: tuple[Scripted, int]) -> None:
    """An answer that cannot be parsed is InvalidAnswer."""
    script, port = scripted
    script.answer = lambda request, context: b"\xff\xff\xff"
    error = fails(port)
    assert isinstance(error, errors.InvalidAnswer)
    assert "answered 3 bytes that are no PointsOperationResponse" in str(error)


def cancel_while(channel: GrpcChannel) -> None:
    """Make a call in a thread and cancel it: it ends at once, and so does what comes after."""
    ends: list[Exception] = []

    def run() -> None:
        try:
            channel.call(HEALTH, wire.HealthCheckRequest(), wire.HealthCheckReply)
        except Exception as error:
            ends.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()
    channel.cancel()
    thread.join(1.0)
    assert not thread.is_alive()
    assert [type(end) for end in ends] == [errors.ConnectionLost]
    with pytest.raises(errors.ConnectionLost, match=r"^the connection to .* was cancelled$"):
        channel.call(HEALTH, wire.HealthCheckRequest(), wire.HealthCheckReply)
    channel.close()


def test_a_call_without_an_answer_is_cancelled(scripted: tuple[Scripted, int]) -> None:
    """Whoever waits for an answer stops waiting, and no call is made any more."""
    script, port = scripted
    ended = threading.Event()
    script.answer = lambda request, context: (ended.wait(5), b"")[1]
    cancel_while(GrpcChannel("127.0.0.1", port))
    ended.set()


def test_a_call_into_a_black_hole_is_cancelled() -> None:
    """A server that accepts the connection and says nothing holds nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        cancel_while(GrpcChannel("127.0.0.1", port))
        cancel_while(GrpcChannel("127.0.0.1", port, tls=True))


# ---- What the server says ----

Code = grpc.StatusCode
LOST = errors.ConnectionLost

SAID: list[tuple[grpc.StatusCode, str, dict[str, str], type[errors.QframeError], float | None]] = [
    (Code.INVALID_ARGUMENT, "Wrong input: x", {}, errors.InvalidRequest, None),
    (Code.OUT_OF_RANGE, "x", {}, errors.InvalidRequest, None),
    (
        Code.OUT_OF_RANGE,
        "Error, decoded message length too large: found 99 bytes, the limit is: 9 bytes",
        {},
        errors.RequestTooLarge,
        None,
    ),
    (Code.UNAUTHENTICATED, "Invalid API key or JWT", {}, errors.AuthenticationError, None),
    (Code.PERMISSION_DENIED, "Forbidden: x", {}, errors.PermissionDenied, None),
    (
        Code.NOT_FOUND,
        "Not found: Collection `c` doesn't exist!",
        {},
        errors.CollectionNotFound,
        None,
    ),
    (
        Code.NOT_FOUND,
        "Not found: Collection `a\nb` doesn't exist!",
        {},
        errors.CollectionNotFound,
        None,
    ),
    (
        Code.ALREADY_EXISTS,
        "Wrong input: Collection `a\nb` already exists!",
        {},
        errors.CollectionExists,
        None,
    ),
    (Code.NOT_FOUND, "Not found: Shard key x", {}, errors.InvalidRequest, None),
    (
        Code.ALREADY_EXISTS,
        "Wrong input: Collection `c` already exists!",
        {},
        errors.CollectionExists,
        None,
    ),
    (
        Code.INVALID_ARGUMENT,
        "Wrong input: Collection `c` already exists!",
        {},
        errors.CollectionExists,
        None,
    ),
    (Code.ALREADY_EXISTS, "Wrong input: Alias", {}, errors.InvalidRequest, None),
    (Code.UNIMPLEMENTED, "", {}, errors.InvalidRequest, None),
    (Code.DEADLINE_EXCEEDED, "Timeout: x", {}, errors.RequestTimeout, None),
    (Code.CANCELLED, "Timeout expired", {}, errors.RequestTimeout, None),
    (Code.CANCELLED, "operation was canceled", {}, LOST, None),
    (Code.RESOURCE_EXHAUSTED, "Rate limiting exceeded: x", {}, errors.RateLimited, None),
    (
        Code.RESOURCE_EXHAUSTED,
        "Rate limiting exceeded: x",
        {"retry_after": "2"},
        errors.RateLimited,
        2,
    ),
    (
        Code.RESOURCE_EXHAUSTED,
        "Rate limiting exceeded: x",
        {"retry_after": "soon"},
        errors.RateLimited,
        0,
    ),
    (
        Code.RESOURCE_EXHAUSTED,
        "Insufficient storage: x",
        {"qdrant_insufficient_storage": "1"},
        errors.InsufficientStorage,
        None,
    ),
    (Code.INTERNAL, "Service internal error: connection reset", {}, errors.ServerError, None),
    (
        Code.INTERNAL,
        "failed to decode Protobuf message: recursion limit reached",
        {},
        errors.InvalidRequest,
        None,
    ),
    (Code.FAILED_PRECONDITION, "Pre-condition failure: x", {}, errors.ServerError, None),
    (Code.ABORTED, "x", {}, errors.ServerError, None),
    (Code.DATA_LOSS, "x", {}, errors.ServerError, None),
    (Code.UNKNOWN, "x", {}, errors.ServerError, None),
    (
        Code.UNAVAILABLE,
        "Shard temporarily unavailable: connection reset",
        {},
        errors.ServiceUnavailable,
        None,
    ),
    (
        Code.UNAVAILABLE,
        "Shard temporarily unavailable: x",
        {"retry_after": "3"},
        errors.ServiceUnavailable,
        3,
    ),
    (Code.UNAVAILABLE, "<html>502 Bad Gateway</html>", {}, errors.ServiceUnavailable, None),
    (Code.UNAVAILABLE, "what a proxy may say", {}, LOST, None),
]


@pytest.mark.parametrize(("code", "text", "trailing", "kind", "retry_after"), SAID)
def test_errors_of_the_server(
    scripted: tuple[Scripted, int],
    code: grpc.StatusCode,
    text: str,
    trailing: dict[str, str],
    kind: type[errors.QframeError],
    retry_after: float | None,
) -> None:
    """Each code and text becomes one error, with the server's own words in it."""
    script, port = scripted
    script.refuses(code, text, **trailing)
    error = fails(port)
    assert type(error) is kind
    assert error.retry_after == retry_after if isinstance(error, errors.TransportError) else True
    assert (text or "no details") in str(error)


def test_way_out_for_a_missing_key(guarded: LocalServer) -> None:
    """Without a key, the error says how to pass one; health needs none."""
    host, port = address(guarded)
    channel = GrpcChannel(host, port)
    assert channel.call(HEALTH, b"", wire.HealthCheckReply).version == "1.19.0"
    channel.close()
    error = fails(port)
    assert isinstance(error, errors.AuthenticationError)
    assert f"qframe.connect('grpc://127.0.0.1:{port}', api_key=...)" in str(error)


def test_key_that_may_only_read(guarded: LocalServer) -> None:
    """A key without the right to write is PermissionDenied."""
    error = fails(address(guarded)[1], api_key="to-read-only")
    assert isinstance(error, errors.PermissionDenied)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDenied),
        (404, errors.InvalidRequest),
        (408, errors.RequestTimeout),
        (413, errors.RequestTooLarge),
        (429, errors.RateLimited),
        (500, errors.ServerError),
        (502, errors.BadGateway),
        (503, errors.ServiceUnavailable),
        (504, errors.RequestTimeout),
    ],
)
def test_status_of_a_proxy(status: int, kind: type[errors.QframeError]) -> None:
    """A proxy that answers in plain HTTP is understood by its status."""
    with raw(after_request(http_status(status))) as port:
        error = fails(port)
    assert type(error) is kind
    assert str(status) in str(error)


# ---- Secrets ----


def test_secrets_are_shown_nowhere(scripted: tuple[Scripted, int]) -> None:
    """Neither repr nor an error shows a key, even where the server repeats it."""
    script, port = scripted
    secrets = {"api_key": KEY, "headers": {"Authorization": "Bearer hidden-token"}}
    assert KEY not in repr(GrpcChannel("127.0.0.1", port, **secrets))  # type: ignore[arg-type]
    script.refuses(Code.UNAUTHENTICATED, f"no {KEY} and no hidden-token here")
    error = fails(port, **secrets)
    assert "no *** and no *** here" in str(error)
    shown = "".join(traceback.format_exception(error))
    assert KEY not in shown
    assert "hidden-token" not in shown
    script.refuses(Code.UNAUTHENTICATED, "no")
    assert isinstance(fails(port, **secrets).__cause__, grpc.RpcError)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"api_key": "se\ncret"}, "api_key holds what no header can carry"),
        ({"api_key": "clé-secret"}, "api_key holds what no header can carry"),
        ({"headers": {"a b": "secret"}}, "'a b' cannot be the name of a header"),
        ({"headers": {"grpc-timeout": "secret"}}, "'grpc-timeout' cannot be the name"),
        ({"headers": {"x-bin": "secret"}}, "'x-bin' cannot be the name"),
        ({"verify": False}, "verify=False: gRPC always checks the certificate"),
        ({"verify": "/no/such/file.pem"}, "verify='/no/such/file.pem': No such file or directory"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], complaint: str) -> None:
    """What no call could carry is refused at once, and without showing the value."""
    with pytest.raises(errors.InputError) as caught:
        GrpcChannel("127.0.0.1", 6334, **options)
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)


# ---- When to come back ----


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("0", 0), ("1.5", 1.5), ("-3", 0), ("nan", 0), ("inf", 0), ("soon", 0), ("", 0)],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds are read as they come, and what cannot be read is no wait."""
    assert parse_retry_after(value, now=1000) == seconds


def test_retry_after_as_a_date() -> None:
    """A date, which a proxy may write, counts from now."""
    assert parse_retry_after(formatdate(1060, usegmt=True), now=1000) == 60
    assert parse_retry_after(formatdate(900, usegmt=True), now=1000) == 0
