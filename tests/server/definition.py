"""What a collection was told to be, and how ``GET /collections/{name}`` tells it back."""

from __future__ import annotations

from typing import Any

from qdrant_client.http import models

# What a server with an untouched configuration answers.
_HNSW = models.HnswConfig(
    m=16, ef_construct=100, full_scan_threshold=10000, max_indexing_threads=0, on_disk=False
)
_OPTIMIZERS = models.OptimizersConfig(
    deleted_threshold=0.2,
    vacuum_min_vector_number=1000,
    default_segment_number=0,
    indexing_threshold=10000,
    flush_interval_sec=5,
)
_WAL = models.WalConfig(wal_capacity_mb=32, wal_segments_ahead=0, wal_retain_closed=1)


def dense_sizes(definition: models.CreateCollection) -> dict[str, int]:
    """The dimension of every dense and multivector field; the unnamed one is ``""``."""
    return {name: params.size for name, params in dense_params(definition).items()}


def dense_params(definition: models.CreateCollection) -> dict[str, models.VectorParams]:
    """The dense and multivector fields by name; the unnamed one is ``""``."""
    vectors = definition.vectors
    if isinstance(vectors, models.VectorParams):
        return {"": vectors}
    return dict(vectors or {})


def is_custom_sharded(definition: models.CreateCollection) -> bool:
    """Whether points must come with a shard key."""
    return definition.sharding_method == models.ShardingMethod.CUSTOM


def updated(
    definition: models.CreateCollection, change: models.UpdateCollection
) -> models.CreateCollection:
    """The definition after ``PATCH``: what the change leaves out stays as it was."""
    merged = definition.model_dump(mode="json", exclude_none=True)
    wanted = change.model_dump(mode="json", exclude_none=True)
    for field in ("optimizers_config", "hnsw_config", "strict_mode_config", "metadata"):
        if field in wanted:
            merged[field] = {**merged.get(field, {}), **wanted[field]}
    if "quantization_config" in wanted:
        merged["quantization_config"] = wanted["quantization_config"]
    for field, value in wanted.get("params", {}).items():
        if field in models.CreateCollection.model_fields:
            merged[field] = value
    return models.CreateCollection.model_validate(merged)


def config(definition: models.CreateCollection) -> models.CollectionConfig:
    """The definition with the defaults of a server around it."""
    return models.CollectionConfig(
        params=models.CollectionParams(
            vectors=definition.vectors or {},
            shard_number=definition.shard_number or 1,
            sharding_method=definition.sharding_method,
            replication_factor=definition.replication_factor or 1,
            write_consistency_factor=definition.write_consistency_factor or 1,
            on_disk_payload=definition.on_disk_payload is not False,
            payload=definition.payload,
            id_tracker=definition.id_tracker,
            sparse_vectors=definition.sparse_vectors,
        ),
        hnsw_config=_HNSW.model_copy(update=_given(definition.hnsw_config)),
        optimizer_config=_OPTIMIZERS.model_copy(update=_given(definition.optimizers_config)),
        wal_config=_WAL.model_copy(update=_given(definition.wal_config)),
        quantization_config=definition.quantization_config,
        strict_mode_config=(
            models.StrictModeConfigOutput.model_validate(_given(definition.strict_mode_config))
            if definition.strict_mode_config is not None
            else None
        ),
        metadata=definition.metadata,
    )


def _given(diff: Any) -> dict[str, Any]:
    return {} if diff is None else diff.model_dump(mode="json", exclude_none=True)
