"""Where the public names live that are loaded when they are first asked for.

To load what stands behind them takes 50 ms, half of it to make dataclasses, and `import qframe`
by itself takes one.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

HOMES = {
    "BaseUploader": "qframe.uploaders.base",
    "Connection": "qframe.connection",
    "EmbeddedBatchUploader": "qframe.uploaders.embedded",
    "GrpcBatchUploader": "qframe.uploaders.grpc",
    "ParallelWorkerPool": "qframe.pool",
    "ProgressEvent": "qframe.progress",
    "RestBatchUploader": "qframe.uploaders.rest",
    "Retry": "qframe.retry",
    "UploadJob": "qframe.job",
    "connect": "qframe.connection",
    "failed": "qframe.failed_rows",
    "geo": "qframe.mapping.payload",
    "plan": "qframe.planning",
    "plot": "qframe.plotting",
    "read_collection": "qframe.read",
    "search": "qframe.read",
    "show": "qframe.showing",
    "upload": "qframe.uploading",
    "upload_points": "qframe.uploading",
    "uuid4": "qframe.mapping.ids",
    "uuid5": "qframe.mapping.ids",
    "verify": "qframe.verification",
}

# Threads that import a package and a module of that package at the same time wait for one another,
# and Python refuses one of them with a _DeadlockError (https://bugs.python.org/issue38884).
_LOCK = threading.RLock()


def load(name: str) -> Any:
    """Return what a name of `HOMES` stands for."""
    with _LOCK:
        return getattr(importlib.import_module(HOMES[name]), name)
