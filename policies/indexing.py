"""Which policies can select a subject, without asking each of them.

A rule is kept under its namespace and one label that its subjects must have; a subject looks under
its own namespace and labels. What is found may select it, and nothing else does.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from policies import labels as lbl
from policies.labels import LabelSet
from policies.model import Policy
from policies.selectors import Operator, Selector

_MAX_VALUES: Final = 8
"""A label that may have more values than that is no place to look a rule up by."""

_Shelf = tuple[str | None, tuple[str, str] | None]


class Index:
    """Keys of policies, by what their subjects must have."""

    __slots__ = ("_shelves",)

    def __init__(self) -> None:
        self._shelves: dict[_Shelf, dict[str, None]] = {}

    def add(self, key: str, policies: Iterable[Policy]) -> None:
        """Keep a key for all versions of its policy."""
        for shelf in _shelves(policies):
            self._shelves.setdefault(shelf, {})[key] = None

    def remove(self, key: str, policies: Iterable[Policy]) -> None:
        """Forget a key that was kept for these versions."""
        for shelf in _shelves(policies):
            entries = self._shelves.get(shelf, {})
            entries.pop(key, None)
            if not entries:
                self._shelves.pop(shelf, None)

    def candidates(self, subject: LabelSet) -> Iterable[str]:
        """The keys of all policies that may select the subject, in a stable order."""
        shelves = self._shelves
        namespaces = (None, subject.namespace) if subject.namespace else (None,)
        seen: dict[str, None] = {}
        for namespace in namespaces:
            seen.update(shelves.get((namespace, None), {}))
            for pair in subject.pairs:
                if found := shelves.get((namespace, pair)):
                    seen.update(found)
        return seen


def _shelves(policies: Iterable[Policy]) -> set[_Shelf]:
    return {
        shelf
        for policy in policies
        for rule in policy.rules
        for shelf in _shelves_of(rule.subject, policy.ref.namespace)
    }


def _shelves_of(selector: Selector, namespace: str) -> Iterator[_Shelf]:
    """Where subjects of this selector will look: each has one of these pairs of labels."""
    within = namespace or None
    best: frozenset[str] | None = None
    key = ""
    for requirement in selector.requirements:
        if requirement.operator is not Operator.IN:
            continue
        if len(requirement.values) > _MAX_VALUES:
            continue
        if best is None or key == lbl.NAMESPACE_KEY:
            best, key = requirement.values, requirement.key
    if best is None:
        yield (within, None)
        return
    for value in best:
        yield (within, (key, value))
