"""A synthetic cluster: nodes, their peer service, and what a test does to them."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import json_format

from schemas.hubble import flow_pb2, peer_pb2, peer_pb2_grpc
from tests.parts.synthetic import events, mix
from tests.parts.synthetic.emission import Emission
from tests.parts.synthetic.node import Node

LOOK_SECONDS = 1.0


class Peers(peer_pb2_grpc.PeerServicer):
    """Hubble's service Peer: tells a relay which nodes there are, and stays."""

    def __init__(self, members: Mapping[str, str]) -> None:
        """`members` are addresses by name."""
        self._members = dict(members)
        self._changed = threading.Condition()

    def change(self, name: str, address: str | None) -> None:
        """Add a node, or take it away."""
        with self._changed:
            if address is None:
                self._members.pop(name, None)
            else:
                self._members[name] = address
            self._changed.notify_all()

    def Notify(
        self, request: peer_pb2.NotifyRequest, context: grpc.ServicerContext
    ) -> Iterator[peer_pb2.ChangeNotification]:
        told: dict[str, str] = {}
        while context.is_active():
            with self._changed:
                if told == self._members:
                    self._changed.wait(LOOK_SECONDS)
                members = dict(self._members)
            for name in told.keys() - members.keys():
                yield _note(name, told[name], peer_pb2.PEER_DELETED)
            for name, address in members.items():
                if told.get(name) != address:
                    yield _note(name, address, peer_pb2.PEER_ADDED)
            told = members


