"""A pod: an object of the API server, and a host that Cilium's plugin connected to its node."""

import hashlib
import json
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests import waiting
from tests.parts import cache
from tests.parts.cilium import manifests, programs
from tests.parts.cilium.hosts import Host
from tests.parts.cilium.nodes import Node
from tests.parts.kubernetes import plane

INTERFACE = "eth0"
DISCARD = 9
"""A port of UDP at each pod that takes all and answers nothing."""
WORKLOADS = threading.Lock()
"""Two pods of one workload make it in turn."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pod is to be."""

    namespace: str
    name: str
    node: str
    labels: Mapping[str, str]
    workload: str = ""
    """Such as `Deployment/web`; none: nobody controls it."""
    ports: Mapping[str, int] | None = None
    """Ports of its container that have names."""

    def manifest(self) -> manifests.Manifest:
        """Return its object."""
        return manifests.pod(
            self.namespace,
            self.name,
            node=self.node,
            labels=self.labels,
            workload=self.workload,
            ports=self.ports,
        )


class Pod(Host):
    """A running pod: what a Host can do, it does as a container of that pod would."""

    def __init__(self, wanted: Wanted, node: Node, control: plane.ControlPlane) -> None:
        """Make it and wait until it is connected. Raises Missing."""
        self.namespace, self.labels = wanted.namespace, dict(wanted.labels)
        self.node = node
        self._wanted, self._control = wanted, control
        folder = node.instance.folder / "pods" / wanted.namespace / wanted.name
        super().__init__(wanted.name, folder, environment=node.instance.environment)
        try:
            self._applied = self._apply()
            self.ip = self._connect()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<{self.namespace}/{self.name} at {self.ip} on {self.node.name}>"

    @property
    def identity(self) -> int:
        """Return its security identity."""
        return int(self.node.endpoint(self.ip)["status"]["identity"]["id"])

    def audit(self, on: bool = True) -> None:
        """Let pass what policies stop, and tell of it; a restart of the agent ends it."""
        mode = "Enabled" if on else "Disabled"
        options = {"PolicyAuditMode": mode}
        number = self.node.endpoint(self.ip)["id"]
        self.node.call("PATCH", f"/endpoint/{number}/config", {"options": options})

        def taken() -> bool:
            found = self.node.endpoint(self.ip)
            applied = found["status"]["realized"]["options"]["PolicyAuditMode"]
            return bool(applied == mode and found["status"]["state"] == "ready")

        waiting.until(taken, what=f"audit mode of {self.name}", every=0.05)

    def relabel(self, labels: Mapping[str, str]) -> None:
        """Give it these labels in place of its own; wait for the identity that they make."""
        wanted = Wanted(
            self.namespace,
            self.name,
            self.node.name,
            labels,
            workload=self._wanted.workload,
            ports=self._wanted.ports,
        )
        manifest = wanted.manifest()
        if references := self._applied["metadata"].get("ownerReferences"):
            manifest["metadata"]["ownerReferences"] = references
        self._applied = self._control.apply(manifest)[0]
        self._wanted, self.labels = wanted, dict(labels)
        waiting.until(self._labelled, what=f"the labels of {self.name}", every=0.05)

    def remove(self) -> None:
        """Delete it: object, connection and namespace."""
        self._control.delete(self._wanted.manifest())
        self._plug("DEL")
        self.close()

    def _apply(self) -> dict[str, Any]:
        """Apply the pod, and the controllers above it, which must be there first."""
        wanted, owner = self._wanted, None
        with WORKLOADS:
            for each in manifests.owners(wanted.workload, wanted.namespace, wanted.labels):
                (owner,) = self._control.apply(manifests.owned(each, owner) if owner else each)
        manifest = wanted.manifest()
        return self._control.apply(manifests.owned(manifest, owner) if owner else manifest)[0]

    def _connect(self) -> str:
        """Connect it to its node, tell the API server, and return its address. Raises Missing."""
        self.ready()
        # Nothing but what a test sends: solicitations of routers are dropped, and told of.
        self.set({"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"})
        self.discard(DISCARD)
        self.configure("link set lo up")
        ip = str(json.loads(self._plug("ADD"))["ips"][0]["address"]).partition("/")[0]
        status = manifests.pod_status(self.namespace, self.name, ip=ip, host=self.node.address)
        self._control.apply(status, subresource="status")
        return ip

    def _plug(self, command: str) -> str:
        """Have Cilium's plugin do as kubelet's runtime would ask it to. Raises Missing."""
        sandbox = hashlib.sha256(self._applied["metadata"]["uid"].encode()).hexdigest()
        plugin = programs.built().cni
        arguments = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": self.namespace,
            "K8S_POD_NAME": self.name,
            "K8S_POD_INFRA_CONTAINER_ID": sandbox,
            "K8S_POD_UID": self._applied["metadata"]["uid"],
        }
        environment = {
            **self.node.instance.environment,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": sandbox,
            "CNI_NETNS": f"/proc/{self.pid}/ns/net",
            "CNI_IFNAME": INTERFACE,
            "CNI_PATH": str(plugin.parent),
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
        }
        log = str(self.node.folder / "cni.log")
        own = {"cniVersion": "1.0.0", "name": "cilium", "type": "cilium-cni", "log-file": log}
        done = subprocess.run(
            self.node.host.enter(str(plugin), mounts=True),
            env=environment,
            input=json.dumps(own),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise cache.Missing(f"no network for pod {self.name}: {done.stdout}{done.stderr}")
        return done.stdout

    def _labelled(self) -> bool:
        endpoint = self.node.endpoint(self.ip)["status"]
        found = {label for label in endpoint["identity"]["labels"] if ":io.c" not in label}
        wanted = {f"k8s:{key}={value}" for key, value in self.labels.items()}
        own = {f"k8s:io.kubernetes.pod.namespace={self.namespace}"}
        return found - own == wanted and endpoint["state"] == "ready"
