"""Whether a changed .proto still fits the one before it. Pure.

The rule is that of `schemas.compatibility`: fields, messages and enum values may be added. What a
reader knows by its number keeps its name, its type and its place.
"""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)


def incompatibilities(old: FileDescriptorProto, new: FileDescriptorProto) -> list[str]:
    """Return what breaks one side or the other, each with its place; nothing where all is well."""
    return [
        *_messages(old.message_type, new.message_type, old.package),
        *_enums(old.enum_type, new.enum_type, old.package),
    ]


def _messages(
    old: Iterable[DescriptorProto], new: Iterable[DescriptorProto], where: str
) -> Iterator[str]:
    known = {message.name: message for message in new}
    for before in old:
        name = f"{where}.{before.name}"
        after = known.get(before.name)
        if after is None:
            yield f"{name}: is gone"
            continue
        fields = {field.number: field for field in after.field}
        for field in before.field:
            yield from _field(field, fields.get(field.number), name)
        yield from _messages(before.nested_type, after.nested_type, name)
        yield from _enums(before.enum_type, after.enum_type, name)


def _field(
    old: FieldDescriptorProto, new: FieldDescriptorProto | None, where: str
) -> Iterator[str]:
    name = f"{where}.{old.name}"
    if new is None:
        yield f"{name}: is gone, and its number {old.number} is free"
        return
    for word in ("name", "type", "type_name", "label", "proto3_optional"):
        before, after = getattr(old, word), getattr(new, word)
        if before != after:
            yield f"{name}: {word} was {before!r} and is {after!r}"
    if old.HasField("oneof_index") != new.HasField("oneof_index"):
        yield f"{name}: went into or out of a oneof"


def _enums(
    old: Iterable[EnumDescriptorProto], new: Iterable[EnumDescriptorProto], where: str
) -> Iterator[str]:
    known = {enum.name: {value.number: value.name for value in enum.value} for enum in new}
    for before in old:
        for value in before.value:
            name = known.get(before.name, {}).get(value.number)
            if name != value.name:
                yield f"{where}.{before.name}: {value.number} was {value.name} and is {name}"
