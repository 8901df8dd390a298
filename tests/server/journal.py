"""What the server has seen: one entry for every upsert that arrived."""

from __future__ import annotations

import threading
import time
from typing import Any


class Journal:
    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def open(
        self,
        transport: str,
        collection: str | None,
        size: int | None,
        *,
        user_agent: str | None,
        key_header: str | None,
        content_encoding: str | None = None,
    ) -> Entry:
        """Note an arrival; what the body says and the answer are filled in later."""
        entry = Entry(
            transport=transport,
            collection=collection,
            bytes=size,
            user_agent=user_agent,
            key_header=key_header,
            content_encoding=content_encoding,
            points=None,
            first_id=None,
            wait=None,
            ordering=None,
            timeout=None,
            shard_key=None,
            update_mode=None,
            update_filter=False,
            fault=None,
            status=None,
            error=None,
            started=time.time(),
            finished=None,
        )
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(entry) for entry in self._entries]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


class Entry(dict[str, Any]):
    """One upsert: its fields are listed in ``Journal.open``."""

    def close(self, status: str | int, error: str | None = None) -> None:
        self.update(status=status, error=error, finished=time.time())
