"""A cluster: an API server, nodes with Cilium's agents, pods on them, the world around, and relay.

Several run side by side on one machine; each goes with the process that started it, however that
ends. Nothing here decides what runs in it: see standard.py.
"""

import contextlib
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.parts import relay
from tests.parts.cilium import enforcing, leftovers, manifests, network, nodes, programs
from tests.parts.cilium.hosts import Host
from tests.parts.cilium.pods import DISCARD, Pod, Wanted
from tests.parts.kubernetes import crds, plane

Manifest = Mapping[str, Any]


class Cluster:
    """A cluster, as a context manager: up when it is entered, gone without a trace when left."""

    def __init__(
        self,
        *,
        name: str = "demo",
        node_names: Sequence[str] = ("n1", "n2"),
        options: nodes.Options | None = None,
        tls: relay.Tls | None = None,
        with_controllers: bool = False,
    ) -> None:
        """`options` of the agents go over nodes.DEFAULTS; `tls` is how relay meets its clients."""
        self.name = name
        self.options = {**nodes.DEFAULTS, **(options or {}), "cluster-name": name}
        self.pods: dict[str, Pod] = {}
        """By `namespace/name`."""
        self._names, self._tls, self._with_controllers = node_names, tls, with_controllers
        self._stack = contextlib.ExitStack()
        self.control: plane.ControlPlane
        self.world: Host
        self.nodes: dict[str, nodes.Node] = {}
        self.relay: relay.Relay
        self._instance: leftovers.Instance

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig file."""
        return self.control.kubeconfig

    @property
    def folder(self) -> Path:
        """Return where its files lie."""
        return self._instance.folder

    def start(self) -> None:
        """Bring it up. Raises Missing."""
        programs.programs()
        with self._stack as undo:
            self._instance = leftovers.claim()
            undo.callback(self._instance.give_back)
            programs.link_tools(self.folder / "tools")
            self.world = network.make_world(self._instance)
            undo.callback(self.world.close)
            addresses = network.Addresses(self._instance.number)
            self.control = undo.enter_context(
                plane.running(
                    self.folder / "kubernetes",
                    address=addresses.api_server,
                    with_controllers=self._with_controllers,
                )
            )
            for index, name in enumerate(self._names):
                self._add_node(index, name, addresses)
            self.control.apply(manifests.config(self.options))
            for node in self.nodes.values():
                node.launch()
            # Agents have much to do before they need Cilium's kinds.
            crds.install(self.control)
            for node in self.nodes.values():
                node.wait()
            first = next(iter(self.nodes.values()))
            self.relay = relay.Relay(
                folder=self.folder / "relay",
                peers=first.observer,
                cluster=self.name,
                tls=self._tls,
            )
            undo.callback(self.relay.stop)
            self.relay.start(nodes=len(self.nodes))
            self._stack = undo.pop_all()

    def close(self) -> None:
        """Take it away. Idempotent."""
        for pod in self.pods.values():
            pod.close()
        for node in self.nodes.values():
            node.stop(kill=True)
            node.host.close()
        self._stack.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def pod(
        self,
        namespace: str,
        name: str,
        node: str,
        labels: Mapping[str, str],
        *,
        workload: str = "",
        ports: Mapping[str, int] | None = None,
    ) -> Pod:
        """Make a pod, and its namespace and controllers where they are not there yet."""
        wanted = Wanted(namespace, name, node, labels, workload=workload, ports=ports)
        return self.make([wanted])[0]

    def make(self, wanted: Sequence[Wanted]) -> list[Pod]:
        """Make several pods at a time."""
        for space in dict.fromkeys(each.namespace for each in wanted):
            if self.control.get("v1", "Namespace", space) is None:
                self.control.apply(manifests.namespace(space))

        def one(each: Wanted) -> Pod:
            pod = Pod(each, self.nodes[each.node], self.control)
            self.pods[f"{each.namespace}/{each.name}"] = pod
            return pod

        with futures.ThreadPoolExecutor() as pool:
            return list(pool.map(one, wanted))

    def remove(self, pod: Pod) -> None:
        """Delete a pod."""
        del self.pods[f"{pod.namespace}/{pod.name}"]
        pod.remove()

    def enforce(self, *policies: Manifest) -> None:
        """Apply policies, and wait until each endpoint enforces them."""
        enforcing.enforce(self.control, self.nodes.values(), policies)

    def withdraw(self, *policies: Manifest) -> None:
        """Delete policies, and wait until no endpoint enforces them."""
        enforcing.withdraw(self.control, self.nodes.values(), policies)

    @contextlib.contextmanager
    def enforced(self, policies: Iterable[Manifest]) -> Iterator[None]:
        """Have policies in force for a while."""
        policies = list(policies)
        try:
            self.enforce(*policies)
            yield
        finally:
            self.withdraw(*policies)

    def nudge(self) -> None:
        """Have an allowed event on each node that has a pod, so that the one before it is told."""
        for node in self.nodes.values():
            own = next((pod for pod in self.pods.values() if pod.node is node), None)
            if own is not None:
                node.host.udp(own.ip, DISCARD, timeout=0)

    def http_log(
        self,
        source: Pod,
        destination: Pod,
        *,
        kind: str = "denied",
        method: str = "GET",
        path: str = "/",
        port: int = 8080,
        status: int = 0,
    ) -> None:
        """Say in Envoy's place that a request was denied, or is a `request` or `response`.

        Its flow appears at the destination's node, ingress.
        """
        flags = {
            "socket": destination.node.host.root / nodes.STATE / "envoy/sockets/access_log.sock",
            "kind": kind,
            "method": method,
            "path": path,
            "host": f"{destination.name}.{destination.namespace}",
            "status": status,
            "source": f"{source.ip}:40000",
            "source-identity": source.identity,
            "destination": f"{destination.ip}:{port}",
            "destination-identity": destination.identity,
            "endpoint": destination.ip,
        }
        program = str(programs.built().http_log)
        subprocess.run([program, *(f"--{key}={value}" for key, value in flags.items())], check=True)

    def stop_agent(self, node: str, *, kill: bool = False) -> None:
        """End a node's agent; what it enforced stays enforced, and nothing tells of it."""
        self.nodes[node].stop(kill=kill)

    def start_agent(self, node: str) -> None:
        """Start a node's agent again, and wait until it answers."""
        self.nodes[node].start()

    def restart_relay(self) -> None:
        """Kill -9 relay and start it again at its address."""
        self.relay.restart(nodes=len(self.nodes))

    def restart_api_server(self, *, kill: bool = False) -> None:
        """Stop the API server and start it again at its address."""
        self.control.api.restart(kill=kill)

    def _add_node(self, index: int, name: str, addresses: network.Addresses) -> None:
        node = nodes.Node(
            name=name,
            address=addresses.node(index),
            pods=addresses.pods(index),
            instance=self._instance,
            options=self.options,
            kubeconfig=self.kubeconfig,
        )
        self.nodes[name] = node
        node.host.ready()
        network.attach(self.world, node.host, index=index, addresses=addresses)
        self.control.apply(manifests.node(name, pods=node.pods))
        self.control.apply(manifests.node_status(name, node.address), subresource="status")
