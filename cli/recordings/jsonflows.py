"""A line of a capture as a question to policies.

Lines are what `hubble observe -o jsonpb` and Hubble's exporter write, or bare flows. They are read
as plain JSON, ten times as fast as into Hubble's messages; whatever is spelled otherwise, with
other names or with numbers for enums, goes through the messages, which know all spellings.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf import json_format

from policies.flows import (
    Direction,
    DnsRequest,
    Event,
    HttpRequest,
    KafkaRequest,
    Protocol,
    Request,
    Verdict,
)
from policies.labels import LabelSet
from policies.model import PolicyRef
from policies.recordings import EVENTS, Recorded
from schemas.hubble import flow_pb2

Json = dict[str, Any]

_BARE: Final = frozenset({"uuid", "verdict", "IP", "event_type", "eventType"})
_OTHERS: Final = frozenset(
    {
        *("lost_events", "lostEvents", "node_status", "nodeStatus"),
        *("agent_event", "agentEvent", "debug_event", "debugEvent"),
    }
)
_DIRECTIONS: Final = {"INGRESS": Direction.INGRESS, "EGRESS": Direction.EGRESS}
_VERDICTS: Final = {verdict.name: verdict for verdict in Verdict}
_PROTOCOLS: Final = {
    "TCP": Protocol.TCP,
    "UDP": Protocol.UDP,
    "SCTP": Protocol.SCTP,
    "ICMPv4": Protocol.ICMP,
    "ICMPv6": Protocol.ICMPV6,
    "VRRP": Protocol.VRRP,
    "IGMP": Protocol.IGMP,
}
_EVENTS: Final = {int(event): event for event in Event}
_KNOWN_SETS: Final = 200_000


class NotReadable(ValueError):
    """A line that is no flow, and nothing else that a capture may hold."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A recorded verdict, when and where it was seen, and what people call its ends."""

    flow: Recorded
    time: int
    """Nanoseconds since the epoch, 0 where the flow does not say."""
    uuid: str
    raw: Json = field(repr=False)

    @property
    def peer_name(self) -> str:
        """Return what else is known of the peer: its pod, or the names that DNS gave."""
        inward = self.flow.direction is Direction.INGRESS
        end = self.raw.get("source" if inward else "destination") or {}
        if pod := end.get("pod_name"):
            return f"{end.get('namespace', '')}/{pod}"
        names = self.raw.get("source_names" if inward else "destination_names") or ()
        return ", ".join(names)


