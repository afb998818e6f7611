"""From where a collector goes on: the cluster's checkpoint, and what the log holds after it.

A checkpoint is written in the transaction of a batch, so it never says more than was written. It
names offsets to read the log from: the uuids found there are what tells a replayed flow from a new
one. These offsets move on in steps (marks), since every flow after them is read at each takeover.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from bus import port
from collector import instants, sieve
from collector.windows import Windows
from schemas import topics
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2

SCANNED = 300_000
"""About how many flows a takeover reads at most: a second's work."""
STEPS = 8
RECORD_COST = 10
"""Reading a record costs about as much as this many flows."""
POLL_SECONDS = 1.0
POLL_RECORDS = 500


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the flows topic, and how far each node had been read when it was the end."""

    offsets: Mapping[int, int]
    """By partition number."""
    newest: Mapping[str, int]
    """By node, in nanoseconds: of flows up to there the uuids stand before the offsets."""
    ahead: Mapping[str, Collection[str]]
    """By node: uuids of younger flows that stand before the offsets all the same."""
    cost: int
    """How much had been written when the mark was set."""


@dataclass(slots=True)
class Marks:
    """The marks that a next checkpoint may name; the oldest is the one to name."""

    _marks: deque[Mark] = field(default_factory=deque)
    _cost: int = 0

    def written(self, *, records: int, flows: int) -> None:
        """Count what was written."""
        self._cost += flows + RECORD_COST * records

    def restart(self, checkpoint: flows_pb2.Checkpoint, found: "Found") -> None:
        """Begin with the mark that a checkpoint names, and the cost of what follows it."""
        offsets = {item.partition: item.offset for item in checkpoint.scan_from}
        newest = {node.node: instants.of(node.known_by_time) for node in checkpoint.nodes}
        ahead = {node.node: tuple(node.ahead) for node in checkpoint.nodes if node.ahead}
        self._marks = deque([Mark(offsets, newest, ahead, 0)])
        self._cost = found.flows + RECORD_COST * found.records

    @property
    def is_due(self) -> bool:
        """Return whether so much was written since the last mark that another is worth it."""
        return not self._marks or self._cost - self._marks[-1].cost >= SCANNED // STEPS

    def set(self, offsets: Mapping[int, int], windows: Windows) -> None:
        """Set a mark where everything written so far ends, all of which is in the windows."""
        self._marks.append(Mark(dict(offsets), windows.newest(), windows.ahead(), self._cost))
        while len(self._marks) > 2 and self._cost - self._marks[0].cost > SCANNED:
            self._marks.popleft()

    def oldest(self) -> Mark:
        """Return the mark for a checkpoint. Raises IndexError where none was set."""
        return self._marks[0]

    def newest(self) -> Mark:
        """Return the last mark. Raises IndexError where none was set."""
        return self._marks[-1]


@dataclass(slots=True)
class Found:
    """What stood in the log after a mark."""

    windows: Windows = field(default_factory=Windows)
    gaps: set[tuple[str, int, int]] = field(default_factory=set)
    """Node, from and until of each gap."""
    flows: int = 0
    records: int = 0
    read_until: int = 0
    cut: bool = False
    """Whether the log no longer goes back to the mark."""


def latest(log: port.Log, cluster: str) -> flows_pb2.Checkpoint | None:
    """Return the cluster's newest checkpoint. Raises Unavailable, Misconfigured."""
    key = cluster.encode()
    partition = log.partition_for(topics.COLLECTOR.name, key)
    reader = log.reader([topics.COLLECTOR.name])
    found: bytes | None = None
    try:
        for record in port.read_to_end(reader):
            if record.key == key and record.partition == partition:
                found = record.value
    finally:
        reader.close()
    if found is None:
        return None
    try:
        return flows_pb2.Checkpoint.FromString(found)
    except DecodeError as error:
        raise port.Misconfigured(
            f"the checkpoint of cluster {cluster} on {topics.COLLECTOR.name} cannot be read:"
            f" {error}; a tombstone under that key makes the collector start anew"
        ) from error


def ends(log: port.Log) -> dict[int, int]:
    """Return the end of the flows topic, by partition number. Raises Unavailable."""
    reader = log.reader([topics.FLOWS.name])
    try:
        return {partition.number: offset for partition, offset in reader.end().items()}
    finally:
        reader.close()


def scan(log: port.Log, cluster: str, checkpoint: flows_pb2.Checkpoint | None) -> Found:
    """Read what the cluster's collectors wrote since a checkpoint, to the read-committed end.

    The windows of what is found begin with the checkpoint's watermarks. Raises Unavailable.
    """
    found = Found()
    if checkpoint is None:
        return found
    offsets = {item.partition: item.offset for item in checkpoint.scan_from}
    reader = log.reader([topics.FLOWS.name])
    try:
        first, end = reader.beginning(), reader.end()
        for partition in reader.partitions():
            wanted = offsets.get(partition.number, 0)
            if not first[partition] <= wanted <= end[partition]:
                # The topic was emptied, by its retention or by hand.
                wanted, found.cut = first[partition], True
            reader.seek(partition, wanted)
        while any(reader.position(partition) < stop for partition, stop in end.items()):
            _add(found, cluster, reader.poll(timeout=POLL_SECONDS, max_records=POLL_RECORDS))
    finally:
        reader.close()
    for node in checkpoint.nodes:
        window = found.windows.of(node.node)
        newest = instants.of(node.newest)
        window.newest = max(window.newest, newest)
        # Where the log was emptied, time has to stand in for all that was in it.
        window.known_by_time = newest if found.cut else instants.of(node.known_by_time)
        window.recent.update(node.ahead)
        window.settle(0)
    return found


def _add(found: Found, cluster: str, records: Sequence[port.Record]) -> None:
    parse = flows_pb2.ResponseHead.FromString
    for record in records:
        found.records += 1
        try:
            batch = flows_pb2.FlowBatch.FromString(record.value or b"")
        except DecodeError:
            continue
        if batch.cluster != cluster:
            continue
        found.gaps.update(gap_key(gap) for gap in batch.gaps)
        found.read_until = max(found.read_until, instants.of(batch.read_until))
        last: dict[str, flows_pb2.FlowHead] = {}
        for raw in batch.responses:
            try:
                head = parse(raw)
            except DecodeError:
                continue
            window = found.windows.of(head.node_name)
            found.flows += 1
            if batch.ahead:
                window.ahead[head.flow.uuid] = instants.of(head.flow.time)
            elif head.flow.uuid:
                window.recent.add(head.flow.uuid)
                last[head.node_name] = head.flow
            else:
                window.recent.add(_rare_key(raw, head))
        for node, flow in last.items():
            window = found.windows.of(node)
            # What a capture holds says nothing of how far the living node was read.
            if not batch.capture:
                window.newest = max(window.newest, instants.of(flow.time))
            window.turn()


def _rare_key(raw: bytes, head: flows_pb2.ResponseHead) -> str:
    if head.lost_events:
        return sieve.lost_key(head, flow_pb2.LostEvent.FromString(head.lost_events))
    return sieve.content_key(raw)


def gap_key(gap: flows_pb2.Gap) -> tuple[str, int, int]:
    """Return what tells a gap from another."""
    return gap.node, instants.of(getattr(gap, "from")), instants.of(gap.until)