class Cluster:
    """Nodes `demo/n1`, `demo/n2`, … with their peer service and the flows that they see."""

    def __init__(
        self, *, nodes: int, capacity: int = 4095, port: int = 0, seed: int = 1, seeded: bool = True
    ) -> None:
        """`port` is the peer service's; `seeded`: rings start with two events of noise."""
        self.nodes = {
            name: Node(name, capacity=capacity)
            for name in (f"demo/n{number}" for number in range(1, nodes + 1))
        }
        self.emission = Emission(list(self.nodes.values()), seed=seed)
        if seeded:
            self.emission.seed_rings()
        for node in self.nodes.values():
            node.start()
        self.peers = Peers({node.name: node.address for node in self.nodes.values()})
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8, thread_name_prefix="peers"),
            options=[("grpc.so_reuseport", 0)],
        )
        peer_pb2_grpc.add_PeerServicer_to_server(self.peers, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        self._server.start()

    def close(self) -> None:
        """Stop everything."""
        self.emission.stop()
        self._server.stop(0).wait()
        for node in self.nodes.values():
            node.stop()

    def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a test asks for; README.md of this folder lists the commands.

        Raises ValueError where it makes no sense.
        """
        arguments = dict(command)
        name = str(arguments.pop("do", ""))
        action = self._actions().get(name)
        if action is None:
            raise ValueError(f"there is no command {name!r}")
        try:
            return action(**arguments) or {}
        except (TypeError, KeyError) as error:
            raise ValueError(f"{name}: {error}") from error

    def _actions(self) -> Mapping[str, Callable[..., dict[str, Any] | None]]:
        return {
            "start": self._start,
            "stop": self._stop,
            "join": self._join,
            "truth": self._truth,
            "uuids": self._uuids,
            "play": self._play,
            "strangers": self._strangers,
            "flows": self._flows,
            "lost": self._lost,
            "release": self.emission.release,
            "down": self._down,
            "up": self._up,
            "cut": self._cut,
            "end": self._end,
            "hold": self._hold,
            "clear": self._clear,
            "leave": self._leave,
            "join-cluster": self._join_cluster,
            "status": self._status,
        }

    def _start(self, rate: float, mix: str = "everyday", count: int | None = None) -> None:
        self.emission.start(rate, _mix(mix), count=count)

    def _stop(self, *, release: bool = True) -> dict[str, Any]:
        self.emission.stop()
        if release:
            self.emission.release()
        return self.emission.books.as_json()

    def _join(self, *, release: bool = True) -> dict[str, Any]:
        self.emission.join()
        return self._stop(release=release)

    def _truth(self) -> dict[str, Any]:
        return self.emission.books.as_json()

    def _uuids(self, *, counted: bool = True) -> dict[str, Any]:
        return {"uuids": self.emission.books.uuids(counted=counted)}

    def _play(self, scenario: str, times: int = 1, *, release: bool = False) -> dict[str, Any]:
        cast = self.emission.cast
        return self._played([cast.scenarios[scenario]], times, release=release)

    def _strangers(
        self, apps: list[str], times: int = 1, *, release: bool = False
    ) -> dict[str, Any]:
        cast = self.emission.cast
        return self._played([cast.stranger(app) for app in apps], times, release=release)

    def _played(
        self, scenarios: list[mix.Scenario], times: int, *, release: bool
    ) -> dict[str, Any]:
        written = [each for one in scenarios for each in self.emission.play(one, times)]
        if release:
            self.emission.release()
        return {"flows": [{"uuid": uuid, "time": time} for uuid, time in written]}

    def _flows(self, flows: list[dict[str, Any]]) -> dict[str, Any]:
        """Given flows go in as they are, unbooked; their node_name says where."""
        for each in flows:
            flow = json_format.ParseDict(each, flow_pb2.Flow())
            self.nodes[flow.node_name].write([events.whole(flow)])
        return {"written": len(flows)}

    def _lost(self, node: str, count: int, cpu: int = 0) -> None:
        """A node loses events before they reach its ring."""
        here = self.nodes[node]
        lost = events.Lost(source=flow_pb2.PERF_EVENT_RING_BUFFER, count=count, cpu=cpu)
        at = here.newest + 1
        here.write([events.Event(at, None, lost.response(node, at))])

    def _down(self, node: str, *, observing: bool = False) -> None:
        """A node's server goes away; unless `observing`, it sees no flows either."""
        if not observing:
            self.emission.blind.add(self._place(node))
        self.nodes[node].stop()

    def _up(self, node: str, *, clear: bool = False) -> None:
        """It comes back, as an agent does that was started anew with an empty ring if `clear`."""
        here = self.nodes[node]
        if here.up:
            raise ValueError(f"{node} is up")
        if clear:
            here.clear()
            self.emission.seed_rings([here])
        here.start()
        self.emission.blind.discard(self._place(node))

    def _cut(self, node: str) -> None:
        """Its streams break with an error; its server stays."""
        self.nodes[node].end_streams(grpc.StatusCode.UNAVAILABLE)

    def _end(self, node: str) -> None:
        """Its streams end in good order, as relay then never asks it again."""
        self.nodes[node].end_streams(None)

    def _hold(self, node: str, *, held: bool = True) -> None:
        """Its streams get nothing more, until `held` is false."""
        self.nodes[node].hold(held=held)

    def _clear(self, node: str) -> None:
        """Its agent is started anew within a moment: streams break, the ring is empty."""
        self._down(node)
        self._up(node, clear=True)

    def _leave(self, node: str) -> None:
        self.peers.change(node, None)

    def _join_cluster(self, node: str) -> None:
        self.peers.change(node, self.nodes[node].address)

    def _status(self) -> dict[str, Any]:
        return {
            "peers": self.address,
            "nodes": {
                name: {
                    "address": node.address,
                    "up": node.up,
                    "seen": node.seen,
                    "ring": len(node.ring),
                    "newest": node.newest,
                }
                for name, node in self.nodes.items()
            },
        }

    def _place(self, node: str) -> int:
        return list(self.nodes).index(node)


def _mix(name: str) -> mix.Mix:
    return mix.Mix(name)


def _note(name: str, address: str, what: int) -> peer_pb2.ChangeNotification:
    return peer_pb2.ChangeNotification(name=name, address=address, type=what)
