"""The proxy does what is planned, to the request that it is planned for."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import grpc
import pytest
from qdrant_client import grpc as proto

from tests.faults.proxy import FaultProxy, hold, lose_answer, refuse, reset, truncate
from tests.faults.wire import Http1, Http2, Piece
from tests.server import LocalServer

VECTOR = [1.0, 2.0, 3.0, 4.0]
LOST = (http.client.HTTPException, OSError, grpc.RpcError)


@pytest.fixture(params=["rest", "grpc"])
def transport(request: pytest.FixtureRequest) -> str:
    """Name each transport that has a server."""
    return str(request.param)


@pytest.fixture
def proxy(transport: str, server: LocalServer) -> Iterator[FaultProxy]:
    """Stand between a client and the server with one collection, and leave nothing behind."""
    server.reset()
    connection = http.client.HTTPConnection(server.rest_url.removeprefix("http://"), timeout=10)
    with closing(connection):
        definition = b'{"vectors": {"size": 4, "distance": "Dot"}}'
        connection.request("PUT", "/collections/c", definition)
        assert connection.getresponse().status == 200
    threads = threading.active_count()
    with FaultProxy(server.rest_url if transport == "rest" else server.grpc_url) as proxy:
        yield proxy
    assert threading.active_count() <= threads
    server.reset()


@pytest.fixture
def client(transport: str, proxy: FaultProxy) -> Iterator[Callable[..., None]]:
    """Send upserts of so many points over one connection, as long as it holds."""
    address = proxy.url.rpartition("//")[2]
    if transport == "rest":
        connection = http.client.HTTPConnection(address, timeout=10)

        def send(points: int = 20, timeout: float = 10) -> None:
            rows = [f'{{"id": {n}, "vector": {VECTOR}}}' for n in range(points)]
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            try:
                body = f'{{"points": [{",".join(rows)}]}}'
                connection.request("PUT", "/collections/c/points?wait=true", body)
                if not connection.getresponse().read():
                    raise http.client.HTTPException("the answer ended within its head")
            except LOST:
                connection.close()
                raise

        with closing(connection):
            yield send
        return
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)]
    with grpc.insecure_channel(address, options) as channel:
        stub = proto.PointsStub(channel)

        def call(points: int = 20, timeout: float = 10) -> None:
            dense = proto.Vector(dense=proto.DenseVector(data=VECTOR))
            rows = [
                proto.PointStruct(id=proto.PointId(num=n), vectors=proto.Vectors(vector=dense))
                for n in range(points)
            ]
            message = proto.UpsertPoints(collection_name="c", points=rows, wait=True)
            stub.Upsert(message, timeout=timeout, wait_for_ready=True)

        yield call


def statuses(server: LocalServer) -> list[Any]:
    """What became of the upserts that reached the server."""
    time.sleep(0.05)  # a server whose client is gone notices it in its own time
    return [entry["status"] for entry in server.log()]


def persist(client: Callable[..., None]) -> None:
    """Try again as long as the connection is lost, three times at the most.

    gRPC may begin a call on a connection before it has noticed that it was reset.
    """
    for _ in range(2):
        with contextlib.suppress(*LOST):
            return client()
    return client()


def test_passes(client: Callable[..., None], proxy: FaultProxy, server: LocalServer) -> None:
    """Without a plan all passes, over one connection, and only what has a body counts."""
    for points in (20, 30_000, 1, 20):
        client(points)
    assert len(statuses(server)) == 4
    assert (proxy.connections, proxy.requests, proxy.suffered) == (1, 3, [])


def test_reset_before(client: Callable[..., None], proxy: FaultProxy, server: LocalServer) -> None:
    """The second request does not reach the server at all."""
    proxy.plan(None, reset())
    client()
    with pytest.raises(LOST):
        client()
    persist(client)
    assert len(statuses(server)) == 2
    assert (proxy.connections, proxy.requests) == (2, 3)
    assert proxy.suffered == [(1, reset())]


@pytest.mark.parametrize("points", [20, 30_000])
@pytest.mark.parametrize("passed", [None, 150, 100_000_000])
def test_reset_during(
    client: Callable[..., None],
    proxy: FaultProxy,
    server: LocalServer,
    passed: int | None,
    points: int,
) -> None:
    """However many bytes pass, the server never gets the whole of the request."""
    proxy.plan(reset(passed))
    with pytest.raises(LOST):
        client(points)
    assert 200 not in statuses(server)
    assert "OK" not in statuses(server)
    persist(client)
    assert statuses(server)[-1] in (200, "OK")


def test_lost_answer(client: Callable[..., None], proxy: FaultProxy, server: LocalServer) -> None:
    """The server did what was asked, and the client does not learn of it."""
    proxy.plan(lose_answer())
    with pytest.raises(LOST):
        client()
    assert statuses(server) in ([200], ["OK"])
    persist(client)
    assert proxy.pending() == []


@pytest.mark.parametrize("passed", [0, 5, 120])
def test_truncated_answer(
    client: Callable[..., None], proxy: FaultProxy, server: LocalServer, passed: int
) -> None:
    """The answer ends before its end, and in good order."""
    proxy.plan(truncate(passed))
    with pytest.raises(LOST):
        client(timeout=3)
    assert statuses(server) in ([200], ["OK"])
    persist(client)


@pytest.mark.parametrize("where", ["request", "answer"])
def test_black_hole(
    transport: str,
    client: Callable[..., None],
    proxy: FaultProxy,
    server: LocalServer,
    where: Any,
) -> None:
    """Nothing comes until it is healed, and then all that was on its way does."""
    proxy.plan(hold(where))
    with pytest.raises(LOST):
        client(timeout=0.3)
    assert len(statuses(server)) == (where == "answer")
    proxy.heal()
    client()
    # What gRPC gave up is cancelled on the same connection, and may never reach the service.
    least = 1 if (transport, where) == ("grpc", "request") else 2
    deadline = time.monotonic() + 5
    while len(server.log()) < least and time.monotonic() < deadline:
        time.sleep(0.01)
    assert least <= len(server.log()) <= 2


@pytest.mark.parametrize("where", ["request", "answer"])
def test_latency(client: Callable[..., None], proxy: FaultProxy, where: Any) -> None:
    """Every second request takes longer, and arrives."""
    proxy.always(lambda number: hold(where, 0.3) if number % 2 else None)
    seconds = []
    for _ in range(4):
        began = time.monotonic()
        client()
        seconds.append(time.monotonic() - began)
    assert min(seconds[1], seconds[3]) >= 0.3
    assert [number for number, _ in proxy.suffered] == [1, 3]


def test_connections(client: Callable[..., None], proxy: FaultProxy) -> None:
    """A connection is reset when it is made, or made and left without an answer for a while."""
    proxy.plan_connections(refuse(), hold("accept", 0.3))
    began = time.monotonic()
    persist(client)
    assert time.monotonic() - began >= 0.3
    assert proxy.suffered == [(0, refuse()), (1, hold("accept", 0.3))]
    assert proxy.connections == 2


def test_idle(client: Callable[..., None], proxy: FaultProxy) -> None:
    """A connection without traffic is half closed, and never serves another request."""
    proxy.idle = 0.2
    client()
    time.sleep(0.5)
    persist(client)
    assert proxy.connections == 2


def test_port(transport: str, proxy: FaultProxy) -> None:
    """A muted proxy refuses connections, and later listens at the same port."""
    address = ("127.0.0.1", proxy.port)
    proxy.mute()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 1)
    proxy.listen()
    with socket.create_connection(address, 1):
        pass
    proxy.mute()
    proxy.mute()
    proxy.listen()


def test_bandwidth(client: Callable[..., None], proxy: FaultProxy) -> None:
    """A narrow line takes its time."""
    client(1)
    proxy.bandwidth = 4000
    began = time.monotonic()
    client(20)  # 500 bytes over gRPC
    assert time.monotonic() - began >= 0.1


def test_no_server() -> None:
    """Where no server listens, the client's connection is reset."""
    with FaultProxy("http://127.0.0.1:9") as proxy:
        with pytest.raises(OSError, match="reset"):
            urllib.request.urlopen(proxy.url, timeout=5)
        deadline = time.monotonic() + 5
        while proxy.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        assert proxy.alive == 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_http1(size: int) -> None:
    """However the bytes come, requests end where they end, and no byte is lost."""
    sent = (
        b"GET / HTTP/1.1\r\n\r\nPUT /x HTTP/1.1\r\nHost: y\r\nContent-Length: 10\r\n\r\n0123456789"
    )
    watch = Http1()
    pieces: list[Piece] = []
    for start in range(0, 2 * len(sent), size):
        pieces += watch.feed((sent * 2)[start : start + size])
    assert b"".join(piece.data for piece in pieces) == sent * 2
    assert [piece.key for piece in pieces if piece.ends] == [0, 1, 2, 3]
    assert sum(piece.body for piece in pieces) == 20


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_http2(size: int) -> None:
    """However the bytes come, frames are whole, and belong to their stream."""

    def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
        head = len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)
        return head + content

    sent = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, b"settings")
        + frame(1, 4, 1, b"head")
        + frame(0, 0, 1, b"abc")
        + frame(6, 0, 0, b"pingpong")
        + frame(0, 1, 1, b"defg")
    )
    watch = Http2()
    pieces: list[Piece] = []
    for start in range(0, len(sent), size):
        pieces += watch.feed(sent[start : start + size])
    assert b"".join(piece.data for piece in pieces) == sent
    found = [(piece.key, piece.body, piece.ends) for piece in pieces]
    none = (None, 0, False)
    assert found == [none, none, (1, 0, False), (1, 3, False), none, (1, 4, True)]
