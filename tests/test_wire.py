from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet

from qframe._wire import messages

ROOT = Path(__file__).parents[1]
WIRE = ROOT / "qframe" / "_wire"
MESSAGES = sorted(messages.DESCRIPTOR.message_types_by_name)
ENUMS = sorted(messages.DESCRIPTOR.enum_types_by_name)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the files anew."""
    pytest.importorskip("grpc_tools")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("wire")
    module.generate(folder)
    return folder


def test_descriptor_is_generated_from_the_proto(generated: Path) -> None:
    """The checked-in descriptor is what protoc makes of the proto today."""
    fresh = FileDescriptorSet.FromString((generated / "qframe_wire.binpb").read_bytes())
    assert fresh == FileDescriptorSet.FromString((WIRE / "qframe_wire.binpb").read_bytes())


def test_stub_is_generated_from_the_proto(generated: Path) -> None:
    """The checked-in stub is what protoc makes of the proto today."""
    assert (generated / "messages.pyi").read_text() == (WIRE / "messages.pyi").read_text()


@pytest.mark.parametrize("imports", ["qframe, official", "official, qframe"])
def test_lives_in_one_process_with_the_official_client(imports: str) -> None:
    """Both sets of messages load in one process, whichever comes first, and none warns."""
    lines = {
        "qframe": "from qframe._wire.messages import PointStruct as ours",
        "official": "from qdrant_client.grpc import PointStruct as theirs",
    }
    program = [lines[name] for name in imports.split(", ")]
    program.append("print(theirs.FromString(ours(id={'num': 7}).SerializeToString()).id.num)")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(program)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("7\n", "")


@pytest.mark.parametrize("name", MESSAGES)
def test_message_agrees_with_the_official_one(name: str) -> None:
    """Every field has the name, the number, the type and the place that Qdrant gave it."""
    grpc = pytest.importorskip("qdrant_client.grpc")
    theirs = getattr(grpc, name).DESCRIPTOR
    ours = messages.DESCRIPTOR.message_types_by_name[name]
    assert_same_fields(ours, theirs)


@pytest.mark.parametrize("name", ENUMS)
def test_enum_agrees_with_the_official_one(name: str) -> None:
    """Every member of an enum has its official number, and none is missing."""
    grpc = pytest.importorskip("qdrant_client.grpc")
    ours = messages.DESCRIPTOR.enum_types_by_name[name]
    assert members(ours) == members(getattr(grpc, name).DESCRIPTOR)


def test_stub_names_what_the_module_has() -> None:
    """The names that type checkers see are those that exist when the program runs."""
    stub = (WIRE / "messages.pyi").read_text()
    classes = {
        line.split("(")[0].removeprefix("class ")
        for line in stub.splitlines()
        if line.startswith("class ")
    }
    assert classes == {*MESSAGES, *ENUMS}
    assert all(hasattr(messages, name) for name in classes)


def assert_same_fields(ours: Any, theirs: Any) -> None:
    """Compare a message with the official one, and what it contains."""
    mine, official = traits(ours), traits(theirs)
    for name, expected in mine.items():
        assert official.get(name) == expected, f"{ours.name}.{name}"
    for inner in ours.nested_types:
        assert_same_fields(inner, theirs.nested_types_by_name[inner.name])
    for inner in ours.enum_types:
        assert members(inner) == members(theirs.enum_types_by_name[inner.name])


def traits(message: Any) -> dict[str, tuple[Any, ...]]:
    """Collect, by field, what two messages must have in common."""
    proto = DescriptorProto()
    message.CopyToProto(proto)
    return {
        field.name: (
            field.number,
            field.type,
            field.label,
            field.proto3_optional,
            field.type_name.rpartition(".")[2],
            proto.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
        )
        for field in proto.field
    }


def members(enum: Any) -> dict[str, int]:
    """Collect an enum's members."""
    return {value.name: value.number for value in enum.values}
