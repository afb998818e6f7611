"""What stands in a record of flows, and the slow, complete reading of one flow.

The fast reading is done by the loop of `matching` on the views; whatever it sees for the first time
comes here. Nothing here decides anything about policies.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from google.protobuf import message as protobuf

from policies.flows import DnsRequest, HttpRequest, KafkaRequest, Protocol, Request
from policies.model import PolicyRef
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2, views_pb2

NANOS: Final = 1_000_000_000
MINUTE: Final = 60 * NANOS

_PROTOCOLS: Final = {
    "TCP": Protocol.TCP,
    "UDP": Protocol.UDP,
    "ICMPv4": Protocol.ICMP,
    "ICMPv6": Protocol.ICMPV6,
    "SCTP": Protocol.SCTP,
    "VRRP": Protocol.VRRP,
    "IGMP": Protocol.IGMP,
}
_LAST_PORT: Final = 65_535
_WITH_PORTS: Final = frozenset({Protocol.TCP, Protocol.UDP, Protocol.SCTP})


class Broken(Exception):
    """A response that cannot be read, and never will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A record of flows, read as far as it can be read."""

    header: views_pb2.FlowBatchView | views_pb2.FlowBatchHeader
    responses: "list[tuple[int, views_pb2.ResponseView]]"
    broken: tuple[tuple[int, bytes, str], ...] = ()
    """Position, bytes and what is wrong of each response that could not be read."""


def batch(value: bytes) -> Batch:
    """Read a `picket.v1.FlowBatch`, if need be response by response. Raises Broken."""
    try:
        view = views_pb2.FlowBatchView.FromString(value)
    except protobuf.DecodeError:
        found = _piecewise(value)
    else:
        found = Batch(header=view, responses=list(enumerate(view.responses)))
    if not found.header.cluster:
        raise Broken("a batch of flows without the name of a cluster")
    return found


def _piecewise(value: bytes) -> Batch:
    try:
        header = views_pb2.FlowBatchHeader.FromString(value)
        pieces = flows_pb2.FlowBatch.FromString(value).responses
    except protobuf.DecodeError:
        raise Broken("not a batch of flows") from None
    # A header keeps unknown fields, and so all the responses: let go of them.
    header.DiscardUnknownFields()
    responses: list[tuple[int, views_pb2.ResponseView]] = []
    broken: list[tuple[int, bytes, str]] = []
    for index, piece in enumerate(pieces):
        try:
            responses.append((index, views_pb2.ResponseView.FromString(piece)))
        except protobuf.DecodeError:
            broken.append((index, piece, "not a response of Hubble"))
    return Batch(header=header, responses=responses, broken=tuple(broken))


class Transport(NamedTuple):
    """Protocol and destination port; for ICMP and the like the type."""

    protocol: Protocol
    port: int


_TCP: Final[dict[int, Transport]] = {}


def transport(layer4: views_pb2.Layer4View) -> Transport:
    """Return where a flow went to; OTHER where Hubble does not say."""
    name = layer4.WhichOneof("protocol")
    if name is None:
        return Transport(Protocol.OTHER, 0)
    protocol = _PROTOCOLS[name]
    part = getattr(layer4, name)
    return Transport(protocol, part.destination_port if protocol in _WITH_PORTS else part.type)


def to_port(key: int, layer4: views_pb2.Layer4View) -> Transport:
    """Return where a flow went to; `key`: its TCP port, or a number that is none.

    Kept for each port: a scan goes to all of them.
    """
    found = _TCP.get(key)
    if found is None:
        found = transport(layer4)
        if found.protocol is Protocol.TCP and found.port == key <= _LAST_PORT:
            _TCP[key] = found
    return found


def addresses(raw: bytes) -> tuple[str, str]:
    """Return source and destination address, empty where there are none."""
    ip = flow_pb2.IP.FromString(raw)
    return ip.source, ip.destination


def request(raw: bytes) -> Request | None:
    """Return what was asked for at layer 7; None where the flow does not say."""
    layer7 = flow_pb2.Layer7.FromString(raw)
    kind = layer7.WhichOneof("record")
    if kind == "http":
        http = layer7.http
        headers = tuple((header.key, header.value) for header in http.headers)
        return HttpRequest.of_url(http.method, http.url, headers)
    if kind == "dns":
        return DnsRequest(layer7.dns.query)
    if kind == "kafka":
        kafka = layer7.kafka
        return KafkaRequest(key=kafka.api_key, version=kafka.api_version, topic=kafka.topic)
    return None


def denied_by(raw: tuple[bytes, ...]) -> tuple[PolicyRef, ...]:
    """Return the policies that Hubble names, without those entries that have no name."""
    found = (flow_pb2.Policy.FromString(piece) for piece in raw)
    return tuple(
        PolicyRef(policy.kind, policy.namespace, policy.name) for policy in found if policy.name
    )
