"""Objects of the API server that kubelet, controllers and installers would have made. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

Manifest = dict[str, Any]
CONTAINER = {"name": "main", "image": "tests.invalid/none:1"}
HASH_LABEL = "pod-template-hash"


def namespace(name: str, labels: Mapping[str, str] | None = None) -> Manifest:
    """Return a namespace."""
    return _object("v1", "Namespace", {"name": name, "labels": dict(labels or {})})


def node(name: str, *, pods: str) -> Manifest:
    """Return a node; `pods` is the range of its pods' addresses."""
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    spec = {"podCIDR": pods, "podCIDRs": [pods]}
    return _object("v1", "Node", {"name": name, "labels": labels}, spec=spec)


def node_status(name: str, address: str) -> Manifest:
    """Return the status of a node that is ready."""
    status = {
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": name},
        ],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Tests"}],
    }
    return _object("v1", "Node", {"name": name}, status=status)


def config(options: Mapping[str, str]) -> Manifest:
    """Return `cilium-config` as an installation has it."""
    metadata = {"name": "cilium-config", "namespace": "kube-system"}
    return _object("v1", "ConfigMap", metadata, data=dict(options))


def owners(workload: str, space: str, labels: Mapping[str, str]) -> Iterator[Manifest]:
    """Yield the controllers of a pod, outermost first; `workload` is such as `Deployment/web`.

    A Deployment has its ReplicaSet in between. The owner of each but the first is for whoever
    applies them to fill in, by `owned`, since it needs the uid.
    """
    if not workload:
        return
    kind, _, name = workload.partition("/")
    yield _controller(kind, space, name, labels)
    if kind == "Deployment":
        hashed = template_hash(name)
        yield _controller("ReplicaSet", space, f"{name}-{hashed}", {**labels, HASH_LABEL: hashed})


def owned(manifest: Manifest, owner: Mapping[str, Any]) -> Manifest:
    """Return the object as one of that controller's."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def pod(
    space: str,
    name: str,
    *,
    node: str,
    labels: Mapping[str, str],
    workload: str = "",
    ports: Mapping[str, int] | None = None,
) -> Manifest:
    """Return a pod; `ports` are the ports of its container that have names.

    Cilium tells the workload only of a pod with a generateName and a controlling owner.
    """
    metadata: Manifest = {"name": name, "namespace": space, "labels": dict(labels)}
    kind, _, of = workload.partition("/")
    if kind == "Deployment":
        metadata["labels"][HASH_LABEL] = template_hash(of)
        metadata["generateName"] = f"{of}-{template_hash(of)}-"
    elif kind:
        metadata["generateName"] = f"{of}-"
    named = [
        {"name": key, "containerPort": port, "protocol": "TCP"}
        for key, port in (ports or {}).items()
    ]
    spec = {
        "nodeName": node,
        "serviceAccountName": "default",
        "automountServiceAccountToken": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{**CONTAINER, "ports": named}],
    }
    return _object("v1", "Pod", metadata, spec=spec)


def pod_status(space: str, name: str, *, ip: str, host: str) -> Manifest:
    """Return the status of a pod that runs."""
    status = {
        "phase": "Running",
        "hostIP": host,
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return _object("v1", "Pod", {"name": name, "namespace": space}, status=status)


def service(
    space: str, name: str, *, selector: Mapping[str, str], ports: Mapping[str, str]
) -> Manifest:
    """Return a service; `ports`: by name, such as `80/TCP>8080`."""
    spec = {
        "selector": dict(selector),
        "ports": [
            {"name": key, "port": port, "protocol": protocol, "targetPort": target}
            for key, (port, protocol, target) in _ports(ports)
        ],
    }
    return _object("v1", "Service", {"name": name, "namespace": space}, spec=spec)


def endpoints(
    space: str, name: str, *, ips: Mapping[str, str], ports: Mapping[str, str]
) -> Manifest:
    """Return a service's endpoint slice; `ips` by the names of the pods."""
    metadata = {
        "name": f"{name}-1",
        "namespace": space,
        "labels": {"kubernetes.io/service-name": name},
    }
    return _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        metadata,
        addressType="IPv4",
        endpoints=[
            {
                "addresses": [ip],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": space},
            }
            for pod, ip in ips.items()
        ],
        ports=[
            {"name": key, "port": target, "protocol": protocol}
            for key, (_, protocol, target) in _ports(ports)
        ],
    )


def template_hash(workload: str) -> str:
    """Return what a Deployment's ReplicaSet is called after."""
    return hashlib.sha256(workload.encode()).hexdigest()[:10]


def _controller(kind: str, space: str, name: str, labels: Mapping[str, str]) -> Manifest:
    metadata = {"name": name, "namespace": space, "labels": dict(labels)}
    inner: Manifest = {"containers": [CONTAINER]}
    template = {"metadata": {"labels": dict(labels)}, "spec": inner}
    if kind == "Job":
        inner["restartPolicy"] = "Never"
        return _object("batch/v1", kind, metadata, spec={"template": template})
    spec: Manifest = {"selector": {"matchLabels": dict(labels)}, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = 1
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return _object("apps/v1", kind, metadata, spec=spec)


def _ports(ports: Mapping[str, str]) -> Iterator[tuple[str, tuple[int, str, int]]]:
    for name, text in ports.items():
        front, _, target = text.partition(">")
        port, _, protocol = front.partition("/")
        yield name, (int(port), protocol, int(target or port))


def _object(version: str, kind: str, metadata: Manifest, **fields: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
