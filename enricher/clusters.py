"""What is known of each cluster: its policies, and whether all of them are known.

Follows picket.policies, all of it, from its beginning: each enricher keeps the whole table. Reads
nothing else and decides nothing about flows.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pydantic
import structlog

from bus import port
from policies.decoding import PolicyRejected
from policies.repository import Repository
from schemas import messages

log = structlog.get_logger()

SYNCED: Final = "synced"
KEPT_SECONDS: Final = 26 * 3600.0
"""Versions that ceased to hold longer ago than flows are kept in the log explain nothing more."""


@dataclass(slots=True)
class Cluster:
    """One cluster's policies."""

    name: str
    repository: Repository = field(default_factory=Repository)
    synced: bool = False
    """Whether all policies that held when the agent came up are known."""
    epoch: int = 0
    """Grows whenever any object changed."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of picket.policies that could not be taken."""

    record: port.Record
    reason: str


class Clusters:
    """All clusters on the topic; `reader` reads picket.policies and nothing else."""

    def __init__(
        self, reader: port.Reader, *, unreadable: Callable[[Unreadable], None] | None = None
    ) -> None:
        self._reader = reader
        self._known: dict[str, Cluster] = {}
        self._deleted: set[str] = set()
        self._unreadable = unreadable or _nobody_told

    def get(self, name: str) -> Cluster | None:
        """Return a cluster, None where nothing is known of it."""
        return self._known.get(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of all clusters of which the policies are known."""
        return tuple(sorted(name for name, cluster in self._known.items() if cluster.synced))

    def read_to_end(self) -> None:
        """Take everything that stands on the topic now. Raises what the log raises."""
        for record in port.read_to_end(self._reader):
            self._take(record)

    def follow(self) -> bool:
        """Take what has come since, without waiting; return whether there was anything."""
        records: Sequence[port.Record] = self._reader.poll(timeout=0.0)
        for record in records:
            self._take(record)
        return bool(records)

    def prune(self, now: float) -> None:
        """Forget versions that no flow in the log can need."""
        for cluster in self._known.values():
            cluster.repository.prune(now - KEPT_SECONDS)
            cluster.epoch += 1

    def close(self) -> None:
        """Let go of the log."""
        self._reader.close()

    def _take(self, record: port.Record) -> None:
        try:
            key = (record.key or b"").decode()
            name, rest = _parts(key)
            cluster = self._known.setdefault(name, Cluster(name))
            value = None if record.value is None else json.loads(record.value)
            if value is None and record.value is not None:
                raise ValueError("null is no object, and no tombstone either")  # noqa: TRY301
            if rest == SYNCED:
                _mark(cluster, value)
            elif value is None:
                self._end(cluster, key, record)
            else:
                self._put(cluster, key, value)
        except PolicyRejected as error:
            # Its owner's mistake: Cilium does not take it either, and the agent says so.
            log.warning("policy rejected", key=repr(record.key), reason=str(error))
        except (ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}: {_short(error)}"
            where = {"partition": record.partition.number, "offset": record.offset}
            log.warning("policy record not taken", key=repr(record.key), reason=reason, **where)
            self._unreadable(Unreadable(record, reason))

    def _put(self, cluster: Cluster, key: str, value: object) -> None:
        cluster.epoch += 1
        if isinstance(value, dict) and value.get("deleted") is True:
            deletion = messages.PolicyDeleted.model_validate(value)
            cluster.repository.delete(key, at=deletion.at.timestamp())
            self._deleted.add(key)
            return
        found = messages.PolicyObject.model_validate(value)
        since = None if found.since is None else found.since.timestamp()
        self._deleted.discard(key)
        cluster.repository.apply(key, found.manifest, since=since)

    def _end(self, cluster: Cluster, key: str, record: port.Record) -> None:
        """Take a tombstone: it says when only where no record before it did."""
        if key in self._deleted:
            self._deleted.discard(key)
            return
        cluster.epoch += 1
        cluster.repository.delete(key, at=record.timestamp / 1000)


def _parts(key: str) -> tuple[str, str]:
    """Return the cluster of a key, and the rest. Raises ValueError where it has no such parts."""
    name, _, rest = key.partition("/")
    if not name or not rest:
        raise ValueError("the key does not say which object of which cluster")
    return name, rest


def _mark(cluster: Cluster, value: Any) -> None:
    if value is None:
        cluster.synced = False
        return
    messages.Synced.model_validate(value)
    cluster.synced = True


def _short(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)


def _nobody_told(_: Unreadable) -> None:
    """Leave it at the log line."""
