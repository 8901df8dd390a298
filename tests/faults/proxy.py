"""A proxy on loopback that breaks connections on demand.

It passes bytes on and reads of them no more than where requests begin and end, so it serves REST
and gRPC alike. Only requests with a body of some size count as requests: those are the upserts.
What goes before the k-th of them is decided by what is planned::

    with FaultProxy(server.rest_url) as proxy:
        proxy.plan(None, reset(), lose_answer())  # the first passes, the next two suffer
        qframe.upload(df, "c", proxy.url, …)
        assert proxy.requests == 3

With gRPC the calls of one channel share a connection, and what breaks it breaks them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from .wire import Http1, Http2, Piece, watches

CHUNK = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Where = Literal["accept", "request", "answer"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a connection or a request suffers; made by the functions below.

    Attributes
    ----------
    where : {"accept", "request", "answer"}
    what : {"reset", "close", "hold"}
        A reset is an RST to both sides, a close ends the stream in good order; what is held is
        passed on in the end, as a network does it that was interrupted.
    seconds : float
        How long to hold; without end until `FaultProxy.heal`.
    passed : int or None
        Bytes of the request, or of the answer, that are passed on before.
    """

    where: Where
    what: Literal["reset", "close", "hold"]
    seconds: float = 0.0
    passed: int | None = 0


def refuse() -> Fault:
    """Reset a connection as soon as it is made."""
    return Fault("accept", "reset")


def reset(passed: int | None = 0) -> Fault:
    """Reset the connection after so many bytes of a request, never all; None is about half."""
    return Fault("request", "reset", passed=passed)


def lose_answer() -> Fault:
    """Pass the request on, wait until it is answered, and reset the connection instead."""
    return Fault("answer", "reset")


def truncate(passed: int) -> Fault:
    """Close the connection after so many bytes of the answer."""
    return Fault("answer", "close", passed=passed)


def hold(where: Where, seconds: float = math.inf) -> Fault:
    """Keep what comes for so long, and what comes behind it on this connection: a black hole."""
    return Fault(where, "hold", seconds=seconds)


Plan = Callable[[int], Fault | None]


