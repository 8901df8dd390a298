"""All collections of one server, each in a directory of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from uuid import uuid4

from qdrant_client.http import models

from .collection import Collection
from .refusal import Kind, Refusal
from .validation import check_collection_name, check_definition


class Store:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        # A directory without the file was being created or deleted when the server was killed.
        found = [Collection.load(file.parent) for file in directory.glob("*/collection.json")]
        self._collections = {collection.name: collection for collection in found}

    def __getitem__(self, name: str) -> Collection:
        check_collection_name(name)
        try:
            return self._collections[name]
        except KeyError:
            raise Refusal(Kind.NOT_FOUND, f"Collection `{name}` doesn't exist!") from None

    def names(self) -> list[str]:
        return sorted(self._collections)

    def exists(self, name: str) -> bool:
        check_collection_name(name)
        return name in self._collections

    def create(self, name: str, definition: models.CreateCollection) -> bool:
        check_collection_name(name, creating=True)
        check_definition(definition)
        with self._lock:
            if name in self._collections:
                raise Refusal(Kind.ALREADY_EXISTS, f"Collection `{name}` already exists!")
            # Names may hold what a file system refuses.
            directory = self._directory / uuid4().hex
            directory.mkdir()
            self._collections[name] = Collection(directory, name, definition)
        return True

    def delete(self, name: str) -> bool:
        check_collection_name(name)
        with self._lock:
            collection = self._collections.pop(name, None)
        if collection is None:
            return False
        collection.delete()
        return True

    def clear(self) -> None:
        for name in self.names():
            self.delete(name)

    def close(self) -> None:
        for collection in self._collections.values():
            collection.close()
