"""Where a server is, and the headers that every request carries there: taken apart and checked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
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


_NAME = re.compile(r"[0-9a-z_.-]+")
"""Names of headers that are names of gRPC's metadata too."""


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
    # What is refused may hold a key, so that only scheme, host and port are ever repeated.
    if "@" in url:
        raise InputError(
            "the URL holds a user name or password: Qdrant takes a key instead, "
            "qframe.connect(url, api_key=...)"
        )
    if "://" not in url:
        raise InputError(
            "the URL has no scheme: 'http://localhost:6333' is REST, "
            "'grpc://localhost:6334' is gRPC"
        )
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        shown = f"{scheme}://" if scheme.isalnum() else "what stands before '://'"
        raise InputError(
            f"{shown} is no scheme of Qdrant: use "
            f"{', '.join(f'{scheme}://' for scheme in SCHEMES)}, a folder, or ':memory:'"
        )
    try:
        parts = urlsplit(url)
    except ValueError:  # its words repeat the URL
        raise InputError("the URL's host cannot be read: 'http://localhost:6333' has one") from None
    host = parts.hostname
    if not host:
        raise InputError(f"{scheme}:// names no host: 'http://localhost:6333' does")
    transport, tls = SCHEMES[scheme]
    place = Address(transport, host, 0, tls).url.removesuffix(":0")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise InputError(f"{place}: its port is no number from 1 to 65535") from None
    if parts.query or parts.fragment:
        raise InputError(
            f"{place}: a URL of a server has no '?' and no '#'; a key goes into "
            "qframe.connect(url, api_key=...)"
        )
    if transport == "rest" and prefer_grpc:
        transport, port = "grpc", grpc_port
    if port is None:
        port = REST_PORT if transport == "rest" else GRPC_PORT
    prefix = parts.path.rstrip("/")
    if transport == "grpc" and prefix:
        raise InputError(f"{place}: gRPC knows no path; name host and port only")
    return Address(transport, host, port, tls, prefix)


def check_headers(api_key: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return what every request carries, as HTTP and gRPC both can, by names in lower case.

    Parameters
    ----------
    api_key : str or None
        Becomes ``api-key``.
    headers : mapping of str to str, or None

    Raises
    ------
    InputError
        For what one of them could not carry; values are not shown.
    """
    if headers is not None and not isinstance(headers, Mapping):
        raise InputError(f"headers is a {type(headers).__name__}: a mapping of names to values")
    found: dict[str, str] = {}
    for name, value in (headers or {}).items():
        key = name.lower() if isinstance(name, str) else ""
        if not _NAME.fullmatch(key) or key.startswith("grpc-") or key.endswith("-bin"):
            raise InputError(f"headers: {name!r} cannot be the name of a header over HTTP and gRPC")
        _check_value(f"the value of the header {name!r}", value)
        found[key] = value
    if api_key is not None:
        _check_value("api_key", api_key)
        if not api_key:
            raise InputError("api_key is empty: leave it out where the server wants none")
        found["api-key"] = api_key
    return found


def _check_value(what: str, value: object) -> None:
    # The libraries would put the value, perhaps a key, into their errors.
    if not isinstance(value, str):
        raise InputError(f"{what} is a {type(value).__name__}: it must be a str")
    if not (value.isascii() and value.isprintable()):
        raise InputError(
            f"{what} holds what no header can carry: a line break or another character outside of "
            "printable ASCII"
        )
    if value != value.strip():
        raise InputError(f"{what} begins or ends with a space")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, which no proxy could reach for it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
