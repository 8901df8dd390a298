"""The REST endpoints, and those of the test control under ``/_test``."""

# ruff: noqa: D103, what an endpoint does is in its route, and in Qdrant's own documentation

from __future__ import annotations

import re
from collections.abc import Callable

from qdrant_client.http import models

from . import body
from .app import key_header
from .refusal import Dropped, Garbled, Kind, Refusal
from .rest import RestHandler, Route
from .validation import check_limit

ROUTES: list[Route] = []

Endpoint = Callable[..., None]


def route(
    method: str, path: str, *, writes: bool = False, public: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Add an endpoint to the routes; ``{name}`` in the path becomes its argument."""
    pattern = re.compile(path.replace("{name}", "([^/]*)"))

    def add(serve: Endpoint) -> Endpoint:
        ROUTES.append(Route(method, pattern, serve, writes, public))
        return serve

    return add


@route("GET", "/", public=True)
def root(request: RestHandler) -> None:
    version = request.app.settings.version
    request.send_json({"title": "qdrant - vector search engine", "version": version})


@route("GET", "/(?:healthz|livez)", public=True)
def health(request: RestHandler) -> None:
    request.send_text("healthz check passed")


@route("GET", "/readyz", public=True)
def ready(request: RestHandler) -> None:
    request.send_text("all shards are ready")


# Collections


@route("GET", "/collections")
def list_collections(request: RestHandler) -> None:
    names = request.app.store.names()
    request.answer({"collections": [{"name": name} for name in names]})


@route("GET", "/collections/{name}/exists")
def collection_exists(request: RestHandler, name: str) -> None:
    request.answer({"exists": request.app.store.exists(name)})


@route("GET", "/collections/{name}")
def get_collection(request: RestHandler, name: str) -> None:
    request.answer(request.app.store[name].info())


@route("PUT", "/collections/{name}", writes=True)
def create_collection(request: RestHandler, name: str) -> None:
    definition = body.read(models.CreateCollection, request.read_json())
    request.answer(request.app.store.create(name, definition))


@route("PATCH", "/collections/{name}", writes=True)
def update_collection(request: RestHandler, name: str) -> None:
    change = body.read(models.UpdateCollection, request.read_json())
    request.answer(request.app.store[name].update(change))


@route("DELETE", "/collections/{name}", writes=True)
def delete_collection(request: RestHandler, name: str) -> None:
    request.answer(request.app.store.delete(name))


@route("PUT", "/collections/{name}/shards", writes=True)
def create_shard_key(request: RestHandler, name: str) -> None:
    wanted = body.read(models.CreateShardingKey, request.read_json())
    request.answer(request.app.store[name].create_shard_key(wanted.shard_key))


@route("PUT", "/collections/{name}/index", writes=True)
def create_index(request: RestHandler, name: str) -> None:
    wanted = body.read(models.CreateFieldIndex, request.read_json())
    request.answer(request.app.store[name].create_index(wanted, request.writing()))


# Points


@route("POST", "/collections/{name}/points")
def retrieve(request: RestHandler, name: str) -> None:
    wanted = body.read(models.PointRequest, request.read_json())
    request.answer(request.app.store[name].retrieve(wanted))


@route("POST", "/collections/{name}/points/scroll")
def scroll(request: RestHandler, name: str) -> None:
    wanted = body.read(models.ScrollRequest, request.read_json())
    check_limit(wanted.limit)
    request.answer(request.app.store[name].scroll(wanted))


@route("POST", "/collections/{name}/points/count")
def count(request: RestHandler, name: str) -> None:
    wanted = body.read(models.CountRequest, request.read_json())
    request.answer(request.app.store[name].count(wanted))


@route("POST", "/collections/{name}/points/query")
def query(request: RestHandler, name: str) -> None:
    wanted = body.read(models.QueryRequest, request.read_json())
    check_limit(wanted.limit)
    request.answer(request.app.store[name].query(wanted))


@route("POST", "/collections/{name}/points/delete", writes=True)
def delete(request: RestHandler, name: str) -> None:
    selector = body.read_selector(request.read_json())
    request.answer(request.app.store[name].delete_points(selector, request.writing()))


@route("PUT", "/collections/{name}/points", public=True)
def upsert(request: RestHandler, name: str) -> None:
    """Public to the dispatcher only: a refused key goes into the journal too."""
    headers = request.given
    entry = request.app.journal.open(
        "rest",
        name,
        request.content_length(),
        user_agent=headers.get("user-agent"),
        key_header=key_header(headers),
        content_encoding=headers.get("content-encoding"),
    )
    try:
        request.app.authorize(headers, writes=True)
        wanted = body.read_upsert(request.read_json(request.app.lasting.body_size))
        result = request.app.upsert(name, wanted, request.writing(), entry)
    except Refusal as refusal:
        entry.close(refusal.kind.http_status, str(refusal))
        raise
    except (Dropped, Garbled) as fault:
        entry.close(type(fault).__name__.lower())
        raise
    entry.close(200)
    request.answer(result)


# The test control, which no Qdrant has


@route("POST", "/_test/faults", public=True)
def add_faults(request: RestHandler) -> None:
    wanted = request.read_json()
    try:
        request.app.faults.add(wanted["faults"], wanted["transport"])
    except ValueError as error:
        raise Refusal(Kind.BAD_REQUEST, str(error)) from error
    request.answer(request.app.faults.pending())


@route("GET", "/_test/faults", public=True)
def pending_faults(request: RestHandler) -> None:
    request.answer(request.app.faults.pending())


@route("POST", "/_test/lasting", public=True)
def set_lasting(request: RestHandler) -> None:
    wanted = request.read_json()
    try:
        request.app.lasting.set(wanted["what"], wanted["value"])
    except ValueError as error:
        raise Refusal(Kind.BAD_REQUEST, str(error)) from error
    request.answer(True)


@route("GET", "/_test/log", public=True)
def log(request: RestHandler) -> None:
    request.answer(request.app.journal.entries())


@route("POST", "/_test/reset", public=True)
def reset(request: RestHandler) -> None:
    request.app.faults.clear()
    request.app.lasting.clear()
    request.app.journal.clear()
    if request.read_json()["collections"]:
        request.app.store.clear()
    request.answer(True)
