"""How a server is to carry out a write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qframe.errors import InputError

ShardKey = str | int | list[str | int]

ORDERINGS = ("weak", "medium", "strong")
UPDATE_MODES = ("upsert", "insert_only", "update_only")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How the server is to carry out a write.

    Attributes
    ----------
    wait : bool
        Whether it answers only when the points are applied.
    ordering : {"weak", "medium", "strong"} or None
        Write ordering between replicas; None is the server's default, weak.
    timeout : float
        Seconds that a request may take.
    shard_key : str, int, list of them, or None
        Which shards of a collection with custom sharding take the points.
    update_mode : {"upsert", "insert_only", "update_only"} or None
        What happens to points that exist, or do not; None is upsert.
    update_filter : mapping or None
        Existing points are changed only where this filter, in the form of the REST API, matches.
    """

    wait: bool = False
    ordering: str | None = None
    timeout: float = 60.0
    shard_key: ShardKey | None = None
    update_mode: str | None = None
    update_filter: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("ordering", self.ordering, ORDERINGS),
            ("update_mode", self.update_mode, UPDATE_MODES),
        ):
            if value is not None and value not in allowed:
                raise InputError(f"{name}={value!r}: one of {', '.join(map(repr, allowed))}")

    @property
    def server_timeout(self) -> int | None:
        """Seconds to name in the request, so that the server waits as long as the client does.

        Only where it matters: a server gives a waiting write 60 s of its own accord, and strict
        mode may limit what a request names.
        """
        return math.ceil(self.timeout) if self.wait and self.timeout != 60 else None

    @property
    def stores_all(self) -> bool:
        """Whether each point that is sent is there afterwards, whatever was there before."""
        return self.update_filter is None and self.update_mode != "update_only"

    def to_json(self) -> dict[str, Any]:
        """Return what decides which points are changed, and where, of JSON's types."""
        return {
            "shard_key": self.shard_key,
            "update_mode": self.update_mode,
            "update_filter": None if self.update_filter is None else dict(self.update_filter),
        }
