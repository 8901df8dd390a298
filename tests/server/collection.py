"""One collection: what it accepts, the queue of what it accepted, and the thread behind it."""

from __future__ import annotations

import json
import queue
import shutil
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client.http import models

from . import definition as definitions
from .engine import (
    Shard,
    delete_operation,
    index_operation,
    payload_schema,
    upsert_operation,
)
from .limits import StrictMode
from .refusal import Kind, Refusal
from .upsert import Upsert, Writing

# storage.update_queue_size of 1.19: when it is full, a request blocks, whatever its timeout.
QUEUE_SIZE = 200
# Since 1.18 an absent timeout means a minute.
DEFAULT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    operation: edge.UpdateOperation
    done: Future[None]
    writing: Writing


class Collection:
    def __init__(
        self,
        directory: Path,
        name: str,
        definition: models.CreateCollection,
        *,
        shard_keys: list[Any] | None = None,
        created_at: str | None = None,
    ) -> None:
        self.name = name
        self._directory = directory
        self._definition = definition
        self._shard_keys = shard_keys or []
        self._created_at = created_at or datetime.now(UTC).isoformat()
        self._sizes = definitions.dense_sizes(definition)
        self._strict_mode = StrictMode(definition.strict_mode_config)
        self._shard = Shard(directory / "shard", definition)
        self._operations = count()
        self._queue: queue.Queue[Job | None] = queue.Queue(QUEUE_SIZE)
        self._submitting = threading.Lock()
        self._ending = threading.Event()
        self._deleted = False
        # None is green; empty is red for an operation, and otherwise for the optimiser.
        self._red: str | None = None
        self._worker = threading.Thread(target=self._work, name=f"apply {name}", daemon=True)
        self._save()
        self._worker.start()

    @classmethod
    def load(cls, directory: Path) -> Collection:
        saved = json.loads((directory / "collection.json").read_text())
        definition = models.CreateCollection.model_validate(saved.pop("definition"))
        return cls(directory, saved.pop("name"), definition, **saved)

    def _save(self) -> None:
        saved = {
            "name": self.name,
            "definition": self._definition.model_dump(mode="json", exclude_none=True),
            "shard_keys": self._shard_keys,
            "created_at": self._created_at,
        }
        fresh = self._directory / "collection.json.new"
        fresh.write_text(json.dumps(saved))
        fresh.replace(self._directory / "collection.json")

    def close(self) -> None:
        """Apply what is queued, without holding anything back any longer."""
        self._ending.set()
        self._queue.put(None)
        self._worker.join()
        self._shard.close()

    def delete(self) -> None:
        self._deleted = True
        self.close()
        (self._directory / "collection.json").unlink()
        shutil.rmtree(self._directory)

    # Writing

    def upsert(self, upsert: Upsert, writing: Writing) -> models.UpdateResult:
        self._strict_mode.check_batch(len(upsert.points), writing.timeout)
        self._check_dimensions(upsert)
        if not upsert.points:
            raise Refusal(Kind.BAD_REQUEST, "Empty update request")
        self._check_shard_key(upsert.shard_key)
        self._strict_mode.check_points_count(self._points_count)
        self._strict_mode.take_tokens(len(upsert.points))
        return self._submit(upsert_operation(upsert), writing)

    def delete_points(
        self, selector: models.PointsSelector, writing: Writing
    ) -> models.UpdateResult:
        self._strict_mode.check_timeout(writing.timeout)
        if isinstance(selector, models.PointIdsList) and not selector.points:
            raise Refusal(Kind.BAD_REQUEST, "Empty update request")
        self._check_shard_key(selector.shard_key)
        self._strict_mode.take_tokens(1)
        return self._submit(delete_operation(selector), writing)

    def create_index(
        self, request: models.CreateFieldIndex, writing: Writing
    ) -> models.UpdateResult:
        return self._submit(index_operation(request), writing)

    def create_shard_key(self, key: models.ShardKey) -> bool:
        if not definitions.is_custom_sharded(self._definition):
            text = "Shard Key cannot be created with Auto sharding method"
            raise Refusal(Kind.BAD_REQUEST, text)
        if key in self._shard_keys:
            raise Refusal(Kind.BAD_REQUEST, f"Shard key {_display(key)} already exists")
        self._shard_keys.append(key)
        self._save()
        return True

    def update(self, change: models.UpdateCollection) -> bool:
        self._definition = definitions.updated(self._definition, change)
        if change.strict_mode_config is not None:
            self._strict_mode = StrictMode(self._definition.strict_mode_config)
        self._save()
        return True

    def _check_dimensions(self, upsert: Upsert) -> None:
        """Names that are not there and kinds that do not fit are noticed when applied only."""
        for point in upsert.points:
            vector: Any = point.vector
            if isinstance(vector, dict):
                for name, value in vector.items():
                    self._check_dimension(name, value, f" for vector '{name}'")
            else:
                self._check_dimension("", vector, "")

    def _check_dimension(self, name: str, vector: Any, where: str) -> None:
        expected = self._sizes.get(name)
        if expected is None or not isinstance(vector, list):
            return
        for row in vector if isinstance(vector[0], list) else (vector,):
            if len(row) != expected:
                raise Refusal(
                    Kind.WRONG_INPUT,
                    f"Vector dimension error: expected dim: {expected}, got {len(row)}{where}",
                )

    def _check_shard_key(self, selector: Any) -> None:
        custom = definitions.is_custom_sharded(self._definition)
        if selector is None:
            if custom:
                raise Refusal(Kind.WRONG_INPUT, "Shard key not specified")
            return
        if isinstance(selector, models.ShardKeyWithFallback):
            known = selector.target in self._shard_keys
            selector = selector.target if known else selector.fallback
        for key in selector if isinstance(selector, list) else (selector,):
            if key not in self._shard_keys:
                raise Refusal(Kind.WRONG_INPUT, f"Shard key {_display(key)} not found")

    # The queue

    def _submit(self, operation: edge.UpdateOperation, writing: Writing) -> models.UpdateResult:
        job = Job(operation, Future(), writing)
        with self._submitting:
            if self._deleted:
                raise self._gone()
            number = next(self._operations)
            self._queue.put(job)
        status = models.UpdateStatus.ACKNOWLEDGED
        if writing.wait:
            timeout = DEFAULT_TIMEOUT if writing.timeout is None else writing.timeout
            try:
                job.done.result(timeout)
                status = models.UpdateStatus.COMPLETED
            except TimeoutError:
                status = models.UpdateStatus.WAIT_TIMEOUT
        return models.UpdateResult(operation_id=number, status=status)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._deleted:
                job.done.set_exception(self._gone())
                continue
            if job.writing.hold:
                self._ending.wait(job.writing.hold)
            try:
                self._apply(job)
            except Refusal as error:
                # Whoever waits is told; with wait=false nobody ever learns of it.
                job.done.set_exception(error)
            else:
                job.done.set_result(None)

    def _apply(self, job: Job) -> None:
        if job.writing.lose:
            raise Refusal(Kind.WRONG_INPUT, "Not existing vector name error: a fault on demand")
        if job.writing.red is not None:
            self._red = job.writing.red
            if not self._red:
                raise Refusal(Kind.SERVICE, "a fault on demand")
        self._shard.apply(job.operation)

    def _gone(self) -> Refusal:
        return Refusal(Kind.NOT_FOUND, f"Collection `{self.name}` doesn't exist!")

    # Reading

    def retrieve(self, request: models.PointRequest) -> list[models.Record]:
        return self._shard.retrieve(request)

    def scroll(self, request: models.ScrollRequest) -> models.ScrollResult:
        return self._shard.scroll(request)

    def count(self, request: models.CountRequest) -> models.CountResult:
        return models.CountResult(count=self._shard.count(request))

    def query(self, request: models.QueryRequest) -> models.QueryResponse:
        return models.QueryResponse(points=self._shard.query(request))

    def info(self) -> models.CollectionInfo:
        shard = self._shard.info()
        return models.CollectionInfo(
            status=(
                models.CollectionStatus.GREEN if self._red is None else models.CollectionStatus.RED
            ),
            optimizer_status=(
                models.OptimizersStatusOneOf1(error=self._red)
                if self._red
                else models.OptimizersStatusOneOf.OK
            ),
            indexed_vectors_count=shard.indexed_vectors_count,
            points_count=self._points_count(),
            segments_count=shard.segments_count,
            config=definitions.config(self._definition),
            payload_schema=payload_schema(shard),
            # The one that is being applied is not counted, as in the real server.
            update_queue=models.UpdateQueueInfo(length=self._queue.qsize()),
            created_at=datetime.fromisoformat(self._created_at),
        )

    def _points_count(self) -> int:
        return self._shard.count(models.CountRequest())


def _display(key: models.ShardKey) -> str:
    return str(key) if isinstance(key, int) else f'"{key}"'
