"""Worlds to try policies in: endpoints, options of the agent, and flows between them."""

import ipaddress
import random
from typing import Any

Json = Any

NAMESPACES = ("shop", "payments", "default")
APPS = ("web", "api", "db")
PODS = {
    f"{app}-{namespace}": (app, namespace, "c1") for app in APPS for namespace in NAMESPACES[:2]
} | {"far": ("web", "shop", "c2"), "lone": ("db", "default", "c1")}
ADDRESSES = ("10.1.2.3", "10.1.9.9", "192.168.7.7", "8.8.8.8")
ADDRESSES6 = ("2001:db8::5", "2001:db8:1::9", "fd00::1")
GROUPS: tuple[Json, ...] = (
    {"name": "partners", "labels": {"tier": "partner", "area": "eu"}, "cidrs": ["10.1.0.0/16"]},
    {"name": "cdn", "labels": {"tier": "cdn"}, "cidrs": ["10.1.2.0/24", "2001:db8::/32"]},
    {"name": "plain", "labels": {}, "cidrs": ["8.8.8.8/32"]},
)
NUMBERS = (22, 53, 80, 443, 5432, 8080, 8081, 8087, 9090, 65535, 1, 32768)
NAMES = ("http", "metrics", "dns")
PROTOCOLS = ("TCP", "UDP", "SCTP")
NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels"
CLUSTER = "io.cilium.k8s.policy.cluster"


class World:
    """Endpoints, options and flows."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.dual = chance.random() < 0.25
        self.options = {
            "cluster_name": "c1",
            "policy_default_local_cluster": chance.random() < 0.8,
            "allow_localhost": chance.choice(("always", "policy")),
            "dual_stack": self.dual,
            "host_firewall": chance.random() < 0.5,
            "enforcement_mode": chance.choice(("default",) * 8 + ("always", "never")),
        }
        self.endpoints = self._endpoints()

    def _endpoints(self) -> dict[str, Json]:
        found = {name: self._pod(*pod) for name, pod in PODS.items()}
        for name in ("host", "remote-node", "health", "init", "ingress", "unmanaged"):
            found[name] = _plain([f"reserved:{name}"])
        for name in ("health", "init", "ingress"):
            found[name]["policy_subject"] = True
        found["host"]["policy_subject"] = self.options["host_firewall"]
        found["host"]["labels"].append("k8s:node-role=worker")
        found["apiserver"] = _plain(["reserved:kube-apiserver", "reserved:remote-node"])
        found["world"] = _plain([f"reserved:world{'-ipv4' if self.dual else ''}"], "5.6.7.8")
        for index, ip in enumerate(ADDRESSES):
            world = "reserved:world-ipv4" if self.dual else "reserved:world"
            found[f"ip{index}"] = _plain([f"cidr:{ip}/32", world, *_groups(ip)], ip)
        for index, ip in enumerate(ADDRESSES6 if self.dual else ()):
            label = ip.replace(":", "-")
            labels = [f"cidr:{label}/128", "reserved:world-ipv6", *_groups(ip)]
            found[f"ip6{index}"] = _plain(labels, ip)
        world = "reserved:world-ipv4" if self.dual else "reserved:world"
        found["named"] = _plain(
            ["cidr:1.2.3.4/32", "fqdn:example.com", "fqdn:*.example.org", world], "1.2.3.4"
        )
        return found

    def _pod(self, app: str, namespace: str, cluster: str) -> Json:
        chance = self.chance
        labels = [
            f"k8s:app={app}",
            f"k8s:{NAMESPACE}={namespace}",
            f"k8s:{CLUSTER}={cluster}",
            f"k8s:{NAMESPACE_LABEL}.kubernetes.io/metadata.name={namespace}",
            f"k8s:{NAMESPACE_LABEL}.team={'red' if namespace == 'shop' else 'blue'}",
            f"k8s:io.cilium.k8s.policy.serviceaccount={app}",
        ]
        if chance.random() < 0.5:
            labels.append(f"k8s:env={chance.choice(('prod', 'test'))}")
        if chance.random() < 0.2:
            labels.append("container:image=x")
        if chance.random() < 0.3:
            labels.append("k8s:app.kubernetes.io/name=shop")
        made = _plain(sorted(labels), f"10.244.0.{chance.randrange(1, 250)}")
        made["policy_subject"] = cluster == "c1"
        made["named_ports"] = {
            name: {"port": chance.choice((80, 8080, 53)), "protocol": chance.choice(PROTOCOLS[:2])}
            for name in NAMES
            if chance.random() < 0.4
        }
        return made

    def queries(self, count: int, *, web: bool = False) -> list[Json]:
        """Flows of which one end at least is under policy; `web`: such as L7 rules are about."""
        chance = self.chance
        names = sorted(self.endpoints)
        subjects = [name for name in names if self.endpoints[name]["policy_subject"]]
        found = []
        while len(found) < count:
            ends = [chance.choice(subjects), chance.choice(names)]
            chance.shuffle(ends)
            if ends[0] == ends[1]:
                continue
            protocol = chance.choice((*PROTOCOLS, "TCP", "TCP", "UDP", "ICMP", "ICMPv6"))
            if web:
                protocol, port = "TCP", chance.choice((80, 80, 8080, 443, 53))
            elif protocol.startswith("ICMP"):
                port = chance.choice((8, 3, 11, 13, 128, 2, 135, 40))
            else:
                port = chance.choice((*NUMBERS, 80, 53, 8080, chance.randrange(1, 65536)))
            found.append({"from": ends[0], "to": ends[1], "protocol": protocol, "dport": port})
        return found


def _groups(ip: str) -> list[str]:
    """Return the labels that an address has of the groups that it is in, as Cilium gives them."""
    address = ipaddress.ip_address(ip)
    found = []
    for group in GROUPS:
        if any(address in ipaddress.ip_network(cidr) for cidr in group["cidrs"]):
            found.append(f"cidrgroup:io.cilium.policy.cidrgroupname/{group['name']}")
            found += [f"cidrgroup:{key}={value}" for key, value in group["labels"].items()]
    return found


def _plain(labels: list[str], ip: str = "") -> Json:
    return {"kind": "", "labels": labels, "ip": ip, "named_ports": {}, "policy_subject": False}
