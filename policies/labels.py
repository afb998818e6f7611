"""Label sets as Cilium writes identities: `k8s:app=web`, `reserved:world`, `cidr:10.0.0.0/8`.

Everything that is decided about a peer or a subject is decided on its label set, so a set is parsed
once and shared: two sets with the same labels are the same object, and hashing one is hashing an
address. Sets that nobody holds any longer are forgotten.
"""

import weakref
from collections.abc import Iterable
from typing import ClassVar, Final

from policies import dnsnames

K8S: Final = "k8s"
ANY: Final = "any"
RESERVED: Final = "reserved"
CIDR: Final = "cidr"
FQDN: Final = "fqdn"

NAMESPACE_KEY: Final = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS_PREFIX: Final = "io.cilium.k8s.namespace.labels"
CLUSTER_KEY: Final = "io.cilium.k8s.policy.cluster"

WORLDS: Final = frozenset({"world", "world-ipv4", "world-ipv6"})
_OUTSIDE_SOURCES: Final = frozenset({CIDR, FQDN, "cidrgroup"})


def split(label: str) -> tuple[str, str, str]:
    """Source, key and value of `source:key=value`; without a source it is `unspec`.

    A CIDR keeps its whole text as key, since IPv6 is full of colons.
    """
    source, colon, rest = label.partition(":")
    if not colon:
        source, rest = "unspec", label
    key, _, value = rest.partition("=")
    return source, key, value


class LabelSet:
    """An interned, immutable set of labels; make one with `of`, compare with `is` or `==`."""

    __slots__ = (
        "__weakref__",
        "_by_key",
        "_by_source",
        "cluster",
        "fqdns",
        "is_outside",
        "labels",
        "namespace",
        "pairs",
        "reserved",
    )

    _by_key: dict[str, str]
    _by_source: dict[tuple[str, str], str]
    labels: tuple[str, ...]
    """The labels as written, sorted."""
    namespace: str
    """The Kubernetes namespace, or empty for what is no pod."""
    cluster: str
    """The Cilium cluster of a pod, or empty."""
    reserved: frozenset[str]
    """Names of reserved labels, such as `world` or `host`."""
    fqdns: frozenset[str]
    """The DNS names and patterns, canonical, by which some policy knows this address."""
    is_outside: bool
    """Whether it stands for addresses that Cilium does not manage: CIDR rules match these only."""
    pairs: tuple[tuple[str, str], ...]
    """Key and value of each label, without the source: what the policy index looks up."""

    _known: ClassVar["weakref.WeakValueDictionary[tuple[str, ...], LabelSet]"] = (
        weakref.WeakValueDictionary()
    )

    @classmethod
    def of(cls, labels: Iterable[str]) -> "LabelSet":
        """The set of these labels: always the same object for the same labels."""
        key = tuple(sorted(set(labels)))
        known = cls._known.get(key)
        if known is None:
            known = cls._parse(key)
            cls._known[key] = known
        return known

    @classmethod
    def _parse(cls, labels: tuple[str, ...]) -> "LabelSet":
        self = object.__new__(cls)
        parts = [split(label) for label in labels]
        self.labels = labels
        self._by_source = {(source, key): value for source, key, value in reversed(parts)}
        self._by_key = {key: value for _, key, value in reversed(parts)}
        self.pairs = tuple(dict.fromkeys((key, value) for _, key, value in parts))
        self.namespace = self._by_source.get((K8S, NAMESPACE_KEY), "")
        self.cluster = self._by_source.get((K8S, CLUSTER_KEY), "")
        self.reserved = frozenset(key for source, key, _ in parts if source == RESERVED)
        self.fqdns = frozenset(
            dnsnames.canonical(key) for source, key, _ in parts if source == FQDN
        )
        self.is_outside = bool(self.reserved & WORLDS) or any(
            source in _OUTSIDE_SOURCES for source, _, _ in parts
        )
        return self

    def get(self, key: str, source: str = ANY) -> str | None:
        """The value of a label, or None; `any` takes it from whatever source."""
        if source == ANY:
            return self._by_key.get(key)
        return self._by_source.get((source, key))

    def __repr__(self) -> str:
        return f"LabelSet({', '.join(self.labels)})"
