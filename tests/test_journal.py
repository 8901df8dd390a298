from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qframe.errors import JournalError, ResumeMismatch
from qframe.fingerprint import Fingerprint, fingerprint
from qframe.journal import Journal, is_prepared
from qframe.points import Ids, PointColumns
from qframe.ranges import Range, gaps
from qframe.report import BatchResult, Status

ROOT = Path(__file__).parents[1]
ROWS = 1_000_000
PRINT = Fingerprint(ROWS, ROWS, 1000, {"shard_key": "a"}, {"ids": "0badcafe"})
A, K = Status.APPLIED, Status.ACKNOWLEDGED

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals of POSIX")


def _open(path: Path, was: Fingerprint = PRINT, **changes: Any) -> Journal:
    return Journal.open(path, was, **{"collection": "movies", "target": "http://host", **changes})


def _result(start: int, stop: int, status: Status = K, points: int | None = None) -> BatchResult:
    return BatchResult(0, start, stop, stop - start if points is None else points, status)


def _done(path: Path) -> list[Range]:
    with _open(path) as journal:
        return journal.done


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may stand."""
    return tmp_path / "movies.qframe"


def test_what_was_recorded_is_there_when_it_is_opened_again(path: Path) -> None:
    """Neighbours of one status are one range, whatever order they came in."""
    with _open(path) as journal:
        assert journal.done == []
        for result in (_result(10, 20), _result(0, 10), _result(30, 40, A), _result(20, 30, K, 7)):
            journal.record(result)
        expected = [Range(0, 30, K), Range(30, 40, A)]
        assert journal.done == expected
    assert _done(path) == expected


def test_only_what_arrived_is_recorded(path: Path) -> None:
    """Batches that failed, were not sent, or whose fate is unknown, are not in the journal."""
    with _open(path) as journal:
        size = path.stat().st_size
        for status in (Status.FAILED, Status.UNKNOWN, Status.UNSENT):
            journal.record(_result(0, 10, status))
        assert path.stat().st_size == size


def test_settled_makes_applied_of_what_was_acknowledged(path: Path) -> None:
    """After the barrier all before it is applied, and what comes later is not."""
    with _open(path) as journal:
        journal.record(_result(0, 10))
        journal.settled()
        journal.record(_result(10, 20))
        expected = [Range(0, 10, A), Range(10, 20, K)]
        assert journal.done == expected
    assert _done(path) == expected


def test_a_second_call_of_a_finished_upload_has_nothing_to_do(path: Path) -> None:
    """The file stays when all is done, and says so."""
    with _open(path) as journal:
        journal.record(_result(0, ROWS, A))
    assert gaps(_done(path), ROWS) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 39), st.integers(1, 15), st.sampled_from([A, K])), max_size=12
    ),
    st.integers(0, 12),
)
def test_ranges_may_overlap(tmp_path_factory: Any, sent: Any, settled: int) -> None:
    """Merged ranges are sorted and disjoint, cover what was sent, and applied wins."""
    path = tmp_path_factory.mktemp("journal") / "j"
    was = dataclasses.replace(PRINT, rows=60)
    state: dict[int, Status] = {}
    with _open(path, was) as journal:
        for number, (start, length, status) in enumerate(sent):
            if number == settled:
                journal.settled()
                state = dict.fromkeys(state, A)
            journal.record(_result(start, start + length, status))
            for row in range(start, start + length):
                state[row] = A if A in (status, state.get(row)) else K
        live = journal.done
    with _open(path, was) as journal:
        done = journal.done
    assert done == live
    assert {row: one.status for one in done for row in range(one.start, one.stop)} == state
    for one, following in itertools.pairwise(done):
        assert one.stop < following.start or (
            one.stop == following.start and one.status != following.status
        )
    missing = [row for start, stop in gaps(done, 60) for row in range(start, stop)]
    assert missing == sorted(set(range(60)) - state.keys())


def test_a_batch_that_was_sent_twice_is_there_once(path: Path) -> None:
    """The same range twice is one, where rows were set aside too."""
    with _open(path) as journal:
        journal.record(_result(0, 10, K, 7))
        journal.record(_result(0, 10, A, 7))
        journal.record(_result(10, 20, A, 2))
        assert journal.done == [Range(0, 20, A)]


def test_what_was_prepared_is_known_before_it_is_opened(path: Path) -> None:
    """Whether the collection was prepared can be asked for, of any file."""
    assert not is_prepared(path)
    _open(path).close()
    assert not is_prepared(path)
    with _open(path) as journal:
        assert not journal.is_prepared
        journal.prepared()
    assert is_prepared(path)
    with _open(path) as journal:
        assert journal.is_prepared
        assert journal.done == []
    path.write_bytes(b'"prepared"\n')
    assert not is_prepared(path)
    assert not is_prepared(path.parent)


def test_many_records_are_read_in_seconds(path: Path) -> None:
    """A journal of 200,000 batches opens fast, so that nothing needs to compact it."""
    was = dataclasses.replace(PRINT, rows=10**9)
    _open(path, was).close()
    order = list(range(200_000))
    random.Random(1).shuffle(order)
    lines = []
    for at in order:
        text = b'[%d,%d,"applied"]' % (at * 1000, at * 1000 + 1000)
        lines.append(b"%08x %b\n" % (zlib.crc32(text), text))
    with path.open("ab") as file:
        file.writelines(lines)
    begun = time.monotonic()
    with _open(path, was) as journal:
        assert journal.done == [Range(0, 2 * 10**8, A)]
    assert time.monotonic() - begun < 30


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    """A file that somebody touched is a new journal."""
    path.touch()
    assert _done(path) == []
    assert path.read_bytes().startswith(b"qframe-journal 1 ")


@pytest.mark.parametrize("content", [b"x", b"a,b\n1,2\n", b"qframe-journal", b"\0" * 4096])
def test_another_file_is_never_overwritten(path: Path, content: bytes) -> None:
    """What is no journal is refused, and left as it is; the start of a first line is a torn one."""
    path.write_bytes(content)
    if b"qframe-journal ".startswith(content):
        assert _done(path) == []
        return
    with pytest.raises(JournalError, match=r"not a journal of qframe.*name another file"):
        _open(path)
    assert path.read_bytes() == content


def test_a_journal_of_a_later_format_is_refused(path: Path) -> None:
    """A later qframe may write what this one does not understand."""
    path.write_bytes(b'qframe-journal 2 00000000 {"new":1}\n')
    with pytest.raises(JournalError, match=r"format 2, of a later qframe.*upgrade"):
        _open(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """No folder is made that the user did not ask for."""
    with pytest.raises(JournalError, match=r"no folder '.*runs'; make it with os\.makedirs"):
        _open(tmp_path / "runs" / "movies.qframe")


@posix_only
@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_only_a_regular_file_can_be_a_journal(tmp_path: Path, kind: str) -> None:
    """A folder, a pipe and a device are refused at once."""
    path = tmp_path / "thing"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/full")
    with pytest.raises(JournalError, match=r"a folder|not a regular file"):
        _open(path)


def test_another_collection_server_or_data_is_refused_by_name(path: Path) -> None:
    """A refusal names the file, each thing that changed, and the ways out; the file stays."""
    with _open(path) as journal:
        journal.record(_result(0, 10))
    before = path.read_bytes()
    with pytest.raises(ResumeMismatch) as caught:
        _open(
            path,
            dataclasses.replace(PRINT, mapping={"shard_key": "b"}, digests={"ids": "cafe0bad"}),
            collection="films",
            target="http://other",
        )
    assert str(caught.value).splitlines() == [
        f"journal {str(path)!r} is of another upload; nothing was sent",
        "  collection is 'films', it was 'movies'",
        "  target is 'http://other', it was 'http://host'",
        "  shard_key is 'b', it was 'a'",
        "  the ids differ somewhere in rows 0 to 1,000",
        "  -> with the former data and arguments the same call sends what is missing; "
        "to upload everything, delete the file or name another journal",
    ]
    assert path.read_bytes() == before
    assert _done(path) == [Range(0, 10, K)]


def test_a_journal_has_one_writer_at_a_time(path: Path) -> None:
    """Another upload in this process, or in another one, is refused while it is open."""
    code = textwrap.dedent(
        f"""
        import tests.test_journal as t, pathlib
        try:
            t._open(pathlib.Path({str(path)!r}))
        except t.JournalError as error:
            print(error)
        """
    )

    def other() -> str:
        run = [sys.executable, "-c", code]
        return subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    with _open(path):
        with pytest.raises(JournalError, match="is in use by another upload"):
            _open(path)
        assert "is in use by another upload" in other()
    assert other() == ""
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_torn_journal_goes_on_at_every_length(path: Path) -> None:
    """Cut anywhere, it opens with whole records only, and takes new ones."""
    with _open(path) as journal:
        journal.record(_result(0, 10))
        journal.record(_result(10, 20, A))
        journal.settled()
        journal.record(_result(20, 30, A))
    whole = path.read_bytes()
    allowed = [[], [Range(0, 10, K)], [Range(0, 10, K), Range(10, 20, A)]]
    allowed += [[Range(0, 20, A)], [Range(0, 30, A)]]
    met = []
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with _open(path) as journal:
            done = journal.done
            assert done in allowed
            met.append(allowed.index(done))
            journal.record(_result(100, 110))
        assert _done(path) == [*done, Range(100, 110, K)]
    assert met == sorted(met)
    assert set(met) == set(range(5))


def test_flipped_bytes_never_make_a_wrong_range(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged record is passed over with a warning; a damaged first line is refused."""
    ranges = [(at * 10, at * 10 + 10) for at in range(8)]
    with _open(path) as journal:
        for start, stop in ranges:
            journal.record(_result(start, stop, A))
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    chance = random.Random(7)
    refused = warned = 0
    for _ in range(1500):
        damaged = bytearray(whole)
        places = [chance.randrange(len(whole)) for _ in range(chance.randint(1, 3))]
        for place in places:
            damaged[place] ^= chance.randrange(1, 256)
        path.write_bytes(damaged)
        caplog.clear()
        try:
            done = _done(path)
        except JournalError:
            assert min(places) < header
            refused += 1
            continue
        rows = {row for one in done for row in range(one.start, one.stop)}
        assert rows <= set(range(80))
        for start, stop in ranges:
            assert len(rows & set(range(start, stop))) in (0, 10)
        warned += bool(caplog.records)
    assert refused
    assert warned


