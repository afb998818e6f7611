"""The hot path: out of responses as received, keep what is new.

Every flow passes here once, so this looks at no more than its head and makes no object of its own
a flow. What is rare (lost events, node states, what cannot be read) is handled aside.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from collector import instants
from collector.windows import Window, Windows
from schemas.hubble import flow_pb2, relay_pb2
from schemas.picket.v1 import flows_pb2
from schemas.topics import FLOWS

LARGEST = FLOWS.max_record_bytes - 16 * 1024
"""A response over this fits into no record."""
TOGETHER = 128
"""How many responses are decoded in one go."""
AHEAD = 60 * instants.SECOND
"""A flow from further in the future does not move its node's watermark: the next request would
ask for nothing until then."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A response that no record can carry."""

    payload: bytes
    reason: str


@dataclass(slots=True)
class Sifted:
    """What one call of `Sieve.sift` found."""

    responses: list[bytes] = field(default_factory=list)
    """New, in the order received."""
    duplicates: int = 0
    duplicates_by_time: int = 0
    """Those of `duplicates` whose uuid was not known."""
    rejected: list[Rejected] = field(default_factory=list)
    lost: list[tuple[str, flow_pb2.LostEvent]] = field(default_factory=list)
    """Lost events that are new, by node; they are among the responses as well."""
    statuses: list[tuple[int, relay_pb2.NodeStatusEvent]] = field(default_factory=list)
    """What relay said of nodes, with its time."""
    proofs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The times of the oldest and the newest known flow that came again, by node."""
    newest: int = 0
    """The time of the newest new flow that the stream brought."""
    ahead: list[bytes] = field(default_factory=list)
    """New as well, of those that were read beside the stream."""
    ahead_newest: int = 0
    """The time of the newest one of these."""


class Sieve:
    """Keeps what is new; `windows` grows with every call."""

    def __init__(
        self,
        windows: Windows,
        *,
        by_time: bool = True,
        redact: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Without `by_time` only uuids decide, and nodes' watermarks stay: so for captures."""
        self.windows = windows
        self._by_time = by_time
        self._redact = redact

    def sift(self, raws: Sequence[bytes], *, now: int, ahead: Iterable[bytes] = ()) -> Sifted:
        """Sort out duplicates and what is rare. `now` is in nanoseconds since the epoch.

        Of what was read `ahead` of the stream only new flows are kept, and nothing follows from
        them: the stream brings all again, in order.
        """
        out = Sifted()
        windows = self.windows.by_node
        keep = out.responses.append
        last: dict[str, flows_pb2.FlowHead] = {}
        by_time = self._by_time
        for raw, head in _decoded(raws):
            if head is None:
                out.rejected.append(Rejected(raw, "not a response of Hubble"))
                continue
            flow = head.flow
            uuid = flow.uuid
            if not uuid:
                self._rare(raw, head, out)
                continue
            node = head.node_name
            window = windows.get(node) or self.windows.of(node)
            recent = window.recent
            if uuid in recent or uuid in window.older:
                _again(out, node, flow)
                continue
            recent.add(uuid)
            if window.ahead and window.ahead.pop(uuid, 0):
                # Written already, but only now is its node known to be read up to here.
                last[node] = flow
                continue
            if by_time and window.known_by_time and instants.of(flow.time) <= window.known_by_time:
                out.duplicates += 1
                out.duplicates_by_time += 1
                continue
            if len(raw) > LARGEST:
                out.rejected.append(Rejected(raw, "too large for a record"))
                continue
            last[node] = flow
            keep(raw)
        self._advance(last, out, limit=now + AHEAD)
        self._sift_ahead(ahead, out, limit=now + AHEAD)
        if self._redact is not None:
            out.responses[:] = map(self._redact, out.responses)
            out.ahead[:] = map(self._redact, out.ahead)
        return out

    def _sift_ahead(self, raws: Iterable[bytes], out: Sifted, *, limit: int) -> None:
        for raw in raws:
            try:
                head = flows_pb2.ResponseHead.FromString(raw)
            except DecodeError:
                continue
            uuid, time = head.flow.uuid, instants.of(head.flow.time)
            # What is rare the stream brings in its time.
            if not uuid or len(raw) > LARGEST or time >= limit:
                continue
            window = self.windows.of(head.node_name)
            if uuid in window.ahead or window.knows(uuid) or time <= window.known_by_time:
                continue
            window.ahead[uuid] = time
            out.ahead.append(raw)
            out.ahead_newest = max(out.ahead_newest, time)

    def _advance(self, last: dict[str, flows_pb2.FlowHead], out: Sifted, *, limit: int) -> None:
        # A node's flows come in its order, so its last one stands for all.
        for node, flow in last.items():
            window = self.windows.by_node[node]
            time = instants.of(flow.time)
            if time < limit:
                if self._by_time:
                    window.newest = max(window.newest, time)
                out.newest = max(out.newest, time)
            if window.ahead:
                window.settle()
            window.turn()

    def _rare(self, raw: bytes, head: flows_pb2.ResponseHead, out: Sifted) -> None:
        try:
            if head.node_status:
                status = relay_pb2.NodeStatusEvent.FromString(head.node_status)
                out.statuses.append((instants.of(head.time), status))
                return
            window = self.windows.of(head.node_name)
            if head.lost_events:
                lost = flow_pb2.LostEvent.FromString(head.lost_events)
                if self._is_new(window, lost_key(head, lost), instants.of(head.time), out):
                    out.lost.append((head.node_name, lost))
                    out.responses.append(raw)
                return
        except DecodeError:
            out.rejected.append(Rejected(raw, "not a response of Hubble"))
            return
        if not head.HasField("flow"):
            out.rejected.append(Rejected(raw, "neither a flow nor anything else known"))
        elif len(raw) > LARGEST:
            out.rejected.append(Rejected(raw, "too large for a record"))
        elif self._is_new(window, content_key(raw), instants.of(head.time), out):
            out.responses.append(raw)

    def _is_new(self, window: Window, key: str, time: int, out: Sifted) -> bool:
        if window.knows(key):
            out.duplicates += 1
            return False
        window.recent.add(key)
        if self._by_time and time <= window.known_by_time:
            out.duplicates += 1
            out.duplicates_by_time += 1
            return False
        return True


