"""The wires between nodes, the world and the API server: all in namespaces, but for one veth.

The world is a host with a bridge to which the nodes are attached; it is their router, and all of
203.0.113.0/24 is its own, to call from and to be called at.
"""

from dataclasses import dataclass

from tests.parts.cilium.hosts import Host, run_ip
from tests.parts.cilium.leftovers import Instance

WORLD = "203.0.113"
"""Addresses of the world: this, and any last number."""
FIRST_NODE = 11


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of an instance."""

    number: int

    @property
    def api_server(self) -> str:
        """Return where nodes reach the API server: our end of the veth."""
        return f"198.18.{self.number}.254"

    @property
    def router(self) -> str:
        """Return the world's address on the bridge."""
        return f"198.18.{self.number}.1"

    def node(self, index: int) -> str:
        """Return a node's address."""
        return f"198.18.{self.number}.{FIRST_NODE + index}"

    @staticmethod
    def pods(index: int) -> str:
        """Return the range of a node's pods, the same in all instances: no other sees it."""
        return f"10.244.{index + 1}.0/24"


def make_world(instance: Instance) -> Host:
    """Make the world, with our veth into it."""
    world = Host("world", instance.folder / "world", environment=instance.environment)
    world.ready()
    addresses = Addresses(instance.number)
    world.configure(
        "link set lo up",
        "link add br0 type bridge",
        "link set br0 up",
        f"addr add {addresses.router}/24 dev br0",
        f"route add local {WORLD}.0/24 dev lo",
    )
    world.set({"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "0"})
    run_ip(
        [
            f"link add {instance.veth} type veth peer name outside netns {world.pid}",
            f"addr add {addresses.api_server}/24 dev {instance.veth}",
            f"link set {instance.veth} up",
        ]
    )
    world.configure("link set outside master br0 up")
    return world


def attach(world: Host, node: Host, *, index: int, addresses: Addresses) -> None:
    """Connect a node to the bridge, and route its pods' addresses to it."""
    node.configure(
        "link set lo up",
        f"link add eth0 type veth peer name {node.name} netns {world.pid}",
        f"addr add {addresses.node(index)}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {addresses.router}",
    )
    world.configure(
        f"link set {node.name} master br0 up",
        f"route add {addresses.pods(index)} via {addresses.node(index)}",
    )
