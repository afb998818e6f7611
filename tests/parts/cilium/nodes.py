"""A node: a host with a mount namespace of its own, in which Cilium's agent runs.

Its endpoints and its eBPF go on while the agent is stopped, as on a real node.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib import parse

import grpc

from schemas.hubble import observer_pb2, observer_pb2_grpc
from tests import waiting
from tests.parts import cache
from tests.parts.cilium import programs
from tests.parts.cilium.hosts import Host
from tests.parts.cilium.leftovers import Instance

Options = Mapping[str, str]
HUBBLE_PORT = 4244
ANSWER_SECONDS = 30.0
START_SECONDS = 90.0
STOP_SECONDS = 20.0
STATE = "run/cilium"
LOG_LINES = 20

# Mounts of the node alone: a /sys of its network, a file system for its eBPF, and its own /run. The
# two settings that are the whole machine's are covered, so that the agent sets nothing.
MOUNTS = """
umount --lazy /sys || true
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmpfs /run
test -L /var/run || mount --bind /run /var/run
mkdir /run/cilium
echo 1 > /run/setting
mount --bind /run/setting /proc/sys/kernel/unprivileged_bpf_disabled
mount --bind /run/setting /proc/sys/kernel/timer_migration
exec "$@"
"""

DEFAULTS: Options = {
    "enable-ipv4": "true",
    "enable-ipv6": "false",
    "ipam": "kubernetes",
    "k8s-require-ipv4-pod-cidr": "true",
    "routing-mode": "tunnel",
    "tunnel-protocol": "vxlan",
    "devices": "eth0",
    "enable-ipv4-masquerade": "false",
    "kube-proxy-replacement": "false",
    "identity-allocation-mode": "crd",
    # Out of the box a pod may be half a minute and more without the identity of its new labels.
    "identity-max-jitter": "0s",
    "identity-change-grace-period": "500ms",
    "enable-policy": "default",
    "policy-audit-mode": "false",
    "enable-k8s-networkpolicy": "true",
    "enable-l7-proxy": "true",
    "external-envoy-proxy": "true",
    "monitor-aggregation": "medium",
    "monitor-aggregation-interval": "5s",
    "monitor-aggregation-flags": "all",
    "enable-hubble": "true",
    "hubble-listen-address": f":{HUBBLE_PORT}",
    "hubble-disable-tls": "true",
    "enable-endpoint-health-checking": "false",
    "enable-health-checking": "false",
    "cni-exclusive": "false",
    "bpf-ct-global-tcp-max": "65536",
    "bpf-ct-global-any-max": "65536",
    "bpf-nat-global-max": "65536",
    "bpf-policy-map-max": "4096",
}
"""Options of the agent, by the names that `cilium-config` has too."""


@dataclass(slots=True, kw_only=True)
class Node:
    """A node; whoever made it closes its host."""

    name: str
    address: str
    pods: str
    """The range of its pods' addresses."""
    instance: Instance
    options: Options
    kubeconfig: Path
    host: Host = field(init=False)
    _agent: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.host = Host(
            self.name,
            self.folder,
            environment=self.instance.environment,
            mounts=["sh", "-ec", MOUNTS, "sh"],
        )

    @property
    def folder(self) -> Path:
        """Return where its files lie."""
        return self.instance.folder / self.name

    @property
    def log(self) -> Path:
        """Return the file with the agent's output."""
        return self.folder / "agent.log"

    @property
    def observer(self) -> str:
        """Return the address of its Hubble."""
        return f"{self.address}:{HUBBLE_PORT}"

    @property
    def agent_pid(self) -> int:
        """Return the agent's process."""
        assert self._agent is not None
        return self._agent.pid

    def launch(self) -> None:
        """Start the agent and do not wait."""
        assert self._agent is None, f"the agent of {self.name} was started already"
        built = programs.built()
        library = self.folder / "lib"
        if not library.exists():
            library.mkdir()
            (library / programs.DATAPATH).symlink_to(built.datapath)
        paths = {
            "k8s-kubeconfig-path": str(self.kubeconfig),
            "lib-dir": str(library),
        }
        flags = [f"--{key}={value}" for key, value in {**self.options, **paths}.items()]
        tools = f"{self.instance.folder / 'tools'}:{built.agent.parent}:{os.environ['PATH']}"
        with self.log.open("ab") as output:
            self._agent = subprocess.Popen(
                self.host.enter(str(built.agent), *flags, mounts=True),
                env={**self.instance.environment, "K8S_NODE_NAME": self.name, "PATH": tools},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until agent and Hubble answer. Raises Missing with the end of the agent's log."""

        def ready() -> bool:
            if self._agent is None or self._agent.poll() is not None:
                raise self._not_up("its agent ended")
            return self.healthy()

        try:
            waiting.until(ready, seconds=START_SECONDS, every=0.1)
        except AssertionError as error:
            raise self._not_up("its agent did not come up") from error

    def healthy(self) -> bool:
        """Return whether agent and Hubble answer that they are well."""
        try:
            health = self.call("GET", "/healthz", headers={"brief": "true"})
            with grpc.insecure_channel(self.observer) as channel:
                request = observer_pb2.ServerStatusRequest()
                observer_pb2_grpc.ObserverStub(channel).ServerStatus(request, timeout=5)
        except (OSError, grpc.RpcError, http.client.HTTPException):
            return False
        return bool(health["cilium"]["state"] == "Ok")

    def stop(self, *, kill: bool = False) -> None:
        """End the agent in good order, or kill -9 it. Idempotent."""
        agent, self._agent = self._agent, None
        if agent is None:
            return
        agent.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            agent.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()

    def start(self) -> None:
        """Start the agent and wait until it answers. Raises Missing."""
        self.launch()
        self.wait()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a call of the agent's own API. Raises OSError where it does not answer or agree."""
        connection = _Agent(self.host.root / STATE / "cilium.sock")
        try:
            content = None if body is None else json.dumps(body)
            kind = {"Content-Type": "application/json"}
            connection.request(method, f"/v1{path}", content, {**kind, **(headers or {})})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise OSError(f"{self.name}: {method} {path}: {response.status} {answer.decode()}")
        return json.loads(answer) if answer else None

    def endpoint(self, ip: str) -> dict[str, Any]:
        """Return what the agent knows of a pod. Raises OSError where it knows none."""
        found: dict[str, Any] = self.call("GET", f"/endpoint/{parse.quote(f'ipv4:{ip}')}")
        return found

    def endpoints(self) -> list[dict[str, Any]]:
        """Return what the agent knows of all pods and of the node itself."""
        found: list[dict[str, Any]] = self.call("GET", "/endpoint")
        return found

    def policy(self) -> tuple[str, int]:
        """Return the rules in force, with the uids of policies in them, and their revision."""
        found = self.call("GET", "/policy")
        return found["policy"], found["revision"]

    def realizes(self, revision: int) -> bool:
        """Return whether each endpoint enforces the rules of that revision or a later one."""
        return all(
            each["status"]["state"] == "ready"
            and each["status"]["policy"]["realized"]["policy-revision"] >= revision
            for each in self.endpoints()
        )

    def _not_up(self, what: str) -> cache.Missing:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        return cache.Missing(f"{self.name}: {what}:\n{tail}")


class _Agent(http.client.HTTPConnection):
    """A connection to the agent's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("agent", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
