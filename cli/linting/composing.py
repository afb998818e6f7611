"""Composing YAML by libyaml: trees of nodes that know their places.

Ten thousand policies take a second, thirty times less than in Python. libyaml composes by recursion
in C, so what is nested too deeply has to be found before. What values mean is not known here.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from yaml import MappingNode, Node, ScalarNode
from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.resolver import BaseResolver

_DEEPEST: Final = 200
"""Objects and lists within each other; a policy has a dozen. libyaml composes by recursion."""
_MOST_BRACKETS: Final = 5_000
_LONGEST_LINE: Final = 400
PLAIN: Final = "plain"
"""The tag of a scalar that is neither quoted nor tagged."""
_PAIR: Final = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
"""How JSON writes what lies beyond 16 bits; YAML has its own way."""
_TEXT: Final = "tag:yaml.org,2002:str"


class _Resolver(BaseResolver):
    """Leaves the meaning of plain scalars to whoever asks."""

    def resolve(self, kind: Any, _value: Any, implicit: Any) -> str:
        if kind is ScalarNode:
            return PLAIN if implicit[0] else _TEXT
        return str(self.DEFAULT_MAPPING_TAG if kind is MappingNode else self.DEFAULT_SEQUENCE_TAG)


class _Loader(CParser, _Resolver):
    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        _Resolver.__init__(self)


def nodes(text: str) -> Iterator[Node]:
    """The documents of a text, one after another. Raises yaml.YAMLError."""
    if "\\ud" in text.lower():
        text = _PAIR.sub(_joined, text)
    if not _is_surely_shallow(text):
        _check_depth(text)
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


def _joined(pair: re.Match[str]) -> str:
    high, low = (int(half, 16) for half in pair.groups())
    return f"\\U{0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF):08X}"


def _is_surely_shallow(text: str) -> bool:
    """Whether brackets and indentation are too few for what would overflow the stack."""
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        return False
    return max(map(len, text.split("\n"))) <= _LONGEST_LINE


def _check_depth(text: str) -> None:
    loader = _Loader(text)
    depth = 0
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _DEEPEST:
                    raise yaml.MarkedYAMLError(
                        problem="is nested too deeply",
                        problem_mark=event.start_mark,  # type: ignore[arg-type]
                    )
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    finally:
        loader.dispose()
