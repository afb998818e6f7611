"""Folding a batch of matches by fingerprint, and progress by cluster, before the database sees it.

Pure: a storm of matches of one fingerprint becomes one row to write.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from alert_api import instants, states
from alert_api.decoding import KEPT_SAMPLES, MatchRecord, ProgressRecord
from schemas import messages

REASONS = {
    "denied-by": "denied by rule",
    "no-rule-allowed": "not allowed by any rule",
    "l7-denied": "denied at layer 7",
    "auth-required": "denied, authentication required",
    "audit": "would be denied (audit mode)",
}
RANKS = {
    messages.Severity.CRITICAL: 5,
    messages.Severity.HIGH: 4,
    messages.Severity.MEDIUM: 3,
    messages.Severity.LOW: 2,
    messages.Severity.INFO: 1,
    messages.Severity.UNKNOWN: 0,
}


@dataclass(slots=True)
class Gathered:
    """All matches of one fingerprint in one batch."""

    match: messages.Match
    """The newest: its words and settings stand for all."""
    opened_by: str
    """Names the record that comes first, the same each time the log is read."""
    count: int = 0
    first: int = 0
    last: int = 0
    minutes: dict[int, states.Interval] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    peers: dict[str, int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    """The newest ten, oldest first."""

    def add(self, entry: MatchRecord) -> None:
        """Count one more match."""
        match = entry.match
        first = instants.from_datetime(match.first_seen)
        last = instants.from_datetime(match.last_seen)
        self.first = first if not self.count else min(self.first, first)
        self.last = max(self.last, last)
        self.count += match.count
        self.match = match
        minute = instants.from_datetime(match.minute)
        minute -= minute % instants.MINUTE
        old = self.minutes.get(minute)
        if old is not None:
            first, last = min(old.first, first), max(old.last, last)
        count = match.count + (old.count if old else 0)
        self.minutes[minute] = states.Interval(first, last, count)
        for port in match.ports:
            key = f"{port.protocol}/{port.port}"
            self.ports[key] = self.ports.get(key, 0) + port.count
        for peer in match.peers:
            key = f"{peer.address} {peer.name}"
            self.peers[key] = self.peers.get(key, 0) + peer.count
        if entry.samples:
            self.samples = [*self.samples, *entry.samples][-KEPT_SAMPLES:]


def by_fingerprint(entries: Iterable[MatchRecord], *, log: str) -> dict[str, Gathered]:
    """Return the matches folded by fingerprint; `log` is the identity of the log they are from."""
    gathered: dict[str, Gathered] = {}
    for entry in entries:
        fingerprint = entry.match.fingerprint
        known = gathered.get(fingerprint)
        if known is None:
            record = entry.record
            where = f"{log} {record.partition.topic} {record.partition.number} {record.offset}"
            known = gathered[fingerprint] = Gathered(entry.match, where)
        known.add(entry)
    return gathered


def alert_id(opened_by: str) -> str:
    """Return the id of the alert that this record opens: the same whenever it is read again."""
    return hashlib.blake2b(opened_by.encode(), digest_size=10).hexdigest()


def title(match: messages.Match) -> str:
    """Return one line for people: the policy, who to whom, and what became of it."""
    policy = match.policy.name
    if match.policy.namespace:
        policy = f"{match.policy.namespace}/{policy}"
    source, destination = match.peer, match.subject
    if match.direction == "egress":
        source, destination = destination, source
    return f"{policy}: {source.text} → {destination.text} {REASONS[match.reason]}"


def searched(match: messages.Match, *, alert: str) -> str:
    """Return what the text filter looks at, in small letters."""
    parts = (
        title(match),
        match.sentence,
        match.project,
        match.cluster,
        match.fingerprint,
        alert,
        f"{match.subject.namespace}/{match.subject.name}",
        f"{match.peer.namespace}/{match.peer.name}",
    )
    return "\n".join(parts).lower()


def explained(match: messages.Match) -> tuple[str, str]:
    """Return the findings as JSON, and a digest of them and the sentence."""
    findings = "[" + ",".join(finding.model_dump_json() for finding in match.findings) + "]"
    digest = hashlib.blake2b((match.sentence + findings).encode(), digest_size=8).hexdigest()
    return findings, digest


@dataclass(frozen=True, slots=True)
class NoticeKey:
    """By what notices add up."""

    cluster: str
    kind: messages.NoticeKind
    reason: str
    node: str


@dataclass(slots=True)
class NoticeCount:
    """A notice's sum within one batch."""

    count: int
    first: int
    last: int
    detail: str


def notices(
    entries: Iterable[tuple[str, messages.Notice]],
) -> dict[NoticeKey, NoticeCount]:
    """Return notices, each with the cluster it is of, added up."""
    sums: dict[NoticeKey, NoticeCount] = {}
    for cluster, notice in entries:
        key = NoticeKey(cluster, notice.kind, notice.reason, notice.node)
        first = instants.from_datetime(notice.first_seen)
        last = instants.from_datetime(notice.last_seen)
        known = sums.get(key)
        if known is None:
            sums[key] = NoticeCount(notice.count, first, last, notice.detail)
            continue
        known.count += notice.count
        known.first = min(known.first, first)
        known.last = max(known.last, last)
        known.detail = notice.detail or known.detail
    return sums


@dataclass(slots=True)
class Reached:
    """One partition of a cluster's flows after this batch."""

    view: states.View | None
    """As the database had it; None where it is new."""
    flows: int = 0

    def add(self, progress: messages.Progress) -> None:
        """Take one progress message in."""
        time = progress.flow_time
        self.flows += progress.flows
        self.view = states.advance(
            self.view,
            state=progress.state,
            flow_time=None if time is None else instants.from_datetime(time),
        )
        for notice in progress.notices:
            if notice.kind is messages.NoticeKind.GAP:
                until = instants.from_datetime(notice.last_seen)
                self.view = states.broken(self.view, until=until)


Views = dict[tuple[str, int], states.View]
"""By cluster and partition."""


def reached(entries: Iterable[ProgressRecord], known: Views) -> dict[tuple[str, int], Reached]:
    """Return every part of every cluster that the messages are about, as it is after them."""
    parts: dict[tuple[str, int], Reached] = {}
    for entry in entries:
        key = (entry.progress.cluster, entry.progress.partition)
        if key not in parts:
            parts[key] = Reached(known.get(key))
        parts[key].add(entry.progress)
    return parts
