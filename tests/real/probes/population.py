"""The pods, addresses, services and groups that generated policies are about: always the same.

Two namespaces have a team label and one has none; two pods of different namespaces share labels;
`metrics` is a name for two port numbers, so that it means nothing in egress. The world has named
addresses, members of CIDR groups, a service's address, and one that stands for the API server.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from policies.options import Options
from policies.repository import Repository
from tests import waiting
from tests.parts.cilium import manifests
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.pods import Wanted

Manifest = Mapping[str, Any]

CLUSTER: Final = "probes"
AGENT_OPTIONS: Final = {
    "enable-node-selector-labels": "true",
    "node-labels": "kubernetes.io/hostname",
}
OPTIONS: Final = Options(cluster_name=CLUSTER, host_firewall=False, node_selector_labels=True)

PORTS: Final = (8080, 5432, 9999)
"""Where pods, hosts and the world answer, by TCP and UDP."""
CLOSED: Final = 7000
"""Where nobody does: what gets through is refused."""

TEAMS: Final = {"shop": {"team": "red"}, "pay": {"team": "blue"}, "evil": {}}
HTTP: Final = {"http": 8080}
PODS: Final = (
    Wanted("kube-system", "coredns", "n1", {"k8s-app": "kube-dns"}),
    Wanted("shop", "frontend", "n1", {"app": "frontend", "tier": "web", "env": "prod"}, ports=HTTP),
    Wanted(
        *("shop", "backend", "n1", {"app": "backend", "tier": "api", "env": "prod"}),
        ports={"http": 8080, "metrics": 9999},
    ),
    Wanted("shop", "db", "n2", {"app": "db", "tier": "data"}, ports={"sql": 5432}),
    Wanted("shop", "worker", "n2", {"app": "worker", "env": "test"}),
    Wanted(
        *("pay", "api", "n2", {"app": "api", "tier": "api", "env": "prod"}),
        ports={"http": 8080, "metrics": 5432},
    ),
    Wanted("pay", "batch", "n1", {"app": "batch", "env": "test"}),
    Wanted("evil", "attacker", "n2", {"app": "attacker"}),
    Wanted("evil", "double", "n1", {"app": "frontend", "tier": "web"}),
)

NAMES: Final = {
    "api.example.com": "203.0.113.10",
    "www.example.com": "203.0.113.11",
    "deep.api.example.com": "203.0.113.12",
    "blocked.example.org": "203.0.113.20",
    "shop.example.org": "203.0.113.21",
}
API_SERVER: Final = "203.0.113.99"
BACKEND: Final = "203.0.113.30"
"""What stands behind a service without a selector."""
WORLD: Final = (
    *NAMES.values(),
    BACKEND,
    API_SERVER,
    "203.0.113.77",
    "203.0.113.130",
    "203.0.113.200",
)
GROUPS: Final = {
    "partners": ({"tier": "partner", "area": "eu"}, ["203.0.113.128/25"]),
    "strangers": ({"tier": "stranger"}, ["203.0.113.77/32", "203.0.113.10/31"]),
    "nobody": ({"tier": "partner"}, ["198.51.100.0/24"]),
}
SERVICES: Final = {
    ("shop", "backend"): {"app": "backend"},
    ("pay", "api"): {"app": "api"},
}
OUTSIDE: Final = ("shop", "legacy")
WEB: Final = {"web": "80/TCP>8080"}


@dataclass(frozen=True, slots=True)
class Population:
    """A cluster with all of this in it."""

    cluster: Cluster
    services: Mapping[str, str]
    """The pod behind a service, by the service's address."""

    @property
    def name_server(self) -> str:
        """Return its address."""
        return self.cluster.pods["kube-system/coredns"].ip


def new_cluster() -> Cluster:
    """Return a cluster that is not up yet."""
    return Cluster(name=CLUSTER, options=AGENT_OPTIONS)


def populate(cluster: Cluster) -> Population:
    """Make everything, and wait until services and names are answered."""
    for name, labels in TEAMS.items():
        cluster.control.apply(manifests.namespace(name, labels))
    cluster.make(PODS)
    cluster.control.apply(list(facts()))
    services = {}
    for space, name in SERVICES:
        pod = cluster.pods[f"{space}/{name}"]
        cluster.control.apply(manifests.endpoints(space, name, ips={name: pod.ip}, ports=WEB))
        found = cluster.control.get("v1", "Service", name, space)
        assert found is not None
        services[found["spec"]["clusterIP"]] = f"{space}/{name}"
    for host in (*cluster.pods.values(), cluster.world, *(n.host for n in cluster.nodes.values())):
        host.serve(*PORTS)
    coredns = cluster.pods["kube-system/coredns"]
    coredns.serve_dns(NAMES)
    for pod in cluster.pods.values():
        for address in services:
            waiting.until(lambda pod=pod, ip=address: pod.connect(ip, 80).ok, every=0.1)
    return Population(cluster, services)


def facts() -> Iterator[Manifest]:
    """Yield what policies refer to: services, the addresses behind one, and CIDR groups."""
    for (space, name), selector in SERVICES.items():
        yield _labelled(manifests.service(space, name, selector=selector, ports=WEB), tier="api")
    space, name = OUTSIDE
    yield _labelled(manifests.service(space, name, selector={}, ports=WEB), tier="old")
    yield _outside(space, name, BACKEND)
    yield _outside("default", "kubernetes", API_SERVER)
    for name, (labels, ranges) in GROUPS.items():
        yield {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumCIDRGroup",
            "metadata": {"name": name, "labels": labels},
            "spec": {"externalCIDRs": ranges},
        }


def repository() -> Repository:
    """Return the matcher with all that policies refer to, and no policies."""
    made = Repository(OPTIONS)
    for number, fact in enumerate(facts()):
        made.apply(f"fact/{number}", fact, since=None)
    made.apply("ports", {"kind": "NamedPorts", "spec": {"pods": list(_named_ports())}}, since=None)
    return made


def _named_ports() -> Iterator[Manifest]:
    for pod in PODS:
        ports = [{"name": name, "port": number} for name, number in (pod.ports or {}).items()]
        if ports:
            yield {"namespace": pod.namespace, "labels": dict(pod.labels), "ports": ports}


def _outside(space: str, name: str, address: str) -> Manifest:
    """Return the slice of a service behind which stands an address that is no pod's."""
    made = manifests.endpoints(space, name, ips={name: address}, ports=WEB)
    for endpoint in made["endpoints"]:
        del endpoint["targetRef"]
    return made


def _labelled(manifest: dict[str, Any], **labels: str) -> dict[str, Any]:
    manifest["metadata"]["labels"] = labels
    return manifest
