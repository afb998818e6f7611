"""Label selectors as manifests write them, with the checks that Kubernetes makes on them."""

from typing import Final

from policies import labels as lbl
from policies import spelling
from policies.decoding import Field, PolicyRejected
from policies.selectors import Operator, Requirement, Selector, equal

_NAMESPACE: Final = (lbl.K8S, lbl.NAMESPACE_KEY)


class InvalidSelector(PolicyRejected):
    """A selector that reads well, and that Cilium refuses for what it says.

    It checks keys with what it puts before them, so it refuses long ones that Kubernetes takes.
    """


def cilium_key(text: str) -> tuple[str, str]:
    """Source and key of a key in a Cilium selector; a bare one is of any source."""
    if text.startswith("$"):
        source, key = lbl.RESERVED, text[1:]
    elif ":" in text:
        source, _, key = text.partition(":")
        source = source or lbl.ANY
    elif text.startswith(f"{lbl.RESERVED}."):
        source, key = lbl.RESERVED, text.removeprefix(f"{lbl.RESERVED}.")
    else:
        source, key = lbl.ANY, text
    return source, key.partition("=")[0]


def kubernetes_key(text: str) -> tuple[str, str]:
    """Source and key of a key in a NetworkPolicy: pod labels only."""
    return lbl.K8S, text


def namespace_key(text: str) -> tuple[str, str]:
    """Source and key of a key in a namespaceSelector: Cilium keeps namespace labels on pods."""
    return lbl.K8S, f"{lbl.NAMESPACE_LABELS_PREFIX}.{text}"


def cilium(node: Field, *, within: str = "") -> Selector:
    """A selector of a CiliumNetworkPolicy; `within` a namespace, or anywhere.

    Cilium writes that namespace into the `matchLabels`, over a `k8s:` one that stands there; what
    else is said of namespaces stays, and may then select nobody. Raises PolicyRejected, and
    InvalidSelector, here and in all that follow.
    """
    return _selector(node, "cilium", within)


def kubernetes(node: Field, *, within: str = "") -> Selector:
    """A selector of pods in a NetworkPolicy; `within` as in `cilium`. Raises PolicyRejected."""
    return _selector(node, "kubernetes", within)


def namespaces(node: Field) -> Selector:
    """A selector of namespaces in a NetworkPolicy. Raises PolicyRejected."""
    return Selector(_requirements(node, "namespaces"))


def groups(node: Field) -> Selector:
    """A selector of CiliumCIDRGroups by their own labels."""
    return Selector(_requirements(node, "groups"))


_KEYS: Final = {
    "cilium": cilium_key,
    "kubernetes": kubernetes_key,
    "namespaces": namespace_key,
    "groups": kubernetes_key,
}
_CHECKED_AS: Final = {"groups": "cidrgroup"}
"""The source that a key is checked with, where it is another than the one it is looked for in."""


def decode(node: Field) -> None:
    """See that a selector reads well, whatever it says. Raises PolicyRejected."""
    node["matchLabels"].strings()
    for entry in node["matchExpressions"].entries():
        entry.object()
        for text in (entry["key"], entry["operator"], *entry["values"].entries()):
            text.text()


def _selector(node: Field, flavour: str, within: str) -> Selector:
    found = _requirements(node, flavour, replaced=_NAMESPACE if within else None)
    return Selector(found, (equal(*_NAMESPACE, within),) if within else ())


def _requirements(
    node: Field, flavour: str, *, replaced: tuple[str, str] | None = None
) -> tuple[Requirement, ...]:
    """All that it says, but for a label among its `matchLabels` that is `replaced`."""
    read_key = _KEYS[flavour]
    found: list[Requirement] = []
    labels = node["matchLabels"]
    for text, value in sorted(labels.strings().items()):
        source, key = read_key(text)
        is_replaced = (source, key) == replaced
        if is_replaced and flavour == "kubernetes":
            continue  # and never looked at: in a Cilium policy it is, before
        _check_key(labels, _CHECKED_AS.get(flavour, source), key)
        _check_value(labels, value)
        if not is_replaced:
            found.append(equal(source, key, value))
    for entry in node["matchExpressions"].entries():
        entry.object()
        source, key = read_key(entry["key"].text())
        _check_key(entry["key"], _CHECKED_AS.get(flavour, source), key)
        values = [value.text() for value in entry["values"].entries()]
        found.append(Requirement(source, key, _operator(entry, values), frozenset(values)))
    return tuple(found)


def _operator(entry: Field, values: list[str]) -> Operator:
    try:
        operator = Operator(entry["operator"].text())
    except ValueError as error:
        raise _invalid(entry["operator"], "must be In, NotIn, Exists or DoesNotExist") from error
    if operator in (Operator.IN, Operator.NOT_IN):
        if not values:
            raise _invalid(entry["values"], f"must be given with {operator}")
    elif values:
        raise _invalid(entry["values"], f"may not be given with {operator}")
    for value in values:
        _check_value(entry["values"], value)
    return operator


def _check_key(node: Field, source: str, key: str) -> None:
    """Kubernetes checks the key as Cilium stores it: the source, a dot, and the key."""
    if reason := spelling.bad_key(f"{source}.{key}"):
        raise _invalid(node, f"invalid label key {key!r}: {reason}")


def _check_value(node: Field, value: str) -> None:
    if reason := spelling.bad_value(value):
        raise _invalid(node, reason)


def _invalid(node: Field, message: str) -> InvalidSelector:
    return InvalidSelector(node.path, message)
