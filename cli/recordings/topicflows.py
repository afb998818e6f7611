"""Flows of the topic picket.flows as questions to policies."""

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.message import DecodeError

from bus import port
from enricher import reading
from policies.flows import Direction, Event, Verdict
from policies.labels import LabelSet
from policies.model import PolicyRef
from policies.recordings import Recorded
from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2

_EVENTS: Final = {int(event): event for event in Event}
_DIRECTIONS: Final = {1: Direction.INGRESS, 2: Direction.EGRESS}
_VERDICTS: Final = {int(verdict): verdict for verdict in Verdict}
_KNOWN_SETS: Final = 200_000
_LAST_SECOND: Final = 253_402_300_800
"""Of the year 9999: what is later is no time."""

Item = tuple[Recorded, int, str]
"""A flow, its time in nanoseconds, and its uuid."""


class Reader:
    """Reads records; label sets are parsed once. One thread only."""

    def __init__(self, cluster: str = "") -> None:
        self._cluster = cluster
        self._sets: dict[tuple[str, ...], LabelSet] = {}
        self.unreadable = 0
        """Records and responses that are none."""

    def read(self, record: port.Record) -> Iterator[Item | None]:
        """Yield the verdicts of a record, None for each response that is none."""
        try:
            batch = flows_pb2.FlowBatch.FromString(record.value or b"")
        except DecodeError:
            self.unreadable += 1
            return
        if self._cluster and batch.cluster != self._cluster:
            return
        for raw in batch.responses:
            try:
                response = observer_pb2.GetFlowsResponse.FromString(raw)
            except DecodeError:
                self.unreadable += 1
                continue
            yield self._item(response.flow) if response.HasField("flow") else None

    def _item(self, flow: flow_pb2.Flow) -> Item | None:
        event = _EVENTS.get(flow.event_type.type)
        direction = _DIRECTIONS.get(flow.traffic_direction)
        verdict = _VERDICTS.get(flow.verdict)
        if event is None or direction is None or verdict is None or flow.is_reply.value:
            return None
        request = None
        if event is Event.L7:
            if flow.l7.type not in (flow_pb2.REQUEST, flow_pb2.UNKNOWN_L7_TYPE):
                return None
            request = reading.request(flow.l7.SerializeToString())
        inward = direction is Direction.INGRESS
        source, destination = (
            self._labels(flow.source.labels),
            self._labels(flow.destination.labels),
        )
        transport = reading.transport(flow.l4)  # type: ignore[arg-type]
        recorded = Recorded(
            direction,
            destination if inward else source,
            source if inward else destination,
            flow.IP.source if inward else flow.IP.destination,
            transport.protocol,
            transport.port,
            verdict,
            event,
            flow.drop_reason_desc,
            _refs(flow.ingress_denied_by if inward else flow.egress_denied_by),
            _refs(flow.ingress_allowed_by if inward else flow.egress_allowed_by),
            request,
        )
        seconds = flow.time.seconds
        time = seconds * reading.NANOS + flow.time.nanos if 0 <= seconds < _LAST_SECOND else 0
        return recorded, time, flow.uuid

    def _labels(self, labels: Iterable[str]) -> LabelSet:
        key = tuple(labels)
        known = self._sets.get(key)
        if known is None:
            if len(self._sets) >= _KNOWN_SETS:
                self._sets.clear()
            known = self._sets[key] = LabelSet.of(key)
        return known


def _refs(policies: Iterable[flow_pb2.Policy]) -> tuple[PolicyRef, ...]:
    return tuple(
        PolicyRef(policy.kind, policy.namespace, policy.name) for policy in policies if policy.name
    )
