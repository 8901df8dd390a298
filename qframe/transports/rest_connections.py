"""The connections below a REST session.

Their answers end in time, another thread may end them, and trust is not warned about.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
from typing import Any, cast

import requests.adapters
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from qframe.transports.sockets import LiveSockets


class Connections(requests.adapters.HTTPAdapter):
    """Keeps the connections of one session.

    Parameters
    ----------
    trusting : bool
        Whether the caller asked for certificates not to be checked.
    sockets : LiveSockets
        Where the sockets are noted.
    """

    def __init__(self, *, trusting: bool, sockets: LiveSockets) -> None:
        secure = _Trusting if trusting else _Secure
        self._pools: dict[str, Any] = {
            "http": functools.partial(_pool, HTTPConnectionPool, _Plain, sockets),
            "https": functools.partial(_pool, HTTPSConnectionPool, secure, sockets),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the connections without a proxy."""
        super().init_poolmanager(*args, **kwargs)
        self._take(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> ProxyManager:
        """Make those through a proxy."""
        manager = cast(ProxyManager, super().proxy_manager_for(*args, **kwargs))
        if type(manager) is ProxyManager:  # SOCKS has pools of its own
            self._take(manager)
        return manager

    def _take(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


class _Clocked(io.RawIOBase):
    """Reads from a socket until a deadline; a socket's own timeout begins anew with every byte."""

    def __init__(self, source: io.RawIOBase, sock: socket.socket, seconds: float) -> None:
        self._source = source
        self._socket = sock
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose headers and body together take no longer than the timeout of its socket."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds is not None:
            # `detach` keeps what counts the users of the socket.
            self.fp = io.BufferedReader(_Clocked(self.fp.detach(), sock, seconds))


class _Cancellable(HTTPConnection):
    """A connection whose sockets are noted, while they are being connected too."""

    def __init__(self, *args: Any, sockets: LiveSockets, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sockets = sockets
        self._handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        """Connect with sockets that can be reached meanwhile, which urllib3 keeps to itself."""
        try:
            return self._reach()
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host} in time") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def _reach(self) -> socket.socket:
        """Try the addresses of the host, one after another."""
        failure = OSError(f"the host {self.host} has no address")
        host = self._dns_host.strip("[]")
        found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # a system without IPv6
                failure = error
                continue
            # TLS makes another socket of it, and not before it has shaken hands is that one known.
            # A second handle on the same connection outlasts that; `connect` closes it.
            handle = sock.dup()
            try:
                self._sockets.add(handle)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                if isinstance(self.timeout, (int, float)):
                    sock.settimeout(self.timeout)
                if self.source_address:
                    sock.bind(self.source_address)
                sock.connect(address)
            except BaseException as error:
                handle.close()
                sock.close()
                if not isinstance(error, OSError) or self._sockets.cancelled:
                    raise
                failure = error
            else:
                self._handle = handle
                return sock
        try:
            raise failure
        finally:
            del failure  # which holds this frame

    def connect(self) -> None:
        try:
            super().connect()
            if self.sock is not None:
                self._sockets.add(self.sock)
        except BaseException:
            self.close()
            raise
        finally:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


class _Plain(_Cancellable):
    response_class = _Answer


class _Secure(_Cancellable, HTTPSConnection):
    response_class = _Answer


class _Trusting(_Secure):
    def connect(self) -> None:
        super().connect()
        # urllib3 asks for nothing else than whether it is to warn, with every request. Filters for
        # warnings would be those of all threads.
        self.is_verified = True


def _pool(
    pool: type[HTTPConnectionPool],
    connection: type[_Cancellable],
    sockets: LiveSockets,
    *args: Any,
    **kwargs: Any,
) -> HTTPConnectionPool:
    """Make a pool of such connections."""
    made = pool(*args, **kwargs)
    made.ConnectionCls = functools.partial(connection, sockets=sockets)  # type: ignore[assignment]
    return made