def _decoded(raws: Sequence[bytes]) -> Iterator[tuple[bytes, flows_pb2.ResponseHead | None]]:
    """Yield each response with its head; None where it is none.

    Many are decoded as one message: for every ten thousand that it frees, protobuf gives all free
    memory back to the system, and getting it again costs a seventh of the collector's CPU time.
    """
    for start in range(0, len(raws), TOGETHER):
        some = raws[start : start + TOGETHER]
        try:
            joined = b"".join([part for raw in some for part in (_prefix(len(raw)), raw)])
            yield from zip(some, flows_pb2.ResponseHeads.FromString(joined).heads, strict=True)
        except DecodeError:
            yield from ((raw, _head(raw)) for raw in some)


def _head(raw: bytes) -> flows_pb2.ResponseHead | None:
    try:
        return flows_pb2.ResponseHead.FromString(raw)
    except DecodeError:
        return None


@functools.lru_cache(maxsize=8192)
def _prefix(length: int) -> bytes:
    """Return what stands before an entry of `heads` of so many bytes: field 1, then a varint."""
    written = bytearray(b"\n")
    while length > 0x7F:
        written.append(length & 0x7F | 0x80)
        length >>= 7
    written.append(length)
    return bytes(written)


def lost_key(head: flows_pb2.ResponseHead, lost: flow_pb2.LostEvent) -> str:
    """Return what tells a lost event of a node from another: it has no uuid."""
    cpu = lost.cpu.value if lost.HasField("cpu") else "-"
    return f"lost {instants.of(head.time)} {lost.source} {cpu}"


def content_key(raw: bytes) -> str:
    """Return what stands for the uuid of a flow that has none."""
    return hashlib.sha256(raw).hexdigest()


def _again(out: Sifted, node: str, flow: flows_pb2.FlowHead) -> None:
    out.duplicates += 1
    time = instants.of(flow.time)
    oldest, newest = out.proofs.get(node, (time, time))
    out.proofs[node] = (min(oldest, time), max(newest, time))
