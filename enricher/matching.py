"""The hot path: one record of flows of one cluster, flow by flow.

A flow like others before it costs one decoded view, one dict lookup and one counter. Whatever comes
up for the first time is read in full and explained; what is found is kept by everything that the
explanation depends on. No identity number is ever used.
"""

from dataclasses import dataclass
from typing import Final

from enricher import reading
from enricher.aggregation import Cell
from enricher.caching import Generations
from enricher.clusters import Cluster
from enricher.endpoints import Endpoint, Endpoints
from enricher.explaining import Explaining
from enricher.reading import NANOS, Broken
from enricher.stopped import Pair, Stopped
from enricher.work import Origin, Work
from policies.flows import POLICY_DENIED, POLICY_DENY, Direction, Event, Verdict
from policies.model import PolicyRef
from schemas.picket.v1 import views_pb2

CELLS: Final = 50_000
PAIRS: Final = 32_768
DENIALS: Final = 4_096

_DROP_EVENT: Final = 1
_POLICY_DROPS: Final = frozenset({POLICY_DENIED, POLICY_DENY})
_DIRECTIONS: Final = {1: Direction.INGRESS, 2: Direction.EGRESS}
# Plain numbers: comparing with a member of an enum costs the hot loop several times as much.
_DROPPED: Final = int(Verdict.DROPPED)
_AUDIT: Final = int(Verdict.AUDIT)
_VERDICT_EVENT: Final = int(Event.VERDICT)
_L7_EVENT: Final = int(Event.L7)


_NEVER: Final = 2**63 - 1
"""Later than any flow."""


@dataclass(frozen=True, slots=True, eq=False)
class Denial:
    """What a flow's `denied_by` names; compared by being the same object."""

    policies: tuple[PolicyRef, ...]


NOBODY: Final = Denial(())

_Key = tuple[Endpoint, Endpoint, bytes, int, int, int, int, Denial]
"""Source, destination, addresses, port, direction, reason, verdict, and who denied it."""


