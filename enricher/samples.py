"""Samples: a few whole flows for people to look at, without what may be secret.

Hubble's own redaction is off by default, so credentials are in its flows. They are taken out here,
before anything is stored or sent: header values by name, the values of queries, users in addresses.
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from google.protobuf import json_format

from schemas.hubble import observer_pb2

REDACTED: Final = "REDACTED"
TEXT_LIMIT: Final = 1024
LIST_LIMIT: Final = 64
BYTES_LIMIT: Final = 16 * 1024
"""A sample beyond that is not kept: nobody reads it, and the record of its match must not burst."""

_SECRET_HEADER: Final = re.compile(
    r"authorization|cookie|token|secret|password|passwd|credential|session"
    r"|api-?key|(^|-)(key|auth|jwt|signature|assertion)$",
    re.IGNORECASE,
)
_QUERY_VALUE: Final = re.compile(r"=[^&;#\s]*")
_URL_IN_TEXT: Final = re.compile(r"\S*[/?@]\S*")
_DROPPED_FIELDS: Final = ("emitter", "drop_reason", "reply", "policy_log", "extensions")


def of(raw: bytes) -> dict[str, Any]:
    """Return a sample of a serialised `observer.GetFlowsResponse`: its flow, as Hubble's JSON.

    Raises google.protobuf.message.DecodeError.
    """
    response = observer_pb2.GetFlowsResponse.FromString(raw)
    flow = response.flow
    flow.ClearField("extensions")
    sample: dict[str, Any] = json_format.MessageToDict(flow, preserving_proto_field_name=True)
    for name in _DROPPED_FIELDS:
        sample.pop(name, None)
    http = sample.get("l7", {}).get("http")
    if http is not None:
        if "url" in http:
            http["url"] = url(http["url"])
        if "headers" in http:
            http["headers"] = [_header(entry) for entry in http["headers"]]
    if "Summary" in sample:
        # For HTTP it repeats the address.
        sample["Summary"] = _URL_IN_TEXT.sub(lambda found: url(found[0]), sample["Summary"])
    return _bounded(sample)  # type: ignore[no-any-return]


def url(text: str) -> str:
    """Return an address without users and without the values of its query."""
    try:
        parts = urlsplit(text)
        netloc = parts.netloc.rpartition("@")[2]
        fragment = REDACTED if parts.fragment else ""
        return urlunsplit((parts.scheme, netloc, parts.path, _query(parts.query), fragment))
    except ValueError:
        return text.partition("?")[0].rpartition("@")[2]


def _query(text: str) -> str:
    if text and "=" not in text:
        return REDACTED
    return _QUERY_VALUE.sub(f"={REDACTED}", text)


def _header(entry: dict[str, str]) -> dict[str, str]:
    key = entry.get("key", "")
    value = entry.get("value", "")
    if _SECRET_HEADER.search(key):
        value = REDACTED
    elif key.lower() in {"referer", "referrer", "location", ":path", "x-original-url"}:
        value = url(value)
    return {"key": key, "value": value}


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= TEXT_LIMIT else value[: TEXT_LIMIT - 1] + "…"
    if isinstance(value, list):
        return [_bounded(entry) for entry in value[:LIST_LIMIT]]
    if isinstance(value, dict):
        return {key: _bounded(entry) for key, entry in value.items()}
    return value
