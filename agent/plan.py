"""What to publish so that picket.policies says what the source says. Pure.

The rules of time: the first known version of an object holds for ever, or from its
creationTimestamp; a later one from the newest change that its managedFields tell of, else from when
it was seen. An object that comes back after it was deleted is a later version: it did not hold in
between.

The cost is that of the news: what did not change is not looked at, unless a whole reading says what
there is no longer.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent import kinds
from schemas import messages

OVERHEAD_BYTES = 16 * 1024
"""Room that a record's key, headers and framing take of its topic's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object as its source has it."""

    manifest: dict[str, Any]
    meaning: bytes
    """See versions.meaning."""
    provenance: messages.Provenance | None = None
    changed_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One object was seen as it is now, or seen to be gone (None)."""

    identity: kinds.Identity
    want: Wanted | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """All there is of some kinds was told: whatever else is known of them is gone."""

    present: AbstractSet[kinds.Identity]
    at: datetime
    kinds: AbstractSet[str] | None = None
    """None: all kinds."""
    held_paths: AbstractSet[str] = frozenset()
    """Files that cannot be read now: what is known of them stays as it is."""


News = Change | Whole


@dataclass(frozen=True, slots=True)
class Entry:
    """What the topic says of one object, as far as it is needed to tell news from old."""

    since: datetime | None
    meaning: bytes
    provenance: messages.Provenance | None = None


@dataclass(slots=True, kw_only=True)
class Known:
    """What the topic says of one cluster. Changes only by `take`."""

    objects: dict[kinds.Identity, Entry] = field(default_factory=dict)
    gone: set[kinds.Identity] = field(default_factory=set)
    """Deleted, as far as the log still tells."""
    synced: messages.Synced | None = None

    def take(self, made: "Plan") -> None:
        """Say what the topic says once that plan is written."""
        for identity, entry in made.entries.items():
            if entry is None:
                # It may have come and gone within one plan.
                self.objects.pop(identity, None)
                self.gone.add(identity)
            else:
                self.objects[identity] = entry
                self.gone.discard(identity)
        self.synced = made.synced


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One record of picket.policies to be written; without a value it is a tombstone."""

    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """An object that no record can carry; what was known of it stays in force."""

    identity: kinds.Identity
    provenance: messages.Provenance | None
    size: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write, in this order, and what that makes of what is known."""

    publications: tuple[Publication, ...]
    rejected: tuple[TooLarge, ...]
    settled: AbstractSet[kinds.Identity]
    """The objects of the news that are, or need not be, published."""
    entries: Mapping[kinds.Identity, Entry | None]
    """What is another thing than before; None is gone."""
    synced: messages.Synced | None
    changed: int
    deleted: int


def make(
    *,
    cluster: str,
    cluster_uid: str,
    known: Known,
    news: Iterable[News],
    complete: bool,
    now: datetime,
    max_bytes: int,
) -> Plan:
    """Return what to publish of these news, which are taken in order. Changes nothing.

    Where the source is `complete`, the marker is written if it is missing or says another number.
    """
    draft = _Draft(cluster, known, max_bytes - OVERHEAD_BYTES)
    for item in news:
        if isinstance(item, Whole):
            for identity in sorted(draft.left_out_by(item)):
                draft.delete(identity, item.at)
        elif item.want is None:
            draft.delete(item.identity, item.at)
        else:
            draft.put(item.identity, item.want, item.at)
    return draft.finish(cluster_uid, now, complete=complete)


@dataclass(slots=True)
class _Draft:
    """A plan in the making: what is known, with what was decided laid over it."""

    cluster: str
    known: Known
    limit: int
    publications: list[Publication] = field(default_factory=list)
    rejected: dict[kinds.Identity, TooLarge] = field(default_factory=dict)
    settled: set[kinds.Identity] = field(default_factory=set)
    entries: dict[kinds.Identity, Entry | None] = field(default_factory=dict)
    changed: int = 0
    deleted: int = 0
    growth: int = 0

    def entry(self, identity: kinds.Identity) -> Entry | None:
        if identity in self.entries:
            return self.entries[identity]
        return self.known.objects.get(identity)

    def left_out_by(self, whole: Whole) -> Iterator[kinds.Identity]:
        for identity in {**self.known.objects, **self.entries}:
            if whole.kinds is not None and identity.kind not in whole.kinds:
                continue
            entry = self.entry(identity)
            if entry is None or identity in whole.present:
                continue
            path = entry.provenance.path if entry.provenance else ""
            if path not in whole.held_paths:
                yield identity

    def put(self, identity: kinds.Identity, want: Wanted, at: datetime) -> None:
        before = self.entry(identity)
        entry = self._version(identity, want, before, at)
        if entry == before:
            self._settle(identity)
            return
        message = messages.PolicyObject(
            cluster=self.cluster,
            since=entry.since,
            manifest=want.manifest,
            provenance=want.provenance,
        )
        value = message.model_dump_json().encode()
        if len(value) > self.limit:
            self.settled.discard(identity)
            self.rejected[identity] = TooLarge(
                identity=identity, provenance=want.provenance, size=len(value), limit=self.limit
            )
            return
        self._settle(identity)
        self.publications.append(Publication(key=identity.key(self.cluster), value=value))
        self.entries[identity] = entry
        self.changed += 1
        self.growth += before is None

    def delete(self, identity: kinds.Identity, at: datetime) -> None:
        self._settle(identity)
        if self.entry(identity) is None:
            return
        notice = messages.PolicyDeleted(cluster=self.cluster, at=at)
        key = identity.key(self.cluster)
        self.publications += (
            Publication(key=key, value=notice.model_dump_json().encode()),
            Publication(key=key, value=None),
        )
        self.entries[identity] = None
        self.deleted += 1
        self.growth -= 1

    def finish(self, cluster_uid: str, now: datetime, *, complete: bool) -> Plan:
        synced = self.known.synced
        count = len(self.known.objects) + self.growth
        if complete and (
            synced is None or (synced.objects, synced.cluster_uid) != (count, cluster_uid)
        ):
            synced = messages.Synced(
                cluster=self.cluster, cluster_uid=cluster_uid, at=now, objects=count
            )
            key = kinds.synced_key(self.cluster)
            value = synced.model_dump_json().encode()
            self.publications.append(Publication(key=key, value=value))
        return Plan(
            publications=tuple(self.publications),
            rejected=tuple(self.rejected.values()),
            settled=frozenset(self.settled),
            entries=self.entries,
            synced=synced,
            changed=self.changed,
            deleted=self.deleted,
        )

    def _settle(self, identity: kinds.Identity) -> None:
        self.settled.add(identity)
        self.rejected.pop(identity, None)

    def _version(
        self, identity: kinds.Identity, want: Wanted, before: Entry | None, at: datetime
    ) -> Entry:
        if before is not None and before.meaning == want.meaning:
            since = before.since
        else:
            since = self._since(identity, want, before, at)
        return Entry(since=since, meaning=want.meaning, provenance=want.provenance)

    def _since(
        self, identity: kinds.Identity, want: Wanted, before: Entry | None, at: datetime
    ) -> datetime | None:
        returned = before is None and (identity in self.entries or identity in self.known.gone)
        if before is None and not returned:
            return want.created_at
        earlier = before.since if before is not None else None
        for moment in (want.changed_at, want.created_at if returned else None):
            # A time no newer than the version it replaces was copied along with a file, or is of
            # the same second: the API server's times are whole seconds.
            if moment is not None and (earlier is None or moment > earlier):
                return moment
        return at
