"""Whether anything is missing between what was read of a node and what it can still tell.

Pure: events and times come in, gaps come out. The reasoning is in
docs/decisions/0006-how-the-collector-knows-that-nothing-is-missing.md. In short: for each node a
time is kept up to which nothing is missing (`seen_until`). Whenever its stream may have been
interrupted the node is *suspected*, and cleared by either of two proofs: a flow from before that
time is replayed, so the ring still holds all that came after it; or the oldest flow of its ring, of
any kind, is not newer than that time. Where neither comes there is a gap, up to that oldest flow.
What was read of a suspected node meanwhile, such as by a standby, may stand behind flows that only
the replay brings: the node stays suspected until the replay got as far, and whoever asks for flows
anew asks from `resume`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

GRACE_SECONDS = 3.0
"""How long a replay may take to bring the proof, once the ring's oldest flow is known."""
NOTICE_SECONDS = 12.0
"""Relay tells of a node's error up to ten seconds late, when its flows may come again already."""
MARGIN_SECONDS = 3.0
"""How far relay's clock may be off ours."""
STALLED_SECONDS = 10.0
"""How long a flow that a node's ring holds may take to arrive before its stream counts as ended."""
GONE_SECONDS = 60.0
ATTACH_SECONDS = 0.5
"""How long relay may take to attach a node to a new stream."""
REATTACH_SECONDS = 2.5
"""How long relay may take to attach a node that came back: it looks every two seconds."""
SAMPLE_SECONDS = 1.0


class Reason(StrEnum):
    """Why flows may be missing."""

    RING_OVERRUN = "ring-overrun"
    RETENTION = "retention"
    NODE_UNAVAILABLE = "node-unavailable"
    NODE_GONE = "node-gone"


@dataclass(frozen=True, slots=True)
class Gap:
    """Between these instants, in nanoseconds, flows of a node may be missing."""

    node: str
    start: int
    until: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest flow that a node's ring releases: its uuid and time in nanoseconds."""

    uuid: str
    time: int


@dataclass(slots=True)
class _Suspicion:
    base: int
    reason: Reason
    raised: float
    looks_from: float
    """Only when the stream is attached does the ring's oldest flow say what can be replayed."""
    bridge: int
    """How far the node had been read: the replay has closed the hole when it got there."""
    is_proved: bool = False
    is_bridged: bool = False
    replayed: float = 0.0
    """When a known flow last came again."""
    oldest: int | None = None
    looked: float = 0.0


@dataclass(slots=True)
class _Expected:
    newest: Newest | None
    until: int
    asked: float


