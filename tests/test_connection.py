from __future__ import annotations

from pathlib import Path
from typing import Any

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
        ("http://host:99999", ["Port out of range"]),
        ("grpc://host/path", ["gRPC knows no path ('/path')"]),
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
