"""Relay and what is behind it: nodes, rings, lost events, policy verdicts, clocks."""

from collections import Counter
from collections.abc import Iterator, Sequence

from cli.doctor.finding import About, Finding, listed
from collector import instants, relay_sample
from collector.settings import CollectorSettings
from runtime.errors import UserError
from schemas.hubble import flow_pb2, observer_pb2, relay_pb2

SHORT_SECONDS = 60.0
"""A ring that holds less than this does not bridge a restart of the collector."""
AHEAD_SECONDS = 2.0
BEHIND_SECONDS = 120.0
"""A node's agent is probed every minute: a newest event older than this is worth a word."""

_RELAY, _NODES, _RINGS = About("relay"), About("nodes"), About("rings")
_LOST, _VERDICTS, _CLOCKS = About("lost events"), About("policy verdicts"), About("clocks")
_VALUES = "cilium's Helm values: "


def examine(settings: CollectorSettings, *, now: int) -> Iterator[Finding]:
    """Look at the relay of the settings; `now` is in nanoseconds since the epoch."""
    address = str(settings.relay)
    try:
        sample = relay_sample.take(settings)
    except UserError as error:
        yield _RELAY.problem(str(error), "mend the collector's tls_… settings")
    except relay_sample.Unreachable as error:
        yield _unreachable(str(error), address, tls=settings.tls)
    else:
        yield from _judged(sample, address, tls=settings.tls, now=now)


def _judged(sample: relay_sample.Sample, address: str, *, tls: bool, now: int) -> Iterator[Finding]:
    version = f", {sample.status.version}" if sample.status.version else ""
    said = f"{address} answers ({'TLS' if tls else 'plaintext'}{version})"
    if sample.nodes is None:
        yield _RELAY.warning(
            f"{said}, but as one node's agent",
            "give the address of hubble-relay: an agent tells of its own node only",
        )
    else:
        yield _RELAY.fine(said)
        yield _connected(sample.nodes)
    yield _rings(sample.nodes or (), sample.status)
    yield _lost(sample.lost)
    yield _verdicts(sample.drops, sample.verdicts)
    yield _clocks(sample.newest, now)


def _unreachable(said: str, address: str, *, tls: bool) -> Finding:
    advice = (
        "is the address right, and hubble-relay up? From outside the cluster: kubectl port-forward"
        " -n kube-system service/hubble-relay 4245:80"
    )
    if "SSL" in said or "CERTIFICATE" in said or "handshake" in said.lower():
        advice = "check tls_ca_file and tls_server_name (or that relay speaks TLS at all)"
    elif not tls and ("GOAWAY" in said or "Socket closed" in said or "http2" in said.lower()):
        advice = "relay may speak TLS: set tls = true in the collector's settings"
    return _RELAY.problem(f"{address} does not answer: {said}", advice)


def _connected(nodes: Sequence[observer_pb2.Node]) -> Finding:
    away = [node.name for node in nodes if node.state != relay_pb2.NODE_CONNECTED]
    if not nodes:
        return _NODES.problem(
            "relay knows no node", "is hubble.enabled set, and do the agents run?"
        )
    if away:
        return _NODES.problem(
            f"{len(away)} of {len(nodes)} are not connected: {listed(away)}",
            "look at the agents there, and at hubble-relay's log: their flows are missing",
        )
    return _NODES.fine(f"all {len(nodes)} are connected")


def _rings(
    nodes: Sequence[observer_pb2.Node], status: observer_pb2.ServerStatusResponse
) -> Finding:
    count = max(len(nodes), 1)
    size = min((node.max_flows for node in nodes if node.max_flows), default=0)
    size = size or status.max_flows // count
    rate = status.flows_rate / count
    if not size:
        return _RINGS.unsure(
            "relay does not say how large they are", "ask again once its nodes are connected"
        )
    held = f", {size / rate:.0f} s of what happens now" if rate > 0 else ""
    if rate > 0 and size / rate < SHORT_SECONDS:
        return _RINGS.warning(
            f"{size} events a node{held}: a longer absence of the collector is a gap",
            f"{_VALUES}hubble.eventBufferCapacity, up to 65535",
        )
    return _RINGS.fine(f"{size} events a node{held}")


def _lost(events: Sequence[flow_pb2.LostEvent]) -> Finding:
    lost: Counter[str] = Counter()
    for event in events:
        lost[flow_pb2.LostEventSource.Name(event.source)] += event.num_events_lost
    if not lost:
        return _LOST.fine("none among the newest")
    return _LOST.warning(
        ", ".join(f"{number} ({source})" for source, number in lost.most_common()),
        "Hubble cannot keep up there: PERF_EVENT_RING_BUFFER asks for fewer events"
        " (monitorAggregation), HUBBLE_RING_BUFFER for a larger hubble.eventBufferCapacity",
    )


def _verdicts(drops: Sequence[flow_pb2.Flow], verdicts: Sequence[flow_pb2.Flow]) -> Finding:
    """Denials as drops, but never as verdicts: then the verdicts are switched off."""
    if verdicts:
        return _VERDICTS.fine("they are among the flows")
    if drops:
        return _VERDICTS.problem(
            f"{len(drops)} packets were stopped by policies, and no verdict tells of it",
            f"{_VALUES}set policy-verdict-notification to true: alerts are made of these events",
        )
    return _VERDICTS.unsure(
        "no policy decided anything lately, so nobody can tell whether they are switched on",
        "let a policy stop something, and ask again",
    )


def _clocks(newest: Sequence[flow_pb2.Flow], now: int) -> Finding:
    """Ahead is certain; behind looks like a node on which nothing happens."""
    ahead = {flow.node_name: (instants.of(flow.time) - now) / instants.SECOND for flow in newest}
    wrong = {node: by for node, by in ahead.items() if by > AHEAD_SECONDS}
    if wrong:
        return _CLOCKS.warning(
            f"ahead of this machine's: {listed(wrong)}, by up to {max(wrong.values()):.0f} s",
            "let all nodes take their time from NTP: policies hold from times, alerts show them",
        )
    if not ahead:
        return _CLOCKS.unsure("no node tells of any event", "let something happen, and ask again")
    old = {node: -by for node, by in ahead.items() if -by > BEHIND_SECONDS}
    if old:
        return _CLOCKS.unsure(
            f"the newest event of {listed(old)} is up to {max(old.values()):.0f} s old: nothing"
            " happens there, or the clock is behind",
            "compare date -u there with this machine's",
        )
    return _CLOCKS.fine("no node's is ahead of this machine's, or far behind")
