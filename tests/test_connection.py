from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qframe
from qframe import InputError
from qframe.connection import resolve


@pytest.mark.parametrize(
    ("url", "target", "transport", "tls"),
    [
        ("http://localhost", "http://localhost:6333", "rest", False),
        ("https://qdrant.example:443", "https://qdrant.example:443", "rest", True),
        ("http://host:8080/qdrant/", "http://host:8080/qdrant", "rest", False),
        ("grpc://localhost", "grpc://localhost:6334", "grpc", False),
        ("grpcs://host:1", "grpcs://host:1", "grpc", True),
        ("http://[::1]:6333", "http://[::1]:6333", "rest", False),
    ],
)
def test_urls(url: str, target: str, transport: str, tls: bool) -> None:
    """Scheme, host, port and path of a URL decide the transport and the target."""
    connection = qframe.connect(url)
    assert (connection.target, connection.transport, connection.tls) == (target, transport, tls)


def test_grpc_is_preferred() -> None:
    """With prefer_grpc the port of gRPC stands in for that of the URL."""
    assert qframe.connect("http://host:6333", prefer_grpc=True).target == "grpc://host:6334"
    secure = qframe.connect("https://host", prefer_grpc=True, grpc_port=7)
    assert (secure.target, secure.tls) == ("grpcs://host:7", True)


@pytest.mark.parametrize(
    ("con", "parts"),
    [
        ("localhost:6333", ["'localhost:6333' looks like a server without its scheme"]),
        ("localhost:6333", ["'http://localhost:6333' (REST)", "folder of this name is './"]),
        ("qdrant://host", ["qdrant:// is no scheme of Qdrant", "http://, https://, grpc://"]),
        ("http://", ["names no host", "'http://localhost:6333' does"]),
        ("http://user:word@host", ["user name or password", "api_key="]),
        ("http://host?x=1", ["no '?' and no '#'"]),
        ("http://host:99999", ["http://host: its port is no number from 1 to 65535"]),
        ("grpc://host/path", ["grpc://host: gRPC knows no path"]),
        ("", ["con is empty", "':memory:'"]),
        (6333, ["con is a int", "pass a URL, a folder, ':memory:'"]),
        (["http://host"], ["con is a list"]),
        ({"host": "x"}, ["con is a dict"]),
        (b"http://host", ["con is a bytes"]),
    ],
)
def test_a_place_that_cannot_be(con: Any, parts: list[str]) -> None:
    """What is no place of a Qdrant is refused with what would be one."""
    with pytest.raises(InputError) as caught:
        resolve(con)
    for part in parts:
        assert part in str(caught.value)
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("url", "options", "found"),
    [
        ("http://host", {"timeout": 0}, "timeout=0: seconds that a request may take"),
        ("http://host", {"timeout": -1}, "timeout=-1"),
        ("http://host", {"timeout": float("nan")}, "timeout=nan"),
        ("grpcs://host", {"verify": False}, "gRPC always checks the certificate"),
        ("folder", {"api_key": "secret"}, "'folder' is a folder"),
        (":memory:", {"headers": {"a": "b"}}, "knows no api_key and no headers"),
    ],
)
def test_an_option_that_cannot_be(url: str, options: dict[str, Any], found: str) -> None:
    """Options that this place does not have are refused, and no secret is shown."""
    with pytest.raises(InputError) as caught:
        qframe.connect(url, **options)
    assert found in str(caught.value)
    assert "secret" not in str(caught.value)


LEAKS = [
    "http://h:6333?api_key=S3CRET",
    "http://h:6333#S3CRET",
    "http://h:S3CRET",
    "http://h:S3CRET?x",
    "http://u:S3CRET@h:6333",
    "http://S3CRET@h",
    "http://u:12/S3CRET@h",
    "http://u:S3?CRET@h",
    "http://[S3CRET",
    "http://u\uff0fS3CRET",
    "ftp://h?key=S3CRET",
    "api_key=S3CRET://h",
    "grpc://h/S3CRET",
    "grpc://h:6334?api_key=S3CRET",
    "u:S3CRET@h:6333",
    "u:S3CRET@http://h",
    "u:S3/CRET@h:6333",
    "h:6333?api_key=S3CRET",
    "https//u:S3CRET@h",
    "http:/u:S3CRET@h:1",
    "http:/h/S3CRET",
    "GRPC//h/S3CRET",
    "grpcs:/h/S3CRET",
]


@pytest.mark.parametrize("url", LEAKS)
def test_a_url_that_is_refused_is_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that stands where none belongs is in no error and no traceback, nor a folder's name."""
    monkeypatch.setenv("QDRANT_URL", url)
    for con in (url, None):
        with pytest.raises(InputError) as caught:
            resolve(con)
        shown = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)
        assert "S3" not in shown
        assert "CRET" not in shown
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    "name", ["http", "https_store", "C:\\me@home", "a@b", "data/x:y", "grpc-1"]
)
def test_folders_that_only_resemble_urls(name: str) -> None:
    """A colon, an at sign or the letters of a scheme may stand in a folder's name."""
    assert qframe.connect(name).transport == "embedded"


