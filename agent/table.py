"""What picket.policies says of one cluster, read from the log."""

from collections.abc import Iterator

import structlog
from pydantic import ValidationError

from agent import kinds, plan, versions
from bus import port
from schemas import messages, topics

log = structlog.get_logger()


def read(bus: port.Log, cluster: str) -> plan.Known:
    """Read the whole table. Raises what the log raises.

    A record that cannot be read counts as unknown: what the source has is then written over it.
    """
    reader = bus.reader([topics.POLICIES.name])
    try:
        return fold(port.read_to_end(reader), cluster)
    finally:
        reader.close()


def fold(records: Iterator[port.Record], cluster: str) -> plan.Known:
    """Return what these records, in order, say of a cluster."""
    objects: dict[kinds.Identity, plan.Entry] = {}
    gone: set[kinds.Identity] = set()
    synced: messages.Synced | None = None
    for record in records:
        key = (record.key or b"").decode("utf-8", "replace")
        if key == kinds.synced_key(cluster):
            synced = _synced(record)
            continue
        identity = _identity(key, cluster)
        if identity is None:
            continue
        entry = _entry(record)
        if entry is None:
            objects.pop(identity, None)
            gone.add(identity)
        else:
            objects[identity] = entry
            gone.discard(identity)
    return plan.Known(objects=objects, gone=gone, synced=synced)


def _identity(key: str, cluster: str) -> kinds.Identity | None:
    parts = key.split("/")
    if len(parts) != 4 or parts[0] != cluster:
        return None
    return kinds.Identity(parts[1], parts[2], parts[3])


def _synced(record: port.Record) -> messages.Synced | None:
    if record.value is None:
        return None
    try:
        return messages.Synced.model_validate_json(record.value)
    except ValidationError:
        return None


def _entry(record: port.Record) -> plan.Entry | None:
    """Return what counts, or None where the object was deleted or the record makes no sense."""
    if record.value is None:
        return None
    try:
        found = messages.PolicyObject.model_validate_json(record.value)
    except ValidationError:
        if b'"deleted"' not in record.value:
            log.warning("a record of the policies makes no sense", offset=record.offset)
        return None
    return plan.Entry(found.since, versions.meaning(found.manifest), found.provenance)
