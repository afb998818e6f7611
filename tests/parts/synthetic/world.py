"""The cluster that the synthetic flows come from: pods, addresses, and how Hubble shows them.

The shapes are those of the recordings in tests/data/captures: an endpoint has its ID and its
workloads on its own node only, an address outside has a local identity where a policy names it.
"""

import zlib
from dataclasses import dataclass

from schemas.hubble import flow_pb2

CLUSTER = "demo"
WORLD_IDENTITY = 2
LOCAL_IDENTITIES = 1 << 24
EMITTER = flow_pb2.Emitter(name="Hubble", version="1.19.6+g9a8982433e")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of some workload; `place` says on which node, counted round."""

    namespace: str
    app: str
    place: int
    tier: str = ""
    label: str = "app"

    @property
    def number(self) -> int:
        """Return what its identity and address are made from."""
        return zlib.crc32(f"{self.namespace}/{self.label}={self.app}".encode())

    @property
    def identity(self) -> int:
        """Return its identity, of those that the whole cluster shares."""
        return 256 + self.number % 65000

    @property
    def address(self) -> str:
        """Return its IP."""
        return f"10.244.{self.place + 1}.{2 + self.number % 250}"

    @property
    def labels(self) -> list[str]:
        """Return its labels as an identity carries them."""
        labels = [
            f"k8s:{self.label}={self.app}",
            "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=" + self.namespace,
            f"k8s:io.cilium.k8s.policy.cluster={CLUSTER}",
            "k8s:io.cilium.k8s.policy.serviceaccount=default",
            f"k8s:io.kubernetes.pod.namespace={self.namespace}",
        ]
        return sorted([*labels, f"k8s:tier={self.tier}"] if self.tier else labels)

    def endpoint(self, *, local: bool) -> flow_pb2.Endpoint:
        """Return it as a flow shows it; `local`: on the node that emits the flow."""
        shown = flow_pb2.Endpoint(
            identity=self.identity,
            cluster_name=CLUSTER,
            namespace=self.namespace,
            labels=self.labels,
            pod_name=f"{self.app}-6d9f5d8b6d-{self.number % 0xFFFFF:05x}",
        )
        if local:
            shown.ID = 1 + self.number % 4000
            shown.workloads.add(name=self.app, kind="Deployment")
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address outside the cluster; `prefix`: the longest one that policies name, if any."""

    address: str
    prefix: str = ""

    def endpoint(self, *, local: bool) -> flow_pb2.Endpoint:
        """Return it as a flow shows it."""
        if not self.prefix:
            return flow_pb2.Endpoint(identity=WORLD_IDENTITY, labels=["reserved:world"])
        identity = LOCAL_IDENTITIES + 1 + zlib.crc32(self.prefix.encode()) % 1000
        return flow_pb2.Endpoint(
            identity=identity, labels=[f"cidr:{self.prefix}", "reserved:world"]
        )


End = Pod | Address

FRONTEND = Pod(namespace="shop", app="frontend", place=0, tier="web")
BACKEND = Pod(namespace="shop", app="backend", place=1, tier="api")
DB = Pod(namespace="shop", app="db", place=1, tier="data")
AUDITED = Pod(namespace="shop", app="audited", place=2)
GATEWAY = Pod(namespace="pay", app="gateway", place=0)
LEDGER = Pod(namespace="pay", app="ledger", place=2)
PLAYER = Pod(namespace="media", app="player", place=0)
ENCODER = Pod(namespace="media", app="encoder", place=2)
COREDNS = Pod(namespace="kube-system", app="kube-dns", place=0, label="k8s-app")
SHADY = Address(address="203.0.113.20", prefix="203.0.113.0/24")
BANK = Address(address="192.0.2.10", prefix="192.0.2.0/24")
SOMEWHERE = Address(address="198.51.100.7")
VISITOR = Address(address="198.51.100.9")
