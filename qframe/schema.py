"""What a collection is made of: its vectors, its settings and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

from qframe.errors import InputError
from qframe.points import VectorKind

DISTANCES = ("cosine", "dot", "euclid", "manhattan")

MAX_NAME_CHARACTERS = 255
FORBIDDEN_IN_NAMES = frozenset('<>:"/\\|?*\0\x1f')
"""What the name of a new collection has not; those that older servers made may have all of these
but "/" and NUL (lib/common/common/src/validation.rs)."""

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
    """What is known of a collection.

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
    write_rate_limit : int or None
        Strict mode's: points a minute, and so in a request at the most.
    max_timeout : int or None
        Strict mode's: seconds that a request may name.
    custom_sharding : bool
        Whether every write must name a shard key.
    status : str or None
        ``green``; ``yellow`` or ``grey`` while it is to be optimised, which changes no content;
        ``red`` where a write or the optimiser failed. None where nobody tells.
    optimizer_error : str or None
        What the optimiser failed with.
    queue_length : int or None
        Writes that are acknowledged and wait for being applied; those at work are not counted.
        None where nobody tells, as before Qdrant 1.17.
    """

    name: str
    vectors: Mapping[str, VectorSchema]
    points: int
    max_batch_points: int | None = None
    max_points: int | None = None
    write_rate_limit: int | None = None
    max_timeout: int | None = None
    custom_sharding: bool = False
    status: str | None = None
    optimizer_error: str | None = None
    queue_length: int | None = None


class StrictLimits(TypedDict, total=False):
    """The limits of strict mode, as `CollectionInfo` has them."""

    max_batch_points: int
    max_points: int
    write_rate_limit: int
    max_timeout: int


def strict_limits(strict: Mapping[str, Any]) -> StrictLimits:
    """Return the limits of strict mode that are in force, by the attributes of `CollectionInfo`.

    Parameters
    ----------
    strict : mapping
        ``strict_mode_config``, by the names of the REST API.

    Examples
    --------
    >>> strict_limits({"enabled": True, "upsert_max_batchsize": 7, "max_timeout": None})
    {'max_batch_points': 7}
    >>> strict_limits({"enabled": False, "upsert_max_batchsize": 7})
    {}
    """
    names = {
        "max_batch_points": "upsert_max_batchsize",
        "max_points": "max_points_count",
        "write_rate_limit": "write_rate_limit",
        "max_timeout": "max_timeout",
    }
    if strict.get("enabled") is not True:
        return {}
    found = {
        ours: strict[name] for ours, name in names.items() if isinstance(strict.get(name), int)
    }
    return cast(StrictLimits, found)


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of JSON's types: objects such as the official client's models as dicts."""
    return {name: _plain(value) for name, value in settings.items()}


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value


def check_collection_name(name: object, *, new: bool = False) -> None:
    """Raise InputError for what cannot be the name of a collection.

    Parameters
    ----------
    name : object
    new : bool
        Whether it is to be made: servers have collections whose names they would refuse by now.

    Examples
    --------
    >>> check_collection_name("a:b")
    >>> check_collection_name("a:b", new=True)
    Traceback (most recent call last):
        ...
    qframe.errors.InputError: collection='a:b': the name of a new collection has no ':' in it
    """
    if not isinstance(name, str):
        raise InputError(f"collection={name!r}: a name is a str, not {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise InputError(
            f"collection={name!r}: a name has 1 to {MAX_NAME_CHARACTERS} characters, "
            f"this one {len(name)}"
        )
    for character in name:
        if character in "/\0" or "\ud800" <= character <= "\udfff":
            raise InputError(f"collection={name!a}: a name has no {character!a} in it")
        if new and character in FORBIDDEN_IN_NAMES:
            raise InputError(
                f"collection={name!r}: the name of a new collection has no {character!r} in it"
            )
