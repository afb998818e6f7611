"""What makes another version of an object, and which times it tells of itself. Pure.

Nothing here knows where an object comes from or what of it was published before.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DIGEST_BYTES = 16
_BOOKKEEPING = frozenset({"resourceVersion", "generation", "managedFields"})


def meaning(manifest: Mapping[str, Any]) -> bytes:
    """Return a digest of what makes another version: not the status, and no bookkeeping."""
    metadata = {
        key: value for key, value in manifest.get("metadata", {}).items() if key not in _BOOKKEEPING
    }
    rest = {key: value for key, value in manifest.items() if key not in {"status", "metadata"}}
    text = json.dumps({**rest, "metadata": metadata}, sort_keys=True)
    # A lone surrogate is valid in JSON; json.dumps writes it as ASCII.
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def changed_at(metadata: Mapping[str, Any]) -> datetime | None:
    """Return the newest time in managedFields; writing the status changes no meaning."""
    entries = metadata.get("managedFields")
    if not isinstance(entries, list):
        return None
    times = [
        parsed
        for entry in entries
        if isinstance(entry, dict)
        and entry.get("subresource") != "status"
        and (parsed := parse_time(entry.get("time"))) is not None
    ]
    return max(times, default=None)


def created_at(metadata: Mapping[str, Any]) -> datetime | None:
    """Return the creationTimestamp, or None where there is none."""
    return parse_time(metadata.get("creationTimestamp"))


def parse_time(value: object) -> datetime | None:
    """Return an RFC 3339 time as an aware datetime, or None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
