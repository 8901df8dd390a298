"""What the tests stand on: the local server, a real one where one is named, and an engine."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import qframe
from tests.server import LocalServer

# A machine may be slow and shared: how long an example takes is no matter of a test.
settings.register_profile("usual", deadline=None)
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile("usual")

REAL_REST = os.environ.get("QDRANT_URL")
REAL_GRPC = os.environ.get("QDRANT_GRPC_URL") or (
    REAL_REST.replace("https://", "grpcs://")
    .replace("http://", "grpc://")
    .replace(":6333", ":6334")
    if REAL_REST
    else None
)
REAL_KEY = os.environ.get("QDRANT_API_KEY")


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """The local server, in a process of its own."""
    with LocalServer() as local:
        yield local


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep ``con=None`` from finding a server or a folder that the test did not make."""
    for name in ("QDRANT_URL", "QDRANT_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def _connections(transport: str) -> list[str]:
    return [transport, f"real-{transport}"] if REAL_REST else [transport]


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.server if name.startswith("real") else ())
        for name in (*_connections("rest"), *_connections("grpc"), "embedded")
    ]
)
def con(request: pytest.FixtureRequest, server: LocalServer, tmp_path: Path) -> qframe.Connection:
    """A connection of each transport: to the local server, to a real one if named, embedded."""
    return connect(request.param, server, tmp_path)


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.server if name.startswith("real") else ())
        for name in (*_connections("rest"), *_connections("grpc"))
    ]
)
def server_con(
    request: pytest.FixtureRequest, server: LocalServer, tmp_path: Path
) -> qframe.Connection:
    """A connection of each transport that has a server."""
    return connect(request.param, server, tmp_path)


def connect(name: str, server: LocalServer, folder: Path) -> qframe.Connection:
    """Connect to one of the places that the contract tests run against."""
    if name == "embedded":
        return qframe.connect(folder / "qdrant_data")
    if name.startswith("real-"):
        url = REAL_REST if name == "real-rest" else REAL_GRPC
        assert url is not None
        return qframe.connect(url, api_key=REAL_KEY)
    return qframe.connect(server.rest_url if name == "rest" else server.grpc_url)


@pytest.fixture
def collection(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that no other test uses; what a test makes under it is removed from servers."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    for fixture in ("con", "server_con"):
        if fixture in request.fixturenames:
            with request.getfixturevalue(fixture).store() as store:
                store.delete(name)
