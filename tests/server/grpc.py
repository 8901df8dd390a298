"""gRPC through the official servicers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from qdrant_client import grpc as proto
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http import models

from . import protobuf
from .app import App
from .gate import Call, Gate
from .validation import check_limit


def start(app: App, port: int) -> tuple[grpc.Server, int]:
    """Serve on ``port``, or on a free one for 0; the answer tells which."""
    server = grpc.server(
        ThreadPoolExecutor(64, thread_name_prefix="grpc"),
        interceptors=[Gate(app)],
        options=[
            # With it, two servers could share a port in silence.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ],
    )
    proto.add_CollectionsServicer_to_server(Collections(app), server)
    proto.add_PointsServicer_to_server(Points(app), server)
    proto.add_QdrantServicer_to_server(Qdrant(app), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


class Qdrant(proto.QdrantServicer):
    def __init__(self, app: App) -> None:
        self._version = app.settings.version

    def HealthCheck(self, request: Any, call: Call) -> Any:
        return proto.HealthCheckReply(title="qdrant - vector search engine", version=self._version)


class Collections(proto.CollectionsServicer):
    def __init__(self, app: App) -> None:
        self._store = app.store

    def Create(self, request: Any, call: Call) -> Any:
        definition = protobuf.read_definition(request)
        done = self._store.create(request.collection_name, definition)
        return proto.CollectionOperationResponse(result=done, time=call.elapsed())

    def Get(self, request: Any, call: Call) -> Any:
        info = self._store[request.collection_name].info()
        result = RestToGrpc.convert_collection_info(info)
        return proto.GetCollectionInfoResponse(result=result, time=call.elapsed())

    def List(self, request: Any, call: Call) -> Any:
        found = [proto.CollectionDescription(name=name) for name in self._store.names()]
        return proto.ListCollectionsResponse(collections=found, time=call.elapsed())

    def Update(self, request: Any, call: Call) -> Any:
        change = GrpcToRest.convert_update_collection(request)
        done = self._store[request.collection_name].update(change)
        return proto.CollectionOperationResponse(result=done, time=call.elapsed())

    def Delete(self, request: Any, call: Call) -> Any:
        done = self._store.delete(request.collection_name)
        return proto.CollectionOperationResponse(result=done, time=call.elapsed())

    def CollectionExists(self, request: Any, call: Call) -> Any:
        result = proto.CollectionExists(exists=self._store.exists(request.collection_name))
        return proto.CollectionExistsResponse(result=result, time=call.elapsed())

    def CreateShardKey(self, request: Any, call: Call) -> Any:
        key = GrpcToRest.convert_shard_key(request.request.shard_key)
        done = self._store[request.collection_name].create_shard_key(key)
        return proto.CreateShardKeyResponse(result=done, time=call.elapsed())


class Points(proto.PointsServicer):
    def __init__(self, app: App) -> None:
        self._app = app

    def Upsert(self, request: Any, call: Call) -> Any:
        assert call.entry is not None
        call.entry["collection"] = request.collection_name
        upsert = protobuf.read_upsert(request)
        writing = protobuf.read_writing(request)
        result = self._app.upsert(request.collection_name, upsert, writing, call.entry)
        return _done(result, call)

    def Delete(self, request: Any, call: Call) -> Any:
        selector = GrpcToRest.convert_points_selector(request.points)
        selector.shard_key = protobuf.read_shard_key(request)
        collection = self._app.store[request.collection_name]
        return _done(collection.delete_points(selector, protobuf.read_writing(request)), call)

    def CreateFieldIndex(self, request: Any, call: Call) -> Any:
        collection = self._app.store[request.collection_name]
        wanted = protobuf.read_index(request)
        return _done(collection.create_index(wanted, protobuf.read_writing(request)), call)

    def Get(self, request: Any, call: Call) -> Any:
        wanted = models.PointRequest(
            ids=[protobuf.read_id(point) for point in request.ids],
            **protobuf.read_selection(request),
        )
        found = self._app.store[request.collection_name].retrieve(wanted)
        result = [protobuf.write_record(record) for record in found]
        return proto.GetResponse(result=result, time=call.elapsed())

    def Scroll(self, request: Any, call: Call) -> Any:
        wanted = models.ScrollRequest(
            filter=protobuf.read_filter(request),
            offset=protobuf.read_id(request.offset) if request.HasField("offset") else None,
            limit=request.limit if request.HasField("limit") else None,
            order_by=(
                GrpcToRest.convert_order_by(request.order_by)
                if request.HasField("order_by")
                else None
            ),
            **protobuf.read_selection(request),
        )
        check_limit(wanted.limit)
        page = self._app.store[request.collection_name].scroll(wanted)
        following = page.next_page_offset
        return proto.ScrollResponse(
            result=[protobuf.write_record(record) for record in page.points],
            next_page_offset=(
                None if following is None else RestToGrpc.convert_extended_point_id(following)
            ),
            time=call.elapsed(),
        )

    def Count(self, request: Any, call: Call) -> Any:
        wanted = models.CountRequest(
            filter=protobuf.read_filter(request),
            exact=request.exact if request.HasField("exact") else None,
        )
        found = self._app.store[request.collection_name].count(wanted)
        result = RestToGrpc.convert_count_result(found)
        return proto.CountResponse(result=result, time=call.elapsed())

    def Query(self, request: Any, call: Call) -> Any:
        wanted = GrpcToRest.convert_query_points(request)
        check_limit(wanted.limit)
        found = self._app.store[request.collection_name].query(wanted)
        result = [protobuf.write_scored(point) for point in found.points]
        return proto.QueryResponse(result=result, time=call.elapsed())


def _done(result: models.UpdateResult, call: Call) -> Any:
    return proto.PointsOperationResponse(
        result=RestToGrpc.convert_update_result(result), time=call.elapsed()
    )
