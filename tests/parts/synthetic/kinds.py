"""Flows as Hubble shows them: verdicts, drops, traces and DNS requests between two ends."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import text_format, wrappers_pb2

from schemas.hubble import flow_pb2
from tests.parts.synthetic import world

DROP, TRACE, VERDICT, L7 = 1, 4, 5, 129
POLICY_REVISION = 8
INGRESS, EGRESS = flow_pb2.INGRESS, flow_pb2.EGRESS
_DROP_LINES = {INGRESS: 2405, EGRESS: 1651}
_SUMMARIES = {"TCP": "TCP Flags: SYN", "UDP": "UDP", "ICMPv4": "ICMPv4 EchoRequest"}


@dataclass(frozen=True, slots=True)
class Port:
    """What is called: a port, or an echo request where the protocol is ICMPv4."""

    number: int
    protocol: str = "TCP"

    def layer(self) -> flow_pb2.Layer4:
        """Return layer 4 of the first packet."""
        if self.protocol == "ICMPv4":
            return flow_pb2.Layer4(ICMPv4=flow_pb2.ICMPv4(type=8))
        layer = flow_pb2.Layer4()
        ports = getattr(layer, self.protocol)
        ports.source_port, ports.destination_port = 32768, self.number
        if self.protocol == "TCP":
            ports.flags.SYN = True
        return layer


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as flows name it."""

    kind: str
    namespace: str
    name: str

    def named(self) -> flow_pb2.Policy:
        """Return it as a flow names it."""
        prefix = "k8s:io.cilium.k8s.policy."
        labels = [f"{prefix}derived-from={self.kind}", f"{prefix}name={self.name}"]
        if self.namespace:
            labels.append(f"{prefix}namespace={self.namespace}")
        uid = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.kind}/{self.namespace}/{self.name}")
        return flow_pb2.Policy(
            name=self.name,
            namespace=self.namespace,
            labels=[*labels, f"{prefix}uid={uid}"],
            revision=POLICY_REVISION,
            kind=self.kind,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Someone calls someone, and the node at one end of it tells."""

    source: world.End
    destination: world.End
    port: Port
    direction: int

    @property
    def place(self) -> int:
        """Return where the node is that tells: at the subject of the direction."""
        subject = self.source if self.direction == EGRESS else self.destination
        assert isinstance(subject, world.Pod)
        return subject.place

    def flow(self, nodes: Sequence[str]) -> flow_pb2.Flow:
        """Return what all its flows have in common."""
        here = self.place % len(nodes)
        name = nodes[here]
        flow = flow_pb2.Flow(
            emitter=world.EMITTER,
            ethernet=flow_pb2.Ethernet(source="2a:81:e2:3c:99:55", destination="86:46:6b:03:80:da"),
            IP=flow_pb2.IP(
                source=self.source.address,
                destination=self.destination.address,
                ipVersion=flow_pb2.IPv4,
            ),
            l4=self.port.layer(),
            source=self.source.endpoint(local=_is_at(self.source, here, nodes)),
            destination=self.destination.endpoint(local=_is_at(self.destination, here, nodes)),
            Type=flow_pb2.L3_L4,
            node_name=name,
            node_labels=[
                "kubernetes.io/arch=amd64",
                f"kubernetes.io/hostname={name.rpartition('/')[2]}",
                "kubernetes.io/os=linux",
                "topology.kubernetes.io/zone=demo-a",
            ],
            traffic_direction=self.direction,
        )
        flow.Summary = _SUMMARIES[self.port.protocol]
        return flow


def allowed(
    call: Call, policy: Policy, nodes: Sequence[str], *, proxy: bool = False
) -> flow_pb2.Flow:
    """Return the verdict on a call that a policy allows, to a proxy or straight on."""
    flow = call.flow(nodes)
    flow.event_type.type = VERDICT
    flow.verdict = flow_pb2.REDIRECTED if proxy else flow_pb2.FORWARDED
    flow.policy_match_type = 2
    flow.is_reply.CopyFrom(wrappers_pb2.BoolValue(value=False))
    flow.policy_log.append("")
    field = "egress_allowed_by" if call.direction == EGRESS else "ingress_allowed_by"
    getattr(flow, field).append(policy.named())
    return flow


def denied(call: Call, nodes: Sequence[str], *, by: Policy | None = None) -> flow_pb2.Flow:
    """Return the verdict on a call that is stopped: by a rule that denies it, else by none."""
    flow = call.flow(nodes)
    flow.event_type.type = VERDICT
    _drop(flow, flow_pb2.POLICY_DENIED if by is None else flow_pb2.POLICY_DENY)
    if by is not None:
        flow.policy_match_type = 1
        flow.policy_log.append("")
        field = "egress_denied_by" if call.direction == EGRESS else "ingress_denied_by"
        getattr(flow, field).append(by.named())
    return flow


def dropped(call: Call, nodes: Sequence[str], *, reason: int) -> flow_pb2.Flow:
    """Return the drop event that goes with the verdict on a call."""
    flow = call.flow(nodes)
    flow.event_type.type, flow.event_type.sub_type = DROP, reason
    flow.file.name, flow.file.line = "bpf_lxc.c", _DROP_LINES[call.direction]
    _drop(flow, reason)
    return flow


def audited(call: Call, nodes: Sequence[str]) -> flow_pb2.Flow:
    """Return the verdict on a call that would have been stopped: it names no reason."""
    flow = call.flow(nodes)
    flow.event_type.type = VERDICT
    flow.verdict = flow_pb2.AUDIT
    flow.is_reply.CopyFrom(wrappers_pb2.BoolValue(value=False))
    return flow


def traced(call: Call, nodes: Sequence[str]) -> flow_pb2.Flow:
    """Return the trace of a packet that is delivered."""
    flow = call.flow(nodes)
    flow.event_type.type = TRACE
    flow.verdict = flow_pb2.FORWARDED
    flow.traffic_direction = EGRESS
    flow.trace_observation_point = flow_pb2.TO_ENDPOINT
    flow.trace_reason = flow_pb2.ESTABLISHED
    flow.is_reply.CopyFrom(wrappers_pb2.BoolValue(value=False))
    flow.interface.index, flow.interface.name = 11, "lxc957562fd8e0f"
    return flow


def asked(call: Call, name: str, nodes: Sequence[str], *, refused: bool) -> flow_pb2.Flow:
    """Return a DNS request as the proxy saw it; a refused one names no reason either."""
    flow = call.flow(nodes)
    flow.ClearField("ethernet")
    flow.event_type.type = L7
    flow.Type = flow_pb2.L7
    flow.verdict = flow_pb2.DROPPED if refused else flow_pb2.FORWARDED
    flow.l7.type = flow_pb2.REQUEST
    flow.l7.dns.query, flow.l7.dns.observation_source = name, "proxy"
    flow.l7.dns.qtypes.append("A")
    flow.is_reply.CopyFrom(wrappers_pb2.BoolValue(value=False))
    flow.Summary = f"DNS Query {name} A"
    return flow


def noise(node: str) -> flow_pb2.Flow:
    """Return a router solicitation: dropped, and no policy's business."""
    flow = flow_pb2.Flow(emitter=world.EMITTER, node_name=node, Type=flow_pb2.L3_L4)
    text_format.Parse(
        """
        verdict: DROPPED drop_reason: 139 drop_reason_desc: UNSUPPORTED_L3_PROTOCOL
        ethernet { source: "a2:c5:07:f4:e4:55" destination: "33:33:00:00:00:02" }
        IP { source: "fe80::a0c5:7ff:fef4:e455" destination: "ff02::2" ipVersion: IPv6 }
        l4 { ICMPv6 { type: 133 } }
        source { identity: 1 labels: "reserved:host" }
        destination { labels: "reserved:unknown" }
        event_type { type: 1 sub_type: 139 } traffic_direction: INGRESS
        file { name: "bpf_lxc.c" line: 1831 } Summary: "ICMPv6 RouterSolicitation"
        """,
        flow,
    )
    return flow


def _drop(flow: flow_pb2.Flow, reason: int) -> None:
    flow.verdict = flow_pb2.DROPPED
    flow.drop_reason_desc = reason
    flow.drop_reason = reason


def _is_at(end: world.End, here: int, nodes: Sequence[str]) -> bool:
    return isinstance(end, world.Pod) and end.place % len(nodes) == here