class Reader:
    """Reads lines; label sets are parsed once. One thread only."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, ...], LabelSet] = {}

    def read(self, line: bytes) -> Iterator[Seen | None]:
        """Yield what a line holds: None for what is no verdict, such as a trace or an answer.

        Raises NotReadable.
        """
        try:
            found = json.loads(line)
            if b"\\ud" in line.lower():
                # JSON can spell half a surrogate pair, and no other text can.
                json.dumps(found, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise NotReadable("not JSON") from error
        for entry in found if isinstance(found, list) else [found]:
            yield self._entry(entry)

    def _entry(self, entry: object) -> Seen | None:
        if not isinstance(entry, dict):
            raise NotReadable("not a JSON object")
        flow = entry.get("flow")
        if flow is None:
            if not _OTHERS.isdisjoint(entry):
                return None
            if _BARE.isdisjoint(entry):
                raise NotReadable("not a flow of Hubble")
            flow = entry
        try:
            return self._seen(flow)
        except (KeyError, TypeError, AttributeError, ValueError):
            return self._spelled_otherwise(flow)

    def _spelled_otherwise(self, flow: Any) -> Seen | None:
        message = flow_pb2.Flow()
        try:
            json_format.ParseDict(flow, message, ignore_unknown_fields=True)
        except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError):
            raise NotReadable("not a flow of Hubble") from None
        plain = json_format.MessageToDict(message, preserving_proto_field_name=True)
        if message.event_type.type not in EVENTS:
            return None
        try:
            return self._seen(plain)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise NotReadable("a verdict without direction, ends or protocol") from error

    def _seen(self, flow: Json) -> Seen | None:
        """Return a flow of the usual spelling; raises all kinds of errors for any other."""
        event = _EVENTS.get(flow["event_type"].get("type", 0))
        if event is None:
            if type(flow["event_type"].get("type", 0)) is int:
                return None
            raise TypeError("no number for the kind of an event")
        if flow.get("is_reply"):
            return None
        direction = _DIRECTIONS[flow["traffic_direction"]]
        inward = direction is Direction.INGRESS
        source, destination = flow["source"], flow["destination"]
        ip = flow.get("IP") or {}
        protocol, port = Protocol.OTHER, 0
        layer4 = flow.get("l4")
        if layer4:
            (name, layer), *_ = layer4.items()
            protocol = _PROTOCOLS[name]
            port = layer.get("destination_port", layer.get("type", 0))
        reason = flow.get("drop_reason_desc", 0)
        if reason:
            reason = flow_pb2.DropReason.Value(reason)
        request = None
        if layer7 := flow.get("l7"):
            if layer7.get("type") not in {"REQUEST", None}:
                return None
            request = _request(layer7)
        peer_ip = ip.get("source" if inward else "destination", "")
        uuid = flow.get("uuid", "")
        if type(port) is not int or type(peer_ip) is not str or type(uuid) is not str:
            raise TypeError("a port, an address or a uuid of another type")
        recorded = Recorded(
            direction,
            self._labels(destination if inward else source),
            self._labels(source if inward else destination),
            peer_ip,
            protocol,
            port,
            _VERDICTS[flow["verdict"]],
            event,
            reason,
            _refs(flow.get(f"{direction.value}_denied_by")),
            _refs(flow.get(f"{direction.value}_allowed_by")),
            request,
        )
        return Seen(recorded, nanoseconds(flow.get("time", "")), uuid, flow)

    def _labels(self, end: Json) -> LabelSet:
        labels = end.get("labels", [])
        if type(labels) is not list:
            raise TypeError("no list of labels")
        key = tuple(labels)
        known = self._sets.get(key)
        if known is None:
            if len(self._sets) >= _KNOWN_SETS:
                self._sets.clear()
            known = self._sets[key] = LabelSet.of(key)
        return known


def nanoseconds(text: str) -> int:
    """Return an RFC 3339 time in nanoseconds since the epoch, 0 for none. Raises ValueError."""
    if not text:
        return 0
    seconds = _seconds(text[:19]) if text.endswith("Z") else None
    if seconds is None:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e9)
    fraction = text[20:-1]
    return seconds * 1_000_000_000 + (int(fraction.ljust(9, "0")[:9]) if fraction else 0)


_minutes: dict[str, int] = {}


def _seconds(text: str) -> int:
    """Return the seconds of `2026-01-31T12:00:00`: most flows share their minute with another."""
    minute = text[:16]
    start = _minutes.get(minute)
    if start is None:
        if len(_minutes) > 10_000:
            _minutes.clear()
        start = int(datetime.fromisoformat(f"{minute}:00+00:00").timestamp())
        _minutes[minute] = start
    return start + int(text[17:19])


def _refs(entries: list[Json] | None) -> tuple[PolicyRef, ...]:
    if not entries:
        return ()
    return tuple(
        PolicyRef(str(entry.get("kind", "")), str(entry.get("namespace", "")), str(entry["name"]))
        for entry in entries
        if entry.get("name")
    )


def _request(layer7: Mapping[str, Any]) -> Request | None:
    if http := layer7.get("http"):
        headers = tuple(
            (str(header["key"]), str(header.get("value", ""))) for header in http.get("headers", ())
        )
        method, url = str(http.get("method", "")), str(http.get("url", ""))
        return HttpRequest.of_url(method, url, headers)
    if dns := layer7.get("dns"):
        return DnsRequest(str(dns.get("query", "")))
    if kafka := layer7.get("kafka"):
        return KafkaRequest(
            key=str(kafka.get("api_key", "")),
            version=int(kafka.get("api_version", 0)),
            topic=str(kafka.get("topic", "")),
        )
    return None
