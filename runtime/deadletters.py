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
    keep: int = KEPT_BYTES,
) -> bytes:
    """Return the value of a record for picket.deadletter; of the payload at most `keep` stay.

    Keep nothing of what may hold a secret: the hash and the coordinates still tell which it was.
    """
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
        payload=base64.b64encode(payload[:keep]).decode("ascii"),
    )
    return message.model_dump_json().encode()
