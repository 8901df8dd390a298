"""The connections below a REST session: answers end in time, and trust is not warned about."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any, cast

import requests.adapters
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection


class Connections(requests.adapters.HTTPAdapter):
    """Keeps the connections of one session.

    Parameters
    ----------
    trusting : bool
        Whether the caller asked for certificates not to be checked.
    """

    def __init__(self, *, trusting: bool) -> None:
        secure = _TrustingPool if trusting else _SecurePool
        self._pools: dict[str, Any] = {"http": _PlainPool, "https": secure}
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


class _Plain(HTTPConnection):
    response_class = _Answer


class _Secure(HTTPSConnection):
    response_class = _Answer


class _Trusting(_Secure):
    def connect(self) -> None:
        super().connect()
        # urllib3 asks for nothing else than whether it is to warn, with every request. Filters for
        # warnings would be those of all threads.
        self.is_verified = True


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _TrustingPool(HTTPSConnectionPool):
    ConnectionCls = _Trusting
