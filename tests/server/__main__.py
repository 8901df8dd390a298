"""``python -m tests.server``: serve until told to stop, after one line of JSON to stdout."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from . import grpc
from .app import App, Settings
from .endpoints import ROUTES
from .rest import RestServer


def main() -> None:
    """Read the command line and serve."""
    arguments = _parser().parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if arguments.exit_with_stdin:
        threading.Thread(target=_watch_stdin, args=(stop,), daemon=True).start()
    with _directory(arguments.data) as data:
        settings = Settings(
            data=Path(data),
            api_key=arguments.api_key,
            read_only_api_key=arguments.read_only_api_key,
            max_request_size=int(arguments.max_request_size_mb * 1024 * 1024),
            keep_alive=arguments.keep_alive,
            version=arguments.version,
        )
        serve(App(settings), arguments.rest_port, arguments.grpc_port, stop)


def serve(app: App, rest_port: int, grpc_port: int, stop: threading.Event) -> None:
    """Listen on both ports, say where, and stay until ``stop`` is set."""
    rest_server = RestServer(app, ROUTES, rest_port)
    grpc_server, grpc_bound = grpc.start(app, grpc_port)
    # The interval is how long a shutdown waits for the thread to notice.
    threading.Thread(target=rest_server.serve_forever, args=(0.02,), daemon=True).start()
    ready = {
        "rest": f"http://127.0.0.1:{rest_server.server_port}",
        "grpc": f"grpc://127.0.0.1:{grpc_bound}",
        "pid": os.getpid(),
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    stop.wait()
    rest_server.shutdown()
    rest_server.server_close()
    grpc_server.stop(grace=1).wait()
    app.close()


def _directory(given: str | None) -> AbstractContextManager[str]:
    return nullcontext(given) if given else tempfile.TemporaryDirectory(prefix="qdrant-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.server", description=__doc__)
    parser.add_argument("--rest-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--grpc-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", help="directory of the collections; none: gone at the end")
    parser.add_argument("--api-key")
    parser.add_argument("--read-only-api-key")
    parser.add_argument("--max-request-size-mb", type=float, default=32, help="REST only")
    parser.add_argument("--keep-alive", type=float, default=5.0, help="idle seconds of REST")
    parser.add_argument("--version", default="1.19.0", help="the version to pretend to be")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when stdin closes")
    return parser


def _watch_stdin(stop: threading.Event) -> None:
    # Not sys.stdin: a thread inside its lock aborts the interpreter when it ends.
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    main()
