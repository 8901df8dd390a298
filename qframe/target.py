"""The collection an upload goes to: what it must be like, and making it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from qframe.arguments import whole_number
from qframe.batches import BATCH_SIZE, MAX_BATCH_BYTES, Limits
from qframe.connection import Connection
from qframe.errors import (
    CollectionExists,
    InputError,
    QframeError,
    Refuse,
    SchemaMismatch,
    raise_at_once,
)
from qframe.points import VectorColumn, VectorKind
from qframe.schema import (
    DISTANCES,
    SETTINGS,
    CollectionInfo,
    CollectionSchema,
    VectorSchema,
    check_collection_name,
    plain_settings,
    strict_limits,
)
from qframe.stores.base import Store
from qframe.write import WriteOptions

UPDATE_FILTER_SINCE = (1, 16, 0)
UPDATE_MODE_SINCE = (1, 17, 0)
"""Older servers do not know these fields; they would overwrite the points without a word."""


class Target:
    """One collection of one store, as an upload wants it.

    Parameters
    ----------
    store : Store
    connection : Connection
    collection : str
    if_exists : {"append", "fail", "replace"}
    distance : str or mapping of str to str
    config : mapping or None
        ``collection_config`` of the call.
    refuse : callable
        Is given what the collection is not as the call needs it for, and may raise it.

    Attributes
    ----------
    info : CollectionInfo or None
        The collection that the points are added to; None while it has yet to be made.
    created : bool
        Whether it was made by this upload.
    before : int
        Points that the collection held when it was found.
    replaced : CollectionInfo or None
        The collection that is to be deleted first.

    Raises
    ------
    CollectionExists
        With ``if_exists="fail"``.
    """

    def __init__(
        self,
        store: Store,
        connection: Connection,
        collection: str,
        if_exists: Literal["append", "fail", "replace"],
        distance: str | Mapping[str, str],
        config: Mapping[str, Any] | None,
        refuse: Refuse = raise_at_once,
    ) -> None:
        if if_exists not in ("append", "fail", "replace"):
            raise InputError(
                f"if_exists={if_exists!r}: 'append' adds to the collection, 'fail' refuses, "
                "'replace' deletes it and makes it anew"
            )
        self._refuse = refuse
        self._store = store
        self._connection = connection
        self._collection = collection
        self._distance = distance
        self._config = plain_settings(config or {})
        self._is_shared = if_exists == "append"
        self._distances()
        self._check_settings()
        check_collection_name(collection)
        found = store.describe(collection)
        if found is not None and if_exists == "fail":
            self._refuse(
                CollectionExists(
                    f"collection {collection!r} at {connection.target} exists, with "
                    f'{found.points:,} points; if_exists="append" adds to it, "replace" deletes it '
                    "first"
                )
            )
        self.replaced = found if if_exists == "replace" else None
        self.info = None if self.replaced else found
        if self.info is None:
            check_collection_name(collection, new=True)
        else:
            self._check_distances(self.info)
        self.created = False
        self.before = 0 if self.info is None else self.info.points
        self._write: WriteOptions | None = None
        self._limits: Limits | None = None
        self._points = (0, False)

    def check_options(self, write: WriteOptions) -> None:
        """Raise when the collection or the server's version does not fit how to write."""
        self._write = write
        self._check_sharding(write)
        longest = self.rules.max_timeout
        named = write.server_timeout
        if longest is not None and named is not None and named > longest:
            self._refuse(
                SchemaMismatch(
                    f"timeout={write.timeout:g}: strict mode of collection {self._collection!r} "
                    f"lets a request name {longest} s at the most (max_timeout): "
                    f"qframe.connect(…, timeout={longest}), or wait=False, which names none"
                )
            )
        for name, value, since in (
            ("update_filter", write.update_filter, UPDATE_FILTER_SINCE),
            ("update_mode", write.update_mode, UPDATE_MODE_SINCE),
        ):
            version = None if value is None else self._store.version()
            if version is not None and version < since:
                self._refuse(
                    SchemaMismatch(
                        f"{name} needs Qdrant {'.'.join(map(str, since))}, and "
                        f"{self._connection.target} is {'.'.join(map(str, version))}, which would "
                        "overwrite the points without a word"
                    )
                )

    def limits(self, batch_size: int | None, max_batch_bytes: int | None) -> Limits:
        """Return the limits of a batch: the caller's, within the collection's."""
        if batch_size is not None:
            batch_size = whole_number("batch_size", batch_size, least=1)
        if max_batch_bytes is not None:
            max_batch_bytes = whole_number("max_batch_bytes", max_batch_bytes, least=1)
        if batch_size is not None:
            self._check_batch_size(batch_size)
        rules = self.rules
        most = min(
            BATCH_SIZE, rules.max_batch_points or BATCH_SIZE, rules.write_rate_limit or BATCH_SIZE
        )
        self._limits = Limits(batch_size or most, max_batch_bytes or MAX_BATCH_BYTES)
        return self._limits

    def check_points(self, points: int, *, bare_ids: bool) -> None:
        """Raise when these points would overwrite others unasked, or are too many."""
        self._points = (points, bare_ids)
        info = self.rules
        if bare_ids and points and info.points:
            self._refuse(
                InputError(
                    f"ids: the frame's index just counts its rows, and collection {info.name!r} "
                    f"holds {info.points:,} points already, which these ids would overwrite. "
                    'Name ids that mean something: ids="column", or '
                    'ids=qframe.uuid5("key column"); '
                    'make the collection anew: if_exists="replace"; '
                    "or say that row numbers are the ids: ids=df.index. To go on with an upload "
                    "that ended early: resume=report"
                )
            )
        if info.max_points is not None and points > info.max_points:
            self._refuse(
                SchemaMismatch(
                    f"{points:,} points: strict mode of collection {info.name!r} takes "
                    f"{info.max_points:,} in all"
                )
            )

    def prepare(self, vectors: Mapping[str, VectorColumn]) -> CollectionInfo:
        """Make the collection if there is none, or if it is to be replaced.

        A new one takes the old one's place only when the server has accepted its settings under
        another name: a setting that it refuses costs no data. One that another upload has made
        meanwhile is as good as one that was there, where it is to be added to.
        """
        if self.info is None:
            schema = self.schema(vectors)
            try:
                if self.replaced is None:
                    self._store.create(self._collection, schema)
                else:
                    self._replace(self.replaced, schema)
            except CollectionExists:
                if not self._is_shared:
                    raise
                return self._join(vectors)
            self.created = True
            self.info = CollectionInfo(self._collection, schema.vectors, points=0)
        return self.info

    def _replace(self, old: CollectionInfo, schema: CollectionSchema) -> None:
        trial = f"qframe-trial-{uuid.uuid4().hex[:12]}"
        try:
            self._store.create(trial, schema)
        except BaseException:
            with contextlib.suppress(QframeError):
                self._store.delete(trial)
            raise
        self._store.delete(trial)
        self._store.delete(self._collection)
        try:
            self._store.create(self._collection, schema)
        except QframeError as error:
            raise type(error)(
                f"collection {self._collection!r} was deleted with its {old.points:,} points, and "
                f"the new one could not be made: {error}. Run the same upload again when that has "
                "passed; what else was in the old collection has to come from its source or a "
                "snapshot"
            ) from error

    def _join(self, vectors: Mapping[str, VectorColumn]) -> CollectionInfo:
        """Go on with a collection that another upload was faster to make."""
        self.info = info = self._store.describe(self._collection)
        if info is None:
            raise CollectionExists(
                f"collection {self._collection!r} at {self._connection.target} is being made and "
                "deleted by others at this moment"
            )
        self._check_distances(info)
        for name, column in vectors.items():
            schema = info.vectors.get(name)
            if schema is None or (schema.kind, schema.size) != (column.kind, column.size):
                known = ", ".join(
                    f"{known!r} ({one.kind}{f', size {one.size}' if one.size else ''})"
                    for known, one in info.vectors.items()
                )
                raise SchemaMismatch(
                    f"collection {info.name!r} was made by somebody else meanwhile, with "
                    f"{known or 'no vectors'}, and {name!r} is {column.kind}"
                    + (f", size {column.size}" if column.size else "")
                )
        if self._write is not None:
            self.check_options(self._write)
        if self._limits is not None:
            self._check_batch_size(self._limits.points)
        points, bare_ids = self._points
        if bare_ids and points:
            raise InputError(
                f"ids: the frame's index just counts its rows, and another upload is filling "
                f"collection {info.name!r} at this moment; name ids that mean something: "
                'ids="column", or ids=qframe.uuid5("key column")'
            )
        self.check_points(points, bare_ids=bare_ids)
        return info

    @property
    def rules(self) -> CollectionInfo:
        """What holds for the collection; before it is made, by its settings."""
        if self.info is not None:
            return self.info
        strict = self._config.get("strict_mode_config")
        sharding = self._config.get("sharding_method")
        return CollectionInfo(
            self._collection,
            {},
            points=0,
            **strict_limits(strict if isinstance(strict, Mapping) else {}),
            custom_sharding=isinstance(sharding, str) and sharding.lower() == "custom",
        )

    def _check_sharding(self, write: WriteOptions) -> None:
        rules = self.rules
        if self.info is None and rules.custom_sharding:
            self._refuse(
                SchemaMismatch(
                    f"collection {self._collection!r} is to have custom sharding, and a new one "
                    "has no shard keys yet: make the collection and its shard keys with Qdrant's "
                    "own API, then upload with shard_key=…"
                )
            )
        elif rules.custom_sharding and write.shard_key is None:
            self._refuse(
                SchemaMismatch(
                    f"collection {rules.name!r} has custom sharding: name the shard that takes "
                    "the points, shard_key=…"
                )
            )
        elif not rules.custom_sharding and write.shard_key is not None:
            self._refuse(
                SchemaMismatch(
                    f"collection {rules.name!r} has no custom sharding: leave shard_key out"
                )
            )

    def _check_batch_size(self, points: int) -> None:
        rules = self.rules
        for most, per, name in (
            (rules.max_batch_points, "in a request", "upsert_max_batchsize"),
            (rules.write_rate_limit, "a minute, and so in a request", "write_rate_limit"),
        ):
            if most and points > most:
                self._refuse(
                    SchemaMismatch(
                        f"batch_size={points}: strict mode of collection {rules.name!r} takes "
                        f"{most} points {per} at the most ({name})"
                    )
                )

    def schema(self, vectors: Mapping[str, VectorColumn]) -> CollectionSchema:
        """Build a new collection's schema from what the vectors are."""
        distances = self._distances()
        named = {**self._config.get("vectors", {}), **self._config.get("sparse_vectors", {})}
        for origin, names in (("distance", distances), ("collection_config", named)):
            for name in names:
                if name not in vectors and not (origin == "distance" and name is None):
                    raise InputError(
                        f"{origin} speaks of the vector {name!r}, and the frame gives "
                        f"{', '.join(map(repr, vectors)) or 'none'}"
                    )
        schemas: dict[str, VectorSchema] = {}
        for name, column in vectors.items():
            settings = dict(named.get(name, {}))
            if column.kind is VectorKind.SPARSE:
                schemas[name] = VectorSchema(column.kind, settings=settings)
                continue
            if column.size is None:
                self._refuse(
                    InputError(
                        f"no row has a vector {name!r}, so the size of a new collection's is "
                        "unknown"
                    )
                )
            for setting, value in (("size", column.size), ("distance", None)):
                if setting in settings and settings[setting] != value:
                    raise InputError(
                        f"collection_config: {setting} of the vector {name!r} comes from "
                        + ("the vectors" if setting == "size" else "distance=…")
                    )
                settings.pop(setting, None)
            distance = distances.get(name) or distances.get(None) or "cosine"
            schemas[name] = VectorSchema(column.kind, column.size, distance, settings)
        rest = {k: v for k, v in self._config.items() if k not in ("vectors", "sparse_vectors")}
        return CollectionSchema(schemas, rest)

    def _check_distances(self, info: CollectionInfo) -> None:
        """Raise when the call asks for another distance than the collection has.

        "cosine" alone is what callers have who said nothing, so it fits every collection.
        """
        for name, distance in self._distances().items():
            if name is None and distance == "cosine":
                continue
            for known, schema in info.vectors.items():
                if name in (None, known) and schema.distance not in (None, distance):
                    self._refuse(
                        SchemaMismatch(
                            f"distance={distance!r}: collection {info.name!r} compares "
                            f"{f'the vector {known!r}' if known else 'its vectors'} by "
                            f"{schema.distance}, for good; leave distance out, or "
                            'if_exists="replace" makes the collection anew'
                        )
                    )

    def _check_settings(self) -> None:
        known = ["vectors", "sparse_vectors", *SETTINGS]
        for name in self._config:
            if name not in known:
                import difflib

                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise InputError(
                    f"collection_config: no setting {name!r}{hint} (known: {', '.join(known)})"
                )

    def _distances(self) -> dict[str | None, str]:
        """Return distances by vector name; None is all others."""
        given = self._distance if isinstance(self._distance, Mapping) else {None: self._distance}
        distances: dict[str | None, str] = {}
        for name, distance in given.items():
            lower = distance.lower() if isinstance(distance, str) else distance
            if lower not in DISTANCES:
                raise InputError(f"distance={distance!r}: one of {', '.join(map(repr, DISTANCES))}")
            distances[name] = lower
        return distances
