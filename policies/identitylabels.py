"""Which labels of a pod Cilium makes part of its identity. Pure.

A flow shows a pod by the labels of its identity alone, so that what is said of pods has to be said
by these. The rules are Cilium's (pkg/labelsfilter): the defaults, then the words of its option
`labels`.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import re2

from policies.labels import K8S

_DEFAULTS = (
    r"reserved:.*",
    r"io\.kubernetes\.pod\.namespace",
    r"io\.cilium\.k8s\.namespace\.labels",
    r"app\.kubernetes\.io",
    r"io\.cilium\.k8s\.policy\.cluster",
    r"io\.cilium\.k8s\.policy\.serviceaccount",
    r"!io\.kubernetes",
    r"!kubernetes\.io",
    r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index",
    r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid",
    r"!.*beta\.kubernetes\.io",
    r"!k8s\.io",
    r"!pod-template-generation",
    r"!pod-template-hash",
    r"!controller-revision-hash",
    r"!controller-uid",
    r"!annotation.*",
    r"!etcd_node",
    r"!topology\.kubernetes\.io",
)


class Unusable(ValueError):
    """Cilium would not start with this option."""


@dataclass(frozen=True, slots=True)
class _Rule:
    ignores: bool
    expression: "re2._Regexp"


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Made by `parse`; equal where the option is."""

    option: str
    rules: tuple[_Rule, ...]
    is_allow_list: bool

    def __eq__(self, other: object) -> bool:
        """Compare by what was said."""
        return isinstance(other, LabelFilter) and other.option == self.option

    def __hash__(self) -> int:
        """Hash what was said."""
        return hash(self.option)

    def identity(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return those of a pod's labels that are part of its identity."""
        return {key: value for key, value in labels.items() if _takes(self, key)}

    def takes(self, key: str) -> bool:
        """Return whether a label of this key is part of a pod's identity.

        The longest match of what is wanted stands against the shortest of what is not.
        """
        wanted = unwanted = 0
        for rule in self.rules:
            found = rule.expression.match(key)
            if found is None:
                continue
            length = found.end()
            if not rule.ignores:
                wanted = max(wanted, length)
            elif unwanted == 0 or length < unwanted:
                unwanted = length
        return (not self.is_allow_list and unwanted == 0) or wanted > unwanted


@functools.lru_cache(maxsize=4096)
def _takes(labels: LabelFilter, key: str) -> bool:
    # Pods are many, the keys of their labels are few.
    return labels.takes(key)


def parse(option: str) -> LabelFilter:
    """Return the filter for Cilium's option `labels`, words divided by spaces. Raises Unusable."""
    words = option.split()
    rules = [_rule(word) for word in (*_DEFAULTS, *words)]
    return LabelFilter(
        option=" ".join(words),
        rules=tuple(rule for rule in rules if rule is not None),
        is_allow_list=any(not _text(word)[1].startswith("!") for word in words),
    )


def _rule(word: str) -> _Rule | None:
    """Return what a word says, or None where it speaks of labels that are no pod's."""
    source, text = _text(word)
    if source not in {"", K8S}:
        return None
    expression = text.removeprefix("!")
    if not expression:
        raise Unusable(f"{word!r} names no label")
    try:
        return _Rule(text.startswith("!"), re2.compile(expression))
    except re2.error as error:
        raise Unusable(f"{word!r} is no regular expression") from error


def _text(word: str) -> tuple[str, str]:
    source, colon, text = word.partition(":")
    return (source, text) if colon else ("", word)


DEFAULT = parse("")