@dataclass(slots=True)
class Continuity:
    """One cluster's. All `at` are monotonic seconds, all other times nanoseconds since the epoch.

    Known here are nodes of which something was read, or which were restored from a checkpoint: of
    a new node nothing can be missing.
    """

    seen_until: dict[str, int] = field(default_factory=dict)
    _suspicions: dict[str, _Suspicion] = field(default_factory=dict)
    _expected: dict[str, _Expected] = field(default_factory=dict)
    _proved: dict[str, float] = field(default_factory=dict)
    _samples: deque[tuple[float, dict[str, int]]] = field(default_factory=deque)
    _listed: frozenset[str] | None = None
    _away: frozenset[str] = frozenset()

    def read(self, newest: Mapping[str, int], *, at: float) -> None:
        """Take over how far each node's flows have been read; call it often.

        While a node is suspected its flows do not move `seen_until`: they may stand behind a gap.
        """
        for node, time in newest.items():
            if node not in self._suspicions and time > self.seen_until.get(node, 0):
                self.seen_until[node] = time
        if not self._samples or at - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((at, dict(self.seen_until)))
            while (
                len(self._samples) > 1
                and at - self._samples[1][0] > NOTICE_SECONDS + MARGIN_SECONDS
            ):
                self._samples.popleft()

    def interrupted(self, newest: Mapping[str, int], *, at: float, not_before: int = 0) -> None:
        """The whole stream is opened anew, asking for nothing from before `not_before`.

        `newest` says how far each node was read, be it behind a hole.
        """
        self._expected.clear()
        for node, base in self.seen_until.items():
            reason = Reason.RETENTION if base < not_before else Reason.RING_OVERRUN
            bridge = newest.get(node, 0)
            self._suspect(node, base, reason, at=at, after=ATTACH_SECONDS, bridge=bridge)

    def resume(self, newest: Mapping[str, int]) -> dict[str, int]:
        """Return from where each node is to be read anew. May be called from any thread."""
        bases = {node: suspicion.base for node, suspicion in list(self._suspicions.items())}
        return {node: min(time, bases.get(node) or time) for node, time in newest.items()}

    def failed(self, nodes: Iterable[str], *, since: float, at: float) -> None:
        """Relay says that these nodes' streams broke, at `since` by its own clock."""
        since = min(max(since, at - NOTICE_SECONDS), at)
        for node in nodes:
            self._expected.pop(node, None)
            if self._proved.get(node, float("-inf")) > since:
                # It was read again meanwhile, and its ring still held what was known.
                continue
            base = self._read_before(node, since - MARGIN_SECONDS)
            if base is not None:
                reason = Reason.NODE_UNAVAILABLE
                self._suspect(node, base, reason, at=at, after=REATTACH_SECONDS)

    def overrun(self, node: str, until: int, *, since: float) -> Gap | None:
        """The node's ring overtook the stream in its middle; return the gap that this makes.

        It was noticed first at `since`, and told later: what was read meanwhile may stand behind
        it. None where the node is suspected, since a stream may begin with an event lost before
        it.
        """
        start = self._read_before(node, since - MARGIN_SECONDS)
        if start is None or node in self._suspicions or until <= start:
            return None
        return Gap(node, start, until, Reason.RING_OVERRUN)

    def replayed(
        self, proofs: Mapping[str, tuple[int, int]], *, at: float, overlapping: bool = False
    ) -> None:
        """Known flows came again; the times of each node's oldest and newest one are given.

        While two streams overlap, that alone does not say that a ring was read again.
        """
        for node, (oldest, newest) in proofs.items():
            if not overlapping:
                self._proved[node] = at
            suspicion = self._suspicions.get(node)
            if suspicion is None:
                continue
            suspicion.replayed = at
            suspicion.is_proved |= oldest <= suspicion.base
            suspicion.is_bridged |= newest >= suspicion.bridge
            if suspicion.is_proved and suspicion.is_bridged:
                del self._suspicions[node]

    def listed(self, nodes: Mapping[str, bool], *, at: float) -> None:
        """The cluster's nodes as GetNodes tells them, and whether relay is connected to each."""
        self._listed = frozenset(nodes)
        self._away = frozenset(node for node, connected in nodes.items() if not connected)
        for node in self._away & self._suspicions.keys():
            self._suspicions[node].looks_from = at + REATTACH_SECONDS

    def looked(self, oldest: Mapping[str, int], *, asked: float, at: float) -> None:
        """The oldest flow of each node's ring, of any kind, was asked for at `asked`."""
        for node, time in oldest.items():
            suspicion = self._suspicions.get(node)
            if (
                suspicion is not None
                and suspicion.oldest is None
                and suspicion.looks_from <= asked
                and node not in self._away
            ):
                suspicion.oldest, suspicion.looked = time, at

    def expect(
        self, any_kind: Mapping[str, int], wanted: Mapping[str, Newest], *, asked: float
    ) -> None:
        """The newest flow of any kind of each node, and then the newest of the wanted ones.

        Once the latter has been read, all wanted flows up to the former have been.
        """
        for node, until in any_kind.items():
            if node not in self._expected and node not in self._suspicions:
                self._expected[node] = _Expected(wanted.get(node), until, asked)

    def confirm(
        self,
        knows: Callable[[str, str], bool],
        *,
        at: float,
        behind: bool,
        sorting: float = 0.0,
    ) -> frozenset[str]:
        """Move `seen_until` on by what has arrived; return nodes whose stream must have ended.

        `sorting` says how many seconds relay may hold a flow back at present.
        `behind` says that responses wait to be looked at, so that nothing is late yet.
        """
        stalled = set()
        for node, expected in list(self._expected.items()):
            if expected.newest is None or knows(node, expected.newest.uuid):
                self.seen_until[node] = max(self.seen_until.get(node, 0), expected.until)
                del self._expected[node]
            elif behind:
                expected.asked = at
            elif at - expected.asked > STALLED_SECONDS + sorting:
                stalled.add(node)
                del self._expected[node]
        return frozenset(stalled)

    def gaps(
        self, newest: Mapping[str, int], *, at: float, now: int, behind: bool = False
    ) -> list[Gap]:
        """Return what is missing for certain by now, and clear those nodes.

        `newest` says how far each node was read meanwhile; `behind`, that responses wait to be
        looked at, which may bring proofs.
        """
        found = []
        for node, suspicion in list(self._suspicions.items()):
            gap = self._decide(node, suspicion, at=at, now=now, behind=behind)
            if gap is not None:
                found.append(gap)
            if gap is not None or node not in self._suspicions:
                self._suspicions.pop(node, None)
                cleared = max(suspicion.base, newest.get(node, 0), suspicion.oldest or 0)
                self.seen_until[node] = max(self.seen_until.get(node, 0), cleared)
                if gap is not None and gap.reason is Reason.NODE_GONE:
                    del self.seen_until[node]
        return found

    @property
    def wants_oldest(self) -> bool:
        """Return whether a look at the rings' oldest flows is needed."""
        return any(suspicion.oldest is None for suspicion in self._suspicions.values())

    @property
    def suspected(self) -> frozenset[str]:
        """Return the suspected nodes: they belong into a checkpoint before flows follow."""
        return frozenset(self._suspicions)

    @property
    def has_holes(self) -> bool:
        """Return whether a replay has still to bring what is older than something that was read."""
        return any(not suspicion.is_bridged for suspicion in self._suspicions.values())

    @property
    def away(self) -> frozenset[str]:
        """Return the nodes whose flows do not arrive at present."""
        broken = {
            node
            for node, suspicion in self._suspicions.items()
            if suspicion.reason is Reason.NODE_UNAVAILABLE and suspicion.oldest is None
        }
        return self._away | broken

    def _read_before(self, node: str, moment: float) -> int | None:
        """Return how far a node had been read at a moment, or soon after if that is all we know.

        What was read later may already stand behind the interruption.
        """
        found = None
        for at, seen in self._samples:
            if node in seen and (found is None or at <= moment):
                found = seen[node]
        return found

    def _suspect(
        self, node: str, base: int, reason: Reason, *, at: float, after: float, bridge: int = 0
    ) -> None:
        before = self._suspicions.get(node)
        # An older suspicion stands: what it is about has not been cleared yet.
        if before is not None:
            base, bridge = min(base, before.base), max(bridge, before.bridge)
        suspicion = _Suspicion(base, reason, at, at + after, bridge)
        suspicion.is_bridged = bridge <= base
        self._suspicions[node] = suspicion
        self.seen_until[node] = base

    def _decide(
        self, node: str, suspicion: _Suspicion, *, at: float, now: int, behind: bool
    ) -> Gap | None:
        if suspicion.oldest is None:
            if (
                self._listed is not None
                and node not in self._listed
                and at - suspicion.raised > GONE_SECONDS
            ):
                return Gap(node, suspicion.base, now, Reason.NODE_GONE)
            return None
        still = not behind and at - max(suspicion.looked, suspicion.replayed) >= GRACE_SECONDS
        if suspicion.is_proved or suspicion.oldest <= suspicion.base:
            # Where nothing comes again any more, its ring has nothing left to close a hole with.
            if suspicion.is_bridged or still:
                del self._suspicions[node]
            return None
        if behind or at - suspicion.looked < GRACE_SECONDS:
            return None
        return Gap(node, suspicion.base, suspicion.oldest, suspicion.reason)
