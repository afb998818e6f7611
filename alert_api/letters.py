"""Sending what cannot be read to picket.deadletter, before the database moves past it.

A crash between the two sends it again: letters may double, the count of them in the database does
not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from alert_api.decoding import Garbage
from bus import port
from runtime import deadletters
from schemas import topics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """Opens a producer when there is something to send, and lets go of it again."""

    log: port.Log
    transactional_id: str
    stage: str

    def post(self, garbage: Sequence[Garbage], *, at: datetime) -> None:
        """Send all in one transaction. Raises Unavailable: then none of them may be passed by."""
        if not garbage:
            return
        try:
            producer = self.log.producer(self.transactional_id)
            try:
                with producer.transaction() as transaction:
                    for entry in garbage:
                        transaction.send(self._letter(entry, at))
            finally:
                producer.close()
        except port.Fenced as error:
            raise port.Unavailable("another process sends dead letters at the moment") from error
        for entry in garbage:
            log.warning(
                "dead letter",
                reason=entry.reason,
                partition=entry.record.partition.number,
                offset=entry.record.offset,
            )

    def _letter(self, entry: Garbage, at: datetime) -> port.Outgoing:
        record = entry.record
        return port.Outgoing(
            topic=topics.DEADLETTER.name,
            key=record.key,
            value=deadletters.letter(
                stage=self.stage,
                reason=f"{entry.reason}: {entry.detail}"[:2000],
                payload=record.value or b"",
                at=at,
                topic=record.partition.topic,
                partition=record.partition.number,
                offset=record.offset,
            ),
        )
