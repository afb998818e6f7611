"""From a file's text to its objects, each knowing where in the text every value stands.

One broken document does not hide the others. Templates are told apart from broken YAML.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from agent import manifests
from cli.linting import composing, scalars
from policies.linting.findings import Rule, Severity

UNREADABLE: Final = Rule(
    id="unreadable",
    severity=Severity.ERROR,
    what="The file, or a part of it, is not YAML or JSON.",
    why="Nothing in that document reaches a cluster. The other documents of the file are linted.",
    mend="Follow the message. YAML is indented by spaces, never by tabs.",
)
TEMPLATE: Final = Rule(
    id="template",
    severity=Severity.WARNING,
    what="The file is a template of Helm or the like, not a manifest.",
    why="What it will say is known only once it is rendered, so nothing was linted.",
    mend="Render it first: `helm template CHART | picket policy lint -`.",
)
TWICE: Final = Rule(
    id="duplicate-key",
    severity=Severity.ERROR,
    what="A key stands twice in one object.",
    why="Most programs take the last one without a word, some refuse the file: half of it is lost.",
    mend="Keep one of them; two lists become one list.",
)

_MERGE: Final = "<<"
_BEGINNING: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_TEMPLATE: Final = re.compile(r"\{\{|\{%|\$\[\[")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that hinders reading; line and column count from 0."""

    rule: Rule
    message: str
    line: int
    column: int = 0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One object: what it says, and the tree that it was read from."""

    manifest: dict[str, Any]
    node: MappingNode
    first_line: int
    """Of the whole document, from 0: added to each place in `node`."""


@dataclass(slots=True)
class Contents:
    """What one file holds."""

    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Unusable(Exception):
    """A value that no manifest can have."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


def parse(text: str) -> Contents:
    """Read a file's text; whatever is wrong with it is a problem in the answer."""
    contents = Contents()
    taking = _Taking(contents, text, 0)
    try:
        for node in composing.nodes(text):
            taking.take(node)
    except (yaml.YAMLError, RecursionError):
        contents = Contents()
        for part, first_line in _split(text):
            _parse_alone(part, first_line, contents)
    _keep_one_template(contents)
    return contents


def _keep_one_template(contents: Contents) -> None:
    """A template is one as a whole, however many documents it makes."""
    found = [problem for problem in contents.problems if problem.rule is TEMPLATE]
    for problem in found[1:]:
        contents.problems.remove(problem)


def _split(text: str) -> Iterator[tuple[str, int]]:
    """The documents of a file: no `---` at a line's beginning can stand within one."""
    starts = [0, *(match.start() for match in _BEGINNING.finditer(text) if match.start())]
    line = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        yield part, line
        line += part.count("\n")


def _parse_alone(part: str, first_line: int, contents: Contents) -> None:
    taking = _Taking(contents, part, first_line)
    try:
        for node in composing.nodes(part):
            taking.take(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        contents.problems.append(_told(part, first_line, line, column, _reason(error)))
    except yaml.YAMLError as error:
        reason = str(getattr(error, "reason", "")) or str(error).partition("\n")[0]
        contents.problems.append(_told(part, first_line, 0, 0, reason))
    except RecursionError:
        contents.problems.append(Problem(UNREADABLE, "is nested too deeply", first_line))


def _reason(error: yaml.MarkedYAMLError) -> str:
    said = error.problem or error.context or "is not YAML"
    if "cannot start any token" in said and "character" in said:
        return f"{said}: YAML is indented by spaces, not by tabs"
    context = f", {error.context}" if error.context and error.context != said else ""
    return said + context


def _told(part: str, first_line: int, line: int, column: int, reason: str) -> Problem:
    template = _TEMPLATE.search(part)
    if template is not None:
        before = part[: template.start()]
        mark = before.count("\n"), len(before) - before.rfind("\n") - 1
        return _template(first_line + mark[0], mark[1])
    return Problem(UNREADABLE, reason, first_line + line, column)


def _template(line: int, column: int) -> Problem:
    message = "the file is a template, not a manifest: nothing was linted"
    hint = "render it first: helm template CHART | picket policy lint -"
    return Problem(TEMPLATE, message, line, column, hint)


def _placeholder(node: Node) -> Node | None:
    """A part of a tree that a template engine would fill in: `{{ x }}` is YAML, too."""
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, ScalarNode):
            if _TEMPLATE.search(current.value):
                return current
        elif isinstance(current, MappingNode):
            for key, value in current.value:
                if isinstance(key, MappingNode):
                    return current
                stack += (key, value)
        else:
            stack += current.value
    return None


