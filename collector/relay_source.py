"""Flows of a living cluster: the stream, the look past it, and what follows from both.

Everything here runs on the stage's thread; only `Stream` and `Watch` have threads of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from collector import instants, relay_ahead, relay_channel, relay_held, relay_stream, relay_watch
from collector.continuity import Continuity, Gap, Newest
from collector.filters import Filters
from collector.metrics import Metrics
from collector.sieve import Sifted
from collector.sources import Restored, Standing, Taken
from collector.windows import DEFAULT_RING, Windows
from runtime import clock
from schemas.hubble import flow_pb2, observer_pb2, relay_pb2
from schemas.picket.v1 import flows_pb2

log = structlog.get_logger()

TAKE_BYTES = 4 * 1024 * 1024
OVERLAP_SECONDS = 3.0
"""How long the standby's stream goes on beside the one that replays the rings."""
SKEW = 5 * instants.SECOND
LATE = 5 * instants.SECOND
"""With newest flows no older than this the stream is live."""
IDLE_SECONDS = 0.5
SETTLE_SECONDS = 2.5
"""Relay sorts: it holds a flow until others push it out, or a second passes without any."""
START_SECONDS = 10.0
"""A ring's reader may begin with an event lost before it: no overrun so early in a stream."""
REOPEN_SECONDS = 30.0
CALL_FAILURES = 3


