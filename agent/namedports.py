"""What the names of ports mean: pods that look alike to a policy, as one object. Pure.

Tens of thousands of pods are some hundreds of sorts: one NamedPorts object says which ports the
pods of a namespace with the same identity have. Such an object never changes; it comes with the
first pod of its sort and goes with the last. Which pods there are is kept here; nothing else is.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from agent import kinds, plan, shaping, versions
from policies import identitylabels

KIND = "NamedPorts"
API_VERSION = "picket.dev/v1"
_DIGEST_BYTES = 10

_PodName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sort:
    """Pods that no policy tells apart."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    ports: tuple[shaping.ContainerPort, ...]

    def identity(self) -> kinds.Identity:
        """Return its object's name: the same for the same sort, today and after a restart."""
        text = json.dumps([self.labels, [(p.name, p.protocol, p.port) for p in self.ports]])
        digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
        return kinds.Identity(KIND, self.namespace, f"pods-{digest}")

    def wanted(self, created_at: datetime | None) -> plan.Wanted:
        """Return its object, in the form that policies.inventory reads."""
        identity = self.identity()
        ports = [
            {"name": port.name, "protocol": port.protocol, "port": port.port} for port in self.ports
        ]
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": identity.name, "namespace": identity.namespace},
            "spec": {"pods": [{"labels": dict(self.labels), "ports": ports}]},
        }
        return plan.Wanted(
            manifest=manifest, meaning=versions.meaning(manifest), created_at=created_at
        )


@dataclass(slots=True)
class NamedPorts:
    """The pods that have named ports, by their sort."""

    labels: identitylabels.LabelFilter = identitylabels.DEFAULT
    _pods: dict[_PodName, Sort] = field(default_factory=dict)
    _sorts: dict[Sort, tuple[Sort, int]] = field(default_factory=dict)
    """Each sort once, with the number of its pods."""

    def put(self, pod: shaping.Pod, at: datetime) -> Iterator[plan.Change]:
        """Take a pod as it is now; yield what that changes."""
        name = (pod.namespace, pod.name)
        new = self._sort(pod) if pod.ports else None
        old = self._pods.get(name)
        if new == old:
            return
        if new is not None:
            known, count = self._sorts.get(new, (new, 0))
            self._pods[name] = known
            self._sorts[known] = (known, count + 1)
            if not count:
                yield plan.Change(known.identity(), known.wanted(pod.created_at), at)
        if old is not None:
            if new is None:
                del self._pods[name]
            yield from self._leave(old, at)

    def remove(self, namespace: str, name: str, at: datetime) -> Iterator[plan.Change]:
        """Forget a pod; yield what that changes."""
        old = self._pods.pop((namespace, name), None)
        if old is not None:
            yield from self._leave(old, at)

    def keep(self, present: frozenset[_PodName], at: datetime) -> Iterator[plan.Change]:
        """Forget all pods but these; yield what that changes."""
        for namespace, name in self._pods.keys() - present:
            yield from self.remove(namespace, name, at)

    def identities(self) -> frozenset[kinds.Identity]:
        """Return the objects that there are now."""
        return frozenset(sort.identity() for sort in self._sorts)

    def _leave(self, sort: Sort, at: datetime) -> Iterator[plan.Change]:
        known, count = self._sorts[sort]
        if count > 1:
            self._sorts[known] = (known, count - 1)
            return
        del self._sorts[known]
        yield plan.Change(known.identity(), None, at)

    def _sort(self, pod: shaping.Pod) -> Sort:
        labels = tuple(sorted(self.labels.identity(pod.labels).items()))
        return Sort(pod.namespace, labels, pod.ports)
