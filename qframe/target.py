"""The collection an upload goes to: what it must be like, and making it."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from qframe.arguments import whole_number
from qframe.batches import BATCH_SIZE, MAX_BATCH_BYTES, Limits
from qframe.connection import Connection
from qframe.errors import CollectionExists, InputError, SchemaMismatch
from qframe.points import VectorColumn, VectorKind
from qframe.schema import DISTANCES, SETTINGS, CollectionInfo, CollectionSchema, VectorSchema
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

    Attributes
    ----------
    info : CollectionInfo or None
        The collection that the points are added to; None while it has yet to be made.
    created : bool
        Whether it was made by this upload.

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
    ) -> None:
        if if_exists not in ("append", "fail", "replace"):
            raise InputError(
                f"if_exists={if_exists!r}: 'append' adds to the collection, 'fail' refuses, "
                "'replace' deletes it and makes it anew"
            )
        self._store = store
        self._connection = connection
        self._collection = collection
        self._distance = distance
        self._config = dict(config or {})
        self._distances()
        self._check_settings()
        found = store.describe(collection)
        if found is not None and if_exists == "fail":
            raise CollectionExists(
                f"collection {collection!r} at {connection.target} exists, with {found.points:,} "
                'points; if_exists="append" adds to it, "replace" deletes it first'
            )
        self._replaces = found is not None and if_exists == "replace"
        self.info = None if self._replaces else found
        if self.info is not None:
            self._check_distances(self.info)
        self.created = False

    def check_options(self, write: WriteOptions) -> None:
        """Raise when the collection or the server's version does not fit how to write."""
        if self.info is not None:
            if self.info.custom_sharding and write.shard_key is None:
                raise SchemaMismatch(
                    f"collection {self.info.name!r} has custom sharding: name the shard that takes "
                    "the points, shard_key=…"
                )
            if not self.info.custom_sharding and write.shard_key is not None:
                raise SchemaMismatch(
                    f"collection {self.info.name!r} has no custom sharding: leave shard_key out"
                )
        for name, value, since in (
            ("update_filter", write.update_filter, UPDATE_FILTER_SINCE),
            ("update_mode", write.update_mode, UPDATE_MODE_SINCE),
        ):
            version = None if value is None else self._store.version()
            if version is not None and version < since:
                raise SchemaMismatch(
                    f"{name} needs Qdrant {'.'.join(map(str, since))}, and "
                    f"{self._connection.target} is {'.'.join(map(str, version))}, which would "
                    "overwrite the points without a word"
                )

    def limits(self, batch_size: int | None, max_batch_bytes: int | None) -> Limits:
        """Return the limits of a batch: the caller's, within the collection's."""
        if batch_size is not None:
            batch_size = whole_number("batch_size", batch_size, least=1)
        if max_batch_bytes is not None:
            max_batch_bytes = whole_number("max_batch_bytes", max_batch_bytes, least=1)
        most = None if self.info is None else self.info.max_batch_points
        if most is not None and batch_size is not None and batch_size > most:
            raise SchemaMismatch(
                f"batch_size={batch_size}: strict mode of collection {self._collection!r} takes "
                f"{most} points in a request at the most"
            )
        points = batch_size or min(BATCH_SIZE, most or BATCH_SIZE)
        return Limits(points, max_batch_bytes or MAX_BATCH_BYTES)

    def check_points(self, points: int, *, bare_ids: bool) -> None:
        """Raise when these points would overwrite others unasked, or are too many."""
        info = self.info
        if info is None:
            return
        if bare_ids and points and info.points:
            raise InputError(
                f"ids: the frame's index just counts its rows, and collection {info.name!r} holds "
                f"{info.points:,} points already, which these ids would overwrite. "
                'Name ids that mean something: ids="column", or ids=qframe.uuid5("key column"); '
                'make the collection anew: if_exists="replace"; '
                "or say that row numbers are the ids: ids=df.index"
            )
        if info.max_points is not None and points > info.max_points:
            raise SchemaMismatch(
                f"{points:,} points: strict mode of collection {info.name!r} takes "
                f"{info.max_points:,} in all"
            )

    def prepare(self, vectors: Mapping[str, VectorColumn]) -> CollectionInfo:
        """Make the collection if there is none, or if it is to be replaced.

        A new one takes the old one's place only when the server has accepted its settings under
        another name: a setting that it refuses costs no data.
        """
        if self.info is None:
            schema = self._schema(vectors)
            if self._replaces:
                trial = f"{self._collection[:200]}.qframe-{uuid.uuid4().hex[:12]}"
                try:
                    self._store.create(trial, schema)
                finally:
                    self._store.delete(trial)
                self._store.delete(self._collection)
            self._store.create(self._collection, schema)
            self.created = True
            self.info = CollectionInfo(self._collection, schema.vectors, points=0)
        return self.info

    def _schema(self, vectors: Mapping[str, VectorColumn]) -> CollectionSchema:
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
                raise InputError(
                    f"no row has a vector {name!r}, so the size of a new collection's is unknown"
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
                    raise SchemaMismatch(
                        f"distance={distance!r}: collection {info.name!r} compares "
                        f"{f'the vector {known!r}' if known else 'its vectors'} by "
                        f'{schema.distance}, for good; leave distance out, or if_exists="replace" '
                        "makes the collection anew"
                    )

    def _check_settings(self) -> None:
        known = ["vectors", "sparse_vectors", *SETTINGS]
        for name in self._config:
            if name not in known:
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