class Matching:
    """Matches the flows of one cluster; one thread only."""

    __slots__ = ("_cells", "_denials", "_endpoints", "_epoch", "_explaining", "_pairs", "cluster")

    def __init__(self, cluster: Cluster, *, cells: int = CELLS) -> None:
        self.cluster = cluster
        self._epoch = cluster.epoch
        self._endpoints = Endpoints()
        self._explaining = Explaining(cluster)
        self._cells: Generations[object, Cell] = Generations(cells)
        self._pairs: Generations[object, Pair] = Generations(PAIRS)
        self._denials: Generations[tuple[bytes, ...], Denial] = Generations(DENIALS)

    def match(  # noqa: C901, PLR0912 - see below
        self, batch: reading.Batch, work: Work, origin: Origin
    ) -> None:
        """Count all flows of a record into the work under way.

        What cannot be read, and a flow that something goes wrong with, becomes a dead letter.
        Written as one loop on purpose: a call for each flow would cost as much as the matching.
        """
        if self._epoch != self.cluster.epoch:
            self._doubt(work)
        endpoints = self._endpoints
        known_endpoints = endpoints.young
        known_cells = self._cells.young
        place = self._place
        verdicts = drops = others = 0
        aside = work.aside
        for index, response in batch.responses:
            try:
                flow = response.flow
                verdict = flow.verdict
                event = flow.event_type.type
                if event == _VERDICT_EVENT:
                    verdicts += 1
                if verdict not in (_DROPPED, _AUDIT):
                    if not verdict:
                        _other(response, work, origin)
                    others += 1
                    continue
                if event == _VERDICT_EVENT:
                    raw = flow.source
                    source = known_endpoints.get(raw) or endpoints.of(raw)
                    raw = flow.destination
                    destination = known_endpoints.get(raw) or endpoints.of(raw)
                    layer4 = flow.l4
                    reason = flow.drop_reason_desc
                    key = (
                        source,
                        destination,
                        flow.IP,
                        layer4.TCP.destination_port or _port_key(layer4),
                        flow.traffic_direction,
                        reason,
                        verdict,
                        NOBODY if reason == POLICY_DENIED else self._denial(flow),
                    )
                    moment = flow.time
                    time = moment.seconds * NANOS + moment.nanos
                    cell = known_cells.get(key)
                    if cell is not None and cell.low <= time < cell.high:
                        cell.count += 1
                        if time > cell.last:
                            cell.last = time
                        elif time < cell.first:
                            cell.first = time
                    else:
                        place(response, key, cell, time, work, origin)
                elif event == _L7_EVENT:
                    self._place_request(response, work, origin)
                else:
                    others += 1
                    if event == _DROP_EVENT and flow.drop_reason_desc in _POLICY_DROPS:
                        drops += 1
            except Exception as fault:  # noqa: BLE001 - one flow's fault must not stop the others
                work.fault(origin, index, response, fault)
        work.count_events(origin, verdicts=verdicts, drops=drops, others=others)
        explained = len(batch.responses) - others - (work.aside - aside)
        work.advance(origin).flows += explained

    def take_misses(self) -> int:
        """Return how many explanations had to be found since this was last asked."""
        misses, self._explaining.explained = self._explaining.explained, 0
        return misses

    def _place(  # noqa: PLR0917 - names would cost more than they tell, for each flow
        self,
        response: views_pb2.ResponseView,
        key: _Key,
        cell: Cell | None,
        time: int,
        work: Work,
        origin: Origin,
    ) -> None:
        """Count a flow of which there is no cell bound to its minute; `cell`: one that is not."""
        if not work.is_plausible(time):
            time = _time(response, work)
        if cell is None:
            cell = self._cells.recall(key)
        if cell is None or cell.timeline.superseded or not cell.since <= time < cell.until:
            cell = self._cell(key, response.flow, time)
            self._cells.put(key, cell)
        _count(cell, response, time, work, origin)

    def _place_request(self, response: views_pb2.ResponseView, work: Work, origin: Origin) -> None:
        """Count a denial of layer 7: each request is read in full, since all of it may matter."""
        flow = response.flow
        time = flow.time.seconds * NANOS + flow.time.nanos
        if not work.is_plausible(time):
            time = _time(response, work)
        stopped = self._stopped(flow, Event.L7)
        timeline = self.cluster.repository.subject(stopped.subject)
        cell = Cell(
            self._explaining.of_request(timeline, stopped, time),
            timeline=timeline,
            since=time,
            until=time + 1,
            transport=stopped.transport,
            address=stopped.peer_address,
        )
        _count(cell, response, time, work, origin)

    def _doubt(self, work: Work) -> None:
        """Have each cell looked at before it counts again: its subject's policies may be new ones.

        Nothing is looked for here: a change must not cost what all that is remembered costs.
        """
        work.tally.release()
        self._epoch = self.cluster.epoch

    def _cell(self, key: _Key, flow: views_pb2.FlowView, time: int) -> Cell:
        """Return a cell for all flows like this one while the same versions may be in force."""
        source, destination, raw, port, *same = key
        of_pair = (source, destination, *same)
        pair = self._pairs.find(of_pair)
        if pair is None or pair.timeline.superseded:
            pair = self._pair(flow)
            self._pairs.put(of_pair, pair)
        ip = reading.addresses(raw)[pair.peer_side]
        transport = reading.to_port(port, flow.l4)
        if time >= pair.settled:
            outcome = self._explaining.newest(pair, transport, ip)
            since, until = pair.settled, _NEVER
        else:
            outcome = self._explaining.at(pair, transport, ip, time)
            since, until = pair.steady(time)
        return Cell(
            outcome,
            timeline=pair.timeline,
            since=since,
            until=until,
            transport=transport,
            address=(ip, pair.peer_name or _dns_name(flow, inward=pair.inward)),
        )

    def _pair(self, flow: views_pb2.FlowView) -> Pair:
        stopped = self._stopped(flow, Event.VERDICT)
        inward = stopped.direction is Direction.INGRESS
        peer = self._endpoints.of(flow.source if inward else flow.destination)
        timeline = self.cluster.repository.subject(stopped.subject)
        return Pair(stopped, timeline, peer_name=peer.name)

    def _stopped(self, flow: views_pb2.FlowView, event: Event) -> Stopped:
        """Read a flow in full. Raises Broken, and DecodeError for parts that are none."""
        way = _DIRECTIONS.get(flow.traffic_direction)
        if way is None:
            raise Broken("no direction")
        subject = self._endpoints.of(flow.destination)
        peer = self._endpoints.of(flow.source)
        peer_ip, other_ip = reading.addresses(flow.IP)
        inward = way is Direction.INGRESS
        if not inward:
            subject, peer, peer_ip = peer, subject, other_ip
        return Stopped(
            direction=way,
            subject=subject.labels,
            peer=peer.labels,
            peer_ip=peer_ip,
            peer_names=tuple(flow.source_names if inward else flow.destination_names),
            peer_address=(peer_ip, peer.name or _dns_name(flow, inward=inward)),
            transport=reading.transport(flow.l4),
            verdict=Verdict(flow.verdict),
            event=event,
            drop_reason=flow.drop_reason_desc,
            denied_by=self._denial(flow).policies,
            l7=reading.request(flow.l7) if event is Event.L7 else None,
        )

    def _denial(self, flow: views_pb2.FlowView) -> Denial:
        raw = (*flow.ingress_denied_by, *flow.egress_denied_by)
        if not raw:
            return NOBODY
        known = self._denials.find(raw)
        if known is None:
            known = Denial(reading.denied_by(raw))
            self._denials.put(raw, known)
        return known


def _dns_name(flow: views_pb2.FlowView, *, inward: bool) -> str:
    names = flow.source_names if inward else flow.destination_names
    return names[0] if names else ""


def _count(
    cell: Cell, response: views_pb2.ResponseView, time: int, work: Work, origin: Origin
) -> None:
    outcome = cell.outcome
    if outcome.unexplained:
        work.unexplained(origin, outcome, response, time)
        return
    tally = work.tally
    for row in tally.bind(cell, time):
        if tally.sample(row):
            row.samples.append(response.SerializeToString())


def _other(response: views_pb2.ResponseView, work: Work, origin: Origin) -> None:
    """Look at what is no flow with a verdict: of these, lost events matter."""
    if response.lost_events:
        work.lost(origin, response)


def _port_key(layer4: views_pb2.Layer4View) -> int:
    """Tell apart what has no TCP port, in a number that is none."""
    transport = reading.transport(layer4)
    return (transport.protocol + 1) << 16 | transport.port


def _time(response: views_pb2.ResponseView, work: Work) -> int:
    """Return when a flow came up that has no possible time of its own. Raises Broken."""
    moment = response.time
    time = moment.seconds * NANOS + moment.nanos
    if not work.is_plausible(time):
        raise Broken("no time at which it can have been seen")
    return time
