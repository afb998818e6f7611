"""Flow filters as a node applies them, by the rules of Hubble's own.

Any filter of the whitelist (an empty one allows all) and none of the blacklist; within a filter
fields are ANDed, the values of a field ORed. A field that is not known here is refused.
"""

import fnmatch
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.hubble import flow_pb2

Flow = flow_pb2.Flow
DYNAMIC = frozenset({"uuid", "source_port"})
"""What differs between flows that are otherwise of one kind."""


class Unsupported(Exception):
    """A filter uses a field that is not applied here."""


class Invalid(Exception):
    """A filter's value is not what its field takes."""


class Wanted:
    """The filters of one request."""

    def __init__(
        self, whitelist: Iterable[flow_pb2.FlowFilter], blacklist: Iterable[flow_pb2.FlowFilter]
    ) -> None:
        """Raises Unsupported and Invalid."""
        self._white, self._black = tuple(whitelist), tuple(blacklist)
        used = set()
        for each in (*self._white, *self._black):
            for field, values in each.ListFields():
                used.add(field.name)
                _check(field.name, values)
        self.everything = not self._white and not self._black
        self.dynamic = bool(used & DYNAMIC)
        """Whether flows of one kind must be looked at one by one."""

    def passes(self, flow: Flow) -> bool:
        """Return whether the request is to see the flow."""
        if self._white and not any(_matches(flow, each) for each in self._white):
            return False
        return not any(_matches(flow, each) for each in self._black)


def _check(name: str, values: Any) -> None:
    if name not in RULES:
        raise Unsupported(f"filters by {name} are not applied by this node")
    if name.endswith("_ip"):
        for text in values:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise Invalid(f"invalid IP address {text!r} in filter") from None
    if name.endswith("_port"):
        for text in values:
            if not text.isdecimal() or int(text) > 65535:
                raise Invalid(f"invalid port {text!r}")
    if name.endswith("_pod") and not all(values):
        raise Invalid("invalid filter, name must not be empty")


def _matches(flow: Flow, wanted: flow_pb2.FlowFilter) -> bool:
    return all(
        any(RULES[field.name](flow, value) for value in values)
        for field, values in wanted.ListFields()
    )


def _event_type(flow: Flow, wanted: flow_pb2.EventTypeFilter) -> bool:
    if wanted.type and flow.event_type.type != wanted.type:
        return False
    return not wanted.match_sub_type or flow.event_type.sub_type == wanted.sub_type


def _drop_reason(flow: Flow, wanted: int) -> bool:
    return flow.verdict == flow_pb2.DROPPED and flow.drop_reason_desc == wanted


def _reply(flow: Flow, wanted: bool) -> bool:
    # Whether it is a reply is not known of dropped flows: Hubble then takes it for none.
    if not flow.HasField("is_reply") and flow.verdict != flow_pb2.DROPPED:
        return False
    return flow.is_reply.value == wanted


def _pod(end: flow_pb2.Endpoint, wanted: str) -> bool:
    namespace, slash, prefix = wanted.partition("/")
    if not slash:
        namespace, prefix = "default", wanted
    if not end.namespace and not end.pod_name:
        return False
    return end.pod_name.startswith(prefix) and namespace in ("", end.namespace)


def _workload(end: flow_pb2.Endpoint, wanted: flow_pb2.Workload) -> bool:
    return any(
        wanted.name in ("", each.name) and wanted.kind in ("", each.kind) for each in end.workloads
    )


def _ip(address: str, wanted: str) -> bool:
    if not address:
        return False
    return ipaddress.ip_address(address) in ipaddress.ip_network(wanted, strict=False)


def _ports(flow: Flow) -> tuple[int, int] | None:
    name = flow.l4.WhichOneof("protocol")
    if name not in ("TCP", "UDP", "SCTP"):
        return None
    layer = getattr(flow.l4, name)
    return layer.source_port, layer.destination_port


def _port(flow: Flow, side: int, wanted: str) -> bool:
    ports = _ports(flow)
    return ports is not None and ports[side] == int(wanted)


def _protocol(flow: Flow, wanted: str) -> bool:
    name = wanted.lower()
    layer = (flow.l4.WhichOneof("protocol") or "").lower()
    if name == "icmp":
        return layer in ("icmpv4", "icmpv6")
    return name in (layer, flow.l7.WhichOneof("record"))


def _node(flow: Flow, wanted: str) -> bool:
    cluster, slash, node = wanted.partition("/")
    if not slash:
        cluster, node = "", wanted
    return fnmatch.fnmatchcase(flow.node_name, f"{cluster or '*'}/{node or '*'}")


RULES: Mapping[str, Callable[[Flow, Any], bool]] = {
    "uuid": lambda flow, wanted: flow.uuid == wanted,
    "event_type": _event_type,
    "verdict": lambda flow, wanted: flow.verdict == wanted,
    "drop_reason_desc": _drop_reason,
    "reply": _reply,
    "traffic_direction": lambda flow, wanted: flow.traffic_direction == wanted,
    "source_identity": lambda flow, wanted: flow.source.identity == wanted,
    "destination_identity": lambda flow, wanted: flow.destination.identity == wanted,
    "source_pod": lambda flow, wanted: _pod(flow.source, wanted),
    "destination_pod": lambda flow, wanted: _pod(flow.destination, wanted),
    "source_workload": lambda flow, wanted: _workload(flow.source, wanted),
    "destination_workload": lambda flow, wanted: _workload(flow.destination, wanted),
    "source_ip": lambda flow, wanted: _ip(flow.IP.source, wanted),
    "destination_ip": lambda flow, wanted: _ip(flow.IP.destination, wanted),
    "ip_version": lambda flow, wanted: flow.IP.ipVersion == wanted,
    "source_port": lambda flow, wanted: _port(flow, 0, wanted),
    "destination_port": lambda flow, wanted: _port(flow, 1, wanted),
    "protocol": _protocol,
    "node_name": _node,
}
