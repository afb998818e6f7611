"""A flow on one line, as `hubble observe` prints it. Pure.

Direction, match and verdict are as the flow has them.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from google.protobuf.timestamp_pb2 import Timestamp

from schemas.hubble import flow_pb2, observer_pb2, relay_pb2

TRACE, DROP, POLICY_VERDICT, ACCESS_LOG = 4, 1, 5, 129

_MATCHES = ("none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only")
_DROPS = {
    flow_pb2.POLICY_DENIED: "Policy denied",
    flow_pb2.POLICY_DENY: "Policy denied by denylist",
    flow_pb2.AUTH_REQUIRED: "Authentication required",
}
_FIRST_USER_IDENTITY = 256
_FLAGS = ("SYN", "ACK", "FIN", "RST", "PSH", "URG", "ECE", "CWR", "NS")


def line(response: observer_pb2.GetFlowsResponse, zone: tzinfo | None = None) -> str:
    """Return one line for whatever a response holds; times in `zone`, the local one if None.

    A client chose some of the text, such as a URL, so nothing of it may steer a terminal.
    """
    text = _line(response, zone)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else f"\\x{ord(character):02x}"


def _line(response: observer_pb2.GetFlowsResponse, zone: tzinfo | None) -> str:
    kind = response.WhichOneof("response_types")
    if kind == "flow":
        return f"{_time(response.flow.time, zone)}: {_flow(response.flow)}"
    if kind == "lost_events":
        lost = response.lost_events
        source = flow_pb2.LostEventSource.Name(lost.source)
        cpu = f" CPU({lost.cpu.value})" if lost.HasField("cpu") else ""
        return f"EVENTS LOST: {source}{cpu} {lost.num_events_lost}"
    if kind == "node_status":
        status = response.node_status
        nodes = ", ".join(status.node_names)
        state = _name(relay_pb2.NodeState, status.state_change)
        return f"{state}: {nodes} {status.message}".rstrip()
    return "an empty response"


def verdict(flow: flow_pb2.Flow) -> str:
    """Return the verdict as people read it: of a policy verdict, what the policy said."""
    words = {
        flow_pb2.FORWARDED: "ALLOWED",
        flow_pb2.REDIRECTED: "ALLOWED",
        flow_pb2.DROPPED: "DENIED",
        flow_pb2.ERROR: "DENIED",
        flow_pb2.AUDIT: "AUDITED",
    }
    if flow.event_type.type == POLICY_VERDICT and flow.verdict in words:
        return words[flow.verdict]
    return _name(flow_pb2.Verdict, flow.verdict)


def _flow(flow: flow_pb2.Flow) -> str:
    arrow = "<>"
    if flow.HasField("is_reply"):
        arrow = "<-" if flow.is_reply.value else "->"
    source_port, destination_port = _ports(flow)
    left = _end(flow.source, flow.IP.source, source_port, flow.source_names)
    right = _end(flow.destination, flow.IP.destination, destination_port, flow.destination_names)
    if arrow == "<-":
        left, right = right, left
    return f"{left} {arrow} {right} {_kind(flow)} {verdict(flow)} ({_summary(flow)})"


def _end(end: flow_pb2.Endpoint, address: str, port: int, names: Sequence[str]) -> str:
    if end.pod_name:
        name = f"{end.namespace}/{end.pod_name}" if end.namespace else end.pod_name
    else:
        name = ",".join(names) or (f"[{address}]" if ":" in address and port else address)
    shown = f"{name}:{port}" if port else name
    reserved = [label[9:] for label in end.labels if label.startswith("reserved:")]
    if end.identity < _FIRST_USER_IDENTITY and reserved:
        return f"{shown} ({reserved[0]})"
    return f"{shown} (ID:{end.identity})"


def _ports(flow: flow_pb2.Flow) -> tuple[int, int]:
    protocol = flow.l4.WhichOneof("protocol")
    if protocol in {"TCP", "UDP", "SCTP"}:
        layer = getattr(flow.l4, protocol)
        return layer.source_port, layer.destination_port
    return 0, 0


def _kind(flow: flow_pb2.Flow) -> str:
    event = flow.event_type.type
    direction = _name(flow_pb2.TrafficDirection, flow.traffic_direction)
    if flow.HasField("l7"):
        record = flow.l7.WhichOneof("record") or "l7"
        return f"{record}-{_name(flow_pb2.L7FlowType, flow.l7.type).lower()} {direction}"
    if event == POLICY_VERDICT:
        match = flow.policy_match_type
        text = _MATCHES[match] if match < len(_MATCHES) else str(match)
        return f"policy-verdict:{text} {direction}"
    if event == DROP:
        reason = flow.drop_reason_desc
        return _DROPS.get(reason, _words(_name(flow_pb2.DropReason, reason)))
    if event == TRACE:
        point = _name(flow_pb2.TraceObservationPoint, flow.trace_observation_point)
        return point.lower().replace("_", "-")
    return f"event-{event}"


def _summary(flow: flow_pb2.Flow) -> str:
    if flow.HasField("l7"):
        return _layer7(flow.l7)
    protocol = flow.l4.WhichOneof("protocol")
    if protocol == "TCP":
        flags = ", ".join(name for name in _FLAGS if getattr(flow.l4.TCP.flags, name))
        return f"TCP Flags: {flags}" if flags else "TCP"
    if protocol in {"ICMPv4", "ICMPv6"}:
        layer = getattr(flow.l4, protocol)
        return f"{protocol} type {layer.type} code {layer.code}"
    return protocol or "unknown protocol"


def _layer7(layer: flow_pb2.Layer7) -> str:
    record = layer.WhichOneof("record")
    if record == "dns":
        kind = "Answer" if layer.type == flow_pb2.RESPONSE else "Query"
        return f"DNS {kind} {layer.dns.query} {','.join(layer.dns.qtypes)}".rstrip()
    if record == "http":
        code = f" {layer.http.code}" if layer.http.code else ""
        return f"{layer.http.protocol} {layer.http.method} {layer.http.url}{code}"
    return record or "L7"


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _name(kind: object, number: int) -> str:
    """Return an enum value's name; a newer Hubble may send one that has none here."""
    try:
        return str(kind.Name(number))  # type: ignore[attr-defined]
    except ValueError:
        return str(number)


def _time(stamp: Timestamp, zone: tzinfo | None) -> str:
    moment = datetime.fromtimestamp(stamp.seconds, tz=zone).astimezone(zone)
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S}.{stamp.nanos // 1_000_000:03d}"
