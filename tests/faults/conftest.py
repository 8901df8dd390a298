"""What the fault tests stand on: a transport, a proxy before the server, and nothing left."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest

from tests.faults.proxy import FaultProxy
from tests.server import LocalServer


@pytest.fixture(params=["rest", "grpc"])
def transport(request: pytest.FixtureRequest) -> str:
    """Name each transport that has a server."""
    return str(request.param)


@pytest.fixture
def clean(server: LocalServer) -> Iterator[LocalServer]:
    """The server without faults, log and collections, before and after."""
    server.reset()
    yield server
    assert server.complaints() == ""
    server.reset()


@pytest.fixture
def url(transport: str, clean: LocalServer) -> str:
    """The address of the server itself."""
    return clean.rest_url if transport == "rest" else clean.grpc_url


@pytest.fixture
def proxy(url: str) -> Iterator[FaultProxy]:
    """A proxy before the server, with all that was planned having happened in the end."""
    with FaultProxy(url) as proxy:
        yield proxy
        assert proxy.pending() == []


@pytest.fixture
def collection() -> str:
    """A name that no other test uses."""
    return f"faults-{uuid.uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """See that every thread that a test started has ended; a moment late is in time."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith(("qframe", "fault")):
            thread.join(5)
            assert not thread.is_alive(), thread
