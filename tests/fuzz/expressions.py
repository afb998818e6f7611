"""Expressions with a meaning that is tried out letter by letter: what re2 must agree with."""

from dataclasses import dataclass

from tests.policies.generating import Generator

_PLAIN = "ab/.-0 A"
_SPECIAL = ".-/ "
_CLASSES = {
    r"\d": frozenset("0123456789"),
    "[a-b]": frozenset("ab"),
    "[ab/]": frozenset("ab/"),
    r"[.\-]": frozenset(".-"),
    r"\w": frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"),
    "[[:space:]]": frozenset(" \t\n\v\f\r"),
}
_NEGATED = {"[^a]": frozenset("a"), "[^/.]": frozenset("/."), r"\D": _CLASSES[r"\d"]}
_REPEATS = (
    ("*", 0, None),
    ("+", 1, None),
    ("?", 0, 1),
    ("{2}", 2, 2),
    ("{1,2}", 1, 2),
    ("*?", 0, None),
)
_DEEPEST = 3


@dataclass(frozen=True)
class Node:
    """One piece of an expression."""

    kind: str
    text: str = ""
    inner: "tuple[Node, ...]" = ()
    low: int = 0
    high: int | None = None


def make(generator: Generator, depth: int = 0) -> Node:  # noqa: PLR0911 (as many shapes)
    """An expression, small where the choices are."""
    if depth == _DEEPEST:
        return Node("letter", generator.one(_PLAIN))
    match generator.below(9):
        case 0 | 1:
            return Node("letter", generator.one(_PLAIN))
        case 2:
            return Node("any")
        case 3:
            return Node("class", generator.one(tuple(_CLASSES)))
        case 4:
            return Node("other", generator.one(tuple(_NEGATED)))
        case 5:
            text, low, high = generator.one(_REPEATS)
            return Node("repeat", text, (make(generator, depth + 1),), low, high)
        case 6:
            return Node("edge", generator.one(("^", "$")))
        case kind:
            count = generator.below(4)
            inner = tuple(make(generator, depth + 1) for _ in range(count))
            return Node("row" if kind == 7 else "choice", "", inner)


def written(node: Node) -> str:
    """As people write it."""
    match node.kind:
        case "letter":
            return f"\\{node.text}" if node.text in _SPECIAL[:2] else node.text
        case "any":
            return "."
        case "repeat":
            return f"(?:{written(node.inner[0])}){node.text}"
        case "row":
            return "".join(f"({written(inner)})" for inner in node.inner)
        case "choice":
            return f"(?:{'|'.join(written(inner) for inner in node.inner)})"
        case _:
            return node.text


def matches(node: Node, text: str) -> bool:
    """Whether all of the text is one of the expression's."""
    return len(text) in _ends(node, text, 0)


def _ends(node: Node, text: str, at: int) -> frozenset[int]:
    """Where a match that begins here may end."""
    match node.kind:
        case "letter" | "any" | "class" | "other":
            return (
                frozenset({at + 1}) if at < len(text) and _is_one(node, text[at]) else frozenset()
            )
        case "edge":
            return frozenset({at}) if at == (0 if node.text == "^" else len(text)) else frozenset()
        case "row":
            ends = frozenset({at})
            for inner in node.inner:
                ends = frozenset(end for start in ends for end in _ends(inner, text, start))
            return ends
        case "choice":
            found = (_ends(inner, text, at) for inner in node.inner)
            return frozenset().union(*found) if node.inner else frozenset({at})
        case _:
            return _repeated(node, text, at)


def _repeated(node: Node, text: str, at: int) -> frozenset[int]:
    found: set[int] = set()
    ends = {at}
    most = len(text) + node.low + 1 if node.high is None else node.high
    for count in range(most + 1):
        if count >= node.low:
            found |= ends
        ends = {end for start in ends for end in _ends(node.inner[0], text, start)}
        if not ends:
            break
    return frozenset(found)


def _is_one(node: Node, letter: str) -> bool:
    match node.kind:
        case "letter":
            return letter == node.text
        case "any":
            return letter != "\n"
        case "class":
            return letter in _CLASSES[node.text]
        case _:
            return letter not in _NEGATED[node.text]
