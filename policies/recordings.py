"""One recorded verdict, as the policy of the end that it is about sees it.

A plain tuple, since a million of them are made and compared: equal ones are equal questions.
"""

from typing import Final, NamedTuple

from policies.flows import Direction, Event, Observed, Protocol, Query, Request, Verdict
from policies.labels import LabelSet
from policies.model import PolicyRef

EVENTS: Final = frozenset(int(event) for event in Event)
PASSED: Final = frozenset({Verdict.FORWARDED, Verdict.REDIRECTED})
STOPPED: Final = frozenset({Verdict.DROPPED, Verdict.AUDIT})


class Recorded(NamedTuple):
    """What was asked, and what Cilium said; who asked when is kept elsewhere."""

    direction: Direction
    subject: LabelSet
    peer: LabelSet
    peer_ip: str
    protocol: Protocol
    port: int
    verdict: Verdict
    event: Event
    drop_reason: int
    denied_by: tuple[PolicyRef, ...]
    allowed_by: tuple[PolicyRef, ...]
    request: Request | None

    @property
    def has_passed(self) -> bool:
        """Whether Cilium let it through, and not for audit mode alone."""
        return self.verdict in PASSED

    def query(self) -> Query:
        """The question to the subject's policy."""
        return Query(
            direction=self.direction,
            peer=self.peer,
            peer_ip=self.peer_ip,
            protocol=self.protocol,
            port=self.port,
            l7=self.request,
        )

    def observed(self) -> Observed:
        """What Cilium reported."""
        return Observed(
            verdict=self.verdict,
            event=self.event,
            drop_reason=self.drop_reason,
            denied_by=self.denied_by,
        )
