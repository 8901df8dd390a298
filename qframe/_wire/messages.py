"""The message classes and enums of proto/qframe_wire.proto.

They are built from the descriptor when this module is imported. protoc's own Python output would
warn or fail wherever it is newer than the installed protobuf, or a major version older; the
descriptor is data, and every protobuf from 5.26 to 7 reads it. Type checkers see ``messages.pyi``,
which protoc wrote.
"""

from importlib.resources import files

from google.protobuf import descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

_pool = descriptor_pool.Default()
_pool.FindFileByName(timestamp_pb2.DESCRIPTOR.name)  # the one file that ours imports
(_file,) = FileDescriptorSet.FromString(
    files(__package__).joinpath("qframe_wire.binpb").read_bytes()
).file
_pool.AddSerializedFile(_file.SerializeToString())

DESCRIPTOR = _pool.FindFileByName(_file.name)

for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = EnumTypeWrapper(_enum)
    globals().update({value.name: value.number for value in _enum.values})
