"""HTTP to one Qdrant server."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from qframe.address import check_headers, is_loopback
from qframe.errors import ConnectionLost, InputError, InvalidAnswer
from qframe.transports.rest_errors import Translator, foreign
from qframe.transports.sockets import LiveSockets
from qframe.version import USER_AGENT

if TYPE_CHECKING:
    import requests

log = logging.getLogger("qframe")

IDLE_SECONDS = 4.0
"""How long an unused connection is trusted: the server closes it after 5 s (src/settings.rs:459 in
Qdrant 1.19). urllib3 sees a connection that is closed already and opens another one without an
error; what remains is a request that meets the closing on its way."""

CONNECT_SECONDS = 10.0
"""How long a host may take to accept a connection for a small request."""

SMALL = 64 * 1024
"""Bytes that fit into the buffers of a connection; sending more may take as long as it takes, and
to urllib3 the limit for connecting is the limit for sending too, on a new connection."""


class RestSession:
    """Requests to one server over connections that are kept alive.

    Nothing is opened before the first request. Proxies of the environment are honoured, but not
    on the way to a loopback address, where no proxy could reach what the caller means;
    credentials of a ``.netrc`` are not.

    Parameters
    ----------
    uri : str
        Base URL, with port.
    api_key : str, optional
        Sent as ``api-key``; shown nowhere.
    headers : mapping of str to str, optional
    timeout : float
        Seconds that sending may take, and then the answer to its last byte.
    verify : bool or str
        Whether certificates are checked, or the file of the authority to trust.
    """

    def __init__(
        self,
        uri: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        verify: bool | str = True,
    ) -> None:
        self.uri = uri.rstrip("/")
        self.timeout = timeout
        self._headers = {"user-agent": USER_AGENT, **check_headers(api_key, headers)}
        if isinstance(verify, str) and not os.path.exists(verify):
            raise InputError(f"verify={verify!r}: there is no such file")
        self._verify = verify
        self._errors = Translator(self.uri, timeout, _secrets(self._headers))
        self._proxies = {"no_proxy": _host(uri)} if is_loopback(_host(uri)) else {}
        self._session: requests.Session | None = None
        self._sockets = LiveSockets()
        self._used = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        if self._session is not None:
            self._session.close()

    def cancel(self) -> None:
        """Break the request that another thread is waiting in, and refuse all later ones.

        Both end with `ConnectionLost`: the request may have been carried out. A thread that is
        looking up the name of a host notices it after that, and one behind a SOCKS proxy after its
        timeout.
        """
        self._sockets.cancel()

    def request(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Make one request.

        Parameters
        ----------
        method : str
        path : sequence of str
            Segments of the path, not yet quoted, such as ``("collections", name, "points")``.
        query : mapping, optional
        body : bytes, optional
            JSON.
        timeout : float, optional
            Seconds; None is the session's own.

        Returns
        -------
        object
            What the answer holds under ``result``.

        Raises
        ------
        TransportError, CollectionError
            Every error, translated.
        """
        answer = self._exchange(method, path, query=query, body=body, timeout=timeout)
        if "result" not in answer:
            raise InvalidAnswer(
                f"{self.uri} answered without a result, with "
                f"{self._errors.scrubbed(', '.join(answer)) or 'nothing'} only"
            )
        return answer["result"]

    def root(self) -> dict[str, Any]:
        """Read what the server says of itself: its title and version."""
        return self._exchange("GET", ())

    def _exchange(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        url = f"{self.uri}/{quoted(path)}" + (f"?{urlencode(query)}" if query else "")
        sent = 0 if body is None else len(body)
        seconds = self.timeout if timeout is None else timeout
        connect = min(seconds, CONNECT_SECONDS) if sent <= SMALL else seconds
        if self._sockets.cancelled:
            raise self._cancelled()
        session = self._open()
        if time.monotonic() - self._used > IDLE_SECONDS:
            session.close()
        try:
            response = session.request(
                method,
                url,
                data=body,
                headers=None if body is None else {"Content-Type": "application/json"},
                timeout=(connect, seconds),
                allow_redirects=False,
                verify=self._verify,
                proxies=dict(self._proxies),
            )
        except foreign() as error:
            cause = self._errors.cause(error)
            if self._sockets.cancelled:
                raise self._cancelled() from cause
            errors = dataclasses.replace(self._errors, timeout=seconds)
            raise errors.failure(error, sent) from cause
        self._used = time.monotonic()
        if not 200 <= response.status_code < 300:
            raise self._errors.refusal(response, method, path)
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise InvalidAnswer(
                f"{self.uri} answered what is no JSON ({error}): {self._errors.text(response)}"
            ) from error
        if not isinstance(answer, dict):
            raise InvalidAnswer(f"{self.uri} answered no object: {self._errors.text(response)}")
        return answer

    def _cancelled(self) -> ConnectionLost:
        return ConnectionLost(f"the connection to {self.uri} was cancelled")

    def _open(self) -> requests.Session:
        if self._session is None:
            import requests

            from qframe.transports.rest_connections import Connections

            session = requests.Session()
            connections = Connections(trusting=self._verify is False, sockets=self._sockets)
            session.mount("http://", connections)
            session.mount("https://", connections)
            if self._verify is False and self.uri.startswith("https:"):
                _say_unverified(self.uri)
            session.headers.update(self._headers)
            # Any callable keeps requests from sending what a .netrc holds for this host.
            session.auth = _unchanged
            self._session = session
        return self._session


def quoted(path: Sequence[str]) -> str:
    """Join segments to a path.

    Examples
    --------
    >>> quoted(("collections", "with space/and slash"))
    'collections/with%20space%2Fand%20slash'
    """
    for segment in path:
        if segment in ("", ".", ".."):
            raise InputError(f"{segment!r} cannot be the name of a collection")
    return "/".join(quote(segment, safe="") for segment in path)


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


@functools.cache
def _say_unverified(uri: str) -> None:
    """Log once a process and server what urllib3 would warn of with every request."""
    log.warning("qframe: the certificate of %s is not checked, as verify=False asks for", uri)


def _host(uri: str) -> str:
    return urlsplit(uri).hostname or ""


def _secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    values = [value for name, value in headers.items() if name != "user-agent"]
    # Of "Bearer KEY" the key alone may come back; what is shorter than four is in every text.
    parts = [*values, *(value.rpartition(" ")[2] for value in values)]
    return tuple(part for part in parts if len(part) > 3)
