"""Sending probes, and finding what Hubble tells of each: by its caller's address and port.

An echo request has no port: there is one to a pair of addresses in a set, and it is told by these.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf import json_format

from cli.recordings import jsonflows
from cli.recordings.jsonflows import Seen
from policies.flows import Direction, Event, Protocol, Verdict
from schemas.hubble import flow_pb2
from tests import waiting
from tests.contracts.hubble.reading import Client, Following, moment, only_flows
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.real.probes.choosing import Probe
from tests.real.probes.parties import Sort

ONE_PACKET: Final = 0.9
"""Seconds of patience within which TCP sends nothing a second time."""
LATE_SECONDS: Final = 4.0
THREADS: Final = 24
EVENTS: Final = [flow_pb2.EventTypeFilter(type=int(event)) for event in Event]
TRACE: Final = flow_pb2.EventTypeFilter(type=4)


@dataclass(slots=True)
class Sent:
    """A probe, what came of it, and what was told of it."""

    probe: Probe
    call: Call
    verdicts: dict[Direction, list[Seen]] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    """What the DNS proxy said."""

    @property
    def has_arrived(self) -> bool | None:
        """Return whether an answer came, be it that nobody listens; None: that says nothing."""
        if self.call.error in {"", "refused"}:
            return True
        # With several addresses, they answer datagrams from another one.
        elsewhere = self.probe.destination.sort in {Sort.WORLD, Sort.NODE}
        return None if elsewhere and self.probe.protocol is Protocol.UDP else False

    def stopped_at(self, direction: Direction) -> bool:
        """Return whether Cilium said that it stopped it there."""
        return any(
            seen.flow.verdict is Verdict.DROPPED for seen in self.verdicts.get(direction, ())
        )


class Enforced:
    """At which addresses, and in which directions, Cilium looks policies up at all."""

    def __init__(self, cluster: Cluster) -> None:
        self._found: dict[str, str] = {}
        for node in cluster.nodes.values():
            for each in node.endpoints():
                status = each["status"]
                for address in status["networking"]["addressing"]:
                    if ip := address.get("ipv4"):
                        self._found[ip] = status["policy"]["realized"]["policy-enabled"]

    def at(self, ip: str, direction: Direction) -> bool:
        """Return whether there is a verdict to be told."""
        return self._found.get(ip, "none").removeprefix("audit-") in {direction.value, "both"}


def send(cluster: Cluster, probes: Sequence[Probe], enforced: Enforced) -> list[Sent]:
    """Send all at once; return them with all that is told of them."""
    with _following(cluster) as streams:
        with futures.ThreadPoolExecutor(THREADS) as pool:
            sent = [
                Sent(probe, call)
                for probe, call in zip(probes, pool.map(_call, probes), strict=True)
            ]

        def told() -> bool:
            cluster.nudge()
            _attribute(sent, streams)
            return all(_is_complete(each, enforced) for each in sent)

        # What stays away is found missing by whoever judges.
        with suppress(AssertionError):
            waiting.until(told, seconds=LATE_SECONDS, every=0.05)
    return sent


@contextmanager
def _following(cluster: Cluster) -> Iterator[list[Following]]:
    with ExitStack() as stack:
        streams = []
        for node in cluster.nodes.values():
            channel = stack.enter_context(grpc.insecure_channel(node.observer))
            wanted = [flow_pb2.FlowFilter(event_type=EVENTS)]
            since = moment(time.time_ns())
            streams.append(
                stack.enter_context(Client(channel).follow(since=since, whitelist=wanted))
            )
        yield streams


def _call(probe: Probe) -> Call:
    host, ip = probe.source.host, probe.destination.ip
    assert host is not None
    source = probe.source.ip if probe.source.sort is Sort.WORLD else ""
    if probe.name:
        return host.dns(probe.name, ip, timeout=ONE_PACKET)
    match probe.protocol:
        case Protocol.TCP:
            return host.connect(ip, probe.port, timeout=ONE_PACKET, source=source)
        case Protocol.UDP:
            return host.udp(ip, probe.port, timeout=ONE_PACKET, source=source)
        case _:
            return host.ping(ip, timeout=ONE_PACKET, source=source)


def _attribute(sent: Sequence[Sent], streams: Sequence[Following]) -> None:
    """Give each probe what is told of it."""
    wanted = {}
    for each in sent:
        each.verdicts, each.requests = {}, []
        wanted[_key(each)] = each
    reader = jsonflows.Reader()
    for flow in {flow.uuid: flow for s in streams for flow in only_flows(list(s.answers))}.values():
        plain = json_format.MessageToDict(flow, preserving_proto_field_name=True)
        (seen,) = reader.read(json.dumps({"flow": plain}).encode())
        if seen is None or (found := wanted.get(_of_flow(plain))) is None:
            continue
        if seen.flow.event is Event.L7:
            found.requests.append(seen)
        else:
            found.verdicts.setdefault(seen.flow.direction, []).append(seen)


def _key(sent: Sent) -> tuple[object, ...]:
    probe = sent.probe
    if probe.protocol is Protocol.ICMP:
        return ("ICMPv4", probe.source.ip, probe.destination.ip)
    return (str(probe.protocol), sent.call.source, sent.call.port)


def _of_flow(flow: Mapping[str, Any]) -> tuple[object, ...]:
    (name, layer), *_ = flow["l4"].items()
    ends = flow["IP"]
    if name == "ICMPv4":
        return (name, ends["source"], ends["destination"])
    return (name, ends["source"], layer.get("source_port", 0))


def _is_complete(sent: Sent, enforced: Enforced) -> bool:
    probe = sent.probe
    if probe.name:
        # What the proxy asks in its turn is not the pod's packet.
        redirected = any(
            seen.flow.verdict is Verdict.REDIRECTED
            for seen in sent.verdicts.get(Direction.EGRESS, ())
        )
        asked = bool(sent.requests) or not redirected
        return asked and (Direction.EGRESS in sent.verdicts or not _looks_out(probe, enforced))
    if Direction.EGRESS not in sent.verdicts and _looks_out(probe, enforced):
        return False
    if sent.stopped_at(Direction.EGRESS):
        return True
    return Direction.INGRESS in sent.verdicts or not _looks_in(probe, enforced)


def _looks_out(probe: Probe, enforced: Enforced) -> bool:
    return enforced.at(probe.source.ip, Direction.EGRESS)


def _looks_in(probe: Probe, enforced: Enforced) -> bool:
    destination = probe.destination
    return enforced.at(destination.behind or destination.ip, Direction.INGRESS)