class FaultProxy:
    """A TCP proxy to one server, in a thread of its own.

    Parameters
    ----------
    upstream : str
        URL of the server; `url` is the same with the proxy's port.
    least : int
        Bytes of a body from which on a request counts. Smaller ones pass, as long as the
        connection lives.
    idle : float
        Seconds without a byte after which the proxy closes its half of a connection, as a server
        does; a request that comes nevertheless is answered with a reset.
    bandwidth : float
        Bytes a second towards the server, each connection for itself.

    Attributes
    ----------
    connections : int
        Connections accepted so far.
    requests : int
        Requests that counted so far, whether they suffered or not.
    suffered : list of (int, Fault)
        Number of the request, from 0, or of the connection, and what it suffered.
    """

    def __init__(
        self,
        upstream: str,
        *,
        least: int = 200,
        idle: float = math.inf,
        bandwidth: float = math.inf,
    ) -> None:
        scheme, _, address = upstream.rpartition("//")
        host, _, port = address.rpartition(":")
        self._scheme = scheme
        self._upstream = (host, int(port))
        self.least = least
        self.idle = idle
        self.bandwidth = bandwidth
        self.connections = 0
        self.requests = 0
        self.suffered: list[tuple[int, Fault]] = []
        self._lock = threading.Lock()
        self._plans: dict[bool, deque[Fault | None]] = {True: deque(), False: deque()}
        self._always: dict[bool, Plan | None] = {True: None, False: None}
        self._alive: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._healed = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """Where to connect to instead of the server."""
        return f"{self._scheme}//127.0.0.1:{self.port}"

    # Plans

    def plan(self, *faults: Fault | None) -> None:
        """Queue what the next requests suffer; None lets one pass."""
        assert all(fault is None or fault.where != "accept" for fault in faults)
        with self._lock:
            self._plans[False].extend(faults)

    def plan_connections(self, *faults: Fault | None) -> None:
        """Queue what the next connections suffer."""
        assert all(fault is None or fault.where == "accept" for fault in faults)
        with self._lock:
            self._plans[True].extend(faults)

    def always(self, plan: Plan | None, *, connections: bool = False) -> None:
        """Ask a function what each request, or connection, suffers that nothing is queued for.

        It is given the number of the request, from 0, and is called by one thread.
        """
        with self._lock:
            self._always[connections] = plan

    def pending(self) -> list[Fault | None]:
        """Return what is queued and did not befall anybody yet."""
        with self._lock:
            return [*self._plans[True], *self._plans[False]]

    def reset(self) -> None:
        """Forget plans and counts, and let go what is held."""
        with self._lock:
            for queue in self._plans.values():
                queue.clear()
            self._always = {True: None, False: None}
            self.suffered = []
            self.connections = self.requests = 0
        self.heal()

    def next_fault(self, *, connection: bool) -> Fault | None:
        """Count a request or connection, and return what it suffers."""
        with self._lock:
            number = self.connections if connection else self.requests
            if connection:
                self.connections += 1
            else:
                self.requests += 1
            queue, always = self._plans[connection], self._always[connection]
            fault = queue.popleft() if queue else always(number) if always else None
            if fault is not None:
                self.suffered.append((number, fault))
            return fault

    # Steering

    def heal(self) -> None:
        """Pass on everything that is held."""
        self._do(self._heal())

    def cut(self) -> None:
        """Reset every connection there is."""
        self._do(self._cut())

    def mute(self) -> None:
        """Accept no connection any more: the port is closed, and those that are there stay."""
        self._do(self._mute())

    def listen(self) -> None:
        """Accept connections, at the same port as before."""
        self._do(self._listen())

    @property
    def alive(self) -> int:
        """How many connections there are at this moment."""
        return len(self._alive)

    # The thread

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")
        self._thread.start()
        try:
            self.listen()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Reset what is left of the connections, and end the thread."""
        if not self._loop.is_closed():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            # Not asyncio's own server: it loses a socket that it accepts in the moment of its end.
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _mute(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a client that is gone already
            client, _ = listener.accept()
            # asyncio does it for sockets that name their protocol only; without it 40 ms a request.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _heal(self) -> None:
        self._healed.set()
        self._healed = asyncio.Event()

    async def _cut(self) -> None:
        for connection in list(self._alive):
            connection.reset()

    async def _end(self) -> None:
        await self._mute()
        await asyncio.sleep(0.01)  # what was accepted in this moment becomes a connection
        connections = list(self._alive)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(1000):
            if all(connection.is_closed for connection in connections):
                break
            for connection in connections:
                connection.reset()
            await asyncio.sleep(0.001)

    async def _serve(self, client: socket.socket) -> None:
        connection = _Connection(self, await asyncio.open_connection(sock=client, limit=CHUNK))
        self._alive.add(connection)
        try:
            await connection.serve(self._upstream, self.next_fault(connection=True))
        except (OSError, EOFError, asyncio.CancelledError):
            connection.reset()  # cancelled is what the end of the proxy does
        finally:
            await connection.closed()
            self._alive.discard(connection)

    async def wait(self, seconds: float) -> None:
        """Wait, until all is healed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                self._healed.wait(), None if math.isinf(seconds) else max(0.0, seconds)
            )


