"""The two clients, each as its users call it, from the same frame to the same server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pandas as pd

import qframe

COLLECTION = "benchmark"

Urls = Mapping[str, str]
"""Of both transports: ``{"rest": "http://…", "grpc": "grpc://…"}``."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is uploaded, and how.

    Attributes
    ----------
    transport : {"grpc", "rest"}
    size : int
        Numbers of a vector.
    columns : {4, 12}
        Of payload.
    workers : int or None
    batch_size : int or None
        None is each client's own default.
    rows : int
    """

    transport: str
    size: int
    columns: int
    workers: int | None
    batch_size: int | None
    rows: int

    @property
    def has_processes(self) -> bool:
        """Whether the peer starts some; one worker is its default."""
        return self.workers is not None and self.workers > 1

    def __str__(self) -> str:
        return (
            f"{self.transport}, {self.rows:,} x {self.size}, {self.columns} columns, "
            f"batches {said(self.batch_size)}, workers {said(self.workers)}"
        )


def said(option: int | None) -> str:
    """Write an option."""
    return "default" if option is None else f"{option:,}"


def given(**options: int | None) -> dict[str, Any]:
    """Return the options that are not left to the client."""
    return {name: value for name, value in options.items() if value is not None}


Upload = Callable[[pd.DataFrame], None]


@contextmanager
def ours(urls: Urls, case: Case) -> Iterator[Upload]:
    """Upload with qframe, which connects within each call."""

    def upload(frame: pd.DataFrame) -> None:
        qframe.upload(
            frame,
            COLLECTION,
            urls[case.transport],
            vectors="embedding",
            wait=True,
            progress=False,
            **given(batch_size=case.batch_size, workers=case.workers),
        )

    yield upload


@contextmanager
def peer(urls: Urls, case: Case) -> Iterator[Upload]:
    """Upload with qdrant-client, which is made before, and what it takes is made within each call.

    With a server on this machine it would open a connection for each request over REST, which
    nearly halves its speed in batches of 64 points; so it gets the limits that it has with any
    other server, which are those of httpx.
    """
    from qdrant_client import QdrantClient

    client = QdrantClient(
        url=urls["rest"],
        grpc_port=urlsplit(urls["grpc"]).port,
        prefer_grpc=case.transport == "grpc",
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
    )

    def upload(frame: pd.DataFrame) -> None:
        client.upload_collection(
            COLLECTION,
            vectors=np.stack(frame["embedding"].to_numpy()),
            payload=frame[frame.columns.drop("embedding")].to_dict("records"),
            ids=frame.index.tolist(),
            wait=True,
            **given(batch_size=case.batch_size, parallel=case.workers),
        )

    try:
        yield upload
    finally:
        client.close()


OURS, PEER = "qframe", "qdrant-client"

CLIENTS = {OURS: ours, PEER: peer}
