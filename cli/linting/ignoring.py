"""Comments that switch rules off: `# picket: ignore shadowed-rule`.

At the end of a line it holds for that line; on a line of its own for the key, entry or document
that begins below. More names are separated by commas; a reason may follow after `--`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from cli.linting import places
from cli.linting.documents import Document, Problem
from policies.linting.findings import Rule, Severity

BAD: Final = Rule(
    id="bad-ignore",
    severity=Severity.WARNING,
    what="A comment `# picket: ignore` names no rule, or one that there is not.",
    why="It switches nothing off.",
    mend="Name the rules as findings do: `# picket: ignore shadowed-rule, empty-section`.",
)
UNUSED: Final = Rule(
    id="unused-ignore",
    severity=Severity.INFO,
    what="A comment `# picket: ignore` switches off what is not found.",
    why="It may hide a later finding that somebody should see.",
    mend="Take it away.",
)

_MARK: Final = "picket:"
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#\s*picket:\s*ignore\b[ \t:]*([^\n]*)", re.MULTILINE)
_SHUT: Final = re.compile(r"\s*(?:--|#|\().*", re.DOTALL)
_NAME: Final = re.compile(r"[a-z0-9-]+\Z")


@dataclass(slots=True)
class Comment:
    """One comment: what it switches off, and in which lines, counted from 0."""

    rules: tuple[str, ...]
    line: int
    column: int
    first: int
    last: int
    used: set[str] = field(default_factory=set)

    def takes(self, rule: Rule, line: int) -> bool:
        """Whether a finding is switched off."""
        if rule.id not in self.rules or not self.first <= line <= self.last:
            return False
        self.used.add(rule.id)
        return True


def comments(text: str, documents: Sequence[Document]) -> list[Comment]:
    """All such comments of a file."""
    if _MARK not in text:
        return []
    return list(_comments(text, documents))


def _comments(text: str, documents: Sequence[Document]) -> Iterator[Comment]:
    lines = text.split("\n")
    for match in _COMMENT.finditer(text):
        line = text.count("\n", 0, match.start())
        column = match.start() - (text.rfind("\n", 0, match.start()) + 1)
        if _is_in_text(documents, line, column):
            continue
        names = tuple(name for name in re.split(r"[,\s]+", _SHUT.sub("", match[1])) if name)
        first = last = line
        if not lines[line][:column].strip():
            first, last = _below(lines, line, documents)
        yield Comment(names, line, column, first, last)


def problems(
    found: Sequence[Comment], known: frozenset[str], looked_for: frozenset[str]
) -> Iterator[Problem]:
    """Comments that are wrong, and those without use; ask when all findings are known."""
    for comment in found:
        place = comment.line, comment.column
        if not comment.rules:
            yield Problem(BAD, "names no rule to ignore", *place)
        for name in comment.rules:
            if name not in known:
                yield Problem(BAD, f"there is no rule {name!r}", *place)
            elif name in looked_for and name not in comment.used:
                yield Problem(UNUSED, f"{name} is not found here", *place)


def _is_in_text(documents: Sequence[Document], line: int, column: int) -> bool:
    """Whether a place lies within a quoted text or a block of text."""
    for document in documents:
        for _, node in places.walk(document.node):
            if not isinstance(node, ScalarNode) or not node.style:
                continue
            start = (document.first_line + node.start_mark.line, node.start_mark.column)
            end = (document.first_line + node.end_mark.line, node.end_mark.column)
            if start <= (line, column) < end:
                return True
    return False


def _below(lines: Sequence[str], line: int, documents: Sequence[Document]) -> tuple[int, int]:
    """The lines of what begins below a comment."""
    below = line + 1
    while below < len(lines) and _is_empty(lines[below]):
        below += 1
    for document in documents:
        for begin, node in places.walk(document.node):
            if document.first_line + begin.start_mark.line == below:
                return below, max(below, document.first_line + _last_line(node, lines, document))
    return below, below


def _is_empty(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#") or stripped == "---"


def _last_line(node: Node, lines: Sequence[str], document: Document) -> int:
    line, column = places.end(node)
    is_block = isinstance(node, MappingNode | SequenceNode) and not node.flow_style
    at_end = document.first_line + line >= len(lines) - 1 and column > 0
    return line - 1 if is_block and not at_end else line
