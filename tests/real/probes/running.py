"""One policy set after the other on one cluster: in force, probed, judged, and replaced."""

import itertools
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policies.repository import Repository
from tests import waiting
from tests.parts.cilium.nodes import Node
from tests.real.probes import choosing, generating, kinds, parties, population, sending
from tests.real.probes.choosing import Probe
from tests.real.probes.judging import Judged, judge
from tests.real.probes.kinds import Kind
from tests.real.probes.population import Population
from tests.real.probes.sending import Enforced

Manifest = Mapping[str, Any]
ENFORCING_SECONDS: Final = 60.0
AGAIN: Final = 2
"""How often a probe that differs is sent again: a machine under load may lose or delay one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """What came of one policy set."""

    number: int
    focus: Kind
    policies: Sequence[Manifest]
    kinds: frozenset[Kind]
    """Of all its rules."""
    judged: Sequence[Judged]
    repeated: Sequence[Judged]
    """What differed at first and did not when it was sent again."""
    seconds: float

    @property
    def denied(self) -> int:
        """Return how many probes Cilium stopped."""
        return sum(each.denied for each in self.judged)

    @property
    def disagreeing(self) -> list[Judged]:
        """Return the probes on which Cilium and the matcher differ."""
        return [each for each in self.judged if each.disagreements]


class Lab:
    """A populated cluster in which one set after the other is tried."""

    def __init__(self, made: Population) -> None:
        self.population = made
        self.cluster = made.cluster
        self.everyone = list(parties.every(made))
        self._in_force: Sequence[Manifest] = ()

    def run(self, seed: int, number: int) -> SetResult:
        """Put a set in force, probe it and judge."""
        started = time.monotonic()
        inventor, policies, repository = self._invent(seed, number)
        self.enforce(policies)
        enforced = Enforced(self.cluster)
        chance = random.Random(f"probes {seed}/{number}")
        asking = choosing.questions(repository, self.everyone, chance)
        judged, repeated = self._try(asking, repository, enforced)
        asked = {each.probe.name for each in judged if not each.denied}
        probes = choosing.choose(
            repository, self.everyone, chance, focus=inventor.focus, asked=asked
        )
        more, again = self._try(probes, repository, enforced)
        return SetResult(
            number=number,
            focus=inventor.focus,
            policies=policies,
            kinds=frozenset(
                kind for policy in repository.policies() for kind in kinds.of_policy(policy)
            ),
            judged=[*judged, *more],
            repeated=[*repeated, *again],
            seconds=time.monotonic() - started,
        )

    def _invent(
        self, seed: int, number: int
    ) -> tuple[generating.Inventor, Sequence[Manifest], Repository]:
        """Return a set of which enough packets are stopped, and enough not."""
        for attempt in itertools.count():
            inventor = generating.Inventor(seed, number, attempt)
            policies = inventor.policies()
            repository = loaded(policies)
            if choosing.is_fit(repository, self.everyone, focus=inventor.focus):
                return inventor, policies, repository
        raise AssertionError("counting does not end")

    def enforce(self, policies: Sequence[Manifest]) -> None:
        """Have these policies in force and none of the set before."""
        control = self.cluster.control
        gone = self._in_force
        control.delete(gone)
        self._in_force = control.apply(policies)
        for node in self.cluster.nodes.values():
            _settle(node, wanted=_uids(self._in_force), unwanted=_uids(gone))

    def _try(
        self, probes: Sequence[Probe], repository: Repository, enforced: Enforced
    ) -> tuple[list[Judged], list[Judged]]:
        judged = self._send(probes, repository, enforced)
        at_first = [each for each in judged if each.disagreements]
        for _ in range(AGAIN):
            differing = [index for index, each in enumerate(judged) if each.disagreements]
            if not differing:
                break
            once_more = self._send([probes[index] for index in differing], repository, enforced)
            for index, each in zip(differing, once_more, strict=True):
                judged[index] = each
        still = {each.probe for each in judged if each.disagreements}
        return judged, [each for each in at_first if each.probe not in still]

    def _send(
        self, probes: Sequence[Probe], repository: Repository, enforced: Enforced
    ) -> list[Judged]:
        if not probes:
            return []
        sent = sending.send(self.cluster, probes, enforced)
        return [judge(each, repository, enforced) for each in sent]


def loaded(policies: Sequence[Manifest]) -> Repository:
    """Return the matcher with a policy set."""
    repository = population.repository()
    for number, policy in enumerate(policies):
        repository.apply(f"policy/{number}", policy, since=None)
    return repository


def _uids(policies: Sequence[Manifest]) -> list[str]:
    return [policy["metadata"]["uid"] for policy in policies]


def _settle(node: Node, *, wanted: Sequence[str], unwanted: Sequence[str]) -> None:
    """Wait until each endpoint of a node enforces the wanted policies and none of the others."""

    def settled() -> bool:
        rules, revision = node.policy()
        return (
            all(uid in rules for uid in wanted)
            and not any(uid in rules for uid in unwanted)
            and node.realizes(revision)
        )

    what = f"the policies at {node.name}"
    waiting.until(settled, what=what, seconds=ENFORCING_SECONDS, every=0.05, despite=(OSError,))