@dataclass(slots=True, kw_only=True)
class RelaySource:
    """`sources.Source` over relay."""

    relay: relay_channel.Relay
    filters: Filters
    limit: int
    """Bytes that are held while the log is away, and by a standby."""
    retention: int
    """Nanoseconds."""
    time: clock.Clock
    metrics: Metrics
    name: str
    capture: str = ""
    read_ahead: bool = True
    _windows: Windows = field(default_factory=Windows)
    _continuity: Continuity = field(default_factory=Continuity)
    _stream: relay_stream.Stream | None = None
    _before: relay_stream.Stream | None = None
    """The standby's stream, until the one that replays the rings is well under way."""
    _watch: relay_watch.Watch | None = None
    _ahead: relay_ahead.Ahead | None = None
    _held: relay_held.Held = field(init=False)
    _load: relay_ahead.Load = field(default_factory=relay_ahead.Load)
    _addresses: dict[str, str] = field(default_factory=dict)
    _listed: frozenset[str] = frozenset()
    _openings: int = 0
    _opened: float = 0.0
    _reopened: float = 0.0
    _idle_since: float | None = None
    _backlog: bool = True
    _restored: dict[str, int] | None = None
    """How far nodes had been read at the takeover, until the stream that goes on there is live."""
    _caught_up: bool = False
    """Whether the stream was live since it was opened."""
    _newest: int = 0
    _newest_ahead: int = 0
    _suspected: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._held = relay_held.Held(self.limit)

    def stand_by(self) -> None:
        """Attach for what happens from now on; hold the last minute of it."""
        if self._stream is None:
            self._stream = relay_stream.Stream(self.relay, self._plan_standby, limit=self.limit)
            self._stream.start()
        raws, _ = self._stream.take(TAKE_BYTES)
        self._held.keep(raws, at=self.time.monotonic())
        self._stream.release()

    def begin(self, restored: Restored) -> None:
        """Ask for everything since the oldest watermark; what a standby held comes first."""
        self._windows = restored.windows
        self._restored = restored.windows.newest()
        self._continuity = Continuity(seen_until=_seen_until(restored))
        # Before anything of a standby's stream is read: that may stand behind a gap.
        self._interrupted(at=self.time.monotonic())
        self._before = self._stream
        if self._before is not None:
            self._before.expire()
        self._stream = relay_stream.Stream(self.relay, self._plan, limit=self.limit)
        self._stream.start()
        self._openings = 0
        self._suspected = frozenset()
        self._backlog = True
        self._newest = max(self._windows.newest().values(), default=0)
        self._watch = relay_watch.Watch(self.relay, self.filters)
        self._watch.start()
        if self.read_ahead:
            self._ahead = relay_ahead.Ahead(
                self.relay, self.filters, clock=self.time, metrics=self.metrics
            )
            self._ahead.start()

    def take(self) -> Taken:
        """Return what a standby held, then what both streams bring."""
        if self._held:
            return Taken(raws=self._held.take(), more=True)
        assert self._stream is not None
        raws: list[bytes] = []
        # From the elder first: its flows are the older ones.
        if self._before is not None:
            raws, _ = self._before.take(TAKE_BYTES)
        newer, is_first = self._stream.take(TAKE_BYTES)
        raws += newer
        more = sum(map(len, raws)) >= TAKE_BYTES or self._stream.is_next
        self._note_pace(raws, more=more)
        self._note_opening(is_first=is_first)
        ahead = self._ahead.take() if self._ahead is not None else ()
        return Taken(raws=raws, ahead=ahead, more=more)

    def look(self, sifted: Sifted) -> Standing:
        """Draw the conclusions of what came and of what was seen past the stream."""
        assert self._stream is not None
        at, now = self.time.monotonic(), instants.of_seconds(self.time.now())
        self._newest = max(self._newest, sifted.newest)
        self._newest_ahead = max(self._newest_ahead, sifted.ahead_newest)
        self._load.note(len(sifted.responses) + len(sifted.ahead), at=at)
        gaps = self._look_at_flows(sifted, at=at, now=now)
        self._look_at_nodes(at=at)
        gaps += self._continuity.gaps(
            self._windows.newest(), at=at, now=now, behind=self._backlog or bool(self._held)
        )
        if self._watch is not None:
            if self._continuity.wants_oldest:
                self._watch.want_oldest()
            else:
                self._watch.enough()
        self._drop_elder(at)
        state = self._state(now)
        self._steer(state)
        self.metrics.buffer.set(self._stream.waiting + self._held.size)
        suspected = self._continuity.suspected
        changed, self._suspected = suspected != self._suspected, suspected
        return Standing(
            state=state,
            checkpoint=changed,
            holes=self._continuity.has_holes,
            read_until=self._read_until(state, now),
            away=sorted(self._continuity.away),
            gaps=gaps,
        )

    def written(self) -> None:
        """Make room for more."""
        for stream in (self._before, self._stream):
            if stream is not None:
                stream.release()

    def note(self, checkpoint: flows_pb2.Checkpoint) -> None:
        """Write how far each node was read."""
        checkpoint.ClearField("nodes")
        seen = self._continuity.seen_until
        for node, window in self._windows:
            if not window.newest and node not in seen and not window.ahead:
                continue
            checkpoint.nodes.add(
                node=node,
                newest=instants.timestamp(window.newest),
                known_by_time=instants.timestamp(window.known_by_time),
                seen_until=instants.timestamp(seen.get(node, 0)),
                suspected=node in self._continuity.suspected,
            )

    def end(self) -> None:
        """Stop asking; another collector is active now."""
        for part in (self._before, self._stream, self._watch, self._ahead):
            if part is not None:
                part.close()
        self._before = self._stream = self._watch = self._ahead = None
        self._held.clear()

    def close(self) -> None:
        """Close the streams and the channel."""
        parts = [self._before, self._stream, self._watch, self._ahead]
        self.end()
        self.relay.close()
        for part in parts:
            if part is not None:
                part.join(1.0)

    def _plan_standby(
        self, nodes: Sequence[observer_pb2.Node] | None
    ) -> observer_pb2.GetFlowsRequest:
        return self._request(nodes, since=instants.of_seconds(self.time.now()) - SKEW)

    def _plan(self, nodes: Sequence[observer_pb2.Node] | None) -> observer_pb2.GetFlowsRequest:
        """Ask since the oldest watermark of the nodes that are there. On the stream's thread."""
        newest = self._continuity.resume(self._windows.newest())
        if (restored := self._restored) is not None:
            # A standby's flows say nothing of what came before its stream.
            newest = {node: min(time, newest[node]) for node, time in restored.items()}
        listed = newest.keys() if nodes is None else {node.name for node in nodes}
        watermarks = [newest[node] for node in listed if newest.get(node)]
        return self._request(nodes, since=max(min(watermarks, default=0), self._not_before()))

    def _request(
        self, nodes: Sequence[observer_pb2.Node] | None, *, since: int
    ) -> observer_pb2.GetFlowsRequest:
        request = observer_pb2.GetFlowsRequest(
            follow=True,
            since=instants.timestamp(since),
            whitelist=self.filters.allow,
            blacklist=self.filters.deny,
        )
        if nodes is not None and len(nodes) <= relay_ahead.SORTED_NODES:
            # Relay's sorting heap is number x nodes; the nodes ignore it beside `since`.
            request.number = 1
        return request

    def _not_before(self) -> int:
        return instants.of_seconds(self.time.now()) - self.retention

    def _note_pace(self, raws: Sequence[bytes], *, more: bool) -> None:
        if raws:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self.time.monotonic()
        self._backlog = more

    def _steer(self, state: flows_pb2.StreamState) -> None:
        assert self._stream is not None
        if state == flows_pb2.LIVE:
            self._caught_up, self._restored = True, None
        if self._ahead is not None:
            is_worth_it = self._caught_up and self._stream.is_open and not self._backlog
            pace = relay_ahead.pace(self._load) if is_worth_it else None
            self._ahead.steer(pace, newest=max(self._newest, self._newest_ahead))

    def _note_opening(self, *, is_first: bool) -> None:
        at = self.time.monotonic()
        if is_first:
            if self._openings:
                self.metrics.reconnects.inc()
            self._openings += 1
            self._opened = at
            self._caught_up = False
            self._interrupted(at=at)
        if self._before is not None and self._before.broke:
            # Until now it bridged the time that relay took to attach the other one.
            self._before.close()
            self._interrupted(at=at)

    def _interrupted(self, *, at: float) -> None:
        newest = self._windows.newest()
        self._continuity.interrupted(newest, at=at, not_before=self._not_before())

    def _look_at_flows(self, sifted: Sifted, *, at: float, now: int) -> list[Gap]:
        self._continuity.replayed(sifted.proofs, at=at, overlapping=self._before is not None)
        gaps = []
        for node, lost in sifted.lost:
            overrun = lost.source == flow_pb2.HUBBLE_RING_BUFFER
            if overrun and at - self._opened > START_SECONDS:
                since = at - (now - instants.of(lost.first)) / instants.SECOND
                gap = self._continuity.overrun(node, instants.of(lost.last), since=since)
                gaps += [gap] if gap is not None else []
        for time, status in sifted.statuses:
            if status.state_change == relay_pb2.NODE_ERROR:
                log.warning("nodes failed", nodes=list(status.node_names), reason=status.message)
                since = at - (now - time) / instants.SECOND
                self._continuity.failed(status.node_names, since=since, at=at)
        self._continuity.read(self._windows.newest(), at=at)
        return gaps

    def _look_at_nodes(self, *, at: float) -> None:
        assert self._stream is not None
        if self._watch is None:
            return
        for sighting in self._watch.sightings():
            if sighting.nodes is not None:
                self._take_over_nodes(sighting.nodes, at=at)
            if not self._stream.is_open:
                continue
            if sighting.oldest is not None:
                self._continuity.looked(_times(sighting.oldest), asked=sighting.asked, at=at)
            self._continuity.expect(
                _times(sighting.newest),
                {
                    node: Newest(flow.uuid, instants.of(flow.time))
                    for node, flow in sighting.wanted.items()
                },
                asked=sighting.asked,
            )
        stalled = self._continuity.confirm(
            self._knows,
            at=at,
            behind=self._backlog or self._stream.is_full,
            sorting=relay_ahead.sorting_seconds(self._load),
        )
        if stalled:
            self._reopen(f"no flows any more of {', '.join(sorted(stalled))}", at=at)
        if self._watch.failures >= CALL_FAILURES and self._idle_since is not None:
            self._reopen("relay does not answer", at=at)

    def _take_over_nodes(self, nodes: Sequence[observer_pb2.Node], *, at: float) -> None:
        self._load.nodes = len(nodes)
        self._load.ring = max((node.num_flows for node in nodes), default=0)
        for node in nodes:
            if node.max_flows:
                self._windows.size(node.name, node.max_flows)
            elif node.name not in self._listed:
                self._windows.size(node.name, DEFAULT_RING)
        self._continuity.listed(
            {node.name: node.state == relay_pb2.NODE_CONNECTED for node in nodes}, at=at
        )
        # Relay closes a node's connection when its address changes or it leaves, and then never
        # attaches it to this stream again.
        addresses = {node.name: node.address for node in nodes}
        moved = {
            name for name, addr in addresses.items() if self._addresses.get(name, addr) != addr
        }
        back = addresses.keys() - self._listed if self._listed else set()
        back &= self._addresses.keys()
        self._listed = frozenset(addresses)
        self._addresses.update(addresses)
        if moved or back:
            self._reopen(f"moved or came back: {', '.join(sorted(moved | back))}", at=at)

    def _reopen(self, reason: str, *, at: float) -> None:
        assert self._stream is not None
        if at - max(self._reopened, self._opened) > REOPEN_SECONDS or not self._reopened:
            log.warning("opening the stream anew", reason=reason)
            self._reopened = at
            self._stream.reopen()

    def _knows(self, node: str, uuid: str) -> bool:
        window = self._windows.by_node.get(node)
        return window is not None and window.knows(uuid)

    def _drop_elder(self, at: float) -> None:
        assert self._stream is not None
        if (
            self._before is not None
            and self._stream.is_open
            and at - self._opened > OVERLAP_SECONDS
        ):
            self._before.close()
            if not self._before.waiting:
                self._before = None

    def _state(self, now: int) -> flows_pb2.StreamState:
        assert self._stream is not None
        if not self._stream.is_open:
            return flows_pb2.BLIND
        idle = (
            self._idle_since is not None
            and self.time.monotonic() - self._idle_since >= IDLE_SECONDS
            and not self._stream.is_full
        )
        if idle or (not self._backlog and self._newest >= now - LATE):
            return flows_pb2.LIVE
        return flows_pb2.CATCHING_UP

    def _read_until(self, state: flows_pb2.StreamState, now: int) -> int:
        if state == flows_pb2.LIVE:
            # With a trickle of flows relay's heap holds each until as many newer ones came.
            sorting = relay_ahead.sorting_seconds(self._load)
            return now - instants.of_seconds(SETTLE_SECONDS + sorting)
        if state == flows_pb2.CATCHING_UP:
            return max(self._newest - LATE, 0)
        return 0


def _times(heads: Mapping[str, flows_pb2.FlowHead]) -> dict[str, int]:
    return {node: instants.of(flow.time) for node, flow in heads.items()}


def _seen_until(restored: Restored) -> dict[str, int]:
    """Return how far each node is known to have been read: by the checkpoint, or by the log."""
    seen = restored.windows.newest()
    if restored.checkpoint is not None:
        for node in restored.checkpoint.nodes:
            until = instants.of(node.seen_until)
            # What was read of a suspected one since may stand behind a gap.
            seen[node.node] = until if node.suspected else max(seen.get(node.node, 0), until)
    return {node: time for node, time in seen.items() if time}
