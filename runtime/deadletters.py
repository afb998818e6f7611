"""A dead letter: what could not be read, kept with its coordinates for a person to look at."""

import base64
import hashlib
from datetime import datetime

from schemas import messages

KEPT_BYTES = 64 * 1024


def letter(
    *,
    stage: str,
    reason: str,
    payload: bytes,
    at: datetime,
    topic: str = "",
    partition: int | None = None,
    offset: int | None = None,
    index: int | None = None,
) -> bytes:
    """Return the value of a record for picket.deadletter; of the payload at most 64 KiB stay."""
    message = messages.DeadLetter(
        stage=stage,
        reason=reason,
        topic=topic,
        partition=partition,
        offset=offset,
        index=index,
        at=at,
        sha256=hashlib.sha256(payload).hexdigest(),
        size=len(payload),
        payload=base64.b64encode(payload[:KEPT_BYTES]).decode("ascii"),
    )
    return message.model_dump_json().encode()
