"""Which process does a job that only one may do at a time.

No clocks are compared between machines: a holder beats, and who sees the same beat for long enough
by its own clock may take over.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from alert_api import tables
from alert_api.repository import bulk

_leases = tables.of(tables.Lease)


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds a lease, and how often it has said so."""

    holder: str
    beat: int


def read(connection: sa.Connection, name: str) -> Held | None:
    """Return a lease as it stands, or None where nobody ever held it."""
    row = connection.execute(sa.select(_leases).where(_leases.c.name == name)).one_or_none()
    return None if row is None else Held(row.holder, row.beat)


def take(connection: sa.Connection, name: str, *, seen: Held | None, holder: str) -> Held | None:
    """Take or renew a lease that is still as it was seen; return it, or None where it moved."""
    if seen is None:
        bulk.insert(
            connection,
            tables.Lease,
            [{"name": name, "holder": holder, "beat": 0}],
            on_conflict={},
        )
        seen = Held(holder, 0)
    changed = connection.execute(
        sa.update(_leases)
        .where(
            _leases.c.name == name,
            _leases.c.holder == seen.holder,
            _leases.c.beat == seen.beat,
        )
        .values(holder=holder, beat=seen.beat + 1)
    )
    return Held(holder, seen.beat + 1) if changed.rowcount == 1 else None
