from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http import models

from qframe._wire import messages as wire
from qframe.encoding.settings import read_settings, write_settings
from qframe.errors import InputError


def convert_optimizers(model: models.OptimizersConfigDiff) -> grpc.OptimizersConfigDiff:
    """Convert as the official client does, without a field that it writes twice."""
    message = RestToGrpc.convert_optimizers_config_diff(model)
    message.ClearField("deprecated_max_optimization_threads")
    return message


SAME: dict[str, tuple[Any, Any]] = {
    "hnsw": (
        models.HnswConfigDiff(
            m=0, ef_construct=64, on_disk=False, payload_m=8, inline_storage=True, memory="cached"
        ),
        RestToGrpc.convert_hnsw_config_diff,
    ),
    "wal": (
        models.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=1, wal_retain_closed=2),
        RestToGrpc.convert_wal_config_diff,
    ),
    "optimizers": (
        models.OptimizersConfigDiff(
            deleted_threshold=0.25, indexing_threshold=0, max_optimization_threads=4
        ),
        convert_optimizers,
    ),
    "automatic threads": (
        models.OptimizersConfigDiff(max_optimization_threads="auto", prevent_unoptimized=True),
        RestToGrpc.convert_optimizers_config_diff,
    ),
    "scalar": (
        models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type="int8", quantile=0.5, always_ram=True)
        ),
        RestToGrpc.convert_quantization_config,
    ),
    "product": (
        models.ProductQuantization(
            product=models.ProductQuantizationConfig(compression="x32", memory="cold")
        ),
        RestToGrpc.convert_quantization_config,
    ),
    "binary": (
        models.BinaryQuantization(
            binary=models.BinaryQuantizationConfig(
                encoding="one_and_half_bits", query_encoding="scalar4bits"
            )
        ),
        RestToGrpc.convert_quantization_config,
    ),
    "turbo": (
        models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits="bits1_5")),
        RestToGrpc.convert_quantization_config,
    ),
    "strict mode": (
        models.StrictModeConfig(
            enabled=True,
            upsert_max_batchsize=100,
            search_max_oversampling=0.5,
            sparse_config={"s": models.StrictModeSparse(max_length=3)},
            multivector_config={"m": models.StrictModeMultivector(max_vectors=5)},
        ),
        RestToGrpc.convert_strict_mode_config,
    ),
    "sparse": (
        models.SparseVectorParams(
            modifier="idf",
            index=models.SparseIndexParams(
                full_scan_threshold=10, on_disk=True, datatype="float16", memory="pinned"
            ),
        ),
        RestToGrpc.convert_sparse_vector_params,
    ),
    "vector": (
        models.VectorParams(
            size=4,
            distance="Dot",
            datatype="uint8",
            on_disk=True,
            hnsw_config=models.HnswConfigDiff(m=5),
            multivector_config=models.MultiVectorConfig(comparator="max_sim"),
            quantization_config=models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type="int8")
            ),
        ),
        RestToGrpc.convert_vector_params,
    ),
}


def filled(theirs: Message, settings: object) -> Any:
    """Fill our message of the same name as an official one."""
    message = getattr(wire, theirs.DESCRIPTOR.name)()
    write_settings(message, settings, "settings")
    return message


# A distance is passed apart and in lower case, so a model that holds one is no settings.
FORMS = [
    pytest.param(model, convert, form, id=f"{name}-{form}")
    for name, (model, convert) in SAME.items()
    for form in ("model", "python", "json")
    if form != "model" or not isinstance(model, models.VectorParams)
]


@pytest.mark.parametrize(("model", "convert", "form"), FORMS)
def test_settings_become_the_official_message(model: Any, convert: Any, form: Any) -> None:
    """Settings, as models or dicts, make the message that the official client would send."""
    theirs = convert(model)
    given = model
    if form != "model":
        given = model.model_dump(mode=form, by_alias=True, exclude_none=True)
    if isinstance(model, models.VectorParams) and isinstance(given, dict):
        given["distance"] = "dot"
    ours = filled(theirs, given)
    assert type(theirs).FromString(ours.SerializeToString()) == theirs


