"""The embedded engine's handles: one a folder and process, whatever happens to the process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from qframe.errors import (
    CollectionExists,
    CollectionNotFound,
    EngineError,
    InputError,
    InsufficientStorage,
    StoreLocked,
)
from qframe.points import VectorKind
from qframe.schema import CollectionSchema, VectorSchema
from qframe.transports import embedded, shard_files
from qframe.transports.embedded import create_shard, delete_shard, open_shard
from qframe.transports.filelock import FileLock, LockHeld
from qframe.transports.shard_files import ShardFiles, check_collection_name

REPOSITORY = Path(__file__).parents[1]
SCHEMA = CollectionSchema({"m": VectorSchema(VectorKind.MULTI, 2, "dot")})


def make(folder: Path, name: str = "docs") -> None:
    """Make a collection of multivectors: they are what the engine panics on."""
    multi = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    params = edge.EdgeVectorParams(2, edge.Distance.Dot, multivector_config=multi)
    create_shard(folder, name, SCHEMA, edge.EdgeConfig(vectors={"m": params}))


def points(first: int, last: int) -> list[Any]:
    """Build points with the ids `first` to `last`, half open."""
    return [edge.Point(n, {"m": [[1.0, float(n)]]}, {"n": n}) for n in range(first, last)]


def count(folder: Path, name: str = "docs") -> int:
    """Open, count and close."""
    with open_shard(folder, name) as shard:
        return shard.call("count", lambda handle: handle.count(edge.CountRequest()))


def python(program: str, folder: Path) -> subprocess.Popen[str]:
    """Start a process that has the helpers of this module, and `folder`."""
    preamble = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY)!r})
from qframe.errors import *
from tests.test_transport_embedded import *
folder = Path({str(folder)!r})
def say(*words): print(*words, flush=True)
"""
    return subprocess.Popen(
        [sys.executable, "-c", preamble + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with the empty collection "docs"."""
    make(tmp_path)
    yield tmp_path
    embedded._close_all()


@pytest.mark.parametrize(
    "name",
    [
        *(f"a{character}b" for character in '<>:"/\\|?*\0\x1f'),
        *("", "a" * 256, "é" * 200, "\ud800", ".", "..", "a.", "a ", " a"),
    ],
)
def test_name_refused(name: str) -> None:
    """A collection has no name that a server or a disk refuses."""
    with pytest.raises(InputError, match="collection="):
        check_collection_name(name)


@pytest.mark.parametrize("name", ["a", "a" * 255, "Größe 2.0", "_", "日本語", ".hidden", "-"])
def test_name_accepted(name: str, tmp_path: Path) -> None:
    """A collection of an unusual name is made, opened and deleted."""
    make(tmp_path, name)
    assert count(tmp_path, name) == 0
    delete_shard(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [":memory:", "http://localhost:6333"])
def test_folder_refused(folder: str) -> None:
    """What is no folder is not made into one."""
    with pytest.raises(InputError, match="no folder"):
        open_shard(folder, "docs")


def test_file_as_folder(tmp_path: Path) -> None:
    """A file is no store."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        open_shard(tmp_path / "file", "docs")


def test_missing_collection(tmp_path: Path) -> None:
    """Opening what is not there says so and makes nothing."""
    with pytest.raises(CollectionNotFound, match="'docs'"):
        open_shard(tmp_path / "new", "docs")
    assert not (tmp_path / "new").exists()


def test_create_twice(store: Path) -> None:
    """A collection is not made a second time, open or closed, and keeps its points."""
    with open_shard(store, "docs") as shard:
        shard.upsert(points(0, 5), size=0)
        with pytest.raises(CollectionExists):
            make(store)
    with pytest.raises(CollectionExists):
        make(store)
    assert count(store) == 5


def test_one_handle_for_every_spelling(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path, a symbolic link and another open one meet in one handle."""
    (store.parent / "link").symlink_to(store, target_is_directory=True)
    monkeypatch.chdir(store.parent)
    with (
        open_shard(store, "docs") as first,
        open_shard(store.name, "docs") as second,
        open_shard(store.parent / "link", "docs") as third,
    ):
        first.upsert(points(0, 3), size=0)
        assert first._core is second._core is third._core
        assert second.unflushed == third.unflushed == 3


def test_last_one_closes(store: Path) -> None:
    """The handle lives until its last user leaves, and leaving twice counts once."""
    first, second = open_shard(store, "docs"), open_shard(store, "docs")
    first.close()
    first.close()
    second.upsert(points(0, 3), size=0)
    with pytest.raises(EngineError, match="is closed"):
        first.upsert(points(3, 4), size=0)
    with pytest.raises(LockHeld):
        FileLock.acquire(second.files.lock)
    second.close()
    FileLock.acquire(second.files.lock).release()
    assert count(store) == 3


def test_threads_share(store: Path) -> None:
    """Threads that open, write and close at the same time lose nothing."""
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for turn in range(5):
                with open_shard(store, "docs") as shard:
                    first = (worker * 5 + turn) * 50
                    shard.upsert(points(first, first + 50), size=0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count(store) == 6 * 5 * 50


def test_another_process_is_refused(store: Path) -> None:
    """Only one process has a store, the other learns which; the refusal harms nobody."""
    with python("shard = open_shard(folder, 'docs'); say('open'); input()", store) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=f"process {other.pid}"):
            open_shard(store, "docs")
        with pytest.raises(StoreLocked):
            delete_shard(store, "docs")
        other.communicate("\n")
        assert other.returncode == 0
    with open_shard(store, "docs") as shard:
        shard.upsert(points(0, 10), size=0)
        program = """
try: open_shard(folder, 'docs')
except StoreLocked as error: say(error)
"""
        with python(program, store) as other:
            assert f"process {os.getpid()}" in other.communicate()[0]
        shard.upsert(points(10, 20), size=0)
    assert count(store) == 20


def test_lock_ends_with_its_process(store: Path) -> None:
    """A killed process keeps no lock."""
    with python("shard = open_shard(folder, 'docs'); say('open'); input()", store) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
    assert count(store) == 0


def test_exit_without_close(store: Path) -> None:
    """A process that forgets to close leaves a flushed collection behind."""
    program = "shard = open_shard(folder, 'docs'); shard.upsert(points(0, 30), size=0)"
    with python(program, store) as other:
        other.communicate()
        assert other.returncode == 0
    assert count(store) == 30


def test_kill_while_writing(store: Path) -> None:
    """After kill -9 in the middle of writing, every point that was acknowledged is there."""
    program = """
shard = open_shard(folder, 'docs')
for batch in range(100_000):
    shard.upsert(points(batch * 200, batch * 200 + 200), size=0)
    say(batch)
"""
    with python(program, store) as other:
        assert other.stdout is not None
        while int(other.stdout.readline()) < 20:
            pass
        os.kill(other.pid, signal.SIGKILL)
        rest = re.findall(r"(\d+)\n", other.stdout.read())
    acknowledged = (int(rest[-1]) + 1 if rest else 21) * 200
    with open_shard(store, "docs") as shard:
        found = shard.call(
            "retrieve", lambda handle: handle.retrieve(list(range(acknowledged)), True, True)
        )
        assert len(found) == acknowledged
        assert all(record.payload == {"n": record.id} for record in found)


def test_flush_now_and_then(store: Path) -> None:
    """The log is flushed at 50,000 points, and counting begins anew."""
    with open_shard(store, "docs") as shard:
        for first in range(0, 49_000, 7_000):
            shard.upsert(points(first, first + 7_000), size=0)
        assert shard.unflushed == 49_000
        shard.upsert(points(49_000, 60_000), size=0)
        assert shard.unflushed == 0
        shard.upsert(points(60_000, 60_001), size=0)
        assert shard.unflushed == 1
    assert count(store) == 60_001


def test_panic(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A panic becomes an error, ends the handle, and leaves a collection that can be opened."""
    shard = open_shard(store, "docs")
    shard.upsert(points(0, 10), size=0)
    ragged = edge.Point(99, {"m": [[1.0, 2.0], [3.0]]}, {})
    with pytest.raises(EngineError, match="panicked"):
        shard.upsert([ragged], size=0)
    with pytest.raises(EngineError, match="open the collection again"):
        shard.upsert(points(10, 20), size=0)
    with open_shard(store, "docs") as fresh:
        fresh.upsert(points(20, 30), size=0)
        shard.close()
        fresh.upsert(points(30, 40), size=0)
        ids = [record.id for record in fresh.call("scroll", lambda h: h.scroll(SCROLL))[0]]
    assert [n for n in ids if n != 99] == [*range(10), *range(20, 40)]
    assert count(store) == len(ids)
    capfd.readouterr()  # the engine prints the panic


SCROLL = edge.ScrollRequest(limit=1000)


def test_panic_does_not_stay_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without what follows a panic here, no later load would get past it."""
    make(tmp_path, "healed")
    make(tmp_path, "raw")
    ragged = edge.UpdateOperation.upsert_points([edge.Point(9, {"m": [[1.0, 2.0], [3.0]]}, {})])
    raw = edge.EdgeShard.load(str(tmp_path / "raw" / "shard"))
    with pytest.raises(BaseException, match="size mismatch"):
        raw.update(ragged)
    raw.flush()
    raw.close()
    with pytest.raises(EngineError, match="panicked"):
        open_shard(tmp_path, "raw")
    shard = open_shard(tmp_path, "healed")
    with pytest.raises(EngineError):
        shard.call("update", lambda handle: handle.update(ragged))
    with open_shard(tmp_path, "healed"):
        pass
    capfd.readouterr()


def test_engine_error(store: Path) -> None:
    """What the engine refuses is translated, and the handle lives on."""
    with open_shard(store, "docs") as shard:
        with pytest.raises(EngineError, match="expected dim: 2, got 1"):
            shard.upsert([edge.Point(1, {"m": [[1.0]]}, {})], size=0)
        shard.upsert(points(2, 3), size=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork(store: Path) -> None:
    """A forked child can neither use nor harm its parent's handle."""
    program = """
shard = open_shard(folder, 'docs')
shard.upsert(points(0, 10), size=0)
child = os.fork()
if not child:
    try: shard.upsert(points(50, 60), size=0)
    except EngineError as error: say('used', 'fork' in str(error))
    try: open_shard(folder, 'docs')
    except StoreLocked as error: say('opened', str(os.getppid()) in str(error))
    shard.close()
    del shard
    say('left')
    sys.exit()
os.waitpid(child, 0)
shard.upsert(points(10, 20), size=0)
shard.close()
say(count(folder))
"""
    with python(program, store) as other:
        assert other.communicate(timeout=20)[0].split("\n") == [
            "used True",
            "opened True",
            "left",
            "20",
            "",
        ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_surviving_child_keeps_no_lock(store: Path) -> None:
    """A child that outlives its parent does not keep the store locked."""
    program = """
shard = open_shard(folder, 'docs')
if not os.fork():
    say(os.getpid())
    time.sleep(30)
    os._exit(0)
time.sleep(0.2)
os.kill(os.getpid(), 9)
"""
    with python(program, store) as other:
        assert other.stdout is not None
        child = int(other.stdout.readline())
        try:
            other.wait(timeout=20)
            assert count(store) == 0
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_reopen_beside_a_child(store: Path) -> None:
    """A store can be closed and opened again while a child that was forked meanwhile lives."""
    program = """
shard = open_shard(folder, 'docs')
shard.upsert(points(0, 10), size=0)
child = os.fork()
if not child:
    time.sleep(30)
    os._exit(0)
time.sleep(0.2)
shard.upsert(points(10, 20), size=0)
shard.close()
say(count(folder))
os.kill(child, 9)
"""
    with python(program, store) as other:
        assert other.communicate()[0] == "20\n"


def test_engine_used_without_us(store: Path) -> None:
    """Somebody who opened the files with the engine alone is a holder, too."""
    program = "import qdrant_edge; s = qdrant_edge.EdgeShard.load(str(folder / 'docs' / 'shard'))"
    with python(f"{program}; say('open'); input()", store) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreLocked, match="without qframe"):
            open_shard(store, "docs")
        other.communicate("\n")


def test_removed_while_open(store: Path) -> None:
    """Writing into a folder that was removed by hand fails, instead of getting lost."""
    shard = open_shard(store, "docs")
    shutil.rmtree(store / "docs")
    with pytest.raises(EngineError, match="removed or replaced"):
        shard.upsert(points(0, 1), size=0)
    make(store)
    with open_shard(store, "docs") as fresh:
        fresh.upsert(points(0, 7), size=0)
        shard.close()
    assert count(store) == 7


def test_delete_while_open(store: Path) -> None:
    """Who still has a deleted collection learns that it is gone, and a new one is not touched."""
    shard = open_shard(store, "docs")
    shard.upsert(points(0, 5), size=0)
    delete_shard(store, "docs")
    assert not (store / "docs").exists()
    with pytest.raises(CollectionNotFound, match="deleted"):
        shard.upsert(points(5, 6), size=0)
    make(store)
    with open_shard(store, "docs") as fresh:
        fresh.upsert(points(0, 2), size=0)
        shard.close()
        fresh.upsert(points(2, 3), size=0)
    assert count(store) == 3


def test_delete_missing(tmp_path: Path) -> None:
    """Deleting what is not there is no error, and leaves the folders of others alone."""
    delete_shard(tmp_path, "docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis.tex").touch()
    delete_shard(tmp_path, "docs")
    assert (tmp_path / "docs" / "thesis.tex").exists()


def test_delete_spares_other_files(store: Path) -> None:
    """Deleting removes our own files only."""
    (store / "docs" / "notes.txt").write_text("mine")
    delete_shard(store, "docs")
    assert [path.name for path in (store / "docs").iterdir()] == ["notes.txt"]


def test_create_beside_other_files(tmp_path: Path) -> None:
    """A folder that holds something else does not become a collection."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis.tex").touch()
    with pytest.raises(InputError, match=re.escape("'thesis.tex'")):
        make(tmp_path)
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["thesis.tex"]


def test_crash_while_creating(tmp_path: Path) -> None:
    """What a crash leaves of a collection that was being made is no collection, and is replaced."""
    program = """
ShardFiles.write = lambda *args, **kwargs: os._exit(3)
make(folder)
"""
    with python(program, tmp_path) as other:
        other.communicate()
        assert other.returncode == 3
    assert (tmp_path / "docs" / "shard" / "edge_config.json").exists()
    assert ShardFiles.at(tmp_path, "docs").read() is None
    with pytest.raises(CollectionNotFound):
        open_shard(tmp_path, "docs")
    make(tmp_path)
    assert count(tmp_path) == 0


def test_delete_after_crash(tmp_path: Path) -> None:
    """What a crash left of a collection can be deleted, too."""
    make(tmp_path)
    (tmp_path / "docs" / "collection.json").unlink()
    delete_shard(tmp_path, "docs")
    assert not (tmp_path / "docs").exists()


def test_creating_fails(tmp_path: Path) -> None:
    """A collection that the engine refuses leaves nothing behind."""
    config = edge.EdgeConfig(vectors={"..": edge.EdgeVectorParams(2, edge.Distance.Dot)})
    with pytest.raises(EngineError, match="escape"):
        create_shard(tmp_path, "docs", SCHEMA, config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1, "name": "docs"}'])
def test_damaged_metadata(store: Path, content: str) -> None:
    """A damaged collection.json is an error that names the file, and can be deleted."""
    (store / "docs" / "collection.json").write_text(content)
    with pytest.raises(EngineError, match=r"collection\.json is damaged"):
        open_shard(store, "docs")
    delete_shard(store, "docs")
    make(store)


def test_newer_format(store: Path) -> None:
    """A collection of a newer qframe is left alone."""
    metadata = store / "docs" / "collection.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "format": 2}))
    with pytest.raises(EngineError, match="update qframe"):
        open_shard(store, "docs")


def test_renamed_folder(store: Path) -> None:
    """A folder that was renamed by hand is not taken for a collection of the new name."""
    (store / "docs").rename(store / "Docs")
    with pytest.raises(CollectionNotFound):
        open_shard(store, "Docs")
    with pytest.raises(InputError, match="another name"):
        make(store, "Docs")


def test_copied_without_lock(store: Path) -> None:
    """A collection that was copied without its lock file opens all the same."""
    with open_shard(store, "docs") as shard:
        shard.upsert(points(0, 4), size=0)
    (store / "docs" / "qframe.lock").unlink()
    assert count(store) == 4


def test_shard_lost(store: Path) -> None:
    """A collection whose engine files are gone is an error, and not locked afterwards."""
    shutil.rmtree(store / "docs" / "shard")
    with pytest.raises(EngineError, match="cannot be loaded"):
        open_shard(store, "docs")
    FileLock.acquire(store / "docs" / "qframe.lock").release()


def test_full_disk(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too little space nothing is written, since a full disk kills the process."""
    with open_shard(store, "docs") as shard:
        shard.upsert(points(0, 5), size=0)
        with pytest.raises(InsufficientStorage, match="are free"):
            shard.upsert(points(5, 6), size=1 << 60)
        monkeypatch.setattr(shard_files, "RESERVE", 1 << 60)
        with pytest.raises(InsufficientStorage, match="Make room"):
            shard.upsert(points(5, 6), size=0)
        with pytest.raises(InsufficientStorage):
            make(store, "more")
    assert count(store) == 5
    assert not (store / "more").exists()


def test_engine_not_installed(store: Path) -> None:
    """Without the engine the error says what to install."""
    program = """
sys.modules['qdrant_edge'] = None
try: open_shard(folder, 'docs')
except EngineError as error: say(error)
"""
    with python(program, store) as other:
        assert "pip install 'qdrant-edge-py" in other.communicate()[0]


def test_engine_imported_late() -> None:
    """Importing qframe's embedded modules does not load the engine."""
    program = (
        "import sys; import qframe.stores.embedded, qframe.uploaders.embedded; "
        "sys.exit('qdrant_edge' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY).returncode == 0
