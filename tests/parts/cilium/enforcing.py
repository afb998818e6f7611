"""Policies in force: applying and deleting them, and waiting until every endpoint has followed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests import waiting
from tests.parts.cilium.nodes import Node
from tests.parts.kubernetes import plane

Manifest = Mapping[str, Any]
SECONDS = 60.0


def enforce(
    control: plane.ControlPlane, nodes: Iterable[Node], policies: Sequence[Manifest]
) -> None:
    """Apply policies, and wait until each endpoint enforces them."""
    before = {node.name: node.policy()[1] for node in nodes}
    old = [_get(control, each) for each in policies]
    new = control.apply(policies)
    uids = [each["metadata"]["uid"] for each in new]
    changed = [_generation(each) for each in old] != [_generation(each) for each in new]
    _settle(
        nodes,
        lambda node, rules, revision: (
            all(uid in rules for uid in uids) and revision >= before[node.name] + changed
        ),
    )


def withdraw(
    control: plane.ControlPlane, nodes: Iterable[Node], policies: Sequence[Manifest]
) -> None:
    """Delete policies, and wait until no endpoint enforces them."""
    found = [each for each in (_get(control, policy) for policy in policies) if each is not None]
    control.delete(policies)
    uids = [each["metadata"]["uid"] for each in found]
    _settle(nodes, lambda _, rules, __: not any(uid in rules for uid in uids))


def _settle(nodes: Iterable[Node], reached: Callable[[Node, str, int], bool]) -> None:
    for node in nodes:

        def settled(node: Node = node) -> bool:
            rules, revision = node.policy()
            return reached(node, rules, revision) and node.realizes(revision)

        what = f"the policies at {node.name}"
        waiting.until(settled, what=what, seconds=SECONDS, every=0.05, despite=(OSError,))


def _get(control: plane.ControlPlane, policy: Manifest) -> Manifest | None:
    metadata = policy["metadata"]
    return control.get(
        policy["apiVersion"], policy["kind"], metadata["name"], metadata.get("namespace")
    )


def _generation(policy: Manifest | None) -> int:
    return 0 if policy is None else policy["metadata"]["generation"]
