"""Where an embedded collection lies on disk, and what is known of it without the engine.

::

    <folder>/<collection>/
        qframe.lock        held while the shard is open; names the holder
        collection.json    written last, removed first: without it there is no collection
        shard/             the engine's own files
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qframe.errors import EngineError, InputError, InsufficientStorage
from qframe.points import VectorKind
from qframe.schema import (
    FORBIDDEN_IN_NAMES,
    MAX_NAME_CHARACTERS,
    CollectionSchema,
    VectorSchema,
)

FORMAT = 1
"""Version of ``collection.json``."""

RESERVE = 64 * 1024 * 1024
"""Bytes that stay free beyond four times the vectors of a write: for the log, the storage, what a
flush writes, and the payload, which is not counted (batches are cut at 16 MiB). On file systems of
130, 160 and 300 MiB, filled up to this, flush, close and load still passed."""

_LOCK, _METADATA, _SHARD = "qframe.lock", "collection.json", "shard"
_UNFINISHED = _METADATA + ".new"
_OURS = frozenset({_LOCK, _METADATA, _SHARD, _UNFINISHED})

# The server's rules for collection names; they happen to be what folders need.
_FORBIDDEN = FORBIDDEN_IN_NAMES
_MAX_CHARACTERS = MAX_NAME_CHARACTERS
_MAX_BYTES = 255  # of a file name, on every usual file system
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
)


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """The files of one collection; made by `at`.

    Attributes
    ----------
    path : Path
        ``<folder>/<collection>``, absolute.
    collection : str
    """

    path: Path
    collection: str

    @classmethod
    def at(cls, folder: str | os.PathLike[str], collection: str) -> ShardFiles:
        """Place a collection in a folder; nothing is touched.

        Raises
        ------
        InputError
            For a collection name or a folder that cannot be.
        """
        check_collection_name(collection)
        text = os.fspath(folder)
        if text == ":memory:" or "://" in text:
            raise InputError(
                f"{text!r} is no folder; qframe.connect({text!r}) knows what to make of it"
            )
        path = Path(text).expanduser().absolute()
        with translated(f"{path} cannot be read"):
            if path.exists() and not path.is_dir():
                raise InputError(f"{path} is a file: an embedded store is a folder")
        return cls(path / collection, collection)

    @property
    def lock(self) -> Path:
        """The file that whoever opens the shard holds."""
        return self.path / _LOCK

    @property
    def shard(self) -> Path:
        """The engine's folder."""
        return self.path / _SHARD

    def read(self) -> CollectionSchema | None:
        """Read what the collection was made from; None when there is no such collection.

        Raises
        ------
        EngineError
            Where the file cannot be read, is damaged, or was written by a newer qframe.
        """
        metadata = self.path / _METADATA
        with translated(f"{metadata} cannot be read"):
            try:
                text = metadata.read_text(encoding="utf-8")
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            content = json.loads(text)
            if content["format"] > FORMAT:
                raise EngineError(
                    f"{metadata} was written by a newer qframe (format {content['format']}, "
                    f"this one reads {FORMAT}): update qframe"
                )
            if content["name"] != self.collection:
                # Where "Docs" and "docs" are one folder; also after a folder was renamed by hand.
                return None
            vectors = {
                name: VectorSchema(
                    VectorKind(vector["kind"]),
                    vector["size"],
                    vector["distance"],
                    vector["settings"],
                )
                for name, vector in content["vectors"].items()
            }
            return CollectionSchema(vectors, content["settings"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{metadata} is damaged ({error}): restore it from a copy, or delete the folder "
                f"{self.path} and upload again"
            ) from error

    def present(self) -> bool:
        """Whether there is a collection, or a damaged one, or what a crash left of one."""
        try:
            if self.read() is not None:
                return True
        except EngineError:
            return True
        return self.lock.exists() and not (self.path / _METADATA).exists()

    def write(self, schema: CollectionSchema, *, engine: str) -> None:
        """Write what the collection was made from: the last step of making it."""
        content = _metadata(self.collection, schema, engine)
        unfinished = self.path / _UNFINISHED
        with translated(f"{unfinished} cannot be written"):
            with open(unfinished, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self.path / _METADATA)

    def check_writable(self, schema: CollectionSchema) -> None:
        """See that the schema is of JSON's types, before anything is made."""
        _metadata(self.collection, schema, "")

    def check_free(self, schema: CollectionSchema) -> None:
        """See that a collection of this schema can be made here, and make nothing."""
        self.check_writable(schema)
        if self.path.exists():
            self.check_ours()

    def check_ours(self) -> None:
        """See that the folder holds nothing but our own files.

        Raises
        ------
        InputError
            Where it does: somebody keeps other things there.
        """
        with translated(f"{self.path} cannot be read"):
            others = sorted({entry.name for entry in os.scandir(self.path)} - _OURS)
        if others:
            raise InputError(
                f"{self.path} holds {', '.join(map(repr, others[:3]))}, which no embedded "
                "collection does: use another folder or another name for the collection"
            )
        if (self.path / _METADATA).exists() and self.read() is None:
            raise InputError(
                f"{self.path} is the folder of a collection of another name (see its {_METADATA}); "
                f"{self.collection!r} cannot lie there too"
            )

    def check_space(self, size: int = 0) -> None:
        """See that the disk has room to write `size` bytes of vectors, and `RESERVE` beyond.

        Raises
        ------
        InsufficientStorage
            On a full disk the process would die of SIGBUS, since the engine maps its files into
            memory.
        """
        needed = RESERVE + 4 * size
        with translated(f"the free space of {self.path} is unknown"):
            free = shutil.disk_usage(self.path).free
        if free < needed:
            raise InsufficientStorage(
                f"{free >> 20} MiB are free for {self.path}, and a write needs {needed >> 20}: on "
                "a full disk the engine would take the whole process down. Make room, or use "
                "another folder"
            )

    def remove_shard(self) -> None:
        """Remove everything but the lock, in an order that may break off anywhere."""
        with translated(f"{self.path} cannot be removed"):
            (self.path / _METADATA).unlink(missing_ok=True)
            (self.path / _UNFINISHED).unlink(missing_ok=True)
            if self.shard.exists():
                shutil.rmtree(self.shard)

    def remove_folder(self) -> None:
        """Remove the folder if nothing is left in it."""
        try:
            self.path.rmdir()
        except OSError:
            return  # somebody else's files, or a new collection already: theirs to remove


def check_collection_name(name: str) -> None:
    """See that a collection can have this name.

    Raises
    ------
    InputError
        By the server's rules, and where the name cannot be that of a folder.

    Examples
    --------
    >>> check_collection_name("a/b")
    Traceback (most recent call last):
        ...
    qframe.errors.InputError: collection='a/b': a name has no '/' in it
    """
    if not isinstance(name, str):
        raise InputError(f"collection={name!r}: a name is a str, not {type(name).__name__}")
    where = f"collection={name!r}"
    if not 1 <= len(name) <= _MAX_CHARACTERS:
        raise InputError(
            f"{where}: a name has 1 to {_MAX_CHARACTERS} characters, this one {len(name)}"
        )
    for character in name:
        if character in _FORBIDDEN:
            raise InputError(f"{where}: a name has no {character!r} in it")
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: not valid Unicode") from error
    if len(encoded) > _MAX_BYTES:
        raise InputError(
            f"{where}: {len(encoded)} bytes in UTF-8, and the name of a folder has "
            f"{_MAX_BYTES} at the most"
        )
    if name[-1] in ". " or name[0] == " ":
        raise InputError(f"{where}: a folder's name does not begin or end with ' ' or end with '.'")
    if os.name == "nt" and name.partition(".")[0].lower() in _DEVICES:
        raise InputError(f"{where}: Windows keeps this name for a device")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate what the file system raises."""
    try:
        yield
    except OSError as error:
        message = f"{doing}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise InsufficientStorage(message) from error
        raise EngineError(message) from error


def _metadata(collection: str, schema: CollectionSchema, engine: str) -> str:
    content: Mapping[str, Any] = {
        "format": FORMAT,
        "name": collection,
        "engine": engine,
        "vectors": {
            name: {
                "kind": vector.kind.value,
                "size": vector.size,
                "distance": vector.distance,
                "settings": dict(vector.settings),
            }
            for name, vector in schema.vectors.items()
        },
        "settings": dict(schema.settings),
    }
    try:
        return json.dumps(content, indent=1)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the settings of {collection!r} are not of JSON's types: {error}"
        ) from error