@pytest.mark.parametrize(("model", "convert"), SAME.values(), ids=SAME.keys())
def test_reading_gives_back_what_was_written(model: Any, convert: Any) -> None:
    """A message read as settings is the settings it was made from."""
    given = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    if "distance" in given:
        given["distance"] = given["distance"].lower()
    assert read_settings(filled(convert(model), given)) == given


def test_metadata_of_a_collection() -> None:
    """Free-form values survive, nested ones too."""
    given = {"metadata": {"a": [1, None, {"b": 0.5}], "c": "d"}}
    message = wire.CreateCollection()
    write_settings(message, given, "settings")
    assert read_settings(message, apart=("collection_name",)) == given
    official = grpc.CreateCollection.FromString(message.SerializeToString())
    assert official.metadata["a"].list_value.values[2].struct_value.fields["b"].double_value == 0.5


def test_an_empty_message_is_sent() -> None:
    """An empty mapping is present, None is not: an empty configuration differs from none."""
    message = wire.VectorParams()
    write_settings(message, {"hnsw_config": {}, "quantization_config": None}, "vector")
    assert message.HasField("hnsw_config")
    assert not message.HasField("quantization_config")


def test_a_new_member_of_an_enum_is_read_as_its_number() -> None:
    """A member that a newer server knows does not stop the reading."""
    assert read_settings(wire.SparseIndexConfig.FromString(b"\x18\x63")) == {"datatype": 99}


WRONG: list[tuple[Any, str]] = [
    (5, "settings is 5: a mapping with hnsw_config"),
    ({"hnsw": {}}, "settings knows no 'hnsw': it takes hnsw_config, id_tracker, metadata,"),
    ({"collection_name": "x"}, "settings knows no 'collection_name'"),
    (
        {"hnsw_config": {"m": 1, "ef": 2}},
        "settings.hnsw_config knows no 'ef': it takes ef_construct",
    ),
    ({"hnsw_config": 16}, "settings.hnsw_config is 16: a mapping with"),
    ({"hnsw_config": {"m": "16"}}, "settings.hnsw_config.m is '16': an integer from 0 to 2**64"),
    ({"hnsw_config": {"m": -1}}, "settings.hnsw_config.m is -1: an integer"),
    ({"hnsw_config": {"m": True}}, "settings.hnsw_config.m is True: an integer"),
    ({"hnsw_config": {"memory": "warm"}}, "is 'warm': it takes cached, cold, pinned"),
    ({"hnsw_config": {"on_disk": 1}}, "settings.hnsw_config.on_disk is 1: True or False"),
    ({"shard_number": 2**32}, "settings.shard_number is 4294967296: an integer from 0 to 2**32"),
    ({"sharding_method": "keyed"}, "settings.sharding_method is 'keyed': it takes auto, custom"),
    ({"sharding_method": []}, "settings.sharding_method is []: it takes auto, custom"),
    ({"optimizers_config": {"deleted_threshold": "x"}}, "deleted_threshold is 'x': a number"),
    ({"optimizers_config": {"max_optimization_threads": "all"}}, "is 'all': it takes auto"),
    ({"optimizers_config": {"max_optimization_threads": 1.5}}, "is 1.5: an integer"),
    ({"quantization_config": {"turboquant": {}}}, "it takes binary, product, scalar, turbo"),
    ({"quantization_config": {"scalar": {"type": "int4"}}}, "scalar.type is 'int4': it takes int8"),
    ({"quantization_config": {"scalar": {}, "binary": {}}}, "takes one of binary, scalar, not"),
    ({"strict_mode_config": {"sparse_config": 5}}, "sparse_config is 5: a mapping by name"),
    ({"strict_mode_config": {"sparse_config": {"s": {"x": 1}}}}, "sparse_config.s knows no 'x'"),
    ({"metadata": {5: 6}}, "settings.metadata has a key 5: a text"),
]


@pytest.mark.parametrize(("given", "complaint"), WRONG)
def test_mistakes_are_named(given: Any, complaint: str) -> None:
    """A name or a value that no message knows is refused, with its place and what is known."""
    apart = ("collection_name", "vectors_config", "sparse_vectors_config", "timeout")
    with pytest.raises(InputError) as caught:
        write_settings(wire.CreateCollection(), given, "settings", apart=apart)
    assert complaint in str(caught.value)
