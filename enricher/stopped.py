"""A stopped flow as the policy of one end sees it, and what many of them have in common.

Values only: nothing here reads a flow or looks at a policy.
"""

from dataclasses import dataclass
from typing import Final

from enricher.reading import NANOS, Transport
from policies.flows import Direction, Event, Request, Verdict
from policies.labels import LabelSet
from policies.model import PolicyRef
from policies.subjects import SubjectPolicy
from policies.timelines import SubjectTimeline

_SOURCE: Final = 0
_DESTINATION: Final = 1
_LAST: Final = 9e9
"""Seconds; later than any flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A stopped flow, as the policy of one end sees it."""

    direction: Direction
    subject: LabelSet
    peer: LabelSet
    peer_ip: str
    peer_names: tuple[str, ...]
    peer_address: tuple[str, str]
    """The peer's address, and what people call it."""
    transport: Transport
    verdict: Verdict
    event: Event
    drop_reason: int
    denied_by: tuple[PolicyRef, ...]
    l7: Request | None


class Pair:
    """Two ends between which flows are stopped for one reason; compared by being the same object.

    A scan is one pair with thousands of ports, or a handful with thousands of addresses: what does
    not depend on these is looked up once.
    """

    __slots__ = (
        "direction",
        "first",
        "inward",
        "is_outside",
        "peer_name",
        "peer_side",
        "policy",
        "settled",
        "timeline",
    )

    def __init__(self, first: Stopped, timeline: SubjectTimeline, *, peer_name: str) -> None:
        self.first = first
        """The first flow of them: all but transport, address and request is that of all."""
        self.direction = first.direction
        self.inward = first.direction is Direction.INGRESS
        self.timeline = timeline
        self.policy: SubjectPolicy = timeline.newest
        self.settled = _nanos(timeline.settled_after)
        """What holds now holds for flows from then on (nanoseconds)."""
        self.is_outside = first.peer.is_outside
        self.peer_side = _SOURCE if self.inward else _DESTINATION
        """Which of a flow's two addresses is that of the peer."""
        self.peer_name = peer_name
        """What people call the peer, empty where only DNS knows."""

    def steady(self, time: int) -> tuple[int, int]:
        """From when until before when the same versions may be in force as then (nanoseconds)."""
        since, until = self.timeline.steady(time / NANOS)
        return min(_nanos(since), time), max(_nanos(until), time + 1)


def _nanos(seconds: float) -> int:
    return int(min(max(seconds, 0.0), _LAST) * NANOS)