def test_a_damaged_line_is_told_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says which line was passed over, and the rest of the file counts."""
    with _open(path) as journal:
        for at in range(3):
            journal.record(_result(at * 10, at * 10 + 10))
    path.write_bytes(path.read_bytes().replace(b"[10,20,", b"[10,21,"))
    with caplog.at_level(logging.WARNING, "qframe"):
        assert _done(path) == [Range(0, 10, K), Range(20, 30, K)]
    assert "1 damaged line(s), the first is line 3; their rows are sent again" in caplog.text


CHILD = """
import os, pathlib, sys
import tests.test_journal as t
path = pathlib.Path(sys.argv[1])
for _ in sys.stdin:  # a line a child: imports cost more than all the rest
    if not (child := os.fork()):
        with t._open(path) as journal:
            reached = max((one.stop for one in journal.done), default=0)
            os.write(1, b"%d %d\\n" % (os.getpid(), reached))  # at once, so that no line is torn
            while reached + 3 <= t.ROWS:
                journal.record(t._result(reached, reached + 3))
                reached += 3
                os.write(1, b"%d\\n" % reached)
        os._exit(0)
    print("killed by", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@posix_only
def test_a_kill_at_any_moment_loses_nothing_that_was_recorded(path: Path) -> None:
    """Killed 20 times at random moments, it holds all that `record` returned for, and opens."""
    chance = random.Random(11)
    told = 0
    code = [sys.executable, "-c", CHILD, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(code, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for _ in range(20):
            print("go", file=parent.stdin, flush=True)
            child, reached = map(int, parent.stdout.readline().split())
            assert reached == told
            time.sleep(chance.random() * 0.05)
            os.kill(child, signal.SIGKILL)
            while not (line := parent.stdout.readline()).startswith("killed"):
                told = int(line)
            assert line == f"killed by {-signal.SIGKILL}\n"
            known = (_done(path) or [Range(0, 0, K)])[0]
            assert known.start == 0
            assert told <= known.stop <= told + 3
            told = known.stop
    assert told > 0


LIMITED = """
import pathlib, resource, sys, warnings
import tests.test_journal as t
path = pathlib.Path(sys.argv[1])
with t._open(path) as journal:
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 90, resource.RLIM_INFINITY))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for at in range(10):
            journal.record(t._result(at * 10, at * 10 + 10))
    assert [w.category for w in caught] == [RuntimeWarning], caught
    assert "File too large (EFBIG)" in str(caught[0].message)
    print(journal.error)
    assert path.read_bytes().endswith(b"\\n")
    print(len(journal.done), journal.done[0].stop)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    journal.record(t._result(100, 110))
    assert "EFBIG" in journal.error
    assert [one.stop for one in journal.done][1:] == [110]
"""


@posix_only
def test_a_file_that_may_not_grow_costs_records_and_not_the_upload(path: Path) -> None:
    """At its limit a journal warns once, says what is lost, and goes on when there is room."""
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    error, count = run.stdout.splitlines()
    assert "80 rows that arrived are not in it, the first range is 20 to 30" in error
    assert "The upload goes on" in error
    assert count == "1 20"
    assert _done(path) == [Range(0, 20, K), Range(100, 110, K)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this root may not mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_records_and_not_the_upload(small_disk: Path) -> None:
    """On a full disk nothing raises, the file stays whole, and space that comes back is used."""
    path = small_disk / "movies.qframe"
    filler = small_disk / "filler"
    with _open(path) as journal:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for at in range(300):
                journal.record(_result(at * 10, at * 10 + 10))
        (warning,) = caught
        assert warning.category is RuntimeWarning
        assert "No space left on device (ENOSPC)" in str(warning.message)
        assert path.read_bytes().endswith(b"\n")
        (kept,) = journal.done
        filler.unlink()
        journal.record(_result(5000, 5010))
        assert "ENOSPC" in str(journal.error)
        assert f"{3000 - kept.stop:,} rows" in str(journal.error)
    assert _done(path) == [kept, Range(5000, 5010, K)]


def test_a_disk_that_is_full_at_the_start_refuses_the_upload(small_disk: Path) -> None:
    """Before anything is sent a journal that cannot be begun is an error, and no torn header."""
    (small_disk / "filler").write_bytes(b"x" * 61440)
    huge = dataclasses.replace(PRINT, digests={"ids": "0" * 80_000})
    path = small_disk / "movies.qframe"
    with pytest.raises(JournalError, match=r"No space left on device \(ENOSPC\)"):
        _open(path, huge)
    assert path.stat().st_size == 0


def test_a_part_that_cannot_be_taken_back_is_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even truncating fails, the next record begins a line of its own."""
    write = os.write
    room = [12]

    def limited(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(5, "Input/output error")
        written = write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    def refuse(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    with _open(path) as journal:
        monkeypatch.setattr(os, "write", limited)
        monkeypatch.setattr(os, "ftruncate", refuse)
        with pytest.warns(RuntimeWarning, match="EIO"):
            journal.record(_result(0, 10))
        room[0] = 1000
        journal.record(_result(10, 20))
        monkeypatch.undo()
    assert _done(path) == [Range(10, 20, K)]


def test_a_warning_that_is_an_error_does_not_end_the_upload(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`record` raises nothing even where the user made errors of warnings; the log tells."""

    def refuse(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with _open(path) as journal, warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(os, "write", refuse)
        journal.record(_result(0, 10))
        journal.settled()
        monkeypatch.undo()
        assert journal.done == []
    assert caplog.text.count("ENOSPC") == 1


def test_it_is_synced_once_a_second_and_at_its_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost machine costs a second of records; syncing each would cost more than it saves."""
    now = [0.0]
    synced: list[float] = []
    with _open(path, clock=lambda: now[0]) as journal:
        monkeypatch.setattr(os, "fsync", lambda _: synced.append(now[0]))
        for at in range(35):
            now[0] = at / 10
            journal.record(_result(at, at + 1))
        assert synced == [1.0, 2.0, 3.0]
        journal.settled()
        assert synced[3:] == [3.4]
    assert synced[4:] == [3.4]
    journal.close()  # once more is no matter


def test_the_same_frame_goes_on_and_another_does_not(path: Path) -> None:
    """A fingerprint of points survives the file."""

    def made(ids: Any) -> Fingerprint:
        points = PointColumns(Ids(numbers=np.array(ids, dtype=np.uint64)), {})
        return fingerprint(points, len(ids), {"wait": True, "keys": ("a", 1)})

    with _open(path, made([1, 2])) as journal:
        journal.record(_result(0, 1))
    with _open(path, made([1, 2])) as journal:
        assert gaps(journal.done, 2) == [(1, 2)]
    with pytest.raises(ResumeMismatch, match="the ids differ somewhere in rows 0 to "):
        _open(path, made([1, 3]))


def _peek(path: Path, was: Fingerprint = PRINT, **changes: Any) -> list[Range]:
    return Journal.peek(path, was, **{"collection": "movies", "target": "http://host", **changes})


def test_a_peek_changes_nothing(path: Path) -> None:
    """Who only looks sees what has arrived, and makes, mends and locks nothing."""
    assert _peek(path) == []
    assert not path.exists()
    with _open(path) as journal:
        journal.record(_result(0, 1000, A))
        assert _peek(path) == journal.done  # while it is in use
    with path.open("ab") as file:
        file.write(b"1234")  # a torn line
    before = path.read_bytes()
    assert _peek(path) == [Range(0, 1000, A)]
    assert path.read_bytes() == before


def test_a_peek_refuses_what_opening_refuses(path: Path, tmp_path: Path) -> None:
    """Another upload's journal, what is none, and what cannot be one are told alike."""
    _open(path).close()
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    other = dataclasses.replace(PRINT, rows=5)
    for place, was in ((path, other), (foreign, PRINT), (tmp_path, PRINT), (path / "x", PRINT)):
        texts = []
        for act in (_open, _peek):
            with pytest.raises((JournalError, ResumeMismatch)) as caught:
                act(place, was)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]
