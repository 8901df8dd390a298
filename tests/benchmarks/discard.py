"""A server that takes every upsert and keeps nothing, to measure what a client costs.

``python -m tests.benchmarks.discard`` prints its two URLs as one line of JSON and serves, in a
process of its own, until its standard input closes. It answers what an upload asks before it
sends, for any collection name: that it exists, with one unnamed vector of ``--size`` numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

DONE = b'{"result":{"operation_id":1,"status":"completed"},"status":"ok","time":0.0}'
CHUNK = 1 << 20


@contextmanager
def discarding_server(size: int) -> Iterator[dict[str, str]]:
    """Run the server; yields ``{"rest": url, "grpc": url}``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.discard", "--size", str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield json.loads(process.stdout.readline())
        process.stdin.close()


class Discard(BaseHTTPRequestHandler):
    """Reads bodies to their end and throws them away."""

    protocol_version = "HTTP/1.1"
    collection: dict[str, Any]

    def do_PUT(self) -> None:
        """Take an upsert."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, CHUNK)))
        self._answer(DONE)

    def do_GET(self) -> None:
        """Describe whatever collection is asked for."""
        self._answer(json.dumps({"result": self.collection, "status": "ok", "time": 0.0}).encode())

    def do_POST(self) -> None:
        """Count nothing."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b'{"result":{"count":0},"status":"ok","time":0.0}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve_rest(size: int) -> str:
    """Start the REST side; return its URL."""
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
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def serve_grpc(size: int) -> str:
    """Start the gRPC side, which does not even parse an upsert; return its URL."""
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
        "/qdrant.Qdrant/HealthCheck": q.HealthCheckReply(title="discard", version="1.19.0"),
    }
    bodies = {name: answer.SerializeToString() for name, answer in answers.items()}

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            body = bodies.get(details.method)
            if body is None:
                return None
            return grpc.unary_unary_rpc_method_handler(lambda request, context: body)

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
    print(json.dumps({"rest": serve_rest(size), "grpc": serve_grpc(size)}), flush=True)
    while os.read(0, 1024):
        pass


if __name__ == "__main__":
    main()
