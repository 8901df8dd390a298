"""One upsert, read and valid, whichever transport brought it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qdrant_client.http import models


@dataclass(frozen=True, slots=True)
class Writing:
    """How a write wants to be treated."""

    wait: bool = False
    ordering: str = "weak"
    timeout: float | None = None
    # Seconds that the apply thread sleeps first; only a fault asks for it.
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class Upsert:
    points: Sequence[models.PointStruct]
    shard_key: models.ShardKeySelector | None = None
    update_filter: models.Filter | None = None
    update_mode: models.UpdateMode | None = None
