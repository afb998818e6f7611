"""The protos that others read fit what was committed before."""

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from schemas import wire
from schemas.picket.v1 import flows_pb2
from tests.schemas import committed

PATH = "schemas/picket/v1/flows.proto"


def compiled(text, folder):
    """Return a .proto as the compiler understands it."""
    (folder / "then.proto").write_text(text)
    target = folder / "then.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}"]
    subprocess.run([*command, f"--descriptor_set_out={target}", "then.proto"], check=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    return file


def now():
    file = descriptor_pb2.FileDescriptorProto()
    flows_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def test_the_flows_fit_all_that_was_released_or_committed_before(tmp_path):
    """What is in the log stays readable, and so does what is written for those who read it."""
    for revision, text in committed.versions(PATH):
        assert wire.incompatibilities(compiled(text, tmp_path), now()) == [], f"against {revision}"


def changed(change):
    new = now()
    change({message.name: message for message in new.message_type}, new)
    return wire.incompatibilities(now(), new)


def field(message, name):
    return next(field for field in message.field if field.name == name)


def test_fields_messages_and_values_may_be_added():
    """Older readers pass them over."""

    def more(messages, file):
        messages["FlowBatch"].field.add(name="extra", number=99, type=9, label=1)
        file.message_type.add(name="Extra")
        file.enum_type[0].value.add(name="EXTRA", number=99)

    assert changed(more) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found, _: found["FlowBatch"].field.pop(), "is gone, and its number"),
        (
            lambda found, _: field(found["Gap"], "node").__setattr__("name", "host"),
            "name was 'node'",
        ),
        (lambda found, _: field(found["Gap"], "node").__setattr__("number", 77), "node: is gone"),
        (lambda found, _: field(found["Gap"], "node").__setattr__("type", 12), "type was 9"),
        (lambda found, _: field(found["Gap"], "node").__setattr__("label", 3), "label was 1"),
        (lambda found, _: field(found["Gap"], "node").__setattr__("oneof_index", 0), "oneof"),
        (lambda _, file: file.message_type.pop(), "is gone"),
        (lambda _, file: file.enum_type[0].value.pop(), "and is None"),
    ],
)
def test_what_breaks_a_reader_is_named_with_its_place(change, said):
    """Removed, renamed, retyped, moved."""
    assert any(said in found for found in changed(change))
