from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qframe
from qframe.errors import ServerUnreachable
from qframe.points import VectorKind
from qframe.schema import CollectionSchema, VectorSchema
from qframe.stores.patient import PatientStore
from qframe.stores.rest import RestStore
from tests.server import LocalServer

DENSE = CollectionSchema({"": VectorSchema(VectorKind.DENSE, 2, "dot")})
SOON = qframe.Retry(attempts=4, backoff=0.01)


class Unsteady:
    """A way to a local server that answers some requests by itself.

    Attributes
    ----------
    refusals : list of tuple of str, str and int
        Method, end of the path and status; each befalls the next request that it fits. With the
        status 0 the request is carried out, and the connection ends without an answer.
    seen : list of str
        Methods and paths of all requests.
    """

    def __init__(self, server: LocalServer) -> None:
        self.refusals: list[tuple[str, str, int]] = []
        self.seen: list[str] = []
        address = server.rest_url.removeprefix("http://")
        unsteady = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                unsteady.seen.append(f"{self.command} {self.path}")
                refusal = unsteady.take(self.command, self.path)
                if refusal:
                    self._answer(refusal, b'{"status": {"error": "a bad moment"}}')
                    return
                way = http.client.HTTPConnection(address)
                way.request(self.command, self.path, body, {"Content-Type": "application/json"})
                answer = way.getresponse()
                content = answer.read()
                way.close()
                if refusal == 0:
                    self.close_connection = True
                else:
                    self._answer(answer.status, content)

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = _pass_on

            def log_message(self, *args: Any) -> None:
                """Silence."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def take(self, method: str, path: str) -> int | None:
        """Return the status that befalls this request; None for none."""
        for refusal in self.refusals:
            if refusal[0] == method and path.endswith(refusal[1]):
                self.refusals.remove(refusal)
                return refusal[2]
        return None

    def close(self) -> None:
        """Answer nobody any more."""
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def unsteady(server: LocalServer) -> Iterator[Unsteady]:
    """A way to the local server that may be told to fail."""
    way = Unsteady(server)
    yield way
    way.close()


def test_uploads_and_reads_outlast_a_bad_moment(unsteady: Unsteady, collection: str) -> None:
    """Every request of a call is repeated, the first one and those that read included."""
    frame = pd.DataFrame({"v": [[1.0, 2.0]]})
    unsteady.refusals = [
        ("GET", collection, 503),
        ("PUT", collection, 500),
        ("POST", "count", 503),
        ("POST", "scroll", 500),
        ("POST", "query", 503),
    ]
    frame.qdrant.upload(collection, unsteady.url, vectors="v", wait=True, progress=False)
    assert len(qframe.read_collection(collection, unsteady.url)) == 1
    assert len(qframe.search(collection, [1.0, 2.0], unsteady.url)) == 1
    assert unsteady.refusals == []


def test_a_creation_without_an_answer_is_ones_own(unsteady: Unsteady, collection: str) -> None:
    """A collection that exists when creating it is repeated was made by the lost request."""
    unsteady.refusals = [("PUT", collection, 0)]
    with PatientStore(RestStore(unsteady.url), SOON) as store:
        store.create(collection, DENSE)
        assert store.describe(collection) is not None
        with pytest.raises(qframe.CollectionExists):
            store.create(collection, DENSE)


def test_patience_ends(unsteady: Unsteady, collection: str) -> None:
    """Waits follow the policy, and after the last attempt the error is raised."""
    waits: list[float] = []
    unsteady.refusals = [("POST", "count", 503)] * 5
    with PatientStore(RestStore(unsteady.url), SOON, sleep=waits.append) as store:
        with pytest.raises(qframe.ServiceUnavailable):
            store.count(collection)
        assert len(waits) == 3
        assert max(waits) <= SOON.max_backoff
        assert len(unsteady.refusals) == 1


def test_a_server_that_was_never_there_is_waited_for_when_asked(unsteady: Unsteady) -> None:
    """An address where nobody listens is told at once, unless the call names a policy."""
    waits: list[float] = []
    unsteady.close()
    for retry, expected in ((None, 0), (SOON, 3)):
        waits.clear()
        with (
            PatientStore(RestStore(unsteady.url), retry, sleep=waits.append) as store,
            pytest.raises(qframe.ServerUnreachable),
        ):
            store.describe("films")
        assert len(waits) == expected


def test_a_server_that_was_there_is_waited_for(unsteady: Unsteady) -> None:
    """Once a Qdrant has answered, its absence may pass."""
    waits: list[float] = []
    with PatientStore(RestStore(unsteady.url), sleep=waits.append) as store:
        assert store.describe("films") is None
        store.version()
        unsteady.close()
        store.close()
        with pytest.raises(qframe.QframeError):
            store.version()
    assert len(waits) == qframe.Retry().attempts - 1  # type: ignore[operator]


def test_settling_is_not_repeated(unsteady: Unsteady, collection: str) -> None:
    """Whoever waits for queued writes is told of a bad moment at once, and asks again."""
    waits: list[float] = []
    unsteady.refusals = [("POST", "delete?wait=true&timeout=1", 503)]
    with PatientStore(RestStore(unsteady.url), SOON, sleep=waits.append) as store:
        store.create(collection, DENSE)
        with pytest.raises(qframe.ServiceUnavailable):
            store.settle(collection, 1)
        assert waits == []
        assert store.settle(collection, 1) is True


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "grpc://127.0.0.1:9"])
def test_a_server_that_is_not_there_is_told_of_shortly(url: str) -> None:
    """The error of the library is kept as the cause, and not what went on inside of it."""
    with pytest.raises(ServerUnreachable) as caught:
        qframe.read_collection("films", url)
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__cause__ is cause.__context__ is cause.__traceback__ is None
    assert not isinstance(cause, qframe.QframeError)


def test_a_collection_that_is_not_there_says_where(tmp_path: Path) -> None:
    """A misspelt folder is the usual reason, so the error names it."""
    with pytest.raises(qframe.CollectionNotFound, match=str(tmp_path / "qdrant_dta")):
        qframe.search("films", [1.0], tmp_path / "qdrant_dta")