class _Connection:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: FaultProxy, client: Streams) -> None:
        self._proxy = proxy
        self._client = client
        self._server: Streams | None = None
        self._answers: dict[int, Fault] = {}  # what the answer to a request will suffer
        self._moved = 0.0
        self._half_closed = False

    async def serve(self, upstream: tuple[str, int], fault: Fault | None) -> None:
        """Pass on until one side ends, or what is planned happens."""
        if fault is not None and fault.what == "reset":
            self.reset()
            return
        if fault is not None:
            await self._proxy.wait(fault.seconds)
        self._server = await asyncio.open_connection(*upstream, limit=CHUNK)
        first = await self._client[0].read(CHUNK)
        if first:
            requests, answers = watches(first)
            self._touch()
            tasks = [
                asyncio.ensure_future(self._up(first, requests)),
                asyncio.ensure_future(self._down(answers)),
                asyncio.ensure_future(self._watch_idle()),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in filter(None, (self._client, self._server)):
            writer.close()

    async def closed(self) -> None:
        """Wait until both sockets are given back."""
        for _, writer in filter(None, (self._client, self._server)):
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @property
    def is_closed(self) -> bool:
        """Whether both sockets are given back."""
        sides = filter(None, (self._client, self._server))
        return all(writer.get_extra_info("socket").fileno() < 0 for _, writer in sides)

    def reset(self) -> None:
        """Send an RST to both sides."""
        for _, writer in filter(None, (self._client, self._server)):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _touch(self) -> None:
        self._moved = asyncio.get_running_loop().time()

    # From the client to the server

    async def _up(self, data: bytes, watch: Http1 | Http2) -> None:
        reader = self._client[0]
        held: list[Piece] = []  # not passed on yet, because nobody knows if it counts
        bodies: dict[int, int] = {}  # bytes of the body of requests that nobody knows about yet
        while data:
            self._touch()
            if self._half_closed:
                raise ConnectionResetError
            for piece in watch.feed(data):
                held.append(piece)
                fault = None
                if piece.key is not None:
                    if piece.key not in bodies and piece.body == 0 and not piece.ends:
                        bodies[piece.key] = 0  # its head
                    if piece.key in bodies:
                        bodies[piece.key] += piece.body
                        if bodies[piece.key] >= self._proxy.least:
                            del bodies[piece.key]
                            fault = self._proxy.next_fault(connection=False)
                        elif piece.ends:
                            del bodies[piece.key]
                if fault is not None:
                    assert piece.key is not None
                    await self._befall(fault, piece.key, held, whole=piece.ends)
                if not bodies:
                    await self._send(b"".join(one.data for one in held))
                    held.clear()
            data = await reader.read(CHUNK)

    async def _befall(self, fault: Fault, key: int, held: list[Piece], *, whole: bool) -> None:
        if fault.where == "answer":
            self._answers[key] = fault
        elif fault.what == "hold":
            await self._proxy.wait(fault.seconds)
        else:
            content = b"".join(piece.data for piece in held)
            passed = len(content) // 2 if fault.passed is None else fault.passed
            await self._send(content[: min(passed, len(content) - whole)])
            await asyncio.sleep(0.01 * (passed > 0))  # an RST would overtake what it follows
            raise ConnectionResetError

    async def _send(self, data: bytes) -> None:
        assert self._server is not None
        writer = self._server[1]
        pace = self._proxy.bandwidth
        while data:
            part, data = (data, b"") if math.isinf(pace) else (data[:1024], data[1024:])
            await asyncio.sleep(len(part) / pace)
            writer.write(part)
            await writer.drain()

    # And back

    async def _down(self, watch: Http1 | Http2) -> None:
        assert self._server is not None
        reader, writer = self._server[0], self._client[1]
        left: int | None = None  # bytes until the connection is closed
        while data := await reader.read(CHUNK):
            self._touch()
            for piece in watch.feed(data):
                fault = None if piece.key is None else self._answers.pop(piece.key, None)
                if fault is not None and fault.what == "hold":
                    await self._proxy.wait(fault.seconds)
                elif fault is not None and fault.what == "reset":
                    raise ConnectionResetError
                elif fault is not None:
                    left = fault.passed or 0
                if self._half_closed:
                    raise ConnectionResetError
                writer.write(piece.data[:left])
                await writer.drain()
                if left is not None:
                    left -= len(piece.data)
                    if left <= 0:
                        return

    async def _watch_idle(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            idle = self._proxy.idle
            left = 0.05 if math.isinf(idle) else self._moved + idle - loop.time()
            if left > 0:
                await asyncio.sleep(left)
            elif not self._half_closed:
                self._half_closed = True
                self._client[1].write_eof()
            else:
                await asyncio.sleep(0.05)
