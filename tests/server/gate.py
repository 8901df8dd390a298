"""What every gRPC call passes before it reaches a servicer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from .app import App, key_header
from .journal import Entry
from .refusal import Dropped, Garbled, Kind, Refusal

_UPSERT = "/qdrant.Points/Upsert"
_WRITES = {
    _UPSERT,
    "/qdrant.Points/Delete",
    "/qdrant.Points/CreateFieldIndex",
    "/qdrant.Collections/Create",
    "/qdrant.Collections/Update",
    "/qdrant.Collections/Delete",
    "/qdrant.Collections/CreateShardKey",
}
_PUBLIC = {"/qdrant.Qdrant/HealthCheck"}


@dataclass(frozen=True, slots=True)
class Call:
    """What a servicer gets in place of the context."""

    entry: Entry | None
    started: float

    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def set_code(self, code: grpc.StatusCode) -> None:
        """Called by the official servicers before they raise for a method nobody wrote."""

    set_details = set_code


class Gate(grpc.ServerInterceptor):
    """Keys, undecodable messages and refusals, for all methods alike.

    It stands before the decoding, to know how many bytes came and to answer with bytes that
    do not parse.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        def serve(raw: bytes, context: grpc.ServicerContext) -> bytes:
            return self._serve(method, handler, raw, context)

        return grpc.unary_unary_rpc_method_handler(serve)

    def _serve(self, method: str, handler: Any, raw: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        entry = self._open_entry(raw, metadata) if method == _UPSERT else None
        try:
            if method not in _PUBLIC:
                self._app.authorize(metadata, writes=method in _WRITES)
            if entry is not None:
                self._app.lasting.check_body(len(raw), entry)
            request = _decode(handler.request_deserializer, raw)
            reply = handler.unary_unary(request, Call(entry, time.perf_counter()))
        except Refusal as refusal:
            _abort(context, entry, refusal)
        except ValueError as error:
            # The official conversions and models refuse what they do not know.
            _abort(context, entry, Refusal(Kind.PAYLOAD, str(error)))
        except NotImplementedError:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served here")
        except Dropped:
            _close(entry, "dropped")
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        except Garbled:
            _close(entry, "garbled")
            return b"\xff\xff\xff"
        _close(entry, "OK")
        return handler.response_serializer(reply)

    def _open_entry(self, raw: bytes, metadata: dict[str, str]) -> Entry:
        return self._app.journal.open(
            "grpc",
            None,
            len(raw),
            user_agent=metadata.get("user-agent"),
            key_header=key_header(metadata),
        )


def _decode(deserialize: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return deserialize(raw)
    except DecodeError as error:
        deep = "MaxDepth" in str(error)
        text = "recursion limit reached" if deep else str(error)
        raise Undecodable(text) from error


class Undecodable(Refusal):
    """prost gives up at a depth of 100 messages, as does this protobuf, with another text."""

    def __init__(self, text: str) -> None:
        super().__init__(Kind.SERVICE, text)

    @property
    def grpc_text(self) -> str:
        return f"failed to decode Protobuf message: {self.text}"


def _trailing_metadata(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    if refusal.kind is Kind.INSUFFICIENT_STORAGE:
        return (("qdrant-insufficient-storage", "1"),)
    if refusal.retry_after is not None:
        return (("retry-after", refusal.retry_after),)
    return ()


def _abort(context: grpc.ServicerContext, entry: Entry | None, refusal: Refusal) -> NoReturn:
    code = refusal.kind.code
    _close(entry, code.name, refusal.grpc_text)
    context.set_trailing_metadata(_trailing_metadata(refusal))
    context.abort(code, refusal.grpc_text)


def _close(entry: Entry | None, status: str, error: str | None = None) -> None:
    if entry is not None:
        entry.close(status, error)
