"""Where in a file a path of a manifest stands. Lines and columns count from 0 here."""

from collections.abc import Iterator
from dataclasses import dataclass

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from cli.linting.documents import Document
from policies.linting.findings import Path


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """From a character to the one after the last."""

    line: int
    column: int
    end_line: int
    end_column: int


def of(document: Document, path: Path, *, at_key: bool = False) -> Place:
    """The place of a value, or of what comes nearest to it: something missing has none."""
    node: Node = document.node
    key: Node | None = None
    for part in path:
        step = _step(node, part)
        if step is None:
            break
        key, node = step
    else:
        if at_key and key is not None:
            return _place(key, document.first_line)
    if key is not None and (node.start_mark.line != key.start_mark.line or not _has_text(node)):
        return _place(key, document.first_line)
    return _place(node, document.first_line)


def _has_text(node: Node) -> bool:
    return not isinstance(node, ScalarNode) or bool(node.value) or bool(node.style)


def _step(node: Node, part: str | int) -> tuple[Node | None, Node] | None:
    if isinstance(part, int):
        if isinstance(node, SequenceNode) and part < len(node.value):
            return None, node.value[part]
        return None
    if not isinstance(node, MappingNode):
        return None
    merged: list[Node] = []
    found = None
    for key, value in node.value:
        if key.value == part:
            found = key, value  # the last one holds
        elif key.value == "<<":
            merged += value.value if isinstance(value, SequenceNode) else [value]
    if found is not None:
        return found
    return next((step for inner in merged if (step := _step(inner, part)) is not None), None)


def _place(node: Node, first_line: int) -> Place:
    start = node.start_mark
    end_line, end_column = end(node)
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
        # A block is pointed at by its beginning.
        first = node.value[0] if node.value else None
        inner = first[0] if isinstance(first, tuple) else first
        if inner is not None and isinstance(inner, ScalarNode):
            end_line, end_column = end(inner)
        else:
            end_line, end_column = start.line, start.column + 1
    return Place(first_line + start.line, start.column, first_line + end_line, end_column)


def end(node: Node) -> tuple[int, int]:
    """Line and column after a node's last character."""
    return node.end_mark.line, node.end_mark.column


def walk(node: Node) -> Iterator[tuple[Node, Node]]:
    """Each part of a tree, outer ones first: where it begins (its key, if any), and its value."""
    yield node, node
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key, value
            yield from walk(value)
    elif isinstance(node, SequenceNode):
        for value in node.value:
            yield from walk(value)