@pytest.mark.parametrize("place", ["http://host", "grpc://host"])
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"api_key": ""}, "api_key is empty"),
        ({"api_key": " S3CRET"}, "api_key begins or ends with a space"),
        ({"api_key": "S3CRET\n"}, "api_key holds what no header can carry: a line break"),
        ({"api_key": "S3CRET\u00e9"}, "api_key holds what no header can carry"),
        ({"api_key": b"S3CRET"}, "api_key is a bytes: it must be a str"),
        ({"headers": {"x": "S3CRET "}}, "the value of the header 'x' begins or ends"),
        ({"headers": {"x": "S3\x00CRET"}}, "the value of the header 'x' holds"),
        ({"headers": {"x": 7}}, "the value of the header 'x' is a int"),
        ({"headers": {"a b": "S3CRET"}}, "'a b' cannot be the name of a header"),
        ({"headers": {"\u00e9": "S3CRET"}}, "cannot be the name of a header"),
        ({"headers": {"x\n": "S3CRET"}}, "'x\\n' cannot be the name of a header"),
        ({"headers": {"": "S3CRET"}}, "'' cannot be the name of a header"),
        ({"headers": {3: "S3CRET"}}, "3 cannot be the name of a header"),
        ({"headers": {"x-bin": "S3CRET"}}, "'x-bin' cannot be the name of a header"),
        ({"headers": [("x", "S3CRET")]}, "headers is a list: a mapping of names to values"),
    ],
)
def test_headers_are_checked_alike_for_both_transports(
    place: str, options: dict[str, Any], found: str
) -> None:
    """What HTTP or gRPC could not carry is refused before either is opened, and is not shown."""
    with pytest.raises(InputError) as caught:
        qframe.connect(place, **options)
    assert found in str(caught.value)
    assert "S3" not in str(caught.value)


@pytest.mark.parametrize(
    "timeout", [float("inf"), float("nan"), 1e10, 86_400.1, 0, -1, "60", None, True, 10**400]
)
def test_a_timeout_is_a_bounded_number_of_seconds(timeout: Any) -> None:
    """What is no number of seconds within a day is refused, for folders too."""
    for place in ("http://host", "grpc://host", "folder"):
        with pytest.raises(InputError, match=r"^timeout=.*: seconds that a request may take"):
            qframe.connect(place, timeout=timeout)


def test_timeouts_of_every_kind_of_number() -> None:
    """Whole numbers and numpy's are seconds as well as floats are."""
    for timeout in (86_400, np.float32(0.5), np.int64(3)):
        assert qframe.connect("http://host", timeout=timeout).timeout == float(timeout)  # type: ignore[arg-type]


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything without a scheme is a folder, absolute from now on."""
    monkeypatch.chdir(tmp_path)
    assert qframe.connect("store").target == str(tmp_path / "store")
    assert qframe.connect(tmp_path / "a").target == str(tmp_path / "a")
    assert qframe.connect("./localhost:6333").target == str(tmp_path / "localhost:6333")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert qframe.connect("~/store").target == str(tmp_path / "home" / "store")
    assert list(tmp_path.iterdir()) == []


def test_memory_is_one_store_of_the_process() -> None:
    """Two calls with ":memory:" find the same points."""
    first, second = qframe.connect(":memory:"), qframe.connect(":memory:")
    assert first.target == second.target
    assert Path(first.target).is_dir()


FORKING = """
import os, qframe
parent = qframe.connect(":memory:").target
child = os.fork()
if not child:
    own = qframe.connect(":memory:").target
    fine = own != parent and os.path.isdir(own) and os.path.isdir(parent)
    os.rmdir(own)
    os._exit(0 if fine else 1)
assert os.waitpid(child, 0)[1] == 0
assert qframe.connect(":memory:").target == parent and os.path.isdir(parent)
print(parent)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_memory_is_not_shared_with_a_forked_child() -> None:
    """A forked child has a folder of its own, and its parent's goes with the parent."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=True
    )
    assert not Path(done.stdout.strip()).exists()


def test_no_secret_is_shown() -> None:
    """Keys and the values of headers are in no repr and no text."""
    connection = qframe.connect("http://host", api_key="s3cret", headers={"X-Team": "t0ken"})
    for text in (repr(connection), str(connection), f"{connection}"):
        assert "s3cret" not in text
        assert "t0ken" not in text
        assert "api_key='***'" in text
        assert "X-Team" in text


def test_the_environment_names_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is QDRANT_URL, with its key."""
    monkeypatch.setenv("QDRANT_URL", "grpc://host")
    monkeypatch.setenv("QDRANT_API_KEY", "s3cret")
    connection = resolve(None)
    assert (connection.target, connection.api_key) == ("grpc://host:6334", "s3cret")
    monkeypatch.setenv("QDRANT_API_KEY", "")
    assert resolve(None).api_key is None


def test_the_folder_by_default_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a server the data goes into ./qdrant_data, which is said once a folder."""
    monkeypatch.chdir(tmp_path)
    assert resolve(None).target == str(tmp_path / "qdrant_data")
    assert str(tmp_path / "qdrant_data") in "".join(capsys.readouterr())
    resolve(None)
    assert capsys.readouterr() == ("", "")


def test_a_connection_opens_nothing() -> None:
    """A server that does not exist is found missing when it is spoken to, not before."""
    connection = qframe.connect("http://127.0.0.1:1", timeout=5)
    assert resolve(connection) is connection
    with (
        pytest.raises(qframe.ServerUnreachable, match=r"127\.0\.0\.1:1"),
        connection.store() as store,
    ):
        store.describe("films")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_host_is_no_folder(host: str) -> None:
    """This machine's own name is a server whose scheme was forgotten."""
    with pytest.raises(InputError, match="without its scheme"):
        qframe.connect(host)
    assert qframe.connect(f"./{host}").transport == "embedded"
