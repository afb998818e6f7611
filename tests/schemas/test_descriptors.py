"""Our protos of Hubble are Hubble's: the compiled descriptors equal the table of the wire contract."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from schemas.hubble import flow_pb2, observer_pb2, peer_pb2, relay_pb2

TABLE = json.loads(
    (Path(__file__).parents[1] / "data" / "hubble_descriptors.json").read_text(encoding="utf-8")
)
FILES = []
for module in (flow_pb2, observer_pb2, peer_pb2, relay_pb2):
    FILES.append(descriptor_pb2.FileDescriptorProto())
    module.DESCRIPTOR.CopyToProto(FILES[-1])
Field = descriptor_pb2.FieldDescriptorProto


def test_the_files_are_of_the_same_syntax_and_packages():
    assert {file.syntax for file in FILES} == {TABLE["_meta"]["syntax"]}
    packages = {name.partition(".")[0] for name in TABLE["messages"]}
    assert {file.package for file in FILES} == packages


def test_there_is_no_other_message_or_enum():
    ours = dict(messages())
    assert sorted(ours) == sorted(TABLE["messages"])
    assert sorted(dict(enums())) == sorted(TABLE["enums"])


@pytest.mark.parametrize("name", sorted(TABLE["messages"]))
def test_a_message_has_the_same_fields(name):
    """Name, number, type, kind, label, oneof and deprecation of each."""
    message = dict(messages())[name]
    ours = {field.name: described(message, field) for field in message.field}
    assert ours == {field["name"]: field for field in TABLE["messages"][name]}
    reserved = [[each.start, each.end - 1] for each in message.reserved_range]
    assert reserved == TABLE["reserved"].get(name, [])
    assert message.options.deprecated is (name in TABLE["deprecated_messages"])


@pytest.mark.parametrize("name", sorted(TABLE["enums"]))
def test_an_enum_has_the_same_values(name):
    values = dict(enums())[name].value
    assert {value.name: value.number for value in values} == TABLE["enums"][name]
    old = [value.name for value in values if value.options.deprecated]
    assert old == TABLE["deprecated_enum_values"].get(name, [])


def test_the_services_have_the_same_methods():
    ours = {
        f"{file.package}.{service.name}": [
            {
                "name": method.name,
                "input": method.input_type.removeprefix("."),
                "output": method.output_type.removeprefix("."),
                "client_streaming": method.client_streaming,
                "server_streaming": method.server_streaming,
            }
            for method in service.method
        ]
        for file in FILES
        for service in file.service
    }
    assert ours == TABLE["services"]


def messages() -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    """Return all messages by their full names, those within others too."""
    found = [(f"{file.package}.{each.name}", each) for file in FILES for each in file.message_type]
    while found:
        name, message = found.pop()
        found += [(f"{name}.{each.name}", each) for each in message.nested_type]
        yield name, message


def enums() -> Iterator[tuple[str, descriptor_pb2.EnumDescriptorProto]]:
    """Return all enums by their full names."""
    yield from ((f"{file.package}.{each.name}", each) for file in FILES for each in file.enum_type)
    yield from (
        (f"{name}.{each.name}", each) for name, message in messages() for each in message.enum_type
    )


def described(message: descriptor_pb2.DescriptorProto, field: Field) -> dict[str, Any]:
    """Return a field as the table has it."""
    kind = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
    row = {
        "name": field.name,
        "number": field.number,
        "type": field.type_name.removeprefix(".") or kind,
        "kind": kind,
        "label": "repeated" if field.label == Field.LABEL_REPEATED else "singular",
    }
    if field.HasField("oneof_index"):
        row["oneof"] = message.oneof_decl[field.oneof_index].name
    if field.options.deprecated:
        row["deprecated"] = True
    return row
