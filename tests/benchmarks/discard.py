"""A server that takes every upsert and keeps nothing, to measure what a client costs.

``python -m tests.benchmarks.discard`` prints its two URLs as one line of JSON and serves, in a
process of its own, until its standard input closes. It answers what an upload asks before it
sends, for any collection name: that it exists, with one unnamed vector of ``--size`` numbers.

It counts the upserts and their bytes. Points it counts only when asked to, for that it has to read
the bodies, which takes its time. A line on its standard input ("count points" or "discard") begins
a new count, and is answered with the one before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT_FOLDER = Path(__file__).parents[2]

DONE = b'{"result":{"operation_id":1,"status":"completed"},"status":"ok","time":0.0}'
ROOT = b'{"title":"discard","version":"1.20.0"}'

CHUNK = 1 << 20
"""Bytes read at once. The best of 15 runs with bodies of 11 MB was 2,160 MB/s with this and with
four times of it, and 1,820 with a 16th."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What came to the server.

    Attributes
    ----------
    requests : int
        Upserts.
    bytes : int
        Of their bodies.
    points : int or None
        None where they were not counted.
    cpu_s : float
        What the server took for it all.
    """

    requests: int
    bytes: int
    points: int | None
    cpu_s: float


class DiscardingServer:
    """The server as the process that started it sees it; ``server["grpc"]`` is a URL.

    Attributes
    ----------
    urls : dict of str to str
        Of both transports.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.urls: dict[str, str] = self._read()

    def __getitem__(self, transport: str) -> str:
        return self.urls[transport]

    def count(self, *, points: bool = False) -> Tally:
        """Begin a new count, with or without points; return the one before."""
        assert self._process.stdin is not None
        self._process.stdin.write("count points\n" if points else "discard\n")
        self._process.stdin.flush()
        return Tally(**self._read())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the discarding server has ended; its error stands above")
        return dict(json.loads(line))


@contextmanager
def discarding_server(size: int) -> Iterator[DiscardingServer]:
    """Run the server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.discard", "--size", str(size)],
        cwd=ROOT_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the ■ of a notebook interrupts its kernel's whole group
    )
    assert process.stdin is not None
    with process:
        try:
            yield DiscardingServer(process)
        finally:
            process.stdin.close()


class Counter:
    """Counts what both sides of the server take, from all of their threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.restart(points=False)

    def add(self, size: int, points: int) -> None:
        """Note one upsert."""
        with self._lock:
            self._requests += 1
            self._bytes += size
            self._points += points

    def tally(self) -> Tally:
        """Return what was counted."""
        points = self._points if self.points else None
        return Tally(self._requests, self._bytes, points, time.process_time() - self._began)

    def restart(self, *, points: bool) -> None:
        """Begin anew, with or without points."""
        with self._lock:
            self.points = points
            self._requests = self._bytes = self._points = 0
            self._began = time.process_time()


class Discard(BaseHTTPRequestHandler):
    """Reads bodies to their end and throws them away."""

    protocol_version = "HTTP/1.1"
    collection: dict[str, Any]
    counter: Counter

    def do_PUT(self) -> None:
        """Take an upsert."""
        size = left = int(self.headers["Content-Length"])
        points = 0
        if self.counter.points:
            points = _points_in_json(self.rfile.read(size))
        else:
            while left:
                left -= len(self.rfile.read(min(left, CHUNK)))
        self.counter.add(size, points)
        self._answer(DONE)

    def do_GET(self) -> None:
        """Say what it is, or describe whatever collection is asked for."""
        if self.path == "/":
            self._answer(ROOT)
            return
        self._answer(json.dumps({"result": self.collection, "status": "ok", "time": 0.0}).encode())

    def do_POST(self) -> None:
        """Count nothing."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b'{"result":{"count":0},"status":"ok","time":0.0}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        """Answer in one piece: of two, the second may wait for the client to confirm the first."""
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        self.wfile.write(f"{head}{len(body)}\r\n\r\n".encode() + body)


def _points_in_json(body: bytes) -> int:
    """Count the points of an upsert in either of its forms."""
    import orjson

    upsert = orjson.loads(body)
    return len(upsert["batch"]["ids"] if "batch" in upsert else upsert["points"])


def serve_rest(size: int, counter: Counter) -> str:
    """Start the REST side; return its URL."""
    Discard.counter = counter
    Discard.collection = {
        "status": "green",
        "optimizer_status": "ok",
        "points_count": 0,
        "segments_count": 1,
        "config": {"params": {"vectors": {"size": size, "distance": "Cosine"}}},
        "payload_schema": {},
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Discard)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def serve_grpc(size: int, counter: Counter) -> str:
    """Start the gRPC side, which parses an upsert only to count its points; return its URL."""
    import grpc
    from qdrant_client import grpc as q

    params = q.VectorParams(size=size, distance=q.Distance.Cosine)
    config = q.CollectionConfig(
        params=q.CollectionParams(vectors_config=q.VectorsConfig(params=params))
    )
    answers = {
        "/qdrant.Points/Upsert": q.PointsOperationResponse(
            result=q.UpdateResult(operation_id=1, status=q.UpdateStatus.Completed)
        ),
        "/qdrant.Collections/Get": q.GetCollectionInfoResponse(
            result=q.CollectionInfo(status=q.CollectionStatus.Green, config=config)
        ),
        "/qdrant.Collections/CollectionExists": q.CollectionExistsResponse(
            result=q.CollectionExists(exists=True)
        ),
        "/qdrant.Points/Count": q.CountResponse(result=q.CountResult(count=0)),
        "/qdrant.Qdrant/HealthCheck": q.HealthCheckReply(title="discard", version="1.20.0"),
    }
    bodies = {name: answer.SerializeToString() for name, answer in answers.items()}
    done = bodies["/qdrant.Points/Upsert"]

    def upsert(request: bytes, context: object) -> bytes:
        points = len(q.UpsertPoints.FromString(request).points) if counter.points else 0
        counter.add(len(request), points)
        return done

    def constant(body: bytes) -> Callable[[bytes, object], bytes]:
        return lambda request, context: body

    handlers = {
        name: grpc.unary_unary_rpc_method_handler(constant(body)) for name, body in bodies.items()
    }
    handlers["/qdrant.Points/Upsert"] = grpc.unary_unary_rpc_method_handler(upsert)

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return handlers.get(details.method)

    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    Discard.grpc_server = server  # type: ignore[attr-defined]  # it ends with its last reference
    return f"grpc://127.0.0.1:{port}"


def main() -> None:
    """Serve until the standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384)
    size = parser.parse_args().size
    counter = Counter()
    urls = {"rest": serve_rest(size, counter), "grpc": serve_grpc(size, counter)}
    print(json.dumps(urls), flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(counter.tally())), flush=True)
        counter.restart(points=line.strip() == "count points")


if __name__ == "__main__":
    main()
