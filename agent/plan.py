"""What to publish so that picket.policies says what the folder says. Pure.

The rules of time: the first known version of an object holds for ever, or from its
creationTimestamp; a later one from the newest change that its managedFields tell of, else from now.
An object that comes back after it was deleted is a later version: it did not hold in between.
"""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent import kinds, manifests
from schemas import messages

OVERHEAD_BYTES = 16 * 1024
"""Room that a record's key, headers and framing take of its topic's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object as the folder has it."""

    manifest: dict[str, Any]
    provenance: messages.Provenance
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the topic says of one cluster."""

    objects: Mapping[kinds.Identity, messages.PolicyObject]
    gone: AbstractSet[kinds.Identity] = frozenset()
    """Deleted, as far as the log still tells."""
    synced: messages.Synced | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One record of picket.policies to be written; without a value it is a tombstone."""

    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """An object that no record can carry; what was known of it stays in force."""

    identity: kinds.Identity
    provenance: messages.Provenance
    size: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write, in this order, and what the topic says once it is written."""

    publications: tuple[Publication, ...]
    rejected: tuple[TooLarge, ...]
    after: Known
    changed: int
    deleted: int


def make(
    *,
    cluster: str,
    cluster_uid: str,
    known: Known,
    wanted: Mapping[kinds.Identity, Wanted],
    held_paths: AbstractSet[str],
    held: AbstractSet[kinds.Identity],
    now: datetime,
    max_bytes: int,
) -> Plan:
    """Return what to publish.

    What is known of `held_paths` (files that cannot be read now) and of `held` (objects that stand
    in two files) stays as it is. The marker is written where it is missing or says another number.
    """
    publications: list[Publication] = []
    rejected: list[TooLarge] = []
    objects = dict(known.objects)
    gone = set(known.gone)
    changed = deleted = 0
    for identity, want in sorted(wanted.items()):
        entry = _version(cluster, identity, want, known, now)
        if entry == objects.get(identity):
            continue
        value = entry.model_dump_json().encode()
        if len(value) > max_bytes - OVERHEAD_BYTES:
            rejected.append(
                TooLarge(
                    identity=identity,
                    provenance=want.provenance,
                    size=len(value),
                    limit=max_bytes - OVERHEAD_BYTES,
                )
            )
            continue
        publications.append(Publication(key=identity.key(cluster), value=value))
        objects[identity] = entry
        gone.discard(identity)
        changed += 1
    for identity, entry in sorted(known.objects.items(), key=lambda item: item[0]):
        path = entry.provenance.path if entry.provenance else ""
        if identity in wanted or identity in held or path in held_paths:
            continue
        notice = messages.PolicyDeleted(cluster=cluster, at=now)
        key = identity.key(cluster)
        publications.append(Publication(key=key, value=notice.model_dump_json().encode()))
        publications.append(Publication(key=key, value=None))
        del objects[identity]
        gone.add(identity)
        deleted += 1
    synced = known.synced
    if synced is None or (synced.objects, synced.cluster_uid) != (len(objects), cluster_uid):
        synced = messages.Synced(
            cluster=cluster, cluster_uid=cluster_uid, at=now, objects=len(objects)
        )
        publications.append(
            Publication(key=kinds.synced_key(cluster), value=synced.model_dump_json().encode())
        )
    return Plan(
        publications=tuple(publications),
        rejected=tuple(rejected),
        after=Known(objects=objects, gone=frozenset(gone), synced=synced),
        changed=changed,
        deleted=deleted,
    )


def _version(
    cluster: str, identity: kinds.Identity, want: Wanted, known: Known, now: datetime
) -> messages.PolicyObject:
    before = known.objects.get(identity)
    if before is not None and _meaning(before.manifest) == _meaning(want.manifest):
        since = before.since
        manifest = before.manifest
    else:
        since = _since(want, before=before, returned=identity in known.gone, now=now)
        manifest = want.manifest
    return messages.PolicyObject(
        cluster=cluster, since=since, manifest=manifest, provenance=want.provenance
    )


def _since(
    want: Wanted, *, before: messages.PolicyObject | None, returned: bool, now: datetime
) -> datetime | None:
    created = manifests.parse_time(want.manifest["metadata"].get("creationTimestamp"))
    if before is None and not returned:
        return created
    earlier = before.since if before is not None else None
    for moment in (want.changed_at, created if returned else None):
        # A time no newer than the version it replaces was copied along with the file.
        if moment is not None and (earlier is None or moment > earlier):
            return moment
    return now


def _meaning(manifest: Mapping[str, Any]) -> str:
    """Return what of a manifest makes another version of it: not its status or its bookkeeping."""
    metadata = {
        key: value
        for key, value in manifest.get("metadata", {}).items()
        if key not in {"resourceVersion", "generation", "managedFields"}
    }
    rest = {key: value for key, value in manifest.items() if key not in {"status", "metadata"}}
    return json.dumps({**rest, "metadata": metadata}, sort_keys=True)
