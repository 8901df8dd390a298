"""Where the points go: a server's URL, a folder, or what the environment says."""

from __future__ import annotations

import atexit
import logging
import numbers
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qframe.address import GRPC_PORT, Transport, check_headers, is_loopback, parse_url
from qframe.errors import InputError

if TYPE_CHECKING:
    from qframe.encoding.base import Measure
    from qframe.gate import Gate
    from qframe.points import PointBlock
    from qframe.retry import Retry
    from qframe.schema import VectorSchema
    from qframe.stores.base import Store
    from qframe.uploaders.base import BaseUploader
    from qframe.write import WriteOptions

log = logging.getLogger("qframe")

DEFAULT_FOLDER = "qdrant_data"

LONGEST = 86_400.0
"""Seconds of a day, more than any request takes and less than what a clock cannot count."""

_LIKE_A_URL = re.compile(
    r"(https?|grpcs?):?/"  # a scheme with a slip
    r"|.*:(?![\\/]).*@"  # user:password@host; C:\ is a drive
    r"|.*[?&#]api[-_]?key=",
    re.IGNORECASE | re.DOTALL,
)
"""What nobody means as a folder, and may hold a key that a folder's name would show."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one Qdrant; made by `connect`. It opens nothing by itself.

    Attributes
    ----------
    transport : {"rest", "grpc", "embedded"}
    target : str
        The URL without credentials, or the folder.
    host : str
        Empty for the embedded engine.
    port : int
    tls : bool
    api_key : str or None
        Never shown.
    headers : mapping of str to str
        Further headers, or gRPC metadata; the values are never shown.
    timeout : float
        Seconds a request may take.
    verify : bool or str
        Whether the server's certificate is checked, or the file of the authority to trust.
    """

    transport: Transport
    target: str
    host: str = ""
    port: int = 0
    tls: bool = False
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60.0
    verify: bool | str = True

    def __repr__(self) -> str:
        key = ", api_key='***'" if self.api_key else ""
        headers = f", headers={sorted(self.headers)}" if self.headers else ""
        return f"qframe.connect({self.target!r}, transport={self.transport!r}{key}{headers})"

    __str__ = __repr__

    def store(self) -> Store:
        """Open the collections behind this connection."""
        if self.transport == "rest":
            from qframe.stores.rest import RestStore

            return RestStore(
                self.target,
                api_key=self.api_key,
                headers=self.headers,
                timeout=self.timeout,
                verify=self.verify,
            )
        if self.transport == "grpc":
            from qframe.stores.grpc import GrpcStore

            return GrpcStore(
                self.host,
                self.port,
                tls=self.tls,
                api_key=self.api_key,
                headers=self.headers,
                timeout=self.timeout,
                verify=self.verify,
            )
        from qframe.stores.embedded import EmbeddedStore

        return EmbeddedStore(self.target)

    def uploader(
        self,
        collection: str,
        *,
        write: WriteOptions,
        retry: Retry | int | None = None,
        gate: Gate | None = None,
        worker: int | None = None,
    ) -> BaseUploader[Any]:
        """Start an uploader of this connection's transport for one collection."""
        if self.transport == "rest":
            from qframe.uploaders.rest import RestBatchUploader

            return RestBatchUploader(
                self.target,
                collection,
                api_key=self.api_key,
                headers=self.headers,
                verify=self.verify,
                write=write,
                retry=retry,
                gate=gate,
                worker=worker,
            )
        if self.transport == "grpc":
            from qframe.uploaders.grpc import GrpcBatchUploader

            return GrpcBatchUploader(
                self.host,
                self.port,
                collection,
                tls=self.tls,
                api_key=self.api_key,
                headers=self.headers,
                verify=self.verify,
                write=write,
                retry=retry,
                gate=gate,
                worker=worker,
            )
        from qframe.uploaders.embedded import EmbeddedBatchUploader

        return EmbeddedBatchUploader(
            self.target, collection, write=write, retry=retry, gate=gate, worker=worker
        )

    def measure(self, collection: str, write: WriteOptions) -> Measure:
        """Return the upper bounds of the requests that this transport makes of points."""
        if self.transport == "rest":
            from qframe.encoding import json

            return replace(json.MEASURE, envelope=json.envelope(write))
        if self.transport == "grpc":
            from qframe.encoding import protobuf

            options = protobuf.encode_options(collection, write)
            return replace(protobuf.MEASURE, envelope=len(options))
        from qframe.uploaders.embedded import EmbeddedBatchUploader

        return EmbeddedBatchUploader.measure

    def encoder(
        self, collection: str, write: WriteOptions, vectors: Mapping[str, VectorSchema]
    ) -> Callable[[PointBlock], int]:
        """Return what encodes points as this transport's uploader does, and counts its bytes.

        Parameters
        ----------
        collection : str
        write : WriteOptions
        vectors : mapping of str to VectorSchema
            The collection's, which need not exist.
        """
        if self.transport == "rest":
            from qframe.encoding.json import encode_body

            return lambda block: len(encode_body(block, write))
        if self.transport == "grpc":
            from qframe.encoding.protobuf import encode_options, encode_points

            options = encode_options(collection, write)
            return lambda block: len(encode_points(block, options))
        from qframe.uploaders.embedded import encode

        return lambda block: encode(block, vectors).size


Con = str | os.PathLike[str] | Connection | None
"""What callers may pass as ``con``."""


