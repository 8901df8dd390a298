"""Sockets that may be shut down from another thread."""

from __future__ import annotations

import socket
import threading
import weakref
from contextlib import suppress


class LiveSockets:
    """The sockets that one session has open, until somebody cancels them.

    A thread that waits in a socket cannot be reached, but the socket can: once it is shut down,
    whoever reads from it is told at once that it has ended, and whoever writes gets an error.
    Closing it would wake up nobody, and leave its number to the next file that is opened.
    """

    def __init__(self) -> None:
        # Again in the same thread: a finaliser of a socket may run inside.
        self._lock = threading.RLock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def add(self, sock: socket.socket) -> None:
        """Note a socket, as long as it is used by somebody.

        Raises
        ------
        ConnectionAbortedError
            After `cancel`; the socket is left to the caller.
        """
        with self._lock:
            if self._cancelled:
                raise ConnectionAbortedError("cancelled")
            self._sockets.add(sock)

    def cancel(self) -> None:
        """Shut down all sockets, and refuse those to come."""
        with self._lock:
            self._cancelled = True
            sockets = list(self._sockets)
        for sock in sockets:
            with suppress(OSError):  # not connected yet, closed already, or taken over by TLS
                # SSLSocket's own takes the TLS away from under the thread that is inside of it.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
