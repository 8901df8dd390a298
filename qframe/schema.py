"""What a collection is made of: its vectors, its settings and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qframe.points import VectorKind

DISTANCES = ("cosine", "dot", "euclid", "manhattan")


SETTINGS = (
    "hnsw_config",
    "id_tracker",
    "metadata",
    "on_disk_payload",
    "optimizers_config",
    "payload",
    "quantization_config",
    "replication_factor",
    "shard_number",
    "sharding_method",
    "strict_mode_config",
    "wal_config",
    "write_consistency_factor",
)
"""What may be said of a new collection besides its vectors, by the names of the REST API
(collections.proto, CreateCollection). A server passes over a name that it does not know."""


@dataclass(frozen=True, slots=True)
class VectorSchema:
    """One vector of a collection.

    Attributes
    ----------
    kind : VectorKind
    size : int or None
        None for sparse vectors.
    distance : str or None
        One of `DISTANCES`; None for sparse vectors.
    settings : mapping
        Everything else, by the names of the REST API (``on_disk``, ``datatype``, ``modifier``, …),
        for a collection to be created.
    """

    kind: VectorKind
    size: int | None = None
    distance: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CollectionSchema:
    """What a new collection is made from.

    Attributes
    ----------
    vectors : mapping of str to VectorSchema
    settings : mapping
        Further fields of collection creation, by the names of the REST API (``shard_number``,
        ``hnsw_config``, ``optimizers_config``, ``on_disk_payload``, …).
    """

    vectors: Mapping[str, VectorSchema]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What is known of an existing collection.

    Attributes
    ----------
    name : str
    vectors : mapping of str to VectorSchema
    points : int
        Exact number of points.
    max_batch_points : int or None
        Strict mode's ``upsert_max_batchsize``.
    max_points : int or None
        Strict mode's ``max_points_count``.
    custom_sharding : bool
        Whether every write must name a shard key.
    """

    name: str
    vectors: Mapping[str, VectorSchema]
    points: int
    max_batch_points: int | None = None
    max_points: int | None = None
    custom_sharding: bool = False
