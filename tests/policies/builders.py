"""What the tests of policies are made of."""

import copy
from typing import Any

from policies.flows import (
    POLICY_DENIED,
    Direction,
    Event,
    Observed,
    Protocol,
    Query,
    Request,
    Verdict,
)
from policies.labels import LabelSet
from policies.model import PolicyRef
from policies.options import Options
from policies.repository import Repository
from policies.subjects import SubjectPolicy

HOST = LabelSet.of(["reserved:host"])
REMOTE_NODE = LabelSet.of(["reserved:remote-node"])
WORLD = LabelSet.of(["reserved:world"])
INIT = LabelSet.of(["reserved:init"])
DROPPED = Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENIED)
AUDITED = Observed(verdict=Verdict.AUDIT)
REFUSED = Observed(verdict=Verdict.DROPPED, event=Event.L7)


def a_pod(
    app: str = "web", namespace: str = "shop", cluster: str = "c1", **labels: str
) -> LabelSet:
    """The identity of a pod; an empty label value leaves the label out."""
    own = {"app": app, **labels}
    return LabelSet.of(
        [
            *(f"k8s:{key}={value}" for key, value in own.items() if value),
            f"k8s:io.kubernetes.pod.namespace={namespace}",
            f"k8s:io.cilium.k8s.policy.cluster={cluster}",
            f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
        ]
    )


def a_policy(
    name: str = "p",
    *,
    namespace: str = "shop",
    subject: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **sections: Any,
) -> dict[str, Any]:
    """A CiliumNetworkPolicy for app=web unless told otherwise."""
    spec = {"endpointSelector": {"matchLabels": {"app": "web"}} if subject is None else subject}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": spec | sections,
    }


def a_clusterwide_policy(
    name: str = "p", *, subject: dict[str, Any] | None = None, **sections: Any
) -> dict[str, Any]:
    """A CiliumClusterwideNetworkPolicy for app=web."""
    manifest = a_policy(name, subject=subject, **sections)
    manifest["kind"] = "CiliumClusterwideNetworkPolicy"
    del manifest["metadata"]["namespace"]
    return manifest


def a_network_policy(name: str = "p", *, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    """A NetworkPolicy for app=web."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, **spec},
    }


def ports(*entries: str) -> list[dict[str, Any]]:
    """`toPorts` of entries such as `80/TCP`."""
    found = []
    for entry in entries:
        port, _, protocol = entry.partition("/")
        found.append({"port": port, "protocol": protocol or "ANY"})
    return [{"ports": found}]


def from_app(app: str, *entries: str) -> dict[str, Any]:
    """An ingress rule for pods of one app."""
    rule: dict[str, Any] = {"fromEndpoints": [{"matchLabels": {"app": app}}]}
    return {**rule, "toPorts": ports(*entries)} if entries else rule


def to_app(app: str, *entries: str) -> dict[str, Any]:
    """An egress rule for pods of one app."""
    rule: dict[str, Any] = {"toEndpoints": [{"matchLabels": {"app": app}}]}
    return {**rule, "toPorts": ports(*entries)} if entries else rule


def a_repository(*manifests: dict[str, Any], options: Options | None = None) -> Repository:
    """A repository of these objects, all holding for ever."""
    repository = Repository(options or Options(cluster_name="c1"))
    for index, manifest in enumerate(manifests):
        repository.apply(str(index), copy.deepcopy(manifest), since=None)
    return repository


def policy_of(
    subject: LabelSet, *manifests: dict[str, Any], options: Options | None = None
) -> SubjectPolicy:
    """What a subject is subject to under these objects."""
    return a_repository(*manifests, options=options).subject(subject).newest


def a_query(
    peer: LabelSet,
    *,
    direction: Direction = Direction.INGRESS,
    port: int = 80,
    protocol: Protocol = Protocol.TCP,
    ip: str = "",
    l7: Request | None = None,
) -> Query:
    """A flow as the end sees it whose policy is asked for."""
    return Query(direction=direction, peer=peer, peer_ip=ip, protocol=protocol, port=port, l7=l7)


def ref(name: str = "p", namespace: str = "shop", kind: str = "CiliumNetworkPolicy") -> PolicyRef:
    """The name of a policy that `a_policy` made."""
    return PolicyRef(kind, namespace, name)
