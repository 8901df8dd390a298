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
    # What only a fault asks for: seconds that the apply thread sleeps first; whether it is to find
    # the operation wrong; and what the optimiser fails with afterwards, or, if that is empty, the
    # operation itself.
    hold: float = 0.0
    lose: bool = False
    red: str | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    points: Sequence[models.PointStruct]
    shard_key: models.ShardKeySelector | None = None
    update_filter: models.Filter | None = None
    update_mode: models.UpdateMode | None = None
