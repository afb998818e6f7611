"""The objects of one cluster with their versions in time, and the policy of each of its subjects.

A subject's policy is made when it is first asked for, from the few policies that can select it, and
made anew only when an object that concerns it changes. Not safe for threads.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from policies import compiling, inventory, options, parsing
from policies.decoding import Field, PolicyRejected
from policies.facts import Facts, Reference, references
from policies.indexing import Index
from policies.inventory import Fact, Inventory, NamedPort
from policies.labels import LabelSet
from policies.model import KINDS, Need, Policy, PolicyRef, Rule
from policies.options import Options
from policies.subjects import SubjectPolicy
from policies.timelines import History, SubjectTimeline

_MAX_SUBJECTS: Final = 200_000
"""Beyond that many label sets all are forgotten: identities come and go."""
_MAX_INVENTORIES: Final = 64

_FACTS: Final[dict[str, Callable[[Mapping[str, object]], Fact]]] = {
    "Service": inventory.service,
    "EndpointSlice": inventory.backends,
    "Endpoints": inventory.backends,
    "CiliumCIDRGroup": inventory.cidr_group,
    "NamedPorts": inventory.named_ports,
}
AGENT_OPTIONS: Final = "AgentOptions"
NAMESPACE: Final = "Namespace"
"""Taken and not kept: an identity carries the labels of its namespace."""


@dataclass(frozen=True, slots=True)
class _Installed:
    """A policy with a number for each of its rules, never used again."""

    policy: Policy
    numbers: tuple[int, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Installed) and other.policy == self.policy

    def __hash__(self) -> int:
        return hash(self.policy.ref)


class Repository:
    """See the module. `options` hold where no AgentOptions object says otherwise."""

    def __init__(self, options: Options = Options()) -> None:  # noqa: B008 (immutable)
        self._base_options = options
        self._options: dict[str, History[Options]] = {}
        self._policies: dict[str, History[_Installed]] = {}
        self._facts = Facts()
        self._index = Index()
        self._timelines: dict[LabelSet, SubjectTimeline] = {}
        self._references: dict[LabelSet, frozenset[Reference]] = {}
        self._referring: dict[Reference, set[LabelSet]] = {}
        self._by_namespace: dict[str, set[LabelSet]] = {}
        self._compiled: weakref.WeakValueDictionary[tuple[object, ...], SubjectPolicy] = (
            weakref.WeakValueDictionary()
        )
        self._gathered: dict[tuple[float, frozenset[Reference]], Inventory] = {}
        self._numbers = count(1)
        self._versions = count(1)
        self._rejected: dict[str, PolicyRejected] = {}

    def apply(self, key: str, manifest: Mapping[str, object], *, since: float | None) -> None:
        """Take a version of an object that holds from `since` (unix seconds; None: for ever).

        What was known to hold at or after `since` is replaced. Namespaces and objects of unknown
        kinds are left aside.
        Raises PolicyRejected where Cilium's engine would refuse the object; from `since` on it then
        contributes nothing.
        """
        self._rejected.pop(key, None)
        try:
            self._take(key, manifest, since)
        except PolicyRejected as error:
            self._rejected[key] = error
            if key in self._policies:
                self._put_policy(key, None, since)
            raise

    def delete(self, key: str, *, at: float | None) -> None:
        """An object ceased to hold at that time (None: forget that it ever was)."""
        self._rejected.pop(key, None)
        if key in self._policies:
            self._put_policy(key, None, at)
        elif key in self._facts:
            known = self._facts.get(key)
            self._put_fact(key, known.put(at, None) if at is not None else History())
        elif key in self._options:
            history_ = self._options[key]
            self._put_options(key, history_.put(at, None) if at is not None else History())

    def subject(
        self, labels: LabelSet, *, named_ports: tuple[NamedPort, ...] | None = None
    ) -> SubjectTimeline:
        """The policies of the endpoints with these labels, over time.

        What is returned is the same object until it is `superseded`, so whoever keeps one sees
        at once that an object changed which concerns the subject, and nobody looks at the others.

        `named_ports`: those of one pod, where known; then nothing is kept. Otherwise a name means
        what the NamedPorts objects say of pods with these labels.
        """
        if named_ports is not None:
            return self._timeline(labels, named_ports)
        timeline = self._timelines.get(labels)
        if timeline is None:
            if len(self._timelines) >= _MAX_SUBJECTS:
                self._forget_all()
            timeline = self._timelines[labels] = self._timeline(labels, None)
            self._by_namespace.setdefault(labels.namespace, set()).add(labels)
        return timeline

    def policies(self) -> tuple[Policy, ...]:
        """The policies that hold now, sorted by name."""
        found = [h.newest.policy for h in self._policies.values() if h.newest is not None]
        return tuple(sorted(found, key=lambda policy: policy.ref))

    def policy(self, ref: PolicyRef) -> Policy | None:
        """The policy of that name that holds now."""
        newest = (history.newest for history in self._policies.values())
        return next((found.policy for found in newest if found and found.policy.ref == ref), None)

    def rejected(self) -> dict[str, PolicyRejected]:
        """The objects that are not taken, by key: they contribute nothing."""
        found = dict(self._rejected)
        if not self._newest_options().node_selector_labels:
            for key, history in self._policies.items():
                if history.newest is not None and _asks_for_nodes(history.newest.policy):
                    found[key] = PolicyRejected("spec", "needs enable-node-selector-labels")
        return found

    def prune(self, before: float) -> None:
        """Forget versions that had ceased to hold before that time (unix seconds)."""
        for key, history in list(self._policies.items()):
            shorter = history.after(before)
            if shorter is not history:
                self._store_policy(key, history, shorter)
        for key, facts in self._facts.items():
            if (kept := facts.after(before)) is not facts:
                self._put_fact(key, kept)

    def _take(self, key: str, manifest: Mapping[str, object], since: float | None) -> None:
        kind = Field("", manifest)["kind"].text()
        if kind in KINDS:
            policy = parsing.parse(manifest, node_selector_labels=True)
            numbers = tuple(next(self._numbers) for _ in policy.rules)
            self._put_policy(key, _Installed(policy, numbers), since)
        elif kind == AGENT_OPTIONS:
            history = self._options.get(key, History())
            self._put_options(key, history.put(since, options.parse(manifest)))
        elif kind in _FACTS:
            self._put_fact(key, self._facts.get(key).put(since, _FACTS[kind](manifest)))

    # Storing, and forgetting what depended on it.

    def _put_policy(self, key: str, value: _Installed | None, since: float | None) -> None:
        old = self._policies.get(key, History())
        if value is not None and old.newest == value and _holds_from(old, since):
            return
        new: History[_Installed] = History()
        if value is not None or since is not None:
            new = old.put(since, value)
        self._store_policy(key, old, new)

    def _store_policy(self, key: str, old: History[_Installed], new: History[_Installed]) -> None:
        if new == old:
            return
        before = [installed.policy for installed in old.values()]
        after = [installed.policy for installed in new.values()]
        self._index.remove(key, before)
        self._index.add(key, after)
        if new.versions:
            self._policies[key] = new
        else:
            self._policies.pop(key, None)
        for policy in (*before, *after):
            self._forget_subjects(policy)

    def _put_fact(self, key: str, history: "History[Fact]") -> None:
        changed = self._facts.put(key, history)
        if not changed:
            return
        self._gathered.clear()
        concerned = [
            reference
            for reference in self._referring
            if any(self._facts.concerns(reference, fact) for fact in changed)
        ]
        for reference in concerned:
            for labels in tuple(self._referring.get(reference, ())):
                self._forget(labels)

    def _put_options(self, key: str, history: History[Options]) -> None:
        if self._options.get(key) == history:
            return
        if history.versions:
            self._options[key] = history
        else:
            self._options.pop(key, None)
        self._forget_all()

    def _forget_subjects(self, policy: Policy) -> None:
        namespace = policy.ref.namespace
        known: Iterable[LabelSet] = self._timelines
        if namespace:
            known = self._by_namespace.get(namespace, set())
        for labels in [ls for ls in known if any(r.subject.matches(ls) for r in policy.rules)]:
            self._forget(labels)

    def _forget(self, labels: LabelSet) -> None:
        timeline = self._timelines.pop(labels, None)
        if timeline is not None:
            timeline.superseded = True
        for reference in self._references.pop(labels, ()):
            referring = self._referring[reference]
            referring.discard(labels)
            if not referring:
                del self._referring[reference]
        self._by_namespace.get(labels.namespace, set()).discard(labels)

    def _forget_all(self) -> None:
        for timeline in self._timelines.values():
            timeline.superseded = True
        self._timelines.clear()
        self._references.clear()
        self._referring.clear()
        self._by_namespace.clear()

    # Making the timeline of a subject.

    def _timeline(
        self, labels: LabelSet, named_ports: tuple[NamedPort, ...] | None
    ) -> SubjectTimeline:
        histories = [self._policies[key] for key in self._index.candidates(labels)]
        chosen = [history for history in histories if _concerns(history, labels)]
        wanted = references(
            rule
            for history in chosen
            for installed in history.values()
            for rule in installed.policy.rules
        )
        changes = [time for history in chosen for time in history.changes()]
        for history in self._options.values():
            changes += history.changes()
        for facts in self._facts.about(wanted):
            changes += facts.changes()
        if named_ports is None and wanted:
            self._references[labels] = wanted
            for reference in wanted:
                self._referring.setdefault(reference, set()).add(labels)
        return SubjectTimeline(
            changes, lambda at: self._compile(labels, chosen, wanted, named_ports, at)
        )

    def _compile(
        self,
        labels: LabelSet,
        histories: list[History[_Installed]],
        wanted: frozenset[Reference],
        named_ports: tuple[NamedPort, ...] | None,
        at: float,
    ) -> SubjectPolicy:
        opts = self._options_at(at)
        rules: list[tuple[Policy, int, Rule]] = []
        for history in histories:
            installed = history.at(at)
            if installed is None:
                continue
            if _asks_for_nodes(installed.policy) and not opts.node_selector_labels:
                continue
            rules += [
                (installed.policy, number, rule)
                for number, rule in zip(installed.numbers, installed.policy.rules, strict=True)
                if compiling.selects(rule, labels, opts)
            ]
        rules.sort(key=lambda entry: (entry[0].ref, entry[1]))
        facts = self._inventory_at(at, wanted) if wanted else Inventory()
        traits = compiling.traits_of(labels, opts)
        if Need.NAMED_PORTS in wanted:
            own = facts.ports_of(labels) if named_ports is None else named_ports
            traits = compiling.Traits(
                traits.cluster, traits.is_init, traits.is_host, own, facts.all_ports()
            )
            facts = replace(facts, named_ports=())
        key = (tuple(number for _, number, _ in rules), traits, opts, facts)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = compiling.compile_subject(
                [(policy, rule) for policy, _, rule in rules],
                traits,
                version=next(self._versions),
                options=opts,
                inventory=facts,
            )
            self._compiled[key] = compiled
        return compiled

    def _newest_options(self) -> Options:
        return self._options_at(float("inf"))

    def _options_at(self, at: float) -> Options:
        for history in self._options.values():
            if (found := history.at(at)) is not None:
                return found
        return self._base_options

    def _inventory_at(self, at: float, wanted: frozenset[Reference]) -> Inventory:
        found = self._gathered.get((at, wanted))
        if found is None:
            facts = (history.at(at) for history in self._facts.about(wanted))
            found = inventory.gather(fact for fact in facts if fact is not None)
            if len(self._gathered) >= _MAX_INVENTORIES:
                self._gathered.clear()
            self._gathered[at, wanted] = found
        return found


def _holds_from(history: History[_Installed], since: float | None) -> bool:
    """Whether the newest version holds at `since` already, so that nothing changes."""
    start = history.versions[-1][0]
    return start == float("-inf") if since is None else start <= since


def _asks_for_nodes(policy: Policy) -> bool:
    """Whether the engine takes it only with the option for node labels."""
    return any(Need.NODE_LABELS in rule.needs for rule in policy.rules)


def _concerns(history: History[_Installed], labels: LabelSet) -> bool:
    return any(
        rule.subject.matches(labels)
        for installed in history.values()
        for rule in installed.policy.rules
    )
