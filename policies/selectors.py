"""Label selectors, and the namespace that Cilium adds to those that do not name one.

Source of the rules: Cilium 1.19, facts on labels and selectors. A bare key means any source;
`source:key` pins it; values compare exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from policies import labels as lbl
from policies.labels import LabelSet

_SHORT_NAMES: Final = {
    lbl.NAMESPACE_KEY: "namespace",
    f"{lbl.NAMESPACE_LABELS_PREFIX}.kubernetes.io/metadata.name": "namespace",
    lbl.CLUSTER_KEY: "cluster",
}


class Operator(StrEnum):
    """How a requirement compares; NotIn and DoesNotExist hold where the label is absent."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


# Comparing with a name of the module costs a fraction of comparing with an enum's attribute.
_IN: Final = Operator.IN
_NOT_IN: Final = Operator.NOT_IN
_EXISTS: Final = Operator.EXISTS
_AFFIRMED: Final = {
    Operator.NOT_IN: Operator.IN,
    Operator.DOES_NOT_EXIST: Operator.EXISTS,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label key."""

    source: str
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, subject: LabelSet) -> bool:
        """Whether the label set meets this condition."""
        value = subject.get(self.key, self.source)
        operator = self.operator
        if operator is _IN:
            return value in self.values
        if operator is _NOT_IN:
            return value not in self.values
        return (value is not None) is (operator is _EXISTS)

    @property
    def is_negative(self) -> bool:
        """Whether it holds where the label is absent."""
        return self.operator in _AFFIRMED

    @property
    def affirmed(self) -> "Requirement":
        """What a negative one rules out; any other as it is."""
        return replace(self, operator=_AFFIRMED.get(self.operator, self.operator))

    def __str__(self) -> str:
        name = self.key if self.source in (lbl.ANY, lbl.K8S) else f"{self.source}:{self.key}"
        name = _SHORT_NAMES.get(self.key, name)
        if name.startswith(f"{lbl.NAMESPACE_LABELS_PREFIX}."):
            name = f"namespace label {name.removeprefix(lbl.NAMESPACE_LABELS_PREFIX)[1:]}"
        values = ", ".join(sorted(self.values))
        match self.operator:
            case Operator.IN:
                if self.source == lbl.RESERVED:
                    return name
                return f"{name}={values}" if len(self.values) == 1 else f"{name} in ({values})"
            case Operator.NOT_IN:
                return f"{name}!={values}" if len(self.values) == 1 else f"{name} not in ({values})"
            case Operator.EXISTS:
                return f"{name} exists"
            case Operator.DOES_NOT_EXIST:
                return f"no {name}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()
    implied: tuple[Requirement, ...] = ()
    """What Cilium adds: matched like the others, left out of the text."""

    def matches(self, subject: LabelSet) -> bool:
        """Whether the label set is selected."""
        for requirement in self.requirements:
            if not requirement.matches(subject):
                return False
        for requirement in self.implied:  # noqa: SIM110 - a generator costs more than what it does
            if not requirement.matches(subject):
                return False
        return True

    def missed(self, subject: LabelSet) -> int:
        """How many requirements the label set does not meet: the distance of a near miss."""
        missed = 0
        for requirement in self.requirements:
            if not requirement.matches(subject):
                missed += 1
        for requirement in self.implied:
            if not requirement.matches(subject):
                missed += 1
        return missed

    def names(self, key: str, sources: Iterable[str]) -> bool:
        """Whether some requirement, of any operator, is about this key."""
        return any(r.key == key and r.source in sources for r in self.requirements)

    def and_implied(self, *more: Requirement) -> "Selector":
        """The same selector, narrowed."""
        return Selector(self.requirements, (*self.implied, *more))

    def __str__(self) -> str:
        return ", ".join(str(requirement) for requirement in self.requirements)


def equal(source: str, key: str, value: str) -> Requirement:
    """The requirement that a label has one value."""
    return Requirement(source, key, Operator.IN, frozenset({value}))


def exists(source: str, key: str) -> Requirement:
    """The requirement that a label is there."""
    return Requirement(source, key, Operator.EXISTS)


_NAMESPACE_SOURCES: Final = (lbl.K8S, lbl.ANY)


def is_about_reserved(selector: Selector) -> bool:
    """Whether it names a reserved label: Cilium then adds neither namespace nor cluster."""
    return any(r.source == lbl.RESERVED for r in selector.requirements)


def names_cluster(selector: Selector) -> bool:
    """Whether it says itself which cluster it means."""
    return selector.names(lbl.CLUSTER_KEY, _NAMESPACE_SOURCES)


def with_peer_namespace(selector: Selector, namespace: str, *, of_init: bool) -> Selector:
    """A peer's selector: within the policy's namespace unless it says something about namespaces.

    In a clusterwide policy: any pod. `of_init`: the policy selects initializing endpoints, which
    have no namespace yet.
    """
    if is_about_reserved(selector) or selector.names(lbl.NAMESPACE_KEY, _NAMESPACE_SOURCES):
        return selector
    if not namespace:
        return selector if of_init else selector.and_implied(exists(lbl.K8S, lbl.NAMESPACE_KEY))
    if any(
        r.source in _NAMESPACE_SOURCES and r.key.startswith(lbl.NAMESPACE_LABELS_PREFIX)
        for r in selector.requirements
    ):
        return selector
    return selector.and_implied(equal(lbl.K8S, lbl.NAMESPACE_KEY, namespace))
