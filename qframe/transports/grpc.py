"""gRPC to one Qdrant server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from qframe.address import check_headers, is_loopback
from qframe.errors import ConnectionLost, InputError, InvalidAnswer, RequestTimeout
from qframe.transports.grpc_errors import Translator
from qframe.version import USER_AGENT

if TYPE_CHECKING:
    import grpc

Reply = TypeVar("Reply", bound=Message)

OPTIONS: tuple[tuple[str, int | str], ...] = (
    # A server sets no limit to a message (Qdrant 1.19, src/tonic/mod.rs:191), so the client's
    # 4 MB for answers would be the only one.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Channels to one address would share one connection otherwise. With 4 workers and bodies of
    # 1.6 MB, 1,030 MB/s instead of 770 on two cores; with larger bodies no difference.
    ("grpc.use_local_subchannel_pool", 1),
    # By default the pauses between attempts to connect grow to 2 minutes, and a call made in a
    # pause fails without an attempt. How long to wait is the business of `Retry`.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection that died in silence is noticed after 80 s, though only while a call waits.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


class GrpcChannel:
    """Calls to one server over one connection.

    Nothing is opened before the first call. Proxies of the environment are honoured, but not on
    the way to a loopback address.

    Parameters
    ----------
    host : str
    port : int
    tls : bool, default False
    api_key : str, optional
        Sent as metadata ``api-key``; shown nowhere.
    headers : mapping of str to str, optional
        Further metadata; the values are shown nowhere.
    timeout : float, default 60
        Seconds after which a call is given up.
    verify : bool or str, default True
        The file of the authority to trust, or True for those of the system. gRPC cannot do
        without a check.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        verify: bool | str = True,
    ) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.target = f"grpc{'s' if tls else ''}://{self.address}"
        self.timeout = timeout
        self._tls = tls
        self._loopback = is_loopback(host)
        if verify is False:
            raise InputError(
                "verify=False: gRPC always checks the certificate; pass verify='authority.pem' "
                "with the authority to trust, or use REST"
            )
        self._authority = None if verify is True else _read_authority(verify)
        self._metadata = tuple(check_headers(api_key, headers).items())
        self._translator = Translator(
            self.target, self.address, port, tuple(value for _, value in self._metadata)
        )
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._methods: dict[str, Callable[..., bytes]] = {}
        self._cancelled = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        with self._lock:
            channel, self._channel, self._methods = self._channel, None, {}
        if channel is not None:
            channel.close()

    def cancel(self) -> None:
        """Break the calls that other threads are waiting in, and refuse all later ones.

        Both end with `ConnectionLost`: the call may have been carried out.
        """
        self._cancelled = True
        self.close()

    def call(
        self,
        method: str,
        request: Message | bytes,
        reply_type: type[Reply],
        timeout: float | None = None,
    ) -> Reply:
        """Make one call.

        Parameters
        ----------
        method : str
            With its service, ``"/qdrant.Points/Upsert"``.
        request : Message or bytes
            Bytes are sent as they are.
        reply_type : type of Message
            What the answer is read as.
        timeout : float, optional
            Seconds; None is the channel's own.

        Returns
        -------
        Message

        Raises
        ------
        TransportError, CollectionError
            Every error, translated.
        """
        import grpc

        body = request if isinstance(request, bytes) else request.SerializeToString()
        seconds = self.timeout if timeout is None else timeout
        try:
            answer = self._method(method)(body, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            failure = self._translator.translate(error, seconds)
            if isinstance(failure, RequestTimeout):
                # What died in silence may be the connection: all later calls would hang on it too,
                # until keepalive notices after 80 s.
                self.close()
            raise failure from self._translator.cause(error)
        except ValueError as error:  # the channel was closed by another thread meanwhile
            raise ConnectionLost(f"the connection to {self.target} was closed") from error
        try:
            return reply_type.FromString(answer)
        except DecodeError as error:
            raise InvalidAnswer(
                f"{self.target} answered {len(answer)} bytes that are no "
                f"{reply_type.DESCRIPTOR.name}: {error}"
            ) from error

    def _method(self, name: str) -> Callable[..., bytes]:
        """Return a method that takes and returns bytes: gRPC copies them once, into its own."""
        found = self._methods.get(name)
        if found is None:
            with self._lock:
                if self._cancelled:
                    raise ConnectionLost(f"the connection to {self.target} was cancelled")
                if self._channel is None:
                    self._channel = self._open()
                found = self._methods[name] = self._channel.unary_unary(name)
        return found

    def _open(self) -> grpc.Channel:
        import grpc

        options = (*OPTIONS, ("grpc.primary_user_agent", USER_AGENT))
        if self._loopback:
            options = (*options, ("grpc.enable_http_proxy", 0))
        if self._tls:
            credentials = grpc.ssl_channel_credentials(root_certificates=self._authority)
            return grpc.secure_channel(self.address, credentials, options)
        return grpc.insecure_channel(self.address, options)


def _read_authority(verify: str) -> bytes:
    try:
        return Path(verify).read_bytes()
    except OSError as error:
        raise InputError(f"verify={verify!r}: {error.strerror}") from error
