"""How a peer misses a rule that it comes near to: the label that is wrong, the other namespace.

Asked only for the rule that a sentence is about. It depends on the peer's labels alone, so that it
holds for every flow of its class.
"""

from dataclasses import replace

from policies import labels as lbl
from policies.labels import LabelSet
from policies.matching import CompiledRule
from policies.model import CloudGroupPeer, EndpointPeer
from policies.selectors import Operator, Requirement

_OTHER_CLUSTER = "of another cluster"


def of_peer(rule: CompiledRule, peer: LabelSet) -> str:
    """What keeps the peer from being one of the rule's, if it meets part of a selector; else ""."""
    found: list[tuple[int, str]] = []
    for wanted in rule.rule.peers or ():
        if isinstance(wanted, EndpointPeer) and not peer.is_outside:
            selector = wanted.selector
            missed = [r for r in selector.requirements if not r.matches(peer)]
            implied = [r for r in selector.implied if not r.matches(peer)]
            if not missed and not implied:
                found.append((0, _OTHER_CLUSTER if peer.namespace else ""))
            elif len(missed) < len(selector.requirements):
                texts = [_wrong(r, peer) for r in missed] + [_elsewhere(r) for r in implied]
                found.append((len(texts), " and ".join(texts)))
    return min(found)[1] if found else ""


def of_nothing(rule: CompiledRule) -> str:
    """Why a rule that names peers and ports matches nothing at all; "" where it names none."""
    if rule.rule.peers == ():
        return ""
    if rule.peers == ():
        if any(isinstance(peer, CloudGroupPeer) for peer in rule.rule.peers or ()):
            return "which is not looked up"
        return "but nothing is known to stand behind that"
    if rule.ports == () and rule.rule.ports:
        return "but no port is known by that name"
    return ""


def _wrong(requirement: Requirement, peer: LabelSet) -> str:
    """The label that is not what the rule asks for."""
    value = peer.get(requirement.key, requirement.source)
    if value is None:
        return f"without {str(requirement).removesuffix(' exists')}"
    if requirement.key in (lbl.NAMESPACE_KEY, lbl.CLUSTER_KEY) and (
        requirement.operator is Operator.IN
    ):
        return f"not {requirement}"
    return f"with {replace(requirement, operator=Operator.IN, values=frozenset({value}))}"


def _elsewhere(requirement: Requirement) -> str:
    if requirement.operator is Operator.IN:
        return f"not in namespace {', '.join(sorted(requirement.values))}"
    return "not in any namespace"
