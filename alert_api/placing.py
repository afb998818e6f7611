"""Where to read a partition on: at the database's offset, if the log is the database's log.

An old database under a new log, and a new database under a log that another one has read, would
both count wrongly and say nothing. Both stop here with an error that says what to do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from alert_api import gathering, instants
from alert_api.database import Database
from alert_api.repository import offsets, streams
from bus import port
from runtime.clock import Clock
from runtime.errors import UserError
from schemas import messages

log = structlog.get_logger()

GAP = "matches were deleted before they were read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Compares the database's offsets with the log's."""

    database: Database
    log: port.Log
    clock: Clock
    recount: bool

    def place(
        self, partitions: Iterable[port.Partition], consumer: port.Consumer
    ) -> dict[port.Partition, offsets.Standing]:
        """Return where each partition is read on, its row made where it had none.

        A partition whose next records were deleted goes on at the first that exists, and the gap is
        recorded in the transaction that moves the row. Raises UserError where the offsets are not
        of this log; Unavailable; Unreachable.
        """
        wanted = frozenset(partitions)
        topics = sorted({partition.topic for partition in wanted})
        identities = {topic: self.log.identity(topic) for topic in topics}
        reader = self.log.reader(topics)
        try:
            beginning, end = reader.beginning(), reader.end()
        finally:
            reader.close()
        placed: dict[port.Partition, offsets.Standing] = {}
        with self.database.writing() as connection:
            held = offsets.lock(connection, wanted)
            for partition in sorted(wanted - held.keys()):
                standing = offsets.Standing(identities[partition.topic], beginning[partition])
                self._check_unread(partition, consumer)
                offsets.create(connection, partition, standing)
            held = offsets.lock(connection, wanted)
            missing: dict[port.Partition, tuple[int, int]] = {}
            for partition, standing in sorted(held.items()):
                self._check_same_log(partition, standing, identities, end)
                first = beginning[partition]
                if standing.next < first:
                    missing[partition] = (standing.next, first)
                placed[partition] = offsets.Standing(standing.log, max(standing.next, first))
            if missing:
                now = instants.from_seconds(self.clock.now())
                offsets.move(connection, {part: first for part, (_, first) in missing.items()})
                streams.note(connection, _gaps(missing, now=now))
                streams.break_all(connection, until=now)
        for partition, (old, first) in missing.items():
            log.error(GAP, partition=partition.number, wanted=old, first=first)
        return placed

    def _check_unread(self, partition: port.Partition, consumer: port.Consumer) -> None:
        read = consumer.committed(partition)
        if read and not self.recount:
            raise UserError(
                f"{partition.topic}/{partition.number} was read up to offset {read} already, but "
                f"the database {self.database.url} knows nothing of it: it is new, or another one. "
                "Use the database that belongs to this log; or, to count the log's matches into "
                "this one from the beginning, start once with --recount"
            )

    def _check_same_log(
        self,
        partition: port.Partition,
        standing: offsets.Standing,
        identities: Mapping[str, str],
        end: Mapping[port.Partition, int],
    ) -> None:
        identity = identities[partition.topic]
        if standing.log != identity:
            raise UserError(
                f"the database {self.database.url} belongs to another log: its offset in "
                f"{partition.topic}/{partition.number} is of log {standing.log}, and this is log "
                f"{identity}. Use that log, or a new database"
            )
        if standing.next > end[partition]:
            raise UserError(
                f"the database {self.database.url} has read {partition.topic}/{partition.number} "
                f"up to offset {standing.next}, but the log ends at {end[partition]}: the log was "
                "truncated, or restored from an old copy. Use the log that belongs to this "
                "database, or a new database"
            )


def _gaps(
    missing: Mapping[port.Partition, tuple[int, int]], *, now: int
) -> dict[gathering.NoticeKey, gathering.NoticeCount]:
    where = "; ".join(
        f"{partition.topic}/{partition.number} offsets {old} to {first - 1}"
        for partition, (old, first) in sorted(missing.items())
    )
    key = gathering.NoticeKey("", messages.NoticeKind.GAP, GAP, "")
    return {key: gathering.NoticeCount(len(missing), now, now, where)}
