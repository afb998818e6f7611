"""From where each partition is read on: locked before all else, moved only from where it is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from alert_api import tables
from alert_api.repository import bulk
from bus.port import Partition

_table = tables.of(tables.Offset)


@dataclass(frozen=True, slots=True)
class Standing:
    """The offset that is read next, and the identity of the log in which it is."""

    log: str
    next: int


def lock(connection: sa.Connection, partitions: Iterable[Partition]) -> dict[Partition, Standing]:
    """Return the rows of these partitions, held against all others until the end."""
    found: dict[Partition, Standing] = {}
    wanted = sorted(partitions)
    for topic in sorted({partition.topic for partition in wanted}):
        numbers = [partition.number for partition in wanted if partition.topic == topic]
        statement = (
            sa.select(_table)
            .where(_table.c.topic == topic, bulk.among(connection, _table.c.partition, numbers))
            .order_by(_table.c.partition)
            .with_for_update()
        )
        for row in connection.execute(statement):
            found[Partition(row.topic, row.partition)] = Standing(row.log, row.next)
    return found


def create(connection: sa.Connection, partition: Partition, standing: Standing) -> None:
    """Add a partition's row; one that exists already stays."""
    row = {
        "topic": partition.topic,
        "partition": partition.number,
        "log": standing.log,
        "next": standing.next,
    }
    bulk.insert(connection, tables.Offset, [row], on_conflict={})


def move(connection: sa.Connection, offsets: Mapping[Partition, int]) -> None:
    """Set the offsets of locked rows."""
    for partition, following in offsets.items():
        connection.execute(
            sa.update(_table)
            .where(_table.c.topic == partition.topic, _table.c.partition == partition.number)
            .values(next=following)
        )


def every(connection: sa.Connection, topic: str) -> dict[Partition, Standing]:
    """Return all partitions of a topic that have a row, without locking them."""
    rows = connection.execute(sa.select(_table).where(_table.c.topic == topic))
    return {Partition(row.topic, row.partition): Standing(row.log, row.next) for row in rows}