def connect(
    url_or_path: str | os.PathLike[str],
    *,
    api_key: str | None = None,
    prefer_grpc: bool = False,
    grpc_port: int = GRPC_PORT,
    timeout: float = 60,
    headers: Mapping[str, str] | None = None,
    verify: bool | str = True,
) -> Connection:
    """Describe how to reach a Qdrant. Nothing is opened or sent yet.

    Parameters
    ----------
    url_or_path : str or path
        ``http://``, ``https://`` (REST, port 6333 unless named), ``grpc://`` or ``grpcs://``
        (gRPC, port 6334); ``":memory:"`` for an embedded store that lives as long as the process;
        anything else is the folder of an embedded store.
    api_key : str, optional
        Sent with every request; never shown in repr, errors or logs.
    prefer_grpc : bool, default False
        Talk gRPC, on `grpc_port`, to the host of an ``http`` or ``https`` URL.
    grpc_port : int, default 6334
    timeout : float, default 60
        Seconds that a request may take, up to a day.
    headers : mapping of str to str, optional
        Further HTTP headers, or gRPC metadata, in names and values that both can carry.
    verify : bool or str, default True
        False trusts every certificate (REST only); a path trusts the authority in that PEM file.

    Returns
    -------
    Connection

    Raises
    ------
    InputError
        For a URL or an option that cannot work.

    Examples
    --------
    >>> connect("http://localhost:6333", api_key="secret")
    qframe.connect('http://localhost:6333', transport='rest', api_key='***')
    >>> connect("http://localhost", prefer_grpc=True).target
    'grpc://localhost:6334'
    """
    text = os.fspath(url_or_path)
    if not text:
        raise InputError(
            "con is empty: pass a URL such as 'http://localhost:6333', a folder, or ':memory:'"
        )
    seconds = _seconds(timeout)
    carried = check_headers(api_key, headers)
    if "://" not in text:
        return Connection("embedded", _folder(text, carried), timeout=seconds)
    address = parse_url(text, prefer_grpc=prefer_grpc, grpc_port=grpc_port)
    if address.transport == "grpc" and verify is False:
        raise InputError(
            "verify=False: gRPC always checks the certificate; pass verify='authority.pem' "
            "with the authority to trust, or use REST"
        )
    return Connection(
        address.transport,
        address.url,
        host=address.host,
        port=address.port,
        tls=address.tls,
        api_key=api_key,
        headers=dict(headers or {}),
        timeout=seconds,
        verify=verify,
    )


def resolve(con: Con) -> Connection:
    """Read ``con`` as every function takes it.

    Parameters
    ----------
    con : str, path, Connection or None
        None is ``QDRANT_URL`` with ``QDRANT_API_KEY`` from the environment, and without them the
        embedded engine in ``./qdrant_data``, which is said once.
    """
    if isinstance(con, Connection):
        return con
    if con is not None:
        if not isinstance(con, (str, os.PathLike)):
            raise InputError(
                f"con is a {type(con).__name__}: pass a URL, a folder, ':memory:', "
                "qframe.connect(...), or None"
            )
        return connect(con)
    url = os.environ.get("QDRANT_URL")
    if url:
        return connect(url, api_key=os.environ.get("QDRANT_API_KEY") or None)
    connection = connect(DEFAULT_FOLDER)
    _say_once(
        f"qframe: no server named, the data goes into the embedded engine in {connection.target} "
        "(pass con=... or set QDRANT_URL for another place)"
    )
    return connection


def _seconds(timeout: Any) -> float:
    number = isinstance(timeout, numbers.Real) and not isinstance(timeout, bool)
    if not (number and 0 < timeout <= LONGEST):
        raise InputError(
            f"timeout={timeout!r}: seconds that a request may take, a number above 0 and up to "
            f"{LONGEST:.0f}, which is a day"
        )
    return float(timeout)


def _folder(text: str, carried: Mapping[str, str]) -> str:
    if _LIKE_A_URL.match(text):
        raise InputError(
            "con looks like a URL that is not written as one, 'http://localhost:6333' (REST) or "
            "'grpc://localhost:6334' (gRPC) is; it is not repeated here, since it may hold a key, "
            "which goes into qframe.connect(url, api_key=...)"
        )
    if carried:
        raise InputError(
            f"{text!r} is a folder, and the embedded engine knows no api_key and no headers; "
            "a server's URL starts with http:// or grpc://"
        )
    if text == ":memory:":
        return _memory_folder()
    head, _, port = text.rpartition(":")
    names_port = port.isdigit() and head and "/" not in head and "\\" not in head
    if names_port or is_loopback(text):
        raise InputError(
            f"{text!r} looks like a server without its scheme: 'http://{text}' (REST) or "
            f"'grpc://{text}' (gRPC); a folder of this name is './{text}'"
        )
    return str(Path(text).expanduser().absolute())


_lock = threading.Lock()
_memory: str | None = None
_said: set[str] = set()


def _memory_folder() -> str:
    """Return the temporary folder of this process, made at the first call, removed at exit."""
    global _memory
    with _lock:
        if _memory is None:
            _memory = tempfile.mkdtemp(prefix="qframe-")
            atexit.register(_remove, _memory, os.getpid())
        return _memory


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child that ends leaves its parent's data alone
        shutil.rmtree(folder, ignore_errors=True)


def _forget_memory() -> None:
    """Let a forked child make a folder of its own; its parent's thread may have held the lock."""
    global _lock, _memory
    _lock, _memory = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_memory)


def _say_once(sentence: str) -> None:
    with _lock:
        if sentence in _said:
            return
        _said.add(sentence)
    print(sentence)  # noqa: T201 - where data went must be seen, log handlers or not
    log.info(sentence)
