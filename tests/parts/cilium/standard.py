"""The pods that most tests play with, and the policies that stop some of what they say.

    kube-system/coredns n1   shop/frontend n1   shop/backend n1
    shop/db-0 n2   evil/attacker n2   shop/audited n2   shop/bare n2

Each serves HTTP and echoes datagrams on 8080, 5432 and 9999, and so does the world on 80, 443 and
8080. The name server knows api.example.com and all of example.com as 203.0.113.10, and
blocked.example.org as 203.0.113.20.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests import waiting
from tests.parts.cilium import manifests
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.pods import Pod, Wanted

POLICIES = Path(__file__).parent / "policies.yaml"
PORTS = (8080, 5432, 9999)
WORLD_PORTS = (80, 443, 8080)
KNOWN, BLOCKED = "203.0.113.10", "203.0.113.20"
KNOWN_NAME, BLOCKED_NAME = "api.example.com", "blocked.example.org"
NAMES = {KNOWN_NAME: KNOWN, "*.example.com": KNOWN, BLOCKED_NAME: BLOCKED}
PODS = (
    Wanted("kube-system", "coredns", "n1", {"k8s-app": "kube-dns"}, "Deployment/coredns"),
    Wanted("shop", "frontend", "n1", {"app": "frontend", "tier": "web"}, "Deployment/frontend"),
    Wanted("shop", "backend", "n1", {"app": "backend", "tier": "api"}, "Deployment/backend"),
    Wanted("shop", "db-0", "n2", {"app": "db", "tier": "data"}, "StatefulSet/db"),
    Wanted("evil", "attacker", "n2", {"app": "attacker"}, "Deployment/attacker"),
    Wanted("shop", "audited", "n2", {"app": "audited"}, "Deployment/audited"),
    Wanted("shop", "bare", "n2", {"app": "bare"}),
)
DNS_PORTS = {"dns": "53/UDP", "dns-tcp": "53/TCP"}
WEB_PORTS = {"http": "80/TCP>8080"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The standard pods, and the addresses of their services."""

    coredns: Pod
    frontend: Pod
    backend: Pod
    db: Pod
    attacker: Pod
    audited: Pod
    bare: Pod
    dns_service: str
    backend_service: str


def populate(cluster: Cluster) -> Cast:
    """Make the standard pods in a cluster, with their servers and services; no policies."""
    pods = {pod.name: pod for pod in cluster.make(PODS)}
    coredns, backend = pods["coredns"], pods["backend"]
    inside = {"backend.shop.svc.cluster.local": backend.ip}
    for pod in pods.values():
        if pod is not coredns:
            pod.serve(*PORTS)
    cluster.world.serve(*WORLD_PORTS)
    for host in (coredns, cluster.world):
        host.serve_dns({**NAMES, **inside})
    cast = Cast(
        coredns=coredns,
        frontend=pods["frontend"],
        backend=backend,
        db=pods["db-0"],
        attacker=pods["attacker"],
        audited=pods["audited"],
        bare=pods["bare"],
        dns_service=_service(cluster, coredns, "kube-dns", DNS_PORTS),
        backend_service=_service(cluster, backend, "backend", WEB_PORTS),
    )
    for pod in (cast.frontend, cast.bare):
        # A node that does not know a service yet sends what is for it to nowhere.
        waiting.until(lambda pod=pod: pod.connect(cast.backend_service, 80).ok, every=0.1)
        waiting.until(lambda pod=pod: pod.dns(KNOWN_NAME, cast.dns_service).ok, every=0.1)
    return cast


def policies() -> Sequence[dict[str, Any]]:
    """Return the standard policies, one of each kind; `audited` is to be set to audit mode."""
    return list(YAML(typ="safe").load_all(POLICIES.read_text("utf-8")))


def _service(cluster: Cluster, pod: Pod, name: str, ports: dict[str, str]) -> str:
    """Make a service of one pod and return its address."""
    made = cluster.control.apply(
        [
            manifests.service(pod.namespace, name, selector=pod.labels, ports=ports),
            manifests.endpoints(pod.namespace, name, ips={pod.name: pod.ip}, ports=ports),
        ]
    )
    return str(made[0]["spec"]["clusterIP"])
