"""A cluster to play with: the standard pods and policies, and what to try on them."""

import contextlib
from collections.abc import Iterator

from tests.parts.cilium import programs, standard
from tests.parts.cilium.cluster import Cluster


def guide(stack: contextlib.ExitStack) -> Iterator[str]:
    """Start a cluster that lives as long as the stack; yield what a person needs to know."""
    cluster = stack.enter_context(Cluster())
    cast = standard.populate(cluster)
    cluster.enforce(*standard.policies())
    cast.audited.audit()
    built = programs.built()
    yield f"cluster   --relay {cluster.relay.address} --cluster {cluster.name}"
    yield f"          export KUBECONFIG={cluster.kubeconfig}"
    for name, pod in cluster.pods.items():
        yield f"          {name:22} {pod.ip:14} on {pod.node.name}: {_enter(pod.pid)}"
    yield f"          {'the world':22} 203.0.113.0/24: {_enter(cluster.world.pid)}"
    for name, node in cluster.nodes.items():
        yield f"          {name:22} {node.address:14} agent's log: {node.log}"
    front, back = cast.frontend, cast.backend
    yield "try       what is allowed, what no rule allows, and what a rule denies:"
    yield f"          {_enter(front.pid)} curl -m 2 http://{back.ip}:8080/"
    yield f"          {_enter(cast.bare.pid)} curl -m 2 http://{back.ip}:8080/"
    yield f"          {_enter(cast.attacker.pid)} curl -m 2 http://{cast.db.ip}:5432/"
    yield f"          {_enter(front.pid)} dig @{cast.dns_service} {standard.BLOCKED_NAME}"
    yield f"          {built.relay.hubble} observe --server {cluster.relay.address} -f --print-policy-names"
    inside = f"nsenter --target {cluster.nodes['n1'].host.pid} --mount --net"
    yield f"          {inside} {built.debugging} endpoint list"
    yield "          kubectl get cnp,ccnp,netpol -A      Ctrl-C takes it all away"


def _enter(pid: int) -> str:
    return f"nsenter -n -t {pid}"
