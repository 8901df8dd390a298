"""Where requests and answers begin and end in the bytes of a connection.

Read no further than needed: of HTTP/1.1 the head and its Content-Length, of HTTP/2 the heads of the
frames. So a proxy can do something to the third request, whichever the transport, and with
HTTP/2 to one call among several on the same connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d+)")
_DATA, _HEADERS, _RST_STREAM = 0, 1, 3
_END_STREAM = 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of one direction, in their order.

    Attributes
    ----------
    data : bytes
        As they came.
    key : int or None
        What they belong to: the number of the exchange on this connection, or the stream. None is
        what belongs to the connection itself, such as pings and settings.
    body : int
        Bytes of the body among them.
    ends : bool
        Whether the request, or the answer, is complete with them.
    """

    data: bytes
    key: int | None
    body: int = 0
    ends: bool = False


class Http1:
    """One direction of HTTP/1.1, messages with a Content-Length or without a body."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._key = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Cut what came into pieces."""
        while data:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
                yield self._piece(part, len(part))
                continue
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self._head = b""
            found = _LENGTH.search(head)
            self._left = int(found[1]) if found else 0
            yield self._piece(head + separator, 0)

    def _piece(self, data: bytes, body: int) -> Piece:
        piece = Piece(data, self._key, body, ends=not self._left)
        self._key += piece.ends
        return piece


class Http2:
    """One direction of HTTP/2."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Cut what came into frames, complete ones."""
        rest = self._rest + data
        if rest.startswith(PREFACE):
            yield Piece(PREFACE, None)
            rest = rest[len(PREFACE) :]
        while len(rest) >= 9:
            size = 9 + int.from_bytes(rest[:3])
            if len(rest) < size:
                break
            yield _frame(rest[:size])
            rest = rest[size:]
        self._rest = rest


def _frame(data: bytes) -> Piece:
    kind, flags = data[3], data[4]
    if kind not in (_DATA, _HEADERS, _RST_STREAM):
        return Piece(data, None)
    key = int.from_bytes(data[5:9]) & 0x7FFFFFFF
    ends = kind == _RST_STREAM or bool(flags & _END_STREAM)
    return Piece(data, key, len(data) - 9 if kind == _DATA else 0, ends)


def watches(first: bytes) -> tuple[Http1, Http1] | tuple[Http2, Http2]:
    """Return what reads the two directions of a connection whose client began with these bytes."""
    if PREFACE.startswith(first[: len(PREFACE)]):
        return Http2(), Http2()
    return Http1(), Http1()
