"""All rules in one place: which there are, and what they find in an object.

First show every object to `gather`, then ask `check` for each: rules know what else is there. An
object is as JSON has it: its keys are text.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.addresses import Prefix
from policies.linting import (
    alerting,
    duplicates,
    effects,
    engine,
    kubernetes,
    objects,
    references,
    requests,
    schema,
    selecting,
    shadowing,
    subjects,
    surroundings,
    values,
)
from policies.linting.findings import Finding, Rule
from policies.model import Policy

Json = Mapping[str, Any]

RULES: Final[tuple[Rule, ...]] = (
    *(objects.KIND, objects.METADATA, duplicates.OBJECT, duplicates.ELSEWHERE),
    *(schema.REFUSED, kubernetes.UNKNOWN, kubernetes.REFUSED, engine.REFUSED),
    *(alerting.PROJECT, alerting.NEAR_MISS, alerting.NOT_TRUE, alerting.NUMBER),
    *(alerting.NO_EFFECT, alerting.SETTING, alerting.NO_ALERT),
    *(effects.NOTHING, effects.EMPTY, effects.DEFAULT, effects.TYPES),
    *(selecting.IMPOSSIBLE, selecting.OVERWRITTEN, selecting.ON_PODS, selecting.UNKNOWN),
    selecting.WIDENED,
    *(references.FQDN, references.SERVICE, references.TWICE, references.DENIED),
    *(references.GROUP, references.ANYBODY, references.PORT),
    *(values.RANGE, values.HOST_BITS, values.ICMP_ZERO, values.CLUSTER),
    *(requests.COMPILES, requests.GLOB, requests.NEVER, requests.TLS, requests.DEPRECATED),
    requests.LISTENER,
    *(shadowing.SHADOWED, shadowing.DENIED, duplicates.CONTENT, objects.NAMESPACE),
)
"""Every rule about objects, in the order of the page. Reading files has rules of its own."""

_MEANING: Final = (
    effects.check,
    selecting.check,
    references.check,
    values.check,
    requests.check,
    shadowing.check,
    alerting.effect,
)
"""Rules about policies that are taken."""


class Linter:
    """See the module. `node_selector_labels`: Cilium runs with that option."""

    def __init__(
        self, *, node_selector_labels: bool = False, cluster_cidrs: tuple[Prefix, ...] = ()
    ) -> None:
        self._surroundings = surroundings.Surroundings(
            node_selector_labels=node_selector_labels, cluster_cidrs=cluster_cidrs
        )
        self._policies: dict[int, Policy | None] = {}
        self._duplicates = duplicates.Duplicates()

    def gather(self, number: int, manifest: Json) -> bool:
        """Learn from an object; whether it is a policy, or was to be one."""
        if surroundings.is_policy(manifest):
            self._policies[number] = self._surroundings.parse(manifest)
            return True
        self._surroundings.take(manifest)
        return objects.is_meant(manifest)

    def check(self, number: int, manifest: Json, folder: str = "") -> list[Finding]:
        """What is found in a policy, errors first; call it once for each that was gathered.

        `folder` is where it was read: names must be unique in each.
        """
        found = list(objects.kind(manifest))
        if not surroundings.is_policy(manifest):
            return found
        policy = self._policies.get(number)
        refusals = list(self._refusals(manifest, policy))
        found += refusals
        found += self._duplicates.check(number, manifest, folder)
        found += alerting.metadata(manifest)
        # What nobody takes means nothing; and the rules below rely on its shape.
        if policy is not None and all(one.path[:1] == ("metadata",) for one in refusals):
            subject = subjects.of(number, manifest, policy, self._surroundings)
            for rule in _MEANING:
                found += rule(subject)
        return found

    def _refusals(self, manifest: Json, policy: Policy | None) -> Iterator[Finding]:
        """Told once, and by whom it is told best: the API server where it is about metadata."""
        told = [*objects.metadata(manifest), *kubernetes.check(manifest)]
        if policy is None:
            labels = self._surroundings.node_selector_labels
            about_metadata = any(finding.path[:1] == ("metadata",) for finding in told)
            told += [
                finding
                for finding in engine.refusals(manifest, node_selector_labels=labels)
                if not (about_metadata and finding.path[:1] == ("metadata",))
                and not _is_told(finding, told)
            ]
        for finding in schema.check(manifest):
            if finding.rule is kubernetes.UNKNOWN or not _is_told(finding, told):
                told.append(finding)
        yield from told


def _is_told(finding: Finding, told: list[Finding]) -> bool:
    """Whether another refusal is about the same value, or about something within it."""
    return any(other.path[: len(finding.path)] == finding.path for other in told)