class _Taking:
    """Takes the documents of one stretch of text, which begins in a line of the file."""

    def __init__(self, contents: Contents, text: str, first_line: int) -> None:
        self._contents = contents
        self._first_line = first_line
        self._has_anchors = "&" in text
        self._may_be_template = _TEMPLATE.search(text) is not None

    def take(self, node: Node) -> None:
        """One document."""
        if isinstance(node, ScalarNode) and node.tag == composing.PLAIN and not node.value:
            return
        problems: list[Problem] = []
        try:
            if self._has_anchors:
                _charge(node)
            if self._may_be_template and (place := _placeholder(node)) is not None:
                mark = place.start_mark
                problems.append(_template(self._first_line + mark.line, mark.column))
                return
            tree = _object(node)
            value = _value(tree, self._first_line, problems)
            self._contents.documents += _objects(value, tree, self._first_line)
        except _Unusable as error:
            mark = error.node.start_mark
            line = self._first_line + mark.line
            problems = [Problem(UNREADABLE, error.reason, line, mark.column)]
        finally:
            self._contents.problems += problems


def _object(node: Node) -> MappingNode:
    if not isinstance(node, MappingNode):
        raise _Unusable(node, "holds something that is no object")
    return node


def _objects(value: dict[str, Any], node: MappingNode, first_line: int) -> Iterator[Document]:
    kind, items = value.get("kind"), value.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        if value:
            yield Document(value, node, first_line)
        return
    nodes = next(inner.value for key, inner in node.value if key.value == "items")
    for item, inner in zip(items, nodes, strict=True):
        if isinstance(item, dict):
            typed = item
            if kind != "List" and "kind" not in item:
                own = {"apiVersion": value.get("apiVersion"), "kind": kind.removesuffix("List")}
                typed = {**own, **item}
            yield Document(typed, inner, first_line)


def _charge(node: Node) -> None:
    """Count what a tree unfolds to, before anything is built of it: aliases can name billions."""
    budget = manifests.MAX_VALUES
    stack = [node]
    while stack:
        current = stack.pop()
        budget -= 1
        if budget < 0:
            raise _Unusable(node, f"unfolds to more than {manifests.MAX_VALUES:,} values")
        if isinstance(current, MappingNode):
            for pair in current.value:
                stack += pair
        elif isinstance(current, SequenceNode):
            stack += current.value


def _value(node: Node, first_line: int, problems: list[Problem]) -> Any:
    if isinstance(node, ScalarNode):
        return scalars.value(node.value) if node.tag == composing.PLAIN else str(node.value)
    if isinstance(node, SequenceNode):
        return [_value(inner, first_line, problems) for inner in node.value]
    found: dict[str, Any] = {}
    merged: list[Node] = []
    for key_node, inner in node.value:
        if not isinstance(key_node, ScalarNode):
            raise _Unusable(key_node, "holds a key that is no text")
        key = key_node.value
        if key == _MERGE and key_node.tag == composing.PLAIN:
            merged += inner.value if isinstance(inner, SequenceNode) else [inner]
            continue
        if key in found:
            mark = key_node.start_mark
            message = f"{key} stands twice in one object"
            problems.append(Problem(TWICE, message, first_line + mark.line, mark.column))
        found[key] = _value(inner, first_line, problems)
    for inner in merged:
        if not isinstance(inner, MappingNode):
            raise _Unusable(inner, "merges something that is no object")
        found = {**_value(inner, first_line, problems), **found}
    return found
