"""What both transports talk to: who may, what goes wrong on demand, and where points go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdrant_client.http import models

from .faults import Faults, Lasting
from .journal import Entry, Journal
from .refusal import Kind, Refusal
from .store import Store
from .upsert import Upsert, Writing


@dataclass(frozen=True, slots=True)
class Settings:
    data: Path
    api_key: str | None = None
    read_only_api_key: str | None = None
    max_request_size: int = 32 * 1024 * 1024
    keep_alive: float = 5.0
    version: str = "1.19.0"


class App:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.data)
        self.faults = Faults()
        self.lasting = Lasting()
        self.journal = Journal()

    def authorize(self, headers: Mapping[str, str], *, writes: bool) -> None:
        keys = (self.settings.api_key, self.settings.read_only_api_key)
        if keys == (None, None):
            return
        given = api_key(headers)
        if given is None:
            raise Refusal(
                Kind.UNAUTHENTICATED,
                "Must provide an API key or an Authorization bearer token",
            )
        if given not in keys:
            raise Refusal(Kind.UNAUTHENTICATED, "Invalid API key or JWT")
        if writes and given != self.settings.api_key:
            raise Refusal(Kind.FORBIDDEN, "Global manage access is required")

    def upsert(
        self, name: str, upsert: Upsert, writing: Writing, entry: Entry
    ) -> models.UpdateResult:
        """Store the points, unless what lasts or the next fault of this transport has them."""
        _note(entry, upsert, writing)
        self.lasting.check(upsert, entry)
        fault = self.faults.take(entry["transport"])
        if fault is None:
            return self.store[name].upsert(upsert, writing)
        entry["fault"] = fault.spec
        return fault.befall(lambda writing: self.store[name].upsert(upsert, writing), writing)

    def close(self) -> None:
        self.store.close()


def api_key(headers: Mapping[str, str]) -> str | None:
    """The key that a request carries; ``api-key`` wins over the bearer token."""
    given = headers.get("api-key")
    if given is not None:
        return given
    bearer = headers.get("authorization") or ""
    return bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None


def key_header(headers: Mapping[str, str]) -> str | None:
    """The name of the header that carried a key."""
    for name in ("api-key", "authorization"):
        if headers.get(name) is not None:
            return name
    return None


def _note(entry: Entry, upsert: Upsert, writing: Writing) -> None:
    key = upsert.shard_key
    entry.update(
        points=len(upsert.points),
        first_id=str(upsert.points[0].id) if upsert.points else None,
        wait=writing.wait,
        ordering=writing.ordering,
        timeout=writing.timeout,
        shard_key=dict(key) if isinstance(key, models.ShardKeyWithFallback) else key,
        update_mode=upsert.update_mode and upsert.update_mode.value,
        update_filter=upsert.update_filter is not None,
    )
