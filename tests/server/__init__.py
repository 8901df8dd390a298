"""A stand-in Qdrant for the tests: REST and gRPC on loopback over the embedded engine.

It reads what arrives through Qdrant's official models and stubs and refuses what Qdrant 1.19
refuses, with its codes and texts. It runs in a process of its own::

    with LocalServer(api_key="secret") as server:
        client = QdrantClient(url=server.rest_url, api_key="secret")
        server.faults(["rate_limit:2", "unavailable*3"])
        ...
        assert server.log()[0]["points"] == 100

By hand, from the root of the repository: ``python -m tests.server --rest-port 6333``.

The house: ``local`` starts the process, ``__main__`` is what it runs, ``app`` is what both
transports talk to. ``rest`` and ``grpc`` are the transports; ``body`` and ``protobuf`` read
their messages, ``validation`` refuses malformed points. ``store`` keeps ``collection``s,
whose ``definition`` decides what is accepted under which ``limits``; ``engine`` and
``filters`` speak to qdrant-edge. ``faults`` are the misfortunes and ``journal`` remembers
what came.
"""

from .local import LocalServer

__all__ = ["LocalServer"]
