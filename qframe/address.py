"""Where a server is: a URL, taken apart and checked."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from qframe.errors import InputError

Transport = Literal["rest", "grpc", "embedded"]

REST_PORT = 6333
GRPC_PORT = 6334
SCHEMES: dict[str, tuple[Transport, bool]] = {
    "http": ("rest", False),
    "https": ("rest", True),
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's place, without credentials.

    Attributes
    ----------
    transport : {"rest", "grpc"}
    host : str
    port : int
    tls : bool
    prefix : str
        Path before the API's own, for servers behind a proxy (REST only).
    """

    transport: Transport
    host: str
    port: int
    tls: bool = False
    prefix: str = ""

    @property
    def url(self) -> str:
        """The URL, with the port named."""
        scheme = {"rest": "http", "grpc": "grpc"}[self.transport] + "s" * self.tls
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.prefix}"


def parse_url(url: str, *, prefer_grpc: bool = False, grpc_port: int = GRPC_PORT) -> Address:
    """Take a URL apart.

    Parameters
    ----------
    url : str
    prefer_grpc : bool
        Read ``http`` and ``https`` as ``grpc`` and ``grpcs`` on `grpc_port`.
    grpc_port : int

    Raises
    ------
    InputError
        For a URL that no Qdrant has.

    Examples
    --------
    >>> parse_url("https://qdrant.example").url
    'https://qdrant.example:6333'
    """
    if "://" not in url:
        raise InputError(f"{url!r} has no scheme: 'http://{url}' is REST, 'grpc://{url}' is gRPC")
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise InputError(
            f"{parts.scheme}:// is no scheme of Qdrant: use "
            f"{', '.join(f'{scheme}://' for scheme in SCHEMES)}, a folder, or ':memory:'"
        )
    if parts.username or parts.password:
        raise InputError(
            "the URL holds a user name or password: Qdrant takes a key instead, "
            "qframe.connect(url, api_key=...)"
        )
    if not parts.hostname:
        raise InputError(f"{url!r} names no host: 'http://localhost:6333' does")
    if parts.query or parts.fragment:
        raise InputError(f"{url!r}: a URL of a server has no '?' and no '#'")
    try:
        port = parts.port
    except ValueError as error:
        raise InputError(f"{url!r}: {error}") from error
    transport, tls = SCHEMES[parts.scheme]
    if transport == "rest" and prefer_grpc:
        transport, port = "grpc", grpc_port
    if port is None:
        port = REST_PORT if transport == "rest" else GRPC_PORT
    prefix = parts.path.rstrip("/")
    if transport == "grpc" and prefix:
        raise InputError(f"{url!r}: gRPC knows no path ({prefix!r}); name host and port only")
    return Address(transport, parts.hostname, port, tls, prefix)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, which no proxy could reach for it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
