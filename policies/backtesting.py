"""What other policies would have made of recorded flows, added up for people.

Each flow is asked of the new policies, and of those before or of the verdict in the record. Memory
is bounded: flows of one class are decided once, and beyond a number of groups ports are no longer
told apart, then peers.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from policies import allowing, explaining, naming, rulings, wording
from policies.allowing import Allowance
from policies.explanation import Explanation, unexplained
from policies.flows import (
    POLICY_DENIED,
    POLICY_DENY,
    Direction,
    Event,
    Observed,
    Verdict,
)
from policies.naming import Party, PartyKind
from policies.recordings import Recorded
from policies.repository import Repository
from policies.rulings import Fate, Ruling
from policies.subjects import SubjectPolicy

KNOWN: Final = 100_000
"""How many different flows, and how many classes of them, are remembered."""
GROUPS: Final = 10_000
"""How many groups are told apart by port, and how many more by pair."""


class Change(StrEnum):
    """What is different under the new policies."""

    STOPPED = "newly-stopped"
    ALLOWED = "newly-allowed"
    INSPECTED = "newly-inspected"
    """It passes, and L7 rules would look at its requests: a recorded connection shows none."""
    UNDECIDED = "undecided"
    """It depends on what no flow shows, or on rules that are not evaluated."""
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Key:
    """What flows of one group have in common."""

    change: Change
    direction: Direction
    subject: Party
    peer: Party
    port: str
    """Such as `8080/TCP`; empty where several are counted together."""


@dataclass(slots=True)
class Group:
    """Flows between one workload and one peer, to one port, of which the same changes."""

    key: Key
    sentence: str
    """Why the new policies decide so."""
    policies: tuple[str, ...]
    """The policies that this is about, as `kind/namespace/name`."""
    count: int = 0
    first: int = 0
    """Nanoseconds since the epoch, like `last`."""
    last: int = 0


@dataclass(slots=True)
class Totals:
    """How many flows there were, and what was found of them."""

    flows: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    not_by_policy: int = 0
    """Flows that were stopped by something else than a policy: not compared."""
    audited: int = 0
    """Flows that audit mode let through: they count as stopped before."""
    disagreeing: int = 0
    """Flows of which the policies before say something else than the record does."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is decided for a class of flows."""

    change: Change
    disagrees: bool
    subject: Party
    peer: Party
    why: "Explanation | Allowance | Ruling | None"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a flow counts; no group where nothing changes."""

    change: Change
    disagrees: bool
    group: Group | None


class Backtest:
    """Adds recorded flows up; without policies `before` the recorded verdicts stand for them."""

    def __init__(self, after: Repository, before: Repository | None = None) -> None:
        self._after = after
        self._before = before
        self._places: dict[Recorded, _Place | None] = {}
        self._verdicts: dict[object, _Verdict] = {}
        self._groups: dict[Key, Group] = {}
        self.totals = Totals()

    def add(self, flow: Recorded, time: int) -> None:
        """Count one flow of this time (nanoseconds since the epoch)."""
        totals = self.totals
        totals.flows += 1
        try:
            place = self._places[flow]
        except KeyError:
            place = self._place(flow)
        if place is None:
            totals.not_by_policy += 1
            return
        totals.changes[place.change] += 1
        if place.disagrees:
            totals.disagreeing += 1
        if flow.verdict is Verdict.AUDIT:
            totals.audited += 1
        group = place.group
        if group is None:
            return
        group.count += 1
        group.last = max(group.last, time)
        group.first = min(group.first, time) if group.count > 1 else time

    def groups(self) -> list[Group]:
        """What changes: newly stopped flows first, and of each change the most frequent ones."""
        order = list(Change)
        return sorted(
            self._groups.values(),
            key=lambda group: (order.index(group.key.change), -group.count, group.first),
        )

    def _place(self, flow: Recorded) -> _Place | None:
        if len(self._places) >= KNOWN:
            self._places.clear()
        recorded = rulings.of_record(flow)
        place = None
        if recorded is not None:
            verdict = self._verdict(flow, recorded)
            group = None
            if verdict.change is not Change.SAME:
                group = self._group(verdict, flow)
            place = _Place(verdict.change, verdict.disagrees, group)
        self._places[flow] = place
        return place

    def _verdict(self, flow: Recorded, recorded: Ruling) -> _Verdict:
        subjects = [
            repository.subject(flow.subject).newest
            for repository in (self._after, self._before)
            if repository is not None
        ]
        key = (flow._replace(peer_ip="", port=0), *(_classes(subjects, flow)))
        found = self._verdicts.get(key)
        if found is None:
            if len(self._verdicts) >= KNOWN:
                self._verdicts.clear()
            found = self._verdicts[key] = _decide(subjects, flow, recorded)
        return found

    def _group(self, verdict: _Verdict, flow: Recorded) -> Group:
        port = wording.port(flow.protocol, flow.port)
        key = Key(verdict.change, flow.direction, verdict.subject, verdict.peer, port)
        found = self._groups.get(key)
        if found is not None:
            return found
        if len(self._groups) >= GROUPS:
            key = Key(key.change, key.direction, key.subject, key.peer, port := "")
            if key not in self._groups and len(self._groups) >= 2 * GROUPS:
                key = Key(key.change, key.direction, _MANY, _MANY, "")
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(key, *_told(verdict, port))
        return group


_MANY: Final = Party(kind=PartyKind.LABELS, app="", text="many others")


def _classes(subjects: Iterable[SubjectPolicy], flow: Recorded) -> Iterable[object]:
    for subject in subjects:
        yield subject.version
        yield subject.port_class(flow.direction, flow.protocol, flow.port)
        if flow.peer.is_outside:
            yield subject.cidr_class(flow.direction, flow.peer_ip)


def _decide(subjects: list[SubjectPolicy], flow: Recorded, recorded: Ruling) -> _Verdict:
    after = rulings.of_policies(subjects[0], flow)
    before = rulings.of_policies(subjects[1], flow) if subjects[1:] else recorded
    change = _change(before, after, flow)
    policies = subjects[0].policies.values()
    return _Verdict(
        change=change,
        disagrees=before.fate not in (Fate.UNKNOWN, recorded.fate),
        subject=naming.party(flow.subject),
        peer=naming.party(flow.peer, policies, flow.peer_ip),
        why=_why(change, subjects[0], flow, after if after.fate is Fate.UNKNOWN else before),
    )


def _change(before: Ruling, after: Ruling, flow: Recorded) -> Change:
    if Fate.UNKNOWN in (before.fate, after.fate):
        return Change.UNDECIDED
    if before.fate is not after.fate:
        return Change.STOPPED if after.fate is Fate.STOPS else Change.ALLOWED
    if after.inspected and not before.inspected and flow.event is Event.VERDICT:
        return Change.INSPECTED
    return Change.SAME


def _why(
    change: Change, subject: SubjectPolicy, flow: Recorded, unknown: Ruling
) -> Explanation | Allowance | Ruling | None:
    """What there is to say about a change under the new policies."""
    match change:
        case Change.SAME:
            return None
        case Change.UNDECIDED:
            return unknown
        case Change.STOPPED:
            return _stopped(subject, flow)
        case _:
            observed = Observed(verdict=Verdict.FORWARDED, event=flow.event)
            return allowing.allow(subject, flow.query(), observed)


def _stopped(subject: SubjectPolicy, flow: Recorded) -> Explanation:
    """Explain a flow as if it had been stopped in the way in which these policies stop it."""
    query = flow.query()
    if flow.event is Event.L7:
        observed = Observed(verdict=Verdict.DROPPED, event=Event.L7)
        found = explaining.explain(subject, query, observed)
        if found.unexplained is None:
            return found
    for reason in (POLICY_DENIED, POLICY_DENY):
        observed = Observed(verdict=Verdict.DROPPED, drop_reason=reason)
        found = explaining.explain(subject, query, observed)
        if found.unexplained is None:
            break
    return found


def _told(verdict: _Verdict, port: str) -> tuple[str, tuple[str, ...]]:
    """The sentence of a group, and the policies that it is about."""
    match verdict.why:
        case None:
            return "", ()
        case Ruling(why=why):
            return ("" if why is None else unexplained(why, verdict.subject.text)), ()
        case told:
            sentence = told.sentence(verdict.subject.text, verdict.peer.text, port=port)
            return sentence, tuple(str(ref) for ref in told.policies)
